//! Blocks and stores for the tests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use std::ops::ControlFlow;

use holdfast_blockstore::{
    Change, Durability, GcEvent, GcOptions, GcReport, Pin, PinKind, Store, StoreConfig,
};
use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, CidBuilder, Version, codec};
use holdfast_dag::hash::HashKind;
use holdfast_dag::pb::{PbLinkRef, PbNodeRef, encode};

pub(crate) const V1: CidBuilder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };

/// Small and quick settings.
pub(crate) fn config() -> StoreConfig {
    StoreConfig {
        memory_bytes_max: 16 << 20,
        idle_flush: Duration::from_millis(20),
        // Repos are copied often.
        reserve_file_bytes: Some(0),
        ..StoreConfig::default()
    }
}

pub(crate) fn process() -> StoreConfig {
    StoreConfig { durability: Durability::Process, ..config() }
}

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, config()).unwrap()
}

/// Bytes that differ for each seed and do not compress.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

pub(crate) fn raw(data: impl Into<Vec<u8>>) -> Block {
    let data = data.into();
    Block::trusted(V1.cid_of(codec::RAW, &[&data]), data)
}

/// A raw block of its own for each seed.
pub(crate) fn leaf(seed: u64, len: usize) -> Block {
    raw(bytes(seed, len))
}

/// A dag-pb node over children.
pub(crate) fn node(children: &[Cid]) -> Block {
    let links = children.iter().map(|cid| PbLinkRef { cid: *cid, name: Some(b""), tsize: Some(1) }).collect();
    let data = encode(&PbNodeRef { links, data: Some(b"node") });
    Block::trusted(V1.cid_of(codec::DAG_PB, &[&data]), data)
}

pub(crate) fn pin(cid: Cid) -> Change {
    Change::Pin(Pin::new(cid, PinKind::Recursive, ""))
}

pub(crate) fn unpin(cid: Cid) -> Change {
    Change::Unpin { cid, kind: PinKind::Recursive }
}

/// Puts blocks and commits them.
pub(crate) fn put(store: &Store, blocks: &[Block]) {
    let writer = store.writer();
    writer.put(blocks).unwrap();
    writer.commit(&[]).unwrap();
}

pub(crate) fn assert_has(store: &Store, block: &Block) {
    let got = store.get(&block.cid).unwrap().unwrap_or_else(|| panic!("{} is missing", block.cid));
    assert_eq!(got, block.data.to_bytes());
}

pub(crate) fn is_absent(store: &Store, block: &Block) -> bool {
    store.get(&block.cid).unwrap().is_none()
}

pub(crate) fn segments(repo: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(repo.join("segments")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// Where `needle` lies in a file.
pub(crate) fn find_bytes(path: &Path, needle: &[u8]) -> Option<usize> {
    let content = std::fs::read(path).unwrap();
    content.windows(needle.len()).position(|window| window == needle)
}

/// Copies a repo as a power cut or a killed process would leave it: as it is in one moment. Where RocksDB made or
/// removed a file while the copy went on, it is made again. A folder of the repo can be copied alone.
pub(crate) fn copy_repo(from: &Path, to: &Path) {
    let index = |path: &Path| if from.join("db").exists() { path.join("db") } else { path.to_owned() };
    let files = || {
        let mut names: Vec<_> =
            std::fs::read_dir(index(from)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    for _ in 0..100 {
        let before = files();
        copy_folder(from, to);
        if files() == before {
            return;
        }
        for entry in std::fs::read_dir(index(to)).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
    panic!("the index is never still");
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else if std::fs::copy(entry.path(), &target).is_err() {
            // RocksDB removed it between the listing and the copy; the copy is made again.
        }
    }
}

/// Says loudly that a check could not run, and fails where everything is required.
pub(crate) fn cannot_run(why: &str) {
    eprintln!("NOT RUN: {why}");
    assert!(std::env::var_os("REQUIRE_ALL").is_none(), "REQUIRE_ALL is set, but: {why}");
}

/// Checks that counters, derived families, listing and values agree, and returns the number of blocks.
pub(crate) fn assert_consistent(store: &Store) -> u64 {
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    let mut bytes = 0;
    let mut blocks = 0;
    for row in store.blocks() {
        bytes += row.unwrap().1;
        blocks += 1;
    }
    let stat = store.stat().unwrap();
    assert_eq!((stat.blocks, stat.value_bytes), (blocks, bytes), "counters equal a full walk");
    let mut damaged = Vec::new();
    let checked = store
        .verify(&mut |event| {
            if let holdfast_blockstore::VerifyEvent::Damaged(hash, error) = event {
                damaged.push((hash, error));
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    assert_eq!(checked, blocks);
    blocks
}

/// Collects garbage, and tells each event.
pub(crate) fn collect_with(
    store: &Store,
    options: &GcOptions,
    mut each: impl FnMut(GcEvent<'_>),
) -> GcReport {
    let report = store.collect(options, &mut |event| {
        each(event);
        ControlFlow::Continue(())
    });
    report.unwrap()
}

pub(crate) fn collect(store: &Store) -> GcReport {
    collect_with(store, &GcOptions::default(), |_| {})
}

/// A root over leaves of its own, in the order leaves, root.
pub(crate) fn tree(seed: u64, leaves: u64, len: usize) -> Vec<Block> {
    let mut blocks: Vec<Block> = (0..leaves).map(|n| leaf(seed * 10_000 + n + 1, len)).collect();
    blocks.push(node(&blocks.iter().map(|leaf| leaf.cid).collect::<Vec<_>>()));
    blocks
}

pub(crate) fn root_of(tree: &[Block]) -> Cid {
    tree.last().unwrap().cid
}

pub(crate) fn is_whole(store: &Store, tree: &[Block]) -> bool {
    tree.iter().all(|block| !is_absent(store, block))
}

pub(crate) fn is_gone(store: &Store, tree: &[Block]) -> bool {
    tree.iter().all(|block| is_absent(store, block))
}
