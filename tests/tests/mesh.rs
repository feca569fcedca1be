//! Nodes on a network without internet: no bootstrap, no route out, links that fail and come back.
//!
//! Each test makes its own network of namespaces. One of the five nodes is a Kubo.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_tests::foreign::{ANSWER_TIME_MAX, Foreign, Kind};
use holdfast_tests::goods::NoiseFile;
use holdfast_tests::need::{say, temporary};
use holdfast_tests::netns::{Net, Place};
use holdfast_tests::run::Node;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::{wait_until, wait_within};
use serde_json::{Value, json};

/// Peers that went silent are noticed by pings; the bound is generous for a busy machine.
const SILENCE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long the rest of a fetch may take.
const FETCH_TIME_MAX: Duration = Duration::from_secs(120);

/// From the moment when the last of them is ready until each lists all others: mDNS asks twice in the first two seconds.
const MEETING_TIME_MAX: Duration = Duration::from_secs(20);

/// From the moment when a link is whole again until it is used: whoever was lost is dialled at least every 10 s, and a dial
/// that hangs where there is no link ends after a few seconds.
const RETURN_TIME_MAX: Duration = Duration::from_secs(30);

/// Two keys of private networks.
const KEY: &str =
    "/key/swarm/psk/1.0.0/\n/base16/\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
const OTHER_KEY: &str =
    "/key/swarm/psk/1.0.0/\n/base16/\nfedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\n";

fn ours(dir: &Path, name: &str, place: &Place) -> Peer {
    Peer::with(Peer::repo(dir, name, "mesh", &[], Some(place)))
}

/// Waits until each lists exactly the others of its group, all of them within `bound`.
fn all_meet_within(bound: Duration, what: &str, peers: &[&Peer], kubo: Option<&Foreign>) {
    let start = Instant::now();
    let left = || bound.saturating_sub(start.elapsed());
    let mut all: Vec<&str> = peers.iter().map(|peer| peer.id()).chain(kubo.map(Foreign::id)).collect();
    all.sort_unstable();
    let others = |id: &str| all.iter().copied().filter(|other| *other != id).collect::<Vec<_>>();
    for peer in peers {
        wait_within(left(), what, || {
            let found = peer.peers();
            if found == others(peer.id()) { Ok(()) } else { Err(found) }
        });
    }
    if let Some(kubo) = kubo {
        wait_within(left(), what, || {
            let found = kubo.peers();
            if found == others(kubo.id()) { Ok(()) } else { Err(found) }
        });
    }
    say(&format!("mesh: {what} after {:.1} s", start.elapsed().as_secs_f64()));
}

fn fetched(from: &Peer, to: &Peer, file: &NoiseFile) {
    let got = file.path.with_extension(&to.id()[40..]);
    to.get(&from.add(&[], &file.path), &got);
    file.check(&got);
}

#[test]
fn five_nodes_meet_serve_through_a_partition_and_meet_again() {
    if !Kind::Kubo.present("a mesh of five") {
        return;
    }
    let Some(net) = Net::new("a mesh of five", 5) else { return };
    let dir = temporary("mesh");
    let nodes: Vec<Peer> = net.places()[..4]
        .iter()
        .enumerate()
        .map(|(n, place)| ours(dir.path(), &format!("n{n}"), place))
        .collect();
    let kubo = Foreign::start(Kind::Kubo, dir.path(), "kubo", json!({"mdns": true}), Some(&net.places()[4]));
    let [a, b, c, d] = &nodes[..] else { unreachable!("four were started") };
    all_meet_within(MEETING_TIME_MAX, "five nodes met", &[a, b, c, d], Some(&kubo));
    let file = NoiseFile::lay(dir.path(), 1, 3_000_000);
    fetched(a, d, &file);
    let got = dir.path().join("kubo-got");
    kubo.get(ANSWER_TIME_MAX, &a.add(&[], &file.path), &got);
    file.check(&got);

    net.split(&[&net.places()[0], &net.places()[1]]);
    fetched(a, b, &NoiseFile::lay(dir.path(), 2, 3_000_000));
    fetched(c, d, &NoiseFile::lay(dir.path(), 3, 3_000_000));
    all_meet_within(SILENCE_TIME_MAX, "the smaller half saw that it is alone", &[a, b], None);
    wait_within(SILENCE_TIME_MAX, "the larger half saw that it is alone", || {
        let found = [c.peers(), d.peers()];
        if found.iter().all(|peers| peers.len() == 2) { Ok(()) } else { Err(found) }
    });
    fetched(b, a, &NoiseFile::lay(dir.path(), 4, 3_000_000));
    fetched(d, c, &NoiseFile::lay(dir.path(), 5, 3_000_000));

    net.heal_all();
    all_meet_within(RETURN_TIME_MAX, "both halves met again", &[a, b, c, d], Some(&kubo));
    fetched(d, a, &NoiseFile::lay(dir.path(), 6, 3_000_000));
}

