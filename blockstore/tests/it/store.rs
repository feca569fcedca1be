//! The plain story: what is put can be found, read, pinned, listed, deleted, and is there after reopening.

use crate::common::*;
use crate::tamper::Tampered;
use holdfast_blockstore::{
    Change, DeleteError, FORMAT, Pin, PinKind, ReadError, Store, StoreConfig, WriteError, rebuild_index,
};
use holdfast_dag::block::{Block, BlockBytes};
use holdfast_dag::cid::{CidBuilder, Version, codec};
use holdfast_dag::hash::HashKind;

#[test]
fn blocks_and_pins_are_there_after_reopening() {
    let repo = tempfile::tempdir().unwrap();
    let leaves: Vec<Block> = (0..50).map(|seed| leaf(seed, 10_000)).collect();
    let root = node(&leaves.iter().map(|leaf| leaf.cid).collect::<Vec<_>>());
    {
        let store = open(repo.path());
        let writer = store.writer();
        writer.put(&leaves).unwrap();
        writer.put([root.clone()]).unwrap();
        assert_has(&store, &leaves[7]);
        writer.commit(&[Change::Pin(Pin::new(root.cid, PinKind::Recursive, "my pin"))]).unwrap();
    }
    let store = open(repo.path());
    for block in leaves.iter().chain([&root]) {
        assert!(store.has(block.cid.hash()).unwrap());
        assert_eq!(store.size(block.cid.hash()).unwrap(), Some(block.data.len() as u64));
        assert_has(&store, block);
    }
    assert_eq!(store.pins().get(&root.cid).unwrap().unwrap().name, "my pin");
    let pins: Vec<Pin> = store.pins().iter(None).map(Result::unwrap).collect();
    assert_eq!(pins.len(), 1);
    assert_eq!(store.pins().iter(Some(PinKind::Direct)).count(), 0);
    let stat = store.stat().unwrap();
    assert_eq!((stat.blocks, stat.value_bytes), (51, 50 * 10_000 + root.data.len() as u64));
    assert!(stat.disk_bytes > 50 * 10_000);
    assert_eq!(*store.open_report(), holdfast_blockstore::OpenReport::default());
}

#[test]
fn a_block_is_one_under_every_cid_of_its_hash() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let block = node(&[]);
    put(&store, std::slice::from_ref(&block));
    let v0 = holdfast_dag::cid::Cid::new_v0(*block.cid.hash()).unwrap();
    let as_raw = holdfast_dag::cid::Cid::new_v1(codec::RAW, *block.cid.hash());
    for cid in [v0, as_raw] {
        assert_eq!(store.get(&cid).unwrap().unwrap(), block.data.to_bytes());
    }
    assert_eq!(store.stat().unwrap().blocks, 1);
}

#[test]
fn putting_again_writes_no_value_bytes() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let blocks: Vec<Block> = (0..20).map(|seed| leaf(seed, 4000)).collect();
    put(&store, &blocks);
    let before = std::fs::metadata(&segments(repo.path())[0]).unwrap().len();
    put(&store, &blocks);
    // Twice in one batch, too.
    let twice = leaf(99, 4000);
    put(&store, &[twice.clone(), twice.clone()]);
    let after = std::fs::metadata(&segments(repo.path())[0]).unwrap().len();
    assert_eq!(after - before, 32 + 36 - 2 + 4000);
    assert_eq!(store.stat().unwrap().blocks, 21);
}

#[test]
fn framed_blocks_are_written_in_one_piece() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let body = bytes::Bytes::from(bytes(3, 300_000));
    let data = BlockBytes::framed(b"head", body, b"tail");
    let cid = V1.cid_of(codec::RAW, &data.parts());
    let block = Block::trusted(cid, data);
    put(&store, std::slice::from_ref(&block));
    assert_has(&store, &block);
}

#[test]
fn an_empty_block_is_a_block() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let block = raw(Vec::new());
    assert!(!store.has(block.cid.hash()).unwrap());
    put(&store, std::slice::from_ref(&block));
    assert_eq!(store.size(block.cid.hash()).unwrap(), Some(0));
    assert_has(&store, &block);
    assert_eq!(store.get_many(&[block.cid])[0].as_ref().unwrap().as_ref().unwrap().len(), 0);
}

#[test]
fn identity_cids_carry_their_block() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let cid = CidBuilder { version: Version::V1, hash: HashKind::Identity }.cid_of(codec::RAW, &[b"inline"]);
    put(&store, &[Block::trusted(cid, b"inline".to_vec())]);
    assert_eq!(store.stat().unwrap().blocks, 0);
    assert_eq!(store.get(&cid).unwrap().unwrap(), &b"inline"[..]);
    assert_eq!(store.get_many(&[cid])[0].as_ref().unwrap().as_ref().unwrap(), &b"inline"[..]);
    assert_eq!(store.writer().find(&cid).unwrap(), Some(6));
}

