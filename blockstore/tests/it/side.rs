//! Rows that other parts of a node keep here.

use holdfast_blockstore::{SIDE_KEY_BYTES_MAX, SideChange, SideTable, Store, StoreConfig, WriteError};

fn put(key: &str, value: &str) -> SideChange {
    SideChange { key: key.as_bytes().to_vec(), value: Some(value.as_bytes().to_vec()) }
}

fn keys(store: &Store, table: SideTable, prefix: &str, behind: Option<&str>, max: usize) -> Vec<String> {
    let rows = store.side_page(table, prefix.as_bytes(), behind.map(str::as_bytes), max);
    let rows = rows.expect("a page").into_iter();
    rows.map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect()
}

#[test]
fn rows_come_back_in_pages_after_the_store_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), StoreConfig::default()).unwrap();
    let rows: Vec<SideChange> = (0..10).map(|n| put(&format!("a{n}"), "x")).collect();
    store.side_write(SideTable::Peers, &rows).unwrap();
    store.side_write(SideTable::Peers, &[put("b", "y")]).unwrap();
    store.side_write(SideTable::Providers, &[put("a3", "another table")]).unwrap();
    drop(store);
    let store = Store::open(folder.path(), StoreConfig::default()).unwrap();
    assert_eq!(keys(&store, SideTable::Peers, "a", None, 4), ["a0", "a1", "a2", "a3"]);
    assert_eq!(keys(&store, SideTable::Peers, "a", Some("a3"), 100).len(), 6);
    assert_eq!(store.side_get(SideTable::Peers, b"a3").unwrap().as_deref(), Some(&b"x"[..]));
    assert_eq!(store.side_get_many(SideTable::Peers, &[b"b", b"c"]).unwrap(), [Some(b"y".to_vec()), None]);
    store.side_clear(SideTable::Peers, b"a").unwrap();
    assert_eq!(keys(&store, SideTable::Peers, "", None, 100), ["b"]);
    assert_eq!(keys(&store, SideTable::Providers, "", None, 100), ["a3"]);
    assert!(store.check().unwrap().is_empty());
}

#[test]
fn one_row_that_is_too_large_keeps_all_of_its_batch_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), StoreConfig::default()).unwrap();
    let long = "k".repeat(SIDE_KEY_BYTES_MAX + 1);
    let refused = store.side_write(SideTable::Values, &[put("fine", "x"), put(&long, "x")]).unwrap_err();
    assert!(matches!(refused, WriteError::SideRow { key_bytes, .. } if key_bytes == long.len()), "{refused}");
    assert_eq!(keys(&store, SideTable::Values, "", None, 10), Vec::<String>::new());
}
