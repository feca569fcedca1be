//! The client: which peer is asked for what, and when. No I/O, no clock: events and `now` go in, [`Action`]s come out.
//!
//! An event costs what it affects: wants and peers are interned, each want knows the peers it was told to, each peer the wants it
//! was told of, and only those of a peer that changed are looked at when its next message is made.

mod arrive;
mod flow;
mod peers;
mod schedule;
mod slab;
mod state;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use holdfast_dag::cid::{Cid, identity_data};
use libp2p::{Multiaddr, PeerId};

use self::slab::Slab;
use self::state::{Peer, PeerKey, Place, Request, Session, Want, WantKey};
use crate::config::Config;
use crate::message::{Entry, WantType};

/// Blocks that arrived lately are remembered by this many, to tell blocks that came twice from those that nobody wanted.
const RECENT_MAX: usize = 8192;

/// Peers that [`Tried`] names.
const PEERS_NAMED_MAX: usize = 16;

/// A session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub(crate) u64);

/// A stream of blocks of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

/// What a session tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried {
    /// The peers that were asked first, at most 16.
    pub peers: Vec<PeerId>,
    /// How many peers were asked.
    pub peers_asked: usize,
    /// DONT_HAVE answers.
    pub dont_haves: usize,
    /// Times that a peer was asked for a block and did not answer in time.
    pub silences: usize,
    /// Times that providers were searched for.
    pub provider_searches: usize,
}

/// What the client wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Tell a peer of our wants. [`Client::on_sent`] when it went to the stream; until then there is no other for this peer.
    Send {
        /// To whom.
        peer: PeerId,
        /// Cancels first.
        entries: Vec<Entry>,
        /// Whether the entries replace what it knows.
        full: bool,
    },
    /// Give blocks to a request, and end it after its last. [`Client::on_consumed`] as they are taken.
    Deliver {
        /// To which.
        request: RequestId,
        /// What it asked for.
        blocks: Vec<(Cid, Bytes)>,
        /// Whether nothing more comes.
        end: bool,
    },
    /// Search for who provides this.
    FindProviders {
        /// For whom.
        session: SessionId,
        /// What.
        cid: Cid,
    },
    /// Connect to a peer.
    Dial {
        /// To whom.
        peer: PeerId,
        /// Where it may be, besides what the swarm knows.
        addresses: Vec<Multiaddr>,
    },
}

/// What became of blocks that arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Somebody waited for them.
    pub wanted: usize,
    /// Their bytes.
    pub wanted_bytes: usize,
    /// Sizes in bytes of those that had come before.
    pub duplicates: Vec<u64>,
    /// Nobody asked for them.
    pub unwanted: usize,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Client {
    config: Config,
    peers: Slab<Peer>,
    peer_keys: HashMap<PeerId, PeerKey>,
    wants: Slab<Want>,
    want_keys: HashMap<Cid, WantKey>,
    sessions: HashMap<SessionId, Session>,
    requests: HashMap<RequestId, Request>,
    /// Peers with something to be told.
    dirty: Vec<PeerKey>,
    timers: BTreeSet<(Instant, timers::Timer)>,
    actions: VecDeque<Action>,
    /// Sessions with something queued that no window had room for.
    stalled: Vec<SessionId>,
    recent: (VecDeque<Cid>, HashSet<Cid>),
    /// The peers that delivered last: where a new session begins.
    deliverers: VecDeque<PeerId>,
    next_priority: i32,
    connected: usize,
    held: usize,
    broadcasts: u64,
    broadcast_skips: u64,
}

