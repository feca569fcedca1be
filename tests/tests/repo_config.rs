//! Changes of the small files of a repo: the config, the list of bootstrap peers, the key store. What
//! is acknowledged is kept, a repo that is not ours stays as it is, and no secret is left lying about.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::temporary;
use holdfast_tests::run::{Answer, Node, finish};
use holdfast_tests::tree;

/// Command lines that change the config or the key store.
const CHANGES: [&[&str]; 8] = [
    &["config", "Datastore.StorageMax", "7GB"],
    &["config", "profile", "apply", "server"],
    &["config", "edit"],
    &["bootstrap", "rm", "all"],
    &["bootstrap", "add", "default"],
    &["key", "gen", "k1"],
    &["key", "rename", "k0", "k1"],
    &["key", "rm", "k0"],
];

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Every change fails, says `why`, and changes nothing.
fn all_refused(node: &Node, before: &Path, why: &str) {
    copy(node.repo(), before);
    for args in CHANGES {
        // An editor that would change the file.
        let mut command = node.command(args);
        let child = command.env("EDITOR", "sed -i s/10GB/11GB/").spawn().unwrap();
        let refused = finish(child, args.join(" "), &[], Duration::from_secs(60)).failed();
        assert!(refused.err().contains(why), "`{}`: {}", refused.line, refused.err());
        tree::compare(before, node.repo(), &|_| false).unwrap_or_else(|difference| {
            panic!("`{}` changed the repo: {difference}", refused.line);
        });
    }
    node.run(["config", "show"]).ok();
}

#[test]
fn nothing_is_written_into_a_repo_of_kubo() {
    let dir = temporary("kubo-config");
    let own = Node::init(&dir.path().join("own"));
    own.run(["key", "gen", "k0"]).ok();
    let node = Node::at(&dir.path().join("repo"));
    fs::create_dir_all(node.repo().join("blocks")).unwrap();
    copy(&own.repo().join("config"), node.repo());
    copy(&own.repo().join("keystore"), node.repo());
    fs::write(node.repo().join("version"), "18\n").unwrap();
    fs::write(node.repo().join("datastore_spec"), "{\"mounts\":[],\"type\":\"mount\"}").unwrap();
    all_refused(&node, &dir.path().join("before"), "is a Kubo repo");
    assert!(node.run(["key", "list"]).ok().out().contains("k0"), "reading it is harmless");
}

#[test]
fn nothing_is_written_into_a_repo_of_a_newer_format() {
    let dir = temporary("newer-config");
    let node = Node::init(&dir.path().join("repo"));
    node.run(["key", "gen", "k0"]).ok();
    fs::write(node.repo().join("holdfast-version"), "99\n").unwrap();
    all_refused(&node, &dir.path().join("before"), "has format 99");
}

#[test]
fn changes_at_the_same_time_are_all_kept() {
    let dir = temporary("together");
    let node = Node::init(&dir.path().join("repo"));
    let line = |number: usize| {
        [
            "config".to_owned(),
            "--json".to_owned(),
            format!("Gateway.HTTPHeaders.X{number}"),
            "[\"a\"]".to_owned(),
        ]
    };
    let children: Vec<_> = (0..20).map(|number| node.command(line(number)).spawn().unwrap()).collect();
    let answers = children
        .into_iter()
        .enumerate()
        .map(|(number, child)| finish(child, line(number).join(" "), &[], Duration::from_secs(120)));
    let kept =
        |number: usize| node.run(["config", &format!("Gateway.HTTPHeaders.X{number}")]).code == Some(0);
    for (number, answer) in answers.collect::<Vec<_>>().into_iter().enumerate() {
        // A very slow machine may give up waiting, and says so.
        assert_eq!(kept(number), answer.code == Some(0), "`{}`: {}", answer.line, answer.err());
        assert!(
            answer.code == Some(0) || answer.err().contains("someone else has the lock"),
            "{}",
            answer.err()
        );
    }
}

