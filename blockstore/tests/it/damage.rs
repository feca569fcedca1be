//! What happens when the disk gives back something else than was written.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::common::*;
use holdfast_blockstore::{OpenError, ReadError, Store, StoreConfig, VerifyEvent, rebuild_index};
use holdfast_dag::block::Block;
use holdfast_dag::cid::Multihash;

/// Flips a bit in the middle of a block's stored bytes.
pub(crate) fn damage(repo: &Path, block: &Block) {
    let data = block.data.to_bytes();
    for path in segments(repo) {
        if let Some(at) = find_bytes(&path, &data) {
            let at = (at + data.len() / 2) as u64;
            let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
            return;
        }
    }
    panic!("the block is in no segment");
}

fn damaged_blocks(store: &Store) -> Vec<Multihash> {
    let mut found = Vec::new();
    store
        .verify(&mut |event| {
            if let VerifyEvent::Damaged(hash, _) = event {
                found.push(hash);
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    found
}

#[test]
fn a_damaged_block_is_an_error_and_adding_it_again_heals_it_even_after_a_restart() {
    let repo = tempfile::tempdir().unwrap();
    let blocks: Vec<Block> = (0..5).map(|seed| leaf(seed, 70_000)).collect();
    let bad = &blocks[2];
    {
        let store = open(repo.path());
        put(&store, &blocks);
        damage(repo.path(), bad);
        assert!(matches!(store.get(&bad.cid), Err(ReadError::Damaged { .. })));
        let cids: Vec<_> = blocks.iter().map(|block| block.cid).collect();
        let many = store.get_many(&cids);
        for (at, result) in many.into_iter().enumerate() {
            match result {
                Err(ReadError::Damaged { cid }) => assert_eq!(*cid, bad.cid),
                Ok(Some(data)) => assert!(at != 2 && data == blocks[at].data.to_bytes()),
                other => panic!("{other:?}"),
            }
        }
        assert!(!store.has(bad.cid.hash()).unwrap(), "it would be a lie to say that it is here");
        assert_eq!(store.stat().unwrap().damaged_blocks, 1);
    }
    let store = open(repo.path());
    assert_eq!(store.stat().unwrap().damaged_blocks, 1, "what was found out is kept");
    put(&store, std::slice::from_ref(bad));
    assert_has(&store, bad);
    assert!(store.has(bad.cid.hash()).unwrap());
    let stat = store.stat().unwrap();
    assert_eq!((stat.blocks, stat.damaged_blocks), (5, 0));
    assert_eq!(assert_consistent(&store), 5);
}

#[test]
fn a_damaged_block_that_is_not_committed_yet_heals_too() {
    let repo = tempfile::tempdir().unwrap();
    let config = StoreConfig { idle_flush: std::time::Duration::from_secs(3600), ..config() };
    let store = Store::open(repo.path(), config).unwrap();
    let block = leaf(1, 70_000);
    let writer = store.writer();
    writer.put([block.clone()]).unwrap();
    damage(repo.path(), &block);
    assert!(matches!(store.get(&block.cid), Err(ReadError::Damaged { .. })));
    writer.put([block.clone()]).unwrap();
    assert_has(&store, &block);
    writer.commit(&[]).unwrap();
    assert_eq!(assert_consistent(&store), 1);
}

#[test]
fn verify_finds_every_damaged_block_and_changes_nothing_else() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), StoreConfig { segment_bytes_max: 1 << 20, ..config() }).unwrap();
    let blocks: Vec<Block> = (0..200).map(|seed| leaf(seed, 30_000)).collect();
    for some in blocks.chunks(10) {
        put(&store, some);
    }
    assert!(damaged_blocks(&store).is_empty());
    let mut bad: Vec<Multihash> = Vec::new();
    for block in blocks.iter().step_by(17) {
        damage(repo.path(), block);
        bad.push(*block.cid.hash());
    }
    let mut found = damaged_blocks(&store);
    found.sort();
    bad.sort();
    assert_eq!(found, bad);
    put(&store, &blocks);
    assert_eq!(assert_consistent(&store), 200);
}

#[test]
fn verification_can_be_switched_off_and_then_trusts_the_disk() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), StoreConfig { verify_on_read: false, ..config() }).unwrap();
    let block = leaf(1, 70_000);
    put(&store, std::slice::from_ref(&block));
    damage(repo.path(), &block);
    assert_ne!(store.get(&block.cid).unwrap().unwrap(), block.data.to_bytes());
}

#[test]
fn a_torn_tail_is_cut_off_at_every_length() {
    let repo = tempfile::tempdir().unwrap();
    let kept = leaf(1, 500);
    put(&open(repo.path()), std::slice::from_ref(&kept));
    let whole = std::fs::metadata(&segments(repo.path())[0]).unwrap().len();
    // What a crash may leave behind the committed length: a part of a record, zeros, or anything.
    for tail in [vec![0; 1], vec![0; 5000], b"HFR\x01".to_vec(), bytes(7, 100), bytes(8, 70_000)] {
        let file = OpenOptions::new().append(true).open(&segments(repo.path())[0]).unwrap();
        std::io::Write::write_all(&mut &file, &tail).unwrap();
        let store = open(repo.path());
        assert_eq!(store.open_report().cut_bytes, tail.len() as u64);
        assert_eq!(std::fs::metadata(&segments(repo.path())[0]).unwrap().len(), whole);
        assert_has(&store, &kept);
    }
    // And a segment of which only the name, or a part of the header, made it to the disk.
    for (number, head) in [(7, ""), (8, "HOLDFSE")] {
        std::fs::write(repo.path().join(format!("segments/{number:08}.seg")), head).unwrap();
        let store = open(repo.path());
        assert_eq!(segments(repo.path()).len(), 1);
        put(&store, &[leaf(number, 10)]);
    }
    assert_eq!(assert_consistent(&open(repo.path())), 3);
}

