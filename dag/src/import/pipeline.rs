//! Large files: read, cut, hash, assemble and store at the same time.
//!
//! The calling thread reads into pooled slabs and cuts them; the pool's threads hash leaves in jobs of about 1 MiB; one
//! thread of this import puts the results back in order, builds the inner nodes and hands batches to the sink. What is
//! under way is bounded by the pool's slabs and by a number of jobs. The calling thread hashes too when it has to wait.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::{Buf as _, Bytes};

use super::batch::{Batch, Naming};
use super::draft::leaf;
use super::file::new_layout;
use super::leaf::LeafFormat;
use super::pool::{ImportPool, SLAB_BYTES, Slab};
use super::{BlockSink, FileMeta, ImportError, ImportParams, Imported};
use crate::block::{Block, BlockBytes};

/// A job has about this many bytes of leaves, so that no core waits long for another at the end.
const JOB_BYTES: usize = 1 << 20;

/// A job has at most this many leaves: tiny chunks take more memory beside their bytes than in them.
const JOB_LEAVES_MAX: usize = 1024;

/// Jobs of one import that are queued, hashed or waiting to be stored.
const JOBS_MAX: usize = 64;

/// Most bytes of one read, so that progress is told in small steps.
const READ_BYTES_MAX: usize = 1 << 20;

/// The input.
pub(crate) struct Source<'a> {
    /// What was read before.
    pub(crate) start: Bytes,
    pub(crate) reader: &'a mut dyn Read,
    pub(crate) progress: &'a mut dyn FnMut(u64),
}

impl Source<'_> {
    /// Fills a slab up to `limit` bytes. True at the end of the input.
    fn fill(&mut self, slab: &mut Slab, limit: usize) -> Result<bool, ImportError> {
        loop {
            let space = slab.space(limit);
            if space.is_empty() {
                return Ok(false);
            }
            if self.start.has_remaining() {
                let taken = space.len().min(self.start.len());
                if let Some(space) = space.get_mut(..taken) {
                    self.start.copy_to_slice(space);
                }
                slab.advance(taken);
                continue;
            }
            let read_max = space.len().min(READ_BYTES_MAX);
            match self.reader.read(space.get_mut(..read_max).unwrap_or_default()) {
                Ok(0) => return Ok(true),
                Ok(read) => {
                    slab.advance(read);
                    (self.progress)(read as u64);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(ImportError::Read(error)),
            }
        }
    }
}

/// What is under way in one import.
#[derive(Default)]
struct Flow {
    slabs: AtomicUsize,
    jobs: AtomicUsize,
    failed: AtomicBool,
    /// The assembling thread is gone, and takes no results any more.
    unwound: AtomicBool,
}

impl Flow {
    fn failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}

/// Leaves to hash. Whatever becomes of it, it reports exactly once: when it is dropped.
struct HashJob {
    sequence: u64,
    leaves: Vec<BlockBytes>,
    /// Length of each leaf's chunk.
    chunk_bytes: Vec<u64>,
    /// Whether these are the last leaves of their slab.
    ends_slab: bool,
    naming: Naming,
    codec: u64,
    outcome: Option<Result<Vec<Block>, ImportError>>,
    to: Sender<Hashed>,
}

struct Hashed {
    sequence: u64,
    blocks: Result<Vec<Block>, ImportError>,
    chunk_bytes: Vec<u64>,
    ends_slab: bool,
}

impl HashJob {
    fn run(mut self) {
        let leaves = std::mem::take(&mut self.leaves);
        let name = |data: BlockBytes| -> Result<Block, ImportError> {
            Ok(Block::trusted(self.naming.name(self.codec, &data)?, data))
        };
        self.outcome = Some(leaves.into_iter().map(name).collect());
    }
}

impl Drop for HashJob {
    fn drop(&mut self) {
        self.leaves.clear();
        let hashed = Hashed {
            sequence: self.sequence,
            blocks: self.outcome.take().unwrap_or(Err(ImportError::Worker)),
            chunk_bytes: std::mem::take(&mut self.chunk_bytes),
            ends_slab: self.ends_slab,
        };
        // Nobody listens any more when the import has failed.
        let _ = self.to.send(hashed);
    }
}

/// One import of a large file.
#[derive(Clone, Copy)]
pub(crate) struct Pipeline<'a> {
    pub(crate) params: &'a ImportParams,
    pub(crate) meta: FileMeta,
    pub(crate) pool: &'a ImportPool,
    pub(crate) sink: &'a dyn BlockSink,
}

