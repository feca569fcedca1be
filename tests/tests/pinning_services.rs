//! Somebody has what they store here kept by a pinning service too.
//!
//! The service of these tests has a state of its own: what it calls pinned, a second daemon has really fetched from the first,
//! by the addresses that it was told.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::{Arc, Mutex};

use holdfast_tests::ask::{Ask, escape};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::temporary;
use holdfast_tests::pinning_service::{Canned, PinningService};
use holdfast_tests::run::Node;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use serde_json::{Value, json};

const KEY: &str = "s3cret-of-the-service";
const CID: &str = "bafkreiafdxaehozptg73zud3kraoqdyc4vg2jzpwad26m4cnwj4gopmshm";
const OTHER: &str = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";
/// The block is in the CID, so that every node has it.
const INLINE: &str = "bafkqaaa";

/// A repo that knows a service, which takes for pinned whatever it is asked for.
fn with_service(name: &str) -> (tempfile::TempDir, Node, PinningService) {
    let dir = temporary(name);
    let node = Node::init(&dir.path().join("repo"));
    let service = PinningService::start(KEY, |_| Ok(()));
    register(&node, &service);
    (dir, node, service)
}

fn register(node: &Node, service: &PinningService) {
    node.run(["pin", "remote", "service", "add", "nest", &service.endpoint(), KEY]).ok();
}

/// A service whose pinner is a daemon of its own.
fn with_pinner(pinner: &Arc<Mutex<Option<Peer>>>) -> PinningService {
    let pinner = Arc::clone(pinner);
    PinningService::start(KEY, move |asked| {
        let pinner = pinner.lock().unwrap();
        let Some(peer) = pinner.as_ref() else { return Err("the pinner is gone".to_owned()) };
        let api = peer.daemon().api();
        for origin in &asked.origins {
            // One that leads nowhere is no failure: there are others.
            Ask::with_args("swarm/connect", &[origin]).send(api);
        }
        let pin = Ask::with_args("pin/add?timeout=60s", &[&asked.cid]).send(api);
        if pin.status() == 200 { Ok(()) } else { Err(pin.text()) }
    })
}

#[test]
fn a_service_that_was_asked_has_fetched_everything_from_here_when_it_says_pinned() {
    let dir = temporary("pinning-real");
    let peer = Peer::start(dir.path(), "us", &[], None);
    let far = Peer::start(dir.path(), "pinner", &[], None);
    let (far_id, far_address) = (far.id().to_owned(), far.address("tcp"));
    let pinner = Arc::new(Mutex::new(Some(far)));
    let service = with_pinner(&pinner);
    service.set_delegates(&["/ip4/127.0.0.1/tcp/1/p2p/rubbish".to_owned(), far_address]);
    register(peer.node(), &service);
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).take(3_000_000).collect();
    std::fs::write(folder.join("large"), &bytes).unwrap();
    let root = peer.add(&[], &folder);

    let told = peer.run(["pin", "remote", "add", "--service=nest", "--name=kept", &root]).ok().out();
    assert_eq!(told, format!("CID:    {root}\nName:   kept\nStatus: pinned\n"));
    let [pin] = service.pins().try_into().unwrap();
    assert_eq!((pin.asked.cid.as_str(), pin.status), (root.as_str(), "pinned"));
    let ours = format!("/p2p/{}", peer.id());
    assert!(
        !pin.asked.origins.is_empty() && pin.asked.origins.iter().all(|one| one.ends_with(&ours)),
        "{pin:?}"
    );
    // The other daemon has it all, and nobody has to be asked for it.
    let far = pinner.lock().unwrap().take().unwrap();
    assert!(far.run(["pin", "ls", "--type=recursive"]).ok().out().contains(&root));
    peer.wait_for_peer(&far_id);
    peer.stop();
    assert_eq!(far.run(["cat", "--offline", &format!("{root}/large")]).ok().stdout, bytes);
    // What cannot be fetched fails, and the command with it.
    let again = Peer::with(far.stop());
    register(again.node(), &service);
    let failed = again.run(["pin", "remote", "add", "--service=nest", "--name=lost", &root]).failed();
    assert!(
        failed.error_line().starts_with("Error: remote service failed to pin requestid=\"request/"),
        "{failed:?}"
    );
    let listed = again.run(["pin", "remote", "ls", "--service=nest", "--status=failed"]).ok().out();
    assert_eq!(listed, format!("{root}\tfailed\tlost\n"));
}

