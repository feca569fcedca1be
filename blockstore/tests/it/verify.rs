//! Verification with options, dropping of damaged blocks, and the scrub.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::common::*;
use crate::damage::damage;
use holdfast_blockstore::{ReadError, Store, StoreConfig, VerifyEvent, VerifyOptions};
use holdfast_dag::block::Block;
use holdfast_dag::cid::Multihash;

fn leaves(number: u64) -> Vec<Block> {
    (0..number).map(|seed| leaf(seed + 1, 2000)).collect()
}

fn drop_damaged(store: &Store) -> Vec<Multihash> {
    let mut removed = Vec::new();
    let options = VerifyOptions { drop_damaged: true, ..VerifyOptions::default() };
    store
        .verify_with(&options, &mut |event| {
            match event {
                VerifyEvent::Removed(hash, ReadError::Damaged { .. }) => removed.push(hash),
                VerifyEvent::Sound(_) | VerifyEvent::Page(_) => {}
                other => panic!("{other:?}"),
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    removed
}

#[test]
fn a_verification_goes_on_where_it_was_left() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let blocks = leaves(3000);
    put(&store, &blocks);
    let (mut seen, mut from) = (BTreeSet::new(), Vec::new());
    let mut runs = 0;
    loop {
        let options = VerifyOptions { from: from.clone(), ..VerifyOptions::default() };
        let mut page = None;
        store
            .verify_with(&options, &mut |event| {
                match event {
                    VerifyEvent::Sound(hash) => assert!(seen.insert(hash), "seen twice"),
                    VerifyEvent::Page(at) => {
                        page = Some(at);
                        return ControlFlow::Break(());
                    }
                    other => panic!("{other:?}"),
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        let Some(at) = page else { break };
        from = at;
        runs += 1;
    }
    assert!(runs >= 3, "{runs}");
    assert_eq!(seen.len(), blocks.len());
}

#[test]
fn a_pace_is_kept_and_can_be_ended_while_it_waits() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let blocks: Vec<Block> = (1..7).map(|seed| leaf(seed, 500_000)).collect();
    put(&store, &blocks);
    let options = VerifyOptions { bytes_per_second_max: 6_000_000, ..VerifyOptions::default() };
    let begin = Instant::now();
    store.verify_with(&options, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(450), "{:?}", begin.elapsed());
    let slow = VerifyOptions { bytes_per_second_max: 1, ..VerifyOptions::default() };
    let mut waits = 0;
    store
        .verify_with(&slow, &mut |event| {
            waits += u32::from(matches!(event, VerifyEvent::Waiting));
            if waits >= 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(waits, 2);
}

#[test]
fn a_damaged_node_is_dropped_and_what_it_links_to_stays_known() {
    let repo = tempfile::tempdir().unwrap();
    let leaves = leaves(5);
    let root = node(&leaves.iter().map(|leaf| leaf.cid).collect::<Vec<_>>());
    {
        let store = open(repo.path());
        put(&store, &leaves);
        put(&store, std::slice::from_ref(&root));
        store.writer().commit(&[pin(root.cid)]).unwrap();
        damage(repo.path(), &root);
        damage(repo.path(), &leaves[2]);
        let removed: BTreeSet<_> = drop_damaged(&store).into_iter().collect();
        assert_eq!(removed, [*root.cid.hash(), *leaves[2].cid.hash()].into());
        assert!(is_absent(&store, &root) && is_absent(&store, &leaves[2]));
        let stat = store.stat().unwrap();
        assert_eq!((stat.blocks, stat.damaged_blocks), (4, 0));
    }
    let store = open(repo.path());
    assert_eq!(assert_consistent(&store), 4);
    // The pin still holds the leaves, through a node that is not there.
    let kept = store.delete_blocks(&[leaves[0].cid]).unwrap().remove(0).result;
    assert!(kept.unwrap_err().to_string().starts_with("pinned via"));
    // It comes back.
    put(&store, &[root.clone(), leaves[2].clone()]);
    assert_eq!(store.links(&root.cid).unwrap().unwrap().len(), 5);
    collect(&store);
    assert_eq!(store.links(&root.cid).unwrap().unwrap().len(), 5, "it is back: nothing is forgotten");
    assert_eq!(assert_consistent(&store), 6);
}

#[test]
fn links_of_a_dropped_node_that_nothing_reaches_are_forgotten_by_a_collection() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let leaves = leaves(5);
    let root = node(&leaves.iter().map(|leaf| leaf.cid).collect::<Vec<_>>());
    put(&store, &leaves);
    put(&store, std::slice::from_ref(&root));
    damage(repo.path(), &root);
    assert_eq!(drop_damaged(&store).len(), 1);
    let holding = store.hold(root.cid);
    assert_eq!(collect(&store).removed_blocks, 0, "what is held is kept through a node that is not there");
    drop(holding);
    assert_eq!(collect(&store).removed_blocks, 5);
    assert_eq!(assert_consistent(&store), 0);
}

#[test]
fn a_rebuild_keeps_what_is_pinned_through_a_damaged_node() {
    let repo = tempfile::tempdir().unwrap();
    let leaves = leaves(5);
    let root = node(&leaves.iter().map(|leaf| leaf.cid).collect::<Vec<_>>());
    {
        let store = open(repo.path());
        put(&store, &leaves);
        put(&store, std::slice::from_ref(&root));
        store.writer().commit(&[pin(root.cid)]).unwrap();
    }
    damage(repo.path(), &root);
    let report = holdfast_blockstore::rebuild_index(repo.path(), &config()).unwrap();
    assert_eq!((report.blocks, report.damaged, report.pins), (5, 1, 1));
    let store = open(repo.path());
    assert!(store.delete_blocks(&[leaves[0].cid]).unwrap()[0].result.is_err());
    assert_eq!(assert_consistent(&store), 5);
}

#[test]
fn a_damaged_block_that_a_writer_uses_is_not_dropped_under_it() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let block = leaf(1, 2000);
    put(&store, std::slice::from_ref(&block));
    damage(repo.path(), &block);
    let writer = store.writer();
    writer.find(&block.cid).unwrap();
    let mut stayed = 0;
    let options = VerifyOptions { drop_damaged: true, ..VerifyOptions::default() };
    store
        .verify_with(&options, &mut |event| {
            stayed += u32::from(matches!(event, VerifyEvent::Stayed(..)));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(stayed, 1);
    // And it heals.
    writer.put([block.clone()]).unwrap();
    writer.commit(&[]).unwrap();
    assert_eq!(assert_consistent(&store), 1);
}

#[test]
fn a_scrub_is_resumed_after_a_restart_and_remembers_what_it_found() {
    let repo = tempfile::tempdir().unwrap();
    let blocks = leaves(3000);
    {
        let store = open(repo.path());
        put(&store, &blocks);
        for block in &blocks[10..13] {
            damage(repo.path(), block);
        }
        assert_eq!(store.scrub_state().unwrap(), holdfast_blockstore::ScrubState::default());
        // Ended in its second page.
        let mut blocks = 0;
        let ended = store.scrub(0, &mut || {
            blocks += 1;
            blocks < 1500
        });
        assert_eq!(ended.unwrap(), None);
    }
    let store = open(repo.path());
    let state = store.scrub_state().unwrap();
    assert_eq!((state.last, state.current.unwrap().blocks), (None, 1024));
    let mut left = 0;
    let figures = store.scrub(0, &mut || {
        left += 1;
        true
    });
    let figures = figures.unwrap().unwrap();
    assert_eq!((figures.blocks, figures.damaged), (3000, 3));
    assert!(left < 2100, "the first page was not read again: {left}");
    drop(store);
    let store = open(repo.path());
    assert_eq!(store.scrub_state().unwrap().last, Some(figures));
    assert_eq!(store.scrub_state().unwrap().current, None);
    assert_eq!(store.stat().unwrap().damaged_blocks, 3);
}

/// Damage in 1 % of the values: no wrong byte on any path, writes and the compaction of the index go on, and what is
/// added again is whole again.
#[test]
fn one_value_in_a_hundred_is_damaged() {
    let repo = tempfile::tempdir().unwrap();
    let settings = StoreConfig { segment_bytes_max: 1 << 20, ..config() };
    let store = Store::open(repo.path(), settings.clone()).unwrap();
    let blocks: Vec<Block> = (1..1501).map(|seed| leaf(seed, 1000 + (seed as usize * 37) % 5000)).collect();
    for some in blocks.chunks(20) {
        put(&store, some);
    }
    let bad: BTreeSet<_> = blocks.iter().step_by(97).map(|block| *block.cid.hash()).collect();
    for block in blocks.iter().step_by(97) {
        damage(repo.path(), block);
    }
    let judge = |store: &Store| {
        let cids: Vec<_> = blocks.iter().map(|block| block.cid).collect();
        let one: Vec<_> = cids.iter().map(|cid| store.get(cid)).collect();
        let many: Vec<_> = cids.chunks(100).flat_map(|some| store.get_many(some)).collect();
        for (block, results) in blocks.iter().zip(one.into_iter().zip(many)) {
            for result in [results.0, results.1] {
                match result {
                    Ok(Some(data)) => assert_eq!(data, block.data.to_bytes()),
                    Err(ReadError::Damaged { cid }) => assert!(bad.contains(cid.hash())),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(store.has(block.cid.hash()).unwrap(), !bad.contains(block.cid.hash()));
        }
        let mut found = BTreeSet::new();
        store
            .verify(&mut |event| {
                if let VerifyEvent::Damaged(hash, _) = event {
                    found.insert(hash);
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(found, bad);
    };
    judge(&store);
    // Many openings and closings: files of the index are merged.
    drop(store);
    for seed in 0..40 {
        let store = Store::open(repo.path(), settings.clone()).unwrap();
        put(&store, &[leaf(100_000 + seed, 900)]);
    }
    let store = Store::open(repo.path(), settings).unwrap();
    judge(&store);
    put(&store, &blocks);
    assert_eq!(store.stat().unwrap().damaged_blocks, 0);
    assert_eq!(assert_consistent(&store), 1540);
}
