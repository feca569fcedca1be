//! Bitswap as a behaviour of a libp2p swarm: drives client and server, and moves what goes between them, connections, host and handle.

mod act;
mod connections;
mod failures;
mod handler;
mod hashing;
mod inbound;
mod outbound;
#[cfg(test)]
mod tests;
mod upgrade;

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use holdfast_dag::cid::Cid;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use self::connections::Connections;
use self::handler::{Common, Handler, Outgoing};
use self::upgrade::Offer;
use crate::client::{Client, RequestId};
use crate::config::Config;
use crate::handle::{COMMANDS_MAX, Command, Events, FindProviders, Handle, SEARCHES_MAX, Shared};
use crate::host::Host;
use crate::inbox::{Input, Line};
use crate::room::Room;
use crate::server::{ReadId, Server};
use crate::session::Sink;

/// Commands taken in one round: connections and timers get their turn between.
const COMMANDS_ROUND: usize = 64;

/// Gauges that cost a look at every peer are set this often at most.
const GAUGES_INTERVAL: Duration = Duration::from_millis(250);

/// An answer of the host.
enum Answer {
    Presence(PeerId, Vec<Cid>, Vec<Option<u64>>),
    Read(ReadId, Vec<Option<Bytes>>),
}

/// The behaviour. See the crate's example.
pub struct Behaviour {
    common: Common,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    searches: mpsc::Sender<FindProviders>,
    client: Client,
    server: Server,
    connections: Connections,
    sinks: HashMap<RequestId, Arc<Sink>>,
    /// What the host was asked. Bounded by the server: one lookup a peer, and reads by their bytes.
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    inputs: Vec<Input>,
    out: VecDeque<ToSwarm<Infallible, Outgoing>>,
    /// Peers whose connections must hear whether something is pending with them.
    touched: HashSet<PeerId>,
    timer: Option<Pin<Box<Sleep>>>,
    gauges_due: Option<Instant>,
}

impl Behaviour {
    /// A behaviour for one swarm, and the handle through which the node uses it.
    pub fn new(config: Config, host: Arc<dyn Host>) -> (Self, Handle) {
        let (commands, heard) = mpsc::channel(COMMANDS_MAX);
        let (searches, searched) = mpsc::channel(SEARCHES_MAX);
        let shared = Arc::new(Shared::new(commands, Events(searched)));
        let common = Common {
            config: Arc::new(config.clone()),
            host,
            inbox: shared.inbox.clone(),
            counters: shared.counters.clone(),
            room: Arc::new(Room::of_all(config.inbound_total_bytes_max)),
        };
        let behaviour = Self {
            common,
            shared: shared.clone(),
            commands: heard,
            searches,
            client: Client::new(config.clone()),
            server: Server::new(config),
            connections: Connections::default(),
            sinks: HashMap::new(),
            answers: FuturesUnordered::new(),
            inputs: Vec::new(),
            out: VecDeque::new(),
            touched: HashSet::new(),
            timer: None,
            gauges_due: None,
        };
        (behaviour, Handle { shared })
    }

    /// Says that a peer is always asked in a broadcast (peered, or on the local network), or no longer. It holds from now on: what was said
    /// last counts.
    pub fn favour(&mut self, peer: PeerId, favoured: bool) {
        self.connections.set_peered(peer, favoured);
        self.client.favour(peer, favoured);
    }

    fn handler(&mut self, connection: ConnectionId, peer: PeerId, relayed: bool) -> Handler {
        let line = Arc::new(Line::new(&self.common.room));
        let offer = if relayed { Offer::Nothing } else { Offer::All };
        if !relayed {
            self.connections.expect(connection, line.clone());
        }
        Handler::new((peer, connection), self.common.clone(), line, offer)
    }

    fn on_closed(&mut self, closed: &ConnectionClosed<'_>, now: Instant) {
        let peer = closed.peer_id;
        let Some(end) = self.connections.remove(peer, closed.connection_id) else { return };
        if end.is_last {
            self.leave(peer, now);
        } else {
            if end.had_wants {
                self.client.on_stream_lost(peer);
            } else {
                // Whichever connection we told our wants on, the peer may have been answering on this one.
                self.client.on_answers_lost(peer);
            }
            self.server.on_stream_lost(&peer, &end.answers, now);
        }
        self.touched.insert(peer);
        self.expect_gauges(now);
    }

