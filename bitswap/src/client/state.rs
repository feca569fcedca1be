//! What the client knows of wants, peers, sessions and requests.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use holdfast_dag::cid::Cid;
use libp2p::{Multiaddr, PeerId};

use super::flow::Flow;
use super::timers::SEARCH_DELAY_MIN;
use super::{RequestId, SessionId, Tried};
use crate::config::Config;
use crate::message::WantType;

pub(super) type PeerKey = u32;
pub(super) type WantKey = u32;

/// A session believes that a peer has everything after this many hits in a row, and then asks nobody else beside it.
const PROVEN_HITS: u32 = 8;

/// Size that is assumed of blocks before the first has come.
const ESTIMATE_START: usize = 256 << 10;

/// Wants of a session that may be out before any block has come. The number grows by two with each block.
const RAMP_START: usize = 16;

/// Where a want is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the queue of its owner.
    Queued,
    /// One peer is asked for the block.
    Held(PeerKey, Instant),
    /// Everybody is asked whether they have it.
    Broadcast,
}

/// A CID that somebody waits for.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) cid: Cid,
    /// The request whose session finds peers for it: one of `requests`.
    pub(super) owner: RequestId,
    pub(super) requests: Vec<RequestId>,
    pub(super) place: Place,
    /// Bytes set aside for it while it is held.
    pub(super) estimate: usize,
    pub(super) priority: i32,
    /// Peers that have a [`Relation`] to it.
    pub(super) told: Vec<PeerKey>,
    pub(super) deadline: Option<Instant>,
}

/// What a peer said to a want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Answer {
    #[default]
    None,
    Have,
    DontHave,
    /// Asked for the block, and nothing came.
    Silent,
}

/// One want and one peer.
#[derive(Debug, Default)]
pub(super) struct Relation {
    /// What the peer's copy of our wantlist should say.
    pub(super) desired: Option<WantType>,
    /// What it says.
    pub(super) sent: Option<WantType>,
    pub(super) sent_at: Option<Instant>,
    pub(super) answer: Answer,
    /// Whether it is in [`Peer::dirty`].
    pub(super) is_dirty: bool,
}

/// A peer that is connected, or that a session counts on.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not the states of a machine")]
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) connected: bool,
    pub(super) speaks_have: bool,
    pub(super) favoured: bool,
    /// Blocks that it delivered.
    pub(super) delivered: u64,
    /// Sessions that list it.
    pub(super) sessions: usize,
    pub(super) relations: HashMap<WantKey, Relation>,
    /// Wants whose relation may differ from what was sent.
    pub(super) dirty: Vec<WantKey>,
    /// Wants that are over and were sent.
    pub(super) cancels: Vec<Cid>,
    /// Whether it is in the client's list of dirty peers.
    pub(super) is_listed: bool,
    /// Whether the next message replaces what the peer knows.
    pub(super) full: bool,
    /// Whether it may know of wants.
    pub(super) was_told: bool,
    /// Whether a message is on its way to the stream. The next one waits, and says more at once.
    pub(super) sending: bool,
    pub(super) flow: Flow,
    pub(super) addresses: Vec<Multiaddr>,
}

impl Peer {
    pub(super) fn new(id: PeerId, config: &Config) -> Self {
        Self {
            id,
            connected: false,
            speaks_have: true,
            favoured: false,
            delivered: 0,
            sessions: 0,
            relations: HashMap::new(),
            dirty: Vec::new(),
            cancels: Vec::new(),
            is_listed: false,
            full: true,
            was_told: false,
            sending: false,
            flow: Flow::new(config),
            addresses: Vec::new(),
        }
    }

    /// Whether another want-block fits on its list and in its window.
    pub(super) fn has_room(&self, bytes: usize, config: &Config) -> bool {
        self.flow.in_flight_count() < config.wants_sent_max / 2 && self.flow.has_room(bytes)
    }
}

/// A peer as one session sees it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: PeerKey,
    /// Blocks and HAVEs since the last DONT_HAVE or silence.
    pub(super) hits: u32,
    /// DONT_HAVEs since the last hit.
    pub(super) misses: u32,
}

