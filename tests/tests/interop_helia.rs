//! Helia 7 fetches from us and we from Helia, over TCP: the same CIDs, the same bytes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use holdfast_tests::foreign::{Foreign, Kind};
use holdfast_tests::goods::{CHAIN_NODES, NoiseFile, SHARDED_ENTRIES, chain_car, wide_folder};
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use serde_json::json;

/// For the chain and the folder, on a machine that is busy with other things.
const TIME_MAX: Duration = Duration::from_secs(240);

/// Every size up to the largest block that anyone sends.
const BLOCKS: [u64; 5] = [1 << 10, 256 << 10, 1 << 20, (1 << 20) + 1, 2 << 20];

const FILE_BYTES: u64 = 32 << 20;

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
    }
    let file = NoiseFile::lay(dir.path(), 10, FILE_BYTES);
    let cid = ours.add(&["--cid-version=1"], &file.path);
    assert_eq!(helia.read(TIME_MAX, &cid), file.sha256);
    let folder = wide_folder(dir.path(), "ours-wide", SHARDED_ENTRIES);
    let cid = ours.add(&[], &folder);
    let listed = helia.ask_within(TIME_MAX, "list", json!({"cid": cid}));
    assert_eq!(listed["entries"], SHARDED_ENTRIES);
    let (car, newest) = chain_car(dir.path());
    ours.run(["dag", "import", car.to_str().unwrap()]).ok();
    assert_eq!(helia.ask_within(TIME_MAX, "walk", json!({"cid": newest}))["nodes"], CHAIN_NODES);
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
        let got = ours.run(["block", "get", answer["cid"].as_str().unwrap()]).ok().stdout;
        assert!(got == fs::read(&block.path).unwrap(), "{len} bytes");
    }
    let file = NoiseFile::lay(dir.path(), 11, FILE_BYTES);
    let cid = helia.add(&file.path);
    let got = file.path.with_extension("got");
    ours.get(&cid, &got);
    file.check(&got);
    let answer = helia.ask_within(TIME_MAX, "directory", json!({"entries": SHARDED_ENTRIES}));
    let cid = answer["cid"].as_str().unwrap();
    assert_eq!(
        ours.run(["ls", "--size=false", "--resolve-type=false", cid]).ok().out().lines().count(),
        SHARDED_ENTRIES
    );
    let answer = helia.ask_within(TIME_MAX, "chain", json!({"nodes": CHAIN_NODES}));
    let newest = answer["cid"].as_str().unwrap();
    // All links of all nodes: one less than nodes.
    let refs = ours.run(["refs", "-r", newest]).ok().out();
    assert_eq!(refs.lines().count(), usize::from(CHAIN_NODES) - 1);
    ours.run(["pin", "add", newest]).ok();
}
