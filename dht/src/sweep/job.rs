//! One region at work: its keys are read, its servers explored, and every server told.

use std::collections::{BTreeMap, HashMap, VecDeque};

use libp2p::PeerId;

use super::coverage::Coverage;
use super::schedule::successor;
use crate::ipns::Timestamp;
use crate::kad::{BUCKET_PEERS_MAX, KadId, Key, PREIMAGE_BITS_MAX, PeerInfo, Prefix, preimage};

/// With no more keys than this in a region, each is searched by itself: exploring it takes about so many lookups.
const SINGLE_KEYS_MAX: usize = 6;

/// Which queue a region is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The schedule.
    Periodic,
    /// New keys.
    Burst,
}

/// What a job waits for or wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Keys from this place on, in the region.
    Keys { from: KadId, last: KadId },
    /// The closest peers of a key.
    Lookup(Key),
    /// A server to be told of keys.
    Announce(PeerInfo, Vec<Key>),
    /// An answer.
    Wait,
    /// Nothing: it is over.
    Over,
}

#[derive(Debug)]
enum State {
    Reading,
    /// Keys one by one; the first is being searched.
    Singles(VecDeque<Key>),
    Exploring(Coverage),
    Announcing(Coverage),
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) origin: Origin,
    pub(super) region: Prefix,
    pub(super) started_at: Timestamp,
    state: State,
    is_asked: bool,
    /// Keys at hand: at most one batch.
    keys: BTreeMap<KadId, Key>,
    /// The place behind the keys that were read; `None` when all were.
    more_from: Option<KadId>,
    to_tell: VecDeque<(PeerInfo, Vec<Key>)>,
    telling: HashMap<PeerId, usize>,
    connections: usize,
    salt: u64,
    /// How many servers took each key of the batch.
    holders: HashMap<Key, u32>,
    /// New keys that were dealt with, and whether any server took them.
    settled: Vec<(Key, bool)>,
    pub(super) counts: Counts,
}

/// What came of a job.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) keys: u64,
    pub(super) keys_provided: u64,
    pub(super) keys_failed: u64,
    pub(super) records: u64,
    pub(super) lookups: u64,
    pub(super) peers: u64,
    pub(super) reachable: u64,
    pub(super) is_failed: bool,
}

impl Job {
    /// A region of the schedule, whose keys are to be read.
    pub(super) fn periodic(region: Prefix, connections: usize, salt: u64, now: Timestamp) -> Self {
        Self::new(Origin::Periodic, region, connections, salt, now)
    }

    /// New keys of a region.
    pub(super) fn burst(
        region: Prefix,
        keys: Vec<Key>,
        connections: usize,
        salt: u64,
        now: Timestamp,
    ) -> Self {
        let mut job = Self::new(Origin::Burst, region, connections, salt, now);
        job.more_from = None;
        job.take_keys(keys);
        job
    }

