//! A process that writes is killed, over and over. What it had reported is judged from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::*;
use holdfast_blockstore::{Change, Durability, Store, StoreConfig};
use holdfast_dag::cid::{Cid, parse_cid};

const REPO: &str = "HOLDFAST_CRASH_REPO";
const SEED: &str = "HOLDFAST_CRASH_SEED";

fn settings() -> StoreConfig {
    StoreConfig { segment_bytes_max: 8 << 20, sync_bytes: 1 << 20, ..config() }
}

/// Every other process wants its acknowledgements to survive its own end only, and they have to.
fn durability(seed: u64) -> Durability {
    if seed.is_multiple_of(2) { Durability::Process } else { Durability::Power }
}

/// What the killed process runs: three threads add trees of blocks, and now and then remove one of their own. Each
/// line on stdout is a fact: `ok` after a commit, `going` before an unpin, `gone` after it.
#[test]
#[ignore = "the part of the killed process, started by the test below"]
fn worker() {
    let Some(repo) = std::env::var_os(REPO).map(PathBuf::from) else { return };
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let store = Store::open(&repo, StoreConfig { durability: durability(seed), ..settings() }).unwrap();
    say("open", "");
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let store = &store;
            scope.spawn(move || {
                let mut roots: Vec<Cid> = Vec::new();
                for round in 0.. {
                    let base = (seed << 32) + (thread << 24) + round * 64;
                    // Mostly new leaves, and some that all threads of all runs have in common.
                    let len = |n: u64| [100, 5000, 262_144, 40_000][((base + n) % 4) as usize];
                    let mut leaves: Vec<_> = (0..=base % 9).map(|n| leaf(base + n, len(n))).collect();
                    leaves.push(leaf(round % 5, 9000));
                    let root = node(&leaves.iter().map(|leaf| leaf.cid).collect::<Vec<_>>());
                    let writer = store.writer();
                    for some in leaves.chunks(4) {
                        writer.put(some).unwrap();
                    }
                    writer.put([root.clone()]).unwrap();
                    // One thread keeps the files root, and pins along with it.
                    let files = (thread == 0).then_some(Change::FilesRoot(root.cid));
                    let changes: Vec<Change> = [pin(root.cid)].into_iter().chain(files).collect();
                    if thread == 0 {
                        say("root?", &root.cid.to_string());
                    }
                    writer.commit(&changes).unwrap();
                    say(if thread == 0 { "root" } else { "ok" }, &root.cid.to_string());
                    roots.push(root.cid);
                    if round % 4 == 3 {
                        let root = roots.remove((base % roots.len() as u64) as usize);
                        say("going", &root.to_string());
                        store.writer().commit(&[unpin(root)]).unwrap();
                        say("gone", &root.to_string());
                        let leaves = store.links(&root).unwrap().unwrap();
                        store.delete_blocks(&[root]).unwrap();
                        store.delete_blocks(&leaves).unwrap();
                    }
                }
            });
        }
    });
}

fn say(what: &str, cid: &str) {
    let mut out = std::io::stdout().lock();
    // One write a line: a killed process leaves no half ones, except the last.
    out.write_all(format!("\n@ {what} {cid} .\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What the workers said.
struct Journal {
    pins: BTreeMap<Cid, &'static str>,
    /// The last acknowledged files root, at first none, and those that may have been committed since.
    files: Vec<Option<Cid>>,
}

/// Starts the worker, kills it after a while, and adds what it said to the journal.
fn run_and_kill(repo: &Path, seed: u64, after: Duration, journal: &mut Journal) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::worker", "--ignored", "--nocapture", "--test-threads=1"])
        .env(REPO, repo)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let reader =
        std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).collect::<Vec<_>>());
    let begin = Instant::now();
    std::thread::sleep(after);
    assert!(child.try_wait().unwrap().is_none(), "the worker ended by itself after {:?}", begin.elapsed());
    child.kill().unwrap();
    child.wait().unwrap();
    for line in reader.join().unwrap() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["@", what, cid, "."] = words[..]
            && let Ok(cid) = parse_cid(cid)
        {
            match what {
                "root?" => {
                    journal.files.push(Some(cid));
                    continue;
                }
                "root" => journal.files = vec![Some(cid)],
                _ => {}
            }
            let state = match what {
                "ok" | "root" => "pinned",
                "going" => "unknown",
                _ => "unpinned",
            };
            journal.pins.insert(cid, state);
        }
    }
}

