//! `pin rm`.

use holdfast_blockstore::{Change, PinKind, ReadError, WriteError};
use holdfast_dag::cid::Cid;

use super::{Pins, TRIES, is_retried};
use crate::node::Node;
use crate::pool::PoolError;

/// Why a pin was not removed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PinRemoveError {
    /// There is no pin on this very CID.
    #[error("not pinned or pinned indirectly")]
    NotPinned,
    /// Only a direct pin was to be removed, and there is a recursive one.
    #[error("{cid} is pinned recursively")]
    Recursive {
        /// What is pinned.
        cid: Box<Cid>,
    },
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] WriteError),
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl Pins {
    /// Removes the pins on a CID: the direct one, and the recursive one if `recursive`. Of two who remove one pin at the
    /// same time, one succeeds. The blocks stay until garbage collection takes them.
    pub async fn remove(&self, cid: Cid, recursive: bool) -> Result<(), PinRemoveError> {
        let node = self.node.clone();
        self.node.pool().operation(move || remove(&node, cid, recursive)).await?
    }
}

fn remove(node: &Node, cid: Cid, recursive: bool) -> Result<(), PinRemoveError> {
    let mut last = WriteError::Changed;
    for _ in 0..TRIES {
        let pins = node.store().pins().of(&cid)?;
        let expect = |kind, pinned| Change::ExpectPin { cid, kind, pinned };
        let unpin = |kind| Change::Unpin { cid, kind };
        let changes = match (pins.recursive, pins.direct) {
            (Some(_), _) if !recursive => return Err(PinRemoveError::Recursive { cid: Box::new(cid) }),
            (Some(_), _) => {
                vec![expect(PinKind::Recursive, true), unpin(PinKind::Recursive), unpin(PinKind::Direct)]
            }
            (None, Some(_)) => {
                vec![expect(PinKind::Recursive, false), expect(PinKind::Direct, true), unpin(PinKind::Direct)]
            }
            (None, None) => return Err(PinRemoveError::NotPinned),
        };
        match node.store().writer().commit(&changes) {
            Ok(()) => return Ok(()),
            Err(error) if is_retried(&error) => last = error,
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.into())
}
