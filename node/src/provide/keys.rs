//! What a sweep reads and remembers, from the table.

use std::sync::Arc;

use holdfast_dht::kad::{KadId, Key, Scope};
use holdfast_dht::records::StoreError;
use holdfast_dht::sweep::{Done, Keys, Keystore};
use tokio::sync::watch;

use super::feed::Feed;
use super::table::Table;
use crate::pool::Pool;

/// The keys of one DHT's sweep. Nothing is read or written on the task that asks.
pub(super) struct SweepKeys {
    pub(super) table: Arc<Table>,
    pub(super) pool: Pool,
    pub(super) scope: Scope,
    /// Whether the table holds all keys of the strategy. A region that was read before would miss some for a whole cycle.
    pub(super) is_ready: watch::Receiver<bool>,
    pub(super) feed: Arc<Feed>,
}

impl Keystore for SweepKeys {
    fn keys(&self, from: KadId, last: KadId, max: usize) -> Keys {
        let (table, pool, mut is_ready) = (Arc::clone(&self.table), self.pool.clone(), self.is_ready.clone());
        Box::pin(async move {
            let failed = |words: String| StoreError(words);
            is_ready.wait_for(|is_ready| *is_ready).await.map_err(|error| failed(error.to_string()))?;
            let read = pool.run(move || table.keys(from, last, max)).await;
            read.map_err(|error| failed(error.to_string()))?.map_err(|error| {
                tracing::warn!("the keys of a region cannot be read, and are announced later: {error}");
                failed(error.to_string())
            })
        })
    }

    fn save(&self, state: Vec<u8>) -> Done {
        let (table, pool, scope) = (Arc::clone(&self.table), self.pool.clone(), self.scope);
        Box::pin(async move {
            let saved = pool.run(move || table.set_sweep_state(scope, Some(state))).await;
            if let Ok(Err(error)) = saved {
                tracing::warn!("how far announcing has come is not remembered: {error}");
            }
        })
    }

    fn settled(&self, keys: Vec<(Key, bool)>) {
        self.feed.settled(keys);
    }
}
