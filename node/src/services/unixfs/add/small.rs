//! Small files: opened, read, hashed and framed by one of several workers, their blocks stored in large batches.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use holdfast_dag::block::Block;
use holdfast_dag::import::{
    BlockSink, FileMeta, INLINE_FILE_BYTES_MAX, ImportError, ImportPool, Imported, SinkError, import_file,
    import_symlink,
};
use holdfast_dag::unixfs::Mtime;

use super::source::{Body, Entry, Unreadable, go_error};
use super::{AddError, AddOptions};

/// Blocks are handed to the store when they have this many bytes ...
const BATCH_BYTES: usize = 1 << 20;
/// ... or are this many.
const BATCH_BLOCKS: usize = 4096;

/// What became of an entry.
pub(super) struct Done {
    pub(super) path: Vec<u8>,
    pub(super) mode: Option<u32>,
    pub(super) mtime: Option<Mtime>,
    pub(super) outcome: Outcome,
}

/// See [`Done`].
pub(super) enum Outcome {
    /// A file or symlink is stored.
    Stored { imported: Imported, file_bytes: Option<u64> },
    /// A directory begins.
    Directory,
    /// A file that is too large for a worker.
    Large { disk: PathBuf, bytes: u64 },
    /// It cannot be read.
    Unreadable(Unreadable),
    /// The add cannot go on.
    Failed(AddError),
}

/// Turns small entries into blocks, one after the other.
pub(super) struct Worker<'a> {
    options: &'a AddOptions,
    pool: &'a ImportPool,
    sink: &'a dyn BlockSink,
    collected: Collector,
}

impl<'a> Worker<'a> {
    pub(super) fn new(options: &'a AddOptions, pool: &'a ImportPool, sink: &'a dyn BlockSink) -> Self {
        Self { options, pool, sink, collected: Collector::default() }
    }

    /// Processes a batch in order.
    pub(super) fn batch(&mut self, entries: Vec<Entry>) -> Vec<Done> {
        entries.into_iter().map(|entry| self.entry(entry)).collect()
    }

    /// Hands the blocks that are still here to the store.
    pub(super) fn flush(&self) -> Result<(), SinkError> {
        self.collected.pass_on(self.sink)
    }

    fn entry(&mut self, entry: Entry) -> Done {
        let Entry { path, body, mode, mtime } = entry;
        let meta = self.options.meta(mode, mtime);
        let outcome = match body {
            Body::File(disk) => self.file(disk, meta),
            Body::Symlink(target) => {
                let imported = import_symlink(&self.options.import, &target, meta, &self.collected);
                self.stored(imported.map_err(AddError::from), None)
            }
            Body::Directory => Outcome::Directory,
            Body::Reader { .. } => Outcome::Failed(AddError::Nothing),
        };
        Done { path, mode, mtime, outcome }
    }

    fn file(&mut self, disk: PathBuf, meta: FileMeta) -> Outcome {
        let unreadable = |call: &str, error: &std::io::Error| {
            let error = go_error(call, &disk, error);
            Outcome::Unreadable(Unreadable { path: disk.display().to_string(), error })
        };
        let opened = File::open(&disk).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, mut file) = match opened {
            Ok(opened) => opened,
            Err(error) => return unreadable("open", &error),
        };
        if bytes > INLINE_FILE_BYTES_MAX as u64 {
            return Outcome::Large { disk, bytes };
        }
        let (mut read, params) = (0, &self.options.import);
        let mut count = |bytes: u64| read += bytes;
        match import_file(params, meta, &mut file, Some(bytes), self.pool, &self.collected, &mut count) {
            Err(ImportError::Read(error)) => unreadable("read", &error),
            imported => self.stored(imported.map_err(AddError::from), Some(read)),
        }
    }

    fn stored(&mut self, imported: Result<Imported, AddError>, file_bytes: Option<u64>) -> Outcome {
        let put = self.collected.pass_on_large(self.sink);
        match (imported, put) {
            (Ok(imported), Ok(())) => Outcome::Stored { imported, file_bytes },
            (Err(error), _) => Outcome::Failed(error),
            (_, Err(error)) => Outcome::Failed(ImportError::Sink(error).into()),
        }
    }
}

/// Gathers the blocks of many small imports.
#[derive(Default)]
pub(super) struct Collector {
    held: Mutex<(Vec<Block>, usize)>,
}

impl BlockSink for Collector {
    fn put(&self, blocks: Vec<Block>) -> Result<(), SinkError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.1 += blocks.iter().map(|block| block.data.len()).sum::<usize>();
        held.0.extend(blocks);
        Ok(())
    }
}

impl Collector {
    /// Passes on what is held if it is worth it.
    pub(super) fn pass_on_large(&self, sink: &dyn BlockSink) -> Result<(), SinkError> {
        self.pass_on_from(sink, BATCH_BYTES, BATCH_BLOCKS)
    }

    /// Passes on what is held.
    pub(super) fn pass_on(&self, sink: &dyn BlockSink) -> Result<(), SinkError> {
        self.pass_on_from(sink, 0, 1)
    }

    fn pass_on_from(
        &self,
        sink: &dyn BlockSink,
        bytes_min: usize,
        blocks_min: usize,
    ) -> Result<(), SinkError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0.is_empty() || (held.1 < bytes_min && held.0.len() < blocks_min) {
            return Ok(());
        }
        let (blocks, _) = std::mem::take(&mut *held);
        drop(held);
        sink.put(blocks)
    }
}
