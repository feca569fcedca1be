//! The table against a model, and its rules one by one.

use std::collections::{BTreeMap, HashMap};

use holdfast_blockstore::StoreConfig;
use holdfast_dag::block::Block;
use holdfast_dag::cid::{CidBuilder, Version};
use holdfast_dag::hash::HashKind;
use proptest::prelude::*;

use super::*;

fn table(folder: &tempfile::TempDir) -> Table {
    let store = Store::open(folder.path(), StoreConfig::default()).unwrap();
    let table = Table::new(store, vec![Scope::Wan, Scope::Lan]);
    table.resume().unwrap();
    table
}

/// Stores blocks with these numbers in them.
fn put(table: &Table, numbers: std::ops::Range<u32>) -> Vec<Cid> {
    let builder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
    let block = |number: u32| {
        let data = number.to_be_bytes().to_vec();
        Block::trusted(builder.cid_of(codec::RAW, &[&data]), data)
    };
    let blocks: Vec<Block> = numbers.map(block).collect();
    let cids = blocks.iter().map(|block| block.cid).collect();
    table.store.writer().put(blocks).unwrap();
    cids
}

fn hashes(cids: &[Cid]) -> Vec<Multihash> {
    cids.iter().map(|cid| *cid.hash()).collect()
}

fn all(table: &Table, max: usize) -> Vec<Key> {
    let (mut from, last) = (KadId::from_bytes([0; 32]), KadId::from_bytes([0xff; 32]));
    let mut found: Vec<Key> = Vec::new();
    loop {
        let page = table.keys(from, last, max).unwrap();
        let is_last = page.len() < max;
        // As the sweep does it: from the place behind the last key on.
        if let Some(key) = page.last() {
            let mut next = *key.id().as_bytes();
            next[31] = next[31].wrapping_add(1);
            from = KadId::from_bytes(next);
        }
        found.extend(page);
        if is_last {
            return found;
        }
    }
}

#[test]
fn keys_come_in_the_order_of_the_key_space_each_once_and_wait_for_both_dhts() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(&folder);
    let cids = put(&table, 0..100);
    table.note(&hashes(&cids), false, true).unwrap();
    table.note(&hashes(&cids), false, true).unwrap();
    let found = all(&table, 7);
    assert_eq!(found.len(), 100);
    assert!(found.is_sorted_by_key(Key::id));
    for scope in [Scope::Wan, Scope::Lan] {
        assert_eq!(table.waiting_len(scope), 100);
    }
    let first = table.waiting(Scope::Lan, None, 10).unwrap();
    assert_eq!(first, found[..10]);
    table.settle(Scope::Lan, &first).unwrap();
    assert_eq!(table.waiting_len(Scope::Lan), 90);
    assert_eq!(table.waiting(Scope::Lan, Some(&found[19].id()), 10).unwrap(), found[20..30]);
    assert_eq!(table.waiting_len(Scope::Wan), 100);
    assert_eq!(table.clear_waiting().unwrap(), 100);
    assert_eq!(table.waiting_len(Scope::Wan), 0);
    assert_eq!(all(&table, 1000), found, "clearing the queue keeps the schedule");
}

#[test]
fn a_block_that_went_is_announced_no_more_and_its_row_goes() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(&folder);
    let cids = put(&table, 0..50);
    table.note(&hashes(&cids), false, false).unwrap();
    let key = Key::new(&cids[0].hash().to_bytes()).unwrap();
    assert!(Table::has(&table.store, &key).unwrap());
    table.store.delete_blocks(&cids[..40]).unwrap();
    // Fewer than asked for would mean that there are no more: pages are filled up.
    assert_eq!(all(&table, 5).len(), 10);
    assert!(!Table::has(&table.store, &key).unwrap());
    assert_eq!(table.waiting_len(Scope::Wan), 0);
}

#[test]
fn what_a_sync_did_not_see_is_purged() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(&folder);
    let cids = put(&table, 0..30);
    table.begin_sync().unwrap();
    table.note(&hashes(&cids), true, false).unwrap();
    assert_eq!(table.note(&hashes(&cids[..10]), false, true).unwrap(), [true; 10]);
    table.begin_sync().unwrap();
    assert_eq!(table.note(&hashes(&cids[..10]), false, true).unwrap(), [false; 10], "not in this one");
    assert_eq!(table.note(&hashes(&cids[..10]), false, true).unwrap(), [false; 10]);
    assert_eq!(table.len(), 30);
    assert_eq!(table.purge(&|| true).unwrap(), 10);
    assert_eq!(table.len(), 10);
    assert_eq!(all(&table, 100).len(), 10);
    assert_eq!(table.waiting_len(Scope::Wan), 0, "they were known");
}

#[test]
fn a_sync_that_was_cut_off_leaves_no_rows_that_the_next_one_takes_for_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let generation = {
        let table = table(&folder);
        let generation = table.begin_sync().unwrap();
        let cids = put(&table, 0..3);
        assert_eq!(table.note(&hashes(&cids), true, false).unwrap(), [false; 3]);
        generation
    };
    let table = table(&folder);
    let cids = put(&table, 0..3);
    assert_eq!(table.note(&hashes(&cids[..1]), true, false).unwrap(), [true]);
    assert!(table.begin_sync().unwrap() > generation);
    assert_eq!(table.note(&hashes(&cids[..1]), true, false).unwrap(), [false]);
    assert_eq!(table.purge(&|| true).unwrap(), 1);
}

