//! Garbage collection: what no root reaches is deleted, beside everything else that goes on.
//!
//! `docs/gc.md` says why this is safe, with every interleaving that was considered. In short: blocks written since the
//! collection began are spared by their epoch; blocks that a writer in flight has found or put are spared by its shield;
//! whatever becomes a root meanwhile is logged before its writer's shield ends, and walked before the next block goes.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use holdfast_dag::cid::{Cid, Multihash};

use self::sweep::Run;
use self::walk::{Events, Walk};
use crate::compact::CompactReport;
use crate::error::{IndexError, WriteError};
use crate::holder::{ANCESTORS_MAX, Holder, Kept, holder};
use crate::index::after;
use crate::pins::{PinKind, PinnedBy};
use crate::reserve::is_full;
use crate::roots::RootLog;
use crate::rows::{decode_pin_key, family, pin_prefix};
use crate::store::{Inner, Store};
use crate::sync::{lock, read};

pub(crate) mod epochs;
mod lost;
mod marks;
mod sweep;
#[cfg(test)]
mod tests;
mod unpinned;
pub(crate) mod walk;

pub use unpinned::UnpinnedReport;

/// How often a new log of roots is tried where a failed write comes between.
const LOG_TRIES: usize = 3;
/// Pins read at a time.
const PAGE: usize = 1024;

/// What a collection is to do.
#[derive(Debug, Clone, Default)]
pub struct GcOptions {
    /// Blocks that were written less than this ago are spared, because clients put blocks first and pin them later.
    /// Default: zero, as for `repo gc`; automatic collections use [`GRACE`].
    pub grace: Duration,
    /// Whether only to tell what would be removed. Default: no.
    pub dry_run: bool,
    /// Further roots to keep, with everything under them that is here. Default: none.
    pub roots: Vec<Cid>,
    /// Whether to leave the files as they are instead of rewriting those that are mostly dead. Default: no.
    pub no_compaction: bool,
}

/// How long automatic collections spare what was written: 1 hour.
pub const GRACE: Duration = Duration::from_secs(3600);

/// Part of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GcPhase {
    /// Walking down from the pins.
    Pins,
    /// Walking down from the mutable file system and what is held.
    Files,
    /// Deleting.
    Sweep,
    /// Giving space back.
    Compact,
}

/// What a collection tells while it runs. It waits for whoever listens, without holding any lock that others need, except that no
/// other collection runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum GcEvent<'a> {
    /// A part begins.
    Began(GcPhase),
    /// So many blocks were reached so far.
    Marking {
        /// Their number.
        blocks: u64,
    },
    /// A block under a root is missing or damaged.
    Broken(&'a GcBroken),
    /// So many rows were looked at so far.
    Sweeping {
        /// Their number.
        blocks: u64,
        /// How many there were when the collection began.
        of: u64,
    },
    /// The segments take so many bytes on disk for so many bytes of live records.
    Compacting {
        /// Bytes on disk.
        disk_bytes: u64,
        /// Bytes of live records.
        live_bytes: u64,
    },
    /// A block was removed; in a dry run, it would have been.
    Removed {
        /// The block.
        multihash: Multihash,
        /// Bytes of its value.
        bytes: u64,
    },
}

/// A block under a root that is missing or damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcBroken {
    /// The block.
    pub cid: Cid,
    /// The pin, or other root, through which it was reached.
    pub root: Cid,
    /// What is wrong.
    pub reason: String,
}

/// What a collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Blocks that are kept because a root reaches them.
    pub reached_blocks: u64,
    /// Blocks removed; in a dry run, that would have been.
    pub removed_blocks: u64,
    /// Bytes of their values.
    pub removed_bytes: u64,
    /// Blocks that no root reaches, kept because an operation in flight had found or put them.
    pub in_use_blocks: u64,
    /// Blocks that no root reaches, kept because they are younger than the grace period.
    pub young_blocks: u64,
    /// Bytes of their values.
    pub young_bytes: u64,
    /// Blocks that no root reached, kept because new roots came faster than they could be looked at.
    pub deferred_blocks: u64,
    /// Blocks under roots that are missing or damaged.
    pub broken_blocks: u64,
    /// Why nothing (more) could be removed: what cannot be read might hold anything.
    pub unprovable: Option<Unprovable>,
    /// Longest time for which writers of some blocks had to wait, in one go.
    pub longest_hold: Duration,
    /// Most memory that the marks took, in bytes.
    pub mark_memory_bytes: u64,
    /// How space was given back.
    pub compaction: CompactReport,
}

/// Why nothing can be proved to be garbage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unprovable {
    /// The children of a node are not known any more.
    #[error(
        "nothing is removed: {cid} under {root} cannot be read and nothing tells what it links to; unpin {root}, or bring \
         the block back by adding it again"
    )]
    Node {
        /// The node.
        cid: Box<Cid>,
        /// The root that holds it.
        root: Box<Cid>,
    },
    /// The record of the files root cannot be read.
    #[error(
        "nothing is removed: {0}, so that what it kept is not known; the next change in `files` writes a new one"
    )]
    FilesRoot(String),
    /// A pin's record cannot be read.
    #[error(
        "nothing is removed: a pin's record is damaged, so that what it kept is not known; remove it or rebuild the index"
    )]
    Pin,
}

