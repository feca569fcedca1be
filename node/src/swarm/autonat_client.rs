//! AutoNAT v2's client, which asks peers that are connected directly. A test may cost 100 KB, and a relay carries 128 KiB for
//! both ends together: two tests through a circuit would end it, before a hole was made.

use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::autonat::v2::client;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::addresses::Scope;

/// How often addresses are tested that nothing is known of. Where a NAT drops what comes, peers do not know in time, and it is
/// done again and again.
const TEST_PERIOD: Duration = Duration::from_secs(30);

/// The behaviour.
pub(super) struct Client {
    inner: client::Behaviour,
}

impl Client {
    pub(super) fn new() -> Self {
        let config = client::Config::default().with_probe_interval(TEST_PERIOD);
        Self { inner: client::Behaviour::new(rand::make_rng(), config) }
    }
}

impl NetworkBehaviour for Client {
    type ConnectionHandler = <client::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = client::Event;

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
        if Scope::of(address) == Scope::Relayed {
            // That of inbound connections waits for those who dial back, and asks nobody.
            return self.inner.handle_established_inbound_connection(id, peer, address, address);
        }
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::derive_prelude::Either;

    use super::*;

    #[test]
    fn peers_at_the_other_end_of_a_circuit_are_not_asked() {
        let (mut client, [relay, far]) = (Client::new(), [(); 2].map(|()| PeerId::random()));
        let mut asks = |number, address: String| {
            let handler = client.handle_established_outbound_connection(
                ConnectionId::new_unchecked(number),
                far,
                &address.parse().unwrap(),
                Endpoint::Dialer,
                PortUse::Reuse,
            );
            matches!(handler, Ok(Either::Left(_)))
        };
        assert!(asks(1, format!("/ip4/1.1.1.1/tcp/4001/p2p/{far}")));
        assert!(!asks(2, format!("/ip4/1.1.1.1/tcp/4001/p2p/{relay}/p2p-circuit/p2p/{far}")));
    }
}
