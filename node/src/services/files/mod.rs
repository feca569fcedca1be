//! The mutable file system (MFS): one tree of directories and files a node, whose root moves as it is changed.
//!
//! Everything is a UnixFS DAG. A change copies the path that it concerns and gives a new root; who reads sees the
//! root that was there when it began, whole. Changes are made one after the other under a lock that is held for the
//! edit alone, in memory and on blocks that are here; neither the sync of the disk, nor the input of a `write`, nor a
//! block that has to be fetched is waited for under it. Changes that end at about the same time are made durable by
//! one commit.
//!
//! A flushed change (the default) is durable when it returns: its blocks and the new root are committed together, so a
//! crash leaves the tree before it or after it. An unflushed one is seen by all readers at once and kept from garbage
//! collection, and becomes durable with the next flushed one, [`Files::flush`], or the close of the node; a crash
//! before that leaves the last flushed tree. `docs/mfs.md` has the details.

mod added;
mod change;
mod entries;
mod error;
mod gate;
mod path;
mod read;
mod roots;
mod rules;
mod source;
mod state;
mod write;

use crate::node::Node;

pub use entries::{CopyOptions, MkdirOptions};
pub use error::FilesError;
pub use path::{MfsPath, PathError};
pub use read::{FilesEntry, FilesStat, Locality};
pub use roots::RootChange;
pub use write::WriteOptions;

pub(crate) use added::{AddedRoot, ToFiles};
pub(crate) use roots::{forget_previous, recorded_fault};
pub(crate) use state::State;
pub(crate) use write::now;

/// Unflushed changes in a row that are accepted, where `Internal.MFSNoFlushLimit` says nothing (Kubo).
pub const UNFLUSHED_MAX: u64 = 256;

/// The mutable file system of a node.
#[derive(Debug, Clone)]
pub struct Files {
    node: Node,
}

impl Node {
    /// The mutable file system.
    pub fn files(&self) -> Files {
        Files { node: self.clone() }
    }
}
