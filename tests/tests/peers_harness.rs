//! The harness of the network interop tests works, shown without us.
//!
//! Foreign peers fetch from each other, over the transports, networks and discovery that the interop
//! suites use. A failure here is one of the harness or of the machine, not of Holdfast.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use holdfast_tests::foreign::{ANSWER_TIME_MAX, Foreign, Kind};
use holdfast_tests::goods::NoiseFile;
use holdfast_tests::need::temporary;
use holdfast_tests::netns::Net;
use holdfast_tests::wait::wait_until;
use serde_json::{Value, json};

/// Downloads with Kubo, and compares.
fn kubo_gets(kubo: &Foreign, cid: &str, wanted: &NoiseFile) {
    let path = wanted.path.with_extension("got");
    kubo.get(ANSWER_TIME_MAX, cid, &path);
    wanted.check(&path);
}

/// Reads with a peer that hashes what it reads, and compares.
fn other_reads(peer: &Foreign, cid: &str, wanted: &NoiseFile) {
    assert_eq!(peer.read(ANSWER_TIME_MAX, cid), wanted.sha256);
}

#[test]
fn kubo_fetches_from_kubo_over_tcp_and_over_quic() {
    if !Kind::Kubo.present("Kubo with Kubo") {
        return;
    }
    let dir = temporary("peers");
    for (seed, transport, listen) in [(1, "tcp", "tcp/0"), (2, "quic-v1", "udp/0/quic-v1")] {
        let settings = json!({"listen": [format!("/ip4/127.0.0.1/{listen}")]});
        let [a, b] = ["a", "b"].map(|name| {
            let name = format!("{name}-{transport}");
            Foreign::start(Kind::Kubo, dir.path(), &name, settings.clone(), None)
        });
        b.connect(a.address(transport));
        assert_eq!(b.peers(), [a.id()]);
        let file = NoiseFile::lay(dir.path(), seed, 3_000_000);
        kubo_gets(&b, &a.add(&file.path), &file);
    }
}

#[test]
fn helia_and_kubo_fetch_from_each_other() {
    if !Kind::Kubo.present("Helia with Kubo") || !Kind::Helia.present("Helia with Kubo") {
        return;
    }
    let dir = temporary("peers");
    let kubo = Foreign::start(Kind::Kubo, dir.path(), "kubo", json!({}), None);
    let helia = Foreign::start(Kind::Helia, dir.path(), "helia", json!({}), None);
    helia.connect(kubo.address("tcp"));
    let file = NoiseFile::lay(dir.path(), 3, 3_000_000);
    other_reads(&helia, &kubo.add(&file.path), &file);
    let file = NoiseFile::lay(dir.path(), 4, 3_000_000);
    kubo_gets(&kubo, &helia.add(&file.path), &file);
}

/// Not the other way: Kubo answers each want on a stream of its own, and rust-ipfs reads only the
/// newest stream, so that now and then it waits for ever for what came on another.
#[test]
fn rust_ipfs_serves_kubo_and_another_rust_ipfs_over_tcp_and_over_quic() {
    if !Kind::Kubo.present("rust-ipfs with Kubo") || !Kind::RustIpfs.present("rust-ipfs with Kubo") {
        return;
    }
    let dir = temporary("peers");
    let both = json!({"listen": ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]});
    let kubo = Foreign::start(Kind::Kubo, dir.path(), "kubo", both.clone(), None);
    for (seed, transport) in [(5, "tcp"), (6, "quic-v1")] {
        let [serving, reading] = ["serving", "reading"].map(|name| {
            Foreign::start(Kind::RustIpfs, dir.path(), &format!("{name}-{transport}"), both.clone(), None)
        });
        kubo.connect(serving.address(transport));
        reading.connect(serving.address(transport));
        let file = NoiseFile::lay(dir.path(), seed, 3_000_000);
        let cid = serving.add(&file.path);
        kubo_gets(&kubo, &cid, &file);
        other_reads(&reading, &cid, &file);
    }
}

#[test]
fn kubos_in_namespaces_meet_by_mdns_and_find_content_by_the_lan_dht() {
    if !Kind::Kubo.present("Kubo in namespaces") {
        return;
    }
    let Some(net) = Net::new("Kubo in namespaces", 4) else { return };
    let dir = temporary("peers");
    let start = |number: usize, mdns: bool| {
        let place = &net.places()[number];
        Foreign::start(Kind::Kubo, dir.path(), &format!("n{number}"), json!({"mdns": mdns}), Some(place))
    };
    let (a, b) = (start(0, true), start(1, true));
    wait_until("two Kubos that found each other", || {
        let peers = a.peers();
        if peers == [b.id()] { Ok(()) } else { Err(peers) }
    });
    // The other two are told of one peer each, and not of each other.
    let (c, d) = (start(2, false), start(3, false));
    c.connect(b.address("tcp"));
    d.connect(a.address("tcp"));
    let file = NoiseFile::lay(dir.path(), 9, 1_000_000);
    let cid = d.add(&file.path);
    wait_until("an address of the fourth", || {
        let found = c.try_ask("find_peer", json!({"id": d.id(), "seconds": 5}));
        if matches!(&found, Ok(Value::Array(all)) if !all.is_empty()) { Ok(()) } else { Err(found) }
    });
    kubo_gets(&c, &cid, &file);
}

#[test]
fn a_fetch_waits_while_its_link_is_cut_or_split_off_and_ends_when_it_heals() {
    if !Kind::Kubo.present("links that are cut") {
        return;
    }
    let Some(net) = Net::new("links that are cut", 2) else { return };
    let dir = temporary("peers");
    let [a, b] = [0, 1].map(|number| {
        let place = &net.places()[number];
        Foreign::start(Kind::Kubo, dir.path(), &format!("n{number}"), json!({}), Some(place))
    });
    b.connect(a.address("tcp"));
    let away = &net.places()[1];
    let cuts: [(u64, &dyn Fn()); 2] = [(11, &|| net.cut(away)), (12, &|| net.split(&[away]))];
    for (seed, cut) in cuts {
        cut();
        let file = NoiseFile::lay(dir.path(), seed, 500_000);
        let cid = a.add(&file.path);
        let got = dir.path().join(format!("got-{seed}"));
        let fetch = b.begin("get", json!({"cid": cid, "path": got}));
        // Long against the milliseconds that the fetch takes otherwise.
        std::thread::sleep(Duration::from_secs(1));
        assert!(!fetch.done(), "a fetch over a link that is cut");
        net.heal_all();
        fetch.wait();
        file.check(&got);
    }
}
