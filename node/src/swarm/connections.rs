//! Which connections are kept: `Swarm.ConnMgr`.
//!
//! Above the high watermark, connections are closed until the low one is reached: those first whose peers are worth least.
//! Connections in their grace period and protected peers are left alone. It does no I/O and knows no clock.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

/// Reasons to keep a peer that one peer can have.
const TAGS_MAX: usize = 32;

/// `Swarm.ConnMgr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// `HighWater`: above it, connections are closed. Default 96.
    pub high: usize,
    /// `LowWater`: what is left then. Default 32.
    pub low: usize,
    /// `GracePeriod`: how long new connections are left alone. Default 20 s.
    pub grace: Duration,
    /// `SilencePeriod`: how long nothing is closed after something was. Default 10 s.
    pub silence: Duration,
}

impl Default for Watermarks {
    fn default() -> Self {
        Self { high: 96, low: 32, grace: Duration::from_secs(20), silence: Duration::from_secs(10) }
    }
}

/// How peers are told to be worth keeping, by whoever knows: Bitswap, the routing tables, the list of peered nodes.
/// Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Worth {
    inner: Arc<Mutex<HashMap<PeerId, Reasons>>>,
}

#[derive(Debug, Default)]
struct Reasons {
    protected: HashSet<&'static str>,
    values: HashMap<&'static str, i32>,
}

impl Worth {
    fn change<T>(&self, change: impl FnOnce(&mut HashMap<PeerId, Reasons>) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Never close connections to this peer, for this reason.
    pub fn protect(&self, peer: PeerId, reason: &'static str) {
        self.change(|all| {
            let reasons = all.entry(peer).or_default();
            if reasons.protected.len() < TAGS_MAX {
                reasons.protected.insert(reason);
            }
        });
    }

    /// Takes a reason back. Others stay.
    pub fn unprotect(&self, peer: &PeerId, reason: &'static str) {
        self.with(peer, |reasons| {
            reasons.protected.remove(reason);
        });
    }

    /// What this peer is worth, for this reason: values of all reasons add up. 0 takes it back.
    pub fn set(&self, peer: PeerId, reason: &'static str, value: i32) {
        if value == 0 {
            return self.with(&peer, |reasons| {
                reasons.values.remove(reason);
            });
        }
        self.change(|all| {
            let reasons = all.entry(peer).or_default();
            if reasons.values.len() < TAGS_MAX || reasons.values.contains_key(reason) {
                reasons.values.insert(reason, value);
            }
        });
    }

    /// Whether connections to this peer are never closed.
    pub fn is_protected(&self, peer: &PeerId) -> bool {
        self.change(|all| all.get(peer).is_some_and(|reasons| !reasons.protected.is_empty()))
    }

    /// How many peers are worth anything.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.change(|all| all.len())
    }

    fn value(&self, peer: &PeerId) -> i64 {
        self.change(|all| {
            all.get(peer).map_or(0, |it| it.values.values().map(|value| i64::from(*value)).sum())
        })
    }

    /// A peer that is worth nothing any more is not kept in mind.
    fn with(&self, peer: &PeerId, change: impl FnOnce(&mut Reasons)) {
        self.change(|all| {
            let Some(reasons) = all.get_mut(peer) else { return };
            change(reasons);
            if reasons.protected.is_empty() && reasons.values.is_empty() {
                all.remove(peer);
            }
        });
    }
}

/// The connections that there are, and what to do when they are too many.
#[derive(Debug)]
pub(super) struct ConnectionManager {
    /// None: connections are never closed for being too many.
    watermarks: Option<Watermarks>,
    worth: Worth,
    open: HashMap<ConnectionId, Open>,
    /// When connections were closed last for being too many.
    trimmed: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    peer: PeerId,
    since: Instant,
    inbound: bool,
}

impl ConnectionManager {
    pub(super) fn new(watermarks: Option<Watermarks>, worth: Worth) -> Self {
        Self { watermarks, worth, open: HashMap::new(), trimmed: None }
    }

    pub(super) fn opened(&mut self, id: ConnectionId, peer: PeerId, inbound: bool, now: Instant) {
        self.open.insert(id, Open { peer, since: now, inbound });
    }

    pub(super) fn closed(&mut self, id: ConnectionId) {
        self.open.remove(&id);
    }

    /// Whether one more connection would be one too many: no time for those that nobody asked for.
    pub(super) fn is_full(&self) -> bool {
        self.watermarks.is_some_and(|marks| self.open.len() >= marks.high)
    }

