//! Counts bytes by peer and by protocol, and lists streams, over whatever transport they came.
//!
//! One wrapper lies around the muxer of every connection. Bytes of encryption and framing are not counted: what counts is
//! what protocols sent each other.

mod counter;
mod header;
mod muxer;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use libp2p::core::ConnectedPoint;
use libp2p::{Multiaddr, PeerId};

pub use counter::Traffic;
pub(super) use muxer::Metered;

use super::resolve::holds_name;
use super::resources::{Directed, ResourceLimits};
use super::unread::Held;
use counter::Counter;

/// Protocols that are counted apart; what comes after them is counted under [`OTHER`]. Peers choose what they open, but
/// only names that we speak are agreed on.
const PROTOCOLS_MAX: usize = 256;
/// Peers whose counts are kept, connected ones aside.
const PEERS_MAX: usize = 4096;
/// Where protocols are counted that came after [`PROTOCOLS_MAX`] others.
const OTHER: &str = "other";

/// Everything that is counted. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// None where streams are not limited.
    limits: Option<ResourceLimits>,
    total: Arc<Counter>,
    protocols: Mutex<HashMap<Arc<str>, Arc<Counter>>>,
    peers: Mutex<HashMap<PeerId, Arc<PeerMeter>>>,
    inbound: AtomicUsize,
    outbound: AtomicUsize,
    refused: AtomicU64,
    /// Names the streams of all connections.
    next: AtomicU64,
}

/// What is counted of one peer.
#[derive(Debug)]
struct PeerMeter {
    counter: Counter,
    /// How many streams it may have.
    max: Directed,
    inbound: AtomicUsize,
    outbound: AtomicUsize,
    connections: Mutex<Vec<Weak<ConnectionMeter>>>,
}

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct ConnectionMeter {
    address: Multiaddr,
    peer: Arc<PeerMeter>,
    /// What it holds unread; none where that is not known, as of QUIC.
    held: Option<Arc<Held>>,
    streams: Mutex<HashMap<u64, Arc<StreamMeter>>>,
}

/// What is known of one stream.
#[derive(Debug)]
struct StreamMeter {
    /// Whether the peer opened it.
    is_inbound: bool,
    protocol: OnceLock<(Arc<str>, Arc<Counter>)>,
}

/// Streams that are open now, by who opened them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenStreams {
    /// Opened by others.
    pub inbound: usize,
    /// Opened by us.
    pub outbound: usize,
}

/// What one peer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerUsage {
    /// Its streams.
    pub streams: OpenStreams,
    /// Bytes that it sent through yamux and that nobody has read yet.
    pub unread_bytes: usize,
}

/// Who holds what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shares {
    /// Streams on which no protocol is agreed yet.
    pub undecided: OpenStreams,
    /// Streams of each protocol.
    pub protocols: BTreeMap<String, OpenStreams>,
    /// Of each peer with a connection, or lately without.
    pub peers: HashMap<PeerId, PeerUsage>,
}

impl OpenStreams {
    fn add(&mut self, is_inbound: bool) {
        *(if is_inbound { &mut self.inbound } else { &mut self.outbound }) += 1;
    }
}

