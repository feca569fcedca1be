//! `pin rm`, and removing at once what only the pins held.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_blockstore::{Change, PinKind, ReadError, UnpinnedReport, WriteError};
use holdfast_dag::cid::{Cid, codec};

use super::{CancelOnDrop, Pins, TRIES, is_retried};
use crate::node::Node;
use crate::pool::PoolError;
use crate::services::gc::GcServiceError;

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

/// A pin that was removed, and what it had kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpinned {
    /// What was pinned.
    pub cid: Cid,
    /// Everything below it was pinned too.
    pub recursive: bool,
}

impl Pins {
    /// Removes the pins on a CID: the direct one, and the recursive one if `recursive`. Of two who remove one pin at the
    /// same time, one succeeds. The blocks stay until garbage collection takes them, or [`Pins::collect`].
    pub async fn remove(&self, cid: Cid, recursive: bool) -> Result<Unpinned, PinRemoveError> {
        let node = self.node.clone();
        self.node.pool().operation(move || remove(&node, cid, recursive)).await?
    }

    /// Removes the blocks that these pins kept and that nothing keeps any more: no other pin, not the mutable file system,
    /// no operation in flight. The cost is that of what goes and of where it meets what stays, not that of the repo.
    ///
    /// It waits for a collection that runs. Dropping the future stops it, and the next full collection takes the rest.
    pub async fn collect(&self, unpinned: &[Unpinned]) -> Result<UnpinnedReport, GcServiceError> {
        // Read as raw bytes a block leads nowhere: of a direct pin, that block alone was kept.
        let root = |pin: &Unpinned| {
            if pin.recursive { pin.cid } else { Cid::new_v1(codec::RAW, *pin.cid.hash()) }
        };
        let roots: Vec<Cid> = unpinned.iter().map(root).collect();
        let (node, cancelled) = (self.node.clone(), Arc::new(AtomicBool::new(false)));
        let _cancel = CancelOnDrop(Arc::clone(&cancelled));
        let collect = move || {
            node.store().collect_unpinned(&roots, &mut |_| {
                if cancelled.load(Ordering::Relaxed) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
        };
        let report = self.node.pool().operation(collect).await??;
        tracing::info!(
            removed_blocks = report.removed_blocks,
            removed_bytes = report.removed_bytes,
            kept_blocks = report.kept_blocks,
            left_blocks = report.left_blocks,
            "what was unpinned was collected"
        );
        Ok(report)
    }
}

fn remove(node: &Node, cid: Cid, recursive: bool) -> Result<Unpinned, PinRemoveError> {
    let mut last = WriteError::Changed;
    for _ in 0..TRIES {
        let pins = node.store().pins().of(&cid)?;
        let expect = |kind, pinned| Change::ExpectPin { cid, kind, pinned };
        let unpin = |kind| Change::Unpin { cid, kind };
        let changes = match (&pins.recursive, &pins.direct) {
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
            Ok(()) => return Ok(Unpinned { cid, recursive: pins.recursive.is_some() }),
            Err(error) if is_retried(&error) => last = error,
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.into())
}
