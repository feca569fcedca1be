//! Engines in one process, in virtual time: messages take 20 ms, the store answers at once.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use holdfast_dht::ipns::Timestamp;
use holdfast_dht::kad::{
    Action, Config, Engine, Goal, InboundId, Key, Message, Mode, Now, Outcome, PeerInfo, QueryError,
    QueryEvent, QueryId, RequestFailure, RequestId, Response, Scope,
};
use holdfast_dht::records::MemoryStore;
use libp2p::{Multiaddr, PeerId};
use multihash::Multihash;
use sha2::{Digest, Sha256};

/// How long a message takes.
const LATENCY: Duration = Duration::from_millis(20);

/// How long a node waits for the dial of one that is gone.
const DIAL_FAILURE: Duration = Duration::from_secs(5);

struct Node {
    peer: PeerId,
    engine: Engine,
    store: MemoryStore,
    is_up: bool,
}

enum Delivery {
    Request { to: usize, from: usize, request: RequestId, message: Message },
    Response { to: usize, request: RequestId, result: Result<Option<Message>, RequestFailure> },
    Tick,
}

/// What came of a query, and what happened on its way.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The end.
    pub(crate) result: Option<Result<Outcome, QueryError>>,
    /// Providers as they were found.
    pub(crate) providers: Vec<PeerInfo>,
    /// What `-v` would show.
    pub(crate) events: Vec<QueryEvent>,
}

impl Answer {
    /// How many peers were asked or told.
    pub(crate) fn requests(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, QueryEvent::SendingQuery { .. })).count()
    }
}

/// A network of engines.
pub(crate) struct Net {
    nodes: Vec<Node>,
    by_peer: HashMap<PeerId, usize>,
    queue: BTreeMap<(Instant, u64), Delivery>,
    inbound: HashMap<(usize, InboundId), (usize, RequestId)>,
    answers: HashMap<(usize, QueryId), Answer>,
    sequence: u64,
    start: Instant,
    at: Instant,
    /// All messages that were sent.
    pub(crate) messages: u64,
}

/// The peer ID of a node: the same in each run, so that what a lookup finds does not depend on chance.
fn peer_id(index: usize) -> PeerId {
    let digest = Sha256::digest(index.to_be_bytes());
    PeerId::from_multihash(Multihash::wrap(0x12, &digest).unwrap()).unwrap()
}

/// The address of a node.
pub(crate) fn address(index: usize) -> Multiaddr {
    let index = u32::try_from(index).unwrap();
    let [_, a, b, c] = index.to_be_bytes();
    format!("/ip4/10.{a}.{b}.{c}/tcp/4001").parse().unwrap()
}

impl Net {
    /// So many servers of the LAN, each of which has met three others; then the tables fill by themselves for half a minute.
    pub(crate) fn new(size: usize) -> Self {
        let start = Instant::now();
        let node = |index: usize| {
            let peer = peer_id(index);
            let mut engine = Engine::new(peer, Config::new(Scope::Lan), index as u64, start);
            engine.set_mode(Mode::Server);
            engine.set_own_addresses(&[address(index)]);
            Node { peer, engine, store: MemoryStore::default(), is_up: true }
        };
        let nodes: Vec<Node> = (0..size).map(node).collect();
        let by_peer = nodes.iter().enumerate().map(|(index, node)| (node.peer, index)).collect();
        let mut net = Self {
            nodes,
            by_peer,
            queue: BTreeMap::new(),
            inbound: HashMap::new(),
            answers: HashMap::new(),
            sequence: 0,
            start,
            at: start,
            messages: 0,
        };
        for index in 0..size {
            for step in [1, 7, 31] {
                net.introduce(index, (index + step) % size);
            }
        }
        net.deliver_in(Duration::from_millis(100), Delivery::Tick);
        net.run_for(Duration::from_secs(30));
        net
    }

    /// A node's peer ID.
    pub(crate) fn peer(&self, index: usize) -> PeerId {
        self.nodes[index].peer
    }

    /// A node's engine.
    pub(crate) fn engine(&self, index: usize) -> &Engine {
        &self.nodes[index].engine
    }