#[test]
fn pins_are_listed_counted_and_removed_as_the_command_line_says() {
    let (_dir, node, service) = with_service("pinning-list");
    assert_eq!(
        node.run(["pin", "remote", "service", "ls"]).ok().out(),
        format!("nest {}\n", service.endpoint())
    );
    for (cid, name, status) in
        [(CID, "a", "pinned"), (CID, "b", "queued"), (OTHER, "a", "pinned"), (OTHER, "c", "failed")]
    {
        service.put(cid, name, status);
    }
    let ls = |args: &[&str]| node.run([&["pin", "remote", "ls", "--service=nest"], args].concat()).ok().out();
    assert_eq!(ls(&[]), format!("{OTHER}\tpinned\ta\n{CID}\tpinned\ta\n"), "the newest first");
    assert_eq!(ls(&["--name=a", &format!("--cid={CID}")]), format!("{CID}\tpinned\ta\n"));
    let both = ["--status=queued,failed", "--cid", &format!("{CID},{OTHER}")];
    assert_eq!(ls(&both), format!("{OTHER}\tfailed\tc\n{CID}\tqueued\tb\n"));
    assert_eq!(ls(&["--status=queued", "--status=pinning"]), format!("{CID}\tqueued\tb\n"));
    assert_eq!(ls(&["--name=none"]), "");
    let base16 = ls(&["--status=queued", "--cid-base=base16"]);
    assert!(base16.starts_with("f01551220"), "{base16}");
    let stat = node.run(["pin", "remote", "service", "ls", "--stat"]).ok().out();
    assert_eq!(stat, format!("nest {} 1/0/2/1\n", service.endpoint()));

    let rm = |args: &[&str]| node.run([&["pin", "remote", "rm", "--service=nest"], args].concat());
    let many = "Error: multiple remote pins are matching this query, add --force to confirm the bulk removal";
    assert_eq!(rm(&[]).failed().error_line(), many);
    assert_eq!(service.pins().len(), 4, "nothing was removed");
    rm(&["--name=none"]).ok();
    assert_eq!(rm(&["--status=queued"]).ok().out(), "");
    rm(&["--force", "--name=a"]).ok();
    let left: Vec<String> = service.pins().into_iter().map(|pin| pin.asked.name).collect();
    assert_eq!(left, ["c"]);
}

#[test]
fn a_list_of_many_pages_is_whole() {
    let (_dir, node, service) = with_service("pinning-pages");
    let names: Vec<String> = (0..25).map(|number| format!("n{number}")).collect();
    for name in &names {
        drop(service.put(CID, name, "pinned"));
    }
    service.set_page_max(4);
    let out = node.run(["pin", "remote", "ls", "--service=nest"]).ok().out();
    let listed: Vec<&str> = out.lines().map(|line| line.rsplit('\t').next().unwrap()).collect();
    assert_eq!(listed, names.iter().rev().collect::<Vec<_>>());
    assert_eq!(service.requests().len(), 7, "one request a page");
    node.run(["pin", "remote", "rm", "--service=nest", "--force"]).ok();
    assert!(service.pins().is_empty());
}

#[test]
fn scripts_over_http_see_what_they_see_of_kubo() {
    let (_dir, node, service) = with_service("pinning-http");
    let daemon = Daemon::alone(&node, &[]);
    let cid = node.run_with(["add", "-Q", "--cid-version=1"], b"kept elsewhere too").ok().cid();
    let path = format!("pin/remote/add?service=nest&name={}", escape("a b"));
    let added = Ask::with_args(&path, &[&cid]).send(daemon.api()).ok();
    assert_eq!(added.value(), json!({"Status": "pinned", "Cid": cid, "Name": "a b"}));
    let added =
        Ask::with_args("pin/remote/add?service=nest&background=true", &[INLINE]).send(daemon.api()).ok();
    assert_eq!(added.value(), json!({"Status": "queued", "Cid": INLINE, "Name": ""}));
    wait_until("the service has pinned it", || {
        let pins = service.pins();
        if pins.iter().all(|pin| pin.status == "pinned") { Ok(()) } else { Err(pins) }
    });
    let listed = Ask::command("pin/remote/ls?service=nest").send(daemon.api()).ok();
    assert_eq!(
        listed.values(),
        [
            json!({"Status": "pinned", "Cid": INLINE, "Name": ""}),
            json!({"Status": "pinned", "Cid": cid, "Name": "a b"}),
        ]
    );
    let stat = Ask::command("pin/remote/service/ls?stat=true").send(daemon.api()).ok().value();
    let counts = json!({"Queued": 0, "Pinning": 0, "Pinned": 2, "Failed": 0});
    let expected = json!({"Service": "nest", "ApiEndpoint": service.endpoint(), "Stat": {"Status": "valid", "PinCount": counts}});
    assert_eq!(stat, json!({"RemoteServices": [expected]}));
    let removed = Ask::command(&format!("pin/remote/rm?service=nest&cid={cid}")).send(daemon.api()).ok();
    assert_eq!(removed.text(), "");
    // A service that comes while the daemon runs is known at once.
    let second = PinningService::start("other", |_| Ok(()));
    Ask::with_args("pin/remote/service/add", &["second", &second.endpoint(), "other"])
        .send(daemon.api())
        .ok();
    Ask::command("pin/remote/ls?service=second").send(daemon.api()).ok();
    daemon.stop();
}

