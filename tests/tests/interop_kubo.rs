//! Kubo fetches from us and we from Kubo, over TCP and over QUIC: the same CIDs, the same bytes.
//!
//! Kubo 0.22 is the library of `tests/interop`; `KUBO_BIN=path` puts that binary in its place.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_tests::foreign::{Foreign, Kind};
use holdfast_tests::goods::{FILE_BYTES, MANY_ENTRIES, NoiseFile, wide_folder};
use holdfast_tests::need::{say, temporary};
use holdfast_tests::swarm::Peer;
use holdfast_tests::tree;
use holdfast_tests::wait::wait_until;
use serde_json::{Value, json};

/// For the large file and the folder, on a machine that is busy with other things.
const TIME_MAX: Duration = Duration::from_secs(600);

/// Block sizes that every Kubo takes, and that only some nodes make.
const SMALL_BLOCKS: [u64; 2] = [1 << 10, 256 << 10];
const LARGE_BLOCKS: [u64; 2] = [1 << 20, 2 << 20];

fn pair(dir: &Path, transport: &str) -> (Peer, Foreign) {
    let ours = Peer::start(dir, "ours", &[], None);
    let listen = if transport == "tcp" { "tcp/0" } else { "udp/0/quic-v1" };
    let settings = json!({"listen": [format!("/ip4/127.0.0.1/{listen}")]});
    let kubo = Foreign::start(Kind::Kubo, dir, "kubo", settings, None);
    (ours, kubo)
}

/// Says how long something took; no test depends on it.
fn timed<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = act();
    say(&format!("interop: {what}: {:.1} s", start.elapsed().as_secs_f64()));
    result
}

fn kubo_fetches_from_us(transport: &str) {
    if !Kind::Kubo.present("Kubo fetches from us") {
        return;
    }
    let dir = temporary("interop-kubo");
    let (ours, kubo) = pair(dir.path(), transport);
    kubo.connect(&ours.address(transport));
    for (seed, len) in (1..).zip(SMALL_BLOCKS.into_iter().chain(LARGE_BLOCKS)) {
        let block = NoiseFile::lay(dir.path(), seed, len);
        let cid = ours.put_block(&["--allow-big-block"], &block.path);
        let got = block.path.with_extension("got");
        kubo.get(TIME_MAX, &cid, &got);
        block.check(&got);
    }
    let file = NoiseFile::lay(dir.path(), 10, FILE_BYTES);
    let cid = ours.add(&[], &file.path);
    let got = file.path.with_extension("got");
    timed(&format!("Kubo got 200 MiB from us over {transport}"), || kubo.get(TIME_MAX, &cid, &got));
    file.check(&got);
    assert_eq!(kubo.ask_within(TIME_MAX, "only_hash", json!({"path": file.path}))["cid"], cid.as_str());
    let folder = wide_folder(dir.path(), "ours-wide", MANY_ENTRIES);
    let cid = ours.add(&[], &folder);
    let got = dir.path().join("ours-wide-got");
    timed(&format!("Kubo got 20,000 entries from us over {transport}"), || kubo.get(TIME_MAX, &cid, &got));
    tree::compare(&folder, &got, &|_| false).unwrap();
    assert_eq!(kubo.ask_within(TIME_MAX, "only_hash", json!({"path": folder}))["cid"], cid.as_str());
}

fn we_fetch_from_kubo(transport: &str) {
    if !Kind::Kubo.present("we fetch from Kubo") {
        return;
    }
    let dir = temporary("interop-kubo");
    let (ours, kubo) = pair(dir.path(), transport);
    ours.connect(kubo.address(transport));
    for (seed, len) in (1..).zip(SMALL_BLOCKS) {
        // At these sizes a file is one block.
        let file = NoiseFile::lay(dir.path(), seed, len);
        let cid = kubo.add(&file.path);
        let block = ours.run(["block", "get", &cid]).ok().stdout;
        assert!(block.len() as u64 > len, "a block with its file's bytes");
        assert_eq!(ours.run(["cat", &cid]).ok().stdout, std::fs::read(&file.path).unwrap());
        assert_eq!(ours.add(&["-n"], &file.path), cid);
    }
    let file = NoiseFile::lay(dir.path(), 11, FILE_BYTES);
    let cid =
        kubo.ask_within(TIME_MAX, "add", json!({"path": file.path}))["cid"].as_str().unwrap().to_owned();
    let got = file.path.with_extension("got");
    timed(&format!("we got 200 MiB from Kubo over {transport}"), || ours.get(&cid, &got));
    file.check(&got);
    assert_eq!(ours.add(&["-n"], &got), cid);
    let folder = wide_folder(dir.path(), "kubos-wide", MANY_ENTRIES);
    let answer = kubo.ask_within(TIME_MAX, "add", json!({"path": folder}));
    let cid = answer["cid"].as_str().unwrap();
    let got = dir.path().join("kubos-wide-got");
    timed(&format!("we got 20,000 entries from Kubo over {transport}"), || ours.get(cid, &got));
    tree::compare(&folder, &got, &|_| false).unwrap();
    assert_eq!(ours.add(&["-n"], &folder), cid);
}

