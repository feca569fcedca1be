//! How many provider records each peer has, in a fixed amount of memory.
//!
//! Peers are counted together in groups that are drawn by a hash with a secret: nobody can choose whom he is counted with.
//! A group counts at least what each of its peers has, so that a bound on the group holds for the peer.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Groups of peers: 65,536, each 4 bytes. Of 4 million records of as many peers, each group has 61.
const GROUPS: usize = 1 << 16;

/// Records by group of peers.
#[derive(Debug)]
pub(super) struct Shares {
    secret: RandomState,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Empty until the first record, and while nothing was counted.
    counts: Vec<u32>,
    /// What is being counted anew.
    next: Option<Vec<u32>>,
}

impl Default for Shares {
    fn default() -> Self {
        Self { secret: RandomState::new(), inner: Mutex::default() }
    }
}

impl Shares {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn group(&self, peer: &[u8]) -> usize {
        // Its lowest bits are as good as any.
        self.secret.hash_one(peer) as usize % GROUPS
    }

    /// How many records a peer has, or a few more.
    pub(super) fn of(&self, peer: &[u8]) -> u64 {
        u64::from(self.lock().counts.get(self.group(peer)).copied().unwrap_or_default())
    }

    /// One more.
    pub(super) fn add(&self, peer: &[u8]) {
        let (mut inner, group) = (self.lock(), self.group(peer));
        let Inner { counts, next } = &mut *inner;
        change(counts, group, 1);
        // Whether the count that goes on has passed its place is not known; one too many is right again with the next count.
        if let Some(next) = next {
            change(next, group, 1);
        }
    }

    /// One less.
    pub(super) fn remove(&self, peer: &[u8]) {
        let (mut inner, group) = (self.lock(), self.group(peer));
        change(&mut inner.counts, group, -1);
    }

    /// Begins to count all records anew. What was counted before holds until [`Self::recounted`].
    pub(super) fn recount(&self) {
        self.lock().next = Some(Vec::new());
    }

    /// A record, in such a count.
    pub(super) fn count(&self, peer: &[u8]) {
        let group = self.group(peer);
        if let Some(next) = &mut self.lock().next {
            change(next, group, 1);
        }
    }

    /// All were counted.
    pub(super) fn recounted(&self) {
        let mut inner = self.lock();
        if let Some(next) = inner.next.take() {
            inner.counts = next;
        }
    }
}

fn change(counts: &mut Vec<u32>, group: usize, by: i32) {
    if counts.is_empty() {
        counts.resize(GROUPS, 0);
    }
    if let Some(count) = counts.get_mut(group) {
        *count = count.saturating_add_signed(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_counted_and_counted_anew() {
        let shares = Shares::default();
        assert_eq!(shares.of(b"a"), 0);
        for _ in 0..3 {
            shares.add(b"a");
        }
        shares.remove(b"a");
        assert_eq!(shares.of(b"a"), 2);
        shares.recount();
        shares.count(b"a");
        assert_eq!(shares.of(b"a"), 2, "the old count holds while the new one goes on");
        shares.add(b"a");
        shares.recounted();
        assert_eq!(shares.of(b"a"), 2);
        shares.recount();
        shares.recounted();
        shares.remove(b"a");
        assert_eq!(shares.of(b"a"), 0, "never less than none");
    }

    #[test]
    fn a_peer_is_hardly_ever_counted_with_another_one() {
        let shares = Shares::default();
        for _ in 0..1000 {
            shares.add(b"the one");
        }
        let together = (0..1000_u32).filter(|peer| shares.of(&peer.to_be_bytes()) > 0).count();
        assert!(together < 10, "{together} of 1,000");
    }
}
