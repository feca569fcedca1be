//! On a network of its own, Kubo and we meet by mDNS, and find content and peers through the LAN DHT of
//! a third node. Whoever searches there and what is searched were kept from each other until then, so that all that they know of
//! each other is what the third node told.
//!
//! Each test makes namespaces with 10.x addresses: go's LAN DHT leaves loopback addresses out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use holdfast_tests::apart::{Apart, wait_for_one_peer};
use holdfast_tests::foreign::{ANSWER_TIME_MAX, Foreign, Kind};
use holdfast_tests::goods::NoiseFile;
use holdfast_tests::hostile::names::LAN_DHT;
use holdfast_tests::hostile::providers::wait_for_record;
use holdfast_tests::need::temporary;
use holdfast_tests::netns::{Net, Place};
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use serde_json::{Value, json};

fn net(check: &str, count: u8) -> Option<Net> {
    if Kind::Kubo.present(check) && Apart::is_possible(check) { Net::new(check, count) } else { None }
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

/// A Kubo that has met the node between alone, and cannot have met anybody else.
fn stranger(dir: &Path, name: &str, place: &Place, between: &str) -> Foreign {
    let stranger = kubo(dir, name, place);
    stranger.connect(between);
    assert_eq!(stranger.peers(), [between.rsplit_once('/').unwrap().1]);
    stranger
}

#[test]
fn content_and_peers_are_found_through_the_lan_dht_of_a_kubo_between() {
    let Some(net) = net("the LAN DHT of Kubo", 3) else { return };
    let dir = temporary("kubo-lan");
    let [a, b, c] = [&net.places()[0], &net.places()[1], &net.places()[2]];
    let ours = ours(dir.path(), "ours", a);
    let between = kubo(dir.path(), "between", b);
    let stranger = |name: &str| stranger(dir.path(), name, c, between.address("tcp"));
    let is_alone = || wait_for_one_peer(|| ours.peers(), between.id());
    ours.connect(between.address("tcp"));
    let file = NoiseFile::lay(dir.path(), 1, 2_000_000);
    let cid = ours.add(&[], &file.path);
    ours.run(["routing", "provide", &cid]).ok();
    wait_for_record(b, LAN_DHT, between.address("tcp"), &cid, ours.id(), a);

    // Each question is one of a node that has never met us: a Kubo dials whom it looks for.
    let apart = Apart::new(a, c);
    let asker = stranger("asker");
    is_alone();
    apart.end();
    kubo_finds(&asker, ours.id());
    drop(asker);
    let apart = Apart::new(a, c);
    let reader = stranger("reader");
    is_alone();
    apart.end();
    let got = dir.path().join("got-by-kubo");
    reader.get(ANSWER_TIME_MAX, &cid, &got);
    file.check(&got);
    drop(reader);

    let apart = Apart::new(a, c);
    let far = stranger("far");
    let file = NoiseFile::lay(dir.path(), 2, 2_000_000);
    let cid = far.add(&file.path);
    wait_for_record(b, LAN_DHT, between.address("tcp"), &cid, far.id(), c);
    let found = ours.run(["routing", "findpeer", far.id()]).ok().out();
    assert!(found.contains(&c.address().to_string()), "{found}");
    is_alone();
    assert_eq!(far.peers(), [between.id()]);
    apart.end();
    let got = dir.path().join("got-by-us");
    ours.get(&cid, &got);
    file.check(&got);
}

#[test]
fn two_kubos_find_content_and_each_other_through_our_lan_dht() {
    let Some(net) = net("our LAN DHT between Kubos", 3) else { return };
    let dir = temporary("kubo-lan");
    let [a, b, c] = [&net.places()[0], &net.places()[1], &net.places()[2]];
    let between = ours(dir.path(), "between", b);
    let stranger = |name: &str, place| stranger(dir.path(), name, place, &between.address("tcp"));
    let apart = Apart::new(a, c);
    let left = stranger("left", a);
    let file = NoiseFile::lay(dir.path(), 3, 2_000_000);
    let cid = left.add(&file.path);
    wait_for_record(b, LAN_DHT, &between.address("tcp"), &cid, left.id(), a);
    let asker = stranger("asker", c);
    wait_for_one_peer(|| left.peers(), between.id());
    apart.end();
    kubo_finds(&asker, left.id());
    drop(asker);
    let apart = Apart::new(a, c);
    let reader = stranger("reader", c);
    wait_for_one_peer(|| left.peers(), between.id());
    apart.end();
    let got = dir.path().join("got");
    reader.get(ANSWER_TIME_MAX, &cid, &got);
    file.check(&got);
}