#[test]
fn a_restart_finds_the_state_and_damage_counts_as_absent() {
    let folder = tempfile::tempdir().unwrap();
    let synced = Synced { generation: 7, strategy: "pinned+mfs".to_owned() };
    {
        let table = table(&folder);
        assert_eq!(table.synced().unwrap(), None);
        table.set_synced(&synced).unwrap();
        table.set_sweep_state(Scope::Wan, Some(vec![1, 2, 3])).unwrap();
        let cids = put(&table, 0..3);
        table.note(&hashes(&cids), false, true).unwrap();
    }
    let table = table(&folder);
    assert_eq!(table.waiting_len(Scope::Lan), 3);
    assert_eq!(table.synced().unwrap(), Some(synced));
    assert_eq!(table.sweep_state(Scope::Wan).unwrap(), Some(vec![1, 2, 3]));
    assert_eq!(table.sweep_state(Scope::Lan).unwrap(), None);
    let damaged = SideChange { key: key_row(&KadId::of(b"x")), value: Some(vec![9; 3]) };
    table.store.side_write(SideTable::Provides, &[damaged]).unwrap();
    assert_eq!(all(&table, 100).len(), 3);
}

#[test]
fn damaged_rows_are_counted_as_long_as_they_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(&folder);
    let cids = put(&table, 0..10);
    table.note(&hashes(&cids), false, true).unwrap();
    let places: Vec<KadId> = all(&table, 100).iter().map(Key::id).collect();
    let damage = |key| {
        let damaged = SideChange { key, value: Some(vec![9; 3]) };
        table.store.side_write(SideTable::Provides, &[damaged]).unwrap();
    };
    damage(key_row(&places[0]));
    damage(key_row(&places[1]));
    damage(queue_row(Scope::Wan, &places[2]));
    damage(queue_row(Scope::Wan, &places[3]));
    assert_eq!((table.len(), counted(&table)), (10, table.counts()));
    // It is new again, and waits already.
    let known = table.note(&hashes(&cids), false, true).unwrap();
    assert_eq!((known.len(), counted(&table)), (10, table.counts()));
    damage(key_row(&places[0]));
    assert_eq!(all(&table, 100).len(), 9);
    assert_eq!((table.len(), counted(&table)), (9, table.counts()));
    // Pages are filled up: one of damaged rows would be taken for the end.
    assert_eq!(table.waiting(Scope::Wan, Some(&places[1]), 2).unwrap().len(), 2);
    assert_eq!(table.waiting(Scope::Wan, None, 100).unwrap().len(), 7);
    assert_eq!((table.waiting_len(Scope::Wan), counted(&table)), (7, table.counts()));
}

#[test]
fn rows_of_which_it_is_not_known_how_many_there_are_are_counted_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    {
        let table = table(&folder);
        let cids = put(&table, 0..10);
        table.note(&hashes(&cids), false, true).unwrap();
        let place = all(&table, 1)[0].id();
        let none = [vec![kind::COUNTS], key_row(&place)].map(removal);
        table.store.side_write(SideTable::Provides, &none).unwrap();
    }
    let table = table(&folder);
    assert_eq!((table.len(), table.waiting_len(Scope::Wan), table.waiting_len(Scope::Lan)), (9, 9, 9));
    assert_eq!(table.waiting(Scope::Lan, None, 100).unwrap(), all(&table, 100), "what went waits no longer");
}

/// How many rows there are.
fn counted(table: &Table) -> Counts {
    let rows = |prefix: &[u8]| {
        table.store.side_page(SideTable::Provides, prefix, None, 10_000).unwrap().len() as u64
    };
    let mut counts = Counts::default();
    counts.keys = rows(&[kind::KEY]);
    for scope in SCOPES {
        *counts.waiting_mut(scope) = rows(&[kind::NEW, scope_byte(scope)]);
    }
    counts
}

/// Something that happens to a table, of blocks by their numbers.
#[derive(Debug, Clone)]
enum Happens {
    Note { numbers: Vec<u32>, is_whole: bool, announce: bool },
    Settle { scope: Scope, numbers: Vec<u32> },
    Put(std::ops::Range<u32>),
    Delete(Vec<u32>),
    Read,
    Sync(Vec<u32>),
    Clear,
    Restart,
}

/// Numbers of blocks, some of them twice.
fn numbers() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..16_u32, 0..12)
}

fn happens() -> impl Strategy<Value = Happens> {
    let scope = || prop::sample::select(SCOPES.as_slice());
    prop_oneof![
        4 => (numbers(), any::<bool>(), any::<bool>())
            .prop_map(|(numbers, is_whole, announce)| Happens::Note { numbers, is_whole, announce }),
        4 => (scope(), numbers()).prop_map(|(scope, numbers)| Happens::Settle { scope, numbers }),
        2 => (0..16_u32, 1..8_u32).prop_map(|(first, count)| Happens::Put(first..(first + count).min(16))),
        1 => numbers().prop_map(Happens::Delete),
        2 => Just(Happens::Read),
        1 => numbers().prop_map(Happens::Sync),
        1 => Just(Happens::Clear),
        1 => Just(Happens::Restart),
    ]
}

