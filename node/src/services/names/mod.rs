//! Names (IPNS): publishing, keeping and following them, with the records that lie in this repo.
//!
//! Online, what nobody published or put here is asked of the DHT. The rules are `holdfast_dht`'s; this module gives them
//! keys, a clock, a store that syncs, and threads.

mod dnslink;
pub mod fetch_message;
mod fixed;
mod followed;
mod gossip;
mod keep;
mod keys;
mod network;
mod others;
mod record_fetch;
mod republish;
mod resolve;
mod turns;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use holdfast_blockstore::Store;
use holdfast_dht::ipns::{
    self, Name, Publish, PublishError, PutError, Record, RecordStore as _, StoredError, Timestamp,
};
use tokio::sync::Semaphore;

pub use dnslink::DnsLinkError;
pub use fixed::{FixedNames, FixedNamesError};
pub use gossip::NameGossip;
pub use keep::KeepError;
pub use keys::{KeyLookupError, find_key};
pub use network::{NameFindError, NameNetworkError, Wanted};
pub use republish::RepublishConfigError;
pub(crate) use republish::{RepublishSettings, Republisher};
pub use resolve::{NameResolveError, ResolveDepth};

use crate::node::Node;
use crate::pool::{Pool, PoolError};
use crate::routing::ValueSearch;
use keep::Kept;
use others::Others;

/// What names need besides the store: the names that are fixed, and who changes a record now.
#[derive(Debug)]
pub(crate) struct State {
    fixed: FixedNames,
    /// Held from looking at a record to replacing it, so that no two publishers take the same number.
    changing: Mutex<Others>,
    /// Room for searches that go on behind requests that have their answer.
    behind: Arc<Semaphore>,
}

impl Default for State {
    fn default() -> Self {
        Self::new(FixedNames::default())
    }
}

impl State {
    pub(crate) fn new(fixed: FixedNames) -> Self {
        Self { fixed, changing: Mutex::default(), behind: Arc::new(Semaphore::new(network::BEHIND_MAX)) }
    }
}

/// Names of a node. Cheap to make and to clone.
#[derive(Debug, Clone)]
pub struct Names {
    node: Node,
    /// How long the record of one name is looked for.
    search_time_max: Duration,
    /// After how many records that search ends.
    search_records: usize,
}

/// Why a name was not published or put. The words are Kubo's where Kubo has words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no such key.
    #[error(transparent)]
    Key(#[from] KeyLookupError),
    /// The record was not made or not kept.
    #[error(transparent)]
    Publish(#[from] PublishError<KeepError>),
    /// The record was refused or not kept.
    #[error(transparent)]
    Put(#[from] PutError<KeepError>),
    /// The work was not done.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// Why there is no record to be had.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NameRecordError {
    /// None is kept, or none that is valid.
    #[error(transparent)]
    Stored(#[from] StoredError<KeepError>),
    /// The work was not done.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// What was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Under which name.
    pub name: Name,
    /// The record, as it is kept.
    pub record: Record,
}

impl Node {
    /// The names service.
    pub fn names(&self) -> Names {
        let search = ValueSearch::default();
        Names { node: self.clone(), search_time_max: search.time_max, search_records: search.records }
    }
}

impl Names {
    /// The same with searches in the DHT that end after so many records of a name; 0: when there is nobody left to ask.
    #[must_use]
    pub fn with_search_records(mut self, records: usize) -> Self {
        self.search_records = records;
        self
    }

    /// The same with a limit of its own for how long the record of one name is looked for: at most a minute, which zero
    /// stands for too.
    #[must_use]
    pub fn with_search_time(mut self, most: Duration) -> Self {
        if !most.is_zero() {
            self.search_time_max = most.min(network::SEARCH_TIME_MAX);
        }
        self
    }

    /// Signs a record with a key, given by its name or its peer ID, and keeps it. It is durable when this returns, and its
    /// number follows that of the record before, over restarts too.
    pub async fn publish(&self, key: &str, publish: Publish) -> Result<Published, NameError> {
        let (node, key) = (self.node.clone(), key.to_owned());
        let operation = move || {
            let key = find_key(node.config(), node.repo_path(), &key)?;
            let name = Name::from(key.peer_id());
            let _changing = node.names_state().changing.lock().unwrap_or_else(PoisonError::into_inner);
            let record = ipns::publish(&Kept::to_change(node.store()), key.keypair(), &publish, now())?;
            Ok(Published { name, record })
        };
        self.node.pool().operation(operation).await?
    }

    /// Keeps a record that somebody signed, if it is valid and not older than the one that is kept. It is durable when this
    /// returns.
    pub async fn put(&self, name: Name, record: Vec<u8>) -> Result<Record, NameError> {
        self.keeper().put(name, record).await
    }

    /// The record of a name that is kept here, if it is valid.
    pub async fn record(&self, name: Name) -> Result<Record, NameRecordError> {
        self.keeper().record(name).await
    }

    /// What keeps records, without the rest of the node.
    pub(crate) fn keeper(&self) -> Keeper {
        let (store, pool) = (self.node.store().clone(), self.node.pool().clone());
        Keeper { store, pool, state: Arc::clone(self.node.names_state()) }
    }
}

/// Keeps records. Cheap to clone; it does not hold on to the node.
#[derive(Clone)]
pub(crate) struct Keeper {
    store: Store,
    pool: Pool,
    state: Arc<State>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Keeper {
    /// [`Names::put`].
    async fn put(&self, name: Name, record: Vec<u8>) -> Result<Record, NameError> {
        let (store, state) = (self.store.clone(), Arc::clone(&self.state));
        let operation = move || {
            let mut others = state.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new = matches!(store.name_record(&name.to_bytes()), Ok(None));
            let kept = ipns::put(&Kept::to_change(&store), &name, &record, now())?;
            if is_new && let Err(error) = others.grew(&store) {
                // The record is kept; room is made with the next one.
                tracing::warn!("old records of names are not removed: {error}");
            }
            Ok(kept)
        };
        self.pool.operation(operation).await?
    }

    /// Others have no better record of a name than the one that is kept: its time to live begins anew.
    async fn confirm(&self, name: Name) -> Result<(), NameError> {
        let (store, state) = (self.store.clone(), Arc::clone(&self.state));
        let operation = move || {
            let _changing = state.changing.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(Kept::to_change(&store).confirm(&name).map_err(PutError::Store)?)
        };
        self.pool.operation(operation).await?
    }

    /// [`Names::record`].
    async fn record(&self, name: Name) -> Result<Record, NameRecordError> {
        let store = self.store.clone();
        let look = move || ipns::stored(&Kept::to_read(&store), &name, now());
        Ok(self.pool.run(look).await??)
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
