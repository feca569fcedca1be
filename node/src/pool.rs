//! The one way in which this crate leaves an async task: disk and hashing run here, on threads of a bounded pool.
//!
//! There are two lanes. [`Pool::run`] and [`Pool::start`] are for short work (reading a batch of blocks, hashing
//! them): a fixed number of threads behind a bounded queue. [`Pool::operation`] is for work that lasts as long as
//! its caller does and waits on it (an `add` that reads an upload, an extraction that writes to a slow disk): a
//! thread of its own, of which there is a bounded number, so that it never starves the short lane. Whoever waits for a
//! client meanwhile makes place for others (`aside`).

mod places;
mod short;

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_util::Stream;
use futures_util::task::AtomicWaker;
use tokio::sync::{mpsc, oneshot};

use self::places::{Place, Places};
pub(crate) use self::places::{aside, on_behalf_of};
use self::short::{Job, Lane};

/// Short jobs that may wait per thread before their callers do.
const QUEUED_JOBS_PER_THREAD: usize = 16;

/// Default number of operations that work at once; more wait for their turn. Six times as many may exist, the others
/// waiting for their clients, three quarters of them on behalf of one address.
pub const OPERATIONS_MAX: usize = 64;

/// A wait on the thread of an operation that is not longer is no reason to make place for others: a read of the disk is one.
const SHORT_WAIT: Duration = Duration::from_millis(20);

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The work panicked; the node goes on.
    #[error("internal error: a worker panicked")]
    Panicked,
    /// No thread could be started.
    #[error("no thread could be started for this operation")]
    NoThread,
}

/// A bounded pool of threads for blocking work. Clones share it; its threads end with the last clone.
#[derive(Debug, Clone)]
pub struct Pool {
    short: Lane,
    places: Places,
}

impl Pool {
    /// A pool of `threads` (at least 1) for short work, in which also `operations_max` (at least 1) long operations work at
    /// once.
    ///
    /// Up to 16 jobs a thread are queued; callers beyond that wait. Fails if no thread at all can be started.
    pub fn new(threads: usize, operations_max: usize) -> Result<Self, PoolError> {
        let threads = threads.max(1);
        let short = Lane::new(threads, threads * QUEUED_JOBS_PER_THREAD)?;
        Ok(Self { short, places: Places::new(operations_max.max(1)) })
    }

    /// Queues short work at once, if the queue has room, and gives a future of its result.
    ///
    /// The work runs whether or not the future is polled again or dropped; where the queue is full, it is queued
    /// only when the future is polled.
    pub fn start<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            if let Ok(value) = catch_unwind(AssertUnwindSafe(work)) {
                // The caller may have gone away: nobody to tell.
                drop(done.send(value));
            }
        });
        let queueing = self.short.try_push(job).err().map(|job| {
            let short = self.short.clone();
            let queueing: Queueing = Box::pin(async move { short.push(job).await });
            queueing
        });
        Task { queueing, result }
    }

    /// Runs short work and waits for it.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        self.start(work).await
    }

    /// Runs a long operation on a thread of its own and waits for its end.
    ///
    /// If the future is dropped the operation goes on, unless it waits for what comes from elsewhere (`wait_for`).
    pub async fn operation<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let place = self.places.take().await.ok_or(PoolError::NoThread)?;
        let (done, result) = oneshot::channel();
        let caller = CallerGuard::default();
        let gone = Arc::clone(&caller.0);
        thread::Builder::new()
            .name("operation".to_owned())
            .spawn(move || {
                CALLER.set(Some(gone));
                place.enter();
                let outcome = catch_unwind(AssertUnwindSafe(work));
                Place::leave();
                if let Ok(value) = outcome {
                    drop(done.send(value));
                }
            })
            .map_err(|_| PoolError::NoThread)?;
        let result = result.await.map_err(|_| PoolError::Panicked);
        drop(caller);
        result
    }

    /// Waits until no long operation runs. Those that begin meanwhile are waited for too.
    pub async fn idle(&self) {
        self.places.idle().await;
    }

    /// Runs a long operation that gives values as it goes, and streams them.
    ///
    /// At most `buffered` values wait for the consumer; then the operation waits. Dropping the stream cancels: the
    /// operation's next [`Output::send`] says so, as does [`Output::is_cancelled`]. An error ends the stream.
    pub fn stream<T, E, F>(&self, buffered: usize, work: F) -> OperationStream<T, E>
    where
        T: Send + 'static,
        E: From<PoolError> + Send + 'static,
        F: FnOnce(&Output<T>) -> Result<(), E> + Send + 'static,
    {
        let (values, received) = mpsc::channel(buffered.max(1));
        let cancelled = Arc::new(AtomicBool::new(false));
        let output = Output { values, cancelled: Arc::clone(&cancelled) };
        let pool = self.clone();
        let end =
            async move { pool.operation(move || work(&output)).await.unwrap_or_else(|e| Err(e.into())) };
        OperationStream { received, cancelled, end: Some(Box::pin(end)), outcome: None }
    }
}

