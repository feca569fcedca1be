//! The committer: one thread that makes appended values durable and then tells the index about them.
//!
//! Order is everything. A round (1) takes what was appended, (2) syncs the segments, (3) writes the rows as one batch,
//! together with the changes of all who wait, with a synced log if anyone waits, (4) answers. So the index never names
//! bytes that are not on disk, a pin is never there before what it holds, and all who wait share two syncs. While a
//! round syncs, further values are appended and further waiters gather for the next.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rocksdb::WriteBatch;

use crate::changes::{Change, Changes};
use crate::config::Durability;
use crate::error::{IndexError, WriteError};
use crate::format::note_loss;
use crate::index::Index;
use crate::links::rlinks_keys;
use crate::pending::{Count, Row};
use crate::reserve::{is_full, says_full};
use crate::rows::{MetaRow, family, links_key, stats_key};
use crate::space;
use crate::store::{Inner, counter, segment_rows};
use crate::sync::{lock, write};
use crate::tail::{Commit, Round, Tail, Touched};

/// How often it is looked whether the index can be opened again, or the reserve be made again, while nothing else happens.
const MEND_PERIOD: Duration = Duration::from_secs(1);
/// How long read buffers are kept that nobody uses while nothing is written: for this, and up to as long again.
const TRIM_PERIOD: Duration = Duration::from_secs(10);

/// Why a round failed, and so what has to be done about it.
enum Failure {
    /// Values could not be synced: what was appended is lost.
    Segment(WriteError),
    /// The index could not be written: values are on disk, the index has to be opened again.
    Index(WriteError),
}

impl Inner {
    /// Waits until everything appended so far is durable and `changes` are made.
    pub(crate) fn barrier(&self, generation: u64, changes: Vec<Change>) -> Result<(), WriteError> {
        self.wait_for_round(generation, changes, false)
    }

    /// As [`Inner::barrier`] without changes, for those who are about to remove blocks.
    pub(crate) fn barrier_to_remove(&self) -> Result<(), WriteError> {
        self.wait_for_round(self.generation(), Vec::new(), true)
    }

    fn wait_for_round(
        &self,
        generation: u64,
        changes: Vec<Change>,
        removing: bool,
    ) -> Result<(), WriteError> {
        let (answer, result) = std::sync::mpsc::sync_channel(1);
        {
            let mut tail = lock(&self.tail);
            if tail.stop {
                return Err(WriteError::Closed);
            }
            tail.waiting.commits.push(Commit { generation, changes, removing, answer });
        }
        self.work.notify_one();
        result.recv().unwrap_or(Err(WriteError::Closed))
    }

    /// Adds a row that can be made again at any time.
    pub(crate) fn enqueue_derived(&self, row: Arc<Row>) {
        let mut tail = lock(&self.tail);
        write(&self.pending).insert(Arc::clone(&row));
        tail.enqueue([row]);
        drop(tail);
        self.work.notify_one();
    }

    /// The committer's thread.
    pub(crate) fn commit_loop(&self) {
        loop {
            let (round, stop) = self.next_round();
            if stop && round.rows.is_empty() && round.commits.is_empty() {
                return;
            }
            self.run(round);
        }
    }

    /// Waits until there is something to do.
    fn next_round(&self) -> (Round, bool) {
        let mut tail = lock(&self.tail);
        loop {
            if self.is_due(&tail) || !tail.waiting.commits.is_empty() || tail.stop {
                break;
            }
            let mending = self.reopen.load(Ordering::Acquire) || self.reserve_file.is_missing();
            if tail.waiting.rows.is_empty() && !mending {
                let (woken, timeout) =
                    self.work.wait_timeout(tail, TRIM_PERIOD).unwrap_or_else(PoisonError::into_inner);
                tail = woken;
                if timeout.timed_out() {
                    self.buffers.trim();
                }
            } else {
                // Also to look whether there is room again for what a full disk took.
                let idle = if tail.waiting.rows.is_empty() { MEND_PERIOD } else { self.config.idle_flush };
                let (woken, timeout) =
                    self.work.wait_timeout(tail, idle).unwrap_or_else(PoisonError::into_inner);
                tail = woken;
                if timeout.timed_out() {
                    break;
                }
            }
        }
        let stop = tail.stop;
        (tail.take(), stop)
    }

