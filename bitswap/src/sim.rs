//! A network of nodes in virtual time, for the tests of client and server together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::hash::HashKind;
use libp2p::PeerId;

use crate::client::{self, Client, RequestId, SessionId};
use crate::config::Config;
use crate::message::{Entry, Message, Payload, Prefix, WantType};
use crate::server::{self, Server};

/// Blocks with different bytes of this length, and their CIDs.
pub(crate) fn blocks(count: usize, len: usize) -> Vec<(Cid, Bytes)> {
    (0..count)
        .map(|at| {
            let mut data = vec![(at % 251) as u8; len];
            data[..8].copy_from_slice(&(at as u64 + ((len as u64) << 32)).to_be_bytes());
            (Cid::new_v1(codec::RAW, HashKind::Sha2_256.digest(&[&data])), data.into())
        })
        .collect()
}

pub(crate) fn cids(blocks: &[(Cid, Bytes)]) -> Vec<Cid> {
    blocks.iter().map(|(cid, _)| *cid).collect()
}

/// A line of a wantlist: this block, or word that it is not there.
pub(crate) fn want(cid: Cid) -> Entry {
    Entry { cid, priority: 1, cancel: false, want_type: WantType::Block, send_dont_have: true }
}

/// All that somebody wants: these blocks.
pub(crate) fn wants(cids: &[Cid]) -> Message {
    Message { entries: cids.iter().copied().map(want).collect(), full: true, ..Message::default() }
}

/// How a node behaves that is not honest or not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Says HAVE and sends nothing.
    Promises,
    /// Answers nothing at all.
    Mute,
    /// Sends other bytes than those asked for.
    Lies,
}

pub(crate) struct Node {
    pub(crate) id: PeerId,
    pub(crate) client: Client,
    pub(crate) server: Server,
    pub(crate) store: HashMap<Cid, Bytes>,
    pub(crate) manner: Manner,
    pub(crate) delivered: BTreeMap<RequestId, Vec<(Cid, Bytes)>>,
    pub(crate) ended: HashSet<RequestId>,
    pub(crate) searches: Vec<(Duration, Cid)>,
    pub(crate) dials: Vec<PeerId>,
    pub(crate) wanted: usize,
    pub(crate) duplicates: usize,
    pub(crate) unwanted: usize,
    /// Whether readers take what comes at once.
    pub(crate) takes: bool,
    pub(crate) messages_out: usize,
    pub(crate) blocks_out: usize,
    pub(crate) bytes_out: usize,
    pub(crate) reads: usize,
}

enum Event {
    Arrive(usize, usize, Message),
    WantsSent(usize, usize),
    AnswerSent(usize, usize, usize),
}

/// The network. Each node has a distance from the middle, and one line out with a rate.
pub(crate) struct Sim {
    start: Instant,
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    /// What a message takes between each node and the middle.
    pub(crate) distances: Vec<Duration>,
    /// Bytes a second of each node's line.
    pub(crate) rates: Vec<f64>,
    free_at: Vec<Instant>,
    links: HashSet<(usize, usize)>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    events: HashMap<u64, Event>,
    next: u64,
}

impl Sim {
    /// Nodes that are all as far from each other.
    pub(crate) fn new(count: usize, latency: Duration, set: impl Fn(&mut Config)) -> Self {
        let start = Instant::now();
        let nodes = (0..count).map(|at| {
            // The same identities in each run: the order of peers must not be a matter of luck.
            let seed = [at as u8 + 1; 32];
            let key = libp2p::identity::Keypair::ed25519_from_bytes(seed).unwrap();
            let id = key.public().to_peer_id();
            let mut config = Config::new(id);
            set(&mut config);
            Node {
                id,
                client: Client::new(config.clone()),
                server: Server::new(config),
                store: HashMap::new(),
                manner: Manner::Honest,
                delivered: BTreeMap::new(),
                ended: HashSet::new(),
                searches: Vec::new(),
                dials: Vec::new(),
                wanted: 0,
                duplicates: 0,
                unwanted: 0,
                takes: true,
                messages_out: 0,
                blocks_out: 0,
                bytes_out: 0,
                reads: 0,
            }
        });
        Self {
            start,
            now: start,
            nodes: nodes.collect(),
            distances: vec![latency / 2; count],
            rates: vec![1e9; count],
            free_at: vec![start; count],
            links: HashSet::new(),
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            next: 0,
        }
    }

