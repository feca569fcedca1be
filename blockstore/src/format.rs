//! What an opened index says of itself before it is used: its format, and whether it lost what was acknowledged.

use std::path::Path;
use std::time::SystemTime;

use rocksdb::WriteBatch;

use crate::error::{IndexError, OpenError, WriteError};
use crate::index::Index;
use crate::recover::OpenReport;
use crate::rows::{family, stats_key};
use crate::segment::SEGMENT_HEADER_BYTES;
use crate::segments::SegmentDir;
use crate::store::Store;
use crate::witness::Loss;

/// Format of the store on disk: index and segments together. A store of format 1 becomes one of format 2 when it is
/// opened: it has no files root and no batch numbers yet, and needs no other change.
pub const FORMAT: u32 = 2;

/// Refuses stores of a later format and indexes that were lost, remembers what was lost since it was last open, and
/// marks a store that is new or of an earlier format.
pub(crate) fn check(
    index: &Index,
    segments: &SegmentDir,
    db: &Path,
    report: &mut OpenReport,
) -> Result<(), OpenError> {
    let bad = |source| OpenError::Index { path: db.to_owned(), source };
    let row = index.get(family::STATS, stats_key::FORMAT).map_err(bad)?;
    let found = row.as_deref().map(|bytes| bytes.try_into().map(u32::from_le_bytes));
    match found {
        Some(Ok(found)) if found > FORMAT => return Err(OpenError::NewerFormat { found, known: FORMAT }),
        Some(Ok(_)) => {}
        // A later program refuses by the file `holdfast-version` too, so that this is damage, and harmless.
        Some(Err(_)) => report.bad_rows.push("stats: the row of the format is malformed".to_owned()),
        None => {
            let list = segments.list().map_err(OpenError::io("list", segments.path()))?;
            if list.iter().any(|(_, len)| *len > SEGMENT_HEADER_BYTES as u64) {
                return Err(OpenError::IndexLost { path: db.to_owned() });
            }
        }
    }
    // Before anything else is written: after that, the index is no longer behind the witness.
    report.lost_rounds = note_loss(index).map_err(bad)?;
    if matches!(found, Some(Ok(FORMAT))) { Ok(()) } else { mark(index).map_err(bad) }
}

/// Writes the format.
pub(crate) fn mark(index: &Index) -> Result<(), IndexError> {
    let mut batch = WriteBatch::default();
    batch.put_cf(index.family(family::STATS), stats_key::FORMAT, FORMAT.to_le_bytes());
    index.write(batch, true)
}

/// Compares the index with its witness. What was lost is said, and remembered until it is acknowledged.
pub(crate) fn note_loss(index: &Index) -> Result<u64, IndexError> {
    let rounds = index.lost_rounds();
    remember_loss(index, rounds)?;
    Ok(rounds)
}

/// Says that so many batches were lost, and remembers it. None is no loss.
pub(crate) fn remember_loss(index: &Index, rounds: u64) -> Result<(), IndexError> {
    if rounds == 0 {
        return Ok(());
    }
    let row = index.get(family::STATS, stats_key::LOST)?;
    let before = row.and_then(|row| Loss::decode(&row).ok());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let loss = Loss {
        rounds: rounds.saturating_add(before.map_or(0, |loss| loss.rounds)),
        times: 1 + before.map_or(0, |loss| loss.times),
        noticed_unix_ms: now.map_or(0, |since| since.as_millis() as u64),
    };
    tracing::warn!("{loss}; 'holdfast repo verify' says it until it is acknowledged");
    let mut batch = WriteBatch::default();
    batch.put_cf(index.family(family::STATS), stats_key::LOST, loss.encode());
    index.write(batch, true)
}

impl Store {
    /// What the index lost of what was acknowledged, unless someone has taken note of it already.
    pub fn loss(&self) -> Result<Option<Loss>, IndexError> {
        let row = self.inner().index.get()?.get(family::STATS, stats_key::LOST)?;
        row.map(|row| Loss::decode(&row)).transpose()
    }

    /// Forgets what was lost: someone has taken note of it.
    pub fn acknowledge_loss(&self) -> Result<(), WriteError> {
        let index = self.inner().index.get()?;
        let mut batch = WriteBatch::default();
        batch.delete_cf(index.family(family::STATS), stats_key::LOST);
        Ok(index.write(batch, true)?)
    }
}
