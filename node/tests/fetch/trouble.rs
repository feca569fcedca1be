//! Blocks that are wrong or never come, and readers that go away.

use futures_util::StreamExt as _;
use holdfast::services::pins::{PinOptions, PinProgress};
use holdfast::services::unixfs::{CatOptions, ExtractOptions};

use crate::support::{TestNode, file, map, noise, soon, until};

#[tokio::test]
async fn bytes_that_do_not_match_are_neither_read_nor_stored() {
    let (_from, root, dag) = file(1_500_000, 1).await;
    let mut lying = map(&dag);
    let wrong = dag[2].0;
    lying.insert(wrong, bytes::Bytes::from(noise(262_144, 99)));
    let (to, peers) = TestNode::asking(lying).await;
    let words = soon(to.cat(root)).await.unwrap_err();
    assert!(words.starts_with(&format!("ipld: could not find {wrong}: ")), "{words}");
    assert!(!to.has(wrong).await);
    let progress = PinProgress::default();
    assert!(soon(to.node.pins().add(root, PinOptions::default(), &progress)).await.is_err());
    assert!(!to.has(wrong).await && !to.is_pinned(root).await);
    // Once somebody honest has it, all is well.
    peers.change(|script| script.blocks = map(&dag));
    assert!(soon(to.cat(root)).await.unwrap() == noise(1_500_000, 1));
}

#[tokio::test]
async fn a_reader_that_goes_away_asks_for_nothing_any_more() {
    let (_from, root, dag) = file(6_000_000, 2).await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    let held = dag[dag.len() / 2].0;
    peers.change(|script| {
        script.held.insert(held);
    });
    let mut reading = to.node.unixfs().cat_cids(&[root], CatOptions::default()).await.unwrap();
    assert!(soon(reading.next()).await.unwrap().is_ok());
    until("it asks for what is held", async || {
        let _ = futures_util::poll!(reading.next());
        peers.script().outstanding.contains_key(&held)
    })
    .await;
    drop(reading);
    assert!(peers.script().outstanding.is_empty());
}

#[tokio::test]
async fn an_extraction_that_nobody_waits_for_any_more_ends() {
    let (_from, root, dag) = file(3_000_000, 3).await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    let held = dag.last().unwrap().0;
    peers.change(|script| {
        script.held.insert(held);
    });
    let options = ExtractOptions { target: to.path("out"), name: "x".to_owned() };
    let mut extracting = to.node.unixfs().extract_cid(root, options);
    until("it asks for what is held", async || {
        let _ = futures_util::poll!(extracting.next());
        peers.script().outstanding.contains_key(&held)
    })
    .await;
    drop(extracting);
    until("it asks no more", async || peers.script().outstanding.is_empty()).await;
    soon(to.node.pool().idle()).await;
    assert!(!to.path("out").exists());
}
