//! A peer says that it is reached by a domain name, and has an address that changes: whoever hears of it asks for the name.
//!
//! The name server is the test's own, on loopback.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use holdfast_tests::dns::NameServer;
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use serde_json::{Value, json};

const ON_LOOPBACK: &str = "Routing.LoopbackAddressesOnLanDHT";

/// A peer that asks this server for names, or nobody.
fn peer(dir: &Path, name: &str, server: Option<&NameServer>, config: &[(&str, Value)]) -> Peer {
    let resolvers = server.map(|server| ("DNS.Resolvers", json!({ ".": server.url() })));
    let all = [Some((ON_LOOPBACK, json!(true))), resolvers].into_iter().flatten();
    let config: Vec<_> = all.chain(config.iter().cloned()).collect();
    Peer::start(dir, name, &config, None)
}

/// The port that a peer listens on for TCP.
fn port(peer: &Peer) -> String {
    let address = peer.address("tcp");
    address.split("/tcp/").nth(1).unwrap().split('/').next().unwrap().to_owned()
}

fn wait_for_table(of: &Peer, peer: &Peer) {
    wait_until("a peer in the routing table", || {
        let stats = of.daemon().post("/api/v0/stats/dht?arg=lan").json();
        if stats.to_string().contains(peer.id()) { Ok(()) } else { Err(stats) }
    });
}

#[test]
fn a_name_that_a_peer_announces_is_resolved_by_who_hears_of_it_through_a_third() {
    let dir = temporary("swarm-names");
    let server = NameServer::start();
    server.set_address("there.test", Ipv4Addr::LOCALHOST);
    // A port that is free now: what is announced has to be known before.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let there = [
        ("Addresses.Swarm", json!([format!("/ip4/127.0.0.1/tcp/{free}")])),
        ("Addresses.Announce", json!([format!("/dns4/there.test/tcp/{free}")])),
    ];
    let there = peer(dir.path(), "there", None, &there);
    let middle = peer(dir.path(), "middle", None, &[]);
    let here = peer(dir.path(), "here", Some(&server), &[]);
    // It comes by itself, so that nobody has dialled it and knows more than what it says.
    there.connect(&middle.address("tcp"));
    wait_for_table(&middle, &there);
    here.connect(&middle.address("tcp"));
    wait_for_table(&here, &middle);

    here.run(["swarm", "connect", "--timeout=60s", &format!("/p2p/{}", there.id())]).ok();
    here.wait_for_peer(there.id());
    assert!(server.asked_addresses().contains(&"there.test".to_owned()), "{:?}", server.asked_addresses());
    let streams = here.run(["swarm", "peers", "--streams"]).ok().out();
    assert!(streams.contains("/kad/"), "streams of a connection by name are listed: {streams}");
}

#[test]
fn a_name_in_the_peer_book_is_resolved_and_one_that_leads_nowhere_says_so() {
    let dir = temporary("swarm-names-book");
    let server = NameServer::start();
    server.set_address("there.test", Ipv4Addr::LOCALHOST);
    let there = peer(dir.path(), "there", None, &[]);
    let [here, deaf] =
        [("here", Some(&server)), ("deaf", None)].map(|(name, server)| peer(dir.path(), name, server, &[]));
    // A ping puts the address into the book, and dials what the book has.
    let pinged = format!("/dns4/there.test/tcp/{}/p2p/{}", port(&there), there.id());
    assert!(here.run(["ping", "-n", "1", &pinged]).ok().out().contains("Pong received"));
    let unasked = deaf.run(["ping", "-n", "1", &pinged]).failed();
    let said = format!("{}{}", unasked.out(), unasked.err());
    assert!(said.contains("this node asks no resolver"), "{said}");

    let stranger = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
    let nowhere = here.run(["ping", "-n", "1", &format!("/dns4/nowhere.test/tcp/1/p2p/{stranger}")]).failed();
    let said = format!("{}{}", nowhere.out(), nowhere.err());
    assert!(said.contains("resolving nowhere.test"), "{said}");
}

#[test]
fn filters_hold_for_what_a_name_stands_for() {
    let dir = temporary("swarm-names-filters");
    let server = NameServer::start();
    server.set_address("there.test", Ipv4Addr::LOCALHOST);
    let there = peer(dir.path(), "there", None, &[]);
    let here = peer(dir.path(), "here", Some(&server), &[]);
    here.run(["swarm", "filters", "add", "/ip4/127.0.0.0/ipcidr/8"]).ok();
    let named = format!("/dns4/there.test/tcp/{}/p2p/{}", port(&there), there.id());
    let refused = here.run(["ping", "-n", "1", &named]).failed();
    let said = format!("{}{}", refused.out(), refused.err());
    assert!(said.contains("Swarm.AddrFilters refuses"), "{said}");
    assert_eq!(here.peers(), Vec::<String>::new());
}
