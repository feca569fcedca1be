//! Everything that the swarm speaks, in one struct.
//!
//! Where another protocol joins: a field in [`Behaviour`], what it serves in [`Behaviour::protocols`], its events in
//! `task/events.rs`, and, if it wants to know what peers speak, a line in `Task::identified`.

use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{relay, upnp};
use libp2p_identity::Keypair;

use super::autonat_client::Client;
use super::autonat_server::ThrottledServer;
use super::autonat_v1::{self, AutonatV1};
use super::book::Book;
use super::circuits::Circuits;
use super::filters::Filters;
use super::gate::Gate;
use super::holes::Holes;
use super::identify::Identify;
use super::limits::{Allowlist, Limits};
use super::mdns::Mdns;
use super::ping::Ping;
use super::relay_service::{self, Reservations};
use super::settings::SwarmSettings;
use super::streams;

/// All protocols. Those that refuse connections come first.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: Limits,
    pub(super) gate: Gate,
    pub(super) identify: Identify,
    pub(super) ping: Ping,
    pub(super) autonat_v1: AutonatV1,
    pub(super) autonat_v2: Client,
    pub(super) autonat_server: Toggle<ThrottledServer>,
    pub(super) relay_client: Toggle<relay::client::Behaviour>,
    pub(super) relay_service: Toggle<relay::Behaviour>,
    pub(super) dcutr: Toggle<Holes>,
    pub(super) upnp: Toggle<upnp::tokio::Behaviour>,
    pub(super) mdns: Toggle<Mdns>,
    streams: streams::Behaviour,
    pub(super) pubsub: Toggle<crate::pubsub::Behaviour>,
    pub(super) bitswap: Toggle<holdfast_bitswap::Behaviour>,
    pub(super) wan: Toggle<holdfast_dht::Behaviour>,
    pub(super) lan: Toggle<holdfast_dht::Behaviour>,
}

/// What is spoken beside what every libp2p node speaks. They are made where blocks and records are kept.
#[derive(Default)]
pub struct Protocols {
    /// Bitswap.
    pub bitswap: Option<holdfast_bitswap::Behaviour>,
    /// Messages about topics.
    pub pubsub: Option<crate::pubsub::Behaviour>,
    /// The DHT of public addresses.
    pub wan: Option<holdfast_dht::Behaviour>,
    /// The DHT of a local network.
    pub lan: Option<holdfast_dht::Behaviour>,
    /// Whether the DHT of public addresses answers as long as others can reach this node. Otherwise it stays as it was made.
    pub wan_serves_when_reachable: bool,
}

impl std::fmt::Debug for Protocols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bitswap, pubsub, wan, lan, wan_serves_when_reachable } = self;
        let mut shown = f.debug_struct("Protocols");
        shown.field("bitswap", &bitswap.is_some()).field("wan", &wan.is_some());
        shown.field("lan", &lan.is_some()).field("pubsub", &pubsub.is_some());
        shown.field("wan_serves_when_reachable", wan_serves_when_reachable).finish()
    }
}

/// What the behaviour is made from.
pub(super) struct BehaviourParams<'p> {
    pub(super) key: &'p Keypair,
    pub(super) agent: String,
    pub(super) settings: &'p SwarmSettings,
    pub(super) filters: Filters,
    pub(super) book: Book,
    pub(super) circuits: Circuits,
    pub(super) relay_client: Option<relay::client::Behaviour>,
    pub(super) streams: streams::Behaviour,
    pub(super) protocols: Protocols,
}

impl Behaviour {
    pub(super) fn new(params: BehaviourParams<'_>) -> Self {
        let BehaviourParams {
            key,
            agent,
            settings,
            filters,
            book,
            circuits,
            relay_client,
            streams,
            protocols,
        } = params;
        let us = key.public().to_peer_id();
        let allowlist = Allowlist::new(&settings.allowed);
        let quic_max = settings.limits.as_ref().map_or(usize::MAX, |limits| limits.quic_connections);
        let reservations = Reservations::default();
        let relay_service =
            settings.relay_service.map(|limits| relay_service::behaviour(us, limits, &reservations));
        Self {
            limits: Limits::new(settings.limits.clone(), allowlist.clone()),
            gate: Gate::new(filters, book, circuits, reservations, quic_max, allowlist),
            identify: Identify::new(key, agent),
            ping: Ping::new(settings.ping),
            autonat_v1: AutonatV1::new(us, settings.autonat_service),
            autonat_v2: Client::new(),
            autonat_server: settings
                .autonat_service
                .filter(|limits| limits.v2)
                .map(ThrottledServer::new)
                .into(),
            dcutr: settings.hole_punching.then(|| Holes::new(us)).into(),
            relay_client: relay_client.into(),
            relay_service: relay_service.into(),
            upnp: settings.upnp.then(upnp::tokio::Behaviour::default).into(),
            mdns: settings.mdns.map(|interval| Mdns::new(us, interval)).into(),
            streams,
            pubsub: protocols.pubsub.into(),
            bitswap: protocols.bitswap.into(),
            wan: protocols.wan.into(),
            lan: protocols.lan.into(),
        }
    }

    /// What others can open a stream for, sorted: what identify tells them on a direct connection. On a relayed one there is
    /// `/libp2p/dcutr` too, and no Bitswap.
    pub(super) fn protocols(&self) -> Vec<String> {
        let mut names =
            vec!["/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0", "/libp2p/autonat/2/dial-back"];
        if self.autonat_v1.serves() {
            names.push(autonat_v1::PROTOCOL);
        }
        if self.autonat_server.is_enabled() {
            names.push("/libp2p/autonat/2/dial-request");
        }
        if self.relay_client.is_enabled() {
            names.push("/libp2p/circuit/relay/0.2.0/stop");
        }
        if self.relay_service.is_enabled() {
            names.push("/libp2p/circuit/relay/0.2.0/hop");
        }
        if self.bitswap.is_enabled() {
            names.extend(
                holdfast_bitswap::message::Version::ALL.map(holdfast_bitswap::message::Version::name),
            );
        }
        if let Some(pubsub) = self.pubsub.as_ref() {
            names.extend(pubsub.protocols());
        }
        let serves = |dht: &Toggle<holdfast_dht::Behaviour>| {
            dht.as_ref().is_some_and(|dht| dht.mode() == holdfast_dht::kad::Mode::Server)
        };
        if serves(&self.wan) {
            names.push("/ipfs/kad/1.0.0");
        }
        if serves(&self.lan) {
            names.push("/ipfs/lan/kad/1.0.0");
        }
        names.sort_unstable();
        names.into_iter().map(str::to_owned).collect()
    }
}
