//! What opening does with what a crash left: segments longer or shorter than the index knows them.

use std::collections::BTreeMap;
use std::io::{Seek as _, SeekFrom};

use rocksdb::WriteBatch;

use crate::config::StoreConfig;
use crate::counters::{segment_rows, without_length};
use crate::error::{IndexError, OpenError};
use crate::index::Index;
use crate::rebuild::{RebuildReport, index_segment};
use crate::rows::{family, stats_key};
use crate::segment::SEGMENT_HEADER_BYTES;
use crate::segments::SegmentDir;
use crate::tail::{Active, Tail};

/// What opening a store found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Bytes cut off: appended, but never acknowledged.
    pub cut_bytes: u64,
    /// Blocks that were in segments but not in the index, more than a crash leaves behind: the index had lost them,
    /// and they were put back. Pins of the same time may be lost with it.
    pub restored_blocks: u64,
    /// Segments that are shorter than the index says, or missing: blocks in them are damaged. Adding them again
    /// repairs them.
    pub short_segments: Vec<u32>,
    /// Batches of changes that were acknowledged and are lost, because the index's log was damaged or cut. Blocks are
    /// put back from the segments; pins and the files root may lack what was changed last. [`Store::loss`] remembers
    /// it.
    ///
    /// [`Store::loss`]: crate::Store::loss
    pub lost_rounds: u64,
    /// Rows of the index that are malformed and were made anew or left out, each named.
    pub bad_rows: Vec<String>,
}

impl OpenReport {
    /// Tells the program's log what is out of order.
    pub(crate) fn log(&self) {
        for row in &self.bad_rows {
            tracing::warn!("{row}");
        }
        if *self != Self::default() {
            tracing::info!(
                cut_bytes = self.cut_bytes,
                restored_blocks = self.restored_blocks,
                short_segments = self.short_segments.len(),
                lost_rounds = self.lost_rounds,
                "the store was not closed in order"
            );
        }
    }
}

/// Brings segments and index together, and says where appending goes on.
pub(crate) fn recover(
    index: &Index,
    segments: &SegmentDir,
    config: &StoreConfig,
    report: &mut OpenReport,
) -> Result<Tail, OpenError> {
    let bad = |source: IndexError| OpenError::Index { path: segments.path().to_owned(), source };
    let io = |action| OpenError::io(action, segments.path());
    let list = segments.list().map_err(io("list"))?;
    let mut committed = segment_rows(index, stats_key::COMMITTED).map_err(bad)?;
    let newest = list.last().map(|(segment, _)| *segment).max(committed.keys().last().copied()).unwrap_or(0);
    let without_length = without_length(index, &mut report.bad_rows).map_err(bad)?;
    let unknown = unknown_bytes(&list, &committed);
    // A crash leaves no more behind than may wait for its sync, and nothing that was acknowledged.
    let restore = report.lost_rounds > 0
        || !without_length.is_empty()
        || unknown > config.unsynced_bytes_max.saturating_mul(2);
    for (segment, len) in &list {
        let known = committed.get(segment).map_or(0, |len| len.cast_unsigned());
        if *len > known && restore {
            let mut restored = RebuildReport::default();
            index_segment(index, segments, *segment, known, &mut restored)
                .map_err(OpenError::from_rebuild(segments))?;
            report.restored_blocks += restored.blocks;
        } else if *len > known || known == 0 {
            // A segment that the index does not know goes as a whole, even if a power cut left only its name.
            report.cut_bytes += len - known;
            cut(segments, *segment, known).map_err(io("cut off the tail of a segment in"))?;
        } else if *len < known {
            report.short_segments.push(*segment);
        }
    }
    let live = segment_rows(index, stats_key::LIVE).map_err(bad)?;
    for segment in committed.keys().filter(|segment| !list.iter().any(|(there, _)| there == *segment)) {
        if live.get(segment).is_some_and(|bytes| *bytes > 0) {
            report.short_segments.push(*segment);
        } else {
            forget(index, *segment).map_err(bad)?;
        }
    }
    if restore {
        committed = segment_rows(index, stats_key::COMMITTED).map_err(bad)?;
    }
    let active = committed.last_key_value().and_then(|(segment, end)| {
        reopen_active(segments, *segment, end.cast_unsigned(), config.segment_bytes_max)
    });
    Ok(Tail::new(active, newest + 1))
}

/// Bytes of records that the index does not know.
fn unknown_bytes(list: &[(u32, u64)], committed: &BTreeMap<u32, i64>) -> u64 {
    let known =
        |segment| committed.get(segment).map_or(SEGMENT_HEADER_BYTES as u64, |len| len.cast_unsigned());
    list.iter().map(|(segment, len)| len.saturating_sub(known(segment))).sum()
}

fn cut(segments: &SegmentDir, segment: u32, known: u64) -> std::io::Result<()> {
    if known == 0 { segments.remove(segment) } else { segments.file(segment)?.set_len(known) }
}

/// Removes the rows of a segment that is gone.
pub(crate) fn forget(index: &Index, segment: u32) -> Result<(), IndexError> {
    let mut batch = WriteBatch::default();
    for prefix in [stats_key::COMMITTED, stats_key::LIVE] {
        batch.delete_cf(index.family(family::STATS), stats_key::of_segment(prefix, segment));
    }
    index.write(batch, false)
}

/// The last segment goes on if it is whole and has room.
fn reopen_active(segments: &SegmentDir, segment: u32, end: u64, bytes_max: u64) -> Option<Active> {
    let file = segments.file(segment).ok()?;
    let whole = file.metadata().is_ok_and(|meta| meta.len() == end) && SegmentDir::has_header(&file, segment);
    if !whole || end >= bytes_max {
        return None;
    }
    (&*file).seek(SeekFrom::Start(end)).ok()?;
    Some(Active { segment, file, end })
}
