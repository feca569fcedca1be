//! Listing directories: what was put in comes out, and shards that are not sound are refused.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::blocks::{Blocks, Child, identity};
use super::{error_of, walk};
use crate::cid::{Cid, codec};
use crate::hamt::read::ShardError;
use crate::read::{DirEntry, DirReader, Namespace, ReadError, Resolver};

fn list(blocks: &Blocks, root: Cid) -> Vec<DirEntry> {
    walk(blocks, &mut DirReader::new(root), 1 << 20).items
}

fn shard_error_of(blocks: &Blocks, root: Cid) -> ShardError {
    match error_of(blocks, &mut DirReader::new(root)) {
        ReadError::Shard { source, .. } => source,
        error => panic!("{error}"),
    }
}

#[test]
fn a_basic_directory_is_listed_in_its_own_order() {
    let mut blocks = Blocks::default();
    let file = blocks.raw(b"x");
    let names = [&b"b"[..], b"a", b"", b"a", b"\xff/\n"];
    let children: Vec<Child> =
        names.iter().map(|name| Child { size: 7, ..Child::named(name, file) }).collect();
    let root = blocks.dir(&children);
    let listed = list(&blocks, root);
    assert_eq!(listed.iter().map(|entry| entry.name.as_slice()).collect::<Vec<_>>(), names);
    assert!(listed.iter().all(|entry| (entry.cid, entry.tsize) == (file, 7)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_entry_of_a_sharded_directory_is_listed_once_and_found(
        bits in 3..=10_u32,
        names in prop::collection::btree_set("[a-z]{1,6}", 0..300),
        window in prop_oneof![Just(0_u64), Just(20_000), Just(1 << 20)],
    ) {
        let mut blocks = Blocks::default();
        let entries: BTreeMap<Vec<u8>, Cid> =
            names.iter().map(|name| (name.clone().into_bytes(), identity(codec::RAW, name.as_bytes()))).collect();
        let root = blocks.hamt(1 << bits, &entries, 0);
        let shards = blocks.by_cid.len();
        let listing = walk(&blocks, &mut DirReader::new(root), window);
        prop_assert_eq!(listing.items.len(), entries.len());
        let listed: BTreeMap<Vec<u8>, Cid> =
            listing.items.into_iter().map(|entry| (entry.name, entry.cid)).collect();
        prop_assert_eq!(&listed, &entries);
        prop_assert_eq!(listing.asked.len(), shards);
        for (name, cid) in &entries {
            let path = [String::from_utf8(name.clone()).unwrap()];
            let found = walk(&blocks, &mut Resolver::new(Namespace::Ipfs, root, path), window);
            prop_assert_eq!(found.items[0].cid, *cid);
            prop_assert!(found.asked.len() <= 1 + 64 / bits as usize);
        }
        let mut absent = Resolver::new(Namespace::Ipfs, root, ["NOT THERE".to_owned()]);
        let error = error_of(&blocks, &mut absent);
        prop_assert_eq!(error.to_string(), format!("no link named \"NOT THERE\" under {root}"));
    }
}

#[test]
fn shards_are_listed_in_the_order_of_their_hashes() {
    let mut blocks = Blocks::default();
    let entries: BTreeMap<Vec<u8>, Cid> = (0..2000_u32)
        .map(|number| (format!("file {number}").into_bytes(), identity(codec::RAW, &number.to_be_bytes())))
        .collect();
    let root = blocks.hamt(256, &entries, 0);
    let listed: Vec<u64> =
        list(&blocks, root).iter().map(|entry| crate::hamt::name_hash(&entry.name)).collect();
    assert_eq!(listed.len(), 2000);
    assert!(listed.is_sorted());
}

#[test]
fn fanouts_that_the_specification_does_not_allow_are_refused() {
    let mut blocks = Blocks::default();
    for fanout in [0, 1, 2, 4, 7, 12, 100, 1025, 2048, 1 << 32, 1 << 63, u64::MAX] {
        let root = blocks.shard(fanout, &[], &[]);
        assert_eq!(shard_error_of(&blocks, root), ShardError::Fanout, "{fanout}");
        let error = error_of(&blocks, &mut Resolver::new(Namespace::Ipfs, root, ["x".to_owned()]));
        assert!(matches!(error, ReadError::Shard { .. }), "{error}");
    }
    for fanout in [8, 16, 32, 64, 128, 256, 512, 1024] {
        let root = blocks.shard(fanout, &[], &[]);
        assert_eq!(list(&blocks, root), []);
    }
}

#[test]
fn bitfields_and_prefixes_must_agree_with_the_links() {
    let mut blocks = Blocks::default();
    let file = blocks.raw(b"x");
    let child = |name: &str| Child::named(name, file);
    let wrong = [
        (vec![0b1], vec![], ShardError::Bitfield),
        (vec![0b1], vec![child("0x"), child("1x")], ShardError::Bitfield),
        (vec![], vec![child("0x")], ShardError::Bitfield),
        (vec![0, 0, 1], vec![child("0x")], ShardError::Bitfield),
        (vec![0xff; 300], vec![child("0x")], ShardError::Bitfield),
        (vec![0b10], vec![child("0x")], ShardError::Prefix),
        (vec![0b1], vec![child("")], ShardError::Prefix),
        (vec![0b1], vec![child("\u{e9}x")], ShardError::Prefix),
        (vec![0b100, 0], vec![child("ax")], ShardError::Prefix),
    ];
    for (bitfield, children, expected) in wrong {
        let root = blocks.shard(16, &bitfield, &children);
        assert_eq!(shard_error_of(&blocks, root), expected, "{bitfield:?}");
    }
    let right = blocks.shard(16, &[0b100, 0], &[child("Ax")]);
    assert_eq!(list(&blocks, right)[0].name, b"x");
}

#[test]
fn shards_below_must_be_shards_of_the_same_kind() {
    let mut blocks = Blocks::default();
    let below = |blocks: &mut Blocks, cid| blocks.shard(8, &[1], &[Child::named("0", cid)]);
    let other_fanout = blocks.shard(16, &[], &[]);
    let root = below(&mut blocks, other_fanout);
    assert_eq!(shard_error_of(&blocks, root), ShardError::MixedFanout);
    for no_shard in [blocks.dir(&[]), blocks.leaf(b"x"), blocks.raw(b"x")] {
        let root = below(&mut blocks, no_shard);
        let error = error_of(&blocks, &mut DirReader::new(root));
        assert!(matches!(error, ReadError::Inconsistent { .. }), "{error}");
    }
    // 21 levels of 3 bits; there is no 22nd.
    let empty = blocks.shard(8, &[], &[]);
    let deep = (0..21).fold(empty, |cid, _| below(&mut blocks, cid));
    assert_eq!(shard_error_of(&blocks, deep), ShardError::Depth);
}

#[test]
fn what_is_no_directory_says_so() {
    let mut blocks = Blocks::default();
    let words = |blocks: &Blocks, cid| error_of(blocks, &mut DirReader::new(cid)).to_string();
    let (raw, file) = (blocks.raw(b"x"), blocks.leaf(b"x"));
    let cbor = blocks.put(codec::DAG_CBOR, vec![0xa0]);
    assert_eq!(words(&blocks, raw), "merkledag node was not a directory or shard");
    assert_eq!(words(&blocks, file), "merkledag node was not a directory or shard");
    assert_eq!(words(&blocks, cbor), "unknown node type");
}
