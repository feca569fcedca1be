//! Publishing this node's own names again, so that they live on: readers forget a record after 48 hours, and it ends by itself
//! at the end of its lifetime.
//!
//! A minute after the start and then once an `Ipns.RepublishPeriod`, the record of every own key that has one is signed again
//! with a later end, under its old number, and told to the peers closest to its name and to those that follow it over pubsub.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use holdfast_blockstore::Store;
use holdfast_dht::ipns::{
    self, LIFETIME_DEFAULT, Name, Publish, PublishError, Record, RecordError, RecordStore as _,
    SignatureType, TTL_DEFAULT, Timestamp,
};
use holdfast_dht::kad::QueryError;

use super::gossip::NameGossip;
use super::keep::{KeepError, Kept};
use super::network::{NameNetworkError, key_of};
use super::{State, now};
use crate::config::{Config, GoDuration, ValueError};
use crate::keys::{KeyError, Keystore, PrivateKey};
use crate::pool::{Pool, PoolError};
use crate::routing::Routing;

/// `Ipns.RepublishPeriod` where the config says nothing.
const PERIOD_DEFAULT: Duration = Duration::from_secs(4 * 3600);

/// Shortest and longest `Ipns.RepublishPeriod`.
const PERIODS: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(24 * 3600);

/// How long after the start names are first published again (boxo).
const FIRST_DELAY: Duration = Duration::from_secs(60);

/// How long after a failure it is tried again (boxo).
const RETRY_DELAY: Duration = Duration::from_secs(300);

/// Why names cannot be published again with this config. The words are Kubo's where Kubo has words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepublishConfigError {
    /// A value is not what it must be.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// Too often or too seldom.
    #[error("config setting IPNS.RepublishPeriod is not between 1min and 1day: {0}")]
    Period(GoDuration),
    /// Records would end before they are signed again.
    #[error(
        "config setting IPNS.RecordLifetime ({lifetime}) must be >= IPNS.RepublishPeriod ({period}), otherwise records expire before they are republished"
    )]
    Lifetime {
        /// `Ipns.RecordLifetime`.
        lifetime: GoDuration,
        /// `Ipns.RepublishPeriod`.
        period: GoDuration,
    },
}

/// Why a name was not published again.
#[derive(Debug, thiserror::Error)]
enum RepublishError {
    #[error("the keys cannot be read: {0}")]
    Keys(String),
    #[error(transparent)]
    Keep(#[from] KeepError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Publish(#[from] PublishError<KeepError>),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Network(#[from] NameNetworkError),
}

/// When, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RepublishSettings {
    period: Duration,
    lifetime: Duration,
}

impl RepublishSettings {
    /// What the config says.
    pub(crate) fn of_config(config: &Config) -> Result<Self, RepublishConfigError> {
        let duration = |key: &str| -> Result<Option<GoDuration>, ValueError> {
            Ok(config.duration(key)?.filter(|duration| duration.nanos != 0))
        };
        let given = duration("Ipns.RepublishPeriod")?;
        let period = given.map_or(PERIOD_DEFAULT, |given| given.to_std().unwrap_or_default());
        if !PERIODS.contains(&period) {
            return Err(RepublishConfigError::Period(given.unwrap_or_default()));
        }
        let given = duration("Ipns.RecordLifetime")?;
        let lifetime = given.map_or(LIFETIME_DEFAULT, |given| given.to_std().unwrap_or_default());
        if lifetime < period {
            let (lifetime, period) = (given.unwrap_or_default(), GoDuration::from_std(period));
            return Err(RepublishConfigError::Lifetime { lifetime, period });
        }
        Ok(Self { period, lifetime })
    }

    fn first_delay(&self) -> Duration {
        FIRST_DELAY.min(self.period)
    }

    fn next_delay(&self, is_done: bool) -> Duration {
        if is_done { self.period } else { RETRY_DELAY.min(self.period) }
    }
}

