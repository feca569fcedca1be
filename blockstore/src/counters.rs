//! Counters and rows of segments as opening finds them. One that is malformed stops nothing: it is named and made anew.

use std::collections::BTreeMap;

use rocksdb::WriteBatch;

use crate::committer::Deltas;
use crate::error::IndexError;
use crate::index::{Index, after};
use crate::rows::{MetaRow, decode_i64, family, hex, stats_key};

/// Rows read at a time.
const PAGE: usize = 4096;

/// A counter of the `stats` family.
pub(crate) fn counter(index: &Index, key: &[u8]) -> Result<i64, IndexError> {
    index.get(family::STATS, key)?.map_or(Ok(0), |bytes| decode_i64(&bytes))
}

/// The per-segment rows of a prefix, those that can be read.
pub(crate) fn segment_rows(index: &Index, prefix: u8) -> Result<BTreeMap<u32, i64>, IndexError> {
    let rows = index.all(family::STATS, &[prefix, b':'])?.into_iter();
    Ok(rows
        .filter_map(|(key, row)| Some((stats_key::segment_of(prefix, &key)?, decode_i64(&row).ok()?)))
        .collect())
}

/// Names the malformed rows among counters and segments, and counts anew if any of them is one.
pub(crate) fn mend(index: &Index, bad_rows: &mut Vec<String>) -> Result<(), IndexError> {
    let before = bad_rows.len();
    for key in [stats_key::BLOCKS, stats_key::VALUE_BYTES] {
        if counter(index, key).is_err_and(|error| matches!(error, IndexError::Row { .. })) {
            bad_rows.push(format!("stats: the counter {} is malformed", String::from_utf8_lossy(key)));
        }
    }
    for (key, row) in index.all(family::STATS, &[stats_key::LIVE, b':'])? {
        if stats_key::segment_of(stats_key::LIVE, &key).is_none() || decode_i64(&row).is_err() {
            bad_rows.push(format!("stats: the row {} is malformed", hex(&key)));
        }
    }
    if bad_rows.len() > before { recount(index) } else { Ok(()) }
}

/// Segments whose committed length cannot be read.
pub(crate) fn without_length(index: &Index, bad_rows: &mut Vec<String>) -> Result<Vec<u32>, IndexError> {
    let mut segments = Vec::new();
    for (key, row) in index.all(family::STATS, &[stats_key::COMMITTED, b':'])? {
        if decode_i64(&row).is_err() {
            bad_rows.push(format!("stats: the row {} is malformed", hex(&key)));
            segments.extend(stats_key::segment_of(stats_key::COMMITTED, &key));
        }
    }
    Ok(segments)
}

/// Replaces all counters by what a walk over the blocks finds. Nothing else may write meanwhile.
fn recount(index: &Index) -> Result<(), IndexError> {
    let mut walked = Deltas::default();
    let mut from = Vec::new();
    loop {
        let rows = index.page(family::META, &[], &from, PAGE)?;
        let Some((last, _)) = rows.last() else { break };
        from = after(last);
        for (key, row) in &rows {
            walked.blocks += 1;
            let Ok(MetaRow { place, .. }) = MetaRow::decode(row) else { continue };
            walked.value_bytes += i64::from(place.size);
            *walked.live.entry(place.segment).or_default() += place.record_len(key.len()).cast_signed();
        }
    }
    let mut batch = WriteBatch::default();
    let stats = index.family(family::STATS);
    for (key, _) in index.all(family::STATS, &[stats_key::LIVE, b':'])? {
        batch.delete_cf(stats, key);
    }
    batch.delete_cf(stats, stats_key::BLOCKS);
    batch.delete_cf(stats, stats_key::VALUE_BYTES);
    walked.put(&mut batch, index);
    index.write(batch, true)
}
