//! Archives: a UnixFS DAG as a tar stream.

mod header;

use std::sync::Arc;

use bytes::Bytes;

use self::header::{EntryType, Header, RECORD};
use super::dir::{DirEntry, DirNode, DirRun};
use super::error::ReadError;
use super::file::{FileNode, FileRange, FileRun};
use super::info::UnixFsNode;
use super::ordered::{Ordered, Piece, Plan};
use crate::cid::{Cid, codec};
use crate::unixfs::{Mtime, NodeType};
use crate::walk::{Step, Walker};

/// Deepest directory that is archived: 1,024 below the root entry.
pub const ARCHIVE_DEPTH_MAX: usize = 1024;

/// Longest path in an archive: 64 KiB, sixteen times what Linux opens.
pub const ARCHIVE_PATH_BYTES_MAX: usize = 64 << 10;

/// What an entry's root block counts in a window at most.
const ENTRY_BYTES_ESTIMATE: u64 = 256 << 10;

/// How entries are written.
#[derive(Debug, Clone, Copy)]
pub struct TarOptions {
    /// Modification time of entries that record none. Kubo writes the time of the request.
    pub default_mtime: Mtime,
}

impl Default for TarOptions {
    /// 1970, so that archives are reproducible.
    fn default() -> Self {
        Self { default_mtime: Mtime { seconds: 0, nanos: None } }
    }
}

/// Writes a file, directory or symbolic link as a tar stream, as Kubo's `get` does: the root entry first, directories
/// before what is in them, in the order of [`DirReader`](super::DirReader).
///
/// Modes are as recorded, else 0644 for files, 0755 for directories and 0777 for symbolic links. What ustar has no
/// room for goes into PAX records. Items are headers, slices of blocks, and padding. Entries that occur several times
/// are written as often: a DAG of few blocks can unfold to an archive of any size, so callers stop where they like.
///
/// # Errors
/// Names that could lead out of the root ([`ReadError::UnsafeName`]): empty, `.`, `..`, or with a slash or NUL, except
/// that `../name` may climb as far as it stays below the root entry (the gateway's fixtures ask for it); nesting over [`ARCHIVE_DEPTH_MAX`], paths over [`ARCHIVE_PATH_BYTES_MAX`]; anything that is no UnixFS.
pub struct TarReader {
    walk: Ordered<TarPlan>,
    ended: bool,
}

impl TarReader {
    /// Archives the DAG under `root` as an entry called `name`.
    pub fn new(root: Cid, name: impl Into<Vec<u8>>, options: TarOptions) -> Self {
        let node = TarNode::Entry { cid: root, dir: Dir::above(root), name: name.into(), estimate: 0 };
        Self { walk: Ordered::new(TarPlan { options }, [node]), ended: false }
    }
}

impl Walker for TarReader {
    type Item = Bytes;
    type Error = ReadError;

    fn wants(&mut self, window_bytes: u64, wants: &mut Vec<Cid>) {
        self.walk.wants(window_bytes, wants);
    }

    fn supply(&mut self, cid: &Cid, block: Bytes) {
        self.walk.supply(cid, block);
    }

    fn step(&mut self) -> Result<Step<Bytes>, ReadError> {
        match self.walk.step()? {
            Step::Done if !self.ended => {
                self.ended = true;
                Ok(Step::Item(Bytes::from_static(&[0; 2 * RECORD])))
            }
            step => Ok(step),
        }
    }
}

/// A directory that entries are written below.
#[derive(Clone)]
struct Dir {
    cid: Cid,
    /// Path with a slash at its end; empty above the root entry.
    path: Arc<[u8]>,
    depth: usize,
}

impl Dir {
    fn above(root: Cid) -> Self {
        Self { cid: root, path: Arc::default(), depth: 0 }
    }

    /// The path of an entry, if its name is safe.
    fn join(&self, name: &[u8]) -> Result<Vec<u8>, ReadError> {
        let node = || Box::new(self.cid);
        let unsafe_name =
            || ReadError::UnsafeName { name: String::from_utf8_lossy(name).into_owned(), node: node() };
        let (dir, plain) = climb(&self.path, name).ok_or_else(unsafe_name)?;
        if matches!(plain, b"" | b"." | b"..") || plain.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(unsafe_name());
        }
        if dir.len() + plain.len() > ARCHIVE_PATH_BYTES_MAX {
            return Err(ReadError::TooDeep { cid: node(), limit: ARCHIVE_PATH_BYTES_MAX });
        }
        Ok([dir, plain].concat())
    }
}

/// Follows `../` at the front of a name upwards, as Kubo does, as long as the entry stays below the root entry.
///
/// Gives the directory, with its slash, and the rest of the name.
fn climb<'a>(mut dir: &'a [u8], mut name: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    while let Some(rest) = name.strip_prefix(b"../") {
        let above = dir.strip_suffix(b"/")?;
        let slash = above.iter().rposition(|byte| *byte == b'/')?;
        dir = dir.get(..=slash)?;
        name = rest;
    }
    Some((dir, name))
}

enum TarNode {
    /// The root of an entry.
    Entry { cid: Cid, dir: Dir, name: Vec<u8>, estimate: u64 },
    /// A shard of the directory.
    Shard(DirNode, Dir),
    /// A part of a file.
    Part(FileNode),
}

