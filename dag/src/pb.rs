//! dag-pb: strict decoding without copies, and canonical encoding (links before data).
//!
//! Specification: IPLD dag-pb. A node is at most one Data field and a list of links, each with a binary CID, a name
//! and the cumulative size of what it points to (`Tsize`). The decoder is as strict as go-codec-dagpb: right wire
//! types, nothing unknown or repeated, Hash, Name and Tsize in this order. Links come before data as in all new
//! blocks, or after it as in old ones, but never on both sides.

use quick_protobuf::BytesReader;

use crate::cid::{Cid, cid_from_bytes};

/// Why bytes are not a dag-pb node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PbError {
    /// Not protobuf, cut short, or with fields that dag-pb does not have.
    #[error("invalid dag-pb: {0}")]
    Malformed(&'static str),
    /// A link whose hash is not a CID.
    #[error("invalid dag-pb: link {index}: {reason}")]
    BadLink {
        /// Position of the link.
        index: usize,
        /// What is wrong with its CID.
        reason: String,
    },
}

/// A link as it lies in the block, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PbLinkRef<'a> {
    /// Target.
    pub cid: Cid,
    /// Name; bytes, because dag-pb does not promise UTF-8. `None` where the field is absent.
    pub name: Option<&'a [u8]>,
    /// Cumulative size in bytes of the target's DAG, as claimed by the writer of this block.
    pub tsize: Option<u64>,
}

impl<'a> PbLinkRef<'a> {
    /// The name, empty where absent.
    pub fn name(&self) -> &'a [u8] {
        self.name.unwrap_or_default()
    }
}

/// A decoded node that borrows from its block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PbNodeRef<'a> {
    /// Links in the order of the block.
    pub links: Vec<PbLinkRef<'a>>,
    /// The Data field; `None` where absent.
    pub data: Option<&'a [u8]>,
}

const WIRE_VARINT: u32 = 0;
const WIRE_BYTES: u32 = 2;

/// Decodes a block. Memory is bounded by the block: about 180 bytes a link, and a link takes at least 4 bytes.
pub fn decode(block: &[u8]) -> Result<PbNodeRef<'_>, PbError> {
    let mut node = PbNodeRef::default();
    let mut links_before_data = false;
    let mut reader = BytesReader::from_bytes(block);
    while !reader.is_eof() {
        let tag = reader.next_tag(block).map_err(|_| PbError::Malformed("bad field tag"))?;
        match (tag >> 3, tag & 7) {
            (2, WIRE_BYTES) if !links_before_data => {
                let link = reader.read_bytes(block).map_err(|_| PbError::Malformed("truncated link"))?;
                node.links.push(decode_link(link, node.links.len())?);
            }
            (1, WIRE_BYTES) if node.data.is_none() => {
                links_before_data = !node.links.is_empty();
                node.data = Some(reader.read_bytes(block).map_err(|_| PbError::Malformed("truncated data"))?);
            }
            (1, WIRE_BYTES) => return Err(PbError::Malformed("duplicate Data section")),
            (2, WIRE_BYTES) => return Err(PbError::Malformed("duplicate Links section")),
            (1 | 2, _) => return Err(PbError::Malformed("wrong wire type")),
            _ => return Err(PbError::Malformed("unknown field")),
        }
    }
    Ok(node)
}

fn decode_link(bytes: &[u8], index: usize) -> Result<PbLinkRef<'_>, PbError> {
    let malformed = PbError::Malformed;
    let mut reader = BytesReader::from_bytes(bytes);
    let (mut cid, mut name, mut tsize) = (None, None, None);
    while !reader.is_eof() {
        let tag = reader.next_tag(bytes).map_err(|_| malformed("bad field tag in link"))?;
        match (tag >> 3, tag & 7) {
            (1, WIRE_BYTES) if cid.is_none() && name.is_none() && tsize.is_none() => {
                let raw = reader.read_bytes(bytes).map_err(|_| malformed("truncated link hash"))?;
                let parsed = cid_from_bytes(raw)
                    .map_err(|error| PbError::BadLink { index, reason: error.to_string() })?;
                cid = Some(parsed);
            }
            (2, WIRE_BYTES) if name.is_none() && tsize.is_none() => {
                name = Some(reader.read_bytes(bytes).map_err(|_| malformed("truncated link name"))?);
            }
            (3, WIRE_VARINT) if tsize.is_none() => {
                tsize = Some(reader.read_uint64(bytes).map_err(|_| malformed("truncated link size"))?);
            }
            (1..=3, _) => return Err(malformed("link field twice, out of order or of a wrong type")),
            _ => return Err(malformed("unknown link field")),
        }
    }
    Ok(PbLinkRef { cid: cid.ok_or(malformed("link without hash"))?, name, tsize })
}

/// Bytes of a varint.
pub(crate) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length-delimited field.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(out, u64::from(field << 3 | WIRE_BYTES));
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a varint field.
pub(crate) fn put_uint(out: &mut Vec<u8>, field: u32, value: u64) {
    put_varint(out, u64::from(field << 3 | WIRE_VARINT));
    put_varint(out, value);
}

/// Exact encoded size of one link, its field header included: what the `block` size estimation of directories sums.
pub fn link_encoded_len(cid_len: usize, name_len: usize, tsize: u64) -> usize {
    let inner = link_inner_len(cid_len, name_len, Some(name_len), Some(tsize));
    1 + varint_len(inner as u64) + inner
}

fn link_inner_len(cid_len: usize, name_len: usize, name: Option<usize>, tsize: Option<u64>) -> usize {
    1 + varint_len(cid_len as u64)
        + cid_len
        + name.map_or(0, |_| 1 + varint_len(name_len as u64) + name_len)
        + tsize.map_or(0, |tsize| 1 + varint_len(tsize))
}

/// Appends one link field. What is `None` is left out; builders always give name and size, as Kubo does.
pub fn put_link(out: &mut Vec<u8>, cid: &Cid, name: Option<&[u8]>, tsize: Option<u64>) {
    put_link_bytes(out, &cid.to_bytes(), name, tsize);
}

/// Appends one link field whose CID is in binary form already.
pub(crate) fn put_link_bytes(out: &mut Vec<u8>, cid: &[u8], name: Option<&[u8]>, tsize: Option<u64>) {
    let inner = link_inner_len(cid.len(), name.map_or(0, <[u8]>::len), name.map(<[u8]>::len), tsize);
    put_varint(out, u64::from(2_u32 << 3 | WIRE_BYTES));
    put_varint(out, inner as u64);
    put_bytes(out, 1, cid);
    if let Some(name) = name {
        put_bytes(out, 2, name);
    }
    if let Some(tsize) = tsize {
        put_uint(out, 3, tsize);
    }
}

/// Encodes a node canonically: links in the order given, then data.
pub fn encode(node: &PbNodeRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for link in &node.links {
        put_link(&mut out, &link.cid, link.name, link.tsize);
    }
    if let Some(data) = node.data {
        put_bytes(&mut out, 1, data);
    }
    out
}
