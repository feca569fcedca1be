//! The task that owns the swarm.
//!
//! It never waits for anything but its swarm, its commands, names being resolved and the clock; disks are left to the
//! blocking pool. When it panics, whoever waits for an answer gets an error, and the node goes on without a network.

mod arbiter;
mod commands;
mod events;
mod local;
mod relays;
mod start;
mod upkeep;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

pub use start::{StartError, SwarmParams, start};

use super::addresses::AnnounceRules;
use super::behaviour::Behaviour;
use super::connections::ConnectionManager;
use super::handle::{
    Command, ConnectError, Direction, LocalAddresses, Need, PingError, Reachability, Shared,
};
use super::redial::Redial;
use super::tables::TableWorth;

/// How often rates, watermarks and redials are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Answers that may be waited for; commands beyond are refused by waiting in their queue.
const WAITERS_MAX: usize = 4096;

/// A connection that is open.
#[derive(Debug)]
struct Open {
    peer: PeerId,
    /// The peer's end, as the transport knows it.
    endpoint: Multiaddr,
    direction: Direction,
    relayed: bool,
    since: Instant,
    latency: Option<Duration>,
    /// Whether the peer was dialled without the relay, if it came through one.
    is_dialled_back: bool,
}

type ConnectReply = oneshot::Sender<Result<(), ConnectError>>;

/// Somebody who waits for a connection.
#[derive(Debug)]
struct ConnectWaiter {
    reply: ConnectReply,
    peer: PeerId,
    stage: ConnectStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectStage {
    /// This attempt is under way.
    Dialling(ConnectionId, Need),
    /// There is a connection; the peer is to say who it is, until then.
    Identifying(Instant),
}

impl ConnectStage {
    /// Whether this connection is what is waited for. A circuit that comes by itself while the peer is dialled for more than that is
    /// not: when the dial has failed, it is seen whether it has to do.
    fn is_content_with(self, id: ConnectionId, relayed: bool) -> bool {
        match self {
            Self::Dialling(dial, need) => !relayed || dial == id || need == Need::Any,
            Self::Identifying(_) => true,
        }
    }
}

/// A dial that is under way: whom, and where.
#[derive(Debug)]
struct Dial {
    peer: PeerId,
    addresses: Vec<Multiaddr>,
}

/// Names that were resolved for an attempt to connect.
#[derive(Debug)]
struct Resolved {
    peer: PeerId,
    /// What they stand for; empty where that is nothing.
    addresses: Vec<Multiaddr>,
    /// Whether what is known of the peer otherwise was dialled already.
    was_dialled: bool,
}

struct Task {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    announce: AnnounceRules,
    local: watch::Sender<LocalAddresses>,
    listeners: HashMap<ListenerId, Multiaddr>,
    listening: Vec<Multiaddr>,
    open: HashMap<ConnectionId, Open>,
    manager: ConnectionManager,
    wan_worth: TableWorth,
    lan_worth: TableWorth,
    redial: Redial,
    resolving: JoinSet<Resolved>,
    /// Whose names they are.
    being_resolved: HashSet<PeerId>,
    connects: Vec<ConnectWaiter>,
    /// Dials for those who wait, until they are over.
    dials: HashMap<ConnectionId, Dial>,
    pings: HashMap<u64, (PeerId, oneshot::Sender<Result<Duration, PingError>>)>,
    next_ping: u64,
    nat: arbiter::Arbiter,
    forced_reachability: Option<Reachability>,
    bootstrap: upkeep::Bootstrap,
    relays: relays::Relays,
    book_file: Option<PathBuf>,
    book_saved: Instant,
    wan_serves_when_reachable: bool,
    exchange: Option<holdfast_bitswap::Handle>,
}

impl Task {
    /// Whether there is a connection to a peer that goes through no relay. One through a relay carries no blocks, and does not
    /// last: whoever has no other is dialled all the same.
    fn is_direct(&self, peer: &PeerId) -> bool {
        self.open.values().any(|open| open.peer == *peer && !open.relayed)
    }

    /// Runs until it is told to stop, or until nobody holds a handle any more.
    async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let reply = loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                command = self.commands.recv(), if self.may_take() => match command {
                    Some(Command::Stop { reply }) => break Some(reply),
                    Some(command) => self.on_command(command),
                    None => break None,
                },
                Some(resolved) = self.resolving.join_next(), if !self.resolving.is_empty() => self.on_resolved(resolved),
                _ = ticks.tick() => self.on_tick(Instant::now()),
            }
        };
        self.save_book().await;
        drop(reply);
    }

    fn may_take(&self) -> bool {
        self.connects.len() + self.pings.len() < WAITERS_MAX
    }
}
