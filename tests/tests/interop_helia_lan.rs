//! On a network of its own, Helia and we find content, peers and records through LAN DHTs of each other.
//!
//! Each test makes namespaces with 10.x addresses. Whoever searches for content or a peer and what is searched are kept from each
//! other until then, so that all that they know of each other is what a third node told.

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
    if Kind::Helia.present(check) && Apart::is_possible(check) { Net::new(check, count) } else { None }
}

fn helia(dir: &Path, name: &str, place: &Place) -> Foreign {
    Foreign::start(Kind::Helia, dir, name, json!({}), Some(place))
}

fn ours(dir: &Path, name: &str, place: &Place) -> Peer {
    Peer::start(dir, name, &[("Routing.Type", json!("dht"))], Some(place))
}

/// Announces until somebody has taken it: a routing table fills after a connection is there.
fn helia_provides(helia: &Foreign, cid: &str) {
    wait_until("a peer that takes a provider record of Helia's", || {
        let answer = helia.try_ask("provide", json!({"cid": cid}));
        let taken = answer.as_ref().is_ok_and(|answer| answer["stored"].as_u64() > Some(0));
        if taken { Ok(()) } else { Err(answer) }
    });
}

/// Whether an answer lists something that holds this text.
fn lists(answer: &Result<Value, String>, text: &str) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.to_string().contains(text))
}

/// Waits until a Helia finds a peer at its place.
fn helia_finds(helia: &Foreign, id: &str, place: &Place) {
    wait_until(&format!("Helia to find {id}"), || {
        let answer = helia.try_ask("find_peer", json!({"id": id}));
        if lists(&answer, &place.address().to_string()) { Ok(()) } else { Err(answer) }
    });
}

#[test]
fn content_and_peers_are_found_through_the_lan_dht_of_a_helia_between() {
    let Some(net) = net("the LAN DHT of Helia", 3) else { return };
    let dir = temporary("helia-lan");
    let [a, b, c] = [&net.places()[0], &net.places()[1], &net.places()[2]];
    let apart = Apart::new(a, c);
    let ours = ours(dir.path(), "ours", a);
    let (between, far) = (helia(dir.path(), "between", b), helia(dir.path(), "far", c));
    let are_strangers = |far: &Foreign| {
        wait_for_one_peer(|| ours.peers(), between.id());
        wait_for_one_peer(|| far.peers(), between.id());
    };
    ours.connect(between.address("tcp"));
    far.connect(between.address("tcp"));
    let file = NoiseFile::lay(dir.path(), 1, 2_000_000);
    let cid = far.add(&file.path);
    helia_provides(&far, &cid);
    wait_for_record(b, LAN_DHT, between.address("tcp"), &cid, far.id(), c);
    are_strangers(&far);
    let found = ours.run(["routing", "findpeer", far.id()]).ok().out();
    assert!(found.contains(&c.address().to_string()), "{found}");
    are_strangers(&far);
    apart.end();
    let got = dir.path().join("got");
    ours.get(&cid, &got);
    file.check(&got);

    // The other way, with one that has never met us.
    drop(far);
    let apart = Apart::new(a, c);
    let far = helia(dir.path(), "other", c);
    far.connect(between.address("tcp"));
    let file = NoiseFile::lay(dir.path(), 2, 2_000_000);
    let cid = ours.add(&["--cid-version=1"], &file.path);
    ours.run(["routing", "provide", &cid]).ok();
    wait_for_record(b, LAN_DHT, between.address("tcp"), &cid, ours.id(), a);
    are_strangers(&far);
    helia_finds(&far, ours.id(), a);
    are_strangers(&far);
    apart.end();
    assert_eq!(far.read(ANSWER_TIME_MAX, &cid), file.sha256);
}

#[test]
fn two_helias_find_content_and_each_other_through_our_lan_dht() {
    let Some(net) = net("our LAN DHT between Helias", 3) else { return };
    let dir = temporary("helia-lan");
    let [a, b, c] = [&net.places()[0], &net.places()[1], &net.places()[2]];
    let apart = Apart::new(a, c);
    let between = ours(dir.path(), "between", b);
    let (left, right) = (helia(dir.path(), "left", a), helia(dir.path(), "right", c));
    let are_strangers = || [&left, &right].map(|peer| wait_for_one_peer(|| peer.peers(), between.id()));
    left.connect(&between.address("tcp"));
    right.connect(&between.address("tcp"));
    let file = NoiseFile::lay(dir.path(), 3, 2_000_000);
    let cid = left.add(&file.path);
    // It is told, and answers nothing.
    helia_provides(&left, &cid);
    wait_for_record(b, LAN_DHT, &between.address("tcp"), &cid, left.id(), a);
    are_strangers();
    helia_finds(&right, left.id(), a);
    are_strangers();
    apart.end();
    assert_eq!(right.read(ANSWER_TIME_MAX, &cid), file.sha256);
}

/// A record that Helia signs for a key of its own, with this sequence number: its name, its key in the DHT, and itself.
fn record_of_helia(helia: &Foreign, cid: &str, sequence: u64) -> Value {
    let wanted = json!({"key": "name", "value": cid, "sequence": sequence, "lifetime_ms": 3_600_000});
    helia.ask("ipns_record", wanted)
}

/// Waits until a node of ours resolves a name to this value.
#[track_caller]
fn wait_for_value(reader: &Peer, name: &str, value: &str) {
    wait_until("our node resolves the name", || {
        let answer = reader.run(["name", "resolve", "--nocache", name]);
        if answer.code == Some(0) && answer.out().trim() == value { Ok(()) } else { Err(answer) }
    });
}

