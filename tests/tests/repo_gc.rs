//! `repo gc` at the command line, and the storage limit of processes that end at once.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::run::Node;

fn add(node: &Node, folder: &Path, seed: u64, bytes: u64, pin: bool) -> String {
    let file = folder.join(format!("file{seed}"));
    fs::write(&file, noise(seed, bytes)).unwrap();
    let pin = format!("--pin={pin}");
    node.run(["add", "-Q", &pin, file.to_str().unwrap()]).ok().cid()
}

#[test]
fn options_and_outputs() {
    let dir = temporary("gc");
    let node = Node::init(&dir.path().join("repo"));
    let garbage = || add(&node, dir.path(), 1, 600_000, false);
    let kept = add(&node, dir.path(), 2, 600_000, true);
    let lines = |out: &str| out.lines().map(str::to_owned).collect::<Vec<_>>();
    let blocks = || node.run(["refs", "local"]).ok().out().lines().count();

    // What `init` brings is pinned, or not there.
    node.run(["repo", "gc"]).ok();
    let before = blocks();
    garbage();
    let dry = lines(&node.run(["repo", "gc", "--dry-run"]).ok().out());
    assert_eq!(dry.len(), 4, "three leaves and their root: {dry:?}");
    assert!(dry.iter().all(|line| line.starts_with("would remove bafk")), "{dry:?}");
    assert_eq!(blocks(), before + 4);
    let removed = lines(&node.run(["repo", "gc"]).ok().out());
    assert_eq!(removed.len(), 4);
    assert!(removed.iter().all(|line| line.starts_with("removed bafkrei")), "{removed:?}");
    assert_eq!(blocks(), before);

    garbage();
    let quiet = lines(&node.run(["repo", "gc", "-q"]).ok().out());
    assert!(quiet.len() == 4 && quiet.iter().all(|line| line.starts_with("bafkrei")), "{quiet:?}");
    garbage();
    assert_eq!(node.run(["repo", "gc", "--silent"]).ok().out(), "");
    assert_eq!(blocks(), before);
    garbage();
    let json = node.run(["repo", "gc", "--enc=json"]).ok().out();
    assert_eq!(json.lines().count(), 4);
    assert!(json.lines().all(|line| line.starts_with("{\"Key\":{\"/\":\"bafkrei")), "{json}");
    garbage();
    let report = node.run(["repo", "gc", "-q", "--report"]).ok().out();
    let last = report.lines().last().unwrap();
    assert!(last.starts_with("4 blocks of ") && last.contains(" removed, "), "{last}");
    assert_eq!(node.run(["cat", &kept]).ok().stdout, noise(2, 600_000));
}

/// The multihashes below a root, or of all that is stored, as raw CIDv1s: blocks go by multihash.
fn blocks(node: &Node, root: Option<&str>) -> BTreeSet<String> {
    let listed = match root {
        None => node.run(["refs", "local"]),
        Some(root) => node.run(["refs", "-r", "-u", root]),
    };
    let out = listed.ok().out();
    let cids = root.into_iter().chain(out.lines());
    let words: Vec<&str> =
        ["cid", "format", "-v", "1", "-b", "base32", "--mc", "raw"].into_iter().chain(cids).collect();
    node.run(words).ok().out().lines().map(str::to_owned).collect()
}

