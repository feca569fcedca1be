//! Records of names in the network: told to the peers closest to their name, and asked of them.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use holdfast_dht::ipns::{self, Name, PutError, Record, StoredError, TTL_DEFAULT, Timestamp};
use holdfast_dht::kad::{Key, QueryError};
use tokio::sync::Semaphore;

use super::keep::Kept;
use super::{Keeper, NameError, NameRecordError, Names, now};
use crate::config::ValueError;
use crate::pubsub::PubsubError;
use crate::routing::{Routing, ValueSearch};

/// How long a record is looked for (Kubo's `--dht-timeout`).
pub(super) const SEARCH_TIME_MAX: Duration = Duration::from_secs(60);

/// Searches that go on at a time behind requests that have their answer. Of more, what is slower is not waited for.
pub(super) const BEHIND_MAX: usize = 64;

/// What the key of a name's record begins with.
const KEY_PREFIX: &[u8] = b"/ipns/";

/// Why the network was of no use.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NameNetworkError {
    /// The node is not online, or takes no part in a DHT.
    #[error("this node is not online")]
    Offline,
    /// The search ended without an answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// It took too long.
    #[error("no record was found within {0} seconds")]
    Late(f64),
    /// Nobody who follows the name has a record of it.
    #[error("no peer that follows the name over pubsub has a record of it")]
    NotHeard,
    /// Pubsub did not take it.
    #[error(transparent)]
    Pubsub(#[from] PubsubError),
    /// What was found was not kept.
    #[error("{0}")]
    Kept(String),
}

