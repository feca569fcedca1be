//! Readers that follow the log.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use serde_json::json;
use tokio::sync::mpsc;
use tracing::level_filters::LevelFilter;

use super::Level;

/// Readers at a time.
pub const READERS_MAX: usize = 64;
/// Lines that a reader may be behind.
const LINES_MAX: usize = 1024;

/// Why the log cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TailError {
    /// Too many do.
    #[error("{READERS_MAX} readers follow the log already: stop one of them first")]
    TooMany,
}

/// Everybody who follows.
#[derive(Debug, Default)]
pub(super) struct Readers {
    /// Read without the lock, so that logging costs nothing while nobody follows.
    count: AtomicUsize,
    list: Mutex<Vec<Reader>>,
}

#[derive(Debug)]
struct Reader {
    filter: LevelFilter,
    lines: mpsc::Sender<Bytes>,
    /// Lines that it has lost and not been told of.
    lost: u64,
}

impl Readers {
    pub(super) fn add(&self, level: Level) -> Result<Tail, TailError> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|reader| !reader.lines.is_closed());
        if list.len() >= READERS_MAX {
            return Err(TailError::TooMany);
        }
        let (lines, receiver) = mpsc::channel(LINES_MAX);
        list.push(Reader { filter: level.filter(), lines, lost: 0 });
        self.count.store(list.len(), Ordering::Release);
        Ok(Tail { lines: receiver })
    }

    /// Sends a line to those who want this level. `line` is made only if there is somebody.
    pub(super) fn send(&self, level: LevelFilter, line: impl FnOnce() -> String) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|reader| !reader.lines.is_closed());
        self.count.store(list.len(), Ordering::Release);
        if !list.iter().any(|reader| reader.filter >= level) {
            return;
        }
        let line = Bytes::from(line());
        for reader in list.iter_mut().filter(|reader| reader.filter >= level) {
            reader.send(line.clone());
        }
    }
}

impl Reader {
    fn send(&mut self, line: Bytes) {
        // Room for the word of what was lost and for the line itself: a word without a line would say too little.
        if self.lost > 0 && self.lines.capacity() >= 2 {
            let words = format!("{} log lines were lost here: this reader is too slow", self.lost);
            let told = json!({ "level": "warn", "logger": "log", "msg": words, "lost": self.lost });
            if self.lines.try_send(Bytes::from(format!("{told}\n"))).is_ok() {
                self.lost = 0;
            }
        }
        if self.lost > 0 || self.lines.try_send(line).is_err() {
            self.lost += 1;
        }
    }
}

/// Lines of JSON, each with its line break, from when it was made. Dropping it ends it.
#[derive(Debug)]
pub struct Tail {
    lines: mpsc::Receiver<Bytes>,
}

impl Stream for Tail {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.lines.poll_recv(context)
    }
}