#[test]
fn get_many_answers_in_the_order_asked_for() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), StoreConfig { segment_bytes_max: 3 << 20, ..config() }).unwrap();
    let sizes = [100, 262_144, 5000, 1 << 20, 70_000, 0, 300_000];
    let blocks: Vec<Block> = (0..100).map(|seed| leaf(seed, sizes[seed as usize % sizes.len()])).collect();
    for some in blocks.chunks(5) {
        put(&store, some);
    }
    assert!(segments(repo.path()).len() > 3, "several segments take part");
    let absent = leaf(1000, 10);
    let mut order: Vec<&Block> = blocks.iter().collect();
    order.reverse();
    order.insert(33, &absent);
    let results = store.get_many(&order.iter().map(|block| block.cid).collect::<Vec<_>>());
    assert_eq!(results.len(), order.len());
    for (block, result) in order.iter().zip(results) {
        let expected = (block.cid != absent.cid).then(|| block.data.to_bytes());
        assert_eq!(result.unwrap(), expected);
    }
}

#[test]
fn links_are_as_written_and_depend_on_the_codec() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (a, b) = (leaf(1, 10), leaf(2, 10));
    let children = [b.cid, a.cid, b.cid];
    let parent = node(&children);
    put(&store, &[a.clone(), b, parent.clone()]);
    assert_eq!(store.links(&parent.cid).unwrap().unwrap(), children);
    assert_eq!(store.links(&a.cid).unwrap().unwrap(), []);
    let as_raw = holdfast_dag::cid::Cid::new_v1(codec::RAW, *parent.cid.hash());
    assert_eq!(store.links(&as_raw).unwrap().unwrap(), []);
    assert!(store.links(&leaf(3, 10).cid).unwrap().is_none());
    let unknown = holdfast_dag::cid::Cid::new_v1(0x9999, *parent.cid.hash());
    assert!(matches!(store.links(&unknown), Err(ReadError::NoDecoder { codec: 0x9999 })));
}

#[test]
fn links_of_a_block_that_was_first_written_as_raw_are_decoded_and_kept() {
    let repo = tempfile::tempdir().unwrap();
    let child = leaf(1, 10);
    let parent = node(&[child.cid]);
    let as_raw = holdfast_dag::cid::Cid::new_v1(codec::RAW, *parent.cid.hash());
    {
        let store = open(repo.path());
        put(&store, &[child.clone(), Block::trusted(as_raw, parent.data.clone())]);
        assert_eq!(store.links(&parent.cid).unwrap().unwrap(), [child.cid]);
        store.writer().commit(&[pin(parent.cid)]).unwrap();
        assert_eq!(
            store.pins().holder(&child.cid).unwrap().unwrap().to_string(),
            format!("pinned via {}", parent.cid)
        );
    }
    let store = open(repo.path());
    assert_eq!(store.links(&parent.cid).unwrap().unwrap(), [child.cid]);
    assert_eq!(store.stat().unwrap().blocks, 2);
}

#[test]
fn pins_protect_what_they_hold_and_say_so_as_kubo_does() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (child, direct, free) = (leaf(1, 10), leaf(2, 10), leaf(3, 10));
    let inner = node(&[child.cid]);
    let root = node(&[inner.cid, child.cid]);
    put(&store, &[child.clone(), direct.clone(), free.clone(), inner.clone(), root.clone()]);
    let direct_pin = Change::Pin(Pin::new(direct.cid, PinKind::Direct, ""));
    store.writer().commit(&[pin(root.cid), direct_pin]).unwrap();
    let missing = leaf(4, 10);
    let asked = [root.cid, direct.cid, inner.cid, child.cid, missing.cid, free.cid];
    let words: Vec<String> = store
        .delete_blocks(&asked)
        .unwrap()
        .iter()
        .map(|deletion| deletion.result.as_ref().map_or_else(ToString::to_string, ToString::to_string))
        .collect();
    let via = format!("pinned via {}", root.cid);
    let expected = [
        "pinned: recursive".to_owned(),
        "pinned: direct".to_owned(),
        via.clone(),
        via,
        format!("ipld: could not find {}", missing.cid),
        "10".to_owned(),
    ];
    assert_eq!(words, expected);
    assert!(is_absent(&store, &free));
    store.writer().commit(&[unpin(root.cid)]).unwrap();
    let all = store.delete_blocks(&[root.cid, inner.cid, child.cid, child.cid]).unwrap();
    assert!(all[..3].iter().all(|deletion| deletion.result.is_ok()));
    assert!(matches!(all[3].result, Err(DeleteError::NotFound(_))));
    assert_eq!(store.stat().unwrap().blocks, 1);
}

#[test]
fn a_pin_under_another_codec_holds_the_block_but_not_its_children() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let child = leaf(1, 10);
    let parent = node(&[child.cid]);
    put(&store, &[child.clone(), parent.clone()]);
    let as_raw = holdfast_dag::cid::Cid::new_v1(codec::RAW, *parent.cid.hash());
    store.writer().commit(&[pin(as_raw)]).unwrap();
    let outcome = store.delete_blocks(&[parent.cid, child.cid]).unwrap();
    assert!(matches!(outcome[0].result, Err(DeleteError::Pinned(_))));
    assert!(outcome[1].result.is_ok());
}