fn judge(repo: &Path, journal: &Journal) {
    let begin = Instant::now();
    let store = Store::open(repo, settings()).unwrap();
    let opened = begin.elapsed();
    assert!(store.open_report().short_segments.is_empty(), "{:?}", store.open_report());
    assert_eq!(store.open_report().lost_rounds, 0, "{:?}", store.open_report());
    assert_eq!(store.loss().unwrap(), None);
    // Counters, links and parents equal a full walk, right after the kill.
    assert_consistent(&store);
    let files = store.files_roots().unwrap();
    assert!(files.damage.is_none());
    assert!(journal.files.contains(&files.current), "{files:?} instead of one of {:?}", journal.files);
    let pinned: BTreeSet<Cid> = store.pins().iter(None).map(|pin| pin.unwrap().cid).collect();
    for (root, state) in &journal.pins {
        match *state {
            "pinned" => assert!(pinned.contains(root), "the pin on {root} was acknowledged and is lost"),
            "unpinned" => assert!(!pinned.contains(root), "the pin on {root} was removed and is back"),
            _ => {}
        }
    }
    // No pin without its DAG, acknowledged or not.
    for root in &pinned {
        let children = store.links(root).unwrap().unwrap_or_else(|| panic!("{root} is pinned and missing"));
        for child in children {
            assert!(store.get(&child).unwrap().is_some(), "{child} under {root} is missing");
        }
    }
    let bound = Duration::from_secs(5);
    assert!(opened < bound, "opening took {opened:?}");
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let cycles: u64 = std::env::var("CRASH_CYCLES").ok().and_then(|n| n.parse().ok()).unwrap_or(30);
    let repo = tempfile::tempdir().unwrap();
    let mut journal = Journal { pins: BTreeMap::new(), files: vec![None] };
    for cycle in 0..cycles {
        let after = Duration::from_millis(60 + (cycle * 137) % 400);
        run_and_kill(repo.path(), cycle + 1, after, &mut journal);
        judge(repo.path(), &journal);
    }
    let pinned = journal.pins.values().filter(|state| **state == "pinned").count();
    assert!(pinned as u64 > cycles, "the workers came to acknowledge something: {pinned}");
}

/// Every add writes to the log, and small families keep old log files alive until they are flushed themselves. However
/// many adds there were, a killed process leaves a bounded log behind, and opening it again takes a bounded time.
#[test]
fn the_log_stays_bounded_over_many_adds() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), process()).unwrap();
    let (adds, leaves) = (4000_u64, 24_u64);
    for add in 0..adds {
        let leaves: Vec<_> = (0..leaves).map(|n| leaf(1 + add * leaves + n, 40)).collect();
        let root = node(&leaves.iter().map(|leaf| leaf.cid).collect::<Vec<_>>());
        let writer = store.writer();
        writer.put(leaves).unwrap();
        writer.put([root.clone()]).unwrap();
        writer.commit(&[pin(root.cid)]).unwrap();
    }
    // Closing flushes nothing that is in the log, so that it leaves what a kill leaves.
    drop(store);
    let logs: Vec<u64> = std::fs::read_dir(repo.path().join("db"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "log"))
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    assert!(logs.len() <= 64, "{logs:?}");
    assert!(logs.iter().sum::<u64>() < 32 << 20, "{logs:?}");
    let begin = Instant::now();
    let survivor = Store::open(repo.path(), process()).unwrap();
    eprintln!("opened in {:?}, logs {logs:?}", begin.elapsed());
    assert_eq!(survivor.stat().unwrap().blocks, adds * (leaves + 1));
    assert_eq!(survivor.pins().iter(None).count() as u64, adds);
}
