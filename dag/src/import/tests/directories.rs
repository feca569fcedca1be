//! Directories: limits, repeated names, HAMTs read back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::hamt;
use crate::pb;
use crate::unixfs::Mtime;

type Model = BTreeMap<Vec<u8>, (Cid, u64)>;

/// What a directory holds, read back by a reader that follows the definition, and the bytes of its blocks.
fn read(sink: &Memory, root: &Cid) -> (Model, NodeType, u64) {
    let block = sink.block(root);
    let node = pb::decode(&block).unwrap();
    let message = UnixFs::decode(node.data.unwrap()).unwrap();
    let mut model = Model::new();
    let mut bytes = block.len() as u64;
    if message.kind == NodeType::Directory {
        assert!(node.links.is_sorted_by(|a, b| a.name < b.name));
        for link in &node.links {
            model.insert(link.name().to_vec(), (link.cid, link.tsize.unwrap()));
            bytes += link.tsize.unwrap();
        }
        return (model, message.kind, bytes);
    }
    let fanout = message.fanout.unwrap() as u16;
    bytes = shard(sink, root, fanout, 0, 0, &mut model);
    (model, message.kind, bytes)
}

/// Reads a shard whose entries' hashes all begin with `prefix`; gives its Tsize.
fn shard(sink: &Memory, cid: &Cid, fanout: u16, depth: u32, prefix: u64, model: &mut Model) -> u64 {
    let block = sink.block(cid);
    let node = pb::decode(&block).unwrap();
    let message = UnixFs::decode(node.data.unwrap()).unwrap();
    assert_eq!((message.kind, message.hash_type), (NodeType::HamtShard, Some(0x22)));
    assert_eq!(message.fanout, Some(u64::from(fanout)));
    let bits = fanout.trailing_zeros();
    let digits = hamt::prefix_len(fanout);
    let bitfield = message.data.unwrap();
    assert_ne!(bitfield.first(), Some(&0), "leading zero bytes are stripped");
    let mut places = Vec::new();
    let mut tsize = block.len() as u64;
    assert!(depth == 0 || node.links.len() > 1 || node.links[0].name().len() == digits, "needless shard");
    for link in &node.links {
        let (place, name) = link.name().split_at(digits);
        let place = u64::from_str_radix(std::str::from_utf8(place).unwrap(), 16).unwrap();
        places.push(place);
        tsize += link.tsize.unwrap();
        let prefix = prefix << bits | place;
        if name.is_empty() {
            assert_eq!(shard(sink, &link.cid, fanout, depth + 1, prefix, model), link.tsize.unwrap());
        } else {
            assert_eq!(hamt::name_hash(name) >> (64 - bits * (depth + 1)), prefix);
            assert!(model.insert(name.to_vec(), (link.cid, link.tsize.unwrap())).is_none());
        }
    }
    let set: Vec<u64> = (0..u64::from(fanout))
        .filter(|place| {
            bitfield.iter().rev().nth(*place as usize / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1)
        })
        .collect();
    assert_eq!(places, set);
    tsize
}

fn target(number: u64) -> (Cid, u64) {
    let params = ImportParams::unixfs_v1_2025();
    (params.cid.cid_of(codec::RAW, &[&number.to_le_bytes()]), number)
}

fn build<'a>(
    params: &ImportParams,
    entries: impl IntoIterator<Item = (&'a [u8], u64)>,
    sink: &Memory,
) -> Imported {
    let mut builder = DirectoryBuilder::new(params, FileMeta::default());
    for (name, number) in entries {
        let (cid, tsize) = target(number);
        builder.add(name, &cid, tsize);
    }
    builder.finish(sink).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equal_to_a_map_in_any_order(
        entries in proptest::collection::vec(("[a-c]{1,4}|\\PC{1,12}", 0_u64..1 << 40), 1..400),
        fanout in proptest::sample::select(vec![8_u16, 16, 256, 1024]),
        threshold in 0_u64..4000,
        turn in any::<prop::sample::Index>(),
    ) {
        let params = ImportParams {
            hamt_fanout: fanout,
            hamt_threshold_bytes: threshold,
            ..ImportParams::default()
        };
        let model: Model =
            entries.iter().map(|(name, number)| (name.as_bytes().to_vec(), target(*number))).collect();
        let sink = Memory::default();
        let made = build(&params, entries.iter().map(|(name, number)| (name.as_bytes(), *number)), &sink);
        let (found, kind, bytes) = read(&sink, &made.cid);
        prop_assert_eq!(&found, &model);
        prop_assert_eq!(bytes, made.tsize);
        let estimate: usize = model.iter().map(|(name, (cid, _))| name.len() + cid.to_bytes().len()).sum();
        let sharded = threshold > 0 && estimate as u64 > threshold;
        prop_assert_eq!(kind == NodeType::HamtShard, sharded);

        // The same entries, each once, from another place on.
        let mut again: Vec<(&[u8], u64)> =
            model.iter().map(|(name, (_, number))| (name.as_slice(), *number)).collect();
        let turn = turn.index(again.len());
        again.rotate_left(turn);
        prop_assert_eq!(build(&params, again, &sink), made);
    }
}

