//! Announcing what is stored: which keys, when, and to both DHTs.
//!
//! ```text
//! store --(stored, committed)--> intake --> table of keys, queue of new ones --> feed --> sweep of the WAN
//!   `------(sync, once an interval)-----------^                             `--> feed --> sweep of the LAN
//! ```
//! The keys of the strategy lie in the table in the order of the key space, so that a sweep reads a region as one range
//! ([`holdfast_dht::sweep`]). New ones are announced as soon as there is somebody to tell; all of them again once an interval.
//! The root of what was added goes out at once, past all that ([`FastProvide`]). With `Provide.DHT.SweepEnabled=false` each key
//! has a lookup of its own instead (`classic`), in one DHT.

mod announcer;
mod classic;
mod fast;
mod feed;
mod intake;
mod keys;
mod settings;
mod strategy;
mod sync;
mod table;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_blockstore::{Store, Watch};
use holdfast_dag::cid::Multihash;
use holdfast_dht::kad::{Key, Scope};
use holdfast_dht::sweep::{Reprovider, ReproviderError, SweepStats};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::pool::{Pool, PoolError};
use crate::routing::Routing;

pub use classic::ClassicStats;
pub use fast::{FastProvide, FastProvideError};
pub use settings::{ProvideConfigError, ProvideSettings};
pub use strategy::{Content, Strategy, StrategyError};
pub use table::TableError;

use announcer::Announcer;
use classic::{Classic, ClassicParams};
use fast::Fast;
use feed::{Feed, Feeder};
use intake::{Intake, Noter};
use keys::SweepKeys;
use sync::Sync;
use table::Table;

/// How long a sweep may take to save where it is when the node closes.
const STOP_TIME_MAX: Duration = Duration::from_secs(1);

