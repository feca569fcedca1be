//! Inner nodes of files while they are filled.

use crate::cid::{Cid, codec};
use crate::pb::{put_bytes, put_link};
use crate::unixfs::{NodeType, UnixFs};

use super::batch::{Batch, Naming};
use super::{FileMeta, ImportError, Imported};

/// A finished subtree, as its parent sees it.
pub(crate) type Child = Imported;

/// An inner node that is being filled. Links are kept encoded: about 50 bytes each.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    links: Vec<u8>,
    blocksizes: Vec<u64>,
    filesize: u64,
    tsize: u64,
}

impl Draft {
    pub(crate) fn count(&self) -> usize {
        self.blocksizes.len()
    }

    pub(crate) fn push(&mut self, child: &Child) {
        put_link(&mut self.links, &child.cid, Some(b""), Some(child.tsize));
        self.blocksizes.push(child.filesize);
        self.filesize += child.filesize;
        self.tsize += child.tsize;
    }

    /// Encodes and names the node, and leaves an empty draft that keeps its memory.
    pub(crate) fn close(
        &mut self,
        meta: FileMeta,
        naming: &Naming,
        batch: &mut Batch,
    ) -> Result<Child, ImportError> {
        let message = UnixFs {
            filesize: Some(self.filesize),
            blocksizes: std::mem::take(&mut self.blocksizes),
            mode: meta.mode_bits(),
            mtime: meta.mtime,
            ..UnixFs::new(NodeType::File)
        };
        let data = message.encode();
        let mut block = Vec::with_capacity(self.links.len() + data.len() + 8);
        block.extend_from_slice(&self.links);
        put_bytes(&mut block, 1, &data);
        let tsize = self.tsize + block.len() as u64;
        let child = Child { cid: batch.add(naming, codec::DAG_PB, block)?, tsize, filesize: self.filesize };
        self.blocksizes = message.blocksizes;
        self.blocksizes.clear();
        self.links.clear();
        (self.filesize, self.tsize) = (0, 0);
        Ok(child)
    }
}

/// A layout that takes leaves in order and gives the root at the end.
pub(crate) trait LayoutBuilder: Send {
    /// Takes the next leaf.
    fn add(&mut self, leaf: &Child, naming: &Naming, batch: &mut Batch) -> Result<(), ImportError>;

    /// Closes whatever is open. The balanced layout needs at least one leaf, an empty one if need be.
    fn finish(
        self: Box<Self>,
        meta: FileMeta,
        naming: &Naming,
        batch: &mut Batch,
    ) -> Result<Child, ImportError>;
}

/// The CID of a leaf, its own size, and how much of the file it holds.
pub(crate) fn leaf(cid: Cid, block_bytes: usize, chunk_bytes: u64) -> Child {
    Child { cid, tsize: block_bytes as u64, filesize: chunk_bytes }
}
