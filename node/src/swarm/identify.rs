//! identify, with the addresses that we choose to announce.
//!
//! libp2p's behaviour tells others every confirmed external address of the swarm, and listen addresses too. What a node
//! announces is a decision of its own (`Addresses.Announce` and its neighbours), and must fit into one message: so this
//! wrapper keeps the swarm's external addresses from it, and gives it ours instead. It also tells the swarm what peers see of
//! us behind a NAT that gives us another port ([`super::observed`]).

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
use multiaddr::Protocol;

use super::addresses::Scope;
use super::observed::{Candidates, Observed};

/// What every IPFS node calls the family of its protocols.
const PROTOCOL_VERSION: &str = "ipfs/0.1.0";

/// The wrapper.
pub(super) struct Identify {
    inner: identify::Behaviour,
    announced: Vec<Multiaddr>,
    observed: Observed,
    candidates: Candidates,
    /// Who described itself last. What follows from that comes next.
    last: Option<PeerId>,
    /// What others may try: one at most, for it is told before the next event is asked for.
    candidate: Option<Multiaddr>,
}

impl Identify {
    pub(super) fn new(key: &Keypair, agent: String) -> Self {
        let config = identify::Config::new(PROTOCOL_VERSION.to_owned(), key.public())
            .with_agent_version(agent)
            .with_hide_listen_addrs(true)
            // Addresses of peers are kept in the book.
            .with_cache_size(0);
        let (inner, announced) = (identify::Behaviour::new(config), Vec::new());
        Self {
            inner,
            announced,
            observed: Observed::default(),
            candidates: Candidates::default(),
            last: None,
            candidate: None,
        }
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
        if port_use == PortUse::Reuse && !address.iter().any(|part| part == Protocol::P2pCircuit) {
            self.observed.dialled(id);
        }
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ExternalAddrConfirmed(_) | FromSwarm::ExternalAddrExpired(_) => {}
            FromSwarm::ConnectionClosed(closed) => {
                self.observed.closed(closed.connection_id);
                self.inner.on_swarm_event(event);
            }
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(candidate) = self.candidate.take() {
            return Poll::Ready(ToSwarm::NewExternalAddrCandidate(candidate));
        }
        loop {
            match self.inner.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(identify::Event::Received {
                    connection_id,
                    peer_id,
                    info,
                })) => {
                    self.last = Some(peer_id);
                    let seen = &info.observed_addr;
                    if Scope::of(seen) == Scope::Public
                        && self.observed.note(connection_id, peer_id, seen)
                        && self.candidates.admit(seen, peer_id)
                    {
                        self.candidate = Some(seen.clone());
                    }
                    let event = identify::Event::Received { connection_id, peer_id, info };
                    return Poll::Ready(ToSwarm::GenerateEvent(event));
                }
                Poll::Ready(ToSwarm::NewExternalAddrCandidate(address))
                    if !self.last.is_some_and(|peer| self.candidates.admit(&address, peer)) => {}
                other => return other,
            }
        }
    }
}
