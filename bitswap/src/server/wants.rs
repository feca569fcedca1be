//! Wants come and go, and are looked up.

use holdfast_dag::cid::Cid;
use libp2p::PeerId;

use super::answer::PRESENCES_MAX;
use super::list::{List, Rank, State};
use super::{Action, Server};
use crate::message::{Entry, MESSAGE_BYTES_MAX, WantType};

/// A block larger than this does not fit a message, and counts as not here.
const SENT_BYTES_MAX: u64 = MESSAGE_BYTES_MAX as u64 - 4096;

impl Server {
    /// A peer changed its wantlist, or with `full` sent all of it.
    pub fn on_wants(&mut self, peer: PeerId, entries: &[Entry], full: bool) {
        if !self.config.server_enabled {
            return;
        }
        let Some(list) = self.lists.get(&peer) else { return };
        if full {
            for cid in list.cids() {
                self.end(&peer, &cid);
            }
        }
        for entry in entries.iter().filter(|entry| entry.cancel) {
            self.end(&peer, &entry.cid);
        }
        for entry in entries.iter().filter(|entry| !entry.cancel) {
            self.begin(&peer, entry);
        }
        self.dirty.push(peer);
    }

    /// Forgets a want, whatever its state.
    pub(super) fn end(&mut self, peer: &PeerId, cid: &Cid) {
        let Some(list) = self.lists.get_mut(peer) else { return };
        list.presences.remove(cid);
        let before = list.len();
        if list.remove(cid).is_some() {
            self.crowd.changed(*peer, before, list.len());
            self.stop_waiting(cid, peer);
        }
    }

    fn add(&mut self, peer: &PeerId, entry: &Entry, want_type: WantType, rank: Rank) {
        let Some(list) = self.lists.get_mut(peer) else { return };
        let before = list.len();
        list.insert(entry.cid, want_type, entry.send_dont_have, rank);
        self.crowd.changed(*peer, before, list.len());
        self.wait(&entry.cid, peer);
    }

    /// Makes room for one more want of a peer, where there is none: one of whoever wants most gives way, of this peer itself if nobody
    /// wants more; never a more urgent one. False where there is none that could.
    fn make_room(&mut self, peer: &PeerId, rank: Rank) -> bool {
        let Some(list) = self.lists.get(peer) else { return false };
        let own_is_full = list.len() >= self.config.wants_per_peer_max;
        if !own_is_full && self.crowd.total() < self.config.wants_total_max {
            return true;
        }
        if !own_is_full
            && let Some((length, other)) = self.crowd.longest()
            // Otherwise two that want equally much would take it from each other in turn.
            && length > list.len() + 1
            && let Some((_, evicted)) = self.lists.get(&other).and_then(List::last)
        {
            self.end(&other, &evicted);
            return true;
        }
        match list.last() {
            Some((last, evicted)) if rank < last => {
                self.end(peer, &evicted);
                true
            }
            _ => false,
        }
    }

    /// Adds a want, or strengthens one that is there.
    fn begin(&mut self, peer: &PeerId, entry: &Entry) {
        let max = self.config.wants_per_peer_max;
        let Some(list) = self.lists.get_mut(peer) else { return };
        if let Some(want) = list.get_mut(&entry.cid) {
            if matches!(want.state, State::Ready(_) | State::Reading) && want.kind >= entry.want_type {
                return;
            }
            let want_type = want.kind.max(entry.want_type);
            // Said again, it is answered again: from the beginning, for its state may have changed.
            self.end(peer, &entry.cid);
            let Some(list) = self.lists.get_mut(peer) else { return };
            let rank = list.rank(entry.priority);
            self.add(peer, entry, want_type, rank);
            return;
        }
        if list.presences.len() >= max {
            // It asks for more and does not take the answers.
            return;
        }
        let rank = list.rank(entry.priority);
        if self.make_room(peer, rank) {
            self.add(peer, entry, entry.want_type, rank);
        }
    }

