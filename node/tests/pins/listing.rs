//! `pin ls` with very many pins: they come as they are read, and memory does not grow with them.

use futures_util::{StreamExt as _, TryStreamExt as _};
use holdfast::services::pins::{ListOptions, PinHow, PinTypes, Pinned};
use holdfast_blockstore::{Change, Pin, PinKind};
use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, CidBuilder, Version, codec};
use holdfast_dag::hash::HashKind;

use crate::support::PinNode;

const PINS: u32 = 200_000;

/// Pins `PINS` small blocks; their CIDs in the order in which they are listed.
fn pin_many(test: &PinNode) -> Vec<Cid> {
    let builder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
    let mut cids = Vec::new();
    let numbers: Vec<u32> = (0..PINS).collect();
    for part in numbers.chunks(20_000) {
        let writer = test.node.store().writer();
        let blocks: Vec<Block> = part
            .iter()
            .map(|number| {
                let bytes = number.to_le_bytes();
                Block::trusted(builder.cid_of(codec::RAW, &[&bytes]), bytes.to_vec())
            })
            .collect();
        writer.put(&blocks).unwrap();
        let pins: Vec<Change> =
            blocks.iter().map(|block| Pin::new(block.cid, PinKind::Recursive, "").into()).collect();
        cids.extend(blocks.iter().map(|block| block.cid));
        writer.commit(&pins).unwrap();
    }
    cids.sort_by_key(|cid| cid.hash().to_bytes());
    cids
}

/// The last pin is removed after the first one was given, and is then not listed: so it had not been read by then.
/// That holds at any speed, because the listing waits for its reader.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_pin_is_given_before_the_last_one_is_read() {
    let test = PinNode::new().await;
    let cids = pin_many(&test);
    let mut listing = test.node.pins().list(ListOptions::default());
    let first = listing.next().await.unwrap().unwrap();
    assert_eq!(first.len(), 1, "the first pin goes alone");
    assert_eq!(first[0].cid, cids[0]);
    let last = *cids.last().unwrap();
    test.node.pins().remove(last, true).await.unwrap();
    let rest: Vec<Vec<Pinned>> = listing.try_collect().await.unwrap();
    let listed: Vec<Cid> = rest.into_iter().flatten().map(|pinned| pinned.cid).collect();
    assert_eq!(listed.len() as u32, PINS - 2);
    assert_eq!(listed, cids[1..cids.len() - 1]);
}

#[tokio::test]
async fn each_cid_is_listed_once_by_its_strongest_pin() {
    let test = PinNode::new().await;
    let leaves = [test.leaf("a").await, test.leaf("b").await, test.leaf("c").await];
    let inner = test.branch("inner", &leaves).await;
    let root = test.branch("root", &[inner, leaves[0]]).await;
    test.pin(root, true, "the root").await.unwrap();
    test.pin(leaves[0], true, "").await.unwrap();
    test.pin(leaves[1], false, "a direct one").await.unwrap();
    let list = async |types, name: &str| {
        let options = ListOptions { types, name: name.to_owned() };
        let listed = test.node.pins().list(options).try_concat().await.unwrap();
        let mut listed: Vec<_> = listed.into_iter().map(|pinned| (pinned.cid, pinned.how)).collect();
        listed.sort_by_key(|(cid, _)| *cid);
        listed
    };
    let sorted = |mut list: Vec<(Cid, PinHow)>| {
        list.sort_by_key(|(cid, _)| *cid);
        list
    };
    let recursive = vec![(root, PinHow::Recursive), (leaves[0], PinHow::Recursive)];
    let direct = vec![(leaves[1], PinHow::Direct)];
    let indirect = vec![(inner, PinHow::Indirect(None)), (leaves[2], PinHow::Indirect(None))];
    assert_eq!(
        list(PinTypes::All, "").await,
        sorted([recursive.clone(), direct.clone(), indirect.clone()].concat())
    );
    assert_eq!(list(PinTypes::Recursive, "").await, sorted(recursive.clone()));
    assert_eq!(list(PinTypes::Direct, "").await, direct);
    assert_eq!(list(PinTypes::Indirect, "").await, sorted(indirect));
    assert_eq!(list(PinTypes::All, "the").await, [recursive[0].clone()]);
    assert_eq!(list(PinTypes::All, "direct").await, direct);
}

#[tokio::test]
async fn a_dag_that_is_not_whole_does_not_hide_what_is_listed_after_it() {
    let test = PinNode::new().await;
    let (bad, good) = (test.leaf("a leaf that rots").await, test.leaf("a leaf that stays").await);
    for (text, leaf) in [("one", bad), ("two", good), ("three", bad)] {
        let root = test.branch(text, &[leaf]).await;
        test.pin(root, true, "").await.unwrap();
    }
    test.damage(bad, b"a leaf that rots").await;
    let mut listing = test.node.pins().list(ListOptions { types: PinTypes::Indirect, ..Default::default() });
    let (mut listed, mut error) = (Vec::new(), None);
    while let Some(step) = listing.next().await {
        match step {
            Ok(pins) => listed.extend(pins.into_iter().map(|pinned| pinned.cid)),
            Err(failed) => error = Some(failed.to_string()),
        }
    }
    assert!(listed.contains(&good) && listed.contains(&bad), "both are pinned indirectly");
    assert!(error.unwrap().contains(&bad.to_string()), "and the one that is bad is named");
}
