//! The blocks that one file or one directory is made of: what a client needs to read or list it by itself.

use bytes::Bytes;

use super::dir::{DirNode, DirRun};
use super::error::ReadError;
use super::file::{FileNode, FileRange, FileRun};
use super::ordered::{Admission, Ordered, Piece, Plan};
use super::visited::Visited;
use crate::cid::{Cid, identity_data};
use crate::walk::{Step, Walker};

/// Gives the blocks of a file, or of a range of it, depth first: the root always, then what leads to bytes of the range.
///
/// Blocks are given once, at their first sight, unless duplicates are asked for. Those that are inlined in identity CIDs are
/// not given: nobody stores them. The file's root may be dag-pb or raw.
///
/// # Errors
/// As [`FileReader`](super::FileReader).
pub struct FileBlocks {
    walk: Ordered<FileBlocksPlan>,
}

impl FileBlocks {
    /// The blocks that hold `length` bytes (`None`: all) from `offset` on.
    pub fn new(root: Cid, offset: u64, length: Option<u64>) -> Self {
        let end = length.map_or(u64::MAX, |length| offset.saturating_add(length));
        let range = FileRange { start: offset, end };
        let plan =
            FileBlocksPlan { range, duplicates: false, whole: Visited::default(), cut: Visited::default() };
        Self { walk: Ordered::new(plan, [FileNode::root(root)]) }
    }

    /// Gives a block as often as it occurs.
    #[must_use]
    pub fn with_duplicates(mut self) -> Self {
        self.walk.plan_mut().duplicates = true;
        self
    }
}

/// Gives the blocks of a directory, without those of its entries, depth first.
///
/// A basic directory is one block; of a sharded one all shards are given, each once unless duplicates are asked for.
///
/// # Errors
/// As [`DirReader`](super::DirReader).
pub struct ShardBlocks {
    walk: Ordered<ShardBlocksPlan>,
}

impl ShardBlocks {
    /// The blocks of the directory with this root.
    pub fn new(root: Cid) -> Self {
        let plan = ShardBlocksPlan { duplicates: false, visited: Visited::default() };
        Self { walk: Ordered::new(plan, [DirNode::root(root)]) }
    }

    /// Gives a block as often as it occurs.
    #[must_use]
    pub fn with_duplicates(mut self) -> Self {
        self.walk.plan_mut().duplicates = true;
        self
    }
}

/// Both are walkers as their engine is.
macro_rules! walks {
    ($walker:ty) => {
        impl Walker for $walker {
            type Item = (Cid, Bytes);
            type Error = ReadError;

            fn wants(&mut self, window_bytes: u64, wants: &mut Vec<Cid>) {
                self.walk.wants(window_bytes, wants);
            }

            fn supply(&mut self, cid: &Cid, block: Bytes) {
                self.walk.supply(cid, block);
            }

            fn step(&mut self) -> Result<Step<(Cid, Bytes)>, ReadError> {
                self.walk.step()
            }
        }
    };
}

walks!(FileBlocks);
walks!(ShardBlocks);

fn given(cid: &Cid, block: &Bytes, is_new: bool) -> Admission<(Cid, Bytes)> {
    let given = is_new && identity_data(cid).is_none();
    Admission { item: given.then(|| (*cid, block.clone())), descend: true }
}

struct FileBlocksPlan {
    range: FileRange,
    duplicates: bool,
    /// Blocks all of whose bytes lay in the range when they were visited: nothing below them is new.
    whole: Visited,
    /// Blocks that the range cut through: elsewhere in the file, more of what is below them may lie in it.
    cut: Visited,
}

impl Plan for FileBlocksPlan {
    type Node = FileNode;
    type Run = FileRun;
    type Item = (Cid, Bytes);

    fn cid(node: &FileNode) -> &Cid {
        &node.cid
    }

    fn estimate(node: &FileNode) -> u64 {
        node.estimate()
    }

    fn open(&mut self, node: &FileNode, block: &Bytes) -> Result<FileRun, ReadError> {
        Ok(node.open(block, self.range)?.0)
    }

    fn next(&self, run: &mut FileRun) -> Option<Piece<FileNode, (Cid, Bytes)>> {
        loop {
            if let Piece::Node(node) = run.next()? {
                return Some(Piece::Node(node));
            }
        }
    }

    fn held(run: &FileRun) -> usize {
        run.held()
    }

    fn passes_over(&self, node: &FileNode) -> bool {
        !self.duplicates && self.whole.contains(&node.cid)
    }

    fn admit(&mut self, node: &FileNode, block: &Bytes) -> Admission<(Cid, Bytes)> {
        let is_new = self.duplicates || {
            let is_whole = node.is_within(self.range);
            let (own, other) =
                if is_whole { (&mut self.whole, &self.cut) } else { (&mut self.cut, &self.whole) };
            own.insert(&node.cid) && !other.contains(&node.cid)
        };
        given(&node.cid, block, is_new)
    }
}

struct ShardBlocksPlan {
    duplicates: bool,
    visited: Visited,
}

impl Plan for ShardBlocksPlan {
    type Node = DirNode;
    type Run = DirRun;
    type Item = (Cid, Bytes);

    fn cid(node: &DirNode) -> &Cid {
        &node.cid
    }

    fn estimate(_node: &DirNode) -> u64 {
        DirNode::estimate()
    }

    fn open(&mut self, node: &DirNode, block: &Bytes) -> Result<DirRun, ReadError> {
        node.open(block)
    }

    fn next(&self, run: &mut DirRun) -> Option<Piece<DirNode, (Cid, Bytes)>> {
        loop {
            if let Piece::Node(node) = run.next()? {
                return Some(Piece::Node(node));
            }
        }
    }

    fn held(run: &DirRun) -> usize {
        run.held()
    }

    fn passes_over(&self, node: &DirNode) -> bool {
        !self.duplicates && self.visited.contains(&node.cid)
    }

    fn admit(&mut self, node: &DirNode, block: &Bytes) -> Admission<(Cid, Bytes)> {
        let is_new = self.duplicates || self.visited.insert(&node.cid);
        given(&node.cid, block, is_new)
    }
}
