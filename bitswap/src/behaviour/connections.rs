//! Which connections there are to whom, and which of them carries what we send.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use crate::inbox::{Line, Sending};

/// Whether an address leads through a relay.
pub(super) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Whether a peer is on this machine or in this network.
pub(super) fn is_near(address: &Multiaddr) -> bool {
    let ip = address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
        _ => None,
    });
    match ip {
        Some(IpAddr::V4(ip)) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        Some(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        None => false,
    }
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    line: Arc<Line>,
    /// What it was given and has not confirmed. Bounded by what client and server let be on its way.
    pending: Vec<Sending>,
    /// The peer's wants came on it last, of all its connections.
    is_asked_on: bool,
    is_refused: bool,
    is_near: bool,
}

/// What a connection leaves behind when it closes.
#[derive(Debug)]
pub(super) struct End {
    /// It was the last that could be used.
    pub(super) is_last: bool,
    /// A change of our wantlist was on its way on it.
    pub(super) had_wants: bool,
    /// Bytes of blocks of each answer that it had not confirmed.
    pub(super) answers: Vec<usize>,
}

/// All connections that Bitswap uses.
#[derive(Debug, Default)]
pub(super) struct Connections {
    peers: HashMap<PeerId, Vec<Connection>>,
    /// Of connections that are being set up.
    expected: HashMap<ConnectionId, Arc<Line>>,
    peered: HashSet<PeerId>,
}

impl Connections {
    pub(super) fn expect(&mut self, id: ConnectionId, line: Arc<Line>) {
        self.expected.insert(id, line);
    }

    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.expected.remove(&id);
    }

    /// Adds a connection. Says whether it is the first that can be used.
    pub(super) fn add(&mut self, peer: PeerId, id: ConnectionId, is_near: bool) -> bool {
        let Some(line) = self.expected.remove(&id) else { return false };
        let connections = self.peers.entry(peer).or_default();
        let is_first = connections.iter().all(|connection| connection.is_refused);
        connections.push(Connection {
            id,
            line,
            pending: Vec::new(),
            is_asked_on: false,
            is_refused: false,
            is_near,
        });
        is_first
    }

    /// Removes a connection, if Bitswap used it.
    pub(super) fn remove(&mut self, peer: PeerId, id: ConnectionId) -> Option<End> {
        let connections = self.peers.get_mut(&peer)?;
        let at = connections.iter().position(|connection| connection.id == id)?;
        let gone = connections.remove(at);
        let is_last = !gone.is_refused && connections.iter().all(|connection| connection.is_refused);
        if connections.is_empty() {
            self.peers.remove(&peer);
        }
        let answers = gone.pending.iter().filter_map(|sending| match sending {
            Sending::Answer(bytes) => Some(*bytes),
            Sending::Wants => None,
        });
        let had_wants = gone.pending.contains(&Sending::Wants);
        Some(End { is_last, had_wants, answers: answers.collect() })
    }

    /// The peer told its wants on this connection.
    pub(super) fn asked_on(&mut self, (peer, id): (PeerId, ConnectionId)) {
        for connection in self.peers.get_mut(&peer).into_iter().flatten() {
            connection.is_asked_on = connection.id == id;
        }
    }

    /// The connection to send on, of those that can be used: for our wants the oldest; for an answer that on which it was asked
    /// for last, because the peer may know already that another one is lost.
    pub(super) fn send(&mut self, peer: &PeerId, sending: Sending) -> Option<ConnectionId> {
        let connections = self.peers.get_mut(peer)?;
        let usable = |connection: &Connection| !connection.is_refused;
        let asked_on = |connection: &Connection| connection.is_asked_on && usable(connection);
        let at = connections.iter().position(asked_on).filter(|_| sending != Sending::Wants);
        let at = at.or_else(|| connections.iter().position(usable))?;
        let connection = connections.get_mut(at)?;
        connection.pending.push(sending);
        Some(connection.id)
    }

    /// A connection has dealt with something that it was given. Says whether it is still there.
    pub(super) fn confirm(&mut self, from: (PeerId, ConnectionId), sending: Sending) -> bool {
        let Some(connection) = self.get_mut(from) else { return false };
        if let Some(at) = connection.pending.iter().position(|other| *other == sending) {
            connection.pending.remove(at);
        }
        true
    }

    /// A connection cannot be used. Says whether it was the last that could.
    pub(super) fn refuse(&mut self, from: (PeerId, ConnectionId)) -> bool {
        let Some(connection) = self.get_mut(from) else { return false };
        let was = std::mem::replace(&mut connection.is_refused, true);
        !was && self.peers.get(&from.0).is_some_and(|all| all.iter().all(|connection| connection.is_refused))
    }

    /// A connection can be used after all. Says, if it is the first that can, whether it leads to somebody near.
    pub(super) fn readmit(&mut self, from: (PeerId, ConnectionId)) -> Option<bool> {
        let was_last = self.peers.get(&from.0)?.iter().all(|connection| connection.is_refused);
        let connection = self.get_mut(from)?;
        connection.is_refused = false;
        was_last.then_some(connection.is_near)
    }

    fn get_mut(&mut self, (peer, id): (PeerId, ConnectionId)) -> Option<&mut Connection> {
        self.peers.get_mut(&peer)?.iter_mut().find(|connection| connection.id == id)
    }

    /// Tells a peer's connections what is pending.
    pub(super) fn note(&self, peer: &PeerId, wants: usize, keep: bool) {
        for connection in self.peers.get(peer).into_iter().flatten() {
            connection.line.note(wants, keep);
        }
    }

    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Notes what the node said of a peer.
    pub(super) fn set_peered(&mut self, peer: PeerId, peered: bool) {
        if peered {
            self.peered.insert(peer)
        } else {
            self.peered.remove(&peer)
        };
    }

    pub(super) fn is_peered(&self, peer: &PeerId) -> bool {
        self.peered.contains(peer)
    }
}
