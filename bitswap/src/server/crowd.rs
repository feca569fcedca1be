//! Who wants how much, so that whoever wants most is found at once.

use std::collections::BTreeSet;

use libp2p::PeerId;

/// The lengths of all wantlists.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    total: usize,
    by_length: BTreeSet<(usize, PeerId)>,
}

impl Crowd {
    /// A peer's wantlist is longer or shorter than it was.
    pub(super) fn changed(&mut self, peer: PeerId, before: usize, after: usize) {
        if before == after {
            return;
        }
        self.by_length.remove(&(before, peer));
        if after > 0 {
            self.by_length.insert((after, peer));
        }
        self.total = self.total + after - before;
    }

    /// Wants of all peers.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// A peer that wants no less than any other.
    pub(super) fn longest(&self) -> Option<(usize, PeerId)> {
        self.by_length.last().copied()
    }
}