#[test]
fn a_change_beside_a_process_that_holds_the_repo_is_told_which_and_reading_needs_no_lock() {
    let dir = temporary("held");
    let node = Node::init(&dir.path().join("repo"));
    // An add that waits for its input holds the repo.
    let mut holder = node.command(["add", "-q"]).spawn().unwrap();
    let input = holder.stdin.take();
    let pid = holder.id().to_string();
    let deadline = Instant::now() + Duration::from_secs(30);
    while fs::read_to_string(node.repo().join("repo.lock")).unwrap_or_default().trim() != pid {
        assert!(Instant::now() < deadline, "the first process never took the lock");
        std::thread::sleep(Duration::from_millis(20));
    }
    for args in [&["config", "Datastore.StorageMax", "7GB"][..], &["key", "gen", "k1"]] {
        let refused = node.run(args).failed();
        assert!(refused.err().contains(&format!("(process {pid})")), "{}", refused.err());
    }
    for args in [&["config", "show"][..], &["key", "list"], &["bootstrap"], &["id"]] {
        node.run(args).ok();
    }
    node.run(["config", "profile", "apply", "--dry-run", "server"]).ok();
    drop(input);
    finish(holder, "add -q".to_owned(), &[], Duration::from_secs(60)).ok();
    node.run(["config", "Datastore.StorageMax", "7GB"]).ok();
}

#[test]
fn what_killed_changes_left_of_private_keys_goes_with_the_next_change() {
    let dir = temporary("left");
    let node = Node::init(&dir.path().join("repo"));
    let left = [".a1B2c3.tmp", ".tmp-a1B2c3", "keystore/.a1B2c3.tmp"].map(|name| node.repo().join(name));
    for path in &left {
        fs::write(path, "PrivKey").unwrap();
    }
    node.run(["config", "Datastore.StorageMax", "7GB"]).ok();
    for path in &left {
        assert!(!path.exists(), "{}", path.display());
    }
}

#[test]
fn the_peer_id_cannot_be_set_to_another_and_auto_is_not_expanded_into_the_file() {
    let dir = temporary("identity");
    let node = Node::init(&dir.path().join("repo"));
    let own = node.run(["config", "Identity.PeerID"]).ok().out();
    let words = "Error: cannot set Identity.PeerID to a value that does not match the node's private key; use 'ipfs \
                 key rotate' to change the node identity";
    for wrong in ["x", "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"] {
        assert_eq!(node.run(["config", "Identity.PeerID", wrong]).failed().error_line(), words);
        assert_eq!(node.run(["config", "identity.peerid", wrong]).failed().error_line(), words);
    }
    // Its own name is accepted in any form, and written in the usual one.
    let as_cid = node.run(["id", "--peerid-base=base36", "-f", "<id>"]).ok().out();
    node.run(["config", "Identity.PeerID", as_cid.trim()]).ok();
    assert_eq!(node.run(["config", "Identity.PeerID"]).ok().out(), own);
    assert_eq!(node.run(["config", "Datastore.StorageMax"]).ok().out(), "10GB\n");
}

#[test]
fn the_option_for_reading_what_auto_stands_for_is_refused_where_the_config_is_changed() {
    let dir = temporary("expand-auto");
    let node = Node::init(&dir.path().join("repo"));
    let before = fs::read(node.repo().join("config")).unwrap();
    let file = dir.path().join("new");
    fs::write(&file, String::from_utf8_lossy(&before).replace("10GB", "4GB")).unwrap();
    let file = file.to_str().unwrap();
    for line in [
        &["config", "--expand-auto", "Datastore.StorageMax", "4GB"][..],
        &["config", "replace", "--expand-auto", file],
        &["config", "edit", "--expand-auto"],
        &["config", "profile", "apply", "--expand-auto", "lowpower"],
        &["config", "profile", "apply", "--dry-run", "--expand-auto", "lowpower"],
    ] {
        assert_eq!(
            node.run(line).failed().error_line(),
            "Error: --expand-auto can only be used for reading config values, not for setting them",
            "{line:?}"
        );
    }
    assert_eq!(fs::read(node.repo().join("config")).unwrap(), before);
}