    pub(crate) fn give(&mut self, node: usize, blocks: &[(Cid, Bytes)]) {
        self.nodes[node].store.extend(blocks.iter().cloned());
        let sizes: Vec<_> = blocks.iter().map(|(cid, data)| (*cid, data.len() as u64)).collect();
        self.nodes[node].server.on_new_blocks(&sizes);
    }

    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.links.insert((from, to));
            let peer = self.nodes[to].id;
            self.nodes[from].client.on_connected(peer, self.now);
            self.nodes[from].server.on_connected(peer);
        }
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.links.remove(&(from, to));
            let peer = self.nodes[to].id;
            self.nodes[from].client.on_disconnected(peer, self.now);
            self.nodes[from].server.on_disconnected(&peer);
        }
        // What was on its way is lost.
        self.events.retain(|_, event| match event {
            Event::Arrive(from, to, _) | Event::WantsSent(from, to) | Event::AnswerSent(from, to, _) => {
                (*from, *to) != (a, b) && (*from, *to) != (b, a)
            }
        });
    }

    pub(crate) fn get(&mut self, node: usize, session: u64, request: u64, cids: &[Cid]) {
        self.nodes[node].client.get(SessionId(session), RequestId(request), cids, self.now);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now.duration_since(self.start)
    }

    fn at(&self, peer: &PeerId) -> usize {
        self.nodes.iter().position(|node| node.id == *peer).unwrap()
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.queue.push(Reverse((at, self.next)));
        self.events.insert(self.next, event);
        self.next += 1;
    }

    fn transmit(&mut self, from: usize, peer: &PeerId, message: Message, wants: bool) {
        let to = self.at(peer);
        let bytes = message.block_bytes();
        let size = 100 + bytes + 45 * (message.entries.len() + message.presences.len());
        self.nodes[from].messages_out += 1;
        self.nodes[from].blocks_out += message.blocks.len();
        self.nodes[from].bytes_out += bytes;
        if !self.links.contains(&(from, to)) {
            return;
        }
        let begin = self.free_at[from].max(self.now);
        let done = begin + Duration::from_secs_f64(size as f64 / self.rates[from]);
        self.free_at[from] = done;
        let sent = if wants { Event::WantsSent(from, to) } else { Event::AnswerSent(from, to, bytes) };
        self.schedule(done, sent);
        let arrival = done + self.distances[from] + self.distances[to];
        self.schedule(arrival, Event::Arrive(from, to, message));
    }

    /// Does what all nodes want done now.
    fn settle(&mut self) {
        loop {
            let mut busy = false;
            for at in 0..self.nodes.len() {
                while let Some(action) = self.nodes[at].client.poll_action(self.now) {
                    busy = true;
                    self.act_for_client(at, action);
                }
                while let Some(action) = self.nodes[at].server.poll_action(self.now) {
                    busy = true;
                    self.act_for_server(at, action);
                }
            }
            if !busy {
                return;
            }
        }
    }

    fn act_for_client(&mut self, at: usize, action: client::Action) {
        match action {
            client::Action::Send { peer, entries, full } => {
                self.transmit(at, &peer, Message { entries, full, ..Message::default() }, true);
            }
            client::Action::Deliver { request, blocks, end } => {
                let node = &mut self.nodes[at];
                let bytes = blocks.iter().map(|(_, data)| data.len()).sum();
                node.delivered.entry(request).or_default().extend(blocks);
                if end {
                    assert!(node.ended.insert(request), "a request ends once");
                }
                if node.takes {
                    node.client.on_consumed(request, bytes, self.now);
                }
            }
            client::Action::FindProviders { cid, .. } => {
                let elapsed = self.elapsed();
                self.nodes[at].searches.push((elapsed, cid));
            }
            client::Action::Dial { peer, .. } => self.nodes[at].dials.push(peer),
        }
    }

    fn act_for_server(&mut self, at: usize, action: server::Action) {
        let now = self.now;
        let node = &mut self.nodes[at];
        match action {
            server::Action::LookUp { peer, cids } => {
                let sizes: Vec<_> =
                    cids.iter().map(|cid| node.store.get(cid).map(|data| data.len() as u64)).collect();
                node.server.on_presence(&peer, &cids, &sizes);
            }
            server::Action::Read { batch, cids, .. } => {
                node.reads += 1;
                let blocks = cids.iter().map(|cid| node.store.get(cid).cloned()).collect();
                node.server.on_read(batch, blocks, now);
            }
            server::Action::Send { peer, mut message } => {
                match node.manner {
                    Manner::Mute => message = Message::default(),
                    Manner::Promises => message.blocks.clear(),
                    Manner::Lies => {
                        for block in &mut message.blocks {
                            block.data = Bytes::from_static(b"something else");
                        }
                    }
                    Manner::Honest => {}
                }
                self.transmit(at, &peer, message, false);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::WantsSent(from, to) => {
                let peer = self.nodes[to].id;
                self.nodes[from].client.on_sent(peer);
            }
            Event::AnswerSent(from, to, bytes) => {
                let peer = self.nodes[to].id;
                self.nodes[from].server.on_sent(&peer, bytes, now);
            }
            Event::Arrive(from, to, message) => {
                let peer = self.nodes[from].id;
                self.receive(to, peer, message);
            }
        }
    }

    /// A message from a peer, which need not be a node of this network.
    pub(crate) fn receive(&mut self, to: usize, peer: PeerId, message: Message) {
        let node = &mut self.nodes[to];
        let bytes = message.block_bytes();
        node.client.on_presences(peer, &message.presences, self.now);
        let name = |block: Payload| Some((block.prefix.cid_of(&block.data)?, block.data));
        let blocks: Vec<_> = message.blocks.into_iter().filter_map(name).collect();
        if !blocks.is_empty() {
            let outcome = node.client.on_blocks(peer, blocks, bytes, self.now);
            node.wanted += outcome.wanted;
            node.duplicates += outcome.duplicates.len();
            node.unwanted += outcome.unwanted;
            node.server.on_received(&peer, outcome.wanted, outcome.wanted_bytes);
        }
        if message.full || !message.entries.is_empty() {
            node.server.on_wants(peer, &message.entries, message.full);
        }
    }

    /// Runs until `done`, for at most `limit` of virtual time. Says whether it was done.
    pub(crate) fn run(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.settle();
            if done(self) {
                return true;
            }
            let timer = self.nodes.iter().filter_map(|node| node.client.poll_timeout()).min();
            let event = self.queue.peek().map(|Reverse((at, _))| *at);
            let Some(next) = timer.into_iter().chain(event).min().filter(|at| *at <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
            while let Some(Reverse((at, key))) = self.queue.peek().copied()
                && at <= self.now
            {
                self.queue.pop();
                if let Some(event) = self.events.remove(&key) {
                    self.handle(event);
                }
            }
            for at in 0..self.nodes.len() {
                self.nodes[at].client.on_timeout(self.now);
            }
        }
    }

    /// Runs until a request has ended.
    pub(crate) fn run_to_end(&mut self, node: usize, request: u64, limit: Duration) -> bool {
        self.run(limit, |sim| sim.nodes[node].ended.contains(&RequestId(request)))
    }
}

/// A message with these blocks.
pub(crate) fn message_of(blocks: &[(Cid, Bytes)]) -> Message {
    let payload =
        |(cid, data): &(Cid, Bytes)| Payload { prefix: Prefix::of(cid).unwrap(), data: data.clone() };
    Message { blocks: blocks.iter().map(payload).collect(), ..Message::default() }
}
