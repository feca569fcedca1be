//! Pins over what is elsewhere: a pin is there only once all of it is here and safe.

use futures_util::TryStreamExt as _;
use holdfast::services::gc::GcStep;
use holdfast::services::pins::{PinOptions, PinProgress};
use holdfast_blockstore::GcOptions;

use crate::support::{TestNode, cat, file, map, noise, soon, tree, until};

#[tokio::test]
async fn what_is_missing_comes_and_all_of_it_is_pinned() {
    let (_from, root, dag) = tree().await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    // A part is here: others give only the rest.
    let here: Vec<_> = dag.iter().step_by(3).cloned().collect();
    to.put(&here).await;
    let progress = PinProgress::default();
    let options = PinOptions { every_block: true, ..PinOptions::default() };
    soon(to.node.pins().add(root, options, &progress)).await.unwrap();
    assert!(to.is_pinned(root).await);
    assert_eq!(to.count(&dag).await, dag.len());
    assert_eq!(peers.script().given.len(), dag.len() - here.len());
    let bytes: u64 = dag.iter().map(|(_, data)| data.len() as u64).sum();
    assert_eq!((progress.nodes(), progress.bytes(), progress.missing()), (dag.len() as u64, bytes, 0));
    to.node.fetch().set_exchange(None);
    let verified: Vec<_> = to.node.pins().verify().try_collect().await.unwrap();
    assert!(verified.len() == 1 && verified[0].bad_nodes.is_empty(), "{verified:?}");
}

#[tokio::test]
async fn while_a_block_is_missing_there_is_no_pin_and_it_is_named() {
    let (_from, root, dag) = file(2_000_000, 1).await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    let last = dag.last().unwrap().0;
    peers.change(|script| {
        script.held.insert(last);
    });
    let (request, progress) = (to.node.for_request(false), PinProgress::default());
    let (pins, told) = (request.pins(), progress.clone());
    let adding = tokio::spawn(async move { pins.add(root, PinOptions::default(), &told).await });
    until("all but one have come", async || progress.nodes() == dag.len() as u64 - 1).await;
    assert_eq!(progress.missing(), 1);
    until("it waits", async || request.fetch().wait().is_some()).await;
    let wait = request.fetch().wait().unwrap();
    assert_eq!((wait.cid, wait.wanted, wait.tried.searches), (last, 1, 2));
    assert!(!to.is_pinned(root).await);
    peers.change(|script| script.held.clear());
    soon(adding).await.unwrap().unwrap();
    assert!(to.is_pinned(root).await);
    assert_eq!(request.fetch().wait(), None);
}

#[tokio::test]
async fn a_block_that_nobody_has_fails_the_pin_by_name() {
    let (_from, root, dag) = file(2_000_000, 2).await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    let lost = dag.last().unwrap().0;
    peers.change(|script| {
        script.given_up.insert(lost);
    });
    let error =
        soon(to.node.pins().add(root, PinOptions::default(), &PinProgress::default())).await.unwrap_err();
    let words = format!(
        "pin: ipld: could not find {lost}: 1 peer asked (12D3KooWTest), it does not have it, 2 searches for providers"
    );
    assert_eq!(error.to_string(), words);
    assert!(!to.is_pinned(root).await);
}

#[tokio::test]
async fn a_pin_that_nobody_waits_for_any_more_asks_for_nothing() {
    let (_from, root, dag) = file(2_000_000, 3).await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    let last = dag.last().unwrap().0;
    peers.change(|script| {
        script.held.insert(last);
    });
    let pins = to.node.pins();
    let adding =
        tokio::spawn(async move { pins.add(root, PinOptions::default(), &PinProgress::default()).await });
    until("it asks", async || peers.script().outstanding.contains_key(&last)).await;
    adding.abort();
    until("it asks no more", async || peers.script().outstanding.is_empty()).await;
    assert!(!to.is_pinned(root).await);
}