    fn new(origin: Origin, region: Prefix, connections: usize, salt: u64, now: Timestamp) -> Self {
        Self {
            origin,
            region,
            started_at: now,
            state: State::Reading,
            is_asked: false,
            keys: BTreeMap::new(),
            more_from: Some(region.first()),
            to_tell: VecDeque::new(),
            telling: HashMap::new(),
            connections,
            salt,
            holders: HashMap::new(),
            settled: Vec::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn keys_len(&self) -> usize {
        self.keys.len()
    }

    /// What is to be done next. Ask again until it waits or is over.
    pub(super) fn step(&mut self) -> Step {
        if self.counts.is_failed && self.telling.is_empty() {
            return Step::Over;
        }
        if self.is_asked {
            return Step::Wait;
        }
        match &mut self.state {
            State::Reading => match self.more_from {
                Some(from) => {
                    self.is_asked = true;
                    Step::Keys { from, last: self.region.last() }
                }
                None => Step::Over,
            },
            State::Singles(keys) => match keys.front() {
                Some(key) if self.to_tell.is_empty() && self.telling.is_empty() => {
                    self.is_asked = true;
                    Step::Lookup(key.clone())
                }
                _ => self.tell(),
            },
            State::Exploring(coverage) => match coverage.next() {
                Some(part) => {
                    self.salt = self.salt.wrapping_add(1);
                    let bits = part.bits().min(PREIMAGE_BITS_MAX);
                    match preimage(&Prefix::of(&part.first(), bits), self.salt) {
                        Some(key) => {
                            self.is_asked = true;
                            Step::Lookup(key)
                        }
                        None => self.fail(),
                    }
                }
                None => self.begin_telling(),
            },
            State::Announcing(_) => self.tell(),
        }
    }

    fn fail(&mut self) -> Step {
        self.counts.is_failed = true;
        self.counts.keys_failed += self.keys.len() as u64;
        self.settle();
        self.to_tell.clear();
        self.is_asked = false;
        if self.telling.is_empty() { Step::Over } else { Step::Wait }
    }

    /// The keys came that [`Step::Keys`] asked for: at most `max`, fewer if there are no more.
    pub(super) fn on_keys(&mut self, keys: Option<Vec<Key>>, max: usize) {
        self.is_asked = false;
        let Some(keys) = keys else {
            self.fail();
            return;
        };
        let last = keys.last().filter(|_| keys.len() >= max).map(Key::id);
        let next = last.and_then(|last| successor(&last));
        self.more_from = next.filter(|next| self.region.contains(next));
        self.take_keys(keys);
    }

    fn take_keys(&mut self, keys: Vec<Key>) {
        self.keys = keys.into_iter().map(|key| (key.id(), key)).collect();
        self.counts.keys += self.keys.len() as u64;
        self.holders = self.keys.values().map(|key| (key.clone(), 0)).collect();
        self.state = match std::mem::replace(&mut self.state, State::Reading) {
            _ if self.keys.is_empty() => State::Reading,
            // A later batch of the same region: its servers are known.
            State::Announcing(coverage) => State::Announcing(coverage),
            _ if self.keys.len() <= SINGLE_KEYS_MAX && self.more_from.is_none() => {
                State::Singles(self.keys.values().cloned().collect())
            }
            _ => State::Exploring(Coverage::new(self.region)),
        };
        if self.keys.is_empty() {
            self.more_from = None;
        }
        if let State::Announcing(coverage) = &self.state {
            self.to_tell = assign(coverage, &self.keys);
        }
    }

    /// The closest peers came that [`Step::Lookup`] asked for; `is_all`: there are no others that are as close.
    pub(super) fn on_closest(&mut self, place: &KadId, closest: Option<Vec<PeerInfo>>, is_all: bool) {
        self.is_asked = false;
        self.counts.lookups += 1;
        let Some(closest) = closest.filter(|closest| !closest.is_empty()) else {
            self.fail();
            return;
        };
        match &mut self.state {
            State::Singles(keys) => {
                if let Some(key) = keys.pop_front() {
                    self.counts.peers += closest.len() as u64;
                    self.to_tell = closest.into_iter().map(|peer| (peer, vec![key.clone()])).collect();
                }
            }
            State::Exploring(coverage) if is_all => coverage.answered(place, closest),
            State::Exploring(_) => {
                self.fail();
            }
            State::Reading | State::Announcing(_) => {}
        }
    }

    fn begin_telling(&mut self) -> Step {
        if let State::Exploring(coverage) = std::mem::replace(&mut self.state, State::Reading) {
            self.counts.peers += coverage.peers_len() as u64;
            self.to_tell = assign(&coverage, &self.keys);
            self.state = State::Announcing(coverage);
        }
        self.tell()
    }

    fn tell(&mut self) -> Step {
        if self.telling.len() < self.connections
            && let Some((peer, keys)) = self.to_tell.pop_front()
        {
            self.telling.insert(peer.id, keys.len());
            return Step::Announce(peer, keys);
        }
        if !self.telling.is_empty() {
            return Step::Wait;
        }
        if let State::Singles(keys) = &self.state
            && let Some(key) = keys.front()
        {
            self.is_asked = true;
            return Step::Lookup(key.clone());
        }
        self.end_batch()
    }

    fn end_batch(&mut self) -> Step {
        let taken = self.holders.values().filter(|holders| **holders > 0).count() as u64;
        self.counts.keys_provided += taken;
        self.counts.keys_failed += self.holders.len() as u64 - taken;
        self.settle();
        self.keys.clear();
        if let Some(from) = self.more_from {
            self.is_asked = true;
            Step::Keys { from, last: self.region.last() }
        } else {
            self.state = State::Reading;
            Step::Over
        }
    }

    /// Notes what became of the batch. Only who brought new keys is told of it.
    fn settle(&mut self) {
        let holders = std::mem::take(&mut self.holders);
        if self.origin == Origin::Burst {
            self.settled.extend(holders.into_iter().map(|(key, holders)| (key, holders > 0)));
        }
    }

    /// The new keys that this job has dealt with since it was last asked.
    pub(super) fn take_settled(&mut self) -> Vec<(Key, bool)> {
        std::mem::take(&mut self.settled)
    }

    /// A server was told of the first `sent` of the keys of [`Step::Announce`], or could not be asked.
    pub(super) fn on_announced(&mut self, peer: &PeerId, keys: &[Key], sent: Option<usize>) {
        self.telling.remove(peer);
        let Some(sent) = sent else {
            if !self.counts.is_failed {
                self.fail();
            }
            return;
        };
        self.counts.records += sent.min(keys.len()) as u64;
        self.counts.reachable += u64::from(sent > 0);
        for key in keys.iter().take(sent) {
            if let Some(holders) = self.holders.get_mut(key) {
                *holders += 1;
            }
        }
    }
}

/// Every server with the keys of which it is one of the 20 closest.
fn assign(coverage: &Coverage, keys: &BTreeMap<KadId, Key>) -> VecDeque<(PeerInfo, Vec<Key>)> {
    let mut by_peer: HashMap<PeerId, (PeerInfo, Vec<Key>)> = HashMap::new();
    for (place, key) in keys {
        for peer in coverage.closest(place).into_iter().take(BUCKET_PEERS_MAX) {
            let entry = by_peer.entry(peer.id).or_insert_with(|| (peer.clone(), Vec::new()));
            entry.1.push(key.clone());
        }
    }
    by_peer.into_values().collect()
}
