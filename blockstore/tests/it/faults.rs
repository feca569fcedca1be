//! Failing disks: syncs and writes that fail, and a file system that is full. Nothing is acknowledged, nothing that was
//! acknowledged is lost, reading goes on, and writing goes on afterwards in the same process.
//!
//! Faults are injected by a small preloaded library into a child process, which runs one story and asserts it.

use std::path::{Path, PathBuf};
use std::process::Command;

use std::ops::ControlFlow;

use crate::common::*;
use holdfast_blockstore::{GcError, GcEvent, GcOptions, Store, StoreConfig, WriteError};

const STORY: &str = "HOLDFAST_FAULT_STORY";
const CONTROL: &str = "HOLDFAST_FAULT";
const LOG: &str = "HOLDFAST_FAULT_LOG";
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;

/// Builds the library that injects faults. `None`: there is no C compiler.
fn shim(folder: &Path) -> Option<PathBuf> {
    let library = folder.join("faults.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults.c");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-w", "-o"]).arg(&library).arg(source).status();
    match built {
        Ok(status) if status.success() => Some(library),
        other => {
            cannot_run(&format!("the fault injection library does not build with cc: {other:?}"));
            None
        }
    }
}

/// Runs a story of `teller` in a child process with faults.
fn tell(story: &str) {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = shim(folder.path()) else { return };
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::teller", "--ignored", "--nocapture", "--test-threads=1"])
        .env("LD_PRELOAD", library)
        .env(STORY, story)
        .env(CONTROL, folder.path().join("control"))
        .env(LOG, folder.path().join("log"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    assert!(String::from_utf8_lossy(&text).contains("THE END"), "the story was told to its end");
}

/// From now on, `times` calls fail on files whose path contains `part`; negative: all.
fn fault(call: &str, part: &str, code: i32, times: i32) {
    std::fs::write(std::env::var(CONTROL).unwrap(), format!("{call} {part} {code} {times}")).unwrap();
}

fn no_fault() {
    std::fs::write(std::env::var(CONTROL).unwrap(), "").unwrap();
}

#[test]
#[ignore = "the part of the child process, started by the tests below"]
fn teller() {
    let Ok(story) = std::env::var(STORY) else { return };
    let repo = tempfile::tempdir().unwrap();
    let reserve = story.starts_with("remove").then_some(1 << 20).or(Some(0));
    let settings = StoreConfig { reserve_file_bytes: reserve, ..config() };
    let store = Store::open(repo.path(), settings).unwrap();
    match story.as_str() {
        "segment-sync" => failed_commit(&store, repo.path(), "sync", ".seg", EIO),
        "log-sync" => failed_commit(&store, repo.path(), "sync", ".log", EIO),
        "segment-sync-quota" => failed_commit(&store, repo.path(), "sync", ".seg", EDQUOT),
        "log-write-quota" => failed_commit(&store, repo.path(), "write", ".log", EDQUOT),
        "log-write-full" => failed_commit(&store, repo.path(), "write", ".log", ENOSPC),
        "remove-quota" => failed_removal(&store, repo.path(), "write", EDQUOT),
        "remove-full" => failed_removal(&store, repo.path(), "write", ENOSPC),
        "remove-io" => failed_sync_of_removal(&store),
        "log-write" => failed_commit(&store, repo.path(), "write", ".log", EIO),
        "folder-sync" => failed_commit(&store, repo.path(), "sync", "/segments", EIO),
        "append-full" => failed_append(&store, repo.path(), ENOSPC),
        "append-io" => failed_append(&store, repo.path(), EIO),
        "collection-write" => failed_collection(&store, repo.path(), "write"),
        "collection-sync" => failed_collection(&store, repo.path(), "sync"),
        "order" => order(&store),
        "busy-reader" => busy_reader(&store),
        other => panic!("no story {other}"),
    }
    println!("THE END");
}

/// A sync or a write of the log fails while someone commits.
fn failed_commit(store: &Store, repo: &Path, call: &str, part: &str, code: i32) {
    let (old, bystander, lost, later) = (leaf(1, 9000), leaf(2, 9000), leaf(3, 9000), leaf(4, 9000));
    if part != "/segments" {
        put(store, std::slice::from_ref(&old));
    }
    let beside = store.writer();
    beside.put([bystander.clone()]).unwrap();
    fault(call, part, code, -1);
    let writer = store.writer();
    writer.put([lost.clone()]).unwrap();
    let error = writer.commit(&[pin(lost.cid)]).unwrap_err();
    assert!(!matches!(error, WriteError::Generation), "{error}");
    // Reading goes on in the middle of it.
    if part != "/segments" {
        assert_has(store, &old);
    }
    no_fault();
    // What failed is not there, and what was there is.
    if part != "/segments" {
        assert_has(store, &old);
    }
    assert!(call == "sync" && part == ".log" || is_absent(store, &lost));
    // Whoever relied on the same segment or the same rows is told, and does not pin a DAG with a hole.
    assert!(matches!(beside.put([later.clone()]), Err(WriteError::Generation)));
    assert!(matches!(beside.commit(&[pin(bystander.cid)]), Err(WriteError::Generation)));
    // And then everything works again, in the same process.
    put(store, &[lost.clone(), bystander.clone(), later.clone()]);
    store.writer().commit(&[pin(later.cid)]).unwrap();
    for block in [&lost, &bystander, &later] {
        assert_has(store, block);
    }
    assert!(store.stat().unwrap().generation > 0);
    assert_consistent(store);
    let after = tempfile::tempdir().unwrap();
    copy_repo(repo, after.path());
    let survivor = open(after.path());
    assert_has(&survivor, &later);
    assert!(survivor.pins().get(&later.cid).unwrap().is_some());
    assert_consistent(&survivor);
}

/// Rows that say what is gone do not fit: the reserve is given up, and they do.
fn failed_removal(store: &Store, repo: &Path, call: &str, code: i32) {
    let blocks: Vec<_> = (1..5).map(|seed| leaf(seed, 9000)).collect();
    put(store, &blocks);
    store.writer().commit(&blocks.iter().map(|block| pin(block.cid)).collect::<Vec<_>>()).unwrap();
    assert!(repo.join("reserve").exists());
    fault(call, ".log", code, 1);
    store.writer().commit(&[unpin(blocks[0].cid)]).unwrap();
    assert!(!repo.join("reserve").exists());
    assert!(store.delete_blocks(&[blocks[0].cid]).unwrap()[0].result.is_ok());
    // The same for a deletion.
    store.writer().commit(&[unpin(blocks[1].cid)]).unwrap();
    let begin = std::time::Instant::now();
    while !repo.join("reserve").exists() {
        assert!(begin.elapsed().as_secs() < 60, "the reserve is not made again");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    fault(call, ".log", code, 1);
    assert!(store.delete_blocks(&[blocks[1].cid]).unwrap()[0].result.is_ok());
    assert!(!repo.join("reserve").exists());
    let after = tempfile::tempdir().unwrap();
    copy_repo(repo, after.path());
    let survivor = open(after.path());
    assert_eq!(*survivor.open_report(), holdfast_blockstore::OpenReport::default());
    for (block, there) in blocks.iter().zip([false, false, true, true]) {
        assert_eq!(survivor.has(block.cid.hash()).unwrap(), there);
        assert_eq!(survivor.pins().get(&block.cid).unwrap().is_some(), there);
    }
    put(store, &[leaf(9, 9000)]);
    assert_eq!(assert_consistent(store), 3);
}

/// The log with the rows of a deletion does not sync: nothing is given back, and it works later.
fn failed_sync_of_removal(store: &Store) {
    let blocks: Vec<_> = (1..4).map(|seed| leaf(seed, 90_000)).collect();
    put(store, &blocks);
    fault("sync", ".log", EIO, -1);
    store.delete_blocks(&[blocks[0].cid]).unwrap_err();
    assert_has(store, &blocks[1]);
    no_fault();
    let deletion = store.delete_blocks(&[blocks[0].cid, blocks[1].cid]).unwrap();
    // The rows of the first may have reached the disk in spite of the error.
    assert!(deletion[1].result.is_ok(), "{:?}", deletion[1].result);
    put(store, &[blocks[0].clone()]);
    assert_has(store, &blocks[0]);
    assert_eq!(assert_consistent(store), 2);
}

/// Who listens to a collection.
type Events<'a> = &'a mut dyn FnMut(GcEvent<'_>) -> ControlFlow<()>;

/// The log does not take the rows that a collection removes, from its hundredth block on. The collection ends with an
/// error, what it did until then is whole, and the next one does the rest; the same for what was unpinned.
fn failed_collection(store: &Store, repo: &Path, call: &str) {
    let (kept, unpinned) = (tree(1, 30, 5000), tree(2, 300, 5000));
    let garbage: Vec<_> = (0..300).map(|seed| leaf(1_000_000 + seed, 5000)).collect();
    for blocks in [&kept, &unpinned, &garbage] {
        put(store, blocks);
    }
    store.writer().commit(&[pin(root_of(&kept)), pin(root_of(&unpinned))]).unwrap();
    let survives = |garbage_at_least: u64| {
        // As the fault left it, also for those who find the repo like that.
        let after = tempfile::tempdir().unwrap();
        copy_repo(repo, after.path());
        let survivor = open(after.path());
        assert!(is_whole(&survivor, &kept));
        assert!(assert_consistent(&survivor) >= kept.len() as u64 + garbage_at_least);
    };
    let failing = |collect: &dyn Fn(Events<'_>) -> Option<GcError>| {
        let mut removed = 0;
        let error = collect(&mut |event| {
            removed += u32::from(matches!(event, GcEvent::Removed { .. }));
            if removed == 100 {
                fault(call, ".log", EIO, -1);
            }
            ControlFlow::Continue(())
        });
        assert!(matches!(error, Some(GcError::Write(_) | GcError::Generation)), "{error:?}");
        assert!(removed >= 100);
        // Reading goes on in the middle of it.
        assert!(is_whole(store, &kept));
        no_fault();
    };
    failing(&|events| store.collect(&GcOptions::default(), events).err());
    assert!(is_whole(store, &kept) && is_whole(store, &unpinned));
    survives(unpinned.len() as u64);
    let more = leaf(77, 5000);
    put(store, std::slice::from_ref(&more));
    collect(store);
    assert!(is_gone(store, &garbage));
    assert_eq!(assert_consistent(store), (kept.len() + unpinned.len()) as u64);

    store.writer().commit(&[unpin(root_of(&unpinned))]).unwrap();
    failing(&|events| store.collect_unpinned(&[root_of(&unpinned)], events).err());
    survives(0);
    put(store, std::slice::from_ref(&more));
    collect(store);
    assert!(is_gone(store, &unpinned));
    assert_eq!(assert_consistent(store), kept.len() as u64);
    survives(0);
}

/// An append fails after a part of it was written.
fn failed_append(store: &Store, repo: &Path, code: i32) {
    let (old, lost, later) = (leaf(1, 9000), leaf(2, 9000), leaf(3, 9000));
    put(store, std::slice::from_ref(&old));
    let writer = store.writer();
    fault("writev", ".seg", code, 1);
    let error = writer.put([lost.clone()]).unwrap_err();
    assert_eq!(matches!(error, WriteError::DiskFull { .. }), code == ENOSPC, "{error}");
    assert!(is_absent(store, &lost));
    assert_has(store, &old);
    // Nothing that others rely on was touched: the same writer goes on, in the same segment.
    writer.put([later.clone()]).unwrap();
    writer.commit(&[pin(later.cid)]).unwrap();
    put(store, std::slice::from_ref(&lost));
    assert_eq!(segments(repo).len(), 1);
    assert_eq!(assert_consistent(store), 3);
}

/// The log with the rows and the pin is synced after the segment, and the folder of a new segment before it.
fn order(store: &Store) {
    let block = leaf(1, 9000);
    let log = std::env::var(LOG).unwrap();
    std::fs::remove_file(&log).unwrap();
    let writer = store.writer();
    writer.put([block.clone()]).unwrap();
    writer.commit(&[pin(block.cid)]).unwrap();
    let syncs = std::fs::read_to_string(&log).unwrap();
    let place = |end: &str| {
        syncs.lines().position(|line| line.ends_with(end)).unwrap_or_else(|| panic!("{end}: {syncs}"))
    };
    assert!(place(".seg") < place(".log") && place("/segments") < place(".log"), "{syncs}");
    // Rows that a background round indexed are in an unsynced log. A commit that only found their block syncs it.
    let other = leaf(2, 9000);
    let background = store.writer();
    std::fs::remove_file(&log).unwrap();
    background.put([other.clone()]).unwrap();
    let begin = std::time::Instant::now();
    while !std::fs::read_to_string(&log).unwrap_or_default().contains(".seg") {
        assert!(begin.elapsed().as_secs() < 60, "no background round");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // The rows follow, and are not synced.
    std::thread::sleep(std::time::Duration::from_millis(300));
    std::fs::remove_file(&log).unwrap();
    let find_and_commit = || {
        let writer = store.writer();
        assert!(writer.find(&other.cid).unwrap().is_some());
        writer.commit(&[]).unwrap();
        std::fs::read_to_string(&log).unwrap_or_default()
    };
    let syncs = find_and_commit();
    assert!(syncs.contains(".log") && !syncs.contains(".seg"), "{syncs}");
    // And the next one has nothing left to wait for.
    std::fs::remove_file(&log).unwrap();
    assert_eq!(find_and_commit(), "");
}

/// Readers and listings that run while the index is opened again are neither broken nor in the way.
fn busy_reader(store: &Store) {
    let blocks: Vec<_> = (0..3000).map(|seed| leaf(seed, 50)).collect();
    put(store, &blocks);
    let mut listing = store.blocks();
    let first = listing.by_ref().take(10).count();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Acquire) {
                    for block in blocks.iter().step_by(71) {
                        assert_has(store, block);
                    }
                }
            });
        }
        for block in &blocks[..5] {
            fault("sync", ".log", EIO, -1);
            store.writer().commit(&[pin(block.cid)]).unwrap_err();
            no_fault();
            store.writer().commit(&[pin(block.cid)]).unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Release);
    });
    assert_eq!(first + listing.map(Result::unwrap).count(), blocks.len());
}

