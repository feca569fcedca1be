//! Announcing the root of what was just added at once, past the queue (`--fast-provide-*`).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_dag::cid::{Cid, Multihash};
use holdfast_dht::kad::QueryError;
use tokio::runtime;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::Provider;
use super::strategy::Content;
use crate::routing::Routing;

/// Announcements at a time that nobody waits for. Of more, the keys go out by the queue alone.
const RUNNING_MAX: usize = 64;

/// How long one of them may take (Kubo's `DefaultFastProvideTimeout`).
const TIME_MAX: Duration = Duration::from_secs(10);

/// What is announced at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FastProvide {
    /// The root. Default: yes.
    pub root: bool,
    /// Everything below it, by the strategy. Default: no.
    pub dag: bool,
    /// Wait until that is done. Default: no.
    pub wait: bool,
}

/// Why an announcement that was waited for failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("fast-provide: {0}")]
pub struct FastProvideError(#[from] QueryError);

/// Announcements that run.
pub(super) struct Fast {
    routing: Routing,
    runtime: runtime::Handle,
    room: Arc<Semaphore>,
    running: Arc<Mutex<HashSet<Multihash>>>,
    is_stopping: watch::Receiver<bool>,
}

impl Fast {
    /// Must be called within a tokio runtime.
    pub(super) fn new(routing: Routing, is_stopping: watch::Receiver<bool>) -> Self {
        let (room, runtime) = (Arc::new(Semaphore::new(RUNNING_MAX)), runtime::Handle::current());
        Self { routing, runtime, room, running: Arc::default(), is_stopping }
    }

    /// Announces a root without waiting; one that is being announced is not announced beside that.
    fn start(&self, hash: Multihash) {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else { return };
        if !self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(hash) {
            return;
        }
        let (routing, running) = (self.routing.clone(), Arc::clone(&self.running));
        let mut is_stopping = self.is_stopping.clone();
        self.runtime.spawn(async move {
            let provide = timeout(TIME_MAX, routing.provide_fast(&hash));
            tokio::select! {
                provided = provide => match provided {
                    Ok(Ok(peers)) => tracing::debug!("{peers} peers know of a new root"),
                    Ok(Err(error)) => tracing::debug!("a new root was not announced at once: {error}"),
                    Err(_) => tracing::debug!("a new root was not announced within {TIME_MAX:?}"),
                },
                _ = is_stopping.wait_for(|is_stopping| *is_stopping) => {}
            }
            running.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
            drop(room);
        });
    }
}

impl Provider {
    /// Announces what was just added, as far as the strategy would announce it later.
    ///
    /// # Errors
    /// Only where it is waited for, and the root was told to nobody.
    pub async fn fast(
        &self,
        roots: &[Cid],
        content: Content,
        how: FastProvide,
    ) -> Result<(), FastProvideError> {
        let strategy = self.inner.settings.strategy;
        if how.root && strategy.takes_root(content) {
            for root in roots {
                if how.wait {
                    self.inner.fast.routing.provide_fast(root.hash()).await?;
                } else {
                    self.inner.fast.start(*root.hash());
                }
            }
        }
        // With the strategy `all` every block is on its way already.
        if how.dag && strategy.walks() {
            let walks: Vec<_> = roots.iter().map(|root| self.inner.intake.dag(*root)).collect();
            for walked in walks.into_iter().filter(|_| how.wait) {
                // Where it was not walked, the log says why.
                drop(walked.await);
            }
        }
        Ok(())
    }
}
