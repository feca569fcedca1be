//! Records of names (IPNS): one a name, kept as bytes that only their reader understands.

use crate::changes::Change;
use crate::error::{IndexError, ReadError, WriteError};
use crate::pages::Pages;
use crate::rows::{family, malformed};
use crate::segment::{MULTIHASH_BYTES_MAX, multihash_from};
use crate::store::Store;

/// Largest record of a name, in bytes (IPNS specification).
pub const NAME_RECORD_BYTES_MAX: usize = 10 << 10;

/// What the keys of IPNS records begin with; the multihash of the public key follows.
const PREFIX: &[u8] = b"ipns:";
const ROW_VERSION: u8 = 1;
/// Rows read at a time while listing.
const PAGE: usize = 256;

/// The record of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRecord {
    /// The signed record, as it was made.
    pub record: Vec<u8>,
    /// When it was stored, in milliseconds since 1970.
    pub stored_unix_ms: u64,
    /// Whether this node signed it. Otherwise it was given to it.
    pub is_own: bool,
}

/// A name that has a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameEntry {
    /// The name: the binary multihash of a public key.
    pub name: Vec<u8>,
    /// When its record was stored, in milliseconds since 1970.
    pub stored_unix_ms: u64,
    /// Whether this node signed it.
    pub is_own: bool,
}

impl Store {
    /// The names that have a record, in the order of their bytes. Those whose row is damaged are passed over. An error is the
    /// last that is given.
    pub fn names(&self) -> impl Iterator<Item = Result<NameEntry, ReadError>> {
        Pages::new(self, family::NAMES, PREFIX.to_vec(), PAGE).filter_map(|row| {
            let (key, row) = match row {
                Ok(row) => row,
                Err(error) => return Some(Err(error.into())),
            };
            let name = key.strip_prefix(PREFIX)?.to_vec();
            let NameRecord { stored_unix_ms, is_own, .. } = decode_row(&row)?;
            Some(Ok(NameEntry { name, stored_unix_ms, is_own }))
        })
    }

    /// Forgets the records of names, durably and all at once. Names that have none are no error.
    pub fn remove_name_records(&self, names: Vec<Vec<u8>>) -> Result<(), WriteError> {
        let changes = names.into_iter().map(|name| Change::NameForgotten { name }).collect();
        self.inner().barrier(self.inner().generation(), changes)
    }

    /// The record of a name, which is the binary multihash of a public key.
    pub fn name_record(&self, name: &[u8]) -> Result<Option<NameRecord>, ReadError> {
        let key = key_of(name);
        let row = self.inner().index.get()?.get(family::NAMES, &key)?;
        Ok(row.map(|row| decode_row(&row).ok_or_else(|| bad_row().at(&key))).transpose()?)
    }

    /// Replaces the record of a name, durably.
    pub fn put_name_record(&self, name: &[u8], record: NameRecord) -> Result<(), WriteError> {
        let change = Change::NameRecord { name: name.to_vec(), record };
        crate::changes::check(std::slice::from_ref(&change))?;
        // It relies on no block: whatever happened to others before is no reason to refuse it.
        self.inner().barrier(self.inner().generation(), vec![change])
    }
}

/// What is wrong with a row that does not decode.
pub(crate) fn bad_row() -> IndexError {
    malformed(
        family::NAMES,
        "not a sound version 1 row; 'name publish --sequence' or 'name put' writes a new one",
    )
}

/// Refuses what no row holds.
pub(crate) fn check(name: &[u8], record: &NameRecord) -> Result<(), WriteError> {
    let (name_bytes, bytes) = (name.len(), record.record.len());
    if multihash_from(name).is_some() && name_bytes <= MULTIHASH_BYTES_MAX && bytes <= NAME_RECORD_BYTES_MAX {
        Ok(())
    } else {
        Err(WriteError::NameRecord { name_bytes, bytes })
    }
}

/// Key of the record of a name.
pub(crate) fn key_of(name: &[u8]) -> Vec<u8> {
    [PREFIX, name].concat()
}

/// Whether this is the key of a record.
pub(crate) fn is_key(key: &[u8]) -> bool {
    key.strip_prefix(PREFIX).is_some_and(|name| multihash_from(name).is_some())
}

/// A record's row: version, checksum of what follows, time, origin, record.
pub(crate) fn encode_row(record: &NameRecord) -> Vec<u8> {
    let body =
        [record.stored_unix_ms.to_le_bytes().as_slice(), &[u8::from(record.is_own)], &record.record].concat();
    [&[ROW_VERSION], crc32c::crc32c(&body).to_le_bytes().as_slice(), &body].concat()
}

/// `None` where the row is damaged or of another version.
pub(crate) fn decode_row(row: &[u8]) -> Option<NameRecord> {
    let (crc, body) = row.strip_prefix(&[ROW_VERSION])?.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*crc) != crc32c::crc32c(body) {
        return None;
    }
    let (time, rest) = body.split_first_chunk::<8>()?;
    let (origin, record) = rest.split_first()?;
    let is_own = match origin {
        0 => false,
        1 => true,
        _ => return None,
    };
    Some(NameRecord { record: record.to_vec(), stored_unix_ms: u64::from_le_bytes(*time), is_own })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_the_format_page_says() {
        let record = NameRecord { record: b"record".to_vec(), stored_unix_ms: 0x0102, is_own: true };
        let row = encode_row(&record);
        let body = b"\x02\x01\0\0\0\0\0\0\x01record";
        assert_eq!(row, [&[1], crc32c::crc32c(body).to_le_bytes().as_slice(), body].concat());
        assert_eq!(decode_row(&row), Some(record));
        for place in 0..row.len() {
            let mut changed = row.clone();
            changed[place] ^= 0x10;
            assert_eq!(decode_row(&changed), None, "{place}");
            assert_eq!(decode_row(&row[..place]), None, "{place}");
        }
        let name = [0x12, 0x20].into_iter().chain([7; 32]).collect::<Vec<u8>>();
        assert_eq!(key_of(&name), [b"ipns:", name.as_slice()].concat());
        assert!(is_key(&key_of(&name)) && !is_key(&name) && !is_key(b"ipns:"));
    }
}
