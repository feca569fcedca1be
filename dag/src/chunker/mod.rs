//! Splitting bytes into chunks, at the same places as Kubo.
//!
//! A [`ChunkerSpec`] says how; [`ChunkerSpec::cut`] finds where the next chunk ends. Cut points depend on the bytes
//! since the last cut only, never on how the input was read.

mod buzhash;
mod rabin;
mod rolling;
mod spec;

pub use spec::{ChunkerSpec, ChunkerSpecError};

use crate::block::BLOCK_BYTES_MAX;
use rolling::{Rolling, first_cut};

/// Longest chunk: 2,096,896 bytes, the block limit less 256 bytes for dag-pb framing (boxo `ChunkSizeLimit`).
pub const CHUNK_BYTES_MAX: usize = BLOCK_BYTES_MAX - 256;

/// Chunk size of `size` and average of `rabin` where none is given: 256 KiB (boxo `DefaultBlockSize`).
pub const CHUNK_BYTES_DEFAULT: usize = 256 << 10;

/// Looks up a table that has an entry for every byte.
#[inline]
fn pick<T: Copy + Default>(table: &[T; 256], byte: u8) -> T {
    table.get(usize::from(byte)).copied().unwrap_or_default()
}

/// The cut of a content-defined chunker.
fn cut_between<R: Rolling>(data: &[u8], last: bool, min: usize, max: usize, hash: &R) -> Option<usize> {
    let seen = data.get(..max).unwrap_or(data);
    if seen.len() < min {
        return (last && !seen.is_empty()).then_some(seen.len());
    }
    first_cut(hash, seen, min).or_else(|| (last || seen.len() == max).then_some(seen.len()))
}

#[cfg(test)]
mod tests;
