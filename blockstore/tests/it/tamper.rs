//! Rows changed behind the store's back, as a defect or a bad disk would.

use std::path::Path;

use rocksdb::{ColumnFamilyDescriptor, DB, IteratorMode, MergeOperands, Options};

/// The index of a closed store, opened without the store.
pub(crate) struct Tampered(DB);

impl Tampered {
    pub(crate) fn open(repo: &Path) -> Self {
        let path = repo.join("db");
        let names = DB::list_cf(&Options::default(), &path).unwrap();
        let families = names.into_iter().map(|name| {
            let mut options = Options::default();
            if name == "stats" {
                options.set_merge_operator_associative("holdfast.add_i64", add);
            }
            ColumnFamilyDescriptor::new(name, options)
        });
        Self(DB::open_cf_descriptors(&Options::default(), &path, families).unwrap())
    }

    pub(crate) fn rows(&self, family: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = self.0.iterator_cf(self.0.cf_handle(family).unwrap(), IteratorMode::Start);
        rows.map(|row| row.map(|(key, value)| (key.into_vec(), value.into_vec())).unwrap()).collect()
    }

    pub(crate) fn put(&self, family: &str, key: &[u8], value: &[u8]) {
        self.0.put_cf(self.0.cf_handle(family).unwrap(), key, value).unwrap();
    }

    pub(crate) fn delete(&self, family: &str, key: &[u8]) {
        self.0.delete_cf(self.0.cf_handle(family).unwrap(), key).unwrap();
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a merge operator")]
fn add(_key: &[u8], before: Option<&[u8]>, deltas: &MergeOperands) -> Option<Vec<u8>> {
    let all = before.into_iter().chain(deltas);
    let sum: i64 = all.map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap())).sum();
    Some(sum.to_le_bytes().to_vec())
}
