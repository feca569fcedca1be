//! Damage to the index: its log cut or with a flipped bit at many places, and flipped bits in its other files. The store
//! opens or says which command helps, what was acknowledged and is lost is said, and no byte is ever wrong.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::common::*;
use holdfast_blockstore::{Change, NameRecord, OpenReport, Store, StoreConfig, rebuild_index};
use holdfast_dag::block::Block;
use holdfast_dag::cid::Cid;

/// What is kept: pins, the files root and the record of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Roots {
    pins: BTreeSet<Cid>,
    files: Option<Cid>,
    name: Option<NameRecord>,
}

/// The name whose record changes: the multihash of some key.
fn name() -> Vec<u8> {
    leaf(1, 1).cid.hash().to_bytes()
}

/// A closed store, and what it went through.
struct Past {
    repo: tempfile::TempDir,
    /// After each acknowledged change of what is kept; the last is what there should be.
    states: Vec<Roots>,
    blocks: Vec<Block>,
    deleted: Vec<Block>,
}

fn settings() -> StoreConfig {
    StoreConfig { segment_bytes_max: 300_000, ..process() }
}

/// Adds, pins, unpins, files roots, records of a name and deletions, in several sessions: the last one is in the log alone.
fn past() -> Past {
    let mut past = Past {
        repo: tempfile::tempdir().unwrap(),
        states: vec![Roots::default()],
        blocks: Vec::new(),
        deleted: Vec::new(),
    };
    let mut now = Roots::default();
    for session in 0..3_u64 {
        let store = Store::open(past.repo.path(), settings()).unwrap();
        for round in 0..25 {
            let seed = session * 1000 + round * 10;
            let leaves: Vec<Block> = (1..4).map(|n| leaf(seed + n, 2000 + 700 * n as usize)).collect();
            let root = node(&leaves.iter().map(|leaf| leaf.cid).collect::<Vec<_>>());
            let mut changes = vec![pin(root.cid)];
            if round % 3 == 0 {
                changes.push(Change::FilesRoot(root.cid));
                now.files = Some(root.cid);
            }
            if round % 4 == 1 {
                let record = NameRecord { record: bytes(seed, 300), stored_unix_ms: seed, is_own: true };
                changes.push(Change::NameRecord { name: name(), record: record.clone() });
                now.name = Some(record);
            }
            let writer = store.writer();
            writer.put(&leaves).unwrap();
            writer.put([root.clone()]).unwrap();
            writer.commit(&changes).unwrap();
            now.pins.insert(root.cid);
            past.states.push(now.clone());
            past.blocks.extend(leaves);
            past.blocks.push(root.clone());
            if round % 5 == 4 {
                store.writer().commit(&[unpin(root.cid)]).unwrap();
                now.pins.remove(&root.cid);
                past.states.push(now.clone());
                if now.files != Some(root.cid) {
                    assert!(store.delete_blocks(&[root.cid]).unwrap()[0].result.is_ok());
                    past.blocks.retain(|block| block.cid != root.cid);
                    past.deleted.push(root);
                }
            }
        }
    }
    past
}

fn roots(store: &Store) -> Roots {
    Roots {
        pins: store.pins().iter(None).map(|pin| pin.unwrap().cid).collect(),
        files: store.files_roots().unwrap().current,
        name: store.name_record(&name()).unwrap(),
    }
}

fn index_files(repo: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repo.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| {
            wanted(path.file_name().unwrap().to_str().unwrap()) && path.metadata().unwrap().len() > 0
        })
        .collect();
    files.sort();
    files
}

/// How many times the usual number of places.
fn more() -> usize {
    if std::env::var_os("SOAK").is_some() { 8 } else { 1 }
}

fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == ending)
}

fn is_log(name: &str) -> bool {
    has_ending(name, "log")
}

/// Every block that is to be there has its bytes; a deleted one has them, or none.
fn assert_blocks(store: &Store, past: &Past) {
    for block in &past.blocks {
        assert_has(store, block);
    }
    for block in &past.deleted {
        if let Ok(Some(data)) = store.get(&block.cid) {
            assert_eq!(data, block.data.to_bytes());
        }
    }
}

