//! One collection: roots, marks, and the sweep.

use std::time::{Duration, Instant};

use super::walk::{Events, Promise, Walk};
use super::{GcError, GcEvent, GcOptions, GcPhase, GcReport, PAGE, Unprovable};
use crate::changes::files_roots;
use crate::delete::{CHUNK, Dead, Removal};
use crate::index::{Rows, after};
use crate::pins::PinKind;
use crate::roots::RootLog;
use crate::rows::{MetaRow, decode_meta_key, decode_pin_key, family, pin_prefix};
use crate::store::Inner;
use crate::sync::read;

/// Rows of `meta` looked at together.
const META_PAGE: usize = 4096;
/// Dead records gathered before the log is synced and their space given back: neighbours among them become one hole.
const DEAD_MAX: usize = 16_384;
/// How often a chunk is looked at again because something became a root meanwhile.
const TRIES: usize = 8;
/// From this try on, new roots are walked with the chunk's stripes held: what came since is little by then.
const TRIES_APART: usize = 5;

pub(super) struct Run<'a> {
    inner: &'a Inner,
    options: &'a GcOptions,
    walk: Walk<'a>,
    log: RootLog,
    generation: u64,
    /// Blocks of this epoch and later ones are spared: they came after the collection began.
    epoch: u64,
    /// Blocks of this epoch and later ones are spared: they are young.
    first_young: u64,
    /// An epoch higher than any that was ever begun: its row got lost with an index.
    lost_epoch: u64,
    report: GcReport,
    dead: Vec<Dead>,
}

/// A block that no root reached.
pub(super) struct Candidate {
    key: Box<[u8]>,
    row: MetaRow,
}

/// What became of a chunk.
pub(super) enum Swept {
    Done(Vec<(Box<[u8]>, u64)>),
    /// There are new roots.
    Again,
}

impl<'a> Run<'a> {
    pub(super) fn begin(
        inner: &'a Inner,
        options: &'a GcOptions,
        events: Events<'a>,
    ) -> Result<Self, GcError> {
        let epoch = inner.begin_epoch(0)?;
        let (log, generation) = inner.log_roots()?;
        let first_young = if options.grace.is_zero() {
            epoch
        } else {
            inner.epochs.first_younger(&*inner.index.get()?, options.grace)?.min(epoch)
        };
        let report = GcReport::default();
        let walk = Walk::new(inner, events);
        let dead = Vec::new();
        Ok(Self { inner, options, walk, log, generation, epoch, first_young, lost_epoch: 0, report, dead })
    }

    /// Walks down from every root. The order of reading them does not matter: what becomes a root after the log was
    /// begun is in the log, so that a pin which turns into a files root between two reads is met by one of the three.
    pub(super) fn mark(&mut self) -> Result<(), GcError> {
        self.walk.tell(GcEvent::Began(GcPhase::Pins))?;
        self.mark_pins(PinKind::Recursive)?;
        self.mark_pins(PinKind::Direct)?;
        self.walk.tell(GcEvent::Began(GcPhase::Files))?;
        let files = files_roots(&*self.inner.index.get()?)?;
        if let Some(damage) = files.damage {
            self.report.unprovable.get_or_insert(Unprovable::FilesRoot(damage));
        }
        let roots = files.current.into_iter().chain(files.previous).chain(self.inner.roots.held());
        for root in roots.chain(self.options.roots.iter().copied()) {
            self.walk.root(&root, Promise::BestEffort)?;
        }
        self.walk_new_roots()
    }

    fn mark_pins(&mut self, kind: PinKind) -> Result<(), GcError> {
        let prefix = pin_prefix(kind, &[]);
        let mut from = prefix.clone();
        loop {
            let rows = self.inner.index.get()?.page(family::PINS, &prefix, &from, PAGE)?;
            for (key, _) in &rows {
                match (decode_pin_key(key), kind) {
                    (Ok((_, cid)), PinKind::Recursive) => self.walk.root(&cid, Promise::Whole)?,
                    (Ok((_, cid)), PinKind::Direct) => self.walk.block(&cid)?,
                    (Err(_), _) => {
                        self.report.unprovable.get_or_insert(Unprovable::Pin);
                    }
                }
            }
            match rows.last() {
                Some((key, _)) if rows.len() == PAGE => from = after(key),
                _ => return Ok(()),
            }
        }
    }

    /// Walks what became a root since it was last asked. Whether such a root is whole was looked at by who made it.
    fn walk_new_roots(&mut self) -> Result<(), GcError> {
        for (cid, kind) in self.log.take() {
            match kind {
                PinKind::Recursive => self.walk.root(&cid, Promise::BestEffort)?,
                PinKind::Direct => self.walk.block(&cid)?,
            }
        }
        self.walk.recover_lost()?;
        if let Some((cid, root)) = self.walk.lost.hopeless() {
            let (cid, root) = (Box::new(cid), Box::new(root));
            self.report.unprovable.get_or_insert(Unprovable::Node { cid, root });
        }
        Ok(())
    }

    /// Deletes what is not marked.
    pub(super) fn sweep(&mut self) -> Result<(), GcError> {
        self.walk.tell(GcEvent::Began(GcPhase::Sweep))?;
        let swept = self.sweep_rows();
        // However it ended: what was deleted takes space until then.
        self.give_back()?;
        swept?;
        if self.report.unprovable.is_none() && !self.options.dry_run && self.log.is_empty() {
            let walk = &self.walk;
            self.inner.forget_dropped(&|key| walk.reached_missing(key))?;
        }
        if self.lost_epoch > self.epoch {
            self.inner.begin_epoch(self.lost_epoch + 1)?;
        }
        Ok(())
    }

