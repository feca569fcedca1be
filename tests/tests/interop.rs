//! Programs that nobody here wrote give the same CIDs.
//!
//! One corpus of sizes and trees, made from a seed, is added by our binary and imported by three
//! others: Kubo 0.22 as a library (its defaults), the JavaScript importer (every option but
//! buzhash), aleph-cid (Kubo's defaults for both CID versions; also its CAR files are imported).
//! `KUBO_BIN=path` takes that `ipfs` binary as a fourth, with all options.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_tests::inputs::{Random, lay_tree, names, noise};
use holdfast_tests::need::{say, temporary};
use holdfast_tests::oracle::Oracle;
use holdfast_tests::run::Node;
use holdfast_tests::tree;
use serde_json::{Value, json};

/// The corpus: names and paths.
fn corpus(dir: &Path, name: &str) -> Vec<(String, PathBuf)> {
    let mut random = Random::for_test(name);
    let mut all = Vec::new();
    let chunk = 262_144;
    for len in [
        0,
        1,
        1000,
        chunk - 1,
        chunk,
        chunk + 1,
        3 * 1_048_576 + 7,
        174 * chunk,
        174 * chunk + 1,
        (45 << 20) + 1,
    ] {
        let path = dir.join(format!("file{len}"));
        fs::write(&path, noise(random.draw(), len)).unwrap();
        all.push((format!("file of {len}"), path));
    }
    let same = dir.join("zeros");
    fs::write(&same, vec![0; 5_000_000]).unwrap();
    all.push(("zeros".to_owned(), same));
    for (tree, files) in [("small", 25), ("wide", 400)] {
        let path = dir.join(tree);
        lay_tree(&mut random, &path, files, 600_000);
        all.push((format!("{tree} tree"), path));
    }
    // Well over the sharding threshold, so that old and new rules for the edge agree.
    let shard = dir.join("shard");
    fs::create_dir(&shard).unwrap();
    for name in names("interop-shard", 5000, 40, 40) {
        fs::write(shard.join(&name), &name.as_bytes()[..5]).unwrap();
    }
    all.push(("sharded folder".to_owned(), shard));
    all
}

fn ours(node: &Node, flags: &[&str], path: &Path) -> String {
    let mut args = vec!["add", "-n", "-Q", "-r"];
    args.extend(flags);
    args.push(path.to_str().unwrap());
    node.run(&args).ok().cid()
}