/// Why no record of a name was found, here or with others.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NameFindError {
    /// None is kept that is valid, and there is nobody to ask, or nobody who has one.
    #[error(transparent)]
    Kept(#[from] NameRecordError),
    /// None is kept, and none was found.
    #[error(transparent)]
    Network(#[from] NameNetworkError),
    /// `Ipns.MaxCacheTTL` cannot be used.
    #[error(transparent)]
    Config(#[from] ValueError),
}

/// Which record of a name is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The newest that others have: one that is kept counts where this node published it, or nobody has a better one.
    Newest,
    /// One that may be relied on still: others are asked where none is kept, or its time is over.
    Fresh,
}

/// Names that were asked for while one path is followed.
pub(super) type Asked = HashSet<Name>;

impl Names {
    /// Gives a record to the peers closest to its name, and to those that follow it over pubsub. Returns how many of the
    /// former took it.
    pub async fn announce(&self, name: &Name, record: &Record) -> Result<usize, NameNetworkError> {
        let told = match self.node.name_gossip() {
            Some(gossip) => Some(gossip.publish(*name, record).await),
            None => None,
        };
        let put = match self.node.routing() {
            Some(routing) => Some(routing.put_value(key_of(name)?, record.as_bytes().to_vec(), None).await),
            None => None,
        };
        match (put, told) {
            (Some(Ok(peers)), _) => Ok(peers),
            // Whoever follows the name has it.
            (_, Some(Ok(()))) => Ok(0),
            (Some(Err(error)), _) => Err(error.into()),
            (None, Some(Err(error))) => Err(NameNetworkError::Pubsub(error)),
            (None, None) => Err(NameNetworkError::Offline),
        }
    }

    /// The record of a name, with the help of others where the request lets them be asked.
    pub async fn find(&self, name: Name, wanted: Wanted) -> Result<Record, NameFindError> {
        let (store, most) = (self.node.store().clone(), self.cache_time_max()?);
        let look = move || {
            let now = now();
            let kept = ipns::stored(&Kept::to_read(&store), &name, now);
            let is_enough = match (&kept, wanted) {
                (Err(StoredError::Missing(_)), _) => false,
                (Ok(_), Wanted::Fresh) => !Names::is_stale(&store, &name, now, most),
                (Ok(_), Wanted::Newest) | (Err(_), _) => !Names::is_of_others(&store, &name),
            };
            (kept, is_enough)
        };
        let (kept, is_enough) = self.node.pool().run(look).await.map_err(NameRecordError::from)?;
        let kept = kept.map_err(NameRecordError::from);
        if is_enough || !self.can_ask() {
            return Ok(kept?);
        }
        match (self.ask(name, wanted).await, kept) {
            (Ok(found), _) => Ok(found),
            (Err(error), Ok(kept)) => {
                tracing::debug!("the record of {name} that is kept is given: {error}");
                Ok(kept)
            }
            (Err(error), Err(NameRecordError::Stored(StoredError::Missing(_)))) => Err(error.into()),
            (Err(_), Err(kept)) => Err(kept.into()),
        }
    }

    /// Asks for the record of a name, and keeps what was found if it is not older than what is kept. Where there are two to ask,
    /// the DHT and who follows the name, the newest takes both; for one that is fresh the first that has one will do, and what
    /// the other has is kept when it comes.
    pub async fn ask(&self, name: Name, wanted: Wanted) -> Result<Record, NameNetworkError> {
        if !self.can_ask() {
            return Err(NameNetworkError::Offline);
        }
        // Searches may outlive the request: they do not hold on to the node.
        let (routing, keeper) = (self.node.routing().cloned(), self.keeper());
        let search = ValueSearch { time_max: self.search_time_max, records: self.search_records };
        let has_dht = routing.is_some();
        let found: Search<Record> = Box::pin(async move { ask_dht(routing, &keeper, name, search).await });
        let Some(gossip) = self.node.name_gossip().cloned() else { return found.await };
        let heard = Box::pin(async move { gossip.look_up(name).await.ok_or(NameNetworkError::NotHeard) });
        let answer = match wanted {
            Wanted::Newest => match tokio::join!(found, heard) {
                (Ok(found), Ok(heard)) => Ok(ipns::best([found, heard.clone()]).unwrap_or(heard)),
                (Ok(record), Err(_)) | (Err(_), Ok(record)) => Ok(record),
                (Err(error), Err(nobody)) => Err((error, nobody)),
            },
            Wanted::Fresh => either(found, heard, &self.node.names_state().behind).await,
        };
        // When it comes to errors, those of the DHT say more.
        answer.map_err(|(error, nobody)| if has_dht { error } else { nobody })
    }

    /// Whether others could be asked, and the request lets them be.
    pub(super) fn can_ask(&self) -> bool {
        (self.node.routing().is_some() || self.node.name_gossip().is_some())
            && !self.node.fetch().is_kept_offline()
    }

    /// Whether a record is kept that came from others.
    pub(super) fn is_of_others(store: &holdfast_blockstore::Store, name: &Name) -> bool {
        store.name_record(&name.to_bytes()).is_ok_and(|row| row.is_some_and(|row| !row.is_own))
    }

    /// Whether a record that came from others has been kept for longer than it says that it may, or than `most`, or is of
    /// no use any more.
    pub(super) fn is_stale(
        store: &holdfast_blockstore::Store,
        name: &Name,
        now: Timestamp,
        most: Option<Duration>,
    ) -> bool {
        let Ok(Some(row)) = store.name_record(&name.to_bytes()) else { return false };
        if row.is_own {
            return false;
        }
        let Ok(record) = Record::decode(&row.record) else { return true };
        // Its publisher may have signed it again long ago.
        if record.end_of_life().map_or(true, |end| end < now) {
            return true;
        }
        let ttl = record.ttl_nanos().ok().flatten().map_or(TTL_DEFAULT, Duration::from_nanos);
        let ttl = most.map_or(ttl, |most| ttl.min(most));
        let seconds = i64::try_from(row.stored_unix_ms / 1000).unwrap_or(i64::MAX);
        Timestamp::from_unix(seconds, 0).after(ttl) <= now
    }
}

/// A search for a record, which keeps what it finds.
type Search<T> = Pin<Box<dyn Future<Output = Result<T, NameNetworkError>> + Send>>;

/// Two searches, of which the first that finds something is waited for. Where there is room for it, the other goes on: it may
/// find something better, which counts from then on. Fails with what is wrong with each.
async fn either<T: Send + 'static>(
    mut one: Search<T>,
    mut other: Search<T>,
    behind: &Arc<Semaphore>,
) -> Result<T, (NameNetworkError, NameNetworkError)> {
    tokio::select! {
        first = &mut one => match first {
            Ok(first) => {
                go_on(other, behind);
                Ok(first)
            }
            Err(error) => other.await.map_err(|other| (error, other)),
        },
        first = &mut other => match first {
            Ok(first) => {
                go_on(one, behind);
                Ok(first)
            }
            Err(error) => one.await.map_err(|one| (one, error)),
        },
    }
}