/// Nodes that find nobody by themselves: each is told the others' addresses, all in `Peering.Peers`.
fn listed(dir: &Path, places: &[Place]) -> Vec<Peer> {
    let repos: Vec<(Node, Value)> = places
        .iter()
        .enumerate()
        .map(|(n, place)| {
            let address = format!("/ip4/{}/tcp/4001", place.address());
            let config = [("Discovery.MDNS.Enabled", json!(false)), ("Addresses.Swarm", json!([address]))];
            let node = Peer::repo(dir, &format!("n{n}"), "mesh", &config, Some(place));
            let id = node.run(["config", "Identity.PeerID"]).ok().out();
            (node, json!({"ID": id.trim(), "Addrs": [address]}))
        })
        .collect();
    let lines: Vec<Value> = repos.iter().map(|(_, line)| line.clone()).collect();
    let start = |(node, own): (Node, Value)| {
        let others: Vec<&Value> = lines.iter().filter(|line| **line != own).collect();
        node.run(["config", "--json", "Peering.Peers", &json!(others).to_string()]).ok();
        Peer::with(node)
    };
    repos.into_iter().map(start).collect()
}

#[test]
fn nodes_with_a_list_of_peers_meet_again_after_a_partition_without_mdns() {
    let Some(net) = Net::new("a mesh of listed peers", 4) else { return };
    let dir = temporary("mesh-listed");
    let nodes = listed(dir.path(), net.places());
    let [a, b, c, d] = &nodes[..] else { unreachable!("four were started") };
    all_meet_within(RETURN_TIME_MAX, "four listed nodes met", &[a, b, c, d], None);
    net.split(&[&net.places()[0], &net.places()[1]]);
    all_meet_within(SILENCE_TIME_MAX, "one half saw that it is alone", &[a, b], None);
    all_meet_within(SILENCE_TIME_MAX, "so did the other", &[c, d], None);
    fetched(a, b, &NoiseFile::lay(dir.path(), 1, 3_000_000));
    net.heal_all();
    all_meet_within(RETURN_TIME_MAX, "both halves met again", &[a, b, c, d], None);
    fetched(d, a, &NoiseFile::lay(dir.path(), 2, 3_000_000));
}

#[test]
fn a_node_with_another_swarm_key_never_connects() {
    if !Kind::Kubo.present("private networks") {
        return;
    }
    let Some(net) = Net::new("private networks", 4) else { return };
    let dir = temporary("mesh");
    let start = |number: usize, key: &str| {
        let place = &net.places()[number];
        let listen = json!([format!("/ip4/{}/tcp/0", place.address())]);
        let node = Peer::repo(
            dir.path(),
            &format!("n{number}"),
            "mesh",
            &[("Addresses.Swarm", listen)],
            Some(place),
        );
        fs::write(node.repo().join("swarm.key"), key).unwrap();
        Peer::with(node)
    };
    let (a, b, stranger) = (start(0, KEY), start(1, KEY), start(2, OTHER_KEY));
    let settings = json!({"mdns": true, "swarm_key": KEY});
    let kubo = Foreign::start(Kind::Kubo, dir.path(), "kubo", settings, Some(&net.places()[3]));
    all_meet_within(MEETING_TIME_MAX, "the members of a private network met", &[&a, &b], Some(&kubo));
    for address in [a.address("tcp"), b.address("tcp"), kubo.address("tcp").to_owned()] {
        stranger.run(["swarm", "connect", &address]).failed();
    }
    a.run(["swarm", "connect", &stranger.address("tcp")]).failed();
    assert_eq!(stranger.peers(), [""; 0]);
    all_meet_within(SILENCE_TIME_MAX, "the members are among themselves", &[&a, &b], Some(&kubo));
}

/// How long the link stays up and how long it stays cut, in turn: what TCP mends by itself, and
/// what takes a new connection.
const CUTS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(20)];
const UP: Duration = Duration::from_secs(5);

#[test]
fn a_fetch_goes_on_after_every_cut_of_its_link() {
    let Some(net) = Net::new("links that fail", 2) else { return };
    let dir = temporary("mesh");
    let [here, there] = [&net.places()[0], &net.places()[1]];
    let (from, to) = (ours(dir.path(), "from", here), ours(dir.path(), "to", there));
    to.wait_for_peer(from.id());
    // Slow enough that no cut comes after its end.
    net.limit(there, 24);
    let file = NoiseFile::lay(dir.path(), 1, 128 << 20);
    let cid = from.add(&[], &file.path);
    let got = file.path.with_extension("got");
    let fetch = to.node().command(["get", "-o", got.to_str().unwrap(), &cid]).spawn().unwrap();
    let mut fetch = Some(fetch);
    let received = || {
        let out = to.run(["bitswap", "stat"]).ok().out();
        let line =
            out.lines().find_map(|line| line.trim().strip_prefix("data received: ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no data received in {out}")).parse::<u64>().unwrap()
    };
    for cut in CUTS {
        let before = received();
        wait_until("bytes before the cut", || if received() > before { Ok(()) } else { Err(before) });
        std::thread::sleep(UP);
        let ended = fetch.as_mut().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "the fetch ended before its link was cut: {ended:?}");
        net.cut(there);
        std::thread::sleep(cut);
        let before = received();
        net.heal(there);
        let start = Instant::now();
        wait_within(RETURN_TIME_MAX, "bytes after the cut", || {
            if received() > before { Ok(()) } else { Err(before) }
        });
        say(&format!(
            "mesh: after {cut:?} without a link, bytes came in {:.1} s",
            start.elapsed().as_secs_f64()
        ));
    }
    net.limit(there, 1000);
    holdfast_tests::run::finish(fetch.take().unwrap(), "get".to_owned(), b"", FETCH_TIME_MAX).ok();
    file.check(&got);
}
