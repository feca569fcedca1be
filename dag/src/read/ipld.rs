//! What the walkers need of blocks of any codec.

use bytes::Bytes;

use super::error::ReadError;
use super::info::decode_pb;
use super::links::LinkTable;
use crate::cid::{Cid, codec};
use crate::ipld::{self, DecodeError, Value};

/// The links of a block in its order; dag-pb ones with their names and Tsizes.
///
/// Other than [`ipld::links`] this refuses codecs that have no decoder: what cannot be followed is not complete.
pub(super) fn links(cid: &Cid, block: &Bytes) -> Result<LinkTable, ReadError> {
    match cid.codec() {
        codec::RAW => Ok(LinkTable::default()),
        codec::DAG_PB => Ok(LinkTable::of_pb(block, &decode_pb(cid, block)?.links)),
        other if !ipld::has_decoder(other) => Err(error(cid, DecodeError::NoDecoder(other))),
        other => {
            let mut table = LinkTable::default();
            for link in ipld::links(other, block).map_err(|source| error(cid, source))? {
                table.push(&link, &[], 0);
            }
            Ok(table)
        }
    }
}

/// The value of a block.
pub(super) fn value(cid: &Cid, block: &[u8]) -> Result<Value, ReadError> {
    ipld::decode(cid.codec(), block).map_err(|source| error(cid, source))
}

fn error(cid: &Cid, source: DecodeError) -> ReadError {
    ReadError::Ipld { cid: Box::new(*cid), source }
}