/// Compares and reports; every difference counts.
fn settle(who: &str, wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>) {
    let wrong: Vec<String> = wanted
        .iter()
        .filter(|(_, cid)| *cid != "none")
        .filter(|(name, cid)| found.get(*name) != Some(*cid))
        .map(|(name, cid)| format!("{name}: {who} says {cid}, ours is {:?}", found.get(name)))
        .collect();
    let unanswered = wanted.values().filter(|cid| *cid == "none").count();
    let compared = wanted.len() - unanswered;
    say(&format!(
        "interop: {who}: {compared} CIDs compared, {} differ, {unanswered} without an answer",
        wrong.len()
    ));
    assert!(unanswered * 10 < wanted.len(), "{who} hardly answers");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn kubo_as_a_library_gives_the_same_cids() {
    if !Oracle::Kubo.present("CIDs of Kubo 0.22") {
        return;
    }
    let dir = temporary("interop");
    let corpus = corpus(dir.path(), "interop with Kubo");
    let node = Node::init(&dir.path().join("repo"));
    let jobs: Vec<Value> = corpus.iter().map(|(name, path)| json!({"name": name, "path": path})).collect();
    let theirs = Oracle::Kubo.ask(&jobs, dir.path());
    let found = corpus.iter().map(|(name, path)| (name.clone(), ours(&node, &[], path))).collect();
    settle("Kubo 0.22", &theirs, &found);
}

/// Our flags, and the same as options of the JavaScript importer.
fn matrix() -> Vec<(Vec<&'static str>, Value)> {
    let v1 = "--cid-version=1";
    vec![
        (vec![], json!({})),
        (vec![v1], json!({"cidVersion": 1, "rawLeaves": true})),
        (vec![v1, "--raw-leaves=false"], json!({"cidVersion": 1, "rawLeaves": false})),
        (vec!["--raw-leaves"], json!({"rawLeaves": true})),
        (vec!["--chunker=size-1000"], json!({"chunker": "size-1000"})),
        (
            vec!["--chunker=size-65536", "--max-file-links=2"],
            json!({"chunker": "size-65536", "maxChildren": 2}),
        ),
        (
            vec!["--chunker=size-9999", "--max-file-links=7"],
            json!({"chunker": "size-9999", "maxChildren": 7}),
        ),
        (
            vec!["--chunker=rabin-16384-65536-131072", "--raw-leaves"],
            json!({"chunker": "rabin-16384-65536-131072", "rawLeaves": true}),
        ),
        (
            vec!["--chunker=rabin-64-512-4096", v1],
            json!({"chunker": "rabin-64-512-4096", "cidVersion": 1, "rawLeaves": true}),
        ),
        (vec!["--trickle"], json!({"layout": "trickle"})),
        (vec!["--trickle", v1], json!({"layout": "trickle", "cidVersion": 1, "rawLeaves": true})),
        (
            vec![v1, "--raw-leaves", "--chunker=size-1048576", "--max-file-links=1024"],
            json!({"profile": "unixfs-v1-2025", "shardStrategy": "links-bytes"}),
        ),
        (vec!["--max-hamt-fanout=16"], json!({"shardFanoutBits": 4})),
        (vec!["--max-hamt-fanout=1024"], json!({"shardFanoutBits": 10})),
    ]
}

#[test]
fn the_javascript_importer_gives_the_same_cids() {
    if !Oracle::Importer.present("CIDs of the JavaScript importer") {
        return;
    }
    let dir = temporary("interop");
    let corpus = corpus(dir.path(), "interop with the JavaScript importer");
    let node = Node::init(&dir.path().join("repo"));
    let mut jobs = Vec::new();
    let mut found = BTreeMap::new();
    for (flags, options) in matrix() {
        // Tiny chunks of the largest files would only take long.
        let tiny = flags
            .iter()
            .any(|flag| flag.ends_with("-1000") || flag.contains("rabin-64") || flag.contains("9999"));
        for (name, path) in &corpus {
            if tiny && fs::metadata(path).unwrap().len() > 8_000_000 {
                continue;
            }
            let name = format!("{name} {}", flags.join(" "));
            jobs.push(json!({"name": name, "path": path, "options": options}));
            found.insert(name, ours(&node, &flags, path));
        }
    }
    let theirs = Oracle::Importer.ask(&jobs, dir.path());
    settle("the JavaScript importer", &theirs, &found);
}

#[test]
fn aleph_cid_gives_the_same_cids() {
    if !Oracle::Aleph.present("CIDs of aleph-cid") {
        return;
    }
    let dir = temporary("interop");
    let corpus = corpus(dir.path(), "interop with aleph-cid");
    let node = Node::init(&dir.path().join("repo"));
    let mut jobs = Vec::new();
    let mut found = BTreeMap::new();
    let mut cars = Vec::new();
    for (version, flag) in [(0, "--cid-version=0"), (1, "--cid-version=1")] {
        for (name, path) in &corpus {
            // It leaves empty folders and symlinks out of trees: so it gets none.
            if path.is_dir() {
                drop_empty(path);
            }
            let name = format!("{name} {flag}");
            let car = path.is_dir().then(|| dir.path().join(format!("{}.car", cars.len())));
            jobs.push(json!({"name": name, "path": path, "version": version, "car": car}));
            let cid = ours(&node, &[flag], path);
            cars.extend(car.map(|car| (car, cid.clone(), path.clone())));
            found.insert(name, cid);
        }
    }
    let theirs = Oracle::Aleph.ask(&jobs, dir.path());
    settle("aleph-cid", &theirs, &found);
    for (car, cid, path) in cars {
        let answer = node.run(["dag", "import", car.to_str().unwrap()]).ok().out();
        assert!(answer.contains(&cid), "importing {}: {answer}", car.display());
        let back = car.with_extension("back");
        node.run(["get", "-o", back.to_str().unwrap(), &cid]).ok();
        tree::compare(&path, &back, &|_| false).unwrap();
    }
}

/// Removes symlinks, and folders that are empty or become so.
fn drop_empty(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            fs::remove_file(&path).unwrap();
        } else if path.is_dir() {
            drop_empty(&path);
            // Fails when something is left in it, which is meant.
            drop(fs::remove_dir(&path));
        }
    }
}

#[test]
fn a_kubo_binary_gives_the_same_cids() {
    let Some(kubo) = std::env::var_os("KUBO_BIN") else {
        say("interop: no KUBO_BIN given, so no Kubo binary took part");
        return;
    };
    let dir = temporary("interop");
    let corpus = corpus(dir.path(), "interop with a Kubo binary");
    let node = Node::init(&dir.path().join("repo"));
    let run = |args: &[&str]| {
        let mut command = Command::new(&kubo);
        command.args(args).env("IPFS_PATH", dir.path().join("kubo")).env("HOME", dir.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    run(&["init", "--profile=test"]);
    let (mut theirs, mut found) = (BTreeMap::new(), BTreeMap::new());
    let buzhash = (vec!["--chunker=buzhash"], Value::Null);
    for (flags, _) in matrix().into_iter().chain([buzhash]) {
        for (name, path) in &corpus {
            let name = format!("{name} {}", flags.join(" "));
            let mut args = vec!["add", "-n", "-Q", "-r"];
            args.extend(&flags);
            args.push(path.to_str().unwrap());
            theirs.insert(name.clone(), run(&args));
            found.insert(name, ours(&node, &flags, path));
        }
    }
    settle("the Kubo binary", &theirs, &found);
}
