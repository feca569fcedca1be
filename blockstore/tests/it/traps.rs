//! The three traps of a store that does not log every value, each as a story with a bad end that must not happen.

use std::time::Duration;

use crate::common::*;
use holdfast_blockstore::{Change, DeleteError, Pin, PinKind, Store, StoreConfig};

/// Rows stay in memory until someone commits.
fn lazy() -> StoreConfig {
    StoreConfig { idle_flush: Duration::from_secs(3600), ..config() }
}

/// Present is not durable. Add A has written block X and not committed. Add B needs X too, finds it, does not write it
/// again, commits its pin and answers. The machine goes down: X was only in A's part of the page cache, and its row
/// only in memory. B's answer was a promise for X as well, so B's barrier has to cover what A wrote.
#[test]
fn what_a_commit_found_is_as_durable_as_what_it_wrote() {
    let (repo, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(repo.path(), lazy()).unwrap();
    let (x, y) = (leaf(1, 5000), leaf(2, 5000));
    let a = store.writer();
    a.put([x.clone()]).unwrap();
    let b = store.writer();
    assert_eq!(b.find(&x.cid).unwrap(), Some(5000), "B finds what A has put");
    b.put([x.clone()]).unwrap();
    b.commit(&[Change::Pin(Pin::new(x.cid, PinKind::Direct, "B"))]).unwrap();
    a.put([y.clone()]).unwrap();
    // The process is gone in this moment: what it had in memory is not in the copy.
    copy_repo(repo.path(), after.path());
    let survivor = open(after.path());
    assert_has(&survivor, &x);
    assert!(survivor.pins().get(&x.cid).unwrap().is_some());
    assert!(is_absent(&survivor, &y), "A never committed: its own block may go, and here it does");
    assert_eq!(survivor.open_report().cut_bytes, 32 + 34 + 5000, "and its bytes are cut off");
    assert_eq!(assert_consistent(&survivor), 1);
}

/// The same for blocks whose rows a background round has put into the index with an unsynced log: B writes nothing at
/// all, and still has to sync. Here that it can be seen at all is the point: the commit of a writer that only found.
#[test]
fn a_commit_that_wrote_nothing_is_still_a_barrier() {
    let (repo, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(repo.path(), lazy()).unwrap();
    let x = leaf(1, 5000);
    let a = store.writer();
    a.put([x.clone()]).unwrap();
    let b = store.writer();
    b.find(&x.cid).unwrap();
    b.commit(&[]).unwrap();
    copy_repo(repo.path(), after.path());
    assert_has(&open(after.path()), &x);
}

/// Present is not safe. X lies there unpinned. Add B finds it and goes on adding; a garbage collection deletes X; B
/// pins its root and answers, and the DAG has a hole. So a find protects, until the pin is there or B is gone.
#[test]
fn what_an_operation_found_is_not_deleted_under_it() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let x = leaf(1, 100);
    put(&store, std::slice::from_ref(&x));
    let delete = |what| store.delete_blocks(&[what]).unwrap().remove(0).result;

    let b = store.writer();
    b.find(&x.cid).unwrap();
    assert!(matches!(delete(x.cid), Err(DeleteError::InUse)), "while B runs");
    let root = node(&[x.cid]);
    b.put([root.clone()]).unwrap();
    assert!(matches!(delete(root.cid), Err(DeleteError::InUse)), "what B wrote, too");
    b.commit(&[pin(root.cid)]).unwrap();
    assert!(matches!(delete(x.cid), Err(DeleteError::Pinned(_))), "B is done, and its pin holds X");

    store.writer().commit(&[unpin(root.cid)]).unwrap();
    let c = store.writer();
    c.find(&x.cid).unwrap();
    drop(c);
    assert!(delete(x.cid).is_ok(), "C gave up: nothing holds X any more");
    let d = store.writer();
    assert_eq!(d.find(&x.cid).unwrap(), None, "and D is not told that it is there");
    d.put([x.clone()]).unwrap();
    d.commit(&[]).unwrap();
    assert_has(&store, &x);
}

/// Families tear. Values, sizes, links and counters are different families. If they reach the disk apart, a crash
/// leaves a size without a value, links without a block, a counter that is off by some. So whatever moment a copy of
/// the files is taken, the families in it agree with each other.
#[test]
fn families_agree_at_every_moment() {
    let repo = tempfile::tempdir().unwrap();
    let small = StoreConfig { segment_bytes_max: 1 << 20, sync_bytes: 200_000, ..process() };
    let store = Store::open(repo.path(), small).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seed in 0..150 {
                let leaves: Vec<_> = (0..8).map(|n| leaf(seed * 8 + n, 3000)).collect();
                let root = node(&leaves.iter().map(|leaf| leaf.cid).collect::<Vec<_>>());
                let writer = store.writer();
                writer.put(leaves).unwrap();
                writer.put([root.clone()]).unwrap();
                writer.commit(&[pin(root.cid)]).unwrap();
                if seed % 3 == 0 {
                    store.writer().commit(&[unpin(root.cid)]).unwrap();
                    store.delete_blocks(&[root.cid]).unwrap();
                }
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        let mut copies = 0;
        while !done.load(std::sync::atomic::Ordering::Acquire) || copies < 3 {
            let after = tempfile::tempdir().unwrap();
            copy_log_first(repo.path(), after.path());
            let survivor = open(after.path());
            assert_consistent(&survivor);
            for pin in survivor.pins().iter(None) {
                let children = survivor.links(&pin.unwrap().cid).unwrap().expect("a pinned root is there");
                assert_eq!(children.len(), 8);
                for child in children {
                    assert!(survivor.has(child.hash()).unwrap(), "a pinned root is complete");
                    assert!(survivor.pins().holder(&child).unwrap().is_some(), "and its children know it");
                }
            }
            copies += 1;
        }
    });
}

/// Copies while the store writes. The index goes first: a copy is not one moment, and segments that are longer than the
/// index says are what a crash leaves too, while the other way round could not happen on one disk.
fn copy_log_first(from: &std::path::Path, to: &std::path::Path) {
    for folder in ["db", "segments"] {
        std::fs::create_dir_all(to.join(folder)).unwrap();
        copy_repo(&from.join(folder), &to.join(folder));
    }
}

/// A node that a pin waited for has just come in and is not in the index yet. It counts as a parent at once.
#[test]
fn a_parent_that_is_not_indexed_yet_holds_its_children() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), lazy()).unwrap();
    let child = leaf(1, 100);
    let middle = node(&[child.cid]);
    let root = node(&[middle.cid]);
    put(&store, &[child.clone(), root.clone()]);
    store.writer().commit(&[pin(root.cid)]).unwrap();
    store.writer().put([middle]).unwrap();
    let outcome = store.delete_blocks(&[child.cid]).unwrap();
    assert!(matches!(outcome[0].result, Err(DeleteError::Pinned(_))), "{outcome:?}");
}
