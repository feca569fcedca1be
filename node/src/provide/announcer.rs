//! What announces the keys of a table: the sweep of a DHT, or a lookup for each key.

use holdfast_dht::kad::Key;
use holdfast_dht::sweep::{Reprovider, ReproviderError};

use super::classic::Classic;

/// One of them. Cheap to clone.
#[derive(Clone)]
pub(super) enum Announcer {
    Sweep(Reprovider),
    Classic(Classic),
}

impl Announcer {
    /// Announces new keys as soon as that is possible, in their order; how many found room.
    pub(super) async fn provide(&self, keys: Vec<Key>) -> Result<usize, ReproviderError> {
        match self {
            Self::Sweep(sweep) => sweep.provide(keys).await,
            Self::Classic(classic) => Ok(classic.provide(keys)),
        }
    }

    /// Forgets the new keys that wait; how many there were.
    pub(super) async fn clear(&self) -> Result<usize, ReproviderError> {
        match self {
            Self::Sweep(sweep) => sweep.clear().await,
            Self::Classic(classic) => Ok(classic.clear()),
        }
    }

    /// Makes all keys due at once.
    pub(super) async fn restart(&self) -> Result<(), ReproviderError> {
        match self {
            Self::Sweep(sweep) => sweep.restart().await,
            Self::Classic(classic) => {
                classic.restart();
                Ok(())
            }
        }
    }

    /// Ends a sweep, and has it save where it is. The other has nothing to save.
    pub(super) async fn stop(&self) {
        if let Self::Sweep(sweep) = self {
            sweep.stop().await;
        }
    }

    pub(super) fn sweep(&self) -> Option<&Reprovider> {
        match self {
            Self::Sweep(sweep) => Some(sweep),
            Self::Classic(_) => None,
        }
    }

    pub(super) fn classic(&self) -> Option<&Classic> {
        match self {
            Self::Sweep(_) => None,
            Self::Classic(classic) => Some(classic),
        }
    }
}
