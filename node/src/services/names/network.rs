//! Records of names in the network: told to the peers closest to their name, and asked of them.

use std::collections::HashSet;
use std::time::Duration;

use holdfast_dht::ipns::{Name, Record, TTL_DEFAULT, Timestamp};
use holdfast_dht::kad::{Key, QueryError};
use tokio::time::timeout;

use super::Names;

/// How long a record is looked for (Kubo's `--dht-timeout`).
const SEARCH_TIME_MAX: Duration = Duration::from_secs(60);

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
    Late(u64),
    /// What was found was not kept.
    #[error("{0}")]
    Kept(String),
}

/// Names that were asked for while one path is followed.
pub(super) type Asked = HashSet<Name>;

impl Names {
    /// Gives a record to the peers closest to its name. Returns how many took it.
    pub async fn announce(&self, name: &Name, record: &Record) -> Result<usize, NameNetworkError> {
        let routing = self.node.routing().ok_or(NameNetworkError::Offline)?;
        Ok(routing.put_value(key_of(name)?, record.as_bytes().to_vec(), None).await?)
    }

    /// Asks for the record of a name, and keeps what was found if it is not older than what is kept.
    pub async fn ask(&self, name: Name) -> Result<Record, NameNetworkError> {
        let routing = self.node.routing().filter(|_| self.can_ask()).ok_or(NameNetworkError::Offline)?;
        let asking = timeout(SEARCH_TIME_MAX, routing.get_value(key_of(&name)?, None)).await;
        let found = asking.map_err(|_| NameNetworkError::Late(SEARCH_TIME_MAX.as_secs()))??;
        self.put(name, found).await.map_err(|error| NameNetworkError::Kept(error.to_string()))
    }

    /// Whether others could be asked, and the request lets them be.
    pub(super) fn can_ask(&self) -> bool {
        self.node.routing().is_some() && !self.node.fetch().is_kept_offline()
    }

    /// Whether a record that came from others has been kept for longer than it says that it may.
    pub(super) fn is_stale(store: &holdfast_blockstore::Store, name: &Name, now: Timestamp) -> bool {
        let Ok(Some(row)) = store.name_record(&name.to_bytes()) else { return false };
        let ttl = Record::decode(&row.record).ok().and_then(|record| record.ttl_nanos().ok().flatten());
        let ttl = ttl.map_or(TTL_DEFAULT, Duration::from_nanos);
        let seconds = i64::try_from(row.stored_unix_ms / 1000).unwrap_or(i64::MAX);
        !row.is_own && Timestamp::from_unix(seconds, 0).after(ttl) <= now
    }
}

pub(super) fn key_of(name: &Name) -> Result<Key, QueryError> {
    Key::new(&[KEY_PREFIX, &name.to_bytes()].concat())
        .map_err(|error| QueryError::Internal(error.to_string()))
}
