//! What is kept of what came, and who is told.

use std::collections::HashSet;

use holdfast::services::pins::{PinOptions, PinProgress};
use holdfast_dag::cid::Cid;
use serde_json::json;

use crate::peers::Peers;
use crate::support::{TestNode, file, map, noise, soon, until};

#[tokio::test]
async fn the_exchange_is_told_of_every_block_that_is_here_now() {
    let (_from, root, dag) = file(2_000_000, 1).await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    soon(to.cat(root)).await.unwrap();
    let told = |peers: &Peers| peers.script().told.iter().map(|(cid, _)| *cid).collect::<HashSet<Cid>>();
    until("fetched blocks are told", async || dag.iter().all(|(cid, _)| told(&peers).contains(cid))).await;
    to.write("own", noise(600_000, 2));
    let own = to.add("own").await;
    let own = to.dag(own).await;
    assert!(own.iter().all(|(cid, _)| told(&peers).contains(cid)), "and those that are added");
    let sizes: u64 = peers.script().told.iter().map(|(_, bytes)| bytes).sum();
    let bytes: usize = dag.iter().chain(&own).map(|(_, data)| data.len()).sum();
    assert_eq!(sizes, bytes as u64, "each once");
}

/// The limit is met by what is pinned: reading goes on, and a pin is refused in the words of every other add.
#[tokio::test]
async fn beyond_the_storage_limit_reading_goes_on_and_pinning_is_refused() {
    let (_from, root, dag) = file(12_000_000, 3).await;
    let to = TestNode::with(&[("StorageMax", json!("3MB"))]).await;
    to.write("own", noise(1_500_000, 4));
    to.add("own").await;
    let peers = Peers::with(map(&dag));
    to.ask(&peers);
    assert!(soon(to.cat(root)).await.unwrap() == noise(12_000_000, 3));
    let error =
        soon(to.node.pins().add(root, PinOptions::default(), &PinProgress::default())).await.unwrap_err();
    assert!(error.to_string().starts_with("pin: storage limit reached: "), "{error}");
    assert!(!to.is_pinned(root).await);
}

#[tokio::test]
async fn what_was_fetched_survives_a_restart_of_the_node_and_an_unpinned_rest_is_garbage() {
    use futures_util::TryStreamExt as _;
    let (_from, root, dag) = file(2_000_000, 5).await;
    let (to, _) = TestNode::asking(map(&dag)).await;
    soon(to.cat(root)).await.unwrap();
    let TestNode { node, folder } = to;
    node.close().await.unwrap();
    let node =
        holdfast::Node::builder().repo(folder.path().join("repo")).maintenance(false).open().await.unwrap();
    let to = TestNode { node, folder };
    assert!(to.cat(root).await.unwrap() == noise(2_000_000, 5));
    let options = holdfast_blockstore::GcOptions::default();
    let _: Vec<_> = to.node.repo_gc(options).try_collect().await.unwrap();
    assert_eq!(to.count(&dag).await, 0);
}
