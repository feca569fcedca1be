//! What a garbage collection keeps, what it removes, and what it says.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::common::*;
use holdfast_blockstore::{Change, GcError, GcEvent, GcOptions, Pin, PinKind, Store, VerifyOptions};
use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, Version, codec};

#[test]
fn what_a_root_reaches_stays_and_the_rest_goes() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let trees: Vec<Vec<Block>> = (0..7).map(|seed| tree(seed, 5, 3000)).collect();
    for tree in &trees {
        put(&store, tree);
    }
    let [pinned, now, before, held, extra, direct, garbage] = trees.as_slice() else { panic!() };
    store.writer().commit(&[pin(root_of(pinned)), Change::FilesRoot(root_of(before))]).unwrap();
    store.writer().commit(&[Change::FilesRoot(root_of(now))]).unwrap();
    let only = Pin::new(root_of(direct), PinKind::Direct, "");
    store.writer().commit(&[Change::Pin(only)]).unwrap();
    let holding = store.hold(root_of(held));
    let options = GcOptions { roots: vec![root_of(extra)], ..GcOptions::default() };
    let mut removed = Vec::new();
    let report = collect_with(&store, &options, |event| {
        if let GcEvent::Removed { multihash, .. } = event {
            removed.push(multihash);
        }
    });
    for kept in [pinned, now, before, held, extra] {
        assert!(is_whole(&store, kept));
    }
    assert!(is_gone(&store, garbage));
    let (root, leaves) = direct.split_last().unwrap();
    assert_has(&store, root);
    assert!(is_gone(&store, leaves), "a direct pin keeps one block");
    assert_eq!((report.removed_blocks, report.reached_blocks), (6 + 5, 5 * 6 + 1));
    assert_eq!(removed.len(), 11);
    assert_eq!(report.unprovable, None);
    assert_eq!(assert_consistent(&store), 31);

    drop(holding);
    let report = collect(&store);
    assert_eq!(report.removed_blocks, 12, "what was held, and what the caller had named");
    assert!(is_gone(&store, held) && is_gone(&store, extra));
    drop(store);
    let store = open(repo.path());
    assert_eq!(assert_consistent(&store), 19);
    assert_eq!(collect(&store).removed_blocks, 0);
}

/// A node was damaged and dropped. What it linked to stays while something holds it, a pin or the mutable file system,
/// and goes when nothing does.
#[test]
fn what_a_dropped_node_linked_to_stays_while_something_holds_it() {
    for files in [false, true] {
        let repo = tempfile::tempdir().unwrap();
        let store = open(repo.path());
        let leaves: Vec<Block> = (0..4).map(|seed| leaf(seed, 3000)).collect();
        let middle = node(&leaves.iter().map(|leaf| leaf.cid).collect::<Vec<_>>());
        let root = node(&[middle.cid]);
        put(&store, &leaves);
        put(&store, &[middle.clone(), root.clone()]);
        let hold = if files { Change::FilesRoot(root.cid) } else { pin(root.cid) };
        store.writer().commit(&[hold]).unwrap();
        crate::damage::damage(repo.path(), &middle);
        assert!(store.get(&middle.cid).is_err());
        let options = VerifyOptions { drop_damaged: true, ..VerifyOptions::default() };
        store.verify_with(&options, &mut |_| ControlFlow::Continue(())).unwrap();
        assert!(is_absent(&store, &middle), "it was dropped");
        let report = collect(&store);
        assert_eq!(report.unprovable, None);
        assert!(leaves.iter().all(|leaf| !is_absent(&store, leaf)), "files: {files}");
        if files {
            let empty = node(&[]);
            put(&store, std::slice::from_ref(&empty));
            store.writer().commit(&[Change::FilesRoot(empty.cid)]).unwrap();
            store.writer().commit(&[Change::FilesRoot(empty.cid)]).unwrap();
        } else {
            store.writer().commit(&[unpin(root.cid)]).unwrap();
        }
        collect(&store);
        assert!(leaves.iter().all(|leaf| is_absent(&store, leaf)), "files: {files}");
        assert_eq!(store.check().unwrap(), Vec::<String>::new(), "nothing is left of it");
    }
}

