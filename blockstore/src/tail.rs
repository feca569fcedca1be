//! The tail: the one place where values are appended, and the list of what waits for its sync.

use std::fs::File;
use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use holdfast_dag::block::Block;

use crate::changes::Change;
use crate::error::WriteError;
use crate::pending::Row;
use crate::segment::{Place, SEGMENT_HEADER_BYTES, put_record_head, record_len};
use crate::segments::SegmentDir;
use crate::space::write_error;

/// Slices a `writev` call takes at most (`IOV_MAX` of Linux).
const SLICES_MAX: usize = 1024;

/// Segments are closed at this size whatever the settings say: garbage collection tells records apart by 37 bits of their
/// offset. With the largest value on top, a segment stays far below that.
const SEGMENT_BYTES_MAX: u64 = 64 << 30;

/// The segment that is appended to.
pub(crate) struct Active {
    pub(crate) segment: u32,
    pub(crate) file: Arc<File>,
    pub(crate) end: u64,
}

/// A segment that was appended to since the last sync.
#[derive(Clone)]
pub(crate) struct Touched {
    pub(crate) segment: u32,
    pub(crate) file: Arc<File>,
    /// Its length.
    pub(crate) end: u64,
    /// Whether its name has to be synced too.
    pub(crate) created: bool,
}

/// Someone who waits for everything appended so far, and wants changes made then.
pub(crate) struct Commit {
    pub(crate) generation: u64,
    pub(crate) changes: Vec<Change>,
    /// Whether it was asked for by someone who is about to remove blocks.
    pub(crate) removing: bool,
    pub(crate) answer: SyncSender<Result<(), WriteError>>,
}

/// What one round of the committer takes.
#[derive(Default)]
pub(crate) struct Round {
    pub(crate) rows: Vec<Arc<Row>>,
    pub(crate) touched: Vec<Touched>,
    pub(crate) commits: Vec<Commit>,
    pub(crate) bytes: u64,
}

pub(crate) struct Tail {
    pub(crate) active: Option<Active>,
    /// Number of the next segment.
    pub(crate) next_segment: u32,
    /// What the next round will take.
    pub(crate) waiting: Round,
    /// Memory that its rows take.
    pub(crate) rows_bytes: usize,
    /// Bytes appended and not synced, those of a running round included.
    pub(crate) unsynced_bytes: u64,
    /// Lowest segment that a running round syncs.
    pub(crate) in_round: Option<u32>,
    pub(crate) stop: bool,
}

impl Tail {
    pub(crate) fn new(active: Option<Active>, next_segment: u32) -> Self {
        let waiting = Round::default();
        Self { active, next_segment, waiting, rows_bytes: 0, unsynced_bytes: 0, in_round: None, stop: false }
    }

    /// Takes what waits, for a round.
    pub(crate) fn take(&mut self) -> Round {
        self.rows_bytes = 0;
        let round = std::mem::take(&mut self.waiting);
        self.in_round = round.touched.iter().map(|touched| touched.segment).min();
        round
    }

    /// Lowest segment that may have records the index does not know yet.
    pub(crate) fn first_open(&self) -> u32 {
        let waiting = self.waiting.touched.iter().map(|touched| touched.segment);
        let active = self.active.as_ref().map(|active| active.segment);
        waiting.chain(active).chain(self.in_round).min().unwrap_or(self.next_segment)
    }

    /// Adds rows to what waits.
    pub(crate) fn enqueue(&mut self, rows: impl IntoIterator<Item = Arc<Row>>) {
        for row in rows {
            self.rows_bytes += row.memory_bytes();
            self.waiting.rows.push(row);
        }
    }

    /// Appends blocks as records, each with its multihash and epoch, and says where each went. If it fails, nothing was
    /// appended.
    pub(crate) fn append(
        &mut self,
        dir: &SegmentDir,
        segment_bytes_max: u64,
        blocks: &[(&Block, &[u8], u64)],
    ) -> Result<Vec<Place>, WriteError> {
        if self.active.as_ref().is_some_and(|active| active.end >= segment_bytes_max.min(SEGMENT_BYTES_MAX)) {
            self.active = None;
        }
        let created = self.active.is_none();
        if created {
            self.active = Some(self.create(dir)?);
        }
        let active = self.active.as_mut().expect("invariant: it was set above where it was none");
        let mut heads = Vec::with_capacity(blocks.len() * 72);
        let mut cuts = Vec::with_capacity(blocks.len());
        let mut places = Vec::with_capacity(blocks.len());
        let mut end = active.end;
        for (block, key, epoch) in blocks {
            let place = Place { segment: active.segment, offset: end, size: block.data.len() as u32 };
            put_record_head(&mut heads, place, block.cid.codec(), *epoch, key);
            end += record_len(key.len(), place.size);
            cuts.push(heads.len());
            places.push(place);
        }
        let mut slices = Vec::with_capacity(blocks.len() * 4);
        let mut from = 0;
        for ((block, ..), cut) in blocks.iter().zip(&cuts) {
            slices.push(IoSlice::new(heads.get(from..*cut).unwrap_or_default()));
            slices.extend(block.data.parts().into_iter().filter(|part| !part.is_empty()).map(IoSlice::new));
            from = *cut;
        }
        if let Err(error) = write_all(&active.file, &mut slices) {
            let path = dir.file_path(active.segment);
            let segment = active.segment;
            self.roll_back(created);
            if created {
                // Of no use; if it stays, the next opening removes it.
                drop(dir.remove(segment));
            }
            return Err(write_error("append to", &path, error, end));
        }
        let bytes = end - active.end;
        active.end = end;
        self.waiting.bytes += bytes;
        self.unsynced_bytes += bytes;
        let (segment, file) = (active.segment, Arc::clone(&active.file));
        match self.waiting.touched.iter_mut().find(|touched| touched.segment == segment) {
            Some(touched) => touched.end = end,
            None => self.waiting.touched.push(Touched { segment, file, end, created }),
        }
        Ok(places)
    }

    fn create(&mut self, dir: &SegmentDir) -> Result<Active, WriteError> {
        let segment = self.next_segment;
        let path: &Path = &dir.file_path(segment);
        let header = SEGMENT_HEADER_BYTES as u64;
        let file = dir.create(segment).map_err(|error| write_error("create", path, error, header))?;
        self.next_segment += 1;
        Ok(Active { segment, file, end: header })
    }

    /// Cuts off what a failed append may have left. A segment that cannot be cut is not appended to again; what lies
    /// beyond its committed length is cut off by the next opening.
    fn roll_back(&mut self, created: bool) {
        let Some(active) = &self.active else { return };
        let mut file: &File = &active.file;
        let cut = active.file.set_len(active.end).and_then(|()| file.seek(SeekFrom::Start(active.end)));
        // A segment that was created for this append has no `Touched` entry that would sync its name.
        if created || cut.is_err() {
            self.active = None;
        }
    }
}

/// Writes all slices at the file's cursor.
fn write_all(mut file: &File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        let window = slices.get(..slices.len().min(SLICES_MAX)).unwrap_or_default();
        match file.write_vectored(window) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