#[test]
fn a_segment_that_lost_its_end_is_reported_and_healed() {
    let repo = tempfile::tempdir().unwrap();
    let blocks: Vec<Block> = (0..10).map(|seed| leaf(seed, 10_000)).collect();
    put(&open(repo.path()), &blocks);
    let file = OpenOptions::new().write(true).open(&segments(repo.path())[0]).unwrap();
    file.set_len(55_000).unwrap();
    let store = open(repo.path());
    assert_eq!(store.open_report().short_segments, [1]);
    assert_eq!(damaged_blocks(&store).len(), 5);
    put(&store, &blocks);
    assert_eq!(assert_consistent(&store), 10);
}

#[test]
fn a_lost_index_is_noticed_and_made_again_from_the_segments() {
    let repo = tempfile::tempdir().unwrap();
    let leaves: Vec<Block> = (0..100).map(|seed| leaf(seed, 20_000)).collect();
    let root = node(&leaves.iter().map(|leaf| leaf.cid).collect::<Vec<_>>());
    {
        let store = Store::open(repo.path(), StoreConfig { segment_bytes_max: 1 << 20, ..config() }).unwrap();
        put(&store, &leaves);
        put(&store, std::slice::from_ref(&root));
        // Two that are not to come back, one large enough for a hole, and two neighbours.
        assert!(
            store.delete_blocks(&[leaves[7].cid, leaves[8].cid]).unwrap().iter().all(|it| it.result.is_ok())
        );
        damage(repo.path(), &leaves[50]);
    }
    std::fs::remove_dir_all(repo.path().join("db")).unwrap();
    let error = Store::open(repo.path(), config()).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::IndexLost { .. }), "{error}");
    assert!(error.to_string().contains("repo rebuild"), "{error}");

    let report = rebuild_index(repo.path(), &config()).unwrap();
    assert_eq!((report.blocks, report.damaged, report.old_index), (98, 1, None));
    let store = open(repo.path());
    assert_eq!(assert_consistent(&store), 98);
    assert_eq!(store.links(&root.cid).unwrap().unwrap().len(), 100);
    for (at, leaf) in leaves.iter().enumerate() {
        if [7, 8, 50].contains(&at) { assert!(is_absent(&store, leaf)) } else { assert_has(&store, leaf) }
    }
    store.writer().commit(&[pin(root.cid)]).unwrap();
    assert!(store.pins().holder(&leaves[3].cid).unwrap().is_some(), "rlinks are back, too");
}

#[test]
fn an_index_that_does_not_open_is_moved_aside_by_a_rebuild() {
    let repo = tempfile::tempdir().unwrap();
    let block = leaf(1, 1000);
    put(&open(repo.path()), std::slice::from_ref(&block));
    std::fs::write(repo.path().join("db/CURRENT"), "MANIFEST-999999\n").unwrap();
    let error = Store::open(repo.path(), config()).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Index { .. }), "{error}");
    let report = rebuild_index(repo.path(), &config()).unwrap();
    assert_eq!(report.blocks, 1);
    assert!(report.old_index.unwrap().join("CURRENT").exists());
    assert_has(&open(repo.path()), &block);
}

#[test]
fn a_rebuild_keeps_pins_when_the_index_opens() {
    let repo = tempfile::tempdir().unwrap();
    let block = leaf(1, 1000);
    {
        let store = open(repo.path());
        put(&store, std::slice::from_ref(&block));
        store.writer().commit(&[pin(block.cid)]).unwrap();
    }
    rebuild_index(repo.path(), &config()).unwrap();
    let store = open(repo.path());
    assert_has(&store, &block);
    assert!(store.pins().get(&block.cid).unwrap().is_some());
}

/// RocksDB keeps what it can of a log with a flipped bit, without a word, and drops the rest: rows of blocks that were
/// acknowledged long ago, if the log is large. Cutting the segments to what the index still knows would then destroy
/// the blocks. So what is more than a crash can leave is put back instead.
#[test]
fn blocks_that_the_index_lost_are_put_back_and_not_cut_off() {
    let repo = tempfile::tempdir().unwrap();
    let small = StoreConfig { unsynced_bytes_max: 100_000, ..config() };
    let blocks: Vec<Block> = (0..60).map(|seed| leaf(seed, 10_000)).collect();
    {
        let store = Store::open(repo.path(), small.clone()).unwrap();
        put(&store, &blocks[..1]);
    }
    let early = tempfile::tempdir().unwrap();
    copy_repo(&repo.path().join("db"), early.path());
    {
        let store = Store::open(repo.path(), small.clone()).unwrap();
        for block in &blocks {
            put(&store, std::slice::from_ref(block));
        }
    }
    // The index as it was, the segments as they are.
    std::fs::remove_dir_all(repo.path().join("db")).unwrap();
    std::fs::create_dir(repo.path().join("db")).unwrap();
    copy_repo(early.path(), &repo.path().join("db"));
    let store = Store::open(repo.path(), small).unwrap();
    assert_eq!(store.open_report().restored_blocks, 59);
    assert_eq!(store.open_report().cut_bytes, 0);
    assert_eq!(assert_consistent(&store), 60);
    put(&store, &[leaf(1000, 10)]);
    assert_eq!(assert_consistent(&store), 61);
}
