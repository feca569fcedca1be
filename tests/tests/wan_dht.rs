//! Nodes with public addresses find content in the DHT of the internet (`/ipfs/kad/1.0.0`), which those serve that others can
//! reach.
//!
//! Each test makes its own internet of namespaces, in which nobody has a network at home.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use holdfast_tests::apart::{Apart, wait_for_one_peer};
use holdfast_tests::hostile::names::LAN_DHT;
use holdfast_tests::hostile::providers::{WAN_DHT, providers_at, wait_for_record};
use holdfast_tests::nat::Internet;
use holdfast_tests::need::temporary;
use holdfast_tests::netns::Place;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::{wait_until, wait_within};
use serde_json::{Value, json};

/// Reachability is first looked at 15 s after the start, and after a failure 90 s later.
const AUTONAT_TIME_MAX: Duration = Duration::from_secs(180);

/// An address that a node says it has and nobody reaches: of a network at home.
const AT_HOME: &str = "/ip4/10.1.2.3/tcp/4001";

/// A node with the routing of the defaults, which listens at its place and on loopback.
fn start(dir: &Path, name: &str, place: &Place, config: &[(&str, Value)]) -> Peer {
    let address = place.address();
    let listen = json!([
        format!("/ip4/{address}/tcp/0"),
        format!("/ip4/{address}/udp/0/quic-v1"),
        "/ip4/127.0.0.1/tcp/0"
    ]);
    let own = [("Addresses.Swarm", listen), ("Routing.LoopbackAddressesOnLanDHT", json!(false))];
    Peer::start(dir, name, &[&own, config].concat(), Some(place))
}

