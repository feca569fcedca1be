//! On a network of its own, Kubo and we meet by mDNS, and find content and peers through the LAN DHT of
//! a third node.
//!
//! Each test makes namespaces with 10.x addresses: go's LAN DHT leaves loopback addresses out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use holdfast_tests::foreign::{ANSWER_TIME_MAX, Foreign, Kind};
use holdfast_tests::goods::NoiseFile;
use holdfast_tests::need::temporary;
use holdfast_tests::netns::{Net, Place};
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use serde_json::{Value, json};

fn net(check: &str, count: u8) -> Option<Net> {
    if Kind::Kubo.present(check) { Net::new(check, count) } else { None }
}

fn kubo(dir: &Path, name: &str, place: &Place) -> Foreign {
    Foreign::start(Kind::Kubo, dir, name, json!({}), Some(place))
}

fn ours(dir: &Path, name: &str, place: &Place) -> Peer {
    Peer::start(dir, name, &[("Routing.Type", json!("dht"))], Some(place))
}

fn kubo_finds(kubo: &Foreign, id: &str) {
    wait_until(&format!("Kubo to find {id}"), || {
        let found = kubo.try_ask("find_peer", json!({"id": id, "seconds": 5}));
        if matches!(&found, Ok(Value::Array(all)) if !all.is_empty()) { Ok(()) } else { Err(found) }
    });
}

#[test]
fn kubo_and_we_meet_by_mdns() {
    let Some(net) = net("mDNS with Kubo", 2) else { return };
    let dir = temporary("kubo-lan");
    let [here, there] = [&net.places()[0], &net.places()[1]];
    let ours = Peer::start(dir.path(), "ours", &[("Discovery.MDNS.Enabled", json!(true))], Some(here));
    let kubo = Foreign::start(Kind::Kubo, dir.path(), "kubo", json!({"mdns": true}), Some(there));
    ours.wait_for_peer(kubo.id());
    wait_until("Kubo to list us", || {
        let peers = kubo.peers();
        if peers == [ours.id()] { Ok(()) } else { Err(peers) }
    });
}

#[test]
fn content_and_peers_are_found_through_the_lan_dht_of_a_kubo_between() {
    let Some(net) = net("the LAN DHT of Kubo", 3) else { return };
    let dir = temporary("kubo-lan");
    let [a, b, c] = [&net.places()[0], &net.places()[1], &net.places()[2]];
    let ours = ours(dir.path(), "ours", a);
    let between = kubo(dir.path(), "between", b);
    let far = kubo(dir.path(), "far", c);
    ours.connect(between.address("tcp"));
    far.connect(between.address("tcp"));
    let file = NoiseFile::lay(dir.path(), 1, 2_000_000);
    let cid = ours.add(&[], &file.path);
    ours.run(["routing", "provide", &cid]).ok();
    let got = dir.path().join("got-by-kubo");
    far.get(ANSWER_TIME_MAX, &cid, &got);
    file.check(&got);
    kubo_finds(&far, ours.id());
    let file = NoiseFile::lay(dir.path(), 2, 2_000_000);
    let cid = far.add(&file.path);
    let got = dir.path().join("got-by-us");
    ours.get(&cid, &got);
    file.check(&got);
    let found = ours.run(["routing", "findpeer", far.id()]).ok().out();
    assert!(found.contains(&c.address().to_string()), "{found}");
}

#[test]
fn two_kubos_find_content_and_each_other_through_our_lan_dht() {
    let Some(net) = net("our LAN DHT between Kubos", 3) else { return };
    let dir = temporary("kubo-lan");
    let [a, b, c] = [&net.places()[0], &net.places()[1], &net.places()[2]];
    let (left, right) = (kubo(dir.path(), "left", a), kubo(dir.path(), "right", c));
    let between = ours(dir.path(), "between", b);
    left.connect(&between.address("tcp"));
    right.connect(&between.address("tcp"));
    let file = NoiseFile::lay(dir.path(), 3, 2_000_000);
    let cid = left.add(&file.path);
    let providers = wait_until("a provider record with us", || {
        let out = between.run(["routing", "findprovs", &cid]).ok().out();
        if out.contains(left.id()) { Ok(out) } else { Err(out) }
    });
    assert!(!providers.contains(right.id()), "{providers}");
    kubo_finds(&right, left.id());
    let got = dir.path().join("got");
    right.get(ANSWER_TIME_MAX, &cid, &got);
    file.check(&got);
}
