//! Links: what a block points to, decoded once when it is written.

use std::sync::Arc;

use holdfast_dag::block::BlockBytes;
use holdfast_dag::cid::{Cid, Multihash, codec, identity_data};
use holdfast_dag::ipld;

use crate::error::{IndexError, ReadError};
use crate::pending::Row;
use crate::rows::{decode_links, encode_links, family, links_key, rlinks_key};
use crate::store::{Inner, Store};
use crate::sync::read;

/// First byte of a dag-pb Data field: field 1, length-delimited.
const DATA_TAG: u8 = 0x0a;

/// Identity CIDs inside identity CIDs are followed this far. Each holds at most 128 bytes, so that no more fit.
const IDENTITY_DEPTH_MAX: usize = 8;

/// As [`children`], of a block in parts. A leaf of a file, which is nearly every block of a big one, is seen to have no
/// links by its first bytes, so that its parts need not be joined.
pub(crate) fn children_of(codec: u64, data: &BlockBytes) -> Option<Vec<Cid>> {
    if codec == codec::DAG_PB && is_data_alone(data) {
        return Some(Vec::new());
    }
    children(codec, &data.to_bytes())
}

/// Whether a dag-pb block is one Data field from its first byte to its last.
fn is_data_alone(data: &BlockBytes) -> bool {
    let mut bytes = data.parts().into_iter().flatten().copied();
    if bytes.next() != Some(DATA_TAG) {
        return false;
    }
    let (mut len, mut head) = (0_u64, 1_u64);
    for shift in (0..35).step_by(7) {
        let Some(byte) = bytes.next() else { return false };
        len |= u64::from(byte & 0x7f) << shift;
        head += 1;
        if byte < 0x80 {
            return head + len == data.len() as u64;
        }
    }
    false
}

/// The children of a block, as written. `None`: it does not decode under this codec, or there is no decoder.
pub(crate) fn children(codec: u64, block: &[u8]) -> Option<Vec<Cid>> {
    if ipld::has_decoder(codec) { ipld::links(codec, block).ok() } else { None }
}

/// Keys of the `rlinks` rows of a `links` row. Children of identity children count as the block's own, because
/// identity blocks are never stored and could not be climbed through.
pub(crate) fn rlinks_keys(key: &[u8], codec: u64, links_row: &[u8]) -> Vec<Vec<u8>> {
    children_of_row(links_row).iter().map(|child| rlinks_key(child, key, codec)).collect()
}

/// Multihashes of the stored children in a `links` row, each once.
pub(crate) fn children_of_row(links_row: &[u8]) -> Vec<Vec<u8>> {
    let mut hashes: Vec<Multihash> = Vec::new();
    expand(&decode_links(links_row).unwrap_or_default(), 0, &mut hashes);
    hashes.sort_unstable();
    hashes.dedup();
    hashes.iter().map(Multihash::to_bytes).collect()
}

fn expand(cids: &[Cid], depth: usize, hashes: &mut Vec<Multihash>) {
    for cid in cids {
        match identity_data(cid) {
            None => hashes.push(*cid.hash()),
            Some(data) if depth < IDENTITY_DEPTH_MAX => {
                expand(&children(cid.codec(), data).unwrap_or_default(), depth + 1, hashes);
            }
            Some(_) => {}
        }
    }
}

impl Store {
    /// The children of a block, exactly as written; `None` if the block is not here. Reads no value, unless the
    /// block was first written under another codec. Raw blocks have none by rule.
    pub fn links(&self, cid: &Cid) -> Result<Option<Vec<Cid>>, ReadError> {
        let decode = |block: &[u8]| {
            let malformed = |error: ipld::DecodeError| ReadError::Malformed {
                cid: Box::new(*cid),
                reason: error.to_string(),
            };
            if ipld::has_decoder(cid.codec()) {
                ipld::links(cid.codec(), block).map_err(malformed)
            } else {
                Err(ReadError::NoDecoder { codec: cid.codec() })
            }
        };
        if let Some(data) = identity_data(cid) {
            return decode(data).map(Some);
        }
        let key = cid.hash().to_bytes();
        if self.inner().find(&key)?.is_none() {
            return Ok(None);
        }
        if cid.codec() == codec::RAW {
            return Ok(Some(Vec::new()));
        }
        if let Some(row) = self.inner().links_row(&key, cid.codec())? {
            match decode_links(&row) {
                Ok(links) => return Ok(Some(links)),
                // It is derived: the block itself says what it should be.
                Err(error) => tracing::warn!("the links of {cid} are decoded again: {error}"),
            }
        }
        let Some(data) = self.get(cid)? else { return Ok(None) };
        let links = decode(&data)?;
        // The row is derived: losing it costs another decoding, so its way into the index is not waited for.
        let inner = self.inner();
        // Under the stripe, so that no deletion comes between: it would leave a row of a block that is gone.
        let _stripe = inner.protection.guard(inner.protection.print(&key));
        if inner.find(&key)?.is_some() {
            let row = Row { key: key.into(), value: None, links: Some((cid.codec(), encode_links(&links))) };
            inner.enqueue_derived(Arc::new(row));
        }
        Ok(Some(links))
    }
}

impl Inner {
    /// The `links` row of a block under a codec, pending or in the index.
    pub(crate) fn links_row(&self, key: &[u8], codec: u64) -> Result<Option<Vec<u8>>, IndexError> {
        if let Some(row) = read(&self.pending).links(key, codec) {
            return Ok(Some(row));
        }
        self.index.get()?.get(family::LINKS, &links_key(key, codec))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_leaf_is_known_by_its_first_bytes() {
        let body = Bytes::from(vec![7; 300]);
        let leaf = BlockBytes::framed(
            &[0x0a, 0xb2, 0x02, 0x08, 0x02, 0x12, 0xac, 0x02],
            body.clone(),
            &[0x18, 0xac, 0x02],
        );
        assert_eq!(leaf.len(), 3 + 0x132 + 2);
        assert!(!is_data_alone(&leaf), "the length does not fit");
        let leaf =
            BlockBytes::framed(&[0x0a, 0xb4, 0x02, 0x08, 0x02, 0x12, 0xac, 0x02], body, &[0x18, 0xac, 0x02]);
        assert_eq!(leaf.len(), 3 + 0x134);
        assert!(is_data_alone(&leaf));
        assert_eq!(children_of(codec::DAG_PB, &leaf), Some(Vec::new()));
        let data_then_more = BlockBytes::from(vec![0x0a, 0x01, 0x00, 0x12, 0x00]);
        assert!(!is_data_alone(&data_then_more));
        assert!(!is_data_alone(&BlockBytes::from(Vec::new())));
    }
}
