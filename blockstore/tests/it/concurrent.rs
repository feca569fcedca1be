//! Eight threads put, pin, read and delete the same few blocks at once.

use crate::common::*;
use holdfast_blockstore::{Change, DeleteError, Pin, PinKind, Store, StoreConfig};
use holdfast_dag::block::Block;

const THREADS: u64 = 8;
const ROUNDS: u64 = 60;

/// Each thread builds roots over shared leaves and pins them, while all threads try to delete leaves. As long as a
/// root is pinned all its leaves are there; nobody is ever told that a block is there which is not.
#[test]
fn what_is_pinned_stays_whole_while_everyone_deletes() {
    let repo = tempfile::tempdir().unwrap();
    let small = StoreConfig { segment_bytes_max: 2 << 20, sync_bytes: 1 << 20, ..config() };
    let store = Store::open(repo.path(), small).unwrap();
    let leaves: Vec<Block> = (0..40).map(|seed| leaf(seed + 1, 2000 + 97 * seed as usize)).collect();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, leaves) = (&store, &leaves);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    one_round(store, leaves, thread, round);
                }
            });
        }
    });
    assert_consistent(&store);
    drop(store);
    let store = open(repo.path());
    assert_consistent(&store);
    assert_eq!(store.pins().iter(None).count(), THREADS as usize, "each thread's last root");
}

fn one_round(store: &Store, leaves: &[Block], thread: u64, round: u64) {
    let seed = thread * 1000 + round;
    let mine: Vec<&Block> =
        (0..6).map(|n| &leaves[((seed * 7 + n * 11) % leaves.len() as u64) as usize]).collect();
    let writer = store.writer();
    for leaf in &mine {
        if writer.find(&leaf.cid).unwrap().is_none() {
            writer.put([(*leaf).clone()]).unwrap();
        }
    }
    let mut children: Vec<_> = mine.iter().map(|leaf| leaf.cid).collect();
    // A leaf of its own makes the root unique.
    let own = raw(seed.to_le_bytes());
    children.push(own.cid);
    let root = node(&children);
    writer.put([own, root.clone()]).unwrap();
    writer.commit(&[Change::Pin(Pin::new(root.cid, PinKind::Recursive, ""))]).unwrap();

    let victims: Vec<_> =
        (0..10).map(|n| leaves[((seed * 3 + n * 5) % leaves.len() as u64) as usize].cid).collect();
    for deletion in store.delete_blocks(&victims).unwrap() {
        let held = children.contains(&deletion.cid);
        match deletion.result {
            Ok(_) | Err(DeleteError::NotFound(_)) => assert!(!held, "a leaf under a pinned root"),
            Err(DeleteError::Pinned(_) | DeleteError::InUse) => {}
            Err(other) => panic!("{other}"),
        }
    }
    for leaf in &mine {
        assert_has(store, leaf);
    }
    let cids: Vec<_> = mine.iter().map(|leaf| leaf.cid).collect();
    assert!(store.get_many(&cids).into_iter().all(|result| result.unwrap().is_some()));
    if round + 1 < ROUNDS {
        store.writer().commit(&[unpin(root.cid)]).unwrap();
        assert!(store.delete_blocks(&[root.cid]).unwrap()[0].result.is_ok());
    }
}