#[test]
fn mistakes_are_told_in_kubos_words() {
    let (_dir, node, service) = with_service("pinning-words");
    let long = format!("--name={}", "n".repeat(256));
    let lines: &[(&[&str], &str)] = &[
        (&["ls"], "a service name must be passed"),
        (&["add", INLINE], "a service name must be passed"),
        (&["rm", "--service="], "remote pinning service name not specified"),
        (&["ls", "--service=nobody"], "service not known"),
        (&["add", "--service=nobody", INLINE], "service not known"),
        (&["ls", "--service=nest", "--status=lost"], "status \"lost\" is not valid"),
        (
            &["rm", "--service=nest", "--status=lost"],
            "error while listing remote pins: status \"lost\" is not valid",
        ),
        (&["ls", "--service=nest", "--cid=zzz"], "CID \"zzz\" cannot be parsed: "),
        (&["ls", "--service=nest", &long], "pin name is 256 bytes (max 255 bytes)"),
        (&["add", "--service=nest", &long, INLINE], "pin name is 256 bytes (max 255 bytes)"),
    ];
    for (line, words) in lines {
        let answer = node.run([&["pin", "remote"], *line].concat()).failed();
        assert!(answer.error_line().starts_with(&format!("Error: {words}")), "{answer:?}");
    }
    assert!(service.requests().is_empty(), "nobody was bothered");
    let warned = node.run(["pin", "remote", "add", "--service=nest", INLINE]).ok().out();
    assert_eq!(warned, format!("CID:    {INLINE}\nName:   \nStatus: pinned\n"));
    let cid = node.run_with(["add", "-Q"], b"alone").ok().cid();
    let warned = node.run(["pin", "remote", "add", "--service=nest", &cid]).ok().out();
    assert!(warned.starts_with("WARNING: the local node is offline and remote pinning may fail"), "{warned}");
}

/// `pin remote ls`, which fails, in words that hold no secret.
fn failed_list(node: &Node) -> String {
    let answer = node.run(["pin", "remote", "ls", "--service=nest"]).failed();
    let said = format!("{}{}", answer.out(), answer.err());
    assert!(!said.contains(KEY), "{said}");
    answer.error_line()
}

#[test]
fn refusals_are_told_with_what_helps_and_never_with_the_key() {
    let (_dir, node, service) = with_service("pinning-refusals");
    for (status, words) in [
        (403, "does not allow this"),
        (404, "its endpoint is wrong"),
        (409, "at odds"),
        (500, "the service itself is at fault"),
    ] {
        service.answer_next([Canned::refusal(status, "REASON", &format!("you said {KEY}\u{1b}[2J"))]);
        let said = failed_list(&node);
        let begin = "Error: reason: \"REASON\", details: \"you said (redacted)\\x1b[2J\": ";
        assert!(said.starts_with(begin) && said.contains(words), "{said}");
    }
    service.answer_next([Canned::Answer(502, String::new(), "<html>".to_owned())]);
    assert!(failed_list(&node).starts_with("Error: remote pinning service returned http error 502"));
    // Whoever has the wrong key is told so, by a service that says the key back.
    node.run(["pin", "remote", "service", "rm", "nest"]).ok();
    node.run(["pin", "remote", "service", "add", "nest", &service.endpoint(), "wrong-key"]).ok();
    let said = failed_list(&node);
    assert!(said.contains("does not accept the key") && !said.contains("wrong-key"), "{said}");
    let stat = node.run(["pin", "remote", "service", "ls", "--stat"]).ok().out();
    assert_eq!(stat, format!("nest {} invalid\n", service.endpoint()));
}

