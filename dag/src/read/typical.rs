//! Guessing how large blocks are that nobody has seen.

use crate::block::BLOCK_BYTES_MAX;
use crate::cid::{Cid, codec};

/// A running average of block sizes in bytes, for codecs whose links say nothing about sizes.
#[derive(Debug)]
pub(crate) struct TypicalSize(u64);

impl Default for TypicalSize {
    /// 64 KiB, between inner nodes and leaves, until blocks have been seen.
    fn default() -> Self {
        Self(64 << 10)
    }
}

impl TypicalSize {
    /// Takes note of a block.
    pub(crate) fn learn(&mut self, block_bytes: usize) {
        self.0 = (7 * self.0 + block_bytes.min(BLOCK_BYTES_MAX) as u64) / 8;
    }

    /// What the target of a link is likely to take. `tsize` covers its whole subtree; 0 means that it is not given.
    pub(crate) fn estimate(&self, cid: &Cid, tsize: u64) -> u64 {
        match tsize {
            0 => self.0,
            tsize if cid.codec() == codec::RAW => tsize.min(BLOCK_BYTES_MAX as u64),
            tsize => tsize.min(self.0),
        }
    }
}
