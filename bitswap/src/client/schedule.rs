//! Which want goes to which peer.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::state::{Answer, PeerKey, Place, WantKey};
use super::timers::Timer;
use super::{Client, RequestId, SessionId};
use crate::message::WantType;

/// Wants behind the first of a queue that are tried when no peer can take that one now.
const LOOK_AHEAD: usize = 32;

/// Who can be asked for a block.
enum Choice {
    Peer(PeerKey),
    /// Peers have it, or will say so, but have enough to do.
    Wait,
    Nobody,
}

impl Client {
    /// Hands out what these sessions have in their queues. Those that wait for a window since earlier go first, so that a session that
    /// keeps a peer busy does not keep others from it.
    pub(super) fn pump_all(&mut self, affected: Vec<SessionId>, now: Instant) {
        let mut ids = std::mem::take(&mut self.stalled);
        ids.extend(affected);
        let (mut seen, mut fed) = (HashSet::new(), HashSet::new());
        for id in ids.into_iter().filter(|id| seen.insert(*id)) {
            let before = self.held;
            self.pump(id, now);
            if self.held > before {
                fed.insert(id);
            }
        }
        // Who got nothing this time is the first next time.
        self.stalled.sort_by_key(|id| fed.contains(id));
    }

    /// Hands out what a session has in its queues, as far as windows allow.
    pub(super) fn pump(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (requests, estimate) = (session.requests.clone(), session.estimate());
        for request in requests {
            self.take_over(request, estimate);
            self.pump_request(id, request, now);
        }
    }

    fn pump_request(&mut self, id: SessionId, request: RequestId, now: Instant) {
        let mut at = 0;
        loop {
            let (Some(session), Some(state)) = (self.sessions.get(&id), self.requests.get(&request)) else {
                return;
            };
            let estimate = session.estimate();
            let Some(key) = state.queue.get(at).copied() else { return };
            if !state.has_room(estimate, &self.config) || !session.has_room() {
                return;
            }
            match self.choose(id, key, estimate) {
                Choice::Peer(peer) => {
                    self.unqueue(request, at);
                    self.hold(id, key, peer, estimate, now);
                }
                Choice::Wait => {
                    if at == 0 && !self.stalled.contains(&id) {
                        self.stalled.push(id);
                    }
                    at += 1;
                    if at > LOOK_AHEAD || !self.has_free_member(id, estimate) {
                        return;
                    }
                }
                Choice::Nobody => {
                    if self.sessions.get(&id).is_some_and(|session| session.may_broadcast(&self.config)) {
                        self.unqueue(request, at);
                        self.broadcast(id, key, now);
                    } else {
                        at += 1;
                        if at > LOOK_AHEAD {
                            return;
                        }
                    }
                }
            }
        }
    }

    fn unqueue(&mut self, request: RequestId, at: usize) {
        if let Some(state) = self.requests.get_mut(&request) {
            state.queue.remove(at);
        }
    }

    fn has_free_member(&self, id: SessionId, estimate: usize) -> bool {
        self.sessions.get(&id).is_some_and(|session| {
            session.members.iter().any(|member| {
                self.peers
                    .get(member.key)
                    .is_some_and(|peer| peer.connected && peer.has_room(estimate, &self.config))
            })
        })
    }

    /// The member that has the block, or is believed to have it, or may have it, in this order; among equals the one from which it
    /// should come first.
    fn choose(&self, id: SessionId, key: WantKey, estimate: usize) -> Choice {
        let Some(session) = self.sessions.get(&id) else { return Choice::Nobody };
        let mut best: Option<(u8, Duration, PeerKey)> = None;
        let mut best_class = u8::MAX;
        for member in &session.members {
            let Some(peer) = self.peers.get(member.key).filter(|peer| peer.connected) else { continue };
            let answer = peer.relations.get(&key).map_or(Answer::None, |relation| relation.answer);
            let class = match answer {
                Answer::Have => 0,
                Answer::None if member.is_proven() => 0,
                Answer::None => 1,
                Answer::Silent => 2,
                Answer::DontHave => continue,
            };
            best_class = best_class.min(class);
            if peer.has_room(estimate, &self.config) {
                let rank = (class, peer.flow.expected(estimate), member.key);
                best = Some(best.map_or(rank, |other| other.min(rank)));
            }
        }
        match best {
            // Who was silent is asked again only when nobody else is left.
            Some((class, _, peer)) if class < 2 || best_class == 2 && !self.was_asked_by_all(id, key) => {
                if class > best_class {
                    Choice::Wait
                } else {
                    Choice::Peer(peer)
                }
            }
            _ if best_class < 2 => Choice::Wait,
            _ => Choice::Nobody,
        }
    }

    /// Whether a want was with everybody before: then it belongs to the broadcast, until somebody says HAVE.
    fn was_asked_by_all(&self, id: SessionId, key: WantKey) -> bool {
        self.sessions.get(&id).is_some_and(|session| {
            session.members.iter().all(|member| {
                self.peers.get(member.key).is_none_or(|peer| {
                    !peer.connected
                        || peer.relations.get(&key).is_some_and(|relation| relation.answer != Answer::None)
                })
            })
        })
    }

