//! Directories: one block, or a HAMT where that block would be too large.

use crate::cid::{Cid, codec};
use crate::hamt::{self, ShardEntry, ShardSource};
use crate::pb::{put_bytes, put_link_bytes};
use crate::unixfs::{NodeType, UnixFs};

use super::batch::{Batch, Naming};
use super::entry_list::EntryList;
use super::{BlockSink, FileMeta, ImportError, ImportParams, Imported};

/// Gathers the entries of one directory, in any order, and writes it in one pass.
///
/// Memory: about 16 bytes an entry besides its name and binary CID. Of entries with the same name the last one stays.
#[derive(Debug)]
pub struct DirectoryBuilder<'a> {
    params: &'a ImportParams,
    meta: FileMeta,
    records: EntryList,
    keys: Vec<Key>,
}

/// Where an entry's record is. The hash is filled in only when the directory is sharded.
#[derive(Debug, Clone, Copy)]
struct Key {
    hash: u64,
    offset: usize,
}

/// The records, to look entries up in.
struct Records<'a>(&'a EntryList);

impl ShardSource for Records<'_> {
    type Key = Key;

    fn hash(&self, key: Key) -> u64 {
        key.hash
    }

    fn entry(&self, key: Key) -> ShardEntry<'_> {
        self.0.at(key.offset)
    }
}

impl<'a> DirectoryBuilder<'a> {
    /// An empty directory.
    pub fn new(params: &'a ImportParams, meta: FileMeta) -> Self {
        Self { params, meta, records: EntryList::default(), keys: Vec::new() }
    }

    /// A directory of these entries.
    pub fn with_entries(params: &'a ImportParams, meta: FileMeta, entries: EntryList) -> Self {
        let mut keys = Vec::with_capacity(entries.offsets().count());
        keys.extend(entries.offsets().map(|offset| Key { hash: 0, offset }));
        Self { params, meta, records: entries, keys }
    }

    /// Adds an entry, or replaces the one of that name. `tsize` is what [`Imported::tsize`] says of it.
    pub fn add(&mut self, name: &[u8], cid: &Cid, tsize: u64) {
        let offset = self.records.bytes();
        self.records.add(name, cid, tsize);
        self.keys.push(Key { hash: 0, offset });
    }

    /// Entries so far; a name that was added twice counts twice.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Writes the directory, children before parents.
    pub fn finish(mut self, sink: &dyn BlockSink) -> Result<Imported, ImportError> {
        self.params.check()?;
        let records = Records(&self.records);
        let mut batch = Batch::default();
        let data = UnixFs {
            mode: self.meta.mode_bits(),
            mtime: self.meta.mtime,
            ..UnixFs::new(NodeType::Directory)
        };
        let data = data.encode();
        let is_sharded = |keys: &[Key]| exceeds(self.params, self.meta, &records, keys);
        // Names that come twice only ever make the estimate too large, so sorting out the rest can wait.
        if is_sharded(&self.keys) {
            for key in &mut self.keys {
                key.hash = hamt::name_hash(records.entry(*key).name);
            }
            keep_last(&mut self.keys, &records);
            if is_sharded(&self.keys) {
                let root = hamt::build(self.params, self.meta, &records, &self.keys, &mut batch, sink)?;
                batch.put(sink)?;
                return Ok(root);
            }
            for key in &mut self.keys {
                key.hash = 0;
            }
        }
        keep_last(&mut self.keys, &records);
        let (mut block, mut tsize) = (Vec::new(), 0_u64);
        for key in &self.keys {
            let entry = records.entry(*key);
            put_link_bytes(&mut block, entry.cid, Some(entry.name), Some(entry.tsize));
            tsize = tsize.saturating_add(entry.tsize);
        }
        put_bytes(&mut block, 1, &data);
        tsize = tsize.saturating_add(block.len() as u64);
        let cid = batch.add(&Naming::of(self.params), codec::DAG_PB, block)?;
        batch.put(sink)?;
        Ok(Imported { cid, tsize, filesize: 0 })
    }
}

/// Sorts by hash and name, and keeps the last entry of each name.
fn keep_last(keys: &mut Vec<Key>, records: &Records<'_>) {
    keys.sort_unstable_by(|a, b| {
        let names = || records.entry(*a).name.cmp(records.entry(*b).name);
        // Later entries first: `dedup` keeps the first of a run.
        a.hash.cmp(&b.hash).then_with(names).then(b.offset.cmp(&a.offset))
    });
    keys.dedup_by(|a, b| a.hash == b.hash && records.entry(*a).name == records.entry(*b).name);
}

/// Whether the directory of these entries is sharded.
fn exceeds(params: &ImportParams, meta: FileMeta, records: &Records<'_>, keys: &[Key]) -> bool {
    let entries = keys.iter().map(|key| records.entry(*key));
    let bytes = entries.map(|entry| params.entry_bytes(entry.name.len(), entry.cid.len(), entry.tsize));
    params.is_sharded(keys.len(), params.directory_base_bytes(meta) + bytes.sum::<u64>())
}