/// How long a queue that is full is waited for before keys are offered to it again.
const FULL_DELAY: Duration = Duration::from_millis(500);

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvideError {
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The work was not done.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The node is closing.
    #[error(transparent)]
    Closed(#[from] ReproviderError),
}

/// What announces. Clones share it; it ends with `Provider::stop`, or with the last clone.
#[derive(Clone)]
pub struct Provider {
    inner: Arc<Inner>,
}

struct Inner {
    settings: ProvideSettings,
    pool: Pool,
    table: Arc<Table>,
    intake: Arc<Intake>,
    sweeps: Vec<(Scope, Announcer)>,
    fast: Fast,
    is_stopping: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    _watch: Watch,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.is_stopping.send_replace(true);
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

/// Whether a node gives itself as a provider of a key. Blocks.
pub(crate) fn is_provided(store: &Store, key: &Key) -> bool {
    let here = Multihash::from_bytes(key.as_bytes()).is_ok_and(|hash| store.has(&hash).unwrap_or(false));
    here && Table::has(store, key).unwrap_or(false)
}

/// What is known when a provider starts.
struct Began {
    is_ready: bool,
    states: Vec<Option<Vec<u8>>>,
}

impl Provider {
    /// Starts to announce what is in `store`. `folder` is where scratch files may be. Must be called within a tokio runtime.
    pub(crate) async fn start(
        settings: ProvideSettings,
        routing: &Routing,
        store: &Store,
        pool: &Pool,
        folder: &Path,
    ) -> Result<Self, ProvideError> {
        let scopes = if settings.is_sweep { routing.announced_in() } else { vec![classic::SCOPE] };
        let table = Arc::new(Table::new(store.clone(), scopes.clone()));
        let began = {
            let (table, strategy, resumes) = (Arc::clone(&table), settings.strategy, settings.resumes);
            let scopes = scopes.clone();
            pool.run(move || begin(&table, &scopes, strategy, resumes)).await??
        };
        let (is_stopping, stopping) = watch::channel(false);
        let (is_ready, ready) = watch::channel(began.is_ready);
        let intake = Arc::new(Intake::new(settings.strategy));
        let (mut sweeps, mut feeds, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        for (scope, state) in scopes.into_iter().zip(began.states) {
            let feed = Arc::new(Feed::default());
            let (table, pool) = (Arc::clone(&table), pool.clone());
            let sweep = if settings.is_sweep {
                let keys = SweepKeys {
                    table: Arc::clone(&table),
                    pool: pool.clone(),
                    scope,
                    is_ready: ready.clone(),
                    feed: Arc::clone(&feed),
                };
                let (dht, config) = (routing.dht(scope).clone(), settings.sweep.clone());
                let (sweep, task) = Reprovider::start(dht, Arc::new(keys), config, state.as_deref());
                tasks.push(tokio::spawn(task));
                Announcer::Sweep(sweep)
            } else {
                let classic = Classic::new(ClassicParams {
                    routing: routing.clone(),
                    table: Arc::clone(&table),
                    pool: pool.clone(),
                    feed: Arc::clone(&feed),
                    workers_max: settings.sweep.workers_max,
                    interval: settings.sweep.interval,
                    state,
                });
                tasks.push(tokio::spawn(classic.clone().run_new()));
                tasks.push(tokio::spawn(classic.clone().run_again(ready.clone())));
                Announcer::Classic(classic)
            };
            let feeder = Feeder { feed: Arc::clone(&feed), table, pool, scope, sweep: sweep.clone() };
            tasks.push(tokio::spawn(feeder.run()));
            sweeps.push((scope, sweep));
            feeds.push(feed);
        }
        let wanted = Arc::new(Notify::new());
        let folder: PathBuf = folder.to_owned();
        let noter = Noter {
            intake: Arc::clone(&intake),
            table: Arc::clone(&table),
            pool: pool.clone(),
            folder: folder.clone(),
            feeds: feeds.clone(),
            sync: Arc::clone(&wanted),
            is_stopping: stopping.clone(),
        };
        tasks.push(tokio::spawn(noter.run()));
        // Before the sync begins, so that nothing comes between.
        let watching = Arc::downgrade(&intake);
        let watch = store.watch(move |happened| {
            if let Some(intake) = watching.upgrade() {
                intake.happened(happened);
            }
        });
        let sync = Sync {
            table: Arc::clone(&table),
            pool: pool.clone(),
            folder,
            strategy: settings.strategy,
            interval: settings.sweep.interval,
            feeds,
            wanted,
            is_ready,
            is_stopping: stopping.clone(),
        };
        tasks.push(tokio::spawn(sync.run()));
        let fast = Fast::new(routing.clone(), stopping);
        let pool = pool.clone();
        let tasks = Mutex::new(tasks);
        let inner = Inner { settings, pool, table, intake, sweeps, fast, is_stopping, tasks, _watch: watch };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the config says.
    pub fn settings(&self) -> &ProvideSettings {
        &self.inner.settings
    }

    /// What `provide stat` shows where each key has a lookup of its own; none of a sweep.
    pub fn classic_stats(&self) -> Option<ClassicStats> {
        self.inner.sweeps.iter().find_map(|(_, announcer)| announcer.classic()).map(Classic::stats)
    }

    /// Whether there is a sweep of this DHT.
    pub fn announces_in(&self, scope: Scope) -> bool {
        self.sweep(scope).is_ok()
    }

    /// What `provide stat` shows of the sweep of one DHT. It fails where there is none.
    pub async fn stats(&self, scope: Scope) -> Result<SweepStats, ProvideError> {
        let waiting = self.inner.table.waiting_len(scope);
        let mut stats = self.sweep(scope)?.stats().await?;
        // Those at work wait in the table until they were taken.
        let waiting = waiting.saturating_sub(stats.ongoing_provides.1);
        stats.pending_key_provides = stats.pending_key_provides.max(waiting);
        stats.pending_region_provides = stats.pending_region_provides.max(usize::from(waiting > 0));
        if !stats.interval.is_zero() {
            stats.scheduled_keys = self.inner.table.len();
            let regions = 1_u64.checked_shl(stats.next_reprovide_prefix.bits()).unwrap_or(u64::MAX);
            stats.scheduled_regions = regions.min(stats.scheduled_keys);
        }
        Ok(stats)
    }

    /// Forgets the new keys that wait to be announced; how many there were. They are announced in their turn.
    pub async fn clear(&self) -> Result<usize, ProvideError> {
        let table = Arc::clone(&self.inner.table);
        let cleared = self.inner.pool.run(move || table.clear_waiting()).await??;
        let mut most = cleared;
        for (_, sweep) in &self.inner.sweeps {
            most = most.max(sweep.clear().await?);
        }
        Ok(most)
    }

    /// Announces keys as soon as there is somebody to tell, and not again. Waits for room where many wait.
    pub async fn once(&self, hashes: &[Multihash]) -> Result<(), ProvideError> {
        let keys: Vec<Key> = hashes.iter().filter_map(|hash| Key::new(&hash.to_bytes()).ok()).collect();
        for (_, sweep) in &self.inner.sweeps {
            let mut rest = keys.clone();
            while !rest.is_empty() {
                let taken = sweep.provide(rest.clone()).await?;
                rest.drain(..taken.min(rest.len()));
                if !rest.is_empty() {
                    tokio::time::sleep(FULL_DELAY).await;
                }
            }
        }
        Ok(())
    }

    /// Makes all keys due at once.
    pub async fn reprovide(&self) -> Result<(), ProvideError> {
        for (_, sweep) in &self.inner.sweeps {
            sweep.restart().await?;
        }
        Ok(())
    }

    /// Ends announcing, and remembers how far it has come.
    pub(crate) async fn stop(&self) {
        self.inner.is_stopping.send_replace(true);
        for (scope, sweep) in &self.inner.sweeps {
            if timeout(STOP_TIME_MAX, sweep.stop()).await.is_err() {
                tracing::info!(
                    "the sweep of the {scope:?} is left; it repeats its last minute after the next start"
                );
            }
        }
        for task in self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }

    fn sweep(&self, scope: Scope) -> Result<&Reprovider, ProvideError> {
        let found = self.inner.sweeps.iter().find(|(of, _)| *of == scope);
        found.and_then(|(_, announcer)| announcer.sweep()).ok_or(ProvideError::Closed(ReproviderError))
    }
}

/// Reads what is known from before. With another strategy, or where nothing is to be resumed, announcing begins anew.
fn begin(table: &Table, scopes: &[Scope], strategy: Strategy, resumes: bool) -> Result<Began, TableError> {
    table.resume()?;
    let synced = table.synced()?;
    let is_ready = synced.as_ref().is_some_and(|synced| synced.strategy == strategy.to_string());
    let mut states = Vec::new();
    for scope in scopes.iter().copied() {
        if !is_ready || !resumes {
            table.set_sweep_state(scope, None)?;
        }
        states.push(table.sweep_state(scope)?);
    }
    if !is_ready || !resumes {
        table.clear_waiting()?;
    }
    Ok(Began { is_ready, states })
}
