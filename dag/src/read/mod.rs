//! Reading DAGs: what blocks say about themselves, and walkers that turn them into files, listings and archives.
//!
//! All readers are sans-IO [`Walker`](crate::walk::Walker)s. [`FileReader`] gives bytes, [`DirReader`] entries,
//! [`Resolver`] follows a path, [`Refs`] lists links, [`DagWalk`] gives every block once, [`FileBlocks`] and [`ShardBlocks`] those of one file or directory, [`TarReader`] an archive.
//! [`NodeInfo`] describes one block.
//!
//! # Limits
//! A file is at most [`FILE_DEPTH_MAX`] blocks deep, an archive at most [`ARCHIVE_DEPTH_MAX`] directories. What a
//! walker holds is bounded by [`HELD_BYTES_MAX`] for the links on the way to its position, plus the caller's window.
//! Time is bounded by output: a DAG of few blocks that unfolds to 2^60 bytes is read as long as the caller likes.

mod dag_walk;
mod dir;
mod entity;
mod error;
mod file;
mod info;
mod ipld;
mod links;
mod ordered;
mod refs;
mod resolve;
mod tar;
mod typical;
mod visited;
mod window;

#[cfg(test)]
mod tests;

pub use dag_walk::DagWalk;
pub use dir::{DirEntry, DirReader};
pub use entity::{FileBlocks, ShardBlocks};
pub use error::ReadError;
pub use file::{FILE_DEPTH_MAX, FileReader};
pub(crate) use info::UnixFsNode;
pub use info::{NodeInfo, NodeKind};
pub use ordered::HELD_BYTES_MAX;
pub use refs::{Ref, Refs, RefsOptions};
pub use resolve::{Namespace, Resolved, Resolver};
pub use tar::{ARCHIVE_DEPTH_MAX, ARCHIVE_PATH_BYTES_MAX, TarOptions, TarReader};
