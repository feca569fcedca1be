//! Everything that reads, on a node that has nothing.

use futures_util::TryStreamExt as _;
use holdfast::services::dag::DagStats;
use holdfast::services::unixfs::{ExtractOptions, GetOptions, LsOptions};
use holdfast_dag::path::ContentPath;
use holdfast_dag::read::RefsOptions;

use crate::support::{TestNode, cat, file, map, noise, soon, tree, until};

#[tokio::test]
async fn a_file_is_read_whatever_order_its_blocks_come_in_and_is_here_afterwards() {
    let (_from, root, dag) = file(10_000_000, 1).await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    assert!(soon(to.cat(root)).await.unwrap() == noise(10_000_000, 1));
    until("what was read is kept", async || to.count(&dag).await == dag.len()).await;
    let given = peers.script().given.len();
    assert_eq!(given, dag.len(), "each block comes once");
    let offline = to.node.for_request(true);
    assert!(cat(&offline, root).await.unwrap() == noise(10_000_000, 1));
    assert_eq!(peers.script().given.len(), given);
    let counts = to.node.fetch().counts();
    assert_eq!(counts.fetched, dag.len() as u64);
}

#[tokio::test]
async fn one_request_asks_in_one_session() {
    let (_from, root, dag) = file(3_000_000, 2).await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    let request = to.node.for_request(false);
    let path = ContentPath::of_cid(root);
    let cid = request.resolve_block(&path).await.unwrap();
    assert!(soon(cat(&request, cid)).await.unwrap() == noise(3_000_000, 2));
    assert_eq!(peers.script().sessions, 1);
}

#[tokio::test]
async fn trees_are_listed_exported_extracted_and_counted() {
    let (from, root, dag) = tree().await;
    let path = ContentPath::of_cid(root);

    let (to, _) = TestNode::asking(map(&dag)).await;
    assert!(soon(to.export(root)).await == from.export(root).await);

    let (to, _) = TestNode::asking(map(&dag)).await;
    let all = RefsOptions { recursive: true, ..RefsOptions::default() };
    let refs: Vec<_> = soon(to.node.refs(vec![root], all).try_collect()).await.unwrap();
    let expected: Vec<_> = from.node.refs(vec![root], all).try_collect().await.unwrap();
    assert_eq!(refs, expected);

    let (to, _) = TestNode::asking(map(&dag)).await;
    let options = LsOptions { resolve_type: true, size: true };
    let entries: Vec<_> =
        soon(to.node.unixfs().ls(&path, options).await.unwrap().try_collect()).await.unwrap();
    let expected: Vec<_> = from.node.unixfs().ls(&path, options).await.unwrap().try_collect().await.unwrap();
    assert_eq!(entries, expected);

    let (to, _) = TestNode::asking(map(&dag)).await;
    let options = GetOptions { name: "x".to_owned(), archive: true, ..GetOptions::default() };
    let get = async |test: &TestNode| {
        let tar = test.node.unixfs().get(&path, options.clone()).await.unwrap();
        tar.try_collect::<Vec<_>>().await.unwrap().concat().len()
    };
    assert_eq!(soon(get(&to)).await, get(&from).await);

    let (to, _) = TestNode::asking(map(&dag)).await;
    let options = ExtractOptions { target: to.path("out"), name: "x".to_owned() };
    let steps: Vec<u64> = soon(to.node.unixfs().extract(&path, options).try_collect()).await.unwrap();
    assert_eq!(steps.iter().sum::<u64>(), 3_000_000 + 60 * 1_500 + 4);
    assert!(std::fs::read(to.path("out/large")).unwrap() == noise(3_000_000, 1));
    assert_eq!(std::fs::read(to.path("out/deep/er/leaf")).unwrap(), b"leaf");

    let (to, _) = TestNode::asking(map(&dag)).await;
    let counted: Vec<DagStats> = soon(to.node.dag().stat(vec![root]).try_collect()).await.unwrap();
    let expected: Vec<DagStats> = from.node.dag().stat(vec![root]).try_collect().await.unwrap();
    assert_eq!(counted.last(), expected.last());
    assert_eq!(counted.last().unwrap().unique_blocks, dag.len() as u64);
}

#[tokio::test]
async fn single_blocks_and_paths_into_them_are_found() {
    let (_from, root, dag) = tree().await;
    let (to, _) = TestNode::asking(map(&dag)).await;
    let path = ContentPath::parse(&format!("/ipfs/{root}/deep/er/leaf")).unwrap();
    let leaf = soon(to.node.resolve_block(&path)).await.unwrap();
    let expected = dag.iter().find(|(cid, _)| *cid == leaf).unwrap();
    assert_eq!(soon(to.node.blocks().get(&leaf)).await.unwrap(), expected.1);
    let (other, bytes) = dag.last().unwrap();
    assert_eq!(soon(to.node.blocks().stat(other)).await.unwrap().size, bytes.len() as u64);
    let json = soon(to.node.dag().get(&ContentPath::of_cid(root), holdfast_dag::cid::codec::DAG_JSON)).await;
    assert!(String::from_utf8(json.unwrap()).unwrap().contains("large"));
}

#[tokio::test]
async fn what_is_asked_for_at_a_time_is_bounded_and_grows_with_reading() {
    const MIB: u64 = 1 << 20;
    let (_from, root, dag) = file(96 << 20, 3).await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    // Of all leaves none comes: what is asked for is what a reader that has just begun may ask for.
    let leaves = dag.iter().filter(|(_, data)| data.len() > 200 << 10).map(|(cid, _)| *cid);
    peers.change(|script| script.held = leaves.collect());
    let node = to.node.clone();
    let reading = tokio::spawn(async move { cat(&node, root).await });
    until("the window is full", async || peers.script().outstanding_bytes_max >= 4 * MIB).await;
    let first = peers.script().outstanding_bytes_max;
    assert!(first <= 9 * MIB, "{first}");
    peers.change(|script| script.held.clear());
    assert!(soon(reading).await.unwrap().unwrap() == noise(96 << 20, 3));
    let most = peers.script().outstanding_bytes_max;
    assert!((first..=34 * MIB).contains(&most), "{most}");
}

#[tokio::test]
async fn a_request_that_is_offline_asks_nobody() {
    let (_from, root, dag) = file(1_000_000, 4).await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    let words = cat(&to.node.for_request(true), root).await.unwrap_err();
    assert_eq!(words, format!("block was not found locally (offline): ipld: could not find {root}"));
    assert_eq!(peers.script().sessions, 0);
    to.node.fetch().set_exchange(None);
    assert_eq!(to.cat(root).await.unwrap_err(), words);
}
