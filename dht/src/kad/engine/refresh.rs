//! When buckets are refreshed: every interval with jitter, and a second after the table began to fill.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::kad::{BUCKET_PEERS_MAX, Key, Prefix, preimage};

/// Deepest bucket that is refreshed: a key for one that shares 12 bits takes 8,192 hashes, about 1 ms; a network of 10,000
/// servers is not deeper, and the search for the node itself fills what is.
const BITS_MAX: u32 = 12;

/// How soon after the first newcomers the table is filled.
const SOON: Duration = Duration::from_secs(1);

/// A table that was filled so long ago is not filled again because of newcomers.
const PAUSE: Duration = Duration::from_secs(60);

/// One that became deeper meanwhile is, as nobody has looked for those who are near.
const PAUSE_WHEN_DEEPER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Refresh {
    /// The key of the node itself.
    own: Key,
    interval: Duration,
    next: Option<Instant>,
    last: Option<Instant>,
    /// The deepest bucket at that time.
    depth: u32,
    waiting: VecDeque<(u32, Key)>,
    is_running: bool,
    rng: SmallRng,
}

impl Refresh {
    pub(super) fn new(own: Key, interval: Duration, seed: u64, now: Instant) -> Self {
        let mut refresh = Self {
            own,
            interval,
            next: None,
            last: None,
            depth: 0,
            waiting: VecDeque::new(),
            is_running: false,
            rng: SmallRng::seed_from_u64(seed),
        };
        refresh.schedule(now);
        refresh
    }

    fn schedule(&mut self, now: Instant) {
        let jitter = self.rng.random_range(0.8..1.2);
        self.next = (!self.interval.is_zero()).then(|| now + self.interval.mul_f64(jitter));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// A peer came into the table, which holds so many now and has a bucket so deep.
    pub(super) fn on_newcomer(&mut self, table_len: usize, depth: Option<u32>, now: Instant) {
        let is_recent = self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE);
        let soon = if table_len <= BUCKET_PEERS_MAX && !is_recent {
            now + SOON
        } else if let Some(last) = self.last.filter(|_| depth > Some(self.depth)) {
            now.max(last + PAUSE_WHEN_DEEPER) + SOON
        } else {
            return;
        };
        self.next = self.next.map(|next| next.min(soon));
    }

    /// If it is time: the buckets to refresh and a key in each, that of the node itself first.
    pub(super) fn due(&mut self, depth: Option<u32>, now: Instant) -> Option<VecDeque<(u32, Key)>> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        self.schedule(now);
        let depth = depth?;
        (self.last, self.depth) = (Some(now), depth);
        // The search for the node itself finds those who are nearest to it, however near they are.
        let local = self.own.id();
        let mut keys = VecDeque::from([(depth, self.own.clone())]);
        for bits in 0..=depth.min(BITS_MAX) {
            let prefix = Prefix::of(&local, bits + 1).sibling()?;
            keys.extend(preimage(&prefix, self.rng.random()).map(|key| (bits, key)));
        }
        Some(keys)
    }

    pub(super) fn enqueue(&mut self, keys: VecDeque<(u32, Key)>) {
        self.waiting = keys;
    }

    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    pub(super) fn begin(&mut self) -> Option<(u32, Key)> {
        let next = self.waiting.pop_front()?;
        self.is_running = true;
        Some(next)
    }

    pub(super) fn ended(&mut self) {
        self.is_running = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Key {
        Key::new(b"local").unwrap()
    }

    #[test]
    fn buckets_are_refreshed_every_ten_minutes_give_or_take_a_fifth() {
        let (local, start) = (own().id(), Instant::now());
        let interval = Duration::from_secs(600);
        let mut refresh = Refresh::new(own(), interval, 7, start);
        let mut now = start;
        for _ in 0..20 {
            let next = refresh.next().unwrap();
            let wait = next - now;
            assert!(wait >= interval.mul_f64(0.8) && wait <= interval.mul_f64(1.2), "{wait:?}");
            assert!(refresh.due(Some(3), next.checked_sub(Duration::from_secs(1)).unwrap()).is_none());
            let keys = refresh.due(Some(3), next).unwrap();
            assert_eq!(keys.len(), 5);
            assert_eq!(keys[0], (3, own()), "the node itself is searched for");
            for (bits, key) in keys.iter().skip(1) {
                assert_eq!(local.common_prefix_bits(&key.id()), *bits);
            }
            now = next;
        }
    }

    #[test]
    fn the_first_peers_fill_the_table_soon() {
        let start = Instant::now();
        let mut refresh = Refresh::new(own(), Duration::from_secs(600), 7, start);
        refresh.on_newcomer(1, Some(0), start);
        assert_eq!(refresh.next(), Some(start + SOON));
        assert!(refresh.due(Some(0), start + SOON).is_some());
        refresh.on_newcomer(2, Some(0), start + SOON * 2);
        assert!(refresh.next().unwrap() > start + PAUSE, "once is enough");
        let mut never = Refresh::new(own(), Duration::ZERO, 7, start);
        never.on_newcomer(1, Some(0), start);
        assert_eq!(never.next(), None);
    }

    #[test]
    fn a_table_that_became_deeper_is_filled_again_soon() {
        let start = Instant::now();
        let mut refresh = Refresh::new(own(), Duration::from_secs(600), 7, start);
        refresh.on_newcomer(1, Some(0), start);
        let first = start + SOON;
        assert!(refresh.due(Some(0), first).is_some());
        refresh.on_newcomer(25, Some(4), first + SOON);
        let again = first + PAUSE_WHEN_DEEPER + SOON;
        assert_eq!(refresh.next(), Some(again));
        assert_eq!(refresh.due(Some(4), again).unwrap().len(), 6);
        refresh.on_newcomer(26, Some(4), again + SOON);
        assert!(refresh.next().unwrap() > again + PAUSE, "it is as deep as it was");
    }
}
