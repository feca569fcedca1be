//! Records that the DHT keeps for other peers, in the store: who provides what, and signed values.
//!
//! Each request is one short job of the pool, so that no disk is read on the task that drives the swarm. Rows carry the
//! wall-clock time at which they came, and expire by it. `docs/network.md` gives their bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_blockstore::{ReadError, SideChange, SideTable, Store, WriteError};
use holdfast_dht::ipns::Timestamp;
use holdfast_dht::kad::{Key, PeerInfo, QueryError, Scope};
use holdfast_dht::records::{
    PROVIDER_ADDRESS_BYTES_MAX, PROVIDER_ADDRESSES_LIFETIME, PROVIDER_LIFETIME, PROVIDERS_MAX,
    PROVIDERS_PER_KEY_MAX, PROVIDERS_PER_PEER_MAX, RecordStore, Reply, Rule, StoreError, StoreReply,
    StoreRequest, VALUE_LIFETIME, VALUES_MAX,
};
use libp2p::{Multiaddr, PeerId};

use super::shares::Shares;
use crate::pool::Pool;
use crate::provide::is_provided;

/// First byte of every row.
const ROW_VERSION: u8 = 1;

/// Bytes of a row's key that say which scope and key it is of.
const PLACE_BYTES: usize = 1 + 32;

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

fn scope_byte(scope: Scope) -> u8 {
    match scope {
        Scope::Wan => 0,
        Scope::Lan => 1,
    }
}

/// The peer that a row of providers is about.
fn peer_of(row_key: &[u8]) -> &[u8] {
    row_key.get(PLACE_BYTES..).unwrap_or_default()
}

fn provider_row(addresses: &[Multiaddr], now: Timestamp) -> Vec<u8> {
    let mut row = row_head(now);
    let mut room = PROVIDER_ADDRESS_BYTES_MAX;
    for address in addresses {
        let (length, Some(left)) = (address.len(), room.checked_sub(address.len())) else { break };
        let Ok(bytes) = u16::try_from(length) else { break };
        room = left;
        row.extend_from_slice(&bytes.to_be_bytes());
        row.extend_from_slice(address.as_ref());
    }
    row
}

fn row_head(now: Timestamp) -> Vec<u8> {
    let seconds = u64::try_from(now.unix_seconds()).unwrap_or_default();
    [&[ROW_VERSION], seconds.to_be_bytes().as_slice()].concat()
}

/// When a row came, and what follows. `None` for a row that is damaged or of another version: it counts as expired.
fn split_row(row: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (seconds, rest) = row.strip_prefix(&[ROW_VERSION])?.split_first_chunk::<8>()?;
    let seconds = i64::try_from(u64::from_be_bytes(*seconds)).ok()?;
    Some((Timestamp::from_unix(seconds, 0), rest))
}

fn split_addresses(mut rest: &[u8]) -> Vec<Multiaddr> {
    let mut addresses = Vec::new();
    while let Some((bytes, after)) = rest.split_first_chunk::<2>() {
        let Some((address, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*bytes))) else {
            break;
        };
        addresses.extend(Multiaddr::try_from(address.to_vec()).ok());
        rest = after;
    }
    addresses
}

