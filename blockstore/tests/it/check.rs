//! The full walk finds every difference between what is derived and what it is derived from.

use crate::common::*;
use crate::tamper::Tampered;

/// A way to spoil one row.
type Spoil = fn(&Tampered);

fn first(index: &Tampered, family: &str) -> (Vec<u8>, Vec<u8>) {
    index.rows(family).into_iter().next().unwrap()
}

#[test]
fn a_sound_store_is_found_sound_and_every_spoiled_row_is_named() {
    let sound = tempfile::tempdir().unwrap();
    {
        let store = open(sound.path());
        let leaves: Vec<_> = (1..20).map(|seed| leaf(seed, 3000)).collect();
        let root = node(&leaves.iter().map(|leaf| leaf.cid).collect::<Vec<_>>());
        put(&store, &leaves);
        put(&store, std::slice::from_ref(&root));
        store.writer().commit(&[pin(root.cid), holdfast_blockstore::Change::FilesRoot(root.cid)]).unwrap();
        assert_consistent(&store);
    }
    let cases: &[(&str, Spoil, &str)] = &[
        (
            "a block less",
            |index| index.delete("meta", &first(index, "meta").0),
            "number of blocks: a walk finds 19",
        ),
        (
            "a counter",
            |index| index.put("stats", b"value_bytes", &7_i64.to_le_bytes()),
            "bytes of values: a walk",
        ),
        (
            "live bytes",
            |index| index.put("stats", b"l:\0\0\0\x01", &7_i64.to_le_bytes()),
            "live bytes of segment 1",
        ),
        (
            "no such place",
            |index| {
                let (key, mut row) = first(index, "meta");
                row[20] = 9;
                index.put("meta", &key, &row);
            },
            "lies outside of what segment",
        ),
        ("malformed meta", |index| index.put("meta", &first(index, "meta").0, b"no"), "is malformed"),
        ("a parent less", |index| index.delete("rlinks", &first(index, "rlinks").0), "rlinks: the row"),
        (
            "a parent more",
            |index| {
                let mut key = first(index, "rlinks").0;
                *key.last_mut().unwrap() ^= 1;
                index.put("rlinks", &key, b"");
            },
            "no links row has",
        ),
        (
            "malformed links",
            |index| index.put("links", &first(index, "links").0, b"\x01\x05"),
            "links: the row",
        ),
        (
            "no links",
            |index| index.put("links", &first(index, "links").0, b"\x01"),
            "is not what the block says",
        ),
        (
            "links of nothing",
            |index| {
                let mut key = first(index, "links").0;
                key[5] ^= 1;
                index.put("links", &key, b"\x01");
            },
            "is not there",
        ),
        ("malformed pin", |index| index.put("pins", &first(index, "pins").0, b"?"), "family pins"),
        ("malformed root", |index| index.put("mfs", b"root", b"?"), "files root"),
        ("a stray mark", |index| index.put("stats", b"x:\x12\x01a", b""), "names no block"),
    ];
    for (name, spoil, expected) in cases {
        let repo = tempfile::tempdir().unwrap();
        copy_repo(sound.path(), repo.path());
        spoil(&Tampered::open(repo.path()));
        let found = open(repo.path()).check().unwrap();
        assert!(found.iter().any(|sentence| sentence.contains(expected)), "{name}: {found:?}");
    }
}
