//! The node: the one handle that every surface uses.

mod builder;
mod join;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use holdfast_blockstore::repo::{Repo, RepoError};
use holdfast_blockstore::{OpenError, Store, WriteError};
use holdfast_dag::import::ImportPool;

pub use builder::NodeBuilder;

use crate::config::{Config, LoadError, ValueError};
use crate::fetch::Fetch;
use crate::maintenance::Worker;
use crate::p2p::Mounts;
use crate::pool::{Pool, PoolError};
use crate::provide::{ProvideConfigError, ProvideError, Provider};
use crate::pubsub::{Pubsub, PubsubError};
use crate::repo_init::{self, InitError, InitParams};
use crate::routing::{Routing, RoutingError, Upkeep};
use crate::services::names::NameGossip;
use crate::services::{files, names};
use crate::swarm::{self, AcceptError, SwarmHandle};

/// Default memory of the store (caches, memtables, read buffers): 96 MiB.
pub const STORE_MEMORY_BYTES: usize = 96 << 20;

/// Default memory of the buffers that all adds together read into: 48 MiB.
pub const IMPORT_MEMORY_BYTES: usize = 48 << 20;

/// Why a node does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// No repo folder was given.
    #[error("no repo folder was given")]
    NoRepo,
    /// The folder holds no repo, or none that this program may open.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The config does not load.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// A value in the config cannot be used.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// What was written last is not safely on disk.
    #[error(transparent)]
    Flush(#[from] WriteError),
    /// Changes of the mutable file system that were not flushed are lost.
    #[error("the mutable file system keeps its last flushed state: {0}")]
    Files(#[source] Box<files::FilesError>),
    /// `IPFS_NS_MAP` cannot be read.
    #[error(transparent)]
    FixedNames(#[from] names::FixedNamesError),
    /// No threads could be started.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// What the config or `swarm.key` says of the swarm cannot be used.
    #[error(transparent)]
    SwarmSettings(#[from] swarm::SettingsError),
    /// There is no such routing.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// Pubsub does not start.
    #[error(transparent)]
    Pubsub(#[from] PubsubError),
    /// Names over pubsub do not start.
    #[error(transparent)]
    NameGossip(#[from] AcceptError),
    /// The swarm does not start.
    #[error(transparent)]
    Swarm(#[from] swarm::StartError),
    /// What the config says of announcing cannot be used.
    #[error(transparent)]
    ProvideConfig(#[from] ProvideConfigError),
    /// What the config says of publishing names again cannot be used.
    #[error(transparent)]
    Republish(#[from] names::RepublishConfigError),
    /// Announcing does not start.
    #[error("announcing what is stored does not start: {0}")]
    Provide(#[from] ProvideError),
}

/// Why a repo was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeInitError {
    /// Identity, config or key store were not made.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The folder cannot hold a repo.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

/// Makes a repo: identity, config, key store, and the folder of the store. Blocks.
///
/// `print` gets what Kubo prints, piece by piece. The config comes last: what was cut off before is simply run again.
pub fn init(params: &InitParams, print: &mut dyn FnMut(&str)) -> Result<Config, NodeInitError> {
    let new = repo_init::begin(params, print)?;
    // Locked until the config is there: whoever opens the repo removes temporary files.
    let _locked = Repo::create(&new.repo)?;
    Ok(new.finish()?)
}

/// An open repo and everything that works on it. Clones share it; it closes with the last of them, and with the last
/// stream that they gave.
///
/// It brings no runtime and sets up no logging. Its futures may be polled by any executor.
#[derive(Clone)]
pub struct Node {
    /// Beside the rest, because a request has its own.
    fetch: Fetch,
    inner: Arc<Inner>,
}

/// What an online node has.
struct Network {
    swarm: SwarmHandle,
    routing: Option<Routing>,
    exchange: Option<holdfast_bitswap::Handle>,
    pubsub: Option<Pubsub>,
    gossip: Option<NameGossip>,
    mounts: Mounts,
    provider: Option<Provider>,
    _republishing: Upkeep,
    _finding_peered: Option<Upkeep>,
}

/// In the order in which it is to be dropped: the lock of the repo last.
struct Inner {
    network: OnceLock<Network>,
    _collector: Option<Worker>,
    _scrubber: Option<Worker>,
    files: files::State,
    names: Arc<names::State>,
    store: Store,
    pool: Pool,
    import_pool: ImportPool,
    config: Config,
    repo: Arc<Repo>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("repo", &self.repo_path()).finish_non_exhaustive()
    }
}

impl Node {
    /// Bitswap; none where the node is not online, or it is switched off.
    pub fn exchange(&self) -> Option<&holdfast_bitswap::Handle> {
        self.inner.network.get()?.exchange.as_ref()
    }

    /// The DHTs; none where the node is not online, or `Routing.Type` is `none`.
    pub fn routing(&self) -> Option<&Routing> {
        self.inner.network.get()?.routing.as_ref()
    }

    /// Pubsub; none where the node is not online, or it is not switched on.
    pub fn pubsub(&self) -> Option<&Pubsub> {
        self.inner.network.get()?.pubsub.as_ref()
    }

    /// Names over pubsub; none where the node is not online, or they are not switched on.
    pub fn name_gossip(&self) -> Option<&NameGossip> {
        self.inner.network.get()?.gossip.as_ref()
    }

    /// Mounted streams; none where the node is not online.
    pub(crate) fn mounts(&self) -> Option<&Mounts> {
        self.inner.network.get().map(|network| &network.mounts)
    }

    /// What announces blocks; none where the node is not online, it takes part in no DHT, or `Provide.Enabled` is false.
    pub fn provider(&self) -> Option<&Provider> {
        self.inner.network.get()?.provider.as_ref()
    }

    /// The swarm; none where the node is not online.
    pub fn swarm(&self) -> Option<&SwarmHandle> {
        self.inner.network.get().map(|network| &network.swarm)
    }

    /// Leaves the network, makes everything that was written durable, changes of the mutable file system included, and lets go of the repo.
    ///
    /// The lock is released when the last clone of this handle and the last of its streams are dropped.
    pub async fn close(self) -> Result<(), NodeError> {
        if let Some(provider) = self.provider() {
            provider.stop().await;
        }
        if let Some(swarm) = self.swarm() {
            swarm.stop().await;
        }
        let (pool, node) = (self.inner.pool.clone(), self);
        pool.operation(move || {
            // Whoever gets blocks from others may hold on to this node.
            node.fetch.set_exchange(None);
            let files = node.inner.files.close(&node);
            let flushed = node.inner.store.flush();
            drop(node);
            files.map_err(|error| NodeError::Files(Box::new(error))).and(Ok(flushed?))
        })
        .await?
    }

    /// The repo folder.
    pub fn repo_path(&self) -> &Path {
        self.inner.repo.paths().root()
    }

    /// The config as it was when the node opened.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The block store.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The way to blocks.
    pub fn fetch(&self) -> &Fetch {
        &self.fetch
    }

    /// The same node for one request: all that it fetches goes through one session, and [`Fetch::wait`] says what it
    /// waits for. `offline`: it fetches nothing from others.
    #[must_use]
    pub fn for_request(&self, offline: bool) -> Self {
        Self { fetch: self.fetch.for_request(offline), inner: Arc::clone(&self.inner) }
    }

    /// The same node for what belongs together: one session, unless the request has one.
    pub(crate) fn together(&self) -> Self {
        Self { fetch: self.fetch.together(), inner: Arc::clone(&self.inner) }
    }

    /// The root of the mutable file system.
    pub(crate) fn files_state(&self) -> &files::State {
        &self.inner.files
    }

    /// The names that are fixed, and who changes a record now.
    pub(crate) fn names_state(&self) -> &Arc<names::State> {
        &self.inner.names
    }

    /// The pool for blocking work.
    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    /// Hash threads and buffers of adds.
    pub fn import_pool(&self) -> &ImportPool {
        &self.inner.import_pool
    }
}
