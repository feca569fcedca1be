//! A store of format 1, as its first version wrote it, opens today and reads the same.

use std::path::{Path, PathBuf};

use holdfast_blockstore::{Change, OpenReport, Pin, PinKind, Store};

use crate::common::*;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

/// What the fixture holds: three leaves, one of them over a page long, a node over them, and one deleted block.
fn leaves() -> [holdfast_dag::block::Block; 3] {
    [raw("first"), raw(Vec::new()), leaf(1, 9000)]
}

#[test]
#[ignore = "writes the fixture; run it only to make one for a new format"]
fn write_fixture() {
    let path = fixture();
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
}

#[test]
fn a_store_of_format_1_opens() {
    let repo = tempfile::tempdir().unwrap();
    copy_repo(&fixture(), repo.path());
    let store = open(repo.path());
    assert_eq!(*store.open_report(), OpenReport::default());
    let root = node(&leaves().map(|leaf| leaf.cid));
    for block in leaves().iter().chain([&root]) {
        assert_has(&store, block);
    }
    assert!(is_absent(&store, &raw("deleted")));
    assert_eq!(store.links(&root.cid).unwrap().unwrap(), leaves().map(|leaf| leaf.cid));
    let pin = store.pins().get(&root.cid).unwrap().unwrap();
    assert_eq!(
        (pin.kind, pin.name.as_str(), pin.created_unix_ms),
        (PinKind::Recursive, "n\u{e9}", 1_700_000_000_000)
    );
    assert_eq!(store.pins().get(&leaves()[0].cid).unwrap().unwrap().kind, PinKind::Direct);
    let holder = store.pins().holder(&leaves()[2].cid).unwrap().unwrap();
    assert_eq!(holder.to_string(), format!("pinned via {}", root.cid));
    assert_eq!(assert_consistent(&store), 4);
    // And goes on.
    put(&store, &[raw("new")]);
    assert_eq!(assert_consistent(&store), 5);
}

/// The segment alone, read by this page's rules and not by the store's code.
#[test]
fn the_segment_is_as_the_format_page_says() {
    let bytes = std::fs::read(fixture().join("segments/00000001.seg")).unwrap();
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
