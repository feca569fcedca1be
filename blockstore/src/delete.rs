//! The one guarded delete: every removal of a block goes through it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use holdfast_dag::cid::{Cid, identity_data};
use rocksdb::WriteBatch;
use rustix::fs::FallocateFlags;

use crate::committer::Deltas;
use crate::config::Durability;
use crate::error::{DeleteError, IndexError, WriteError};
use crate::holder::{ANCESTORS_NEAR, Holder, Kept, holder};
use crate::index::Index;
use crate::links::rlinks_keys;
use crate::pending::Count;
use crate::recover::forget;
use crate::rows::{MetaRow, family, split_links_key, stats_key};
use crate::segment::{Place, STATE_DELETED, STATE_OFFSET};
use crate::store::{Inner, Store, counter};
use crate::sync::{lock, read, write};

/// Blocks deleted under one hold of their locks: what a put of such a block waits for at most.
pub(crate) const CHUNK: usize = 64;
/// A block that is just being written is waited for this often before it counts as in use.
const TRIES: usize = 3;
/// How often a block with many ancestors is looked at again because something became a root meanwhile.
const TRIES_FAR: usize = 8;
/// Holes are punched in whole pages.
const PAGE_BYTES: u64 = 4096;

/// What became of one block.
#[derive(Debug)]
pub struct Deletion {
    /// The block that was asked for.
    pub cid: Cid,
    /// The bytes given back, or why it stayed.
    pub result: Result<u64, DeleteError>,
}

/// A record that the index no longer names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dead {
    pub(crate) place: Place,
    pub(crate) multihash_len: usize,
}

/// What a look at one block came to.
pub(crate) enum Look {
    Done(Result<u64, DeleteError>),
    /// Rows of it are on their way into the index.
    Pending,
    /// It has more ancestors than are climbed while locks are held.
    Far,
    /// A root that is no pin holds it.
    Kept,
}

/// Roots that hold a block besides pins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counting {
    /// None, as Kubo's `block rm` has it.
    Pins,
    /// The mutable file system and what is held by hand.
    AllRoots,
}

impl Store {
    /// Deletes blocks, each unless it is pinned (itself or through a recursive pin above it) or in use by a writer in
    /// flight. The outcome of each is in the order given; what is reported deleted stays deleted after a power cut.
    pub fn delete_blocks(&self, cids: &[Cid]) -> Result<Vec<Deletion>, WriteError> {
        self.inner().with_reserve(|| self.delete_blocks_now(cids))
    }

    fn delete_blocks_now(&self, cids: &[Cid]) -> Result<Vec<Deletion>, WriteError> {
        let mut done = Vec::with_capacity(cids.len());
        for chunk in cids.chunks(CHUNK) {
            let results = self.inner().delete_some(chunk, Counting::Pins)?;
            for (cid, look) in chunk.iter().zip(results) {
                let result = match look {
                    Look::Done(result) => result,
                    Look::Pending | Look::Kept => Err(DeleteError::InUse),
                    Look::Far => self.inner().delete_far(cid)?,
                };
                done.push(Deletion { cid: *cid, result });
            }
        }
        Ok(done)
    }
}

impl Inner {
    /// Deletes a chunk of blocks, and looks again at those that are just being written.
    pub(crate) fn delete_some(&self, chunk: &[Cid], counting: Counting) -> Result<Vec<Look>, WriteError> {
        let mut results = self.delete_chunk(chunk, counting)?;
        for _ in 1..TRIES {
            let pending = results.iter().enumerate().filter(|(_, look)| matches!(look, Look::Pending));
            let again: Vec<usize> = pending.map(|(at, _)| at).collect();
            if again.is_empty() {
                break;
            }
            // Rows on their way into the index: once they are there, they can be removed from it.
            self.barrier(self.generation(), Vec::new())?;
            let retry: Vec<Cid> = again.iter().filter_map(|at| chunk.get(*at).copied()).collect();
            for (at, look) in again.into_iter().zip(self.delete_chunk(&retry, counting)?) {
                if let Some(slot) = results.get_mut(at) {
                    *slot = look;
                }
            }
        }
        Ok(results)
    }

