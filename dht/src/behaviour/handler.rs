//! One connection: peers' streams are served, at most 32 at a time, and requests go over up to 4 streams of our own, which
//! are used again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::futures::StreamExt as _;
use libp2p::futures::stream::FuturesUnordered;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol,
};
use tokio::sync::mpsc;

use super::room::Room;
use super::streams::{Inbound, Patience, Serve, exchange, serve};
use crate::kad::{Message, Mode, RequestFailure, RequestId};

/// Streams of a peer that are served at a time. More are closed at once.
const INBOUND_MAX: usize = 32;

/// Streams of our own at a time.
const OUTBOUND_MAX: usize = 4;

/// Streams that wait to be used again: all of them, as one that is dropped is reset, and go drops with it what it has not read,
/// such as an announcement a moment ago.
const IDLE_MAX: usize = OUTBOUND_MAX;

/// A stream that has waited longer is not used again: servers close them after 60 s.
const IDLE_AGE_MAX: Duration = Duration::from_secs(45);

/// Requests that may wait. The engine sends a peer a few questions and 32 announcements a query.
const WAITING_MAX: usize = 1_024;

/// A request to send.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) id: RequestId,
    /// The message with its length before it.
    pub(super) bytes: Vec<u8>,
    pub(super) is_answered: bool,
    /// How long it may take on its stream.
    pub(super) timeout: Duration,
}

/// What the behaviour tells a handler.
#[derive(Debug)]
pub struct FromBehaviour(pub(super) Order);

/// What a handler tells the behaviour.
#[derive(Debug)]
pub struct ToBehaviour(pub(super) Report);

#[derive(Debug)]
pub(super) enum Order {
    Mode(Mode),
    Request(Outgoing),
    Forget(RequestId),
}

#[derive(Debug)]
pub(super) enum Report {
    Response { id: RequestId, result: Result<Option<Message>, RequestFailure> },
    Inbound(Inbound),
}

/// Takes the stream as it is once the protocol is agreed on; without a protocol, accepts none.
#[derive(Debug, Clone)]
pub struct Protocol(Option<StreamProtocol>);

