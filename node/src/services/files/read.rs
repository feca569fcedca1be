//! Looking and reading.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::read::{DirReader, NodeInfo, NodeKind};

use super::entries::existing;
use super::{Files, FilesError, MfsPath};
use crate::fetch::{FetchError, WINDOW_BYTES, WalkError};
use crate::node::Node;
use crate::services::unixfs::{Cat, CatOptions, LsKind, LsOptions};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesStat {
    /// Its root block.
    pub cid: Cid,
    /// What that block says.
    pub info: NodeInfo,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesEntry {
    /// Its name.
    pub name: Vec<u8>,
    /// Whether it is a directory; not known in a short listing.
    pub is_directory: bool,
    /// Bytes of a file; 0 for directories, and in a short listing.
    pub size: u64,
    /// Its root block; not told in a short listing.
    pub cid: Option<Cid>,
}

/// How much of a DAG is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locality {
    /// Whether all of it is.
    pub complete: bool,
    /// Bytes of the blocks that are here; a block that occurs twice counts twice, as in `CumulativeSize`.
    pub bytes: u64,
}

impl Files {
    /// What a path leads to.
    pub async fn resolve(&self, path: MfsPath) -> Result<Cid, FilesError> {
        self.look(move |tree| existing(tree, &path)).await
    }

    /// Describes what is at a path. Nothing but its root block is needed.
    pub async fn stat(&self, path: MfsPath) -> Result<FilesStat, FilesError> {
        let cid = self.resolve(path).await?;
        self.stat_cid(cid).await
    }

    /// Describes a node, in the tree or not.
    pub async fn stat_cid(&self, cid: Cid) -> Result<FilesStat, FilesError> {
        let block = self.node.fetch().get(&cid).await?;
        Ok(FilesStat { cid, info: NodeInfo::of(&cid, &block)? })
    }

    /// Counts what of a DAG is here, without asking anybody else.
    pub async fn locality(&self, cid: Cid) -> Result<Locality, FilesError> {
        let node = self.node.clone();
        self.node.pool().operation(move || locality(&node, cid)).await?
    }

    /// Lists a directory in its own order, or the one file that is at the path. With `long` the root block of each
    /// entry is read.
    pub async fn ls(&self, path: MfsPath, long: bool) -> Result<Vec<FilesEntry>, FilesError> {
        let FilesStat { cid, info } = self.stat(path.clone()).await?;
        if let NodeKind::Other(_) = info.kind {
            return Err(FilesError::NoBytes);
        }
        if !info.kind.is_directory() {
            let name = if path.has_trailing_slash() { "" } else { path.name() };
            let (size, cid) = if long { (info.filesize, Some(cid)) } else { (0, None) };
            return Ok(vec![FilesEntry { name: name.as_bytes().to_vec(), is_directory: false, size, cid }]);
        }
        if !long {
            let entries = self.node.fetch().walk(DirReader::new(cid), WINDOW_BYTES);
            let entries = entries
                .map_ok(|entry| FilesEntry { name: entry.name, is_directory: false, size: 0, cid: None })
                .try_collect()
                .await;
            return entries.map_err(|error| match error {
                WalkError::Fetch(error) => error.into(),
                WalkError::Walker(error) => error.into(),
            });
        }
        let options = LsOptions { resolve_type: true, size: true };
        let entries = self.node.unixfs().ls_cid(&cid, options).await?;
        let entries = entries.map_ok(|entry| {
            let is_directory = entry.kind == LsKind::Directory;
            let size = if is_directory { 0 } else { entry.size };
            FilesEntry { name: entry.name, is_directory, size, cid: Some(entry.cid) }
        });
        Ok(entries.try_collect().await?)
    }

    /// The bytes of a file from `offset` on, at most `count` of them.
    pub async fn read(&self, path: MfsPath, offset: u64, count: Option<u64>) -> Result<Cat, FilesError> {
        let FilesStat { cid, info } = self.stat(path.clone()).await?;
        match info.kind {
            NodeKind::File | NodeKind::Raw => {}
            NodeKind::Directory | NodeKind::HamtShard => return Err(FilesError::NotAFile(path.to_string())),
            NodeKind::Symlink => return Err(FilesError::Symlink),
            NodeKind::Other(_) => return Err(FilesError::NoBytes),
        }
        if offset > info.filesize {
            return Err(FilesError::PastEnd { offset, size: info.filesize });
        }
        Ok(self.node.unixfs().cat_cids(&[cid], CatOptions { offset, length: count }).await?)
    }
}

/// A block in work: how far its links are counted.
struct Open {
    cid: Cid,
    links: Vec<Cid>,
    sum: Locality,
}

/// Counts a DAG block by block. Each is looked at once; inner ones are remembered, about 200 bytes each.
fn locality(node: &Node, root: Cid) -> Result<Locality, FilesError> {
    let mut known: HashMap<Cid, Locality> = HashMap::new();
    let Some(first) = open(node, root)? else { return Ok(Locality { complete: false, bytes: 0 }) };
    let mut path = vec![first];
    loop {
        let Some(top) = path.last_mut() else { return Ok(Locality { complete: false, bytes: 0 }) };
        if let Some(next) = top.links.pop() {
            let below = match known.get(&next) {
                Some(below) => Some(*below),
                None if next.codec() == codec::RAW => Some(leaf(node, &next)?),
                None => match open(node, next)? {
                    Some(open) => {
                        path.push(open);
                        None
                    }
                    None => Some(Locality { complete: false, bytes: 0 }),
                },
            };
            if let (Some(below), Some(top)) = (below, path.last_mut()) {
                top.sum = top.sum.with(below);
            }
            continue;
        }
        let Some(Open { cid, sum, .. }) = path.pop() else { continue };
        known.insert(cid, sum);
        match path.last_mut() {
            Some(above) => above.sum = above.sum.with(sum),
            None => return Ok(sum),
        }
    }
}

impl Locality {
    fn with(self, below: Self) -> Self {
        let bytes = self.bytes.saturating_add(below.bytes);
        Self { complete: self.complete && below.complete, bytes }
    }
}

fn leaf(node: &Node, cid: &Cid) -> Result<Locality, FilesError> {
    let bytes = match crate::fetch::known_block(cid) {
        Some(known) => Some(known.len() as u64),
        None => node.store().size(cid.hash())?,
    };
    Ok(Locality { complete: bytes.is_some(), bytes: bytes.unwrap_or(0) })
}

fn open(node: &Node, cid: Cid) -> Result<Option<Open>, FilesError> {
    let block = match node.fetch().get_local_blocking(&cid) {
        Err(FetchError::NotFound { .. }) => return Ok(None),
        block => block?,
    };
    let links = holdfast_dag::ipld::links(cid.codec(), &block).unwrap_or_default();
    let sum = Locality { complete: true, bytes: block.len() as u64 };
    Ok(Some(Open { cid, links, sum }))
}