struct TarRun {
    header: Bytes,
    body: Body,
    padding: usize,
}

enum Body {
    None,
    Directory(DirRun, Dir),
    File(FileRun),
}

struct TarPlan {
    options: TarOptions,
}

impl TarPlan {
    fn open_entry(&self, cid: &Cid, dir: &Dir, name: &[u8], block: &Bytes) -> Result<TarRun, ReadError> {
        let path = dir.join(name)?;
        let node = match cid.codec() {
            codec::DAG_PB => Some(UnixFsNode::decode(cid, block)?),
            _ => None,
        };
        let kind = node.as_ref().map_or(NodeType::File, |node| node.fs.kind);
        let header = |kind, link, size, default_mode| {
            let recorded = node.as_ref().and_then(|node| node.fs.mode);
            let mtime = node.as_ref().and_then(|node| node.fs.mtime).unwrap_or(self.options.default_mtime);
            let mode = recorded.unwrap_or(default_mode);
            Bytes::from(Header { kind, path: &path, link, size, mode, mtime }.encode())
        };
        match (kind, &node) {
            (NodeType::Directory | NodeType::HamtShard, Some(node)) => {
                if dir.depth >= ARCHIVE_DEPTH_MAX {
                    return Err(ReadError::TooDeep { cid: Box::new(*cid), limit: ARCHIVE_DEPTH_MAX });
                }
                let run = DirNode::root(*cid).open_node(node, block)?;
                let header = header(EntryType::Directory, &[], 0, 0o755);
                let below = Dir { cid: *cid, path: [&path[..], b"/"].concat().into(), depth: dir.depth + 1 };
                Ok(TarRun { header, body: Body::Directory(run, below), padding: 0 })
            }
            (NodeType::Symlink, Some(node)) => {
                let target = node.link_target(cid)?;
                if target.contains(&0) {
                    return Err(ReadError::inconsistent(cid, "the target of a symbolic link has a NUL"));
                }
                Ok(TarRun {
                    header: header(EntryType::Symlink, target, 0, 0o777),
                    body: Body::None,
                    padding: 0,
                })
            }
            _ => {
                let (run, size) = FileNode::root(*cid).open(block, FileRange::ALL)?;
                let padding = (size.wrapping_neg() % RECORD as u64) as usize;
                Ok(TarRun {
                    header: header(EntryType::File, &[], size, 0o644),
                    body: Body::File(run),
                    padding,
                })
            }
        }
    }
}

impl Plan for TarPlan {
    type Node = TarNode;
    type Run = TarRun;
    type Item = Bytes;

    fn cid(node: &TarNode) -> &Cid {
        match node {
            TarNode::Entry { cid, .. } => cid,
            TarNode::Shard(shard, _) => &shard.cid,
            TarNode::Part(part) => &part.cid,
        }
    }

    fn estimate(node: &TarNode) -> u64 {
        match node {
            TarNode::Entry { estimate, .. } => *estimate,
            TarNode::Shard(..) => DirNode::estimate(),
            TarNode::Part(part) => part.estimate(),
        }
    }

    fn open(&mut self, node: &TarNode, block: &Bytes) -> Result<TarRun, ReadError> {
        let without_header = |body| TarRun { header: Bytes::new(), body, padding: 0 };
        match node {
            TarNode::Entry { cid, dir, name, .. } => self.open_entry(cid, dir, name, block),
            TarNode::Shard(shard, dir) => {
                Ok(without_header(Body::Directory(shard.open(block)?, dir.clone())))
            }
            TarNode::Part(part) => Ok(without_header(Body::File(part.open(block, FileRange::ALL)?.0))),
        }
    }

    fn next(&self, run: &mut TarRun) -> Option<Piece<TarNode, Bytes>> {
        if !run.header.is_empty() {
            return Some(Piece::Item(std::mem::take(&mut run.header)));
        }
        let piece = match &mut run.body {
            Body::None => None,
            Body::File(file) => file.next().map(|piece| match piece {
                Piece::Item(data) => Piece::Item(data),
                Piece::Node(part) => Piece::Node(TarNode::Part(part)),
            }),
            Body::Directory(entries, dir) => entries.next().map(|piece| match piece {
                Piece::Item(DirEntry { name, cid, tsize }) => {
                    let estimate =
                        if tsize == 0 { ENTRY_BYTES_ESTIMATE } else { tsize.min(ENTRY_BYTES_ESTIMATE) };
                    Piece::Node(TarNode::Entry { cid, dir: dir.clone(), name, estimate })
                }
                Piece::Node(shard) => Piece::Node(TarNode::Shard(shard, dir.clone())),
            }),
        };
        piece.or_else(|| {
            let padding = std::mem::take(&mut run.padding);
            (padding > 0).then(|| Piece::Item(Bytes::from_static(&[0; RECORD]).slice(..padding)))
        })
    }

    fn held(run: &TarRun) -> usize {
        let body = match &run.body {
            Body::None => 0,
            Body::Directory(entries, _) => entries.held(),
            Body::File(file) => file.held(),
        };
        run.header.len() + body + run.padding
    }
}