    /// Deletes those of some blocks that nothing holds. The order of the looks is what makes it safe: first whether a
    /// writer in flight protects a block, and only then, in one view, whether a root holds it. A writer's pin can be
    /// seen before its protection ends.
    fn delete_chunk(&self, cids: &[Cid], counting: Counting) -> Result<Vec<Look>, WriteError> {
        let keys: Vec<Vec<u8>> = cids.iter().map(|cid| cid.hash().to_bytes()).collect();
        let stripes = self.protection.guard_all(keys.iter().map(|key| self.protection.print(key)));
        let index = self.index.get()?;
        let mut looks: Vec<Option<Look>> = Vec::with_capacity(cids.len());
        for (cid, key) in cids.iter().zip(&keys) {
            looks.push(if identity_data(cid).is_some() {
                Some(Look::Done(Err(DeleteError::NotFound(Box::new(*cid)))))
            } else if self.protection.is_protected(self.protection.print(key)) {
                Some(Look::Done(Err(DeleteError::InUse)))
            } else if read(&self.pending).contains(key) {
                Some(Look::Pending)
            } else {
                None
            });
        }
        let held = if counting == Counting::AllRoots { self.roots.held() } else { Vec::new() };
        let parents = read(&self.pending).parents();
        let view = index.view();
        let mut kept = Kept::default();
        if counting == Counting::AllRoots {
            let files = crate::changes::files_roots_in(&view)?;
            held.iter().chain(&files.current).chain(&files.previous).for_each(|root| kept.insert(root));
        }
        let mut removal = Removal::new(self, &index);
        for ((cid, key), look) in cids.iter().zip(&keys).zip(&mut looks).filter(|(_, look)| look.is_none()) {
            let result = match index.meta(key)? {
                None => Err(DeleteError::NotFound(Box::new(*cid))),
                Some(_) if removal.has(key) => Err(DeleteError::NotFound(Box::new(*cid))),
                Some(row) => match holder(&view, &parents, &kept, key, ANCESTORS_NEAR)? {
                    Holder::Pinned(by) => Err(DeleteError::Pinned(by)),
                    Holder::Kept => {
                        *look = Some(Look::Kept);
                        continue;
                    }
                    Holder::TooMany => {
                        *look = Some(Look::Far);
                        continue;
                    }
                    Holder::Nothing => {
                        removal.add(key, row)?;
                        Ok(u64::from(row.place.size))
                    }
                },
            };
            *look = Some(Look::Done(result));
        }
        let dead = removal.write()?;
        drop(view);
        drop((index, stripes));
        self.give_back(dead)?;
        Ok(looks.into_iter().map(|look| look.unwrap_or(Look::Pending)).collect())
    }

    /// Deletes a block with many ancestors unless it is pinned. Climbing takes its time, so it is done without locks,
    /// while what becomes a root is logged; if anything does, it is done again.
    pub(crate) fn delete_far(&self, cid: &Cid) -> Result<Result<u64, DeleteError>, WriteError> {
        let key = cid.hash().to_bytes();
        let print = self.protection.print(&key);
        for _ in 0..TRIES_FAR {
            let (log, generation) = self.log_roots()?;
            if let Some(by) = self.pinned_by(&key)? {
                return Ok(Err(DeleteError::Pinned(by)));
            }
            let stripe = self.protection.guard(print);
            if self.protection.is_protected(print) {
                return Ok(Err(DeleteError::InUse));
            }
            if read(&self.pending).contains(&key) || !log.is_empty() || self.generation() != generation {
                continue;
            }
            let index = self.index.get()?;
            let Some(row) = index.meta(&key)? else {
                return Ok(Err(DeleteError::NotFound(Box::new(*cid))));
            };
            let mut removal = Removal::new(self, &index);
            removal.add(&key, row)?;
            let dead = removal.write()?;
            drop((index, stripe));
            self.give_back(dead)?;
            return Ok(Ok(u64::from(row.place.size)));
        }
        Ok(Err(DeleteError::InUse))
    }
}

/// The rows of some blocks, leaving the index in one batch. Who removes them has found, under their stripes, that nothing
/// holds them, and holds the stripes until it is written.
pub(crate) struct Removal<'a> {
    inner: &'a Inner,
    index: &'a Index,
    batch: WriteBatch,
    deltas: Deltas,
    keys: Vec<Vec<u8>>,
    dead: Vec<Dead>,
}

impl<'a> Removal<'a> {
    pub(crate) fn new(inner: &'a Inner, index: &'a Index) -> Self {
        let (batch, deltas) = (WriteBatch::default(), Deltas::default());
        Self { inner, index, batch, deltas, keys: Vec::new(), dead: Vec::new() }
    }

    /// Whether a block was added.
    fn has(&self, key: &[u8]) -> bool {
        self.keys.iter().any(|other| other == key)
    }