/// Lets a search go on behind a request that has its answer, where there is room.
fn go_on<T: Send + 'static>(search: Search<T>, behind: &Arc<Semaphore>) {
    let Ok(room) = Arc::clone(behind).try_acquire_owned() else { return };
    tokio::spawn(async move {
        // What it finds is kept; whether it does changes nothing here.
        drop(search.await);
        drop(room);
    });
}

async fn ask_dht(
    routing: Option<Routing>,
    keeper: &Keeper,
    name: Name,
    search: ValueSearch,
) -> Result<Record, NameNetworkError> {
    let routing = routing.ok_or(NameNetworkError::Offline)?;
    let found = routing.get_value(key_of(&name)?, search, None).await.map_err(|error| match error {
        QueryError::Timeout { .. } => NameNetworkError::Late(search.time_max.as_secs_f64()),
        error => error.into(),
    })?;
    hear(keeper, name, found).await.map_err(|error| NameNetworkError::Kept(error.to_string()))
}

/// Keeps the best record that others have. Where the one that is kept is as good or better, it may be relied on anew.
async fn hear(keeper: &Keeper, name: Name, found: Vec<u8>) -> Result<Record, NameError> {
    match keeper.put(name, found).await {
        Err(NameError::Put(PutError::Older { kept })) => {
            keeper.confirm(name).await?;
            Ok(*kept)
        }
        heard => heard,
    }
}

