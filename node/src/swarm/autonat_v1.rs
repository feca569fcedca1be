//! AutoNAT v1, client and server in one: libp2p's behaviour offers peers the server whether there is one or not.

use std::iter::Take;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::autonat::v1;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, ListenUpgradeError};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    Stream, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::autonat_server::AutonatThrottle;

/// What peers ask the server by.
pub(super) const PROTOCOL: &str = "/libp2p/autonat/1.0.0";

/// How long after the start reachability is looked at for the first time.
const DELAY: Duration = Duration::from_secs(15);

/// The behaviour.
pub(super) struct AutonatV1 {
    inner: v1::Behaviour,
    serves: bool,
}

impl AutonatV1 {
    /// The client, and the server too where there are limits for it.
    pub(super) fn new(us: PeerId, service: Option<AutonatThrottle>) -> Self {
        let mut config = v1::Config { boot_delay: DELAY, only_global_ips: true, ..v1::Config::default() };
        if let Some(throttle) = service {
            config.throttle_clients_global_max = throttle.global;
            config.throttle_clients_peer_max = throttle.per_peer;
            config.throttle_clients_period = throttle.interval;
        }
        Self { inner: v1::Behaviour::new(us, config), serves: service.is_some() }
    }

    /// Whether peers are answered.
    pub(super) fn serves(&self) -> bool {
        self.serves
    }
}

type InnerHandler = <v1::Behaviour as NetworkBehaviour>::ConnectionHandler;
type InnerInbound = <InnerHandler as ConnectionHandler>::InboundProtocol;

impl NetworkBehaviour for AutonatV1 {
    type ConnectionHandler = Handler;
    type ToSwarm = v1::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let inner = self.inner.handle_established_inbound_connection(id, peer, local, remote)?;
        Ok(Handler { inner, serves: self.serves })
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let inner = self.inner.handle_established_outbound_connection(id, peer, address, role, port_use)?;
        Ok(Handler { inner, serves: self.serves })
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

/// libp2p's handler, which listens only where there is a server.
pub(super) struct Handler {
    inner: InnerHandler,
    serves: bool,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = <InnerHandler as ConnectionHandler>::FromBehaviour;
    type ToBehaviour = <InnerHandler as ConnectionHandler>::ToBehaviour;
    type InboundProtocol = Offered;
    type OutboundProtocol = <InnerHandler as ConnectionHandler>::OutboundProtocol;
    type InboundOpenInfo = <InnerHandler as ConnectionHandler>::InboundOpenInfo;
    type OutboundOpenInfo = <InnerHandler as ConnectionHandler>::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        let serves = self.serves;
        self.inner.listen_protocol().map_upgrade(|upgrade| Offered { upgrade, serves })
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.connection_keep_alive()
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.inner.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        self.inner.on_connection_event(match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info }) => {
                ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info })
            }
            ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info, error }) => {
                ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info, error })
            }
            ConnectionEvent::FullyNegotiatedOutbound(event) => {
                ConnectionEvent::FullyNegotiatedOutbound(event)
            }
            ConnectionEvent::DialUpgradeError(event) => ConnectionEvent::DialUpgradeError(event),
            ConnectionEvent::AddressChange(event) => ConnectionEvent::AddressChange(event),
            ConnectionEvent::LocalProtocolsChange(event) => ConnectionEvent::LocalProtocolsChange(event),
            ConnectionEvent::RemoteProtocolsChange(event) => ConnectionEvent::RemoteProtocolsChange(event),
            _ => return,
        });
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        self.inner.poll(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(cx)
    }
}

/// What the handler listens for: nothing without a server.
pub(super) struct Offered {
    upgrade: InnerInbound,
    serves: bool,
}

impl UpgradeInfo for Offered {
    type Info = <InnerInbound as UpgradeInfo>::Info;
    type InfoIter = Take<<InnerInbound as UpgradeInfo>::InfoIter>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.upgrade.protocol_info().take(if self.serves { usize::MAX } else { 0 })
    }
}

impl InboundUpgrade<Stream> for Offered {
    type Output = <InnerInbound as InboundUpgrade<Stream>>::Output;
    type Error = <InnerInbound as InboundUpgrade<Stream>>::Error;
    type Future = <InnerInbound as InboundUpgrade<Stream>>::Future;

    fn upgrade_inbound(self, stream: Stream, info: Self::Info) -> Self::Future {
        self.upgrade.upgrade_inbound(stream, info)
    }
}
