//! The daemon is killed while ten clients upload.
//!
//! Whatever was answered with its hash before the kill is there after it, whole and pinned; a daemon starts again on the repo
//! without a hand on a lock file; and nothing that is stored is damaged.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::{Random, noise};
use holdfast_tests::need::{say, switched_on, temporary};
use holdfast_tests::reply::End;
use holdfast_tests::run::Node;
use holdfast_tests::wire::Wire;
use rustix::process::Signal;

const CLIENTS: u64 = 10;

/// Adds one file after the other until the connection breaks; what was acknowledged comes back, by its seed.
fn upload(mut wire: Wire, host: &str, seeds: &AtomicU64) -> Vec<(u64, String)> {
    let mut acknowledged = Vec::new();
    loop {
        let seed = seeds.fetch_add(1, Ordering::Relaxed);
        let parts = Multipart::new().file("f", &content(seed));
        if wire.try_send(&Ask::command("add").parts(&parts).bytes(host)).is_err() {
            return acknowledged;
        }
        match wire.reply_if_whole_head() {
            Some(reply) if reply.end == End::Whole && reply.status() == 200 => {
                let hash = reply.value()["Hash"].as_str().unwrap().to_owned();
                acknowledged.push((seed, hash));
            }
            _ => return acknowledged,
        }
    }
}

fn content(seed: u64) -> Vec<u8> {
    noise(seed, 1_000 + seed * 7_919 % 600_000)
}

#[test]
fn what_was_acknowledged_to_ten_clients_survives_the_kill_of_the_daemon() {
    let rounds = if switched_on("SOAK") { 50 } else { 5 };
    let dir = temporary("rpc-crash");
    let node = Node::init(&dir.path().join("repo"));
    let mut random = Random::for_test("rpc_crash");
    let seeds = AtomicU64::new(0);
    let mut all: Vec<(u64, String)> = Vec::new();
    for round in 0..rounds {
        let daemon = Daemon::alone(&node, &[]);
        let pins = Ask::command("pin/ls?type=recursive").send(daemon.api()).ok().text();
        for (seed, hash) in &all {
            assert!(pins.contains(hash.as_str()), "round {round}: {hash} was acknowledged and is not pinned");
            // All of the last round's, and some of those before.
            if seed % 5 == round {
                let read = Ask::with_args("cat", &[hash]).send(daemon.api()).ok();
                assert!(read.body == content(*seed), "round {round}: {hash} is something else");
            }
        }
        let after = Duration::from_millis(100 + random.below(900));
        // They are connected before the time runs.
        let wires: Vec<Wire> = (0..CLIENTS).map(|_| Wire::tcp(daemon.api())).collect();
        let (host, seeds) = (daemon.api().to_string(), &seeds);
        let acknowledged: Vec<(u64, String)> = std::thread::scope(|scope| {
            let host = host.as_str();
            let clients = wires.into_iter().map(|wire| scope.spawn(move || upload(wire, host, seeds)));
            let clients: Vec<_> = clients.collect();
            std::thread::sleep(after);
            daemon.signal(Signal::KILL);
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        say(&format!("rpc_crash: round {round}: {} adds acknowledged in {after:.0?}", acknowledged.len()));
        let ended = daemon.wait();
        assert_eq!(ended.signal, Some(9), "{}", ended.err());
        all.extend(acknowledged);
    }
    assert!(!all.is_empty(), "no add was acknowledged before any kill");
    let daemon = Daemon::alone(&node, &[]);
    for (seed, hash) in &all {
        let read = Ask::with_args("cat", &[hash]).send(daemon.api()).ok();
        assert!(read.body == content(*seed), "{hash} is something else");
    }
    let pins = Ask::command("pin/ls?type=recursive&stream=true").send(daemon.api()).ok().values();
    assert!(pins.len() >= all.iter().map(|(_, hash)| hash).collect::<std::collections::BTreeSet<_>>().len());
    Ask::command("repo/verify").send(daemon.api()).ok();
    assert_eq!(daemon.stop().code, Some(0));
}
