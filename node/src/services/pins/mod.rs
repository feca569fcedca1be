//! Pins: which DAGs and blocks this node keeps, whoever else forgets them.
//!
//! Every change is one commit of the store: what it expects, what it changes, and the sync of all that it relies on.
//! What an operation finds on its walk stays protected from deletion until that commit. `docs/pins.md` says why this is
//! safe, with the interleavings that were considered.

mod add;
mod complete;
mod list;
mod missing;
mod remove;
mod seen;
mod update;
mod verify;
mod walk;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use holdfast_blockstore::{Change, Pin, PinKind, WriteError};
use holdfast_dag::cid::Cid;

use crate::node::Node;

pub use add::{PinAddError, PinOptions};
pub(crate) use complete::Complete;
pub use complete::CompleteError;
pub use list::{ListOptions, PinHow, PinListError, PinListStream, PinTypes, Pinned};
pub use remove::{PinRemoveError, Unpinned};
pub use update::PinUpdateError;
pub use verify::{BadNode, PinVerified, PinVerifyError, PinVerifyStream};
pub(crate) use walk::Walk;
pub use walk::WalkFault;

/// How often a check-and-change is tried again because another one was faster. Each such failure is a success of
/// somebody else, so that not even one in a million gets near it.
const TRIES: usize = 100;

/// The pin service of a node.
#[derive(Debug, Clone)]
pub struct Pins {
    node: Node,
}

impl Node {
    /// Pins.
    pub fn pins(&self) -> Pins {
        Pins { node: self.clone() }
    }
}

/// How far a walk has come, for those who want to show it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct PinProgress {
    counts: Arc<(AtomicU64, AtomicU64)>,
    missing: Arc<AtomicU64>,
}

impl PinProgress {
    /// Blocks found so far, each counted once.
    pub fn nodes(&self) -> u64 {
        self.counts.0.load(Ordering::Relaxed)
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.counts.1.load(Ordering::Relaxed)
    }

    /// Blocks that are known to be missing here and have not come yet.
    pub fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    fn set_missing(&self, nodes: u64) {
        self.missing.store(nodes, Ordering::Relaxed);
    }

    fn add(&self, nodes: u64, bytes: u64) {
        self.counts.0.fetch_add(nodes, Ordering::Relaxed);
        self.counts.1.fetch_add(bytes, Ordering::Relaxed);
    }

    fn reset(&self) {
        self.counts.0.store(0, Ordering::Relaxed);
        self.counts.1.store(0, Ordering::Relaxed);
        self.set_missing(0);
    }
}

/// What a walk is told by those who wait for it, and tells them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Job {
    progress: PinProgress,
    cancelled: Arc<AtomicBool>,
}

impl Job {
    /// A job that ends when the flag is set.
    pub(crate) fn cancelled_by(cancelled: Arc<AtomicBool>) -> Self {
        Self { cancelled, ..Self::default() }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// Ends a job when the future that waits for it is dropped.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The changes that pin a DAG: as in Kubo, a recursive pin takes the place of whatever pin the CID had, name included.
pub(crate) fn recursive_pin(cid: Cid, name: &str) -> [Change; 2] {
    [Change::Unpin { cid, kind: PinKind::Direct }, Change::Pin(Pin::new(cid, PinKind::Recursive, name))]
}

/// The failed write behind an error that is to be tried again from the beginning.
fn retried(error: CompleteError) -> Result<WriteError, CompleteError> {
    match error {
        CompleteError::Write(error) if is_retried(&error) => Ok(error),
        error => Err(error),
    }
}

/// Whether a commit that failed so is to be prepared again.
fn is_retried(error: &WriteError) -> bool {
    matches!(error, WriteError::Changed | WriteError::Generation)
}
