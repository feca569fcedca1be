//! Operations on the mutable file system, against a tree in memory; the node stops and starts in between.

use std::collections::BTreeMap;
use std::io::Cursor;

use holdfast::Node;
use holdfast::services::files::{CopyOptions, MkdirOptions, WriteOptions};
use serde_json::json;

use crate::support::{Repo, files_root, get_file, mfs};

/// What is at a path: a file's bytes, or a directory.
type Model = BTreeMap<String, Option<Vec<u8>>>;

/// A small generator, so that a run can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// A path of up to three names; few names, so that paths meet.
    fn path(&mut self) -> String {
        const NAMES: [&str; 4] = ["a", "b", "c", "a-long-name-of-a-file"];
        let mut path = String::new();
        for _ in 0..=self.roll(3) {
            path.push('/');
            path.push_str(NAMES[self.roll(4) as usize]);
        }
        path
    }

    fn bytes(&mut self) -> Vec<u8> {
        let seed = self.roll(256) as u8;
        (0..self.roll(900)).map(|at| seed.wrapping_add(at as u8)).collect()
    }
}

fn parent(path: &str) -> &str {
    &path[..path.rfind('/').unwrap()]
}

fn is_directory(model: &Model, path: &str) -> bool {
    path.is_empty() || model.get(path).is_some_and(Option::is_none)
}

fn below(model: &Model, path: &str) -> Vec<(String, Option<Vec<u8>>)> {
    let inside = format!("{path}/");
    let own = model.get_key_value(path).into_iter();
    own.chain(model.range(inside.clone()..).take_while(move |(other, _)| other.starts_with(&inside)))
        .map(|(path, content)| (path.clone(), content.clone()))
        .collect()
}

fn remove(model: &mut Model, path: &str) {
    for (gone, _) in below(model, path) {
        model.remove(&gone);
    }
}

/// Copies what is at `from` to `to`.
fn copy(model: &mut Model, from: &str, to: &str) {
    for (path, content) in below(model, from) {
        model.insert(format!("{to}{}", &path[from.len()..]), content);
    }
}

/// Makes the directories above a path; whether that is possible.
fn make_parents(model: &mut Model, path: &str) -> bool {
    let above: Vec<String> = path.match_indices('/').skip(1).map(|(at, _)| path[..at].to_owned()).collect();
    if above.iter().any(|path| model.get(path).is_some_and(Option::is_some)) {
        return false;
    }
    model.extend(above.into_iter().map(|path| (path, None)));
    true
}

async fn mkdir(node: &Node, model: &mut Model, path: &str, parents: bool, unflushed: bool) {
    let done = node.files().mkdir(mfs(path), MkdirOptions { parents, unflushed, ..Default::default() }).await;
    let mut after = model.clone();
    let possible = if parents {
        make_parents(&mut after, path) && !after.get(path).is_some_and(Option::is_some)
    } else {
        is_directory(model, parent(path)) && !model.contains_key(path)
    };
    assert_eq!(done.is_ok(), possible, "mkdir {path} {parents}: {done:?}");
    if possible {
        after.insert(path.to_owned(), None);
        *model = after;
    }
}

async fn write(node: &Node, model: &mut Model, path: &str, dice: &mut Dice, unflushed: bool) {
    let options = WriteOptions {
        create: dice.roll(4) > 0,
        parents: dice.roll(3) == 0,
        truncate: dice.roll(3) == 0,
        offset: dice.roll(2) * dice.roll(700),
        count: (dice.roll(4) == 0).then_some(100),
        unflushed,
        ..Default::default()
    };
    let data = dice.bytes();
    let done = node.files().write(mfs(path), options, Cursor::new(data.clone())).await;
    let mut after = model.clone();
    let way = (options.parents && make_parents(&mut after, path)) || is_directory(model, parent(path));
    let possible = match model.get(path) {
        Some(content) => content.is_some(),
        None => options.create && way,
    };
    assert_eq!(done.is_ok(), possible, "write {path} {options:?}: {done:?}");
    if possible {
        let content = after.entry(path.to_owned()).or_default().get_or_insert_default();
        if options.truncate {
            content.clear();
        }
        let data = &data[..data.len().min(options.count.unwrap_or(u64::MAX) as usize)];
        let start = options.offset as usize;
        content.resize(content.len().max(start + data.len()), 0);
        content[start..start + data.len()].copy_from_slice(data);
        *model = after;
    }
}

async fn cp(node: &Node, model: &mut Model, from: &str, to: &str, force: bool, unflushed: bool) {
    let Ok(cid) = node.files().resolve(mfs(from)).await else {
        assert!(!model.contains_key(from));
        return;
    };
    let options = CopyOptions { force, unflushed, ..Default::default() };
    let done = node.files().link(cid, mfs(to), options).await;
    let free = !model.contains_key(to) || (force && !is_directory(model, to));
    let possible = is_directory(model, parent(to)) && free;
    assert_eq!(done.is_ok(), possible, "cp {from} {to} {force}: {done:?}");
    if possible {
        // A directory may be copied into itself: what is linked is what it was.
        let copied: Vec<_> = below(model, from);
        model.remove(to);
        for (path, content) in copied {
            model.insert(format!("{to}{}", &path[from.len()..]), content);
        }
    }
}

