//! Compaction: segments that are mostly dead are written anew, so that what was deleted leaves the disk.
//!
//! Deleting punches holes, which gives the space of large records back at once. What remains are small records, whose
//! pages they share with living neighbours. A live record is read, checked against its hash, appended to the tail as a
//! put would be, and its row switched; when all of a segment's rows are switched and synced, its file goes. Readers that
//! come too late for a file look the block up again.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use holdfast_dag::block::{Block, VerifyError};
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::hash;

use crate::config::Durability;
use crate::counters::segment_rows;
use crate::delete::Dead;
use crate::error::{IndexError, WriteError};
use crate::gc::{GcError, GcEvent, GcPhase, GcReport};
use crate::pending::{NewValue, Row};
use crate::rebuild::{Record, Scan};
use crate::rows::{MetaRow, family, stats_key};
use crate::segment::{SEGMENT_HEADER_BYTES, multihash_from};
use crate::segments::disk_bytes_of;
use crate::space;
use crate::store::Inner;
use crate::sync::{lock, read, write};

/// Records and bytes that are moved under one hold of their stripes.
const MOVE_RECORDS_MAX: usize = 64;
const MOVE_BYTES_MAX: usize = 4 << 20;
/// A segment is left alone unless this much of it is waste, in bytes and in parts of its size.
const WASTE_BYTES_MIN: u64 = 64 << 10;
const WASTE_PART_MIN: u64 = 10;
/// No more segments are written anew once they take, in all, at most this many per cent of what lives in them.
const GOAL_PERCENT: u64 = 110;
/// Bytes written for each byte freed, at most.
const REWRITTEN_PER_FREED_MAX: u64 = 3;
/// The index is compacted after a collection that removed one block in so many, and at least so many blocks.
const INDEX_PART_MIN: u64 = 10;
const INDEX_BLOCKS_MIN: u64 = 1000;

/// How compaction gave space back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Segments that were removed.
    pub segments_removed: u64,
    /// Bytes of live records that were written anew.
    pub rewritten_bytes: u64,
    /// Bytes of disk that the removed segments took beyond those.
    pub freed_bytes: u64,
    /// Segments that were left because there was no room to write their live records.
    pub without_room: u64,
    /// Bytes that all segments take on disk afterwards.
    pub disk_bytes: u64,
    /// Bytes of the live records in them.
    pub live_bytes: u64,
}

/// A segment and what is in it.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    segment: u32,
    disk_bytes: u64,
    live_bytes: u64,
}

impl Candidate {
    fn waste(&self) -> u64 {
        self.disk_bytes.saturating_sub(self.live_bytes + SEGMENT_HEADER_BYTES as u64)
    }

    fn is_wasteful(&self) -> bool {
        self.waste() >= WASTE_BYTES_MIN.max(self.disk_bytes / WASTE_PART_MIN)
    }
}

