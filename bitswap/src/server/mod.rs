//! The server: what peers want, and who is served next. No I/O, no clock: events and `now` go in, [`Action`]s come out.
//!
//! A want goes through these states: its presence is looked up in the index; what is here is queued and read in batches; what is not is
//! remembered, and queued when it arrives. What is remembered is bounded for each peer and for all together: where that is full, a want of
//! whoever wants most gives way. Peers with something queued take turns by deficit round robin: each turn gives a peer the
//! right to as many bytes as any other, whatever the size of its blocks.

mod answer;
mod crowd;
mod list;
#[cfg(test)]
mod tests;
mod turns;
mod wants;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use holdfast_dag::cid::Cid;
use libp2p::PeerId;

use self::crowd::Crowd;
use self::list::List;
use crate::config::Config;
use crate::message::Message;

/// The table of those who wait is made smaller when it is this many times too large.
const SPARE_FACTOR: usize = 4;

/// Entries below which it is not worth it.
const SPARE_MIN: usize = 1024;

/// What was exchanged with a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Bytes of blocks sent to it.
    pub sent_bytes: u64,
    /// Bytes of wanted blocks that it sent.
    pub received_bytes: u64,
    /// Blocks in either direction.
    pub exchanges: u64,
}

impl Ledger {
    /// What it owes us, as boxo computes it: bytes sent for each byte received, plus one.
    pub fn value(&self) -> f64 {
        self.sent_bytes as f64 / (self.received_bytes as f64 + 1.0)
    }
}

/// A batch that is being read. Given back with its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReadId(u64);

/// What the server wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Look up which of these are here, and their sizes: [`Server::on_presence`]. One at a time for each peer.
    LookUp {
        /// For whom.
        peer: PeerId,
        /// What it wants.
        cids: Vec<Cid>,
    },
    /// Read blocks: [`Server::on_read`].
    Read {
        /// For whom.
        peer: PeerId,
        /// Which batch.
        batch: ReadId,
        /// What it wants.
        cids: Vec<Cid>,
    },
    /// Send an answer: [`Server::on_sent`] with the bytes of its blocks when it went to the stream.
    Send {
        /// To whom.
        peer: PeerId,
        /// The answer.
        message: Message,
    },
}

/// What waits and what is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Wants that wait to be served, or to be looked up.
    pub pending: usize,
    /// Of those: blocks.
    pub pending_blocks: usize,
    /// Batches that are being read.
    pub active: usize,
    /// Blocks in them.
    pub active_blocks: usize,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Server {
    config: Config,
    lists: HashMap<PeerId, List>,
    crowd: Crowd,
    /// Who waits for what is not known to be here.
    waiting: HashMap<Cid, Vec<PeerId>>,
    /// Peers with something to read, in the order of their turns.
    turns: VecDeque<PeerId>,
    /// Batches that are being read: for whom, what, and how many bytes.
    reads: HashMap<ReadId, turns::Batch>,
    reading_bytes: usize,
    next_read: u64,
    /// Ledgers of peers that are away, and when they left.
    gone: HashMap<PeerId, (u64, Ledger)>,
    gone_order: BTreeMap<u64, PeerId>,
    next_gone: u64,
    /// Peers with answers to be sent or CIDs to be looked up.
    dirty: Vec<PeerId>,
    actions: VecDeque<Action>,
}

impl Server {
    /// A server without peers.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            lists: HashMap::new(),
            crowd: Crowd::default(),
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            reads: HashMap::new(),
            reading_bytes: 0,
            next_read: 0,
            gone: HashMap::new(),
            gone_order: BTreeMap::new(),
            next_gone: 0,
            dirty: Vec::new(),
            actions: VecDeque::new(),
        }
    }

    /// A peer is connected.
    pub fn on_connected(&mut self, peer: PeerId) {
        if self.lists.contains_key(&peer) {
            return;
        }
        let ledger = self.gone.remove(&peer).map(|(at, ledger)| {
            self.gone_order.remove(&at);
            ledger
        });
        self.lists.insert(peer, List::new(ledger.unwrap_or_default()));
    }

    /// A peer's last connection is gone: its wants are forgotten, its ledger is kept.
    pub fn on_disconnected(&mut self, peer: &PeerId) {
        let Some(list) = self.lists.remove(peer) else { return };
        self.crowd.changed(*peer, list.len(), 0);
        for cid in list.cids() {
            self.stop_waiting(&cid, peer);
        }
        if self.waiting.capacity() > SPARE_MIN.max(SPARE_FACTOR * self.waiting.len()) {
            // A peer that wanted much has gone, and its room with it.
            self.waiting.shrink_to(2 * self.waiting.len());
        }
        self.turns.retain(|other| other != peer);
        if list.ledger != Ledger::default() {
            let at = self.next_gone;
            self.next_gone += 1;
            self.gone.insert(*peer, (at, list.ledger));
            self.gone_order.insert(at, *peer);
        }
        while self.gone.len() > self.config.ledgers_max
            && let Some((_, oldest)) = self.gone_order.pop_first()
        {
            self.gone.remove(&oldest);
        }
    }

    /// The stream out to a peer was lost with answers of this many bytes of blocks: what it did not get it asks for again.
    pub fn on_stream_lost(&mut self, peer: &PeerId, answers: &[usize], now: Instant) {
        for bytes in answers {
            self.on_sent(peer, *bytes, now);
        }
    }

    /// Notes wanted blocks that a peer sent.
    pub fn on_received(&mut self, peer: &PeerId, blocks: usize, bytes: usize) {
        if let Some(list) = self.lists.get_mut(peer) {
            list.ledger.received_bytes += bytes as u64;
            list.ledger.exchanges += blocks as u64;
        }
    }

    /// What was exchanged with a peer, connected or not.
    pub fn ledger(&self, peer: &PeerId) -> Ledger {
        let here = self.lists.get(peer).map(|list| list.ledger);
        here.or_else(|| Some(self.gone.get(peer)?.1)).unwrap_or_default()
    }

    /// What a peer wants.
    pub fn wantlist(&self, peer: &PeerId) -> Vec<Cid> {
        self.lists.get(peer).map(List::cids).unwrap_or_default()
    }

    /// Whether something for a peer is being looked up, read or sent.
    pub fn is_busy(&self, peer: &PeerId) -> bool {
        self.lists.get(peer).is_some_and(List::is_busy)
    }

    /// What waits and what is under way.
    pub fn tasks(&self) -> Tasks {
        let mut tasks = Tasks { active: self.reads.len(), ..Tasks::default() };
        tasks.active_blocks = self.reads.values().map(turns::Batch::len).sum();
        for list in self.lists.values() {
            tasks.pending += list.pending_len();
            tasks.pending_blocks += list.ready_len();
        }
        tasks
    }

    /// What to do next. `None` until the next event: nothing here happens by time alone.
    pub fn poll_action(&mut self, now: Instant) -> Option<Action> {
        if self.actions.is_empty() {
            let mut done = HashSet::new();
            for peer in std::mem::take(&mut self.dirty) {
                if done.insert(peer) {
                    self.say_presences(&peer, now);
                    self.look_up(&peer);
                }
            }
            self.take_turns(now);
        }
        self.actions.pop_front()
    }
}

/// The bytes of a block that was read.
type Found = Option<Bytes>;
