//! The node: the one handle that every surface uses.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use holdfast_blockstore::repo::{Repo, RepoError};
use holdfast_blockstore::{Durability, GRACE, OpenError, Store, StoreConfig, WriteError};
use holdfast_dag::import::ImportPool;
use libp2p::PeerId;

use crate::config::{self, Config, LoadError, ValueError};
use crate::exchange::{self, Bitswap, StoreHost};
use crate::fetch::Fetch;
use crate::identify;
use crate::maintenance::{AutoGc, ScrubPlan, Worker};
use crate::memory;
use crate::p2p::Mounts;
use crate::pool::{OPERATIONS_MAX, Pool, PoolError};
use crate::provide::{ProvideConfigError, ProvideError, ProvideSettings, Provider};
use crate::pubsub::{self, Pubsub, PubsubError, PubsubFlags, PubsubSettings};
use crate::repo_init::{self, InitError, InitParams};
use crate::routing::{Routing, RoutingError, RoutingMode, Upkeep, answer_searches, find_peered};
use crate::services::names::NameGossip;
use crate::services::{files, names};
use crate::swarm::{self, AcceptError, Protocols, SwarmHandle, SwarmParams, SwarmSettings};

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
    _republishing: Option<Upkeep>,
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

    /// Starts the swarm.
    async fn join(&self, agent_suffix: &str, routing: &str, flags: PubsubFlags) -> Result<(), NodeError> {
        let node = self.clone();
        let read = move || {
            let key = node.config().private_key()?.keypair().clone();
            Ok::<_, NodeError>((key, SwarmSettings::load(node.config(), node.repo_path())?))
        };
        let (key, settings) = self.pool().operation(read).await??;
        let agent = match agent_suffix {
            "" => identify::AGENT_VERSION.to_owned(),
            suffix => format!("{}/{suffix}", identify::AGENT_VERSION),
        };
        let us = key.public().to_peer_id();
        let provide = ProvideSettings::of_config(self.config())?;
        let republish = names::RepublishSettings::of_config(self.config())?;
        let routing = RoutingMode::of_config(self.config(), routing)?;
        let routing =
            Routing::new(us, routing, self.config(), self.store(), self.pool(), provide.is_enabled)?;
        let (routing, mut protocols) = match routing {
            Some((routing, made)) => {
                let wan_serves_when_reachable = made.wan_serves_when_reachable;
                let (wan, lan) = (Some(made.wan), Some(made.lan));
                (Some(routing), Protocols { wan, lan, wan_serves_when_reachable, ..Protocols::default() })
            }
            None => (None, Protocols::default()),
        };
        let exchange = self.bitswap(us)?;
        let exchange = exchange.map(|(behaviour, handle)| {
            protocols.bitswap = Some(behaviour);
            handle
        });
        let mut examined = None;
        let mut pubsub = None;
        if flags.has_pubsub(self.config())? {
            let settings = PubsubSettings::of_config(self.config())?;
            let (behaviour, handle, messages) = pubsub::Behaviour::new(&key, settings)?;
            (protocols.pubsub, pubsub, examined) = (Some(behaviour), Some(handle), Some(messages));
        }
        let params = SwarmParams { key, agent, settings, protocols, exchange: exchange.clone() };
        // It is large before it runs.
        let swarm = Box::pin(swarm::start(params)).await?;
        if let Some(handle) = &exchange {
            self.fetch.set_exchange(Some(Arc::new(Bitswap::new(handle.clone()))));
            if let (Some(routing), Some(searches)) = (&routing, handle.events()) {
                let providers_max = exchange::search_results_max(self.config())?;
                let (routing, book) = (routing.clone(), swarm.book().clone());
                tokio::spawn(answer_searches(routing, book, searches, handle.clone(), providers_max));
            }
        }
        let gossip = match (pubsub.clone(), examined) {
            (Some(pubsub), Some(examined)) if flags.has_names(self.config())? => {
                let keeper = self.names().keeper();
                Some(NameGossip::start(pubsub, swarm.streams(), keeper, examined)?)
            }
            _ => None,
        };
        let mounts = Mounts::new(swarm.clone(), routing.clone());
        let provider = match &routing {
            Some(routing) if provide.is_enabled => {
                let starting = Provider::start(provide, routing, self.store(), self.pool(), self.repo_path());
                Some(Box::pin(starting).await?)
            }
            _ => None,
        };
        let republishing = routing.as_ref().map(|routing| self.republisher(republish, routing.clone()).run());
        let republishing = republishing.map(|running| Upkeep::of(tokio::spawn(running)));
        let finding_peered = routing.as_ref().map(|routing| find_peered(swarm.clone(), routing.clone()));
        let finding_peered = finding_peered.map(|running| Upkeep::of(tokio::spawn(running)));
        // It is set here alone, once in the life of a node.
        let _ = self.inner.network.set(Network {
            swarm,
            routing,
            exchange,
            pubsub,
            gossip,
            mounts,
            provider,
            _republishing: republishing,
            _finding_peered: finding_peered,
        });
        Ok(())
    }

    /// What keeps the node's own names alive.
    fn republisher(&self, settings: names::RepublishSettings, routing: Routing) -> names::Republisher {
        names::Republisher {
            settings,
            store: self.store().clone(),
            pool: self.pool().clone(),
            config: self.config().clone(),
            repo: self.repo_path().to_owned(),
            state: Arc::clone(self.names_state()),
            routing,
        }
    }

    /// Bitswap as the config wants it; none where it is switched off.
    fn bitswap(
        &self,
        us: PeerId,
    ) -> Result<Option<(holdfast_bitswap::Behaviour, holdfast_bitswap::Handle)>, NodeError> {
        let Some(config) = exchange::settings(self.config(), us)? else { return Ok(None) };
        let host = StoreHost::new(self.store().clone(), self.pool().clone());
        Ok(Some(holdfast_bitswap::Behaviour::new(config, Arc::new(host))))
    }

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