/// Two pinned folders share a file, a third file of the first is in the mutable file system, and something nobody keeps
/// lies beside them. Unpinning the first with `--gc` takes what is its own, and nothing else.
#[test]
fn what_only_the_pin_held_goes_with_it() {
    let dir = temporary("gc-unpin");
    let node = Node::init(&dir.path().join("repo"));
    let folder = |name: &str, files: &[(&str, u64)]| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        for (file, seed) in files {
            fs::write(path.join(file), noise(*seed, 600_000)).unwrap();
        }
        node.run(["add", "-r", "-Q", path.to_str().unwrap()]).ok().cid()
    };
    let a = folder("a", &[("shared", 1), ("own", 2), ("edited", 3)]);
    let b = folder("b", &[("shared", 1), ("other", 4)]);
    node.run(["files", "cp", &format!("/ipfs/{a}/edited"), "/edited"]).ok();
    let loose = add(&node, dir.path(), 5, 600_000, false);
    let before = blocks(&node, None);

    let edited = node.run(["resolve", &format!("/ipfs/{a}/edited")]).ok().cid();
    let of_a = blocks(&node, Some(&a));
    let elsewhere = &blocks(&node, Some(&b)) | &blocks(&node, Some(edited.trim_start_matches("/ipfs/")));
    let own = &of_a - &elsewhere;
    assert_eq!((of_a.len(), own.len()), (13, 5), "three leaves and a node a file, and the folder");

    node.run(["pin", "rm", "--gc", &edited]).failed();
    assert_eq!(blocks(&node, None), before, "what was not pinned itself was not unpinned");
    let told = node.run(["pin", "rm", "--gc", "--enc=json", &a]).ok().out();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["Pins"], serde_json::json!([a]));
    assert_eq!((&told["Removed"]["Blocks"], &told["Removed"]["Left"]), (&5.into(), &0.into()), "{told}");
    assert_eq!(told["Removed"]["Kept"], 2, "the shared file and the one in files, each at its root: {told}");
    assert!(told["Removed"]["Bytes"].as_u64().unwrap() > 600_000, "{told}");
    assert_eq!(blocks(&node, None), &before - &own);
    for (path, seed) in [("shared", 1), ("other", 4)] {
        assert_eq!(node.run(["cat", &format!("/ipfs/{b}/{path}")]).ok().stdout, noise(seed, 600_000));
    }
    assert_eq!(node.run(["files", "read", "/edited"]).ok().stdout, noise(3, 600_000));
    assert_eq!(node.run(["cat", &loose]).ok().stdout, noise(5, 600_000), "garbage is left to 'repo gc'");
    node.run(["pin", "verify"]).ok();

    // A direct pin kept one block: what is below it was never its own.
    node.run(["pin", "add", "-r=false", &loose]).ok();
    let text = node.run(["pin", "rm", "--gc", &loose]).ok().out();
    assert!(text.starts_with(&format!("unpinned {loose}\nremoved 1 blocks of ")), "{text}");
    // Everything is as a full collection would have it, but for those leaves.
    assert_eq!(node.run(["repo", "gc", "-q"]).ok().out().lines().count(), 3);
    // Without the option nothing is removed, and the answer is Kubo's.
    let told = node.run(["pin", "rm", "--enc=json", &b]).ok().out();
    assert_eq!(told.trim(), format!("{{\"Pins\":[\"{b}\"]}}"));
    assert_eq!(node.run(["cat", &format!("/ipfs/{b}/other")]).ok().stdout, noise(4, 600_000));
}

/// A pinned node links to what is not here. It is named, everything else is collected, and the exit code says that
/// something is wrong.
#[test]
fn a_broken_pin_is_named_and_stops_nothing() {
    let dir = temporary("gc-broken");
    let node = Node::init(&dir.path().join("repo"));
    let missing = "bafkreidon73zkcrwdb5iafqtijxildoonbwnpv7dyd6ef3qdgads2jc4su";
    let put = node.run_with(["dag", "put", "--pin"], format!("{{\"a\":{{\"/\":\"{missing}\"}}}}").as_bytes());
    let broken = put.ok().out().trim().to_owned();
    let garbage = add(&node, dir.path(), 1, 100, false);
    let failed = node.run(["repo", "gc"]).failed();
    assert!(failed.out().contains("removed bafkrei"), "{}", failed.out());
    for word in
        [missing, &broken, "could not retrieve links for", "all else that is not pinned was collected"]
    {
        assert!(failed.err().contains(word), "{word}: {}", failed.err());
    }
    node.run(["cat", "--offline", &garbage]).failed();
    let failed = node.run(["repo", "gc", "--stream-errors"]).failed();
    assert!(failed.out().starts_with("Error: could not retrieve links for"), "{}", failed.out());
    assert!(failed.err().contains("encountered errors during gc run"), "{}", failed.err());
    let failed = node.run(["repo", "gc", "--stream-errors", "--enc=json"]).failed();
    assert!(failed.out().starts_with("{\"Key\":null,\"Error\":\"could not retrieve"), "{}", failed.out());
}

