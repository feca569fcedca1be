//! A recursive pin is made once everything below it was found, each block once.

use holdfast::services::pins::{PinHow, PinOptions, PinProgress};
use holdfast_dag::cid::{Cid, codec, parse_cid};

use crate::support::PinNode;

async fn found(test: &PinNode, cid: Cid, every_block: bool) -> u64 {
    let progress = PinProgress::default();
    let options = PinOptions { every_block, ..PinOptions::default() };
    test.node.pins().add(cid, options, &progress).await.unwrap();
    progress.nodes()
}

#[tokio::test]
async fn what_is_missing_is_named_and_nothing_is_pinned() {
    let test = PinNode::new().await;
    let missing = parse_cid("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG").unwrap();
    let words = format!("pin: block was not found locally (offline): ipld: could not find {missing}");
    for recursive in [true, false] {
        let error = test.pin(missing, recursive, "").await.unwrap_err();
        assert_eq!(error.to_string(), words);
    }
    let root = test.branch("root", &[test.leaf("here").await, missing]).await;
    let error = test.pin(root, true, "").await.unwrap_err();
    assert_eq!(error.to_string(), words);
    assert_eq!(test.state(root).await, None);
    test.pin(root, false, "").await.unwrap();
    let error = test.pin(root, true, "other").await.unwrap_err();
    assert_eq!(error.to_string(), words);
    assert_eq!(test.state(root).await, Some((PinHow::Direct, String::new())), "the old pin is still there");
}

#[tokio::test]
async fn a_block_that_nobody_can_read_links_from_is_not_pinned_recursively() {
    let test = PinNode::new().await;
    let leaf = test.leaf("some bytes").await;
    let strange = Cid::new_v1(codec::LIBP2P_KEY, *leaf.hash());
    let error = test.pin(strange, true, "").await.unwrap_err();
    assert_eq!(error.to_string(), "pin: no decoder registered for multicodec code 114 (0x72)");
    let root = test.branch("root", &[strange]).await;
    let error = test.pin(root, true, "").await.unwrap_err();
    assert_eq!(error.to_string(), "pin: no decoder registered for multicodec code 114 (0x72)");
    test.pin(strange, false, "").await.unwrap();
}

#[tokio::test]
async fn a_diamond_of_many_layers_is_walked_block_by_block() {
    let test = PinNode::new().await;
    let mut layer = vec![test.leaf("bottom").await];
    for depth in 0..40 {
        layer = vec![
            test.branch(&format!("left {depth}"), &layer).await,
            test.branch(&format!("right {depth}"), &layer).await,
        ];
    }
    let root = test.branch("top", &layer).await;
    assert_eq!(found(&test, root, true).await, 1 + 2 * 40 + 1, "2^40 paths, 82 blocks");
}

#[tokio::test]
async fn more_links_than_a_batch_holds_are_all_found() {
    let test = PinNode::new().await;
    let mut leaves = Vec::new();
    for number in 0..1000 {
        leaves.push(test.leaf(&format!("leaf {number}")).await);
    }
    let inner = test.branch("inner", &leaves[..700]).await;
    let root = test.branch("root", &[&leaves[300..], &[inner]].concat()).await;
    assert_eq!(found(&test, root, true).await, 1002);
    let removed = test.node.blocks().remove(leaves, false).await.unwrap();
    assert!(removed.iter().all(|one| one.error.is_some()), "every leaf is kept");
}

#[tokio::test]
async fn what_another_pin_covers_is_passed_over_unless_every_block_is_asked_for() {
    let test = PinNode::new().await;
    let leaves = [test.leaf("a").await, test.leaf("b").await];
    let inner = test.branch("inner", &leaves).await;
    let root = test.branch("root", &[inner]).await;
    test.pin(inner, true, "").await.unwrap();
    assert_eq!(found(&test, root, false).await, 2, "the root, and the covered root below it");
    test.node.pins().remove(root, true).await.unwrap();
    assert_eq!(found(&test, root, true).await, 4);
    test.node.pins().remove(root, true).await.unwrap();
    test.node.pins().remove(inner, true).await.unwrap();
    assert_eq!(found(&test, root, false).await, 4, "with the covering pin gone, all is walked");
}

/// The pin that a walk leaned on goes away between the walk and the commit. Whatever the order, a pin that was
/// acknowledged holds blocks that are all here.
#[tokio::test(flavor = "multi_thread")]
async fn a_covering_pin_that_goes_away_meanwhile_is_not_leaned_on() {
    let test = PinNode::new().await;
    for round in 0..60 {
        let leaf = test.leaf(&format!("leaf {round}")).await;
        let inner = test.branch(&format!("inner {round}"), &[leaf]).await;
        let root = test.branch(&format!("root {round}"), &[inner]).await;
        test.pin(inner, true, "").await.unwrap();
        let remover = test.node.clone();
        let removing = tokio::spawn(async move {
            remover.pins().remove(inner, true).await.unwrap();
            // What nobody keeps by then is gone.
            remover.blocks().remove(vec![leaf], false).await.unwrap()[0].error.is_none()
        });
        let pinned = test.pin(root, true, "").await;
        let gone = removing.await.unwrap();
        assert_eq!(pinned.is_err(), gone, "round {round}: pinned and gone, or neither: {pinned:?}");
        assert_eq!(test.node.blocks().get(&leaf).await.is_ok(), pinned.is_ok(), "round {round}");
    }
}

/// `block rm` and `pin add` meet: either the block is deleted and the pin says what is missing, or it is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_removed_or_pinned_but_not_both() {
    let test = PinNode::new().await;
    for round in 0..60 {
        let leaf = test.leaf(&format!("contested {round}")).await;
        let root = test.branch(&format!("root {round}"), &[leaf]).await;
        let remover = test.node.clone();
        let removing = tokio::spawn(async move { remover.blocks().remove(vec![leaf], false).await.unwrap() });
        let pinned = test.pin(root, true, "").await;
        let removed = removing.await.unwrap()[0].error.is_none();
        assert!(pinned.is_ok() != removed, "round {round}: {pinned:?}, removed: {removed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_remove_one_pin_one_succeeds() {
    let test = PinNode::new().await;
    let leaf = test.leaf("kept").await;
    for round in 0..100 {
        test.pin(leaf, round % 2 == 0, "").await.unwrap();
        let removers: Vec<_> = (0..8)
            .map(|_| {
                let pins = test.node.pins();
                tokio::spawn(async move { pins.remove(leaf, true).await })
            })
            .collect();
        let mut succeeded = 0;
        for remover in removers {
            match remover.await.unwrap() {
                Ok(_) => succeeded += 1,
                Err(error) => assert_eq!(error.to_string(), "not pinned or pinned indirectly"),
            }
        }
        assert_eq!(succeeded, 1, "round {round}");
    }
}
