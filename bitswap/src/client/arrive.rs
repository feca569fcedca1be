//! Answers of peers: HAVE, DONT_HAVE and blocks.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use holdfast_dag::cid::{Cid, Version as CidVersion, codec};

use super::state::{Answer, PeerKey, Place, WantKey};
use super::{Action, Client, Outcome, RECENT_MAX, RequestId, SessionId};
use crate::message::{Presence, WantType};
use libp2p::PeerId;

/// What is delivered to each request, and whether that was its last.
type Deliveries = HashMap<RequestId, (Vec<(Cid, Bytes)>, bool)>;

impl Client {
    /// A peer said what it has and has not. What it was not asked about is ignored.
    pub fn on_presences(&mut self, id: PeerId, presences: &[Presence], now: Instant) {
        let Some(from) = self.peer_keys.get(&id).copied() else { return };
        let mut sessions = Vec::new();
        for presence in presences {
            let Some(key) = self.want_keys.get(&presence.cid).copied() else { continue };
            if !self.note_answer(key, from, presence.have, now) {
                continue;
            }
            let Some(session) = self.owner_session(key) else { continue };
            if let Some(state) = self.sessions.get_mut(&session) {
                state.is_answered = true;
            }
            if presence.have {
                self.on_have(session, key, from);
            } else {
                self.on_dont_have(session, key, from);
            }
            sessions.push(session);
        }
        sessions.sort_unstable();
        sessions.dedup();
        self.pump_all(sessions.clone(), now);
        for session in sessions {
            self.look_for_search(session, now);
        }
    }

    pub(super) fn owner_session(&self, key: WantKey) -> Option<SessionId> {
        let owner = self.wants.get(key)?.owner;
        Some(self.requests.get(&owner)?.session)
    }

    /// Notes an answer with its latency. Says whether the peer had been asked.
    fn note_answer(&mut self, key: WantKey, from: PeerKey, have: bool, now: Instant) -> bool {
        let Some(peer) = self.peers.get_mut(from) else { return false };
        let Some(relation) = peer.relations.get_mut(&key) else { return false };
        if relation.sent.is_none() {
            return false;
        }
        relation.answer = if have { Answer::Have } else { Answer::DontHave };
        if let Some(sent) = relation.sent_at.take() {
            peer.flow.on_latency(now.duration_since(sent), now);
        }
        peer.flow.on_progress(now);
        true
    }

    fn on_have(&mut self, id: SessionId, key: WantKey, from: PeerKey) {
        self.note_hit(id, from);
        if self.wants.get(key).is_some_and(|want| want.place == Place::Broadcast) {
            self.unbroadcast(id, key);
        }
    }

    /// A peer has something for a session.
    fn note_hit(&mut self, id: SessionId, from: PeerKey) {
        self.join(id, from);
        if let Some(member) = self.sessions.get_mut(&id).and_then(|session| session.member(from)) {
            (member.hits, member.misses) = (member.hits + 1, 0);
        }
    }

    fn on_dont_have(&mut self, id: SessionId, key: WantKey, from: PeerKey) {
        let limit = self.config.dont_haves_max;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.tried.dont_haves += 1;
        let misses = session.member(from).map_or(0, |member| {
            (member.hits, member.misses) = (0, member.misses + 1);
            member.misses
        });
        if misses >= limit {
            self.prune(id, from);
        }
        if self
            .wants
            .get(key)
            .is_some_and(|want| matches!(want.place, Place::Held(holder, _) if holder == from))
        {
            self.release(key);
            self.queue_first(key);
        }
    }

    /// Blocks came from a peer, each named by its own hash. Those that somebody waits for are delivered; the rest is dropped.
    /// `frame_bytes` is the size of the buffer that all of them are slices of.
    pub fn on_blocks(
        &mut self,
        id: PeerId,
        blocks: Vec<(Cid, Bytes)>,
        frame_bytes: usize,
        now: Instant,
    ) -> Outcome {
        let from = self.peer_keys.get(&id).copied();
        let mut outcome = Outcome::default();
        let mut deliveries = Deliveries::new();
        let mut sessions = Vec::new();
        let mut taken = Vec::new();
        for (cid, data) in blocks {
            let keys = self.wanted_names(&cid);
            if keys.is_empty() {
                if self.recent.1.contains(&cid) {
                    outcome.duplicates.push(data.len() as u64);
                } else {
                    outcome.unwanted += 1;
                }
                continue;
            }
            outcome.wanted += 1;
            outcome.wanted_bytes += data.len();
            taken.push((cid, keys, data));
        }
        // A few small blocks must not keep a large message in memory.
        let copy = 2 * outcome.wanted_bytes < frame_bytes;
        for (cid, keys, data) in taken {
            let data = if copy { Bytes::copy_from_slice(&data) } else { data };
            for key in keys {
                sessions.extend(self.owner_session(key));
                sessions.extend(self.accept(key, from, &data, &mut deliveries, now));
            }
            self.remember(cid);
        }
        for (request, (blocks, end)) in deliveries {
            self.actions.push_back(Action::Deliver { request, blocks, end });
        }
        sessions.sort_unstable();
        sessions.dedup();
        self.pump_all(sessions.clone(), now);
        for session in sessions {
            self.rest_or_end(session);
            self.arm_session(session, now);
        }
        if outcome.wanted > 0 {
            self.note_deliverer(id);
        }
        outcome
    }

