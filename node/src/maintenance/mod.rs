//! What a node that stays open does by itself, each in a thread of its own: garbage collection and verification.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

mod gc;
mod scrub;

pub use gc::AutoGc;
pub(crate) use scrub::ScrubPlan;

/// A thread that works until this is dropped. What it does then is cut short, and waited for.
#[derive(Debug)]
pub(crate) struct Worker {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

/// How the thread learns that it is to end.
#[derive(Debug, Default)]
struct Stop {
    asked: Mutex<bool>,
    wake: Condvar,
}

impl Stop {
    fn is_asked(&self) -> bool {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a while; whether the end was asked for.
    fn wait(&self, time: Duration) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(asked, time, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Worker {
    /// Starts it. Without a thread the work is not done, which the log says.
    fn start(name: &'static str, work: impl FnOnce(&Stop) + Send + 'static) -> Self {
        let stop = Arc::new(Stop::default());
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&stopped));
        let thread =
            thread.inspect_err(|error| tracing::warn!("{name} does not run in the background: {error}"));
        Self { stop, thread: thread.ok() }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        *self.stop.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told by the panic hook, and ends nothing else.
            drop(thread.join());
        }
    }
}
