//! A user names what changes: publishes it, reads it under its name with every command that takes a path, carries signed
//! records from one node to another, and proves with a key who he is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::{data, temporary};
use holdfast_tests::run::{Answer, Node, finish};
use rustix::process::Signal;
use serde_json::Value;

fn published(answer: &Answer) -> String {
    answer.out().trim().to_owned()
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.stdout).unwrap()
}

#[test]
fn what_is_published_is_read_under_its_name_wherever_a_path_is_taken() {
    let dir = temporary("names-read");
    let node = Node::init(&dir.path().join("repo"));
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "content").unwrap();
    let root = node.run(["add", "-rQ", tree.to_str().unwrap()]).ok().cid();
    let file = node.run(["resolve", &format!("/ipfs/{root}/file")]).ok().out();
    let name = published(&node.run(["name", "publish", "-Q", "--allow-offline", &root]).ok());
    assert!(name.starts_with("k51"), "{name}");
    let path = format!("/ipns/{name}/file");
    let out = |args: &[&str]| node.run(args).ok().out();

    assert_eq!(out(&["cat", &path]), "content");
    assert_eq!(out(&["cat", &format!("ipns://{name}/file")]), "content");
    assert_eq!(out(&["ls", &format!("/ipns/{name}")]), out(&["ls", &root]));
    assert_eq!(out(&["resolve", &path]), file);
    assert_eq!(out(&["resolve", "-r=false", &path]), format!("/ipfs/{root}/file\n"));
    assert_eq!(out(&["refs", &format!("/ipns/{name}")]), out(&["refs", &root]));
    assert_eq!(out(&["dag", "get", &format!("/ipns/{name}")]), out(&["dag", "get", &root]));
    assert_eq!(out(&["block", "stat", &format!("/ipns/{name}")]), out(&["block", "stat", &root]));
    assert_eq!(
        out(&["dag", "stat", "--progress=false", &format!("/ipns/{name}")]),
        out(&["dag", "stat", "--progress=false", &root])
    );
    assert_eq!(out(&["pin", "add", &format!("/ipns/{name}")]), format!("pinned {root} recursively\n"));
    assert_eq!(out(&["files", "stat", "--hash", &format!("/ipns/{name}")]), format!("{root}\n"));
    out(&["files", "cp", &path, "/copy"]);
    assert_eq!(out(&["files", "read", "/copy"]), "content");
    let gotten = dir.path().join("gotten");
    out(&["get", "-o", gotten.to_str().unwrap(), &path]);
    assert_eq!(fs::read_to_string(gotten).unwrap(), "content");

    // A name may point at a name.
    node.run(["key", "gen", "second"]).ok();
    let to_name = ["name", "publish", "-Q", "--allow-offline", "--key=second", &format!("/ipns/{name}")];
    let second = published(&node.run(to_name).ok());
    assert_eq!(out(&["cat", &format!("/ipns/{second}/file")]), "content");
    assert_eq!(out(&["name", "resolve", &second]), format!("/ipfs/{root}\n"));
    assert_eq!(out(&["name", "resolve", "--recursive=false", &second]), format!("/ipns/{name}\n"));
    assert_eq!(out(&["name", "resolve", "--stream"]), format!("/ipfs/{root}\n"));
}