#[test]
fn a_failed_sync_of_the_segment() {
    tell("segment-sync");
}

#[test]
fn a_failed_sync_of_the_log() {
    tell("log-sync");
}

#[test]
fn a_failed_write_of_the_log() {
    tell("log-write");
}

#[test]
fn a_failed_sync_of_the_folder() {
    tell("folder-sync");
}

#[test]
fn an_append_that_finds_no_space() {
    tell("append-full");
}

#[test]
fn an_append_that_fails() {
    tell("append-io");
}

#[test]
fn values_are_synced_before_the_index_names_them() {
    tell("order");
}

#[test]
fn reading_goes_on_while_the_index_is_opened_again() {
    tell("busy-reader");
}

#[test]
fn a_quota_that_is_exceeded_while_segment_and_log_are_written() {
    tell("segment-sync-quota");
    tell("log-write-quota");
}

#[test]
fn a_log_that_finds_no_space() {
    tell("log-write-full");
}

#[test]
fn removing_goes_on_when_the_log_finds_no_space() {
    tell("remove-full");
}

#[test]
fn removing_goes_on_when_the_quota_is_exceeded() {
    tell("remove-quota");
}

#[test]
fn a_removal_whose_log_does_not_sync() {
    tell("remove-io");
}

#[test]
fn a_write_that_fails_in_the_middle_of_a_collection() {
    tell("collection-write");
}

#[test]
fn a_sync_that_fails_in_the_middle_of_a_collection() {
    tell("collection-sync");
}
