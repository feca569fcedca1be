//! "Is all of it here?": a walk that finds every block of a DAG, and so has a writer keep it.

use std::collections::HashMap;

use holdfast_blockstore::{PinKind, Store, WriteError, Writer};
use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::ipld;

use super::Job;
use super::missing::Missing;
use super::walk::{Walk, WalkFault};
use crate::fetch::{Fetch, FetchError, known_block};
use crate::node::Node;
use crate::services::dag::{IncompleteError, why_missing};

/// Pins that one walk may lean on: each is looked at again at the commit, by the one thread that all commits share.
const COVERS_MAX: usize = 1000;

/// Why a DAG was not found complete.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CompleteError {
    /// A block is missing, does not decode or cannot be read.
    #[error(transparent)]
    Incomplete(#[from] IncompleteError),
    /// A block is missing, and could not be had from others.
    #[error(transparent)]
    Fetch(FetchError),
    /// A block that came from others could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The walk could not go on.
    #[error(transparent)]
    Walk(#[from] WalkFault),
    /// Whoever waited went away.
    #[error("the walk was cancelled")]
    Cancelled,
}

impl From<FetchError> for CompleteError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Cancelled => Self::Cancelled,
            error => Self::Fetch(error),
        }
    }
}

/// Finds DAGs, block by block, and gets what is missing where there is somebody to ask. What one finding saw, the next
/// passes over.
pub(crate) struct Complete<'a> {
    store: &'a Store,
    fetch: &'a Fetch,
    writer: &'a Writer,
    job: &'a Job,
    pub(super) walk: Walk<'a>,
    missing: Missing<'a>,
    covers: Option<Vec<Cid>>,
}

impl<'a> Complete<'a> {
    /// Finds for `writer`; a scratch file may be written in the repo folder.
    pub(crate) fn new(node: &'a Node, writer: &'a Writer, job: &'a Job) -> Self {
        let (store, fetch) = (node.store(), node.fetch());
        let (walk, missing) = (Walk::new(store, node.repo_path()), Missing::new(fetch, writer));
        Self { store, fetch, writer, job, walk, missing, covers: None }
    }

    /// Lets it pass over what other recursive pins cover. The commit must expect those to be there still.
    pub(super) fn lean_on_pins(mut self) -> Self {
        self.covers = Some(Vec::new());
        self
    }

    /// The recursive pins that it leaned on.
    pub(super) fn into_covers(self) -> Vec<Cid> {
        self.covers.unwrap_or_default()
    }

    /// Finds everything below and including `root`. After an error what was seen is forgotten: it may lead to the
    /// fault too.
    pub(crate) fn dag(&mut self, root: &Cid) -> Result<(), CompleteError> {
        let done = self.root(root).and_then(|()| self.rest());
        if done.is_err() {
            self.walk.abandon();
            self.missing.abandon();
            self.walk.seen.clear();
        }
        done
    }

    fn root(&mut self, root: &Cid) -> Result<(), CompleteError> {
        if self.walk.seen.insert(root).map_err(WalkFault::from)? {
            let sizes = self.obtain(&[*root])?;
            self.walk.descend(*root, sizes.first().copied().unwrap_or_default());
        }
        Ok(())
    }

    /// Finds everything below what the walk was told to descend into.
    pub(super) fn rest(&mut self) -> Result<(), CompleteError> {
        loop {
            let batch = if self.missing.has_room() { self.walk.next_batch()? } else { Vec::new() };
            if let Some(fault) = self.walk.fault.take() {
                return Err(fault.into());
            }
            if !batch.is_empty() {
                self.look(&batch)?;
            }
            if self.missing.len() > 0 {
                for (cid, size) in self.take(batch.is_empty())? {
                    self.walk.descend(cid, size);
                }
            } else if batch.is_empty() {
                return Ok(());
            }
        }
    }

    /// Finds a batch: what is here is descended into, what is not is asked for.
    fn look(&mut self, batch: &[Cid]) -> Result<(), CompleteError> {
        let sizes = self.find(batch)?;
        let covered = self.covered(batch)?;
        for ((cid, size), covered) in batch.iter().zip(sizes).zip(covered) {
            match size {
                Some(_) if covered => {}
                Some(size) => self.walk.descend(*cid, size),
                None => self.missing.push(cid)?,
            }
        }
        Ok(())
    }

