//! Reading files: every range equals the slice of the whole, whatever the tree looks like; and lies are found.

use proptest::prelude::*;

use super::blocks::{Blocks, Child, identity, pb_block};
use super::{error_of, joined, walk, walk_until};
use crate::cid::{Cid, codec};
use crate::read::{FILE_DEPTH_MAX, FileReader, NodeInfo, NodeKind, ReadError};
use crate::unixfs::{NodeType, UnixFs};
use crate::walk::{Step, Walker as _};

/// A file's tree.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Raw(Vec<u8>),
    Leaf(Vec<u8>),
    Identity(Vec<u8>),
    Inner(Vec<u8>, Vec<Tree>),
}

pub(super) fn tree() -> impl Strategy<Value = Tree> {
    // Few byte values, so that the same leaf occurs several times.
    let data = || prop::collection::vec(0..2_u8, 0..24);
    let leaf =
        prop_oneof![data().prop_map(Tree::Raw), data().prop_map(Tree::Leaf), data().prop_map(Tree::Identity)];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let own = prop_oneof![Just(Vec::new()), prop::collection::vec(0..2_u8, 1..8)];
        (own, prop::collection::vec(inner, 0..6)).prop_map(|(own, children)| Tree::Inner(own, children))
    })
}

pub(super) fn build(blocks: &mut Blocks, tree: &Tree, content: &mut Vec<u8>) -> Cid {
    match tree {
        Tree::Raw(data) | Tree::Leaf(data) | Tree::Identity(data) => {
            content.extend_from_slice(data);
            match tree {
                Tree::Raw(_) => blocks.raw(data),
                Tree::Leaf(_) => blocks.leaf(data),
                _ => identity(codec::RAW, data),
            }
        }
        Tree::Inner(own, children) => {
            content.extend_from_slice(own);
            let children: Vec<Child> = children
                .iter()
                .map(|child| {
                    let start = content.len();
                    let cid = build(blocks, child, content);
                    Child::part(cid, (content.len() - start) as u64)
                })
                .collect();
            blocks.inner(own, &children)
        }
    }
}

proptest! {
    #[test]
    fn a_range_is_a_slice_of_the_whole(
        tree in tree(),
        offset in 0..200_u64,
        length in prop::option::of(0..200_u64),
        window in prop_oneof![Just(0_u64), Just(5000), Just(1 << 20)],
    ) {
        let mut blocks = Blocks::default();
        let mut content = Vec::new();
        let root = build(&mut blocks, &tree, &mut content);
        let mut reader = FileReader::new(root, offset, length);
        let read = walk(&blocks, &mut reader, window);
        prop_assert!(read.items.iter().all(|item| !item.is_empty()));
        let start = content.len().min(offset as usize);
        let end = length.map_or(content.len(), |length| content.len().min(start + length as usize));
        prop_assert_eq!(joined(&read.items), &content[start..end]);
        prop_assert_eq!(reader.size(), Some(content.len() as u64));
    }

    #[test]
    fn junk_never_panics(block in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut blocks = Blocks::default();
        let root = blocks.put(codec::DAG_PB, block.clone());
        let mut reader = FileReader::new(root, 0, None);
        let _ = walk_until(&Blocks { by_cid: [(root, block.clone().into())].into(), v0: false }, &mut reader, 1 << 20,
            |items| items.len() > 10);
        let _ = NodeInfo::of(&root, &block);
    }
}

#[test]
fn a_range_asks_only_for_what_it_covers() {
    let mut blocks = Blocks::default();
    let leaves: Vec<Cid> = (0..9_u8).map(|byte| blocks.raw(&[byte; 100])).collect();
    let parts = |range: &[Cid]| range.iter().map(|cid| Child::part(*cid, 100)).collect::<Vec<_>>();
    let inner: Vec<Child> =
        leaves.chunks(3).map(|three| Child::part(blocks.inner(&[], &parts(three)), 300)).collect();
    let root = blocks.inner(&[], &inner);
    let read = walk(&blocks, &mut FileReader::new(root, 350, Some(100)), 1 << 20);
    assert_eq!(joined(&read.items), [vec![3; 50], vec![4; 50]].concat());
    let mut asked = read.asked;
    asked.sort_by_key(Cid::to_bytes);
    let mut expected = vec![root, inner[1].cid, leaves[3], leaves[4]];
    expected.sort_by_key(Cid::to_bytes);
    assert_eq!(asked, expected);
}

