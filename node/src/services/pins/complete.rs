//! "Is all of it here?": a walk that finds every block of a DAG, and so has a writer keep it.

use std::path::Path;

use holdfast_blockstore::{PinKind, Store, Writer};
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::ipld;

use super::Job;
use super::walk::{Walk, WalkFault};
use crate::fetch::known_block;
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
    /// The walk could not go on.
    #[error(transparent)]
    Walk(#[from] WalkFault),
    /// Whoever waited went away.
    #[error("the walk was cancelled")]
    Cancelled,
}

/// Finds DAGs, block by block. What one finding saw, the next passes over.
pub(crate) struct Complete<'a> {
    store: &'a Store,
    writer: &'a Writer,
    job: &'a Job,
    pub(super) walk: Walk<'a>,
    covers: Option<Vec<Cid>>,
}

impl<'a> Complete<'a> {
    /// Finds for `writer`; a scratch file may be written in `folder`.
    pub(crate) fn new(store: &'a Store, writer: &'a Writer, job: &'a Job, folder: &Path) -> Self {
        Self { store, writer, job, walk: Walk::new(store, folder), covers: None }
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
            self.walk.seen.clear();
        }
        done
    }

    fn root(&mut self, root: &Cid) -> Result<(), CompleteError> {
        if self.walk.seen.insert(root).map_err(WalkFault::from)? {
            let sizes = self.find(&[*root])?;
            self.walk.descend(*root, sizes.first().copied().unwrap_or_default());
        }
        Ok(())
    }

    /// Finds everything below what the walk was told to descend into.
    pub(super) fn rest(&mut self) -> Result<(), CompleteError> {
        loop {
            let batch = self.walk.next_batch()?;
            if let Some(fault) = self.walk.fault.take() {
                return Err(fault.into());
            }
            if batch.is_empty() {
                return Ok(());
            }
            let sizes = self.find(&batch)?;
            let covered = self.covered(&batch)?;
            for ((cid, size), covered) in batch.iter().zip(sizes).zip(covered) {
                if !covered {
                    self.walk.descend(*cid, size);
                }
            }
        }
    }

    /// Finds some blocks; their sizes.
    pub(super) fn find(&self, cids: &[Cid]) -> Result<Vec<u64>, CompleteError> {
        if self.job.is_cancelled() {
            return Err(CompleteError::Cancelled);
        }
        let found = self.writer.find_many(cids).map_err(WalkFault::from)?;
        let mut sizes = Vec::with_capacity(cids.len());
        for (cid, size) in cids.iter().zip(found) {
            let size = size.or_else(|| known_block(cid).map(|block| block.len() as u64));
            sizes.push(size.ok_or_else(|| why_missing(self.store, cid))?);
        }
        self.job.progress.add(cids.len() as u64, sizes.iter().sum());
        Ok(sizes)
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
