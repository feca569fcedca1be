//! The handle through which the rest of a node uses the exchange.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_dag::cid::Cid;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use crate::client::{RequestId, SessionId, Tried};
use crate::counters::Counters;
use crate::inbox::{Inbox, Input};
use crate::server::Ledger;
use crate::session::{Session, Sink};

/// Commands that wait for the behaviour at most; more senders wait.
pub(crate) const COMMANDS_MAX: usize = 1024;

/// Searches for providers that wait for the node at most. More are dropped: a session that still waits asks again.
pub(crate) const SEARCHES_MAX: usize = 256;

/// Somebody who provides this CID is wanted. Answer by [`Handle::providers`], as often as some are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindProviders {
    /// The session that waits.
    pub session: SessionId,
    /// What to look for.
    pub cid: Cid,
}

/// The requests for searches.
#[derive(Debug)]
pub struct Events(pub(crate) mpsc::Receiver<FindProviders>);

impl Events {
    /// The next one; nothing when the behaviour is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<FindProviders> {
        self.0.recv().await
    }
}

/// The state of the exchange, as `bitswap stat` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stat {
    /// CIDs that are waited for.
    pub wantlist: Vec<Cid>,
    /// Connected peers that speak Bitswap, as far as is known.
    pub peers: Vec<PeerId>,
    /// Wanted blocks that arrived.
    pub blocks_received: u64,
    /// Bytes of blocks that arrived, wanted or not.
    pub data_received: u64,
    /// Blocks that arrived again.
    pub dup_blocks_received: u64,
    /// Their bytes.
    pub dup_data_received: u64,
    /// Messages that arrived.
    pub messages_received: u64,
    /// Blocks handed to connections.
    pub blocks_sent: u64,
    /// Their bytes.
    pub data_sent: u64,
}

/// What the behaviour is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// `ended` as in [`Session`].
    Get {
        session: SessionId,
        ended: Arc<AtomicBool>,
        request: RequestId,
        cids: Vec<Cid>,
        sink: Arc<Sink>,
    },
    AddPeers {
        session: SessionId,
        ended: Arc<AtomicBool>,
        peers: Vec<(PeerId, Vec<Multiaddr>)>,
    },
    Tried {
        session: SessionId,
        answer: oneshot::Sender<Tried>,
    },
    Providers {
        cid: Cid,
        peers: Vec<(PeerId, Vec<Multiaddr>)>,
    },
    NewBlocks(Vec<(Cid, u64)>),
    Stat(oneshot::Sender<Stat>),
    Wantlist(Option<PeerId>, oneshot::Sender<Vec<Cid>>),
    Ledger(PeerId, oneshot::Sender<Ledger>),
}

/// What handle, sessions and behaviour share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) counters: Arc<Counters>,
    commands: mpsc::Sender<Command>,
    searches: Mutex<Option<Events>>,
    active: Mutex<HashSet<PeerId>>,
    ended: Mutex<Vec<SessionId>>,
    next: AtomicU64,
}

impl Shared {
    pub(crate) fn new(commands: mpsc::Sender<Command>, searches: Events) -> Self {
        Self {
            inbox: Arc::default(),
            counters: Arc::default(),
            commands,
            searches: Mutex::new(Some(searches)),
            active: Mutex::default(),
            ended: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    pub(crate) fn next_request(&self) -> RequestId {
        RequestId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends a command, or gives it back when there is no room. A behaviour that is gone swallows it.
    pub(crate) fn try_send(&self, command: Command) -> Option<Command> {
        match self.commands.try_send(command) {
            Err(mpsc::error::TrySendError::Full(command)) => Some(command),
            Err(mpsc::error::TrySendError::Closed(command)) => {
                end_unheard(&command);
                None
            }
            Ok(()) => None,
        }
    }

    pub(crate) async fn send(&self, command: Command) {
        if let Err(mpsc::error::SendError(command)) = self.commands.send(command).await {
            end_unheard(&command);
        }
    }

    /// Sends a question; nothing if the behaviour is gone.
    pub(crate) async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.send(question(answer)).await;
        answered.await.ok()
    }

    /// Notes that nobody holds a session any more. Bounded by the sessions there were.
    pub(crate) fn end_session(&self, session: SessionId) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        self.inbox.push(Input::Reader(RequestId(0)));
    }

    pub(crate) fn take_ended(&self) -> Vec<SessionId> {
        std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_active(&self, peer: PeerId, active: bool) {
        let mut peers = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if active {
            peers.insert(peer)
        } else {
            peers.remove(&peer)
        };
    }
}

/// A stream whose request nobody will hear ends.
fn end_unheard(command: &Command) {
    if let Command::Get { sink, .. } = command {
        sink.give(Vec::new(), true);
    }
}

/// Uses the exchange from any task. Cheap to clone; all of its queues are bounded, and its async calls wait for room.
///
/// After the behaviour is gone calls do nothing, streams of blocks end, and questions are answered by defaults.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    /// Begins a session.
    pub fn session(&self) -> Session {
        let RequestId(id) = self.shared.next_request();
        Session::new(self.shared.clone(), SessionId(id))
    }

    /// The searches that the exchange asks for. There is one receiver: the second call gives nothing.
    pub fn events(&self) -> Option<Events> {
        self.shared.searches.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Says who provides a CID. All sessions that wait for it ask them; those not connected are dialled, at most ten a call.
    pub async fn providers(&self, cid: Cid, peers: Vec<(PeerId, Vec<Multiaddr>)>) {
        self.shared.send(Command::Providers { cid, peers }).await;
    }

    /// Says which blocks are now in the store, with their sizes in bytes: they are pushed to peers that asked for them.
    pub async fn new_blocks(&self, blocks: Vec<(Cid, u64)>) {
        self.shared.send(Command::NewBlocks(blocks)).await;
    }

    /// The state of the exchange.
    pub async fn stat(&self) -> Stat {
        self.shared.ask(Command::Stat).await.unwrap_or_default()
    }

    /// What is waited for here, or by a peer as far as this node is to serve it.
    pub async fn wantlist(&self, peer: Option<PeerId>) -> Vec<Cid> {
        self.shared.ask(|answer| Command::Wantlist(peer, answer)).await.unwrap_or_default()
    }

    /// What was exchanged with a peer.
    pub async fn ledger(&self, peer: PeerId) -> Ledger {
        self.shared.ask(|answer| Command::Ledger(peer, answer)).await.unwrap_or_default()
    }

    /// What is counted, for metrics.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Whether wants or blocks are under way with a peer: such connections are not to be trimmed.
    pub fn is_active(&self, peer: &PeerId) -> bool {
        self.shared.active.lock().unwrap_or_else(PoisonError::into_inner).contains(peer)
    }
}
