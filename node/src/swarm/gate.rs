//! Who may come in, and where known peers are found: the filters for inbound connections, the book for outbound ones. It keeps
//! the list of circuits and that of reservations, too, and counts the connections over QUIC: each may hold its window unread, which nobody here can see.

use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::book::Book;
use super::circuits::Circuits;
use super::filters::Filters;
use super::limits::Allowlist;
use super::relay_service::Reservations;

/// An inbound connection came from where none is to come from.
#[derive(Debug, Clone, thiserror::Error)]
#[error("Swarm.AddrFilters refuses {0}")]
pub(super) struct Refused(Multiaddr);

/// There are as many connections over QUIC as may be.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0} connections over QUIC are open, and no more are taken")]
pub(super) struct TooManyOverQuic(usize);

/// The behaviour.
pub(super) struct Gate {
    filters: Filters,
    book: Book,
    circuits: Circuits,
    /// Who holds a reservation at this node.
    reservations: Reservations,
    /// Connections over QUIC at which no more are taken.
    quic_max: usize,
    /// Those that are open, in either direction.
    quic: usize,
    /// Whose connections over QUIC do not count.
    allowlist: Allowlist,
}

impl Gate {
    pub(super) fn new(
        filters: Filters,
        book: Book,
        circuits: Circuits,
        reservations: Reservations,
        quic_max: usize,
        allowlist: Allowlist,
    ) -> Self {
        Self { filters, book, circuits, reservations, quic_max, quic: 0, allowlist }
    }

    /// A peer's reservation at this relay is over.
    pub(super) fn reservation_ended(&self, peer: &PeerId) {
        self.reservations.left(peer);
    }

    fn may_accept(&self, remote: &Multiaddr, peer: Option<PeerId>) -> Result<(), ConnectionDenied> {
        if self.quic >= self.quic_max && self.counts(remote, peer) {
            return Err(ConnectionDenied::new(TooManyOverQuic(self.quic)));
        }
        Ok(())
    }

    fn counts(&self, remote: &Multiaddr, peer: Option<PeerId>) -> bool {
        is_quic(remote) && !self.allowlist.has(remote, peer)
    }
}

/// Whether a connection from or to this address is over QUIC itself, and not through a relay that is.
fn is_quic(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    parts.any(|part| part == Protocol::QuicV1) && !parts.any(|part| part == Protocol::P2pCircuit)
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.filters.refuse(remote) {
            return Err(ConnectionDenied::new(Refused(remote.clone())));
        }
        self.may_accept(remote, None)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // Many may have been on their way at once.
        self.may_accept(remote, Some(peer))?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Ok(peer.map(|peer| self.book.addresses(&peer)).unwrap_or_default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(event) = &event
            && event.remaining_established == 0
        {
            self.reservations.left(&event.peer_id);
        }
        match event {
            FromSwarm::ConnectionEstablished(event) if event.endpoint.is_relayed() => {
                self.circuits.opened(event.peer_id);
            }
            FromSwarm::ConnectionClosed(event) if event.endpoint.is_relayed() => {
                self.circuits.closed(&event.peer_id);
            }
            FromSwarm::ConnectionEstablished(event)
                if self.counts(event.endpoint.get_remote_address(), Some(event.peer_id)) =>
            {
                self.quic += 1;
            }
            FromSwarm::ConnectionClosed(event)
                if self.counts(event.endpoint.get_remote_address(), Some(event.peer_id)) =>
            {
                self.quic = self.quic.saturating_sub(1);
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
