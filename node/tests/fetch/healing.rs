//! Damaged blocks, where somebody else has them too.

use std::fs;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use holdfast::services::verify::{Damage, Verified, VerifyParams};
use holdfast_dag::cid::Cid;

use crate::peers::Peers;
use crate::support::{TestNode, map, noise, soon};

/// A node with a pinned file, each of whose leaves that are named is damaged on disk.
async fn damaged(leaves: &[usize]) -> (TestNode, Cid, Vec<(Cid, bytes::Bytes)>) {
    let test = TestNode::new().await;
    test.write("file", noise(1_500_000, 1));
    let root = test.add("file").await;
    let dag = test.dag(root).await;
    let TestNode { node, folder } = test;
    node.close().await.unwrap();
    let segments: Vec<_> = fs::read_dir(folder.path().join("repo/segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    for leaf in leaves {
        let data = &dag[*leaf].1;
        let hit = segments.iter().find_map(|path| {
            let bytes = fs::read(path).unwrap();
            let at = bytes.windows(64).position(|window| window == &data[1000..1064])?;
            Some((path, bytes, at))
        });
        let (path, mut bytes, at) = hit.unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let node =
        holdfast::Node::builder().repo(folder.path().join("repo")).maintenance(false).open().await.unwrap();
    (TestNode { node, folder }, root, dag)
}

async fn damages(test: &TestNode, params: VerifyParams) -> Vec<(Cid, Damage)> {
    let events: Vec<Verified> = soon(test.node.repo_verify(params).try_collect()).await.unwrap();
    let damages = events.into_iter().filter_map(|event| match event {
        Verified::Block { cid, damage: Some((_, damage)), .. } => Some((cid, damage)),
        _ => None,
    });
    damages.collect()
}

fn healing() -> VerifyParams {
    VerifyParams { drop_damaged: true, heal: Some(Duration::from_secs(2)), ..VerifyParams::default() }
}

#[tokio::test]
async fn another_copy_takes_the_place_of_a_damaged_block_and_only_what_nobody_has_is_removed() {
    let (test, root, dag) = damaged(&[1, 3]).await;
    let (first, lost) = (dag[1].0, dag[3].0);
    let peers = Peers::with(raw(&dag[..3]));
    test.ask(&peers);
    let mut damages = damages(&test, healing()).await;
    damages.sort_by_key(|(cid, _)| *cid.hash() == *lost.hash());
    assert_eq!(damages.len(), 2);
    assert_eq!((damages[0].0.hash(), &damages[0].1), (first.hash(), &Damage::Healed));
    assert_eq!(damages[1].0.hash(), lost.hash());
    let Damage::Unhealed(why) = &damages[1].1 else { panic!("{damages:?}") };
    assert!(why.starts_with("context deadline exceeded: block "), "{why}");
    assert!(!test.has(lost).await);
    assert!(test.has(first).await);
    // The removed one comes when it is read.
    test.ask(&Peers::with(map(&dag)));
    assert!(soon(test.cat(root)).await.unwrap() == noise(1_500_000, 1));
    assert!(self::damages(&test, VerifyParams::default()).await.is_empty());
}

#[tokio::test]
async fn a_reader_that_meets_damage_gets_the_block_elsewhere_and_it_is_repaired() {
    let (test, root, dag) = damaged(&[2]).await;
    assert!(test.cat(root).await.unwrap_err().contains("is damaged on disk"));
    test.ask(&Peers::with(map(&dag)));
    assert!(soon(test.cat(root)).await.unwrap() == noise(1_500_000, 1));
    crate::support::until("it is repaired", async || {
        damages(&test, VerifyParams::default()).await.is_empty()
    })
    .await;
    test.node.fetch().set_exchange(None);
    assert!(test.cat(root).await.unwrap() == noise(1_500_000, 1));
}

/// The same blocks by the names under which a verification knows them.
fn raw(dag: &[(Cid, bytes::Bytes)]) -> std::collections::HashMap<Cid, bytes::Bytes> {
    dag.iter()
        .map(|(cid, data)| (Cid::new_v1(holdfast_dag::cid::codec::RAW, *cid.hash()), data.clone()))
        .collect()
}