/// Collections that spare nothing by its age run one after the other while the blocks come one by one: what has come
/// is kept for the pin, which is whole in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collections_beside_a_pin_take_nothing_that_came_for_it() {
    let (_from, root, dag) = tree().await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    to.put(&dag[..dag.len() / 2]).await;
    peers.change(|script| script.given_max = Some(0));
    let pins = to.node.pins();
    let adding =
        tokio::spawn(async move { pins.add(root, PinOptions::default(), &PinProgress::default()).await });
    let (mut rounds, mut removed) = (0_u64, 0);
    while !adding.is_finished() {
        rounds += 1;
        assert!(rounds < 10_000);
        peers.change(|script| script.given_max = Some(rounds * 4));
        let steps: Vec<GcStep> = soon(to.node.repo_gc(GcOptions::default()).try_collect()).await.unwrap();
        removed += steps.iter().filter(|step| matches!(step, GcStep::Removed { .. })).count();
    }
    adding.await.unwrap().unwrap();
    assert!(rounds > 3, "{rounds} collections, {removed} blocks removed");
    assert_eq!(to.count(&dag).await, dag.len());
    to.node.fetch().set_exchange(None);
    let verified: Vec<_> = to.node.pins().verify().try_collect().await.unwrap();
    assert!(verified.len() == 1 && verified[0].bad_nodes.is_empty(), "{verified:?}");
}

#[tokio::test]
async fn a_direct_pin_fetches_its_block_alone() {
    let (_from, root, dag) = file(1_000_000, 4).await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    let options = PinOptions { recursive: false, ..PinOptions::default() };
    soon(to.node.pins().add(root, options, &PinProgress::default())).await.unwrap();
    assert_eq!(peers.script().given, [root]);
    assert!(to.is_pinned(root).await);
}

#[tokio::test]
async fn an_update_fetches_the_difference() {
    let from = TestNode::new().await;
    from.write("dir/same", noise(2_000_000, 5));
    from.write("dir/sub/other", noise(600_000, 6));
    let old = from.add("dir").await;
    from.write("dir/sub/other", noise(700_000, 7));
    let new = from.add("dir").await;
    let (old_dag, new_dag) = (from.dag(old).await, from.dag(new).await);
    let (to, peers) = TestNode::asking(map(&old_dag)).await;
    soon(to.node.pins().add(old, PinOptions::default(), &PinProgress::default())).await.unwrap();
    peers.change(|script| {
        script.blocks = map(&new_dag);
        script.given.clear();
    });
    soon(to.node.pins().update(old, new, true, &PinProgress::default())).await.unwrap();
    let is_new = |cid| !old_dag.iter().any(|(old, _)| *old == cid);
    assert!(peers.script().given.iter().all(|cid| is_new(*cid)));
    assert_eq!((to.is_pinned(old).await, to.is_pinned(new).await), (false, true));
    assert_eq!(to.count(&new_dag).await, new_dag.len());
}

#[tokio::test]
async fn what_a_reader_waits_for_comes_when_somebody_adds_it_here() {
    let (_from, root, _) = file(300_000, 8).await;
    let (to, peers) = TestNode::asking(std::collections::HashMap::new()).await;
    let node = to.node.clone();
    let reading = tokio::spawn(async move { cat(&node, root).await });
    until("it asks", async || peers.script().outstanding.contains_key(&root)).await;
    to.write("file", noise(300_000, 8));
    assert_eq!(to.add("file").await, root);
    assert!(soon(reading).await.unwrap().unwrap() == noise(300_000, 8));
}

#[tokio::test]
async fn what_is_added_between_a_look_and_the_question_to_others_is_read() {
    let (_from, root, _) = file(300_000, 8).await;
    let (to, _peers) = TestNode::asking(std::collections::HashMap::new()).await;
    let node = to.node.clone();
    let mut reading = Box::pin(cat(&node, root));
    assert!(futures_util::poll!(&mut reading).is_pending());
    until("it was looked for", async || node.fetch().counts().missing > 0).await;
    to.write("file", noise(300_000, 8));
    assert_eq!(to.add("file").await, root);
    assert!(soon(reading).await.unwrap() == noise(300_000, 8));
}
