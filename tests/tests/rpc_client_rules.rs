//! What programs in use rely on, beyond what Kubo's documentation says: each rule is from the source of a client.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::temporary;
use holdfast_tests::run::Node;

fn daemon(dir: &std::path::Path) -> Daemon {
    Daemon::alone(&Node::init(&dir.join("repo")), &[])
}

#[test]
fn an_add_without_progress_is_one_line_of_json_for_each_file() {
    let dir = temporary("rules");
    let daemon = daemon(dir.path());
    let parts = Multipart::new().file("a", &vec![1; 700_000]).file("b", b"2").file("", b"without a name");
    let reply = Ask::command("add").parts(&parts).send(daemon.api()).ok();
    assert_eq!(reply.head.get("Content-Type"), Some("application/json"));
    assert_eq!(reply.text().matches('\n').count(), 3, "{}", reply.text());
    assert!(reply.text().lines().all(|line| line.starts_with("{\"Name\":") && line.ends_with('}')));
    let values = reply.values();
    assert!(values.iter().all(|value| value["Size"].is_string()), "sizes are strings: {}", reply.text());
    // A file without a name is called by its CID.
    assert_eq!(values[2]["Name"], values[2]["Hash"]);
    daemon.stop();
}

#[test]
fn commands_that_kubo_removed_and_programs_still_call_answer() {
    let dir = temporary("rules");
    let daemon = daemon(dir.path());
    let parts = Multipart::new().file("d%2Ff", b"inside");
    let added = Ask::command("add").parts(&parts).send(daemon.api()).ok().values();
    let folder =
        added.iter().find(|value| value["Name"] == "d").unwrap()["Hash"].as_str().unwrap().to_owned();
    let stat = Ask::with_args("object/stat", &[&folder]).send(daemon.api()).ok().value();
    assert_eq!((&stat["Hash"], &stat["NumLinks"]), (&folder.as_str().into(), &1.into()), "{stat}");
    let repo = Ask::command("stats/repo").send(daemon.api()).ok().value();
    assert!(
        repo["NumObjects"].is_u64() && repo["RepoSize"].is_u64() && repo["StorageMax"].is_u64(),
        "{repo}"
    );
    // Offline they say what their new names say.
    for (old, new) in [("dht/findprovs", "routing/findprovs"), ("dht/provide", "routing/provide")] {
        let (old, new) = (
            Ask::with_args(old, &[&folder]).send(daemon.api()),
            Ask::with_args(new, &[&folder]).send(daemon.api()),
        );
        assert_eq!((old.status(), old.text()), (new.status(), new.text()));
    }
    daemon.stop();
}

#[test]
fn a_pin_is_told_under_the_text_of_the_cid_that_was_asked_for() {
    let dir = temporary("rules-pins");
    let node = Node::init(&dir.path().join("repo"));
    let daemon = Daemon::alone(&node, &[]);
    let cid = node.run_with(["add", "-Q", "--cid-version=1"], b"pinned").ok().cid();
    let other = node.run(["cid", "format", "-b=base58btc", &cid]).ok().out().trim().to_owned();
    assert_ne!(cid, other);
    let ask = |arg: &str, more: &str| {
        Ask::command(&format!("pin/ls?arg={arg}{more}")).send(daemon.api()).ok().value()
    };
    for text in [&cid, &other] {
        assert_eq!(ask(text, "")["Keys"][text]["Type"], "recursive");
        assert_eq!(ask(&format!("/ipfs/{text}"), "")["Keys"][text]["Type"], "recursive");
        assert_eq!(ask(text, "&stream=true")["Cid"], text.as_str());
        // Whoever asks for a base gets it.
        assert_eq!(ask(text, "&cid-base=base32")["Keys"][&cid]["Type"], "recursive");
    }
    daemon.stop();
}

#[test]
fn records_of_names_are_put_and_got_by_the_old_name_of_the_command() {
    let dir = temporary("rules-dht");
    let node = Node::init(&dir.path().join("repo"));
    let other = Node::init(&dir.path().join("other/repo"));
    let name = node.run(["name", "publish", "-Q", "--allow-offline", "/ipfs/bafkqaaa"]).ok().out();
    let key = format!("/ipns/{}", name.trim());
    let record = node.run(["dht", "get", &key]).ok().stdout;
    assert_eq!(record, node.run(["routing", "get", &key]).ok().stdout);
    other.run_with(["dht", "put", "--allow-offline", &key], &record).ok();
    assert_eq!(other.run(["routing", "get", &key]).ok().stdout, record);
}

#[test]
fn an_empty_folder_and_an_empty_file_are_known_without_being_stored() {
    let dir = temporary("rules");
    let daemon = daemon(dir.path());
    let folder = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
    let ls = Ask::with_args("ls", &[folder]).send(daemon.api()).ok().value();
    assert_eq!(ls["Objects"][0]["Links"].as_array().map_or(0, Vec::len), 0, "{ls}");
    Ask::with_args("files/cp", &[&format!("/ipfs/{folder}"), "/empty"]).send(daemon.api()).ok();
    daemon.stop();
}

#[test]
fn lists_that_are_empty_are_lists() {
    let dir = temporary("rules");
    let daemon = daemon(dir.path());
    Ask::command("bootstrap/rm/all").send(daemon.api()).ok();
    let peers = Ask::command("bootstrap/list").send(daemon.api()).ok();
    assert_eq!(peers.text(), "{\"Peers\":[]}\n");
    let pins = Ask::command("pin/ls?type=direct").send(daemon.api()).ok();
    assert_eq!(pins.text(), "{}\n", "as Kubo");
    daemon.stop();
}

#[test]
fn booleans_come_as_every_client_writes_them() {
    let dir = temporary("rules");
    let daemon = daemon(dir.path());
    let pinned = |hash: &str| Ask::with_args("pin/ls", &[hash]).send(daemon.api()).status() == 200;
    for (at, (value, pins)) in [
        ("pin=true", true),
        ("pin=True", true),
        ("pin=TRUE", true),
        ("pin=t", true),
        ("pin=1", true),
        ("pin", true),
        ("pin=", true),
        ("", true),
        ("pin=false", false),
        ("pin=False", false),
        ("pin=f", false),
        ("pin=0", false),
    ]
    .into_iter()
    .enumerate()
    {
        let parts = Multipart::new().file("f", format!("boolean {at}").as_bytes());
        let added = Ask::command(&format!("add?{value}")).parts(&parts).send(daemon.api()).ok().value();
        assert_eq!(pinned(added["Hash"].as_str().unwrap()), pins, "{value:?}");
    }
    for value in ["pin=yes", "pin=2", "pin=nonsense"] {
        let parts = Multipart::new().file("f", b"x");
        assert_eq!(
            Ask::command(&format!("add?{value}")).parts(&parts).send(daemon.api()).status(),
            400,
            "{value}"
        );
    }
    daemon.stop();
}
