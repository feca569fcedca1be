//! Rows that other parts of a node keep in the index: what is known of the network. They are caches by nature: nothing
//! that was acknowledged to a user depends on them, so writing them syncs nothing, and losing the last of them costs a
//! lookup.

use rocksdb::WriteBatch;

use crate::error::{ReadError, WriteError};
use crate::index::after;
use crate::rows::family;
use crate::space;
use crate::store::Store;

/// Largest key of such a row, in bytes.
pub const SIDE_KEY_BYTES_MAX: usize = 1 << 10;

/// Largest value of such a row, in bytes.
pub const SIDE_VALUE_BYTES_MAX: usize = 1 << 20;

/// A table of rows that the store keeps and does not understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SideTable {
    /// Who provides what: records that peers stored here. Family `providers`.
    Providers,
    /// Values that peers stored here. Family `values`.
    Values,
    /// Peers that were seen, with their addresses. Family `peers`.
    Peers,
    /// How far announcing has come, and what waits to be announced. Family `provides`.
    Provides,
}

impl SideTable {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Providers, Self::Values, Self::Peers, Self::Provides];

    fn family(self) -> &'static str {
        match self {
            Self::Providers => family::PROVIDERS,
            Self::Values => family::VALUES,
            Self::Peers => family::PEERS,
            Self::Provides => family::PROVIDES,
        }
    }
}

/// A change of a table: a key, and its new value or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideChange {
    /// The row.
    pub key: Vec<u8>,
    /// Its value; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// A page of rows: keys and values, ascending by key.
pub type SideRows = Vec<(Box<[u8]>, Box<[u8]>)>;

impl Store {
    /// One row.
    pub fn side_get(&self, table: SideTable, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.inner().index.get()?.get(table.family(), key)?)
    }

    /// Several rows, in the order of `keys`.
    pub fn side_get_many(&self, table: SideTable, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, ReadError> {
        Ok(self.inner().index.get()?.get_many(table.family(), keys)?)
    }

    /// Up to `max` rows whose keys begin with `prefix`, those behind the key `behind` if there is one. No iterator stays
    /// open between pages.
    pub fn side_page(
        &self,
        table: SideTable,
        prefix: &[u8],
        behind: Option<&[u8]>,
        max: usize,
    ) -> Result<SideRows, ReadError> {
        let from = behind.map_or_else(|| prefix.to_vec(), after);
        Ok(self.inner().index.get()?.page(table.family(), prefix, &from, max)?)
    }

    /// Up to `max` rows whose keys begin with `prefix`, from the key `from` on, which is among them if it is there.
    pub fn side_from(
        &self,
        table: SideTable,
        prefix: &[u8],
        from: &[u8],
        max: usize,
    ) -> Result<SideRows, ReadError> {
        Ok(self.inner().index.get()?.page(table.family(), prefix, from, max)?)
    }

    /// Makes all changes or none. They survive the end of the process, and loss of power once anything later was
    /// committed. Fails where the disk has only its reserve left: what is known of the network never takes that.
    pub fn side_write(&self, table: SideTable, changes: &[SideChange]) -> Result<(), WriteError> {
        let inner = self.inner();
        inner.heal_first();
        let mut batch = WriteBatch::default();
        let mut bytes = 0;
        let index = inner.index.get()?;
        for SideChange { key, value } in changes {
            let value_bytes = value.as_ref().map_or(0, Vec::len);
            if key.len() > SIDE_KEY_BYTES_MAX || value_bytes > SIDE_VALUE_BYTES_MAX {
                return Err(WriteError::SideRow { key_bytes: key.len(), value_bytes });
            }
            bytes += key.len() + value_bytes;
            let family = index.family(table.family());
            match value {
                Some(value) => batch.put_cf(family, key, value),
                None => batch.delete_cf(family, key),
            }
        }
        if changes.iter().any(|change| change.value.is_some()) {
            space::check(inner.segments.path(), bytes as u64, inner.reserve)?;
        }
        index.write(batch, false).map_err(|error| inner.index_failed(error))
    }

    /// Removes all rows of a table whose keys begin with `prefix`, a page at a time.
    pub fn side_clear(&self, table: SideTable, prefix: &[u8]) -> Result<(), WriteError> {
        const PAGE_ROWS: usize = 4096;
        loop {
            let rows = self.inner().index.get()?.page(table.family(), prefix, prefix, PAGE_ROWS)?;
            let changes: Vec<SideChange> =
                rows.into_iter().map(|(key, _)| SideChange { key: key.into_vec(), value: None }).collect();
            self.side_write(table, &changes)?;
            if changes.len() < PAGE_ROWS {
                return Ok(());
            }
        }
    }
}
