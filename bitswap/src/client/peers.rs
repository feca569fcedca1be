//! Peers come, go, and join sessions.

use std::time::Instant;

use holdfast_dag::cid::Cid;
use libp2p::{Multiaddr, PeerId};

use super::state::{Answer, Member, Peer, PeerKey, Place, WantKey};
use super::{Action, Client, PEERS_NAMED_MAX, SessionId};
use crate::message::{Version, WantType};

/// Peers that are dialled after one answer about providers, as many as boxo asks for.
const DIALS_MAX: usize = 10;

/// Peers that delivered last and with which new sessions begin.
const DELIVERERS_MAX: usize = 4;

/// Peers of a session that are counted one by one in what it tried.
const ASKED_MAX: usize = 1024;

impl Client {
    fn peer_key(&mut self, id: PeerId) -> PeerKey {
        *self.peer_keys.entry(id).or_insert_with(|| self.peers.insert(Peer::new(id, &self.config)))
    }

    /// A peer is connected and, as far as is known, speaks Bitswap.
    pub fn on_connected(&mut self, id: PeerId, now: Instant) {
        let key = self.peer_key(id);
        let Some(peer) = self.peers.get_mut(key) else { return };
        if std::mem::replace(&mut peer.connected, true) {
            return;
        }
        (peer.full, peer.was_told, peer.sending) = (true, false, false);
        self.connected += 1;
        let sessions: Vec<_> = self.sessions.keys().copied().collect();
        for id in sessions {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            if session.member(key).is_some() {
                self.requeue_broadcast(id, now);
            } else if self.is_broadcast_peer(key) {
                let wants =
                    self.sessions.get(&id).map(|session| session.broadcast.clone()).unwrap_or_default();
                for want in wants {
                    self.tell_broadcast(want, key);
                }
            }
        }
    }

    /// A peer's last connection is gone, or it refused to speak Bitswap.
    pub fn on_disconnected(&mut self, id: PeerId, now: Instant) {
        let Some(key) = self.peer_keys.get(&id).copied() else { return };
        let Some(peer) = self.peers.get_mut(key) else { return };
        if !std::mem::replace(&mut peer.connected, false) {
            return;
        }
        self.connected -= 1;
        peer.cancels.clear();
        peer.dirty.clear();
        let lost: Vec<WantKey> = peer.relations.keys().copied().collect();
        let mut sessions = Vec::new();
        for want in lost {
            if let Some(owner) = self.lose(want, key) {
                sessions.push(owner);
            }
        }
        sessions.sort_unstable();
        sessions.dedup();
        for id in &sessions {
            if let Some(member) = self.sessions.get_mut(id).and_then(|session| session.member(key)) {
                member.hits = 0;
            }
        }
        self.pump_all(sessions.clone(), now);
        for id in sessions {
            self.look_for_search(id, now);
        }
        self.forget_peer(key);
    }

    /// Ends the relation of a want to a peer that left; says whose session must find another if the peer held it.
    fn lose(&mut self, key: WantKey, peer: PeerKey) -> Option<SessionId> {
        let held = matches!(self.wants.get(key)?.place, Place::Held(holder, _) if holder == peer);
        if held {
            self.release(key);
            self.queue_first(key);
        }
        self.peers.get_mut(peer)?.relations.remove(&key);
        let want = self.wants.get_mut(key)?;
        want.told.retain(|told| *told != peer);
        self.requests.get(&want.owner).map(|request| request.session)
    }

    /// The stream out was lost although the peer stays: everything is said again.
    pub fn on_stream_lost(&mut self, id: PeerId) {
        let Some(key) = self.peer_keys.get(&id).copied() else { return };
        let Some(peer) = self.peers.get_mut(key) else { return };
        (peer.full, peer.sending) = (true, false);
        self.say_again(key);
    }

