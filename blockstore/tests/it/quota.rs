//! The storage limit.

use std::time::Duration;

use crate::common::*;
use holdfast_blockstore::{Change, QuotaAdvice, Store, StoreConfig, WriteError};

const LIMIT: u64 = 40 << 20;

fn limited(collect_at_limit: bool) -> StoreConfig {
    StoreConfig { bytes_max: Some(LIMIT), collect_at_limit, ..process() }
}

/// Adds pinned trees of 4 MiB until one is refused.
fn fill(store: &Store, first: u64) -> (Vec<Vec<holdfast_dag::block::Block>>, WriteError) {
    let mut kept = Vec::new();
    for seed in first..first + 100 {
        let tree = tree(seed, 16, 262_144);
        let writer = store.writer();
        if let Err(error) = writer.put(&tree) {
            return (kept, error);
        }
        writer.commit(&[pin(root_of(&tree))]).unwrap();
        kept.push(tree);
    }
    panic!("the limit was never met");
}

#[test]
fn adding_beyond_the_limit_is_refused_and_removing_is_not() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), limited(false)).unwrap();
    let (kept, error) = fill(&store, 1);
    assert!(
        matches!(error, WriteError::Quota { advice: QuotaAdvice::Collect, bytes_max: LIMIT, .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("repo gc") && text.contains("Datastore.StorageMax") && text.contains("41943040"),
        "{text}"
    );
    assert!(kept.len() >= 7, "{}", kept.len());
    assert!(store.stat().unwrap().disk_bytes <= LIMIT);
    // Pins, roots and finding are no adding; nor is putting what is there.
    store.writer().commit(&[Change::FilesRoot(root_of(&kept[0]))]).unwrap();
    put(&store, &kept[1]);
    store.writer().commit(&[unpin(root_of(&kept[2]))]).unwrap();
    // What removing needs to write may go beyond.
    let (writer, more) = (store.writer(), tree(5000, 16, 262_144));
    assert!(matches!(writer.put(&more), Err(WriteError::Quota { .. })));
    writer.put_beyond_limit(&more).unwrap();
    writer.commit(&[]).unwrap();
    collect(&store);
    put(&store, &tree(2000, 16, 200_000));
    drop(store);
    let store = Store::open(repo.path(), limited(false)).unwrap();
    assert!(fill(&store, 3000).0.len() <= kept.len() / 2, "it is counted over restarts");
}

/// An add that meets the limit collects garbage and goes on, and what it has put itself is not garbage.
#[test]
fn an_add_that_meets_the_limit_makes_room_for_itself() {
    let repo = tempfile::tempdir().unwrap();
    let config = StoreConfig { grace: Duration::ZERO, ..limited(true) };
    let store = Store::open(repo.path(), config).unwrap();
    let garbage = tree(1, 80, 262_144);
    for some in garbage.chunks(8) {
        put(&store, some);
    }
    let large = tree(2, 100, 262_144);
    let writer = store.writer();
    for some in large.chunks(8) {
        writer.put(some).unwrap();
    }
    writer.commit(&[pin(root_of(&large))]).unwrap();
    assert!(is_whole(&store, &large) && is_gone(&store, &garbage));
    assert!(store.stat().unwrap().disk_bytes <= LIMIT);
    assert_consistent(&store);
}

#[test]
fn where_everything_is_pinned_the_refusal_says_so() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), limited(true)).unwrap();
    let (kept, error) = fill(&store, 1);
    assert!(matches!(error, WriteError::Quota { advice: QuotaAdvice::AllHeld, .. }), "{error}");
    assert!(error.to_string().contains("all that is stored is pinned"), "{error}");
    assert!(kept.iter().all(|tree| is_whole(&store, tree)));
}

#[test]
fn where_everything_is_young_the_refusal_says_so() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), limited(true)).unwrap();
    let mut refused = None;
    for seed in 1..200 {
        let writer = store.writer();
        if let Err(error) = writer.put([leaf(seed, 1 << 20)]) {
            refused = Some(error);
            break;
        }
        writer.commit(&[]).unwrap();
    }
    let error = refused.expect("the limit was met");
    assert!(
        matches!(error, WriteError::Quota { advice: QuotaAdvice::Young { young_bytes }, .. } if young_bytes > 20 << 20),
        "{error}"
    );
}