/// What a table should hold.
#[derive(Debug, Default)]
struct Model {
    stored: BTreeSet<u32>,
    /// Keys, and whether what is below them was walked since the last sync began.
    keys: BTreeMap<u32, bool>,
    waiting: HashMap<Scope, BTreeSet<u32>>,
}

impl Model {
    fn keep(&mut self, stays: impl Fn(u32) -> bool) {
        self.keys.retain(|number, _| stays(*number));
        self.waiting.values_mut().for_each(|waiting| waiting.retain(|number| stays(*number)));
    }

    fn note(&mut self, numbers: &[u32], is_whole: bool, announce: bool) -> Vec<bool> {
        let was_whole = numbers.iter().map(|number| self.keys.get(number) == Some(&true)).collect();
        for number in numbers {
            if announce && !self.keys.contains_key(number) {
                for scope in SCOPES {
                    self.waiting.entry(scope).or_default().insert(*number);
                }
            }
            *self.keys.entry(*number).or_default() |= is_whole;
        }
        was_whole
    }
}

struct Run {
    folder: tempfile::TempDir,
    table: Option<Table>,
    cids: Vec<Cid>,
    model: Model,
}

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let table = table(&folder);
        let cids = put(&table, 0..16);
        Self {
            folder,
            table: Some(table),
            cids,
            model: Model { stored: (0..16).collect(), ..Model::default() },
        }
    }

    fn cids(&self, numbers: &[u32]) -> Vec<Cid> {
        numbers.iter().map(|number| self.cids[*number as usize]).collect()
    }

    fn keys(&self, numbers: impl IntoIterator<Item = u32>) -> BTreeSet<Key> {
        numbers.into_iter().map(|number| self.key(number)).collect()
    }

    fn key(&self, number: u32) -> Key {
        Key::new(&self.cids[number as usize].hash().to_bytes()).unwrap()
    }

    fn happen(&mut self, happens: Happens) {
        let table = self.table.as_ref().unwrap();
        match happens {
            Happens::Note { numbers, is_whole, announce } => {
                let walked = table.note(&hashes(&self.cids(&numbers)), is_whole, announce).unwrap();
                assert_eq!(walked, self.model.note(&numbers, is_whole, announce));
            }
            Happens::Settle { scope, numbers } => {
                let keys: Vec<Key> = numbers.iter().map(|number| self.key(*number)).collect();
                table.settle(scope, &keys).unwrap();
                let waiting = self.model.waiting.entry(scope).or_default();
                waiting.retain(|number| !numbers.contains(number));
            }
            Happens::Put(numbers) => {
                put(table, numbers.clone());
                self.model.stored.extend(numbers);
            }
            Happens::Delete(numbers) => {
                table.store.delete_blocks(&self.cids(&numbers)).unwrap();
                self.model.stored.retain(|number| !numbers.contains(number));
            }
            Happens::Read => {
                let stored = self.model.stored.clone();
                self.model.keep(|number| stored.contains(&number));
                let found: BTreeSet<Key> = all(table, 5).into_iter().collect();
                assert_eq!(found, self.keys(self.model.keys.keys().copied()));
            }
            Happens::Sync(numbers) => {
                table.begin_sync().unwrap();
                self.model.keys.values_mut().for_each(|is_whole| *is_whole = false);
                table.note(&hashes(&self.cids(&numbers)), false, true).unwrap();
                self.model.note(&numbers, false, true);
                self.model.keep(|number| numbers.contains(&number));
                assert_eq!(table.purge(&|| true).unwrap(), self.model.keys.len() as u64);
            }
            Happens::Clear => {
                let most = self.model.waiting.values().map(BTreeSet::len).max().unwrap_or(0);
                assert_eq!(table.clear_waiting().unwrap(), most);
                self.model.waiting.clear();
            }
            Happens::Restart => self.restart(),
        }
    }

    fn restart(&mut self) {
        self.table = None;
        self.table = Some(table(&self.folder));
    }

    fn check(&self) {
        let table = self.table.as_ref().unwrap();
        assert_eq!(table.counts(), counted(table));
        assert_eq!(table.len(), self.model.keys.len() as u64);
        for scope in SCOPES {
            let model = self.model.waiting.get(&scope).cloned().unwrap_or_default();
            assert_eq!(table.waiting_len(scope), model.len());
            let waiting: BTreeSet<Key> = table.waiting(scope, None, 100).unwrap().into_iter().collect();
            assert_eq!(waiting, self.keys(model));
        }
    }
}

#[test]
fn whatever_happens_the_counts_are_those_of_the_rows_and_the_rows_those_of_the_model() {
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(all in prop::collection::vec(happens(), 1..40))| {
        let mut run = Run::new();
        for happens in all {
            run.happen(happens);
            run.check();
        }
    });
}
