//! The node's side of one DHT: questions go in, answers and events come out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot};

use crate::kad::{Goal, Key, Outcome, PeerInfo, Provide, QueryError, QueryEvent, Stats};

/// Commands that may wait for the swarm task: 256. Callers wait when it is full.
pub(crate) const COMMANDS_MAX: usize = 256;

/// Providers that a search without a count gives at most: 1,000.
pub const PROVIDERS_MAX: usize = 1_000;

/// Where the events of one query go, if anywhere. They are for eyes (`routing ... -v`): an event that finds the channel
/// full is dropped, so give it room for 256 or more.
pub type Events = Option<mpsc::Sender<QueryEvent>>;

/// What the behaviour is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Query(Question),
    Stats(oneshot::Sender<Stats>),
}

/// A query, and where its answers go.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) goal: Goal,
    pub(crate) limit: Option<Duration>,
    pub(crate) events: Events,
    pub(crate) providers: Option<mpsc::Sender<PeerInfo>>,
    pub(crate) done: oneshot::Sender<Result<Outcome, QueryError>>,
}

impl Question {
    /// Whether somebody still waits.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.done.is_closed()
    }
}

/// A handle to one DHT; cheap to clone, usable from any task.
///
/// Dropping a future or a stream that it gave cancels the query. All queries end by themselves after
/// [`Config::query_timeout`](crate::kad::Config::query_timeout), 60 s unless configured; [`Handle::announce`] has so long for each
/// key, and 10 minutes in all.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    seen: Arc<Seen>,
    limit: Option<Duration>,
}

/// What can be looked at without asking.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) table_len: AtomicUsize,
    pub(crate) has_addresses: AtomicBool,
}

