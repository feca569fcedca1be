//! Keeping what came from others: blocks are written behind the readers that they were fetched for.
//!
//! They are cache blocks: readable at once, written in batches without a barrier of their own, and gone with the next
//! garbage collection unless somebody pins them. Where the disk is full or the storage limit is met they are not kept,
//! and reading goes on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_blockstore::Store;
use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, Multihash};

/// Bytes of blocks that wait to be written; whoever fetches waits beyond that.
const HELD_BYTES_MAX: usize = 16 << 20;
/// Bytes and blocks of one batch.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_BLOCKS: usize = 1024;
/// How long a batch is gathered.
const GATHER_TIME: Duration = Duration::from_millis(20);
/// How often it is said that blocks are not kept.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The blocks on their way into the store, and the thread that writes them.
pub(super) struct Intake {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Who knows which blocks are on their way into the store.
#[derive(Clone)]
pub(super) struct Held(Arc<Shared>);

impl Held {
    pub(super) fn has(&self, hash: &Multihash) -> bool {
        self.0.held.load(Ordering::Acquire) > 0 && self.0.queue().held.contains_key(hash)
    }
}

struct Shared {
    queue: Mutex<Queue>,
    /// Blocks held, so that a reader need not take the lock where there are none.
    held: AtomicUsize,
    work: Condvar,
}

#[derive(Default)]
struct Queue {
    /// To be written, in order of arrival.
    waiting: Vec<Block>,
    waiting_bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
    /// Those that wait and those that are being written.
    held: HashMap<Multihash, Bytes>,
    held_bytes: usize,
    /// Those who wait for room.
    wakers: Vec<Waker>,
    stop: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intake {
    /// Starts the thread that writes to `store`. Without one, nothing is kept.
    pub(super) fn start(store: Store) -> Self {
        let shared =
            Arc::new(Shared { queue: Mutex::default(), held: AtomicUsize::new(0), work: Condvar::new() });
        let work = Arc::clone(&shared);
        let thread = thread::Builder::new().name("fetched".to_owned()).spawn(move || run(&work, &store));
        if let Err(error) = &thread {
            tracing::warn!("fetched blocks are not kept: no thread could be started: {error}");
            shared.queue().stop = true;
        }
        Self { shared, thread: thread.ok() }
    }

    /// To be asked for what is on its way.
    pub(super) fn held(&self) -> Held {
        Held(Arc::clone(&self.shared))
    }

    /// A block that is not in the store yet.
    pub(super) fn get(&self, hash: &Multihash) -> Option<Bytes> {
        if self.shared.held.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.shared.queue().held.get(hash).cloned()
    }

    /// Waits for room.
    pub(super) fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        if self.shared.held.load(Ordering::Acquire) == 0 {
            return Poll::Ready(());
        }
        let mut queue = self.shared.queue();
        if queue.held_bytes < HELD_BYTES_MAX {
            return Poll::Ready(());
        }
        if !queue.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            queue.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Takes a block whose hash was checked.
    pub(super) fn push(&self, cid: &Cid, data: &Bytes) {
        let mut queue = self.shared.queue();
        if queue.stop || queue.held.insert(*cid.hash(), data.clone()).is_some() {
            return;
        }
        queue.held_bytes += data.len();
        queue.waiting_bytes += data.len();
        queue.waiting.push(Block::trusted(*cid, data.clone()));
        self.shared.held.store(queue.held.len(), Ordering::Release);
        let first = queue.since.is_none();
        queue.since.get_or_insert_with(Instant::now);
        if first || queue.is_full_batch() {
            drop(queue);
            self.shared.work.notify_one();
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.shared.queue().stop = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // What it could not write is no loss: nobody was promised anything.
            drop(thread.join());
        }
    }
}

impl Queue {
    fn is_full_batch(&self) -> bool {
        self.waiting_bytes >= BATCH_BYTES || self.waiting.len() >= BATCH_BLOCKS
    }

    /// How long it is still gathered; `None` if nothing waits.
    fn gather_time(&self) -> Option<Duration> {
        let since = self.since?;
        if self.stop || self.is_full_batch() {
            return Some(Duration::ZERO);
        }
        Some(GATHER_TIME.saturating_sub(since.elapsed()))
    }
}

/// The next batch; `None` at the end.
fn next_batch(shared: &Shared) -> Option<Vec<Block>> {
    let mut queue = shared.queue();
    loop {
        match queue.gather_time() {
            None if queue.stop => return None,
            None => queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
            Some(left) if left.is_zero() => break,
            Some(left) => {
                let woken = shared.work.wait_timeout(queue, left);
                queue = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
    let mut bytes = 0;
    let fits = queue.waiting.iter().take(BATCH_BLOCKS).take_while(|block| {
        let fits = bytes < BATCH_BYTES;
        bytes += block.data.len();
        fits
    });
    let count = fits.count();
    let batch: Vec<Block> = queue.waiting.drain(..count).collect();
    queue.waiting_bytes -= batch.iter().map(|block| block.data.len()).sum::<usize>();
    if queue.waiting.is_empty() {
        queue.since = None;
    }
    Some(batch)
}

fn run(shared: &Shared, store: &Store) {
    let mut warned: Option<Instant> = None;
    while let Some(batch) = next_batch(shared) {
        // One writer a batch: what it has put is spared by automatic collections for a while, and promised to nobody.
        let put = store.writer().put(&batch);
        if let Err(error) = put
            && warned.is_none_or(|at| at.elapsed() >= WARN_EVERY)
        {
            warned = Some(Instant::now());
            tracing::warn!("fetched blocks are not kept: {error}");
        }
        let mut queue = shared.queue();
        for block in &batch {
            if let Some(data) = queue.held.remove(block.cid.hash()) {
                queue.held_bytes -= data.len();
            }
        }
        shared.held.store(queue.held.len(), Ordering::Release);
        let wakers = std::mem::take(&mut queue.wakers);
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
    }
}
