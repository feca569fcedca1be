//! Records that the DHT keeps for other peers, in the store: who provides what, and signed values.
//!
//! Each request is one short job of the pool, so that no disk is read on the task that drives the swarm. Rows carry the
//! wall-clock time at which they came, and expire by it. `docs/network.md` gives their bytes.

mod row;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_blockstore::{ReadError, SideChange, SideTable, Store, WriteError};
use holdfast_dht::ipns::Timestamp;
use holdfast_dht::kad::{Key, PeerInfo, QueryError, Scope};
use holdfast_dht::records::{
    PROVIDER_ADDRESSES_LIFETIME, PROVIDER_LIFETIME, PROVIDERS_MAX, PROVIDERS_PER_KEY_MAX,
    PROVIDERS_PER_PEER_MAX, RecordStore, Reply, Rule, StoreError, StoreReply, StoreRequest, VALUE_LIFETIME,
    VALUES_MAX,
};
use libp2p::PeerId;

use row::{is_over, peer_of, provider_row, row_head, scope_byte, split_addresses, split_row};

use super::shares::Shares;
use crate::pool::Pool;
use crate::provide::is_provided;

/// Rows that one step of the removal of old ones looks at.
const EXPIRE_PAGE_ROWS: usize = 4096;

/// Time between removals of rows that have expired: 1 h.
pub(crate) const EXPIRE_PERIOD: Duration = Duration::from_secs(3600);

/// How many rows are kept.
#[derive(Debug, Clone, Copy)]
struct Limits {
    providers: u64,
    providers_per_peer: u64,
    values: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let (providers, providers_per_peer) = (PROVIDERS_MAX, PROVIDERS_PER_PEER_MAX);
        Self { providers, providers_per_peer, values: VALUES_MAX }
    }
}

/// The records of one DHT. Clones share what is counted.
#[derive(Clone)]
pub(crate) struct Records {
    store: Store,
    pool: Pool,
    scope: Scope,
    limits: Limits,
    providers: Arc<AtomicU64>,
    /// Of those, by peer.
    shares: Arc<Shares>,
    values: Arc<AtomicU64>,
    /// Held while rows are compared and replaced or removed. A store has few such requests at a time, each of about 0.1 ms.
    replacing: Arc<Mutex<()>>,
    /// This node, where it is given as a provider of what it announces.
    us: Option<PeerId>,
}

impl Records {
    /// Keeps what is of `scope` in `store`. Counts nothing before [`Records::expire`] has gone through once.
    pub(crate) fn new(store: Store, pool: Pool, scope: Scope) -> Self {
        Self {
            store,
            pool,
            scope,
            limits: Limits::default(),
            providers: Arc::default(),
            shares: Arc::default(),
            values: Arc::default(),
            replacing: Arc::default(),
            us: None,
        }
    }

    /// Gives this node, if any, as a provider of what it announces.
    pub(crate) fn with_us(self, us: Option<PeerId>) -> Self {
        Self { us, ..self }
    }

    /// Removes rows that have expired, page by page, and counts the others.
    pub(crate) async fn expire(&self, now: Timestamp) -> Result<(), StoreError> {
        for (table, lifetime, counter) in [
            (SideTable::Providers, PROVIDER_LIFETIME, &self.providers),
            (SideTable::Values, VALUE_LIFETIME, &self.values),
        ] {
            let (mut behind, mut alive) = (None, 0);
            if table == SideTable::Providers {
                self.shares.recount();
            }
            loop {
                let records = self.clone();
                let page =
                    self.pool.run(move || records.expire_page(table, lifetime, behind.as_deref(), now));
                let page = page.await.map_err(|error| StoreError(error.to_string()))??;
                alive += page.alive;
                behind = page.last;
                if behind.is_none() {
                    break;
                }
            }
            counter.store(alive, Ordering::Relaxed);
            if table == SideTable::Providers {
                self.shares.recounted();
            }
        }
        Ok(())
    }

