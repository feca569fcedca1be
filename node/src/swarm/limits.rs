//! How many connections there may be, and `Swarm.ResourceMgr.Allowlist`: whose neither count nor are refused where there are too many.
//!
//! libp2p's own limits keep an entry for each peer that was ever connected, and there is no end of peer IDs.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::filters::{FilterError, IpRange, ip_of};
use super::resources::{Directed, ResourceLimits};

/// An entry of the list: a range of addresses, and who is meant there, if not everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    range: IpRange,
    peer: Option<PeerId>,
}

/// Why a text is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither an address such as /ip4/10.0.0.1, nor a range such as /ip4/10.0.0.0/ipcidr/8, with or without /p2p/<peer ID> behind"
)]
pub struct AllowedError(String);

impl Allowed {
    /// Reads `/ip4/10.0.0.1`, `/ip4/10.0.0.0/ipcidr/8`, and either of them with `/p2p/<peer ID>` behind.
    pub fn parse(text: &str) -> Result<Self, AllowedError> {
        let error = || AllowedError(text.to_owned());
        let (place, peer) = match text.split_once("/p2p/") {
            Some((place, peer)) => (place, Some(crate::keys::parse_peer_id(peer).map_err(|_| error())?)),
            None => (text, None),
        };
        let bits = if place.starts_with("/ip4/") { 32 } else { 128 };
        let one = |_: FilterError| IpRange::parse(&format!("{place}/ipcidr/{bits}"));
        let range = IpRange::parse(place).or_else(one).map_err(|_| error())?;
        Ok(Self { range, peer })
    }
}

/// The list. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowlist(Arc<[Allowed]>);

impl Allowlist {
    pub(super) fn new(entries: &[Allowed]) -> Self {
        Self(entries.into())
    }

    /// Whether a connection with this address is on it, as far as is known whose it is. One through a relay never is: the address is
    /// that of the relay.
    pub(super) fn has(&self, address: &Multiaddr, peer: Option<PeerId>) -> bool {
        let relayed = || address.iter().any(|part| part == Protocol::P2pCircuit);
        let Some(ip) = ip_of(address).filter(|_| !self.0.is_empty() && !relayed()) else { return false };
        self.0.iter().any(|entry| {
            let fits = entry.peer.is_none_or(|wanted| peer.is_none_or(|peer| peer == wanted));
            fits && entry.range.contains(ip)
        })
    }
}

/// There are as many connections of this kind as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("connection limit exceeded: at most {max} {kind} connections are allowed")]
pub(super) struct TooMany {
    kind: &'static str,
    max: usize,
}

fn check(kind: &'static str, count: usize, max: Option<usize>) -> Result<(), ConnectionDenied> {
    match max.filter(|max| count >= *max) {
        None => Ok(()),
        Some(max) => Err(ConnectionDenied::new(TooMany { kind, max })),
    }
}

/// Whether a connection from or to this address has a socket of its own: QUIC has one for all connections, and what comes through a
/// relay has that of the connection to the relay.
pub(crate) fn has_socket(address: &Multiaddr) -> bool {
    let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
    has(|part| matches!(part, Protocol::Tcp(_))) && !has(|part| *part == Protocol::P2pCircuit)
}

/// Open connections of one peer.
#[derive(Debug, Clone, Copy, Default)]
struct OfPeer {
    inbound: usize,
    outbound: usize,
}

/// The limits on connections, for all who are not on the list. What it keeps is bounded by them.
pub(super) struct Limits {
    max: Option<ResourceLimits>,
    allowlist: Allowlist,
    /// Those that are not secured yet.
    pending_inbound: HashSet<ConnectionId>,
    pending_outbound: HashSet<ConnectionId>,
    /// Those that are open, by who opened them, and how many of each peer.
    inbound: HashSet<ConnectionId>,
    outbound: HashSet<ConnectionId>,
    of_peer: HashMap<PeerId, OfPeer>,
    /// Those that have sockets: open ones, and inbound ones that are not secured yet.
    sockets: HashSet<ConnectionId>,
}

impl Limits {
    pub(super) fn new(max: Option<ResourceLimits>, allowlist: Allowlist) -> Self {
        Self {
            max,
            allowlist,
            pending_inbound: HashSet::new(),
            pending_outbound: HashSet::new(),
            inbound: HashSet::new(),
            outbound: HashSet::new(),
            of_peer: HashMap::new(),
            sockets: HashSet::new(),
        }
    }

    /// Whether the system takes one more open connection.
    fn check_system(&self, max: &ResourceLimits, is_inbound: bool) -> Result<(), ConnectionDenied> {
        let Directed { both, inbound, outbound } = max.system.connections;
        if is_inbound {
            check("established incoming", self.inbound.len(), inbound)?;
        } else {
            check("established outgoing", self.outbound.len(), outbound)?;
        }
        check("established", self.inbound.len() + self.outbound.len(), both)
    }

    /// Whether there may be one more to this peer.
    fn check_peer(
        &self,
        max: &ResourceLimits,
        peer: &PeerId,
        is_inbound: bool,
    ) -> Result<(), ConnectionDenied> {
        let Directed { both, inbound, outbound } = max.of_peer(peer).connections;
        let open = self.of_peer.get(peer).copied().unwrap_or_default();
        if is_inbound {
            check("established incoming per peer", open.inbound, inbound)?;
        } else {
            check("established outgoing per peer", open.outbound, outbound)?;
        }
        check("established per peer", open.inbound + open.outbound, both)
    }