/// What publishes again.
pub(crate) struct Republisher {
    pub(crate) settings: RepublishSettings,
    pub(crate) store: Store,
    pub(crate) pool: Pool,
    pub(crate) config: Config,
    pub(crate) repo: PathBuf,
    pub(crate) state: Arc<State>,
    /// None where the node takes part in no DHT.
    pub(crate) routing: Option<Routing>,
    /// None where names do not go over pubsub.
    pub(crate) gossip: Option<NameGossip>,
}

impl Republisher {
    /// Runs until it is aborted.
    pub(crate) async fn run(self) {
        let this = Arc::new(self);
        tokio::time::sleep(this.settings.first_delay()).await;
        loop {
            let is_done = Self::all(&this).await;
            tokio::time::sleep(this.settings.next_delay(is_done)).await;
        }
    }

    /// Publishes every own name that was published before. Whether all went well.
    async fn all(this: &Arc<Self>) -> bool {
        let keys = match Self::work(this, Self::keys).await {
            Ok(keys) => keys,
            Err(error) => {
                tracing::warn!("names are published again later: {error}");
                return false;
            }
        };
        let mut is_done = true;
        for key in keys {
            let name = Name::from(key.peer_id());
            if let Err(error) = Self::one(this, key).await {
                tracing::info!("the name {name} is published again later: {error}");
                is_done = false;
            }
        }
        is_done
    }

    async fn one(this: &Arc<Self>, key: PrivateKey) -> Result<(), RepublishError> {
        let name = Name::from(key.peer_id());
        let Some(record) = Self::work(this, move |this| this.sign_again(&key, now())).await? else {
            return Ok(());
        };
        // Both have their turn: who follows the name over pubsub is told also while the DHT is of no use.
        let followers = match &this.gossip {
            Some(gossip) => gossip.publish(name, &record).await,
            None => Ok(()),
        };
        if let Some(routing) = &this.routing {
            let key = key_of(&name).map_err(NameNetworkError::from)?;
            let told = routing.put_value(key, record.as_bytes().to_vec(), None).await;
            let peers = told.map_err(|error: QueryError| NameNetworkError::from(error))?;
            tracing::debug!("{peers} peers know that {name} lives on");
            if let Err(error) = followers {
                tracing::info!("who follows the name {name} over pubsub was not told: {error}");
            }
            return Ok(());
        }
        Ok(followers.map_err(NameNetworkError::from)?)
    }

    async fn work<T: Send + 'static>(
        this: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, RepublishError> + Send + 'static,
    ) -> Result<T, RepublishError> {
        let this = Arc::clone(this);
        this.pool.clone().run(move || work(&this)).await?
    }

    /// The node's own key, and those that have names of their own. Blocks.
    fn keys(&self) -> Result<Vec<PrivateKey>, RepublishError> {
        let own = self.config.private_key().map_err(|error| RepublishError::Keys(error.to_string()))?;
        let keystore = Keystore::at(&self.repo);
        let others = keystore.names().and_then(|names| names.iter().map(|name| keystore.get(name)).collect());
        let others: Vec<PrivateKey> =
            others.map_err(|error: KeyError| RepublishError::Keys(error.to_string()))?;
        Ok(std::iter::once(own).chain(others).collect())
    }

    /// Signs the last record of a key again, if there is one: the same in all but its end. Blocks.
    fn sign_again(&self, key: &PrivateKey, now: Timestamp) -> Result<Option<Record>, RepublishError> {
        // A publish of a new value comes before or after, never between.
        let _changing = self.state.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = Kept::to_read(&self.store).get(&Name::from(key.peer_id()))?;
        let Some(last) = kept.map(|last| Record::decode(&last)).transpose()? else { return Ok(None) };
        let left = last.end_of_life()?.since(now);
        let publish = Publish {
            value: last.value()?.to_string(),
            lifetime: self.settings.lifetime.max(left),
            ttl: last.ttl_nanos()?.map_or(TTL_DEFAULT, Duration::from_nanos),
            sequence: None,
            v1_compatible: last.signature_type() != SignatureType::V2,
        };
        Ok(Some(ipns::publish(&Kept::to_change(&self.store), key.keypair(), &publish, now)?))
    }
}