    /// Asks a peer for the block, and others, unless it is known to have everything, whether they have it.
    fn hold(&mut self, id: SessionId, key: WantKey, peer: PeerKey, estimate: usize, now: Instant) {
        let priority = self.take_priority();
        let Some(want) = self.wants.get_mut(key) else { return };
        debug_assert_eq!(want.place, Place::Queued, "a want has one place");
        want.priority = priority;
        (want.place, want.estimate) = (Place::Held(peer, now), estimate);
        let owner = want.owner;
        self.held += 1;
        if let Some(request) = self.requests.get_mut(&owner) {
            request.reserved += estimate;
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.held += 1;
        let is_proven = session.member(peer).is_some_and(|member| member.is_proven());
        let is_tried = session.members.iter().any(|member| member.hits > 0);
        let others: Vec<_> =
            session.members.iter().map(|member| member.key).filter(|key| *key != peer).collect();
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.flow.reserve(estimate, now);
        }
        self.tell(key, peer, WantType::Block);
        self.arm_want(key, peer, now);
        self.give_up_silent(key, peer);
        if is_proven || is_tried && estimate as u64 <= self.config.have_replace_bytes_max {
            // The others would not say that they have so small a block, but send it.
            return;
        }
        for other in others {
            if !self.is_silent(key, other) {
                self.tell(key, other, WantType::Have);
            }
        }
        if !is_tried {
            self.tell_everybody(key, Some(peer));
        }
    }

    fn is_silent(&self, key: WantKey, peer: PeerKey) -> bool {
        let relation = self.peers.get(peer).and_then(|peer| peer.relations.get(&key));
        relation.is_some_and(|relation| relation.answer == Answer::Silent)
    }

    /// Takes a want off the lists of peers that were silent, now that another holds it.
    fn give_up_silent(&mut self, key: WantKey, holder: PeerKey) {
        let told = self.wants.get(key).map(|want| want.told.clone()).unwrap_or_default();
        for told in told {
            if told == holder || !self.is_silent(key, told) {
                continue;
            }
            if let Some(peer) = self.peers.get_mut(told)
                && let Some(relation) = peer.relations.get_mut(&key)
            {
                relation.desired = None;
                if !std::mem::replace(&mut relation.is_dirty, true) {
                    peer.dirty.push(key);
                }
                self.list_dirty(told);
            }
        }
    }

    fn tell_everybody(&mut self, key: WantKey, but: Option<PeerKey>) {
        for peer in self.broadcast_peers() {
            if Some(peer) != but {
                self.tell_broadcast(key, peer);
            }
        }
    }

    /// Sets the time at which a held want counts as unanswered.
    pub(super) fn arm_want(&mut self, key: WantKey, peer: PeerKey, asked: Instant) {
        let (Some(want), Some(peer)) = (self.wants.get_mut(key), self.peers.get(peer)) else { return };
        let at = peer.flow.deadline(asked, &self.config);
        if let Some(old) = want.deadline.replace(at) {
            self.timers.remove(&(old, Timer::Want(key)));
        }
        self.timers.insert((at, Timer::Want(key)));
    }

    /// Nobody is known who could have it: asks everybody.
    fn broadcast(&mut self, id: SessionId, key: WantKey, now: Instant) {
        let priority = self.take_priority();
        let Some(want) = self.wants.get_mut(key) else { return };
        (want.place, want.priority) = (Place::Broadcast, priority);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.broadcast.push(key);
        }
        self.tell_everybody(key, None);
        self.look_for_search(id, now);
    }

    /// Puts a want in front of its owner's queue.
    pub(super) fn queue_first(&mut self, key: WantKey) {
        let Some(want) = self.wants.get_mut(key) else { return };
        debug_assert_eq!(want.place, Place::Queued, "what is queued is nowhere else");
        let owner = want.owner;
        if let Some(request) = self.requests.get_mut(&owner) {
            request.queue.push_front(key);
        }
    }

    /// Takes a want out of the broadcast and puts it in front of its queue.
    pub(super) fn unbroadcast(&mut self, id: SessionId, key: WantKey) {
        let Some(want) = self.wants.get_mut(key) else { return };
        want.place = Place::Queued;
        if let Some(session) = self.sessions.get_mut(&id) {
            session.broadcast.retain(|other| *other != key);
        }
        self.queue_first(key);
    }

    /// A member came or came back: what everybody was asked for is offered to it.
    pub(super) fn requeue_broadcast(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        for key in std::mem::take(&mut session.broadcast).into_iter().rev() {
            if let Some(want) = self.wants.get_mut(key) {
                debug_assert_eq!(want.place, Place::Broadcast, "what is broadcast is nowhere else");
                want.place = Place::Queued;
            }
            self.queue_first(key);
        }
        self.pump(id, now);
    }

    /// Searches for providers if nobody is left who could still say that he has a block.
    pub(super) fn look_for_search(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get(&id) else { return };
        if session.held > 0 || session.searches_in_row > 0 {
            return;
        }
        let is_hopeless = |key: &WantKey| {
            self.wants.get(*key).is_some_and(|want| {
                want.told.iter().all(|told| {
                    let relation = self.peers.get(*told).and_then(|peer| peer.relations.get(key));
                    relation.is_some_and(|relation| relation.answer == Answer::DontHave)
                })
            })
        };
        if let Some(hopeless) = session.broadcast.iter().copied().find(is_hopeless) {
            self.search(id, hopeless, now);
        }
    }
}
