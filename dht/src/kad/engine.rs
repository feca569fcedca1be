//! The engine: what happened goes in, [`Action`]s come out.

mod book;
mod refresh;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use super::lookup::add_addresses;
use super::query::{Context, Effect, Query, Role};
use super::server::Serving;
use super::table::{Offered, Table};
use super::wire::{ADDRESSES_MAX, strip_peer};
use super::{
    Action, BUCKET_PEERS_MAX, Config, Counts, Goal, KadId, Kind, Message, Mode, NetworkSize, Now, PeerInfo,
    QueryError, QueryEvent, QueryId, RequestFailure, RequestId, Scope, ScopeFilter, Stats, StoreId,
};
use crate::records::{StoreError, StoreReply, StoreRequest};
use book::AddressBook;
use refresh::Refresh;

/// Own addresses that are given out at most.
const OWN_ADDRESSES_MAX: usize = ADDRESSES_MAX;

/// A message that was sent.
#[derive(Debug)]
struct Outstanding {
    query: QueryId,
    peer: PeerInfo,
    role: Role,
    kind: Kind,
    deadline: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Request(RequestId),
    Query(QueryId),
}

/// One DHT of one node. See the [module](super).
#[derive(Debug)]
pub struct Engine {
    pub(super) local: PeerId,
    pub(super) config: Config,
    pub(super) filter: ScopeFilter,
    pub(super) mode: Mode,
    pub(super) table: Table,
    pub(super) book: AddressBook,
    pub(super) own_addresses: Vec<Multiaddr>,
    pub(super) serving: HashMap<StoreId, Serving>,
    /// The remote addresses of the direct connections to each peer.
    connected: HashMap<PeerId, Vec<Multiaddr>>,
    queries: HashMap<QueryId, Query>,
    requests: HashMap<RequestId, Outstanding>,
    stored: HashMap<StoreId, QueryId>,
    timers: BTreeSet<(Instant, Timer)>,
    refresh: Refresh,
    network_size: NetworkSize,
    actions: VecDeque<Action>,
    pub(super) messages: Counts,
    next_id: u64,
}

impl Engine {
    /// An engine without peers, as a client. `seed` is where its jitter comes from.
    pub fn new(local: PeerId, config: Config, seed: u64, now: Instant) -> Self {
        let local_id = KadId::from(&local);
        let filter = ScopeFilter::new(config.scope, config.classifier.clone(), config.loopback_on_lan);
        let refresh = Refresh::new(local.into(), config.refresh_interval, seed, now);
        Self {
            local,
            config,
            filter,
            mode: Mode::Client,
            table: Table::new(local_id),
            book: AddressBook::default(),
            own_addresses: Vec::new(),
            serving: HashMap::new(),
            connected: HashMap::new(),
            queries: HashMap::new(),
            requests: HashMap::new(),
            stored: HashMap::new(),
            timers: BTreeSet::new(),
            refresh,
            network_size: NetworkSize::default(),
            actions: VecDeque::new(),
            messages: Counts::default(),
            next_id: 0,
        }
    }

    /// Whether it answers.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Makes it answer, or not.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Where this node can be reached; those of the scope are given out, at most 32.
    pub fn set_own_addresses(&mut self, addresses: &[Multiaddr]) {
        let mut own: Vec<Multiaddr> = addresses.to_vec();
        for address in &mut own {
            strip_peer(address, &self.local);
        }
        self.own_addresses = self.filter.filter(&own);
        self.own_addresses.truncate(OWN_ADDRESSES_MAX);
    }

    /// The node's addresses of the scope.
    pub fn own_addresses(&self) -> &[Multiaddr] {
        &self.own_addresses
    }

    /// The direct connections to a peer that there are now, by their remote addresses; without one it is not connected. Tell of
    /// a connection before what comes over it.
    pub fn on_connections(&mut self, peer: PeerId, remotes: Vec<Multiaddr>, now: Now) {
        self.book.connected(peer, !remotes.is_empty(), now.at);
        self.book.expire(now.at);
        if remotes.is_empty() {
            self.connected.remove(&peer);
        } else {
            self.connected.insert(peer, remotes);
        }
    }

