//! `ls`: the entries of a directory, or the parts of a file.

use std::pin::Pin;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::path::ContentPath;
use holdfast_dag::pb;
use holdfast_dag::read::{DirEntry, DirReader, NodeInfo, NodeKind, ReadError};
use holdfast_dag::unixfs::Mtime;

use super::Unixfs;
use crate::fetch::{Fetch, FetchError, WINDOW_BYTES, WalkError};
use crate::services::resolve::ResolveError;

/// Entries whose blocks are read in one job.
const ENTRIES_PER_JOB: usize = 64;

/// Such jobs on their way.
const JOBS: usize = 4;

/// What is told of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LsOptions {
    /// Read each entry's root block, for its type. Default: yes.
    pub resolve_type: bool,
    /// Read each entry's root block, for its size. Default: yes.
    pub size: bool,
}

impl Default for LsOptions {
    fn default() -> Self {
        Self { resolve_type: true, size: true }
    }
}

/// What an entry is. The numbers are Kubo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LsKind {
    /// Nobody looked.
    Unknown = 0,
    /// A directory, sharded or not.
    Directory = 1,
    /// A file.
    File = 2,
    /// A symbolic link.
    Symlink = 4,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LsEntry {
    /// Name; empty for the parts of a file.
    pub name: Vec<u8>,
    /// Its root block.
    pub cid: Cid,
    /// Bytes of the file; 0 for directories and where nobody looked; for symbolic links the length of the target.
    pub size: u64,
    /// What it is.
    pub kind: LsKind,
    /// Target of a symbolic link; empty otherwise.
    pub target: Vec<u8>,
    /// Permission bits, where recorded.
    pub mode: Option<u32>,
    /// Modification time, where recorded.
    pub mtime: Option<Mtime>,
}

/// Why something cannot be listed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LsError {
    /// The path leads nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A block could not be had, or is not sound.
    #[error(transparent)]
    Walk(#[from] WalkError<ReadError>),
}

impl From<FetchError> for LsError {
    fn from(error: FetchError) -> Self {
        Self::Walk(error.into())
    }
}

impl From<ReadError> for LsError {
    fn from(error: ReadError) -> Self {
        Self::Walk(WalkError::Walker(error))
    }
}

/// Entries in the order of the DAG.
pub type Ls = Pin<Box<dyn Stream<Item = Result<LsEntry, LsError>> + Send>>;

impl Unixfs {
    /// The entries of the directory at `path`, or the parts of a file there (none, if it is one block).
    pub async fn ls(&self, path: &ContentPath, options: LsOptions) -> Result<Ls, LsError> {
        let root = self.node.resolve_block(path).await?;
        self.ls_cid(&root, options).await
    }

    /// The entries of the directory with this root, or the parts of such a file.
    pub async fn ls_cid(&self, root: &Cid, options: LsOptions) -> Result<Ls, LsError> {
        let fetch = self.node.fetch().together();
        let block = fetch.get(root).await?;
        let is_directory = root.codec() == codec::DAG_PB
            && NodeInfo::of(root, &block).is_ok_and(|info| info.kind.is_directory());
        let entries: BoxStream<'static, Result<DirEntry, LsError>> = if is_directory {
            fetch.walk(DirReader::new(*root), WINDOW_BYTES).map_err(LsError::from).boxed()
        } else {
            stream::iter(links(root, &block)?.into_iter().map(Ok)).boxed()
        };
        let look = options.resolve_type || options.size;
        let described =
            entries.chunks(ENTRIES_PER_JOB).map(move |entries| describe(fetch.clone(), entries, look));
        Ok(described.buffered(JOBS).flat_map(stream::iter).boxed())
    }
}

/// The links of a block that is no directory, as entries.
fn links(cid: &Cid, block: &[u8]) -> Result<Vec<DirEntry>, LsError> {
    if cid.codec() == codec::DAG_PB {
        let node = pb::decode(block).map_err(|source| ReadError::DagPb { cid: Box::new(*cid), source })?;
        let entry = |link: &pb::PbLinkRef<'_>| DirEntry {
            name: link.name().to_vec(),
            cid: link.cid,
            tsize: link.tsize.unwrap_or(0),
        };
        return Ok(node.links.iter().map(entry).collect());
    }
    let links = holdfast_dag::ipld::links(cid.codec(), block)
        .map_err(|source| ReadError::Ipld { cid: Box::new(*cid), source })?;
    Ok(links.into_iter().map(|cid| DirEntry { name: Vec::new(), cid, tsize: 0 }).collect())
}

/// Describes a batch; after the first error nothing follows.
async fn describe(
    fetch: Fetch,
    entries: Vec<Result<DirEntry, LsError>>,
    look: bool,
) -> Vec<Result<LsEntry, LsError>> {
    let looked_at = |entry: &&DirEntry| look && entry.cid.codec() == codec::DAG_PB;
    let cids: Vec<Cid> = entries.iter().flatten().filter(looked_at).map(|entry| entry.cid).collect();
    let blocks = match fetch.get_each(cids).await {
        Ok(blocks) => blocks,
        Err(error) => return vec![Err(error.into())],
    };
    let mut blocks = blocks.into_iter();
    let mut described = Vec::with_capacity(entries.len());
    for entry in entries {
        let entry = entry.and_then(|entry| {
            let block = if looked_at(&&entry) { blocks.next() } else { None };
            let block = block.map(|(_, block)| block).transpose()?;
            Ok(describe_one(entry, block.as_deref())?)
        });
        let failed = entry.is_err();
        described.push(entry);
        if failed {
            break;
        }
    }
    described
}

fn describe_one(entry: DirEntry, block: Option<&[u8]>) -> Result<LsEntry, ReadError> {
    let DirEntry { name, cid, tsize } = entry;
    let (kind, size) = match cid.codec() {
        codec::RAW => (LsKind::File, tsize),
        _ => (LsKind::Unknown, 0),
    };
    let mut described = LsEntry { name, cid, size, kind, target: Vec::new(), mode: None, mtime: None };
    if let Some(block) = block {
        let info = NodeInfo::of(&cid, block)?;
        described.kind = match info.kind {
            NodeKind::File | NodeKind::Raw => LsKind::File,
            NodeKind::Directory | NodeKind::HamtShard => LsKind::Directory,
            NodeKind::Symlink => LsKind::Symlink,
            NodeKind::Other(_) => LsKind::Unknown,
        };
        described.size = info.filesize;
        described.target = info.target.unwrap_or_default();
        (described.mode, described.mtime) = (info.mode, info.mtime);
    }
    Ok(described)
}
