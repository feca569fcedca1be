//! Why an operation on the mutable file system fails. Where Kubo has words, they are Kubo's.

use std::sync::Arc;

use holdfast_blockstore::{ReadError as StoreError, WriteError};
use holdfast_dag::cid::Cid;
use holdfast_dag::edit::EditError;
use holdfast_dag::read::ReadError;

use super::path::PathError;
use crate::config::{ImportConfigError, ImportFlagError, ValueError};
use crate::fetch::FetchError;
use crate::pool::PoolError;
use crate::services::unixfs::{CatError, LsError};

/// Why an operation on the mutable file system failed. Nothing of it is kept then, unless a variant says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// Not a path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Nothing is there.
    #[error("file does not exist")]
    NotExist,
    /// A directory was to be made where something is.
    #[error("file already exists")]
    Exists,
    /// Something was to be put where something is.
    #[error("directory already has entry by that name")]
    EntryExists,
    /// The path goes through something that is no directory.
    #[error("cannot access {0}: Not a directory")]
    NotADirectoryOnTheWay(String),
    /// Something that is used as a directory is none.
    #[error("{0} is not a directory")]
    NotADirectory(String),
    /// A directory was to be made below something that is none.
    #[error("{0} was not a directory")]
    WasNotADirectory(String),
    /// What an entry was to be put into is no directory.
    #[error("expected *mfs.Directory, didn't get it. This is likely a race condition")]
    ParentNotADirectory,
    /// Bytes are asked of something that is no file.
    #[error("{0} was not a file")]
    NotAFile(String),
    /// Something was to be replaced in what is no directory.
    #[error("not a directory: {0}")]
    NotADirectoryAbove(String),
    /// What is to be overwritten is no file.
    #[error("not a file: {0}")]
    NotOverwritable(String),
    /// Bytes are asked of something that has none.
    #[error("unsupported fsnode type for 'file'")]
    NoBytes,
    /// Bytes are asked of a symbolic link.
    #[error("symlinks not yet supported")]
    Symlink,
    /// The entry has no name.
    #[error("cannot create file with empty name")]
    EmptyName,
    /// The root is there already.
    #[error("cannot create directory '/': Already exists")]
    RootExists,
    /// The root stays.
    #[error("cannot delete root")]
    DeleteRoot,
    /// A directory is only removed with all that is in it.
    #[error("path is a directory, use -r to remove directories")]
    IsDirectory,
    /// How the root is named is for the config to say.
    #[error(
        "cannot change CID format of the MFS root; use 'ipfs config Import.CidVersion' and 'ipfs config \
         Import.HashFunction' instead"
    )]
    RootFormat,
    /// Only directories can be named otherwise.
    #[error("can only update directories")]
    OnlyDirectories,
    /// A directory cannot go into itself.
    #[error("cannot move {from} to {to}: a directory cannot be moved into itself")]
    IntoItself {
        /// The directory.
        from: String,
        /// Where it was to go.
        to: String,
    },
    /// A file was written while its path got something else. Nothing of the write is kept.
    #[error("{0} was changed by someone else while it was being written: nothing of this write was kept")]
    ChangedMeanwhile(String),
    /// Too many unflushed changes in a row.
    #[error(
        "reached limit of {0} unflushed MFS operations. To resolve: 1) run 'ipfs files flush' to persist changes, \
         2) use --flush=true (default), or 3) increase Internal.MFSNoFlushLimit in config"
    )]
    UnflushedLimit(u64),
    /// The read begins behind the end.
    #[error("offset was past end of file ({offset} > {size})")]
    PastEnd {
        /// Where it was to begin.
        offset: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// A new root that is no directory of this node.
    #[error("{0}")]
    BadRoot(String),
    /// A block that is not here: fetched, and the operation run again.
    #[error("block was not found locally (offline): ipld: could not find {0}")]
    Missing(Box<Cid>),
    /// So many blocks are missing that one operation should not fetch them.
    #[error("more than {0} blocks are missing here: fetch the DAG first, with 'pin add' or 'refs -r'")]
    TooManyMissing(usize),
    /// Config or options do not give a DAG.
    #[error(transparent)]
    Config(#[from] ImportConfigError),
    /// The same.
    #[error(transparent)]
    Flags(#[from] ImportFlagError),
    /// A value of the config has the wrong type.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// A block is not sound.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An edit failed.
    #[error(transparent)]
    Edit(Arc<EditError>),
    /// A block could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The store could not be read.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The store could not write.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A file cannot be read.
    #[error(transparent)]
    Cat(#[from] CatError),
    /// A directory cannot be listed.
    #[error(transparent)]
    Ls(#[from] LsError),
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<EditError> for FilesError {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Missing { cid } => Self::Missing(cid),
            EditError::NoParent => Self::NotExist,
            EditError::EmptyName => Self::EmptyName,
            EditError::Symlink { .. } => Self::Symlink,
            EditError::NotAFile { .. } => Self::NoBytes,
            other => Self::Edit(Arc::new(other)),
        }
    }
}

impl From<StoreError> for FilesError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}
