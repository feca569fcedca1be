//! Writers: operations that put blocks and then commit them, with pins, as one.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, codec, identity_data};

use crate::changes::{self, Change};
use crate::error::{IndexError, ReadError, WriteError};
use crate::links::children_of;
use crate::pending::{NewValue, Row};
use crate::protect::Shield;
use crate::rows::{encode_links, family, links_key};
use crate::segment::{Place, VALUE_BYTES_MAX, record_len};
use crate::space;
use crate::store::{Happened, Inner, Store};
use crate::sync::{lock, read, write};

/// Blocks and bytes that are appended under one hold of the tail's lock.
const APPEND_BLOCKS_MAX: usize = 256;
const APPEND_BYTES_MAX: u64 = 8 << 20;

/// One operation in flight: an `add`, an import, a `block put`.
///
/// From the first put or find of a block until the writer is committed or dropped, that block is not deleted. What a
/// dropped writer has put stays, without promise: the next garbage collection takes it.
pub struct Writer {
    store: Store,
    shield: Arc<Shield>,
    generation: u64,
    /// Whether a commit made a root of what this writer has found or put.
    made_root: bool,
}

/// Whether the storage limit counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limit {
    Kept,
    Passed,
}

/// What the first look at a block says.
enum Seen {
    Absent,
    Present,
    /// The stored copy is known to be damaged: it is written again.
    Damaged(Place),
    /// Its row is malformed, so that nobody knows where it lies: it is written again.
    Lost,
}

/// A block that is to be written, or whose links under a new codec are.
struct Candidate<'a> {
    block: &'a Block,
    key: Vec<u8>,
    seen: Seen,
    links: Option<(u64, Vec<u8>)>,
}

impl Candidate<'_> {
    fn record_bytes(&self) -> u64 {
        record_len(self.key.len(), self.block.data.len() as u32)
    }
}

impl Store {
    /// Begins an operation that writes.
    pub fn writer(&self) -> Writer {
        let inner = self.inner();
        inner.heal_first();
        let (shield, generation) = (inner.protection.open(), inner.generation());
        Writer { store: self.clone(), shield, generation, made_root: false }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let protection = &self.store.inner().protection;
        if self.made_root {
            protection.close(&self.shield);
        } else {
            protection.close_without_root(&self.shield);
        }
    }
}

impl Writer {
    /// Stores blocks that are not stored yet. They are readable at once and durable after [`Writer::commit`].
    ///
    /// That the bytes match the CIDs is the caller's word: blocks from outside go through
    /// [`Block::verified`](holdfast_dag::block::Block::verified) first. Give batches of about 1 MiB: one lookup each,
    /// one vectored write for all. Blocks of identity CIDs carry their data and are skipped.
    ///
    /// It waits while [`unsynced_bytes_max`](crate::StoreConfig::unsynced_bytes_max) are waiting for the disk. After
    /// an error nothing of this batch counts, and the writer can go on, unless the error says otherwise.
    pub fn put(&self, blocks: impl AsRef<[Block]>) -> Result<(), WriteError> {
        self.put_within(Limit::Kept, blocks.as_ref())
    }

    /// The same beyond [`bytes_max`](crate::StoreConfig::bytes_max): for the few blocks that removing something from
    /// the mutable file system takes. The reserve of the disk is kept all the same.
    pub fn put_beyond_limit(&self, blocks: impl AsRef<[Block]>) -> Result<(), WriteError> {
        self.put_within(Limit::Passed, blocks.as_ref())
    }

