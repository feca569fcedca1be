//! Neighbours find each other by mDNS alone, on whatever links they have: IPv6, several, one that comes later.
//!
//! Each test makes its own network of namespaces; there is no bootstrap list, and nobody is told an address.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use holdfast_tests::goods::NoiseFile;
use holdfast_tests::hostile::mdns::MdnsAttack;
use holdfast_tests::need::{say, temporary};
use holdfast_tests::netns::{Net, Place};
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::{wait_until, wait_within};
use libp2p::PeerId;
use serde_json::{Value, json};

/// How long a link may be there before it is used. The profile `mesh` asks by mDNS every 10 s, and at once on a new address.
const NEW_LINK_TIME_MAX: Duration = Duration::from_secs(60);

/// Messages after which a hostile neighbour may have done what it can.
const ATTACK_MESSAGES: u64 = 8_000;
/// Peers that the book holds at most, and addresses that mDNS does; and more than one of either takes.
const BOOK_PEERS_MAX: usize = 4_096;
const MDNS_ADDRESSES_MAX: usize = 1_024;
const KNOWN_BYTES_MAX: usize = 1_024;
/// How long it may take until what an attack cost is given back.
const GIVEN_BACK_TIME_MAX: Duration = Duration::from_secs(120);

/// A node that listens on all its addresses, over TCP alone: mDNS is to be found out about, not transports.
fn node(dir: &Path, name: &str, place: &Place) -> Peer {
    let listen = json!(["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"]);
    Peer::with(Peer::repo(dir, name, "mesh", &[("Addresses.Swarm", listen)], Some(place)))
}

/// What its allocator holds, asked where it is: its RPC is of that network.
fn live_bytes(peer: &Peer, place: &Place) -> f64 {
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            place.enter();
            peer.live_bytes()
        });
        asking.join().unwrap()
    })
}

/// How many peers a node knows addresses of.
fn book_len(peer: &Peer) -> usize {
    let book: Value = serde_json::from_str(&peer.run(["swarm", "addrs", "--enc=json"]).ok().out()).unwrap();
    book["Addrs"].as_object().map_or(0, serde_json::Map::len)
}

/// The addresses at which a node is connected to another, without the ID.
fn connections(peer: &Peer, other: &Peer) -> Vec<String> {
    let out = peer.run(["swarm", "peers"]).ok().out();
    let own = out.lines().filter_map(|line| line.strip_suffix(other.id())?.strip_suffix("/p2p/"));
    own.map(str::to_owned).collect()
}

/// Waits until two are connected over an address that begins so.
fn wait_until_met(one: &Peer, other: &Peer, beginning: &str) {
    wait_within(NEW_LINK_TIME_MAX, "neighbours that met", || {
        let found = connections(one, other);
        if found.iter().any(|address| address.starts_with(beginning)) { Ok(()) } else { Err(found) }
    });
}

#[test]
fn nodes_that_have_ipv6_alone_find_each_other() {
    let Some(net) = Net::without_links("mDNS over IPv6", 2) else { return };
    let dir = temporary("mdns-ipv6");
    let [here, there] = [&net.places()[0], &net.places()[1]];
    for (number, place) in [(1, here), (2, there)] {
        net.link(place, 0);
        // Beside it there is the address of the link, which the kernel makes.
        net.address(place, 0, &format!("fd77::{number}/64"));
    }
    let (one, other) = (node(dir.path(), "one", here), node(dir.path(), "other", there));
    wait_until_met(&one, &other, "/ip6/fd77::2/tcp/");
    wait_until_met(&other, &one, "/ip6/fd77::1/tcp/");
    let file = NoiseFile::lay(dir.path(), 1, 1_000_000);
    let got = dir.path().join("got");
    other.get(&one.add(&[], &file.path), &got);
    file.check(&got);
}

#[test]
fn a_node_on_two_links_finds_neighbours_on_both() {
    let Some(net) = Net::without_links("mDNS on two links", 3) else { return };
    let dir = temporary("mdns-links");
    let [left, middle, right] = [0, 1, 2].map(|number| &net.places()[number]);
    net.link(left, 0);
    net.address(left, 0, "10.77.0.1/24");
    net.link(middle, 0);
    net.address(middle, 0, "10.77.0.2/24");
    net.link(middle, 1);
    net.address(middle, 1, "10.78.0.2/24");
    net.link(right, 1);
    net.address(right, 1, "10.78.0.3/24");
    let [left, middle, right] = [("left", left), ("middle", middle), ("right", right)]
        .map(|(name, place)| node(dir.path(), name, place));
    wait_until_met(&middle, &left, "/ip4/10.77.0.1/tcp/");
    wait_until_met(&middle, &right, "/ip4/10.78.0.3/tcp/");
    wait_until_met(&left, &middle, "/ip4/10.77.0.2/tcp/");
    wait_until_met(&right, &middle, "/ip4/10.78.0.2/tcp/");
    // Nobody was told of a link that he is not on.
    assert_eq!(connections(&left, &right), [""; 0]);
}

