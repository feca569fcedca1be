//! How a node is opened: what it is given, and what the config says where it is given nothing.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use holdfast_blockstore::repo::Repo;
use holdfast_blockstore::{Durability, GRACE, Store, StoreConfig};
use holdfast_dag::import::ImportPool;

use super::{IMPORT_MEMORY_BYTES, Inner, Node, NodeError, STORE_MEMORY_BYTES};
use crate::config::{self, Config, ValueError};
use crate::fetch::Fetch;
use crate::maintenance::{AutoGc, ScrubPlan};
use crate::memory;
use crate::pool::{OPERATIONS_MAX, Pool};
use crate::pubsub::PubsubFlags;
use crate::services::{files, names};

/// How a node is opened.
#[derive(Debug, Clone)]
#[must_use = "nothing is opened before `open`"]
pub struct NodeBuilder {
    repo: Option<PathBuf>,
    config: Option<Config>,
    threads: usize,
    store: Option<StoreConfig>,
    import_memory_bytes: Option<usize>,
    maintenance: bool,
    grace: Duration,
    fixed_names: Option<names::FixedNames>,
    online: bool,
    agent_suffix: String,
    routing: String,
    pubsub: PubsubFlags,
}

impl Node {
    /// A builder with defaults.
    pub fn builder() -> NodeBuilder {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        NodeBuilder {
            repo: None,
            config: None,
            threads: (cores + 2).min(16),
            store: None,
            import_memory_bytes: None,
            maintenance: true,
            grace: GRACE,
            fixed_names: None,
            online: false,
            agent_suffix: String::new(),
            routing: String::new(),
            pubsub: PubsubFlags::default(),
        }
    }
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

    /// Settings of the store. Default: what the config says of durability and memory.
    ///
    /// [`StoreConfig::read_threads`] is set to 1: the node spreads reads over its own threads.
    pub fn store(mut self, config: StoreConfig) -> Self {
        self.store = Some(config);
        self
    }

    /// Bytes of buffers that all adds together read into; at least 8 MiB. Default: [`IMPORT_MEMORY_BYTES`], or a
    /// quarter of the config's `Resources.MemoryLimit` if that is less.
    pub fn import_memory_bytes(mut self, bytes: usize) -> Self {
        self.import_memory_bytes = Some(bytes);
        self
    }

    /// Whether the node looks after its repo by itself while it is open: it collects garbage when the repo passes
    /// `Datastore.StorageGCWatermark` per cent of `Datastore.StorageMax`, and verifies all blocks once a
    /// `Datastore.ScrubPeriod`, at `Datastore.ScrubBytesPerSecond`. Default: yes. Without it, only an add that meets the
    /// limit collects.
    pub fn maintenance(mut self, on: bool) -> Self {
        self.maintenance = on;
        self
    }

    /// How long collections that start by themselves spare blocks after they were written. Default:
    /// [`GRACE`].
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Names that point where these say, whatever records and the DNS say. Default: what `IPFS_NS_MAP` in the environment
    /// of this process says.
    pub fn fixed_names(mut self, names: names::FixedNames) -> Self {
        self.fixed_names = Some(names);
        self
    }

    /// Whether the node joins the network that its config describes: see [`crate::swarm`]. Default: no.
    ///
    /// [`NodeBuilder::open`] must then be polled within a tokio runtime with time and I/O switched on, which the swarm goes
    /// on running in; other futures of the node still run anywhere.
    pub fn online(mut self, on: bool) -> Self {
        self.online = on;
        self
    }

