//! What keeps a repo trustworthy, seen from the terminal: damaged blocks, lost changes, damaged indexes, full disks.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use holdfast_tests::disk::tool;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::{skip, temporary};
use holdfast_tests::run::Node;
use holdfast_tests::swarm::Peer;

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.to_str().is_some_and(|path| path.ends_with(ending))).collect();
    found.sort();
    found
}

/// Flips a bit where `needle` is stored.
fn damage(repo: &Path, needle: &[u8]) {
    for path in files(&repo.join("segments"), ".seg") {
        let content = fs::read(&path).unwrap();
        if let Some(at) = content.windows(needle.len()).position(|window| window == needle) {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[needle[0] ^ 4], at as u64).unwrap();
            return;
        }
    }
    panic!("it is stored nowhere");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_damaged_block_is_named_dropped_and_healed_by_an_add() {
    let dir = temporary("trust-damage");
    let repo = dir.path().join("repo");
    let node = Node::init(&repo);
    let (file, good) = (dir.path().join("file"), dir.path().join("good"));
    let bytes = noise(1, 600_000);
    fs::write(&file, &bytes).unwrap();
    fs::write(&good, "good").unwrap();
    let cid = node.run(["add", "-Q", "--raw-leaves", text(&file)]).ok().cid();
    let other = node.run(["add", "-Q", text(&good)]).ok().cid();
    assert!(node.run(["repo", "verify"]).ok().out().contains("verify complete, all blocks validated."));
    damage(&repo, &bytes[300_000..300_064]);
    // Never a wrong byte: what comes out before the damage is right, and then it fails.
    let read = node.run(["cat", &cid]).failed();
    assert!(bytes.starts_with(&read.stdout) && read.stdout.len() < bytes.len());
    assert_eq!(node.run(["cat", &other]).ok().out(), "good");
    let found = node.run(["repo", "verify"]).failed();
    assert!(found.out().contains("was corrupt ("), "{}", found.out());
    assert!(found.err().contains("verify complete, 1 blocks corrupt"), "{}", found.err());
    let health = node.run(["repo", "stat", "--health"]).ok().out();
    assert!(
        health.contains("DamagedBlocks: 1") && health.contains("LastScrub:") && health.contains("never"),
        "{health}"
    );
    assert!(!node.run(["repo", "stat", "--enc=json"]).ok().out().contains("Health"), "the shape is Kubo's");

    let heal = node.run(["repo", "verify", "--heal"]).failed();
    assert!(heal.err().contains("this command must be run in online mode"), "{}", heal.err());
    let wrong = node.run(["repo", "verify", "--heal", "--heal-timeout=soon"]).failed();
    assert!(wrong.err().contains("invalid heal-timeout: time: invalid duration \"soon\""), "{}", wrong.err());
    let wrong = node.run(["repo", "verify", "--heal-timeout=-1s"]).failed();
    assert!(wrong.err().contains("heal-timeout must be >= 0"), "{}", wrong.err());

    let dropped = node.run(["repo", "verify", "--drop"]).ok().out();
    assert!(dropped.contains("), removed"), "{dropped}");
    assert!(dropped.contains("verify complete, 1 blocks corrupt, 1 removed"), "{dropped}");
    node.run(["repo", "verify"]).ok();
    node.run(["cat", &cid]).failed();
    assert_eq!(node.run(["add", "-Q", "--raw-leaves", text(&file)]).ok().cid(), cid);
    assert_eq!(node.run(["cat", &cid]).ok().stdout, bytes);
    node.run(["repo", "verify"]).ok();
}

#[test]
fn a_damaged_block_is_fetched_again_from_a_peer_that_has_it() {
    let dir = temporary("trust-heal");
    let (from, to) = (Peer::start(dir.path(), "from", &[], None), Peer::start(dir.path(), "to", &[], None));
    let file = dir.path().join("file");
    let bytes = noise(5, 600_000);
    fs::write(&file, &bytes).unwrap();
    let cid = from.add(&["--raw-leaves"], &file);
    to.connect(&from.address("tcp"));
    to.run(["pin", "add", "--timeout=60s", &cid]).ok();
    let node = to.stop();
    damage(&dir.path().join("to/repo"), &bytes[300_000..300_064]);
    let to = Peer::with(node);
    to.connect(&from.address("tcp"));
    let healed = to.run(["repo", "verify", "--heal"]).ok().out();
    assert!(healed.contains("healed"), "{healed}");
    drop(from);
    assert!(to.run(["repo", "verify"]).ok().out().contains("verify complete, all blocks validated."));
    assert!(to.run(["cat", "--offline", &cid]).ok().stdout == bytes);
}

#[test]
fn a_cut_log_is_told_at_start_and_until_it_is_acknowledged() {
    let dir = temporary("trust-log");
    let repo = dir.path().join("repo");
    let node = Node::init(&repo);
    let mut added = Vec::new();
    for n in 0..3 {
        let file = dir.path().join(format!("file-{n}"));
        fs::write(&file, noise(n, 50_000)).unwrap();
        added.push((node.run(["add", "-Q", text(&file)]).ok().cid(), file));
    }
    let log = files(&repo.join("db"), ".log").pop().unwrap();
    let len = log.metadata().unwrap().len();
    assert!(len > 100);
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(len / 3).unwrap();
    let told = node.run(["repo", "stat"]).ok();
    assert!(told.err().contains("Warning: the index lost"), "{}", told.err());
    // Blocks come back from the segments, and it is not told at every start.
    for (cid, file) in &added {
        assert_eq!(node.run(["cat", cid]).ok().stdout, fs::read(file).unwrap());
    }
    let verified = node.run(["repo", "verify"]).failed();
    assert!(verified.out().contains("the index lost"), "{}", verified.out());
    assert!(verified.err().contains("repo verify --acknowledge"), "{}", verified.err());
    assert!(node.run(["repo", "stat", "--health"]).ok().out().contains("changes, noticed"));
    assert!(node.run(["repo", "verify", "--acknowledge"]).ok().out().contains("the index lost"));
    assert!(!node.run(["repo", "verify"]).ok().out().contains("the index lost"));
    assert!(node.run(["repo", "stat"]).ok().err().is_empty());
}

