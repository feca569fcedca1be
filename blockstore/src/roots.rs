//! Roots besides pins: what a garbage collection that runs has to be told, and what is held by hand.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use holdfast_dag::cid::Cid;

use crate::pins::PinKind;
use crate::store::Store;
use crate::sync::lock;

/// Roots that the index does not know, and the logs of those that became roots while someone looks for garbage.
#[derive(Default)]
pub(crate) struct Roots {
    held: Mutex<HashMap<u64, Cid>>,
    next: AtomicU64,
    logs: Mutex<Vec<Weak<Noted>>>,
}

type Noted = Mutex<Vec<(Cid, PinKind)>>;

/// What became a root since the log was begun. It ends when it is dropped.
pub(crate) struct RootLog(Arc<Noted>);

impl Roots {
    /// Takes note of what becomes a root. To be called before it is one, and before what protects it ends.
    pub(crate) fn note(&self, roots: impl IntoIterator<Item = (Cid, PinKind)>) {
        let mut logs = lock(&self.logs);
        logs.retain(|log| log.strong_count() > 0);
        if logs.is_empty() {
            return;
        }
        let roots: Vec<(Cid, PinKind)> = roots.into_iter().collect();
        for log in logs.iter().filter_map(Weak::upgrade) {
            lock(&log).extend(roots.iter().copied());
        }
    }

    /// Begins to take note. What the committer has in hand in this moment may have been noted nowhere and become a root
    /// only later: see [`Inner::log_roots`](crate::store::Inner::log_roots).
    pub(crate) fn begin_log(&self) -> RootLog {
        let log = Arc::default();
        lock(&self.logs).push(Arc::downgrade(&log));
        RootLog(log)
    }

    /// What is held by hand.
    pub(crate) fn held(&self) -> Vec<Cid> {
        lock(&self.held).values().copied().collect()
    }
}

impl RootLog {
    /// Takes what was noted.
    pub(crate) fn take(&self) -> Vec<(Cid, PinKind)> {
        std::mem::take(&mut *lock(&self.0))
    }

    /// Whether nothing was noted since the last taking.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
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
