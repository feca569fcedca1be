//! Why a block could not be had.

use std::sync::Arc;

use holdfast_blockstore::ReadError;
use holdfast_dag::cid::Cid;
use holdfast_dag::hash::HashPolicyError;

use super::Tried;
use crate::pool::{PoolError, Unfinished};

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
    /// It is not in the store, and the search elsewhere was given up.
    #[error("ipld: could not find {cid}: {tried}")]
    Unavailable {
        /// The CID that was asked for.
        cid: Box<Cid>,
        /// Who was asked for it.
        tried: Box<Tried>,
    },
    /// Its hash function may not be read.
    #[error(transparent)]
    Policy(#[from] HashPolicyError),
    /// The store failed, or its copy is damaged.
    #[error(transparent)]
    Store(Arc<ReadError>),
    /// Whoever waited for it went away.
    #[error("context canceled")]
    Cancelled,
    /// It did not come in time.
    #[error("context deadline exceeded: block {cid}: {tried}")]
    Late {
        /// The CID that was asked for.
        cid: Box<Cid>,
        /// Who was asked for it.
        tried: Box<Tried>,
    },
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl FetchError {
    /// Whether another copy of the block would help.
    pub(crate) fn is_for_want_of_a_copy(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Store(error) => matches!(**error, ReadError::Damaged { .. }),
            _ => false,
        }
    }

    /// Whether the block is not here, and nobody asked has it.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Unavailable { .. })
    }
}

impl From<ReadError> for FetchError {
    fn from(error: ReadError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<Unfinished> for FetchError {
    fn from(_: Unfinished) -> Self {
        Self::Cancelled
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
