//! Somebody publishes a name: what it points at must not go back to what it was, whatever happens to the machine.

use std::path::{Path, PathBuf};

use holdfast_blockstore::{NAME_RECORD_BYTES_MAX, NameEntry, NameRecord, WriteError, rebuild_index};

use crate::common::*;
use crate::tamper::Tampered;

fn name(seed: u64) -> Vec<u8> {
    leaf(seed, 10).cid.hash().to_bytes()
}

fn record(seed: u64, is_own: bool) -> NameRecord {
    NameRecord { record: bytes(seed, 400), stored_unix_ms: 1_700_000_000_000 + seed, is_own }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/names-1")
}

#[test]
#[ignore = "writes the fixture; run it only to make one for a new version of the rows"]
fn write_fixture() {
    std::fs::create_dir_all(fixture()).unwrap();
    let store = open(&fixture());
    put(&store, &[leaf(1, 10)]);
    store.put_name_record(&name(1), record(1, true)).unwrap();
    store.put_name_record(&name(2), record(2, false)).unwrap();
}

#[test]
fn records_of_version_1_are_read() {
    let repo = tempfile::tempdir().unwrap();
    copy_repo(&fixture(), repo.path());
    let rows = Tampered::open(repo.path()).rows("names");
    let expected = record(1, true);
    let body = [expected.stored_unix_ms.to_le_bytes().as_slice(), &[1], &expected.record].concat();
    let row = [&[1], crc32c::crc32c(&body).to_le_bytes().as_slice(), &body].concat();
    assert!(rows.contains(&([b"ipns:", name(1).as_slice()].concat(), row)), "as the format page says");
    let store = open(repo.path());
    assert_eq!(store.name_record(&name(1)).unwrap(), Some(expected));
    assert_eq!(store.name_record(&name(2)).unwrap(), Some(record(2, false)));
    assert_eq!(store.name_record(&name(3)).unwrap(), None);
    assert_consistent(&store);
}

#[test]
fn a_record_is_there_after_a_crash_and_the_newest_one_counts() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    store.put_name_record(&name(1), record(1, true)).unwrap();
    store.put_name_record(&name(1), record(2, false)).unwrap();
    let crashed = tempfile::tempdir().unwrap();
    copy_repo(repo.path(), crashed.path());
    assert_eq!(open(crashed.path()).name_record(&name(1)).unwrap(), Some(record(2, false)));
}

#[test]
fn names_are_listed_and_forgotten_for_good() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    // More than a page of them.
    for seed in 0..300 {
        store.put_name_record(&name(seed), record(seed, seed % 3 == 0)).unwrap();
    }
    let listed: Vec<NameEntry> = store.names().map(Result::unwrap).collect();
    assert_eq!(listed.len(), 300);
    assert!(listed.is_sorted_by(|one, next| one.name < next.name));
    for seed in 0..300 {
        let stored_unix_ms = record(seed, false).stored_unix_ms;
        let entry = NameEntry { name: name(seed), stored_unix_ms, is_own: seed % 3 == 0 };
        assert!(listed.contains(&entry), "{entry:?}");
    }
    let others = listed.into_iter().filter(|entry| !entry.is_own).map(|entry| entry.name);
    store.remove_name_records(others.chain([name(1000)]).collect()).unwrap();
    let crashed = tempfile::tempdir().unwrap();
    copy_repo(repo.path(), crashed.path());
    let left = open(crashed.path()).names().map(|entry| entry.unwrap().is_own).collect::<Vec<_>>();
    assert_eq!(left, [true; 100]);
    assert_consistent(&store);
}

#[test]
fn a_rebuild_keeps_records_with_an_index_that_opens_and_with_one_that_does_not() {
    for spoil in [false, true] {
        let repo = tempfile::tempdir().unwrap();
        open(repo.path()).put_name_record(&name(1), record(1, true)).unwrap();
        if spoil {
            std::fs::write(repo.path().join("db/CURRENT"), "MANIFEST-999999\n").unwrap();
        }
        rebuild_index(repo.path(), &config()).unwrap();
        let store = open(repo.path());
        assert_eq!(store.name_record(&name(1)).unwrap(), Some(record(1, true)), "spoiled: {spoil}");
    }
}

#[test]
fn a_damaged_record_is_named_and_a_new_one_heals_it() {
    let repo = tempfile::tempdir().unwrap();
    let key = [b"ipns:", name(1).as_slice()].concat();
    for damaged in [&b""[..], b"\x02\0\0\0\0", b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\x01record"] {
        open(repo.path()).put_name_record(&name(1), record(1, true)).unwrap();
        Tampered::open(repo.path()).put("names", &key, damaged);
        let store = open(repo.path());
        let error = store.name_record(&name(1)).unwrap_err().to_string();
        assert!(error.contains("names") && error.contains("name publish"), "{error}");
        assert_eq!(store.check().unwrap().len(), 1);
        store.put_name_record(&name(1), record(2, true)).unwrap();
        assert_eq!(store.name_record(&name(1)).unwrap(), Some(record(2, true)));
        assert_consistent(&store);
    }
}

#[test]
fn what_is_no_record_of_a_name_is_refused() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let of_size = |bytes| NameRecord { record: vec![7; bytes], stored_unix_ms: 0, is_own: false };
    store.put_name_record(&name(1), of_size(NAME_RECORD_BYTES_MAX)).unwrap();
    for (name, record) in [
        (name(1), of_size(NAME_RECORD_BYTES_MAX + 1)),
        (b"no multihash".to_vec(), of_size(1)),
        (Vec::new(), of_size(1)),
    ] {
        let error = store.put_name_record(&name, record).unwrap_err();
        assert!(matches!(error, WriteError::NameRecord { .. }), "{error}");
    }
}