    fn sweep_rows(&mut self) -> Result<(), GcError> {
        let of = read(&self.inner.pending).total().blocks.unsigned_abs();
        let (mut from, mut blocks) = (Vec::new(), 0);
        while self.report.unprovable.is_none() {
            let rows = self.inner.index.get()?.page(family::META, &[], &from, META_PAGE)?;
            let candidates = self.candidates(&rows);
            for chunk in candidates.chunks(CHUNK) {
                if self.options.dry_run { self.tell_chunk(chunk)? } else { self.sweep_chunk(chunk)? }
            }
            if self.dead.len() >= DEAD_MAX {
                self.give_back()?;
            }
            blocks += rows.len() as u64;
            self.walk.tell(GcEvent::Sweeping { blocks, of })?;
            match rows.last() {
                Some((key, _)) if rows.len() == META_PAGE => from = after(key),
                _ => break,
            }
        }
        Ok(())
    }

    pub(super) fn candidates(&mut self, rows: &Rows) -> Vec<Candidate> {
        let mut found = Vec::new();
        for (key, value) in rows {
            // A malformed row is left alone: verifying names it.
            let Ok(row) = MetaRow::decode(value) else { continue };
            if self.walk.marks.contains(&row.place) {
                continue;
            }
            if row.epoch < self.first_young {
                found.push(Candidate { key: key.clone(), row });
            } else if row.epoch < self.epoch {
                self.report.young_blocks += 1;
                self.report.young_bytes += u64::from(row.place.size);
            } else if row.epoch > self.inner.epochs.current() {
                self.lost_epoch = self.lost_epoch.max(row.epoch);
            }
        }
        found
    }

    /// Says what would be removed.
    fn tell_chunk(&mut self, chunk: &[Candidate]) -> Result<(), GcError> {
        for candidate in chunk {
            if self.inner.is_protected(&candidate.key, self.options.grace) {
                self.report.in_use_blocks += 1;
            } else {
                self.tell_removed(&candidate.key, u64::from(candidate.row.place.size))?;
            }
        }
        Ok(())
    }

    fn tell_removed(&mut self, key: &[u8], bytes: u64) -> Result<(), GcError> {
        self.report.removed_blocks += 1;
        self.report.removed_bytes += bytes;
        let multihash = decode_meta_key(key)?;
        self.walk.tell(GcEvent::Removed { multihash, bytes })
    }

    fn sweep_chunk(&mut self, chunk: &[Candidate]) -> Result<(), GcError> {
        for attempt in 1..=TRIES {
            self.walk_new_roots()?;
            if self.report.unprovable.is_some() {
                return Ok(());
            }
            if let Swept::Done(removed) = self.try_chunk(chunk, attempt > TRIES_APART)? {
                for (key, bytes) in removed {
                    self.tell_removed(&key, bytes)?;
                }
                return Ok(());
            }
        }
        self.report.deferred_blocks += chunk.len() as u64;
        Ok(())
    }

    /// Deletes a chunk, if nothing new became a root. The order of the looks is what makes it safe: a writer notes
    /// its roots before its shield ends, so if the shield is seen to have ended, the note is there to be seen.
    pub(super) fn try_chunk(&mut self, chunk: &[Candidate], walk_here: bool) -> Result<Swept, GcError> {
        let inner = self.inner;
        let prints = chunk.iter().map(|candidate| inner.protection.print(&candidate.key));
        let stripes = inner.protection.guard_all(prints);
        let begin = Instant::now();
        let index = inner.index.get()?;
        let mut in_use = 0;
        let mut free = Vec::with_capacity(chunk.len());
        for candidate in chunk {
            if inner.is_protected(&candidate.key, self.options.grace) {
                in_use += 1;
            } else if !read(&inner.pending).contains(&candidate.key)
                && index.meta(&candidate.key)? == Some(candidate.row)
            {
                free.push(candidate);
            }
        }
        if inner.generation() != self.generation {
            return Err(GcError::Generation);
        }
        if !self.log.is_empty() {
            if !walk_here {
                return Ok(Swept::Again);
            }
            self.walk.quiet = true;
            let walked = self.walk_new_roots();
            self.walk.quiet = false;
            walked?;
            if self.report.unprovable.is_some() || !self.log.is_empty() {
                return Ok(Swept::Again);
            }
        }
        let mut removal = Removal::new(inner, &index);
        let mut removed = Vec::with_capacity(free.len());
        for candidate in free {
            if !self.walk.marks.contains(&candidate.row.place) {
                removal.add(&candidate.key, candidate.row)?;
                removed.push((candidate.key.clone(), u64::from(candidate.row.place.size)));
            }
        }
        self.dead.extend(removal.write()?);
        drop(stripes);
        self.report.in_use_blocks += in_use;
        self.held_for(begin.elapsed());
        Ok(Swept::Done(removed))
    }

    fn held_for(&mut self, time: Duration) {
        self.report.longest_hold = self.report.longest_hold.max(time);
    }

    fn give_back(&mut self) -> Result<(), GcError> {
        Ok(self.inner.give_back(std::mem::take(&mut self.dead))?)
    }

    pub(super) fn finish(mut self) -> GcReport {
        self.report.reached_blocks = self.walk.marks.count();
        self.report.mark_memory_bytes = self.walk.marks.memory_bytes();
        self.report.broken_blocks = self.walk.broken_blocks;
        self.report
    }
}

impl Inner {
    /// Whether an operation protects a block, or one that ended less than `grace` ago did. To be asked with the
    /// block's stripe held.
    pub(super) fn is_protected(&self, key: &[u8], grace: Duration) -> bool {
        self.protection.is_protected_since(self.protection.print(key), grace)
    }
}
