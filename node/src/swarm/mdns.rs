//! mDNS over IPv4, whose list of found peers is bounded: libp2p's grows with every answer, and anyone in the local network can answer.

use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::{ListenerId, PortUse};
use libp2p::mdns;
use libp2p::swarm::behaviour::{ExpiredListenAddr, NewListenAddr};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

/// Addresses that may be known at once, in all; then the list is begun anew.
const FOUND_MAX: usize = 1024;

/// The behaviour.
pub(super) struct Mdns {
    inner: mdns::tokio::Behaviour,
    config: mdns::Config,
    us: PeerId,
    listening: Vec<(ListenerId, Multiaddr)>,
}

impl Mdns {
    pub(super) fn new(us: PeerId, query_interval: Duration) -> std::io::Result<Self> {
        let config = mdns::Config { query_interval, ..mdns::Config::default() };
        let inner = mdns::tokio::Behaviour::new(config.clone(), us)?;
        Ok(Self { inner, config, us, listening: Vec::new() })
    }

    /// Begins anew, with nobody found.
    fn restart(&mut self) {
        match mdns::tokio::Behaviour::new(self.config.clone(), self.us) {
            Ok(fresh) => {
                self.inner = fresh;
                for (listener_id, addr) in &self.listening {
                    let event = NewListenAddr { listener_id: *listener_id, addr };
                    self.inner.on_swarm_event(FromSwarm::NewListenAddr(event));
                }
            }
            Err(error) => tracing::warn!("mDNS cannot begin anew: {error}"),
        }
    }
}

impl NetworkBehaviour for Mdns {
    type ConnectionHandler = <mdns::tokio::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = mdns::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    // Addresses that were found are in the book: `handle_pending_outbound_connection` has nothing to add.

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }) => {
                self.listening.push((listener_id, addr.clone()));
            }
            FromSwarm::ExpiredListenAddr(ExpiredListenAddr { listener_id, addr }) => {
                self.listening.retain(|known| *known != (listener_id, addr.clone()));
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let polled = self.inner.poll(cx);
        if self.inner.discovered_nodes().len() > FOUND_MAX {
            self.restart();
            cx.waker().wake_by_ref();
        }
        polled
    }
}