#[cfg(test)]
mod tests {
    use holdfast_blockstore::StoreConfig;
    use holdfast_dht::kad::Scope;

    use super::*;
    use crate::routing::RoutingMode;
    use crate::routing::tests::beside_a_server;

    fn settings(text: &str) -> Result<RepublishSettings, String> {
        RepublishSettings::of_config(&Config::parse(text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn periods_and_lifetimes_are_kubos() {
        let default = settings(r#"{"Ipns":{"RepublishPeriod":"","RecordLifetime":""}}"#).unwrap();
        assert_eq!(default.period, Duration::from_secs(4 * 3600));
        assert_eq!(default.lifetime, Duration::from_secs(48 * 3600));
        assert_eq!(
            settings(r#"{"Ipns":{"RepublishPeriod":"30s"}}"#).unwrap_err(),
            "config setting IPNS.RepublishPeriod is not between 1min and 1day: 30s"
        );
        assert_eq!(
            settings(r#"{"Ipns":{"RepublishPeriod":"2h","RecordLifetime":"1h"}}"#).unwrap_err(),
            "config setting IPNS.RecordLifetime (1h0m0s) must be >= IPNS.RepublishPeriod (2h0m0s), otherwise records expire \
             before they are republished"
        );
    }

    #[test]
    fn a_failure_is_tried_again_soon_and_never_later_than_the_next_turn() {
        let default = settings("{}").unwrap();
        assert_eq!(default.first_delay(), Duration::from_secs(60));
        assert_eq!(default.next_delay(true), Duration::from_secs(4 * 3600));
        assert_eq!(default.next_delay(false), Duration::from_secs(300));
        let often = settings(r#"{"Ipns":{"RepublishPeriod":"1m"}}"#).unwrap();
        assert_eq!(often.next_delay(false), Duration::from_secs(60));
    }

    struct World {
        _folder: tempfile::TempDir,
        _behaviours: Option<crate::routing::Behaviours>,
        republisher: Arc<Republisher>,
        key: PrivateKey,
    }

    fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let params = crate::repo_init::InitParams {
            repo: folder.path().join("repo"),
            profiles: "test".to_owned(),
            ..Default::default()
        };
        let config = crate::node::init(&params, &mut |_| {}).unwrap();
        let store = Store::open(&params.repo, StoreConfig::default()).unwrap();
        let pool = Pool::new(1, 1).unwrap();
        let key = config.private_key().unwrap();
        let routing = Routing::new(key.peer_id(), RoutingMode::Client, &config, &store, &pool, false);
        let (routing, behaviours) = routing.unwrap().unwrap();
        assert_eq!(routing.dht(Scope::Lan).table_len(), 0);
        let settings = RepublishSettings::of_config(&config).unwrap();
        let (state, repo) = (Arc::default(), params.repo);
        let (routing, gossip) = (Some(routing), None);
        let republisher = Republisher { settings, store, pool, config, repo, state, routing, gossip };
        World { _folder: folder, _behaviours: Some(behaviours), republisher: Arc::new(republisher), key }
    }

    fn publish(world: &World, lifetime: Duration, now: Timestamp) -> Record {
        let publish = Publish {
            value: "/ipfs/bafkqaaa".to_owned(),
            lifetime,
            ttl: Duration::from_secs(77),
            sequence: Some(5),
            v1_compatible: true,
        };
        ipns::publish(&Kept::to_change(&world.republisher.store), world.key.keypair(), &publish, now).unwrap()
    }

    #[tokio::test]
    async fn a_record_is_signed_again_with_a_later_end_and_all_else_as_it_was() {
        let world = world();
        let start = Timestamp::from_unix(1_700_000_000, 0);
        assert!(world.republisher.sign_again(&world.key, start).unwrap().is_none(), "nothing was published");
        let first = publish(&world, Duration::from_secs(3600), start);
        // It has ended by then.
        let later = start.after(Duration::from_secs(7200));
        let again = world.republisher.sign_again(&world.key, later).unwrap().unwrap();
        assert_eq!(again.end_of_life().unwrap(), later.after(LIFETIME_DEFAULT));
        assert_eq!(again.sequence().unwrap(), 5);
        assert_eq!(again.ttl_nanos().unwrap(), Some(77_000_000_000));
        assert_eq!(again.value().unwrap(), first.value().unwrap());
        assert_eq!(again.signature_type(), first.signature_type());
        assert_eq!(ipns::compare(&again, &first).unwrap(), std::cmp::Ordering::Greater);
        let kept = Kept::to_read(&world.republisher.store).get(&Name::from(world.key.peer_id())).unwrap();
        assert_eq!(kept.as_deref(), Some(again.as_bytes()), "it is kept");
    }

    #[tokio::test]
    async fn an_end_never_comes_nearer() {
        let world = world();
        let start = Timestamp::from_unix(1_700_000_000, 0);
        let long = Duration::from_secs(400 * 24 * 3600);
        let first = publish(&world, long, start);
        let again =
            world.republisher.sign_again(&world.key, start.after(Duration::from_secs(60))).unwrap().unwrap();
        assert_eq!(again.end_of_life().unwrap(), first.end_of_life().unwrap());
    }

    #[tokio::test]
    async fn every_own_key_has_its_turn_and_one_that_fails_is_told() {
        let world = world();
        let republisher = &world.republisher;
        Keystore::at(&republisher.repo).generate("site", "ed25519", None).unwrap();
        assert_eq!(republisher.keys().unwrap().len(), 2);
        assert!(Republisher::all(republisher).await, "there is nothing to publish");
        // Nobody drives the DHT, so that nobody can be told.
        publish(&world, Duration::from_secs(3600), now());
        let World { _behaviours: behaviours, republisher, .. } = world;
        drop(behaviours);
        assert!(!Republisher::all(&republisher).await);
    }
    #[tokio::test]
    async fn a_record_is_signed_again_where_there_is_no_dht() {
        let World { _folder: folder, _behaviours: behaviours, republisher, key } = world();
        drop(behaviours);
        let republisher = Republisher { routing: None, ..Arc::into_inner(republisher).unwrap() };
        let world = World { _folder: folder, _behaviours: None, republisher: Arc::new(republisher), key };
        let first = publish(&world, Duration::from_secs(3600), now());
        assert!(Republisher::all(&world.republisher).await, "there is nobody to tell it to");
        let kept = Kept::to_read(&world.republisher.store).get(&Name::from(world.key.peer_id()));
        let again = Record::decode(&kept.unwrap().unwrap()).unwrap();
        assert!(again.end_of_life().unwrap() > first.end_of_life().unwrap());
        assert_eq!(again.sequence().unwrap(), first.sequence().unwrap());
    }
    #[tokio::test]
    async fn a_turn_succeeds_where_a_peer_of_the_dht_takes_the_record() {
        let World { _folder: folder, _behaviours: nobody_drives, republisher, key } = world();
        drop(nobody_drives);
        let alone = Arc::into_inner(republisher).unwrap();
        let (routing, server) = beside_a_server(&alone.config, &alone.store, &alone.pool).await;
        let republisher = Arc::new(Republisher { routing: Some(routing), ..alone });
        let world = World { _folder: folder, _behaviours: None, republisher, key };
        let name = Name::from(world.key.peer_id());
        publish(&world, Duration::from_secs(3600), now());
        assert!(Republisher::all(&world.republisher).await);
        let kept = Kept::to_read(&world.republisher.store).get(&name).unwrap();
        let told = server.get_value(key_of(&name).unwrap(), 1, None).await;
        assert_eq!(told.ok(), kept, "the peer has what was signed again");
    }
}