#[test]
fn a_node_on_two_links_with_ipv6_alone_finds_neighbours_on_both() {
    let Some(net) = Net::without_links("mDNS over IPv6 on two links", 3) else { return };
    let dir = temporary("mdns-ipv6-links");
    let [left, middle, right] = [0, 1, 2].map(|number| &net.places()[number]);
    for (place, link, address) in [
        (left, 0, "fd77::1/64"),
        (middle, 0, "fd77::2/64"),
        (middle, 1, "fd78::2/64"),
        (right, 1, "fd78::3/64"),
    ] {
        net.link(place, link);
        net.address(place, link, address);
    }
    let [left, middle, right] = [("left", left), ("middle", middle), ("right", right)]
        .map(|(name, place)| node(dir.path(), name, place));
    wait_until_met(&middle, &left, "/ip6/fd77::1/tcp/");
    wait_until_met(&middle, &right, "/ip6/fd78::3/tcp/");
    wait_until_met(&left, &middle, "/ip6/fd77::2/tcp/");
    wait_until_met(&right, &middle, "/ip6/fd78::2/tcp/");
    assert_eq!(connections(&left, &right), [""; 0]);
    // One is unplugged and comes back with another address.
    net.unlink(right_place(&net), 1);
    net.link(right_place(&net), 1);
    net.address(right_place(&net), 1, "fd78::4/64");
    wait_until_met(&middle, &right, "/ip6/fd78::4/tcp/");
}

fn right_place(net: &Net) -> &Place {
    &net.places()[2]
}

#[test]
fn a_link_and_an_address_that_come_after_the_start_are_used() {
    let Some(net) = Net::without_links("mDNS on a new link", 2) else { return };
    let dir = temporary("mdns-late");
    let [here, there] = [&net.places()[0], &net.places()[1]];
    net.link(here, 0);
    let (one, other) = (node(dir.path(), "one", here), node(dir.path(), "other", there));
    for peer in [&one, &other] {
        assert_eq!(peer.peers(), [""; 0], "there is no way to each other yet");
    }
    // One has a link and gets an address; the other gets both.
    net.address(here, 0, "10.77.0.1/24");
    net.link(there, 0);
    net.address(there, 0, "10.77.0.2/24");
    wait_until_met(&one, &other, "/ip4/10.77.0.2/tcp/");
    wait_until_met(&other, &one, "/ip4/10.77.0.1/tcp/");

    // A second link, while the first is in use: it takes over when that one goes.
    for (place, address) in [(here, "10.78.0.1/24"), (there, "10.78.0.2/24")] {
        net.link(place, 1);
        net.address(place, 1, address);
    }
    wait_until("the new address is announced", || {
        let announced = one.identity()["Addresses"].to_string();
        if announced.contains("/ip4/10.78.0.1/tcp/") { Ok(()) } else { Err(announced) }
    });
    net.unlink(there, 0);
    wait_until_met(&one, &other, "/ip4/10.78.0.2/tcp/");
}

#[test]
fn a_hostile_neighbour_keeps_nobody_from_finding_an_honest_one_and_leaves_little_behind() {
    let Some(net) = Net::new("hostile mDNS", 4) else { return };
    let dir = temporary("mdns-hostile");
    let [here, there, later, evil] = [0, 1, 2, 3].map(|number| &net.places()[number]);
    // Multicast has a way from there.
    evil.route_through(here);
    let (victim, friend) = (node(dir.path(), "victim", here), node(dir.path(), "friend", there));
    wait_until_met(&victim, &friend, "/ip4/10.77.0.");
    let listen = json!(["/ip4/0.0.0.0/tcp/0"]);
    let late = Peer::repo(dir.path(), "late", "mesh", &[("Addresses.Swarm", listen)], Some(later));
    let late_id = late.run(["config", "Identity.PeerID"]).ok().out().trim().to_owned();
    let before = live_bytes(&victim, here);

    let known: Vec<PeerId> = [victim.id(), friend.id(), &late_id].map(|id| id.parse().unwrap()).to_vec();
    let attack = MdnsAttack::begin(evil, known);
    wait_until("peers that do not exist are believed to be there", || {
        let count = book_len(&victim);
        if count > 100 { Ok(()) } else { Err(count) }
    });
    // One that comes meanwhile is found by those who are there.
    let late = Peer::with(late);
    for peer in [&victim, &friend] {
        wait_until_met(peer, &late, "/ip4/10.77.0.3/tcp/");
    }
    wait_within(GIVEN_BACK_TIME_MAX, "all messages of the attack", || {
        let sent = attack.messages();
        if sent >= ATTACK_MESSAGES { Ok(()) } else { Err(sent) }
    });
    let (beside, invented) = (live_bytes(&victim, here), attack.peers());
    let sent = attack.end();
    assert!(!connections(&victim, &friend).is_empty(), "they go on");
    assert!(book_len(&victim) <= BOOK_PEERS_MAX, "the book has its bound");
    let allowed = f64::from(u32::try_from((BOOK_PEERS_MAX + MDNS_ADDRESSES_MAX) * KNOWN_BYTES_MAX).unwrap());
    let after = wait_within(GIVEN_BACK_TIME_MAX, "what the hostile neighbour cost is given back", || {
        let now = live_bytes(&victim, here);
        if now <= 1.1 * before + allowed { Ok(now) } else { Err((before, now)) }
    });
    // It is as good a neighbour as before.
    let file = NoiseFile::lay(dir.path(), 2, 1_000_000);
    let got = dir.path().join("got");
    late.get(&victim.add(&[], &file.path), &got);
    file.check(&got);
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    say(&format!(
        "mDNS: {sent} hostile messages, {invented} invented peers; live bytes before {:.1} MiB, beside it {:.1}, after {:.1}",
        mib(before),
        mib(beside),
        mib(after)
    ));
}
