//! `dag export`: a DAG as a CAR, version 1, depth first, each block once.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use holdfast_dag::car::{encode_header, encode_section_head};
use holdfast_dag::cid::Cid;
use holdfast_dag::read::{DagWalk, ReadError};

use super::Dag;
use crate::fetch::{FetchError, WINDOW_BYTES, Walk, WalkError};

/// Blocks below this size are gathered until there are [`GATHERED_BYTES`].
const SMALL_BLOCK_BYTES: usize = 16 << 10;
/// See [`SMALL_BLOCK_BYTES`].
const GATHERED_BYTES: usize = 64 << 10;

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportOptions {
    /// Leave out what is not stored here, instead of failing. Default: no.
    pub local_only: bool,
}

/// Why an export ends early.
pub type ExportError = WalkError<ReadError>;

/// The bytes of the archive of a DAG.
pub type Export = Archive<Walk<DagWalk>>;

/// The bytes of an archive, version 1, of the blocks of a stream.
pub struct Archive<S> {
    blocks: S,
    gathered: BytesMut,
    /// A large block whose head was gathered.
    block: Option<Bytes>,
    ended: bool,
    /// Told at the end, after what came before it.
    failed: Option<ExportError>,
}

impl Dag {
    /// The archive of the DAG below `root`. Fails at once if the root cannot be had.
    pub async fn export(&self, root: &Cid, options: ExportOptions) -> Result<Export, FetchError> {
        let fetch = self.node.fetch();
        let fetch = if options.local_only { fetch.offline() } else { fetch.together() };
        fetch.get(root).await?;
        let mut walk = fetch.walk(DagWalk::new([*root]), WINDOW_BYTES);
        if options.local_only {
            walk = walk.without_missing(DagWalk::supply_missing);
        }
        Ok(Archive::new(&[*root], walk))
    }
}

impl<S> Archive<S> {
    /// An archive that names these roots.
    pub fn new(roots: &[Cid], blocks: S) -> Self {
        let gathered = BytesMut::from(&encode_header(roots)[..]);
        Self { blocks, gathered, block: None, ended: false, failed: None }
    }
}

impl<S: Stream<Item = Result<(Cid, Bytes), ExportError>> + Unpin> Stream for Archive<S> {
    type Item = Result<Bytes, ExportError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let full = this.gathered.len() >= GATHERED_BYTES || this.block.is_some() || this.ended;
            if full && !this.gathered.is_empty() {
                return Poll::Ready(Some(Ok(this.gathered.split().freeze())));
            }
            if let Some(block) = this.block.take() {
                return Poll::Ready(Some(Ok(block)));
            }
            if this.ended {
                return Poll::Ready(this.failed.take().map(Err));
            }
            match Pin::new(&mut this.blocks).poll_next(context) {
                Poll::Ready(Some(Ok((cid, block)))) => {
                    this.gathered.extend_from_slice(&encode_section_head(&cid, block.len()));
                    if block.len() < SMALL_BLOCK_BYTES {
                        this.gathered.extend_from_slice(&block);
                    } else {
                        this.block = Some(block);
                    }
                }
                Poll::Ready(last) => {
                    this.ended = true;
                    this.failed = last.and_then(Result::err);
                }
                // What is here already need not wait for the next block.
                Poll::Pending if this.gathered.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Some(Ok(this.gathered.split().freeze()))),
            }
        }
    }
}