    fn put_within(&self, limit: Limit, blocks: &[Block]) -> Result<(), WriteError> {
        let inner = self.store.inner();
        self.check_generation()?;
        let rounds = inner.rounds.load(Ordering::Acquire);
        let mut candidates = Vec::new();
        for block in blocks {
            candidates.extend(self.look_at(block)?);
        }
        let mut rest = candidates.as_mut_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at_mut(batch_len(rest));
            self.append(limit, batch, rounds)?;
            rest = after;
        }
        Ok(())
    }

    /// Whether a block is stored, and its size. If so, it is not deleted before this writer ends, and the writer's
    /// commit makes it durable if it is not yet: use this, not [`Store::size`], for what is to be pinned.
    pub fn find(&self, cid: &Cid) -> Result<Option<u64>, ReadError> {
        if let Some(data) = identity_data(cid) {
            return Ok(Some(data.len() as u64));
        }
        let inner = self.store.inner();
        let key = cid.hash().to_bytes();
        let print = inner.protection.print(&key);
        let _stripe = inner.protection.guard(print);
        self.shield.add(print);
        Ok(inner.find(&key)?.map(|place| u64::from(place.size)))
    }

    /// Keeps a block, which may not be there, from deletion until this writer ends.
    pub(crate) fn protect(&self, key: &[u8]) {
        let protection = &self.store.inner().protection;
        let print = protection.print(key);
        let _stripe = protection.guard(print);
        self.shield.add(print);
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Waits until everything this writer has put or found is durable, then makes the changes; all who commit at the
    /// same time share the syncs. When it returns `Ok`, blocks and changes survive what
    /// [`StoreConfig::durability`](crate::StoreConfig::durability) says. When it fails, nothing is promised: only where
    /// the log's own sync failed may the changes be there after all, and then what they hold is there too.
    pub fn commit(mut self, changes: &[Change]) -> Result<(), WriteError> {
        self.check_generation()?;
        changes::check(changes)?;
        self.store.inner().barrier(self.generation, changes.to_vec())?;
        self.made_root = changes.iter().any(|change| matches!(change, Change::Pin(_) | Change::FilesRoot(_)));
        if !changes.is_empty() {
            self.store.inner().tell(Happened::Committed(changes));
        }
        Ok(())
    }

    fn check_generation(&self) -> Result<(), WriteError> {
        if self.store.inner().generation() == self.generation { Ok(()) } else { Err(WriteError::Generation) }
    }

    /// Protects a block and says what there is to do for it; `None` for nothing.
    fn look_at<'a>(&self, block: &'a Block) -> Result<Option<Candidate<'a>>, WriteError> {
        let inner = self.store.inner();
        if identity_data(&block.cid).is_some() {
            return Ok(None);
        }
        let bytes = block.data.len();
        if bytes > VALUE_BYTES_MAX {
            return Err(WriteError::TooLarge { cid: Box::new(block.cid), bytes });
        }
        let key = block.cid.hash().to_bytes();
        let print = inner.protection.print(&key);
        let seen = {
            let _stripe = inner.protection.guard(print);
            self.shield.add(print);
            inner.look(&key)?
        };
        let codec = block.cid.codec();
        let wants_links =
            codec != codec::RAW && (matches!(seen, Seen::Absent) || !inner.has_links(&key, codec)?);
        let links = if wants_links {
            children_of(codec, &block.data).map(|children| (codec, encode_links(&children)))
        } else {
            None
        };
        let nothing = matches!(seen, Seen::Present) && links.is_none();
        Ok((!nothing).then_some(Candidate { block, key, seen, links }))
    }

    /// Appends what is still absent, and makes all of it visible.
    fn append(&self, limit: Limit, batch: &mut [Candidate<'_>], rounds: u64) -> Result<(), WriteError> {
        let inner = self.store.inner();
        let bytes: u64 = batch.iter().map(|candidate| candidate.block.data.len() as u64).sum();
        space::check(inner.segments.path(), bytes, inner.reserve)?;
        if limit == Limit::Kept {
            let absent = batch.iter().filter(|candidate| !matches!(candidate.seen, Seen::Present));
            inner.check_limit(absent.map(Candidate::record_bytes).sum())?;
        }
        let mut tail = inner.wait_for_room(lock(&inner.tail));
        if tail.stop {
            return Err(WriteError::Closed);
        }
        self.check_generation()?;
        inner.look_again(batch, rounds)?;
        let epoch = inner.epoch_to_append(&tail);
        let absent = batch.iter().filter(|candidate| !matches!(candidate.seen, Seen::Present));
        let values: Vec<(&Block, &[u8], u64)> =
            absent.map(|candidate| (candidate.block, candidate.key.as_slice(), epoch)).collect();
        let places = if values.is_empty() {
            Vec::new()
        } else {
            tail.append(&inner.segments, inner.config.segment_bytes_max, &values)?
        };
        inner.quota.appended(
            values.iter().map(|(block, key, _)| record_len(key.len(), block.data.len() as u32)).sum(),
        );
        let mut places = places.into_iter();
        let mut rows = Vec::with_capacity(batch.len());
        for candidate in batch.iter_mut() {
            let replaces = match candidate.seen {
                Seen::Present => None,
                Seen::Absent => Some(None),
                Seen::Damaged(old) => Some(Some(old)),
                Seen::Lost => {
                    Some(Some(Place { segment: 0, offset: 0, size: candidate.block.data.len() as u32 }))
                }
            };
            let value =
                replaces.and_then(|replaces| places.next().map(|place| NewValue { place, epoch, replaces }));
            let links = candidate.links.take();
            if value.is_some() || links.is_some() {
                rows.push(Arc::new(Row { key: candidate.key.as_slice().into(), value, links }));
            }
        }
        {
            let mut pending = write(&inner.pending);
            for row in &rows {
                pending.insert(Arc::clone(row));
            }
        }
        // The committer sleeps without a limit while nothing waits, and is told when there is enough for a sync.
        let first = tail.waiting.rows.is_empty();
        tail.enqueue(rows);
        let wake = first || inner.is_due(&tail);
        drop(tail);
        if wake {
            inner.work.notify_one();
        }
        if inner.is_watched() {
            let new = batch.iter().filter(|candidate| !matches!(candidate.seen, Seen::Present));
            let new: Vec<(Cid, u64)> =
                new.map(|candidate| (candidate.block.cid, candidate.block.data.len() as u64)).collect();
            if !new.is_empty() {
                inner.tell(Happened::Stored(&new));
            }
        }
        Ok(())
    }
}