#[test]
fn an_index_that_does_not_open_says_what_helps_and_that_helps() {
    let dir = temporary("trust-index");
    let repo = dir.path().join("repo");
    let node = Node::init(&repo);
    let file = dir.path().join("file");
    fs::write(&file, noise(1, 300_000)).unwrap();
    let cid = node.run(["add", "-Q", text(&file)]).ok().cid();
    node.run(["repo", "stat"]).ok();
    let manifest =
        files(&repo.join("db"), "").into_iter().find(|path| text(path).contains("MANIFEST")).unwrap();
    let mut content = fs::read(&manifest).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&manifest, content).unwrap();
    let refused = node.run(["cat", &cid]).failed();
    assert!(refused.err().contains("'holdfast repo rebuild'"), "{}", refused.err());
    let rebuilt = node.run(["repo", "rebuild"]).ok().out();
    assert!(rebuilt.contains("indexed ") && rebuilt.contains("kept 1 pins"), "{rebuilt}");
    assert!(rebuilt.contains("the old index was moved to"), "{rebuilt}");
    assert_eq!(node.run(["cat", &cid]).ok().stdout, fs::read(&file).unwrap());
    node.run(["repo", "verify", "--acknowledge"]).ok();
    node.run(["repo", "verify"]).ok();
}

/// Others have filled the disk to the last byte. Blocks can be removed and read, adding is refused, and later it works.
#[test]
fn a_full_disk_lets_blocks_go() {
    let dir = temporary("trust-full");
    let point = dir.path().join("disk");
    fs::create_dir(&point).unwrap();
    if let Err(why) = tool("mount", &["-t", "tmpfs", "-o", "size=48m", "holdfast-test", text(&point)]) {
        return skip("a full disk", &why);
    }
    let node = Node::init(&point.join("repo"));
    node.run(["config", "Datastore.ReserveSize", "8MiB"]).ok();
    let file = dir.path().join("file");
    fs::write(&file, noise(1, 200_000)).unwrap();
    let cid = node.run(["block", "put", text(&file)]).ok().cid();
    let kept = node.run(["add", "-Q", text(&file)]).ok().cid();
    assert_eq!(point.join("repo/reserve").metadata().unwrap().len(), 8 << 20);
    let eaten = point.join("eaten");
    {
        let mut eater = fs::File::create(&eaten).unwrap();
        for size in [1 << 20, 4096, 1] {
            while std::io::Write::write_all(&mut eater, &vec![7; size]).is_ok() {}
        }
    }
    let fresh = dir.path().join("fresh");
    fs::write(&fresh, noise(2, 1000)).unwrap();
    let refused = node.run(["add", "-Q", text(&fresh)]).failed();
    assert!(refused.err().contains("no space left on device"), "{}", refused.err());
    node.run(["block", "rm", &cid]).ok();
    node.run(["block", "stat", &cid]).failed();
    assert_eq!(node.run(["cat", &kept]).ok().stdout, fs::read(&file).unwrap());
    fs::remove_file(&eaten).unwrap();
    node.run(["add", "-Q", text(&fresh)]).ok();
    node.run(["repo", "verify"]).ok();
    assert!(point.join("repo/reserve").exists(), "the reserve is there again");
    drop(tool("umount", &["--lazy", text(&point)]));
}

/// The block of the root of `files` is damaged. The tree before the last change is shown, and whoever looks is told so, at
/// each look and by `repo verify`, until the next change makes that the root.
#[test]
fn a_root_of_files_that_cannot_be_read_is_told_until_it_is_replaced() {
    let dir = temporary("trust-files-root");
    let repo = dir.path().join("repo");
    let node = Node::init(&repo);
    node.run_with(["files", "write", "--create", "/first"], b"1").ok();
    let before = node.run(["files", "stat", "--hash", "/"]).ok().out();
    node.run_with(["files", "write", "--create", "/second"], b"2").ok();
    let root = node.run(["files", "stat", "--hash", "/"]).ok().out();
    assert_eq!(node.run(["files", "stat", "/"]).ok().err(), "");
    assert!(!node.run(["repo", "verify"]).ok().out().contains("'files'"));
    damage(&repo, &node.run(["block", "get", root.trim()]).ok().stdout);

    for _ in 0..2 {
        let stat = node.run(["files", "stat", "--hash", "/"]).ok();
        assert_eq!(stat.out(), before);
        for words in ["Warning: the root ", root.trim(), before.trim(), "cannot be read", "next change"] {
            assert!(stat.err().contains(words), "{words}: {}", stat.err());
        }
    }
    let verified = node.run(["repo", "verify"]).failed();
    assert!(
        verified.out().contains(&format!("the root {} of 'files' cannot be read", root.trim())),
        "{}",
        verified.out()
    );
    assert!(verified.err().contains("; the root of 'files' cannot be read"), "{}", verified.err());

    // The change itself tells it for the last time.
    assert!(node.run(["files", "mkdir", "/third"]).ok().err().contains("cannot be read"));
    let after = node.run(["files", "ls", "/"]).ok();
    assert_eq!((after.out().as_str(), after.err().as_str()), ("first\nthird\n", ""));
    let verified = node.run(["repo", "verify", "--drop"]).ok();
    assert!(!verified.out().contains("'files'"), "{}", verified.out());
    node.run(["repo", "verify"]).ok();
}
