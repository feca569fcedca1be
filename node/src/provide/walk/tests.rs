//! Strategies over a repo with a pinned folder, a pinned block, a file in MFS, and something that nobody holds.

use std::collections::HashSet;

use super::*;
use crate::node::{self, Node};
use crate::repo_init::InitParams;
use crate::services::files::{MfsPath, MkdirOptions};
use crate::services::pins::{PinOptions, PinProgress};
use holdfast_blockstore::{Change, Pin};
use holdfast_dag::block::Block;
use holdfast_dag::cid::{CidBuilder, Version};
use holdfast_dag::hash::HashKind;

struct World {
    _folder: tempfile::TempDir,
    node: Node,
    /// A directory with a file of two chunks in it: directory, file, chunks.
    tree: [Cid; 4],
    alone: Cid,
    loose: Cid,
    files_root: Cid,
}

fn put(node: &Node, codec: u64, data: Vec<u8>) -> Cid {
    let builder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
    let cid = builder.cid_of(codec, &[&data]);
    node.store().writer().put([Block::trusted(cid, data)]).unwrap();
    cid
}

/// A dag-pb node with these links, named by their number, and this UnixFS message.
fn pb_node(links: &[Cid], message: &[u8]) -> Vec<u8> {
    let field = |tag: u8, bytes: &[u8]| {
        let mut out = vec![tag, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    };
    let mut out = Vec::new();
    for (number, cid) in links.iter().enumerate() {
        let link = [field(0x0a, &cid.to_bytes()), field(0x12, number.to_string().as_bytes()), vec![0x18, 1]];
        out.extend(field(0x12, &link.concat()));
    }
    out.extend(field(0x0a, message));
    out
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let repo = folder.path().join("repo");
    let params = InitParams { repo: repo.clone(), profiles: "test".to_owned(), ..InitParams::default() };
    node::init(&params, &mut |_| {}).unwrap();
    let node = Node::builder().repo(repo).open().await.unwrap();
    let chunks = [put(&node, codec::RAW, vec![1; 10]), put(&node, codec::RAW, vec![2; 10])];
    // File of 20 bytes in two parts of 10.
    let file = put(&node, codec::DAG_PB, pb_node(&chunks, &[0x08, 2, 0x18, 20, 0x20, 10, 0x20, 10]));
    let directory = put(&node, codec::DAG_PB, pb_node(&[file], &[0x08, 1]));
    let alone = put(&node, codec::DAG_PB, pb_node(&chunks[..1], &[0x08, 2, 0x18, 10, 0x20, 10]));
    let loose = put(&node, codec::RAW, vec![3; 10]);
    let pins = node.pins();
    pins.add(directory, PinOptions::default(), &PinProgress::default()).await.unwrap();
    let direct = PinOptions { recursive: false, ..PinOptions::default() };
    pins.add(alone, direct, &PinProgress::default()).await.unwrap();
    node.files().mkdir(MfsPath::root().join("folder"), MkdirOptions::default()).await.unwrap();
    let files_root = node.files().resolve(MfsPath::root()).await.unwrap();
    let [first, second] = chunks;
    World { _folder: folder, node, tree: [directory, file, first, second], alone, loose, files_root }
}

impl World {
    /// The keys of a strategy, each as often as it was told.
    fn keys(&self, strategy: &str) -> Vec<Multihash> {
        let source = Source {
            store: self.node.store(),
            folder: self.node.repo_path(),
            strategy: Strategy::parse(strategy).unwrap(),
            skips_known: false,
        };
        let mut keys = Vec::new();
        source
            .all(&mut |hashes, _| {
                keys.extend_from_slice(hashes);
                Ok(vec![false; hashes.len()])
            })
            .unwrap();
        keys
    }

    fn has(&self, strategy: &str, expected: &[&Cid]) {
        let found: HashSet<Multihash> = self.keys(strategy).into_iter().collect();
        let expected: HashSet<Multihash> = expected.iter().map(|cid| *cid.hash()).collect();
        assert_eq!(found, expected, "{strategy}");
    }
}

#[tokio::test]
async fn every_strategy_finds_what_its_name_says() {
    let world = world().await;
    let [directory, file, first, second] = &world.tree;
    let every = world.keys("all");
    assert_eq!(every.len(), usize::try_from(world.node.store().stat().unwrap().blocks).unwrap());
    assert!(every.contains(world.loose.hash()));
    world.has("roots", &[directory, &world.alone]);
    world.has("pinned", &[directory, file, first, second, &world.alone]);
    world.has("pinned+entities", &[directory, file, &world.alone]);
    let in_files = world.keys("mfs");
    assert!(in_files.contains(world.files_root.hash()) && !in_files.contains(directory.hash()));
    assert_eq!(in_files.len(), 2, "the root and the folder in it");
    let both: HashSet<Multihash> = world.keys("pinned+mfs").into_iter().collect();
    assert_eq!(both.len(), 5 + 2);
}

#[tokio::test]
async fn shared_parts_are_told_once_and_known_ones_are_not_walked_again() {
    let world = world().await;
    let [directory, file, ..] = &world.tree;
    // A second pin on a part of the first.
    let pin = Change::Pin(Pin::new(*file, PinKind::Recursive, ""));
    world.node.store().writer().commit(&[pin]).unwrap();
    let keys = world.keys("pinned+unique");
    assert_eq!(keys.iter().filter(|hash| *hash == file.hash()).count(), 1);
    let source = Source {
        store: world.node.store(),
        folder: world.node.repo_path(),
        strategy: Strategy::parse("pinned").unwrap(),
        skips_known: true,
    };
    let mut told = Vec::new();
    let known = *file.hash();
    let mut sink = |hashes: &[Multihash], _: bool| {
        told.extend_from_slice(hashes);
        Ok(hashes.iter().map(|hash| *hash == known).collect())
    };
    source.pinned(directory, PinKind::Recursive, &mut sink).unwrap();
    assert_eq!(told, [*directory.hash(), *file.hash()]);
}

#[tokio::test]
async fn a_search_ends_when_the_sink_says_so() {
    let world = world().await;
    let source = Source {
        store: world.node.store(),
        folder: world.node.repo_path(),
        strategy: Strategy::parse("pinned").unwrap(),
        skips_known: false,
    };
    let ended = source.all(&mut |_, _| Err(KeysError::Stopped));
    assert!(matches!(ended, Err(KeysError::Stopped)));
}