    /// All peer IDs.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.nodes.iter().filter(|node| node.is_up).map(|node| node.peer)
    }

    /// Takes a node away.
    pub(crate) fn kill(&mut self, index: usize) {
        self.nodes[index].is_up = false;
    }

    fn introduce(&mut self, to: usize, who: usize) {
        if to != who {
            let (peer, now) = (self.nodes[who].peer, self.now());
            self.nodes[to].engine.on_connections(peer, vec![address(who)], now);
            self.nodes[to].engine.on_identified(peer, true, &[address(who)], now);
        }
    }

    fn now(&self) -> Now {
        let wall = Timestamp::from_unix(1_700_000_000, 0).after(self.at - self.start);
        Now { at: self.at, wall }
    }

    fn deliver_in(&mut self, delay: Duration, delivery: Delivery) {
        self.sequence += 1;
        self.queue.insert((self.at + delay, self.sequence), delivery);
    }

    /// Runs a query to its end and until nothing is on its way for it.
    pub(crate) fn query(&mut self, index: usize, goal: Goal) -> Answer {
        let now = self.now();
        let id = self.nodes[index].engine.start(goal, now).unwrap();
        self.answers.insert((index, id), Answer::default());
        self.act(index);
        let end = self.at + Duration::from_secs(120);
        while self.at < end && self.answers[&(index, id)].result.is_none() {
            self.step();
        }
        self.run_for(Duration::from_secs(1));
        self.answers.remove(&(index, id)).unwrap()
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.at + duration;
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= end) {
            self.step();
        }
        self.at = end;
    }

    fn step(&mut self) {
        let Some(((at, _), delivery)) = self.queue.pop_first() else { return };
        self.at = self.at.max(at);
        let now = self.now();
        match delivery {
            Delivery::Request { to, from, request, message } => {
                // Peers that meet identify each other first.
                self.introduce(to, from);
                self.sequence += 1;
                let inbound = InboundId(self.sequence);
                self.inbound.insert((to, inbound), (from, request));
                let peer = self.nodes[from].peer;
                self.nodes[to].engine.on_request(inbound, peer, message, now);
                self.act(to);
            }
            Delivery::Response { to, request, result } => {
                self.nodes[to].engine.on_response(request, result, now);
                self.act(to);
            }
            Delivery::Tick => {
                for index in 0..self.nodes.len() {
                    self.nodes[index].engine.on_timeout(now);
                    self.act(index);
                }
                self.deliver_in(Duration::from_millis(100), Delivery::Tick);
            }
        }
    }

    fn act(&mut self, index: usize) {
        while let Some(action) = self.nodes[index].engine.poll_action() {
            match action {
                Action::Send { request, peer, message } => self.send(index, request, &peer, &message),
                Action::Respond { inbound, response } => {
                    let Some((to, request)) = self.inbound.remove(&(index, inbound)) else { continue };
                    let result = match response {
                        Response::Message(message) => Ok(Some(decoded(&message))),
                        Response::Nothing => Ok(None),
                        Response::Reset => Err(RequestFailure::Closed),
                    };
                    self.deliver_in(LATENCY, Delivery::Response { to, request, result });
                }
                Action::Store { id, request } => {
                    let now = self.now();
                    let reply = self.nodes[index].store.handle_now(request, now.wall);
                    self.nodes[index].engine.on_stored(id, Ok(reply), now);
                }
                Action::Event { query, event } => {
                    if let Some(answer) = self.answers.get_mut(&(index, query)) {
                        answer.events.push(event);
                    }
                }
                Action::Provider { query, provider } => {
                    if let Some(answer) = self.answers.get_mut(&(index, query)) {
                        answer.providers.push(provider);
                    }
                }
                Action::Done { query, result } => {
                    if let Some(answer) = self.answers.get_mut(&(index, query)) {
                        answer.result = Some(result);
                    }
                }
                Action::Forget { .. } | Action::PeerAdded { .. } | Action::PeerRemoved { .. } => {}
            }
        }
    }

    fn send(&mut self, from: usize, request: RequestId, peer: &PeerInfo, message: &Message) {
        self.messages += 1;
        let to = self.by_peer.get(&peer.id).copied().filter(|to| self.nodes[*to].is_up);
        if let Some(to) = to.filter(|to| peer.addresses.contains(&address(*to))) {
            let now = self.now();
            self.nodes[from].engine.on_connections(peer.id, vec![address(to)], now);
            let message = decoded(message);
            self.deliver_in(LATENCY, Delivery::Request { to, from, request, message });
        } else {
            let result = Err(RequestFailure::Dial);
            self.deliver_in(DIAL_FAILURE, Delivery::Response { to: from, request, result });
        }
    }
}

/// The message as the other side reads it.
fn decoded(message: &Message) -> Message {
    Message::decode(&message.encode()).unwrap()
}

/// A key with a number.
pub(crate) fn key(number: u32) -> Key {
    Key::new(&[&[0x12, 0x20][..], &number.to_be_bytes()].concat()).unwrap()
}
