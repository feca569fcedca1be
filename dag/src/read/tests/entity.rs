//! The blocks of one entity: exactly those that reading it needs, parents first, each once.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::blocks::{Blocks, Child};
use super::file::{build, tree};
use super::walk;
use crate::cid::{Cid, identity_data};
use crate::read::{DagWalk, FileBlocks, FileReader, ShardBlocks};

fn cids(items: &[(Cid, bytes::Bytes)]) -> Vec<Cid> {
    items.iter().map(|(cid, _)| *cid).collect()
}

/// What is left of a list where only the first of equal ones stays.
fn first_sights(all: &[Cid]) -> Vec<Cid> {
    let mut seen = HashSet::new();
    all.iter().copied().filter(|cid| seen.insert(*cid)).collect()
}

proptest! {
    #[test]
    fn the_blocks_of_a_range_are_those_that_reading_it_asks_for(
        tree in tree(),
        range in (0..60_u64, 0..60_u64),
        window in 1..200_000_u64,
    ) {
        let (mut blocks, mut content) = (Blocks::default(), Vec::new());
        let root = build(&mut blocks, &tree, &mut content);
        let (offset, length) = (range.0, Some(range.1));
        let needed = walk(&blocks, &mut FileReader::new(root, offset, length), window).asked;
        let once = cids(&walk(&blocks, &mut FileBlocks::new(root, offset, length), window).items);
        prop_assert_eq!(once.iter().collect::<HashSet<_>>(), needed.iter().collect());
        prop_assert_eq!(first_sights(&once), once.clone(), "nothing twice");
        if identity_data(&root).is_none() {
            prop_assert_eq!(once.first(), Some(&root), "parents come first");
        }
        let mut repeating = FileBlocks::new(root, offset, length).with_duplicates();
        prop_assert_eq!(first_sights(&cids(&walk(&blocks, &mut repeating, window).items)), once);
    }
}

#[test]
fn a_part_that_the_range_cuts_through_is_gone_through_again_where_more_of_it_is_wanted() {
    let mut blocks = Blocks::default();
    let (a, b) = (blocks.raw(b"aaaa"), blocks.raw(b"bbbb"));
    let pair = blocks.inner(b"", &[Child::part(a, 4), Child::part(b, 4)]);
    let root = blocks.inner(b"", &[Child::part(pair, 8), Child::part(pair, 8)]);
    // The first pair begins before the range, the second lies in it.
    let given = cids(&walk(&blocks, &mut FileBlocks::new(root, 6, Some(10)), 1 << 20).items);
    assert_eq!(given, [root, pair, b, a]);
    // A file that unfolds to 2^60 bytes of few blocks has few blocks.
    let mut node = (a, 4);
    for _ in 0..58 {
        node = (blocks.inner(b"", &[Child::part(node.0, node.1), Child::part(node.0, node.1)]), 2 * node.1);
    }
    assert_eq!(walk(&blocks, &mut FileBlocks::new(node.0, 1, None), 1 << 20).items.len(), 59);
}

#[test]
fn a_directory_is_its_own_blocks_alone() {
    let mut blocks = Blocks::default();
    let entry = blocks.raw(b"entry");
    let basic = blocks.dir(&[Child::named("a", entry)]);
    assert_eq!(cids(&walk(&blocks, &mut ShardBlocks::new(basic), 1).items), [basic]);
    let entries: BTreeMap<Vec<u8>, Cid> =
        (0..200).map(|index| (format!("name-{index}").into_bytes(), entry)).collect();
    let sharded = blocks.hamt(8, &entries, 0);
    let shards = cids(&walk(&blocks, &mut ShardBlocks::new(sharded), 1 << 20).items);
    let all = cids(&walk(&blocks, &mut DagWalk::new([sharded]), 1 << 20).items);
    assert!(shards.len() > 20, "it has shards below shards");
    assert_eq!(shards, all.into_iter().filter(|cid| *cid != entry).collect::<Vec<_>>());
    let mut repeating = DagWalk::new([sharded]).with_duplicates();
    assert_eq!(walk(&blocks, &mut repeating, 1 << 20).items.len(), shards.len() + 200);
}
