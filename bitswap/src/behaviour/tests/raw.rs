//! Streams as bytes: the other side of the scripted tests.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{ConnectionEvent, ConnectionHandlerEvent};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionId, FromSwarm, NetworkBehaviour, Stream,
    SubstreamProtocol, THandlerInEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::{mpsc, oneshot};

type Request = (PeerId, oneshot::Sender<Stream>);

#[derive(Clone)]
pub(super) struct Opener(mpsc::Sender<Request>);

impl Opener {
    pub(super) async fn open(&self, to: PeerId) -> Stream {
        let (give, given) = oneshot::channel();
        self.0.send((to, give)).await.unwrap();
        given.await.unwrap()
    }
}

pub(super) struct Raw {
    protocol: StreamProtocol,
    pub(super) opener: Opener,
    requests: mpsc::Receiver<Request>,
    arrived: Vec<(PeerId, Stream)>,
}

impl Raw {
    pub(super) fn new(protocol: StreamProtocol) -> Self {
        let (sender, requests) = mpsc::channel(1000);
        Self { protocol, opener: Opener(sender), requests, arrived: Vec::new() }
    }
}

pub(super) struct RawHandler {
    protocol: StreamProtocol,
    wanted: Vec<oneshot::Sender<Stream>>,
    asked: usize,
    arrived: Vec<Stream>,
}

#[derive(Debug)]
pub(super) struct Open(Arc<Mutex<Option<oneshot::Sender<Stream>>>>);

impl ConnectionHandler for RawHandler {
    type FromBehaviour = Open;
    type ToBehaviour = Stream;
    type InboundProtocol = Accept;
    type OutboundProtocol = Accept;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Accept> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Accept, (), Stream>> {
        if let Some(stream) = self.arrived.pop() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(stream));
        }
        if self.asked > 0 {
            self.asked -= 1;
            let protocol = self.listen_protocol();
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, Open(give): Open) {
        self.wanted.extend(give.lock().unwrap().take());
        self.asked += 1;
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Accept, Accept>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(inbound) => self.arrived.push(inbound.protocol),
            ConnectionEvent::FullyNegotiatedOutbound(outbound) => {
                let _ = self.wanted.remove(0).send(outbound.protocol);
            }
            _ => {}
        }
    }
}

pub(super) type Accept = ReadyUpgrade<StreamProtocol>;

impl Raw {
    fn handler(&self) -> RawHandler {
        RawHandler { protocol: self.protocol.clone(), wanted: Vec::new(), asked: 0, arrived: Vec::new() }
    }
}

impl NetworkBehaviour for Raw {
    type ConnectionHandler = RawHandler;
    type ToSwarm = (PeerId, Stream);

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<RawHandler, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<RawHandler, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, stream: Stream) {
        self.arrived.push((peer, stream));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(arrived) = self.arrived.pop() {
            return Poll::Ready(ToSwarm::GenerateEvent(arrived));
        }
        if let Poll::Ready(Some((peer_id, give))) = self.requests.poll_recv(cx) {
            let event = Open(Arc::new(Mutex::new(Some(give))));
            let handler = libp2p::swarm::NotifyHandler::Any;
            return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event });
        }
        Poll::Pending
    }
}
