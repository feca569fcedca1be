//! `get`: a file or tree as a tar stream, or a file compressed.

use std::io::Write as _;
use std::pin::Pin;
use std::time::SystemTime;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream::{BoxStream, try_unfold};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use holdfast_dag::cid::Cid;
use holdfast_dag::path::ContentPath;
use holdfast_dag::read::{FileReader, NodeInfo, ReadError, TarOptions, TarReader};
use holdfast_dag::unixfs::Mtime;

use super::Unixfs;
use crate::fetch::{FetchError, WINDOW_BYTES, WalkError};
use crate::pool::{Pool, PoolError};
use crate::services::resolve::ResolveError;

/// What is gathered before it is compressed in one go.
const COMPRESS_BYTES: usize = 256 << 10;

/// How a file or tree is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GetOptions {
    /// What the root entry of the archive is called.
    pub name: String,
    /// Give an archive even where a compressed file would do. Default: no.
    pub archive: bool,
    /// Compress with gzip at this level, 1 to 9. Default: no. Without `archive`, this gives the bare file.
    pub compression: Option<u32>,
}

/// Why something cannot be given.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The path leads nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Only files can be compressed without an archive.
    #[error("file is not regular")]
    NotRegular,
    /// A level outside 1 to 9.
    #[error("compression level must be between 1 and 9")]
    Level,
    /// A block could not be had, or is not sound.
    #[error(transparent)]
    Walk(#[from] WalkError<ReadError>),
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<FetchError> for GetError {
    fn from(error: FetchError) -> Self {
        Self::Walk(error.into())
    }
}

impl From<ReadError> for GetError {
    fn from(error: ReadError) -> Self {
        Self::Walk(WalkError::Walker(error))
    }
}

/// The bytes, and how many there will be about.
pub struct Get {
    /// Bytes of the file, or of the whole DAG for a directory, as Kubo states it.
    pub size: u64,
    bytes: BoxStream<'static, Result<Bytes, GetError>>,
}

impl Stream for Get {
    type Item = Result<Bytes, GetError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.bytes.poll_next_unpin(context)
    }
}

impl Unixfs {
    /// The file or tree at `path` as a tar stream (or what `options` say).
    pub async fn get(&self, path: &ContentPath, options: GetOptions) -> Result<Get, GetError> {
        let root = self.node.resolve_block(path).await?;
        self.get_cid(&root, options).await
    }

    /// The file or tree with this root as a tar stream (or what `options` say).
    pub async fn get_cid(&self, root: &Cid, options: GetOptions) -> Result<Get, GetError> {
        if options.compression.is_some_and(|level| !(1..=9).contains(&level)) {
            return Err(GetError::Level);
        }
        let fetch = self.node.fetch().together();
        let info = NodeInfo::of(root, &fetch.get(root).await?)?;
        let size = if info.kind.is_directory() { info.cumulative_bytes } else { info.filesize };
        let archive = || {
            let reader = TarReader::new(*root, options.name.clone(), TarOptions { default_mtime: now() });
            fetch.walk(reader, WINDOW_BYTES).map_err(GetError::from).boxed()
        };
        let bytes = match options.compression {
            None => archive(),
            Some(level) if options.archive => compressed(self.node.pool(), archive(), level),
            Some(_) if !info.kind.is_file() => return Err(GetError::NotRegular),
            Some(level) => {
                let file = fetch.walk(FileReader::new(*root, 0, None), WINDOW_BYTES);
                compressed(self.node.pool(), file.map_err(GetError::from).boxed(), level)
            }
        };
        Ok(Get { size, bytes })
    }
}

/// Entries that record no time get that of the request, as in Kubo.
fn now() -> Mtime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Mtime { seconds: since.as_secs().cast_signed(), nanos: None }
}

/// A stream, compressed on the pool's threads.
fn compressed(
    pool: &Pool,
    bytes: BoxStream<'static, Result<Bytes, GetError>>,
    level: u32,
) -> BoxStream<'static, Result<Bytes, GetError>> {
    let encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    let state = (pool.clone(), bytes, Some(encoder));
    let steps = try_unfold(state, |(pool, mut bytes, encoder)| async move {
        let Some(mut encoder) = encoder else { return Ok::<_, GetError>(None) };
        let (mut gathered, mut gathered_bytes, mut ended) = (Vec::new(), 0, false);
        while gathered_bytes < COMPRESS_BYTES && !ended {
            match bytes.try_next().await? {
                Some(next) => {
                    gathered_bytes += next.len();
                    gathered.push(next);
                }
                None => ended = true,
            }
        }
        let work = move || {
            let written = gathered.iter().try_for_each(|next| encoder.write_all(next));
            written.expect("invariant: writing into a Vec does not fail");
            if ended {
                let rest = encoder.finish().expect("invariant: writing into a Vec does not fail");
                return (Bytes::from(rest), None);
            }
            (Bytes::from(std::mem::take(encoder.get_mut())), Some(encoder))
        };
        let (out, encoder) = pool.run(work).await?;
        Ok(Some((out, (pool, bytes, encoder))))
    });
    steps.try_filter(|out| std::future::ready(!out.is_empty())).boxed()
}
