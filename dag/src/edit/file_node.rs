//! A node of a file in memory.

use bytes::Bytes;

use super::EditError;
use super::overlay::{Link, Overlay, builder_of};
use crate::cid::{Cid, CidBuilder, codec};
use crate::pb::{put_bytes, put_link};
use crate::read::{ReadError, UnixFsNode};
use crate::unixfs::{Mtime, NodeType, UnixFs};

/// A child of a file node.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileLink {
    pub(super) link: Link,
    /// File bytes below it.
    pub(super) size: u64,
}

/// A dag-pb node of a file: bytes of its own, then children. About 180 bytes a link.
#[derive(Debug, Clone)]
pub(super) struct FileNode {
    pub(super) builder: CidBuilder,
    kind: NodeType,
    pub(super) data: Option<Bytes>,
    pub(super) links: Vec<FileLink>,
    pub(super) mode: Option<u32>,
    pub(super) mtime: Option<Mtime>,
}

/// What a block of a file is.
pub(super) enum Part {
    Raw(Bytes),
    Node(FileNode),
}

impl Part {
    /// Loads a part of a file.
    pub(super) fn load(overlay: &Overlay<'_>, cid: &Cid) -> Result<Self, EditError> {
        let block = overlay.get(cid)?;
        match cid.codec() {
            codec::RAW => Ok(Self::Raw(block)),
            codec::DAG_PB => FileNode::decode(cid, &block).map(Self::Node),
            _ => Err(ReadError::NotUnixFs { cid: Box::new(*cid) }.into()),
        }
    }

    /// File bytes in it and below.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Raw(data) => data.len() as u64,
            Self::Node(node) => node.size(),
        }
    }

    /// Writes a changed part; `cid` is what it was called before.
    pub(super) fn write(&self, overlay: &mut Overlay<'_>, cid: &Cid) -> Result<Link, EditError> {
        Ok(match self {
            Self::Raw(data) => {
                let tsize = data.len() as u64;
                Link { cid: overlay.add(builder_of(cid)?, codec::RAW, data.clone()), tsize }
            }
            Self::Node(node) => node.write(overlay),
        })
    }
}

impl FileNode {
    /// A file node without anything.
    pub(super) fn new(builder: CidBuilder) -> Self {
        Self { builder, kind: NodeType::File, data: None, links: Vec::new(), mode: None, mtime: None }
    }

    /// A file of one node that holds its bytes.
    pub(super) fn with_data(builder: CidBuilder, data: Bytes) -> Self {
        Self { data: Some(data).filter(|data| !data.is_empty()), ..Self::new(builder) }
    }

    /// A file node over one child.
    pub(super) fn with_child(builder: CidBuilder, link: Link, size: u64) -> Self {
        Self { links: vec![FileLink { link, size }], ..Self::new(builder) }
    }

    fn decode(cid: &Cid, block: &Bytes) -> Result<Self, EditError> {
        let node = UnixFsNode::decode(cid, block)?;
        match node.fs.kind {
            NodeType::File | NodeType::Raw => {}
            NodeType::Symlink => return Err(EditError::Symlink { cid: Box::new(*cid) }),
            _ => return Err(EditError::NotAFile { cid: Box::new(*cid) }),
        }
        // The sizes are relied on below: they have to agree with each other.
        node.file_bytes(cid)?;
        let links = node.pb.links.iter().zip(&node.fs.blocksizes).map(|(link, size)| FileLink {
            link: Link { cid: link.cid, tsize: link.tsize.unwrap_or(0) },
            size: *size,
        });
        Ok(Self {
            builder: builder_of(cid)?,
            kind: node.fs.kind,
            data: node.fs.data.map(|data| block.slice_ref(data)),
            links: links.collect(),
            mode: node.fs.mode,
            mtime: node.fs.mtime,
        })
    }

    /// Bytes of its own.
    pub(super) fn own_bytes(&self) -> u64 {
        self.data.as_ref().map_or(0, |data| data.len() as u64)
    }

    /// File bytes in it and below. It was checked that they can be counted.
    pub(super) fn size(&self) -> u64 {
        self.links.iter().fold(self.own_bytes(), |sum, link| sum.saturating_add(link.size))
    }

    pub(super) fn push(&mut self, link: Link, size: u64) {
        self.links.push(FileLink { link, size });
    }

    /// Whether there are children below, so that it is no leaf.
    pub(super) fn is_inner(&self) -> bool {
        !self.links.is_empty()
    }

    pub(super) fn write(&self, overlay: &mut Overlay<'_>) -> Link {
        let message = UnixFs {
            data: self.data.as_deref(),
            filesize: Some(self.size()),
            blocksizes: self.links.iter().map(|link| link.size).collect(),
            mode: self.mode,
            mtime: self.mtime,
            ..UnixFs::new(self.kind)
        };
        let (mut block, mut tsize) = (Vec::new(), 0_u64);
        for FileLink { link, .. } in &self.links {
            put_link(&mut block, &link.cid, Some(b""), Some(link.tsize));
            tsize = tsize.saturating_add(link.tsize);
        }
        put_bytes(&mut block, 1, &message.encode());
        tsize = tsize.saturating_add(block.len() as u64);
        Link { cid: overlay.add(self.builder, codec::DAG_PB, block), tsize }
    }
}
