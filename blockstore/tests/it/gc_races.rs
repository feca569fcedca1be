//! What comes between the parts of a collection. Each story has a bad end that must not happen.
//!
//! A collection tells what it does while it does it, and waits for the listener: so the listener can do in that very moment what
//! would be the worst.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::*;
use holdfast_blockstore::{Change, DeleteError, GcEvent, GcOptions, GcPhase, Store, StoreConfig};
use holdfast_dag::block::Block;

/// X lies there unpinned. An add finds it. A collection begins, marks, sweeps and ends. Only then does the add pin.
/// And once more: the collection begins before the add ends, and a second one follows.
#[test]
fn what_was_found_before_a_collection_is_there_after_it() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (x, y) = (leaf(1, 100), leaf(2, 100));
    put(&store, &[x.clone(), y.clone()]);
    let add = store.writer();
    assert!(add.find(&x.cid).unwrap().is_some());
    let report = collect(&store);
    assert_eq!((report.removed_blocks, report.in_use_blocks), (1, 1), "y goes, x is in use");
    assert_eq!(collect(&store).removed_blocks, 0, "nor does a later one take it");
    let root = node(&[x.cid]);
    add.put([root.clone()]).unwrap();
    add.commit(&[pin(root.cid)]).unwrap();
    assert_eq!(collect(&store).removed_blocks, 0);
    assert_has(&store, &x);
}

/// The pins were read, the files root was not: in between, what was in the files becomes a pin, and twice something
/// else the files root. Read one after the other, it is in neither.
#[test]
fn a_root_that_moves_from_files_to_pins_between_two_reads_is_kept() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (moved, other, third) = (tree(1, 4, 500), tree(2, 4, 500), tree(3, 4, 500));
    for tree in [&moved, &other, &third] {
        put(&store, tree);
    }
    store.writer().commit(&[Change::FilesRoot(root_of(&moved))]).unwrap();
    collect_with(&store, &GcOptions::default(), |event| {
        if matches!(event, GcEvent::Began(GcPhase::Files)) {
            store.writer().commit(&[pin(root_of(&moved)), Change::FilesRoot(root_of(&other))]).unwrap();
            store.writer().commit(&[Change::FilesRoot(root_of(&third))]).unwrap();
        }
    });
    assert!(is_whole(&store, &moved) && is_whole(&store, &other) && is_whole(&store, &third));
}

/// The other way: a pin is moved into the files when the collection has begun and read nothing yet.
#[test]
fn a_pin_that_moves_to_files_between_two_reads_is_kept() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let moved = tree(1, 4, 500);
    put(&store, &moved);
    store.writer().commit(&[pin(root_of(&moved))]).unwrap();
    collect_with(&store, &GcOptions::default(), |event| match event {
        GcEvent::Began(GcPhase::Pins) => {
            store.writer().commit(&[unpin(root_of(&moved)), Change::FilesRoot(root_of(&moved))]).unwrap();
        }
        // And out of them again: then it is the root before, and then held, and then pinned again.
        GcEvent::Began(GcPhase::Sweep) => {
            let held = store.hold(root_of(&moved));
            store.writer().commit(&[Change::FilesRoot(leaf(9, 9).cid)]).unwrap();
            store.writer().commit(&[Change::FilesRoot(leaf(8, 9).cid)]).unwrap();
            store.writer().commit(&[pin(root_of(&moved))]).unwrap();
            drop(held);
        }
        _ => {}
    });
    assert!(is_whole(&store, &moved));
}

/// `pin update` does not walk what old and new have in common: it trusts the old pin. If that one is removed, the commit
/// is refused; if it is still there, the new pin takes over, and no collection sees a moment without either.
#[test]
fn a_pin_update_takes_over_from_the_old_pin() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let old = tree(1, 6, 500);
    put(&store, &old);
    store.writer().commit(&[pin(root_of(&old))]).unwrap();
    let fresh = leaf(77, 100);
    let mut children: Vec<_> = old[..6].iter().map(|leaf| leaf.cid).collect();
    children.push(fresh.cid);
    let new = node(&children);
    for phase in [GcPhase::Pins, GcPhase::Files, GcPhase::Sweep] {
        let update = store.writer();
        update.put([fresh.clone(), new.clone()]).unwrap();
        let mut update = Some(update);
        let expect = Change::ExpectPin {
            cid: root_of(&old),
            kind: holdfast_blockstore::PinKind::Recursive,
            pinned: true,
        };
        collect_with(&store, &GcOptions::default(), |event| {
            if matches!(event, GcEvent::Began(at) if at == phase) {
                let update = update.take().unwrap();
                update.commit(&[expect.clone(), pin(new.cid), unpin(root_of(&old))]).unwrap();
            }
        });
        assert!(is_whole(&store, &old[..6]), "{phase:?}");
        store.writer().put([old[6].clone()]).unwrap();
        store.writer().commit(&[pin(root_of(&old)), unpin(new.cid)]).unwrap();
    }
}

