//! A node that nobody can dial is reached through a relay.
//!
//! On loopback everybody can be dialled, so the node is told that it cannot be, and nobody looks for peers: the DHT would dial
//! it directly.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use holdfast_tests::foreign::{Foreign, Kind};
use holdfast_tests::goods::NoiseFile;
use holdfast_tests::need::temporary;
use holdfast_tests::run::finish;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use serde_json::{Value, json};

const TCP: &str = "tcp";

/// A dial on loopback, and a few blocks.
const FETCH_TIME_MAX: Duration = Duration::from_secs(30);

const KEY: &str =
    "/key/swarm/psk/1.0.0/\n/base16/\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";

/// A peer, of a private network if there is a key.
fn member(dir: &Path, name: &str, config: &[(&str, Value)], key: Option<&str>) -> Peer {
    let node = Peer::repo(dir, name, "test", config, None);
    if let Some(key) = key {
        std::fs::write(node.repo().join("swarm.key"), key).unwrap();
    }
    Peer::with(node)
}

/// A relay, a node that it stands for, and the address of that node through the relay.
fn relayed(dir: &Path, key: Option<&str>) -> (Peer, Peer, String) {
    let config = [("Swarm.RelayService.Enabled", json!(true)), ("Routing.Type", json!("none"))];
    let relay = member(dir, "relay", &config, key);
    let config = [
        ("Routing.Type", json!("none")),
        ("Swarm.EnableHolePunching", json!(false)),
        ("Swarm.RelayClient.Enabled", json!(true)),
        ("Swarm.RelayClient.StaticRelays", json!([relay.address(TCP)])),
        ("Internal.Libp2pForceReachability", json!("private")),
    ];
    let behind = member(dir, "behind", &config, key);
    let circuit = wait_until("an address through the relay", || {
        let identity = behind.identity();
        let addresses = identity["Addresses"].as_array().cloned().unwrap_or_default();
        let through = |text: &&str| text.contains(relay.id()) && text.contains("/p2p-circuit/");
        let found = addresses.iter().filter_map(Value::as_str).find(through);
        found.map(str::to_owned).ok_or(identity)
    });
    (relay, behind, circuit)
}

fn far(dir: &Path) -> Peer {
    let config = [
        ("Routing.Type", json!("none")),
        ("Swarm.EnableHolePunching", json!(false)),
        ("Swarm.RelayClient.Enabled", json!(true)),
    ];
    Peer::start(dir, "far", &config, None)
}

fn addresses_of(peer: &Peer, other: &Peer) -> Vec<String> {
    let out = peer.run(["swarm", "peers"]).ok().out();
    out.lines().filter(|line| line.ends_with(other.id())).map(str::to_owned).collect()
}

#[test]
fn a_relay_carries_words_and_no_blocks() {
    let dir = temporary("relay-circuit");
    let (_relay, behind, circuit) = relayed(dir.path(), None);
    let far = far(dir.path());
    far.connect(&circuit);
    assert_eq!(addresses_of(&far, &behind), [circuit.as_str()]);
    assert!(circuit.ends_with(&format!("/p2p-circuit/p2p/{}", behind.id())), "its ID once: {circuit}");
    let file = NoiseFile::lay(dir.path(), 1, 100_000);
    let cid = behind.add(&[], &file.path);
    let refused = far.run(["cat", "--timeout=2s", &cid]).failed();
    assert!(refused.err().contains(&cid), "{}", refused.err());
    assert!(addresses_of(&far, &behind).iter().all(|address| address.contains("/p2p-circuit/")));
}

#[test]
fn in_a_private_network_a_circuit_is_protected_as_kubos_are() {
    if !Kind::Kubo.present("circuits in private networks") {
        return;
    }
    let dir = temporary("relay-private");
    let (_relay, behind, circuit) = relayed(dir.path(), Some(KEY));
    let config = json!({"Swarm.Transports.Network.Relay": true, "Swarm.RelayClient.Enabled": true});
    let settings = json!({"swarm_key": KEY, "config": config});
    let kubo = Foreign::start(Kind::Kubo, dir.path(), "kubo", settings, None);
    kubo.connect(&circuit);
    behind.wait_for_peer(kubo.id());
    let far = [("Routing.Type", json!("none")), ("Swarm.RelayClient.Enabled", json!(true))];
    let far = member(dir.path(), "far", &far, Some(KEY));
    far.connect(&circuit);
    assert_eq!(addresses_of(&far, &behind), [circuit.as_str()]);
}

#[test]
fn a_fetch_that_begins_on_a_circuit_ends_on_the_direct_connection_that_a_peered_node_gets() {
    let dir = temporary("relay-peered");
    let (_relay, behind, circuit) = relayed(dir.path(), None);
    let far = far(dir.path());
    far.connect(&circuit);
    let file = NoiseFile::lay(dir.path(), 1, 3_000_000);
    let cid = behind.add(&[], &file.path);
    let got = file.path.with_extension("got");
    let mut fetch = far.node().command(["get", "-o", got.to_str().unwrap(), &cid]).spawn().unwrap();
    wait_until("the block is wanted", || {
        let wanted = far.run(["bitswap", "wantlist"]).ok().out();
        if wanted.contains(&cid) { Ok(()) } else { Err(wanted) }
    });
    assert!(fetch.try_wait().unwrap().is_none(), "a relay carries no blocks");
    assert_eq!(addresses_of(&far, &behind), [circuit.as_str()]);
    far.run(["swarm", "peering", "add", &circuit]).ok();
    finish(fetch, "get".to_owned(), b"", FETCH_TIME_MAX).ok();
    file.check(&got);
    let addresses = addresses_of(&far, &behind);
    assert!(addresses.iter().any(|address| !address.contains("/p2p-circuit/")), "{addresses:?}");
}

#[test]
fn pings_and_questions_take_the_circuit_that_is_there() {
    let dir = temporary("relay-words");
    let (_relay, behind, circuit) = relayed(dir.path(), None);
    let far = far(dir.path());
    far.connect(&circuit);
    wait_until("the other end knows who called", || {
        let known = behind.run(["id", "--offline", far.id()]);
        if known.out().contains("holdfast") { Ok(()) } else { Err(known.out()) }
    });
    for (from, to) in [(&far, &behind), (&behind, &far)] {
        let pings = from.run(["ping", "-n", "5", to.id()]).ok().out();
        assert_eq!(pings.matches("Pong received").count(), 5, "{pings}");
        assert!(from.run(["id", to.id()]).ok().out().contains(to.id()));
    }
    assert_eq!(addresses_of(&far, &behind), [circuit.as_str()]);
    assert_eq!(addresses_of(&behind, &far).len(), 1);
}

#[test]
fn a_reachability_that_does_not_exist_is_refused() {
    let dir = temporary("relay-config");
    let node =
        Peer::repo(dir.path(), "node", "test", &[("Internal.Libp2pForceReachability", json!("maybe"))], None);
    let refused = node.run(["daemon"]).failed();
    assert!(refused.err().contains("Internal.Libp2pForceReachability"), "{}", refused.err());
}