/// Pins go by CID and blocks by multihash: a pin of the v0 keeps what is stored as v1, and what a block links to
/// depends on the codec that its pin reads it by.
#[test]
fn a_block_is_kept_under_any_of_its_cids() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let tree = tree(1, 3, 500);
    put(&store, &tree);
    let v0 = Cid::new(Version::V0, codec::DAG_PB, *root_of(&tree).hash()).unwrap();
    store.writer().commit(&[pin(v0)]).unwrap();
    collect(&store);
    assert!(is_whole(&store, &tree));
    let raw = Cid::new_v1(codec::RAW, *root_of(&tree).hash());
    store.writer().commit(&[pin(raw), unpin(v0)]).unwrap();
    collect(&store);
    assert_has(&store, tree.last().unwrap());
    assert_eq!(store.stat().unwrap().blocks, 1, "as a raw block it links to nothing");
}

/// A node that was put as raw bytes has no links row. Its value tells what it links to.
#[test]
fn links_that_were_never_decoded_are_decoded() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let tree = tree(1, 3, 500);
    let (root, leaves) = tree.split_last().unwrap();
    put(&store, leaves);
    put(&store, &[raw(root.data.to_bytes().to_vec())]);
    store.writer().commit(&[pin(root.cid)]).unwrap();
    assert_eq!(collect(&store).removed_blocks, 0);
    assert!(is_whole(&store, &tree));
}

/// An inlined node is not stored and no row leads to it. What it links to is kept all the same, from collection and from
/// removal by hand.
#[test]
fn what_an_identity_root_links_to_is_kept() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let tree = tree(1, 3, 500);
    put(&store, &tree);
    let small = node(&[root_of(&tree)]);
    let hash = holdfast_dag::cid::Multihash::wrap(0, &small.data.to_bytes()).unwrap();
    let inlined = Cid::new_v1(codec::DAG_PB, hash);
    store.writer().commit(&[pin(inlined)]).unwrap();
    assert_eq!(collect(&store).removed_blocks, 0);
    for block in &tree {
        assert!(store.delete_blocks(&[block.cid]).unwrap()[0].result.is_err(), "pinned via the inlined root");
    }
    assert!(is_whole(&store, &tree));
    store.writer().commit(&[unpin(inlined)]).unwrap();
    assert_eq!(collect(&store).removed_blocks, 4);
}

#[test]
fn a_dry_run_removes_nothing_and_says_what_would_go() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    put(&store, &tree(1, 4, 900));
    let options = GcOptions { dry_run: true, ..GcOptions::default() };
    let mut told = 0;
    let report =
        collect_with(&store, &options, |event| told += u32::from(matches!(event, GcEvent::Removed { .. })));
    assert_eq!((told, report.removed_blocks), (5, 5));
    assert_eq!(assert_consistent(&store), 5);
    assert_eq!(collect(&store).removed_blocks, 5);
}

/// Clients put many blocks and pin them afterwards, with calls of their own. A collection that starts by itself
/// must not come between.
#[test]
fn an_automatic_collection_spares_what_is_young() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let old = tree(1, 4, 900);
    put(&store, &old);
    let automatic = GcOptions { grace: Duration::from_millis(300), ..GcOptions::default() };
    let report = collect_with(&store, &automatic, |_| {});
    assert_eq!((report.removed_blocks, report.young_blocks), (0, 5));
    // That collection began a new epoch: what was there before it is old once that is long enough ago.
    std::thread::sleep(Duration::from_millis(350));
    let young = tree(2, 4, 900);
    put(&store, &young);
    let report = collect_with(&store, &automatic, |_| {});
    assert_eq!((report.removed_blocks, report.young_blocks), (5, 5));
    assert!(is_whole(&store, &young) && is_gone(&store, &old));
    // By hand, nothing is spared.
    assert_eq!(collect(&store).removed_blocks, 5);
}

/// The block is there already, as old garbage. The client puts it, is told that it is there, and pins it with its
/// next call.
#[test]
fn an_automatic_collection_spares_what_was_put_again() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (again, other) = (tree(1, 3, 900), tree(2, 3, 900));
    put(&store, &again);
    put(&store, &other);
    let automatic = GcOptions { grace: Duration::from_secs(2), ..GcOptions::default() };
    collect_with(&store, &automatic, |_| {});
    std::thread::sleep(Duration::from_millis(2100));
    put(&store, &again);
    let report = collect_with(&store, &automatic, |_| {});
    assert!(is_whole(&store, &again) && is_gone(&store, &other));
    assert_eq!((report.removed_blocks, report.in_use_blocks), (4, 4));
    store.writer().commit(&[pin(root_of(&again))]).unwrap();
    collect(&store);
    assert!(is_whole(&store, &again));
}

