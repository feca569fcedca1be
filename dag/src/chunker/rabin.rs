//! Rabin fingerprints with Kubo's polynomial and window.
//!
//! The fingerprint is the window read as a polynomial over GF(2), modulo an irreducible one of degree 53. Once the
//! window is full it depends on the last 16 bytes only. That allows two things here: bytes before the shortest cut
//! are not hashed at all, and several stretches are scanned side by side, because one stretch alone waits for its own
//! table look-ups most of the time.

use super::pick;

/// Bytes that a fingerprint covers.
pub(super) const WINDOW_BYTES: usize = 16;

/// The polynomial that Kubo's chunks are defined by.
const POLYNOMIAL: u64 = 0x003D_F305_DFB2_A805;

/// Its degree.
const DEGREE: u32 = 63 - POLYNOMIAL.leading_zeros();

/// Reduces the eight bits above the degree, and clears them.
const REDUCE: [u64; 256] = table(DEGREE);

/// What a byte has become when it leaves the window, after the byte that pushes it out was appended.
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
        value ^= POLYNOMIAL << (63 - value.leading_zeros() - DEGREE);
    }
    value
}

/// For every byte at `shift`: its remainder, and itself, so that one XOR does both.
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

/// The bits that are zero where a chunk ends, so that chunks of about `avg` bytes come out.
pub(super) fn mask(avg: usize) -> u64 {
    (1 << avg.ilog2()) - 1
}

/// One byte in, without any leaving.
#[inline]
fn append(digest: u64, byte: u8) -> u64 {
    (digest << 8) ^ u64::from(byte) ^ pick(&REDUCE, (digest >> (DEGREE - 8)) as u8)
}

/// One byte in, one out. Only `append` waits for the digest before.
#[inline]
fn slide(digest: u64, (out, into): (&u8, &u8)) -> u64 {
    append(digest, *into) ^ pick(&LEAVE, *out)
}

fn fingerprint(window: &[u8]) -> u64 {
    window.iter().fold(0, |digest, byte| append(digest, *byte))
}

/// First cut at or after `min` (at least [`WINDOW_BYTES`]), as the fingerprint sees it.
pub(super) fn find(data: &[u8], min: usize, mask: u64) -> Option<usize> {
    let window = data.get(min.checked_sub(WINDOW_BYTES)?..min)?;
    if fingerprint(window) & mask == 0 {
        return Some(min);
    }
    let mut at = min;
    while let Some(block) = data.get(at - WINDOW_BYTES..at + LANES * LANE_BYTES) {
        if let Some(cut) = scan_lanes(block, mask) {
            return Some(at + cut);
        }
        at += LANES * LANE_BYTES;
    }
    scan(data.get(at - WINDOW_BYTES..)?, mask).map(|cut| at + cut)
}

/// Bytes slid in before the first cut, in a stretch with a full window in front of it.
fn scan(stretch: &[u8], mask: u64) -> Option<usize> {
    let (window, entering) = stretch.split_at_checked(WINDOW_BYTES)?;
    let mut digest = fingerprint(window);
    for (at, pair) in stretch.iter().zip(entering).enumerate() {
        digest = slide(digest, pair);
        if digest & mask == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// Stretches that are scanned side by side.
const LANES: usize = 4;

/// Length of each: what may be scanned in vain beyond a cut is three of them.
const LANE_BYTES: usize = 2048;

/// As [`scan`], over exactly [`LANES`] stretches.
fn scan_lanes(block: &[u8], mask: u64) -> Option<usize> {
    let lane = |index: usize| {
        let stretch = block.get(index * LANE_BYTES..).unwrap_or_default();
        let window = stretch.get(..WINDOW_BYTES).unwrap_or_default();
        let entering = stretch.get(WINDOW_BYTES..WINDOW_BYTES + LANE_BYTES).unwrap_or_default();
        (fingerprint(window), stretch.iter().zip(entering))
    };
    let ((mut d0, lane0), (mut d1, lane1), (mut d2, lane2), (mut d3, lane3)) =
        (lane(0), lane(1), lane(2), lane(3));
    let mut hit = false;
    for (((p0, p1), p2), p3) in lane0.zip(lane1).zip(lane2).zip(lane3) {
        d0 = slide(d0, p0);
        d1 = slide(d1, p1);
        d2 = slide(d2, p2);
        d3 = slide(d3, p3);
        hit |= (d0 & mask == 0) | (d1 & mask == 0) | (d2 & mask == 0) | (d3 & mask == 0);
    }
    // Cuts are rare: which one comes first is found by going over the block once more.
    if hit { scan(block, mask) } else { None }
}
