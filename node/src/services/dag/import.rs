//! `dag import`: archives into the store, their roots pinned once they are complete and durable.
//!
//! Archives are read on a thread of their own; blocks go in batches to workers that check their hashes and store them.
//! Nothing is pinned before all archives have been read to their end.

use std::collections::HashSet;
use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use holdfast_blockstore::{Change, WriteError, Writer};
use holdfast_dag::block::{BLOCK_BYTES_MAX, Block, VerifyError};
use holdfast_dag::car::{CarError, CarEvent, CarLimits, CarReader};
use holdfast_dag::cid::Cid;
use holdfast_dag::ipld;

use super::Dag;
use crate::node::Node;
use crate::pool::{Cancelled, OperationStream, Output, PoolError};
use crate::services::blocks::BIG_BLOCK;
use crate::services::pins::{Complete, CompleteError, Job, recursive_pin};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// A batch for a worker has this many bytes of blocks ...
const BATCH_BYTES: usize = 1 << 20;
/// ... or is this many blocks.
const BATCH_BLOCKS: usize = 1024;

/// How archives are imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct ImportOptions {
    /// Pin the roots that the archives name, recursively. Default: yes.
    pub pin_roots: bool,
    /// Give [`ImportEvent::Stats`] at the end. Default: no.
    pub stats: bool,
    /// Take blocks over 2 MiB too, which other nodes do not; up to 8 MiB. Default: no.
    pub allow_big: bool,
    /// Give [`ImportEvent::Progress`]. Default: no.
    pub progress: bool,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { pin_roots: true, stats: false, allow_big: false, progress: false }
    }
}

/// What happens during an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportEvent {
    /// Bytes of archives read so far.
    Progress {
        /// Bytes.
        bytes: u64,
    },
    /// A root is pinned durably, or not. Each root once, in the order of the archives.
    Root {
        /// The root.
        cid: Cid,
        /// Why it is not pinned.
        error: Option<String>,
    },
    /// A root that an archive names and that is not to be pinned. Its blocks are stored.
    Unpinned {
        /// The root.
        cid: Cid,
    },
    /// What was read. Blocks that occur twice count twice.
    Stats {
        /// Number of blocks.
        blocks: u64,
        /// Their bytes.
        bytes: u64,
    },
}

/// Why an import failed. Blocks read before stay stored, unpinned.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DagImportError {
    /// The archive does not begin with a header.
    #[error(transparent)]
    Header(CarError),
    /// The archive is broken.
    #[error("import failed{}: {error}", after(.previous.as_deref()))]
    Archive {
        /// The last good block.
        previous: Option<Box<Cid>>,
        /// What is wrong.
        error: CarError,
    },
    /// A block is not what its CID says, or does not decode.
    #[error("import failed at block \"{cid}\": {reason}")]
    Block {
        /// The block.
        cid: Box<Cid>,
        /// What is wrong.
        reason: String,
    },
    /// An archive could not be opened.
    #[error("{0}")]
    Open(String),
    /// An archive could not be read.
    #[error("import failed: {0}")]
    Read(String),
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] WriteError),
    /// Some roots were not pinned; the others are.
    #[error("unable to pin all roots: {failed} out of {roots} failed")]
    Pins {
        /// Roots not pinned.
        failed: usize,
        /// All roots.
        roots: usize,
    },
    /// The consumer went away.
    #[error("dag import was cancelled")]
    Cancelled,
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

fn after(previous: Option<&Cid>) -> String {
    previous.map_or_else(String::new, |cid| format!(" after block \"{cid}\""))
}

impl From<Cancelled> for DagImportError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// The events of an import.
pub type ImportStream = OperationStream<ImportEvent, DagImportError>;

impl Dag {
    /// Imports archives, one after the other.
    pub fn import<A>(&self, archives: A, options: ImportOptions) -> ImportStream
    where
        A: Iterator<Item = std::io::Result<Box<dyn Read + Send>>> + Send + 'static,
    {
        let node = self.node.clone();
        self.node.pool().stream(64, move |output| run(&node, archives, options, output))
    }
}

type Archive = Box<dyn Read + Send>;

fn run(
    node: &Node,
    archives: impl Iterator<Item = std::io::Result<Archive>>,
    options: ImportOptions,
    output: &Output<ImportEvent>,
) -> Result<(), DagImportError> {
    let writer = node.store().writer();
    let read = read_all(&writer, archives, options, output)?;
    if output.is_cancelled() {
        return Err(DagImportError::Cancelled);
    }
    let (roots, unpinned) =
        if options.pin_roots { (read.roots, Vec::new()) } else { (Vec::new(), read.roots) };
    let job = Job::cancelled_by(output.cancel_flag());
    let checked: Vec<(Cid, Result<(), CompleteError>)> = {
        let mut complete = Complete::new(node, &writer, &job);
        roots.into_iter().map(|root| (root, complete.dag(&root))).collect()
    };
    if output.is_cancelled() {
        return Err(DagImportError::Cancelled);
    }
    let complete = checked.iter().filter(|(_, check)| check.is_ok());
    let pins: Vec<Change> = complete.flat_map(|(root, _)| recursive_pin(*root, "")).collect();
    writer.commit(&pins)?;
    let (roots, failed) = (checked.len(), checked.iter().filter(|(_, check)| check.is_err()).count());
    for (cid, check) in checked {
        output.send(ImportEvent::Root { cid, error: check.err().map(|error| error.to_string()) })?;
    }
    if failed > 0 {
        return Err(DagImportError::Pins { failed, roots });
    }
    for cid in unpinned {
        output.send(ImportEvent::Unpinned { cid })?;
    }
    if options.stats {
        output.send(ImportEvent::Stats { blocks: read.blocks, bytes: read.bytes })?;
    }
    Ok(())
}

