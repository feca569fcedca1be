//! Helia 7 fetches from us and we from Helia, over TCP: the same CIDs, the same bytes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use holdfast_tests::foreign::{Foreign, Kind};
use holdfast_tests::goods::{CHAIN_NODES, NoiseFile, SHARDED_ENTRIES, chain_car, wide_folder};
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::tree;
use holdfast_tests::wait::wait_until;
use serde_json::{Value, json};

/// For the chain and the folder, on a machine that is busy with other things.
const TIME_MAX: Duration = Duration::from_secs(240);

/// Every size up to the largest block that anyone sends.
const BLOCKS: [u64; 5] = [1 << 10, 256 << 10, 1 << 20, (1 << 20) + 1, 2 << 20];

const FILE_BYTES: u64 = 32 << 20;

/// What our `add` takes so that it cuts and links as Helia does by default.
const AS_HELIA: [&str; 4] =
    ["--cid-version=1", "--raw-leaves", "--chunker=size-1048576", "--max-file-links=1024"];

/// What Helia's takes so that it does as ours does by default, which is as Kubo does.
fn as_kubo() -> Value {
    json!({"cid_version": 0, "raw_leaves": false, "chunk_bytes": 262_144, "links_max": 174})
}

/// The CID that Helia gives to a file or folder of ours; it has fetched ours before.
fn by_helia(helia: &Foreign, path: &Path, params: &Value) -> String {
    let answer = helia.ask_within(TIME_MAX, "add", json!({"path": path, "params": params}));
    answer["cid"].as_str().unwrap().to_owned()
}

fn pair(dir: &Path) -> (Peer, Foreign) {
    let ours = Peer::start(dir, "ours", &[], None);
    (ours, Foreign::start(Kind::Helia, dir, "helia", json!({}), None))
}

#[test]
fn helia_fetches_blocks_a_file_a_sharded_folder_and_a_deep_chain_from_us() {
    if !Kind::Helia.present("Helia fetches from us") {
        return;
    }
    let dir = temporary("interop-helia");
    let (ours, helia) = pair(dir.path());
    helia.connect(&ours.address("tcp"));
    for (seed, len) in (1..).zip(BLOCKS) {
        let block = NoiseFile::lay(dir.path(), seed, len);
        let cid = ours.put_block(&["--allow-big-block"], &block.path);
        assert_eq!(helia.ask("block", json!({"cid": cid}))["sha256"], block.sha256.as_str(), "{len} bytes");
        assert_eq!(helia.ask("put_block", json!({"path": block.path}))["cid"], cid.as_str(), "{len} bytes");
    }
    let file = NoiseFile::lay(dir.path(), 10, FILE_BYTES);
    let cid = ours.add(&[], &file.path);
    assert_eq!(helia.read(TIME_MAX, &cid), file.sha256);
    assert_eq!(by_helia(&helia, &file.path, &as_kubo()), cid);
    let folder = wide_folder(dir.path(), "ours-wide", SHARDED_ENTRIES);
    let cid = ours.add(&[], &folder);
    let listed = helia.ask_within(TIME_MAX, "list", json!({"cid": cid}));
    assert_eq!(listed["entries"], SHARDED_ENTRIES);
    assert_eq!(by_helia(&helia, &folder, &as_kubo()), cid);
    let (car, newest) = chain_car(dir.path());
    ours.run(["dag", "import", car.to_str().unwrap()]).ok();
    assert_eq!(helia.ask_within(TIME_MAX, "walk", json!({"cid": newest}))["nodes"], CHAIN_NODES);
    let made = helia.ask_within(TIME_MAX, "chain", json!({"nodes": CHAIN_NODES}));
    assert_eq!(made["cid"], newest.as_str());
}

#[test]
fn we_fetch_blocks_a_file_a_sharded_folder_and_a_deep_chain_from_helia() {
    if !Kind::Helia.present("we fetch from Helia") {
        return;
    }
    let dir = temporary("interop-helia");
    let (ours, helia) = pair(dir.path());
    ours.connect(helia.address("tcp"));
    for (seed, len) in (1..).zip(BLOCKS) {
        let block = NoiseFile::lay(dir.path(), seed, len);
        let answer = helia.ask("put_block", json!({"path": block.path}));
        let cid = answer["cid"].as_str().unwrap();
        let got = ours.run(["block", "get", cid]).ok().stdout;
        assert!(got == fs::read(&block.path).unwrap(), "{len} bytes");
        assert_eq!(ours.put_block(&["--allow-big-block"], &block.path), cid, "{len} bytes");
    }
    let file = NoiseFile::lay(dir.path(), 11, FILE_BYTES);
    let cid = by_helia(&helia, &file.path, &Value::Null);
    let got = file.path.with_extension("got");
    ours.get(&cid, &got);
    file.check(&got);
    assert_eq!(ours.add(&[&["-n"], &AS_HELIA[..]].concat(), &got), cid);
    let folder = wide_folder(dir.path(), "helias-wide", SHARDED_ENTRIES);
    let cid = by_helia(&helia, &folder, &Value::Null);
    let got = dir.path().join("helias-wide-got");
    ours.get(&cid, &got);
    tree::compare(&folder, &got, &|_| false).unwrap();
    assert_eq!(ours.add(&[&["-n"], &AS_HELIA[..]].concat(), &folder), cid);
    let answer = helia.ask_within(TIME_MAX, "chain", json!({"nodes": CHAIN_NODES}));
    let newest = answer["cid"].as_str().unwrap();
    // All links of all nodes: one less than nodes.
    let refs = ours.run(["refs", "-r", newest]).ok().out();
    assert_eq!(refs.lines().count(), usize::from(CHAIN_NODES) - 1);
    ours.run(["pin", "add", newest]).ok();
    assert_eq!(chain_car(dir.path()).1, newest);
}

#[test]
fn helia_and_we_meet_over_tls_and_websocket_whoever_dials() {
    if !Kind::Helia.present("Helia and we meet over TLS and WebSocket") {
        return;
    }
    let dir = temporary("interop-helia-ways");
    for (number, (tls, listen)) in (0..).zip([(true, "tcp/0"), (false, "tcp/0/ws"), (true, "tcp/0/ws")]) {
        let home = dir.path().join(number.to_string());
        let listen = format!("/ip4/127.0.0.1/{listen}");
        // Without a DHT, which dials whom it knows for its table: whoever dials here is the test.
        let config = [("Addresses.Swarm", json!([listen])), ("Routing.Type", json!("none"))];
        let ours = Peer::start(&home, "ours", &config, None);
        let settings = json!({"tls": tls, "websocket": listen.ends_with("ws"), "listen": [listen]});
        let helia = Foreign::start(Kind::Helia, &home, "helia", settings, None);
        ours.connect(&helia.addresses()[0]);
        let file = NoiseFile::lay(&home, 2 * number, 700_000);
        let cid = by_helia(&helia, &file.path, &json!(null));
        let got = ours.run(["cat", "--timeout=60s", &cid]).ok().stdout;
        assert!(got == fs::read(&file.path).unwrap(), "{listen}, TLS: {tls}");
        ours.run(["swarm", "disconnect", &format!("/p2p/{}", helia.id())]).ok();
        wait_until("the connection ends at both", || {
            let peers = (ours.peers(), helia.peers());
            if peers.0.is_empty() && peers.1.is_empty() { Ok(()) } else { Err(peers) }
        });
        helia.connect(&ours.address("tcp"));
        let file = NoiseFile::lay(&home, 2 * number + 1, 700_000);
        assert_eq!(helia.read(TIME_MAX, &ours.add(&[], &file.path)), file.sha256);
    }
}
