//! What is left of the mutable file system when a node ends without warning, or its root cannot be read.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use holdfast::services::files::{CopyOptions, FilesError, MkdirOptions};
use holdfast_dag::cid::Cid;
use serde_json::json;

use crate::support::{Repo, files_root, get_file, mfs, names, put_file};

const UNFLUSHED: MkdirOptions = MkdirOptions { parents: false, cid: None, unflushed: true };

#[tokio::test]
async fn a_node_that_is_killed_has_its_last_flushed_tree() {
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    put_file(&node, "/kept", b"kept").await;
    let flushed = files_root(&node).await;
    node.files().mkdir(mfs("/lost"), UNFLUSHED).await.unwrap();
    node.files().mv(mfs("/kept"), mfs("/lost/kept"), false).await.unwrap();
    assert_eq!(names(&node, "/").await, ["lost"], "readers see it at once");
    assert_eq!(node.files().recorded().await.unwrap().current, Some(flushed));
    // Not closed: as if the process had ended.
    drop(node);
    let node = repo.open().await;
    assert_eq!(files_root(&node).await, flushed);
    assert_eq!(get_file(&node, "/kept").await, b"kept");
    // What comes before a flushed change is durable with it.
    node.files().mkdir(mfs("/a"), UNFLUSHED).await.unwrap();
    node.files().mkdir(mfs("/b"), MkdirOptions::default()).await.unwrap();
    node.files().mkdir(mfs("/c"), UNFLUSHED).await.unwrap();
    assert_eq!(node.files().flush(mfs("/c")).await.unwrap().to_string(), EMPTY_DIRECTORY);
    drop(node);
    let node = repo.open().await;
    assert_eq!(names(&node, "/").await, ["a", "b", "c", "kept"]);
    node.close().await.unwrap();
}

const EMPTY_DIRECTORY: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";

#[tokio::test]
async fn a_new_node_has_an_empty_root_named_as_its_config_says() {
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    assert_eq!(files_root(&node).await.to_string(), EMPTY_DIRECTORY);
    assert_eq!(node.files().recorded().await.unwrap().current, None, "looking records nothing");
    let repo = Repo::new(&[("Import", "CidVersion", json!(1)), ("Import", "HashFunction", json!("blake3"))]);
    let node = repo.open().await;
    assert_eq!(files_root(&node).await.hash().code(), 0x1e);
    put_file(&node, "/a", b"x").await;
    assert_eq!(files_root(&node).await.hash().code(), 0x1e);
    assert_eq!(get_file(&node, "/a").await, b"x");
    node.close().await.unwrap();
}

/// Flips a bit of a block where it is stored.
fn damage(repo: &Path, block: &[u8]) {
    for entry in std::fs::read_dir(repo.join("segments")).unwrap() {
        let path = entry.unwrap().path();
        let stored = std::fs::read(&path).unwrap();
        if let Some(at) = stored.windows(block.len()).position(|window| window == block) {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            let at = at + block.len() / 2;
            file.write_all_at(&[stored[at] ^ 0x10], at as u64).unwrap();
            return;
        }
    }
    panic!("the block is in no segment");
}

async fn block(node: &holdfast::Node, cid: Cid) -> Vec<u8> {
    node.blocks().get(&cid).await.unwrap().to_vec()
}

#[tokio::test]
async fn a_root_that_cannot_be_read_gives_way_to_the_one_before_it() {
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    put_file(&node, "/first", b"1").await;
    let before = files_root(&node).await;
    put_file(&node, "/second", b"2").await;
    let root = files_root(&node).await;
    let bytes = block(&node, root).await;
    node.close().await.unwrap();
    damage(&repo.path(), &bytes);

    let node = repo.open().await;
    assert_eq!(files_root(&node).await, before);
    assert_eq!(names(&node, "/").await, ["first"]);
    put_file(&node, "/third", b"3").await;
    let recorded = node.files().recorded().await.unwrap();
    assert_eq!(recorded.current, Some(files_root(&node).await));
    assert_eq!(recorded.previous, Some(before), "the bad root did not push out the good one");
    node.close().await.unwrap();
    let node = repo.open().await;
    assert_eq!(names(&node, "/").await, ["first", "third"]);
    node.close().await.unwrap();
}

#[tokio::test]
async fn without_a_sound_root_the_node_starts_with_an_empty_one() {
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    put_file(&node, "/only", b"1").await;
    let roots = node.files().recorded().await.unwrap();
    let mut blocks = vec![block(&node, roots.current.unwrap()).await];
    if let Some(previous) = roots.previous {
        blocks.push(block(&node, previous).await);
    }
    node.close().await.unwrap();
    for bytes in blocks {
        damage(&repo.path(), &bytes);
    }
    let node = repo.open().await;
    assert!(names(&node, "/").await.is_empty());
    put_file(&node, "/new", b"2").await;
    node.close().await.unwrap();
    assert_eq!(names(&repo.open().await, "/").await, ["new"]);
}

