//! Streams of protocols that come and go while the node runs: others open them to us, and we to others.
//!
//! Whoever serves a protocol gets its streams from a bounded queue; what comes while that is full is reset.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::core::{Endpoint, InboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

/// Requests for streams that wait for the swarm; whoever gives more waits.
const REQUESTS_MAX: usize = 64;
/// Streams that are being opened on one connection.
const OPENING_MAX: usize = 64;
/// How long agreeing on a protocol may take.
const OPEN_TIME_MAX: Duration = Duration::from_secs(30);
/// Streams of one protocol that wait to be taken.
const WAITING_MAX: usize = 64;
/// Protocols that are served at once.
const PROTOCOLS_MAX: usize = 1024;

/// Why there is no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The swarm is gone, or the connection went while the stream was opened.
    #[error("the connection ended before there was a stream")]
    Gone,
    /// There is no connection to the peer.
    #[error("there is no connection to {0}")]
    NotConnected(PeerId),
    /// The peer does not serve the protocol. The words are go-libp2p's.
    #[error("failed to negotiate protocol: protocols not supported: [{0}]")]
    Unsupported(StreamProtocol),
    /// It took too long.
    #[error("no stream within 30 seconds")]
    Timeout,
    /// Too many streams are being opened to the peer.
    #[error("too many streams are being opened to the peer")]
    TooMany,
    /// The stream broke.
    #[error("{0}")]
    Broken(String),
}

/// Why a protocol is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Somebody here serves it already.
    #[error("{0} is served already")]
    Taken(StreamProtocol),
    /// Too many protocols are served.
    #[error("{PROTOCOLS_MAX} protocols are served already")]
    TooMany,
}

/// Protocols that are served, and the way to streams. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Streams {
    served: Arc<Served>,
    requests: mpsc::Sender<Request>,
}

/// A stream that a peer opened.
pub type Inbound = (PeerId, Stream);

#[derive(Debug, Default)]
struct Served {
    inner: Mutex<ServedInner>,
}

#[derive(Debug, Default)]
struct ServedInner {
    takers: HashMap<StreamProtocol, mpsc::Sender<Inbound>>,
    /// The same names, ready to be given to every connection.
    names: Arc<[StreamProtocol]>,
}

impl Served {
    fn lock(&self) -> MutexGuard<'_, ServedInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServedInner {
    fn changed(&mut self) {
        self.names = self.takers.keys().cloned().collect();
    }
}

/// The streams of one protocol that peers open. The protocol is served until this is dropped.
#[derive(Debug)]
pub struct Incoming {
    protocol: StreamProtocol,
    streams: mpsc::Receiver<Inbound>,
    served: Arc<Served>,
}

impl Incoming {
    /// The next stream; none when the swarm is gone. It can be cancelled.
    pub async fn next(&mut self) -> Option<Inbound> {
        self.streams.recv().await
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut inner = self.served.lock();
        inner.takers.remove(&self.protocol);
        inner.changed();
    }
}

#[derive(Debug)]
struct Request {
    peer: PeerId,
    ask: Ask,
}

type Reply = oneshot::Sender<Result<Stream, OpenError>>;

/// A stream that is to be opened.
#[derive(Debug)]
pub(super) struct Ask {
    protocol: StreamProtocol,
    reply: Reply,
}

impl Streams {
    /// Serves a protocol from now on.
    pub fn accept(&self, protocol: StreamProtocol) -> Result<Incoming, AcceptError> {
        let (taker, streams) = mpsc::channel(WAITING_MAX);
        let mut inner = self.served.lock();
        if inner.takers.contains_key(&protocol) {
            return Err(AcceptError::Taken(protocol));
        }
        if inner.takers.len() >= PROTOCOLS_MAX {
            return Err(AcceptError::TooMany);
        }
        inner.takers.insert(protocol.clone(), taker);
        inner.changed();
        Ok(Incoming { protocol, streams, served: Arc::clone(&self.served) })
    }

    /// The protocols that are served now, in no order.
    pub fn served(&self) -> Arc<[StreamProtocol]> {
        Arc::clone(&self.served.lock().names)
    }

    /// Opens a stream to a connected peer.
    pub async fn open(&self, peer: PeerId, protocol: StreamProtocol) -> Result<Stream, OpenError> {
        let (reply, answer) = oneshot::channel();
        let request = Request { peer, ask: Ask { protocol, reply } };
        self.requests.send(request).await.map_err(|_| OpenError::Gone)?;
        answer.await.map_err(|_| OpenError::Gone)?
    }
}

/// The behaviour.
pub(super) struct Behaviour {
    served: Arc<Served>,
    requests: mpsc::Receiver<Request>,
    connections: HashMap<PeerId, Vec<Way>>,
}

/// A connection to a peer.
#[derive(Debug, Clone, Copy)]
struct Way {
    connection: ConnectionId,
    relayed: bool,
}

/// The two ends.
pub(super) fn new() -> (Streams, Behaviour) {
    let (sender, requests) = mpsc::channel(REQUESTS_MAX);
    let served = Arc::new(Served::default());
    let streams = Streams { served: Arc::clone(&served), requests: sender };
    (streams, Behaviour { served, requests, connections: HashMap::new() })
}

impl Drop for Behaviour {
    fn drop(&mut self) {
        // Whoever serves a protocol hears that it is over.
        let mut inner = self.served.lock();
        inner.takers.clear();
        inner.changed();
    }
}

impl Behaviour {
    fn handler(&self, peer: PeerId) -> Handler {
        Handler { served: Arc::clone(&self.served), peer, asked: VecDeque::new(), opening: 0 }
    }