#[test]
fn a_service_that_asks_for_patience_is_asked_again_and_not_for_ever() {
    let (_dir, node, service) = with_service("pinning-patience");
    let busy = |seconds: &str| Canned::Answer(429, format!("Retry-After: {seconds}\r\n"), String::new());
    service.answer_next([busy("1"), busy("0")]);
    node.run(["pin", "remote", "add", "--service=nest", INLINE]).ok();
    assert_eq!(service.pins().len(), 1, "it was asked for once in the end");
    service.answer_next([busy("86400")]);
    assert!(failed_list(&node).contains("try again in 86400 s"));
    let before = service.requests().len();
    service.answer_next(vec![busy("0"); 50]);
    assert!(failed_list(&node).contains("429"));
    assert!(service.requests().len() - before <= 5, "{:?}", service.requests());
    service.behave();
}

#[test]
fn a_hostile_service_costs_an_error_and_nothing_more() {
    let (_dir, node, service) = with_service("pinning-hostile");
    let elsewhere = PinningService::start(KEY, |_| Ok(()));
    let moved = format!("Location: {}/pins\r\n", elsewhere.endpoint());
    let pin = |more: Value| {
        let mut pin = json!({"requestid": "1", "status": "pinned", "created": "x", "pin": {"cid": CID}, "delegates": []});
        pin.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        pin
    };
    let list =
        |count: u64, results: Value| Canned::ok(json!({"count": count, "results": results}).to_string());
    let huge = format!("{{\"count\":1,\"results\":[],\"x\":\"{}\"}}", "x".repeat(5 << 20));
    let lie = "Content-Length: 99999999999999999999\r\n";
    for (canned, words) in [
        (Canned::Endless, "is longer than"),
        (Canned::ok(huge), "is longer than"),
        (Canned::ok("<html>"), "not one of the Pinning Service API"),
        (Canned::ok("[".repeat(100_000)), "not one of the Pinning Service API"),
        (Canned::ok("{}"), "not one of the Pinning Service API"),
        (list(1, json!({})), "not one of the Pinning Service API"),
        (list(1, json!([pin(json!({"requestid": 7}))])), "not one of the Pinning Service API"),
        (list(1, json!([pin(json!({"status": "lost"}))])), "not one of the Pinning Service API"),
        (list(1, json!([pin(json!({"pin": {"cid": "zzz"}}))])), "not one of the Pinning Service API"),
        (list(7, json!([])), "PinResults.count=7 but no PinResults.results"),
        (Canned::Answer(302, moved.clone(), String::new()), "are not followed"),
        (Canned::Answer(307, moved, String::new()), "are not followed"),
        (Canned::Nothing, "empty response from remote pinning service"),
        (Canned::Answer(200, lie.to_owned(), String::new()), "empty response from remote pinning service"),
    ] {
        service.answer_next([canned]);
        let said = failed_list(&node);
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(elsewhere.requests().is_empty(), "the key went nowhere else");
    // The same page again and again ends too.
    service.answer_next(vec![list(99, json!([pin(json!({}))])); 100]);
    let answer = node.run(["pin", "remote", "ls", "--service=nest"]).failed();
    assert!(answer.error_line().contains("does not give them page by page"), "{answer:?}");
    service.behave();
    assert!(service.requests().len() < 30, "{:?}", service.requests());
    // A pin's name reaches no terminal as it is.
    service.put(CID, "\u{1b}[2Jname", "pinned");
    let out = node.run(["pin", "remote", "ls", "--service=nest"]).ok().out();
    assert!(out.contains(CID) && out.lines().count() == 1, "{out:?}");
}

#[test]
fn nobody_waits_longer_than_they_said() {
    let (_dir, node, service) = with_service("pinning-silent");
    service.answer_next([Canned::Silent]);
    let answer = node.run(["pin", "remote", "ls", "--service=nest", "--timeout=2s"]).failed();
    assert!(answer.error_line().contains("context deadline exceeded"), "{answer:?}");
    service.behave();
    // A service that takes the request and never gets to it.
    let queued = json!({"requestid": "7", "status": "queued", "pin": {"cid": INLINE}}).to_string();
    service.answer_next(vec![Canned::ok(queued); 50]);
    let waiting = ["pin", "remote", "add", "--service=nest", "--timeout=4s", INLINE];
    let said = node.run(waiting).failed().error_line();
    assert_eq!(said, "Error: waiting for pin interrupted, requestid=\"7\" remains on remote service");
    service.behave();
}

/// A daemon that looks at its files' policy all the time.
fn keeping(node: &Node, more: &[(&str, &str)]) -> Daemon {
    let mut node = node.variable("MFS_PIN_POLL_INTERVAL", "50ms");
    for (name, value) in more {
        node = node.variable(name, value);
    }
    Daemon::alone(&node, &[])
}

fn set_policy(node: &Node, policy: &Value) {
    let key = "Pinning.RemoteServices.nest.Policies.MFS";
    node.run(["config", "--json", key, &policy.to_string()]).ok();
}

fn wait_for_root(service: &PinningService, name: &str, root: &str) {
    wait_until("the files root is the one pin", || {
        let pins = service.pins();
        match pins.as_slice() {
            [pin] if pin.asked.name == name && pin.asked.cid == root && pin.status == "pinned" => Ok(()),
            _ => Err(pins),
        }
    });
}

#[test]
fn the_files_root_stays_pinned_at_a_service_as_it_changes() {
    let (_dir, node, service) = with_service("pinning-mfs");
    let root = || node.run(["files", "stat", "--hash", "/"]).ok().out().trim().to_owned();
    set_policy(&node, &json!({"Enable": true, "PinName": "", "RepinInterval": "50ms"}));
    service.put(CID, "of somebody else", "pinned");
    let daemon = keeping(&node, &[]);
    node.run_with(["files", "write", "--create", "/one"], b"one").ok();
    let id = node.run(["config", "Identity.PeerID"]).ok().out();
    let name = format!("policy/{}/mfs", id.trim());
    node.run(["pin", "remote", "rm", "--service=nest", "--name=of somebody else"]).ok();
    wait_for_root(&service, &name, &root());
    let before = root();
    node.run_with(["files", "write", "--create", "/two"], b"two").ok();
    assert_ne!(root(), before);
    wait_for_root(&service, &name, &root());
    assert!(
        service.requests().iter().any(|request| request.starts_with("POST /psa/pins/")),
        "it was replaced"
    );
    daemon.stop().ok();
    // After a start, what is there is found and not pinned twice.
    let asked = || service.requests().iter().filter(|request| request.starts_with("POST")).count();
    let (before, listed) = (asked(), service.requests().len());
    let daemon = keeping(&node, &[]);
    wait_until("the service is asked what it has", || {
        let requests = service.requests();
        if requests.len() > listed { Ok(()) } else { Err(requests) }
    });
    // A policy that is changed in the config counts from then on.
    set_policy(&node, &json!({"Enable": true, "PinName": "mine", "RepinInterval": "50ms"}));
    wait_until("a pin of the new name", || {
        let pins = service.pins();
        if pins.iter().any(|pin| pin.asked.name == "mine" && pin.asked.cid == root()) {
            Ok(())
        } else {
            Err(pins)
        }
    });
    assert_eq!(asked(), before + 1);
    daemon.stop().ok();
}

#[test]
fn a_files_root_that_is_not_pinned_is_told_in_the_log_and_tried_again() {
    let (dir, node, service) = with_service("pinning-mfs-log");
    set_policy(&node, &json!({"Enable": true, "PinName": "mine", "RepinInterval": "50ms"}));
    node.run_with(["files", "write", "--create", "/one"], b"one").ok();
    let root = node.run(["files", "stat", "--hash", "/"]).ok().out().trim().to_owned();
    service.answer_next(vec![Canned::refusal(401, "UNAUTHORIZED", KEY); 3]);
    // Lines go to both places that are named.
    let file = dir.path().join("log");
    let (output, level) = (("GOLOG_OUTPUT", "stdout+file"), ("GOLOG_LOG_LEVEL", "info"));
    let daemon = keeping(&node, &[output, level, ("GOLOG_FILE", file.to_str().unwrap())]);
    wait_for_root(&service, "mine", &root);
    let told = [
        format!("the files root {root} is not pinned at \"nest\": reason: \"UNAUTHORIZED\""),
        "does not accept the key".to_owned(),
        format!("\"nest\" was asked to pin the files root {root}"),
    ];
    for text in [
        wait_until("the log on standard output", || {
            let text = daemon.lines().join("\n");
            if told.iter().all(|told| text.contains(told)) { Ok(text) } else { Err(text) }
        }),
        wait_until("the log in the file", || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if told.iter().all(|told| text.contains(told)) { Ok(text) } else { Err(text) }
        }),
    ] {
        assert!(!text.contains(KEY), "{text}");
    }
    assert!(!daemon.stderr().contains("files root"), "and to no other: {}", daemon.stderr());
    daemon.stop().ok();
}