#[test]
fn children_of_inlined_nodes_are_held_by_the_pin_above() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let child = leaf(1, 10);
    let inlined = node(&[child.cid]);
    let identity = CidBuilder { version: Version::V1, hash: HashKind::Identity };
    let inlined = identity.cid_of(codec::DAG_PB, &inlined.data.parts());
    let root = node(&[inlined]);
    put(&store, &[child.clone(), root.clone()]);
    store.writer().commit(&[pin(root.cid)]).unwrap();
    let outcome = store.delete_blocks(&[child.cid]).unwrap();
    assert!(matches!(outcome[0].result, Err(DeleteError::Pinned(_))), "{outcome:?}");
    assert_eq!(store.links(&inlined).unwrap().unwrap(), [child.cid]);
}

#[test]
fn deletion_gives_space_back() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), StoreConfig { segment_bytes_max: 4 << 20, ..config() }).unwrap();
    let blocks: Vec<Block> = (0..64).map(|seed| leaf(seed, 262_144)).collect();
    for four in blocks.chunks(4) {
        put(&store, four);
    }
    let full = store.stat().unwrap();
    assert_eq!(full.segments, 4);
    // Every other block: holes.
    let half: Vec<_> = blocks.iter().step_by(2).map(|block| block.cid).collect();
    assert!(store.delete_blocks(&half).unwrap().iter().all(|deletion| deletion.result.is_ok()));
    let holed = store.stat().unwrap();
    assert_eq!((holed.segments, holed.blocks), (4, 32));
    assert!(full.disk_bytes - holed.disk_bytes > 31 * 262_144, "{full:?} {holed:?}");
    for block in blocks.iter().skip(1).step_by(2) {
        assert_has(&store, block);
    }
    // All of the first segments: they go.
    let rest: Vec<_> = blocks.iter().skip(1).step_by(2).map(|block| block.cid).collect();
    store.delete_blocks(&rest).unwrap();
    let empty = store.stat().unwrap();
    assert_eq!((empty.segments, empty.blocks, empty.value_bytes), (1, 0, 0), "only the active one stays");
    drop(store);
    let store = open(repo.path());
    put(&store, &blocks[..3]);
    assert_has(&store, &blocks[2]);
}

#[test]
fn a_deleted_block_can_be_put_again() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let block = leaf(1, 100_000);
    for _ in 0..3 {
        put(&store, std::slice::from_ref(&block));
        assert_has(&store, &block);
        assert!(store.delete_blocks(&[block.cid]).unwrap()[0].result.is_ok());
        assert!(is_absent(&store, &block));
    }
    assert_eq!(store.stat().unwrap().blocks, 0);
}

#[test]
fn all_blocks_are_listed_pending_ones_too() {
    let repo = tempfile::tempdir().unwrap();
    let slow = StoreConfig { idle_flush: std::time::Duration::from_secs(60), ..config() };
    let store = Store::open(repo.path(), slow).unwrap();
    let blocks: Vec<Block> = (0..5000).map(|seed| leaf(seed, 20)).collect();
    put(&store, &blocks[..4990]);
    let writer = store.writer();
    writer.put(&blocks[4990..]).unwrap();
    let mut listed: Vec<_> = store.blocks().map(|row| row.unwrap().0.to_bytes()).collect();
    let mut expected: Vec<_> = blocks.iter().map(|block| block.cid.hash().to_bytes()).collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(store.stat().unwrap().blocks, 5000);
}

#[test]
fn hash_functions_that_are_not_allowed_are_not_read() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let md5 = holdfast_dag::cid::Multihash::wrap(0xd5, &[7; 16]).unwrap();
    let cid = holdfast_dag::cid::Cid::new_v1(codec::RAW, md5);
    assert!(matches!(store.get(&cid), Err(ReadError::Policy(_))));
    assert!(matches!(store.get_many(&[cid])[0], Err(ReadError::Policy(_))));
}

#[test]
fn a_pin_name_has_a_limit() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let cid = leaf(1, 1).cid;
    let named = |len: usize| Change::Pin(Pin::new(cid, PinKind::Recursive, "n".repeat(len)));
    store.writer().commit(&[named(255)]).unwrap();
    assert!(matches!(store.writer().commit(&[named(256)]), Err(WriteError::PinName { bytes: 256 })));
}

#[test]
fn a_store_of_a_later_format_is_refused() {
    let repo = tempfile::tempdir().unwrap();
    drop(open(repo.path()));
    Tampered::open(repo.path()).put("stats", b"format", &(FORMAT + 1).to_le_bytes());
    let words = format!("format {}, this program knows up to {FORMAT}", FORMAT + 1);
    let error = Store::open(repo.path(), config()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(&words), "{error}");
    let error = rebuild_index(repo.path(), &config()).unwrap_err();
    assert!(error.to_string().contains(&words), "{error}");
}

#[test]
fn many_short_processes_leave_few_files() {
    let repo = tempfile::tempdir().unwrap();
    for seed in 0..150 {
        put(&open(repo.path()), &[leaf(seed, 100)]);
    }
    let files = std::fs::read_dir(repo.path().join("db")).unwrap();
    let tables =
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "sst"));
    assert!(tables.count() < 120, "every opening turns the log before it into a small file a family");
}
