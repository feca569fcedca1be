//! Why reading a DAG fails.

use crate::cid::Cid;
use crate::hamt::read::ShardError;
use crate::ipld::DecodeError;
use crate::path::quote;
use crate::pb::PbError;
use crate::unixfs::UnixFsError;

/// Why a DAG cannot be read. Where Kubo has words for it, the words are Kubo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// File bytes were asked of a directory.
    #[error("this dag node is a directory")]
    IsDirectory {
        /// The directory.
        cid: Box<Cid>,
    },
    /// Entries were asked of something that is no directory.
    #[error("merkledag node was not a directory or shard")]
    NotADirectory {
        /// The block.
        cid: Box<Cid>,
    },
    /// Neither dag-pb nor raw: not a file system object.
    #[error("unknown node type")]
    NotUnixFs {
        /// The block.
        cid: Box<Cid>,
    },
    /// A path segment that does not exist.
    #[error("no link named {} under {node}", quote(name))]
    NoLink {
        /// The segment.
        name: String,
        /// The node in which it was looked for.
        node: Box<Cid>,
    },
    /// The last path segment is not a key of its map, or not an index of its list.
    #[error("key not found: {}", quote(key))]
    KeyNotFound {
        /// The segment.
        key: String,
    },
    /// The last path segment asks for a child of something that has none.
    #[error(
        "func called on wrong kind: \"LookupBySegment\" called on a {kind} node (kind: {kind}), \
         but only makes sense on map or list"
    )]
    WrongKind {
        /// IPLD kind of the parent.
        kind: &'static str,
    },
    /// A dag-pb block that does not decode.
    #[error("{cid}: {source}")]
    DagPb {
        /// The block.
        cid: Box<Cid>,
        /// What is wrong.
        source: PbError,
    },
    /// A dag-pb block whose data is not UnixFS.
    #[error("{cid}: {source}")]
    UnixFs {
        /// The block.
        cid: Box<Cid>,
        /// What is wrong.
        source: UnixFsError,
    },
    /// A block of another codec that does not decode, or whose codec is unknown.
    #[error("{cid}: {source}")]
    Ipld {
        /// The block.
        cid: Box<Cid>,
        /// What is wrong.
        source: DecodeError,
    },
    /// A node of a sharded directory that is not sound.
    #[error("{cid}: {source}")]
    Shard {
        /// The block.
        cid: Box<Cid>,
        /// What is wrong.
        source: ShardError,
    },
    /// A UnixFS node that contradicts itself, its parent or the specification.
    #[error("{cid}: invalid unixfs: {reason}")]
    Inconsistent {
        /// The block.
        cid: Box<Cid>,
        /// What is wrong.
        reason: &'static str,
    },
    /// Nested deeper than a limit.
    #[error("{cid}: nested deeper than {limit}")]
    TooDeep {
        /// The block at which the limit was passed.
        cid: Box<Cid>,
        /// The limit, in blocks or directories.
        limit: usize,
    },
    /// The links that still have to be followed do not fit the limit.
    #[error("{cid}: more than {limit} bytes of links are waiting to be followed")]
    TooWide {
        /// The block at which the limit was passed.
        cid: Box<Cid>,
        /// The limit in bytes.
        limit: usize,
    },
    /// An entry name that could lead out of the directory that an archive is unpacked into.
    #[error(
        "unsafe name {} under {node}: UnixFS paths outside the root are not allowed, use CAR instead",
        quote(name)
    )]
    UnsafeName {
        /// The name, as far as it is UTF-8.
        name: String,
        /// The directory.
        node: Box<Cid>,
    },
}

impl ReadError {
    /// Whether the error says that a path does not exist, rather than that data is bad: a gateway's 404.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NoLink { .. } | Self::KeyNotFound { .. } | Self::WrongKind { .. })
    }

    pub(crate) fn inconsistent(cid: &Cid, reason: &'static str) -> Self {
        Self::Inconsistent { cid: Box::new(*cid), reason }
    }
}
