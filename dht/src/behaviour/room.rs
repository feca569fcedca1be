//! What requests may hold in memory, of all connections together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of large requests that are being read or wait for their answer: 8 MiB, which are 128 of the largest.
pub(super) const ROOM_BYTES: usize = 8 << 20;

/// Requests of up to this many bytes need no room: 2 KiB, which is more than questions, records of names and the addresses of a
/// usual peer have, so that nobody who fills the room takes anything from them. The limit on streams bounds their sum.
pub(super) const FREE_BYTES_MAX: usize = 2 << 10;

/// The room that all connections of a DHT share.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// What a request holds; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _held: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Takes what a request of this many bytes needs; `None` where it is not there.
    pub(super) fn take(&self, bytes: usize) -> Option<Place> {
        if bytes <= FREE_BYTES_MAX {
            return Some(Place { _held: None });
        }
        let held = self.0.clone().try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()?;
        Some(Place { _held: Some(held) })
    }
}