impl Pipeline<'_> {
    pub(crate) fn run(self, mut source: Source<'_>) -> Result<Imported, ImportError> {
        let (flow, (to, from)) = (Flow::default(), channel());
        std::thread::scope(|scope| {
            let flow = &flow;
            let assembler = std::thread::Builder::new()
                .name("import-assemble".to_owned())
                .spawn_scoped(scope, move || self.assemble(flow, &from))
                .map_err(ImportError::Read)?;
            let fed = Feeder::new(self, flow, to).feed(&mut source);
            if fed.is_err() {
                flow.failed.store(true, Ordering::SeqCst);
            }
            // A failed import too waits for its jobs: those of a pool without threads are run here.
            self.pool.wait(|| flow.jobs.load(Ordering::SeqCst) == 0 || flow.unwound.load(Ordering::SeqCst));
            let assembled = assembler.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            fed.and(assembled)
        })
    }

    /// Takes hash results in any order, and leaves to the layout and the sink in theirs.
    fn assemble(self, flow: &Flow, from: &Receiver<Hashed>) -> Result<Imported, ImportError> {
        // A sink that panics must not leave the feeding thread waiting.
        let failing = FailOnUnwind { flow, pool: self.pool };
        let naming = Naming::of(self.params);
        let (mut layout, mut batch) = (new_layout(self.params), Batch::default());
        let mut outcome = Ok(());
        let (mut waiting, mut next) = (BTreeMap::new(), 0);
        for hashed in from {
            waiting.insert(hashed.sequence, hashed);
            while let Some(hashed) = waiting.remove(&next) {
                next += 1;
                let ends_slab = hashed.ends_slab;
                if outcome.is_ok() {
                    outcome = (|| {
                        for (block, chunk_bytes) in hashed.blocks?.into_iter().zip(hashed.chunk_bytes) {
                            layout.add(
                                &leaf(block.cid, block.data.len(), chunk_bytes),
                                &naming,
                                &mut batch,
                            )?;
                            batch.push(block);
                        }
                        if ends_slab || batch.is_large() { batch.put(self.sink) } else { Ok(()) }
                    })();
                    if outcome.is_err() {
                        flow.failed.store(true, Ordering::SeqCst);
                    }
                }
                flow.jobs.fetch_sub(1, Ordering::SeqCst);
                flow.slabs.fetch_sub(usize::from(ends_slab), Ordering::SeqCst);
                self.pool.moved();
            }
        }
        std::mem::forget(failing);
        outcome?;
        if flow.failed() {
            // The feeding thread has the reason.
            return Err(ImportError::Worker);
        }
        let root = layout.finish(self.meta, &naming, &mut batch)?;
        batch.put(self.sink)?;
        Ok(root)
    }
}

/// Marks the import as failed when its assembling thread unwinds.
struct FailOnUnwind<'a> {
    flow: &'a Flow,
    pool: &'a ImportPool,
}

impl Drop for FailOnUnwind<'_> {
    fn drop(&mut self) {
        self.flow.failed.store(true, Ordering::SeqCst);
        self.flow.unwound.store(true, Ordering::SeqCst);
        self.pool.moved();
    }
}

/// The reading and cutting end.
struct Feeder<'a> {
    pipeline: Pipeline<'a>,
    flow: &'a Flow,
    to: Sender<Hashed>,
    format: LeafFormat,
    sequence: u64,
    leaves: Vec<BlockBytes>,
    chunk_bytes: Vec<u64>,
    bytes: usize,
}

impl<'a> Feeder<'a> {
    fn new(pipeline: Pipeline<'a>, flow: &'a Flow, to: Sender<Hashed>) -> Self {
        let format = LeafFormat::of(pipeline.params);
        let (leaves, chunk_bytes) = (Vec::new(), Vec::new());
        Self { pipeline, flow, to, format, sequence: 0, leaves, chunk_bytes, bytes: 0 }
    }

    fn feed(mut self, source: &mut Source<'_>) -> Result<(), ImportError> {
        let (chunker, pool) = (self.pipeline.params.chunker, self.pipeline.pool);
        // Chunks of one size fill slabs exactly; of others, what is left over is copied to the next slab.
        let limit = chunker
            .fixed_bytes()
            .map_or(SLAB_BYTES, |size| (SLAB_BYTES / size).min(4 * JOB_LEAVES_MAX) * size);
        let mut left_over = Vec::new();
        let mut first = true;
        while !self.flow.failed() {
            let mut slab = pool.slab(|| self.flow.slabs.load(Ordering::SeqCst) == 0 || self.flow.failed());
            self.flow.slabs.fetch_add(1, Ordering::SeqCst);
            slab.extend_from_slice(&left_over);
            let last = source.fill(&mut slab, limit)?;
            let mut rest = slab.freeze();
            while let Some(cut) =
                chunker.cut(&rest, last).or_else(|| self.format.cut_of_nothing(first && last))
            {
                if self.bytes >= JOB_BYTES || self.leaves.len() >= JOB_LEAVES_MAX {
                    self.queue(false);
                }
                let chunk = rest.split_to(cut);
                let only = first && last && rest.is_empty();
                first = false;
                self.bytes += cut;
                self.chunk_bytes.push(cut as u64);
                self.leaves.push(self.format.frame(chunk, only.then_some(self.pipeline.meta)));
            }
            left_over.clear();
            left_over.extend_from_slice(&rest);
            drop(rest);
            if self.leaves.is_empty() {
                self.flow.slabs.fetch_sub(1, Ordering::SeqCst);
            } else {
                self.queue(true);
            }
            if last {
                break;
            }
        }
        Ok(())
    }

    /// Sends the leaves gathered so far to be hashed, as soon as there is room.
    fn queue(&mut self, ends_slab: bool) {
        let Pipeline { pool, params, .. } = self.pipeline;
        pool.wait(|| self.flow.jobs.load(Ordering::SeqCst) < JOBS_MAX || self.flow.failed());
        self.flow.jobs.fetch_add(1, Ordering::SeqCst);
        let job = HashJob {
            sequence: self.sequence,
            leaves: std::mem::take(&mut self.leaves),
            chunk_bytes: std::mem::take(&mut self.chunk_bytes),
            ends_slab,
            naming: Naming::of(params),
            codec: self.format.codec(),
            outcome: None,
            to: self.to.clone(),
        };
        self.sequence += 1;
        self.bytes = 0;
        pool.queue(Box::new(move || job.run()));
    }
}
