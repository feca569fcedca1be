//! Names that we publish are kept by Kubo and read back from it, and messages go over pubsub both ways.
//!
//! Each test makes namespaces with 10.x addresses.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use holdfast_tests::daemon::Daemon;
use holdfast_tests::foreign::{Foreign, Kind};
use holdfast_tests::goods::NoiseFile;
use holdfast_tests::need::temporary;
use holdfast_tests::netns::{Net, Place};
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use serde_json::json;

/// What `printf 'hello from us\n' | base64` says, and the other.
const HELLO_FROM_US: &str = "aGVsbG8gZnJvbSB1cwo=";
const HELLO_FROM_KUBO: &str = "aGVsbG8gZnJvbSBLdWJvCg==";

fn net(check: &str, count: u8) -> Option<Net> {
    if Kind::Kubo.present(check) { Net::new(check, count) } else { None }
}

fn kubo(dir: &Path, name: &str, place: &Place) -> Foreign {
    Foreign::start(Kind::Kubo, dir, name, json!({}), Some(place))
}

fn ours(dir: &Path, name: &str, place: &Place) -> Peer {
    Peer::start(dir, name, &[("Routing.Type", json!("dht"))], Some(place))
}

#[test]
fn a_name_that_we_publish_is_kept_by_kubo_and_an_older_record_of_it_is_refused() {
    let Some(net) = net("IPNS records with Kubo", 3) else { return };
    let dir = temporary("kubo-lan");
    let [a, b, c] = [&net.places()[0], &net.places()[1], &net.places()[2]];
    let publisher = ours(dir.path(), "publisher", a);
    let keeper = kubo(dir.path(), "keeper", b);
    publisher.connect(keeper.address("tcp"));
    let key = format!("/ipns/{}", publisher.id());
    let mut records = Vec::new();
    for seed in [4, 5] {
        let file = NoiseFile::lay(dir.path(), seed, 1000);
        let cid = publisher.add(&[], &file.path);
        publisher.run(["name", "publish", &format!("/ipfs/{cid}")]).ok();
        let path = dir.path().join(format!("record-{seed}"));
        fs::write(&path, publisher.run(["routing", "get", &key]).ok().stdout).unwrap();
        records.push((path, format!("/ipfs/{cid}")));
    }
    // Only Kubo can tell the third node now.
    publisher.stop();
    let reader = ours(dir.path(), "reader", c);
    reader.connect(keeper.address("tcp"));
    let [(old, _), (new, value)] = &records[..] else { unreachable!("two were published") };
    // Kubo keeps the newer one, so nobody took this.
    reader.run(["routing", "put", &key, old.to_str().unwrap()]).failed();
    assert_eq!(reader.run(["name", "resolve", "--nocache", &key]).ok().out().trim(), value);
    assert_eq!(reader.run(["routing", "get", &key]).ok().stdout, fs::read(new).unwrap());
}

#[test]
fn a_message_goes_over_pubsub_from_us_to_kubo_and_back() {
    let Some(net) = net("pubsub with Kubo", 2) else { return };
    let dir = temporary("kubo-lan");
    let [here, there] = [&net.places()[0], &net.places()[1]];
    let ours = Peer::start(dir.path(), "ours", &[("Pubsub.Enabled", json!(true))], Some(here));
    let kubo = kubo(dir.path(), "kubo", there);
    ours.connect(kubo.address("tcp"));
    kubo.ask("subscribe", json!({"topic": "greetings"}));
    let listening = Daemon::spawn(ours.node().command(["pubsub", "sub", "greetings"]));
    wait_until("us among the peers of the topic", || {
        let peers = kubo.ask("topic_peers", json!({"topic": "greetings"}));
        if peers == json!([ours.id()]) { Ok(()) } else { Err(peers) }
    });
    wait_until("Kubo among the peers of the topic", || {
        let peers = ours.run(["pubsub", "peers", "greetings"]).ok().out();
        if peers.contains(kubo.id()) { Ok(()) } else { Err(peers) }
    });
    ours.node().run_with(["pubsub", "pub", "greetings"], b"hello from us\n").ok();
    let message = kubo.ask("message", json!({"topic": "greetings", "seconds": 30}));
    assert_eq!(
        (message["from"].as_str().unwrap(), message["data"].as_str().unwrap()),
        (ours.id(), HELLO_FROM_US)
    );
    kubo.ask("publish", json!({"topic": "greetings", "data": HELLO_FROM_KUBO}));
    listening.wait_for("hello from Kubo");
}