#[test]
fn the_window_bounds_what_is_asked_for_ahead() {
    let mut blocks = Blocks::default();
    let parts: Vec<Child> =
        (0..40_u8).map(|byte| Child::part(blocks.raw(&vec![byte; 100_000]), 100_000)).collect();
    let root = blocks.inner(&[], &parts);
    let mut reader = FileReader::new(root, 0, None);
    let mut wants = Vec::new();
    assert_eq!(reader.step().unwrap(), Step::Need);
    reader.wants(1_000_000, &mut wants);
    assert_eq!(wants, [root]);
    reader.supply(&root, blocks.get(&root));
    wants.clear();
    reader.wants(1_000_000, &mut wants);
    assert!((8..=10).contains(&wants.len()), "{} wants", wants.len());
    // A block that nobody asked for is ignored.
    reader.supply(&parts[39].cid, blocks.get(&parts[39].cid));
    for cid in wants.drain(..2) {
        reader.supply(&cid, blocks.get(&cid));
        assert!(matches!(reader.step().unwrap(), Step::Item(item) if item.len() == 100_000));
    }
    assert_eq!(reader.step().unwrap(), Step::Need);
    wants.clear();
    reader.wants(1_000_000, &mut wants);
    assert_eq!(wants.len(), 2, "two came, two more are asked for");
}

#[test]
fn repeated_parts_are_asked_for_once() {
    let mut blocks = Blocks::default();
    let leaf = blocks.raw(&[7; 50]);
    let root = blocks.inner(&[], &vec![Child::part(leaf, 50); 100]);
    let read = walk(&blocks, &mut FileReader::new(root, 0, None), 1 << 20);
    assert_eq!(joined(&read.items), vec![7; 5000]);
    assert_eq!(read.asked, [root, leaf]);
}

/// A file of 2^60 bytes in 61 blocks.
fn bomb(blocks: &mut Blocks) -> Cid {
    (0..60).fold(blocks.raw(b"x"), |part, level| {
        let child = Child::part(part, 1 << level);
        blocks.inner(&[], &[child.clone(), child])
    })
}

#[test]
fn a_bomb_is_read_anywhere_in_little_time_and_memory() {
    let mut blocks = Blocks::default();
    let root = bomb(&mut blocks);
    let near_end = walk(&blocks, &mut FileReader::new(root, (1 << 60) - 1000, None), 1 << 20);
    assert_eq!(joined(&near_end.items), vec![b'x'; 1000]);
    assert!(near_end.asked.len() < 2000, "{} blocks asked for", near_end.asked.len());
    let mut reader = FileReader::new(root, 12345, None);
    let (start, error) = walk_until(&blocks, &mut reader, 1 << 20, |items| items.len() == 100_000);
    assert_eq!(error, None);
    assert_eq!(start.items.len(), 100_000);
    assert_eq!(reader.size(), Some(1 << 60));
}

#[test]
fn a_bomb_of_nothing_ends_at_once() {
    let mut blocks = Blocks::default();
    let empty = blocks.raw(b"");
    let root = (0..60).fold(empty, |part, _| blocks.inner(&[], &vec![Child::part(part, 0); 100]));
    let read = walk(&blocks, &mut FileReader::new(root, 0, None), 1 << 20);
    assert_eq!((read.items.len(), read.asked.len()), (0, 1));
}

#[test]
fn chains_end_at_the_depth_limit() {
    let mut blocks = Blocks::default();
    let chain = |blocks: &mut Blocks, depth: usize| {
        (1..depth).fold(blocks.raw(b"x"), |part, _| blocks.inner(&[], &[Child::part(part, 1)]))
    };
    let deepest = chain(&mut blocks, FILE_DEPTH_MAX);
    assert_eq!(joined(&walk(&blocks, &mut FileReader::new(deepest, 0, None), 0).items), b"x");
    let deeper = chain(&mut blocks, FILE_DEPTH_MAX + 1);
    let error = error_of(&blocks, &mut FileReader::new(deeper, 0, None));
    assert!(matches!(error, ReadError::TooDeep { limit: FILE_DEPTH_MAX, .. }), "{error}");
}