/// A climb reads one pin after the other. While it does, the pin that it has not come to yet is replaced by one that it
/// has already passed. So it has to read one moment.
#[test]
fn a_pin_that_replaces_another_during_a_removal_is_seen() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), process()).unwrap();
    let shared = leaf(1, 100);
    // Many parents, of which one is pinned at a time.
    let parents: Vec<Block> = (0..40).map(|n| node(&[shared.cid, leaf(1000 + n, 10).cid])).collect();
    put(&store, std::slice::from_ref(&shared));
    put(&store, &parents);
    store.writer().commit(&[pin(parents[0].cid)]).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut at = 0_usize;
            for step in 0..1500_usize {
                let next = (at + 1 + step * 7 % 38) % 40;
                if next != at {
                    store.writer().commit(&[pin(parents[next].cid), unpin(parents[at].cid)]).unwrap();
                    at = next;
                }
            }
            done.store(true, Ordering::Release);
        });
        let mut looks = 0;
        while !done.load(Ordering::Acquire) {
            let result = store.delete_blocks(&[shared.cid]).unwrap().remove(0).result;
            assert!(matches!(result, Err(DeleteError::Pinned(_))), "after {looks} looks: {result:?}");
            looks += 1;
        }
        assert!(looks > 20, "{looks}");
    });
}

/// `block rm` and `pin add` of the same block at once: either the pin has it, or the pin's writer is told that it is gone.
#[test]
fn a_removal_and_a_pin_of_one_block_do_not_both_succeed() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), process()).unwrap();
    let (mut pinned, mut removed) = (0, 0);
    for round in 0..200 {
        let block = leaf(round + 1, 100);
        put(&store, std::slice::from_ref(&block));
        let (pin_won, rm_won) = std::thread::scope(|scope| {
            let pinning = scope.spawn(|| {
                let writer = store.writer();
                writer.find(&block.cid).unwrap().is_some() && writer.commit(&[pin(block.cid)]).is_ok()
            });
            let removing =
                scope.spawn(|| store.delete_blocks(&[block.cid]).unwrap().remove(0).result.is_ok());
            (pinning.join().unwrap(), removing.join().unwrap())
        });
        assert!(pin_won != rm_won, "round {round}: pinned {pin_won}, removed {rm_won}");
        assert_eq!(is_absent(&store, &block), rm_won);
        pinned += u32::from(pin_won);
        removed += u32::from(rm_won);
    }
    assert_eq!(pinned + removed, 200);
}

/// The sweep has begun; nothing holds these trees. While it goes through them, one after the other is pinned, as far as
/// all of it is still there.
#[test]
fn what_becomes_a_root_during_the_sweep_is_kept() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let trees: Vec<Vec<Block>> = (0..400).map(|seed| tree(seed + 1, 3, 200)).collect();
    for some in trees.chunks(50) {
        put(&store, &some.concat());
    }
    let mut pinned = Vec::new();
    let mut next = 0;
    let report = collect_with(&store, &GcOptions::default(), |event| {
        if matches!(event, GcEvent::Removed { .. }) && pinned.len() < 40 {
            let tree = &trees[next % trees.len()];
            next += 1;
            let writer = store.writer();
            if tree.iter().all(|block| writer.find(&block.cid).unwrap().is_some()) {
                writer.commit(&[pin(root_of(tree))]).unwrap();
                pinned.push(tree);
            }
        }
    });
    assert!(!pinned.is_empty(), "some were still whole");
    for tree in &pinned {
        assert!(is_whole(&store, tree), "pinned while the sweep ran");
    }
    assert!(report.removed_blocks > 400, "and the sweep went on: {report:?}");
    assert_eq!(assert_consistent(&store), pinned.len() as u64 * 4);
}

/// It was pinned, was unpinned, and the collection began. Before the sweep comes to it, it is pinned again, by someone
/// who looked at its root only when it was still pinned: nothing but the new pin protects it.
#[test]
fn a_pin_that_comes_back_while_sweeping_keeps_its_blocks() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (tree, garbage) = (tree(1, 200, 100), tree(2, 200, 100));
    put(&store, &tree);
    put(&store, &garbage);
    collect_with(&store, &GcOptions::default(), |event| {
        if matches!(event, GcEvent::Began(GcPhase::Sweep)) {
            store.writer().commit(&[pin(root_of(&tree))]).unwrap();
        }
    });
    assert!(is_whole(&store, &tree) && is_gone(&store, &garbage));
}

/// What a writer put and dropped has no promise. What it puts after the collection began is spared by this one.
#[test]
fn what_a_dropped_writer_put_goes_with_the_next_collection() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (before, during) = (tree(1, 4, 500), tree(2, 4, 500));
    let writer = store.writer();
    writer.put(&before).unwrap();
    drop(writer);
    let report = collect_with(&store, &GcOptions::default(), |event| {
        if matches!(event, GcEvent::Began(GcPhase::Sweep)) {
            let writer = store.writer();
            writer.put(&during).unwrap();
            drop(writer);
            store.flush().unwrap();
        }
    });
    assert_eq!(report.removed_blocks, 5);
    assert!(is_gone(&store, &before) && is_whole(&store, &during));
    assert_eq!(collect(&store).removed_blocks, 5);
}

