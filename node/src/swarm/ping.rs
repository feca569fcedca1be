//! `/ipfs/ping/1.0.0`: answers pings, sends them to find dead connections, and sends them when asked to.
//!
//! libp2p's behaviour has no ping on demand, and leaves connections open whose pings fail. A link whose cable was cut tells
//! nobody: here, two failures in a row close the connection, so that it can be dialled anew.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, NotifyHandler, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::time::{Sleep, sleep, timeout};

pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/ping/1.0.0");

/// Bytes of a ping.
const PING_BYTES: usize = 32;
/// Streams that a peer may ping us on at once: one that it keeps, and some that are asked for.
const INBOUND_MAX: usize = 4;
/// How long such a stream may be silent.
const INBOUND_SILENCE_MAX: Duration = Duration::from_secs(60);
/// Pings on demand that one connection may have under way.
const ASKED_MAX: usize = 16;
/// Failures in a row that end a connection.
const FAILURES_MAX: u32 = 2;

/// How pings are sent without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PingTimes {
    /// Time from the end of one to the next. Default 15 s; 5 s on a mesh.
    pub interval: Duration,
    /// How long an answer may take. Default 10 s; 5 s on a mesh.
    pub timeout: Duration,
}

impl Default for PingTimes {
    fn default() -> Self {
        Self { interval: Duration::from_secs(15), timeout: Duration::from_secs(10) }
    }
}

/// Why there was no answer to a ping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PingFailure {
    /// It took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The peer does not speak the protocol.
    #[error("the peer does not answer pings")]
    Unsupported,
    /// The stream broke, or the answer was another than what was sent.
    #[error("{0}")]
    Broken(String),
}

/// What became of a ping.
#[derive(Debug)]
pub(super) struct PingEvent {
    pub(super) peer: PeerId,
    pub(super) connection: ConnectionId,
    /// The number that it was asked for under; none for one that was sent by itself.
    pub(super) asked: Option<u64>,
    pub(super) result: Result<Duration, PingFailure>,
}

/// The behaviour.
pub(super) struct Ping {
    times: PingTimes,
    events: VecDeque<ToSwarm<PingEvent, Ask>>,
    /// Failures in a row.
    failures: HashMap<ConnectionId, u32>,
}

/// A ping that is asked for, by its number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask(u64);

impl Ping {
    pub(super) fn new(times: PingTimes) -> Self {
        Self { times, events: VecDeque::new(), failures: HashMap::new() }
    }

    /// Sends one ping, on a stream of its own. The event with this number says what became of it; there is none if the
    /// connection ends meanwhile.
    pub(super) fn ask(&mut self, peer: PeerId, number: u64) {
        let handler = NotifyHandler::Any;
        self.events.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler, event: Ask(number) });
    }
}