/// What a damaged copy does when it is opened, and after a rebuild if it does not open. Returns whether it opened.
fn judge(past: &Past, copy: &Path, what: &str) -> bool {
    match Store::open(copy, settings()) {
        Ok(store) => {
            let now = roots(&store);
            let report = store.open_report().clone();
            assert!(past.states.contains(&now), "{what}: a state that never was: {report:?}");
            if report.lost_rounds == 0 {
                assert_eq!(&now, past.states.last().unwrap(), "{what}: lost without a word");
                assert_eq!(store.loss().unwrap(), None);
            } else {
                let loss = store.loss().unwrap().unwrap();
                assert_eq!((loss.rounds, loss.times), (report.lost_rounds, 1), "{what}");
            }
            assert_blocks(&store, past);
            assert_eq!(store.check().unwrap(), Vec::<String>::new(), "{what}");
            // It is remembered until someone takes note of it, and said only once.
            drop(store);
            let store = Store::open(copy, settings()).unwrap();
            assert_eq!(*store.open_report(), OpenReport::default(), "{what}");
            assert_eq!(store.loss().unwrap().is_some(), report.lost_rounds > 0);
            store.acknowledge_loss().unwrap();
            drop(store);
            assert_eq!(Store::open(copy, settings()).unwrap().loss().unwrap(), None);
            true
        }
        Err(error) => {
            assert!(error.to_string().contains("holdfast repo rebuild"), "{what}: {error}");
            judge_rebuilt(past, copy, what);
            false
        }
    }
}

/// A rebuild brings all blocks back, keeps the pins that can be read, invents none, and says what it could not read.
fn judge_rebuilt(past: &Past, copy: &Path, what: &str) -> Roots {
    let report = rebuild_index(copy, &settings()).unwrap();
    let store = Store::open(copy, settings()).unwrap();
    assert_blocks(&store, past);
    assert_eq!(store.check().unwrap(), Vec::<String>::new(), "{what}");
    let now = roots(&store);
    let ever: BTreeSet<Cid> = past.states.iter().flat_map(|state| state.pins.iter().copied()).collect();
    assert!(now.pins.is_subset(&ever), "{what}: a pin that never was");
    let right = &now == past.states.last().unwrap();
    assert!(right || !report.unread.is_empty(), "{what}: lost without a word: {report:?}");
    assert!(right || store.loss().unwrap().is_some(), "{what}: lost and forgotten");
    assert_eq!(report.old_index.is_some(), !report.unread.is_empty(), "{what}: {report:?}");
    now
}

fn flip(path: &Path, at: usize, bit: usize) {
    let mut content = std::fs::read(path).unwrap();
    content[at] ^= 1 << (bit % 8);
    std::fs::write(path, content).unwrap();
}

/// Places in a file: the first bytes, and others spread over it.
fn places(len: usize, number: usize) -> impl Iterator<Item = usize> {
    (0..number).map(move |n| if n < 8 { n.min(len - 1) } else { (n * len / number + n * 7) % len })
}

#[test]
fn a_log_that_is_cut_anywhere_is_noticed() {
    let past = past();
    let log = index_files(past.repo.path(), is_log).pop().unwrap();
    let len = std::fs::metadata(&log).unwrap().len() as usize;
    let mut lost = 0;
    for at in places(len, 60 * more() / 2).chain([len - 1]) {
        let copy = tempfile::tempdir().unwrap();
        copy_repo(past.repo.path(), copy.path());
        let file = index_files(copy.path(), is_log).pop().unwrap();
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(at as u64).unwrap();
        assert!(judge(&past, copy.path(), &format!("cut at {at} of {len}")), "a cut log opens");
        lost += 1;
    }
    assert!(lost >= 30);
    // And one that is not there at all.
    let copy = tempfile::tempdir().unwrap();
    copy_repo(past.repo.path(), copy.path());
    std::fs::remove_file(index_files(copy.path(), is_log).pop().unwrap()).unwrap();
    judge(&past, copy.path(), "no log");
}

#[test]
fn a_log_with_a_flipped_bit_anywhere_never_loses_silently() {
    let past = past();
    let log = index_files(past.repo.path(), is_log).pop().unwrap();
    let len = std::fs::metadata(&log).unwrap().len() as usize;
    for (n, at) in places(len, 40 * more()).enumerate() {
        let copy = tempfile::tempdir().unwrap();
        copy_repo(past.repo.path(), copy.path());
        flip(&index_files(copy.path(), is_log).pop().unwrap(), at, n);
        judge(&past, copy.path(), &format!("flipped at {at} of {len}"));
    }
}

/// A rebuild reads on behind the damage, where RocksDB's recovery stops: only what the damaged batch changed is lost.
#[test]
fn a_rebuild_before_the_first_opening_keeps_what_lies_behind_the_damage() {
    let past = past();
    let log = index_files(past.repo.path(), is_log).pop().unwrap();
    let len = std::fs::metadata(&log).unwrap().len() as usize;
    let last = past.states.last().unwrap();
    for at in [len / 8, len / 3, len / 2] {
        let copy = tempfile::tempdir().unwrap();
        copy_repo(past.repo.path(), copy.path());
        flip(&index_files(copy.path(), is_log).pop().unwrap(), at, 3);
        let now = judge_rebuilt(&past, copy.path(), &format!("flipped at {at} of {len}"));
        let missing = last.pins.difference(&now.pins).count();
        assert!(missing <= 1, "{missing} pins of {} are lost", last.pins.len());
        assert_eq!((now.files, &now.name), (last.files, &last.name));
    }
}