/// Epochs are counted on over restarts, so that a store of many short processes has old blocks too.
#[test]
fn age_is_remembered_over_restarts() {
    let repo = tempfile::tempdir().unwrap();
    let automatic = GcOptions { grace: Duration::from_secs(1), ..GcOptions::default() };
    let store = open(repo.path());
    put(&store, &tree(1, 4, 900));
    assert_eq!(collect_with(&store, &automatic, |_| {}).removed_blocks, 0);
    drop(store);
    std::thread::sleep(Duration::from_millis(1100));
    let store = open(repo.path());
    assert_eq!(collect_with(&store, &automatic, |_| {}).removed_blocks, 5);
}

/// Lazily linked: what is not here under a files root may come later, and nobody promised that it is here.
#[test]
fn missing_blocks_under_the_files_root_are_no_fault() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let tree = tree(1, 4, 900);
    put(&store, &tree[1..]);
    store.writer().commit(&[Change::FilesRoot(root_of(&tree))]).unwrap();
    put(&store, &[leaf(99, 10)]);
    let report = collect(&store);
    assert_eq!((report.removed_blocks, report.broken_blocks), (1, 0));
    assert!(is_whole(&store, &tree[1..]));
}

#[test]
fn a_missing_leaf_under_a_pin_is_named_and_the_rest_goes_on() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (broken, garbage) = (tree(1, 4, 900), tree(2, 4, 900));
    put(&store, &broken[1..]);
    put(&store, &garbage);
    store.writer().commit(&[pin(root_of(&broken))]).unwrap();
    // The leaf is raw in its link, so that nothing can be lost below it.
    let mut named = Vec::new();
    let report = collect_with(&store, &GcOptions::default(), |event| {
        if let GcEvent::Broken(broken) = event {
            named.push((broken.cid, broken.root));
        }
    });
    assert_eq!(named, [(broken[0].cid, root_of(&broken))]);
    assert_eq!((report.removed_blocks, report.broken_blocks), (5, 1));
    assert!(is_whole(&store, &broken[1..]) && is_gone(&store, &garbage));
}

#[test]
fn a_collection_can_be_stopped_and_begun_again() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let garbage: Vec<Block> = (0..500).map(|seed| leaf(seed + 1, 5000)).collect();
    put(&store, &garbage);
    let mut seen = 0;
    let stopped = store.collect(&GcOptions::default(), &mut |event| {
        seen += u32::from(matches!(event, GcEvent::Removed { .. }));
        if seen >= 100 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(GcError::Stopped)));
    let left = assert_consistent(&store);
    assert!(left > 0 && left < 500, "{left}");
    assert_eq!(collect(&store).removed_blocks, left);
    assert_eq!(store.stat().unwrap().blocks, 0);
}

/// A chain of nodes, each holding the next, is as deep as it is long.
#[test]
fn a_deep_chain_is_walked() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let mut chain = vec![leaf(1, 50)];
    for _ in 0..20_000 {
        chain.push(node(&[chain.last().unwrap().cid]));
    }
    for some in chain.chunks(1000) {
        put(&store, some);
    }
    store.writer().commit(&[pin(root_of(&chain))]).unwrap();
    let report = collect(&store);
    assert_eq!((report.removed_blocks, report.reached_blocks), (0, 20_001));
    store.writer().commit(&[unpin(root_of(&chain))]).unwrap();
    assert_eq!(collect(&store).removed_blocks, 20_001);
}

/// Everything is done beside: two collections, one after the other, and clones of the store.
#[test]
fn a_second_collection_waits_for_the_first() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let garbage: Vec<Block> = (0..2000).map(|seed| leaf(seed + 1, 100)).collect();
    put(&store, &garbage);
    let removed: u64 = std::thread::scope(|scope| {
        let both: Vec<_> =
            (0..2).map(|_| scope.spawn(|| collect(&Store::clone(&store)).removed_blocks)).collect();
        both.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(removed, 2000);
}