    /// What comes behind name and version where the node tells others what it is: `holdfast/1.0.0/SUFFIX`.
    pub fn agent_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.agent_suffix = suffix.into();
        self
    }

    /// Instead of what the config says in `Routing.Type`; empty or `default`: as the config says.
    pub fn routing(mut self, kind: impl Into<String>) -> Self {
        self.routing = kind.into();
        self
    }

    /// Instead of what the config says in `Pubsub.Enabled` and `Ipns.UsePubsub`.
    pub fn pubsub(mut self, flags: PubsubFlags) -> Self {
        self.pubsub = flags;
        self
    }

    /// Locks the repo, opens what is in it, and joins the network if it is to be online.
    pub async fn open(self) -> Result<Node, NodeError> {
        let pool = Pool::new(self.threads, OPERATIONS_MAX)?;
        let node_pool = pool.clone();
        let (online, suffix, routing) = (self.online, self.agent_suffix.clone(), self.routing.clone());
        let flags = self.pubsub;
        let node: Node = pool.operation(move || self.open_blocking(node_pool)).await??;
        if online {
            node.join(&suffix, &routing, flags).await?;
        }
        Ok(node)
    }

    fn open_blocking(self, pool: Pool) -> Result<Node, NodeError> {
        let fixed_names = match self.fixed_names {
            Some(names) => names,
            None => names::FixedNames::of_process()?,
        };
        let repo = Repo::open(self.repo.ok_or(NodeError::NoRepo)?)?;
        let config = match self.config {
            Some(config) => config,
            None => Config::load(&repo.paths().config())?,
        };
        let limit = config.resources()?.memory_bytes_max.and_then(|bytes| usize::try_from(bytes).ok());
        let limit = limit.or_else(memory::default_limit_bytes);
        let store_config = match self.store {
            Some(store_config) => store_config,
            None => store_config(&config, limit, self.grace)?,
        };
        let store = Store::open(repo.paths().root(), StoreConfig { read_threads: 1, ..store_config })?;
        let import_bytes = limit.map_or(IMPORT_MEMORY_BYTES, |limit| IMPORT_MEMORY_BYTES.min(limit / 4));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let import_pool = ImportPool::new(cores, self.import_memory_bytes.unwrap_or(import_bytes));
        let collector = match auto_gc(&config)? {
            Some(gc) if self.maintenance => Some(AutoGc { grace: self.grace, ..gc }.start(store.clone())),
            _ => None,
        };
        let scrubber = scrub_plan(&config)?.filter(|_| self.maintenance);
        let scrubber = scrubber.map(|plan| plan.start(store.clone()));
        let repo = Arc::new(repo);
        let fetch = Fetch::new(store.clone(), pool.clone(), Arc::clone(&repo));
        let files = files::State::default();
        let names = Arc::new(names::State::new(fixed_names));
        Ok(Node {
            fetch,
            inner: Arc::new(Inner {
                _collector: collector,
                _scrubber: scrubber,
                files,
                names,
                store,
                pool,
                import_pool,
                config,
                repo,
                network: OnceLock::new(),
            }),
        })
    }
}

/// What the config says of the store; `limit` is the process's memory in bytes, if it is limited.
fn store_config(config: &Config, limit: Option<usize>, grace: Duration) -> Result<StoreConfig, ValueError> {
    let datastore = config.datastore()?;
    let durability = match datastore.durability {
        config::Durability::Power => Durability::Power,
        config::Durability::Process => Durability::Process,
    };
    let memory_bytes_max = limit.map_or(STORE_MEMORY_BYTES, |limit| STORE_MEMORY_BYTES.min(limit / 8 * 3));
    let bytes_max = datastore.storage_bytes_max;
    let reserve_bytes = datastore.reserve_bytes;
    let collect_at_limit = auto_gc(config)?.is_some();
    Ok(StoreConfig {
        durability,
        memory_bytes_max,
        bytes_max,
        reserve_bytes,
        collect_at_limit,
        grace,
        ..StoreConfig::default()
    })
}

/// When garbage is collected without being asked.
fn auto_gc(config: &Config) -> Result<Option<AutoGc>, ValueError> {
    let datastore = config.datastore()?;
    let period = datastore.gc_period.to_std().unwrap_or_default();
    Ok(AutoGc::new(datastore.storage_bytes_max, datastore.gc_watermark_percent, period))
}

/// When and how fast blocks are verified in the background.
fn scrub_plan(config: &Config) -> Result<Option<ScrubPlan>, ValueError> {
    let datastore = config.datastore()?;
    let period = datastore.scrub_period.to_std().unwrap_or_default();
    Ok(ScrubPlan::new(period, datastore.scrub_bytes_per_second_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_config_says_of_the_store_reaches_it() {
        let default = store_config(&Config::defaults(), None, GRACE).unwrap();
        assert_eq!((default.durability, default.reserve_bytes), (Durability::Power, None));
        let text = r#"{"Datastore":{"Durability":"process","ReserveSize":"8MiB","ScrubPeriod":"0"}}"#;
        let config = Config::parse(text).unwrap();
        let changed = store_config(&config, None, GRACE).unwrap();
        assert_eq!((changed.durability, changed.reserve_bytes), (Durability::Process, Some(8 << 20)));
        assert_eq!(scrub_plan(&config).unwrap(), None);
    }
}
