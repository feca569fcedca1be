//! Finding: both DHTs as one, and what they keep for others.
//!
//! A question goes to the DHT of public addresses and to that of the local network at once; the first answer is
//! given with what the other one knows a moment later. A key is announced among public addresses where peers are known there,
//! else on the local network, as Kubo does it. With `Provide.DHT.LANOnly` nothing is announced among public addresses, whoever
//! is met.

mod mode;
mod peered;
mod reach;
mod records;
mod search;
mod shares;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, BoxStream, StreamExt as _};
use holdfast_blockstore::Store;
use holdfast_dag::cid::Multihash;
use holdfast_dht::kad::{self, Key, Mode, PeerInfo, Provide, QueryError, QueryEvent, Scope, Stats};
use holdfast_dht::{Behaviour, Handle};
use libp2p::PeerId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::{Config, GoDuration, ValueError};
use crate::pool::Pool;

pub use mode::{RoutingError, RoutingMode};
pub(crate) use peered::find_peered;
pub(crate) use reach::reach;
pub(crate) use search::answer_searches;

use records::{EXPIRE_PERIOD, Records};

/// How long the second DHT is waited for when the first has answered: what it knows may be newer, or more.
const SECOND_TIME_MAX: Duration = Duration::from_secs(2);

/// Where what happens on the way is told, if anywhere: see [`holdfast_dht::Events`].
pub type Events = Option<mpsc::Sender<QueryEvent>>;

/// How a value is searched for.
#[derive(Debug, Clone, Copy)]
pub struct ValueSearch {
    /// How long, at most: the best record of those that were found by then is given. Default: a minute, which is the most.
    pub time_max: Duration,
    /// After how many records to stop; 0: at the end of the search. Default: 16, as Kubo resolves names.
    pub records: usize,
}

impl Default for ValueSearch {
    fn default() -> Self {
        Self { time_max: Duration::from_secs(60), records: 16 }
    }
}

/// Both DHTs. Clones share them; what it does by itself ends with the last.
#[derive(Debug, Clone)]
pub struct Routing {
    us: PeerId,
    wan: Handle,
    lan: Handle,
    /// `Provide.DHT.LANOnly`.
    announces_on_lan_only: bool,
    _expiring: Arc<Upkeep>,
}

