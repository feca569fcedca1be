//! `cat`: the bytes of files.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use holdfast_dag::cid::Cid;
use holdfast_dag::path::ContentPath;
use holdfast_dag::read::{FileReader, NodeInfo, NodeKind, ReadError};
use holdfast_dag::walk::Walker as _;

use super::Unixfs;
use crate::fetch::{Fetch, FetchError, WINDOW_BYTES, Walk, WalkError};
use crate::services::resolve::ResolveError;

/// Which bytes are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CatOptions {
    /// Bytes to skip; where several files are given, of all of them together. Default: 0.
    pub offset: u64,
    /// Most bytes to give, of all files together; `None` is no limit. Default: no limit.
    pub length: Option<u64>,
}

/// Why a file cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CatError {
    /// The path leads nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// It is a directory.
    #[error("this dag node is a directory")]
    IsDirectory,
    /// It is a symbolic link, or something else that has no bytes.
    #[error("operation not supported")]
    NotSupported,
    /// It is no UnixFS.
    #[error("unknown node type")]
    UnknownNode,
    /// A block could not be had, or is not sound.
    #[error(transparent)]
    Walk(#[from] WalkError<ReadError>),
}

impl From<FetchError> for CatError {
    fn from(error: FetchError) -> Self {
        Self::Walk(error.into())
    }
}

impl From<ReadError> for CatError {
    fn from(error: ReadError) -> Self {
        Self::Walk(WalkError::Walker(error))
    }
}

/// The bytes of one or several files, in order.
pub struct Cat {
    fetch: Fetch,
    files: VecDeque<FileReader>,
    current: Option<Walk<FileReader>>,
    length: u64,
}

impl Cat {
    /// Bytes that it gives if all goes well.
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl Stream for Cat {
    type Item = Result<Bytes, CatError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.current.is_none() {
                let Some(file) = self.files.pop_front() else { return Poll::Ready(None) };
                let walk = self.fetch.walk(file, WINDOW_BYTES);
                self.current = Some(walk);
            }
            let Some(current) = &mut self.current else { return Poll::Ready(None) };
            match ready!(Pin::new(current).poll_next(context)) {
                Some(Ok(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Some(Err(error)) => {
                    self.files.clear();
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => self.current = None,
            }
        }
    }
}

impl Unixfs {
    /// The bytes of the files at `paths`, one after the other.
    ///
    /// All paths are resolved, and what is no file is refused, before this returns.
    pub async fn cat(&self, paths: &[ContentPath], options: CatOptions) -> Result<Cat, CatError> {
        let mut roots = Vec::with_capacity(paths.len());
        for path in paths {
            roots.push(self.node.resolve_block(path).await?);
        }
        self.cat_cids(&roots, options).await
    }

    /// The bytes of the files with these roots, one after the other.
    pub async fn cat_cids(&self, roots: &[Cid], options: CatOptions) -> Result<Cat, CatError> {
        let fetch = self.node.fetch().together();
        let (mut files, mut length, mut skip) = (VecDeque::new(), 0, options.offset);
        for root in roots {
            if options.length.is_some_and(|limit| length >= limit) {
                break;
            }
            let block = fetch.get(root).await?;
            let size = file_size(root, &block)?;
            if skip >= size && size > 0 {
                skip -= size;
                continue;
            }
            let rest = options.length.map_or(u64::MAX, |limit| limit - length).min(size - skip.min(size));
            let mut file = FileReader::new(*root, skip, Some(rest));
            // The root is at hand already.
            let mut wants = Vec::new();
            file.wants(1, &mut wants);
            file.supply(root, block);
            files.push_back(file);
            length += rest;
            skip = 0;
        }
        Ok(Cat { fetch, files, current: None, length })
    }
}

fn file_size(cid: &Cid, block: &[u8]) -> Result<u64, CatError> {
    let info = NodeInfo::of(cid, block)?;
    match info.kind {
        NodeKind::File | NodeKind::Raw => Ok(info.filesize),
        NodeKind::Directory | NodeKind::HamtShard => Err(CatError::IsDirectory),
        NodeKind::Symlink => Err(CatError::NotSupported),
        NodeKind::Other(_) => Err(CatError::UnknownNode),
    }
}