/// A damaged block under a pin was marked where its bad copy lies. It is put again: the good copy lies elsewhere, where
/// nothing is marked.
#[test]
fn a_block_that_is_healed_while_sweeping_stays() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let tree = tree(1, 40, 3000);
    put(&store, &tree);
    store.writer().commit(&[pin(root_of(&tree))]).unwrap();
    put(&store, &[leaf(7777, 100)]);
    let file = segments(repo.path()).remove(0);
    let victim = &tree[3];
    let at = find_bytes(&file, &victim.data.to_bytes()[..64]).unwrap() as u64;
    {
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
        file.write_all_at(&[0xEE; 16], at + 20).unwrap();
    }
    assert!(store.get(&victim.cid).is_err(), "it is damaged");
    for phase in [GcPhase::Files, GcPhase::Sweep] {
        collect_with(&store, &GcOptions::default(), |event| {
            if matches!(event, GcEvent::Began(at) if at == phase) {
                put(&store, std::slice::from_ref(victim));
            }
        });
        assert!(is_whole(&store, &tree), "{phase:?}");
    }
    assert_eq!(assert_consistent(&store), 41);
}

/// Collections in a loop, beside writers that add trees with shared leaves, pin them, check them, move them to the files
/// root and unpin them. What is acknowledged is whole at every moment.
#[test]
fn eight_writers_and_a_loop_of_collections() {
    let repo = tempfile::tempdir().unwrap();
    let config = StoreConfig { segment_bytes_max: 1 << 20, sync_bytes: 200_000, ..config() };
    let store = Store::open(repo.path(), config.clone()).unwrap();
    let shared: Vec<Block> = (0..30).map(|seed| leaf(seed + 1, 1500 + 61 * seed as usize)).collect();
    let end = Instant::now() + Duration::from_secs(6);
    let (rounds, collections) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let (store, shared, rounds) = (&store, &shared, &rounds);
            scope.spawn(move || {
                let mut round = 0;
                while Instant::now() < end {
                    one_round(store, shared, thread, round);
                    round += 1;
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while Instant::now() < end {
                let report = collect(&store);
                assert_eq!(report.unprovable, None);
                assert_eq!(report.broken_blocks, 0, "{report:?}");
                collections.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    println!("{rounds:?} rounds, {collections:?} collections");
    assert!(collections.load(Ordering::Relaxed) > 3 && rounds.load(Ordering::Relaxed) > 50);
    assert_consistent(&store);
    drop(store);
    let store = Store::open(repo.path(), config).unwrap();
    collect(&store);
    assert_consistent(&store);
    let pins: Vec<_> = store.pins().iter(None).map(|pin| pin.unwrap().cid).collect();
    assert_eq!(pins.len(), 8, "the last root of each");
    for root in pins {
        for child in store.links(&root).unwrap().expect("a pinned root is there") {
            assert!(store.get(&child).unwrap().is_some(), "{child} under {root}");
        }
    }
}

fn one_round(store: &Store, shared: &[Block], thread: u64, round: u64) {
    let seed = thread * 1_000_000 + round;
    let mine: Vec<&Block> = (0..6).map(|n| &shared[((seed * 7 + n * 11) % 30) as usize]).collect();
    let own = raw([seed.to_le_bytes().as_slice(), &bytes(seed + 1, 700)].concat());
    let children: Vec<_> = mine.iter().map(|block| block.cid).chain([own.cid]).collect();
    let root = node(&children);
    let writer = store.writer();
    for leaf in &mine {
        if writer.find(&leaf.cid).unwrap().is_none() {
            writer.put([(*leaf).clone()]).unwrap();
        }
    }
    writer.put([own, root.clone()]).unwrap();
    // The root of the round before goes in the same step: at every moment this thread has one pin.
    let files = if round.is_multiple_of(3) { Some(Change::FilesRoot(root.cid)) } else { None };
    writer.commit(&[[pin(root.cid)].as_slice(), files.as_slice()].concat()).unwrap();
    for _ in 0..2 {
        for child in &children {
            assert!(store.get(child).unwrap().is_some(), "{child} under the pinned {}", root.cid);
        }
    }
    for before in store.pins().iter(None).map(|pin| pin.unwrap()).filter(|pin| pin.name == thread.to_string())
    {
        store.writer().commit(&[unpin(before.cid)]).unwrap();
    }
    // Under a name, so that the next round finds it.
    let named =
        holdfast_blockstore::Pin::new(root.cid, holdfast_blockstore::PinKind::Recursive, thread.to_string());
    store.writer().commit(&[Change::Pin(named)]).unwrap();
}