pub(super) fn key_of(name: &Name) -> Result<Key, QueryError> {
    Key::new(&[KEY_PREFIX, &name.to_bytes()].concat())
        .map_err(|error| QueryError::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use holdfast_blockstore::{NameRecord, Store};
    use holdfast_dht::ipns::Draft;
    use libp2p_identity::Keypair;
    use tokio::sync::oneshot;

    use super::*;
    use crate::node::{self, Node};
    use crate::repo_init::InitParams;

    const STORED: i64 = 1_800_000_000;
    const HOUR: Duration = Duration::from_secs(3600);

    /// Keeps a record with this TTL, as of [`STORED`], and returns its name.
    fn keep(store: &Store, ttl: Duration, is_own: bool) -> Name {
        let key = Keypair::generate_ed25519();
        let end_of_life = Timestamp::from_unix(STORED, 0).after(48 * HOUR);
        let draft =
            Draft { value: "/ipfs/bafkqaaa".to_owned(), sequence: 1, end_of_life, ttl, v1_compatible: true };
        let record = draft.sign(&key).unwrap().as_bytes().to_vec();
        let name = Name::from(key.public().to_peer_id());
        let stored_unix_ms = u64::try_from(STORED).unwrap() * 1000;
        store.put_name_record(&name.to_bytes(), NameRecord { record, stored_unix_ms, is_own }).unwrap();
        name
    }

    async fn node(folder: &Path) -> Node {
        let repo = folder.join("repo");
        let params = InitParams { repo: repo.clone(), profiles: "test".to_owned(), ..InitParams::default() };
        node::init(&params, &mut |_| {}).unwrap();
        Node::builder().repo(repo).open().await.unwrap()
    }

    #[tokio::test]
    async fn a_record_of_others_is_relied_on_for_its_ttl_and_no_longer_than_the_config_says() {
        let folder = tempfile::tempdir().unwrap();
        let node = node(folder.path()).await;
        let store = node.store();
        let stale = |name: &Name, seconds, most| {
            Names::is_stale(store, name, Timestamp::from_unix(STORED + seconds, 0), most)
        };
        let foreign = keep(store, HOUR, false);
        assert!(!stale(&foreign, 0, None));
        assert!(!stale(&foreign, 3599, None));
        assert!(stale(&foreign, 3600, None), "its time is over");
        // The config says less than the record, or more.
        assert!(!stale(&foreign, 59, Some(Duration::from_secs(60))));
        assert!(stale(&foreign, 60, Some(Duration::from_secs(60))));
        assert!(stale(&foreign, 3600, Some(2 * HOUR)));
        let fleeting = keep(store, Duration::ZERO, false);
        assert!(stale(&fleeting, 0, None), "nobody may rely on it");
        // It lives for 48 hours, whatever it says.
        let long = keep(store, 72 * HOUR, false);
        assert!(!stale(&long, 48 * 3600, None));
        assert!(stale(&long, 48 * 3600 + 1, None), "it has ended");
        let record = NameRecord { record: b"junk".to_vec(), stored_unix_ms: u64::MAX, is_own: false };
        let unreadable = Name::from(Keypair::generate_ed25519().public().to_peer_id());
        store.put_name_record(&unreadable.to_bytes(), record).unwrap();
        assert!(stale(&unreadable, 0, None), "it says nothing");
        // What this node published is what it says, and what is not here is not stale but missing.
        let own = keep(store, Duration::ZERO, true);
        assert!(!stale(&own, 1_000_000, Some(Duration::from_secs(1))));
        let nowhere = Name::from(Keypair::generate_ed25519().public().to_peer_id());
        assert!(!stale(&nowhere, 0, None));
    }

    type Answer = oneshot::Sender<Result<u32, NameNetworkError>>;

    /// A search, and what gives it its answer.
    fn search() -> (Answer, Search<u32>) {
        let (answer, answered) = oneshot::channel();
        let search = async move { answered.await.unwrap_or(Err(NameNetworkError::NotHeard)) };
        (answer, Box::pin(search))
    }

    #[tokio::test]
    async fn the_first_that_finds_something_is_the_answer_and_the_other_goes_on_where_there_is_room() {
        let behind = Arc::new(Semaphore::new(1));
        let (late, slow) = search();
        let (answer, quick) = search();
        answer.send(Ok(2)).unwrap();
        assert_eq!(either(slow, quick, &behind).await.unwrap(), 2, "the slower one is not waited for");
        assert!(!late.is_closed() && behind.available_permits() == 0, "and goes on");
        let (too_late, slow) = search();
        let (answer, quick) = search();
        answer.send(Ok(1)).unwrap();
        assert_eq!(either(quick, slow, &behind).await.unwrap(), 1);
        assert!(too_late.is_closed(), "there was room for one");
        late.send(Ok(3)).unwrap();
        drop(behind.acquire().await.unwrap());
    }

    #[tokio::test]
    async fn to_find_nothing_is_no_answer() {
        let behind = Arc::new(Semaphore::new(1));
        let (nothing, one) = search();
        let (found, other) = search();
        nothing.send(Err(NameNetworkError::NotHeard)).unwrap();
        let answer = tokio::spawn(async move { either(one, other, &behind).await });
        tokio::task::yield_now().await;
        found.send(Ok(2)).unwrap();
        assert_eq!(answer.await.unwrap().unwrap(), 2);
        let behind = Arc::new(Semaphore::new(1));
        let [(late, one), (nothing, other)] = [search(), search()];
        nothing.send(Err(NameNetworkError::NotHeard)).unwrap();
        late.send(Err(NameNetworkError::Late(5.0))).unwrap();
        let answer = either(one, other, &behind).await;
        assert!(matches!(answer, Err((NameNetworkError::Late(_), NameNetworkError::NotHeard))));
    }

    #[tokio::test]
    async fn a_record_that_others_have_nothing_better_than_is_relied_on_anew() {
        const LONG_AGO: u64 = 1_700_000_000_000;
        let folder = tempfile::tempdir().unwrap();
        let node = node(folder.path()).await;
        let (names, store) = (node.names(), node.store());
        let key = Keypair::generate_ed25519();
        let name = Name::from(key.public().to_peer_id());
        let signed = |sequence| {
            let (value, end_of_life) = ("/ipfs/bafkqaaa".to_owned(), now().after(48 * HOUR));
            let draft = Draft { value, sequence, end_of_life, ttl: HOUR, v1_compatible: true };
            draft.sign(&key).unwrap()
        };
        let (older, kept) = (signed(1), signed(2));
        let row = |is_own| NameRecord { record: kept.as_bytes().to_vec(), stored_unix_ms: LONG_AGO, is_own };
        for told in [&kept, &older] {
            store.put_name_record(&name.to_bytes(), row(false)).unwrap();
            assert!(Names::is_stale(store, &name, now(), None));
            assert_eq!(hear(&names.keeper(), name, told.as_bytes().to_vec()).await.unwrap(), kept);
            assert!(!Names::is_stale(store, &name, now(), None));
            assert!(Names::is_of_others(store, &name));
            assert_eq!(names.record(name).await.unwrap(), kept);
        }
        // Our own is ours whoever tells it.
        for told in [&kept, &older] {
            store.put_name_record(&name.to_bytes(), row(true)).unwrap();
            assert_eq!(hear(&names.keeper(), name, told.as_bytes().to_vec()).await.unwrap(), kept);
            assert_eq!(store.name_record(&name.to_bytes()).unwrap(), Some(row(true)));
        }
    }
}
