//! Stores of each format, as its first version wrote them, open today and read the same.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use holdfast_blockstore::{Change, FORMAT, FilesRoots, OpenReport, Pin, PinKind, Store};

use crate::common::*;
use crate::damage::damage;
use crate::tamper::Tampered;

fn fixture(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{format}"))
}

/// What the fixtures hold: three leaves, one of them over a page long, a node over them, and one deleted block.
fn leaves() -> [holdfast_dag::block::Block; 3] {
    [raw("first"), raw(Vec::new()), leaf(1, 9000)]
}

/// And from format 2 on: two files roots, one after the other, a damaged leaf, a node that was dropped as damaged, and a
/// scrub that came to its end.
fn damaged() -> holdfast_dag::block::Block {
    leaf(2, 700)
}

fn dropped() -> holdfast_dag::block::Block {
    node(&[leaves()[0].cid, damaged().cid])
}

#[test]
#[ignore = "writes the fixture; run it only to make one for a new format"]
fn write_fixture() {
    let path = fixture(FORMAT);
    std::fs::create_dir_all(&path).unwrap();
    let store = Store::open(&path, config()).unwrap();
    let root = node(&leaves().map(|leaf| leaf.cid));
    put(&store, &leaves());
    put(&store, &[raw("deleted"), root.clone()]);
    let named = |cid, kind| {
        Change::Pin(Pin { cid, kind, name: "n\u{e9}".to_owned(), created_unix_ms: 1_700_000_000_000 })
    };
    store
        .writer()
        .commit(&[named(root.cid, PinKind::Recursive), named(leaves()[0].cid, PinKind::Direct)])
        .unwrap();
    assert!(store.delete_blocks(&[raw("deleted").cid]).unwrap()[0].result.is_ok());
    put(&store, &[damaged(), dropped()]);
    store.writer().commit(&[Change::FilesRoot(dropped().cid)]).unwrap();
    store.writer().commit(&[Change::FilesRoot(root.cid)]).unwrap();
    damage(&path, &dropped());
    let options = holdfast_blockstore::VerifyOptions { drop_damaged: true, ..Default::default() };
    store.verify_with(&options, &mut |_| ControlFlow::Continue(())).unwrap();
    damage(&path, &damaged());
    store.scrub(0, &mut || true).unwrap().unwrap();
    put(&store, &[]);
}

fn assert_reads_the_same(store: &Store) {
    assert_eq!(*store.open_report(), OpenReport::default());
    assert_eq!(store.loss().unwrap(), None);
    let root = node(&leaves().map(|leaf| leaf.cid));
    for block in leaves().iter().chain([&root]) {
        assert_has(store, block);
    }
    assert!(is_absent(store, &raw("deleted")));
    assert_eq!(store.links(&root.cid).unwrap().unwrap(), leaves().map(|leaf| leaf.cid));
    let pin = store.pins().get(&root.cid).unwrap().unwrap();
    assert_eq!(
        (pin.kind, pin.name.as_str(), pin.created_unix_ms),
        (PinKind::Recursive, "n\u{e9}", 1_700_000_000_000)
    );
    assert_eq!(store.pins().get(&leaves()[0].cid).unwrap().unwrap().kind, PinKind::Direct);
    let holder = store.pins().holder(&leaves()[2].cid).unwrap().unwrap();
    assert_eq!(holder.to_string(), format!("pinned via {}", root.cid));
}

#[test]
fn a_store_of_format_1_opens_and_becomes_one_of_the_newest() {
    let repo = tempfile::tempdir().unwrap();
    copy_repo(&fixture(1), repo.path());
    {
        let store = open(repo.path());
        assert_reads_the_same(&store);
        assert_eq!(store.files_roots().unwrap(), FilesRoots::default());
        assert_eq!(assert_consistent(&store), 4);
        // And goes on.
        put(&store, &[raw("new")]);
        store.writer().commit(&[Change::FilesRoot(raw("new").cid)]).unwrap();
        assert_eq!(assert_consistent(&store), 5);
    }
    let format =
        |index: &Tampered| index.rows("stats").into_iter().find(|(key, _)| key == b"format").unwrap().1;
    assert_eq!(format(&Tampered::open(repo.path())), FORMAT.to_le_bytes());
    assert_eq!(assert_consistent(&open(repo.path())), 5);
}

#[test]
fn a_store_of_format_2_opens() {
    let repo = tempfile::tempdir().unwrap();
    copy_repo(&fixture(2), repo.path());
    let store = open(repo.path());
    assert_reads_the_same(&store);
    let root = node(&leaves().map(|leaf| leaf.cid));
    let roots = FilesRoots { current: Some(root.cid), previous: Some(dropped().cid), damage: None };
    assert_eq!(store.files_roots().unwrap(), roots);
    assert!(is_absent(&store, &dropped()));
    assert!(!store.has(damaged().cid.hash()).unwrap());
    assert_eq!(store.stat().unwrap().damaged_blocks, 1);
    let scrub = store.scrub_state().unwrap();
    assert_eq!(scrub.last.map(|last| (last.blocks, last.damaged)), Some((5, 1)));
    assert_eq!(scrub.current, None);
    put(&store, &[damaged(), dropped()]);
    assert_eq!(assert_consistent(&store), 6);
}

#[test]
fn the_witness_is_as_the_format_page_says() {
    let bytes = std::fs::read(fixture(2).join("witness")).unwrap();
    assert_eq!((bytes.len(), &bytes[..12]), (32, &b"HOLDFWIT\x01\0\0\0"[..]));
    assert_eq!(bytes[28..], crc32c::crc32c(&bytes[..28]).to_le_bytes());
    let repo = tempfile::tempdir().unwrap();
    copy_repo(&fixture(2), repo.path());
    let round = Tampered::open(repo.path()).rows("stats").into_iter().find(|(key, _)| key == b"round");
    assert_eq!(round.unwrap().1, bytes[12..20]);
}

/// The segment alone, read by this page's rules and not by the store's code.
#[test]
fn the_segment_is_as_the_format_page_says() {
    let bytes = std::fs::read(fixture(1).join("segments/00000001.seg")).unwrap();
    assert_eq!(&bytes[..8], b"HOLDFSEG");
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(u32_at(28), crc32c::crc32c(&bytes[..28]));
    let (mut at, mut found) = (32, Vec::new());
    while at < bytes.len() {
        assert_eq!(&bytes[at..at + 3], b"HFR");
        let (size, hash) = (u32_at(at + 8) as usize, usize::from(bytes[at + 12]));
        let placed =
            [&1_u32.to_le_bytes()[..], &(at as u64).to_le_bytes(), &bytes[at + 8..at + 32 + hash]].concat();
        assert_eq!(u32_at(at + 4), crc32c::crc32c(&placed));
        found.push((bytes[at + 3], size));
        at += 32 + hash + size;
    }
    let root = node(&leaves().map(|leaf| leaf.cid));
    assert_eq!(found, [(1, 5), (1, 0), (1, 9000), (0x81, 7), (1, root.data.len())]);
}