    /// The connections to close now.
    pub(super) fn trim(&mut self, now: Instant) -> Vec<ConnectionId> {
        let Some(Watermarks { high, low, grace, silence }) = self.watermarks else { return Vec::new() };
        let is_silent = |trimmed: Instant| now.saturating_duration_since(trimmed) < silence;
        if self.open.len() <= high || self.trimmed.is_some_and(is_silent) {
            return Vec::new();
        }
        let excess = self.open.len().saturating_sub(low);
        let mut candidates: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| now.saturating_duration_since(open.since) >= grace)
            .filter(|(_, open)| !self.worth.is_protected(&open.peer))
            // Those that others opened go before ours; of equals, the older ones go.
            .map(|(id, open)| (self.worth.value(&open.peer), !open.inbound, open.since, *id))
            .collect();
        candidates.sort_unstable_by_key(|(value, ours, since, _)| (*value, *ours, *since));
        // Where nothing could be closed, it is tried again soon.
        if !candidates.is_empty() {
            self.trimmed = Some(now);
        }
        candidates.into_iter().take(excess).map(|(_, _, _, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Watermarks =
        Watermarks { high: 10, low: 4, grace: Duration::from_secs(20), silence: Duration::from_secs(10) };

    fn filled(worth: &Worth, count: usize, now: Instant) -> (ConnectionManager, Vec<(ConnectionId, PeerId)>) {
        let mut manager = ConnectionManager::new(Some(MARKS), worth.clone());
        let open: Vec<_> = (0..count).map(|id| (ConnectionId::new_unchecked(id), PeerId::random())).collect();
        for (id, peer) in &open {
            manager.opened(*id, *peer, true, now);
        }
        (manager, open)
    }

    #[test]
    fn above_the_high_watermark_the_worthless_go_until_the_low_one_is_reached() {
        let (start, worth) = (Instant::now(), Worth::default());
        let (mut manager, open) = filled(&worth, 12, start);
        let later = start + MARKS.grace;
        for (_, peer) in &open[..2] {
            worth.protect(*peer, "peering");
        }
        worth.set(open[2].1, "bitswap", 5);
        worth.set(open[3].1, "kad", 1);
        let trimmed = manager.trim(later);
        assert_eq!(trimmed.len(), 8);
        let kept: Vec<_> = open.iter().map(|(id, _)| *id).filter(|id| !trimmed.contains(id)).collect();
        assert_eq!(kept, open[..4].iter().map(|(id, _)| *id).collect::<Vec<_>>());
        for id in trimmed {
            manager.closed(id);
        }
        assert!(manager.trim(later).is_empty());
    }

    #[test]
    fn at_the_watermark_in_grace_or_protected_nothing_is_closed() {
        let (start, worth) = (Instant::now(), Worth::default());
        assert!(filled(&worth, 10, start).0.trim(start + MARKS.grace).is_empty(), "at the mark");
        let (mut manager, open) = filled(&worth, 20, start);
        assert!(manager.is_full() && !filled(&worth, 9, start).0.is_full());
        assert!(manager.trim(start + MARKS.grace / 2).is_empty(), "in grace");
        for (_, peer) in &open {
            worth.protect(*peer, "peering");
        }
        assert!(manager.trim(start + MARKS.grace).is_empty(), "protected");
        for (_, peer) in &open {
            worth.unprotect(peer, "peering");
        }
        assert_eq!(manager.trim(start + MARKS.grace).len(), 16);
        assert_eq!(worth.len(), 0);
    }

    #[test]
    fn after_connections_were_closed_there_is_silence_for_a_while() {
        let (start, worth) = (Instant::now(), Worth::default());
        let (mut manager, _) = filled(&worth, 12, start);
        let mut now = start + MARKS.grace;
        let mut at = Vec::new();
        for second in 0..30 {
            let trimmed = manager.trim(now);
            if !trimmed.is_empty() {
                at.push(second);
            }
            for id in trimmed {
                manager.closed(id);
            }
            // Peers that have been there for long keep coming.
            for id in 0..12 {
                let id = ConnectionId::new_unchecked(1000 * (second + 1) + id);
                manager.opened(id, PeerId::random(), true, start);
            }
            now += Duration::from_secs(1);
        }
        assert_eq!(at, [0, 10, 20]);
        // In grace nothing can be closed, and that begins no silence.
        let (mut manager, _) = filled(&worth, 12, start);
        assert!(manager.trim(start + Duration::from_secs(15)).is_empty());
        assert_eq!(manager.trim(start + MARKS.grace).len(), 8);
    }
}