type Queueing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Work that a [`Pool`] has been given.
pub struct Task<T> {
    queueing: Option<Queueing>,
    result: oneshot::Receiver<T>,
}

impl<T> Task<T> {
    /// Whether it waits for room in the queue, which it gets only while it is polled.
    pub(crate) fn is_queueing(&self) -> bool {
        self.queueing.is_some()
    }

    /// Goes on queueing work that found the queue full; whether it still waits for room.
    pub(crate) fn poll_queueing(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(queueing) = &mut self.queueing {
            if queueing.as_mut().poll(context).is_pending() {
                return true;
            }
            self.queueing = None;
        }
        false
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, PoolError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.poll_queueing(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.result).poll(context).map_err(|_| PoolError::Panicked)
    }
}

/// Where a streaming operation puts its values.
#[derive(Debug)]
pub struct Output<T> {
    values: mpsc::Sender<T>,
    cancelled: Arc<AtomicBool>,
}

/// The consumer of a stream has gone away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

impl<T> Output<T> {
    /// Hands a value over; waits while the consumer is behind.
    pub fn send(&self, value: T) -> Result<(), Cancelled> {
        match self.values.try_send(value) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(value)) => {
                aside(|| self.values.blocking_send(value)).map_err(|_| Cancelled)
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Cancelled),
        }
    }

    /// Whether the consumer has gone away.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// The flag behind [`Output::is_cancelled`], for parts of the operation that do not see this value.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancelled)
    }
}

type End<E> = Pin<Box<dyn Future<Output = Result<(), E>> + Send>>;

/// The values of a streaming operation, then its error if it failed. Nothing runs before it is first polled.
pub struct OperationStream<T, E> {
    received: mpsc::Receiver<T>,
    cancelled: Arc<AtomicBool>,
    end: Option<End<E>>,
    outcome: Option<E>,
}

impl<T, E: Unpin> Stream for OperationStream<T, E> {
    type Item = Result<T, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(end) = &mut self.end
            && let Poll::Ready(outcome) = end.as_mut().poll(context)
        {
            self.end = None;
            self.outcome = outcome.err();
        }
        // The operation owns the sender: when it has ended, what it sent is still given first.
        match self.received.poll_recv(context) {
            Poll::Ready(Some(value)) => Poll::Ready(Some(Ok(value))),
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) if self.end.is_some() => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(self.outcome.take().map(Err)),
        }
    }
}

impl<T, E> Drop for OperationStream<T, E> {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Whether the caller of an operation has gone away, and how to tell the operation.
#[derive(Debug, Default)]
struct Caller {
    gone: AtomicBool,
    waker: AtomicWaker,
}

thread_local! {
    /// Whoever waits for the operation that runs on this thread.
    static CALLER: RefCell<Option<Arc<Caller>>> = const { RefCell::new(None) };
}

/// Held by the caller.
#[derive(Debug, Default)]
struct CallerGuard(Arc<Caller>);

impl Drop for CallerGuard {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Release);
        self.0.waker.wake();
    }
}

/// Why a wait ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// Whoever waited for this operation went away.
    Gone,
    /// The deadline passed.
    Late,
}