    fn run(&self, round: Round) {
        if let Some(round) = self.ration(round) {
            self.run_now(round);
        }
        self.reserve_file.restore();
    }

    /// Runs a round, whatever space there is.
    pub(crate) fn run_now(&self, mut round: Round) {
        if let Err(error) = self.heal(round.commits.iter().any(Commit::frees)) {
            if round.rows.is_empty() && round.commits.is_empty() {
                // Nobody waits: it was only tried.
                return;
            }
            return self.fail(round, Failure::Index(error));
        }
        let generation = self.generation();
        // What only removes pins relies on nothing that may be gone.
        let (current, stale): (Vec<_>, Vec<_>) =
            round.commits.drain(..).partition(|commit| commit.generation == generation || commit.frees());
        round.commits = current;
        answer(stale, &Err(WriteError::Generation));
        let began = Instant::now();
        let mut result = self.sync_and_index(&mut round);
        if let Err(Failure::Index(error)) = &result
            && is_full(error)
            && round.commits.iter().any(Commit::frees)
            && self.reserve_file.give_up()
        {
            // Everything else fails, what frees is done with what the reserve held.
            let (freeing, others) = round.commits.drain(..).partition(Commit::frees);
            round.commits = others;
            let error = error.clone();
            self.fail(round, Failure::Index(error));
            round = Round { commits: freeing, ..Round::default() };
            result = self.heal(true).map_err(Failure::Index).and_then(|()| self.sync_and_index(&mut round));
        }
        match result {
            Ok(refused) => {
                // Under the tail's lock, so that no writer sees the rows gone and the count of rounds unchanged.
                let mut tail = lock(&self.tail);
                write(&self.pending).remove(&round.rows);
                self.rounds.fetch_add(1, Ordering::Release);
                tail.unsynced_bytes = tail.unsynced_bytes.saturating_sub(round.bytes);
                tail.in_round = None;
                drop(tail);
                self.room.notify_all();
                self.tally.round(began, round.commits.len());
                answer(refused, &Err(WriteError::Changed));
                answer(round.commits, &Ok(()));
            }
            Err(failure) => self.fail(round, failure),
        }
    }

    /// Does the work of a round, and takes those commits out of it whose expectations are not met.
    fn sync_and_index(&self, round: &mut Round) -> Result<Vec<Commit>, Failure> {
        let power = self.config.durability == Durability::Power;
        if power {
            self.sync_segments(&round.touched).map_err(Failure::Segment)?;
        }
        let write = || -> Result<Vec<bool>, IndexError> {
            let index = self.index.get()?;
            let mut batch = round_batch(&index, round);
            let mut changes = Changes::new(&index);
            let met = round.commits.iter().map(|commit| changes.apply(commit)).collect::<Result<_, _>>()?;
            changes.put(&mut batch);
            // Before they are roots: a collection that runs must not miss them.
            self.roots.note(changes.roots.iter().copied());
            let sync = power && !round.commits.is_empty();
            match (batch.is_empty(), sync) {
                (true, true) => index.sync_log()?,
                (true, false) => {}
                (false, sync) => index.write(batch, sync)?,
            }
            Ok(met)
        };
        let mut met = write().map_err(|error| Failure::Index(self.index_error(error)))?.into_iter();
        self.healed(&round.rows);
        let (met, refused) = round.commits.drain(..).partition(|_| met.next().unwrap_or(false));
        round.commits = met;
        Ok(refused)
    }

    fn sync_segments(&self, touched: &[Touched]) -> Result<(), WriteError> {
        for segment in touched {
            let path = || self.segments.file_path(segment.segment);
            segment.file.sync_data().map_err(|error| WriteError::io("sync", &path(), error))?;
        }
        if touched.iter().any(|segment| segment.created) {
            let path = self.segments.path();
            self.segments.sync().map_err(|error| WriteError::io("sync", path, error))?;
        }
        Ok(())
    }

    /// Blocks that were damaged and are written anew are whole again.
    fn healed(&self, rows: &[Arc<Row>]) {
        for row in rows.iter().filter(|row| row.value.is_some_and(|value| value.replaces.is_some())) {
            write(&self.damaged).remove(&*row.key);
        }
    }

