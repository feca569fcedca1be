//! `add`: files, trees and streams to UnixFS DAGs, durably.
//!
//! What a caller sees is a stream of [`AddEvent`]s in Kubo's order: a file's progress, the file; when all files of a
//! top-level entry are done, its directories, the deepest first and its root last. The event of a root, and what
//! follows it, is held back until everything is synced and pinned (as long as fewer than 65,536 events wait).
//!
//! **What cannot be read** is named by an [`AddEvent::Unreadable`] and left out; the rest is added and pinned, roots
//! are reported, and the stream ends with [`AddError::Unreadable`] that counts them. Nothing partial is pinned
//! without that error. (Kubo stops at the first.)
//!
//! **Cancelling**: dropping the stream ends the add before it pins anything. The blocks stored so far are kept, so a
//! second run is fast, until a garbage collection takes them.

mod children;
mod disk;
mod engine;
mod small;
mod source;
mod tree;

use std::sync::Arc;

use holdfast_blockstore::WriteError;
use holdfast_dag::cid::Cid;
use holdfast_dag::import::{FileMeta, ImportError, ImportParams};
use holdfast_dag::unixfs::Mtime;

pub use disk::{DiskSource, Root, WalkOptions, measure};
pub use source::{Body, Entry, Found, Source, SourceError, Unreadable};

use super::Unixfs;
use crate::pool::{Cancelled, OperationStream, PoolError};

/// Events that wait for a slow consumer before the add does.
const EVENTS_BUFFERED: usize = 1024;

/// How entries are added.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct AddOptions {
    /// Shape and names of the DAG. Default: Kubo's `unixfs-v0-2015`.
    pub import: ImportParams,
    /// Compute CIDs only; store and pin nothing. Default: no.
    pub only_hash: bool,
    /// Pin each root recursively. Default: yes.
    pub pin: bool,
    /// Name of these pins, at most 255 bytes. Default: none.
    pub pin_name: String,
    /// Put all top-level entries into one directory, which is then the only root. Default: no.
    pub wrap: bool,
    /// Add directories with nothing in them; a root is added always. Default: yes.
    pub empty_dirs: bool,
    /// Store the mode of each entry. Default: no.
    pub preserve_mode: bool,
    /// Store the modification time of each entry. Default: no.
    pub preserve_mtime: bool,
    /// Store this mode with every file and directory, unless the entry's own is preserved. Default: none.
    pub mode: Option<u32>,
    /// Store this modification time with every entry, unless the entry's own is preserved. Default: none.
    pub mtime: Option<Mtime>,
    /// Give [`AddEvent::Progress`]. Default: no.
    pub progress: bool,
    /// Link each top-level entry into the mutable file system: into the directory at this path if it ends with a slash
    /// (an empty path is the root), else to the path itself, which takes one entry. Default: no.
    pub to_files: Option<String>,
}

impl Default for AddOptions {
    fn default() -> Self {
        Self {
            import: ImportParams::default(),
            only_hash: false,
            pin: true,
            pin_name: String::new(),
            wrap: false,
            empty_dirs: true,
            preserve_mode: false,
            preserve_mtime: false,
            mode: None,
            mtime: None,
            progress: false,
            to_files: None,
        }
    }
}

impl AddOptions {
    /// What is stored with an entry besides its content.
    fn meta(&self, mode: Option<u32>, mtime: Option<Mtime>) -> FileMeta {
        FileMeta {
            mode: if self.preserve_mode { mode } else { self.mode },
            mtime: if self.preserve_mtime { mtime } else { self.mtime },
        }
    }
}

/// What happens during an add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddEvent {
    /// Bytes of a file read so far: every 256 KiB or more, and at its end.
    Progress {
        /// Path of the file below its top-level entry, whose name comes first.
        name: String,
        /// Bytes read so far.
        bytes: u64,
    },
    /// An entry is complete.
    Added(Added),
    /// An entry is left out.
    Unreadable(Unreadable),
}

/// A completed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Path of the entry below its top-level entry, whose name comes first; empty for the wrapping directory. What
    /// is not UTF-8 is replaced.
    pub name: String,
    /// Its root block.
    pub cid: Cid,
    /// Bytes of all blocks of its DAG, as a link to it states them.
    pub size: u64,
    /// Mode of the top-level entry it belongs to, as the source gave it.
    pub mode: Option<u32>,
    /// Modification time of the top-level entry it belongs to, as the source gave it.
    pub mtime: Option<Mtime>,
}

/// Why an add failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An entry could not be turned into blocks.
    #[error(transparent)]
    Import(Arc<ImportError>),
    /// The store could not write.
    #[error(transparent)]
    Store(Arc<WriteError>),
    /// Two entries of a directory have the same name.
    #[error("directory already has entry by that name")]
    Duplicate,
    /// There was nothing to add.
    #[error("expected a file argument")]
    Nothing,
    /// Entries come in any order, so that all directories stay open to the end, and those are too many.
    #[error(
        "the directories of this upload take more than {} MiB of memory until its end: add the tree in parts, or as a CAR file \
         with dag import",
        bytes_max >> 20
    )]
    TooManyEntries {
        /// What they may take.
        bytes_max: usize,
    },
    /// The rest was added, but not these.
    #[error("{count} {} could not be read: {first}", if *.count == 1 { "entry" } else { "entries" })]
    Unreadable {
        /// How many entries were left out.
        count: u64,
        /// What the first of them failed with.
        first: String,
    },
    /// It was added and pinned, but not linked into the mutable file system.
    #[error("{0}")]
    ToFiles(String),
    /// The consumer of the events went away.
    #[error("add was cancelled")]
    Cancelled,
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<Cancelled> for AddError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl From<ImportError> for AddError {
    fn from(error: ImportError) -> Self {
        Self::Import(Arc::new(error))
    }
}

impl From<WriteError> for AddError {
    fn from(error: WriteError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// The events of an add. Nothing is read before it is first polled; when it has ended without an error, everything
/// that it reported is durable (with the exceptions of `only_hash`).
pub type AddStream = OperationStream<AddEvent, AddError>;

impl Unixfs {
    /// Adds everything that a source gives.
    pub fn add(&self, source: impl Source + 'static, options: AddOptions) -> AddStream {
        let node = self.node.clone();
        self.node.pool().stream(EVENTS_BUFFERED, move |output| engine::run(&node, source, &options, output))
    }
}
