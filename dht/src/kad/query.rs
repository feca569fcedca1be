//! One query, from its question to its outcome: what the store knows, then a lookup, then (for what is to be stored) the
//! telling of the closest peers.

mod optimistic;
pub(super) mod values;

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use super::lookup::{Lookup, add_addresses};
use super::{
    BUCKET_PEERS_MAX, Config, Goal, Key, Kind, Message, Outcome, PeerInfo, Provide, QueryError, QueryEvent,
    RequestFailure, ScopeFilter,
};
use crate::ipns::Timestamp;
use crate::records::{PROVIDERS_PER_ANSWER_MAX, StoreError, StoreReply, StoreRequest};
use optimistic::Optimistic;
use values::Values;

/// Announcements that are on their way to one peer at a time: they have no answer, so this only bounds queues.
const ANNOUNCEMENTS_MAX: usize = 32;

/// How long one peer is told at most, whatever it takes: 10 minutes, 27 of a batch of 16,384 keys a second.
const ANNOUNCE_TIME_MAX: Duration = Duration::from_secs(600);

/// The part of its time after which a search for the closest peers goes on with those that have answered: 45 of 60 s, so that
/// telling them has as long as a request may take.
const SEARCH_PART: f64 = 0.75;

/// How long a peer that was found is waited for to answer itself, when those closest to it have: it may be dead there.
const FOUND_PATIENCE: Duration = Duration::from_secs(2);

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// To learn.
    Ask,
    /// To have something kept.
    Tell,
}

/// What a query wants the engine to do.
#[derive(Debug)]
pub(super) enum Effect {
    Send { peer: PeerInfo, message: Message, role: Role },
    Event(QueryEvent),
    Provider(PeerInfo),
    Store(StoreRequest),
    Done(Result<Outcome, QueryError>),
}

/// What a query may look at.
pub(super) struct Context<'a> {
    pub(super) local: PeerId,
    pub(super) own_addresses: &'a [Multiaddr],
    pub(super) filter: &'a ScopeFilter,
    pub(super) network_size: Option<f64>,
    pub(super) at: Instant,
    pub(super) wall: Timestamp,
    pub(super) effects: Vec<Effect>,
}

