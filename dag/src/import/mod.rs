//! Building UnixFS DAGs: files, symbolic links and directories to blocks.
//!
//! Everything streams. A file of any size needs memory for the buffers of its [`ImportPool`] and for depth x fanout
//! links; a directory keeps its entries in compact form and is written out in one pass. Blocks go to a [`BlockSink`]
//! in batches, children before parents.
//!
//! ```
//! use holdfast_dag::import::{BlockSink, FileMeta, ImportParams, ImportPool, SinkError, import_file};
//!
//! struct Count(std::sync::atomic::AtomicUsize);
//! impl BlockSink for Count {
//!     fn put(&self, blocks: Vec<holdfast_dag::block::Block>) -> Result<(), SinkError> {
//!         self.0.fetch_add(blocks.len(), std::sync::atomic::Ordering::Relaxed);
//!         Ok(())
//!     }
//! }
//!
//! let pool = ImportPool::new(2, 64 << 20);
//! let (params, sink) = (ImportParams::unixfs_v0_2015(), Count(0.into()));
//! let mut input = "hello world".as_bytes();
//! let file = import_file(&params, FileMeta::default(), &mut input, None, &pool, &sink, &mut |_| {})?;
//! assert_eq!(file.cid.to_string(), "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD");
//! assert_eq!(sink.0.into_inner(), 1);
//! # Ok::<(), holdfast_dag::import::ImportError>(())
//! ```

mod balanced;
pub(crate) mod batch;
mod directory;
mod draft;
mod entry_list;
mod file;
mod leaf;
mod params;
mod pipeline;
mod pool;
mod trickle;

pub use directory::DirectoryBuilder;
pub use entry_list::EntryList;
pub use file::{INLINE_FILE_BYTES_MAX, import_file};
pub(crate) use leaf::LeafFormat;
pub use params::{FileMeta, HAMT_FANOUT_MAX, ImportParams, Layout, SizeEstimation};
pub use pool::{ImportPool, SLAB_BYTES};

use crate::block::Block;
use crate::cid::{Cid, codec};
use crate::hash::HashPolicyError;
use crate::unixfs::{NodeType, UnixFs};
use batch::{Batch, Naming};

/// What a sink may fail with.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Where blocks go.
///
/// One import calls it from one thread at a time, in the order of the DAG (children first); several imports call it at
/// the same time. Batches of large files have about 4 MiB. The bytes of a block are slices of pooled buffers: who keeps
/// them after `put` returns keeps the buffer, and the pool then works with less or allocates beyond its limit.
pub trait BlockSink: Sync {
    /// Takes a batch. An error ends the import.
    fn put(&self, blocks: Vec<Block>) -> Result<(), SinkError>;
}

/// What came of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Root. It may be an identity CID, whose block went to no sink.
    pub cid: Cid,
    /// Bytes of all blocks below and with the root, as links state it.
    pub tsize: u64,
    /// Bytes of file content; 0 for directories, length of the target for symbolic links.
    pub filesize: u64,
}

/// Why an import failed. Blocks that the sink took before remain there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The input could not be read.
    #[error("cannot read: {0}")]
    Read(#[source] std::io::Error),
    /// The sink refused.
    #[error("cannot store: {0}")]
    Sink(#[source] SinkError),
    /// Parameters that make no DAG.
    #[error("{0}")]
    Params(String),
    /// A block that the hash function cannot name: more than 128 bytes for `identity`.
    #[error(transparent)]
    Hash(#[from] HashPolicyError),
    /// Two names of a sharded directory that their hashes cannot tell apart.
    #[error("sharded directory too deep: the hashes of {0:?} and another name are equal")]
    TooDeep(String),
    /// A hash job was lost; a defect of this library, which ends this import only.
    #[error("a hash worker failed")]
    Worker,
}

/// Imports a symbolic link. Of `meta` only the modification time is stored, as in Kubo.
pub fn import_symlink(
    params: &ImportParams,
    target: &[u8],
    meta: FileMeta,
    sink: &dyn BlockSink,
) -> Result<Imported, ImportError> {
    params.check()?;
    let message = UnixFs { data: Some(target), mtime: meta.mtime, ..UnixFs::new(NodeType::Symlink) };
    let mut block = Vec::with_capacity(target.len() + 40);
    crate::pb::put_bytes(&mut block, 1, &message.encode());
    let (mut batch, tsize) = (Batch::default(), block.len() as u64);
    let cid = batch.add(&Naming::of(params), codec::DAG_PB, block)?;
    batch.put(sink)?;
    Ok(Imported { cid, tsize, filesize: target.len() as u64 })
}

#[cfg(test)]
mod tests;