impl Member {
    pub(super) fn is_proven(&self) -> bool {
        self.hits >= PROVEN_HITS
    }
}

/// Blocks that belong together.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) members: Vec<Member>,
    /// Its requests, in the order in which they came.
    pub(super) requests: Vec<RequestId>,
    /// Wants that everybody is asked for.
    pub(super) broadcast: Vec<WantKey>,
    /// Wants that one peer is asked for.
    pub(super) held: usize,
    /// Sizes of its last blocks.
    sizes: VecDeque<usize>,
    delivered: usize,
    /// When to look whether somebody must be searched for.
    pub(super) search_at: Instant,
    pub(super) searches_in_row: u32,
    pub(super) rebroadcast_at: Instant,
    pub(super) timer: Option<Instant>,
    /// Whether anybody answered anything, or should have.
    pub(super) is_answered: bool,
    pub(super) asked: HashSet<PeerId>,
    pub(super) tried: Tried,
    /// Whether nobody can begin another request.
    pub(super) is_ended: bool,
}

impl Session {
    pub(super) fn new(now: Instant, config: &Config) -> Self {
        Self {
            members: Vec::new(),
            requests: Vec::new(),
            broadcast: Vec::new(),
            held: 0,
            sizes: VecDeque::new(),
            delivered: 0,
            search_at: now + config.search_delay,
            searches_in_row: 0,
            rebroadcast_at: now + config.rebroadcast_interval,
            timer: None,
            is_answered: false,
            asked: HashSet::new(),
            tried: Tried::default(),
            is_ended: false,
        }
    }

    pub(super) fn member(&mut self, key: PeerKey) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.key == key)
    }

    /// Notes a block: who delivers is believed again, and nobody needs to be searched for a while.
    pub(super) fn on_block(&mut self, bytes: usize, now: Instant, config: &Config) {
        if self.sizes.len() == 8 {
            self.sizes.pop_front();
        }
        self.sizes.push_back(bytes);
        self.delivered += 1;
        self.is_answered = true;
        self.searches_in_row = 0;
        self.search_at = now + config.search_delay.max(SEARCH_DELAY_MIN);
    }

    /// Bytes to set aside for a block: the largest of the last eight.
    pub(super) fn estimate(&self) -> usize {
        self.sizes.iter().max().map_or(ESTIMATE_START, |largest| *largest.max(&64))
    }

    /// Whether one more want may be broadcast.
    pub(super) fn may_broadcast(&self, config: &Config) -> bool {
        let max = if self.is_answered { config.broadcast_wants_max } else { BROADCAST_START };
        self.broadcast.len() < max.min(config.broadcast_wants_max)
    }

    /// Whether one more want may be out. A few small blocks say little about the size of those that follow.
    pub(super) fn has_room(&self) -> bool {
        self.held < RAMP_START + 2 * self.delivered
    }
}

/// Wants that are broadcast before anybody has answered: a question about a small block is answered by the block, by everybody.
const BROADCAST_START: usize = 8;

/// One stream of blocks.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) session: SessionId,
    /// What it still waits for.
    pub(super) wants: HashSet<WantKey>,
    /// Those that it owns and that nobody is asked for yet.
    pub(super) queue: VecDeque<WantKey>,
    /// Bytes delivered and not taken.
    pub(super) buffered: usize,
    /// Bytes set aside for wants that it owns and that are held.
    pub(super) reserved: usize,
    /// Whether another waited for something that it waits for.
    pub(super) is_shared: bool,
}

impl Request {
    pub(super) fn new(session: SessionId) -> Self {
        let (wants, queue) = (HashSet::new(), VecDeque::new());
        Self { session, wants, queue, buffered: 0, reserved: 0, is_shared: false }
    }

    pub(super) fn has_room(&self, bytes: usize, config: &Config) -> bool {
        let used = self.buffered + self.reserved;
        used == 0 || used + bytes <= config.request_bytes_max
    }
}