    /// The connection that streams to a peer are opened on: the newest, but not a circuit through a relay where there is another. Circuits are
    /// given up soon after a direct connection came, and carry little.
    fn way_to(&self, peer: &PeerId) -> Option<ConnectionId> {
        let ways = self.connections.get(peer)?;
        ways.iter().rev().find(|way| !way.relayed).or(ways.last()).map(|way| way.connection)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                let way = Way { connection: event.connection_id, relayed: event.endpoint.is_relayed() };
                self.connections.entry(event.peer_id).or_default().push(way);
            }
            FromSwarm::ConnectionClosed(event) => {
                if let Some(ways) = self.connections.get_mut(&event.peer_id) {
                    ways.retain(|way| way.connection != event.connection_id);
                    if ways.is_empty() {
                        self.connections.remove(&event.peer_id);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while let Poll::Ready(Some(Request { peer, ask })) = self.requests.poll_recv(cx) {
            if let Some(connection) = self.way_to(&peer) {
                let handler = NotifyHandler::One(connection);
                return Poll::Ready(ToSwarm::NotifyHandler { peer_id: peer, handler, event: ask });
            }
            // Whoever went away leaves nobody to tell, here and below.
            let _ = ask.reply.send(Err(OpenError::NotConnected(peer)));
        }
        Poll::Pending
    }
}

/// The names that one inbound stream may ask for.
pub(super) struct AnyOf(Vec<StreamProtocol>);

impl UpgradeInfo for AnyOf {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for AnyOf {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        std::future::ready(Ok((stream, protocol)))
    }
}

/// Streams of one connection.
pub(super) struct Handler {
    served: Arc<Served>,
    peer: PeerId,
    asked: VecDeque<Ask>,
    /// Those that were asked for, and are not open yet.
    opening: usize,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Ask;
    type ToBehaviour = Infallible;
    type InboundProtocol = AnyOf;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Ask;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(AnyOf(self.served.lock().names.to_vec()), ())
    }

    fn on_behaviour_event(&mut self, ask: Ask) {
        if self.opening >= OPENING_MAX {
            let _ = ask.reply.send(Err(OpenError::TooMany));
            return;
        }
        self.opening += 1;
        self.asked.push_back(ask);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Self::OutboundOpenInfo>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                let (stream, name) = protocol;
                let taker = self.served.lock().takers.get(&name).cloned();
                if taker.is_none_or(|taker| taker.try_send((self.peer, stream)).is_err()) {
                    tracing::debug!("a stream of {} for {name} is not taken", self.peer);
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                self.opening = self.opening.saturating_sub(1);
                let _ = info.reply.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                self.opening = self.opening.saturating_sub(1);
                let error = match error {
                    StreamUpgradeError::Timeout => OpenError::Timeout,
                    StreamUpgradeError::NegotiationFailed => OpenError::Unsupported(info.protocol),
                    StreamUpgradeError::Io(error) => OpenError::Broken(error.to_string()),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = info.reply.send(Err(error));
            }
            _ => {}
        }
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        let Some(ask) = self.asked.pop_front() else { return Poll::Pending };
        let upgrade = ReadyUpgrade::new(ask.protocol.clone());
        let protocol = SubstreamProtocol::new(upgrade, ask).with_timeout(OPEN_TIME_MAX);
        Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::ConnectedPoint;
    use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};

    use super::*;

    fn point(relayed: bool) -> ConnectedPoint {
        let through = if relayed { "/p2p-circuit" } else { "" };
        let address = format!("/ip4/10.0.0.1/tcp/1/p2p/{}{through}", PeerId::random()).parse().unwrap();
        ConnectedPoint::Dialer { address, role_override: Endpoint::Dialer, port_use: PortUse::Reuse }
    }

    /// The connection that the next stream is put on.
    async fn put_on(streams: &Streams, behaviour: &mut Behaviour, peer_id: PeerId) -> Option<ConnectionId> {
        let streams = streams.clone();
        tokio::spawn(async move { streams.open(peer_id, StreamProtocol::new("/x/y")).await });
        tokio::task::yield_now().await;
        match behaviour.poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(ToSwarm::NotifyHandler { handler: NotifyHandler::One(id), .. }) => Some(id),
            Poll::Ready(other) => panic!("{other:?}"),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn streams_are_opened_on_a_direct_connection_where_there_is_one() {
        let (streams, mut behaviour) = new();
        let (peer_id, [circuit, direct, further]) =
            (PeerId::random(), [1, 2, 3].map(ConnectionId::new_unchecked));
        let opened = |behaviour: &mut Behaviour, connection_id, relayed| {
            let endpoint = &point(relayed);
            behaviour.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
        };
        let closed = |behaviour: &mut Behaviour, connection_id, relayed| {
            let endpoint = &point(relayed);
            behaviour.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                endpoint,
                cause: None,
                remaining_established: 0,
            }));
        };
        assert_eq!(put_on(&streams, &mut behaviour, peer_id).await, None);
        opened(&mut behaviour, circuit, true);
        assert_eq!(put_on(&streams, &mut behaviour, peer_id).await, Some(circuit), "it is all there is");
        opened(&mut behaviour, direct, false);
        opened(&mut behaviour, further, true);
        assert_eq!(put_on(&streams, &mut behaviour, peer_id).await, Some(direct));
        closed(&mut behaviour, direct, false);
        assert_eq!(put_on(&streams, &mut behaviour, peer_id).await, Some(further));
        closed(&mut behaviour, circuit, true);
        closed(&mut behaviour, further, true);
        assert_eq!(put_on(&streams, &mut behaviour, peer_id).await, None);
        assert!(behaviour.connections.is_empty());
    }
}
