//! What the task does when it is asked.

use std::time::Instant;

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, TransportError};

use super::{ConnectReply, ConnectStage, ConnectWaiter, Dial, Open, Task};
use crate::swarm::addresses::split_peer;
use crate::swarm::handle::{
    ALL_FAILED, Command, ConnectError, ConnectionInfo, DisconnectError, Need, PingError, Usage,
};
use crate::swarm::redial::Reason;

impl Task {
    pub(super) fn on_command(&mut self, command: Command) {
        // Whoever asked and went away leaves nobody to tell: such errors are passed over.
        match command {
            Command::Connect { need, peer, addresses, and_known, reply } => {
                self.connect(need, peer, addresses, and_known, reply);
            }
            Command::Disconnect { peer, address, reply } => {
                let _ = reply.send(self.disconnect(peer, address.as_ref()));
            }
            // It may have ended since whoever asks was told that there is one.
            Command::Ping { peer, reply } if !self.swarm.is_connected(&peer) => {
                let _ = reply.send(Err(PingError::Disconnected));
            }
            Command::Ping { peer, reply } => {
                let number = self.next_ping;
                self.next_ping += 1;
                self.swarm.behaviour_mut().ping.ask(peer, number);
                self.pings.insert(number, (peer, reply));
            }
            Command::Connections { reply } => {
                let _ = reply.send(self.connections());
            }
            Command::Nat { reply } => {
                let _ = reply.send(self.nat_info());
            }
            Command::Usage { reply } => {
                let _ = reply.send(self.usage());
            }
            Command::PeeringAdd { peer, addresses, reply } => {
                let _ = reply.send(self.peer_with(peer, addresses));
            }
            Command::PeeringRemove { peer, reply } => {
                self.redial.remove(&peer, Reason::Peered);
                self.shared.worth.unprotect(&peer, "peering");
                self.favour(peer, false);
                let _ = reply.send(());
            }
            Command::PeeringList { reply } => {
                let _ = reply.send(self.redial.peered());
            }
            // It ends the loop.
            Command::Stop { .. } => {}
        }
    }

    /// Keeps a peer connected; false where the list of them is full. This node itself is passed over.
    pub(super) fn peer_with(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) -> bool {
        if peer == self.shared.us {
            return true;
        }
        let connected = self.is_direct(&peer);
        if !self.redial.add(peer, Reason::Peered, addresses, connected, Instant::now()) {
            return false;
        }
        self.shared.worth.protect(peer, "peering");
        self.favour(peer, true);
        self.dial_due(Instant::now());
        true
    }

    /// Has the exchange always ask a peer, or no longer.
    fn favour(&mut self, peer: PeerId, favoured: bool) {
        if let Some(bitswap) = self.swarm.behaviour_mut().bitswap.as_mut() {
            bitswap.favour(peer, favoured);
        }
    }