/// Waits on the thread of an operation for what comes from elsewhere and may never come: until the caller goes away, or to
/// the deadline. It turns no reactor.
pub(crate) fn wait_for<F: Future>(future: F, deadline: Option<Instant>) -> Result<F::Output, Unfinished> {
    let caller = CALLER.with_borrow(Clone::clone);
    let mut future = pin!(future);
    let short = Instant::now().checked_add(SHORT_WAIT);
    let first = deadline.into_iter().chain(short).min();
    match park_until(future.as_mut(), first, caller.as_deref()) {
        Err(Unfinished::Late) if first != deadline => {
            aside(|| park_until(future, deadline, caller.as_deref()))
        }
        ended => ended,
    }
}

/// The same, in the place that this thread has.
fn park_until<F: Future>(
    future: F,
    deadline: Option<Instant>,
    caller: Option<&Caller>,
) -> Result<F::Output, Unfinished> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Some(caller) = caller {
            caller.waker.register(&waker);
            if caller.gone.load(Ordering::Acquire) {
                return Err(Unfinished::Gone);
            }
        }
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(left) if left.is_zero() => return Err(Unfinished::Late),
            Some(left) => thread::park_timeout(left),
        }
    }
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_fails_its_own_job_only() {
        let pool = Pool::new(1, 1).unwrap();
        let panicked: Result<(), _> = pool.run(|| panic!("on purpose")).await;
        assert_eq!(panicked, Err(PoolError::Panicked));
        assert_eq!(pool.run(|| 7).await, Ok(7));
        assert_eq!(pool.operation(|| 8).await, Ok(8));
    }

    #[tokio::test]
    async fn more_jobs_than_the_queue_holds_all_run() {
        let pool = Pool::new(2, 1).unwrap();
        let tasks: Vec<_> = (0..1000).map(|n| pool.start(move || n * 2)).collect();
        let results = futures_util::future::join_all(tasks).await;
        assert!(results.iter().enumerate().all(|(n, result)| *result == Ok(n * 2)));
    }

    #[tokio::test]
    async fn a_stream_gives_its_values_then_its_error() {
        let pool = Pool::new(1, 1).unwrap();
        let stream = pool.stream(1, |output: &Output<u32>| {
            for n in 0..100 {
                output.send(n).map_err(|_| PoolError::Panicked)?;
            }
            Err(PoolError::NoThread)
        });
        let all: Vec<_> = stream.collect().await;
        assert_eq!(all.len(), 101);
        assert_eq!(all[99], Ok(99));
        assert_eq!(all[100], Err(PoolError::NoThread));
    }

    #[tokio::test]
    async fn dropping_a_stream_cancels_its_operation() {
        let pool = Pool::new(1, 1).unwrap();
        let (said, heard) = oneshot::channel();
        let mut stream = pool.stream(1, move |output: &Output<u32>| {
            let mut n = 0;
            while output.send(n).is_ok() {
                n += 1;
            }
            said.send(output.is_cancelled()).unwrap();
            Ok::<(), PoolError>(())
        });
        assert!(stream.next().await.is_some());
        drop(stream);
        assert_eq!(heard.await, Ok(true));
    }

    #[test]
    fn blocking_wait_needs_no_runtime() {
        let pool = Pool::new(1, 1).unwrap();
        assert_eq!(wait_for(pool.run(|| 3), None), Ok(Ok(3)));
    }

    #[tokio::test]
    async fn an_operation_that_waits_for_ever_ends_when_its_caller_goes_away() {
        let pool = Pool::new(1, 1).unwrap();
        let (began, begun) = oneshot::channel();
        let (said, heard) = oneshot::channel();
        let waiting = pool.operation(move || {
            began.send(()).unwrap();
            said.send(wait_for(std::future::pending::<()>(), None)).unwrap();
        });
        tokio::select! {
            _ = waiting => panic!("it ended by itself"),
            begun = begun => begun.unwrap(),
        }
        assert_eq!(heard.await, Ok(Err(Unfinished::Gone)));
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        assert_eq!(wait_for(std::future::pending::<()>(), Some(Instant::now())), Err(Unfinished::Late));
        assert_eq!(wait_for(std::future::ready(1), Some(Instant::now())), Ok(1));
    }
}
