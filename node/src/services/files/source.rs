//! Where edits find blocks.

use std::collections::HashMap;

use bytes::Bytes;
use holdfast_blockstore::Store;
use holdfast_dag::cid::Cid;
use holdfast_dag::edit::BlockSource;
use holdfast_dag::import::SinkError;

use super::FilesError;
use crate::fetch::{Fetch, known_block};

/// Blocks that one operation may fetch before it gives up, and their bytes.
const FETCHED_MAX: usize = 1024;
const FETCHED_BYTES_MAX: usize = 64 << 20;

/// Blocks that were fetched for an operation: it is run again, and finds them here.
#[derive(Debug, Clone, Default)]
pub(super) struct Fetched {
    blocks: HashMap<Cid, Bytes>,
    bytes: usize,
}

impl Fetched {
    pub(super) fn insert(&mut self, cid: Cid, block: Bytes) -> Result<(), FilesError> {
        self.bytes += block.len();
        self.blocks.insert(cid, block);
        if self.blocks.len() > FETCHED_MAX || self.bytes > FETCHED_BYTES_MAX {
            return Err(FilesError::TooManyMissing(self.blocks.len() - 1));
        }
        Ok(())
    }
}

/// What is here: in the store, known to every node, or fetched before.
pub(super) struct Local<'a> {
    pub(super) store: &'a Store,
    pub(super) fetched: &'a Fetched,
}

impl BlockSource for Local<'_> {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, SinkError> {
        if let Some(block) = self.fetched.blocks.get(cid) {
            return Ok(Some(block.clone()));
        }
        Ok(self.store.get(cid)?.or_else(|| known_block(cid)))
    }
}

/// Wherever blocks come from. For the thread of an operation that holds no lock.
pub(super) struct Anywhere<'a>(pub(super) &'a Fetch);

impl BlockSource for Anywhere<'_> {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, SinkError> {
        match self.0.get_blocking(cid) {
            Ok(block) => Ok(Some(block)),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