/// What the archives held.
#[derive(Default)]
struct Contents {
    roots: Vec<Cid>,
    known_roots: HashSet<Cid>,
    blocks: u64,
    bytes: u64,
    bytes_read: u64,
}

type Batch = Vec<(Box<Cid>, Bytes)>;

fn read_all(
    writer: &Writer,
    archives: impl Iterator<Item = std::io::Result<Archive>>,
    options: ImportOptions,
    output: &Output<ImportEvent>,
) -> Result<Contents, DagImportError> {
    let workers = thread::available_parallelism().map_or(2, usize::from).clamp(1, 8);
    let (batches, queue) = sync_channel::<Batch>(2 * workers);
    let queue = Mutex::new(queue);
    let failed = Mutex::new(None);
    let read = thread::scope(|scope| {
        for _ in 0..workers {
            let spawned = thread::Builder::new().name("import".to_owned()).spawn_scoped(scope, || {
                work(writer, &queue, &failed);
            });
            spawned.map_err(|_| PoolError::NoThread)?;
        }
        let mut contents = Contents::default();
        for archive in archives {
            let archive = archive.map_err(|error| DagImportError::Open(error.to_string()))?;
            let mut intake = Intake { batches: &batches, failed: &failed, batch: Vec::new(), batch_bytes: 0 };
            read_archive(archive, &mut intake, &mut contents, options, output)?;
        }
        drop(batches);
        Ok(contents)
    });
    // What a worker found explains best why the reading stopped.
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => read,
    }
}

/// Checks and stores batches until there are no more. After a failure the rest is only taken in, so that the reader
/// never waits for a worker that has gone.
fn work(writer: &Writer, queue: &Mutex<Receiver<Batch>>, failed: &Mutex<Option<DagImportError>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = next else { return };
        if has_failed(failed) {
            continue;
        }
        if let Err(error) = store(writer, batch) {
            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }
}

fn has_failed(failed: &Mutex<Option<DagImportError>>) -> bool {
    failed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

fn store(writer: &Writer, batch: Batch) -> Result<(), DagImportError> {
    let mut blocks = Vec::with_capacity(batch.len());
    for (cid, data) in batch {
        let refused = |reason: String| DagImportError::Block { cid: cid.clone(), reason };
        let block = Block::verified(*cid, data).map_err(|error: VerifyError| refused(error.to_string()))?;
        if ipld::has_decoder(cid.codec()) {
            ipld::links(cid.codec(), &block.data.to_bytes()).map_err(|error| refused(error.to_string()))?;
        }
        blocks.push(block);
    }
    Ok(writer.put(blocks)?)
}

/// Gathers blocks for the workers.
struct Intake<'a> {
    batches: &'a SyncSender<Batch>,
    failed: &'a Mutex<Option<DagImportError>>,
    batch: Batch,
    batch_bytes: usize,
}

impl Intake<'_> {
    fn push(&mut self, cid: Box<Cid>, data: Bytes) -> Result<(), DagImportError> {
        self.batch_bytes += data.len();
        self.batch.push((cid, data));
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_BLOCKS {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), DagImportError> {
        self.batch_bytes = 0;
        if has_failed(self.failed) {
            // The worker's error is told instead of this one.
            return Err(DagImportError::Cancelled);
        }
        self.batches.send(std::mem::take(&mut self.batch)).map_err(|_| DagImportError::Cancelled)
    }
}

fn read_archive(
    mut archive: Archive,
    intake: &mut Intake<'_>,
    contents: &mut Contents,
    options: ImportOptions,
    output: &Output<ImportEvent>,
) -> Result<(), DagImportError> {
    let limits = CarLimits::default();
    let section = limits.section_bytes_max;
    let block_bytes_max = if options.allow_big { section } else { BLOCK_BYTES_MAX };
    let mut reader = CarReader::new(CarLimits { block_bytes_max, ..limits });
    let (mut in_header, mut previous) = (true, None);
    loop {
        let event = reader.next_event().map_err(|error| match error {
            CarError::BlockTooLarge { cid, .. } => {
                DagImportError::Block { cid, reason: BIG_BLOCK.to_owned() }
            }
            error if in_header => DagImportError::Header(error),
            error => DagImportError::Archive { previous: previous.take(), error },
        })?;
        match event {
            CarEvent::NeedMore => {
                let mut buffer = vec![0; READ_BYTES];
                let count = read_some(&mut archive, &mut buffer)?;
                buffer.truncate(count);
                if count == 0 {
                    reader.finish();
                } else {
                    reader.push(buffer);
                }
                contents.bytes_read += count as u64;
                if options.progress {
                    output.send(ImportEvent::Progress { bytes: contents.bytes_read })?;
                } else if output.is_cancelled() {
                    return Err(DagImportError::Cancelled);
                }
            }
            CarEvent::Header { roots, .. } => {
                in_header = false;
                for root in roots {
                    if contents.known_roots.insert(root) {
                        contents.roots.push(root);
                    }
                }
            }
            CarEvent::Block { cid, data } => {
                contents.blocks += 1;
                contents.bytes += data.len() as u64;
                previous = Some(cid.clone());
                intake.push(cid, data)?;
            }
            CarEvent::End => return intake.flush(),
        }
    }
}

fn read_some(archive: &mut Archive, buffer: &mut [u8]) -> Result<usize, DagImportError> {
    loop {
        match archive.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read.map_err(|error| DagImportError::Read(error.to_string())),
        }
    }
}