#[test]
fn flipped_bits_in_the_other_files_of_the_index_end_in_right_bytes_or_in_advice() {
    let past = past();
    let files = index_files(past.repo.path(), |name| {
        has_ending(name, "sst") || name.starts_with("MANIFEST") || name == "CURRENT"
    });
    assert!(files.len() > 5, "{files:?}");
    let (mut opened, mut refused, mut failed) = (0, 0, 0);
    for file in &files {
        let len = std::fs::metadata(file).unwrap().len() as usize;
        for (n, at) in places(len, 8 + 2 * more()).skip(6).chain([len - 1]).enumerate() {
            let copy = tempfile::tempdir().unwrap();
            copy_repo(past.repo.path(), copy.path());
            let name = file.file_name().unwrap();
            let what = format!("{} flipped at {at} of {len}", name.display());
            flip(&copy.path().join("db").join(name), at, n);
            match Store::open(copy.path(), settings()) {
                Err(error) => {
                    assert!(error.to_string().contains("holdfast repo rebuild"), "{what}: {error}");
                    refused += 1;
                }
                Ok(store) => {
                    opened += 1;
                    if reads_right(&store, &past, &what) {
                        continue;
                    }
                    failed += 1;
                }
            }
            let now = judge_rebuilt(&past, copy.path(), &what);
            let missing = past.states.last().unwrap().pins.difference(&now.pins).count();
            assert!(missing <= 2, "{what}: {missing} pins lost");
        }
    }
    eprintln!("{opened} opened, {failed} of them needed a rebuild, and {refused} that did not open");
}

/// The kind of a record is one byte, and RocksDB's reader does not come to an end behind some kinds.
#[test]
fn a_record_of_any_kind_is_read_to_an_end() {
    let past = past();
    let files = index_files(past.repo.path(), |name| is_log(name) || name.starts_with("MANIFEST"));
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        let heads = std::iter::successors(Some(0), |at| {
            let next = at + 7 + usize::from(u16::from_le_bytes(bytes[at + 4..at + 6].try_into().unwrap()));
            (next + 7 < bytes.len()).then_some(next)
        });
        let heads: Vec<usize> = heads.collect();
        assert!(heads.len() > 10, "{} records", heads.len());
        let wanted = [0, heads.len() / 2, heads.len() - 1].map(|n| heads[n]);
        for (at, bit) in wanted.into_iter().flat_map(|at| (0..8).map(move |bit| (at + 6, bit))) {
            let copy = tempfile::tempdir().unwrap();
            copy_repo(past.repo.path(), copy.path());
            let name = file.file_name().unwrap();
            flip(&copy.path().join("db").join(name), at, bit);
            judge(&past, copy.path(), &format!("{} with bit {bit} flipped at {at}", name.display()));
        }
    }
}

/// Whether everything can be read. What cannot says which command helps; what can is right.
fn reads_right(store: &Store, past: &Past, what: &str) -> bool {
    let mut right = true;
    let mut fails = |error: String| {
        assert!(error.contains("holdfast repo rebuild"), "{what}: {error}");
        right = false;
    };
    for block in &past.blocks {
        match store.get(&block.cid) {
            Ok(Some(data)) => assert_eq!(data, block.data.to_bytes(), "{what}"),
            Ok(None) => panic!("{what}: {} is missing without a word", block.cid),
            Err(error) => fails(error.to_string()),
        }
    }
    let mut pins = BTreeSet::new();
    for pin in store.pins().iter(None) {
        match pin {
            Ok(pin) => drop(pins.insert(pin.cid)),
            Err(error) => fails(error.to_string()),
        }
    }
    let files = match store.files_roots() {
        Ok(roots) => roots.current,
        Err(error) => {
            fails(error.to_string());
            None
        }
    };
    match store.check() {
        Ok(found) => assert_eq!(found, Vec::<String>::new(), "{what}"),
        Err(error) => fails(error.to_string()),
    }
    let name = match store.name_record(&name()) {
        Ok(name) => name,
        Err(error) => {
            fails(error.to_string());
            None
        }
    };
    if right {
        assert_eq!(&Roots { pins, files, name }, past.states.last().unwrap(), "{what}");
    }
    right
}