impl Inner {
    /// Compacts what a collection left. The maintenance lock is held.
    pub(crate) fn compact_after(
        &self,
        collected: &GcReport,
        events: &mut dyn FnMut(GcEvent<'_>) -> ControlFlow<()>,
    ) -> Result<CompactReport, GcError> {
        let mut tell = |event| if events(event).is_break() { Err(GcError::Stopped) } else { Ok(()) };
        tell(GcEvent::Began(GcPhase::Compact))?;
        let mut report = CompactReport::default();
        let mut chosen = self.candidates()?;
        self.roll_if_wasteful(&chosen)?;
        let (mut disk, mut live) = totals(&chosen);
        chosen.retain(Candidate::is_wasteful);
        // Those first that give the most for the least.
        chosen.sort_unstable_by_key(|candidate| candidate.live_bytes * 1024 / candidate.disk_bytes.max(1));
        for candidate in chosen {
            let written = report.rewritten_bytes + candidate.live_bytes;
            let freed = report.freed_bytes + candidate.waste();
            if disk * 100 <= live * GOAL_PERCENT || written > REWRITTEN_PER_FREED_MAX * freed {
                break;
            }
            tell(GcEvent::Compacting { disk_bytes: disk, live_bytes: live })?;
            if space::check(self.segments.path(), candidate.live_bytes, self.reserve).is_err() {
                report.without_room += 1;
                continue;
            }
            if self.rewrite(candidate, &mut report)? {
                disk = disk.saturating_sub(candidate.waste());
            }
        }
        let blocks = read(&self.pending).total().blocks.unsigned_abs();
        if collected.removed_blocks
            >= INDEX_BLOCKS_MIN.max((blocks + collected.removed_blocks) / INDEX_PART_MIN)
        {
            self.compact_index()?;
        }
        (disk, live) = totals(&self.candidates()?);
        (report.disk_bytes, report.live_bytes) = (disk, live);
        Ok(report)
    }

    /// All segments.
    fn candidates(&self) -> Result<Vec<Candidate>, GcError> {
        let live = segment_rows(&*self.index.get()?, stats_key::LIVE)?;
        let list = self.segments.list().map_err(|error| self.segments_error("list", error))?;
        let mut found = Vec::with_capacity(list.len());
        for (segment, _) in list {
            // One that is gone by now takes nothing.
            let Ok(disk_bytes) = disk_bytes_of(&self.segments.file_path(segment)) else { continue };
            let live_bytes = live.get(&segment).map_or(0, |bytes| bytes.max(&0).unsigned_abs());
            found.push(Candidate { segment, disk_bytes, live_bytes });
        }
        Ok(found)
    }

    /// Ends the segment that is appended to, if it is wasteful itself: small repos have no other.
    fn roll_if_wasteful(&self, candidates: &[Candidate]) -> Result<(), GcError> {
        {
            let mut tail = lock(&self.tail);
            let Some(active) = tail.active.as_ref().map(|active| active.segment) else { return Ok(()) };
            if !candidates.iter().any(|candidate| candidate.segment == active && candidate.is_wasteful()) {
                return Ok(());
            }
            tail.active = None;
        }
        Ok(self.barrier(self.generation(), Vec::new())?)
    }

    /// Moves what lives in a segment to the tail and removes it. `false`: something in it could not be moved.
    fn rewrite(&self, candidate: Candidate, report: &mut CompactReport) -> Result<bool, GcError> {
        let segment = candidate.segment;
        if segment >= lock(&self.tail).first_open() {
            return Ok(false);
        }
        let mut moved = Moved { generation: self.generation(), ..Moved::default() };
        if let Err(error) = self.move_records(segment, &mut moved) {
            match error {
                MoveError::Read(error) => tracing::warn!("could not read all of segment {segment}: {error}"),
                MoveError::Gc(error) => return Err(error),
            }
        }
        self.settle_moved(&moved)?;
        report.rewritten_bytes += moved.bytes;
        match self.remove_if_dead(segment) {
            Ok(true) => {
                report.segments_removed += 1;
                report.freed_bytes += candidate.disk_bytes.saturating_sub(moved.bytes);
                Ok(true)
            }
            Ok(false) => {
                // A damaged record keeps its place, and with it the file; what was moved away leaves holes.
                self.give_back(moved.dead)?;
                let left = disk_bytes_of(&self.segments.file_path(segment)).unwrap_or(0);
                let freed = candidate.disk_bytes.saturating_sub(left + moved.bytes);
                report.freed_bytes += freed;
                Ok(false)
            }
            Err(error) => {
                tracing::warn!("could not remove segment {segment}: {error}");
                Ok(false)
            }
        }
    }

    fn move_records(&self, segment: u32, moved: &mut Moved) -> Result<(), MoveError> {
        let mut scan = Scan::open(&self.segments, segment).map_err(MoveError::Read)?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some(record) = scan.next().map_err(MoveError::Read)? {
            let row = self.index.get()?.meta(&record.multihash)?;
            if row.is_some_and(|row| row.place == record.place) && self.is_whole(&record) {
                bytes += record.data.len();
                records.push(record);
            }
            if records.len() >= MOVE_RECORDS_MAX || bytes >= MOVE_BYTES_MAX {
                self.move_some(std::mem::take(&mut records), moved)?;
                bytes = 0;
            }
        }
        self.move_some(records, moved)
    }

    /// Whether a record holds what its hash says. One that does not is remembered as damaged and stays where it is.
    fn is_whole(&self, record: &Record) -> bool {
        let Some(hash) = multihash_from(&record.multihash) else { return false };
        match hash::verify(&Cid::new_v1(codec::RAW, hash), &[&record.data]) {
            Ok(()) => true,
            // A hash function that is not trusted proves nothing.
            Err(VerifyError::Policy(_)) => false,
            Err(_) => {
                self.mark_damaged(&record.multihash);
                false
            }
        }
    }

    /// Appends records to the tail and lets their rows follow, as a put does; those that changed since they were read
    /// stay as they are. Nobody can delete or replace them meanwhile: their stripes and the tail's lock are held.
    fn move_some(&self, records: Vec<Record>, moved: &mut Moved) -> Result<(), MoveError> {
        if records.is_empty() {
            return Ok(());
        }
        drop(self.wait_for_room(lock(&self.tail)));
        let prints = records.iter().map(|record| self.protection.print(&record.multihash));
        let _stripes = self.protection.guard_all(prints);
        let mut tail = lock(&self.tail);
        if tail.stop {
            return Err(WriteError::Closed.into());
        }
        let index = self.index.get()?;
        let mut blocks: Vec<(Block, Vec<u8>, MetaRow)> = Vec::with_capacity(records.len());
        for record in records {
            if read(&self.pending).contains(&record.multihash) {
                continue;
            }
            let row = index.meta(&record.multihash)?.filter(|row| row.place == record.place);
            if let (Some(row), Some(hash)) = (row, multihash_from(&record.multihash)) {
                let cid = Cid::new_v1(record.header.codec, hash);
                blocks.push((Block::trusted(cid, record.data), record.multihash, row));
            }
        }
        let values: Vec<_> =
            blocks.iter().map(|(block, key, row)| (block, key.as_slice(), row.epoch)).collect();
        if values.is_empty() {
            return Ok(());
        }
        let places = tail.append(&self.segments, self.config.segment_bytes_max, &values)?;
        let mut rows = Vec::with_capacity(blocks.len());
        for ((_, key, old), place) in blocks.iter().zip(places) {
            moved.bytes += place.record_len(key.len());
            moved.to.insert(place.segment);
            moved.dead.push(Dead { place: old.place, multihash_len: key.len() });
            let value = NewValue { place, epoch: old.epoch, replaces: Some(old.place) };
            rows.push(Arc::new(Row { key: key.as_slice().into(), value: Some(value), links: None }));
        }
        {
            let mut pending = write(&self.pending);
            for row in &rows {
                pending.insert(Arc::clone(row));
            }
        }
        tail.enqueue(rows);
        drop(tail);
        self.work.notify_one();
        Ok(())
    }

    /// Waits until what was moved is safe where it is now. That is a power cut's matter even where new data need not
    /// survive one: what is moved was safe before.
    fn settle_moved(&self, moved: &Moved) -> Result<(), GcError> {
        self.barrier(moved.generation, Vec::new())?;
        if self.config.durability == Durability::Process {
            for segment in &moved.to {
                let file = self.segments.file(*segment);
                file.and_then(|file| file.sync_data()).map_err(|error| self.segments_error("sync", error))?;
            }
            self.segments.sync().map_err(|error| self.segments_error("sync", error))?;
            self.index.get()?.sync_log()?;
        }
        Ok(())
    }

    /// Merges the files of the index that the rows of blocks lie in, a piece at a time, so that an index which has to be
    /// opened again does not wait for all of it.
    fn compact_index(&self) -> Result<(), IndexError> {
        // Nearly all keys begin with the code and length of a hash function, here that of sha2-256.
        let cuts: Vec<Vec<u8>> = (0..=16_u16).map(|n| vec![0x12, 0x20, (n * 16).min(255) as u8]).collect();
        for name in [family::META, family::LINKS, family::RLINKS] {
            let mut from: Option<&[u8]> = None;
            for to in cuts.iter().map(|cut| Some(cut.as_slice())).chain([None]) {
                self.index.get()?.compact(name, from, to);
                from = to;
            }
        }
        self.index.get()?.flush_all()
    }

    fn segments_error(&self, action: &'static str, error: io::Error) -> WriteError {
        WriteError::io(action, self.segments.path(), error)
    }
}

fn totals(candidates: &[Candidate]) -> (u64, u64) {
    let disk = candidates.iter().map(|candidate| candidate.disk_bytes).sum();
    (disk, candidates.iter().map(|candidate| candidate.live_bytes).sum())
}

/// What was moved out of a segment.
#[derive(Default)]
struct Moved {
    generation: u64,
    bytes: u64,
    /// Segments that it went to.
    to: BTreeSet<u32>,
    dead: Vec<Dead>,
}

enum MoveError {
    /// The segment could not be read to its end.
    Read(io::Error),
    Gc(GcError),
}

impl<E: Into<GcError>> From<E> for MoveError {
    fn from(error: E) -> Self {
        Self::Gc(error.into())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_dag::cid::{CidBuilder, Version};
    use holdfast_dag::hash::HashKind;

    use super::*;
    use crate::{Store, StoreConfig};

    fn leaf(name: &str) -> Block {
        let data = name.repeat(50).into_bytes();
        let v1 = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
        Block::trusted(v1.cid_of(codec::RAW, &[&data]), data)
    }

    /// Records were read, and before they are moved one block is deleted and another healed to a place elsewhere. The
    /// first does not come back, the second stays where it is, and the counters are right.
    #[test]
    fn what_changed_since_it_was_read_is_not_moved() {
        let repo = tempfile::tempdir().unwrap();
        let config = StoreConfig { memory_bytes_max: 16 << 20, ..StoreConfig::default() };
        let store = Store::open(repo.path(), config).unwrap();
        let inner = store.inner();
        let blocks = ["deleted", "healed", "moved"].map(leaf);
        let keys = blocks.each_ref().map(|block| block.cid.hash().to_bytes());
        store.writer().put(&blocks).unwrap();
        store.flush().unwrap();
        let mut scan = Scan::open(&inner.segments, 1).unwrap();
        let records: Vec<Record> = std::iter::from_fn(|| scan.next().unwrap()).collect();
        assert_eq!(records.len(), 3);

        store.delete_blocks(&[blocks[0].cid]).unwrap().remove(0).result.unwrap();
        inner.mark_damaged(&keys[1]);
        store.writer().put([blocks[1].clone()]).unwrap();
        store.flush().unwrap();
        let places = keys.each_ref().map(|key| inner.locate(key).unwrap());

        let mut moved = Moved { generation: inner.generation(), ..Moved::default() };
        assert!(inner.move_some(records, &mut moved).is_ok());
        inner.settle_moved(&moved).unwrap();
        assert_eq!(moved.dead.len(), 1, "only one was as it had been read");
        assert_eq!(inner.locate(&keys[0]).unwrap(), None);
        assert_eq!(inner.locate(&keys[1]).unwrap(), places[1]);
        assert_ne!(inner.locate(&keys[2]).unwrap(), places[2]);
        let stat = store.stat().unwrap();
        assert_eq!(
            (stat.blocks, stat.value_bytes),
            (2, blocks[1].data.len() as u64 + blocks[2].data.len() as u64)
        );
        assert_eq!(store.get(&blocks[2].cid).unwrap().as_deref(), Some(&*blocks[2].data.to_bytes()));
    }
}