#[test]
fn limits_are_strict() {
    let names = ["a", "bb", "ccc"];
    let kind = |params: &ImportParams| {
        let sink = Memory::default();
        let made = build(params, names.iter().map(|name| (name.as_bytes(), 300)), &sink);
        (read(&sink, &made.cid).1, sink.block(&made.cid).len() as u64)
    };
    let (_, exact) = kind(&ImportParams::default());
    for (estimation, estimate) in [(SizeEstimation::Links, 6 + 3 * 36), (SizeEstimation::Block, exact)] {
        for (threshold, expected) in
            [(estimate, NodeType::Directory), (estimate - 1, NodeType::HamtShard), (0, NodeType::Directory)]
        {
            let params = ImportParams {
                hamt_threshold_bytes: threshold,
                hamt_estimation: estimation,
                ..ImportParams::default()
            };
            assert_eq!(kind(&params).0, expected, "{estimation:?} {threshold}");
        }
    }
    for (links_max, expected) in
        [(2, NodeType::HamtShard), (3, NodeType::Directory), (0, NodeType::Directory)]
    {
        let params = ImportParams {
            directory_links_max: links_max,
            hamt_estimation: SizeEstimation::Disabled,
            hamt_threshold_bytes: 1,
            ..ImportParams::default()
        };
        assert_eq!(kind(&params).0, expected, "{links_max}");
    }
}

#[test]
fn repeated_names_count_once() {
    // Twice the same name goes over the limit only if it is counted twice.
    let params = ImportParams { directory_links_max: 2, ..ImportParams::default() };
    let sink = Memory::default();
    let made = build(&params, [(&b"a"[..], 1), (b"b", 2), (b"a", 3)], &sink);
    let (model, kind, _) = read(&sink, &made.cid);
    assert_eq!(kind, NodeType::Directory);
    assert_eq!(model, Model::from([(b"a".to_vec(), target(3)), (b"b".to_vec(), target(2))]));
}

/// Mode and mtime go into the root, of a sharded directory too, and count for the exact size.
#[test]
fn metadata_is_kept_at_the_root() {
    let meta =
        FileMeta { mode: Some(0o40_755), mtime: Some(Mtime { seconds: 1_604_320_482, nanos: Some(7) }) };
    for threshold in [1, 1 << 20] {
        let params = ImportParams { hamt_threshold_bytes: threshold, ..ImportParams::default() };
        let sink = Memory::default();
        let mut builder = DirectoryBuilder::new(&params, meta);
        builder.add(b"x", &target(1).0, 1);
        let made = builder.finish(&sink).unwrap();
        let block = sink.block(&made.cid);
        let node = pb::decode(&block).unwrap();
        let message = UnixFs::decode(node.data.unwrap()).unwrap();
        assert_eq!((message.mode, message.mtime), (Some(0o755), meta.mtime));
        assert_eq!(message.kind == NodeType::HamtShard, threshold == 1);
    }
}

/// Short blocks of directories are inlined, shards too.
#[test]
fn short_directories_are_inlined() {
    let params = ImportParams { inline_bytes_max: Some(128), ..ImportParams::default() };
    let sink = Memory::default();
    let made = build(&params, [(&b"a"[..], 1)], &sink);
    assert!(crate::cid::identity_data(&made.cid).is_some());
    assert!(sink.0.lock().unwrap().is_empty());
    assert_eq!(read(&sink, &made.cid).0.len(), 1);
}

/// One pass over a million entries, and every one is found again.
#[test]
fn a_million_entries() {
    let params = ImportParams::default();
    let mut builder = DirectoryBuilder::new(&params, FileMeta::default());
    let (cid, tsize) = target(1);
    for number in 0..1_000_000 {
        builder.add(format!("entry-{number:07}").as_bytes(), &cid, tsize);
    }
    let sink = Hoard(Mutex::default());
    let made = builder.finish(&sink).unwrap();
    let memory = Memory(Mutex::new(
        sink.0
            .into_inner()
            .unwrap()
            .into_iter()
            .map(|block| (block.cid, block.data.parts().concat()))
            .collect(),
    ));
    let (model, _, bytes) = read(&memory, &made.cid);
    assert_eq!((model.len(), bytes), (1_000_000, made.tsize));
    assert!(model.keys().enumerate().all(|(number, name)| *name == format!("entry-{number:07}").as_bytes()));
}

/// Keeps blocks without checking them, for speed.
struct Hoard(Mutex<Vec<Block>>);

impl BlockSink for Hoard {
    fn put(&self, blocks: Vec<Block>) -> Result<(), SinkError> {
        self.0.lock().unwrap().extend(blocks);
        Ok(())
    }
}
