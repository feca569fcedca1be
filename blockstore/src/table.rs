//! Reading rows out of RocksDB's tables without RocksDB, where the table's own index is damaged.
//!
//! An entry of a data block (`block_builder.cc`) is: bytes shared with the key before (varint), further bytes of the key
//! (varint), bytes of the value (varint), key, value. The key ends with sequence number and kind, 8 bytes. At least every
//! sixteenth entry shares nothing, so that reading can begin there. Nothing is compressed in our tables, and no checksum
//! is compared: the caller has to know a sound row when it sees one.

use std::collections::BTreeMap;

/// Bytes of sequence number and kind behind a key.
const TRAILER: usize = 8;
const DELETION: u8 = 0;
const VALUE: u8 = 1;
/// Longest key and value that are looked for: pins are shorter.
const KEY_MAX: u32 = 400;
const VALUE_MAX: u32 = 1024;

/// The newest version of each row: sequence number, and the value unless it was deleted.
pub(crate) type Versions = BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)>;

/// Finds the rows in a table whose keys are `wanted`.
pub(crate) fn read_table(table: &[u8], wanted: &dyn Fn(&[u8]) -> bool, found: &mut Versions) {
    let mut at = 0;
    while at < table.len() {
        let mut rest = table.get(at..).unwrap_or_default();
        let mut key: Vec<u8> = Vec::new();
        let mut read = 0;
        // A chain of entries, from one that shares nothing.
        while let Some((entry, after)) = entry(rest, &key).filter(|(entry, _)| wanted(entry.user_key())) {
            read += rest.len() - after.len();
            rest = after;
            let newest = found.get(entry.user_key()).is_none_or(|(sequence, _)| *sequence <= entry.sequence);
            if newest {
                let value = (entry.kind == VALUE).then(|| entry.value.to_vec());
                found.insert(entry.user_key().to_vec(), (entry.sequence, value));
            }
            key = entry.key;
        }
        at += read.max(1);
    }
}

struct Entry<'a> {
    /// With its trailer.
    key: Vec<u8>,
    value: &'a [u8],
    sequence: u64,
    kind: u8,
}

impl Entry<'_> {
    fn user_key(&self) -> &[u8] {
        self.key.get(..self.key.len() - TRAILER).unwrap_or_default()
    }
}

fn entry<'a>(bytes: &'a [u8], before: &[u8]) -> Option<(Entry<'a>, &'a [u8])> {
    let (shared, rest) = unsigned_varint::decode::u32(bytes).ok()?;
    let (further, rest) = unsigned_varint::decode::u32(rest).ok()?;
    let (value_len, rest) = unsigned_varint::decode::u32(rest).ok()?;
    if further > KEY_MAX || value_len > VALUE_MAX {
        return None;
    }
    let (further, rest) = rest.split_at_checked(further as usize)?;
    let (value, rest) = rest.split_at_checked(value_len as usize)?;
    let key = [before.get(..shared as usize)?, further].concat();
    let packed = u64::from_le_bytes(*key.last_chunk::<TRAILER>()?);
    let (sequence, kind) = (packed >> 8, (packed & 0xff) as u8);
    let known = kind == VALUE || kind == DELETION && value.is_empty();
    known.then_some((Entry { key, value, sequence, kind }, rest))
}