    /// From the moment that it is wanted until it is found a block may arrive, also while it is being looked up.
    fn wait(&mut self, cid: &Cid, peer: &PeerId) {
        let waiting = self.waiting.entry(*cid).or_default();
        if !waiting.contains(peer) {
            waiting.push(*peer);
        }
    }

    /// Has what is new on a peer's list looked up, all of it at once.
    pub(super) fn look_up(&mut self, peer: &PeerId) {
        let max = self.config.wants_per_peer_max;
        let Some(list) = self.lists.get_mut(peer) else { return };
        // Who does not take answers gets no more of them: its wants stay on its list, which is bounded, until its stream took some.
        if list.is_looking_up || list.unknown.is_empty() || list.presences.len() >= PRESENCES_MAX {
            return;
        }
        list.tidy_unknown();
        let cids = std::mem::take(&mut list.unknown);
        debug_assert!(cids.len() <= max, "no more than the list holds");
        if !cids.is_empty() {
            list.is_looking_up = true;
            self.actions.push_back(Action::LookUp { peer: *peer, cids });
        }
    }

    /// The answer to [`Action::LookUp`]: the size of each block that is here.
    pub fn on_presence(&mut self, peer: &PeerId, cids: &[Cid], sizes: &[Option<u64>]) {
        let Some(list) = self.lists.get_mut(peer) else { return };
        list.is_looking_up = false;
        for (at, cid) in cids.iter().enumerate() {
            self.found(peer, cid, sizes.get(at).copied().flatten());
        }
        self.dirty.push(*peer);
    }

    /// Blocks arrived in the store: all who wait for them get them.
    pub fn on_new_blocks(&mut self, blocks: &[(Cid, u64)]) {
        for (cid, size) in blocks {
            for peer in self.waiting.remove(cid).unwrap_or_default() {
                self.found(&peer, cid, Some(*size));
                self.dirty.push(peer);
            }
        }
    }

    /// A want was looked up, or its block arrived.
    fn found(&mut self, peer: &PeerId, cid: &Cid, size: Option<u64>) {
        let replace_max = self.config.have_replace_bytes_max;
        let Some(list) = self.lists.get_mut(peer) else { return };
        let Some(want) = list.get(cid) else { return };
        if !matches!(want.state, State::Unknown | State::Absent) {
            return;
        }
        match size.filter(|bytes| *bytes <= SENT_BYTES_MAX) {
            Some(bytes) if want.kind == WantType::Block || bytes <= replace_max => {
                list.presences.remove(cid);
                list.set_state(cid, State::Ready(bytes));
                self.stop_waiting(cid, peer);
                self.enter_turns(peer);
            }
            Some(_) => {
                // A HAVE settles the want: who wants the block then asks for it.
                list.presences.insert(*cid, true);
                let before = list.len();
                list.remove(cid);
                self.crowd.changed(*peer, before, list.len());
                self.stop_waiting(cid, peer);
            }
            None => {
                if want.send_dont_have {
                    list.presences.insert(*cid, false);
                }
                list.set_state(cid, State::Absent);
                self.wait(cid, peer);
            }
        }
    }

    pub(super) fn stop_waiting(&mut self, cid: &Cid, peer: &PeerId) {
        if let Some(waiting) = self.waiting.get_mut(cid) {
            waiting.retain(|other| other != peer);
            if waiting.is_empty() {
                self.waiting.remove(cid);
            }
        }
    }

    /// A block that was to be there is not: remembered, and said if asked for.
    pub(super) fn missing(&mut self, peer: &PeerId, cid: &Cid) {
        if let Some(list) = self.lists.get_mut(peer)
            && list.get(cid).is_some_and(|want| want.state == State::Reading)
        {
            list.set_state(cid, State::Unknown);
            self.found(peer, cid, None);
        }
    }
}