#[tokio::test]
async fn so_many_unflushed_changes_and_no_more() {
    let repo = Repo::new(&[("Internal", "MFSNoFlushLimit", json!(3))]);
    let node = repo.open().await;
    let mkdir = async |path: &str| node.files().mkdir(mfs(path), UNFLUSHED).await;
    for path in ["/1", "/2", "/3"] {
        mkdir(path).await.unwrap();
    }
    let refused = mkdir("/4").await.unwrap_err();
    assert!(matches!(refused, FilesError::UnflushedLimit(3)));
    assert!(
        refused.to_string().starts_with("reached limit of 3 unflushed MFS operations. To resolve: 1) run")
    );
    node.files().flush(mfs("/")).await.unwrap();
    mkdir("/4").await.unwrap();
    assert_eq!(names(&node, "/").await, ["1", "2", "3", "4"]);
    node.close().await.unwrap();
    // By default there are 256.
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    for number in 0..256 {
        node.files().mkdir(mfs(&format!("/{number}")), UNFLUSHED).await.unwrap();
    }
    let refused = node.files().mkdir(mfs("/more"), UNFLUSHED).await;
    assert!(matches!(refused, Err(FilesError::UnflushedLimit(256))));
    // A flushed change is always possible, and makes room.
    node.files().mkdir(mfs("/flushed"), MkdirOptions::default()).await.unwrap();
    node.files().mkdir(mfs("/more"), UNFLUSHED).await.unwrap();
}

#[tokio::test]
async fn a_copy_links_the_root_and_needs_nothing_below_it() {
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    put_file(&node, "/dir/sub/file", b"content").await;
    let dir = node.files().resolve(mfs("/dir")).await.unwrap();
    let file = node.files().resolve(mfs("/dir/sub/file")).await.unwrap();
    let bytes = block(&node, dir).await;
    node.close().await.unwrap();

    // Another node has the root block of the directory, and nothing else of it.
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    let options = holdfast::services::blocks::BlockPutOptions {
        codec: holdfast_dag::cid::codec::DAG_PB,
        v0: true,
        ..Default::default()
    };
    assert_eq!(node.blocks().put(bytes.into(), options).await.unwrap().cid, dir);
    node.files().link(dir, mfs("/lazy"), CopyOptions::default()).await.unwrap();
    node.files().mv(mfs("/lazy"), mfs("/moved"), true).await.unwrap();
    assert_eq!(names(&node, "/moved").await, ["sub"]);
    let locality = node.files().locality(dir).await.unwrap();
    assert!(!locality.complete && locality.bytes > 0);
    // What would need the rest says which block is missing, and changes nothing.
    let root = files_root(&node).await;
    let missing = node.files().mkdir(mfs("/moved/sub/new"), MkdirOptions::default()).await.unwrap_err();
    assert!(
        missing.to_string().starts_with("block was not found locally (offline): ipld: could not find Qm")
    );
    let missing = node.files().link(file, mfs("/file"), CopyOptions::default()).await.unwrap_err();
    assert!(missing.to_string().ends_with(&format!("could not find {file}")), "{missing}");
    assert_eq!(files_root(&node).await, root);
    node.files().remove(vec![mfs("/moved/sub")], false, true).await.unwrap().pop().unwrap().unwrap();
    assert!(names(&node, "/moved").await.is_empty());
    node.close().await.unwrap();
}

#[tokio::test]
async fn the_whole_tree_can_be_replaced_by_a_directory_that_is_here() {
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    put_file(&node, "/old/file", b"1").await;
    let root = files_root(&node).await;
    let old = node.files().resolve(mfs("/old")).await.unwrap();
    let file = node.files().resolve(mfs("/old/file")).await.unwrap();
    let changed = node.files().replace_root(Some(old)).await.unwrap();
    assert_eq!((changed.old, changed.new), (Some(root), old));
    assert_eq!(names(&node, "/").await, ["file"]);
    assert!(matches!(node.files().replace_root(Some(file)).await, Err(FilesError::BadRoot(_))));
    drop(node);
    let node = repo.open().await;
    assert_eq!(files_root(&node).await, old);
    node.files().replace_root(None).await.unwrap();
    assert!(names(&node, "/").await.is_empty());
    node.close().await.unwrap();
}