async fn mv(node: &Node, model: &mut Model, from: &str, to: &str, flush: bool) {
    let done = node.files().mv(mfs(from), mfs(to), flush).await;
    let name = &from[from.rfind('/').unwrap()..];
    let target = if is_directory(model, to) { format!("{to}{name}") } else { to.to_owned() };
    let inside = target == from || target.starts_with(&format!("{from}/"));
    let same_file = from == to && model.get(from).is_some_and(Option::is_some);
    let possible = model.contains_key(from)
        && is_directory(model, parent(to))
        && (same_file || !(inside || target != to && model.contains_key(&target)));
    assert_eq!(done.is_ok(), possible, "mv {from} {to}: {done:?}");
    if possible && !same_file {
        remove(model, &target);
        copy(model, from, &target);
        remove(model, from);
    }
}

async fn rm(node: &Node, model: &mut Model, path: &str, recursive: bool, force: bool) {
    let outcome = node.files().remove(vec![mfs(path)], recursive, force).await.unwrap().pop().unwrap();
    let there = model.contains_key(path);
    let possible = if there {
        force || recursive || !is_directory(model, path)
    } else {
        force && !parent_is_file(model, path)
    };
    assert_eq!(outcome.is_ok(), possible, "rm {path} {recursive} {force}: {outcome:?}");
    if there && possible {
        remove(model, path);
    }
}

/// Whether the way to a path goes through a file.
fn parent_is_file(model: &Model, path: &str) -> bool {
    path.match_indices('/').skip(1).any(|(at, _)| model.get(&path[..at]).is_some_and(Option::is_some))
}

/// The whole tree is that of the model.
async fn compare(node: &Node, model: &Model) {
    let mut seen = Model::new();
    let mut open = vec![String::new()];
    while let Some(directory) = open.pop() {
        let listed = mfs(if directory.is_empty() { "/" } else { &directory });
        for entry in node.files().ls(listed, true).await.unwrap() {
            let path = format!("{directory}/{}", String::from_utf8(entry.name).unwrap());
            if entry.is_directory {
                open.push(path.clone());
                seen.insert(path, None);
            } else {
                let content = get_file(node, &path).await;
                assert_eq!(entry.size, content.len() as u64);
                seen.insert(path, Some(content));
            }
        }
    }
    assert_eq!(&seen, model);
}

/// A tree that is built anew from the same files has the same root.
async fn rebuild(node: &Node, model: &Model) {
    let root = files_root(node).await;
    let (copy, options) = (mfs("/rebuilt"), MkdirOptions::default());
    node.files().mkdir(copy.clone(), options).await.unwrap();
    for (path, content) in model.iter().rev() {
        let target = mfs(&format!("/rebuilt{path}"));
        if content.is_none() {
            let options = MkdirOptions { parents: true, ..Default::default() };
            node.files().mkdir(target, options).await.unwrap();
        } else {
            let cid = node.files().resolve(mfs(path)).await.unwrap();
            let options = CopyOptions { parents: true, ..Default::default() };
            node.files().link(cid, target, options).await.unwrap();
        }
    }
    assert_eq!(node.files().resolve(copy.clone()).await.unwrap(), root);
    node.files().remove(vec![copy], true, false).await.unwrap().pop().unwrap().unwrap();
    assert_eq!(files_root(node).await, root);
}

async fn run(seed: u64, config: &[(&str, &str, serde_json::Value)]) {
    let repo = Repo::new(config);
    let (mut node, mut model, mut dice) = (repo.open().await, Model::new(), Dice(seed));
    for step in 0..220 {
        let (path, other) = (dice.path(), dice.path());
        let unflushed = dice.roll(2) == 0;
        match dice.roll(9) {
            0 | 1 => {
                let parents = dice.roll(2) == 0;
                mkdir(&node, &mut model, &path, parents, unflushed).await;
            }
            2..=4 => write(&node, &mut model, &path, &mut dice, unflushed).await,
            5 => {
                let force = dice.roll(2) == 0;
                cp(&node, &mut model, &path, &other, force, unflushed).await;
            }
            6 => mv(&node, &mut model, &path, &other, !unflushed).await,
            7 => {
                let (recursive, force) = (dice.roll(2) == 0, dice.roll(3) == 0);
                rm(&node, &mut model, &path, recursive, force).await;
            }
            _ => drop(node.files().flush(mfs("/")).await.unwrap()),
        }
        if step % 44 == 43 {
            compare(&node, &model).await;
            let root = files_root(&node).await;
            node.close().await.unwrap();
            node = repo.open().await;
            assert_eq!(files_root(&node).await, root, "closing keeps what was not flushed");
            compare(&node, &model).await;
        }
    }
    rebuild(&node, &model).await;
    node.close().await.unwrap();
}

#[tokio::test]
async fn a_tree_follows_its_model_with_the_defaults() {
    run(0x9e37_79b9_7f4a_7c15, &[]).await;
}

/// Shards, raw leaves and CIDv1: the other way through all of it.
#[tokio::test]
async fn a_tree_follows_its_model_with_small_shards_and_new_cids() {
    let config = [
        ("Import", "UnixFSHAMTDirectorySizeThreshold", json!("100B")),
        ("Import", "UnixFSHAMTDirectoryMaxFanout", json!(8)),
        ("Import", "UnixFSHAMTDirectorySizeEstimation", json!("block")),
        ("Import", "CidVersion", json!(1)),
        ("Import", "UnixFSRawLeaves", json!(true)),
        ("Import", "UnixFSChunker", json!("size-64")),
    ];
    run(0x1234_5678_9abc_def1, &config).await;
}
