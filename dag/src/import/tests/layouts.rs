//! Layouts against builders that follow the definition, with the whole file in memory.

use proptest::prelude::*;

use super::*;
use crate::chunker::ChunkerSpec;
use crate::pb::{PbLinkRef, PbNodeRef, encode};
use crate::unixfs::Mtime;

/// A subtree as the naive builders see it.
#[derive(Clone, Debug, PartialEq)]
struct Tree {
    cid: Cid,
    tsize: u64,
    filesize: u64,
}

fn store(params: &ImportParams, codec: u64, block: &[u8], children: u64, filesize: u64) -> Tree {
    Tree { cid: params.cid.cid_of(codec, &[block]), tsize: children + block.len() as u64, filesize }
}

fn inner(params: &ImportParams, children: &[Tree], meta: FileMeta) -> Tree {
    let link = |child: &Tree| PbLinkRef { cid: child.cid, name: Some(b""), tsize: Some(child.tsize) };
    let filesize = children.iter().map(|child| child.filesize).sum();
    let message = UnixFs {
        filesize: Some(filesize),
        blocksizes: children.iter().map(|child| child.filesize).collect(),
        mode: meta.mode,
        mtime: meta.mtime,
        ..UnixFs::new(NodeType::File)
    };
    let node = PbNodeRef { links: children.iter().map(link).collect(), data: Some(&message.encode()) };
    store(params, codec::DAG_PB, &encode(&node), children.iter().map(|child| child.tsize).sum(), filesize)
}

fn leaf(params: &ImportParams, kind: NodeType, chunk: &[u8], meta: FileMeta) -> Tree {
    let filesize = chunk.len() as u64;
    if params.raw_leaves {
        return store(params, codec::RAW, chunk, 0, filesize);
    }
    let data = (!chunk.is_empty()).then_some(chunk);
    let message =
        UnixFs { data, filesize: Some(filesize), mode: meta.mode, mtime: meta.mtime, ..UnixFs::new(kind) };
    let node = PbNodeRef { links: Vec::new(), data: Some(&message.encode()) };
    store(params, codec::DAG_PB, &encode(&node), 0, filesize)
}

/// Packs each level into groups until one node is left.
fn balanced(params: &ImportParams, chunks: &[&[u8]], meta: FileMeta) -> Tree {
    if let [] | [_] = chunks {
        return leaf(params, NodeType::File, chunks.first().unwrap_or(&&[][..]), meta);
    }
    let none = FileMeta::default();
    let mut level: Vec<Tree> = chunks.iter().map(|chunk| leaf(params, NodeType::File, chunk, none)).collect();
    while level.len() > params.file_links_max {
        level = level.chunks(params.file_links_max).map(|group| inner(params, group, none)).collect();
    }
    inner(params, &level, meta)
}

/// boxo's recursion.
fn trickle(params: &ImportParams, chunks: &mut &[&[u8]], depth: Option<usize>, meta: FileMeta) -> Tree {
    let none = FileMeta::default();
    let (leaves, rest) = chunks.split_at(params.file_links_max.min(chunks.len()));
    let mut children: Vec<Tree> =
        leaves.iter().map(|chunk| leaf(params, NodeType::Raw, chunk, none)).collect();
    *chunks = rest;
    let mut level = 1;
    while !chunks.is_empty() && depth.is_none_or(|depth| level < depth) {
        for _ in 0..4 {
            if !chunks.is_empty() {
                children.push(trickle(params, chunks, Some(level), none));
            }
        }
        level += 1;
    }
    inner(params, &children, meta)
}

fn naive(params: &ImportParams, data: &[u8], meta: FileMeta) -> Tree {
    let (mut rest, mut chunks) = (data, Vec::new());
    while let Some(cut) = params.chunker.cut(rest, true) {
        let (chunk, after) = rest.split_at(cut);
        chunks.push(chunk);
        rest = after;
    }
    match params.layout {
        Layout::Balanced => balanced(params, &chunks, meta),
        Layout::Trickle => trickle(params, &mut &chunks[..], None, meta),
    }
}

fn check(params: &ImportParams, data: &[u8], meta: FileMeta) {
    let sink = Memory::default();
    let made = import(params, meta, data, &sink);
    let expected = naive(params, data, meta);
    assert_eq!(
        Tree { cid: made.cid, tsize: made.tsize, filesize: made.filesize },
        expected,
        "{} bytes",
        data.len()
    );
    assert_eq!(made.filesize, data.len() as u64);
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Where nodes fill up: k x 174^j leaves and one more or less, with 174 links and with few.
#[test]
fn sizes_around_full_nodes() {
    for (links, powers, factors) in
        [(174, &[1, 174, 30_276][..], &[1, 2, 5][..]), (3, &[1, 3, 9, 27, 81, 243], &[1, 2])]
    {
        for layout in [Layout::Balanced, Layout::Trickle] {
            let params = ImportParams {
                chunker: ChunkerSpec::size(1).unwrap(),
                file_links_max: links,
                layout,
                ..ImportParams::default()
            };
            for leaves in powers.iter().flat_map(|power| factors.iter().map(move |factor| power * factor)) {
                for size in leaves - 1..=leaves + 1 {
                    check(&params, &bytes(size), FileMeta::default());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_parameters(
        length in 0_usize..3000,
        chunk in 1_usize..40,
        links in 2_usize..7,
        raw_leaves in any::<bool>(),
        trickle in any::<bool>(),
        v1 in any::<bool>(),
        mode in proptest::option::of(1_u32..0o7777),
        mtime in proptest::option::of((any::<i64>(), proptest::option::of(1_u32..1_000_000_000))),
    ) {
        let params = ImportParams {
            chunker: ChunkerSpec::size(chunk).unwrap(),
            file_links_max: links,
            raw_leaves,
            layout: if trickle { Layout::Trickle } else { Layout::Balanced },
            ..if v1 { ImportParams::unixfs_v1_2025() } else { ImportParams::unixfs_v0_2015() }
        };
        let mtime = mtime.map(|(seconds, nanos)| Mtime { seconds, nanos });
        check(&params, &bytes(length), FileMeta { mode, mtime });
    }
}
