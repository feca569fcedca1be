//! Following a path from a root.

use bytes::Bytes;

use super::dir::shard_error;
use super::error::ReadError;
use super::info::decode_pb;
use super::ipld;
use crate::cid::{Cid, codec, identity_data};
use crate::hamt::read::{Lookup, ShardLevel, check_shard, lookup};
use crate::ipld::Value;
use crate::pb::PbNodeRef;
use crate::unixfs::{NodeType, UnixFs};
use crate::walk::{Step, Walker};

/// How dag-pb is seen by a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// `/ipfs`: UnixFS names, sharded directories seen as one; link names in dag-pb that is no directory.
    Ipfs,
    /// `/ipld`: the data model of dag-pb itself (`Links/0/Hash`, `Data`).
    Ipld,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The block in which the path ends.
    pub cid: Cid,
    /// The rest of the path, inside that block: empty unless it ends at a value that is not a link.
    pub remainder: Vec<String>,
}

/// Follows path segments from a root; gives one [`Resolved`].
///
/// Only the blocks on the way are asked for, one after the other: of a sharded directory the shards that the name
/// hashes to. The block at the end of the path is not asked for. Symbolic links are not followed.
///
/// # Errors
/// [`ReadError::NoLink`] for a segment that does not exist; for the last one inside dag-cbor and its like also
/// [`ReadError::KeyNotFound`] and [`ReadError::WrongKind`] (see [`ReadError::is_not_found`]).
pub struct Resolver {
    namespace: Namespace,
    /// What is left of the path, last segment first.
    rest: Vec<String>,
    /// The node that the next segment is looked up in, as errors name it, and the block to look into.
    node: Cid,
    at: Cid,
    /// The shard that led to `at`, inside one sharded directory.
    parent: Option<ShardLevel>,
    asked: bool,
    block: Option<Bytes>,
    trail: Vec<Cid>,
    end: End,
}

enum End {
    Open,
    Given,
    Failed(ReadError),
}

impl Resolver {
    /// Resolves `segments` (decoded, without empty ones) from `root`.
    pub fn new(namespace: Namespace, root: Cid, segments: impl IntoIterator<Item = String>) -> Self {
        let mut rest: Vec<String> = segments.into_iter().collect();
        rest.reverse();
        let (asked, block, trail, end) = (false, None, Vec::new(), End::Open);
        let mut resolver =
            Self { namespace, rest, node: root, at: root, parent: None, asked, block, trail, end };
        resolver.go_to(root, None);
        resolver
    }

    /// The nodes that the path has led through so far: the root first, and a sharded directory once, without its shards.
    pub fn trail(&self) -> &[Cid] {
        &self.trail
    }

    fn go_to(&mut self, cid: Cid, parent: Option<ShardLevel>) {
        self.at = cid;
        self.parent = parent;
        if parent.is_none() {
            self.node = cid;
            self.trail.push(cid);
        }
        self.block = identity_data(&cid).map(Bytes::copy_from_slice);
        self.asked = self.block.is_some();
    }

    fn advance(&mut self) -> Result<Step<Resolved>, ReadError> {
        loop {
            if self.rest.is_empty() {
                return Ok(Step::Item(Resolved { cid: self.node, remainder: Vec::new() }));
            }
            let Some(block) = self.block.take() else { return Ok(Step::Need) };
            if self.at.codec() == codec::DAG_PB && self.namespace == Namespace::Ipfs {
                self.enter_pb(&block)?;
            } else if let Some(remainder) = self.enter_value(&block)? {
                return Ok(Step::Item(Resolved { cid: self.node, remainder }));
            }
        }
    }

    /// Looks the next segment up in a dag-pb block by UnixFS or link name, and goes there.
    fn enter_pb(&mut self, block: &Bytes) -> Result<(), ReadError> {
        let Some(name) = self.rest.last().cloned() else { return Ok(()) };
        let pb = decode_pb(&self.at, block)?;
        let found = match UnixFs::decode(pb.data.unwrap_or_default()) {
            Ok(fs) if fs.kind == NodeType::HamtShard => self.find_in_shard(&fs, &pb, name.as_bytes())?,
            _ if self.parent.is_some() => {
                return Err(ReadError::inconsistent(&self.at, "a link without a name leads to no shard"));
            }
            // The first of several links with one name counts.
            _ => pb.links.iter().find(|link| link.name() == name.as_bytes()).map(|link| (link.cid, None)),
        };
        match found {
            Some((cid, parent)) => {
                if parent.is_none() {
                    self.rest.pop();
                }
                self.go_to(cid, parent);
                Ok(())
            }
            None => Err(ReadError::NoLink { name, node: Box::new(self.node) }),
        }
    }

    fn find_in_shard(
        &self,
        fs: &UnixFs<'_>,
        pb: &PbNodeRef<'_>,
        name: &[u8],
    ) -> Result<Option<(Cid, Option<ShardLevel>)>, ReadError> {
        let level = check_shard(fs, &pb.links, self.parent).map_err(|error| shard_error(&self.at, error))?;
        Ok(match lookup(&pb.links, level, name) {
            Lookup::Entry(cid) => Some((cid, None)),
            Lookup::Shard(cid) => Some((cid, Some(level))),
            Lookup::Absent => None,
        })
    }

    /// Follows segments through the values of a block, to a link or to the end of the path: then gives what was
    /// walked inside the block.
    fn enter_value(&mut self, block: &Bytes) -> Result<Option<Vec<String>>, ReadError> {
        let root = ipld::value(&self.at, block)?;
        let (mut value, mut walked) = (&root, Vec::new());
        while let Some(segment) = self.rest.pop() {
            value = match value.get(&segment) {
                Some(child) => child,
                None => return Err(self.absent(value, segment)),
            };
            if let Value::Link(cid) = value {
                self.go_to(**cid, None);
                return Ok(None);
            }
            walked.push(segment);
        }
        Ok(Some(walked))
    }

    /// The error of a segment that is not in `parent`: Kubo has other words for the last one.
    fn absent(&self, parent: &Value, segment: String) -> ReadError {
        let of_pb = self.at.codec() == codec::DAG_PB && matches!(parent, Value::Map(_));
        if !self.rest.is_empty() || of_pb {
            return ReadError::NoLink { name: segment, node: Box::new(self.node) };
        }
        match parent {
            Value::Map(_) | Value::List(_) => ReadError::KeyNotFound { key: segment },
            other => ReadError::WrongKind { kind: other.kind() },
        }
    }
}

impl Walker for Resolver {
    type Item = Resolved;
    type Error = ReadError;

    fn wants(&mut self, _window_bytes: u64, wants: &mut Vec<Cid>) {
        if matches!(self.end, End::Open) && !self.rest.is_empty() && !self.asked {
            self.asked = true;
            wants.push(self.at);
        }
    }

    fn supply(&mut self, cid: &Cid, block: Bytes) {
        if self.asked && *cid == self.at && self.block.is_none() {
            self.block = Some(block);
        }
    }

    fn step(&mut self) -> Result<Step<Resolved>, ReadError> {
        match &self.end {
            End::Open => {}
            End::Given => return Ok(Step::Done),
            End::Failed(error) => return Err(error.clone()),
        }
        let step = self.advance();
        match &step {
            Ok(Step::Item(_)) => self.end = End::Given,
            Err(error) => self.end = End::Failed(error.clone()),
            Ok(_) => {}
        }
        step
    }
}
