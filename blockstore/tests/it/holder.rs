//! "Through what is this block held": by climbing, and where that would take too long, by walking down.

use crate::common::*;
use holdfast_blockstore::{DeleteError, PinnedBy, Store, StoreConfig};
use holdfast_dag::block::Block;

const PARENTS: u64 = 1_000_000;

/// A block that a million nodes link to. First none of them is pinned, then one is, somewhere in the middle.
#[test]
fn a_block_with_a_million_parents() {
    let repo = tempfile::tempdir().unwrap();
    let config = StoreConfig { memory_bytes_max: 96 << 20, ..process() };
    let store = Store::open(repo.path(), config).unwrap();
    let child = leaf(1, 100);
    put(&store, std::slice::from_ref(&child));
    let parent = |n: u64| node(&[child.cid, raw(n.to_le_bytes()).cid]);
    for start in (0..PARENTS).step_by(2000) {
        let some: Vec<Block> = (start..start + 2000).map(parent).collect();
        store.writer().put(&some).unwrap();
    }
    store.flush().unwrap();
    assert_eq!(store.pins().holder(&child.cid).unwrap(), None, "dead parents only");

    let root = parent(PARENTS / 2);
    store.writer().commit(&[pin(root.cid)]).unwrap();
    assert_eq!(store.pins().holder(&child.cid).unwrap(), Some(PinnedBy::Via(Box::new(root.cid))));
    let outcome = store.delete_blocks(&[child.cid]).unwrap().remove(0).result;
    assert!(matches!(outcome, Err(DeleteError::Pinned(_))), "{outcome:?}");

    store.writer().commit(&[unpin(root.cid)]).unwrap();
    let outcome = store.delete_blocks(&[child.cid]).unwrap().remove(0).result;
    assert!(outcome.is_ok(), "nothing holds it any more: {outcome:?}");
    assert!(is_absent(&store, &child));
}

/// A block with more ancestors than are climbed under locks, on a long way up to the pin.
#[test]
fn a_block_far_below_its_pin() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), process()).unwrap();
    let child = leaf(1, 100);
    let mut chain = vec![child.clone()];
    for _ in 0..2000 {
        chain.push(node(&[chain.last().unwrap().cid]));
    }
    put(&store, &chain);
    store.writer().commit(&[pin(root_of(&chain))]).unwrap();
    let outcome = store.delete_blocks(&[child.cid]).unwrap().remove(0).result;
    assert!(matches!(outcome, Err(DeleteError::Pinned(PinnedBy::Via(root))) if *root == root_of(&chain)));
    store.writer().commit(&[unpin(root_of(&chain))]).unwrap();
    assert!(store.delete_blocks(&[child.cid]).unwrap().remove(0).result.is_ok());
}