#[test]
fn a_node_without_a_network_says_what_it_cannot_do() {
    let dir = temporary("names-words");
    let node = Node::init(&dir.path().join("repo"));
    let stranger = "k51qzi5uqu5dk3v4rmjber23h16xnr23bsggmqqil9z2gduiis5se8dht36dam";
    let none = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
    for (args, words) in [
        (
            &["name", "publish", "--resolve=false", none][..],
            "Error: can't publish while offline: pass `--allow-offline` to override or `--allow-delegated` if \
             Ipns.DelegatedPublishers are set up",
        ),
        (
            &["name", "publish", "--allow-offline", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"],
            "Error: block was not found locally (offline): ipld: could not find \
             QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
        ),
        (
            &["name", "publish", "--allow-offline", "--allow-delegated", none],
            "Error: cannot use both --allow-offline and --allow-delegated flags",
        ),
        (
            &["name", "publish", "--lifetime=1h", "--ttl=2h", none],
            "Error: ttl (2h0m0s) must not be greater than lifetime (1h0m0s)",
        ),
        (&["name", "publish", "--lifetime=0s", none], "Error: lifetime must be greater than zero, got 0s"),
        (
            &["name", "publish", "--lifetime=x", none],
            "Error: error parsing lifetime option: time: invalid duration \"x\"",
        ),
        (&["name", "publish", "--ttl=-1s", none], "Error: ttl must not be negative, got -1s"),
        (
            &["name", "publish", "--resolve=false", "--allow-offline", "--key=none", none],
            "Error: no key by the given name was found",
        ),
        (
            &["name", "publish", "--resolve=false", "--allow-offline", "--key", stranger, none],
            "Error: no key by the given name or PeerID was found",
        ),
        (
            &["name", "publish", "--resolve=false", "--allow-offline", "--sequence=0", none],
            "Error: sequence number must be greater than the current record sequence",
        ),
        (
            &["name", "resolve", &format!("/ipfs/{none}")],
            "Error: \"/ipfs/QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn\" is not an IPNS name",
        ),
        (&["name", "resolve", "--dht-timeout=-1s"], "Error: DHT timeout value must be >= 0"),
        (
            &["routing", "get", &format!("/ipns/{stranger}")],
            "Error: this action must be run in online mode, try running 'ipfs daemon' first",
        ),
        (&["routing", "get", "/foo/bar"], "Error: invalid key"),
        (&["name", "pubsub", "subs"], "Error: IPNS pubsub subsystem is not enabled"),
    ] {
        assert_eq!(node.run(args).failed().error_line(), words, "{args:?}");
    }
    for (args, words) in [
        (&["name", "resolve", stranger][..], "could not resolve name: there is no record of k51"),
        (&["cat", "/ipns/example.com"], "could not resolve name: \"example.com\" is looked up in the DNS"),
        (&["cat", "/ipns/bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"], "retry with /ipns/k"),
    ] {
        let error = node.run(args).failed().error_line();
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(node.run(["name", "pubsub", "state"]).ok().out(), "disabled\n");
    let mut command = node.command(["name", "resolve", "example.com"]);
    let child = command.env("IPFS_NS_MAP", format!("example.com:/ipfs/{none}")).spawn().unwrap();
    let answer = finish(child, "name resolve".to_owned(), &[], Duration::from_secs(60)).ok();
    assert_eq!(answer.out(), format!("/ipfs/{none}\n"));
}

#[test]
fn signed_records_are_carried_from_one_node_to_another_and_only_newer_ones_count() {
    let dir = temporary("names-carried");
    let (here, there) =
        (Node::init(&dir.path().join("here/repo")), Node::init(&dir.path().join("there/repo")));
    let file = dir.path().join("file");
    fs::write(&file, "content").unwrap();
    let root = here.run(["add", "-Q", file.to_str().unwrap()]).ok().cid();
    there.run(["add", "-Q", file.to_str().unwrap()]).ok();
    let publish = |path: &str, more: &[&str]| {
        let args = ["name", "publish", "-Q", "--allow-offline", "--resolve=false"];
        published(&here.run(args.iter().chain(more).chain([&path])).ok())
    };
    let name = publish(&format!("/ipfs/{root}/old"), &[]);
    let old = here.run(["name", "get", &name]).ok().stdout;
    publish(&format!("/ipfs/{root}"), &["--v1compat=false", "--lifetime=24h", "--ttl=90s"]);
    let new = here.run(["routing", "get", &format!("/ipns/{name}")]).ok().stdout;

    let inspected =
        json(&here.run_with(["name", "inspect", "--enc=json", "--dump=false", "--verify", &name], &new).ok());
    assert_eq!(inspected["Entry"]["Value"], format!("/ipfs/{root}"));
    assert_eq!(inspected["Entry"]["Sequence"], 1);
    assert_eq!(inspected["Entry"]["TTL"], 90_000_000_000_u64);
    assert_eq!(inspected["SignatureType"], "V2");
    assert_eq!(inspected["PbSize"], new.len());
    assert_eq!(inspected["HexDump"], "");
    assert_eq!(inspected["Validation"], serde_json::json!({ "Valid": true, "Reason": "", "Name": name }));
    let text = here.run_with(["name", "inspect", "--dump=false"], &old).ok().out();
    assert!(text.contains("Signature Type: V1+V2\n") && text.contains("TTL:            5m0s\n"), "{text}");
    assert!(text.ends_with("\nThis record was not verified. Pass '--verify k51...' to verify.\n"), "{text}");

    let put = |record: &[u8], more: &[&str]| {
        let args = ["name", "put", "--allow-offline", &name];
        there.run_with(args.iter().chain(more), record)
    };
    assert_eq!(put(&old, &[]).ok().out(), format!("{name}\n"));
    put(&old, &[]).ok();
    assert_eq!(json(&put(&new, &["--enc=json"]).ok())["Value"], format!("/ipfs/{root}"));
    assert_eq!(
        put(&old, &[]).failed().error_line(),
        "Error: existing IPNS record has sequence 1 >= new record sequence 0, use 'ipfs name put --force' to skip this \
         check"
    );
    assert_eq!(
        put(&old, &["--force"]).failed().error_line(),
        "Error: can't replace a newer value with an older value"
    );
    let mut broken = new.clone();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(
        put(&broken, &[]).failed().error_line(),
        "Error: record validation failed: signature verification failed"
    );
    assert_eq!(put(&broken, &["--force"]).failed().error_line(), "Error: signature verification failed");
    assert_eq!(put(&[], &[]).failed().error_line(), "Error: record is empty");
    assert_eq!(
        put(&vec![0; 10_241], &[]).failed().error_line(),
        "Error: record exceeds maximum size of 10240 bytes, use --force to skip size check"
    );
    assert_eq!(
        there.run_with(["routing", "put", &format!("/ipns/{name}")], &new).failed().error_line(),
        "Error: can't put while offline: pass `--allow-offline` to override"
    );
    let id = there.run_with(["routing", "put", "--allow-offline", &format!("/ipns/{name}")], &new).ok().out();
    assert!(id.starts_with("12D3KooW") && id.ends_with('\n'), "{id}");
    assert_eq!(there.run(["cat", &format!("/ipns/{name}")]).ok().out(), "content");
    assert_eq!(there.run(["name", "get", &name]).ok().stdout, new);
}

#[test]
fn records_of_the_gateway_fixtures_are_put_if_they_are_to_be_believed() {
    let Some(data) = data("IPNS records of the gateway fixtures") else { return };
    let dir = temporary("names-fixtures");
    let node = Node::init(&dir.path().join("repo"));
    let folder = data.join("gateway-fixtures");
    let put = |path: &str| {
        let file = folder.join(path);
        let stem = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let key = format!("/ipns/{}", stem.split('_').next().unwrap());
        (node.run(["routing", "put", "--allow-offline", &key, file.to_str().unwrap()]), key)
    };
    for (path, content) in [
        (
            "ipns_records/k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w_v1-v2.ipns-record",
            "v1+v2 record",
        ),
        (
            "ipns_records/k51qzi5uqu5dit2ku9mutlfgwyz8u730on38kd10m97m36bjt66my99hb6103f_v2.ipns-record",
            "v2-only record",
        ),
    ] {
        let (answer, key) = put(path);
        answer.ok();
        assert_eq!(node.run(["cat", &key]).ok().out(), content);
    }
    for (path, words) in [
        (
            "ipns_records/k51qzi5uqu5dm4tm0wt8srkg9h9suud4wuiwjimndrkydqm81cqtlb5ak6p7ku_v1.ipns-record",
            "Error: record is malformed: record is missing the dag-cbor data field",
        ),
        (
            "ipns_records/k51qzi5uqu5diamp7qnnvs1p1gzmku3eijkeijs3418j23j077zrkok63xdm8c_v1-v2-broken-signature-v2.ipns-record",
            "Error: signature verification failed",
        ),
    ] {
        assert_eq!(put(path).0.failed().error_line(), words, "{path}");
    }
}

#[test]
fn a_signature_proves_who_has_a_key() {
    let dir = temporary("names-sign");
    let node = Node::init(&dir.path().join("repo"));
    let id = published(&node.run(["key", "gen", "mine"]).ok());
    let signed = json(&node.run_with(["key", "sign", "--key=mine"], b"message").ok());
    let signature = signed["Signature"].as_str().unwrap().to_owned();
    assert!(signature.starts_with('u'), "{signature}");
    assert_eq!(signed["Key"], serde_json::json!({ "Name": "mine", "Id": id }));
    let verify = |key: &str, signature: &str, message: &[u8]| {
        node.run_with(["key", "verify", "--key", key, "--signature", signature], message)
    };
    for (key, name) in [("mine", "mine"), (id.as_str(), "")] {
        let answer = json(&verify(key, &signature, b"message").ok());
        assert_eq!(answer, serde_json::json!({ "Key": { "Name": name, "Id": id }, "SignatureValid": true }));
    }
    assert_eq!(json(&verify("mine", &signature, b"other").ok())["SignatureValid"], false);
    assert_eq!(json(&verify("self", &signature, b"message").ok())["SignatureValid"], false);
    for (key, signature, words) in [
        (
            "nobody",
            signature.as_str(),
            "Error: '\"nobody\"' is not a known key, an IPNS Name, or a valid PeerID",
        ),
        (
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
            &signature,
            "Error: public key is not embedded in peer ID",
        ),
        ("mine", "", "Error: cannot decode multibase for zero length string"),
    ] {
        assert_eq!(verify(key, signature, b"message").failed().error_line(), words);
    }
    let error = node.run_with(["key", "sign", "--key=nobody"], b"message").failed().error_line();
    assert_eq!(error, "Error: no key by the given name was found");
}

/// A process that has the repo until its input ends.
fn hold(node: &Node) -> Child {
    let child = node.command(["add"]).spawn().unwrap();
    let (pid, deadline) = (child.id().to_string(), Instant::now() + Duration::from_secs(60));
    while fs::read_to_string(node.repo().join("repo.lock")).unwrap_or_default().trim() != pid {
        assert!(Instant::now() < deadline, "the process never took the lock");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn a_rotated_identity_keeps_the_old_key_and_its_name() {
    let dir = temporary("names-rotate");
    let node = Node::init(&dir.path().join("repo"));
    let root = node.run_with(["add", "-Q"], b"content").ok().cid();
    let old = published(&node.run(["name", "publish", "-Q", "--allow-offline", &root]).ok());
    let words = |args: &[&str]| node.run(args).failed().error_line();
    assert_eq!(words(&["key", "rotate"]), "Error: keystore name for backing up old key must be provided");
    assert_eq!(
        words(&["key", "rotate", "-o", "self"]),
        "Error: keystore name for back up cannot be named 'self'"
    );

    let daemon = hold(&node);
    let error = words(&["key", "rotate", "-o", "before"]);
    assert_eq!(error, "Error: ipfs daemon is running. please stop it to run this command");
    finish(daemon, "add".to_owned(), b"more", Duration::from_secs(60)).ok();

    let rotated = node.run(["key", "rotate", "-o", "before"]).ok().out();
    let id = node.run(["id", "-f", "<id>"]).ok().out();
    assert_eq!(rotated, format!("generating ED25519 keypair...done\npeer identity: {}\n", id.trim()));
    let keys = node.run(["key", "list", "-l"]).ok().out();
    assert!(keys.contains(&format!("{old} before ")), "{keys}");
    assert!(!keys.contains(&format!("{old} self ")), "{keys}");
    assert_eq!(node.run(["name", "resolve", &old]).ok().out(), format!("/ipfs/{root}\n"));
    node.run(["name", "publish", "--allow-offline", "--key=before", &format!("/ipfs/{root}")]).ok();
}

#[test]
fn what_a_daemon_published_is_there_after_it_was_killed() {
    let dir = temporary("names-killed");
    let node = Node::init(&dir.path().join("repo"));
    let root = node.run_with(["add", "-Q"], b"content").ok().cid();
    for round in 0..3 {
        let daemon = Daemon::start(&node, &["--offline"]);
        let key = format!("k{round}");
        let made = daemon.post(&format!("/api/v0/key/gen?arg={key}&type=ed25519"));
        assert_eq!(made.status, 200, "{}", made.text());
        let publish = |key: &str, path: &str| {
            let answer = daemon
                .post(&format!("/api/v0/name/publish?allow-offline=true&key={key}&arg={path}&resolve=false"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.json()
        };
        let other = publish(&key, &format!("/ipfs/{root}"));
        assert_eq!(other["Name"], made.json()["Id"]);
        let own = publish("self", &format!("/ipfs/{root}/{round}"));
        assert_eq!(own["Value"], format!("/ipfs/{root}/{round}"));
        // As soon as it is answered.
        daemon.signal(Signal::KILL);
        daemon.wait();

        assert_eq!(node.run(["name", "resolve"]).ok().out(), format!("/ipfs/{root}/{round}\n"));
        let other = other["Name"].as_str().unwrap().to_owned();
        assert_eq!(node.run(["cat", &format!("/ipns/{other}")]).ok().out(), "content");
        let record = node.run(["name", "get", own["Name"].as_str().unwrap()]).ok().stdout;
        let inspected = json(&node.run_with(["name", "inspect", "--enc=json"], &record).ok());
        assert_eq!(inspected["Entry"]["Sequence"], round);
    }
}

#[test]
fn names_are_the_same_through_a_daemon() {
    let dir = temporary("names-daemon");
    let node = Node::init(&dir.path().join("repo"));
    let root = node.run_with(["add", "-Q"], b"content").ok().cid();
    let name = published(&node.run(["name", "publish", "-Q", "--allow-offline", &root]).ok());
    let path = format!("/ipns/{name}");
    let record = node.run(["name", "get", &name]).ok().stdout;
    let signed = node.run_with(["key", "sign"], b"message").ok().out();
    let asked = [
        vec!["name", "resolve"],
        vec!["name", "resolve", "-s", &name],
        vec!["name", "get", &name],
        vec!["routing", "get", &path],
        vec!["cat", &path],
        vec!["resolve", &path],
        vec!["name", "pubsub", "state"],
        vec!["name", "publish", &path],
        vec!["name", "resolve", "example.com"],
        vec!["routing", "get", "/foo/bar"],
    ];
    let ask =
        || asked.iter().map(|args| node.run(args)).map(|answer| (answer.code, answer.stdout, answer.stderr));
    let before: Vec<_> = ask().collect();
    let daemon = Daemon::start(&node, &["--offline"]);
    for ((args, before), now) in asked.iter().zip(before).zip(ask()) {
        assert_eq!(now, before, "{args:?}");
    }
    assert_eq!(
        node.run_with(["name", "put", "--allow-offline", &name], &record).ok().out(),
        format!("{name}\n")
    );
    let inspected = json(&node.run_with(["name", "inspect", "--enc=json"], &record).ok());
    assert_eq!(inspected["PbSize"], record.len());
    assert_eq!(node.run_with(["key", "sign"], b"message").ok().out(), signed);
    assert_eq!(
        node.run(["key", "rotate", "-o", "before"]).failed().error_line(),
        "Error: ipfs daemon is running. please stop it to run this command"
    );
    daemon.stop();
}