#[test]
fn an_add_beyond_the_limit_is_refused_until_there_is_room() {
    let dir = temporary("gc-quota");
    let node = Node::init(&dir.path().join("repo"));
    node.run(["config", "Datastore.StorageMax", "30MB"]).ok();
    let loose = add(&node, dir.path(), 1, 15_000_000, false);
    let file = dir.path().join("big");
    fs::write(&file, noise(2, 15_000_000)).unwrap();
    let add_big = ["add", "-Q", file.to_str().unwrap()];
    let refused = node.run(add_big).failed();
    for word in ["storage limit reached", "30000000", "written within the last hour", "repo gc"] {
        assert!(refused.err().contains(word), "{word}: {}", refused.err());
    }
    node.run(["cat", &loose]).ok();
    let removed = node.run(["repo", "gc", "-q"]).ok().out();
    assert!(removed.lines().count() >= 58, "{removed}");
    let kept = node.run(add_big).ok().cid();
    let more = dir.path().join("more");
    fs::write(&more, noise(3, 15_000_000)).unwrap();
    let refused = node.run(["add", "-Q", more.to_str().unwrap()]).failed();
    assert!(refused.err().contains("storage limit reached"), "{}", refused.err());
    node.run(["config", "Datastore.StorageMax", "100MB"]).ok();
    node.run(["add", "-Q", more.to_str().unwrap()]).ok();
    assert_eq!(node.run(["cat", &kept]).ok().stdout, noise(2, 15_000_000));
}

/// The limit was lowered below what is stored. Nothing is written into files, however small; removing from them works,
/// and makes room.
#[test]
fn a_full_repo_refuses_every_change_of_files_but_removals() {
    let dir = temporary("gc-quota-files");
    let node = Node::init(&dir.path().join("repo"));
    let big = dir.path().join("big");
    fs::write(&big, noise(1, 20_000_000)).unwrap();
    node.run(["add", "-Q", "--pin=false", "--to-files=/", big.to_str().unwrap()]).ok();
    let kept = add(&node, dir.path(), 2, 1000, true);
    node.run(["files", "mkdir", "/dir"]).ok();
    let root = node.run(["files", "stat", "--hash", "/"]).ok().out();
    node.run(["config", "Datastore.StorageMax", "15MB"]).ok();
    let copy = format!("/ipfs/{kept}");
    let changes: [&[&str]; 6] = [
        &["files", "mkdir", "/other"],
        &["files", "mkdir", "--flush=false", "/other"],
        &["files", "cp", &copy, "/copy"],
        &["files", "mv", "/big", "/dir/big"],
        &["files", "chmod", "600", "/big"],
        &["files", "write", "--create", "/written"],
    ];
    for change in changes {
        let refused = node.run_with(change, b"a few bytes").failed();
        assert!(refused.err().contains("storage limit reached"), "{change:?}: {}", refused.err());
    }
    assert_eq!(node.run(["files", "stat", "--hash", "/"]).ok().out(), root, "nothing of it was done");
    node.run(["files", "rm", "/big"]).ok();
    assert_eq!(node.run(["files", "ls", "/"]).ok().out(), "dir\n");
    node.run(["repo", "gc", "-q"]).ok();
    node.run_with(["files", "write", "--create", "/written"], b"a few bytes").ok();
    assert_eq!(node.run(["files", "read", "/written"]).ok().out(), "a few bytes");
}

/// What is linked into files and pinned by nobody is as safe from collections as what is pinned.
#[test]
fn what_was_added_to_files_without_a_pin_is_kept() {
    let dir = temporary("gc-to-files");
    let node = Node::init(&dir.path().join("repo"));
    let file = dir.path().join("file");
    fs::write(&file, noise(1, 900_000)).unwrap();
    let cid = node.run(["add", "-Q", "--pin=false", "--to-files=/", file.to_str().unwrap()]).ok().cid();
    node.run(["files", "mkdir", "--flush=false", "/later"]).ok();
    add(&node, dir.path(), 2, 900_000, false);
    assert_eq!(
        node.run(["repo", "gc", "-q"]).ok().out().lines().count(),
        6,
        "the loose one, and the root of the tree before the file"
    );
    assert_eq!(node.run(["files", "read", "/file"]).ok().stdout, noise(1, 900_000));
    assert_eq!(node.run(["cat", &cid]).ok().stdout, noise(1, 900_000));
    node.run(["files", "rm", "/file"]).ok();
    node.run(["repo", "gc", "-q"]).ok();
    node.run(["cat", "--offline", &cid]).failed();
}
