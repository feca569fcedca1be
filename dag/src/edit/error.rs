//! Why an edit fails.

use crate::cid::Cid;
use crate::import::{ImportError, SinkError};
use crate::read::ReadError;

/// Why an edit failed. Nothing that existed was changed, and new blocks are of no use without a root.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The source does not have a block that the edit needs. Get it, and run the same edit again.
    #[error("ipld: could not find {cid}")]
    Missing {
        /// The block.
        cid: Box<Cid>,
    },
    /// The source failed.
    #[error("{cid}: {source}")]
    Source {
        /// The block that was asked for.
        cid: Box<Cid>,
        /// What it said.
        source: SinkError,
    },
    /// A block is not what its place in the DAG asks for.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Entries were to be changed in something that has none.
    #[error("merkledag node was not a directory or shard")]
    NotADirectory {
        /// The block.
        cid: Box<Cid>,
    },
    /// Bytes were to be changed in something that is no file.
    #[error("unsupported fsnode type for 'file'")]
    NotAFile {
        /// The block.
        cid: Box<Cid>,
    },
    /// Bytes were to be changed in a symbolic link.
    #[error("symlinks not yet supported")]
    Symlink {
        /// The block.
        cid: Box<Cid>,
    },
    /// An entry without a name.
    #[error("cannot create file with empty name")]
    EmptyName,
    /// The directories on the way to an entry are not there.
    #[error("file does not exist")]
    NoParent,
    /// The node is named by a hash function that this library does not compute.
    #[error("{cid}: its hash function cannot be used for new blocks")]
    Hash {
        /// The block.
        cid: Box<Cid>,
    },
    /// A file would have more bytes than can be counted.
    #[error("the file would be larger than 2^63 bytes")]
    TooLarge,
    /// What was to be written could not be read.
    #[error("{0}")]
    Input(#[source] std::io::Error),
    /// Whoever takes the new blocks failed.
    #[error("cannot store: {0}")]
    Sink(#[source] SinkError),
    /// A directory could not be built.
    #[error(transparent)]
    Build(#[from] ImportError),
}
