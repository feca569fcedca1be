//! rust-ipfs 0.16 fetches from us and we from it, over TCP and over QUIC: the same CIDs, the same bytes.
//!
//! Its messages end at 2 MiB, so blocks of up to 1 MiB; it makes no sharded folders, so it hands ours on.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use holdfast_tests::foreign::{Foreign, Kind};
use holdfast_tests::goods::{CHAIN_NODES, NoiseFile, SHARDED_ENTRIES, chain_car, wide_folder};
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::tree;
use serde_json::json;

/// For the chain and the folder, on a machine that is busy with other things.
const TIME_MAX: Duration = Duration::from_secs(600);

const BLOCKS: [u64; 3] = [1 << 10, 256 << 10, 1 << 20];

/// More chunks than a node has links.
const FILE_BYTES: u64 = 48 << 20;

/// What our `add` takes so that it cuts and links as rust-ipfs does.
const AS_RUST_IPFS: [&str; 2] = ["--cid-version=1", "--raw-leaves"];

fn start(dir: &Path) -> Foreign {
    let both = json!({"listen": ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]});
    Foreign::start(Kind::RustIpfs, dir, "rust-ipfs", both, None)
}

fn both_ways(transport: &str) {
    if !Kind::RustIpfs.present("rust-ipfs fetches from us and we from it") {
        return;
    }
    let dir = temporary("interop-rust-ipfs");
    let ours = Peer::start(dir.path(), "ours", &[], None);
    let rust = start(dir.path());
    rust.connect(&ours.address(transport));
    for (seed, len) in (0..).zip(BLOCKS) {
        let block = NoiseFile::lay(dir.path(), seed, len);
        let cid = ours.put_block(&[], &block.path);
        assert_eq!(rust.ask("block", json!({"cid": cid}))["sha256"], block.sha256.as_str(), "{len} bytes");
        assert_eq!(rust.ask("put_block", json!({"path": block.path}))["cid"], cid.as_str(), "{len} bytes");
        let block = NoiseFile::lay(dir.path(), seed + 100, len);
        let answer = rust.ask("put_block", json!({"path": block.path}));
        let cid = answer["cid"].as_str().unwrap();
        let got = ours.run(["block", "get", cid]).ok().stdout;
        assert!(got == fs::read(&block.path).unwrap(), "{len} bytes");
        assert_eq!(ours.put_block(&[], &block.path), cid, "{len} bytes");
    }
    let add = |file: &NoiseFile| {
        let answer = rust.ask_within(TIME_MAX, "add", json!({"path": file.path}));
        answer["cid"].as_str().unwrap().to_owned()
    };
    // In the form that only ours makes, too.
    let file = NoiseFile::lay(dir.path(), 9, 1 << 20);
    assert_eq!(rust.read(TIME_MAX, &ours.add(&[], &file.path)), file.sha256);
    let file = NoiseFile::lay(dir.path(), 10, FILE_BYTES);
    let cid = ours.add(&AS_RUST_IPFS, &file.path);
    assert_eq!(rust.read(TIME_MAX, &cid), file.sha256);
    assert_eq!(add(&file), cid);
    let file = NoiseFile::lay(dir.path(), 11, FILE_BYTES);
    let cid = add(&file);
    let got = file.path.with_extension("got");
    ours.get(&cid, &got);
    file.check(&got);
    assert_eq!(ours.add(&[&["-n"], &AS_RUST_IPFS[..]].concat(), &got), cid);

    let (car, newest) = chain_car(dir.path());
    ours.run(["dag", "import", car.to_str().unwrap()]).ok();
    assert_eq!(rust.ask_within(TIME_MAX, "walk", json!({"cid": newest}))["nodes"], CHAIN_NODES);
    assert_eq!(rust.ask_within(TIME_MAX, "chain", json!({"nodes": CHAIN_NODES}))["cid"], newest.as_str());
    let folder = wide_folder(dir.path(), "wide", SHARDED_ENTRIES);
    let cid = ours.add(&[], &folder);
    rust.ask_within(TIME_MAX, "fetch", json!({"cid": cid}));
    assert_eq!(rust.ask_within(TIME_MAX, "list", json!({"cid": cid}))["entries"], SHARDED_ENTRIES);

    // What it has now of ours, another of us gets from it alone.
    ours.stop();
    let other = Peer::start(dir.path(), "other", &[], None);
    other.connect(rust.address(transport));
    let got = dir.path().join("wide-got");
    other.get(&cid, &got);
    tree::compare(&folder, &got, &|_| false).unwrap();
    let refs = other.run(["refs", "-r", &newest]).ok().out();
    assert_eq!(refs.lines().count(), usize::from(CHAIN_NODES) - 1);
}

#[test]
fn rust_ipfs_and_we_fetch_from_each_other_over_tcp() {
    both_ways("tcp");
}

#[test]
fn rust_ipfs_and_we_fetch_from_each_other_over_quic() {
    both_ways("quic-v1");
}