/// Why a collection ended early. What was removed until then stays removed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GcError {
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The index could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A write failed meanwhile, and what the collection had read may not be so any more.
    #[error("the store recovered from a failed write while garbage was collected: run it again")]
    Generation,
    /// Whoever listens asked for it.
    #[error("garbage collection was cancelled")]
    Stopped,
}

impl Store {
    /// Deletes all blocks that no root reaches, and gives their space back. Everything else goes on meanwhile; a second
    /// collection waits for the first.
    ///
    /// Roots are the pins, the root of the mutable file system and the one before, what is
    /// [held](Store::hold), and [`GcOptions::roots`]. A broken DAG under one of them is told and does not stop the rest;
    /// only where the children of a node cannot be known any more is nothing deleted ([`GcReport::unprovable`]).
    ///
    /// Memory: some 2 to 16 bytes a block that is kept ([`GcReport::mark_memory_bytes`]), and one page of rows.
    pub fn collect(
        &self,
        options: &GcOptions,
        events: &mut dyn FnMut(GcEvent<'_>) -> ControlFlow<()>,
    ) -> Result<GcReport, GcError> {
        let inner = self.inner();
        let _one_at_a_time = lock(&inner.maintenance);
        inner.collect(options, events)
    }
}

impl Inner {
    /// Collects garbage. The maintenance lock is held.
    pub(crate) fn collect(
        &self,
        options: &GcOptions,
        events: &mut dyn FnMut(GcEvent<'_>) -> ControlFlow<()>,
    ) -> Result<GcReport, GcError> {
        let began = Instant::now();
        let outcome = self.collect_and_compact(options, events);
        self.tally.collection(began, options.dry_run, &outcome);
        outcome
    }

    fn collect_and_compact(&self, options: &GcOptions, events: Events<'_>) -> Result<GcReport, GcError> {
        self.room_to_remove()?;
        let mut report = match self.mark_and_sweep(options, events) {
            // The disk is full: what the reserve held is for this.
            Err(GcError::Write(error)) if is_full(&error) && self.reserve_file.give_up() => {
                self.room_to_remove()?;
                self.mark_and_sweep(options, events)?
            }
            other => other?,
        };
        if !options.dry_run && !options.no_compaction {
            report.compaction = self.compact_after(&report, events)?;
        }
        self.sample_used();
        Ok(report)
    }

    fn mark_and_sweep(&self, options: &GcOptions, events: Events<'_>) -> Result<GcReport, GcError> {
        let mut run = Run::begin(self, options, events)?;
        run.mark()?;
        run.sweep()?;
        Ok(run.finish())
    }

    /// Begins to take note of new roots, and waits for those that the committer already had in hand: all that became a
    /// root is either in the index now or will be in the log. Also says which generation that holds for.
    pub(crate) fn log_roots(&self) -> Result<(RootLog, u64), WriteError> {
        let mut tries = 0;
        loop {
            let log = self.roots.begin_log();
            let generation = self.generation();
            match self.barrier(generation, Vec::new()) {
                Ok(()) => return Ok((log, generation)),
                Err(error @ WriteError::Closed) => return Err(error),
                Err(error) => {
                    tries += 1;
                    if tries >= LOG_TRIES {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Through what pin a block is held.
    pub(crate) fn pinned_by(&self, key: &[u8]) -> Result<Option<PinnedBy>, IndexError> {
        match self.climb(key, ANCESTORS_MAX)? {
            Holder::Pinned(by) => return Ok(Some(by)),
            Holder::Kept | Holder::Nothing => return Ok(None),
            Holder::TooMany => {}
        }
        match self.search_from_pins(key) {
            Ok(Some(root)) => return Ok(Some(PinnedBy::Via(Box::new(root)))),
            Ok(None) => return Ok(None),
            Err(GcError::Index(error)) => return Err(error),
            // What cannot be walked down through may still be climbed.
            Err(_) => {}
        }
        match self.climb(key, usize::MAX)? {
            Holder::Pinned(by) => Ok(Some(by)),
            _ => Ok(None),
        }
    }

    fn climb(&self, key: &[u8], ancestors_max: usize) -> Result<Holder, IndexError> {
        let parents = read(&self.pending).parents();
        let index = self.index.get()?;
        holder(&index.view(), &parents, &Kept::default(), key, ancestors_max)
    }

    /// Walks down from the recursive pins to a block. The error says that a part could not be walked.
    fn search_from_pins(&self, key: &[u8]) -> Result<Option<Cid>, GcError> {
        let mut quiet = |_: GcEvent<'_>| ControlFlow::Continue(());
        let mut walk = Walk::new(self, &mut quiet);
        let prefix = pin_prefix(PinKind::Recursive, &[]);
        let mut from = prefix.clone();
        loop {
            let rows = self.index.get()?.page(family::PINS, &prefix, &from, PAGE)?;
            for (pin, _) in &rows {
                let (_, root) = decode_pin_key(pin)?;
                if walk.finds(&root, key)? {
                    return Ok(Some(root));
                }
            }
            match rows.last() {
                Some((pin, _)) if rows.len() == PAGE => from = after(pin),
                _ if walk.lost.is_empty() => return Ok(None),
                _ => return Err(GcError::Stopped),
            }
        }
    }
}
