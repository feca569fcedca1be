//! `import_file`: small files on the calling thread, large ones through the pipeline.

use std::io::{self, Read};

use bytes::Bytes;

use super::balanced::Balanced;
use super::batch::{Batch, Naming};
use super::draft::{LayoutBuilder, leaf};
use super::leaf::LeafFormat;
use super::pipeline::{Pipeline, Source};
use super::pool::ImportPool;
use super::trickle::Trickle;
use super::{BlockSink, FileMeta, ImportError, ImportParams, Imported, Layout};
use crate::block::Block;

/// Files up to this size are imported on the calling thread alone: 1 MiB, which takes about a millisecond to hash.
pub const INLINE_FILE_BYTES_MAX: usize = 1 << 20;

/// Imports a file: reads `reader` to its end, stores all blocks and gives the root.
///
/// `size_hint` is the expected length in bytes; a wrong one costs time only. `progress` is told the number of bytes of
/// each read. May be called from several threads with one `pool`. Blocks the calling thread.
pub fn import_file(
    params: &ImportParams,
    meta: FileMeta,
    reader: &mut dyn Read,
    size_hint: Option<u64>,
    pool: &ImportPool,
    sink: &dyn BlockSink,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported, ImportError> {
    params.check()?;
    let hint =
        size_hint.map_or(INLINE_FILE_BYTES_MAX / 16, |hint| usize::try_from(hint).unwrap_or(usize::MAX));
    let mut start = Vec::new();
    if hint <= INLINE_FILE_BYTES_MAX {
        // One byte over tells that there is more.
        start.reserve_exact(hint + 1);
        let limit = INLINE_FILE_BYTES_MAX as u64 + 1;
        let told = Told { reader: &mut *reader, progress: &mut *progress };
        told.take(limit).read_to_end(&mut start).map_err(ImportError::Read)?;
        if start.len() <= INLINE_FILE_BYTES_MAX {
            return import_bytes(params, meta, start.into(), sink);
        }
    }
    let source = Source { start: start.into(), reader, progress };
    Pipeline { params, meta, pool, sink }.run(source)
}

/// A reader that tells of every read, so that progress goes on while a slow source is waited for.
struct Told<'a> {
    reader: &'a mut dyn Read,
    progress: &'a mut dyn FnMut(u64),
}

impl Read for Told<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        if read > 0 {
            (self.progress)(read as u64);
        }
        Ok(read)
    }
}

/// Imports a file that is in memory, on the calling thread.
fn import_bytes(
    params: &ImportParams,
    meta: FileMeta,
    mut rest: Bytes,
    sink: &dyn BlockSink,
) -> Result<Imported, ImportError> {
    let (naming, format) = (Naming::of(params), LeafFormat::of(params));
    let (mut layout, mut batch) = (new_layout(params), Batch::default());
    let mut first = true;
    while let Some(cut) = params.chunker.cut(&rest, true).or_else(|| format.cut_of_nothing(first)) {
        let chunk = rest.split_to(cut);
        let root_meta = (first && rest.is_empty()).then_some(meta);
        first = false;
        let data = format.frame(chunk, root_meta);
        let cid = naming.name(format.codec(), &data)?;
        layout.add(&leaf(cid, data.len(), cut as u64), &naming, &mut batch)?;
        batch.push(Block::trusted(cid, data));
    }
    let root = layout.finish(meta, &naming, &mut batch)?;
    batch.put(sink)?;
    Ok(root)
}

/// An empty layout.
pub(crate) fn new_layout(params: &ImportParams) -> Box<dyn LayoutBuilder> {
    match params.layout {
        Layout::Balanced => Box::new(Balanced::new(params.file_links_max)),
        Layout::Trickle => Box::new(Trickle::new(params.file_links_max)),
    }
}
