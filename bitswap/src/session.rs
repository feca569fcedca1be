//! Sessions and the streams of blocks that they give.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, Stream};
use holdfast_dag::cid::Cid;
use libp2p::{Multiaddr, PeerId};

use crate::client::{RequestId, SessionId, Tried};
use crate::handle::{Command, Shared};
use crate::inbox::Input;

/// A reader is reported on when it took this many bytes, or everything.
const REPORT_BYTES: usize = 256 << 10;

/// Blocks that belong together, such as those of one DAG: it remembers which peers have them. Dropping it and all of its streams ends it.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    id: SessionId,
    /// Whether it was dropped: what it asked for may be looked at only after that.
    ended: Arc<AtomicBool>,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, id: SessionId) -> Self {
        Self { shared, id, ended: Arc::default() }
    }

    /// The name under which [`crate::FindProviders`] speaks of it.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Wants these blocks; they come in order of arrival, each once.
    ///
    /// Asking begins at once. The stream ends after the last block, and earlier only when the behaviour is gone; how long to wait is the
    /// caller's to say. Dropping it cancels what has not come. The stream holds at most [`crate::Config::request_bytes_max`] bytes: who does
    /// not read is not sent more. Identity CIDs are answered from themselves.
    pub fn get(&self, cids: Vec<Cid>) -> Blocks {
        let id = self.shared.next_request();
        let sink = Arc::new(Sink::new(id));
        let ended = self.ended.clone();
        let command = Command::Get { session: self.id, ended, request: id, cids, sink: sink.clone() };
        let start = self.shared.try_send(command).map(|command| {
            let shared = self.shared.clone();
            async move { shared.send(command).await }.boxed()
        });
        Blocks { shared: self.shared.clone(), sink, start }
    }

    /// Adds peers that are expected to have the blocks; those not connected are dialled, by these addresses or by those that the swarm
    /// knows. No more than [`crate::Config::session_peers_max`] are kept.
    pub async fn add_peers(&self, peers: Vec<(PeerId, Vec<Multiaddr>)>) {
        let ended = self.ended.clone();
        self.shared.send(Command::AddPeers { session: self.id, ended, peers }).await;
    }

    /// What was tried until now, for telling why something is missing.
    pub async fn tried(&self) -> Tried {
        let id = self.id;
        self.shared.ask(|answer| Command::Tried { session: id, answer }).await.unwrap_or_default()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.shared.end_session(self.id);
    }
}

/// A stream of verified blocks: see [`Session::get`].
#[must_use = "dropping it cancels the wants"]
pub struct Blocks {
    shared: Arc<Shared>,
    sink: Arc<Sink>,
    /// The request itself, while the queue of commands is full.
    start: Option<BoxFuture<'static, ()>>,
}

impl Blocks {
    /// Everything that has arrived, at least one block, or nothing at the end: for who stores in batches.
    pub async fn next_batch(&mut self) -> Option<Vec<(Cid, Bytes)>> {
        futures_util::future::poll_fn(|cx| self.poll_batch(cx)).await
    }

    /// As [`Blocks::next_batch`].
    pub fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<(Cid, Bytes)>>> {
        self.begin(cx);
        self.take(cx, |queue| (!queue.is_empty()).then(|| std::mem::take(queue).into()))
    }

    fn begin(&mut self, cx: &mut Context<'_>) {
        if let Some(start) = &mut self.start
            && start.poll_unpin(cx).is_ready()
        {
            self.start = None;
        }
    }

    fn take<T: Weigh>(
        &mut self,
        cx: &mut Context<'_>,
        pick: impl FnOnce(&mut VecDeque<(Cid, Bytes)>) -> Option<T>,
    ) -> Poll<Option<T>> {
        let mut state = self.sink.lock();
        let Some(picked) = pick(&mut state.queue) else {
            if state.ended {
                return Poll::Ready(None);
            }
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        state.consumed += picked.weight();
        let report = state.queue.is_empty() || state.consumed >= REPORT_BYTES;
        drop(state);
        if report {
            self.sink.report(&self.shared);
        }
        Poll::Ready(Some(picked))
    }
}

/// Bytes of what was taken.
trait Weigh {
    fn weight(&self) -> usize;
}

impl Weigh for (Cid, Bytes) {
    fn weight(&self) -> usize {
        self.1.len()
    }
}

impl Weigh for Vec<(Cid, Bytes)> {
    fn weight(&self) -> usize {
        self.iter().map(Weigh::weight).sum()
    }
}

impl Stream for Blocks {
    type Item = (Cid, Bytes);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.begin(cx);
        self.take(cx, VecDeque::pop_front)
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.sink.cancelled.store(true, Ordering::Release);
        self.sink.report(&self.shared);
    }
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocks").field("request", &self.sink.request).finish_non_exhaustive()
    }
}

/// Where the behaviour puts blocks for one stream.
#[derive(Debug)]
pub(crate) struct Sink {
    request: RequestId,
    cancelled: AtomicBool,
    /// Whether the behaviour was told to look and has not yet.
    reported: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(Cid, Bytes)>,
    consumed: usize,
    ended: bool,
    waker: Option<Waker>,
}

impl Sink {
    fn new(request: RequestId) -> Self {
        Self {
            request,
            cancelled: AtomicBool::new(false),
            reported: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, shared: &Shared) {
        if !self.reported.swap(true, Ordering::AcqRel) {
            shared.inbox.push(Input::Reader(self.request));
        }
    }

    /// Gives blocks to the reader; `end` says that they are the last.
    pub(crate) fn give(&self, blocks: Vec<(Cid, Bytes)>, end: bool) {
        let mut state = self.lock();
        state.queue.extend(blocks);
        state.ended |= end;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Bytes that the reader took since the last call, or that it has gone.
    pub(crate) fn consumed(&self) -> Option<usize> {
        self.reported.store(false, Ordering::Release);
        let consumed = std::mem::take(&mut self.lock().consumed);
        (!self.cancelled.load(Ordering::Acquire)).then_some(consumed)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        debug_assert!(self.state.get_mut().is_ok(), "nothing panics while it holds the lock");
    }
}