impl Inner {
    fn look(&self, key: &[u8]) -> Result<Seen, IndexError> {
        if let Some(value) = read(&self.pending).value(key) {
            // A damaged block that is pending was just written again.
            let stale = self.is_damaged(key) && value.replaces.is_none();
            return Ok(if stale { Seen::Damaged(value.place) } else { Seen::Present });
        }
        match self.index.get()?.meta(key) {
            Ok(None) => Ok(Seen::Absent),
            Ok(Some(row)) if self.is_damaged(key) => Ok(Seen::Damaged(row.place)),
            Ok(Some(_)) => Ok(Seen::Present),
            Err(IndexError::Row { .. }) => Ok(Seen::Lost),
            Err(error) => Err(error),
        }
    }

    /// Looks again at blocks that were to be written, with the tail's lock held: another writer may have written them
    /// since. The index is asked only if it has grown since the first look.
    fn look_again(&self, batch: &mut [Candidate<'_>], rounds: u64) -> Result<(), WriteError> {
        let grown = self.rounds.load(Ordering::Acquire) != rounds;
        let mut seen_here = HashSet::new();
        for candidate in batch.iter_mut().filter(|candidate| !matches!(candidate.seen, Seen::Present)) {
            let pending = read(&self.pending).contains(&candidate.key);
            if pending || grown {
                candidate.seen = self.look(&candidate.key)?;
            }
            if !seen_here.insert(candidate.key.clone()) {
                candidate.seen = Seen::Present;
            }
        }
        Ok(())
    }

    fn has_links(&self, key: &[u8], codec: u64) -> Result<bool, IndexError> {
        Ok(read(&self.pending).links(key, codec).is_some()
            || self.index.get()?.contains(family::LINKS, &links_key(key, codec))?)
    }
}

/// How many of the candidates are appended together.
fn batch_len(candidates: &[Candidate<'_>]) -> usize {
    let mut bytes = 0;
    let fits = candidates.iter().take(APPEND_BLOCKS_MAX).take_while(|candidate| {
        bytes += candidate.block.data.len() as u64;
        bytes <= APPEND_BYTES_MAX
    });
    fits.count().max(1)
}