impl Context<'_> {
    fn event(&mut self, event: QueryEvent) {
        self.effects.push(Effect::Event(event));
    }

    /// The addresses of a peer that are of the scope.
    fn in_scope(&self, peer: &PeerInfo) -> PeerInfo {
        PeerInfo { id: peer.id, addresses: self.filter.filter(&peer.addresses) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The store is asked.
    Local,
    /// Closer and closer peers are asked.
    Lookup,
    /// Peers are told.
    Tell,
}

#[derive(Debug)]
pub(super) struct Query {
    pub(super) goal: Goal,
    /// When [`Query::on_deadline`] is to be called. It may move while the query goes on.
    pub(super) deadline: Instant,
    /// When its search is to end, as soon as anybody has answered.
    search_ends: Instant,
    /// When it ends, whatever there is.
    last: Instant,
    timeout: Duration,
    lookup: Lookup,
    seeds: Vec<PeerInfo>,
    phase: Phase,
    /// Requests that tell, on their way.
    telling: usize,
    told: HashSet<PeerId>,
    /// Peers that took it.
    taken: usize,
    providers: HashSet<PeerId>,
    values: Values,
    /// What was heard of the searched peer's addresses.
    found: Vec<Multiaddr>,
    optimistic: Option<Optimistic>,
    to_announce: VecDeque<Key>,
    is_done: bool,
}

impl Query {
    pub(super) fn new(
        goal: Goal,
        seeds: Vec<PeerInfo>,
        config: &Config,
        timeout: Duration,
        now: Instant,
    ) -> Self {
        let target = match &goal {
            Goal::ClosestPeers { key }
            | Goal::Refresh { key }
            | Goal::Providers { key, .. }
            | Goal::Provide { key, .. }
            | Goal::GetValue { key, .. }
            | Goal::PutValue { key, .. } => key.id(),
            Goal::FindPeer { peer } => peer.into(),
            Goal::Announce { peer, .. } => (&peer.id).into(),
        };
        let lookup = Lookup::new(target, config.concurrency, config.resiliency, config.requests_max);
        let is_for_peer = matches!(goal, Goal::FindPeer { .. });
        let (first, last) = match goal {
            // Whoever has answered by then is told in the time that is left.
            Goal::Provide { .. } | Goal::PutValue { .. } => (timeout.mul_f64(SEARCH_PART), timeout),
            Goal::Announce { .. } => (timeout, ANNOUNCE_TIME_MAX.max(timeout)),
            // Of the closest peers too: a sweep relies on it that there are no closer ones.
            Goal::ClosestPeers { .. }
            | Goal::Refresh { .. }
            | Goal::FindPeer { .. }
            | Goal::Providers { .. }
            | Goal::GetValue { .. } => (timeout, timeout),
        };
        Self {
            goal,
            deadline: now + first,
            search_ends: now + first,
            last: now + last,
            timeout,
            lookup: if is_for_peer { lookup.for_peer() } else { lookup },
            seeds,
            phase: Phase::Local,
            telling: 0,
            told: HashSet::new(),
            taken: 0,
            providers: HashSet::new(),
            values: Values::default(),
            found: Vec::new(),
            optimistic: None,
            to_announce: VecDeque::new(),
            is_done: false,
        }
    }

    /// Whether the engine asked it itself, so that nobody looks at events.
    pub(super) fn is_internal(&self) -> bool {
        matches!(self.goal, Goal::Refresh { .. })
    }

    /// Whether it can be forgotten.
    pub(super) fn is_over(&self) -> bool {
        self.is_done && self.telling == 0
    }

    /// How far the closest peers were that answered: what the size of the network is guessed from. Nothing where the search may have
    /// ended before it had come to them.
    pub(super) fn distances(&self) -> Vec<f64> {
        let is_whole = matches!(self.goal, Goal::ClosestPeers { .. } | Goal::Refresh { .. });
        if is_whole && self.phase == Phase::Lookup && self.lookup.is_over() {
            self.lookup.distances(BUCKET_PEERS_MAX)
        } else {
            Vec::new()
        }
    }

    pub(super) fn start(&mut self, cx: &mut Context<'_>) {
        match &self.goal {
            Goal::Providers { key, .. } => {
                let (key, max) = (key.clone(), PROVIDERS_PER_ANSWER_MAX);
                cx.effects.push(Effect::Store(StoreRequest::Providers { key, max }));
            }
            Goal::GetValue { key, .. } => {
                cx.effects.push(Effect::Store(StoreRequest::Value { key: key.clone() }));
            }
            Goal::PutValue { key, value } => {
                let request = values::put_request(key.clone(), value.clone());
                cx.effects.push(Effect::Store(request));
            }
            Goal::Provide { .. } | Goal::Announce { .. } if cx.own_addresses.is_empty() => {
                let scope = cx.filter.scope();
                self.done(Err(QueryError::NoAddresses { scope }), cx);
            }
            Goal::Provide { key, .. } => {
                let provider = PeerInfo { id: cx.local, addresses: cx.own_addresses.to_vec() };
                cx.effects.push(Effect::Store(StoreRequest::AddProvider { key: key.clone(), provider }));
            }
            Goal::Announce { keys, .. } => {
                self.to_announce = keys.iter().cloned().collect();
                self.phase = Phase::Tell;
                self.announce(cx);
            }
            Goal::ClosestPeers { .. } | Goal::FindPeer { .. } | Goal::Refresh { .. } => self.search(cx),
        }
    }

    /// The store answered.
    pub(super) fn on_stored(&mut self, reply: Result<StoreReply, StoreError>, cx: &mut Context<'_>) {
        if self.phase != Phase::Local || self.is_done {
            return;
        }
        match (reply, &self.goal) {
            (Ok(StoreReply::Providers(found)), _) => self.add_providers(&found, cx),
            (Ok(StoreReply::Value(Some(value))), Goal::GetValue { key, .. }) => {
                let key = key.clone();
                self.values.answer(&key, cx.local, Some(value), cx);
            }
            (Ok(StoreReply::Put(Err(error))), _) => self.done(Err(error), cx),
            // What this node keeps of its own records is a courtesy: a store that fails or is full keeps nobody from being told.
            (Err(error), _) => {
                let error = format!("the record store failed: {error}");
                cx.event(QueryEvent::QueryError { peer: Some(cx.local), error });
            }
            _ => {}
        }
        if !self.is_done {
            self.search(cx);
        }
    }

    fn search(&mut self, cx: &mut Context<'_>) {
        self.phase = Phase::Lookup;
        if let (Goal::Provide { how: Provide::Optimistic, .. }, Some(size)) = (&self.goal, cx.network_size) {
            self.optimistic = Some(Optimistic::new(size));
        }
        for seed in std::mem::take(&mut self.seeds) {
            let peer = seed.id;
            if self.lookup.heard(seed) {
                cx.event(QueryEvent::AddingPeer { peer });
            }
        }
        self.ask(cx);
    }

    /// Asks whom it is the turn of; goes on to the end when there is nobody.
    fn ask(&mut self, cx: &mut Context<'_>) {
        if self.is_done || self.phase != Phase::Lookup || self.is_cut_off(cx) {
            return;
        }
        while let Some(peer) = self.lookup.next() {
            let message = self.question();
            cx.effects.push(Effect::Send { peer, message, role: Role::Ask });
        }
        if self.lookup.is_over() {
            self.finish(cx);
        } else if !self.found.is_empty() && self.lookup.is_found() {
            self.last = self.last.min(cx.at + FOUND_PATIENCE);
            self.deadline = self.last;
        }
    }

    /// Goes on with those that have answered, if the time of the search is over. Nobody else is known to be there.
    fn is_cut_off(&mut self, cx: &mut Context<'_>) -> bool {
        let is_late = self.search_ends < self.last && cx.at >= self.search_ends;
        let is_cut = is_late && self.phase == Phase::Lookup && !self.lookup.closest_answered(1).is_empty();
        if is_cut {
            self.optimistic = None;
            self.finish(cx);
        }
        is_cut
    }

    fn question(&self) -> Message {
        match &self.goal {
            Goal::Providers { key, .. } => Message::request(Kind::GetProviders, key.as_bytes()),
            Goal::GetValue { key, .. } => Message::request(Kind::GetValue, key.as_bytes()),
            Goal::FindPeer { peer } => Message::request(Kind::FindNode, &peer.to_bytes()),
            Goal::ClosestPeers { key }
            | Goal::Refresh { key }
            | Goal::Provide { key, .. }
            | Goal::PutValue { key, .. } => Message::request(Kind::FindNode, key.as_bytes()),
            Goal::Announce { peer, .. } => Message::request(Kind::FindNode, &peer.id.to_bytes()),
        }
    }

    /// An answer came, or will not.
    pub(super) fn on_response(
        &mut self,
        peer: PeerId,
        role: Role,
        result: Result<Option<Message>, RequestFailure>,
        cx: &mut Context<'_>,
    ) {
        match (role, result) {
            (Role::Ask, Ok(Some(answer))) => self.on_answer(peer, answer, cx),
            (Role::Ask, Ok(None)) => self.on_failure(peer, RequestFailure::Malformed, cx),
            (Role::Ask, Err(failure)) => self.on_failure(peer, failure, cx),
            (Role::Tell, result) => self.on_told(peer, result, cx),
        }
    }

    fn on_answer(&mut self, peer: PeerId, answer: Message, cx: &mut Context<'_>) {
        let usable = |info: &PeerInfo| info.id != cx.local && !info.addresses.is_empty();
        let closer: Vec<PeerInfo> =
            answer.closer.iter().map(|info| cx.in_scope(info)).filter(usable).collect();
        self.lookup.answered(&peer);
        if self.is_done || self.phase != Phase::Lookup {
            return;
        }
        cx.event(QueryEvent::PeerResponse { peer, closer: closer.clone() });
        match &self.goal {
            Goal::FindPeer { peer: wanted } => {
                let said = closer.iter().filter(|info| info.id == *wanted);
                said.for_each(|info| add_addresses(&mut self.found, info.addresses.clone()));
                if peer == *wanted {
                    let addresses = self.lookup.addresses(&peer).to_vec();
                    add_addresses(&mut self.found, addresses);
                    return self.finish(cx);
                }
            }
            Goal::Providers { .. } => {
                self.add_providers(&answer.providers, cx);
            }
            Goal::GetValue { key, quorum } => {
                let (key, quorum) = (key.clone(), *quorum);
                let value = answer.record.filter(|record| record.key == key.as_bytes());
                self.values.answer(&key, peer, value.map(|record| record.value), cx);
                if quorum > 0 && self.values.count() >= quorum {
                    return self.finish(cx);
                }
            }
            _ => {}
        }
        if self.is_done {
            return;
        }
        for info in closer {
            self.lookup.heard(info);
        }
        self.tell_early(cx);
        self.ask(cx);
    }

    fn on_failure(&mut self, peer: PeerId, failure: RequestFailure, cx: &mut Context<'_>) {
        self.lookup.failed(&peer);
        if self.is_done || self.phase != Phase::Lookup {
            return;
        }
        cx.event(QueryEvent::QueryError { peer: Some(peer), error: failure.to_string() });
        // Whoever refuses to speak the protocol was reached: that is all that this search is for.
        if matches!(&self.goal, Goal::FindPeer { peer: wanted } if *wanted == peer)
            && failure == RequestFailure::Unsupported
        {
            let addresses = self.lookup.addresses(&peer).to_vec();
            add_addresses(&mut self.found, addresses);
            return self.finish(cx);
        }
        self.ask(cx);
    }

    fn add_providers(&mut self, found: &[PeerInfo], cx: &mut Context<'_>) {
        let Goal::Providers { count, .. } = self.goal else { return };
        for provider in found {
            if self.providers.len() >= count {
                break;
            }
            if self.providers.insert(provider.id) {
                let mut provider = cx.in_scope(provider);
                if provider.id == cx.local {
                    provider.addresses = cx.own_addresses.to_vec();
                }
                cx.event(QueryEvent::Provider { provider: provider.clone() });
                cx.effects.push(Effect::Provider(provider));
            }
        }
        if self.providers.len() >= count {
            self.lookup.stop();
            self.done(Ok(Outcome::Searched { providers: self.providers.len() }), cx);
        }
    }

    /// The lookup is over: give what was found, or tell those who were.
    fn finish(&mut self, cx: &mut Context<'_>) {
        self.lookup.stop();
        let is_alone = self.lookup.asked() == 0;
        match &self.goal {
            Goal::ClosestPeers { .. } | Goal::Refresh { .. } => {
                let peers = self.lookup.closest_answered(BUCKET_PEERS_MAX);
                let failed = if is_alone { QueryError::NoPeers } else { QueryError::NotFound };
                let result = if peers.is_empty() { Err(failed) } else { Ok(Outcome::Peers(peers)) };
                if let Ok(Outcome::Peers(peers)) = &result {
                    for peer in peers.clone() {
                        cx.event(QueryEvent::FinalPeer { peer });
                    }
                }
                self.done(result, cx);
            }
            Goal::FindPeer { peer } => {
                let id = *peer;
                let failed = if is_alone { QueryError::NoPeers } else { QueryError::NotFound };
                let result = if self.found.is_empty() {
                    Err(failed)
                } else {
                    let peer = PeerInfo { id, addresses: self.found.clone() };
                    cx.event(QueryEvent::FinalPeer { peer: peer.clone() });
                    Ok(Outcome::Peer(peer))
                };
                self.done(result, cx);
            }
            Goal::Providers { .. } => {
                let providers = self.providers.len();
                let is_lost = is_alone && providers == 0;
                let result =
                    if is_lost { Err(QueryError::NoPeers) } else { Ok(Outcome::Searched { providers }) };
                self.done(result, cx);
            }
            Goal::GetValue { key, .. } => {
                let key = key.clone();
                let failed = if is_alone { QueryError::NoPeers } else { QueryError::NotFound };
                let best = self.values.best().map(<[u8]>::to_vec).ok_or(failed);
                if let Ok(best) = &best {
                    self.correct(&key, best, cx);
                }
                self.done(best.map(Outcome::Value), cx);
            }
            Goal::PutValue { key, value } => {
                let message = values::put_message(key, value);
                self.tell_closest(&message, cx);
            }
            Goal::Provide { key, .. } => {
                let message = announcement(key, cx);
                self.tell_closest(&message, cx);
            }
            Goal::Announce { .. } => {}
        }
    }

    /// Gives the best record to those of the closest peers that have none or an older one.
    fn correct(&mut self, key: &Key, best: &[u8], cx: &mut Context<'_>) {
        self.phase = Phase::Tell;
        let message = values::put_message(key, best);
        for peer in self.lookup.closest_answered(BUCKET_PEERS_MAX) {
            if !self.values.is_held_by(&peer.id) {
                self.tell(peer, message.clone(), cx);
            }
        }
        if self.values.is_older_at(&cx.local) {
            cx.effects.push(Effect::Store(values::put_request(key.clone(), best.to_vec())));
        }
    }

    fn tell_closest(&mut self, message: &Message, cx: &mut Context<'_>) {
        self.phase = Phase::Tell;
        let closest = match self.optimistic {
            Some(_) => {
                let reachable = self.lookup.closest_reachable(BUCKET_PEERS_MAX);
                reachable.map(|(_, peer)| peer.clone()).collect()
            }
            None => self.lookup.closest_answered(BUCKET_PEERS_MAX),
        };
        for peer in closest {
            if !self.told.contains(&peer.id) {
                self.tell(peer, message.clone(), cx);
            }
        }
        self.conclude(cx);
    }

    fn tell(&mut self, peer: PeerInfo, message: Message, cx: &mut Context<'_>) {
        if matches!(self.goal, Goal::Provide { .. }) {
            cx.event(QueryEvent::FinalPeer { peer: peer.clone() });
        }
        self.told.insert(peer.id);
        self.telling += 1;
        cx.effects.push(Effect::Send { peer, message, role: Role::Tell });
    }

    fn on_told(
        &mut self,
        peer: PeerId,
        result: Result<Option<Message>, RequestFailure>,
        cx: &mut Context<'_>,
    ) {
        self.telling = self.telling.saturating_sub(1);
        match result {
            Ok(answer) if values::is_taken(&self.goal, answer.as_ref()) => {
                self.taken += 1;
                // A batch takes as long as it takes, while the peer takes key after key.
                if matches!(self.goal, Goal::Announce { .. }) {
                    self.deadline = (cx.at + self.timeout).min(self.last);
                }
            }
            Ok(_) => cx.event(QueryEvent::QueryError {
                peer: Some(peer),
                error: "the peer answered with another record: it did not take this one".to_owned(),
            }),
            Err(failure) => {
                cx.event(QueryEvent::QueryError { peer: Some(peer), error: failure.to_string() });
                // What does not reach a peer once will not a thousand times.
                self.to_announce.clear();
            }
        }
        self.announce(cx);
        self.conclude(cx);
    }

    /// Sends announcements to the one peer of [`Goal::Announce`], as many as fit.
    fn announce(&mut self, cx: &mut Context<'_>) {
        let Goal::Announce { peer, .. } = &self.goal else { return };
        let peer = peer.clone();
        while self.telling < ANNOUNCEMENTS_MAX {
            let Some(key) = self.to_announce.pop_front() else { break };
            let message = announcement(&key, cx);
            self.tell(peer.clone(), message, cx);
        }
        self.conclude(cx);
    }

    /// Says what came of telling, when all have been told, or enough.
    fn conclude(&mut self, cx: &mut Context<'_>) {
        if self.is_done {
            return;
        }
        let is_enough = self.optimistic.is_some() && self.taken >= optimistic::ENOUGH;
        let all_told = self.phase == Phase::Tell && self.telling == 0 && self.to_announce.is_empty();
        if !is_enough && !all_told {
            return;
        }
        let result = if self.taken > 0 {
            Ok(Outcome::Stored { peers: self.taken })
        } else if self.lookup.asked() == 0 && !matches!(self.goal, Goal::Announce { .. }) {
            Err(QueryError::NoPeers)
        } else {
            Err(QueryError::NotStored { asked: self.told.len() })
        };
        self.done(result, cx);
    }

    /// Its time is over: give what there is. Or that of its search: go on with whom it has found.
    pub(super) fn on_deadline(&mut self, cx: &mut Context<'_>) {
        if cx.at < self.last && !matches!(self.goal, Goal::Announce { .. }) {
            self.deadline = self.last;
            self.is_cut_off(cx);
            return;
        }
        if !self.is_done {
            let late = QueryError::Timeout { seconds: self.timeout.as_secs(), asked: self.lookup.asked() };
            let result = match &self.goal {
                Goal::FindPeer { .. } if !self.found.is_empty() => return self.finish(cx),
                Goal::Providers { .. } if !self.providers.is_empty() => {
                    Ok(Outcome::Searched { providers: self.providers.len() })
                }
                Goal::GetValue { .. } => {
                    self.values.best().map(|best| Outcome::Value(best.to_vec())).ok_or(late)
                }
                _ if self.taken > 0 => Ok(Outcome::Stored { peers: self.taken }),
                _ => Err(late),
            };
            self.done(result, cx);
        }
        self.telling = 0;
    }

    fn done(&mut self, result: Result<Outcome, QueryError>, cx: &mut Context<'_>) {
        if self.is_done {
            return;
        }
        if let Err(error) = &result {
            cx.event(QueryEvent::QueryError { peer: None, error: error.to_string() });
        }
        self.is_done = true;
        cx.effects.push(Effect::Done(result));
    }
}

/// The message that this node has a block.
fn announcement(key: &Key, cx: &Context<'_>) -> Message {
    let own = PeerInfo { id: cx.local, addresses: cx.own_addresses.to_vec() };
    Message { providers: vec![own], ..Message::request(Kind::AddProvider, key.as_bytes()) }
}