impl UpgradeInfo for Protocol {
    type Info = StreamProtocol;
    type InfoIter = std::option::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Protocol {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

impl OutboundUpgrade<Stream> for Protocol {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

struct Exchanged {
    request: Outgoing,
    result: Result<Option<Message>, RequestFailure>,
    stream: Stream,
    was_used: bool,
}

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The handler of one connection.
pub struct Handler {
    protocol: StreamProtocol,
    mode: Mode,
    answer_timeout: Duration,
    serve: Serve,
    serving: FuturesUnordered<Task<()>>,
    inbound: mpsc::Receiver<Inbound>,
    waiting: VecDeque<Outgoing>,
    idle: Vec<(Stream, Instant)>,
    opening: usize,
    exchanging: FuturesUnordered<Task<Exchanged>>,
    failed: VecDeque<(RequestId, RequestFailure)>,
}

impl Handler {
    pub(super) fn new(
        peer: PeerId,
        protocol: StreamProtocol,
        mode: Mode,
        answer_timeout: Duration,
        room: Room,
    ) -> Self {
        let (requests, inbound) = mpsc::channel(INBOUND_MAX);
        Self {
            protocol,
            mode,
            answer_timeout,
            serve: Serve { peer, room, requests, timeout: answer_timeout, patience: Patience::USUAL },
            serving: FuturesUnordered::new(),
            inbound,
            waiting: VecDeque::new(),
            idle: Vec::new(),
            opening: 0,
            exchanging: FuturesUnordered::new(),
            failed: VecDeque::new(),
        }
    }

    fn accept(&mut self, mut stream: Stream) {
        if self.serving.len() >= INBOUND_MAX || self.mode == Mode::Client {
            return;
        }
        stream.ignore_for_keep_alive();
        self.serving.push(Box::pin(serve(stream, self.serve.clone())));
    }

    fn begin(&mut self, mut stream: Stream, request: Outgoing, was_used: bool) {
        self.exchanging.push(Box::pin(async move {
            let result = exchange(&mut stream, &request.bytes, request.is_answered, request.timeout).await;
            Exchanged { request, result, stream, was_used }
        }));
    }

    /// Gives waiting requests to idle streams. Whether another stream is to be opened.
    fn dispatch(&mut self) -> bool {
        self.idle.retain(|(_, since)| since.elapsed() < IDLE_AGE_MAX);
        while !self.waiting.is_empty() && self.exchanging.len() < OUTBOUND_MAX {
            let Some((stream, _)) = self.idle.pop() else { break };
            if let Some(request) = self.waiting.pop_front() {
                self.begin(stream, request, true);
            }
        }
        let is_room = self.exchanging.len() + self.opening < OUTBOUND_MAX;
        is_room && self.waiting.len() > self.opening
    }

    /// An exchange is over. Its result, unless it is to be tried again: a stream that was used before may have been closed
    /// by the peer meanwhile.
    fn settle(&mut self, exchanged: Exchanged) -> Option<Report> {
        let Exchanged { request, result, stream, was_used } = exchanged;
        if was_used && result == Err(RequestFailure::Closed) {
            self.idle.clear();
            self.waiting.push_front(request);
            return None;
        }
        if result.is_ok() && self.idle.len() < IDLE_MAX {
            self.idle.push((stream, Instant::now()));
        }
        Some(Report::Response { id: request.id, result })
    }

    fn on_upgrade_error(&mut self, error: &StreamUpgradeError<Infallible>) {
        self.opening = self.opening.saturating_sub(1);
        let (failure, count) = match error {
            StreamUpgradeError::NegotiationFailed => (RequestFailure::Unsupported, self.waiting.len()),
            StreamUpgradeError::Timeout => (RequestFailure::Timeout, 1),
            StreamUpgradeError::Io(_) | StreamUpgradeError::Apply(_) => (RequestFailure::Closed, 1),
        };
        for _ in 0..count {
            self.failed.extend(self.waiting.pop_front().map(|request| (request.id, failure)));
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = FromBehaviour;
    type ToBehaviour = ToBehaviour;
    type InboundProtocol = Protocol;
    type OutboundProtocol = Protocol;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Protocol> {
        let protocol = (self.mode == Mode::Server).then(|| self.protocol.clone());
        SubstreamProtocol::new(Protocol(protocol), ())
    }

    fn connection_keep_alive(&self) -> bool {
        !self.waiting.is_empty() || !self.exchanging.is_empty()
    }

    fn on_behaviour_event(&mut self, event: FromBehaviour) {
        match event.0 {
            Order::Mode(mode) => {
                self.mode = mode;
                if mode == Mode::Client {
                    self.serving.clear();
                }
            }
            Order::Request(request) if self.waiting.len() >= WAITING_MAX => {
                self.failed.push_back((request.id, RequestFailure::Busy));
            }
            Order::Request(request) => self.waiting.push_back(request),
            Order::Forget(id) => self.waiting.retain(|request| request.id != id),
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Protocol, Protocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.accept(protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.opening = self.opening.saturating_sub(1);
                let mut stream = protocol;
                stream.ignore_for_keep_alive();
                match self.waiting.pop_front() {
                    Some(request) => self.begin(stream, request, false),
                    None if self.idle.len() < IDLE_MAX => self.idle.push((stream, Instant::now())),
                    None => {}
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                self.on_upgrade_error(&error);
            }
            _ => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Protocol, (), ToBehaviour>> {
        loop {
            if let Some((id, failure)) = self.failed.pop_front() {
                let response = Report::Response { id, result: Err(failure) };
                return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(ToBehaviour(response)));
            }
            if let Poll::Ready(Some(exchanged)) = self.exchanging.poll_next_unpin(cx) {
                match self.settle(exchanged) {
                    Some(event) => {
                        return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(ToBehaviour(event)));
                    }
                    None => continue,
                }
            }
            if self.dispatch() {
                self.opening += 1;
                let protocol = SubstreamProtocol::new(Protocol(Some(self.protocol.clone())), ())
                    .with_timeout(self.answer_timeout);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
            if let Poll::Ready(Some(inbound)) = self.inbound.poll_recv(cx) {
                return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(ToBehaviour(Report::Inbound(
                    inbound,
                ))));
            }
            // New exchanges were begun after the set was polled last: poll them, so that they can wake this task.
            match (self.serving.poll_next_unpin(cx), self.exchanging.poll_next_unpin(cx)) {
                (_, Poll::Ready(Some(exchanged))) => {
                    if let Some(event) = self.settle(exchanged) {
                        return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(ToBehaviour(event)));
                    }
                }
                (Poll::Ready(Some(())), _) => {}
                _ => break,
            }
        }
        // What a stream sent while it was polled above.
        match self.inbound.poll_recv(cx) {
            Poll::Ready(Some(inbound)) => {
                Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(ToBehaviour(Report::Inbound(inbound))))
            }
            _ => Poll::Pending,
        }
    }
}
