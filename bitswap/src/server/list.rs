//! The wants of one peer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use holdfast_dag::cid::Cid;

use super::Ledger;
use crate::message::WantType;

/// Names that may wait to be looked up besides two for each want.
const UNKNOWN_SPARE: usize = 64;

/// Larger is served later: priority reversed, then arrival.
pub(super) type Rank = (i64, u64);

/// Where a want is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// To be looked up, or being looked up.
    Unknown,
    /// Not here: remembered.
    Absent,
    /// To be read: a block of this many bytes.
    Ready(u64),
    /// Being read.
    Reading,
}

/// A line of a peer's wantlist.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) kind: WantType,
    pub(super) send_dont_have: bool,
    pub(super) rank: Rank,
    pub(super) state: State,
}

/// All that is known of a connected peer.
#[derive(Debug)]
pub(super) struct List {
    pub(super) ledger: Ledger,
    wants: HashMap<Cid, Want>,
    /// All wants by rank; the last is the first to be evicted.
    ranks: BTreeMap<Rank, Cid>,
    /// Those that are to be read.
    ready: BTreeSet<Rank>,
    pub(super) ready_bytes: u64,
    /// CIDs that are to be looked up, and some that are over.
    pub(super) unknown: Vec<Cid>,
    pub(super) is_looking_up: bool,
    /// HAVE and DONT_HAVE to be said.
    pub(super) presences: BTreeMap<Cid, bool>,
    /// Bytes being read or on their way to the stream.
    pub(super) outstanding_bytes: usize,
    /// Messages on their way to the stream.
    pub(super) outstanding_messages: usize,
    /// Bytes that it may be given in this turn.
    pub(super) deficit: u64,
    pub(super) served_at: Option<Instant>,
    pub(super) is_in_turns: bool,
    next_seq: u64,
}

impl List {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            wants: HashMap::new(),
            ranks: BTreeMap::new(),
            ready: BTreeSet::new(),
            ready_bytes: 0,
            unknown: Vec::new(),
            is_looking_up: false,
            presences: BTreeMap::new(),
            outstanding_bytes: 0,
            outstanding_messages: 0,
            deficit: 0,
            served_at: None,
            is_in_turns: false,
            next_seq: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.wants.len()
    }

    pub(super) fn cids(&self) -> Vec<Cid> {
        self.ranks.values().copied().collect()
    }

    pub(super) fn get(&self, cid: &Cid) -> Option<&Want> {
        self.wants.get(cid)
    }

    pub(super) fn get_mut(&mut self, cid: &Cid) -> Option<&mut Want> {
        self.wants.get_mut(cid)
    }

    /// The want that would be evicted.
    pub(super) fn last(&self) -> Option<(Rank, Cid)> {
        self.ranks.last_key_value().map(|(rank, cid)| (*rank, *cid))
    }

    /// The rank of a want with this priority that comes now.
    pub(super) fn rank(&mut self, priority: i32) -> Rank {
        self.next_seq += 1;
        (-i64::from(priority), self.next_seq)
    }

    /// Adds a want that is to be looked up.
    pub(super) fn insert(&mut self, cid: Cid, kind: WantType, send_dont_have: bool, rank: Rank) {
        self.ranks.insert(rank, cid);
        self.wants.insert(cid, Want { kind, send_dont_have, rank, state: State::Unknown });
        self.unknown.push(cid);
        if self.unknown.len() > 2 * self.wants.len() + UNKNOWN_SPARE {
            // Who wants and cancels again and again leaves many names behind.
            self.tidy_unknown();
        }
        debug_assert_eq!(self.ranks.len(), self.wants.len(), "each want has one rank");
    }

    /// Cancelled and wanted again, a CID may be there more than once; what has gone need not be looked up.
    pub(super) fn tidy_unknown(&mut self) {
        let wants = &self.wants;
        self.unknown.retain(|cid| wants.get(cid).is_some_and(|want| want.state == State::Unknown));
        self.unknown.sort_unstable();
        self.unknown.dedup();
    }

    pub(super) fn remove(&mut self, cid: &Cid) -> Option<Want> {
        self.set_state(cid, State::Unknown);
        let want = self.wants.remove(cid)?;
        self.ranks.remove(&want.rank);
        Some(want)
    }

    /// Moves a want to a state, and in or out of what is to be read.
    pub(super) fn set_state(&mut self, cid: &Cid, state: State) {
        let Some(want) = self.wants.get_mut(cid) else { return };
        if let State::Ready(bytes) = std::mem::replace(&mut want.state, state) {
            self.ready.remove(&want.rank);
            self.ready_bytes -= bytes;
        }
        if let State::Ready(bytes) = state {
            self.ready.insert(want.rank);
            self.ready_bytes += bytes;
        }
    }

    /// The next block to be read, and its bytes.
    pub(super) fn next_ready(&self) -> Option<(Cid, u64)> {
        let cid = self.ranks.get(self.ready.first()?)?;
        match self.wants.get(cid)?.state {
            State::Ready(bytes) => Some((*cid, bytes)),
            _ => None,
        }
    }

    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// What waits to be looked up, said or read.
    pub(super) fn pending_len(&self) -> usize {
        self.unknown.len() + self.presences.len() + self.ready.len()
    }

    pub(super) fn is_busy(&self) -> bool {
        self.pending_len() > 0
            || self.is_looking_up
            || self.outstanding_messages > 0
            || self.outstanding_bytes > 0
    }
}
