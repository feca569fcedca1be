//! A tree goes in, with the events and CIDs that Kubo gives, and comes out again as it was.

use std::os::unix::fs::symlink;

use futures_util::TryStreamExt as _;
use holdfast::services::unixfs::add::{AddOptions, DiskSource, Root, WalkOptions};
use holdfast::services::unixfs::{ExtractOptions, LsKind, LsOptions};
use holdfast_dag::path::ContentPath;

use crate::support::{TestNode, noise};

/// The tree of the recorded answers of Kubo.
fn kubo_tree(test: &TestNode) {
    test.write("dir/a.txt", "aholdfast\n");
    test.write("dir/sub/b.txt", "bbholdfast\n");
    let counting: Vec<u8> = (0..20).flat_map(|_| 0..=255).chain(*b"holdfast").collect();
    test.write("dir/sub/deep/c.bin", counting);
    test.write("dir/.hidden", "hholdfast\n");
    symlink("a.txt", test.path("dir/link")).unwrap();
}

async fn add_with(test: &TestNode, walk: WalkOptions, options: AddOptions) -> Vec<(String, String)> {
    let walk = WalkOptions { recursive: true, ..walk };
    let source = DiskSource::new(vec![Root::Path(test.path("dir"))], walk).unwrap();
    let (added, end) = test.add_source(source, options).await;
    end.unwrap();
    added.into_iter().map(|added| (added.name, added.cid.to_string())).collect()
}

#[tokio::test]
async fn events_and_cids_are_those_of_kubo() {
    let test = TestNode::new().await;
    kubo_tree(&test);
    let added = add_with(&test, WalkOptions::default(), AddOptions::default()).await;
    let expected = [
        ("dir/a.txt", "QmZda7N2cvmo92Qteimyr7FXNmGsfChyWU3Gk4rqrDRvj8"),
        ("dir/link", "QmS9U51FvTAqDDVLJ5okMzeLjsEeg8JEG1rPmSq2oPahF6"),
        ("dir/sub/b.txt", "QmQ1C3SSqkfs1Fmg9bMe929JQdNZMZfEFHGx3TujZgeZ4y"),
        ("dir/sub/deep/c.bin", "QmV7xQ3zgHZvKdHWrHGcrXDZfoJitksaBYgpd6qTRorB8K"),
        ("dir/sub/deep", "QmdE3kNsMFqjKRW4zPwf5iEWNKCxsXYBun9TZxwzJgAQYg"),
        ("dir/sub", "QmbJJbGxpStAS7qq1Po2zUuMGTjpEtNRRxRMAWjwZkfw3p"),
        ("dir", "QmXWgNTNVyCmSoZxjaP6Z6TvuG53GLM7Zmzm6UvvuhYKyL"),
    ];
    assert_eq!(added, expected.map(|(name, cid)| (name.to_owned(), cid.to_owned())));
    let root_with =
        async |walk: WalkOptions| add_with(&test, walk, AddOptions::default()).await.pop().unwrap().1;
    let hidden = WalkOptions { hidden: true, ..WalkOptions::default() };
    assert_eq!(root_with(hidden).await, "QmPZMfqVEi2YarXpBbMs2cNVGSmHNj3sSjprRTtzb5Cu2T");
    let ignore = WalkOptions { ignore: vec!["a.txt".to_owned()], ..WalkOptions::default() };
    assert_eq!(root_with(ignore).await, "QmUc1LQrCiTtf4xx9igQkGDXRR1BCdDLSQrwCoBair7RDx");
    let followed = WalkOptions { dereference_symlinks: true, ..WalkOptions::default() };
    assert_eq!(root_with(followed).await, "QmcWhM7oMFg3YxJjCL9Sagcd7n58q3KaRNFwubfwMwEhWa");
}

#[tokio::test]
async fn empty_directories_are_left_out_on_demand() {
    let test = TestNode::new().await;
    test.write("dir/full/a", "a");
    std::fs::create_dir_all(test.path("dir/empty/inner")).unwrap();
    let names = async |empty_dirs| {
        let options = AddOptions { empty_dirs, ..AddOptions::default() };
        let added = add_with(&test, WalkOptions::default(), options).await;
        added.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(true).await, ["dir/full/a", "dir/empty/inner", "dir/empty", "dir/full", "dir"]);
    // As in Kubo, a directory that holds only an empty one is not empty itself.
    assert_eq!(names(false).await, ["dir/full/a", "dir/empty", "dir/full", "dir"]);
}