impl NetworkBehaviour for Ping {
    type ConnectionHandler = Handler;
    type ToSwarm = PingEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.times))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.times))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(closed) = event {
            self.failures.remove(&closed.connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        (asked, result): THandlerOutEvent<Self>,
    ) {
        match &result {
            Ok(_) => {
                self.failures.remove(&connection);
            }
            // A peer that does not speak the protocol is alive, and says so.
            Err(failure) if asked.is_none() && *failure != PingFailure::Unsupported => {
                let failures = self.failures.entry(connection).or_insert(0);
                *failures += 1;
                if *failures >= FAILURES_MAX {
                    let one = CloseConnection::One(connection);
                    self.events.push_back(ToSwarm::CloseConnection { peer_id: peer, connection: one });
                }
            }
            Err(_) => {}
        }
        self.events.push_back(ToSwarm::GenerateEvent(PingEvent { peer, connection, asked, result }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// What became of a ping, and the number that it was asked for under, if it was.
type Answer = (Option<u64>, Result<Duration, PingFailure>);

type Pinging = BoxFuture<'static, Result<(Stream, Duration), PingFailure>>;

/// The stream of the pings that are sent without being asked for.
enum Own {
    /// There is none; the next ping opens one.
    Closed,
    Opening,
    Open(Stream),
    Pinging(Pinging),
    /// The peer does not speak the protocol.
    Never,
}

/// Pings of one connection.
pub(super) struct Handler {
    times: PingTimes,
    next: Pin<Box<Sleep>>,
    own: Own,
    asked: VecDeque<u64>,
    /// Pings on demand that wait for a stream or an answer.
    under_way: usize,
    asking: FuturesUnordered<BoxFuture<'static, (u64, Result<Duration, PingFailure>)>>,
    answering: FuturesUnordered<BoxFuture<'static, ()>>,
    events: VecDeque<Answer>,
}

impl Handler {
    fn new(times: PingTimes) -> Self {
        Self {
            times,
            // The first tells how far the peer is.
            next: Box::pin(sleep(Duration::ZERO)),
            own: Own::Closed,
            asked: VecDeque::new(),
            under_way: 0,
            asking: FuturesUnordered::new(),
            answering: FuturesUnordered::new(),
            events: VecDeque::new(),
        }
    }

    fn request(
        &self,
        number: Option<u64>,
    ) -> ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, Option<u64>, Answer> {
        let protocol =
            SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), number).with_timeout(self.times.timeout);
        ConnectionHandlerEvent::OutboundSubstreamRequest { protocol }
    }

    fn ended(&mut self, number: Option<u64>, result: Result<Duration, PingFailure>) {
        match number {
            None => self.next.as_mut().reset(tokio::time::Instant::now() + self.times.interval),
            Some(_) => self.under_way = self.under_way.saturating_sub(1),
        }
        self.events.push_back((number, result));
    }

    /// Drives the pings that are sent by themselves.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            match std::mem::replace(&mut self.own, Own::Closed) {
                Own::Pinging(mut pinging) => match pinging.as_mut().poll(cx) {
                    Poll::Ready(Ok((stream, took))) => {
                        self.own = Own::Open(stream);
                        self.ended(None, Ok(took));
                    }
                    Poll::Ready(Err(failure)) => self.ended(None, Err(failure)),
                    Poll::Pending => {
                        self.own = Own::Pinging(pinging);
                        return Poll::Pending;
                    }
                },
                Own::Open(stream) => {
                    if self.next.as_mut().poll(cx).is_pending() {
                        self.own = Own::Open(stream);
                        return Poll::Pending;
                    }
                    self.own = Own::Pinging(Box::pin(ping(stream, self.times.timeout)));
                }
                Own::Closed => {
                    if self.next.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.own = Own::Opening;
                    return Poll::Ready(true);
                }
                other @ (Own::Opening | Own::Never) => {
                    self.own = other;
                    return Poll::Pending;
                }
            }
            if !self.events.is_empty() {
                return Poll::Ready(false);
            }
        }
    }

    fn failed_to_open(&mut self, number: Option<u64>, error: StreamUpgradeError<std::convert::Infallible>) {
        let failure = match error {
            StreamUpgradeError::Timeout => PingFailure::Timeout(self.times.timeout),
            StreamUpgradeError::NegotiationFailed => PingFailure::Unsupported,
            StreamUpgradeError::Io(error) => PingFailure::Broken(error.to_string()),
            StreamUpgradeError::Apply(never) => match never {},
        };
        if number.is_none() {
            self.own = if failure == PingFailure::Unsupported { Own::Never } else { Own::Closed };
        }
        self.ended(number, Err(failure));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Ask;
    type ToBehaviour = Answer;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Option<u64>;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn on_behaviour_event(&mut self, Ask(number): Ask) {
        if self.under_way >= ASKED_MAX {
            let failure = PingFailure::Broken("too many pings are under way to this peer".to_owned());
            self.events.push_back((Some(number), Err(failure)));
            return;
        }
        self.under_way += 1;
        self.asked.push_back(number);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Self::OutboundOpenInfo>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. })
                if self.answering.len() < INBOUND_MAX =>
            {
                self.answering.push(Box::pin(answer(protocol)));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                match info {
                    None => self.own = Own::Pinging(Box::pin(ping(protocol, self.times.timeout))),
                    Some(number) => {
                        let time = self.times.timeout;
                        let asking =
                            async move { (number, ping(protocol, time).await.map(|(_, took)| took)) };
                        self.asking.push(Box::pin(asking));
                    }
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                self.failed_to_open(info, error);
            }
            _ => {}
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        while let Poll::Ready(Some((number, result))) = self.asking.poll_next_unpin(cx) {
            self.ended(Some(number), result);
        }
        while let Poll::Ready(Some(())) = self.answering.poll_next_unpin(cx) {}
        if self.events.is_empty() && self.poll_own(cx) == Poll::Ready(true) {
            return Poll::Ready(self.request(None));
        }
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        match self.asked.pop_front() {
            Some(number) => Poll::Ready(self.request(Some(number))),
            None => Poll::Pending,
        }
    }
}

/// Sends one ping, and gives the stream back for the next.
async fn ping(mut stream: Stream, time: Duration) -> Result<(Stream, Duration), PingFailure> {
    let sent: [u8; PING_BYTES] = rand::random();
    let exchange = async {
        let began = Instant::now();
        stream.write_all(&sent).await?;
        stream.flush().await?;
        let mut echo = [0; PING_BYTES];
        stream.read_exact(&mut echo).await?;
        let took = began.elapsed();
        if echo != sent {
            return Err(io::Error::other("the answer differs from what was sent"));
        }
        Ok((stream, took))
    };
    match timeout(time, exchange).await {
        Ok(result) => result.map_err(|error| PingFailure::Broken(error.to_string())),
        Err(_) => Err(PingFailure::Timeout(time)),
    }
}

/// Answers pings until the peer is done, silent for long, or gone.
async fn answer(mut stream: Stream) {
    let mut bytes = [0; PING_BYTES];
    loop {
        let exchange = async {
            stream.read_exact(&mut bytes).await?;
            stream.write_all(&bytes).await?;
            stream.flush().await
        };
        match timeout(INBOUND_SILENCE_MAX, exchange).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}
