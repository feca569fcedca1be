//! One bad row never stops a start: it is named, and everything else works.

use crate::common::*;
use crate::tamper::Tampered;
use holdfast_blockstore::{Change, Store, VerifyEvent};
use holdfast_dag::block::Block;

struct Sound {
    repo: tempfile::TempDir,
    leaves: Vec<Block>,
    root: Block,
    other: Block,
}

fn sound() -> Sound {
    let repo = tempfile::tempdir().unwrap();
    let leaves: Vec<_> = (1..20).map(|seed| leaf(seed, 3000)).collect();
    let root = node(&leaves.iter().map(|leaf| leaf.cid).collect::<Vec<_>>());
    let other = node(&[leaves[0].cid]);
    {
        let store = open(repo.path());
        put(&store, &leaves);
        put(&store, &[root.clone(), other.clone()]);
        let first = Change::FilesRoot(other.cid);
        store.writer().commit(&[pin(root.cid), pin(other.cid), first]).unwrap();
        store.writer().commit(&[Change::FilesRoot(root.cid)]).unwrap();
    }
    Sound { repo, leaves, root, other }
}

/// Spoils the store, opens it, and sees that everything works that does not need the spoiled row.
fn spoiled(name: &str, spoil: impl Fn(&Tampered)) -> (Sound, Store) {
    let sound = sound();
    spoil(&Tampered::open(sound.repo.path()));
    let store = open(sound.repo.path());
    let fresh = leaf(77, 500);
    put(&store, std::slice::from_ref(&fresh));
    assert_has(&store, &fresh);
    store.writer().commit(&[pin(fresh.cid)]).unwrap();
    store.writer().commit(&[unpin(fresh.cid)]).unwrap();
    assert!(store.delete_blocks(&[fresh.cid]).unwrap()[0].result.is_ok(), "{name}");
    store.stat().unwrap();
    (sound, store)
}

#[test]
fn a_bad_counter_is_named_and_counted_anew() {
    for key in [&b"blocks"[..], b"value_bytes", b"l:\0\0\0\x01", b"l:bad"] {
        let (sound, store) = spoiled("a counter", |index| index.put("stats", key, b"bad"));
        assert_eq!(store.open_report().bad_rows.len(), 1, "{:?}", store.open_report());
        assert_eq!(assert_consistent(&store) as usize, sound.leaves.len() + 2);
        drop(store);
        assert!(open(sound.repo.path()).open_report().bad_rows.is_empty());
    }
}

#[test]
fn a_bad_length_of_a_segment_is_named_and_its_records_are_read_again() {
    let (sound, store) = spoiled("a length", |index| index.put("stats", b"c:\0\0\0\x01", b"bad"));
    assert_eq!(store.open_report().bad_rows.len(), 1);
    assert_eq!(assert_consistent(&store) as usize, sound.leaves.len() + 2);
    assert_has(&store, &sound.root);
}

#[test]
fn other_bad_rows_of_stats_stop_nothing() {
    for key in [&b"format"[..], b"epoch", b"round", b"lost", b"scrub", b"scrubbed", b"x:", b"g:"] {
        let (sound, store) = spoiled("stats", |index| index.put("stats", key, b"bad"));
        assert_has(&store, &sound.root);
        for block in &sound.leaves {
            assert_has(&store, block);
        }
    }
}

#[test]
fn a_bad_pin_is_named_by_the_listing_which_goes_on() {
    let (sound, store) = spoiled("a pin", |index| {
        let (key, _) = index.rows("pins").remove(0);
        index.put("pins", &key, b"?");
    });
    let rows: Vec<_> = store.pins().iter(None).collect();
    let (good, bad): (Vec<_>, Vec<_>) = rows.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (1, 1));
    let error = bad[0].as_ref().unwrap_err().to_string();
    assert!(error.contains("malformed row 001220") && error.contains("family pins"), "{error}");
    // What it holds is kept all the same.
    assert!(store.delete_blocks(&[sound.leaves[0].cid]).unwrap()[0].result.is_err());
    assert!(store.check().unwrap().iter().any(|sentence| sentence.contains("malformed row 001220")));
}

#[test]
fn a_bad_links_row_is_made_again_from_the_block() {
    let (sound, store) = spoiled("links", |index| {
        for (key, _) in index.rows("links") {
            index.put("links", &key, b"\x01\x7f");
        }
    });
    let found = store.check().unwrap();
    assert_eq!(
        found.iter().filter(|sentence| sentence.starts_with("links: the row")).count(),
        2,
        "{found:?}"
    );
    assert_eq!(store.links(&sound.root.cid).unwrap().unwrap().len(), sound.leaves.len());
    assert_eq!(store.links(&sound.other.cid).unwrap().unwrap().len(), 1);
    assert_consistent(&store);
}

#[test]
fn a_bad_place_costs_its_block_alone_and_verifying_names_it() {
    let (sound, store) = spoiled("meta", |index| {
        let key = [&[0x12, 0x20][..], &sound_hash()].concat();
        index.put("meta", &key, b"?");
    });
    let bad = &sound.leaves[0];
    let error = store.get(&bad.cid).unwrap_err().to_string();
    assert!(error.contains("malformed row 1220") && error.contains("repo rebuild"), "{error}");
    for block in sound.leaves[1..].iter().chain([&sound.root, &sound.other]) {
        assert_has(&store, block);
    }
    let mut named = Vec::new();
    let checked = store.verify(&mut |event| {
        if let VerifyEvent::Damaged(hash, error) = event {
            named.push((hash, error.to_string()));
        }
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(checked.unwrap(), 21);
    assert!(named.len() == 1 && named[0].0 == *bad.cid.hash() && named[0].1.contains("1220"), "{named:?}");
    // Adding it again heals it.
    put(&store, std::slice::from_ref(bad));
    assert_has(&store, bad);
    drop(store);
    holdfast_blockstore::rebuild_index(sound.repo.path(), &config()).unwrap();
    assert_eq!(assert_consistent(&open(sound.repo.path())), 21);
}

fn sound_hash() -> Vec<u8> {
    leaf(1, 3000).cid.hash().digest().to_vec()
}

#[test]
fn a_bad_files_root_is_said_and_the_one_before_is_there() {
    let (sound, store) = spoiled("mfs", |index| index.put("mfs", b"root", b"?"));
    let roots = store.files_roots().unwrap();
    assert!(roots.damage.is_some());
    assert_eq!(roots.usable(), Some(sound.other.cid));
}