    /// Adds a block and all that is known of it.
    pub(crate) fn add(&mut self, key: &[u8], row: MetaRow) -> Result<(), IndexError> {
        let (index, batch) = (self.index, &mut self.batch);
        batch.delete_cf(index.family(family::META), key);
        for (links_key, links) in index.all(family::LINKS, key)? {
            batch.delete_cf(index.family(family::LINKS), &links_key);
            if let Some((_, codec)) = split_links_key(&links_key) {
                for rlink in rlinks_keys(key, codec, &links) {
                    batch.delete_cf(index.family(family::RLINKS), rlink);
                }
            }
        }
        if self.inner.is_damaged(key) {
            batch.delete_cf(index.family(family::STATS), stats_key::of_damaged(key));
        }
        self.deltas.blocks -= 1;
        self.deltas.value_bytes -= i64::from(row.place.size);
        let record = row.place.record_len(key.len()).cast_signed();
        *self.deltas.live.entry(row.place.segment).or_default() -= record;
        self.dead.push(Dead { place: row.place, multihash_len: key.len() });
        self.keys.push(key.to_vec());
        Ok(())
    }

    /// Writes the batch, unsynced. The records are to be given back with [`Inner::give_back`], without the stripes.
    pub(crate) fn write(mut self) -> Result<Vec<Dead>, WriteError> {
        if self.batch.is_empty() {
            return Ok(Vec::new());
        }
        self.deltas.put(&mut self.batch, self.index);
        self.index.write(self.batch, false).map_err(|error| self.inner.index_failed(error))?;
        let count = Count { blocks: -self.deltas.blocks, value_bytes: -self.deltas.value_bytes };
        write(&self.inner.pending).deleted(count);
        let mut damaged = write(&self.inner.damaged);
        if !damaged.is_empty() {
            for key in &self.keys {
                damaged.remove(key.as_slice());
            }
        }
        Ok(self.dead)
    }
}

impl Inner {
    /// A failed write outside the committer: the committer opens the index again before its next round.
    pub(crate) fn index_failed(&self, error: IndexError) -> WriteError {
        self.reopen.store(true, std::sync::atomic::Ordering::Release);
        self.index_error(error)
    }

    /// Syncs the log, so that no crash brings rows back, and then gives the space of dead records back to the file
    /// system. That is only space: what goes wrong with it is logged.
    pub(crate) fn give_back(&self, mut dead: Vec<Dead>) -> Result<(), WriteError> {
        if dead.is_empty() {
            return Ok(());
        }
        if self.config.durability == Durability::Power {
            self.index.get()?.sync_log().map_err(|error| self.index_failed(error))?;
        }
        dead.sort_unstable_by_key(|dead| (dead.place.segment, dead.place.offset));
        let mut by_segment: BTreeMap<u32, Vec<Dead>> = BTreeMap::new();
        for record in dead {
            by_segment.entry(record.place.segment).or_default().push(record);
        }
        for (segment, records) in by_segment {
            let given = match self.remove_if_dead(segment) {
                Ok(true) => Ok(()),
                Ok(false) => self.segments.file(segment).and_then(|file| punch(&file, &records)),
                Err(error) => Err(error),
            };
            if let Err(error) = given {
                tracing::warn!(
                    "could not give back the space of deleted blocks in segment {segment}: {error}"
                );
            }
        }
        Ok(())
    }

    /// Removes a segment without live records that nothing is appended to any more.
    pub(crate) fn remove_if_dead(&self, segment: u32) -> io::Result<bool> {
        if segment >= lock(&self.tail).first_open() {
            return Ok(false);
        }
        let index = self.index.get().map_err(io::Error::other)?;
        let live =
            counter(&index, &stats_key::of_segment(stats_key::LIVE, segment)).map_err(io::Error::other)?;
        if live > 0 {
            return Ok(false);
        }
        // Its rows first: a file that nobody names is removed by the next opening, a row without a file is a loss.
        forget(&index, segment).map_err(io::Error::other)?;
        self.segments.remove(segment)?;
        Ok(true)
    }
}

/// Marks records as deleted and punches holes where whole pages are dead. Neighbours are one range, their heads
/// included: a rebuild finds the next record behind the hole by its magic and checksum.
fn punch(file: &File, records: &[Dead]) -> io::Result<()> {
    let mut range: Option<(u64, u64)> = None;
    for record in records {
        file.write_all_at(&[STATE_DELETED], record.place.offset + STATE_OFFSET)?;
        let from = record.place.offset;
        let to = from + record.place.record_len(record.multihash_len);
        range = match range {
            Some((start, end)) if end == from => Some((start, to)),
            Some(done) => {
                punch_range(file, done)?;
                Some((from, to))
            }
            None => Some((from, to)),
        };
    }
    range.map_or(Ok(()), |range| punch_range(file, range))
}

fn punch_range(file: &File, (from, to): (u64, u64)) -> io::Result<()> {
    // The first head stays, so that a rebuild reads on behind it where it can.
    let from = from.next_multiple_of(PAGE_BYTES);
    let to = to / PAGE_BYTES * PAGE_BYTES;
    if from >= to {
        return Ok(());
    }
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, mode, from, to - from) {
        // Not every file system can: then the space comes back with the whole segment.
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        other => Ok(other?),
    }
}