/// Whether a row is older than it may become, by the wall clock.
fn is_over(received: Timestamp, lifetime: Duration, now: Timestamp) -> bool {
    received.after(lifetime) <= now
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
mod tests {
    use holdfast_blockstore::StoreConfig;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> Timestamp {
        Timestamp::from_unix(1_700_000_000, 0)
    }

    struct Kept {
        folder: tempfile::TempDir,
        records: Records,
    }

    fn open(folder: tempfile::TempDir, scope: Scope) -> Kept {
        let store = Store::open(folder.path(), StoreConfig::default()).unwrap();
        Kept { folder, records: Records::new(store, Pool::new(1, 1).unwrap(), scope) }
    }

    fn ask(records: &Records, request: StoreRequest, now: Timestamp) -> StoreReply {
        records.handle_blocking(request, now).unwrap()
    }

    fn providers(records: &Records, key: &Key, at: Timestamp) -> Vec<PeerInfo> {
        match ask(records, StoreRequest::Providers { key: key.clone(), max: 10 }, at) {
            StoreReply::Providers(found) => found,
            other => panic!("{other:?}"),
        }
    }

    fn provider() -> PeerInfo {
        PeerInfo { id: PeerId::random(), addresses: vec!["/ip4/10.0.0.1/tcp/4001".parse().unwrap()] }
    }

    fn put(key: &[u8], value: &[u8], rule: Rule) -> StoreRequest {
        StoreRequest::PutValue { key: Key::new(key).unwrap(), value: value.to_vec(), rule }
    }

    #[test]
    fn providers_outlive_a_restart_lose_their_addresses_after_a_day_and_go_after_two() {
        let kept = open(tempfile::tempdir().unwrap(), Scope::Wan);
        let (key, other, provider) = (Key::new(b"one").unwrap(), Key::new(b"two").unwrap(), provider());
        let add = StoreRequest::AddProvider { key: key.clone(), provider: provider.clone() };
        ask(&kept.records, add, now());
        let Kept { folder, records } = kept;
        drop(records);
        let kept = open(folder, Scope::Wan);
        let records = &kept.records;
        assert_eq!(providers(records, &key, now().after(HOUR * 23)), std::slice::from_ref(&provider));
        let without = PeerInfo { id: provider.id, addresses: Vec::new() };
        assert_eq!(providers(records, &key, now().after(HOUR * 25)), [without]);
        assert_eq!(providers(records, &key, now().after(HOUR * 49)), []);
        assert_eq!(providers(records, &other, now()), []);
    }

    #[test]
    fn a_lan_does_not_see_what_a_wan_keeps() {
        let kept = open(tempfile::tempdir().unwrap(), Scope::Wan);
        let wan = &kept.records;
        let lan = Records::new(wan.store.clone(), wan.pool.clone(), Scope::Lan);
        let key = Key::new(b"one").unwrap();
        ask(wan, StoreRequest::AddProvider { key: key.clone(), provider: provider() }, now());
        assert_eq!(providers(&lan, &key, now()), []);
    }

    #[tokio::test]
    async fn what_has_expired_is_removed_and_the_rest_counted() {
        let kept = open(tempfile::tempdir().unwrap(), Scope::Lan);
        let records = &kept.records;
        let key = Key::new(b"one").unwrap();
        for hours in 0..10 {
            let add = StoreRequest::AddProvider { key: key.clone(), provider: provider() };
            ask(records, add, now().after(HOUR * hours));
        }
        records.expire(now().after(HOUR * 52)).await.unwrap();
        assert_eq!(records.providers.load(Ordering::Relaxed), 5);
        let rows = records.store.side_page(SideTable::Providers, &[], None, 100).unwrap();
        assert_eq!(rows.len(), 5);
    }

    #[test]
    fn the_newest_providers_of_a_key_stay() {
        let kept = open(tempfile::tempdir().unwrap(), Scope::Lan);
        let records = &kept.records;
        let key = Key::new(b"one").unwrap();
        let peers: Vec<PeerInfo> = (0..=PROVIDERS_PER_KEY_MAX).map(|_| provider()).collect();
        for (second, provider) in peers.iter().enumerate() {
            let add = StoreRequest::AddProvider { key: key.clone(), provider: provider.clone() };
            ask(records, add, now().after(Duration::from_secs(second as u64)));
        }
        let all = StoreRequest::Providers { key: key.clone(), max: usize::MAX };
        let StoreReply::Providers(found) = ask(records, all, now()) else { panic!("not providers") };
        assert_eq!(found.len(), PROVIDERS_PER_KEY_MAX);
        assert_eq!(found.first(), peers.last(), "newest first");
        assert!(!found.contains(&peers[0]), "the oldest went");
    }

    fn add(records: &Records, key: &[u8], provider: &PeerInfo, at: Timestamp) {
        let key = Key::new(key).unwrap();
        ask(records, StoreRequest::AddProvider { key, provider: provider.clone() }, at);
    }

    fn rows(records: &Records) -> usize {
        records.store.side_page(SideTable::Providers, &[], None, 10_000).unwrap().len()
    }

    /// What came before a flood stays, and may be said again; what the flood brings beyond the bound is dropped until rows expire.
    #[tokio::test]
    async fn a_flood_of_providers_ends_at_the_bound_and_what_was_there_stays() {
        let mut kept = open(tempfile::tempdir().unwrap(), Scope::Lan);
        kept.records.limits.providers = 100;
        let (records, early) = (&kept.records, provider());
        add(records, b"early", &early, now());
        for number in 0..1000_u32 {
            add(records, &number.to_be_bytes(), &provider(), now().after(HOUR));
        }
        assert_eq!((rows(records), records.providers.load(Ordering::Relaxed)), (100, 100));
        let early_key = Key::new(b"early").unwrap();
        assert_eq!(providers(records, &early_key, now().after(HOUR)), std::slice::from_ref(&early));
        add(records, b"early", &early, now().after(HOUR * 2));
        assert_eq!(providers(records, &early_key, now().after(HOUR * 49)).len(), 1, "it was said again");
        // All but what was said again has expired: there is room.
        records.expire(now().after(HOUR * 49)).await.unwrap();
        assert_eq!(rows(records), 1);
        add(records, b"late", &provider(), now().after(HOUR * 49));
        assert_eq!(providers(records, &Key::new(b"late").unwrap(), now().after(HOUR * 49)).len(), 1);
    }

    /// One peer fills its own share, over a restart too, and nobody else's.
    #[tokio::test]
    async fn a_peer_that_says_it_provides_everything_leaves_room_for_others() {
        let mut kept = open(tempfile::tempdir().unwrap(), Scope::Lan);
        kept.records.limits.providers_per_peer = 50;
        let (flooder, other) = (provider(), provider());
        for number in 0..1000_u32 {
            add(&kept.records, &number.to_be_bytes(), &flooder, now());
        }
        assert_eq!(rows(&kept.records), 50);
        let Kept { folder, records } = kept;
        drop(records);
        let mut kept = open(folder, Scope::Lan);
        kept.records.limits.providers_per_peer = 50;
        let records = &kept.records;
        records.expire(now()).await.unwrap();
        add(records, b"one more", &flooder, now());
        assert_eq!(rows(records), 50, "what it has is counted after a restart");
        add(records, &0_u32.to_be_bytes(), &flooder, now().after(HOUR));
        add(records, b"another's", &other, now());
        assert_eq!(providers(records, &Key::new(b"another's").unwrap(), now()), [other]);
        assert_eq!(rows(records), 51);
        records.expire(now().after(HOUR * 48)).await.unwrap();
        add(records, b"one more", &flooder, now().after(HOUR * 48));
        assert_eq!(rows(records), 2, "what has expired counts no longer");
    }

    #[test]
    fn who_gives_way_to_a_newer_provider_of_a_key_is_counted_no_longer() {
        let kept = open(tempfile::tempdir().unwrap(), Scope::Lan);
        let (records, first) = (&kept.records, provider());
        add(records, b"one", &first, now());
        for second in 1..=PROVIDERS_PER_KEY_MAX {
            add(records, b"one", &provider(), now().after(Duration::from_secs(second as u64)));
        }
        assert_eq!(records.providers.load(Ordering::Relaxed), PROVIDERS_PER_KEY_MAX as u64);
        assert_eq!(records.shares.of(&first.id.to_bytes()), 0);
    }

    #[test]
    fn a_provider_with_very_many_addresses_takes_no_more_than_a_row_may() {
        let kept = open(tempfile::tempdir().unwrap(), Scope::Lan);
        let name = "n".repeat(240);
        let long: Multiaddr = format!("/dns4/{name}/tcp/1").parse().unwrap();
        let addresses = vec![long; 32];
        add(&kept.records, b"one", &PeerInfo { id: PeerId::random(), addresses: addresses.clone() }, now());
        let all = kept.records.store.side_page(SideTable::Providers, &[], None, 10).unwrap();
        let [(_, row)] = all.as_slice() else { panic!("{} rows", all.len()) };
        assert!(row.len() <= 9 + PROVIDER_ADDRESS_BYTES_MAX + 2 * 32, "{} bytes", row.len());
        let found = providers(&kept.records, &Key::new(b"one").unwrap(), now());
        let shown = &found[0].addresses;
        assert!(shown.len() >= 7 && addresses.starts_with(shown), "the first ones stay: {}", shown.len());
    }

    #[tokio::test]
    async fn a_flood_of_values_is_refused_at_the_bound_and_what_was_there_is_still_replaced() {
        let mut kept = open(tempfile::tempdir().unwrap(), Scope::Wan);
        kept.records.limits.values = 10;
        let records = &kept.records;
        let anything = || -> Rule { Box::new(|_, _| Ok(())) };
        let place = |number: u32| [b"/pk/", number.to_be_bytes().as_slice()].concat();
        for number in 0..100 {
            let put = records.handle_blocking(put(&place(number), b"value", anything()), now());
            let full = StoreError("as many values are kept as may be".to_owned());
            assert_eq!(put, if number < 10 { Ok(StoreReply::Put(Ok(()))) } else { Err(full) });
        }
        let all = records.store.side_page(SideTable::Values, &[], None, 100).unwrap();
        assert_eq!(all.len(), 10);
        let newer = ask(records, put(&place(3), b"newer", anything()), now().after(HOUR));
        assert_eq!(newer, StoreReply::Put(Ok(())));
        let kept = ask(records, StoreRequest::Value { key: Key::new(&place(3)).unwrap() }, now());
        assert_eq!(kept, StoreReply::Value(Some(b"newer".to_vec())));
        records.expire(now().after(HOUR * 48)).await.unwrap();
        let late = ask(records, put(&place(50), b"late", anything()), now().after(HOUR * 48));
        assert_eq!(late, StoreReply::Put(Ok(())));
    }

    #[test]
    fn a_value_is_replaced_where_the_rule_says_so_and_expires() {
        let kept = open(tempfile::tempdir().unwrap(), Scope::Wan);
        let records = &kept.records;
        let key = Key::new(b"/ipns/name").unwrap();
        let stored = ask(
            records,
            put(
                b"/ipns/name",
                b"first",
                Box::new(|old, _| {
                    assert_eq!(old, None);
                    Ok(())
                }),
            ),
            now(),
        );
        assert_eq!(stored, StoreReply::Put(Ok(())));
        let refused = ask(
            records,
            put(
                b"/ipns/name",
                b"second",
                Box::new(|old, _| {
                    assert_eq!(old, Some(&b"first"[..]));
                    Err(QueryError::NotFound)
                }),
            ),
            now(),
        );
        assert_eq!(refused, StoreReply::Put(Err(QueryError::NotFound)));
        let value = |hours| ask(records, StoreRequest::Value { key: key.clone() }, now().after(HOUR * hours));
        assert_eq!(value(47), StoreReply::Value(Some(b"first".to_vec())));
        assert_eq!(value(49), StoreReply::Value(None));
    }

    #[test]
    fn a_damaged_row_counts_as_expired() {
        let kept = open(tempfile::tempdir().unwrap(), Scope::Wan);
        let records = &kept.records;
        let key = Key::new(b"one").unwrap();
        let row_key = [records.place(&key), PeerId::random().to_bytes()].concat();
        for row in [vec![], vec![2; 20], vec![ROW_VERSION, 0]] {
            let change = SideChange { key: row_key.clone(), value: Some(row) };
            records.store.side_write(SideTable::Providers, &[change]).unwrap();
            assert_eq!(providers(records, &key, now()), []);
        }
    }
}