    fn connect(
        &mut self,
        need: Need,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        and_known: bool,
        reply: ConnectReply,
    ) {
        self.bootstrap.dismissed.remove(&peer);
        if self.is_direct(&peer) || (need == Need::Any && self.swarm.is_connected(&peer)) {
            self.shared.book.add(peer, addresses);
            return self.wait_for_identity(peer, reply);
        }
        let known = if and_known { self.shared.book.addresses(&peer) } else { Vec::new() };
        let all: Vec<Multiaddr> = known.into_iter().chain(addresses.iter().cloned()).collect();
        // Hundreds may want the same peer at once: one dial is enough for all who know no other address of it.
        let is_same = |dial: &Dial| dial.peer == peer && all.iter().all(|it| dial.addresses.contains(it));
        if let Some((id, _)) = self.dials.iter().find(|(_, dial)| is_same(dial)).filter(|_| !all.is_empty()) {
            self.connects.push(ConnectWaiter { reply, peer, stage: ConnectStage::Dialling(*id, need) });
            return;
        }
        let mut opts = DialOpts::peer_id(peer).addresses(addresses);
        if and_known {
            opts = opts.extend_addresses_through_behaviour();
        }
        let opts = opts.condition(PeerCondition::Always).build();
        let id = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => {
                self.dials.insert(id, Dial { peer, addresses: all });
                self.connects.push(ConnectWaiter { reply, peer, stage: ConnectStage::Dialling(id, need) });
            }
            Err(error) => self.not_connected(need, peer, reply, &error),
        }
    }

    /// Answers whoever waited for a dial that failed: a connection through a relay may do instead.
    pub(super) fn not_connected(&mut self, need: Need, peer: PeerId, reply: ConnectReply, error: &DialError) {
        if need != Need::Direct && self.swarm.is_connected(&peer) {
            return self.wait_for_identity(peer, reply);
        }
        let _ = reply.send(Err(in_words(peer, error)));
    }

    /// Answers once the peer has said who it is, or after a while without that.
    fn wait_for_identity(&mut self, peer: PeerId, reply: ConnectReply) {
        if self.shared.book.description(&peer).is_some() {
            let _ = reply.send(Ok(()));
            return;
        }
        let until = Instant::now() + super::events::IDENTIFY_TIME_MAX;
        self.connects.push(ConnectWaiter { reply, peer, stage: ConnectStage::Identifying(until) });
    }

    fn disconnect(&mut self, peer: PeerId, address: Option<&Multiaddr>) -> Result<(), DisconnectError> {
        let of_peer: Vec<(ConnectionId, Multiaddr)> = self
            .open
            .iter()
            .filter(|(_, open)| open.peer == peer)
            .map(|(id, open)| (*id, open.address()))
            .collect();
        if of_peer.is_empty() {
            return Err(if address.is_some() {
                DisconnectError::NotFound
            } else {
                DisconnectError::NotConnected
            });
        }
        let meant: Vec<_> =
            of_peer.into_iter().filter(|(_, own)| address.is_none_or(|address| address == own)).collect();
        if meant.is_empty() {
            return Err(DisconnectError::NotFound);
        }
        self.bootstrap.dismiss(peer);
        for (id, _) in meant {
            self.swarm.close_connection(id);
        }
        Ok(())
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        let mut all: Vec<ConnectionInfo> = self
            .open
            .values()
            .map(|open| ConnectionInfo {
                peer: open.peer,
                address: open.address(),
                direction: open.direction,
                latency: open.latency,
                streams: self.shared.meter.streams(&open.peer, &open.endpoint),
                relayed: open.relayed,
            })
            .collect();
        all.sort_by_key(|connection| (connection.address.to_string(), connection.peer.to_base58()));
        all
    }

    fn usage(&self) -> Usage {
        let info = self.swarm.network_info();
        let counts = info.connection_counters();
        Usage {
            inbound_connections: counts.num_established_incoming() as usize,
            outbound_connections: counts.num_established_outgoing() as usize,
            pending_inbound: counts.num_pending_incoming() as usize,
            pending_outbound: counts.num_pending_outgoing() as usize,
            streams: self.shared.meter.stream_counts(),
            peers: info.num_peers(),
            unread_bytes: self.shared.unread.bytes(),
        }
    }
}

impl Open {
    /// The peer's end, without its ID.
    pub(super) fn address(&self) -> Multiaddr {
        split_peer(&self.endpoint).0
    }
}

/// What libp2p says, in the words of go-libp2p: one line for each address.
fn in_words(peer: PeerId, error: &DialError) -> ConnectError {
    let failed = |reason: String| ConnectError::Failed { peer, reason };
    match error {
        DialError::LocalPeerId { .. } => ConnectError::Ourselves,
        DialError::NoAddresses => ConnectError::NoAddresses(peer),
        DialError::WrongPeerId { obtained, address } => failed(format!(
            "{ALL_FAILED}\n  * [{}] peer id mismatch: expected {peer}, but remote key matches {obtained}",
            split_peer(address).0
        )),
        DialError::Transport(errors) => {
            let lines = errors.iter().map(|(address, error)| {
                let words = match error {
                    TransportError::MultiaddrNotSupported(_) => "no transport for protocol".to_owned(),
                    TransportError::Other(error) => chain(error),
                };
                format!("\n  * [{}] {words}", split_peer(address).0)
            });
            failed(format!("{ALL_FAILED}{}", lines.collect::<Vec<_>>().concat()))
        }
        DialError::Denied { .. } => ConnectError::Busy { peer, reason: chain(error) },
        other => failed(chain(other)),
    }
}

/// An error and its causes; what repeats the one before is left out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        source = cause.source();
    }
    words
}
