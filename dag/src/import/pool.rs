//! What concurrent imports share: hash threads, and reusable buffers within a bound.
//!
//! There is one lock. Whoever waits under it for a buffer runs hash jobs meanwhile, so an import never stands still for
//! want of threads, and a pool without threads works too.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

/// Size of one read buffer: 4 MiB, so that every buffer holds at least two whole chunks.
pub const SLAB_BYTES: usize = 4 << 20;

/// Slabs begin at a page. Reading from the page cache into memory 16 bytes behind one, which is where the allocator
/// puts large buffers, takes four times as long on current x86 processors.
const SLAB_ALIGN: usize = 4096;

/// Hash threads and read buffers for imports. Share one over the whole process.
///
/// Memory: buffers are made when needed and kept for reuse, up to the bound given to [`Self::new`]; [`Self::trim`] gives
/// them back. Files up to [`super::INLINE_FILE_BYTES_MAX`] use neither threads nor buffers of the pool.
#[derive(Debug)]
pub struct ImportPool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// Work for a hash thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

struct Shared {
    state: Mutex<State>,
    /// A job was queued, or the pool closes: for hash threads.
    queued: Condvar,
    /// A buffer came back or a flow moved on: for importing threads.
    moved: Condvar,
    slabs_max: usize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("slabs_max", &self.slabs_max).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    free: Vec<Box<[u8]>>,
    /// Buffers that exist, free or in use.
    slabs: usize,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                run(job);
                state = self.lock();
            } else if state.closed {
                return;
            } else {
                state = self.queued.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Runs a job. One that panics says so by what it drops, and takes no thread with it.
fn run(job: Job) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    drop(outcome);
}

impl ImportPool {
    /// A pool with this many hash threads (one a core is right; 0 leaves all work to the importing threads) and about
    /// this many bytes of buffers (at least 8 MiB; 64 MiB is plenty for one import at a time).
    pub fn new(threads: usize, buffer_bytes_max: usize) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            queued: Condvar::new(),
            moved: Condvar::new(),
            slabs_max: (buffer_bytes_max / SLAB_BYTES).max(2),
        });
        let workers = (0..threads)
            .filter_map(|index| {
                let shared = Arc::clone(&shared);
                let thread = std::thread::Builder::new().name(format!("import-hash-{index}"));
                // A machine that refuses a thread gets a pool with fewer; importing threads do the rest.
                thread.spawn(move || shared.work()).ok()
            })
            .collect();
        Self { shared, workers }
    }

    /// Gives back the buffers that are not in use.
    pub fn trim(&self) {
        let mut state = self.shared.lock();
        state.slabs -= state.free.len();
        let free = std::mem::take(&mut state.free);
        drop(state);
        drop(free);
    }

    /// Bytes of buffers that exist now, in use or kept for reuse.
    pub fn buffer_bytes(&self) -> usize {
        self.shared.lock().slabs * SLAB_BYTES
    }

    /// Queues a job. It is run by a hash thread, or by an importing thread that waits.
    pub(crate) fn queue(&self, job: Job) {
        self.shared.lock().jobs.push_back(job);
        self.shared.queued.notify_one();
    }

    /// Says that what a waiting import looks at has changed.
    pub(crate) fn moved(&self) {
        // Under the lock, or an import that has just looked and does not wait yet would miss it.
        let state = self.shared.lock();
        self.shared.moved.notify_all();
        drop(state);
    }

    /// Waits until `ready`, running jobs meanwhile.
    pub(crate) fn wait(&self, ready: impl Fn() -> bool) {
        self.wait_for(|_| ready().then_some(()));
    }

    /// A buffer, as soon as there is one; beyond the bound where `starved` says that waiting is in vain.
    pub(crate) fn slab(&self, starved: impl Fn() -> bool) -> Slab {
        let kept = self.wait_for(|state| {
            if let Some(kept) = state.free.pop() {
                return Some(Some(kept));
            }
            let may = state.slabs < self.shared.slabs_max || starved();
            may.then(|| {
                state.slabs += 1;
                None
            })
        });
        let bytes = kept.unwrap_or_else(|| vec![0; SLAB_BYTES + SLAB_ALIGN].into_boxed_slice());
        let start = bytes.as_ptr().align_offset(SLAB_ALIGN).min(SLAB_ALIGN);
        Slab { bytes, start, filled: 0, shared: Arc::clone(&self.shared) }
    }

    fn wait_for<R>(&self, mut ready: impl FnMut(&mut State) -> Option<R>) -> R {
        let mut state = self.shared.lock();
        loop {
            if let Some(result) = ready(&mut state) {
                return result;
            }
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                run(job);
                state = self.shared.lock();
            } else {
                state = self.shared.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Drop for ImportPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.queued.notify_all();
        for worker in self.workers.drain(..) {
            // Workers catch what jobs panic with, so there is nothing to learn from the result.
            let _ = worker.join();
        }
        // Jobs hold buffers, which hold the shared part: what an aborted import left must not keep itself alive.
        let left = std::mem::take(&mut self.shared.lock().jobs);
        drop(left);
    }
}

/// A read buffer. When the last slice of it is dropped it goes back to its pool.
pub(crate) struct Slab {
    bytes: Box<[u8]>,
    /// Where the used part begins.
    start: usize,
    filled: usize,
    shared: Arc<Shared>,
}

impl Slab {
    /// What is still free of the first `limit` bytes.
    pub(crate) fn space(&mut self, limit: usize) -> &mut [u8] {
        let limit = limit.min(SLAB_BYTES);
        self.bytes.get_mut(self.start + self.filled..self.start + limit).unwrap_or_default()
    }

    /// Copies bytes in, as far as there is space.
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(SLAB_BYTES);
        if let Some(space) = self.space(SLAB_BYTES).get_mut(..taken) {
            space.copy_from_slice(bytes);
        }
        self.advance(taken);
    }

    /// Counts bytes that were written to [`Self::space`].
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.filled = (self.filled + bytes).min(SLAB_BYTES);
    }

    /// The filled part.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Slab {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.filled).unwrap_or_default()
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = self.shared.lock();
        if state.slabs > self.shared.slabs_max {
            state.slabs -= 1;
        } else {
            state.free.push(bytes);
        }
        self.shared.moved.notify_all();
        drop(state);
    }
}