/// Streams that are open now, and that were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamCounts {
    /// Opened by others.
    pub inbound: usize,
    /// Opened by us.
    pub outbound: usize,
    /// Opened by others and reset at once, since the start, because there were too many.
    pub refused: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    pub(super) fn new(limits: Option<ResourceLimits>) -> Self {
        let shared = Shared {
            limits,
            total: Arc::new(Counter::new(Instant::now())),
            protocols: Mutex::default(),
            peers: Mutex::default(),
            inbound: AtomicUsize::new(0),
            outbound: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            next: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Counts what a new connection carries.
    pub(super) fn wrap<M>(
        &self,
        muxer: M,
        peer: PeerId,
        point: &ConnectedPoint,
        held: Option<Arc<Held>>,
    ) -> Metered<M> {
        let peer = self.peer(peer);
        let connection = Arc::new(ConnectionMeter {
            address: point.get_remote_address().clone(),
            peer: Arc::clone(&peer),
            held,
            streams: Mutex::default(),
        });
        let mut connections = lock(&peer.connections);
        connections.retain(|connection| connection.strong_count() > 0);
        connections.push(Arc::downgrade(&connection));
        drop(connections);
        Metered::new(muxer, self.clone(), connection)
    }

    /// The counts of a peer, made where there are none.
    fn peer(&self, peer: PeerId) -> Arc<PeerMeter> {
        let mut peers = lock(&self.shared.peers);
        if let Some(known) = peers.get(&peer) {
            return Arc::clone(known);
        }
        if peers.len() >= PEERS_MAX {
            // Nobody but the table holds those of peers that are gone.
            peers.retain(|_, meter| Arc::strong_count(meter) > 1);
        }
        let limits = self.shared.limits.as_ref();
        let meter = Arc::new(PeerMeter {
            counter: Counter::new(Instant::now()),
            max: limits.map(|limits| limits.of_peer(&peer).streams).unwrap_or_default(),
            inbound: AtomicUsize::new(0),
            outbound: AtomicUsize::new(0),
            connections: Mutex::default(),
        });
        peers.insert(peer, Arc::clone(&meter));
        meter
    }

    fn protocol(&self, name: &str) -> (Arc<str>, Arc<Counter>) {
        let mut protocols = lock(&self.shared.protocols);
        let full = protocols.len() >= PROTOCOLS_MAX;
        if let Some((name, counter)) = protocols.get_key_value(name) {
            return (Arc::clone(name), Arc::clone(counter));
        }
        // The stream shows its own name also where it is counted with others.
        let shown: Arc<str> = Arc::from(name);
        let counted = if full { Arc::from(OTHER) } else { Arc::clone(&shown) };
        let counter = protocols.entry(counted).or_insert_with(|| Arc::new(Counter::new(Instant::now())));
        (shown, Arc::clone(counter))
    }

    /// Brings all rates up to date: to be called once a second.
    pub(super) fn tick(&self, now: Instant) {
        self.shared.total.tick(now);
        lock(&self.shared.protocols).values().for_each(|counter| counter.tick(now));
        lock(&self.shared.peers).values().for_each(|peer| peer.counter.tick(now));
    }

    pub(super) fn total(&self) -> Traffic {
        self.shared.total.traffic()
    }

    /// Traffic of a peer; nothing where none is known.
    pub(super) fn of_peer(&self, peer: &PeerId) -> Traffic {
        lock(&self.shared.peers).get(peer).map(|peer| peer.counter.traffic()).unwrap_or_default()
    }

    /// Traffic of a protocol; nothing where none is known.
    pub(super) fn of_protocol(&self, protocol: &str) -> Traffic {
        lock(&self.shared.protocols).get(protocol).map(|counter| counter.traffic()).unwrap_or_default()
    }

    /// Traffic of every protocol, by name.
    pub(super) fn by_protocol(&self) -> Vec<(String, Traffic)> {
        let protocols = lock(&self.shared.protocols);
        let mut all: Vec<_> =
            protocols.iter().map(|(name, counter)| (name.to_string(), counter.traffic())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// The protocols of the streams between us and a peer's address; empty texts where one is not agreed on yet. A connection
    /// that was dialled by a name is known here by what the name stood for: those of all connections to the peer are given.
    pub(super) fn streams(&self, peer: &PeerId, address: &Multiaddr) -> Vec<String> {
        let Some(peer) = lock(&self.shared.peers).get(peer).map(Arc::clone) else { return Vec::new() };
        let connections: Vec<_> = lock(&peer.connections).iter().filter_map(Weak::upgrade).collect();
        let is_named = holds_name(address);
        let here = connections.iter().filter(|connection| is_named || connection.address == *address);
        let mut names: Vec<String> =
            here.flat_map(|connection| connection.protocols()).map(|name| name.to_string()).collect();
        names.sort_unstable();
        names
    }

    /// Who holds what now.
    pub(super) fn shares(&self) -> Shares {
        let peers: Vec<_> =
            lock(&self.shared.peers).iter().map(|(id, peer)| (*id, Arc::clone(peer))).collect();
        let mut shares = Shares::default();
        for (id, peer) in peers {
            let connections: Vec<_> = lock(&peer.connections).iter().filter_map(Weak::upgrade).collect();
            let mut usage = PeerUsage::default();
            for connection in connections {
                usage.unread_bytes += connection.held.as_ref().map_or(0, |held| held.bytes());
                for stream in lock(&connection.streams).values() {
                    usage.streams.add(stream.is_inbound);
                    let of_protocol = match stream.protocol.get() {
                        Some((name, _)) => shares.protocols.entry(name.to_string()).or_default(),
                        None => &mut shares.undecided,
                    };
                    of_protocol.add(stream.is_inbound);
                }
            }
            shares.peers.insert(id, usage);
        }
        shares
    }

    pub(super) fn stream_counts(&self) -> StreamCounts {
        StreamCounts {
            inbound: self.shared.inbound.load(Ordering::Relaxed),
            outbound: self.shared.outbound.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
        }
    }

    /// Whether this peer may open one more stream.
    fn may_accept(&self, peer: &PeerMeter) -> bool {
        let open = self.stream_counts();
        let max = self.shared.limits.as_ref().map(|limits| limits.system.streams).unwrap_or_default();
        let of_peer = (peer.inbound.load(Ordering::Relaxed), peer.outbound.load(Ordering::Relaxed));
        max.takes_inbound(open.inbound, open.outbound) && peer.max.takes_inbound(of_peer.0, of_peer.1)
    }
}

impl ConnectionMeter {
    fn protocols(&self) -> Vec<Arc<str>> {
        let streams = lock(&self.streams);
        let name = |stream: &Arc<StreamMeter>| stream.protocol.get().map(|(name, _)| Arc::clone(name));
        streams.values().map(|stream| name(stream).unwrap_or_else(|| Arc::from(""))).collect()
    }
}
