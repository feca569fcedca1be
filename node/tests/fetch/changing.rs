//! The mutable file system and imports over DAGs of which a part is elsewhere.

use std::io::Read;

use futures_util::TryStreamExt as _;
use holdfast::services::dag::{ImportEvent, ImportOptions};
use holdfast::services::files::{CopyOptions, MfsPath, WriteOptions};
use holdfast_dag::car::{encode_header, encode_section_head};

use crate::support::{TestNode, map, noise, soon, tree};

fn mfs(path: &str) -> MfsPath {
    MfsPath::parse(path).unwrap()
}

async fn read(test: &TestNode, path: &str) -> Vec<u8> {
    let file = soon(test.node.files().read(mfs(path), 0, None)).await.unwrap();
    soon(file.try_collect::<Vec<_>>()).await.unwrap().concat()
}

#[tokio::test]
async fn a_tree_is_copied_by_its_root_alone_and_fetched_as_it_is_used() {
    let (_from, root, dag) = tree().await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    soon(to.node.files().link(root, mfs("/site"), CopyOptions::default())).await.unwrap();
    assert_eq!(peers.script().given, [root]);
    assert!(to.has(root).await, "what the tree links is stored");
    let here = to.node.files().locality(root).await.unwrap();
    assert_eq!(
        (here.complete, here.bytes),
        (false, dag[0].1.len() as u64),
        "nobody is asked to count what is here"
    );
    assert_eq!(peers.script().given, [root]);
    let names = soon(to.node.files().ls(mfs("/site/small"), true)).await.unwrap();
    assert_eq!(names.len(), 60);
    assert!(read(&to, "/site/large").await == noise(3_000_000, 1));
    // Changed in its middle: what is not changed is fetched where it is needed.
    let options = WriteOptions { offset: 1_000_000, ..WriteOptions::default() };
    soon(to.node.files().write(mfs("/site/small/7"), WriteOptions::default(), &b"new"[..])).await.unwrap();
    soon(to.node.files().write(mfs("/site/large"), options, &b"changed"[..])).await.unwrap();
    let mut expected = noise(3_000_000, 1);
    expected[1_000_000..1_000_007].copy_from_slice(b"changed");
    assert!(read(&to, "/site/large").await == expected);
    soon(to.node.files().mv(mfs("/site/deep/er"), mfs("/moved"), true)).await.unwrap();
    assert_eq!(read(&to, "/moved/leaf").await, b"leaf");
}

#[tokio::test]
async fn an_archive_without_all_blocks_is_pinned_once_the_others_have_come() {
    let (_from, root, dag) = tree().await;
    let (to, peers) = TestNode::asking(map(&dag)).await;
    let mut car = encode_header(&[root]);
    for (cid, data) in dag.iter().step_by(2) {
        car.extend_from_slice(&encode_section_head(cid, data.len()));
        car.extend_from_slice(data);
    }
    let archive: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(car));
    let import = to.node.dag().import(std::iter::once(Ok(archive)), ImportOptions::default());
    let events: Vec<ImportEvent> = soon(import.try_collect()).await.unwrap();
    assert_eq!(events, [ImportEvent::Root { cid: root, error: None }]);
    assert!(to.is_pinned(root).await);
    assert_eq!(to.count(&dag).await, dag.len());
    assert_eq!(peers.script().given.len(), dag.len() / 2);
}
