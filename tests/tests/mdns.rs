//! Neighbours find each other by mDNS alone, on whatever links they have: IPv6, several, one that comes later.
//!
//! Each test makes its own network of namespaces; there is no bootstrap list, and nobody is told an address.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use holdfast_tests::goods::NoiseFile;
use holdfast_tests::need::temporary;
use holdfast_tests::netns::{Net, Place};
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::{wait_until, wait_within};
use serde_json::json;

/// How long a link may be there before it is used. The profile `mesh` asks by mDNS every 10 s, and at once on a new address.
const NEW_LINK_TIME_MAX: Duration = Duration::from_secs(60);

/// A node that listens on all its addresses, over TCP alone: mDNS is to be found out about, not transports.
fn node(dir: &Path, name: &str, place: &Place) -> Peer {
    let listen = json!(["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"]);
    Peer::with(Peer::repo(dir, name, "mesh", &[("Addresses.Swarm", listen)], Some(place)))
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