#[tokio::test]
async fn a_tree_comes_out_as_it_went_in() {
    let test = TestNode::new().await;
    kubo_tree(&test);
    for index in 0..300 {
        test.write(&format!("dir/many/{index}"), noise(index * 37, index as u64));
    }
    test.write("dir/sub/big", noise(7_000_000, 3));
    std::fs::create_dir_all(test.path("dir/none")).unwrap();
    let walk = WalkOptions { hidden: true, ..WalkOptions::default() };
    let root = add_with(&test, walk.clone(), AddOptions::default()).await.pop().unwrap().1;
    let path = ContentPath::parse_user(&root).unwrap();
    let target = test.path("out");
    let options = ExtractOptions { target: target.clone(), name: root.clone() };
    let written: Vec<u64> = test.node.unixfs().extract(&path, options.clone()).try_collect().await.unwrap();
    assert!(written.iter().sum::<u64>() > 7_000_000);
    assert_same(&test.path("dir"), &target);
    // Once more over what is there.
    test.node.unixfs().extract(&path, options).try_collect::<Vec<_>>().await.unwrap();
    assert_same(&test.path("dir"), &target);
}

fn assert_same(a: &std::path::Path, b: &std::path::Path) {
    let list = |path: &std::path::Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(list(a), list(b));
    for name in list(a) {
        let (a, b) = (a.join(&name), b.join(&name));
        let kind = a.symlink_metadata().unwrap().file_type();
        assert_eq!(kind, b.symlink_metadata().unwrap().file_type(), "{}", b.display());
        if kind.is_dir() {
            assert_same(&a, &b);
        } else if kind.is_symlink() {
            assert_eq!(a.read_link().unwrap(), b.read_link().unwrap());
        } else {
            assert!(std::fs::read(&a).unwrap() == std::fs::read(&b).unwrap(), "{} differs", b.display());
        }
    }
}

#[tokio::test]
async fn listings_tell_types_sizes_and_targets() {
    let test = TestNode::new().await;
    kubo_tree(&test);
    let root = add_with(&test, WalkOptions::default(), AddOptions::default()).await.pop().unwrap().1;
    let path = ContentPath::parse_user(&root).unwrap();
    let list = async |options| {
        let entries = test.node.unixfs().ls(&path, options).await.unwrap();
        entries.try_collect::<Vec<_>>().await.unwrap()
    };
    let entries = list(LsOptions::default()).await;
    let brief: Vec<_> = entries.iter().map(|entry| (&entry.name[..], entry.size, entry.kind)).collect();
    assert_eq!(
        brief,
        [
            (&b"a.txt"[..], 10, LsKind::File),
            (&b"link"[..], 5, LsKind::Symlink),
            (&b"sub"[..], 0, LsKind::Directory)
        ]
    );
    assert_eq!(entries[1].target, b"a.txt");
    let unresolved = list(LsOptions { resolve_type: false, size: false }).await;
    assert!(unresolved.iter().all(|entry| entry.kind == LsKind::Unknown && entry.size == 0));
}

#[tokio::test]
async fn modes_and_times_are_kept_on_demand() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let test = TestNode::new().await;
    let file = test.write("dir/a", "a");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let walk = WalkOptions { metadata: true, ..WalkOptions::default() };
    let options = AddOptions { preserve_mode: true, preserve_mtime: true, ..AddOptions::default() };
    let root = add_with(&test, walk, options).await.pop().unwrap().1;
    let path = ContentPath::parse_user(&root).unwrap();
    let target = ExtractOptions { target: test.path("out"), name: root };
    test.node.unixfs().extract(&path, target).try_collect::<Vec<_>>().await.unwrap();
    let (before, after) = (file.metadata().unwrap(), test.path("out/a").metadata().unwrap());
    assert_eq!(after.mode() & 0o777, 0o640);
    assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
}