#[test]
fn sizes_that_lie_are_errors() {
    let mut blocks = Blocks::default();
    let leaf = blocks.raw(&[1; 10]);
    let file = |filesize, blocksizes: &[u64]| UnixFs {
        filesize,
        blocksizes: blocksizes.to_vec(),
        ..UnixFs::new(NodeType::File)
    };
    let part = || Child::part(leaf, 10);
    let lies = [
        blocks.pb(&file(Some(11), &[10]), &[part()]),
        blocks.pb(&file(Some(9), &[10]), &[part()]),
        blocks.pb(&file(Some(20), &[10, 10]), &[part()]),
        blocks.pb(&file(Some(10), &[10]), &[part(), part()]),
        blocks.pb(&file(Some(10), &[]), &[part()]),
        blocks.pb(&file(Some(9), &[9]), &[part()]),
        blocks.pb(&file(Some(11), &[11]), &[part()]),
        blocks.pb(&file(Some(9), &[u64::MAX, 10]), &[part(), part()]),
        blocks.pb(&file(Some(10), &[10]), &[Child::named("a name", leaf)]),
        blocks.pb(&UnixFs { data: Some(b"four"), ..file(Some(5), &[]) }, &[]),
    ];
    for lie in lies {
        let error = error_of(&blocks, &mut FileReader::new(lie, 0, None));
        assert!(matches!(error, ReadError::Inconsistent { .. }), "{error}");
    }
    // A size that is not given is no lie.
    let silent = blocks.pb(&file(None, &[10]), &[part()]);
    assert_eq!(walk(&blocks, &mut FileReader::new(silent, 0, None), 0).items.concat(), [1; 10]);
}

#[test]
fn parts_must_be_parts_of_files() {
    let mut blocks = Blocks::default();
    let cbor = blocks.put(codec::DAG_CBOR, vec![0xa0]);
    let parts = [blocks.dir(&[]), blocks.symlink(b"target"), blocks.hamt(16, &[].into(), 0), cbor];
    for part in parts {
        let root = blocks.inner(&[], &[Child::part(part, 6)]);
        let error = error_of(&blocks, &mut FileReader::new(root, 0, None));
        assert!(matches!(&error, ReadError::Inconsistent { cid, .. } if **cid == part), "{error}");
    }
}

#[test]
fn what_is_no_file_says_so_in_the_words_of_kubo() {
    let mut blocks = Blocks::default();
    let dir = blocks.dir(&[]);
    let hamt = blocks.hamt(16, &[].into(), 0);
    let cbor = blocks.put(codec::DAG_CBOR, vec![0xa0]);
    let bare = blocks.put(codec::DAG_PB, pb_block(None, &[]));
    let words = |root| error_of(&blocks, &mut FileReader::new(root, 0, None)).to_string();
    assert_eq!(words(dir), "this dag node is a directory");
    assert_eq!(words(hamt), "this dag node is a directory");
    assert_eq!(words(cbor), "unknown node type");
    assert_eq!(words(bare), format!("{bare}: invalid unixfs: no type"));
}

#[test]
fn a_link_reads_as_its_target() {
    let mut blocks = Blocks::default();
    let link = blocks.symlink(b"../target");
    assert_eq!(joined(&walk(&blocks, &mut FileReader::new(link, 3, Some(3)), 0).items), b"tar");
    let info = NodeInfo::of(&link, &blocks.get(&link)).unwrap();
    assert_eq!((info.kind, info.filesize), (NodeKind::Symlink, 9));
    assert_eq!(info.target.as_deref(), Some(&b"../target"[..]));
    let fs = UnixFs { data: Some(b"x"), ..UnixFs::new(NodeType::Symlink) };
    let with_links = blocks.pb(&fs, &[Child::part(link, 1)]);
    let error = error_of(&blocks, &mut FileReader::new(with_links, 0, None));
    assert!(matches!(error, ReadError::Inconsistent { .. }), "{error}");
}

#[test]
fn identity_blocks_are_never_asked_for() {
    let blocks = Blocks::default();
    let inline = identity(codec::RAW, b"inlined");
    let read = walk(&blocks, &mut FileReader::new(inline, 2, None), 1 << 20);
    assert_eq!((joined(&read.items).as_slice(), read.asked.len()), (&b"lined"[..], 0));
}

#[test]
fn blocks_describe_themselves() {
    let mut blocks = Blocks::default();
    let leaf = blocks.leaf(b"hello holdfast\n");
    let info = NodeInfo::of(&leaf, &blocks.get(&leaf)).unwrap();
    assert_eq!(
        (info.kind, info.filesize, info.block_bytes, info.cumulative_bytes),
        (NodeKind::File, 15, 23, 23)
    );
    let root = blocks.inner(b"own", &[Child::part(leaf, 15), Child::part(leaf, 15)]);
    let block = blocks.get(&root);
    let info = NodeInfo::of(&root, &block).unwrap();
    assert_eq!((info.links, info.filesize, info.cumulative_bytes), (2, 33, block.len() as u64 + 30));
    let cbor = blocks.put(codec::DAG_CBOR, vec![0xa0]);
    let info = NodeInfo::of(&cbor, &[0xa0]).unwrap();
    assert_eq!((info.kind, info.cumulative_bytes), (NodeKind::Other(codec::DAG_CBOR), 1));
    let raw = blocks.raw(b"raw");
    assert_eq!(NodeInfo::of(&raw, b"raw").unwrap().filesize, 3);
}