    /// Whether a peer is met over a connection of the scope.
    fn is_met(&self, peer: &PeerId) -> bool {
        let is_of_scope = |remote: &Multiaddr| self.filter.is_met_over(remote, &self.own_addresses);
        self.filter.scope() == Scope::Wan
            || self.connected.get(peer).is_some_and(|remotes| remotes.iter().any(is_of_scope))
    }

    /// A peer said what it speaks and where it is. A server with an address of the scope may enter the table, that of a LAN if
    /// it is met there; one that serves no longer, or is met elsewhere only, leaves it.
    pub fn on_identified(&mut self, peer: PeerId, is_server: bool, addresses: &[Multiaddr], now: Now) {
        if peer == self.local {
            return;
        }
        let mut addresses: Vec<Multiaddr> = addresses.iter().take(ADDRESSES_MAX * 4).cloned().collect();
        for address in &mut addresses {
            strip_peer(address, &peer);
        }
        let mut addresses = self.filter.filter(&addresses);
        let is_connected = self.connected.contains_key(&peer);
        if is_connected && !addresses.iter().any(|address| self.filter.qualifies(address)) {
            // Of several connections, one is from where its addresses of the scope mean nothing: they are those that another told.
            add_addresses(&mut addresses, self.book.addresses(&peer).to_vec());
        }
        self.book.expire(now.at);
        self.book.learn(peer, &addresses, is_connected, now.at);
        if is_server && self.is_met(&peer) {
            self.offer(peer, addresses, now.at);
        } else if self.table.remove(&peer) {
            self.actions.push_back(Action::PeerRemoved { peer });
        }
    }

    fn offer(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        if !addresses.iter().any(|address| self.filter.qualifies(address)) || !self.is_met(&peer) {
            return;
        }
        if let Offered::Added { instead_of } = self.table.offer(peer, addresses, now) {
            self.actions.extend(instead_of.map(|peer| Action::PeerRemoved { peer }));
            self.actions.push_back(Action::PeerAdded { peer });
            self.refresh.on_newcomer(self.table.len(), self.table.depth(), now);
        }
    }

    /// How many peers the table holds.
    pub fn table_len(&self) -> usize {
        self.table.len()
    }

    /// Whether a peer is in the table.
    pub fn is_in_table(&self, peer: &PeerId) -> bool {
        self.table.contains(peer)
    }

