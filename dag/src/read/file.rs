//! File bytes, in order, from any offset.

use bytes::Bytes;

use super::error::ReadError;
use super::info::UnixFsNode;
use super::links::LinkTable;
use super::ordered::{Ordered, Piece, Plan};
use crate::block::BLOCK_BYTES_MAX;
use crate::cid::{Cid, codec};
use crate::unixfs::NodeType;
use crate::walk::{Step, Walker};

/// Deepest file that is read, in blocks from the root to a leaf: 128.
///
/// A balanced file of 2^63 bytes with only two children a node is 46 blocks deep at the default chunk size.
pub const FILE_DEPTH_MAX: usize = 128;

/// What an inner node's block is expected to take: a link and a block size are about 60 bytes.
const INNER_BYTES_ESTIMATE: u64 = 16 << 10;

/// Reads a range of a file.
///
/// Items are slices of the blocks, never copies and never empty. Subtrees outside the range are not asked for, nor
/// are parts that their parent says have no bytes. The file's root may be dag-pb, raw or identity; a symbolic link
/// reads as its target, as `cat` and gateways show it.
///
/// # Errors
/// Directories ([`ReadError::IsDirectory`]), other codecs ([`ReadError::NotUnixFs`]), sizes that lie and children that
/// are no parts of a file ([`ReadError::Inconsistent`]), more than [`FILE_DEPTH_MAX`] levels.
pub struct FileReader {
    walk: Ordered<FilePlan>,
}

impl FileReader {
    /// Reads `length` bytes (`None`: all) from `offset` on. A range that ends behind the file ends with the file.
    pub fn new(root: Cid, offset: u64, length: Option<u64>) -> Self {
        let end = length.map_or(u64::MAX, |length| offset.saturating_add(length));
        let plan = FilePlan { range: FileRange { start: offset, end }, size: None };
        Self { walk: Ordered::new(plan, [FileNode::root(root)]) }
    }

    /// Size of the whole file in bytes, known once the root block was supplied and stepped over.
    pub fn size(&self) -> Option<u64> {
        self.walk.plan().size
    }
}

impl Walker for FileReader {
    type Item = Bytes;
    type Error = ReadError;

    fn wants(&mut self, window_bytes: u64, wants: &mut Vec<Cid>) {
        self.walk.wants(window_bytes, wants);
    }

    fn supply(&mut self, cid: &Cid, block: Bytes) {
        self.walk.supply(cid, block);
    }

    fn step(&mut self) -> Result<Step<Bytes>, ReadError> {
        self.walk.step()
    }
}

/// A part of a file, `start` included, `end` not.
#[derive(Clone, Copy)]
pub(super) struct FileRange {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl FileRange {
    pub(super) const ALL: Self = Self { start: 0, end: u64::MAX };

    /// Whether all of `size` bytes at `position` are in the range.
    pub(super) fn covers(self, position: u64, size: u64) -> bool {
        self.start <= position && position.saturating_add(size) <= self.end
    }

    /// Whether any of `size` bytes at `position` are in the range.
    fn touches(self, position: u64, size: u64) -> bool {
        size > 0 && position < self.end && position.saturating_add(size) > self.start
    }

    /// What of `data`, which lies at `position`, is in the range.
    fn cut(self, position: u64, data: &Bytes) -> Bytes {
        let len = data.len() as u64;
        let from = self.start.saturating_sub(position).min(len);
        let to = self.end.saturating_sub(position).clamp(from, len);
        data.slice(from as usize..to as usize)
    }
}

/// A block of a file.
pub(super) struct FileNode {
    pub(super) cid: Cid,
    /// Where it begins in the file, how large its parent says that it is (the root has none), and its depth.
    position: u64,
    size: Option<u64>,
    depth: usize,
}

impl FileNode {
    pub(super) fn root(cid: Cid) -> Self {
        Self { cid, position: 0, size: None, depth: 0 }
    }

    /// Whether all of it lies in the range, as far as its parent says where it is.
    pub(super) fn is_within(&self, range: FileRange) -> bool {
        self.size.is_some_and(|size| range.covers(self.position, size))
    }

    pub(super) fn estimate(&self) -> u64 {
        match self.size {
            Some(size) if size <= BLOCK_BYTES_MAX as u64 => size,
            _ => INNER_BYTES_ESTIMATE,
        }
    }

