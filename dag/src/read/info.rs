//! What one block says about the object that it is the root of.

use super::error::ReadError;
use crate::cid::{Cid, codec};
use crate::pb::{self, PbNodeRef};
use crate::unixfs::{Mtime, NodeType, UnixFs};

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A UnixFS file, or a part of one.
    File,
    /// A UnixFS directory in one block.
    Directory,
    /// A node of a sharded UnixFS directory.
    HamtShard,
    /// A symbolic link.
    Symlink,
    /// A block of codec raw: bytes, and a file of its own.
    Raw,
    /// A block of another codec, by its multicodec code; no UnixFS.
    Other(u64),
}

impl NodeKind {
    /// Whether its bytes can be read: a file or a raw block.
    pub fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Raw)
    }

    /// Whether it has entries: a directory, sharded or not.
    pub fn is_directory(self) -> bool {
        matches!(self, Self::Directory | Self::HamtShard)
    }
}

/// A description of a block: nothing in it was fetched from anywhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// What it is.
    pub kind: NodeKind,
    /// Bytes of the file; the length of a link's target; 0 for directories and other codecs.
    pub filesize: u64,
    /// Bytes of the block itself.
    pub block_bytes: u64,
    /// Bytes of the block and of all below it, as the links claim (`Tsize`): a hint, not a fact.
    pub cumulative_bytes: u64,
    /// Links of a dag-pb block; 0 for other codecs.
    pub links: usize,
    /// Permission bits (the low 12), where recorded.
    pub mode: Option<u32>,
    /// Modification time, where recorded.
    pub mtime: Option<Mtime>,
    /// Target of a symbolic link; bytes, because UnixFS does not promise UTF-8.
    pub target: Option<Vec<u8>>,
}

impl NodeInfo {
    /// Describes a block. Fails for dag-pb that is not UnixFS, and for sizes that contradict each other.
    pub fn of(cid: &Cid, block: &[u8]) -> Result<Self, ReadError> {
        let block_bytes = block.len() as u64;
        let mut info = Self {
            kind: NodeKind::Raw,
            filesize: 0,
            block_bytes,
            cumulative_bytes: block_bytes,
            links: 0,
            mode: None,
            mtime: None,
            target: None,
        };
        match cid.codec() {
            codec::RAW => info.filesize = block_bytes,
            codec::DAG_PB => info.describe(&UnixFsNode::decode(cid, block)?, cid)?,
            other => info.kind = NodeKind::Other(other),
        }
        Ok(info)
    }

    fn describe(&mut self, node: &UnixFsNode<'_>, cid: &Cid) -> Result<(), ReadError> {
        self.links = node.pb.links.len();
        self.mode = node.fs.mode.map(|mode| mode & 0o7777);
        self.mtime = node.fs.mtime;
        let sizes = node.pb.links.iter().map(|link| link.tsize.unwrap_or(0));
        self.cumulative_bytes = sizes.fold(self.block_bytes, u64::saturating_add);
        self.kind = match node.fs.kind {
            NodeType::Raw | NodeType::File => {
                self.filesize = node.file_bytes(cid)?;
                NodeKind::File
            }
            NodeType::Directory => NodeKind::Directory,
            NodeType::HamtShard => NodeKind::HamtShard,
            NodeType::Symlink => {
                let target = node.link_target(cid)?.to_vec();
                self.filesize = target.len() as u64;
                self.target = Some(target);
                NodeKind::Symlink
            }
            NodeType::Metadata => return Err(ReadError::inconsistent(cid, "obsolete type Metadata")),
        };
        Ok(())
    }
}

/// A decoded dag-pb block with the UnixFS message in it.
pub(crate) struct UnixFsNode<'a> {
    pub(crate) pb: PbNodeRef<'a>,
    pub(crate) fs: UnixFs<'a>,
}

impl<'a> UnixFsNode<'a> {
    /// Decodes a block whose codec is dag-pb.
    pub(crate) fn decode(cid: &Cid, block: &'a [u8]) -> Result<Self, ReadError> {
        let pb = decode_pb(cid, block)?;
        let fs = UnixFs::decode(pb.data.unwrap_or_default())
            .map_err(|source| ReadError::UnixFs { cid: Box::new(*cid), source })?;
        Ok(Self { pb, fs })
    }

    /// The file bytes that lie in this very block.
    pub(crate) fn inline(&self) -> &'a [u8] {
        self.fs.data.unwrap_or_default()
    }

    /// Bytes of the file below this node, after checking that the block agrees with itself about them.
    pub(crate) fn file_bytes(&self, cid: &Cid) -> Result<u64, ReadError> {
        let wrong = |reason| Err(ReadError::inconsistent(cid, reason));
        if self.pb.links.len() != self.fs.blocksizes.len() {
            return wrong("not one blocksize a link");
        }
        if self.pb.links.iter().any(|link| !link.name().is_empty()) {
            return wrong("a part of a file has a name");
        }
        let sizes = self.fs.blocksizes.iter();
        let sum = sizes.copied().try_fold(self.inline().len() as u64, u64::checked_add);
        match (sum, self.fs.filesize) {
            (None, _) => wrong("blocksizes over 2^64"),
            (Some(sum), Some(claimed)) if sum != claimed => wrong("filesize is not the sum of its parts"),
            (Some(sum), _) => Ok(sum),
        }
    }

    /// Target of a symbolic link.
    pub(crate) fn link_target(&self, cid: &Cid) -> Result<&'a [u8], ReadError> {
        if self.pb.links.is_empty() {
            Ok(self.inline())
        } else {
            Err(ReadError::inconsistent(cid, "a symbolic link has links"))
        }
    }
}

/// Decodes a dag-pb block.
pub(crate) fn decode_pb<'a>(cid: &Cid, block: &'a [u8]) -> Result<PbNodeRef<'a>, ReadError> {
    pb::decode(block).map_err(|source| ReadError::DagPb { cid: Box::new(*cid), source })
}