impl Handle {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Command>, Arc<Seen>) {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let seen = Arc::<Seen>::default();
        (Self { commands, seen: Arc::clone(&seen), limit: None }, receiver, seen)
    }

    /// The same, with queries that end after this time if it is less than is configured, with what they have by then.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self.clone() }
    }

    /// The peers closest to a key that answer: at most 20, closest first. The key may be a peer's ID in bytes.
    pub async fn closest_peers(&self, key: Key, events: Events) -> Result<Vec<PeerInfo>, QueryError> {
        match self.ask(Goal::ClosestPeers { key }, events).await? {
            Outcome::Peers(peers) => Ok(peers),
            other => Err(unexpected(&other)),
        }
    }

    /// A peer's addresses, of this DHT's scope. A peer that answered itself is believed before what others say of it.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] when nobody knows it.
    pub async fn find_peer(&self, peer: PeerId, events: Events) -> Result<PeerInfo, QueryError> {
        match self.ask(Goal::FindPeer { peer }, events).await? {
            Outcome::Peer(found) => Ok(found),
            other => Err(unexpected(&other)),
        }
    }

    /// Who has a block, each once, as they are found; ends at `count` (0: at [`PROVIDERS_MAX`]) or when nobody closer is
    /// left to ask. The key is the block's multihash.
    pub fn find_providers(&self, key: Key, count: usize, events: Events) -> Providers {
        let count = if count == 0 { PROVIDERS_MAX } else { count.min(PROVIDERS_MAX) };
        let (providers, found) = mpsc::channel(count);
        let (done, outcome) = oneshot::channel();
        let question = Question {
            goal: Goal::Providers { key, count },
            limit: self.limit,
            events,
            providers: Some(providers),
            done,
        };
        let commands = self.commands.clone();
        let sending = async move {
            let sent = commands.send(Command::Query(question)).await;
            sent.map_err(|_| QueryError::Closed)
        };
        Providers { sending: Some(Box::pin(sending)), found, outcome: Some(outcome) }
    }

    /// Tells the 20 peers closest to a key that this node has its block. With [`Provide::Optimistic`] it returns once 15
    /// of them know, as soon as the size of the network lets it guess who they are.
    ///
    /// Returns how many know; fails when none does.
    pub async fn provide(&self, key: Key, how: Provide, events: Events) -> Result<usize, QueryError> {
        match self.ask(Goal::Provide { key, how }, events).await? {
            Outcome::Stored { peers } => Ok(peers),
            other => Err(unexpected(&other)),
        }
    }

    /// Tells one peer of keys that this node has, without looking for anybody: what the sweep does after it has explored a
    /// region. Returns how many were sent.
    pub async fn announce(&self, peer: PeerInfo, keys: Vec<Key>) -> Result<usize, QueryError> {
        match self.ask(Goal::Announce { peer, keys }, None).await? {
            Outcome::Stored { peers } => Ok(peers),
            other => Err(unexpected(&other)),
        }
    }

    /// The best valid record under a key. Ends after `quorum` peers have answered with a record (0: when nobody closer is
    /// left to ask; Kubo resolves names with 16). Peers that gave an older one, or none, get the best one.
    pub async fn get_value(&self, key: Key, quorum: usize, events: Events) -> Result<Vec<u8>, QueryError> {
        match self.ask(Goal::GetValue { key, quorum }, events).await? {
            Outcome::Value(value) => Ok(value),
            other => Err(unexpected(&other)),
        }
    }

    /// Stores a record with the 20 peers closest to its key, and here. Returns how many peers took it; fails when none did,
    /// when the record is not valid, or when a better one is known here.
    pub async fn put_value(&self, key: Key, value: Vec<u8>, events: Events) -> Result<usize, QueryError> {
        match self.ask(Goal::PutValue { key, value }, events).await? {
            Outcome::Stored { peers } => Ok(peers),
            other => Err(unexpected(&other)),
        }
    }

    /// What `stats dht` shows.
    pub async fn stats(&self) -> Result<Stats, QueryError> {
        let (reply, stats) = oneshot::channel();
        self.commands.send(Command::Stats(reply)).await.map_err(|_| QueryError::Closed)?;
        stats.await.map_err(|_| QueryError::Closed)
    }

    /// How many peers the routing table holds. Does not wait.
    pub fn table_len(&self) -> usize {
        self.seen.table_len.load(Ordering::Relaxed)
    }

    /// Whether the node has an address of the scope, without which nothing can be announced. Does not wait.
    pub fn has_addresses(&self) -> bool {
        self.seen.has_addresses.load(Ordering::Relaxed)
    }

    async fn ask(&self, goal: Goal, events: Events) -> Result<Outcome, QueryError> {
        let (done, outcome) = oneshot::channel();
        let question = Question { goal, limit: self.limit, events, providers: None, done };
        self.commands.send(Command::Query(question)).await.map_err(|_| QueryError::Closed)?;
        outcome.await.map_err(|_| QueryError::Closed)?
    }
}

/// Every goal has its own kind of outcome, so this is told only if that is broken.
fn unexpected(outcome: &Outcome) -> QueryError {
    QueryError::Internal(format!("the query gave an outcome of another kind: {outcome:?}"))
}

type Sending = Pin<Box<dyn Future<Output = Result<(), QueryError>> + Send>>;

/// Providers as they are found; an error, if there is one, comes last.
pub struct Providers {
    sending: Option<Sending>,
    found: mpsc::Receiver<PeerInfo>,
    outcome: Option<oneshot::Receiver<Result<Outcome, QueryError>>>,
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Providers").finish_non_exhaustive()
    }
}

impl Stream for Providers {
    type Item = Result<PeerInfo, QueryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(sending) = &mut self.sending {
            match sending.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(sent) => {
                    self.sending = None;
                    if let Err(error) = sent {
                        self.outcome = None;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        }
        if let Some(provider) = std::task::ready!(self.found.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(provider)));
        }
        let Some(outcome) = &mut self.outcome else { return Poll::Ready(None) };
        let outcome = std::task::ready!(Pin::new(outcome).poll(cx));
        self.outcome = None;
        match outcome {
            Ok(Ok(_)) => Poll::Ready(None),
            Ok(Err(error)) => Poll::Ready(Some(Err(error))),
            Err(_) => Poll::Ready(Some(Err(QueryError::Closed))),
        }
    }
}
