//! The wire format: messages of all four protocols, decoded without copying blocks and encoded without copying large ones.

mod decode;
mod encode;
mod frame;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use cid::Version as CidVersion;
use holdfast_dag::cid::{self, Cid, DIGEST_BYTES_MAX, codec};
use holdfast_dag::hash::{DIGEST_BYTES_MIN, HashKind};
use libp2p::StreamProtocol;

pub use decode::{DecodeError, decode};
pub use encode::encode;
pub use frame::{Assembler, FrameError};

/// Largest message that is read or written, without its length prefix: 4 MiB (Bitswap specification, boxo).
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Entries of a wantlist that are looked at in one message; the rest is ignored. Sixteen times what a peer's list may hold.
pub const ENTRIES_MAX: usize = 16_384;

/// Blocks in one message, at most: what 4 MiB hold of blocks of 256 bytes.
pub const BLOCKS_MAX: usize = 16_384;

/// Presences in one message that are looked at; the rest is ignored.
pub const PRESENCES_MAX: usize = 16_384;

/// A protocol version, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `/ipfs/bitswap/1.2.0`: want-have, HAVE and DONT_HAVE.
    V1_2,
    /// `/ipfs/bitswap/1.1.0`: blocks with the prefix of their CID.
    V1_1,
    /// `/ipfs/bitswap/1.0.0`: bare blocks, which can only be named by a CIDv0.
    V1_0,
    /// `/ipfs/bitswap`: as 1.0.0.
    Plain,
}

impl Version {
    /// All, in the order in which they are offered.
    pub const ALL: [Self; 4] = [Self::V1_2, Self::V1_1, Self::V1_0, Self::Plain];

    /// The name that is negotiated.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_2 => "/ipfs/bitswap/1.2.0",
            Self::V1_1 => "/ipfs/bitswap/1.1.0",
            Self::V1_0 => "/ipfs/bitswap/1.0.0",
            Self::Plain => "/ipfs/bitswap",
        }
    }

    /// The name as libp2p has it.
    pub const fn protocol(self) -> StreamProtocol {
        StreamProtocol::new(self.name())
    }

    /// The version with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.name() == name)
    }

    /// Whether want-have, HAVE and DONT_HAVE exist.
    pub fn has_presence(self) -> bool {
        self == Self::V1_2
    }

    /// Whether blocks come with the prefix of their CID.
    pub fn has_prefix(self) -> bool {
        matches!(self, Self::V1_2 | Self::V1_1)
    }
}

/// What is wanted of a CID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WantType {
    /// To be told whether the peer has it.
    Have,
    /// The block.
    Block,
}

/// A line of a wantlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is about. Never an identity CID.
    pub cid: Cid,
    /// Larger is sooner.
    pub priority: i32,
    /// The want is over.
    pub cancel: bool,
    /// What is wanted.
    pub want_type: WantType,
    /// Whether DONT_HAVE is to be said.
    pub send_dont_have: bool,
}

/// HAVE or DONT_HAVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// What it is about.
    pub cid: Cid,
    /// HAVE, or else DONT_HAVE.
    pub have: bool,
}

/// All of a CID but its digest, which the receiver computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Version of the CID.
    pub version: CidVersion,
    /// Codec.
    pub codec: u64,
    /// Hash function.
    pub hash: HashKind,
    /// Length of the digest in bytes.
    pub digest_len: usize,
}

impl Prefix {
    /// What bare blocks are named by.
    pub const V0: Self =
        Self { version: CidVersion::V0, codec: codec::DAG_PB, hash: HashKind::Sha2_256, digest_len: 32 };

    /// The prefix of a CID, unless its hash function is not known here.
    pub fn of(cid: &Cid) -> Option<Self> {
        let hash = HashKind::from_code(cid.hash().code())?;
        let digest_len = cid.hash().digest().len();
        Some(Self { version: cid.version(), codec: cid.codec(), hash, digest_len })
    }

    /// Whether blocks named like this may come from a peer: no identity, no digest that is too short or too long.
    pub fn is_allowed(&self) -> bool {
        let v0 = self.codec == codec::DAG_PB && self.hash == HashKind::Sha2_256 && self.digest_len == 32;
        self.hash != HashKind::Identity
            && (DIGEST_BYTES_MIN..=DIGEST_BYTES_MAX).contains(&self.digest_len)
            && (self.version == CidVersion::V1 || v0)
    }

    /// Hashes a block and names it. Nothing if the function gives fewer bytes than the prefix wants.
    pub fn cid_of(&self, data: &[u8]) -> Option<Cid> {
        let whole = self.hash.digest(&[data]);
        let digest = whole.digest().get(..self.digest_len)?;
        let multihash = cid::Multihash::wrap(whole.code(), digest).ok()?;
        match self.version {
            CidVersion::V0 => Cid::new_v0(multihash).ok(),
            CidVersion::V1 => Some(Cid::new_v1(self.codec, multihash)),
        }
    }
}

/// A block as it travels: a slice of the message that it came in, not hashed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// How to name it.
    pub prefix: Prefix,
    /// Its bytes.
    pub data: Bytes,
}

/// A message in either direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Changes to the sender's wantlist, or all of it.
    pub entries: Vec<Entry>,
    /// Whether `entries` replace what was there.
    pub full: bool,
    /// Blocks.
    pub blocks: Vec<Payload>,
    /// HAVE and DONT_HAVE.
    pub presences: Vec<Presence>,
    /// Bytes that the sender still has in its queue for the receiver.
    pub pending_bytes: u32,
    /// Parts that were left out on decoding: identity CIDs, names that are not acceptable, and what is over a limit.
    pub skipped: usize,
}

impl Message {
    /// Bytes of its blocks.
    pub fn block_bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.data.len()).sum()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.full && self.blocks.is_empty() && self.presences.is_empty()
    }
}
