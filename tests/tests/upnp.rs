//! A node at home asks the router to map its ports (UPnP), and tells others the address outside.
//!
//! Each test makes its own network of namespaces, with a router that says yes to everybody.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use holdfast_tests::igd::{Igd, Mapping};
use holdfast_tests::need::temporary;
use holdfast_tests::netns::{Net, Place};
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use serde_json::json;

/// The router's address on the internet. It is a public one, because nodes go by that.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);

/// The port of the default config, for TCP and for QUIC.
const PORT: u16 = 4001;

/// A node at a place whose way out is the router.
fn node(dir: &Path, name: &str, place: &Place, router: &Place, asks: bool) -> Peer {
    place.route_through(router);
    let address = place.address();
    let listen = json!([format!("/ip4/{address}/tcp/{PORT}"), format!("/ip4/{address}/udp/{PORT}/quic-v1")]);
    let config = [
        ("Addresses.Swarm", listen),
        ("Routing.Type", json!("none")),
        ("Swarm.DisableNatPortMap", json!(!asks)),
    ];
    Peer::start(dir, name, &config, Some(place))
}

/// What a node at this place asks for, and nothing else.
fn expected(place: &Place, asked: &[Mapping]) -> bool {
    let inside = (IpAddr::from(place.address()), PORT).into();
    let is_right = |(mapping, protocol): (&Mapping, &str)| {
        mapping.protocol == protocol && (mapping.outside, mapping.inside) == (PORT, inside)
    };
    asked.len() == 2 && asked.iter().zip(["TCP", "UDP"]).all(is_right)
}

#[test]
fn a_node_has_its_ports_mapped_and_announces_the_address_outside() {
    let Some(net) = Net::new("UPnP", 2) else { return };
    let dir = temporary("upnp");
    let [router, home] = [&net.places()[0], &net.places()[1]];
    let igd = Igd::start(router, OUTSIDE);
    let peer = node(dir.path(), "home", home, router, true);
    let outside = [format!("/ip4/{OUTSIDE}/tcp/{PORT}"), format!("/ip4/{OUTSIDE}/udp/{PORT}/quic-v1")];
    wait_until("the addresses outside are announced", || {
        let out = peer.run(["swarm", "addrs", "local"]).ok().out();
        let all = outside.iter().all(|address| out.lines().any(|line| line == address));
        if all { Ok(()) } else { Err((out, igd.searched(), igd.mappings())) }
    });
    let identity = peer.identity();
    for address in outside {
        let whole = json!(format!("{address}/p2p/{}", peer.id()));
        assert!(identity["Addresses"].as_array().unwrap().contains(&whole), "{identity}");
    }
    let mappings = igd.mappings();
    assert!(expected(home, &mappings), "{mappings:?}");
    // A node that is gone leaves no port open for ever.
    assert!(mappings.iter().all(|mapping| (1..=3600).contains(&mapping.seconds)), "{mappings:?}");
}

#[test]
fn a_node_that_is_not_to_ask_a_router_asks_nothing() {
    let Some(net) = Net::new("UPnP", 3) else { return };
    let dir = temporary("upnp-off");
    let [router, quiet, home] = [0, 1, 2].map(|number| &net.places()[number]);
    let igd = Igd::start(router, OUTSIDE);
    let silent = node(dir.path(), "quiet", quiet, router, false);
    // It is the second that shows that the first would have been heard by now.
    let _asking = node(dir.path(), "home", home, router, true);
    wait_until("the ports of the one that asks", || {
        let mappings = igd.mappings();
        if expected(home, &mappings) { Ok(()) } else { Err(mappings) }
    });
    assert!(igd.searched().iter().all(|from| *from == IpAddr::from(home.address())), "{:?}", igd.searched());
    let announced = silent.run(["swarm", "addrs", "local"]).ok().out();
    assert!(!announced.contains(&OUTSIDE.to_string()), "{announced}");
}
