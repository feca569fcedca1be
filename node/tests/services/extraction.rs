//! A hostile DAG cannot write outside of the folder that it is extracted into.

use std::os::unix::fs::symlink;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use holdfast::services::blocks::BlockPutOptions;
use holdfast::services::unixfs::ExtractOptions;
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::path::ContentPath;
use holdfast_dag::pb::{PbLinkRef, PbNodeRef, encode};
use holdfast_dag::unixfs::{NodeType, UnixFs};

use crate::support::TestNode;

async fn put(test: &TestNode, codec: u64, block: Vec<u8>) -> Cid {
    let options = BlockPutOptions { codec, ..BlockPutOptions::default() };
    test.node.blocks().put(Bytes::from(block), options).await.unwrap().cid
}

async fn directory(test: &TestNode, entries: &[(&str, Cid)]) -> Cid {
    let links = entries
        .iter()
        .map(|(name, cid)| PbLinkRef { cid: *cid, name: Some(name.as_bytes()), tsize: Some(1) })
        .collect();
    let data = UnixFs::new(NodeType::Directory).encode();
    put(test, codec::DAG_PB, encode(&PbNodeRef { links, data: Some(&data) })).await
}

async fn link(test: &TestNode, target: &str) -> Cid {
    let message = UnixFs { data: Some(target.as_bytes()), ..UnixFs::new(NodeType::Symlink) };
    put(test, codec::DAG_PB, encode(&PbNodeRef { links: Vec::new(), data: Some(&message.encode()) })).await
}

async fn extract(test: &TestNode, root: Cid, target: &str) -> Result<(), String> {
    let options = ExtractOptions { target: test.path(target), name: "file".to_owned() };
    let stream = test.node.unixfs().extract(&ContentPath::of_cid(root), options);
    stream.try_collect::<Vec<_>>().await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused() {
    let test = TestNode::new().await;
    let file = put(&test, codec::RAW, b"evil".to_vec()).await;
    for name in ["..", ".", "", "../escaped", "a/../../escaped", "/escaped", "a\0b"] {
        let root = directory(&test, &[(name, file)]).await;
        assert!(extract(&test, root, "out").await.is_err(), "{name:?}");
        let inner = directory(&test, &[("deep", root)]).await;
        // One step up from the second level is still inside.
        assert_eq!(extract(&test, inner, "out").await.is_err(), name != "../escaped", "{name:?}");
    }
    assert!(test.path("out/escaped").exists());
    assert!(!test.path("escaped").exists());
}

#[tokio::test]
async fn links_of_the_dag_are_not_followed() {
    let test = TestNode::new().await;
    std::fs::create_dir(test.path("outside")).unwrap();
    let file = put(&test, codec::RAW, b"evil".to_vec()).await;
    let outside = link(&test, test.path("outside").to_str().unwrap()).await;
    let inner = directory(&test, &[("evil", file)]).await;
    // The same name twice: first a link out, then a directory that would be written through it.
    let root = directory(&test, &[("x", outside), ("x", inner)]).await;
    let refused = extract(&test, root, "out").await.unwrap_err();
    assert!(refused.contains("cannot extract to symlink"), "{refused}");
    assert_eq!(std::fs::read_dir(test.path("outside")).unwrap().count(), 0);
    // A link out, then a file of its name.
    let target = link(&test, test.path("outside/evil").to_str().unwrap()).await;
    let root = directory(&test, &[("y", target), ("y", file)]).await;
    extract(&test, root, "out").await.unwrap();
    assert!(!test.path("outside/evil").exists());
    assert_eq!(std::fs::read(test.path("out/y")).unwrap(), b"evil");
}

#[tokio::test]
async fn links_that_lie_in_the_way_of_files_are_replaced_and_of_folders_refused() {
    let test = TestNode::new().await;
    std::fs::create_dir_all(test.path("outside")).unwrap();
    let victim = test.write("outside/victim", "precious");
    std::fs::create_dir(test.path("out")).unwrap();
    symlink(&victim, test.path("out/file")).unwrap();
    symlink(test.path("outside"), test.path("out/dir")).unwrap();
    let file = put(&test, codec::RAW, b"new".to_vec()).await;
    let root = directory(&test, &[("file", file)]).await;
    extract(&test, root, "out").await.unwrap();
    assert_eq!(std::fs::read(test.path("out/file")).unwrap(), b"new");
    let inner = directory(&test, &[("victim", file)]).await;
    let root = directory(&test, &[("dir", inner)]).await;
    let refused = extract(&test, root, "out").await.unwrap_err();
    assert!(refused.contains("cannot extract to symlink"), "{refused}");
    assert!(test.path("out/dir").is_symlink());
    assert_eq!(std::fs::read(victim).unwrap(), b"precious");
}