    /// The addresses of the scope that are known of a peer.
    pub fn addresses_of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let mut known = self.table.addresses(peer).to_vec();
        add_addresses(&mut known, self.book.addresses(peer).to_vec());
        known
    }

    /// The peers of the table that are closest to a place, closest first.
    pub fn closest(&self, target: &KadId, count: usize) -> Vec<PeerInfo> {
        self.table.closest(target, count)
    }

    /// How many peers there are in the network, as far as lookups tell.
    pub fn network_size(&self) -> Option<f64> {
        self.network_size.estimate()
    }

    /// What `stats dht` shows.
    pub fn stats(&self, now: Instant) -> Stats {
        Stats {
            scope: self.config.scope,
            mode: self.mode,
            buckets: self.table.stats(now, |peer| self.connected.contains_key(peer)),
            network_size: self.network_size.estimate(),
            queries: self.queries.len(),
            requests: self.requests.len(),
            messages: self.messages.clone(),
        }
    }

    /// Begins a query. Its end is told by [`Action::Done`], at the latest after [`Config::query_timeout`]; that of
    /// [`Goal::Announce`] when so much time has passed without a key that was sent, and after 10 minutes.
    ///
    /// # Errors
    /// [`QueryError::Busy`] when [`Config::queries_max`] are running.
    pub fn start(&mut self, goal: Goal, now: Now) -> Result<QueryId, QueryError> {
        self.start_within(goal, None, now)
    }

    /// [`Engine::start`] with a limit of its own, if it is shorter than [`Config::query_timeout`].
    ///
    /// # Errors
    /// As for [`Engine::start`].
    pub fn start_within(
        &mut self,
        goal: Goal,
        limit: Option<Duration>,
        now: Now,
    ) -> Result<QueryId, QueryError> {
        if self.queries.len() >= self.config.queries_max {
            return Err(QueryError::Busy);
        }
        let id = QueryId(self.new_id());
        let target = match &goal {
            Goal::ClosestPeers { key }
            | Goal::Refresh { key }
            | Goal::Providers { key, .. }
            | Goal::Provide { key, .. }
            | Goal::GetValue { key, .. }
            | Goal::PutValue { key, .. } => Some(key.id()),
            Goal::FindPeer { peer } => Some(KadId::from(peer)),
            Goal::Announce { .. } => None,
        };
        let seeds = target.map_or_else(Vec::new, |target| self.table.closest(&target, BUCKET_PEERS_MAX));
        let timeout = limit.map_or(self.config.query_timeout, |limit| limit.min(self.config.query_timeout));
        let query = Query::new(goal, seeds, &self.config, timeout, now.at);
        self.timers.insert((query.deadline, Timer::Query(id)));
        self.queries.insert(id, query);
        self.run(id, now, Query::start);
        Ok(id)
    }

    /// Nobody waits for a query any more.
    pub fn cancel(&mut self, id: QueryId) {
        self.forget(id);
    }

    /// What came of a request. An answer to a message that wants none is `Ok(None)`.
    pub fn on_response(&mut self, id: RequestId, result: Result<Option<Message>, RequestFailure>, now: Now) {
        let Some(request) = self.requests.remove(&id) else { return };
        self.timers.remove(&(request.deadline, Timer::Request(id)));
        let result = match result {
            Ok(Some(answer)) if answer.kind != request.kind => Err(RequestFailure::Malformed),
            Ok(None) if request.kind.is_answered() => Err(RequestFailure::Malformed),
            result => result,
        };
        if let Some(counts) = self.messages.of(request.kind).filter(|_| result.is_err()) {
            counts.outbound_failed += 1;
        }
        let PeerInfo { id: peer, addresses } = request.peer;
        match &result {
            Ok(_) => {
                // Who answers serves, whether or not it was in the table.
                let known = if addresses.is_empty() { self.addresses_of(&peer) } else { addresses };
                if !self.table.contains(&peer) {
                    self.offer(peer, known, now.at);
                }
                self.table.was_useful(&peer, now.at);
            }
            Err(RequestFailure::Busy) => {}
            Err(failure) => {
                let is_out = if *failure == RequestFailure::Unsupported {
                    self.table.remove(&peer)
                } else {
                    self.table.failed(&peer, now.at)
                };
                if is_out {
                    self.actions.push_back(Action::PeerRemoved { peer });
                }
            }
        }
        self.run(request.query, now, |query, cx| query.on_response(peer, request.role, result, cx));
    }

    /// What the store answered.
    pub fn on_stored(&mut self, id: StoreId, reply: Result<StoreReply, StoreError>, now: Now) {
        if let Some(query) = self.stored.remove(&id) {
            self.run(query, now, |query, cx| query.on_stored(reply, cx));
        } else if let Some(serving) = self.serving.remove(&id) {
            self.serve_stored(serving, reply, now);
        }
    }

    /// Time has passed: call it at [`Engine::next_timeout`], or at any time.
    pub fn on_timeout(&mut self, now: Now) {
        self.book.expire(now.at);
        while let Some((at, timer)) = self.timers.first().copied() {
            if at > now.at {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Request(request) => {
                    self.actions.push_back(Action::Forget { request });
                    self.on_response(request, Err(RequestFailure::Timeout), now);
                }
                Timer::Query(id) => {
                    self.run(id, now, Query::on_deadline);
                    if self.queries.get(&id).is_some_and(|query| query.deadline <= now.at) {
                        self.forget(id);
                    }
                }
            }
        }
        if let Some(keys) = self.refresh.due(self.table.depth(), now.at) {
            self.refresh.enqueue(keys);
        }
        self.refresh_next(now);
    }

    /// When [`Engine::on_timeout`] is to be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        [timer, self.refresh.next()].into_iter().flatten().min()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Refreshes the next bucket, one at a time.
    fn refresh_next(&mut self, now: Now) {
        if self.refresh.is_running() || self.table.len() == 0 {
            return;
        }
        if let Some((bits, key)) = self.refresh.begin() {
            self.table.refreshed(bits, now.at);
            if self.start(Goal::Refresh { key }, now).is_err() {
                self.refresh.ended();
            }
        }
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(super) fn store(&mut self, request: StoreRequest) -> StoreId {
        let id = StoreId(self.new_id());
        self.actions.push_back(Action::Store { id, request });
        id
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Lets a query go on, and does what it wants.
    fn run(&mut self, id: QueryId, now: Now, go_on: impl FnOnce(&mut Query, &mut Context<'_>)) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        let mut cx = Context {
            local: self.local,
            own_addresses: &self.own_addresses,
            filter: &self.filter,
            network_size: self.network_size.estimate(),
            at: now.at,
            wall: now.wall,
            effects: Vec::new(),
        };
        let (before, deadline) = (query.is_over(), query.deadline);
        go_on(query, &mut cx);
        if query.deadline != deadline {
            self.timers.remove(&(deadline, Timer::Query(id)));
            self.timers.insert((query.deadline, Timer::Query(id)));
        }
        let (effects, is_internal, is_over) = (cx.effects, query.is_internal(), query.is_over());
        for effect in effects {
            self.apply(id, is_internal, effect, now.at);
        }
        if is_over && !before {
            self.forget(id);
            self.refresh_next(now);
        }
    }

    fn apply(&mut self, query: QueryId, is_internal: bool, effect: Effect, now: Instant) {
        match effect {
            Effect::Send { peer, message, role } => self.send(query, is_internal, peer, message, role, now),
            Effect::Event(event) if !is_internal => self.push(Action::Event { query, event }),
            Effect::Event(_) => {}
            Effect::Provider(provider) => self.push(Action::Provider { query, provider }),
            Effect::Store(request) => {
                let id = self.store(request);
                self.stored.insert(id, query);
            }
            Effect::Done(result) => {
                if let Some(query) = self.queries.get(&query) {
                    self.network_size.track(query.distances());
                }
                if !is_internal {
                    self.push(Action::Done { query, result });
                }
            }
        }
    }

    fn send(
        &mut self,
        query: QueryId,
        is_internal: bool,
        mut peer: PeerInfo,
        message: Message,
        role: Role,
        now: Instant,
    ) {
        add_addresses(&mut peer.addresses, self.addresses_of(&peer.id));
        if !is_internal {
            if !self.connected.contains_key(&peer.id) {
                self.push(Action::Event { query, event: QueryEvent::DialingPeer { peer: peer.id } });
            }
            self.push(Action::Event { query, event: QueryEvent::SendingQuery { peer: peer.id } });
        }
        let request = RequestId(self.new_id());
        let is_answered = message.kind.is_answered();
        let time = if is_answered { self.config.request_timeout } else { self.config.announce_timeout };
        let deadline = now + time;
        self.timers.insert((deadline, Timer::Request(request)));
        let outstanding = Outstanding { query, peer: peer.clone(), role, kind: message.kind, deadline };
        self.requests.insert(request, outstanding);
        if let Some(counts) = self.messages.of(message.kind) {
            counts.outbound += 1;
        }
        self.push(Action::Send { request, peer, message });
    }

    /// Lets go of a query and of everything that is on its way for it.
    fn forget(&mut self, id: QueryId) {
        let Some(query) = self.queries.remove(&id) else { return };
        self.timers.remove(&(query.deadline, Timer::Query(id)));
        if query.is_internal() {
            self.refresh.ended();
        }
        self.stored.retain(|_, of| *of != id);
        let mut gone: Vec<RequestId> = Vec::new();
        gone.extend(self.requests.iter().filter(|(_, request)| request.query == id).map(|(id, _)| *id));
        for request in gone {
            if let Some(outstanding) = self.requests.remove(&request) {
                self.timers.remove(&(outstanding.deadline, Timer::Request(request)));
            }
            self.push(Action::Forget { request });
        }
    }
}