#[test]
fn auto_stands_for_the_public_network_and_for_nobody_in_another() {
    let dir = temporary("auto");
    let node = Node::init(&dir.path().join("repo"));
    let own = "/ip4/10.1.2.3/tcp/4001/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
    node.run(["config", "--json", "Bootstrap", &format!(r#"["auto", "{own}"]"#)]).ok();
    node.run(["config", "--json", "AutoConf.Enabled", "true"]).ok();
    let expanded = || node.run(["bootstrap", "list", "--expand-auto"]).ok().out();
    assert!(expanded().lines().count() > 4, "{}", expanded());
    assert_eq!(node.run(["bootstrap", "list"]).ok().out(), format!("{own}\nauto\n"));
    node.run(["config", "--json", "AutoConf.Enabled", "false"]).ok();
    assert_eq!(expanded(), format!("{own}\n"));
    node.run(["config", "--json", "AutoConf.Enabled", "true"]).ok();
    let key = format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", "07".repeat(32));
    fs::write(node.repo().join("swarm.key"), key).unwrap();
    assert_eq!(expanded(), format!("{own}\n"));
}

#[test]
fn the_config_is_shown_with_what_the_node_uses_instead_of_auto() {
    let dir = temporary("expanded");
    let node = Node::init(&dir.path().join("repo"));
    node.run(["config", "profile", "apply", "autoconf-on"]).ok();
    let json = |words: &[&str]| {
        let out = node.run(words).ok().out();
        serde_json::from_str::<serde_json::Value>(&out).unwrap_or_else(|error| panic!("{out}: {error}"))
    };
    assert_eq!(json(&["config", "Bootstrap"]), serde_json::json!(["auto"]));
    let bootstrap = json(&["config", "--expand-auto", "Bootstrap"]);
    assert_eq!(bootstrap.as_array().map(Vec::len), Some(6), "{bootstrap}");
    assert_eq!(json(&["config", "--expand-auto", "Routing.DelegatedRouters"]), serde_json::json!([]));
    let built_in = serde_json::json!({ ".": "", "eth.": "https://dns.eth.limo/dns-query" });
    assert_eq!(json(&["config", "--expand-auto", "DNS.Resolvers"]), built_in);
    let (shown, whole) = (json(&["config", "show"]), json(&["config", "show", "--expand-auto"]));
    assert_eq!((&whole["Bootstrap"], &shown["Bootstrap"]), (&bootstrap, &serde_json::json!(["auto"])));
    assert_eq!(whole["Ipns"]["DelegatedPublishers"], serde_json::json!([]));
    assert_eq!((&whole["Datastore"], &whole["Identity"]), (&shown["Datastore"], &shown["Identity"]));
    for words in [&["config", "--expand-auto", "Bootstrap"][..], &["bootstrap", "list", "--expand-auto"]] {
        let forced = node.command(words).env("LIBP2P_FORCE_PNET", "1").output().unwrap();
        let out = String::from_utf8_lossy(&forced.stdout);
        assert!(forced.status.success() && matches!(out.trim(), "" | "[]"), "{words:?}: {out}");
    }
    let mut forced = node.command(["config", "--expand-auto", "DNS.Resolvers"]);
    let forced = forced.env("LIBP2P_FORCE_PNET", "1").output().unwrap();
    let resolvers: serde_json::Value = serde_json::from_slice(&forced.stdout).unwrap();
    assert_eq!(resolvers, serde_json::json!({ ".": "" }), "nobody outside");
    node.run(["config", "profile", "apply", "test"]).ok();
    assert_eq!(json(&["config", "--expand-auto", "DNS.Resolvers"]), serde_json::json!({}));
}

#[test]
fn a_repo_that_is_not_to_be_empty_holds_its_help_files() {
    let dir = temporary("documents");
    let node = Node::at(&dir.path().join("repo"));
    let out = node.run(["init", "--profile=test", "--empty-repo=false"]).ok().out();
    let path =
        out.split_whitespace().find(|word| word.starts_with("/ipfs/")).expect("where to begin is said");
    assert!(path.ends_with("/readme"), "{out}");
    assert!(node.run(["cat", path]).ok().out().contains("quick-start"));
    let folder = path.trim_end_matches("/readme").trim_start_matches("/ipfs/");
    assert!(node.run(["pin", "ls", "--type=recursive"]).ok().out().contains(folder));
    let empty = Node::init(&dir.path().join("empty"));
    assert_eq!(empty.run(["pin", "ls", "--type=recursive"]).ok().out(), "");
}

fn storage_max(answer: Answer) -> String {
    answer.ok().out().trim_end().to_owned()
}

#[test]
fn a_named_config_file_stands_in_for_that_of_the_repo() {
    const KEY: [&str; 2] = ["config", "Datastore.StorageMax"];
    let dir = temporary("named-config");
    let node = Node::init(&dir.path().join("repo"));
    let other = dir.path().join("other.json");
    fs::copy(node.repo().join("config"), &other).unwrap();
    let named = other.to_str().unwrap();
    let with = |options: &[&str], rest: &[&str]| node.run([options, rest].concat());
    let own = storage_max(node.run(KEY));
    assert_ne!(own, "7GB");

    with(&["--config-file", named], &["config", "Datastore.StorageMax", "7GB"]).ok();
    assert_eq!(storage_max(node.run(KEY)), own, "the repo's own file is as it was");
    for options in [&["-c", named][..], &["--config", named], &["--config-file", named]] {
        assert_eq!(storage_max(with(options, &KEY)), "7GB", "{options:?}");
    }
    // Nothing else moves: blocks go to the same repo.
    let cid = node.run_with(["-c", named, "add", "-Q"], b"one repo").ok().cid();
    assert_eq!(node.run(["cat", &cid]).ok().out(), "one repo");
    let nowhere = dir.path().join("nowhere.json");
    for line in [&KEY[..], &["add", "-Q"]] {
        let said = with(&["--config-file", nowhere.to_str().unwrap()], line).failed().error_line();
        let words =
            format!("Error: open {}: no such file or directory: --config-file names it", nowhere.display());
        assert!(said.starts_with(&words), "{said}");
    }
    assert!(!nowhere.exists(), "a file that is not there is not made");

    // A daemon keeps to the file that it was started with, whatever a later command line names.
    let daemon = Daemon::start(&node, &["--config-file", named]);
    assert_eq!(storage_max(node.run(KEY)), "7GB");
    let repo_config = node.repo().join("config");
    let at_home = ["-c", repo_config.to_str().unwrap()];
    assert_eq!(storage_max(with(&at_home, &KEY)), "7GB");
    node.run(["config", "Datastore.StorageMax", "8GB"]).ok();
    assert_eq!(node.run(["-c", named, "cat", &cid]).ok().out(), "one repo");
    daemon.stop().ok();
    assert_eq!(storage_max(with(&["-c", named], &KEY)), "8GB", "the daemon wrote to its own file");
    assert_eq!(storage_max(node.run(KEY)), own);
}

#[test]
fn a_named_repo_stands_in_for_that_of_the_environment() {
    let dir = temporary("named-repo");
    let (here, there) = (Node::init(&dir.path().join("here")), Node::init(&dir.path().join("there")));
    let named = there.repo().to_str().unwrap();
    let identity = ["config", "Identity.PeerID"];
    let who = |node: &Node| node.run(identity).ok().out();
    assert_ne!(who(&here), who(&there));
    let cid = here.run_with(["--repo-dir", named, "add", "-Q"], b"over there").ok().cid();
    let offline = ["cat", "--offline", &cid];
    assert_eq!(there.run(offline).ok().out(), "over there");
    here.run(offline).failed();

    // The daemon of the named repo is found by the file in that repo, and that of the environment's is not asked.
    let daemons = [Daemon::start(&here, &[]), Daemon::start(&here, &["--repo-dir", named])];
    let addresses: Vec<String> =
        [&here, &there].iter().map(|node| fs::read_to_string(node.repo().join("api")).unwrap()).collect();
    for (daemon, address) in daemons.iter().zip(&addresses) {
        assert_eq!(daemon.api_multiaddrs(), [address.as_str()]);
    }
    assert_eq!(here.run([&["--repo-dir", named][..], &identity].concat()).ok().out(), who(&there));
    assert_eq!(here.run([&["--repo-dir", named][..], &offline].concat()).ok().out(), "over there");
    here.run(offline).failed();
    for daemon in daemons {
        daemon.stop().ok();
    }
}