#[test]
fn a_name_is_resolved_by_us_to_what_the_record_says_that_helia_put() {
    let Some(net) = net("names of Helia read by us", 3) else { return };
    let dir = temporary("helia-lan");
    let [a, b, c] = [&net.places()[0], &net.places()[1], &net.places()[2]];
    let (near, writer) = (ours(dir.path(), "near", a), helia(dir.path(), "writer", b));
    near.connect(writer.address("tcp"));
    let cids = [5, 6].map(|seed| writer.add(&NoiseFile::lay(dir.path(), seed, 1000).path));
    for (cid, sequence) in cids.iter().zip(1..) {
        let record = record_of_helia(&writer, cid, sequence);
        wait_until("we take the record", || {
            let answer = writer.try_ask("dht_put", json!({"key": record["key"], "record": record["record"]}));
            let taken = answer.as_ref().is_ok_and(|answer| answer["stored"].to_string().contains(near.id()));
            if taken { Ok(()) } else { Err(answer) }
        });
        wait_for_value(&near, record["name"].as_str().unwrap(), &format!("/ipfs/{cid}"));
    }
    // Only Helia can tell the next node.
    near.stop();
    let far = ours(dir.path(), "far", c);
    far.connect(writer.address("tcp"));
    let name = record_of_helia(&writer, &cids[1], 2)["name"].as_str().unwrap().to_owned();
    wait_for_value(&far, &name, &format!("/ipfs/{}", cids[1]));
}

#[test]
fn a_name_that_we_publish_is_kept_by_a_helia_and_resolved_by_another() {
    let Some(net) = net("our names read by Helia", 3) else { return };
    let dir = temporary("helia-lan");
    let [a, b, c] = [&net.places()[0], &net.places()[1], &net.places()[2]];
    let (publisher, keeper) = (ours(dir.path(), "publisher", a), helia(dir.path(), "keeper", b));
    publisher.connect(keeper.address("tcp"));
    let resolved = |helia: &Foreign, name: &str, value: &str| {
        // It takes no record whose signature it has not verified.
        wait_until("Helia resolves our name", || {
            let answer = helia.try_ask("ipns_resolve", json!({"name": name}));
            if answer.as_ref().is_ok_and(|answer| answer["value"] == value) { Ok(()) } else { Err(answer) }
        });
    };
    let mut last = (String::new(), String::new());
    for seed in [7, 8] {
        let file = NoiseFile::lay(dir.path(), seed, 1000);
        let value = format!("/ipfs/{}", publisher.add(&["--cid-version=1"], &file.path));
        let name = wait_until("somebody to tell of the name", || {
            let answer = publisher.run(["name", "publish", "-Q", &value]);
            if answer.code == Some(0) { Ok(answer.out().trim().to_owned()) } else { Err(answer) }
        });
        resolved(&keeper, &name, &value);
        last = (name, value);
    }
    // Only the one Helia can tell the other.
    publisher.stop();
    let reader = helia(dir.path(), "reader", c);
    reader.connect(keeper.address("tcp"));
    resolved(&reader, &last.0, &last.1);
}

#[test]
fn a_record_of_a_name_is_kept_by_us_and_by_kubo_and_a_forged_one_is_refused_by_both() {
    let check = "IPNS records from Helia";
    if !Kind::Kubo.present(check) {
        return;
    }
    let Some(net) = net(check, 4) else { return };
    let dir = temporary("helia-lan");
    let [a, b, c, d] = [&net.places()[0], &net.places()[1], &net.places()[2], &net.places()[3]];
    let ours = ours(dir.path(), "ours", a);
    let kubo = Foreign::start(Kind::Kubo, dir.path(), "kubo", json!({}), Some(b));
    let writer = helia(dir.path(), "writer", c);
    writer.connect(&ours.address("tcp"));
    writer.connect(kubo.address("tcp"));
    let file = NoiseFile::lay(dir.path(), 4, 1000);
    let cid = writer.add(&file.path);
    let good = record_of_helia(&writer, &cid, 1);
    wait_until("both take the record", || {
        let answer = writer.try_ask("dht_put", json!({"key": good["key"], "record": good["record"]}));
        let both = answer.as_ref().is_ok_and(|answer| {
            let stored = answer["stored"].to_string();
            stored.contains(ours.id()) && stored.contains(kubo.id())
        });
        if both { Ok(()) } else { Err(answer) }
    });
    // A newer one with other bytes than were signed.
    let newer = record_of_helia(&writer, &cid, 2);
    let mut forged = newer["record"].as_str().unwrap().to_owned();
    let at = forged.len() / 2;
    let other = if &forged[at..=at] == "A" { "B" } else { "A" };
    forged.replace_range(at..=at, other);
    let answer = writer.ask("dht_put", json!({"key": newer["key"], "record": forged}));
    let refused = answer["refused"].to_string();
    assert!(refused.contains(ours.id()) && refused.contains(kubo.id()), "{answer}");

    // Each alone gives the good one to a reader that knows nobody else.
    drop(writer);
    for (name, keeper) in [("from-us", ours.address("tcp")), ("from-kubo", kubo.address("tcp").to_owned())] {
        let reader = helia(dir.path(), name, d);
        reader.connect(&keeper);
        let id = keeper.rsplit_once('/').unwrap().1;
        wait_until("the record read back", || {
            let answer = reader.try_ask("dht_get", json!({"key": good["key"]}));
            let found = answer.as_ref().ok().and_then(Value::as_array).is_some_and(|all| {
                all.iter().any(|value| value["from"] == id && value["record"] == good["record"])
            });
            if found { Ok(()) } else { Err(answer) }
        });
    }
}
