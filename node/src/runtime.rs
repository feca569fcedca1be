//! What the surfaces of one long-running process share: when it started, and the switch that ends it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

/// Shared by everything that runs in one daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    stop: watch::Sender<bool>,
}

impl Runtime {
    /// One that begins now.
    pub fn new() -> Self {
        Self { inner: Arc::new(Inner { started: Instant::now(), stop: watch::Sender::new(false) }) }
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
}

impl Default for Runtime {
    fn default() -> Self {
        Self::new()
    }
}