    /// Opens the block; gives what of it lies in the range, and the size of the file below it.
    pub(super) fn open(&self, block: &Bytes, range: FileRange) -> Result<(FileRun, u64), ReadError> {
        if self.depth >= FILE_DEPTH_MAX {
            return Err(ReadError::TooDeep { cid: Box::new(self.cid), limit: FILE_DEPTH_MAX });
        }
        let (run, size) = match self.cid.codec() {
            codec::RAW => (FileRun::leaf(range.cut(self.position, block)), block.len() as u64),
            codec::DAG_PB => self.open_pb(block, range)?,
            _ if self.size.is_some() => return Err(self.wrong("a part of a file is neither dag-pb nor raw")),
            _ => return Err(ReadError::NotUnixFs { cid: Box::new(self.cid) }),
        };
        match self.size {
            Some(claimed) if claimed != size => Err(self.wrong("a part is not as large as its parent says")),
            _ => Ok((run, size)),
        }
    }

    fn open_pb(&self, block: &Bytes, range: FileRange) -> Result<(FileRun, u64), ReadError> {
        let node = UnixFsNode::decode(&self.cid, block)?;
        match node.fs.kind {
            NodeType::File | NodeType::Raw => {}
            NodeType::Symlink if self.size.is_none() => {
                let target = block.slice_ref(node.link_target(&self.cid)?);
                let size = target.len() as u64;
                return Ok((FileRun::leaf(range.cut(0, &target)), size));
            }
            NodeType::Directory | NodeType::HamtShard if self.size.is_none() => {
                return Err(ReadError::IsDirectory { cid: Box::new(self.cid) });
            }
            _ => return Err(self.wrong("a part of a file is of a type that has no bytes")),
        }
        let size = node.file_bytes(&self.cid)?;
        let mut run = FileRun::leaf(range.cut(self.position, &block.slice_ref(node.inline())));
        run.depth = self.depth + 1;
        // Positions saturate: only a root that lies can get there, and its parts will tell.
        let mut position = self.position.saturating_add(node.inline().len() as u64);
        for (link, size) in node.pb.links.iter().zip(&node.fs.blocksizes) {
            if range.touches(position, *size) {
                run.first_child.get_or_insert(position);
                run.children.push(&link.cid, &[], *size);
            }
            position = position.saturating_add(*size);
        }
        Ok((run, size))
    }

    fn wrong(&self, reason: &'static str) -> ReadError {
        ReadError::inconsistent(&self.cid, reason)
    }
}

/// What an opened block of a file still has to give.
pub(super) struct FileRun {
    data: Bytes,
    children: LinkTable,
    /// Position of the next child; children in a range lie side by side.
    first_child: Option<u64>,
    depth: usize,
}

impl FileRun {
    fn leaf(data: Bytes) -> Self {
        Self { data, children: LinkTable::default(), first_child: None, depth: 0 }
    }

    pub(super) fn next(&mut self) -> Option<Piece<FileNode, Bytes>> {
        if !self.data.is_empty() {
            return Some(Piece::Item(std::mem::take(&mut self.data)));
        }
        let child = self.children.take()?;
        let position = self.first_child.unwrap_or(0);
        self.first_child = Some(position.saturating_add(child.size));
        let (cid, size, depth) = (child.cid, Some(child.size), self.depth);
        Some(Piece::Node(FileNode { cid, position, size, depth }))
    }

    pub(super) fn held(&self) -> usize {
        self.data.len() + self.children.held()
    }
}

struct FilePlan {
    range: FileRange,
    size: Option<u64>,
}

impl Plan for FilePlan {
    type Node = FileNode;
    type Run = FileRun;
    type Item = Bytes;

    fn cid(node: &FileNode) -> &Cid {
        &node.cid
    }

    fn estimate(node: &FileNode) -> u64 {
        node.estimate()
    }

    fn open(&mut self, node: &FileNode, block: &Bytes) -> Result<FileRun, ReadError> {
        let (run, size) = node.open(block, self.range)?;
        self.size.get_or_insert(size);
        Ok(run)
    }

    fn next(&self, run: &mut FileRun) -> Option<Piece<FileNode, Bytes>> {
        run.next()
    }

    fn held(run: &FileRun) -> usize {
        run.held()
    }
}