    /// Nothing of a failed round is acknowledged, and nothing appended meanwhile either: it may lie in the same file,
    /// and a second `fdatasync` would report success without having written anything.
    fn fail(&self, round: Round, failure: Failure) {
        let (error, values_safe) = match failure {
            Failure::Segment(error) => (error, false),
            Failure::Index(error) => (error, true),
        };
        tracing::error!("a commit failed, nothing of it is acknowledged: {error}");
        let mut tail = lock(&self.tail);
        self.generation.fetch_add(1, Ordering::AcqRel);
        let after = tail.take();
        tail.active = None;
        tail.unsynced_bytes = 0;
        tail.in_round = None;
        write(&self.pending).clear();
        let mut reread = true;
        if values_safe {
            self.reopen.store(true, Ordering::Release);
            // Opening it again needs space itself, and was just tried if that is what failed.
            let later =
                matches!(error, WriteError::DiskFull { .. } | WriteError::Index(IndexError::Closed(_)));
            reread = !later && self.reopen_index().is_ok();
        }
        let touched = round.touched.iter().chain(&after.touched).map(|touched| touched.segment);
        if reread {
            self.cut_to_committed(touched);
        }
        drop(tail);
        self.room.notify_all();
        answer(round.commits, &Err(error.clone()));
        answer(after.commits, &Err(error));
    }

    /// Fails a round that was not begun.
    pub(crate) fn refuse(&self, round: Round, error: WriteError) {
        self.fail(round, Failure::Segment(error));
    }

    /// Gives back what a failed round appended. If it does not work, the next opening does it.
    fn cut_to_committed(&self, touched: impl Iterator<Item = u32>) {
        let Ok(index) = self.index.get() else { return };
        let Ok(committed) = segment_rows(&index, stats_key::COMMITTED) else { return };
        for segment in touched {
            let cut = match committed.get(&segment) {
                Some(len) => self.segments.file(segment).and_then(|file| file.set_len(len.cast_unsigned())),
                None => self.segments.remove(segment),
            };
            if let Err(error) = cut {
                tracing::warn!("could not cut segment {segment} to what is committed: {error}");
            }
        }
    }

    /// Opens the index again if a write to it failed before. Only the committer does it, between two rounds.
    /// Those who remove may use the reserve for it.
    fn heal(&self, removing: bool) -> Result<(), WriteError> {
        if !self.reopen.load(Ordering::Acquire) {
            return Ok(());
        }
        let _tail = lock(&self.tail);
        match self.reopen_index() {
            Err(error) if removing && is_full(&error) && self.reserve_file.give_up() => self.reopen_index(),
            other => other,
        }
    }

    /// Lets the committer open the index again if it has to, before an operation begins that would otherwise be told
    /// that the store recovered while it ran.
    pub(crate) fn heal_first(&self) {
        if self.reopen.load(Ordering::Acquire)
            && let Err(error) = self.barrier(self.generation(), Vec::new())
        {
            // Finding works even so; the first put or commit says what is wrong.
            tracing::debug!("before an operation: {error}");
        }
    }