    /// A peer is there, and of use.
    fn arrive(&mut self, peer: PeerId, is_near: bool, now: Instant) {
        self.client.on_connected(peer, now);
        self.server.on_connected(peer);
        if is_near {
            self.client.favour(peer, true);
        }
        self.touched.insert(peer);
    }

    /// A peer is gone, or of no use.
    fn leave(&mut self, peer: PeerId, now: Instant) {
        self.client.favour(peer, self.connections.is_peered(&peer));
        self.client.on_disconnected(peer, now);
        self.server.on_disconnected(&peer);
        self.shared.set_active(peer, false);
    }

    /// Takes what came, from all sides. Says whether anything did.
    fn take_in(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let mut busy = false;
        let mut inputs = std::mem::take(&mut self.inputs);
        self.shared.inbox.take(&mut inputs, cx.waker());
        for input in inputs.drain(..) {
            busy = true;
            self.on_input(input, now);
        }
        self.inputs = inputs;
        for session in self.shared.take_ended() {
            self.client.end_session(session);
        }
        for _ in 0..COMMANDS_ROUND {
            let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) else { break };
            busy = true;
            self.on_command(command, now);
        }
        while let Poll::Ready(Some(answer)) = self.answers.poll_next_unpin(cx) {
            busy = true;
            match answer {
                Answer::Presence(peer, cids, sizes) => self.server.on_presence(&peer, &cids, &sizes),
                Answer::Read(batch, blocks) => self.server.on_read(batch, blocks, now),
            }
        }
        if busy {
            self.expect_gauges(now);
        }
        busy | self.poll_timer(cx, now)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let due = self.client.poll_timeout().into_iter().chain(self.gauges_due).min();
        let Some(due) = due else { return false };
        if due <= now {
            self.client.on_timeout(now);
            if self.gauges_due.is_some_and(|at| at <= now) {
                self.set_gauges();
            }
            return true;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
        if timer.deadline() != due.into() {
            timer.as_mut().reset(due.into());
        }
        timer.as_mut().poll(cx).is_ready()
    }

    /// Something came or went that may have changed what is to be done for peers.
    fn expect_gauges(&mut self, now: Instant) {
        self.gauges_due.get_or_insert(now + GAUGES_INTERVAL);
    }

    fn set_gauges(&mut self) {
        self.gauges_due = None;
        let counters = &self.common.counters;
        let tasks = self.server.tasks();
        counters.pending_tasks.set(tasks.pending as u64);
        counters.pending_block_tasks.set(tasks.pending_blocks as u64);
        counters.active_tasks.set(tasks.active as u64);
        counters.active_block_tasks.set(tasks.active_blocks as u64);
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(connection, peer, connections::is_relayed(local)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(connection, peer, connections::is_relayed(address)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let now = Instant::now();
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                let (peer, address) = (established.peer_id, established.endpoint.get_remote_address());
                if !established.endpoint.is_relayed() && peer != self.common.config.local_peer {
                    let is_near = connections::is_near(address);
                    if self.connections.add(peer, established.connection_id, is_near) {
                        self.arrive(peer, is_near, now);
                    }
                    // Whichever connection our wants are told on, the peer may answer on any.
                    self.touched.insert(peer);
                }
            }
            FromSwarm::ConnectionClosed(closed) => self.on_closed(&closed, now),
            FromSwarm::DialFailure(failure) => self.connections.forget(failure.connection_id),
            FromSwarm::ListenFailure(failure) => self.connections.forget(failure.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _peer: PeerId, _connection: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        loop {
            if let Some(event) = self.out.pop_front() {
                return Poll::Ready(event);
            }
            let busy = self.take_in(cx) | self.act();
            if self.out.is_empty() && !busy {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Behaviour {
    fn drop(&mut self) {
        for sink in self.sinks.values() {
            sink.give(Vec::new(), true);
        }
        // What nobody took will not be heard: those who wait are told.
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Get { sink, .. } = command {
                sink.give(Vec::new(), true);
            }
        }
    }
}

impl std::fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Behaviour").field("requests", &self.sinks.len()).finish_non_exhaustive()
    }
}
