//! identify, with the addresses that we choose to announce.
//!
//! libp2p's behaviour tells others every confirmed external address of the swarm, and listen addresses too. What a node
//! announces is a decision of its own (`Addresses.Announce` and its neighbours), and must fit into one message: so this
//! wrapper keeps the swarm's external addresses from it, and gives it ours instead.

use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ExternalAddrConfirmed, ExternalAddrExpired};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId, identify};
use libp2p_identity::Keypair;

use super::addresses::Scope;

/// What every IPFS node calls the family of its protocols.
const PROTOCOL_VERSION: &str = "ipfs/0.1.0";

/// The wrapper.
pub(super) struct Identify {
    inner: identify::Behaviour,
    announced: Vec<Multiaddr>,
}

impl Identify {
    pub(super) fn new(key: &Keypair, agent: String) -> Self {
        let config = identify::Config::new(PROTOCOL_VERSION.to_owned(), key.public())
            .with_agent_version(agent)
            .with_hide_listen_addrs(true)
            // Addresses of peers are kept in the book.
            .with_cache_size(0);
        Self { inner: identify::Behaviour::new(config), announced: Vec::new() }
    }

    /// Announces these addresses from now on, and tells them to `peers` if they differ from what was announced.
    pub(super) fn announce(&mut self, addresses: &[Multiaddr], peers: impl Iterator<Item = PeerId>) {
        if self.announced == addresses {
            return;
        }
        for addr in self.announced.iter().filter(|known| !addresses.contains(known)) {
            self.inner.on_swarm_event(FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }));
        }
        for addr in addresses.iter().filter(|new| !self.announced.contains(new)) {
            self.inner.on_swarm_event(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }));
        }
        self.announced = addresses.to_vec();
        self.inner.push(peers);
    }
}

impl NetworkBehaviour for Identify {
    type ConnectionHandler = <identify::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = identify::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

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
            FromSwarm::ExternalAddrConfirmed(_) | FromSwarm::ExternalAddrExpired(_) => {}
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            match self.inner.poll(cx) {
                // Only what could be reached from the internet is worth being tested from there.
                Poll::Ready(ToSwarm::NewExternalAddrCandidate(address))
                    if Scope::of(&address) != Scope::Public => {}
                other => return other,
            }
        }
    }
}
