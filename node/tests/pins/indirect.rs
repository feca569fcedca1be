//! Through what is something pinned? By the links as they are written, and never by a guess.

use holdfast::services::blocks::BlockPutOptions;
use holdfast::services::pins::{PinHow, PinTypes};
use holdfast_blockstore::ANCESTORS_MAX;
use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, CidBuilder, Version, codec};
use holdfast_dag::hash::HashKind;

use crate::support::{PinNode, other_version};

#[tokio::test]
async fn the_nearest_recursive_pin_is_named_and_a_direct_one_keeps_nothing_below() {
    let test = PinNode::new().await;
    let leaf = test.leaf("leaf").await;
    let inner = test.branch("inner", &[leaf]).await;
    let root = test.branch("root", &[inner]).await;
    assert_eq!(test.state(leaf).await, None);
    test.pin(root, false, "").await.unwrap();
    assert_eq!(test.state(leaf).await, None);
    test.pin(root, true, "").await.unwrap();
    assert_eq!(test.state(leaf).await, PinNode::through(root));
    assert_eq!(test.state(inner).await, PinNode::through(root));
    test.pin(inner, true, "").await.unwrap();
    assert_eq!(test.state(leaf).await, PinNode::through(inner));
    test.node.pins().remove(root, true).await.unwrap();
    test.node.pins().remove(inner, true).await.unwrap();
    assert_eq!(test.state(leaf).await, None);
}

#[tokio::test]
async fn a_direct_pin_may_be_indirect_too_a_recursive_one_is_not() {
    let test = PinNode::new().await;
    let leaf = test.leaf("leaf").await;
    let root = test.branch("root", &[leaf]).await;
    test.pin(root, true, "").await.unwrap();
    let indirect = async || {
        let states = test.node.pins().states(vec![leaf], PinTypes::Indirect).await.unwrap();
        states[0].as_ref().map(|pinned| pinned.how.clone())
    };
    test.pin(leaf, false, "direct").await.unwrap();
    assert_eq!(test.state(leaf).await, Some((PinHow::Direct, "direct".to_owned())));
    assert_eq!(indirect().await, Some(PinHow::Indirect(Some(Box::new(root)))));
    test.pin(leaf, true, "recursive").await.unwrap();
    assert_eq!(indirect().await, None);
}

#[tokio::test]
async fn the_other_version_of_a_linked_cid_is_not_pinned() {
    let test = PinNode::new().await;
    let options = BlockPutOptions { codec: codec::DAG_PB, v0: true, ..BlockPutOptions::default() };
    let v0 = test.node.blocks().put("\x0a\x02\x08\x01".into(), options).await.unwrap().cid;
    let root = test.branch("root", &[v0]).await;
    test.pin(root, true, "").await.unwrap();
    assert_eq!(test.state(v0).await, PinNode::through(root));
    assert_eq!(test.state(other_version(&v0)).await, None);
    assert_eq!(test.state(Cid::new_v1(codec::RAW, *v0.hash())).await, None);
}

/// The same bytes have links as dag-cbor and none as raw: a raw link to them keeps the bytes, and nothing below.
#[tokio::test]
async fn a_parent_that_is_reached_as_raw_bytes_passes_nothing_on() {
    let test = PinNode::new().await;
    let leaf = test.leaf("leaf").await;
    let inner = test.branch("inner", &[leaf]).await;
    let as_raw = Cid::new_v1(codec::RAW, *inner.hash());
    let root = test.branch("root", &[as_raw]).await;
    test.pin(root, true, "").await.unwrap();
    assert_eq!(test.state(as_raw).await, PinNode::through(root));
    assert_eq!(test.state(inner).await, None);
    assert_eq!(test.state(leaf).await, None);
    test.pin(inner, true, "").await.unwrap();
    assert_eq!(test.state(leaf).await, PinNode::through(inner));
}

/// A block inside its parent's link has no record of its parents: such CIDs are looked for from above.
#[tokio::test]
async fn what_lies_in_its_own_cid_and_what_that_links_to_is_found() {
    let test = PinNode::new().await;
    let options = BlockPutOptions { hash: HashKind::Identity, ..BlockPutOptions::default() };
    let inlined = test.node.blocks().put("tiny".into(), options).await.unwrap().cid;
    let root = test.branch("root", &[inlined]).await;
    assert_eq!(test.state(inlined).await, None);
    test.pin(root, true, "").await.unwrap();
    assert_eq!(test.state(inlined).await, PinNode::through(root));
}

/// A block that very many others link to, none of which anybody keeps: the climb gives up at its cap, and looking from
/// above gives the same answer.
#[tokio::test]
async fn more_dead_parents_than_are_climbed_do_not_change_the_answer() {
    let test = PinNode::new().await;
    let leaf = test.leaf("popular").await;
    let parents: Vec<u32> = (0..ANCESTORS_MAX as u32 + 100).collect();
    let builder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
    for part in parents.chunks(20_000) {
        let writer = test.node.store().writer();
        let blocks = part.iter().map(|number| {
            // {"l": the leaf, "n": the number}
            let link = [&[0xa2, 0x61, b'l', 0xd8, 0x2a, 0x58, 37, 0], leaf.to_bytes().as_slice()].concat();
            let bytes = [link.as_slice(), &[0x61, b'n', 0x1a], &number.to_be_bytes()].concat();
            Block::trusted(builder.cid_of(codec::DAG_CBOR, &[&bytes]), bytes)
        });
        writer.put(blocks.collect::<Vec<_>>()).unwrap();
        writer.commit(&[]).unwrap();
    }
    assert_eq!(test.state(leaf).await, None);
    let root = test.branch("the one that is pinned", &[leaf]).await;
    test.pin(root, true, "").await.unwrap();
    assert_eq!(test.state(leaf).await, PinNode::through(root));
}
