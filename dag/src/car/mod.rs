//! Content-addressed archives (CAR): writing version 1, reading versions 1 and 2.
//!
//! An archive is a header that names roots, then sections of a length, a CID and a block. Version 2 wraps such an
//! archive between a fixed header and an index; the index is skipped. The reader is sans-IO: it is given bytes as
//! they come and gives blocks as slices of them. It checks form, not hashes: that is
//! [`Block::verified`](crate::block::Block::verified).
//!
//! ```
//! use bytes::Bytes;
//! use holdfast_dag::car::{CarEvent, CarLimits, CarReader, encode_header, encode_section_head};
//! use holdfast_dag::cid::{CidBuilder, Version, codec};
//! use holdfast_dag::hash::HashKind;
//!
//! let builder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
//! let cid = builder.cid_of(codec::RAW, &[b"block"]);
//! let mut archive = encode_header(&[cid]);
//! archive.extend(encode_section_head(&cid, 5));
//! archive.extend(b"block");
//!
//! let mut reader = CarReader::new(CarLimits::default());
//! reader.push(Bytes::from(archive));
//! reader.finish();
//! assert_eq!(reader.next_event()?, CarEvent::Header { version: 1, roots: vec![cid] });
//! assert_eq!(reader.next_event()?, CarEvent::Block { cid: Box::new(cid), data: Bytes::from("block") });
//! assert_eq!(reader.next_event()?, CarEvent::End);
//! # Ok::<(), holdfast_dag::car::CarError>(())
//! ```

mod header;
mod input;
mod reader;

pub use header::CarHeader;
pub use reader::{CarError, CarEvent, CarLimits, CarReader};

use crate::cid::Cid;
use crate::ipld::dag_cbor::{put_head, put_link, put_string};
use crate::pb::put_varint;

/// The header of a version 1 archive, its length in front.
pub fn encode_header(roots: &[Cid]) -> Vec<u8> {
    let mut body = Vec::new();
    put_head(&mut body, 5, 2);
    put_string(&mut body, 3, b"roots");
    put_head(&mut body, 4, roots.len() as u64);
    for root in roots {
        put_link(&mut body, root);
    }
    put_string(&mut body, 3, b"version");
    put_head(&mut body, 0, 1);
    let mut out = Vec::with_capacity(body.len() + 5);
    put_varint(&mut out, body.len() as u64);
    out.extend_from_slice(&body);
    out
}

/// What comes before a block of `block_len` bytes: the length of the section, and the CID.
pub fn encode_section_head(cid: &Cid, block_len: usize) -> Vec<u8> {
    let cid = cid.to_bytes();
    let mut out = Vec::with_capacity(cid.len() + 5);
    put_varint(&mut out, (cid.len() + block_len) as u64);
    out.extend_from_slice(&cid);
    out
}