    /// Answers of a peer may be lost, although the stream out and what was said on it are not: what it was asked for is said
    /// again, all of it, so that it forgets what it believes to have answered.
    pub fn on_answers_lost(&mut self, id: PeerId) {
        let Some(key) = self.peer_keys.get(&id).copied() else { return };
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.relations.is_empty()) else { return };
        peer.full = true;
        self.say_again(key);
    }

    fn say_again(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.cancels.clear();
        peer.dirty.clear();
        for (want, relation) in &mut peer.relations {
            relation.sent = None;
            relation.is_dirty = true;
            peer.dirty.push(*want);
        }
        self.list_dirty(key);
    }

    /// A message to a peer went to its stream.
    pub fn on_sent(&mut self, id: PeerId) {
        let Some(key) = self.peer_keys.get(&id).copied() else { return };
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.sending = false;
        if !peer.dirty.is_empty() || !peer.cancels.is_empty() || peer.full && peer.was_told {
            self.list_dirty(key);
        }
    }

    /// The protocol of a peer is known. Before 1.2.0 there is no want-have: such a peer is asked for blocks.
    pub fn on_version(&mut self, id: PeerId, version: Version) {
        let Some(key) = self.peer_keys.get(&id).copied() else { return };
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.speaks_have = version.has_presence();
        if peer.speaks_have {
            return;
        }
        for (want, relation) in &mut peer.relations {
            if relation.desired == Some(WantType::Have) {
                relation.desired = Some(WantType::Block);
                if !std::mem::replace(&mut relation.is_dirty, true) {
                    peer.dirty.push(*want);
                }
            }
        }
        self.list_dirty(key);
    }

    /// Bytes of a message came from a peer: it is not silent.
    pub fn on_progress(&mut self, id: PeerId, now: Instant) {
        if let Some(peer) = self.peer_keys.get(&id).and_then(|key| self.peers.get_mut(*key)) {
            peer.flow.on_progress(now);
        }
    }

    /// Says whether a peer is asked in every broadcast.
    pub fn favour(&mut self, id: PeerId, favoured: bool) {
        if favoured {
            let key = self.peer_key(id);
            if let Some(peer) = self.peers.get_mut(key) {
                peer.favoured = true;
            }
        } else if let Some(key) = self.peer_keys.get(&id).copied() {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.favoured = false;
            }
            self.forget_peer(key);
        }
    }

    /// Whether a peer is asked in every broadcast.
    #[cfg(test)]
    pub(crate) fn is_favoured(&self, id: &PeerId) -> bool {
        self.peer_keys.get(id).and_then(|key| self.peers.get(*key)).is_some_and(|peer| peer.favoured)
    }

    /// Adds peers to a session, and dials those that are not connected.
    pub fn add_peers(&mut self, session: SessionId, peers: &[(PeerId, Vec<Multiaddr>)], now: Instant) {
        self.begin_session(session, now);
        let mut dials = 0;
        for (id, addresses) in peers {
            if *id == self.config.local_peer {
                continue;
            }
            let key = self.peer_key(*id);
            if !self.join(session, key) {
                self.forget_peer(key);
                continue;
            }
            let Some(peer) = self.peers.get_mut(key) else { continue };
            if !peer.connected && dials < DIALS_MAX {
                dials += 1;
                peer.addresses.clone_from(addresses);
                self.actions.push_back(Action::Dial { peer: *id, addresses: addresses.clone() });
            }
        }
        self.requeue_broadcast(session, now);
    }

    /// Adds providers of a CID to all sessions that wait for it.
    pub fn on_providers(&mut self, cid: &Cid, peers: &[(PeerId, Vec<Multiaddr>)], now: Instant) {
        let Some(want) = self.want_keys.get(cid).and_then(|key| self.wants.get(*key)) else { return };
        let mut sessions: Vec<_> =
            want.requests.iter().filter_map(|request| Some(self.requests.get(request)?.session)).collect();
        sessions.dedup();
        for session in sessions {
            self.add_peers(session, peers, now);
        }
    }

    /// Makes a peer a member of a session, unless the session has enough. Says whether it is one.
    pub(super) fn join(&mut self, id: SessionId, key: PeerKey) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if session.member(key).is_some() {
            return true;
        }
        if session.members.len() >= self.config.session_peers_max {
            // A member that is away makes room, or that which had nothing for longest.
            let peers = &self.peers;
            let away = |member: &Member| !peers.get(member.key).is_some_and(|peer| peer.connected);
            let useless = session
                .members
                .iter()
                .enumerate()
                .filter(|(_, member)| member.hits == 0 && member.misses > 0);
            let useless = useless.max_by_key(|(_, member)| member.misses).map(|(at, _)| at);
            let Some(at) = session.members.iter().position(away).or(useless) else { return false };
            let out = session.members.remove(at);
            if let Some(peer) = self.peers.get_mut(out.key) {
                peer.sessions -= 1;
            }
            self.forget_peer(out.key);
        }
        let (Some(session), Some(peer)) = (self.sessions.get_mut(&id), self.peers.get_mut(key)) else {
            return false;
        };
        peer.sessions += 1;
        session.members.push(Member { key, hits: 0, misses: 0 });
        true
    }

    /// Removes a peer from a session that it had nothing for.
    pub(super) fn prune(&mut self, id: SessionId, key: PeerKey) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let before = session.members.len();
        session.members.retain(|member| member.key != key);
        if session.members.len() < before {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.sessions -= 1;
            }
            self.forget_peer(key);
        }
    }

    /// Forgets a peer that is away and that nobody counts on.
    pub(super) fn forget_peer(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get(key)
            && !peer.connected
            && peer.sessions == 0
            && !peer.favoured
        {
            debug_assert!(peer.relations.is_empty(), "a peer that is away is told nothing");
            self.peer_keys.remove(&peer.id);
            self.peers.remove(key);
        }
    }

    /// Notes who delivered last.
    pub(super) fn note_deliverer(&mut self, id: PeerId) {
        if self.deliverers.back() == Some(&id) {
            return;
        }
        self.deliverers.retain(|other| *other != id);
        self.deliverers.push_back(id);
        if self.deliverers.len() > DELIVERERS_MAX {
            self.deliverers.pop_front();
        }
    }

    /// Whether a peer is asked in broadcasts: all if they are few; otherwise who delivered before, is peered or near.
    pub(super) fn is_broadcast_peer(&self, key: PeerKey) -> bool {
        self.peers.get(key).is_some_and(|peer| {
            peer.connected
                && (self.connected < self.config.broadcast_peers_max || peer.favoured || peer.delivered > 0)
        })
    }

    /// The peers to ask in a broadcast.
    pub(super) fn broadcast_peers(&mut self) -> Vec<PeerKey> {
        let keys: Vec<_> =
            self.peers.iter().map(|(key, _)| key).filter(|key| self.is_broadcast_peer(*key)).collect();
        let asked = keys.len().min(self.config.broadcast_peers_max);
        self.broadcast_skips += (self.connected - asked.min(self.connected)) as u64;
        keys.into_iter().take(asked).collect()
    }

    /// Asks a peer, as one of many, whether it has a block.
    pub(super) fn tell_broadcast(&mut self, want: WantKey, peer: PeerKey) {
        if self.tell(want, peer, WantType::Have) {
            self.broadcasts += 1;
        }
    }

    /// Wants a peer to know of a want, at least as this. Says whether that is new to it.
    pub(super) fn tell(&mut self, key: WantKey, to: PeerKey, want_type: WantType) -> bool {
        let (Some(want), Some(peer)) = (self.wants.get_mut(key), self.peers.get_mut(to)) else {
            return false;
        };
        let known = peer.relations.contains_key(&key);
        // A block asked of a peer is bounded by its window; questions stop where its memory may.
        if !peer.connected
            || !known && want_type == WantType::Have && peer.relations.len() >= self.config.wants_sent_max
        {
            return false;
        }
        let want_type = if peer.speaks_have { want_type } else { WantType::Block };
        let relation = peer.relations.entry(key).or_default();
        if !known {
            want.told.push(to);
        }
        if relation.desired >= Some(want_type) && relation.answer != Answer::Silent {
            return false;
        }
        relation.desired = relation.desired.max(Some(want_type));
        if relation.answer == Answer::Silent {
            // It is asked once more, in a message of its own.
            (relation.answer, relation.sent) = (Answer::None, None);
        }
        if !std::mem::replace(&mut relation.is_dirty, true) {
            peer.dirty.push(key);
        }
        let id = peer.id;
        let owner = want.owner;
        self.list_dirty(to);
        if let Some(session) = self.session_of(owner)
            && session.asked.len() < ASKED_MAX
            && session.asked.insert(id)
        {
            session.tried.peers_asked += 1;
            if session.tried.peers.len() < PEERS_NAMED_MAX {
                session.tried.peers.push(id);
            }
        }
        true
    }

    pub(super) fn list_dirty(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key)
            && !std::mem::replace(&mut peer.is_listed, true)
        {
            self.dirty.push(key);
        }
    }

    /// Connected peers.
    pub fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.iter().filter(|(_, peer)| peer.connected).map(|(_, peer)| &peer.id)
    }
}
