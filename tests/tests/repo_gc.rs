//! `repo gc` at the command line, and the storage limit of processes that end at once.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

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