    /// To be called with the tail's lock held, while no pending row is in the index. Rows that were in the index but whose log was not synced may be gone
    /// afterwards: operations that found them are of an older generation.
    fn reopen_index(&self) -> Result<(), WriteError> {
        space::check(self.segments.path(), 0, self.reserve / 2)?;
        self.index.reopen(self.config.reopen_wait)?;
        self.reopen.store(false, Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
        let index = self.index.get()?;
        note_loss(&index)?;
        let indexed = stored(&index)?;
        write(&self.pending).set_indexed(indexed);
        tracing::info!("the index was opened again after a failed write");
        Ok(())
    }

    /// RocksDB has no word for a full disk: its text and the free space tell.
    pub(crate) fn index_error(&self, error: IndexError) -> WriteError {
        let path = self.index.path();
        match &error {
            IndexError::Rocks(rocks) if says_full(rocks.as_ref()) => WriteError::DiskFull {
                path: path.to_owned(),
                free_bytes: space::free_bytes(path).unwrap_or(0),
                needed_bytes: self.reserve,
            },
            _ => error.into(),
        }
    }

    /// Whether enough waits for a round, although nobody waits for it.
    pub(crate) fn is_due(&self, tail: &Tail) -> bool {
        let bytes = self.config.sync_bytes.min(self.config.unsynced_bytes_max / 2);
        tail.waiting.bytes >= bytes || tail.rows_bytes >= self.config.budget().pending_rows / 2
    }

    /// Waits until there is room for more unsynced bytes and rows.
    pub(crate) fn wait_for_room<'a>(&'a self, mut tail: MutexGuard<'a, Tail>) -> MutexGuard<'a, Tail> {
        let rows_max = self.config.budget().pending_rows;
        while !tail.stop
            && (tail.unsynced_bytes >= self.config.unsynced_bytes_max || tail.rows_bytes >= rows_max)
        {
            self.work.notify_one();
            tail = self.room.wait(tail).unwrap_or_else(PoisonError::into_inner);
        }
        tail
    }
}

/// What a round tells the index about blocks: rows, counters, committed lengths.
fn round_batch(index: &Index, round: &Round) -> WriteBatch {
    let mut batch = WriteBatch::default();
    let stats = index.family(family::STATS);
    let mut deltas = Deltas::default();
    for row in &round.rows {
        put_row(&mut batch, index, row, &mut deltas);
        if row.value.is_some_and(|value| value.replaces.is_some()) {
            batch.delete_cf(stats, stats_key::of_damaged(&row.key));
        }
    }
    deltas.put(&mut batch, index);
    for touched in &round.touched {
        let key = stats_key::of_segment(stats_key::COMMITTED, touched.segment);
        batch.put_cf(stats, key, touched.end.to_le_bytes());
    }
    batch
}

pub(crate) fn answer(commits: Vec<Commit>, result: &Result<(), WriteError>) {
    for commit in commits {
        // Whoever stopped waiting needs no answer.
        drop(commit.answer.send(result.clone()));
    }
}

/// Changes of counters, summed over a batch.
#[derive(Default)]
pub(crate) struct Deltas {
    pub(crate) blocks: i64,
    pub(crate) value_bytes: i64,
    pub(crate) live: BTreeMap<u32, i64>,
}

impl Deltas {
    pub(crate) fn put(&self, batch: &mut WriteBatch, index: &Index) {
        let stats = index.family(family::STATS);
        let mut merge = |key: &[u8], delta: i64| {
            if delta != 0 {
                batch.merge_cf(stats, key, delta.to_le_bytes());
            }
        };
        merge(stats_key::BLOCKS, self.blocks);
        merge(stats_key::VALUE_BYTES, self.value_bytes);
        for (segment, delta) in &self.live {
            merge(&stats_key::of_segment(stats_key::LIVE, *segment), *delta);
        }
    }
}

/// Adds what one block brings to a batch.
pub(crate) fn put_row(batch: &mut WriteBatch, index: &Index, row: &Row, deltas: &mut Deltas) {
    if let Some(value) = &row.value {
        let meta = MetaRow { epoch: value.epoch, place: value.place };
        batch.put_cf(index.family(family::META), &row.key, meta.encode());
        let record = value.place.record_len(row.key.len()).cast_signed();
        *deltas.live.entry(value.place.segment).or_default() += record;
        if let Some(old) = value.replaces {
            if old.segment > 0 {
                *deltas.live.entry(old.segment).or_default() -= old.record_len(row.key.len()).cast_signed();
            }
            deltas.value_bytes += i64::from(value.place.size) - i64::from(old.size);
        } else {
            deltas.blocks += 1;
            deltas.value_bytes += i64::from(value.place.size);
        }
    }
    if let Some((codec, links)) = &row.links {
        batch.put_cf(index.family(family::LINKS), links_key(&row.key, *codec), links);
        for key in rlinks_keys(&row.key, *codec, links) {
            batch.put_cf(index.family(family::RLINKS), key, []);
        }
    }
}

/// What the index counts.
pub(crate) fn stored(index: &Index) -> Result<Count, IndexError> {
    Ok(Count {
        blocks: counter(index, stats_key::BLOCKS)?,
        value_bytes: counter(index, stats_key::VALUE_BYTES)?,
    })
}
