//! `refs` and `refs local`: links of a DAG, and blocks of the store.

use holdfast_blockstore::ReadError as StoreError;
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::read::{ReadError, Refs, RefsOptions};

use crate::fetch::{WINDOW_BYTES, Walk, WalkError};
use crate::node::Node;
use crate::pool::{Cancelled, OperationStream, PoolError};

/// Blocks handed over together by [`Node::local_refs`].
const BLOCKS_PER_STEP: usize = 1024;

/// Why links cannot be listed.
pub type RefsError = WalkError<ReadError>;

/// Why blocks cannot be listed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LocalRefsError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The consumer went away.
    #[error("refs local was cancelled")]
    Cancelled,
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<Cancelled> for LocalRefsError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// CIDs of stored blocks, a thousand at a time.
pub type LocalRefs = OperationStream<Vec<Cid>, LocalRefsError>;

impl Node {
    /// The links below `roots`, depth first.
    pub fn refs(&self, roots: Vec<Cid>, options: RefsOptions) -> Walk<Refs> {
        self.fetch().walk(Refs::new(roots, options), WINDOW_BYTES)
    }

    /// Every stored block, under a CIDv1 of codec raw: the store does not know by which codec it is read.
    pub fn local_refs(&self) -> LocalRefs {
        let node = self.clone();
        self.pool().stream(4, move |output| {
            let mut step = Vec::with_capacity(BLOCKS_PER_STEP);
            for block in node.store().blocks() {
                let (hash, _) = block?;
                step.push(Cid::new_v1(codec::RAW, hash));
                if step.len() == BLOCKS_PER_STEP {
                    output.send(std::mem::take(&mut step))?;
                }
            }
            Ok(output.send(step)?)
        })
    }
}