    /// Finds some blocks, waiting for those that are not here; their sizes. Leaves of others that come meanwhile are
    /// taken too.
    pub(super) fn obtain(&mut self, cids: &[Cid]) -> Result<Vec<u64>, CompleteError> {
        let (sizes, mut awaited) = (self.find(cids)?, HashMap::new());
        for (at, (cid, _)) in cids.iter().zip(&sizes).enumerate().filter(|(_, (_, size))| size.is_none()) {
            self.missing.push(cid)?;
            awaited.insert(*cid, at);
        }
        let mut sizes: Vec<u64> = sizes.into_iter().map(Option::unwrap_or_default).collect();
        while !awaited.is_empty() {
            let came = self.take(true)?;
            if let Some((cid, _)) =
                awaited.iter().next().filter(|_| came.is_empty() && self.missing.len() == 0)
            {
                return Err(why_missing(self.store, cid).into());
            }
            for (cid, came) in came {
                if let Some(size) = awaited.remove(&cid).and_then(|at| sizes.get_mut(at)) {
                    *size = came;
                }
            }
        }
        Ok(sizes)
    }

    /// Asks for blocks that nothing waits for before [`Complete::rest`]: leaves.
    pub(super) fn find_leaves(&mut self, cids: &[Cid]) -> Result<(), CompleteError> {
        let sizes = self.find(cids)?;
        cids.iter()
            .zip(sizes)
            .filter(|(_, size)| size.is_none())
            .try_for_each(|(cid, _)| self.missing.push(cid))
    }

    /// Finds some blocks; their sizes. Those that are not here are `None` if somebody can be asked, else an error.
    fn find(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>, CompleteError> {
        if self.job.is_cancelled() {
            return Err(CompleteError::Cancelled);
        }
        let mut sizes = self.writer.find_many(cids).map_err(WalkFault::from)?;
        for (cid, size) in cids.iter().zip(&mut sizes).filter(|(_, size)| size.is_none()) {
            *size = match known_block(cid) {
                Some(block) => Some(block.len() as u64),
                None => self.put_at_hand(cid)?,
            };
            if size.is_none() && !self.missing.can_ask() {
                return Err(why_missing(self.store, cid).into());
            }
        }
        let found = sizes.iter().flatten().count() as u64;
        self.job.progress.add(found, sizes.iter().flatten().sum());
        Ok(sizes)
    }

    /// Puts a block that was fetched a moment ago and is on its way into the store.
    fn put_at_hand(&self, cid: &Cid) -> Result<Option<u64>, CompleteError> {
        let Some(data) = self.fetch.at_hand(cid) else { return Ok(None) };
        let size = data.len() as u64;
        self.writer.put([Block::trusted(*cid, data)])?;
        Ok(Some(size))
    }

    /// What came of the missing blocks.
    fn take(&mut self, wait: bool) -> Result<Vec<(Cid, u64)>, CompleteError> {
        if self.job.is_cancelled() {
            return Err(CompleteError::Cancelled);
        }
        self.job.progress.set_missing(self.missing.len() as u64);
        let came = self.missing.take(wait)?;
        self.job.progress.add(came.len() as u64, came.iter().map(|(_, size)| size).sum());
        self.job.progress.set_missing(self.missing.len() as u64);
        Ok(came)
    }

    /// Which of these blocks have a recursive pin to lean on.
    fn covered(&mut self, cids: &[Cid]) -> Result<Vec<bool>, CompleteError> {
        let none = vec![false; cids.len()];
        let Some(covers) = self.covers.as_mut().filter(|covers| covers.len() < COVERS_MAX) else {
            return Ok(none);
        };
        // Leaves have nothing below them to pass over.
        let inner: Vec<(usize, Cid)> =
            cids.iter().copied().enumerate().filter(|(_, cid)| cid.codec() != codec::RAW).collect();
        let asked: Vec<Cid> = inner.iter().map(|(_, cid)| *cid).collect();
        let pinned = self.store.pins().have(&asked, PinKind::Recursive).map_err(WalkFault::from)?;
        let mut covered = none;
        for ((at, cid), _) in inner.iter().zip(pinned).filter(|(_, pinned)| *pinned) {
            if let Some(slot) = covered.get_mut(*at).filter(|_| covers.len() < COVERS_MAX) {
                *slot = true;
                covers.push(*cid);
            }
        }
        Ok(covered)
    }
}

/// Refuses what cannot be pinned recursively: nobody here can tell what such a block links to.
pub(super) fn check_codec(cid: &Cid) -> Result<(), IncompleteError> {
    if ipld::has_decoder(cid.codec()) {
        return Ok(());
    }
    Err(holdfast_blockstore::ReadError::NoDecoder { codec: cid.codec() }.into())
}
