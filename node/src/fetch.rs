//! Getting blocks: from the CID itself, from what every node knows, or from the local store.
//!
//! Every surface reads through [`Fetch`]. [`Fetch::walk`] drives any sans-IO walker of the DAG crate with read-ahead:
//! while its items are consumed, the blocks it will want next are read and hash-checked on the pool's threads.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use holdfast_blockstore::repo::Repo;
use holdfast_blockstore::{ReadError, Store};
use holdfast_dag::cid::{Cid, Multihash, identity_data};
use holdfast_dag::hash::{HashKind, HashPolicyError};
use holdfast_dag::walk::{Step, Walker};

use crate::pool::{Pool, PoolError, Task, block_on};

/// Default read-ahead of a walk, in bytes.
pub const WINDOW_BYTES: u64 = 8 << 20;

/// Blocks are read in jobs of about this size, so that a window keeps several threads busy.
const JOB_BYTES: u64 = 1 << 20;

/// Most jobs of one walk.
const JOBS_MAX: u64 = 64;

/// Most blocks of one job.
const BLOCKS_PER_JOB_MAX: u64 = 256;

/// What a block is taken to have before any came: the chunk size of the default profile.
const BLOCK_BYTES_GUESS: u64 = 256 << 10;

/// Why a block could not be had.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It is not in the store, and there is nobody to ask.
    #[error("block was not found locally (offline): ipld: could not find {cid}")]
    NotFound {
        /// The CID that was asked for.
        cid: Box<Cid>,
    },
    /// Its hash function may not be read.
    #[error(transparent)]
    Policy(#[from] HashPolicyError),
    /// The store failed, or its copy is damaged.
    #[error(transparent)]
    Store(Arc<ReadError>),
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<ReadError> for FetchError {
    fn from(error: ReadError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// Why a walk ended early.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError<E> {
    /// A block could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The walker refused what it read.
    #[error("{0}")]
    Walker(E),
}

impl<E> From<PoolError> for WalkError<E> {
    fn from(error: PoolError) -> Self {
        Self::Fetch(error.into())
    }
}

/// The way to blocks. Clones share store and pool.
#[derive(Clone)]
pub struct Fetch {
    // In the order in which they are to be dropped: whoever still reads keeps the lock of the repo.
    store: Store,
    pool: Pool,
    counters: Arc<Counters>,
    _repo: Arc<Repo>,
}

/// Blocks that were asked for since the node opened. Those that need no storage do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchCounts {
    /// Were in the store.
    pub found: u64,
    /// Were not.
    pub missing: u64,
    /// Bytes of those that were.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    found: AtomicU64,
    missing: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    fn note(&self, found: &Result<Option<Bytes>, ReadError>) {
        match found {
            Ok(Some(block)) => {
                self.found.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(block.len() as u64, Ordering::Relaxed);
            }
            Ok(None) => {
                self.missing.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {}
        }
    }
}

impl Fetch {
    /// Reads from `store` on the threads of `pool`.
    pub fn new(store: Store, pool: Pool, repo: Arc<Repo>) -> Self {
        Self { store, pool, counters: Arc::default(), _repo: repo }
    }

    /// How many blocks were asked for by now, by all clones together.
    pub fn counts(&self) -> FetchCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { found, missing, bytes } = &*self.counters;
        FetchCounts { found: read(found), missing: read(missing), bytes: read(bytes) }
    }

    /// One block.
    pub async fn get(&self, cid: &Cid) -> Result<Bytes, FetchError> {
        if let Some(known) = known_block(cid) {
            return Ok(known);
        }
        let (fetch, cid) = (self.clone(), *cid);
        self.pool.run(move || fetch.get_blocking(&cid)).await?
    }

    /// Several blocks, in the order of `cids`; fails with the first that cannot be had. One job: keep it to a few MiB.
    pub async fn get_many(&self, cids: Vec<Cid>) -> Result<Vec<Bytes>, FetchError> {
        self.start_many(cids).await?.into_iter().map(|(_, block)| block).collect()
    }

    /// Starts to read several blocks in one job, each with its own outcome, in the order of `cids`.
    pub(crate) fn start_many(&self, cids: Vec<Cid>) -> Task<Blocks> {
        let fetch = self.clone();
        self.pool.start(move || {
            let found = fetch.store.get_many(&cids);
            cids.into_iter().zip(found).map(|(cid, found)| (cid, fetch.or_known(&cid, found))).collect()
        })
    }

    /// One block, on a thread that may block.
    pub(crate) fn get_blocking(&self, cid: &Cid) -> Result<Bytes, FetchError> {
        self.or_known(cid, self.store.get(cid))
    }

    /// What the store found, or what is known without it.
    fn or_known(&self, cid: &Cid, found: Result<Option<Bytes>, ReadError>) -> Result<Bytes, FetchError> {
        if let Ok(None) = found
            && let Some(known) = known_block(cid)
        {
            return Ok(known);
        }
        self.counters.note(&found);
        found?.ok_or_else(|| FetchError::NotFound { cid: Box::new(*cid) })
    }

    /// Drives a walker: a stream of its items, in order, then its error if it fails.
    ///
    /// About `window_bytes` (1 to 64 MiB) of blocks are on their way or waiting to be walked at any time.
    pub fn walk<W: Walker>(&self, walker: W, window_bytes: u64) -> Walk<W> {
        let jobs_max = window_bytes.div_ceil(JOB_BYTES).clamp(1, JOBS_MAX);
        let fetch = self.clone();
        Walk {
            fetch,
            walker,
            jobs: VecDeque::new(),
            jobs_max,
            block_bytes: BLOCK_BYTES_GUESS,
            missing: None,
            failed: None,
            ended: false,
        }
    }

    /// Drives a walker on a thread that may block.
    pub(crate) fn walk_blocking<W: Walker + Unpin>(&self, walker: W) -> WalkBlocking<W>
    where
        W::Error: Unpin,
    {
        WalkBlocking(self.walk(walker, WINDOW_BYTES))
    }
}

/// Blocks that need no storage: those that their CID carries, and the empty directory, file and block.
pub(crate) fn known_block(cid: &Cid) -> Option<Bytes> {
    if let Some(data) = identity_data(cid) {
        return Some(Bytes::copy_from_slice(data));
    }
    EMPTY_BLOCKS
        .iter()
        .find(|(digest, _)| is_sha2_256(cid.hash(), digest))
        .map(|(_, block)| Bytes::from_static(block))
}

fn is_sha2_256(hash: &Multihash, digest: &[u8; 32]) -> bool {
    hash.code() == HashKind::Sha2_256.code() && hash.digest() == digest
}

/// Digest and bytes of the empty directory, the empty file and the empty raw block.
const EMPTY_BLOCKS: [([u8; 32], &[u8]); 3] = [
    (hex("59948439065f29619ef41280cbb932be52c56d99c5966b65e0111239f098bbef"), b"\x0a\x02\x08\x01"),
    (hex("bfccda787baba32b59c78450ac3d20b633360b43992c77289f9ed46d843561e6"), b"\x0a\x04\x08\x02\x18\x00"),
    (hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), b""),
];

