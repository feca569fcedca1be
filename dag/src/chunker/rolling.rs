//! Rolling hashes, and how they are searched for cuts.
//!
//! The state of the hashes here depends on the bytes of the window only. That allows two things: bytes before the
//! shortest cut are not hashed at all, and several stretches are scanned side by side, because one stretch alone waits
//! for its own table look-ups most of the time.

/// A hash over a window of bytes.
pub(super) trait Rolling {
    /// Bytes that the state covers.
    const WINDOW_BYTES: usize;

    type State: Copy;

    /// The state after these [`Self::WINDOW_BYTES`] bytes.
    fn of_window(&self, window: &[u8]) -> Self::State;

    /// The state when the byte `into` enters the window and `out` leaves it.
    fn slide(&self, state: Self::State, out: u8, into: u8) -> Self::State;

    /// Whether a chunk may end here.
    fn cuts(&self, state: Self::State) -> bool;
}

/// First cut at or after `min`, which is at least the window.
pub(super) fn first_cut<R: Rolling>(hash: &R, data: &[u8], min: usize) -> Option<usize> {
    let mut behind = min.checked_sub(R::WINDOW_BYTES)?;
    if hash.cuts(hash.of_window(data.get(behind..min)?)) {
        return Some(min);
    }
    while let Some(block) = data.get(behind..behind + R::WINDOW_BYTES + LANES * LANE_BYTES) {
        // Cuts are rare: which one comes first is found by going over the block once more.
        if has_cut(hash, block)
            && let Some(cut) = scan(hash, block)
        {
            return Some(behind + cut);
        }
        behind += LANES * LANE_BYTES;
    }
    scan(hash, data.get(behind..)?).map(|cut| behind + cut)
}

/// First cut behind the first window of a stretch.
fn scan<R: Rolling>(hash: &R, stretch: &[u8]) -> Option<usize> {
    let (window, entering) = stretch.split_at_checked(R::WINDOW_BYTES)?;
    let mut state = hash.of_window(window);
    for (at, (out, into)) in stretch.iter().zip(entering).enumerate() {
        state = hash.slide(state, *out, *into);
        if hash.cuts(state) {
            return Some(R::WINDOW_BYTES + at + 1);
        }
    }
    None
}

/// Stretches that are scanned side by side.
const LANES: usize = 4;

/// Length of each.
const LANE_BYTES: usize = 2048;

/// Whether there is a cut behind the first window of a block of [`LANES`] stretches.
fn has_cut<R: Rolling>(hash: &R, block: &[u8]) -> bool {
    let lane = |index: usize| {
        let stretch = block.get(index * LANE_BYTES..).unwrap_or_default();
        let (window, entering) = stretch.split_at_checked(R::WINDOW_BYTES).unwrap_or_default();
        (hash.of_window(window), stretch.iter().zip(entering.get(..LANE_BYTES).unwrap_or_default()))
    };
    let ((mut a, pairs_a), (mut b, pairs_b)) = (lane(0), lane(1));
    let ((mut c, pairs_c), (mut d, pairs_d)) = (lane(2), lane(3));
    // Counted rather than decided, so that there is one branch a block and not four a byte.
    let mut cuts = 0_u32;
    for (((pair_a, pair_b), pair_c), pair_d) in pairs_a.zip(pairs_b).zip(pairs_c).zip(pairs_d) {
        a = hash.slide(a, *pair_a.0, *pair_a.1);
        b = hash.slide(b, *pair_b.0, *pair_b.1);
        c = hash.slide(c, *pair_c.0, *pair_c.1);
        d = hash.slide(d, *pair_d.0, *pair_d.1);
        cuts += u32::from(hash.cuts(a)) + u32::from(hash.cuts(b));
        cuts += u32::from(hash.cuts(c)) + u32::from(hash.cuts(d));
    }
    cuts > 0
}
