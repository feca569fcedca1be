//! Walking a stored DAG by its index alone: no value of a leaf is read.

use std::collections::HashSet;

use holdfast_blockstore::{ReadError, Store};
use holdfast_dag::cid::{Cid, codec, identity_data};
use holdfast_dag::ipld;

use crate::fetch::known_block;

/// Why a DAG is not complete here.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IncompleteError {
    /// A block is missing.
    #[error("block was not found locally (offline): ipld: could not find {cid}")]
    NotFound {
        /// The block.
        cid: Box<Cid>,
    },
    /// A block does not decode, has no decoder, or cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A block that is known without storage does not decode.
    #[error("{cid}: {reason}")]
    Malformed {
        /// The block.
        cid: Box<Cid>,
        /// What is wrong.
        reason: String,
    },
}

/// Why a block that was not found is not there: missing, or known to be damaged.
pub(crate) fn why_missing(store: &Store, cid: &Cid) -> IncompleteError {
    match store.get(cid) {
        Err(error) => error.into(),
        Ok(_) => IncompleteError::NotFound { cid: Box::new(*cid) },
    }
}

/// Blocks seen, by codec and multihash: the same bytes have other links under another codec.
#[derive(Default)]
pub(super) struct Seen {
    seen: HashSet<Box<[u8]>>,
}

impl Seen {
    /// Whether this is the first sight. About 90 bytes each.
    pub(super) fn first(&mut self, cid: &Cid) -> bool {
        let mut key = cid.hash().to_bytes();
        key.extend_from_slice(&cid.codec().to_be_bytes());
        self.seen.insert(key.into_boxed_slice())
    }
}

/// Links of a block that is stored or known; `None` if it is neither.
pub(super) fn links_of(store: &Store, cid: &Cid) -> Result<Option<Vec<Cid>>, IncompleteError> {
    if cid.codec() == codec::RAW {
        return Ok(Some(Vec::new()));
    }
    if let Some(block) = known_block(cid) {
        let malformed = |error: ipld::DecodeError| IncompleteError::Malformed {
            cid: Box::new(*cid),
            reason: error.to_string(),
        };
        return ipld::links(cid.codec(), &block).map(Some).map_err(malformed);
    }
    Ok(store.links(cid)?)
}

/// Length of a block that is stored or known.
pub(super) fn size_of(store: &Store, cid: &Cid) -> Result<Option<u64>, IncompleteError> {
    match identity_data(cid) {
        Some(data) => Ok(Some(data.len() as u64)),
        None => Ok(store.size(cid.hash())?.or_else(|| known_block(cid).map(|block| block.len() as u64))),
    }
}
