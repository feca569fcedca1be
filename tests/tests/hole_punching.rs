//! Nodes at home, each behind a NAT of its own, find out that nobody can dial them, are reached through a relay, and then
//! through a hole that both make in their NATs at once.
//!
//! Each test makes its own internet of namespaces; nobody looks for peers, so that each connection is one of the story.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use holdfast_tests::goods::NoiseFile;
use holdfast_tests::nat::{Home, Internet};
use holdfast_tests::need::temporary;
use holdfast_tests::netns::Place;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::{wait_until, wait_within};
use serde_json::{Value, json};

/// Reachability is first looked at 15 s after the start, by dials that nobody answers, and after a failure 90 s later.
const AUTONAT_TIME_MAX: Duration = Duration::from_secs(180);

fn start(dir: &Path, name: &str, place: &Place, config: &[(&str, Value)]) -> Peer {
    let config = [&[("Routing.Type", json!("none"))], config].concat();
    Peer::start(dir, name, &config, Some(place))
}

fn relay(dir: &Path, place: &Place) -> Peer {
    start(dir, "relay", place, &[("Swarm.RelayService.Enabled", json!(true))])
}

/// The addresses at which a node is connected to another.
fn connections(peer: &Peer, other: &Peer) -> Vec<String> {
    let out = peer.run(["swarm", "peers"]).ok().out();
    out.lines().filter(|line| line.ends_with(other.id())).map(str::to_owned).collect()
}

/// Waits until a node announces an address through a relay, and returns it.
fn circuit(peer: &Peer, relay: &Peer) -> String {
    wait_within(AUTONAT_TIME_MAX, "an address through the relay", || {
        let identity = peer.identity();
        let addresses = identity["Addresses"].as_array().cloned().unwrap_or_default();
        let through = |text: &&str| text.contains(relay.id()) && text.contains("/p2p-circuit/");
        let found = addresses.iter().filter_map(Value::as_str).find(through);
        found.map(str::to_owned).ok_or(identity)
    })
}

/// The addresses of a node as its NAT shows them: the NATs here keep the port.
fn outside(peer: &Peer, home: &Home) -> Vec<String> {
    let (inside, outside) = (home.place().address().to_string(), home.outside().to_string());
    let identity = peer.identity();
    let own = identity["Addresses"].as_array().into_iter().flatten().filter_map(Value::as_str);
    own.filter(|text| text.contains(&inside)).map(|text| text.replace(&inside, &outside)).collect()
}

fn is_relayed(address: &str) -> bool {
    address.contains("/p2p-circuit")
}

fn autonat(peer: &Peer) -> Value {
    let out = peer.run(["swarm", "addrs", "autonat", "--enc=json"]).ok().out();
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

#[test]
fn two_nodes_behind_nats_meet_at_a_relay_and_go_on_without_it() {
    let Some(net) = Internet::new("hole punching", 1, 2) else { return };
    let dir = temporary("hole-punching");
    let [first, second] = net.homes() else { unreachable!("two were made") };
    let relay = relay(dir.path(), &net.public()[0]);
    let at_home = |name: &str, home: &Home| {
        let config = [
            ("Swarm.RelayClient.StaticRelays", json!([relay.address("tcp")])),
            // What AutoNAT finds out after a while; the other test waits for it.
            ("Internal.Libp2pForceReachability", json!("private")),
        ];
        let peer = start(dir.path(), name, home.place(), &config);
        peer.connect(&relay.address("quic-v1"));
        peer
    };
    let (behind, far) = (at_home("behind", first), at_home("far", second));
    let through = circuit(&behind, &relay);
    circuit(&far, &relay);
    let closed = outside(&behind, first);
    assert!(closed.len() >= 2, "TCP and QUIC: {closed:?}");
    for address in closed {
        far.run(["swarm", "connect", "--timeout=5s", &address]).failed();
    }
    assert_eq!(connections(&far, &behind), [""; 0], "a NAT let in what nobody had asked for");

    far.connect(&through);
    let direct = wait_until("a direct connection", || {
        let addresses = connections(&far, &behind);
        addresses.iter().find(|address| !is_relayed(address)).cloned().ok_or(addresses)
    });
    assert!(direct.contains(&first.outside().to_string()), "{direct}");
    for (one, other) in [(&far, &behind), (&behind, &far)] {
        wait_until("the connection through the relay is given up", || {
            let addresses = connections(one, other);
            let replaced = !addresses.is_empty() && !addresses.iter().any(|address| is_relayed(address));
            if replaced { Ok(()) } else { Err(addresses) }
        });
    }
    // A relay carries no blocks: they take the hole, both ways.
    for (seed, from, to) in [(1, &behind, &far), (2, &far, &behind)] {
        let file = NoiseFile::lay(dir.path(), seed, 3_000_000);
        let got = file.path.with_extension("got");
        to.get(&from.add(&[], &file.path), &got);
        file.check(&got);
    }
}

#[test]
fn autonat_tells_a_public_node_from_one_behind_a_nat_which_then_looks_for_a_relay() {
    let Some(net) = Internet::new("AutoNAT", 2, 1) else { return };
    let dir = temporary("autonat");
    let relay = relay(dir.path(), &net.public()[0]);
    let public = start(dir.path(), "public", &net.public()[1], &[]);
    let home = &net.homes()[0];
    let behind = start(dir.path(), "behind", home.place(), &[]);
    for peer in [&public, &behind] {
        peer.connect(&relay.address("tcp"));
        peer.connect(&relay.address("quic-v1"));
    }
    for (peer, expected) in [(&public, "Public"), (&relay, "Public"), (&behind, "Private")] {
        wait_within(AUTONAT_TIME_MAX, expected, || {
            let found = autonat(peer);
            if found["reachability"] == expected { Ok(()) } else { Err(found) }
        });
    }
    let through = circuit(&behind, &relay);
    assert!(through.starts_with(&format!("/ip4/{}/", net.public()[0].address())), "{through}");
    let own = home.outside().to_string();
    let listed = |found: &Value, list: &str| found[list].to_string().contains(&own);
    assert!(!listed(&autonat(&behind), "reachable"), "{}", autonat(&behind));
    // Whoever is public is asked for nothing, and holds no place at a relay.
    let announced = public.identity()["Addresses"].to_string();
    assert!(!is_relayed(&announced), "{announced}");
}
