//! What a block points to.

use super::{DecodeError, Head, Reader, Value, budget::DEPTH_MAX, cbor_head::link_cid};
use super::{dag_cbor, dag_json, git_raw};
use crate::cid::{Cid, cid_from_bytes, codec};
use crate::pb;

/// The children of a block as written, in the order of the block, repeats included.
///
/// Codecs without links, and those that [`super::has_decoder`] does not know, have none. For dag-pb and dag-cbor no
/// values are built: of dag-cbor only the structure is checked, not that keys are unique and text is UTF-8.
pub fn links(codec: u64, block: &[u8]) -> Result<Vec<Cid>, DecodeError> {
    match codec {
        codec::DAG_PB => Ok(pb::decode(block)?.links.into_iter().map(|link| link.cid).collect()),
        codec::DAG_CBOR => dag_cbor_links(block),
        codec::DAG_JSON => {
            let mut links = Vec::new();
            collect(&dag_json::decode(block)?, &mut links);
            Ok(links)
        }
        codec::DAG_JOSE => dag_jose_links(block),
        codec::GIT_RAW => git_raw::links(block),
        _ => Ok(Vec::new()),
    }
}

/// Walks the heads of a block; all that is kept is how much each open container still misses.
fn dag_cbor_links(block: &[u8]) -> Result<Vec<Cid>, DecodeError> {
    let mut reader = Reader::new(block);
    let mut links = Vec::new();
    let mut open: Vec<Missing> = Vec::new();
    loop {
        match reader.head()? {
            Head::Link(bytes) => links.push(link_cid(bytes)?),
            Head::List(_) | Head::Map(_) if open.len() >= DEPTH_MAX => return Err(DecodeError::TooDeep),
            Head::List(items) => open.push(Missing { items, keyed: false }),
            Head::Map(items) => open.push(Missing { items, keyed: true }),
            _ => {}
        }
        while open.pop_if(|container| container.items == 0).is_some() {}
        match open.last_mut() {
            None if reader.is_at_end() => return Ok(links),
            None => return Err(DecodeError::TrailingBytes("cbor")),
            Some(container) => {
                container.items -= 1;
                if container.keyed {
                    reader.key()?;
                } else if reader.is_at_end() {
                    return Err(DecodeError::Eof);
                }
            }
        }
    }
}

/// What an open container still misses.
struct Missing {
    items: u64,
    keyed: bool,
}

/// A JOSE object is dag-cbor; the payload of a signed one is itself the CID of what was signed.
fn dag_jose_links(block: &[u8]) -> Result<Vec<Cid>, DecodeError> {
    let value = dag_cbor::decode(block)?;
    let mut links = Vec::new();
    if let (Some(Value::Bytes(payload)), Some(Value::List(_))) =
        (value.get("payload"), value.get("signatures"))
    {
        links.push(cid_from_bytes(payload)?);
    }
    collect(&value, &mut links);
    Ok(links)
}

/// Gathers links depth first. Recurses: values come from a decoder, which bounds their depth.
fn collect(value: &Value, links: &mut Vec<Cid>) {
    match value {
        Value::Link(cid) => links.push(**cid),
        Value::List(items) => items.iter().for_each(|item| collect(item, links)),
        Value::Map(map) => map.iter().for_each(|(_, value)| collect(value, links)),
        _ => {}
    }
}
