//! The incremental collection: what was just unpinned goes, as far as nothing else holds it.

use std::ops::ControlFlow;

use crate::common::*;
use holdfast_blockstore::{Change, Store, UnpinnedReport};
use holdfast_dag::block::Block;
use holdfast_dag::cid::Cid;

fn collect_unpinned(store: &Store, roots: &[Cid]) -> UnpinnedReport {
    store.collect_unpinned(roots, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Two trees share leaves; one of them is unpinned. Its own leaves go with it, the shared ones stay, and garbage that was
/// never below it is left to a full collection.
#[test]
fn what_was_unpinned_goes_and_nothing_else() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (a, garbage) = (tree(1, 20, 300), tree(3, 20, 300));
    let mut b = tree(2, 10, 300);
    b.pop();
    let children: Vec<Cid> =
        b.iter().map(|leaf| leaf.cid).chain(a[..5].iter().map(|leaf| leaf.cid)).collect();
    b.push(node(&children));
    for tree in [&a, &b, &garbage] {
        put(&store, tree);
    }
    store.writer().commit(&[pin(root_of(&a)), pin(root_of(&b))]).unwrap();
    assert_eq!(collect_unpinned(&store, &[root_of(&a)]).removed_blocks, 0, "it is pinned");
    store.writer().commit(&[unpin(root_of(&a))]).unwrap();
    let report = collect_unpinned(&store, &[root_of(&a)]);
    assert_eq!((report.removed_blocks, report.kept_blocks, report.left_blocks), (16, 5, 0));
    assert!(is_whole(&store, &b) && is_whole(&store, &a[..5]) && is_gone(&store, &a[5..]));
    assert!(is_whole(&store, &garbage));
    assert_eq!(assert_consistent(&store), 11 + 5 + 21);
}

#[test]
fn files_and_what_is_held_count_as_roots() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (files, held, gone) = (tree(1, 4, 300), tree(2, 4, 300), tree(3, 4, 300));
    for tree in [&files, &held, &gone] {
        put(&store, tree);
    }
    store.writer().commit(&[Change::FilesRoot(root_of(&files))]).unwrap();
    let holding = store.hold(root_of(&held));
    let leaves: Vec<Cid> = [&files, &held, &gone].iter().map(|tree| tree[0].cid).collect();
    let report = collect_unpinned(&store, &leaves);
    assert_eq!((report.removed_blocks, report.kept_blocks), (1, 2), "asked for directly");
    let roots = [root_of(&files), root_of(&held), root_of(&gone)];
    let report = collect_unpinned(&store, &roots);
    assert_eq!((report.removed_blocks, report.kept_blocks), (4, 2));
    assert!(is_whole(&store, &files) && is_whole(&store, &held) && is_gone(&store, &gone));
    drop(holding);
    assert_eq!(collect_unpinned(&store, &roots).removed_blocks, 5);
}

/// A node that was put as plain bytes and linked into the files is known to none of its children. They are also below a pin,
/// which is removed with what only it held.
#[test]
fn what_a_files_root_reaches_through_nodes_that_were_never_decoded_is_kept() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let shared = tree(1, 4, 300);
    let (top, leaves) = shared.split_last().unwrap();
    let files = node(&[top.cid]);
    let mut pinned: Vec<Block> = leaves.to_vec();
    pinned.push(node(&leaves.iter().rev().map(|leaf| leaf.cid).collect::<Vec<_>>()));
    put(&store, &pinned);
    put(&store, &[raw(top.data.to_bytes().to_vec()), raw(files.data.to_bytes().to_vec())]);
    store.writer().commit(&[Change::FilesRoot(files.cid), pin(root_of(&pinned))]).unwrap();
    store.writer().commit(&[unpin(root_of(&pinned))]).unwrap();
    let report = collect_unpinned(&store, &[root_of(&pinned)]);
    assert_eq!((report.removed_blocks, report.kept_blocks), (1, leaves.len() as u64));
    assert!(is_whole(&store, &shared) && is_whole(&store, &[files]));
}

/// The cost is that of what goes: beside a store of 20,000 blocks, 11 are looked at.
#[test]
fn the_cost_is_that_of_what_goes() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), process()).unwrap();
    let big: Vec<Block> = (0..20_000).map(|seed| leaf(seed + 1_000_000, 20)).collect();
    for some in big.chunks(2000) {
        put(&store, some);
    }
    let small = tree(1, 10, 300);
    put(&store, &small);
    let report = collect_unpinned(&store, &[root_of(&small)]);
    assert_eq!(
        report,
        UnpinnedReport { removed_blocks: 11, removed_bytes: report.removed_bytes, ..Default::default() }
    );
    assert_eq!(store.stat().unwrap().blocks, 20_000);
}

/// A writer in flight has found what was unpinned: it is left, and what is below it too.
#[test]
fn what_is_in_use_is_left() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let tree = tree(1, 4, 300);
    put(&store, &tree);
    let writer = store.writer();
    writer.find(&root_of(&tree)).unwrap();
    let report = collect_unpinned(&store, &[root_of(&tree)]);
    assert_eq!((report.removed_blocks, report.left_blocks), (0, 1));
    assert!(is_whole(&store, &tree));
    drop(writer);
    assert_eq!(collect_unpinned(&store, &[root_of(&tree)]).removed_blocks, 5);
}
