//! A store in memory, with small bounds: for tests, and for nodes without a disk.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{
    PROVIDER_ADDRESSES_LIFETIME, PROVIDER_LIFETIME, PROVIDERS_PER_KEY_MAX, RecordStore, Reply, StoreReply,
    StoreRequest, VALUE_LIFETIME,
};
use crate::ipns::Timestamp;
use crate::kad::{Key, PeerInfo};

/// Keys of each kind that are kept: 65,536. The oldest go.
const KEYS_MAX: usize = 65_536;

/// Records in memory: at most 65,536 keys with providers and as many values; the keys that came first go first.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    providers: HashMap<Key, Vec<(PeerInfo, Timestamp)>>,
    provider_keys: VecDeque<Key>,
    values: HashMap<Key, (Vec<u8>, Timestamp)>,
    value_keys: VecDeque<Key>,
}

impl MemoryStore {
    /// Does at once what [`RecordStore::handle`] promises.
    pub fn handle_now(&self, request: StoreRequest, now: Timestamp) -> StoreReply {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        match request {
            StoreRequest::AddProvider { key, provider } => {
                rows.add_provider(key, provider, now);
                StoreReply::Done
            }
            StoreRequest::Providers { key, max } => StoreReply::Providers(rows.providers(&key, max, now)),
            StoreRequest::Value { key } => {
                let value = rows.values.get(&key).filter(|(_, at)| !is_over(*at, VALUE_LIFETIME, now));
                StoreReply::Value(value.map(|(value, _)| value.clone()))
            }
            StoreRequest::PutValue { key, value, rule } => {
                let allowed = rule(rows.values.get(&key).map(|(value, _)| &value[..]), now);
                if allowed.is_ok() {
                    rows.put_value(key, value, now);
                }
                StoreReply::Put(allowed)
            }
        }
    }
}

impl RecordStore for MemoryStore {
    fn handle(&self, request: StoreRequest, now: Timestamp) -> Reply {
        let reply = self.handle_now(request, now);
        Box::pin(async move { Ok(reply) })
    }
}

fn is_over(since: Timestamp, lifetime: Duration, now: Timestamp) -> bool {
    since.after(lifetime) <= now
}

impl Rows {
    fn add_provider(&mut self, key: Key, provider: PeerInfo, now: Timestamp) {
        if !self.providers.contains_key(&key) {
            if self.provider_keys.len() >= KEYS_MAX
                && let Some(oldest) = self.provider_keys.pop_front()
            {
                self.providers.remove(&oldest);
            }
            self.provider_keys.push_back(key.clone());
        }
        let list = self.providers.entry(key).or_default();
        list.retain(|(known, _)| known.id != provider.id);
        if list.len() >= PROVIDERS_PER_KEY_MAX {
            list.remove(0);
        }
        list.push((provider, now));
    }

    fn providers(&self, key: &Key, max: usize, now: Timestamp) -> Vec<PeerInfo> {
        let Some(list) = self.providers.get(key) else { return Vec::new() };
        let alive = list.iter().rev().filter(|(_, at)| !is_over(*at, PROVIDER_LIFETIME, now));
        let shown = alive.map(|(provider, at)| {
            let stale = is_over(*at, PROVIDER_ADDRESSES_LIFETIME, now);
            let addresses = if stale { Vec::new() } else { provider.addresses.clone() };
            PeerInfo { id: provider.id, addresses }
        });
        shown.take(max).collect()
    }

    fn put_value(&mut self, key: Key, value: Vec<u8>, now: Timestamp) {
        if !self.values.contains_key(&key) {
            if self.value_keys.len() >= KEYS_MAX
                && let Some(oldest) = self.value_keys.pop_front()
            {
                self.values.remove(&oldest);
            }
            self.value_keys.push_back(key.clone());
        }
        self.values.insert(key, (value, now));
    }
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> Timestamp {
        Timestamp::from_unix(1_700_000_000, 0)
    }

    #[test]
    fn a_provider_loses_its_addresses_after_a_day_and_goes_after_two() {
        let (store, key) = (MemoryStore::default(), Key::new(b"k").unwrap());
        let provider =
            PeerInfo { id: PeerId::random(), addresses: vec!["/ip4/10.0.0.1/tcp/1".parse().unwrap()] };
        store.handle_now(StoreRequest::AddProvider { key: key.clone(), provider: provider.clone() }, now());
        let found = |hours| {
            let request = StoreRequest::Providers { key: key.clone(), max: 10 };
            match store.handle_now(request, now().after(HOUR * hours)) {
                StoreReply::Providers(found) => found,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(found(23), std::slice::from_ref(&provider));
        assert_eq!(found(25), [PeerInfo { id: provider.id, addresses: Vec::new() }]);
        assert_eq!(found(49), []);
    }

    #[test]
    fn the_newest_providers_stay_when_there_are_too_many() {
        let (store, key) = (MemoryStore::default(), Key::new(b"k").unwrap());
        let peers: Vec<PeerId> = (0..=PROVIDERS_PER_KEY_MAX).map(|_| PeerId::random()).collect();
        for id in &peers {
            let provider = PeerInfo { id: *id, addresses: Vec::new() };
            store.handle_now(StoreRequest::AddProvider { key: key.clone(), provider }, now());
        }
        let all = StoreRequest::Providers { key: key.clone(), max: usize::MAX };
        let StoreReply::Providers(found) = store.handle_now(all, now()) else { panic!("not providers") };
        assert_eq!(found.len(), PROVIDERS_PER_KEY_MAX);
        assert_eq!(found.first().map(|peer| peer.id), peers.last().copied(), "newest first");
        assert!(found.iter().all(|peer| peer.id != peers[0]));
    }

    #[test]
    fn a_value_is_stored_if_the_rule_says_so_and_expires() {
        let (store, key) = (MemoryStore::default(), Key::new(b"k").unwrap());
        let put = |value: &[u8], allowed: bool| {
            let rule = Box::new(move |_: Option<&[u8]>, _| {
                allowed.then_some(()).ok_or(crate::kad::QueryError::Older)
            });
            store.handle_now(StoreRequest::PutValue { key: key.clone(), value: value.to_vec(), rule }, now())
        };
        assert_eq!(put(b"a", true), StoreReply::Put(Ok(())));
        assert_eq!(put(b"b", false), StoreReply::Put(Err(crate::kad::QueryError::Older)));
        let get = |at| store.handle_now(StoreRequest::Value { key: key.clone() }, at);
        assert_eq!(get(now()), StoreReply::Value(Some(b"a".to_vec())));
        assert_eq!(get(now().after(HOUR * 48)), StoreReply::Value(None));
    }
}
