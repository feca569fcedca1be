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
use crate::index::Index;
use crate::links::rlinks_keys;
use crate::pending::{Count, Parents};
use crate::pins::holder;
use crate::recover::forget;
use crate::rows::{family, split_links_key, stats_key};
use crate::segment::{Place, STATE_DELETED, STATE_OFFSET};
use crate::store::{Inner, Store, counter};
use crate::sync::{lock, read, write};

/// Blocks deleted under one hold of their locks: what a put of such a block waits for at most.
const CHUNK: usize = 64;
/// A block that is just being written is waited for this often before it counts as in use.
const TRIES: usize = 3;
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

impl Store {
    /// Deletes blocks, each unless it is pinned (itself or through a recursive pin above it) or in use by a writer in
    /// flight. The outcome of each is in the order given; what is reported deleted stays deleted after a power cut.
    pub fn delete_blocks(&self, cids: &[Cid]) -> Result<Vec<Deletion>, WriteError> {
        self.inner().with_reserve(|| self.delete_blocks_now(cids))
    }

    fn delete_blocks_now(&self, cids: &[Cid]) -> Result<Vec<Deletion>, WriteError> {
        let inner = self.inner();
        let mut done = Vec::with_capacity(cids.len());
        for chunk in cids.chunks(CHUNK) {
            let mut results = inner.delete_chunk(chunk)?;
            for _ in 1..TRIES {
                let again: Vec<usize> = results
                    .iter()
                    .enumerate()
                    .filter(|(_, result)| result.is_none())
                    .map(|(at, _)| at)
                    .collect();
                if again.is_empty() {
                    break;
                }
                // Rows on their way into the index: once they are there, they can be removed from it.
                self.flush()?;
                let retry: Vec<Cid> = again.iter().filter_map(|at| chunk.get(*at).copied()).collect();
                for (at, result) in again.into_iter().zip(inner.delete_chunk(&retry)?) {
                    if let Some(slot) = results.get_mut(at) {
                        *slot = result;
                    }
                }
            }
            let results = results.into_iter().map(|result| result.unwrap_or(Err(DeleteError::InUse)));
            done.extend(chunk.iter().zip(results).map(|(cid, result)| Deletion { cid: *cid, result }));
        }
        Ok(done)
    }
}

impl Inner {
    /// Deletes some blocks; `None` for those whose rows are not in the index yet.
    fn delete_chunk(&self, cids: &[Cid]) -> Result<Vec<Option<Result<u64, DeleteError>>>, WriteError> {
        let mut dead = Vec::new();
        let results = {
            let keys: Vec<Vec<u8>> = cids.iter().map(|cid| cid.hash().to_bytes()).collect();
            let _stripes = self.protection.guard_all(keys.iter().map(|key| self.protection.print(key)));
            let parents = read(&self.pending).parents();
            let index = self.index.get()?;
            let mut batch = WriteBatch::default();
            let mut deltas = Deltas::default();
            let mut results = Vec::with_capacity(cids.len());
            let mut gone: Vec<&[u8]> = Vec::new();
            for (cid, key) in cids.iter().zip(&keys) {
                let result = if gone.contains(&key.as_slice()) {
                    Some(Err(DeleteError::NotFound(Box::new(*cid))))
                } else {
                    self.delete_one((&index, &parents), cid, key, &mut batch, &mut deltas, &mut dead)?
                };
                if matches!(result, Some(Ok(_))) {
                    gone.push(key);
                }
                results.push(result);
            }
            if !batch.is_empty() {
                deltas.put(&mut batch, &index);
                // Not synced while the locks are held; nothing is given back before the sync below.
                index.write(batch, false).map_err(|error| self.index_failed(error))?;
                let count = Count { blocks: -deltas.blocks, value_bytes: -deltas.value_bytes };
                write(&self.pending).deleted(count);
                for key in gone {
                    write(&self.damaged).remove(key);
                }
            }
            results
        };
        self.give_back(dead)?;
        Ok(results)
    }

    fn delete_one(
        &self,
        (index, parents): (&Index, &Parents),
        cid: &Cid,
        key: &[u8],
        batch: &mut WriteBatch,
        deltas: &mut Deltas,
        dead: &mut Vec<Dead>,
    ) -> Result<Option<Result<u64, DeleteError>>, IndexError> {
        let not_found = || Some(Err(DeleteError::NotFound(Box::new(*cid))));
        if identity_data(cid).is_some() {
            return Ok(not_found());
        }
        if self.protection.is_protected(self.protection.print(key)) {
            return Ok(Some(Err(DeleteError::InUse)));
        }
        if read(&self.pending).contains(key) {
            return Ok(None);
        }
        let Some(row) = index.meta(key)? else { return Ok(not_found()) };
        if let Some(by) = holder(index, parents, key)? {
            return Ok(Some(Err(DeleteError::Pinned(by))));
        }
        batch.delete_cf(index.family(family::META), key);
        for (links_key, links) in index.all(family::LINKS, key)? {
            batch.delete_cf(index.family(family::LINKS), &links_key);
            if let Some((_, codec)) = split_links_key(&links_key) {
                for rlink in rlinks_keys(key, codec, &links) {
                    batch.delete_cf(index.family(family::RLINKS), rlink);
                }
            }
        }
        if self.is_damaged(key) {
            batch.delete_cf(index.family(family::STATS), stats_key::of_damaged(key));
        }
        deltas.blocks -= 1;
        deltas.value_bytes -= i64::from(row.place.size);
        let record = row.place.record_len(key.len()).cast_signed();
        *deltas.live.entry(row.place.segment).or_default() -= record;
        dead.push(Dead { place: row.place, multihash_len: key.len() });
        Ok(Some(Ok(u64::from(row.place.size))))
    }

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
    fn remove_if_dead(&self, segment: u32) -> io::Result<bool> {
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