    fn expire_page(
        &self,
        table: SideTable,
        lifetime: Duration,
        behind: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Page, StoreError> {
        // What is renewed meanwhile is not old any more.
        let _one_at_a_time = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.store.side_page(table, &[scope_byte(self.scope)], behind, EXPIRE_PAGE_ROWS);
        let rows = rows.map_err(read_failed)?;
        let last = rows.last().filter(|_| rows.len() == EXPIRE_PAGE_ROWS).map(|(key, _)| key.to_vec());
        let is_old = |row: &[u8]| split_row(row).is_none_or(|(received, _)| is_over(received, lifetime, now));
        let old: Vec<SideChange> = rows
            .iter()
            .filter(|(_, row)| is_old(row))
            .map(|(key, _)| SideChange { key: key.to_vec(), value: None })
            .collect();
        let alive = (rows.len() - old.len()) as u64;
        if table == SideTable::Providers {
            let stay = rows.iter().filter(|(_, row)| !is_old(row));
            stay.for_each(|(key, _)| self.shares.count(peer_of(key)));
        }
        if !old.is_empty() {
            self.store.side_write(table, &old).map_err(write_failed)?;
        }
        Ok(Page { last, alive })
    }

    fn handle_blocking(&self, request: StoreRequest, now: Timestamp) -> Result<StoreReply, StoreError> {
        match request {
            StoreRequest::AddProvider { key, provider } => {
                self.add_provider(&key, &provider, now).map(|()| StoreReply::Done)
            }
            StoreRequest::Providers { key, max } => self.providers(&key, max, now).map(StoreReply::Providers),
            StoreRequest::Value { key } => self.value(&key, now).map(StoreReply::Value),
            StoreRequest::PutValue { key, value, rule } => {
                self.put_value(&key, &value, rule, now).map(StoreReply::Put)
            }
        }
    }

    fn add_provider(&self, key: &Key, provider: &PeerInfo, now: Timestamp) -> Result<(), StoreError> {
        let (place, peer) = (self.place(key), provider.id.to_bytes());
        let row_key = [place.as_slice(), &peer].concat();
        let _one_at_a_time = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.store.side_get(SideTable::Providers, &row_key).map_err(read_failed)?.is_some();
        let mut changes = Vec::new();
        if !known {
            let is_full = self.providers.load(Ordering::Relaxed) >= self.limits.providers;
            if is_full || self.shares.of(&peer) >= self.limits.providers_per_peer {
                return Ok(());
            }
            changes.extend(self.oldest_of_too_many(&place)?);
        }
        let removed = changes.first().map(|change: &SideChange| peer_of(&change.key).to_vec());
        changes.push(SideChange { key: row_key, value: Some(provider_row(&provider.addresses, now)) });
        self.store.side_write(SideTable::Providers, &changes).map_err(write_failed)?;
        if !known {
            self.shares.add(&peer);
            match removed {
                Some(removed) => self.shares.remove(&removed),
                None => drop(self.providers.fetch_add(1, Ordering::Relaxed)),
            }
        }
        Ok(())
    }

    /// The removal of the oldest provider of a key that has as many as may be.
    fn oldest_of_too_many(&self, place: &[u8]) -> Result<Option<SideChange>, StoreError> {
        let rows = self.store.side_page(SideTable::Providers, place, None, PROVIDERS_PER_KEY_MAX);
        let rows = rows.map_err(read_failed)?;
        if rows.len() < PROVIDERS_PER_KEY_MAX {
            return Ok(None);
        }
        let oldest = rows.iter().min_by_key(|(_, row)| split_row(row).map(|(received, _)| received));
        Ok(oldest.map(|(key, _)| SideChange { key: key.to_vec(), value: None }))
    }

    fn providers(&self, key: &Key, max: usize, now: Timestamp) -> Result<Vec<PeerInfo>, StoreError> {
        let place = self.place(key);
        let rows = self.store.side_page(SideTable::Providers, &place, None, PROVIDERS_PER_KEY_MAX);
        let mut found: Vec<(Timestamp, PeerInfo)> = rows
            .map_err(read_failed)?
            .iter()
            .filter_map(|(row_key, row)| {
                let id = PeerId::from_bytes(row_key.get(place.len()..)?).ok()?;
                let (received, addresses) = split_row(row)?;
                let stale = is_over(received, PROVIDER_ADDRESSES_LIFETIME, now);
                let addresses = if stale { Vec::new() } else { split_addresses(addresses) };
                (!is_over(received, PROVIDER_LIFETIME, now)).then_some((received, PeerInfo { id, addresses }))
            })
            .collect();
        found.sort_by_key(|(received, _)| std::cmp::Reverse(*received));
        // Its addresses are the DHT's to add.
        let us = self.us.filter(|_| is_provided(&self.store, key));
        let us = us.map(|id| PeerInfo { id, addresses: Vec::new() });
        let others = found.into_iter().map(|(_, provider)| provider);
        let others = others.filter(|provider| Some(provider.id) != us.as_ref().map(|us| us.id));
        Ok(us.iter().cloned().chain(others).take(max).collect())
    }

    fn value(&self, key: &Key, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        let kept = self.kept_value(key)?;
        Ok(kept.filter(|(received, _)| !is_over(*received, VALUE_LIFETIME, now)).map(|(_, value)| value))
    }

    fn put_value(
        &self,
        key: &Key,
        value: &[u8],
        rule: Rule,
        now: Timestamp,
    ) -> Result<Result<(), QueryError>, StoreError> {
        let Ok(key_bytes) = u8::try_from(key.as_bytes().len()) else {
            return Ok(Err(QueryError::Internal("the key of a value has at most 255 bytes".to_owned())));
        };
        let _one_at_a_time = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.kept_value(key)?;
        if let Err(refused) = rule(kept.as_ref().map(|(_, value)| value.as_slice()), now) {
            return Ok(Err(refused));
        }
        if kept.is_none() && self.values.load(Ordering::Relaxed) >= self.limits.values {
            return Err(StoreError("as many values are kept as may be".to_owned()));
        }
        let mut row = row_head(now);
        row.push(key_bytes);
        row.extend_from_slice(key.as_bytes());
        row.extend_from_slice(value);
        let change = SideChange { key: self.place(key), value: Some(row) };
        self.store.side_write(SideTable::Values, &[change]).map_err(write_failed)?;
        if kept.is_none() {
            self.values.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Ok(()))
    }

    /// What is kept under a key, expired or not.
    fn kept_value(&self, key: &Key) -> Result<Option<(Timestamp, Vec<u8>)>, StoreError> {
        let row = self.store.side_get(SideTable::Values, &self.place(key)).map_err(read_failed)?;
        Ok(row.and_then(|row| {
            let (received, rest) = split_row(&row)?;
            let (key_bytes, rest) = rest.split_first()?;
            let (kept_key, value) = rest.split_at_checked(usize::from(*key_bytes))?;
            (kept_key == key.as_bytes()).then(|| (received, value.to_vec()))
        }))
    }

    /// What the keys of rows about a record begin with.
    fn place(&self, key: &Key) -> Vec<u8> {
        [&[scope_byte(self.scope)], key.id().as_bytes().as_slice()].concat()
    }
}

impl RecordStore for Records {
    fn handle(&self, request: StoreRequest, now: Timestamp) -> Reply {
        let records = self.clone();
        let job = self.pool.start(move || records.handle_blocking(request, now));
        Box::pin(async move { job.await.map_err(|error| StoreError(error.to_string()))? })
    }
}

/// A page that was looked through.
struct Page {
    /// Its last key, unless it was the last page.
    last: Option<Vec<u8>>,
    /// Rows that stay.
    alive: u64,
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn read_failed(error: ReadError) -> StoreError {
    StoreError(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn write_failed(error: WriteError) -> StoreError {
    StoreError(error.to_string())
}

#[cfg(test)]
mod tests;
