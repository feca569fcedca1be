//! The blocks of a DAG that are not here: asked of others as far as a window allows, and put for a writer as they come.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use holdfast_blockstore::Writer;
use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::hash::check_policy;

use super::complete::CompleteError;
use crate::fetch::{Arrival, Fetch, FetchError, Keep, MISSED_BEFORE, Remote};
use crate::pool::wait_for;

/// Bytes that are put together.
const BATCH_BYTES: u64 = 1 << 20;
/// Blocks that are put together.
const BATCH_BLOCKS: usize = 256;
/// Blocks that are asked for at a time.
const ASKED_MAX: usize = 1024;
/// CIDs that wait to be asked for before the walk pauses.
const BACKLOG_MAX: usize = 1024;
/// What a block is taken to have before any came, in bytes.
const BLOCK_BYTES_GUESS: u64 = 256 << 10;

/// Blocks that are not here. They are put by the writer that the walk finds for, so that its commit makes them durable with the
/// rest, and no collection takes them before.
pub(super) struct Missing<'a> {
    fetch: &'a Fetch,
    writer: &'a Writer,
    remote: Option<Remote>,
    /// Not asked for yet; inner nodes first, as they lead to more.
    backlog: VecDeque<Cid>,
    /// What a block has had lately, in bytes.
    block_bytes: u64,
}

impl<'a> Missing<'a> {
    pub(super) fn new(fetch: &'a Fetch, writer: &'a Writer) -> Self {
        Self { fetch, writer, remote: None, backlog: VecDeque::new(), block_bytes: BLOCK_BYTES_GUESS }
    }

    /// Whether there is anybody to ask.
    pub(super) fn can_ask(&self) -> bool {
        self.remote.is_some() || self.fetch.is_online()
    }

    /// Takes a block that is not here.
    pub(super) fn push(&mut self, cid: &Cid) -> Result<(), CompleteError> {
        check_policy(cid).map_err(FetchError::from)?;
        if cid.codec() == codec::RAW {
            self.backlog.push_back(*cid);
        } else {
            self.backlog.push_front(*cid);
        }
        Ok(())
    }

    /// Gives up all that has not come.
    pub(super) fn abandon(&mut self) {
        self.backlog.clear();
        self.remote = None;
    }

    /// Blocks that have not come.
    pub(super) fn len(&self) -> usize {
        self.backlog.len() + self.remote.as_ref().map_or(0, Remote::len)
    }

    /// Whether the walk may find more that is missing.
    pub(super) fn has_room(&self) -> bool {
        self.backlog.len() < BACKLOG_MAX
    }

    /// Asks for as many as the window takes.
    fn ask(&mut self) -> Result<(), CompleteError> {
        let Some(first) = self.backlog.front() else { return Ok(()) };
        if self.remote.is_none() {
            let missing = || FetchError::NotFound { cid: Box::new(*first) };
            self.remote = Some(self.fetch.remote(first, Keep::ByCaller).ok_or_else(missing)?);
        }
        if let Some(remote) = &mut self.remote {
            let room = remote.window_bytes() / self.block_bytes.max(1);
            let room = (room as usize).clamp(1, ASKED_MAX).saturating_sub(remote.len());
            let count = room.min(self.backlog.len());
            remote.want(self.backlog.drain(..count).collect(), MISSED_BEFORE);
        }
        Ok(())
    }

    /// What came, with sizes in bytes, put by the writer. With `wait` it is at least one block, if any has not come.
    pub(super) fn take(&mut self, wait: bool) -> Result<Vec<(Cid, u64)>, CompleteError> {
        self.ask()?;
        let Some(remote) = &mut self.remote else { return Ok(Vec::new()) };
        let mut batch = Vec::new();
        let gathered =
            wait_for(std::future::poll_fn(|context| gather(remote, &mut batch, wait, context)), None);
        remote.set_idle();
        let gathered = gathered.map_err(|_| CompleteError::Cancelled)?;
        self.writer.put(&batch)?;
        gathered?;
        let came: Vec<(Cid, u64)> = batch.iter().map(|block| (block.cid, block.data.len() as u64)).collect();
        for (_, bytes) in &came {
            self.block_bytes = (7 * self.block_bytes + bytes) / 8;
        }
        Ok(came)
    }
}

/// Takes what is there, up to a batch.
fn gather(
    remote: &mut Remote,
    batch: &mut Vec<Block>,
    wait: bool,
    context: &mut Context<'_>,
) -> Poll<Result<(), FetchError>> {
    let mut bytes: u64 = batch.iter().map(|block| block.data.len() as u64).sum();
    while bytes < BATCH_BYTES && batch.len() < BATCH_BLOCKS {
        match remote.poll_next(context) {
            Poll::Ready(Some(Arrival::Block(cid, data))) => {
                bytes += data.len() as u64;
                batch.push(Block::trusted(cid, data));
            }
            Poll::Ready(Some(Arrival::GivenUp(_, error))) => return Poll::Ready(Err(error)),
            Poll::Pending if batch.is_empty() && wait => return Poll::Pending,
            Poll::Ready(None) | Poll::Pending => break,
        }
    }
    Poll::Ready(Ok(()))
}
