//! Driving a walker of the DAG crate: read-ahead from the store, and beyond it from others.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use holdfast_dag::cid::Cid;
use holdfast_dag::walk::{Step, Walker};

use super::remote::{Arrival, Keep, MISSED_BEFORE, Remote};
use super::{Blocks, Fetch, FetchError, WalkError};
use crate::pool::{PoolError, Task, wait_for};

/// Default read-ahead of a walk, in bytes. Where blocks come from others it grows by itself.
pub const WINDOW_BYTES: u64 = 8 << 20;

/// Blocks are read in jobs of about this size, so that a window keeps several threads busy.
const JOB_BYTES: u64 = 1 << 20;

/// Most jobs of one walk.
const JOBS_MAX: u64 = 64;

/// Most blocks of one job.
const BLOCKS_PER_JOB_MAX: u64 = 256;

/// What a block is taken to have before any came: the chunk size of the default profile.
const BLOCK_BYTES_GUESS: u64 = 256 << 10;

/// An item of a walker, or why there is none.
type WalkItem<W> = Result<<W as Walker>::Item, WalkError<<W as Walker>::Error>>;

/// The items of a walker as a stream. See [`Fetch::walk`].
pub struct Walk<W: Walker> {
    fetch: Fetch,
    walker: W,
    /// Reads on their way, in the order in which the walker wants them.
    /// Reads of the store, and the count of puts when they began.
    jobs: VecDeque<(u64, Task<Blocks>)>,
    jobs_max: u64,
    /// What a block has had lately, in bytes.
    block_bytes: u64,
    /// What is asked of others, from the first block on that is not here.
    remote: Option<Remote>,
    /// Tells the walker of a block that is not to be had, where that is no failure.
    missing: Option<fn(&mut W, &Cid)>,
    /// A wanted block that could not be had: told once the walker can give nothing more without it.
    failed: Option<FetchError>,
    ended: bool,
}

impl<W: Walker> Walk<W> {
    pub(super) fn new(fetch: Fetch, walker: W, window_bytes: u64) -> Self {
        Self {
            fetch,
            walker,
            jobs: VecDeque::new(),
            jobs_max: window_bytes.div_ceil(JOB_BYTES).clamp(1, JOBS_MAX),
            block_bytes: BLOCK_BYTES_GUESS,
            remote: None,
            missing: None,
            failed: None,
            ended: false,
        }
    }

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
        let window_bytes = self.remote.as_ref().map_or(0, Remote::window_bytes);
        self.walker.wants(window_bytes.max(self.jobs_max * JOB_BYTES), &mut wants);
        let blocks_per_job = (JOB_BYTES / self.block_bytes.max(1)).clamp(1, BLOCKS_PER_JOB_MAX);
        for job in wants.chunks(blocks_per_job as usize) {
            self.jobs.push_back((self.fetch.puts(), self.fetch.start_many(job.to_vec())));
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
            let read = match self.poll_jobs(context) {
                Ok(read) => read,
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            };
            let came = self.poll_remote(context);
            if read || came {
                self.read_ahead();
            } else if self.jobs.is_empty() && self.remote.as_ref().is_none_or(|remote| remote.len() == 0) {
                // A walker that waits for a block which it does not want is broken; the stream still ends.
                return Poll::Ready(None);
            } else {
                return Poll::Pending;
            }
        }
    }

    /// Takes what was read; whether that was anything.
    fn poll_jobs(&mut self, context: &mut Context<'_>) -> Result<bool, PoolError> {
        // Queued behind a full pool, a job moves only when polled: all are, the first is waited for.
        let mut first = None;
        for (index, (_, job)) in self.jobs.iter_mut().enumerate() {
            if index == 0 {
                first = Some(Pin::new(job).poll(context));
            } else if job.poll_queueing(context) {
                break;
            }
        }
        let Some(Poll::Ready(blocks)) = first else { return Ok(false) };
        let missed = self.jobs.pop_front().map_or(MISSED_BEFORE, |(puts, _)| puts);
        let mut elsewhere = Vec::new();
        for (cid, block) in blocks? {
            match block {
                Ok(block) => self.supply(&cid, block),
                Err(error) if self.fetch.asks_others(&error) => elsewhere.push(cid),
                Err(error) => self.lacks(&cid, error),
            }
        }
        self.ask(elsewhere, missed);
        Ok(true)
    }

    fn ask(&mut self, cids: Vec<Cid>, missed: u64) {
        let Some(first) = cids.first() else { return };
        if self.remote.is_none() {
            self.remote = self.fetch.remote(first, Keep::AsCache);
        }
        match &mut self.remote {
            Some(remote) => remote.want(cids, missed),
            // The exchange went away in this moment.
            None => cids.iter().for_each(|cid| self.lacks(cid, FetchError::NotFound { cid: Box::new(*cid) })),
        }
    }

    /// Takes what came from others; whether that was anything.
    fn poll_remote(&mut self, context: &mut Context<'_>) -> bool {
        let mut came = false;
        while let Some(remote) = &mut self.remote
            && let Poll::Ready(Some(arrival)) = remote.poll_next(context)
        {
            came = true;
            match arrival {
                Arrival::Block(cid, block) => self.supply(&cid, block),
                Arrival::GivenUp(cid, error) => self.lacks(&cid, error),
            }
        }
        came
    }

    fn supply(&mut self, cid: &Cid, block: bytes::Bytes) {
        self.block_bytes = (7 * self.block_bytes + block.len() as u64) / 8;
        self.walker.supply(cid, block);
    }

    /// Takes note of a block that is not to be had.
    fn lacks(&mut self, cid: &Cid, error: FetchError) {
        match self.missing {
            Some(tell) if error.is_absence() => tell(&mut self.walker, cid),
            _ => {
                self.failed.get_or_insert(error);
            }
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
            self.remote = None;
        }
        if let Some(remote) = &self.remote {
            // Until it is asked for more, it is the reader that is waited for.
            remote.set_idle();
        }
        Poll::Ready(item)
    }
}

/// The items of a walker on a thread of an operation.
pub(crate) struct WalkBlocking<W: Walker>(pub(super) Walk<W>);

impl<W> Iterator for WalkBlocking<W>
where
    W: Walker + Unpin,
    W::Error: Unpin,
{
    type Item = Result<W::Item, WalkError<W::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = wait_for(std::future::poll_fn(|context| Pin::new(&mut self.0).poll_next(context)), None);
        next.unwrap_or_else(|unfinished| Some(Err(FetchError::from(unfinished).into())))
    }
}