    /// The wants that a block answers: its own name, or if nobody wants that, another name of the same bytes. Old peers name blocks
    /// by a CIDv0 whatever they were asked for.
    fn wanted_names(&self, cid: &Cid) -> Vec<WantKey> {
        if let Some(key) = self.want_keys.get(cid) {
            return vec![*key];
        }
        let hash = *cid.hash();
        let v0 = Cid::new_v0(hash).ok();
        let v1 = [Cid::new_v1(codec::RAW, hash), Cid::new_v1(codec::DAG_PB, hash)];
        let others = v1.into_iter().chain(v0);
        // A codec is part of a name: bytes that came as raw are not dag-cbor because somebody wants that.
        others
            .filter(|_| cid.version() == CidVersion::V0 || [codec::RAW, codec::DAG_PB].contains(&cid.codec()))
            .filter_map(|cid| self.want_keys.get(&cid).copied())
            .collect()
    }

    /// Gives a block to all who wait for it, and ends the want. Says whose requests ended.
    fn accept(
        &mut self,
        key: WantKey,
        from: Option<PeerKey>,
        data: &Bytes,
        deliveries: &mut Deliveries,
        now: Instant,
    ) -> Vec<SessionId> {
        let mut ended = Vec::new();
        let Some(want) = self.wants.get(key) else { return ended };
        let (cid, owner, requests) = (want.cid, want.owner, want.requests.clone());
        if requests.len() == 1 && self.is_over(owner, data.len()) {
            self.refuse(key);
            return ended;
        }
        if let Some(from) = from {
            self.note_block(key, from, data.len(), now);
        }
        let config = &self.config;
        if let Some(id) = self.requests.get(&owner).map(|request| request.session)
            && let Some(session) = self.sessions.get_mut(&id)
        {
            session.on_block(data.len(), now, config);
        }
        if let (Some(from), Some(session)) = (from, self.owner_session(key)) {
            self.note_hit(session, from);
        }
        if let Some(request) = self.requests.get_mut(&owner)
            && want_is_queued(self.wants.get(key).map(|want| want.place))
            && let Some(at) = request.queue.iter().position(|other| *other == key)
        {
            request.queue.remove(at);
        }
        self.end_want(key, from);
        for id in requests {
            let Some(request) = self.requests.get_mut(&id) else { continue };
            request.wants.remove(&key);
            request.buffered += data.len();
            let end = request.wants.is_empty();
            let delivery = deliveries.entry(id).or_default();
            delivery.0.push((cid, data.clone()));
            delivery.1 = end;
            if end {
                let session = request.session;
                self.requests.remove(&id);
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.requests.retain(|other| *other != id);
                }
                ended.push(session);
            }
        }
        ended
    }

    /// Whether a reader holds so much that a block for it alone is dropped and asked for again later.
    fn is_over(&self, request: RequestId, bytes: usize) -> bool {
        let max = self.config.request_bytes_max;
        self.requests
            .get(&request)
            .is_some_and(|request| request.buffered > 0 && request.buffered + bytes > max + max / 2)
    }

    /// Drops a block that came for a reader who is behind: it is wanted again, from the beginning.
    fn refuse(&mut self, key: WantKey) {
        let queued = self.wants.get(key).map(|want| want.place) == Some(Place::Queued);
        if self.wants.get(key).is_some_and(|want| want.place == Place::Broadcast) {
            if let Some(session) = self.owner_session(key) {
                self.unbroadcast(session, key);
            }
        } else if !queued {
            self.release(key);
            self.queue_first(key);
        }
        let Some(want) = self.wants.get_mut(key) else { return };
        let (cid, told) = (want.cid, std::mem::take(&mut want.told));
        for told in told {
            if let Some(peer) = self.peers.get_mut(told)
                && peer.relations.remove(&key).is_some_and(|relation| relation.sent.is_some())
            {
                peer.cancels.push(cid);
                self.list_dirty(told);
            }
        }
    }

    /// Notes what a block says of the peer that it came from.
    fn note_block(&mut self, key: WantKey, from: PeerKey, bytes: usize, now: Instant) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.delivered += 1;
        let Some(relation) = peer.relations.get_mut(&key) else { return };
        if let Some(sent) = relation.sent_at.take()
            && relation.sent == Some(WantType::Block)
        {
            peer.flow.on_block_latency(now.duration_since(sent), now);
        }
        peer.flow.on_block(bytes, now, &self.config);
    }

    /// Remembers that a block came.
    fn remember(&mut self, cid: Cid) {
        if self.recent.1.insert(cid) {
            self.recent.0.push_back(cid);
        }
        if self.recent.0.len() > RECENT_MAX
            && let Some(oldest) = self.recent.0.pop_front()
        {
            self.recent.1.remove(&oldest);
        }
    }
}

fn want_is_queued(place: Option<Place>) -> bool {
    place == Some(Place::Queued)
}
