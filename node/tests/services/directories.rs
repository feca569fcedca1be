//! Directories with many entries: sharded, listed and resolved.

use futures_util::StreamExt as _;
use holdfast::services::unixfs::add::AddOptions;
use holdfast::services::unixfs::{CatOptions, LsKind, LsOptions};
use holdfast_dag::cid::codec;
use holdfast_dag::path::ContentPath;
use holdfast_dag::read::{NodeInfo, NodeKind};

use crate::support::TestNode;

#[tokio::test]
async fn a_large_directory_is_sharded_and_complete() {
    let test = TestNode::new().await;
    for index in 0..12_000 {
        test.write(&format!("dir/{index:05}"), index.to_string());
    }
    let added = test.add(&test.path("dir"), AddOptions::default()).await;
    assert_eq!(added.len(), 12_001);
    assert!(added[..12_000].iter().enumerate().all(|(index, added)| added.name == format!("dir/{index:05}")));
    let root = added[12_000].cid;
    assert_eq!(root.codec(), codec::DAG_PB);
    let info = NodeInfo::of(&root, &test.node.fetch().get(&root).await.unwrap()).unwrap();
    assert_eq!(info.kind, NodeKind::HamtShard);
    let entries = test.node.unixfs().ls_cid(&root, LsOptions::default()).await.unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| {
            assert_eq!(entry.kind, LsKind::File);
            String::from_utf8(entry.name).unwrap()
        })
        .collect()
        .await;
    names.sort();
    assert!(names.iter().enumerate().all(|(index, name)| *name == format!("{index:05}")));
    assert_eq!(names.len(), 12_000);
    let path = ContentPath::parse_user(&format!("{root}/07777")).unwrap();
    let cid = test.node.resolve_block(&path).await.unwrap();
    assert_eq!(test.cat(cid, CatOptions::default()).await, b"7777");
}
