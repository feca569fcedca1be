//! Names with what they lead to, in little memory.

use crate::cid::{Cid, cid_from_bytes};
use crate::hamt::ShardEntry;
use crate::pb::put_varint;

/// Names, CIDs and sizes in the order in which they were added, in one buffer.
///
/// Memory: an entry takes its name, its binary CID and 3 to 12 bytes; the buffer is doubled when it is full.
#[derive(Debug, Default)]
pub struct EntryList {
    /// One record an entry: name length, CID length and size as varints, then name and CID.
    records: Vec<u8>,
}

impl EntryList {
    /// Adds an entry. The same name may come again.
    pub fn add(&mut self, name: &[u8], cid: &Cid, tsize: u64) {
        let cid = cid.to_bytes();
        // Lists of one entry are many: each is one allocation of its size.
        self.records.reserve(name.len() + cid.len() + 12);
        for number in [name.len() as u64, cid.len() as u64, tsize] {
            put_varint(&mut self.records, number);
        }
        self.records.extend_from_slice(name);
        self.records.extend_from_slice(&cid);
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> usize {
        self.records.len()
    }

    /// Names, CIDs and sizes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Cid, u64)> {
        self.offsets().map(|offset| {
            let entry = self.at(offset);
            (entry.name, cid_of(&entry), entry.tsize)
        })
    }

    /// Where entries begin.
    pub(super) fn offsets(&self) -> impl Iterator<Item = usize> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let offset = next;
            next = self.record(offset)?.1;
            Some(offset)
        })
    }

    /// The entry that begins there.
    pub(super) fn at(&self, offset: usize) -> ShardEntry<'_> {
        let record = self.record(offset);
        record.expect("invariant: offsets are those of whole records, which only `add` writes").0
    }

    /// The entry at an offset, and where the next one begins.
    fn record(&self, offset: usize) -> Option<(ShardEntry<'_>, usize)> {
        let mut rest = self.records.get(offset..)?;
        let mut varint = || {
            let (value, after) = unsigned_varint::decode::u64(rest).ok()?;
            rest = after;
            Some(value)
        };
        let (name_len, cid_len, tsize) = (varint()?, varint()?, varint()?);
        let (name, rest) = rest.split_at_checked(usize::try_from(name_len).ok()?)?;
        let (cid, rest) = rest.split_at_checked(usize::try_from(cid_len).ok()?)?;
        Some((ShardEntry { name, cid, tsize }, self.records.len() - rest.len()))
    }
}

fn cid_of(entry: &ShardEntry<'_>) -> Cid {
    cid_from_bytes(entry.cid).expect("invariant: only `EntryList::add` writes records, with whole CIDs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::{CidBuilder, Version, codec};
    use crate::hash::HashKind;

    #[test]
    fn entries_come_back_as_they_were_added() {
        let builder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
        let cid = |name: &str| builder.cid_of(codec::RAW, &[name.as_bytes()]);
        let mut list = EntryList::default();
        assert_eq!((list.iter().count(), list.bytes()), (0, 0));
        let long = "n".repeat(300);
        for (size, name) in (0..).zip(["a", "", &long, "a"]) {
            list.add(name.as_bytes(), &cid(name), size << 40);
        }
        let found: Vec<_> = list.iter().map(|(name, cid, size)| (name.to_vec(), cid, size)).collect();
        let wanted = (0_u64..).zip(["a", "", &long, "a"]);
        assert_eq!(
            found,
            wanted.map(|(size, name)| (name.as_bytes().to_vec(), cid(name), size << 40)).collect::<Vec<_>>()
        );
        assert!(list.bytes() < 302 + 4 * (36 + 12), "{}", list.bytes());
    }
}
