//! A daemon signs its own names again, so that they live on, and tells others: over pubsub alone, and by the DHT alone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::{wait_until, wait_within};
use serde_json::{Value, json};

/// The first turn comes a minute after the start.
const TURN_TIME_MAX: Duration = Duration::from_secs(150);

/// What the record of a name says that a peer finds: its end, which sorts as text, and its number.
fn found(peer: &Peer, options: &[&str], name: &str) -> Option<(String, u64)> {
    let key = format!("/ipns/{name}");
    let record = peer.run([&["routing", "get", "--timeout=20s"], options, &[&key]].concat());
    if record.code != Some(0) {
        return None;
    }
    let inspect = ["name", "inspect", "--dump=false", "--enc=json", "--verify", name];
    let told: Value =
        serde_json::from_str(&peer.node().run_with(inspect, &record.stdout).ok().out()).unwrap();
    assert_eq!(told["Validation"]["Valid"], json!(true), "{told}");
    Some((told["Entry"]["Validity"].as_str()?.to_owned(), told["Entry"]["Sequence"].as_u64()?))
}

/// An owner whose name ends 90 s after it was published unless it is signed again, and who signs as often as may be; and a reader who has found it.
fn owner_and_reader(dir: &Path, way: &str, config: &[(&str, Value)]) -> (Peer, Peer, (String, u64)) {
    let often = [config, &[("Ipns.RepublishPeriod", json!("1m"))]].concat();
    let owner = Peer::start(dir, &format!("{way}-owner"), &often, None);
    let reader = Peer::start(dir, &format!("{way}-reader"), config, None);
    let path = dir.join(way);
    std::fs::write(&path, way).unwrap();
    let value = format!("/ipfs/{}", owner.add(&["--cid-version=1"], &path));
    reader.connect(&owner.address("tcp"));
    wait_until("the record taken", || {
        let answer = owner.run(["name", "publish", "--lifetime=90s", "--timeout=20s", &value]);
        if answer.code == Some(0) { Ok(()) } else { Err(answer.err()) }
    });
    let first = wait_until("the first record", || found(&reader, &[], owner.id()).ok_or(()));
    (owner, reader, first)
}

#[test]
fn names_of_a_daemon_that_runs_live_on_for_others_over_pubsub_and_in_the_dht() {
    let dir = temporary("republishing");
    let pubsub = [("Ipns.UsePubsub", json!(true)), ("Routing.Type", json!("none"))];
    let dht = [("Routing.LoopbackAddressesOnLanDHT", json!(true))];
    let over_pubsub = owner_and_reader(dir.path(), "pubsub", &pubsub);
    let over_dht = owner_and_reader(dir.path(), "dht", &dht);
    // Where the reader follows the name, nobody need be asked: it has come.
    for ((owner, reader, (end, number)), options) in [(&over_pubsub, &["--offline"][..]), (&over_dht, &[])] {
        let later = wait_within(TURN_TIME_MAX, "a record that ends later", || {
            let seen = found(reader, options, owner.id());
            seen.clone().filter(|(seen_end, _)| seen_end > end).ok_or(seen)
        });
        assert_eq!(later.1, *number, "the same record but for its end");
    }
}
