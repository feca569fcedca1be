//! Rabin fingerprints with Kubo's polynomial and window.
//!
//! The fingerprint is the window read as a polynomial over GF(2), modulo an irreducible one of degree 53. Kubo starts
//! each chunk with a byte 0x01 in an otherwise empty window, and 16 bytes before the shortest cut; by then that byte has
//! left the window.

use super::pick;
use super::rolling::Rolling;

/// Bytes that a fingerprint covers.
pub(super) const WINDOW_BYTES: usize = 16;

/// The polynomial that Kubo's chunks are defined by.
const POLYNOMIAL: u64 = 0x003D_F305_DFB2_A805;

/// Its degree.
const DEGREE: u32 = POLYNOMIAL.ilog2();

/// Reduces the eight bits above the degree, and clears them.
const REDUCE: [u64; 256] = table(DEGREE);

/// What a byte has become when it leaves the window, after the byte that pushes it out was appended.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses an index out of range")]
const LEAVE: [u64; 256] = {
    let mut leave = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u64;
        let mut step = 0;
        while step < WINDOW_BYTES {
            value = modulo(value << 8);
            step += 1;
        }
        leave[byte] = value;
        byte += 1;
    }
    leave
};

const fn modulo(mut value: u64) -> u64 {
    while value >> DEGREE != 0 {
        value ^= POLYNOMIAL << (value.ilog2() - DEGREE);
    }
    value
}

/// For every byte at `shift`: its remainder, and itself, so that one XOR does both.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses an index out of range")]
const fn table(shift: u32) -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = (byte as u64) << shift;
        table[byte] = modulo(value) | value;
        byte += 1;
    }
    table
}

/// The hash, for chunks of about some number of bytes.
pub(super) struct Rabin {
    /// A cut is where these bits of the fingerprint are zero.
    mask: u64,
}

impl Rabin {
    /// `avg` is at least 1.
    pub(super) fn around(avg: usize) -> Self {
        Self { mask: (1 << avg.ilog2()) - 1 }
    }
}

/// One byte in, without any leaving.
#[inline]
fn append(digest: u64, byte: u8) -> u64 {
    (digest << 8) ^ u64::from(byte) ^ pick(&REDUCE, (digest >> (DEGREE - 8)) as u8)
}

impl Rolling for Rabin {
    const WINDOW_BYTES: usize = WINDOW_BYTES;

    type State = u64;

    fn of_window(&self, window: &[u8]) -> u64 {
        window.iter().fold(0, |digest, byte| append(digest, *byte))
    }

    #[inline]
    fn slide(&self, state: u64, out: u8, into: u8) -> u64 {
        append(state, into) ^ pick(&LEAVE, out)
    }

    #[inline]
    fn cuts(&self, state: u64) -> bool {
        state & self.mask == 0
    }
}