#[test]
fn kubo_fetches_blocks_a_file_and_a_sharded_folder_from_us_over_tcp() {
    kubo_fetches_from_us("tcp");
}

#[test]
fn kubo_fetches_blocks_a_file_and_a_sharded_folder_from_us_over_quic() {
    kubo_fetches_from_us("quic-v1");
}

#[test]
fn we_fetch_blocks_a_file_and_a_sharded_folder_from_kubo_over_tcp() {
    we_fetch_from_kubo("tcp");
}

#[test]
fn we_fetch_blocks_a_file_and_a_sharded_folder_from_kubo_over_quic() {
    we_fetch_from_kubo("quic-v1");
}

/// What both speak beside what they choose between themselves: how Kubo listens, and its config.
fn ways() -> [(&'static str, &'static str, &'static str, Value); 4] {
    let security = |on: &str, off: &str| json!({"Swarm.Transports.Security": {on: 100, off: false}});
    [
        ("TLS alone", "tcp/0", "tcp", security("TLS", "Noise")),
        ("noise alone", "tcp/0", "tcp", security("Noise", "TLS")),
        ("WebSocket", "tcp/0/ws", "ws", json!({"Swarm.Transports.Network.Websocket": true})),
        (
            "WebSocket with TLS alone",
            "tcp/0/ws",
            "ws",
            json!({
                "Swarm.Transports.Network.Websocket": true,
                "Swarm.Transports.Security": {"TLS": 100, "Noise": false}
            }),
        ),
    ]
}

#[test]
fn kubo_and_we_meet_over_each_security_protocol_and_websocket_whoever_dials() {
    if !Kind::Kubo.present("Kubo and we meet over each security protocol") {
        return;
    }
    let dir = temporary("interop-kubo-ways");
    for (number, (way, listen, part, config)) in (0..).zip(ways()) {
        let home = dir.path().join(part).join(number.to_string());
        let ours = Peer::start(
            &home,
            "ours",
            &[("Addresses.Swarm", json!([format!("/ip4/127.0.0.1/{listen}")]))],
            None,
        );
        let settings = json!({"listen": [format!("/ip4/127.0.0.1/{listen}")], "config": config});
        let kubo = Foreign::start(Kind::Kubo, &home, "kubo", settings, None);
        let theirs = NoiseFile::lay(&home, 2 * number, 700_000);
        ours.connect(kubo.address(part));
        let cid = kubo.add(&theirs.path);
        assert!(
            ours.run(["cat", "--timeout=60s", &cid]).ok().stdout == std::fs::read(&theirs.path).unwrap(),
            "{way}"
        );
        ours.run(["swarm", "disconnect", &format!("/p2p/{}", kubo.id())]).ok();
        wait_until("the connection ends at both", || {
            let peers = (ours.peers(), kubo.peers());
            if peers.0.is_empty() && peers.1.is_empty() { Ok(()) } else { Err(peers) }
        });
        kubo.connect(&ours.address(part));
        let ours_file = NoiseFile::lay(&home, 2 * number + 1, 700_000);
        let cid = ours.add(&[], &ours_file.path);
        let got = ours_file.path.with_extension("got");
        kubo.get(TIME_MAX, &cid, &got);
        ours_file.check(&got);
        let shown = ours.run(["swarm", "peers"]).ok().out();
        assert!(
            shown.contains(&format!("/{part}/")) || part == "ws" && shown.contains("/ws"),
            "{way}: {shown}"
        );
    }
}
