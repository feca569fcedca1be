//! A block: bytes and the CID that names them.

use bytes::{Bytes, BytesMut};

use crate::cid::{Cid, identity_data};
use crate::hash::{self, HashPolicyError};

/// Largest block that is exchanged or accepted by default: 2 MiB (Bitswap and `block put` in Kubo).
pub const BLOCK_BYTES_MAX: usize = 2 << 20;

/// Capacity of a [`Frame`]: what a dag-pb leaf has before or after its data fits in well.
const FRAME_BYTES_MAX: usize = 40;

/// A few bytes held inline, in front of or behind a body.
#[derive(Clone, Copy)]
struct Frame {
    len: u8,
    bytes: [u8; FRAME_BYTES_MAX],
}

impl Frame {
    fn new(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; FRAME_BYTES_MAX];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self { len: from.len() as u8, bytes })
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// The bytes of a block in up to three parts, so that framing a chunk as dag-pb copies nothing.
#[derive(Clone)]
pub struct BlockBytes {
    head: Frame,
    body: Bytes,
    tail: Frame,
}

impl BlockBytes {
    /// A body between a head and a tail. Frames that do not fit inline (40 bytes) cost a copy.
    pub fn framed(head: &[u8], body: Bytes, tail: &[u8]) -> Self {
        match (Frame::new(head), Frame::new(tail)) {
            (Some(head), Some(tail)) => Self { head, body, tail },
            _ => [head, &body, tail].concat().into(),
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        usize::from(self.head.len) + self.body.len() + usize::from(self.tail.len)
    }

    /// Whether the block has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts in order; each may be empty. For hashing and vectored writes.
    pub fn parts(&self) -> [&[u8]; 3] {
        [self.head.as_slice(), &self.body, self.tail.as_slice()]
    }

    /// The bytes in one piece: free when there is no framing, a copy otherwise.
    pub fn to_bytes(&self) -> Bytes {
        if self.head.len == 0 && self.tail.len == 0 {
            return self.body.clone();
        }
        let mut joined = BytesMut::with_capacity(self.len());
        for part in self.parts() {
            joined.extend_from_slice(part);
        }
        joined.freeze()
    }
}

impl From<Bytes> for BlockBytes {
    fn from(body: Bytes) -> Self {
        let none = Frame { len: 0, bytes: [0; FRAME_BYTES_MAX] };
        Self { head: none, body, tail: none }
    }
}

impl From<Vec<u8>> for BlockBytes {
    fn from(body: Vec<u8>) -> Self {
        Bytes::from(body).into()
    }
}

impl std::fmt::Debug for BlockBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockBytes({} bytes)", self.len())
    }
}

/// A CID and the bytes it names. [`Block::verified`] checks that they belong together.
#[derive(Debug, Clone)]
pub struct Block {
    /// Name.
    pub cid: Cid,
    /// Content.
    pub data: BlockBytes,
}

/// Why bytes are not the block that a CID names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The digest differs.
    #[error("block {cid} does not match its hash")]
    Mismatch {
        /// The CID that was asked for.
        cid: Box<Cid>,
    },
    /// The hash function is unknown or not allowed.
    #[error(transparent)]
    Policy(#[from] HashPolicyError),
}

impl Block {
    /// A block whose CID was computed from these very bytes.
    pub fn trusted(cid: Cid, data: impl Into<BlockBytes>) -> Self {
        Self { cid, data: data.into() }
    }

    /// A block from outside: hashed, and refused if the digest differs or its function is not allowed.
    pub fn verified(cid: Cid, data: impl Into<BlockBytes>) -> Result<Self, VerifyError> {
        let data = data.into();
        hash::verify(&cid, &data.parts())?;
        Ok(Self { cid, data })
    }

    /// The block of an identity CID, which carries its own bytes.
    pub fn of_identity(cid: &Cid) -> Option<Self> {
        identity_data(cid).map(|data| Self { cid: *cid, data: Bytes::copy_from_slice(data).into() })
    }
}
