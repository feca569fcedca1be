//! What the walkers need of blocks of any codec.

use bytes::Bytes;

use super::error::ReadError;
use super::info::decode_pb;
use super::links::LinkTable;
use crate::cid::{Cid, codec};

/// The links of a block in its order, with dag-pb names and Tsizes.
pub(super) fn links(cid: &Cid, block: &Bytes) -> Result<LinkTable, ReadError> {
    match cid.codec() {
        codec::RAW => Ok(LinkTable::default()),
        codec::DAG_PB => Ok(LinkTable::of_pb(block, &decode_pb(cid, block)?.links)),
        other => {
            let reason = format!("no decoder registered for multicodec code {other} (0x{other:x})");
            Err(ReadError::Ipld { cid: Box::new(*cid), reason })
        }
    }
}
