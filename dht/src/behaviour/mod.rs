//! The engine in a libp2p swarm: it moves bytes, dials, asks the store, and knows the clock.

mod dialing;
mod handler;
mod room;
mod streams;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::futures::StreamExt as _;
use libp2p::futures::stream::FuturesUnordered;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandlerInEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::{mpsc, oneshot};

use crate::handle::{Command, Handle, Question, Seen};
use crate::ipns::Timestamp;
use crate::kad::{
    Action, Config, Engine, InboundId, Message, Mode, Now, PeerInfo, QueryError, QueryId, RequestFailure,
    RequestId, Response, StoreId,
};
use crate::records::{RecordStore, StoreError, StoreReply};
use dialing::Dialing;
use handler::{FromBehaviour, Handler, Order, Outgoing, Report, ToBehaviour};
use room::{ROOM_BYTES, Room};
use streams::{Answer, Inbound};

/// Questions that are taken from the handle in one go, so that the swarm's other parts get their turn.
const COMMANDS_PER_POLL: usize = 64;

/// What the behaviour tells the swarm task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A peer entered the routing table: the connection manager should spare it.
    PeerAdded(PeerId),
    /// A peer left the routing table.
    PeerRemoved(PeerId),
}

type Storing = Pin<Box<dyn Future<Output = (StoreId, Result<StoreReply, StoreError>)> + Send>>;

/// One DHT in a swarm. Runs on tokio; see the [crate] for an example with both.
pub struct Behaviour {
    engine: Engine,
    protocol: StreamProtocol,
    answer_timeout: std::time::Duration,
    announce_timeout: std::time::Duration,
    room: Room,
    store: Arc<dyn RecordStore>,
    storing: FuturesUnordered<Storing>,
    commands: mpsc::Receiver<Command>,
    seen: Arc<Seen>,
    questions: HashMap<QueryId, Question>,
    /// Direct ones, with their remote addresses.
    connections: HashMap<PeerId, Vec<(ConnectionId, Multiaddr)>>,
    dialing: Dialing,
    /// Requests that a handler has.
    sent: HashMap<RequestId, (PeerId, ConnectionId)>,
    inbound: HashMap<InboundId, oneshot::Sender<Answer>>,
    next_inbound: u64,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    out: VecDeque<ToSwarm<Event, FromBehaviour>>,
}

impl std::fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Behaviour").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Now { at: Instant::now(), wall: Timestamp::from_unix(seconds, since.subsec_nanos()) }
}

impl Behaviour {
    /// A DHT, as a client without addresses, and the handle to it. What it keeps for others goes to `store`.
    pub fn new(local: PeerId, config: Config, store: Arc<dyn RecordStore>) -> (Self, Handle) {
        let (handle, commands, seen) = Handle::new();
        let behaviour = Self {
            protocol: config.scope.protocol(),
            answer_timeout: config.answer_timeout,
            announce_timeout: config.announce_timeout,
            room: Room::new(ROOM_BYTES),
            engine: Engine::new(local, config, rand::random(), Instant::now()),
            store,
            storing: FuturesUnordered::new(),
            commands,
            seen,
            questions: HashMap::new(),
            connections: HashMap::new(),
            dialing: Dialing::default(),
            sent: HashMap::new(),
            inbound: HashMap::new(),
            next_inbound: 0,
            timer: None,
            out: VecDeque::new(),
        };
        (behaviour, handle)
    }

