//! One writer a file at a time: those of the same path wait for each other, and for nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The paths that are being written.
#[derive(Debug, Default)]
pub(super) struct Gates {
    paths: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

/// The right to write a file. It may be handed to the thread that does it.
pub(super) struct Gate {
    gates: Arc<Gates>,
    path: String,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Gates {
    /// Waits until nobody else writes that file. Who stops waiting is not missed.
    pub(super) async fn enter(self: &Arc<Self>, path: String) -> Gate {
        let gate = Arc::clone(self.paths().entry(path.clone()).or_default());
        // Made first, so that the entry goes with whoever leaves last, also one who stops waiting.
        let mut entered = Gate { gates: Arc::clone(self), path, guard: None };
        entered.guard = Some(gate.lock_owned().await);
        entered
    }

    fn paths(&self) -> MutexGuard<'_, HashMap<String, Arc<AsyncMutex<()>>>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.paths().len()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut paths = self.gates.paths();
        drop(self.guard.take());
        // The map's own reference is the only one left: nobody waits.
        if paths.get(&self.path).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            paths.remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writers_of_one_path_wait_and_nothing_is_left_behind() {
        let gates = Arc::new(Gates::default());
        let first = gates.enter("/a".to_owned()).await;
        let other = gates.enter("/b".to_owned()).await;
        let waiting = tokio::spawn({
            let gates = Arc::clone(&gates);
            async move { drop(gates.enter("/a".to_owned()).await) }
        });
        let impatient =
            tokio::time::timeout(std::time::Duration::from_millis(5), gates.enter("/a".to_owned()));
        assert!(impatient.await.is_err());
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.unwrap();
        drop(other);
        assert_eq!(gates.len(), 0);
    }
}