/// Its address over TCP that others reach.
fn address(peer: &Peer, place: &Place) -> String {
    let own = format!("/ip4/{}/tcp/", place.address());
    wait_until("a public address", || {
        let identity = peer.identity();
        let addresses = identity["Addresses"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let found = addresses.filter(|text| text.starts_with(&own)).map(str::to_owned).next();
        found.ok_or(identity)
    })
}

/// Whether a node says that it serves the DHT of the internet.
fn serves(peer: &Peer) -> bool {
    let identity = peer.identity();
    let protocols = identity["Protocols"].as_array().unwrap();
    assert!(protocols.contains(&json!(LAN_DHT)), "that of the local network is always served: {identity}");
    protocols.contains(&json!(WAN_DHT))
}

fn wait_until_serving(peer: &Peer) {
    wait_within(AUTONAT_TIME_MAX, "a server", || if serves(peer) { Ok(()) } else { Err(peer.identity()) });
}

/// Whether a node takes a stream of it.
fn is_spoken(place: &Place, node: &str) -> bool {
    // Any CID: it is only asked whether there is an answer.
    let nowhere = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    providers_at(place, WAN_DHT, node, nowhere).unwrap().is_some()
}

/// The answer of a command as JSON.
fn answer(of: &Peer, command: &[&str]) -> Value {
    let out = of.run([command, &["--enc=json"]].concat()).ok().out();
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// What a node shows of one of its tables.
fn table(of: &Peer, dht: &str) -> Value {
    answer(of, &["stats", "dht", dht])
}

fn peers_in(table: &Value) -> Vec<&str> {
    let buckets = table["Buckets"].as_array().into_iter().flatten();
    let peers = buckets.flat_map(|bucket| bucket["Peers"].as_array().into_iter().flatten());
    peers.map(|peer| peer["ID"].as_str().unwrap()).collect()
}

/// Waits until the table of the internet's DHT holds these.
fn wait_for_table(of: &Peer, peers: &[&Peer]) {
    wait_until("peers in the routing table", || {
        let table = table(of, "wan");
        let found = peers_in(&table);
        if peers.iter().all(|peer| found.contains(&peer.id())) { Ok(()) } else { Err(table) }
    });
}

/// A figure of a node's sweep.
fn figure(of: &Peer, options: &[&str], path: &str) -> u64 {
    let stats = answer(of, &[&["provide", "stat"], options].concat());
    let figure = stats["Sweep"].pointer(path).and_then(Value::as_u64);
    figure.unwrap_or_else(|| panic!("{path} in {stats}"))
}

#[test]
fn who_turns_out_to_be_reachable_serves_the_public_dht_where_strangers_find_content() {
    const PROVIDED: &str = "/operations/past/keys_provided";
    let Some(net) = Internet::new("the DHT of the internet", 3, &[]) else { return };
    let dir = temporary("wan-dht");
    let [a, b, c] = [&net.public()[0], &net.public()[1], &net.public()[2]];
    let apart = Apart::new(a, c);
    let one = start(dir.path(), "one", a, &[("Addresses.AppendAnnounce", json!([AT_HOME]))]);
    let between = start(dir.path(), "between", b, &[]);
    // Nobody has been met who could say whether they are reached.
    for (peer, place) in [(&one, a), (&between, b)] {
        assert!(!serves(peer));
        assert!(!is_spoken(place, &address(peer, place)));
    }
    one.connect(&address(&between, b));
    wait_until_serving(&one);
    wait_until_serving(&between);
    // The connection is older than that: each was told of it.
    wait_for_table(&one, &[&between]);
    wait_for_table(&between, &[&one]);

    let bytes: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    let path = dir.path().join("file");
    std::fs::write(&path, &bytes).unwrap();
    let cid = one.add(&[], &path);
    let kept = wait_for_record(b, WAN_DHT, &address(&between, b), &cid, one.id(), a);
    let announced = one.identity()["Addresses"].to_string();
    for class in [AT_HOME, "/ip4/127.0.0.1/tcp/", &format!("/ip4/{}/tcp/", a.address())] {
        assert!(announced.contains(class), "peers are told all addresses: {announced}");
    }
    let public = format!("/ip4/{}/", a.address());
    assert!(kept.iter().all(|address| address.starts_with(&public)), "{kept:?}");
    wait_until("figures of the sweep", || {
        let provided = figure(&one, &[], PROVIDED);
        if provided > 0 { Ok(()) } else { Err(provided) }
    });
    assert!(figure(&one, &[], "/network/peers") > 0);
    assert_eq!(figure(&one, &["--lan"], PROVIDED), 0, "nobody is there");
    assert_eq!(providers_at(b, LAN_DHT, &address(&between, b), &cid).unwrap(), Some(Vec::new()));

    // Whoever searches it has met the node between alone.
    let other = start(dir.path(), "other", c, &[]);
    assert!(!serves(&other));
    other.connect(&address(&between, b));
    wait_until_serving(&other);
    wait_for_table(&other, &[&between]);
    wait_for_table(&between, &[&one, &other]);
    for peer in [&one, &other] {
        let lan = table(peer, "lan");
        assert_eq!(peers_in(&lan), [""; 0], "whoever has public addresses alone is on no local network");
    }
    wait_for_one_peer(|| other.peers(), between.id());
    let found = other.run(["routing", "findprovs", "-n", "1", "--timeout=60s", &cid]).ok().out();
    assert_eq!(found.trim(), one.id());
    for peer in [&one, &other] {
        wait_for_one_peer(|| peer.peers(), between.id());
    }
    apart.end();
    assert_eq!(other.run(["cat", "--timeout=60s", &cid]).ok().stdout, bytes);
    assert!(other.peers().contains(&one.id().to_owned()), "it was read from the provider");
}

#[test]
fn who_is_not_reachable_any_more_leaves_the_public_dht() {
    const KEY: &str = "Internal.Libp2pForceReachability";
    let Some(net) = Internet::new("the DHT of the internet", 2, &[]) else { return };
    let dir = temporary("wan-dht-left");
    let [a, b] = [&net.public()[0], &net.public()[1]];
    let [one, other] = [("one", a), ("other", b)]
        .map(|(name, place)| start(dir.path(), name, place, &[(KEY, json!("public"))]));
    assert!(serves(&one) && is_spoken(b, &address(&one, a)));
    one.connect(&address(&other, b));
    wait_for_table(&other, &[&one]);
    wait_for_table(&one, &[&other]);

    let node = one.stop();
    node.run(["config", "--json", KEY, "\"private\""]).ok();
    let one = Peer::with(node);
    assert!(!serves(&one) && !is_spoken(b, &address(&one, a)));
    one.connect(&address(&other, b));
    wait_for_table(&one, &[&other]);
    wait_until("a table without it", || {
        let table = table(&other, "wan");
        if peers_in(&table).is_empty() { Ok(()) } else { Err(table) }
    });
}