impl Client {
    /// A client without peers.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            peers: Slab::default(),
            peer_keys: HashMap::new(),
            wants: Slab::default(),
            want_keys: HashMap::new(),
            sessions: HashMap::new(),
            requests: HashMap::new(),
            dirty: Vec::new(),
            timers: BTreeSet::new(),
            actions: VecDeque::new(),
            stalled: Vec::new(),
            recent: Default::default(),
            deliverers: VecDeque::new(),
            next_priority: i32::MAX,
            connected: 0,
            held: 0,
            broadcasts: 0,
            broadcast_skips: 0,
        }
    }

    /// Wants blocks for a session, which begins with its first request. Identity CIDs are delivered from themselves.
    pub fn get(&mut self, session: SessionId, request: RequestId, cids: &[Cid], now: Instant) {
        self.begin_session(session, now);
        let mut state = Request::new(session);
        let mut ready = Vec::new();
        let mut left = HashSet::new();
        for cid in cids {
            if let Some(data) = identity_data(cid) {
                ready.push((*cid, Bytes::copy_from_slice(data)));
            } else if let Some(key) = self.want_keys.get(cid) {
                if let Some(want) = self.wants.get_mut(*key)
                    && state.wants.insert(*key)
                {
                    want.requests.push(request);
                    state.is_shared = true;
                    left.insert(want.owner);
                    // Who has it may wait for its reader, or know of nobody.
                    if !matches!(want.place, Place::Held(..)) {
                        (want.owner, want.place) = (request, Place::Queued);
                        state.queue.push_back(*key);
                    }
                }
            } else {
                let key = self.new_want(*cid, request);
                state.wants.insert(key);
                state.queue.push_back(key);
            }
        }
        for owner in left {
            self.leave_to(owner, &state.queue);
        }
        state.buffered = ready.iter().map(|(_, data)| data.len()).sum();
        let end = state.wants.is_empty();
        if end || !ready.is_empty() {
            self.actions.push_back(Action::Deliver { request, blocks: ready, end });
        }
        if !end {
            self.requests.insert(request, state);
            if let Some(session) = self.sessions.get_mut(&session) {
                if session.requests.is_empty() {
                    // A session that rested does not search for the time that it rested.
                    session.search_at = now + self.config.search_delay;
                    session.searches_in_row = 0;
                }
                session.requests.push(request);
            }
            self.pump(session, now);
            self.arm_session(session, now);
        }
    }

    /// Takes wants that others have now from the queue and the broadcast of who had them.
    fn leave_to(&mut self, owner: RequestId, taken: &VecDeque<WantKey>) {
        let taken: HashSet<WantKey> = taken.iter().copied().collect();
        let Some(request) = self.requests.get_mut(&owner) else { return };
        request.is_shared = true;
        request.queue.retain(|key| !taken.contains(key));
        if let Some(session) = self.sessions.get_mut(&request.session) {
            session.broadcast.retain(|key| !taken.contains(key));
        }
    }

    /// Gives a request that has nothing to ask for what it waits for and others do not ask for, because their readers are behind.
    fn take_over(&mut self, heir: RequestId, estimate: usize) {
        let Some(request) = self.requests.get(&heir) else { return };
        if !request.is_shared || !request.queue.is_empty() || !request.has_room(estimate, &self.config) {
            return;
        }
        let owners = request.wants.iter().filter_map(|key| Some(self.wants.get(*key)?.owner));
        let owners: HashSet<RequestId> = owners.filter(|owner| *owner != heir).collect();
        for owner in owners {
            let (Some(request), Some(other)) = (self.requests.get(&heir), self.requests.get(&owner)) else {
                continue;
            };
            if other.has_room(estimate, &self.config) {
                continue;
            }
            let taken: VecDeque<WantKey> =
                other.queue.iter().copied().filter(|key| request.wants.contains(key)).collect();
            self.leave_to(owner, &taken);
            for key in &taken {
                if let Some(want) = self.wants.get_mut(*key) {
                    want.owner = heir;
                }
            }
            if let Some(request) = self.requests.get_mut(&heir) {
                request.queue.extend(taken);
            }
        }
    }

    fn new_want(&mut self, cid: Cid, owner: RequestId) -> WantKey {
        let key = self.wants.insert(Want {
            cid,
            owner,
            requests: vec![owner],
            place: Place::Queued,
            estimate: 0,
            priority: 0,
            told: Vec::new(),
            deadline: None,
        });
        self.want_keys.insert(cid, key);
        key
    }

    /// The priority of a want that is asked for now. Peers serve in this order: what a session asked for first must not keep what another
    /// asks for later from being served until all of it has come, so it is not given before.
    fn take_priority(&mut self) -> i32 {
        let priority = self.next_priority;
        self.next_priority = if priority > 1 { priority - 1 } else { i32::MAX };
        priority
    }

    /// Ends a request whose reader has gone.
    pub fn cancel(&mut self, request: RequestId, now: Instant) {
        let Some(state) = self.requests.get_mut(&request) else { return };
        let (id, wants) = (state.session, std::mem::take(&mut state.wants));
        let mut sessions = vec![id];
        // The request stays until its wants are over: what they take up is given back to its session.
        for key in wants {
            let Some(want) = self.wants.get_mut(key) else { continue };
            want.requests.retain(|other| *other != request);
            let heir = want.requests.first().copied();
            if want.owner != request {
                continue;
            }
            match heir {
                None => self.end_want(key, None),
                Some(heir) => sessions.extend(self.inherit(key, heir, id)),
            }
        }
        self.requests.remove(&request);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.requests.retain(|other| *other != request);
        }
        self.rest_or_end(id);
        sessions.sort_unstable();
        sessions.dedup();
        self.pump_all(sessions.clone(), now);
        for id in sessions {
            self.look_for_search(id, now);
        }
    }

    /// Gives a want to another request that waits for it. Says whose session has it now.
    fn inherit(&mut self, key: WantKey, heir: RequestId, from: SessionId) -> Option<SessionId> {
        let want = self.wants.get_mut(key)?;
        want.owner = heir;
        let request = self.requests.get_mut(&heir)?;
        let to = request.session;
        match want.place {
            Place::Held(..) => {
                request.reserved += want.estimate;
                if let Some(session) = self.sessions.get_mut(&from) {
                    session.held = session.held.saturating_sub(1);
                }
                if let Some(session) = self.sessions.get_mut(&to) {
                    session.held += 1;
                }
            }
            Place::Queued | Place::Broadcast => {
                if let Some(session) = self.sessions.get_mut(&from) {
                    session.broadcast.retain(|other| *other != key);
                }
                want.place = Place::Queued;
                request.queue.push_front(key);
            }
        }
        Some(to)
    }

    /// Notes that the reader of a request took this many bytes.
    pub fn on_consumed(&mut self, request: RequestId, bytes: usize, now: Instant) {
        let Some(state) = self.requests.get_mut(&request) else { return };
        state.buffered = state.buffered.saturating_sub(bytes);
        let session = state.session;
        self.pump(session, now);
    }

    /// Notes that a session gets no more requests.
    pub fn end_session(&mut self, session: SessionId) {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.is_ended = true;
        }
        self.rest_or_end(session);
    }

    fn begin_session(&mut self, id: SessionId, now: Instant) {
        if self.sessions.contains_key(&id) {
            return;
        }
        self.sessions.insert(id, Session::new(now, &self.config));
        let known: Vec<_> = self.deliverers.iter().rev().copied().collect();
        for peer in known {
            if let Some(key) = self.peer_keys.get(&peer).copied()
                && self.peers.get(key).is_some_and(|peer| peer.connected)
            {
                self.join(id, key);
            }
        }
    }

    /// Forgets a session that nobody uses.
    fn rest_or_end(&mut self, id: SessionId) {
        if !self.sessions.get(&id).is_some_and(|session| session.is_ended && session.requests.is_empty()) {
            return;
        }
        if let Some(session) = self.sessions.remove(&id) {
            for member in session.members {
                if let Some(peer) = self.peers.get_mut(member.key) {
                    peer.sessions -= 1;
                }
                self.forget_peer(member.key);
            }
        }
    }

    /// Ends a want: its block came from `from`, or nobody waits. Everybody who was told of it is told that it is over.
    fn end_want(&mut self, key: WantKey, from: Option<PeerKey>) {
        self.release(key);
        let Some(want) = self.wants.remove(key) else { return };
        self.want_keys.remove(&want.cid);
        if let Some(session) = self.session_of(want.owner)
            && want.place == Place::Broadcast
        {
            session.broadcast.retain(|other| *other != key);
        }
        for told in want.told {
            let Some(peer) = self.peers.get_mut(told) else { continue };
            let Some(relation) = peer.relations.remove(&key) else { continue };
            // Who sent the block has struck it off its list.
            if relation.sent.is_some() && Some(told) != from {
                peer.cancels.push(want.cid);
                self.list_dirty(told);
            }
        }
    }

    /// Gives back what was set aside for a want that is held, and queues it nowhere.
    fn release(&mut self, key: WantKey) {
        let Some(want) = self.wants.get_mut(key) else { return };
        let Place::Held(holder, _) = want.place else { return };
        let (owner, estimate) = (want.owner, want.estimate);
        want.place = Place::Queued;
        if let Some(at) = want.deadline.take() {
            self.timers.remove(&(at, timers::Timer::Want(key)));
        }
        self.held -= 1;
        if let Some(peer) = self.peers.get_mut(holder) {
            peer.flow.release(estimate);
        }
        if let Some(request) = self.requests.get_mut(&owner) {
            request.reserved = request.reserved.saturating_sub(estimate);
        }
        if let Some(session) = self.session_of(owner) {
            session.held = session.held.saturating_sub(1);
        }
    }

    fn session_of(&mut self, request: RequestId) -> Option<&mut Session> {
        let id = self.requests.get(&request)?.session;
        self.sessions.get_mut(&id)
    }

    /// What to do next. `None` until the next event, or until [`Client::poll_timeout`].
    pub fn poll_action(&mut self, now: Instant) -> Option<Action> {
        while self.actions.is_empty()
            && let Some(key) = self.dirty.pop()
        {
            self.flush(key, now);
        }
        self.actions.pop_front()
    }

    /// Makes the message that brings a peer's copy of our wantlist up to date.
    fn flush(&mut self, key: PeerKey, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.is_listed = false;
        if !peer.connected || peer.sending {
            return;
        }
        let mut entries = Vec::new();
        for want_key in std::mem::take(&mut peer.dirty) {
            let Some(relation) = peer.relations.get_mut(&want_key) else { continue };
            relation.is_dirty = false;
            let Some(want) = self.wants.get(want_key) else { continue };
            match relation.desired {
                Some(want_type) if relation.sent != Some(want_type) => {
                    (relation.sent, relation.sent_at) = (Some(want_type), Some(now));
                    entries.push(entry(want.cid, want.priority, want_type));
                }
                None if relation.sent.is_some() => {
                    relation.sent = None;
                    peer.cancels.push(want.cid);
                }
                _ => {}
            }
        }
        let mut cancels = std::mem::take(&mut peer.cancels);
        if peer.full {
            cancels.clear();
        } else if !cancels.is_empty() && !entries.is_empty() {
            // A want that ended and began again is only begun: a message says one thing of a CID.
            let begun: HashSet<&Cid> = entries.iter().map(|entry| &entry.cid).collect();
            cancels.retain(|cid| !begun.contains(cid));
        }
        // A list that nothing is left of is said too: the peer may have another.
        if cancels.is_empty() && entries.is_empty() && !(peer.full && peer.was_told) {
            return;
        }
        let mut all: Vec<Entry> = cancels.into_iter().map(cancel).collect();
        all.append(&mut entries);
        peer.sending = true;
        let full = std::mem::take(&mut peer.full);
        peer.was_told = true;
        self.actions.push_back(Action::Send { peer: peer.id, entries: all, full });
    }

    /// What is waited for.
    pub fn wantlist(&self) -> impl Iterator<Item = &Cid> {
        self.want_keys.keys()
    }

    /// How many CIDs are waited for.
    pub fn wants_len(&self) -> usize {
        self.wants.len()
    }

    /// How many of them one peer is asked for.
    pub fn held_len(&self) -> usize {
        self.held
    }

    /// Want-haves said by broadcast, and connected peers left out of one.
    pub fn broadcasts(&self) -> (u64, u64) {
        (self.broadcasts, self.broadcast_skips)
    }

    /// How many wants a peer knows of, or is about to.
    pub fn wants_of(&self, peer: &PeerId) -> usize {
        self.peer_keys.get(peer).and_then(|key| self.peers.get(*key)).map_or(0, |peer| peer.relations.len())
    }

    /// What a session tried.
    pub fn tried(&self, session: SessionId) -> Tried {
        self.sessions.get(&session).map(|session| session.tried.clone()).unwrap_or_default()
    }
}

fn entry(cid: Cid, priority: i32, want_type: WantType) -> Entry {
    Entry { cid, priority, cancel: false, want_type, send_dont_have: true }
}

fn cancel(cid: Cid) -> Entry {
    Entry { cid, priority: 0, cancel: true, want_type: WantType::Block, send_dont_have: false }
}
