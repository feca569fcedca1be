//! The published vectors: an input, the flags, and the CID that Kubo gives for it.
//!
//! Every one is added through the binary, each on a repo whose config is as the vector says; then
//! the content comes back equal. The cut points of buzhash and rabin are read from `ls`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

use holdfast_tests::inputs::{drand, names};
use holdfast_tests::need::{data, json, say, temporary};
use holdfast_tests::run::Node;
use holdfast_tests::tree;
use serde_json::Value;

fn count(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

/// Lays the vector's input under `dir`: the path to add.
fn lay(vector: &Value, dir: &Path) -> PathBuf {
    let path = dir.join("input");
    if let Some(text) = vector["text"].as_str() {
        fs::write(&path, text).unwrap();
    } else if let Some(target) = vector["symlink"].as_str() {
        std::os::unix::fs::symlink(target, &path).unwrap();
    } else if let Some(recipe) = vector["drand"].as_array() {
        fs::write(&path, drand(recipe[0].as_str().unwrap(), count(&recipe[1]))).unwrap();
    } else {
        fs::create_dir(&path).unwrap();
        if let Some(files) = vector["dir"].as_object() {
            for (name, text) in files {
                fs::write(path.join(name), text.as_str().unwrap()).unwrap();
            }
        } else if let Some(files) = vector["numbered_dir"].as_u64() {
            for number in 1..=files {
                fs::write(path.join(format!("file{number}")), format!("{number}\n")).unwrap();
            }
        } else if let Some(recipe) = vector["names"].as_array() {
            let (seed, files) = (recipe[0].as_str().unwrap(), count(&recipe[1]));
            for name in names(seed, files, count(&recipe[2]), count(&recipe[3])) {
                fs::write(path.join(name), "x").unwrap();
            }
        } else {
            panic!("a vector of an unknown kind: {vector}");
        }
    }
    path
}

#[test]
fn vectors_give_kubos_cids_and_come_back_equal() {
    let Some(data) = data("CID vectors") else { return };
    let file = json(&data.join("cid-vectors.json"));
    let vectors = file["vectors"].as_array().unwrap();
    let mut wrong = Vec::new();
    for vector in vectors {
        let name = vector["name"].as_str().unwrap();
        let dir = temporary("vector");
        let node = Node::init(&dir.path().join("repo"));
        if let Some(profile) = vector["profile"].as_str() {
            node.run(["config", "profile", "apply", profile]).ok();
        }
        for (key, value) in vector["config"].as_object().into_iter().flatten() {
            node.run(["config", key, value.as_str().unwrap()]).ok();
        }
        let input = lay(vector, dir.path());
        let flags =
            vector["flags"].as_array().into_iter().flatten().map(|flag| flag.as_str().unwrap().to_owned());
        let mut args: Vec<String> = ["add", "-Q", "-r"].map(str::to_owned).into();
        args.extend(flags);
        args.push(input.to_str().unwrap().to_owned());
        let cid = node.run(&args).ok().cid();
        let expected = vector["cid"].as_str().unwrap();
        if cid != expected {
            wrong.push(format!("{name}: {cid}, and should be {expected}"));
            continue;
        }
        // The same CID without storing, and the same bytes back.
        args.insert(1, "-n".to_owned());
        let hashed = node.run(&args).ok().cid();
        if hashed != expected {
            wrong.push(format!("{name}: with --only-hash {hashed}, and should be {expected}"));
        }
        let back = dir.path().join("back");
        node.run(["get", "-o", back.to_str().unwrap(), &cid]).ok();
        if let Err(difference) = tree::compare(&input, &back, &|_| false) {
            wrong.push(format!("{name}: {difference}"));
        }
    }
    say(&format!("cid_vectors: {} vectors, {} wrong", vectors.len(), wrong.len()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn chunkers_cut_where_the_published_rules_cut() {
    let Some(data) = data("chunk lengths") else { return };
    let file = json(&data.join("cid-vectors.json"));
    for vector in file["chunk_lengths"].as_array().unwrap() {
        let name = vector["name"].as_str().unwrap();
        let dir = temporary("chunks");
        let node = Node::init(&dir.path().join("repo"));
        let input = lay(vector, dir.path());
        let chunker = format!("--chunker={}", vector["chunker"].as_str().unwrap());
        let cid = node.run(["add", "-Q", "--raw-leaves", &chunker, input.to_str().unwrap()]).ok().cid();
        let listing = node.run(["ls", &cid]).ok().out();
        let lengths: Vec<u64> =
            listing.lines().map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap()).collect();
        let numbers = |key: &str| -> Vec<u64> {
            vector[key].as_array().into_iter().flatten().map(|len| len.as_u64().unwrap()).collect()
        };
        if vector["chunks"].is_array() {
            assert_eq!(lengths, numbers("chunks"), "{name}");
        } else {
            let start = numbers("chunks_start");
            assert_eq!(lengths[..start.len()], start[..], "{name}");
            assert_eq!(lengths.len(), count(&vector["chunk_count"]), "{name}");
            assert_eq!(*lengths.last().unwrap(), vector["last"].as_u64().unwrap(), "{name}");
        }
    }
}
