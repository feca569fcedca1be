//! DCUtR: whoever is connected through a relay tries to be connected through a hole in the NATs as well.
//!
//! libp2p's behaviour keeps what it knows of each attempt for as long as it lives. So each circuit has one of its own here, which goes
//! with the circuit, and knows of no direct connections but those that came of its attempts.

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::derive_prelude::Either;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NewExternalAddrCandidate, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId, dcutr};

use super::addresses::Scope;

/// Addresses at which others saw this node that are told to whoever makes a hole: as many as libp2p's behaviour takes.
const SEEN_MAX: usize = 20;

/// The behaviour.
pub(super) struct Holes {
    us: PeerId,
    circuits: HashMap<ConnectionId, dcutr::Behaviour>,
    /// Dials that are under way, and for which circuit.
    dials: HashMap<ConnectionId, ConnectionId>,
    /// Circuits that may have something to say.
    told: VecDeque<ConnectionId>,
    /// The newest last.
    seen: VecDeque<Multiaddr>,
}

impl Holes {
    pub(super) fn new(us: PeerId) -> Self {
        Self {
            us,
            circuits: HashMap::new(),
            dials: HashMap::new(),
            told: VecDeque::new(),
            seen: VecDeque::new(),
        }
    }

    fn begin(&self) -> dcutr::Behaviour {
        let mut attempts = dcutr::Behaviour::new(self.us);
        for addr in &self.seen {
            let candidate = NewExternalAddrCandidate { addr };
            attempts.on_swarm_event(FromSwarm::NewExternalAddrCandidate(candidate));
        }
        attempts
    }

    /// A circuit is over, or did not come to be.
    fn end(&mut self, circuit: ConnectionId) {
        if self.circuits.remove(&circuit).is_some() {
            self.dials.retain(|_, of| *of != circuit);
        }
    }

    fn was_seen_at(&mut self, address: &Multiaddr) {
        self.seen.retain(|known| known != address);
        self.seen.push_back(address.clone());
        if self.seen.len() > SEEN_MAX {
            self.seen.pop_front();
        }
    }
}

impl NetworkBehaviour for Holes {
    type ConnectionHandler = THandler<dcutr::Behaviour>;
    type ToSwarm = dcutr::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if Scope::of(local) != Scope::Relayed {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        let mut attempts = self.begin();
        let handler = attempts.handle_established_inbound_connection(id, peer, local, remote)?;
        self.circuits.insert(id, attempts);
        Ok(handler)
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
            let mut attempts = self.begin();
            let handler =
                attempts.handle_established_outbound_connection(id, peer, address, role, port_use)?;
            self.circuits.insert(id, attempts);
            return Ok(handler);
        }
        let Some(circuit) = self.dials.get(&id) else {
            return Ok(Either::Right(dummy::ConnectionHandler));
        };
        let Some(attempts) = self.circuits.get_mut(circuit) else {
            return Ok(Either::Right(dummy::ConnectionHandler));
        };
        self.told.push_back(*circuit);
        attempts.handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                self.dials.remove(&established.connection_id);
            }
            FromSwarm::ConnectionClosed(closed) => self.end(closed.connection_id),
            FromSwarm::ListenFailure(failure) => self.end(failure.connection_id),
            FromSwarm::DialFailure(failure) => {
                self.end(failure.connection_id);
                let Some(circuit) = self.dials.remove(&failure.connection_id) else { return };
                if let Some(attempts) = self.circuits.get_mut(&circuit) {
                    attempts.on_swarm_event(event);
                    self.told.push_back(circuit);
                }
            }
            FromSwarm::NewExternalAddrCandidate(candidate) => self.was_seen_at(candidate.addr),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        if let Some(attempts) = self.circuits.get_mut(&id) {
            attempts.on_connection_handler_event(peer, id, event);
            self.told.push_back(id);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while let Some(circuit) = self.told.front() {
            let attempts = self.circuits.get_mut(circuit);
            if let Some(Poll::Ready(event)) = attempts.map(|attempts| attempts.poll(cx)) {
                if let ToSwarm::Dial { opts } = &event {
                    self.dials.insert(opts.connection_id(), *circuit);
                }
                return Poll::Ready(event);
            }
            self.told.pop_front();
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::ConnectedPoint;
    use libp2p::swarm::DialError;
    use libp2p::swarm::behaviour::{ConnectionClosed, DialFailure};

    use super::*;

    #[test]
    fn of_a_circuit_and_its_attempts_nothing_is_left_when_it_is_over() {
        let (mut holes, [us, relay, peer]) = {
            let peers = [(); 3].map(|()| PeerId::random());
            (Holes::new(peers[0]), peers)
        };
        let direct: Multiaddr = format!("/ip4/1.1.1.1/tcp/4001/p2p/{peer}").parse().unwrap();
        let circuit: Multiaddr =
            format!("/ip4/1.1.1.1/tcp/4001/p2p/{relay}/p2p-circuit/p2p/{peer}").parse().unwrap();
        let [first, second, attempt, refused] = [1, 2, 3, 4].map(ConnectionId::new_unchecked);
        for (id, address) in [(first, &circuit), (second, &circuit), (refused, &circuit)] {
            let handler = holes.handle_established_outbound_connection(
                id,
                peer,
                address,
                Endpoint::Dialer,
                PortUse::Reuse,
            );
            assert!(matches!(handler, Ok(Either::Left(_))));
        }
        // As it is when the ends of the first circuit have agreed on an attempt.
        holes.dials.insert(attempt, first);
        let failed = |connection_id| {
            let error = &DialError::Aborted;
            FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, connection_id })
        };
        holes.on_swarm_event(failed(refused));
        assert_eq!((holes.circuits.len(), holes.dials.len()), (2, 1));
        let handler =
            holes.handle_established_inbound_connection(ConnectionId::new_unchecked(5), us, &direct, &direct);
        assert!(matches!(handler, Ok(Either::Right(_))), "a direct connection is not its business");
        holes.on_swarm_event(failed(attempt));
        assert_eq!((holes.circuits.len(), holes.dials.len()), (2, 0));
        holes.dials.insert(attempt, second);
        let endpoint = &ConnectedPoint::Dialer {
            address: circuit,
            role_override: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        };
        for connection_id in [first, second] {
            holes.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id: peer,
                connection_id,
                endpoint,
                cause: None,
                remaining_established: 0,
            }));
        }
        assert!(holes.circuits.is_empty() && holes.dials.is_empty());
        assert!(holes.poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
        assert!(holes.told.is_empty());
    }

    #[test]
    fn the_newest_addresses_at_which_this_node_was_seen_are_kept() {
        let mut holes = Holes::new(PeerId::random());
        let at = |port: usize| -> Multiaddr { format!("/ip4/1.1.1.1/tcp/{port}").parse().unwrap() };
        for port in (1..=30).chain([15]) {
            let addr = &at(port);
            let candidate = NewExternalAddrCandidate { addr };
            holes.on_swarm_event(FromSwarm::NewExternalAddrCandidate(candidate));
        }
        assert_eq!(holes.seen.len(), SEEN_MAX);
        assert_eq!((holes.seen.front(), holes.seen.back()), (Some(&at(11)), Some(&at(15))));
    }
}