/// The behaviours for the swarm.
pub(crate) struct Behaviours {
    pub(crate) wan: Behaviour,
    pub(crate) lan: Behaviour,
    pub(crate) wan_serves_when_reachable: bool,
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Upkeep(JoinHandle<()>);

impl Upkeep {
    pub(crate) fn of(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Routing {
    /// Both DHTs of a node, and what the swarm runs; none where `mode` says so. `gives_itself`: it tells those who ask that
    /// it has what it announces. Must be called within a tokio runtime.
    pub(crate) fn new(
        us: PeerId,
        mode: RoutingMode,
        config: &Config,
        store: &Store,
        pool: &Pool,
        gives_itself: bool,
    ) -> Result<Option<(Self, Behaviours)>, ValueError> {
        Self::with_wan(us, mode, config, (store, pool), gives_itself, dht_config(config, Scope::Wan)?)
    }

    /// The same with another idea of what is public.
    fn with_wan(
        us: PeerId,
        mode: RoutingMode,
        config: &Config,
        (store, pool): (&Store, &Pool),
        gives_itself: bool,
        wan_config: kad::Config,
    ) -> Result<Option<(Self, Behaviours)>, ValueError> {
        let (wan_mode, lan_mode) = match mode {
            RoutingMode::None => return Ok(None),
            RoutingMode::Auto => (Mode::Client, Mode::Server),
            RoutingMode::Client => (Mode::Client, Mode::Client),
            RoutingMode::Server => (Mode::Server, Mode::Server),
        };
        let announces_on_lan_only = config.flag("Provide.DHT.LANOnly")?.unwrap_or(false);
        let records = |scope| {
            let gives_itself = gives_itself && (scope == Scope::Lan || !announces_on_lan_only);
            Records::new(store.clone(), pool.clone(), scope).with_us(gives_itself.then_some(us))
        };
        let (wan_records, lan_records) = (records(Scope::Wan), records(Scope::Lan));
        let upkeep = tokio::spawn(expire(vec![wan_records.clone(), lan_records.clone()]));
        let lan_config = dht_config(config, Scope::Lan)?;
        let (mut wan_behaviour, wan) = Behaviour::new(us, wan_config, Arc::new(wan_records));
        let (mut lan_behaviour, lan) = Behaviour::new(us, lan_config, Arc::new(lan_records));
        wan_behaviour.set_mode(wan_mode);
        lan_behaviour.set_mode(lan_mode);
        let routing = Self { us, wan, lan, announces_on_lan_only, _expiring: Arc::new(Upkeep(upkeep)) };
        let wan_serves_when_reachable = mode == RoutingMode::Auto;
        Ok(Some((routing, Behaviours { wan: wan_behaviour, lan: lan_behaviour, wan_serves_when_reachable })))
    }

    /// Who has a block, each once, from both DHTs as they are found; ends after `count`, or when both searches end.
    pub fn find_providers(
        &self,
        hash: &Multihash,
        count: usize,
        events: Events,
    ) -> BoxStream<'static, PeerInfo> {
        let Ok(key) = Key::new(&hash.to_bytes()) else { return stream::empty().boxed() };
        let wan = self.wan.find_providers(key.clone(), count, events.clone());
        let lan = self.lan.find_providers(key, count, events);
        let found = stream::select(wan, lan).filter_map(|found| async { found.ok() });
        let mut seen = std::collections::HashSet::new();
        let found = found.filter(move |provider| std::future::ready(seen.insert(provider.id)));
        if count == 0 { found.boxed() } else { found.take(count).boxed() }
    }

    /// A peer's addresses, as far as the DHTs know them: the second one is waited for a moment when the first has answered.
    pub async fn find_peer(&self, peer: PeerId, events: Events) -> Result<PeerInfo, QueryError> {
        let (wan, lan) = (self.wan.find_peer(peer, events.clone()), self.lan.find_peer(peer, events));
        let (wan, lan) = both(wan, lan, SECOND_TIME_MAX).await?;
        let mut addresses = Vec::new();
        for address in [wan, lan].into_iter().flatten().flat_map(|found| found.addresses) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(PeerInfo { id: peer, addresses })
    }

    /// The peers closest to a key, among public addresses where peers are known there, else on the local network.
    pub async fn closest_peers(&self, key: Key, events: Events) -> Result<Vec<PeerInfo>, QueryError> {
        self.outer().closest_peers(key, events).await
    }

    /// Tells the peers closest to a block's hash that it is here. Returns how many know.
    pub async fn provide(&self, hash: &Multihash, events: Events) -> Result<usize, QueryError> {
        let key = Key::new(&hash.to_bytes()).map_err(|error| QueryError::Internal(error.to_string()))?;
        self.announcing().provide(key, Provide::Classic, events).await
    }

    /// As [`Routing::provide`], but ends as soon as most of the peers know that are probably the closest.
    pub(crate) async fn provide_fast(&self, hash: &Multihash) -> Result<usize, QueryError> {
        let key = Key::new(&hash.to_bytes()).map_err(|error| QueryError::Internal(error.to_string()))?;
        self.announcing().provide(key, Provide::Optimistic, None).await
    }

    /// One of them.
    pub(crate) fn dht(&self, scope: Scope) -> &Handle {
        match scope {
            Scope::Wan => &self.wan,
            Scope::Lan => &self.lan,
        }
    }

    /// The best record under a key that either DHT has.
    pub async fn get_value(
        &self,
        key: Key,
        search: ValueSearch,
        events: Events,
    ) -> Result<Vec<u8>, QueryError> {
        let (wan, lan) = (self.wan.within(search.time_max), self.lan.within(search.time_max));
        let wan = wan.get_value(key.clone(), search.records, events.clone());
        let lan = lan.get_value(key.clone(), search.records, events);
        match both(wan, lan, SECOND_TIME_MAX).await? {
            (Some(wan), Some(lan)) => {
                Ok(if kad::compare_values(key.as_bytes(), &wan, &lan).is_lt() { lan } else { wan })
            }
            (Some(value), None) | (None, Some(value)) => Ok(value),
            (None, None) => Err(QueryError::NotFound),
        }
    }

    /// Stores a record in both DHTs. Returns how many peers took it; fails where none did.
    pub async fn put_value(&self, key: Key, value: Vec<u8>, events: Events) -> Result<usize, QueryError> {
        let wan = self.wan.put_value(key.clone(), value.clone(), events.clone());
        let (wan, lan) = tokio::join!(wan, self.lan.put_value(key, value, events));
        match (wan, lan) {
            (Ok(wan), Ok(lan)) => Ok(wan + lan),
            (Ok(peers), Err(_)) | (Err(_), Ok(peers)) => Ok(peers),
            (Err(wan), Err(lan)) => Err(told(wan, lan)),
        }
    }

    /// The state of one of them.
    pub async fn stats(&self, scope: Scope) -> Result<Stats, QueryError> {
        self.dht(scope).stats().await
    }

    /// Whether there is anybody to ask.
    pub(crate) fn knows_anybody(&self) -> bool {
        self.wan.table_len() > 0 || self.lan.table_len() > 0
    }

    /// Those that keys may be announced in.
    pub(crate) fn announced_in(&self) -> Vec<Scope> {
        if self.announces_on_lan_only { vec![Scope::Lan] } else { vec![Scope::Wan, Scope::Lan] }
    }

    /// The DHT that single keys are announced in.
    fn announcing(&self) -> &Handle {
        if self.announces_on_lan_only { &self.lan } else { self.outer() }
    }

    /// That of public addresses where peers are known there.
    fn outer(&self) -> &Handle {
        if self.wan.table_len() > 0 { &self.wan } else { &self.lan }
    }
}

/// What the config says of one of them.
fn dht_config(config: &Config, scope: Scope) -> Result<kad::Config, ValueError> {
    let mut of_scope = kad::Config::new(scope);
    if scope == Scope::Lan {
        of_scope.loopback_on_lan = config.flag("Routing.LoopbackAddressesOnLanDHT")?.unwrap_or(false);
    }
    // What is not positive keeps a daemon from announcing anything: see the settings of `provide`.
    let time = config.duration("Provide.DHT.SendProviderRecordTimeout")?.and_then(GoDuration::to_std);
    if let Some(time) = time.filter(|time| !time.is_zero()) {
        of_scope.announce_timeout = time;
    }
    Ok(of_scope)
}

/// What two searches find: when the first has, the other is waited for a while longer. Where neither does, what is to be told of
/// both failures.
async fn both<T>(
    wan: impl Future<Output = Result<T, QueryError>>,
    lan: impl Future<Output = Result<T, QueryError>>,
    patience: Duration,
) -> Result<(Option<T>, Option<T>), QueryError> {
    tokio::pin!(wan, lan);
    tokio::select! {
        found = &mut wan => match found {
            Ok(found) => Ok((Some(found), timeout(patience, lan).await.ok().and_then(Result::ok))),
            Err(wan) => lan.await.map(|found| (None, Some(found))).map_err(|lan| told(wan, lan)),
        },
        found = &mut lan => match found {
            Ok(found) => Ok((timeout(patience, wan).await.ok().and_then(Result::ok), Some(found))),
            Err(lan) => wan.await.map(|found| (Some(found), None)).map_err(|wan| told(wan, lan)),
        },
    }
}

/// Of two failures, the one that says more than that nobody is known.
fn told(wan: QueryError, lan: QueryError) -> QueryError {
    if wan == QueryError::NoPeers { lan } else { wan }
}

/// Removes records that have expired, at once and then every hour.
async fn expire(stores: Vec<Records>) {
    loop {
        for store in &stores {
            if let Err(error) = store.expire(SystemTime::now().into()).await {
                tracing::warn!("removing old records of the DHT: {error}");
            }
        }
        tokio::time::sleep(EXPIRE_PERIOD).await;
    }
}

/// How long a search that Bitswap asked for may take.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(30);
