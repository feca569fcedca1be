//! A full disk, on a small file system of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::*;
use holdfast_blockstore::{Store, StoreConfig, WriteError};

/// A tmpfs, unmounted at the end.
struct Small {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Small {
    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "holdfast-test"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => {
                Some(Self { path: folder.path().to_owned(), _folder: folder })
            }
            other => {
                cannot_run(&format!("a small file system cannot be mounted (needs root): {other:?}"));
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.path).status());
    }
}

fn settings() -> StoreConfig {
    StoreConfig {
        reserve_bytes: Some(16 << 20),
        reserve_file_bytes: None,
        segment_bytes_max: 4 << 20,
        ..config()
    }
}

/// Adds blocks until there is an error; returns those that were acknowledged.
fn fill(store: &Store, from: u64) -> (Vec<holdfast_dag::block::Block>, WriteError) {
    let mut acknowledged = Vec::new();
    for seed in from.. {
        let block = leaf(seed, 1 << 20);
        let writer = store.writer();
        let result = writer.put([block.clone()]).and_then(|()| writer.commit(&[pin(block.cid)]));
        match result {
            Ok(()) => acknowledged.push(block),
            Err(error) => return (acknowledged, error),
        }
    }
    unreachable!("the range has no end")
}

#[test]
fn a_full_disk_refuses_adds_and_nothing_else_and_heals_by_itself() {
    let Some(disk) = Small::new("80m") else { return };
    let store = Store::open(&disk.path, settings()).unwrap();
    let (first, error) = fill(&store, 1);
    let WriteError::DiskFull { free_bytes, needed_bytes, .. } = error else { panic!("{error}") };
    assert!(free_bytes < needed_bytes);
    assert!(error.to_string().starts_with("no space left on device"), "{error}");
    assert!(first.len() > 20, "{}", first.len());
    // Reading goes on, and so does all that makes space: the reserve is there for it.
    for block in &first {
        assert_has(&store, block);
    }
    let go: Vec<_> = first[..20].iter().map(|block| block.cid).collect();
    store.writer().commit(&go.iter().map(|cid| unpin(*cid)).collect::<Vec<_>>()).unwrap();
    assert!(store.delete_blocks(&go).unwrap().iter().all(|deletion| deletion.result.is_ok()));
    // Adding resumes without a restart.
    let (second, _) = fill(&store, 1000);
    assert!(second.len() >= 15, "{}", second.len());
    for block in first[20..].iter().chain(&second) {
        assert_has(&store, block);
    }
    drop(store);
    let store = Store::open(&disk.path, settings()).unwrap();
    assert_eq!(assert_consistent(&store) as usize, first.len() - 20 + second.len());
}

