//! AutoNAT v2's server with a limit: libp2p's dials back for whoever asks, as often as they ask.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::autonat::v2::server;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::derive_prelude::Either;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::settings::AutonatThrottle;

/// The behaviour.
pub(super) struct ThrottledServer {
    inner: server::Behaviour,
    throttle: Throttle,
}

impl ThrottledServer {
    pub(super) fn new(limits: AutonatThrottle) -> Self {
        Self { inner: server::Behaviour::default(), throttle: Throttle::new(limits) }
    }
}

/// Counts what was done for whom within the interval. It holds as many entries as the global limit allows.
#[derive(Debug)]
struct Throttle {
    limits: AutonatThrottle,
    done: VecDeque<(Instant, PeerId)>,
}

impl Throttle {
    fn new(limits: AutonatThrottle) -> Self {
        Self { limits, done: VecDeque::new() }
    }

    /// Whether one more may be done for this peer; it counts if so.
    fn allow(&mut self, peer: PeerId, now: Instant) -> bool {
        while self
            .done
            .front()
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) >= self.limits.interval)
        {
            self.done.pop_front();
        }
        let of_peer = self.done.iter().filter(|(_, known)| *known == peer).count();
        let allowed = self.done.len() < self.limits.global && of_peer < self.limits.per_peer;
        if allowed {
            self.done.push_back((now, peer));
        }
        allowed
    }
}

impl NetworkBehaviour for ThrottledServer {
    type ConnectionHandler = <server::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = server::Event;

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
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        // The request to dial back. Dropping it ends the peer's stream with an error.
        let is_request = matches!(event, Either::Right(Either::Left(_)));
        if is_request && !self.throttle.allow(peer, Instant::now()) {
            tracing::debug!("{peer} asks to be dialled back too often");
            return;
        }
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nobody_is_dialled_for_more_often_than_the_limits_say() {
        let limits = AutonatThrottle { global: 5, per_peer: 2, interval: Duration::from_secs(60), v2: true };
        let (mut throttle, start) = (Throttle::new(limits), Instant::now());
        let greedy = PeerId::random();
        let asked: Vec<bool> = (0..4).map(|_| throttle.allow(greedy, start)).collect();
        assert_eq!(asked, [true, true, false, false]);
        let others: Vec<bool> = (0..5).map(|_| throttle.allow(PeerId::random(), start)).collect();
        assert_eq!(others, [true, true, true, false, false]);
        assert!(throttle.allow(greedy, start + limits.interval));
        assert_eq!(throttle.done.len(), 1);
    }
}