    /// Makes the node answer, or not. Peers learn of it through identify.
    pub fn set_mode(&mut self, mode: Mode) {
        if self.engine.mode() == mode {
            return;
        }
        self.engine.set_mode(mode);
        let all = self.connections.iter().flat_map(|(peer, ids)| ids.iter().map(|(id, _)| (*peer, *id)));
        self.out.extend(all.map(|(peer_id, id)| ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(id),
            event: FromBehaviour(Order::Mode(mode)),
        }));
    }

    /// Whether the node answers.
    pub fn mode(&self) -> Mode {
        self.engine.mode()
    }

    /// Where the node can be reached: those addresses that are of the scope are given out, at most 32. Tell all of them, and
    /// again whenever they change.
    pub fn set_own_addresses(&mut self, addresses: &[Multiaddr]) {
        self.engine.set_own_addresses(addresses);
        let has_addresses = !self.engine.own_addresses().is_empty();
        self.seen.has_addresses.store(has_addresses, Ordering::Relaxed);
    }

    /// Identify learned what a peer speaks and where it is; also call it when identify pushes.
    pub fn on_identified(&mut self, peer: PeerId, protocols: &[StreamProtocol], addresses: &[Multiaddr]) {
        let is_server = protocols.contains(&self.protocol);
        self.engine.on_identified(peer, is_server, addresses, now());
        self.act();
    }

    /// Whether a peer is in the routing table: its connections should be spared.
    pub fn is_in_table(&self, peer: &PeerId) -> bool {
        self.engine.is_in_table(peer)
    }

    /// How many peers the routing table holds.
    pub fn table_len(&self) -> usize {
        self.engine.table_len()
    }

    fn handler(&self, peer: PeerId) -> Handler {
        let (protocol, mode) = (self.protocol.clone(), self.engine.mode());
        Handler::new(peer, protocol, mode, self.answer_timeout, self.room.clone())
    }

    /// Does what the engine wants.
    fn act(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Send { request, peer, message } => self.send(request, peer, &message),
                Action::Forget { request } => self.forget(request),
                Action::Respond { inbound, response } => self.respond(inbound, response),
                Action::Store { id, request } => {
                    let reply = self.store.handle(request, now().wall);
                    self.storing.push(Box::pin(async move { (id, reply.await) }));
                }
                Action::Event { query, event } => {
                    if let Some(events) = self.questions.get(&query).and_then(|asked| asked.events.as_ref()) {
                        // Events are for eyes: one that does not fit is dropped.
                        let _is_sent = events.try_send(event);
                    }
                }
                Action::Provider { query, provider } => {
                    let asked = self.questions.get(&query);
                    if let Some(providers) = asked.and_then(|asked| asked.providers.as_ref()) {
                        // There is room for as many as are asked for.
                        let _is_sent = providers.try_send(provider);
                    }
                }
                Action::Done { query, result } => {
                    if let Some(question) = self.questions.remove(&query) {
                        let _is_heard = question.done.send(result);
                    }
                }
                Action::PeerAdded { peer } => self.tell(Event::PeerAdded(peer)),
                Action::PeerRemoved { peer } => self.tell(Event::PeerRemoved(peer)),
            }
        }
    }

    fn tell(&mut self, event: Event) {
        self.seen.table_len.store(self.engine.table_len(), Ordering::Relaxed);
        self.out.push_back(ToSwarm::GenerateEvent(event));
    }

    fn send(&mut self, id: RequestId, peer: PeerInfo, message: &Message) {
        let is_answered = message.kind.is_answered();
        let timeout = if is_answered { self.answer_timeout } else { self.announce_timeout };
        let request = Outgoing { id, bytes: message.encode_framed(), is_answered, timeout };
        if self.connections.contains_key(&peer.id) {
            return self.hand_over(peer.id, request);
        }
        match self.dialing.want(peer, request) {
            Ok(dial) => self.out.extend(dial.map(|opts| ToSwarm::Dial { opts })),
            Err(failure) => self.engine.on_response(id, Err(failure), now()),
        }
    }

    /// Gives a request to the handler of the first connection.
    fn hand_over(&mut self, peer_id: PeerId, request: Outgoing) {
        let Some(connection) = self.connections.get(&peer_id).and_then(|ids| ids.first()).map(|(id, _)| *id)
        else {
            return self.engine.on_response(request.id, Err(RequestFailure::Closed), now());
        };
        self.sent.insert(request.id, (peer_id, connection));
        self.out.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(connection),
            event: FromBehaviour(Order::Request(request)),
        });
    }

    fn forget(&mut self, request: RequestId) {
        self.dialing.forget(request);
        if let Some((peer_id, connection)) = self.sent.remove(&request) {
            self.out.push_back(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(connection),
                event: FromBehaviour(Order::Forget(request)),
            });
        }
    }

    fn respond(&mut self, inbound: InboundId, response: Response) {
        let Some(answer) = self.inbound.remove(&inbound) else { return };
        let response = match response {
            Response::Message(message) => Answer::Bytes(message.encode_framed()),
            Response::Nothing => Answer::Nothing,
            Response::Reset => Answer::Reset,
        };
        let _is_heard = answer.send(response);
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Stats(reply) => {
                let _is_heard = reply.send(self.engine.stats(Instant::now()));
            }
            Command::Query(question) if !question.is_wanted() => {}
            Command::Query(question) => {
                match self.engine.start_within(question.goal.clone(), question.limit, now()) {
                    Ok(id) => {
                        self.questions.insert(id, question);
                    }
                    Err(error) => {
                        let _is_heard = question.done.send(Err::<_, QueryError>(error));
                    }
                }
            }
        }
        self.act();
    }

    /// Ends queries whose askers have gone. They are few, and this runs when something came for one.
    fn drop_unwanted(&mut self) {
        let gone = self.questions.iter().filter(|(_, question)| !question.is_wanted());
        let gone: Vec<QueryId> = gone.map(|(id, _)| *id).collect();
        for id in gone {
            self.questions.remove(&id);
            self.engine.cancel(id);
        }
    }

    fn connected(&mut self, peer: PeerId, connection: ConnectionId, remote: &Multiaddr) {
        self.connections.entry(peer).or_default().push((connection, remote.clone()));
        self.tell_connections(peer);
        for request in self.dialing.connected(&peer) {
            self.hand_over(peer, request);
        }
        self.act();
    }

    fn tell_connections(&mut self, peer: PeerId) {
        let connections = self.connections.get(&peer).into_iter().flatten();
        let remotes = connections.map(|(_, remote)| remote.clone()).collect();
        self.engine.on_connections(peer, remotes, now());
    }

    fn disconnected(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(ids) = self.connections.get_mut(&peer) {
            ids.retain(|(id, _)| *id != connection);
            if ids.is_empty() {
                self.connections.remove(&peer);
            }
            self.tell_connections(peer);
        }
        let lost = self.sent.iter().filter(|(_, (_, over))| *over == connection);
        let lost: Vec<RequestId> = lost.map(|(id, _)| *id).collect();
        for id in lost {
            self.sent.remove(&id);
            self.engine.on_response(id, Err(RequestFailure::Closed), now());
        }
        self.act();
    }

    /// Does what is to be done after a dial, which failed for this reason if it did.
    fn go_on(&mut self, peer: PeerId, next: dialing::Next, reason: RequestFailure) {
        match next {
            dialing::Next::Wait => {}
            dialing::Next::Dial(opts) => self.out.push_back(ToSwarm::Dial { opts }),
            dialing::Next::Send(requests) => {
                for request in requests {
                    self.hand_over(peer, request);
                }
            }
            dialing::Next::Fail(requests) => {
                for request in requests {
                    self.engine.on_response(request.id, Err(reason), now());
                }
            }
        }
        self.act();
    }

    fn on_inbound(&mut self, peer: PeerId, inbound: Inbound) {
        self.next_inbound += 1;
        let id = InboundId(self.next_inbound);
        self.inbound.insert(id, inbound.answer);
        self.engine.on_request(id, peer, inbound.message, now());
        self.act();
    }

    /// Takes what became ready; whether there was anything.
    fn advance(&mut self, cx: &mut Context<'_>) -> bool {
        if let Poll::Ready(Some((id, reply))) = self.storing.poll_next_unpin(cx) {
            self.engine.on_stored(id, reply, now());
            self.act();
            return true;
        }
        for count in 0..COMMANDS_PER_POLL {
            match self.commands.poll_recv(cx) {
                Poll::Ready(Some(command)) => self.on_command(command),
                _ if count > 0 => return true,
                _ => break,
            }
        }
        self.poll_timer(cx)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(next) = self.engine.next_timeout() else { return false };
        let next = tokio::time::Instant::from_std(next);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
        if timer.deadline() != next {
            timer.as_mut().reset(next);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.timer = None;
        self.engine.on_timeout(now());
        self.drop_unwanted();
        self.act();
        true
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Ok(peer.map_or_else(Vec::new, |peer| self.engine.addresses_of(&peer)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            // The DHT is not spoken over relays: those connections are short and counted.
            FromSwarm::ConnectionEstablished(connection) if !connection.endpoint.is_relayed() => {
                let remote = connection.endpoint.get_remote_address();
                self.connected(connection.peer_id, connection.connection_id, remote);
            }
            FromSwarm::ConnectionEstablished(connection) => {
                let next = self.dialing.relayed(&connection.peer_id, connection.connection_id);
                self.go_on(connection.peer_id, next, RequestFailure::Dial);
            }
            FromSwarm::ConnectionClosed(connection) => {
                self.disconnected(connection.peer_id, connection.connection_id);
            }
            FromSwarm::DialFailure(failure) => {
                let Some(peer) = failure.peer_id else { return };
                let is_connected = self.connections.contains_key(&peer);
                let next = self.dialing.failed(&peer, failure.connection_id, failure.error, is_connected);
                // Where this node itself dials too many, nothing is known of the peer.
                let is_ours = matches!(failure.error, libp2p::swarm::DialError::Denied { .. });
                let reason = if is_ours { RequestFailure::Busy } else { RequestFailure::Dial };
                self.go_on(peer, next, reason);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, event: ToBehaviour) {
        match event.0 {
            Report::Inbound(inbound) => self.on_inbound(peer, inbound),
            Report::Response { id, result } => {
                self.sent.remove(&id);
                self.drop_unwanted();
                self.engine.on_response(id, result, now());
                self.act();
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        loop {
            if let Some(event) = self.out.pop_front() {
                return Poll::Ready(event);
            }
            if !self.advance(cx) {
                return Poll::Pending;
            }
        }
    }
}