/// Someone else fills the disk to the last byte, past any gate: RocksDB itself meets ENOSPC.
#[test]
fn a_disk_that_others_fill_to_the_last_byte() {
    let Some(disk) = Small::new("48m") else { return };
    let store = Store::open(&disk.path, settings()).unwrap();
    let kept: Vec<_> = (1..5).map(|seed| leaf(seed, 100_000)).collect();
    for block in &kept {
        put(&store, std::slice::from_ref(block));
    }
    eat_all(&disk.path.join("eaten"));
    assert!(matches!(store.writer().put([leaf(50, 1000)]), Err(WriteError::DiskFull { .. })));
    // Pins have no gate. Whether the last page of the log has room for them or not, the answer is the truth.
    let mut pinned = Vec::new();
    for seed in 0..2000 {
        let cid = leaf(100_000 + seed, 8).cid;
        if store.writer().commit(&[pin(cid)]).is_ok() {
            pinned.push(cid);
        }
    }
    for block in &kept {
        assert_has(&store, block);
    }
    std::fs::remove_file(disk.path.join("eaten")).unwrap();
    let begin = std::time::Instant::now();
    let block = leaf(60, 1000);
    while let Err(error) = store.writer().commit(&[pin(block.cid)]) {
        assert!(begin.elapsed().as_secs() < 60, "writing does not resume: {error}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    put(&store, std::slice::from_ref(&block));
    drop(store);
    let store = Store::open(&disk.path, settings()).unwrap();
    for cid in pinned {
        assert!(store.pins().get(&cid).unwrap().is_some(), "an acknowledged pin");
    }
    assert_eq!(assert_consistent(&store), 5);
}

/// Twenty times, others fill the disk to the last byte while a writer, a reader and someone who removes are at work.
/// Nothing acknowledged is lost, nothing false is acknowledged, `pin rm` and deletion work, reading goes on, and writing
/// resumes without a restart.
#[test]
fn a_disk_that_is_full_twenty_times() {
    let Some(disk) = Small::new("96m") else { return };
    let mut store = Store::open(&disk.path, settings()).unwrap();
    let reserve = disk.path.join("reserve");
    assert_eq!(reserve.metadata().unwrap().len(), 16 << 20, "the reserve is made at once");
    let mut kept: Vec<holdfast_dag::block::Block> = Vec::new();
    let mut gone = Vec::new();
    for round in 0..20_u64 {
        for seed in 0..4 {
            let block = leaf(1 + round * 100 + seed, 200_000);
            let writer = store.writer();
            writer.put([block.clone()]).unwrap();
            writer.commit(&[pin(block.cid)]).unwrap();
            kept.push(block);
        }
        eat_all(&disk.path.join("eaten"));
        // In every fourth round the store is opened while there is no space at all.
        if round % 4 == 3 {
            drop(store);
            store = Store::open(&disk.path, settings()).unwrap();
        }
        let generation = store.stat().unwrap().generation;
        let fresh = leaf(50_000 + round, 1000);
        assert!(matches!(store.writer().put([fresh.clone()]), Err(WriteError::DiskFull { .. })));
        let refused = store.writer().commit(&[pin(kept[0].cid)]);
        assert!(round % 4 == 3 || matches!(refused, Err(WriteError::DiskFull { .. })), "{refused:?}");
        for block in &kept {
            assert_has(&store, block);
        }
        for _ in 0..3 {
            let block = kept.remove((round as usize * 7) % kept.len());
            store.writer().commit(&[unpin(block.cid)]).unwrap();
            let deletion = store.delete_blocks(&[block.cid]).unwrap().remove(0);
            assert!(deletion.result.is_ok(), "{:?}", deletion.result);
            gone.push(block);
        }
        assert_eq!(store.stat().unwrap().generation, generation, "RocksDB never met the full disk");
        assert!(!reserve.exists());
        std::fs::remove_file(disk.path.join("eaten")).unwrap();
        let begin = std::time::Instant::now();
        while let Err(error) = store.writer().put([fresh.clone()]) {
            assert!(begin.elapsed().as_secs() < 60, "writing does not resume: {error}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        store.writer().commit(&[pin(fresh.cid)]).unwrap();
        kept.push(fresh);
        while !reserve.exists() {
            assert!(begin.elapsed().as_secs() < 60, "the reserve is not made again");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    drop(store);
    let store = Store::open(&disk.path, settings()).unwrap();
    assert_eq!(assert_consistent(&store) as usize, kept.len());
    for block in &kept {
        assert_has(&store, block);
        assert!(store.pins().get(&block.cid).unwrap().is_some());
    }
    for block in &gone {
        assert!(is_absent(&store, block));
    }
    assert_eq!(store.loss().unwrap(), None);
}

#[test]
fn a_reserve_can_be_declined_and_never_takes_the_last_space() {
    let Some(disk) = Small::new("24m") else { return };
    let reserve = disk.path.join("reserve");
    drop(Store::open(&disk.path, settings()).unwrap());
    assert!(!reserve.exists(), "there is no room for it and for what adding leaves free");
    let small = StoreConfig { reserve_bytes: Some(4 << 20), ..settings() };
    drop(Store::open(&disk.path, small.clone()).unwrap());
    assert_eq!(reserve.metadata().unwrap().len(), 4 << 20);
    drop(
        Store::open(&disk.path, StoreConfig { reserve_file_bytes: Some(1 << 20), ..small.clone() }).unwrap(),
    );
    assert_eq!(reserve.metadata().unwrap().len(), 1 << 20);
    drop(Store::open(&disk.path, StoreConfig { reserve_file_bytes: Some(0), ..small }).unwrap());
    assert!(!reserve.exists());
}

fn eat_all(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}
