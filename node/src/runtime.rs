//! What the surfaces of one long-running process share: when it started, the switch that ends it, its metrics, the table
//! of its requests, and its logs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::watch;

use crate::observe::{Logs, Metrics, Requests};

/// Shared by everything that runs in one daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    stop: watch::Sender<bool>,
    ready: AtomicBool,
    metrics: Metrics,
    requests: Requests,
    logs: Logs,
}

impl Runtime {
    /// One that begins now. Its logs go nowhere: see [`Runtime::with_logs`].
    pub fn new() -> Self {
        Self::with_logs(Logs::default())
    }

    /// One that begins now, with the logs of the process ([`Logs::install`]).
    pub fn with_logs(logs: Logs) -> Self {
        let metrics = Metrics::new(logs.clone());
        let requests = Requests::new(metrics.clone());
        let (started, stop) = (Instant::now(), watch::Sender::new(false));
        let ready = AtomicBool::new(false);
        Self { inner: Arc::new(Inner { started, stop, ready, metrics, requests, logs }) }
    }

    /// When it began.
    pub fn started(&self) -> Instant {
        self.inner.started
    }

    /// Asks everything to end. It can be asked again.
    pub fn stop(&self) {
        self.inner.stop.send_replace(true);
    }

    /// True from the moment on that everything is to end.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.inner.stop.subscribe()
    }

    /// Whether everything is to end.
    pub fn is_stopping(&self) -> bool {
        *self.inner.stop.borrow()
    }

    /// Says that its listeners are up: requests may come.
    pub fn set_ready(&self) {
        self.inner.ready.store(true, Ordering::Release);
    }

    /// Whether requests may come: its listeners are up, and it is not on its way down.
    pub fn is_ready(&self) -> bool {
        self.inner.ready.load(Ordering::Acquire) && !self.is_stopping()
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The requests that run or ran a moment ago.
    pub fn requests(&self) -> &Requests {
        &self.inner.requests
    }

    /// The logs of the process: levels and readers.
    pub fn logs(&self) -> &Logs {
        &self.inner.logs
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self::new()
    }
}
