//! Records of providers and values: bounds, lifetimes and damage.

use holdfast_blockstore::StoreConfig;
use holdfast_dht::records::PROVIDER_ADDRESS_BYTES_MAX;
use libp2p::Multiaddr;

use super::row::ROW_VERSION;
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
