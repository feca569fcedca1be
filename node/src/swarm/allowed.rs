//! `Swarm.ResourceMgr.Allowlist`: whose connections neither count nor are refused where there are too many.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::connection_limits;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::filters::{FilterError, IpRange, ip_of};

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

/// The limits on connections, for all who are not on the list.
pub(super) struct Limits {
    limits: connection_limits::Behaviour,
    allowlist: Allowlist,
}

impl Limits {
    pub(super) fn new(limits: connection_limits::Behaviour, allowlist: Allowlist) -> Self {
        Self { limits, allowlist }
    }
}

impl NetworkBehaviour for Limits {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.allowlist.has(remote, None) {
            return Ok(());
        }
        self.limits.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.allowlist.has(remote, Some(peer)) {
            return Ok(dummy::ConnectionHandler);
        }
        self.limits.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.limits.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler = self.limits.handle_established_outbound_connection(id, peer, address, role, port);
        if self.allowlist.has(address, Some(peer)) {
            // It is no longer counted as one that is being opened.
            return Ok(dummy::ConnectionHandler);
        }
        handler
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event)
                if self.allowlist.has(event.endpoint.get_remote_address(), Some(event.peer_id)) => {}
            FromSwarm::ConnectionClosed(event)
                if self.allowlist.has(event.endpoint.get_remote_address(), Some(event.peer_id)) => {}
            event => self.limits.on_swarm_event(event),
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.limits.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
