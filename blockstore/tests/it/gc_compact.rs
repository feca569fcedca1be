//! What was deleted leaves the disk.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::*;
use holdfast_blockstore::{GcEvent, GcOptions, GcPhase, Store, StoreConfig};
use holdfast_dag::block::Block;
use holdfast_dag::cid::Cid;

/// Puts `count` leaves under roots of 100. The leaves of ten roots lie on the disk in turns, and of those ten
/// `garbage_in_ten` are not pinned: no hole is larger than they are.
fn fill(store: &Store, count: u64, len: usize, garbage_in_ten: u64) -> (Vec<Vec<Block>>, u64) {
    let mut kept = Vec::new();
    let mut live_bytes = 0;
    for ten in 0..count / 1000 {
        let trees: Vec<Vec<Block>> = (0..10).map(|n| tree(ten * 10 + n + 1, 100, len)).collect();
        let writer = store.writer();
        for at in 0..=100 {
            let some: Vec<Block> = trees.iter().map(|tree| tree[at].clone()).collect();
            writer.put(some).unwrap();
        }
        let (garbage, live) = trees.split_at(garbage_in_ten as usize);
        assert_eq!(garbage.len() as u64, garbage_in_ten);
        let pins: Vec<_> = live.iter().map(|tree| pin(root_of(tree))).collect();
        writer.commit(&pins).unwrap();
        live_bytes += live.iter().flatten().map(|block| block.data.len() as u64).sum::<u64>();
        kept.extend_from_slice(live);
    }
    (kept, live_bytes)
}

/// With 30 % garbage, a collection leaves the disk at 1.2 times what lives at most, and writes at most 3 bytes for each
/// that it frees. Of blocks below 4 KiB, what lives includes what their heads and rows take.
#[test]
fn the_disk_shrinks_to_what_lives() {
    for (count, len) in [(20_000, 1000), (12_000, 9000), (1000, 262_144)] {
        let repo = tempfile::tempdir().unwrap();
        let config = StoreConfig { segment_bytes_max: 8 << 20, ..process() };
        let store = Store::open(repo.path(), config).unwrap();
        let (kept, live_bytes) = fill(&store, count, len, 3);
        let before = store.stat().unwrap().disk_bytes;
        let report = collect(&store);
        let after = store.stat().unwrap().disk_bytes;
        let compaction = report.compaction;
        println!(
            "{count} blocks of {len}: {before} -> {after} bytes for {live_bytes} live, {compaction:?}, held {:?}",
            report.longest_hold
        );
        assert!(report.removed_blocks >= count / 4);
        assert!(compaction.rewritten_bytes <= 3 * compaction.freed_bytes, "{compaction:?}");
        // A store that never had anything else: heads and index rows count for something where blocks are small.
        let fresh_repo = tempfile::tempdir().unwrap();
        let fresh = Store::open(fresh_repo.path(), process()).unwrap();
        for tree in &kept {
            fresh.writer().put(tree).unwrap();
            fresh.writer().commit(&[pin(root_of(tree))]).unwrap();
        }
        collect(&fresh);
        let least = fresh.stat().unwrap().disk_bytes;
        println!("a store that never had anything else takes {least}");
        assert!(after as f64 <= least as f64 * 1.2, "{after} bytes on disk for {least}");
        if len >= 4096 {
            assert!(after as f64 <= live_bytes as f64 * 1.2, "{after} bytes on disk for {live_bytes}");
        }
        assert!(kept.iter().all(|tree| is_whole(&store, tree)));
        assert_consistent(&store);
        drop(store);
        let store = open(repo.path());
        assert!(store.open_report().short_segments.is_empty());
        assert!(kept.iter().all(|tree| is_whole(&store, tree)));
        assert_consistent(&store);
    }
}

/// Little garbage is not worth rewriting much: the bound on what is written for what is freed holds.
#[test]
fn a_little_garbage_is_left_until_it_is_worth_it() {
    let repo = tempfile::tempdir().unwrap();
    let config = StoreConfig { segment_bytes_max: 1 << 20, ..process() };
    let store = Store::open(repo.path(), config).unwrap();
    fill(&store, 10_000, 500, 1);
    let compaction = collect(&store).compaction;
    assert!(compaction.rewritten_bytes <= 3 * compaction.freed_bytes, "{compaction:?}");
    assert_consistent(&store);
}

