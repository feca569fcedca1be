//! The store of records that the rules of names work on: rows beside the blocks, each change synced.

use std::time::SystemTime;

use holdfast_blockstore::{IndexError, NameRecord, ReadError, Store, WriteError};
use holdfast_dht::ipns::{Name, Origin, RecordStore};

/// Why a record was not read or kept.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// It was not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It was not written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The records in a store.
pub(super) struct Kept<'a> {
    store: &'a Store,
    /// Whether a damaged row counts as a record that says nothing, rather than as an error.
    replaces: bool,
}

impl<'a> Kept<'a> {
    /// For reading them.
    pub(super) fn to_read(store: &'a Store) -> Self {
        Self { store, replaces: false }
    }

    /// For replacing one: a damaged row is no reason to keep it.
    pub(super) fn to_change(store: &'a Store) -> Self {
        Self { store, replaces: true }
    }
}

impl RecordStore for Kept<'_> {
    type Error = KeepError;

    fn get(&self, name: &Name) -> Result<Option<Vec<u8>>, KeepError> {
        match self.store.name_record(&name.to_bytes()) {
            Err(ReadError::Index(IndexError::Row { .. })) if self.replaces => Ok(Some(Vec::new())),
            row => Ok(row?.map(|row| row.record)),
        }
    }

    fn put(&self, name: &Name, record: &[u8], origin: Origin) -> Result<(), KeepError> {
        let is_own = origin == Origin::Published;
        let row = NameRecord { record: record.to_vec(), stored_unix_ms: unix_ms(), is_own };
        Ok(self.store.put_name_record(&name.to_bytes(), row)?)
    }

    fn confirm(&self, name: &Name) -> Result<(), KeepError> {
        let kept = self.store.name_record(&name.to_bytes())?;
        let Some(row) = kept.filter(|row| !row.is_own) else { return Ok(()) };
        Ok(self.store.put_name_record(&name.to_bytes(), NameRecord { stored_unix_ms: unix_ms(), ..row })?)
    }
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as u64)
}