/// Decodes 64 hex digits at compile time.
const fn hex(text: &str) -> [u8; 32] {
    let (digits, mut out, mut at) = (text.as_bytes(), [0; 32], 0);
    while at < 64 {
        #[allow(clippy::indexing_slicing)] // evaluated at compile time: out of bounds would not compile
        let digit = match digits[at] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit => digit - b'a' + 10,
        };
        #[allow(clippy::indexing_slicing)] // as above
        {
            out[at / 2] = out[at / 2] << 4 | digit;
        }
        at += 1;
    }
    out
}

/// Blocks that were asked for, each with its own outcome.
pub(crate) type Blocks = Vec<(Cid, Result<Bytes, FetchError>)>;

/// An item of a walker, or why there is none.
type WalkItem<W> = Result<<W as Walker>::Item, WalkError<<W as Walker>::Error>>;

/// The items of a walker as a stream. See [`Fetch::walk`].
pub struct Walk<W: Walker> {
    fetch: Fetch,
    walker: W,
    /// Reads on their way, in the order in which the walker wants them.
    jobs: VecDeque<Task<Blocks>>,
    jobs_max: u64,
    /// What a block has had lately, in bytes.
    block_bytes: u64,
    /// Tells the walker of a block that is not to be had, where that is no failure.
    missing: Option<fn(&mut W, &Cid)>,
    /// A wanted block that could not be had: told once the walker can give nothing more without it.
    failed: Option<FetchError>,
    ended: bool,
}

