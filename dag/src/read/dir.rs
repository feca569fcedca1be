//! Directory listings, streamed.

use bytes::Bytes;

use super::error::ReadError;
use super::info::UnixFsNode;
use super::links::LinkTable;
use super::ordered::{Ordered, Piece, Plan};
use crate::cid::{Cid, codec};
use crate::hamt::read::{ShardError, ShardLevel, check_shard};
use crate::unixfs::NodeType;
use crate::walk::{Step, Walker};

/// What a shard's block is expected to take: 256 links of about 60 bytes.
const SHARD_BYTES_ESTIMATE: u64 = 16 << 10;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Name, as written: bytes, because dag-pb does not promise UTF-8.
    pub name: Vec<u8>,
    /// What it names.
    pub cid: Cid,
    /// Cumulative bytes of what it names, as the directory claims; 0 where it does not say.
    pub tsize: u64,
}

/// Lists a directory, basic or sharded, without touching what its entries name.
///
/// Basic directories give their entries in the order of the block; sharded ones in the order of their shards (by hash
/// of the name), as Kubo walks them. Callers sort. A name that occurs twice is given twice.
///
/// # Errors
/// [`ReadError::NotADirectory`] for anything else, [`ReadError::Shard`] and [`ReadError::Inconsistent`] for
/// shards that are not sound.
pub struct DirReader {
    walk: Ordered<DirPlan>,
}

impl DirReader {
    /// Lists the directory with this root.
    pub fn new(root: Cid) -> Self {
        Self { walk: Ordered::new(DirPlan, [DirNode::root(root)]) }
    }
}

impl Walker for DirReader {
    type Item = DirEntry;
    type Error = ReadError;

    fn wants(&mut self, window_bytes: u64, wants: &mut Vec<Cid>) {
        self.walk.wants(window_bytes, wants);
    }

    fn supply(&mut self, cid: &Cid, block: Bytes) {
        self.walk.supply(cid, block);
    }

    fn step(&mut self) -> Result<Step<DirEntry>, ReadError> {
        self.walk.step()
    }
}

/// A block of a directory.
pub(super) struct DirNode {
    pub(super) cid: Cid,
    /// The level of the shard that led here.
    parent: Option<ShardLevel>,
}

impl DirNode {
    pub(super) fn root(cid: Cid) -> Self {
        Self { cid, parent: None }
    }

    pub(super) fn estimate() -> u64 {
        SHARD_BYTES_ESTIMATE
    }

    pub(super) fn open(&self, block: &Bytes) -> Result<DirRun, ReadError> {
        if self.cid.codec() != codec::DAG_PB {
            return Err(match (self.parent, self.cid.codec()) {
                (Some(_), _) => ReadError::inconsistent(&self.cid, "a shard is not dag-pb"),
                (None, codec::RAW) => ReadError::NotADirectory { cid: Box::new(self.cid) },
                (None, _) => ReadError::NotUnixFs { cid: Box::new(self.cid) },
            });
        }
        let node = UnixFsNode::decode(&self.cid, block)?;
        self.open_node(&node, block)
    }

    pub(super) fn open_node(&self, node: &UnixFsNode<'_>, block: &Bytes) -> Result<DirRun, ReadError> {
        let level = match node.fs.kind {
            NodeType::Directory if self.parent.is_none() => None,
            NodeType::HamtShard => Some(
                check_shard(&node.fs, &node.pb.links, self.parent)
                    .map_err(|error| shard_error(&self.cid, error))?,
            ),
            _ if self.parent.is_some() => {
                return Err(ReadError::inconsistent(&self.cid, "a link without a name leads to no shard"));
            }
            _ => return Err(ReadError::NotADirectory { cid: Box::new(self.cid) }),
        };
        Ok(DirRun { links: LinkTable::of_pb(block, &node.pb.links), level })
    }
}

/// The reader's form of a shard's error.
pub(super) fn shard_error(cid: &Cid, error: ShardError) -> ReadError {
    ReadError::Shard { cid: Box::new(*cid), source: error }
}

/// What an opened block of a directory still has to give.
pub(super) struct DirRun {
    links: LinkTable,
    level: Option<ShardLevel>,
}

impl DirRun {
    pub(super) fn next(&mut self) -> Option<Piece<DirNode, DirEntry>> {
        let link = self.links.take()?;
        let prefix_len = self.level.map_or(0, ShardLevel::prefix_len);
        if self.level.is_some() && link.name.len() <= prefix_len {
            return Some(Piece::Node(DirNode { cid: link.cid, parent: self.level }));
        }
        let name = link.name.get(prefix_len..).unwrap_or_default().to_vec();
        Some(Piece::Item(DirEntry { name, cid: link.cid, tsize: link.size }))
    }

    pub(super) fn held(&self) -> usize {
        self.links.held()
    }
}

struct DirPlan;

impl Plan for DirPlan {
    type Node = DirNode;
    type Run = DirRun;
    type Item = DirEntry;

    fn cid(node: &DirNode) -> &Cid {
        &node.cid
    }

    fn estimate(_node: &DirNode) -> u64 {
        DirNode::estimate()
    }

    fn item_bytes(item: &DirEntry) -> u64 {
        (size_of::<DirEntry>() + item.name.len()) as u64
    }

    fn open(&mut self, node: &DirNode, block: &Bytes) -> Result<DirRun, ReadError> {
        node.open(block)
    }

    fn next(&self, run: &mut DirRun) -> Option<Piece<DirNode, DirEntry>> {
        run.next()
    }

    fn held(run: &DirRun) -> usize {
        run.held()
    }
}
