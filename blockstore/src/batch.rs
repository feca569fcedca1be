//! Many blocks at once, from the index alone: what a walk over a DAG asks for.

use holdfast_dag::cid::{Cid, cid_from_bytes, codec, identity_data};

use crate::error::{IndexError, ReadError};
use crate::pending::NewValue;
use crate::rows::{MetaRow, encode_links, family, links_key, malformed, split_link};
use crate::store::{Inner, Store};
use crate::sync::read;
use crate::writer::Writer;

/// The links of one block, in order and as written: about 38 bytes each, decoded as they are taken.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// A `links` row.
    row: Vec<u8>,
    /// Where the next link begins in it.
    at: usize,
    taken: usize,
}

impl Links {
    pub(crate) fn of_row(row: Vec<u8>) -> Result<Self, IndexError> {
        if row.first() == Some(&crate::rows::ROW_VERSION) {
            Ok(Self { row, at: 1, taken: 0 })
        } else {
            Err(malformed(family::LINKS, "unknown version"))
        }
    }

    fn of_cids(cids: &[Cid]) -> Self {
        Self { row: encode_links(cids), at: 1, taken: 0 }
    }

    /// How many links were taken so far.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Bytes of memory that it holds.
    pub fn held_bytes(&self) -> usize {
        self.row.capacity()
    }

    /// Whether this CID, version and codec included, is among those not taken yet.
    pub fn contains(&self, wanted: &Cid) -> Result<bool, ReadError> {
        let wanted = wanted.to_bytes();
        let mut rest = self.rest();
        while !rest.is_empty() {
            let (link, tail) = split_link(rest)?;
            if link == wanted {
                return Ok(true);
            }
            rest = tail;
        }
        Ok(false)
    }

    fn rest(&self) -> &[u8] {
        self.row.get(self.at..).unwrap_or_default()
    }
}

impl Iterator for Links {
    type Item = Result<Cid, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest().is_empty() {
            return None;
        }
        let (cid, end) = match split_link(self.rest()) {
            Ok((link, tail)) => {
                let cid = cid_from_bytes(link).map_err(|_| malformed(family::LINKS, "bad cid"));
                (cid, self.row.len() - tail.len())
            }
            // What follows cannot be told apart any more.
            Err(error) => (Err(error), self.row.len()),
        };
        self.at = end;
        self.taken += 1;
        Some(cid.map_err(ReadError::from))
    }
}

impl Writer {
    /// As [`Writer::find`], for many blocks with one lookup: sizes in the order asked for.
    ///
    /// Each block is protected under its stripe before the lookup, and a deletion looks for protection and deletes under
    /// the same stripe: what the lookup finds afterwards cannot be on its way out.
    pub fn find_many(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>, ReadError> {
        for cid in cids.iter().filter(|cid| identity_data(cid).is_none()) {
            self.protect(&cid.hash().to_bytes());
        }
        self.store().inner().sizes(cids)
    }
}

impl Store {
    /// Sizes of many blocks in bytes, in the order asked for; `None` for those that are not here. Reads no value.
    pub fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>, ReadError> {
        self.inner().sizes(cids)
    }

    /// As [`Store::links`], for many blocks with one lookup, each with its own outcome. Those that are not here have no
    /// links.
    pub fn links_many(&self, cids: &[Cid]) -> Result<Vec<Result<Links, ReadError>>, ReadError> {
        let indexed = |cid: &&Cid| cid.codec() != codec::RAW && identity_data(cid).is_none();
        let keys: Vec<Vec<u8>> =
            cids.iter().filter(indexed).map(|cid| links_key(&cid.hash().to_bytes(), cid.codec())).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let mut rows = self.inner().index.get()?.get_many(family::LINKS, &keys)?.into_iter();
        let links = cids.iter().map(|cid| {
            if cid.codec() == codec::RAW {
                return Ok(Links::default());
            }
            let row = if indexed(&cid) { rows.next().flatten() } else { None };
            match row {
                Some(row) => Ok(Links::of_row(row)?),
                // Pending, never decoded under this codec, or carried by the CID.
                None => Ok(Links::of_cids(&self.links(cid)?.unwrap_or_default())),
            }
        });
        Ok(links.collect())
    }
}

impl Inner {
    fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>, ReadError> {
        let mut sizes = Vec::with_capacity(cids.len());
        let mut lookup = Vec::new();
        {
            let pending = read(&self.pending);
            for (at, cid) in cids.iter().enumerate() {
                let key = cid.hash().to_bytes();
                sizes.push(match identity_data(cid) {
                    Some(data) => Some(data.len() as u64),
                    None => pending.value(&key).map(|value: NewValue| u64::from(value.place.size)),
                });
                let settled = sizes.last().is_some_and(Option::is_some);
                if !settled || self.is_damaged(&key) {
                    lookup.push((at, key));
                }
            }
        }
        let keys: Vec<&[u8]> = lookup.iter().map(|(_, key)| key.as_slice()).collect();
        let rows = self.index.get()?.get_many(family::META, &keys)?;
        for ((at, key), row) in lookup.iter().zip(rows) {
            let Some(size) = sizes.get_mut(*at) else { continue };
            *size = if self.is_damaged(key) {
                self.find(key)?.map(|place| u64::from(place.size))
            } else {
                row.map(|row| MetaRow::decode(&row)).transpose()?.map(|row| u64::from(row.place.size))
            };
        }
        Ok(sizes)
    }
}
