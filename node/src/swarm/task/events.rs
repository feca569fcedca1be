//! What the task does when something happens.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use holdfast_dht::kad::Mode;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionError, ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, TransportError, autonat, dcutr, identify, relay};

use super::upkeep::EXCHANGES;
use super::{ConnectStage, ConnectWaiter, Open, Task};
use crate::swarm::addresses::{Scope, may_tell, split_peer};
use crate::swarm::behaviour::BehaviourEvent;
use crate::swarm::book::PeerDescription;
use crate::swarm::handle::{ConnectError, Direction, PingError, Reachability};
use crate::swarm::mdns;
use crate::swarm::named::WrongPeer;
use crate::swarm::ping::PingEvent;
use crate::swarm::redial::Reason;
use crate::swarm::tables::NEIGHBOUR_VALUE;

/// How long a new peer is waited for to say who it is.
pub(super) const IDENTIFY_TIME_MAX: Duration = Duration::from_secs(5);
/// Addresses of a peer that came through a relay at which it is dialled back.
const DIALLED_BACK_MAX: usize = 8;

impl Task {
    pub(super) fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                self.on_closed(peer_id, connection_id, num_established, cause.as_ref());
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_failed(connection_id, peer_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => self.listens_on(split_peer(&address).0),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.no_longer_listens_on(&[split_peer(&address).0]);
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                if let (Some(asked), Err(error)) = (self.listeners.get(&listener_id), &reason) {
                    tracing::warn!("no longer listening on {asked}: {error}");
                }
                self.listeners.remove(&listener_id);
                self.relays.ended(listener_id, Instant::now());
                let transports: Vec<Multiaddr> = addresses.iter().map(|it| split_peer(it).0).collect();
                self.no_longer_listens_on(&transports);
            }
            SwarmEvent::ExternalAddrConfirmed { .. } => self.announce_anew(),
            SwarmEvent::ExternalAddrExpired { address } => {
                self.nat.lost(&split_peer(&address).0);
                self.announce_anew();
                self.serve_if_reachable();
            }
            SwarmEvent::ListenerError { error, .. } => tracing::debug!("a listener: {error}"),
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                tracing::debug!("an inbound connection of {send_back_addr} failed: {error}");
            }
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId, id: ConnectionId, point: &ConnectedPoint) {
        let (direction, dialled) = match point {
            ConnectedPoint::Dialer { address, .. } => (Direction::Outbound, Some(address)),
            ConnectedPoint::Listener { .. } => (Direction::Inbound, None),
        };
        // Of a circuit that others opened, our end says through which relay it comes, and theirs only who they are.
        let endpoint = match point {
            ConnectedPoint::Listener { local_addr, .. } if point.is_relayed() => local_addr,
            _ => point.get_remote_address(),
        };
        if let ConnectedPoint::Listener { local_addr, send_back_addr } = point
            && !point.is_relayed()
            && Scope::of(send_back_addr) == Scope::Public
        {
            self.nat.came_in(local_addr, Instant::now());
        }
        let open = Open {
            peer,
            endpoint: endpoint.clone(),
            direction,
            relayed: point.is_relayed(),
            since: Instant::now(),
            latency: None,
            is_dialled_back: false,
        };
        self.open.insert(id, open);
        self.dials.remove(&id);
        self.manager.opened(id, peer, direction == Direction::Inbound, Instant::now());
        self.shared.book.connected(peer, dialled);
        if self.is_direct(&peer) {
            self.redial.connected(&peer);
        } else {
            self.redial.lost(&peer, Instant::now(), rand::random());
        }
        let known = self.shared.book.description(&peer).is_some();
        let until = Instant::now() + IDENTIFY_TIME_MAX;
        for waiter in self.connects.iter_mut().filter(|waiter| waiter.peer == peer) {
            if waiter.stage.is_content_with(id, point.is_relayed()) {
                waiter.stage = ConnectStage::Identifying(until);
            }
        }
        if known {
            self.answer_connects(peer, &Ok(()));
        }
    }

    fn on_closed(&mut self, peer: PeerId, id: ConnectionId, left: u32, cause: Option<&ConnectionError>) {
        if let Some(cause) = cause {
            tracing::debug!("a connection to {peer} ended: {cause}");
        }
        self.open.remove(&id);
        self.manager.closed(id);
        if !self.is_direct(&peer) {
            self.redial.lost(&peer, Instant::now(), rand::random());
        }
        if left > 0 {
            return;
        }
        self.shared.book.disconnected(&peer);
        // No tick looks at it again.
        self.shared.worth.unprotect(&peer, EXCHANGES);
        self.pings.retain(|_, (asked, _)| *asked != peer);
        let reason = "the connection ended before the peer had said who it is".to_owned();
        let gone: Vec<ConnectWaiter> = self
            .connects
            .extract_if(.., |it| it.peer == peer && matches!(it.stage, ConnectStage::Identifying(_)))
            .collect();
        for waiter in gone {
            let _ = waiter.reply.send(Err(ConnectError::Failed { peer, reason: reason.clone() }));
        }
    }

    fn on_dial_failed(&mut self, id: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        self.dials.remove(&id);
        let waits =
            |waiter: &mut ConnectWaiter| matches!(waiter.stage, ConnectStage::Dialling(on, _) if on == id);
        for waiter in self.connects.extract_if(.., waits).collect::<Vec<_>>() {
            if let ConnectStage::Dialling(_, need) = waiter.stage {
                self.not_connected(need, waiter.peer, waiter.reply, error);
            }
        }
        let Some(peer) = peer else { return };
        for address in addresses_of_others(error) {
            self.shared.book.forget(&peer, address);
        }
        // A dial that was not begun says nothing of the peer.
        let was_begun = matches!(error, DialError::Transport(_) | DialError::WrongPeerId { .. });
        if was_begun && !self.swarm.is_connected(&peer) {
            self.shared.book.dialled_in_vain(peer);
        }
        if !self.is_direct(&peer) {
            self.redial.lost(&peer, Instant::now(), rand::random());
        }
    }

    /// Answers all who wait for this peer to say who it is.
    fn answer_connects(&mut self, peer: PeerId, result: &Result<(), ConnectError>) {
        let ready = self.connects.extract_if(.., |waiter| {
            waiter.peer == peer && matches!(waiter.stage, ConnectStage::Identifying(_))
        });
        for waiter in ready.collect::<Vec<_>>() {
            let _ = waiter.reply.send(result.clone());
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Ping(event) => self.on_ping(event),
            BehaviourEvent::Mdns(event) => self.on_mdns(event),
            BehaviourEvent::AutonatV1(autonat::v1::Event::StatusChanged { new, .. }) => {
                self.nat.told(match new {
                    autonat::v1::NatStatus::Public(_) => Reachability::Public,
                    autonat::v1::NatStatus::Private => Reachability::Private,
                    autonat::v1::NatStatus::Unknown => Reachability::Unknown,
                });
                self.serve_if_reachable();
            }
            BehaviourEvent::AutonatV2(event) => self.on_tested(&event.tested_addr, event.result.is_ok()),
            BehaviourEvent::Wan(event) => self.wan_worth.on_event(&event),
            BehaviourEvent::Lan(event) => self.lan_worth.on_event(&event),
            BehaviourEvent::RelayClient(event) => {
                if let relay::client::Event::ReservationReqAccepted { relay_peer_id, .. } = &event {
                    self.relays.accepted(*relay_peer_id);
                }
                tracing::debug!("relay: {event:?}");
            }
            BehaviourEvent::RelayService(
                relay::Event::ReservationClosed { src_peer_id }
                | relay::Event::ReservationTimedOut { src_peer_id },
            ) => self.swarm.behaviour().gate.reservation_ended(&src_peer_id),
            BehaviourEvent::Dcutr(event) => on_hole(&event),
            BehaviourEvent::Upnp(event) => tracing::debug!("UPnP: {event:?}"),
            _ => {}
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        match event {
            identify::Event::Received { connection_id, peer_id, mut info } => {
                let seen = self.open.get(&connection_id).map(|open| &open.endpoint);
                info.listen_addrs.retain(|told| seen.is_some_and(|seen| may_tell(seen, told)));
                self.dial_back(connection_id, peer_id, &info.listen_addrs);
                let description = PeerDescription {
                    public_key: info.public_key.encode_protobuf(),
                    agent: info.agent_version,
                    protocol_version: info.protocol_version,
                    protocols: info.protocols.iter().map(ToString::to_string).collect(),
                };
                let behaviour = self.swarm.behaviour_mut();
                for dht in [behaviour.wan.as_mut(), behaviour.lan.as_mut()].into_iter().flatten() {
                    dht.on_identified(peer_id, &info.protocols, &info.listen_addrs);
                }
                self.identified(peer_id, info.listen_addrs, description);
            }
            identify::Event::Error { peer_id, error, .. } => {
                tracing::debug!("{peer_id} does not say who it is: {error}");
                self.answer_connects(peer_id, &Ok(()));
            }
            identify::Event::Sent { .. } | identify::Event::Pushed { .. } => {}
        }
    }

    /// Whoever came through a relay and can be reached from the internet is dialled there, as go-libp2p does it: where this node's
    /// NAT has another port for each peer, no hole could be made, and none is needed.
    fn dial_back(&mut self, id: ConnectionId, peer: PeerId, addresses: &[Multiaddr]) {
        let is_direct = self.is_direct(&peer);
        let punches = self.swarm.behaviour().dcutr.is_enabled();
        let Some(open) = self.open.get_mut(&id).filter(|open| open.relayed && !open.is_dialled_back) else {
            return;
        };
        let reachable = |address: &&Multiaddr| Scope::of(address) == Scope::Public;
        let addresses: Vec<Multiaddr> =
            addresses.iter().filter(reachable).take(DIALLED_BACK_MAX).cloned().collect();
        if is_direct || !punches || open.direction == Direction::Outbound || addresses.is_empty() {
            return;
        }
        open.is_dialled_back = true;
        let opts = DialOpts::peer_id(peer).addresses(addresses).condition(PeerCondition::Always).build();
        if let Err(error) = self.swarm.dial(opts) {
            tracing::debug!("dialling {peer} back: {error}");
        }
    }

    /// A node that others can reach answers in the public DHT, unless it was told what to be.
    pub(super) fn serve_if_reachable(&mut self) {
        if !self.wan_serves_when_reachable {
            return;
        }
        let mode = match self.nat_info().reachability {
            Reachability::Public => Mode::Server,
            Reachability::Private | Reachability::Unknown => Mode::Client,
        };
        let behaviour = self.swarm.behaviour_mut();
        if let Some(wan) = behaviour.wan.as_mut().filter(|wan| wan.mode() != mode) {
            wan.set_mode(mode);
            let protocols = behaviour.protocols();
            *self.shared.protocols.lock().unwrap_or_else(PoisonError::into_inner) = protocols;
        }
    }

    /// A peer said who it is.
    fn identified(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, description: PeerDescription) {
        self.shared.book.describe(peer, addresses, description);
        self.answer_connects(peer, &Ok(()));
    }

    fn on_ping(&mut self, event: PingEvent) {
        if let (Ok(took), Some(open)) = (&event.result, self.open.get_mut(&event.connection)) {
            // As go-libp2p smooths it.
            open.latency = Some(open.latency.map_or(*took, |known| known.mul_f64(0.9) + took.mul_f64(0.1)));
        }
        if let Err(failure) = &event.result {
            tracing::debug!("a ping to {} failed: {failure}", event.peer);
        }
        if let Some((_, reply)) = event.asked.and_then(|number| self.pings.remove(&number)) {
            let _ = reply.send(event.result.map_err(PingError::from));
        }
    }

    fn on_mdns(&mut self, event: mdns::Event) {
        match event {
            mdns::Event::Found(found) => {
                for (peer, address) in found {
                    self.shared.book.hear(peer, [address]);
                    let connected = self.is_direct(&peer);
                    if self.redial.add(peer, Reason::Mdns, Vec::new(), connected, Instant::now()) {
                        self.shared.worth.set(peer, "mdns", NEIGHBOUR_VALUE);
                    }
                }
                self.dial_due(Instant::now());
            }
            mdns::Event::Gone(gone) => {
                for peer in gone {
                    self.redial.remove(&peer, Reason::Mdns);
                    self.shared.worth.set(peer, "mdns", 0);
                }
            }
        }
    }

    fn on_tested(&mut self, address: &Multiaddr, reached: bool) {
        let address = split_peer(address).0;
        if Scope::of(&address) != Scope::Public {
            return;
        }
        self.nat.tested(address, reached, Instant::now());
        self.serve_if_reachable();
    }
}

/// Addresses at which another peer answered.
fn addresses_of_others(error: &DialError) -> impl Iterator<Item = &Multiaddr> {
    let (one, all) = match error {
        DialError::WrongPeerId { address, .. } => (Some(address), None),
        DialError::Transport(errors) => (None, Some(errors)),
        _ => (None, None),
    };
    let wrong = |error: &TransportError<_>| matches!(error, TransportError::Other(error) if WrongPeer::is_cause(error));
    let others = all.into_iter().flatten().filter(move |(_, error)| wrong(error)).map(|(address, _)| address);
    one.into_iter().chain(others)
}

/// Says what came of an attempt to make a hole through the NATs between this node and a peer.
fn on_hole(event: &dcutr::Event) {
    let peer = event.remote_peer_id;
    match &event.result {
        Ok(_) => tracing::debug!("there is a hole to {peer}"),
        Err(error) => tracing::info!(
            "no hole to {peer} through the NATs between: {error}. The connection through a relay is left, which carries no blocks"
        ),
    }
}