/// Blocks are read all the time while they are moved, singly and in runs. Nobody misses one or sees other bytes.
#[test]
fn readers_do_not_notice_compaction() {
    for verify_on_read in [true, false] {
        let repo = tempfile::tempdir().unwrap();
        let config = StoreConfig { segment_bytes_max: 300_000, verify_on_read, ..process() };
        let store = Store::open(repo.path(), config).unwrap();
        let (kept, _) = fill(&store, 6000, 700, 5);
        let blocks: Vec<&Block> = kept.iter().flatten().collect();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..3_usize {
                let (store, blocks, done) = (&store, &blocks, &done);
                scope.spawn(move || {
                    let mut at = thread * 31;
                    while !done.load(Ordering::Acquire) {
                        let some: Vec<&Block> = (0..40).map(|n| blocks[(at + n) % blocks.len()]).collect();
                        let cids: Vec<Cid> = some.iter().map(|block| block.cid).collect();
                        for (block, got) in some.iter().zip(store.get_many(&cids)) {
                            assert_eq!(got.unwrap().expect("a pinned block"), block.data.to_bytes());
                        }
                        assert_has(store, some[0]);
                        at += 40;
                    }
                });
            }
            let report = collect(&store);
            done.store(true, Ordering::Release);
            assert!(report.compaction.segments_removed > 5, "{report:?}");
        });
    }
}

/// A block is deleted, and another put again, while compaction is about to move both.
#[test]
fn deletions_beside_compaction_are_not_undone() {
    let repo = tempfile::tempdir().unwrap();
    let config = StoreConfig { segment_bytes_max: 300_000, ..process() };
    let store = Store::open(repo.path(), config).unwrap();
    let (kept, _) = fill(&store, 6000, 700, 5);
    let victims: Vec<&[Block]> = kept.iter().take(10).map(Vec::as_slice).collect();
    let mut deleted = 0;
    collect_with(&store, &GcOptions::default(), |event| {
        if matches!(event, GcEvent::Began(GcPhase::Compact) | GcEvent::Compacting { .. })
            && deleted < victims.len()
        {
            let tree = victims[deleted];
            deleted += 1;
            store.writer().commit(&[unpin(root_of(tree))]).unwrap();
            let cids: Vec<Cid> = tree.iter().rev().map(|block| block.cid).collect();
            for outcome in store.delete_blocks(&cids).unwrap() {
                outcome.result.unwrap();
            }
        }
    });
    assert!(deleted > 3, "{deleted}");
    for tree in &victims[..deleted] {
        assert!(is_gone(&store, tree));
    }
    for tree in &kept[deleted..] {
        assert!(is_whole(&store, tree));
    }
    assert_consistent(&store);
    drop(store);
    let store = open(repo.path());
    assert_consistent(&store);
    assert!(is_gone(&store, victims[0]));
}

/// Threads delete and put the same blocks while collections compact, and everything agrees in the end.
#[test]
fn compaction_and_deletions_at_random() {
    let repo = tempfile::tempdir().unwrap();
    let config = StoreConfig { segment_bytes_max: 200_000, ..process() };
    let store = Store::open(repo.path(), config).unwrap();
    let (kept, _) = fill(&store, 4000, 700, 3);
    let loose: Vec<Block> = (0..200).map(|seed| leaf(9_000_000 + seed, 700)).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..40_usize {
                let some: Vec<Block> = loose.iter().skip(round % 7).step_by(3).cloned().collect();
                put(&store, &some);
                let cids: Vec<Cid> = some.iter().step_by(2).map(|block| block.cid).collect();
                store.delete_blocks(&cids).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            collect(&store);
        }
    });
    assert!(kept.iter().all(|tree| is_whole(&store, tree)));
    assert_consistent(&store);
}

/// A damaged record is not carried on as if it were whole, nor thrown away: it stays where it is, known as damaged, and
/// heals when it is put again.
#[test]
fn a_damaged_record_is_not_moved() {
    let repo = tempfile::tempdir().unwrap();
    let config = StoreConfig { segment_bytes_max: 2 << 20, ..process() };
    let store = Store::open(repo.path(), config).unwrap();
    let (kept, _) = fill(&store, 3000, 600, 5);
    let victim = &kept[2][7];
    let bytes = victim.data.to_bytes();
    for file in segments(repo.path()) {
        if let Some(at) = find_bytes(&file, &bytes[..64]) {
            use std::os::unix::fs::FileExt as _;
            let file = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
            file.write_all_at(&[0xEE; 16], at as u64 + 100).unwrap();
        }
    }
    let report = collect(&store);
    assert!(report.compaction.rewritten_bytes > 0, "{report:?}");
    let count = store.stat().unwrap();
    assert_eq!((count.blocks, count.damaged_blocks), (15 * 101, 1), "found on the way");
    assert!(store.get(&victim.cid).is_err(), "never wrong bytes");
    assert!(store.links(&root_of(&kept[2])).unwrap().is_some());
    put(&store, std::slice::from_ref(victim));
    assert!(kept.iter().all(|tree| is_whole(&store, tree)));
    assert_eq!(assert_consistent(&store), 15 * 101);
    collect(&store);
    assert_eq!(assert_consistent(&store), 15 * 101);
}
