//! `KUBO_BIN=path` puts a binary in the place of Kubo's library: shown with our own, which takes Kubo's command line, config and RPC.
//!
//! All that the suites with Kubo ask of a peer is asked here once, on loopback.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use holdfast_tests::foreign::{ANSWER_TIME_MAX, Foreign, Kind};
use holdfast_tests::goods::{NoiseFile, wide_folder};
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::tree;
use holdfast_tests::wait::wait_until;
use serde_json::{Value, json};

/// `hello` in base64.
const HELLO: &str = "aGVsbG8=";

fn as_kubo(dir: &Path, listen: &[&str]) -> Foreign {
    let listen: Vec<String> = listen.iter().map(|tail| format!("/ip4/127.0.0.1/{tail}")).collect();
    let settings = json!({"listen": listen, "routing": "dht"});
    Foreign::start(Kind::OursAsKubo, dir, "kubo", settings, None)
}

#[test]
fn a_binary_in_kubos_place_adds_gives_fetches_pins_and_finds_over_tcp_and_quic() {
    if !Kind::OursAsKubo.present("the driver of KUBO_BIN") {
        return;
    }
    let dir = temporary("kubo-bin");
    let kubo = as_kubo(dir.path(), &["tcp/0", "udp/0/quic-v1"]);
    for (seed, transport) in [(1, "tcp"), (10, "quic-v1")] {
        let ours = Peer::start(dir.path(), transport, &[("Routing.Type", json!("dht"))], None);
        ours.connect(kubo.address(transport));
        assert!(kubo.peers().contains(&ours.id().to_owned()));
        let file = NoiseFile::lay(dir.path(), seed, 600_000);
        let cid = ours.add(&[], &file.path);
        let got = file.path.with_extension("got");
        kubo.get(ANSWER_TIME_MAX, &cid, &got);
        file.check(&got);
        assert_eq!(kubo.ask("only_hash", json!({"path": file.path}))["cid"], cid.as_str());
        let folder = wide_folder(dir.path(), &format!("wide-{transport}"), 50);
        let cid = kubo.add(&folder);
        let got = dir.path().join(format!("wide-{transport}-got"));
        ours.get(&cid, &got);
        tree::compare(&folder, &got, &|_| false).unwrap();
        let back = dir.path().join(format!("wide-{transport}-back"));
        kubo.get(ANSWER_TIME_MAX, &cid, &back);
        tree::compare(&folder, &back, &|_| false).unwrap();
        let pinned = |pins: Value| pins.as_array().unwrap().contains(&json!(cid));
        assert!(pinned(kubo.ask("pins", json!({}))));
        kubo.ask("unpin", json!({"cid": cid}));
        assert!(!pinned(kubo.ask("pins", json!({}))));
        kubo.ask("pin", json!({"cid": cid}));
        assert!(pinned(kubo.ask("pins", json!({}))));
        let found = kubo.ask("find_peer", json!({"id": ours.id(), "seconds": 30}));
        assert!(!found.as_array().unwrap().is_empty());
    }
    let stat = kubo.ask("rpc", json!({"command": "version"}));
    assert!(stat[0]["Version"].is_string(), "{stat}");
    kubo.try_ask("rpc", json!({"command": "block/stat", "args": ["no CID"]})).unwrap_err();
}

#[test]
fn a_binary_in_kubos_place_speaks_and_listens_over_pubsub() {
    if !Kind::OursAsKubo.present("pubsub through the driver of KUBO_BIN") {
        return;
    }
    let dir = temporary("kubo-bin");
    let kubo = as_kubo(dir.path(), &["tcp/0"]);
    let other = Foreign::start(Kind::OursAsKubo, dir.path(), "other", json!({}), None);
    kubo.connect(other.address("tcp"));
    for peer in [&kubo, &other] {
        peer.ask("subscribe", json!({"topic": "greetings"}));
    }
    for (peer, to) in [(&kubo, &other), (&other, &kubo)] {
        wait_until("the other among the peers of the topic", || {
            let peers = peer.ask("topic_peers", json!({"topic": "greetings"}));
            if peers == json!([to.id()]) { Ok(()) } else { Err(peers) }
        });
        peer.ask("publish", json!({"topic": "greetings", "data": HELLO}));
        // Who says something hears it too.
        for ear in [peer, to] {
            let message = ear.ask("message", json!({"topic": "greetings", "seconds": 30}));
            assert_eq!(
                (message["from"].as_str().unwrap(), message["data"].as_str().unwrap()),
                (peer.id(), HELLO)
            );
        }
    }
}
