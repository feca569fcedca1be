//! The node: the one handle that every surface uses.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use holdfast_blockstore::repo::{Repo, RepoError};
use holdfast_blockstore::{OpenError, Store, StoreConfig, WriteError};
use holdfast_dag::import::ImportPool;

use crate::config::{Config, LoadError};
use crate::fetch::Fetch;
use crate::pool::{OPERATIONS_MAX, Pool, PoolError};

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
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// What was written last is not safely on disk.
    #[error(transparent)]
    Flush(#[from] WriteError),
    /// No threads could be started.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// How a node is opened.
#[derive(Debug, Clone)]
#[must_use = "nothing is opened before `open`"]
pub struct NodeBuilder {
    repo: Option<PathBuf>,
    config: Option<Config>,
    threads: usize,
    store: StoreConfig,
    import_memory_bytes: usize,
}

impl NodeBuilder {
    /// The repo folder. It must have been made by `init`.
    pub fn repo(mut self, path: impl Into<PathBuf>) -> Self {
        self.repo = Some(path.into());
        self
    }

    /// A config to be used instead of the one in the repo folder.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Threads for short blocking work. Default: two more than the machine has cores, at most 16.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Settings of the store. Default: those of the store, with [`STORE_MEMORY_BYTES`].
    ///
    /// [`StoreConfig::read_threads`] is set to 1: the node spreads reads over its own threads.
    pub fn store(mut self, config: StoreConfig) -> Self {
        self.store = config;
        self
    }

    /// Bytes of buffers that all adds together read into; at least 8 MiB. Default: [`IMPORT_MEMORY_BYTES`].
    pub fn import_memory_bytes(mut self, bytes: usize) -> Self {
        self.import_memory_bytes = bytes;
        self
    }

    /// Locks the repo and opens what is in it.
    pub async fn open(self) -> Result<Node, NodeError> {
        let pool = Pool::new(self.threads, OPERATIONS_MAX)?;
        let node_pool = pool.clone();
        pool.operation(move || self.open_blocking(node_pool)).await?
    }

    fn open_blocking(self, pool: Pool) -> Result<Node, NodeError> {
        let repo = Repo::open(self.repo.ok_or(NodeError::NoRepo)?)?;
        let config = match self.config {
            Some(config) => config,
            None => Config::load(&repo.paths().config())?,
        };
        let store = Store::open(repo.paths().root(), StoreConfig { read_threads: 1, ..self.store })?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let import_pool = ImportPool::new(cores, self.import_memory_bytes);
        let repo = Arc::new(repo);
        let fetch = Fetch::new(store.clone(), pool.clone(), Arc::clone(&repo));
        Ok(Node { inner: Arc::new(Inner { fetch, store, pool, import_pool, config, repo }) })
    }
}

/// An open repo and everything that works on it. Clones share it; it closes with the last of them, and with the last
/// stream that they gave.
///
/// It brings no runtime and sets up no logging. Its futures may be polled by any executor.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

/// In the order in which it is to be dropped: the lock of the repo last.
struct Inner {
    fetch: Fetch,
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
    /// A builder with defaults.
    pub fn builder() -> NodeBuilder {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        NodeBuilder {
            repo: None,
            config: None,
            threads: (cores + 2).min(16),
            store: StoreConfig { memory_bytes_max: STORE_MEMORY_BYTES, ..StoreConfig::default() },
            import_memory_bytes: IMPORT_MEMORY_BYTES,
        }
    }

    /// Makes everything that was written durable and lets go of the repo.
    ///
    /// The lock is released when the last clone of this handle and the last of its streams are dropped.
    pub async fn close(self) -> Result<(), NodeError> {
        let (pool, node) = (self.inner.pool.clone(), self);
        Ok(pool
            .operation(move || {
                let flushed = node.inner.store.flush();
                drop(node);
                flushed
            })
            .await??)
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
        &self.inner.fetch
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