    /// Whether there may be one more that is not secured yet.
    fn check_pending(&self, max: &ResourceLimits, is_inbound: bool) -> Result<(), ConnectionDenied> {
        let Directed { both, inbound, outbound } = max.transient.connections;
        let (theirs, ours) = (self.pending_inbound.len(), self.pending_outbound.len());
        if is_inbound {
            check("pending incoming", theirs, inbound)?;
        } else {
            check("pending outgoing", ours, outbound)?;
        }
        check("pending", theirs + ours, both)
    }

    /// Whether there is a socket for this connection, if it needs one and has none yet.
    fn check_socket(
        &self,
        max: &ResourceLimits,
        id: ConnectionId,
        address: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.sockets.contains(&id) || !has_socket(address) {
            return Ok(());
        }
        check("TCP", self.sockets.len(), max.system.sockets)
    }

    fn opened(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let of_peer = self.of_peer.entry(peer).or_default();
        if endpoint.is_listener() {
            self.inbound.insert(id);
            of_peer.inbound += 1;
        } else {
            self.outbound.insert(id);
            of_peer.outbound += 1;
        }
        if has_socket(endpoint.get_remote_address()) {
            self.sockets.insert(id);
        }
    }

    fn closed(&mut self, peer: &PeerId, id: ConnectionId) {
        self.sockets.remove(&id);
        let was_inbound = self.inbound.remove(&id);
        let was_outbound = self.outbound.remove(&id);
        if let Some(open) = self.of_peer.get_mut(peer) {
            open.inbound = open.inbound.saturating_sub(usize::from(was_inbound));
            open.outbound = open.outbound.saturating_sub(usize::from(was_outbound));
            if open.inbound == 0 && open.outbound == 0 {
                self.of_peer.remove(peer);
            }
        }
    }
}

impl NetworkBehaviour for Limits {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(max) = self.max.as_ref().filter(|_| !self.allowlist.has(remote, None)) else {
            return Ok(());
        };
        self.check_pending(max, true)?;
        self.check_socket(max, id, remote)?;
        self.pending_inbound.insert(id);
        if has_socket(remote) {
            self.sockets.insert(id);
        }
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending_inbound.remove(&id);
        if let Some(max) = self.max.as_ref().filter(|_| !self.allowlist.has(remote, Some(peer))) {
            self.check_system(max, true)?;
            self.check_peer(max, &peer, true)?;
            self.check_socket(max, id, remote)?;
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let Some(max) = self.max.as_ref() else { return Ok(Vec::new()) };
        self.check_pending(max, false)?;
        self.pending_outbound.insert(id);
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending_outbound.remove(&id);
        if let Some(max) = self.max.as_ref().filter(|_| !self.allowlist.has(address, Some(peer))) {
            self.check_system(max, false)?;
            self.check_peer(max, &peer, false)?;
            self.check_socket(max, id, address)?;
        }
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let is_allowed =
            |point: &ConnectedPoint, peer| self.allowlist.has(point.get_remote_address(), Some(peer));
        match event {
            FromSwarm::ConnectionEstablished(event) if !is_allowed(event.endpoint, event.peer_id) => {
                self.opened(event.peer_id, event.connection_id, event.endpoint);
            }
            FromSwarm::ConnectionClosed(event) if !is_allowed(event.endpoint, event.peer_id) => {
                self.closed(&event.peer_id, event.connection_id);
            }
            FromSwarm::DialFailure(event) => drop(self.pending_outbound.remove(&event.connection_id)),
            FromSwarm::ListenFailure(event) => {
                self.pending_inbound.remove(&event.connection_id);
                self.sockets.remove(&event.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};

    use super::*;

    #[test]
    fn peers_that_left_leave_nothing_behind() {
        let mut limits = Limits::new(None, Allowlist::default());
        let address: Multiaddr = "/ip4/10.0.0.1/tcp/4001".parse().unwrap();
        let endpoint = ConnectedPoint::Listener { local_addr: address.clone(), send_back_addr: address };
        for number in 0..100 {
            let (peer_id, connection_id) = (PeerId::random(), ConnectionId::new_unchecked(number));
            limits.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
            assert_eq!((limits.inbound.len(), limits.of_peer.len(), limits.sockets.len()), (1, 1, 1));
            limits.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                endpoint: &endpoint,
                cause: None,
                remaining_established: 0,
            }));
        }
        assert!(limits.inbound.is_empty() && limits.of_peer.is_empty() && limits.sockets.is_empty());
    }

    #[test]
    fn an_entry_is_an_address_or_a_range_and_perhaps_a_peer() {
        let (friend, other) = (PeerId::random(), PeerId::random());
        let list = |texts: &[String]| {
            Allowlist::new(&texts.iter().map(|text| Allowed::parse(text).unwrap()).collect::<Vec<_>>())
        };
        let address = |text: &str| text.parse::<Multiaddr>().unwrap();
        let all = list(&["/ip4/10.0.0.0/ipcidr/8".to_owned(), format!("/ip6/2001:db8::1/p2p/{friend}")]);
        assert!(all.has(&address("/ip4/10.1.2.3/tcp/4001"), Some(other)));
        assert!(!all.has(&address("/ip4/11.1.2.3/tcp/4001"), Some(friend)));
        let there = address("/ip6/2001:db8::1/udp/4001/quic-v1");
        assert!(all.has(&there, None) && all.has(&there, Some(friend)) && !all.has(&there, Some(other)));
        let relayed = address(&format!("/ip4/10.1.2.3/tcp/4001/p2p/{other}/p2p-circuit"));
        assert!(!all.has(&relayed, Some(friend)), "anybody may come through a relay");
        assert!(!Allowlist::default().has(&there, None));
        for text in
            ["", "/ip4/10.0.0.0/ipcidr/33", "/dns/example.com", "10.0.0.1", "/ip4/10.0.0.1/p2p/nobody"]
        {
            assert!(Allowed::parse(text).is_err(), "{text}");
        }
    }
}
