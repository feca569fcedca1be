//! Roots besides pins: what a garbage collection that runs has to be told, and what is held by hand.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_dag::cid::Cid;

use crate::pins::PinKind;
use crate::store::Store;
use crate::sync::lock;

/// Roots that the index does not know, and the log of those that became roots while a collection runs.
#[derive(Default)]
pub(crate) struct Roots {
    held: Mutex<HashMap<u64, Cid>>,
    next: AtomicU64,
    /// `Some` while a collection runs.
    log: Mutex<Option<Vec<(Cid, PinKind)>>>,
}

#[expect(dead_code, reason = "read by garbage collection")]
impl Roots {
    /// Takes note of what becomes a root. To be called before it is one, and before what protects it ends.
    pub(crate) fn note(&self, roots: impl IntoIterator<Item = (Cid, PinKind)>) {
        if let Some(log) = lock(&self.log).as_mut() {
            log.extend(roots);
        }
    }

    /// Begins to take note.
    pub(crate) fn begin_log(&self) {
        *lock(&self.log) = Some(Vec::new());
    }

    /// Takes what was noted.
    pub(crate) fn take_log(&self) -> Vec<(Cid, PinKind)> {
        lock(&self.log).as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether nothing was noted since the last taking.
    pub(crate) fn log_is_empty(&self) -> bool {
        lock(&self.log).as_ref().is_none_or(Vec::is_empty)
    }

    /// Ends taking note.
    pub(crate) fn end_log(&self) {
        *lock(&self.log) = None;
    }

    /// What is held by hand.
    pub(crate) fn held(&self) -> Vec<Cid> {
        lock(&self.held).values().copied().collect()
    }
}

/// Keeps a DAG from garbage collection until it is dropped: a root that was not written yet.
pub struct Held {
    store: Store,
    id: u64,
}

impl Store {
    /// Holds a DAG as if it were pinned recursively, in memory only. Blocks of it that are missing are no error: it is
    /// best effort, as for the mutable file system.
    pub fn hold(&self, cid: Cid) -> Held {
        let roots = &self.inner().roots;
        let id = roots.next.fetch_add(1, Ordering::Relaxed);
        lock(&roots.held).insert(id, cid);
        roots.note([(cid, PinKind::Recursive)]);
        Held { store: self.clone(), id }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.store.inner().roots.held).remove(&self.id);
    }
}
