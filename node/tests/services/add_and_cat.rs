//! A file goes in and comes out again, whole or in parts; adding it again writes nothing.

use holdfast::services::unixfs::add::{AddEvent, AddOptions, Body, DiskSource, Entry, Root, WalkOptions};
use holdfast::services::unixfs::{CatError, CatOptions};
use holdfast_dag::import::ImportParams;
use holdfast_dag::path::ContentPath;

use crate::support::{TestNode, noise};

#[tokio::test]
async fn what_was_added_is_read_back() {
    let test = TestNode::new().await;
    for (index, bytes) in [0, 1, 262_144, 262_145, 1 << 20, (1 << 20) + 1, 50_000_000].into_iter().enumerate()
    {
        for import in [ImportParams::unixfs_v0_2015(), ImportParams::unixfs_v1_2025()] {
            let content = noise(bytes, index as u64);
            let path = test.write("file", &content);
            let added = test.add(&path, AddOptions { import, ..AddOptions::default() }).await;
            assert_eq!(added.len(), 1);
            assert_eq!(added[0].name, "file");
            assert!(test.is_pinned(added[0].cid).await);
            assert!(test.cat(added[0].cid, CatOptions::default()).await == content, "{bytes} bytes differ");
        }
    }
}

#[tokio::test]
async fn parts_of_files_are_the_parts_of_their_bytes() {
    let test = TestNode::new().await;
    let content = noise(3_000_000, 7);
    let root = test.add(&test.write("file", &content), AddOptions::default()).await[0].cid;
    for (offset, length) in
        [(0, 0), (0, 1), (262_143, 2), (1_000_000, 1_000_000), (2_999_999, 9), (4_000_000, 1)]
    {
        let part = test.cat(root, CatOptions { offset, length: Some(length) }).await;
        let from = usize::try_from(offset).unwrap().min(content.len());
        let to = usize::try_from(offset + length).unwrap().min(content.len());
        assert!(part == content[from..to], "{offset} {length}");
    }
    let twice = [ContentPath::of_cid(root), ContentPath::of_cid(root)];
    let options = CatOptions { offset: 2_999_990, length: Some(20) };
    let file = test.node.unixfs().cat(&twice, options).await.unwrap();
    assert_eq!(file.length(), 20);
    let bytes: Vec<_> = futures_util::TryStreamExt::try_collect(file).await.unwrap();
    assert_eq!(bytes.concat(), [&content[2_999_990..], &content[..10]].concat());
}

#[tokio::test]
async fn a_second_add_writes_nothing() {
    let test = TestNode::new().await;
    let path = test.write("file", noise(20_000_000, 1));
    let first = test.add(&path, AddOptions::default()).await;
    let before = test.node.repo_stat().await.unwrap();
    let second = test.add(&path, AddOptions::default()).await;
    let after = test.node.repo_stat().await.unwrap();
    assert_eq!(first, second);
    assert_eq!((before.blocks, before.block_bytes), (after.blocks, after.block_bytes));
}

#[tokio::test]
async fn hashing_only_gives_the_same_name_and_stores_nothing() {
    let test = TestNode::new().await;
    let path = test.write("file", noise(5_000_000, 2));
    let options = AddOptions { only_hash: true, ..AddOptions::default() };
    let hashed = test.add(&path, options).await[0].cid;
    assert_eq!(test.block_count().await, 0);
    assert!(!test.is_pinned(hashed).await);
    assert_eq!(test.add(&path, AddOptions::default()).await[0].cid, hashed);
}

#[tokio::test]
async fn progress_is_told_as_kubo_does() {
    let test = TestNode::new().await;
    let path = test.write("f", vec![b'z'; 600_000]);
    let source = DiskSource::new(vec![Root::Path(path)], WalkOptions::default()).unwrap();
    let options = AddOptions { progress: true, ..AddOptions::default() };
    let (events, end) = test.events(source, options).await;
    end.unwrap();
    let AddEvent::Added(added) = &events[3] else { panic!("{events:?}") };
    assert_eq!(added.cid.to_string(), "QmRJtuzk1aMKRJm9bh25c9obCHp32h7bs2H5pE6hmxs6TR");
    assert_eq!(added.size, 600_194);
    let progress = |bytes| AddEvent::Progress { name: "f".to_owned(), bytes };
    assert_eq!(events[..3], [progress(262_144), progress(524_288), progress(600_000)]);
}

#[tokio::test]
async fn streams_without_a_name_are_called_by_their_cid() {
    let test = TestNode::new().await;
    let entry =
        |text: &'static str| Entry::new("", Body::Reader { reader: Box::new(text.as_bytes()), size: None });
    let source = vec![entry("from stdin")].into_iter().fuse();
    let (added, end) = test.add_source(source, AddOptions::default()).await;
    end.unwrap();
    assert_eq!(added[0].name, "QmVjZXZ4jRVU87LfGBDRE89DhkPVBs4PfjnK1a9HA9mQUV");
    let named = Entry { path: b"x.txt".to_vec(), ..entry("from stdin") };
    let options = AddOptions { wrap: true, ..AddOptions::default() };
    let (added, end) = test.add_source(vec![named].into_iter().fuse(), options).await;
    end.unwrap();
    let names: Vec<_> = added.iter().map(|added| (added.name.as_str(), added.cid.to_string())).collect();
    assert_eq!(
        names,
        [
            ("x.txt", "QmVjZXZ4jRVU87LfGBDRE89DhkPVBs4PfjnK1a9HA9mQUV".to_owned()),
            ("", "QmfTLwvxL4NDy4nuNMBfrkwm2r8yjfpoA9PCTB9ccYZiB7".to_owned())
        ]
    );
    assert!(test.is_pinned(added[1].cid).await);
}

#[tokio::test]
async fn what_is_no_file_is_refused_in_kubos_words() {
    let test = TestNode::new().await;
    test.write("dir/a", "a");
    let root = test.add(&test.path("dir"), AddOptions::default()).await.pop().unwrap().cid;
    let cat = |path: String| {
        let node = test.node.clone();
        async move {
            let path = ContentPath::parse_user(&path).unwrap();
            node.unixfs().cat(&[path], CatOptions::default()).await.err().map(|error| error.to_string())
        }
    };
    assert_eq!(cat(root.to_string()).await.as_deref(), Some("this dag node is a directory"));
    let no_link = format!("no link named \"nope\" under {root}");
    assert_eq!(cat(format!("/ipfs/{root}/nope")).await, Some(no_link));
    let missing = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";
    let words = format!("block was not found locally (offline): ipld: could not find {missing}");
    assert_eq!(cat(missing.to_owned()).await, Some(words));
    assert!(cat(format!("/ipfs/{root}/a")).await.is_none());
    let error = test.node.unixfs().cat(&[ContentPath::of_cid(root)], CatOptions::default()).await.err();
    assert!(matches!(error, Some(CatError::IsDirectory)));
}