impl<W: Walker> Walk<W> {
    /// The walker, for what it knows by now (the size of a file, ...).
    pub fn walker(&self) -> &W {
        &self.walker
    }

    /// Goes on where a block is not to be had, and tells the walker by this function.
    #[must_use]
    pub fn without_missing(mut self, tell: fn(&mut W, &Cid)) -> Self {
        self.missing = Some(tell);
        self
    }

    /// Starts reads of what the walker wants within the window, in jobs of about [`JOB_BYTES`], judged by the blocks
    /// that came so far.
    fn read_ahead(&mut self) {
        let mut wants = Vec::new();
        self.walker.wants(self.jobs_max * JOB_BYTES, &mut wants);
        let blocks_per_job = (JOB_BYTES / self.block_bytes.max(1)).clamp(1, BLOCKS_PER_JOB_MAX);
        for job in wants.chunks(blocks_per_job as usize) {
            self.jobs.push_back(self.fetch.start_many(job.to_vec()));
        }
    }

    fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<WalkItem<W>>> {
        loop {
            match self.walker.step() {
                Ok(Step::Item(item)) => return Poll::Ready(Some(Ok(item))),
                Ok(Step::Done) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(WalkError::Walker(error)))),
                Ok(Step::Need) => {}
            }
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Some(Err(error.into())));
            }
            self.read_ahead();
            // Queued behind a full pool, a job moves only when polled: all are, the first is waited for.
            let mut first = None;
            for (index, job) in self.jobs.iter_mut().enumerate() {
                if index == 0 {
                    first = Some(Pin::new(job).poll(context));
                } else if job.poll_queueing(context) {
                    break;
                }
            }
            let Some(first) = first else {
                // A walker that waits for a block which it does not want is broken; the stream still ends.
                return Poll::Ready(None);
            };
            let blocks = ready!(first)?;
            self.jobs.pop_front();
            for (cid, block) in blocks {
                match (block, self.missing) {
                    (Ok(block), _) => {
                        self.block_bytes = (7 * self.block_bytes + block.len() as u64) / 8;
                        self.walker.supply(&cid, block);
                    }
                    (Err(FetchError::NotFound { .. }), Some(tell)) => tell(&mut self.walker, &cid),
                    (Err(error), _) => {
                        self.failed.get_or_insert(error);
                    }
                }
            }
            self.read_ahead();
        }
    }
}

impl<W> Stream for Walk<W>
where
    W: Walker + Unpin,
    W::Error: Unpin,
{
    type Item = Result<W::Item, WalkError<W::Error>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let item = ready!(self.poll_item(context));
        if !matches!(item, Some(Ok(_))) {
            self.ended = true;
            self.jobs.clear();
        }
        Poll::Ready(item)
    }
}

/// The items of a walker on a thread that may block.
pub(crate) struct WalkBlocking<W: Walker>(Walk<W>);

impl<W> Iterator for WalkBlocking<W>
where
    W: Walker + Unpin,
    W::Error: Unpin,
{
    type Item = Result<W::Item, WalkError<W::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(std::future::poll_fn(|context| Pin::new(&mut self.0).poll_next(context)))
    }
}

#[cfg(test)]
mod tests {
    use holdfast_dag::cid::{CidBuilder, Version, codec};

    use super::*;

    #[test]
    fn the_empty_blocks_are_named_rightly() {
        let builder = CidBuilder { version: Version::V0, hash: HashKind::Sha2_256 };
        for (digest, block) in EMPTY_BLOCKS {
            let cid = builder.cid_of(codec::DAG_PB, &[block]);
            assert_eq!(cid.hash().digest(), digest);
            assert_eq!(known_block(&cid).as_deref(), Some(block));
        }
    }
}
