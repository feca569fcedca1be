//! The course of one add, on a thread of its own.
//!
//! Entries are gathered into batches. Workers open, read and hash the small files of a batch; this thread takes the
//! batches back in order, imports the large files itself with the hash threads of the import pool, builds the
//! directories and tells the events. The first batch is worked off here: an add of a few files starts no thread.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};

use holdfast_blockstore::{Change, Writer};
use holdfast_dag::block::Block;
use holdfast_dag::import::{BlockSink, ImportError, ImportPool, Imported, SinkError, import_file};
use holdfast_dag::unixfs::Mtime;

use super::small::{Collector, Done, Outcome, Worker};
use super::source::{Body, Entry, Found, Source, Unreadable, go_error};
use super::tree::Tree;
use super::{AddError, AddEvent, AddOptions, Added};
use crate::node::Node;
use crate::pool::Output;
use crate::services::files::{AddedRoot, ToFiles};
use crate::services::pins::recursive_pin;

/// Entries of a batch: at most about 64 KiB of names, and with files of 1.5 kB about 100 KiB of content.
const BATCH_ENTRIES: usize = 64;

/// Batches in work or waiting for their turn, per worker.
const BATCHES_PER_WORKER: usize = 4;

/// Progress is told in steps of so many bytes, as in Kubo.
const PROGRESS_BYTES: u64 = 256 << 10;

/// Events that may wait for their roots to be durable.
const HELD_EVENTS_MAX: usize = 1 << 16;

/// Runs an add to its end. Everything is committed at once, or nothing is pinned.
pub(super) fn run(
    node: &Node,
    mut source: impl Source,
    options: &AddOptions,
    output: &Output<AddEvent>,
) -> Result<(), AddError> {
    let writer = (!options.only_hash).then(|| node.store().writer());
    let told = match &writer {
        Some(writer) => add_all(node.import_pool(), &StoreSink(writer), &mut source, options, output),
        None => add_all(node.import_pool(), &NoSink, &mut source, options, output),
    }?;
    if output.is_cancelled() {
        return Err(AddError::Cancelled);
    }
    let mut for_files = Vec::new();
    if let Some(writer) = writer {
        let pins: Vec<Change> = if options.pin { told.pins(options) } else { Vec::new() };
        if options.to_files.is_some() {
            for_files = told.for_files(node);
        }
        writer.commit(&pins)?;
    }
    for added in told.held {
        output.send(AddEvent::Added(added))?;
    }
    if let Some(path) = &options.to_files {
        let mut target = ToFiles::new(path);
        for root in &for_files {
            target.link(node, root).map_err(AddError::ToFiles)?;
        }
    }
    match told.first_unreadable {
        Some(first) => Err(AddError::Unreadable { count: told.unreadable, first }),
        None if told.roots.is_empty() => Err(AddError::Nothing),
        None => Ok(()),
    }
}

/// What remains to be done once all blocks are handed to the store.
struct Told {
    /// With the names that they came with.
    roots: Vec<(Vec<u8>, Imported)>,
    held: Vec<Added>,
    unreadable: u64,
    first_unreadable: Option<String>,
}

impl Told {
    fn pins(&self, options: &AddOptions) -> Vec<Change> {
        let name = &options.pin_name;
        self.roots.iter().flat_map(|(_, root)| recursive_pin(root.cid, name)).collect()
    }

    /// The roots for the mutable file system, held until they are linked there: they may be without a pin.
    fn for_files(&self, node: &Node) -> Vec<AddedRoot> {
        let roots = self.roots.iter().map(|(name, imported)| AddedRoot {
            name: name_of(name),
            imported: *imported,
            _held: node.store().hold(imported.cid),
        });
        roots.collect()
    }
}

fn add_all(
    pool: &ImportPool,
    sink: &dyn BlockSink,
    source: &mut dyn Source,
    options: &AddOptions,
    output: &Output<AddEvent>,
) -> Result<Told, AddError> {
    let workers_max = thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    let directories = Collector::default();
    let mut engine = Engine::new(pool, sink, &directories, options, output, source.depth_first());
    thread::scope(|scope| {
        let mut crew = Crew::new(scope, pool, sink, options, workers_max);
        let mut batch = Vec::new();
        while let Some(found) = source.next() {
            if output.is_cancelled() {
                return Err(AddError::Cancelled);
            }
            match found? {
                Found::Entry(Entry { path, body: Body::Reader { reader, size }, mode, mtime }) => {
                    // The reader must be read out before the source goes on: everything before it comes first.
                    crew.give(std::mem::take(&mut batch));
                    engine.settle(&mut crew, 0)?;
                    engine.reader(Heading { path, mode, mtime }, reader, size)?;
                }
                Found::Entry(entry) => batch.push(entry),
                Found::Unreadable(unreadable) => {
                    crew.give(std::mem::take(&mut batch));
                    crew.waiting.push_back(Turn::Unreadable(unreadable));
                }
            }
            if batch.len() >= BATCH_ENTRIES {
                crew.give(std::mem::take(&mut batch));
                engine.settle(&mut crew, workers_max * BATCHES_PER_WORKER)?;
            }
        }
        crew.give(batch);
        engine.settle(&mut crew, 0)?;
        crew.finish()
    })?;
    engine.finish()
}

/// The workers, and the batches that they have, in order.
struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    /// The worker of this thread, for the first batch.
    own: Worker<'env>,
    new_worker: Box<dyn Fn() -> Worker<'env> + 'env>,
    workers_max: usize,
    jobs: Option<SyncSender<Job>>,
    ends: Vec<thread::ScopedJoinHandle<'scope, Result<(), SinkError>>>,
    waiting: VecDeque<Turn>,
    given: usize,
}

/// What comes next, in the order of the source.
enum Turn {
    Done(Vec<Done>),
    InWork(Receiver<Vec<Done>>),
    Unreadable(Unreadable),
}

impl<'scope, 'env> Crew<'scope, 'env> {
    fn new(
        scope: &'scope Scope<'scope, 'env>,
        pool: &'env ImportPool,
        sink: &'env dyn BlockSink,
        options: &'env AddOptions,
        workers_max: usize,
    ) -> Self {
        let new_worker = Box::new(move || Worker::new(options, pool, sink));
        let (own, ends, waiting) = (new_worker(), Vec::new(), VecDeque::new());
        Self { scope, own, new_worker, workers_max, jobs: None, ends, waiting, given: 0 }
    }

    /// Gives a batch into work.
    fn give(&mut self, batch: Vec<Entry>) {
        if batch.is_empty() {
            return;
        }
        self.given += 1;
        if self.given == 1 {
            let done = self.own.batch(batch);
            self.waiting.push_back(Turn::Done(done));
            return;
        }
        let jobs = match &self.jobs {
            Some(jobs) => jobs,
            None => self.jobs.insert(start_workers(
                self.scope,
                &self.new_worker,
                self.workers_max,
                &mut self.ends,
            )),
        };
        let (done, in_work) = sync_channel(1);
        if let Err(refused) = jobs.send((batch, done)) {
            // No worker could be started, or all have panicked: this thread does it.
            let done = self.own.batch(refused.0.0);
            self.waiting.push_back(Turn::Done(done));
            return;
        }
        self.waiting.push_back(Turn::InWork(in_work));
    }

    /// Has all workers store what they hold, and ends them.
    fn finish(mut self) -> Result<(), AddError> {
        self.jobs = None;
        self.own.flush().map_err(ImportError::Sink)?;
        for end in self.ends {
            end.join()
                .map_err(|_| AddError::Pool(crate::pool::PoolError::Panicked))?
                .map_err(ImportError::Sink)?;
        }
        Ok(())
    }
}

type Job = (Vec<Entry>, SyncSender<Vec<Done>>);

fn start_workers<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    new_worker: &dyn Fn() -> Worker<'env>,
    workers_max: usize,
    ends: &mut Vec<thread::ScopedJoinHandle<'scope, Result<(), SinkError>>>,
) -> SyncSender<Job> {
    let (jobs, queue) = sync_channel::<Job>(workers_max * BATCHES_PER_WORKER);
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..workers_max {
        let (queue, mut worker) = (Arc::clone(&queue), new_worker());
        let spawned = thread::Builder::new().name("add".to_owned()).spawn_scoped(scope, move || {
            loop {
                let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((batch, done)) = job else { return worker.flush() };
                // The coordinator may have given up: then nobody waits.
                drop(done.send(worker.batch(batch)));
            }
        });
        ends.extend(spawned);
    }
    jobs
}

/// Name and metadata of an entry.
struct Heading {
    path: Vec<u8>,
    mode: Option<u32>,
    mtime: Option<Mtime>,
}

/// Takes results in order, builds directories, tells events.
struct Engine<'a> {
    pool: &'a ImportPool,
    sink: &'a dyn BlockSink,
    /// Blocks of directories, which are small and many.
    directories: &'a Collector,
    options: &'a AddOptions,
    output: &'a Output<AddEvent>,
    depth_first: bool,
    /// The top-level directory that is being built, or the wrapping one.
    tree: Option<(Heading, Tree<'a>)>,
    /// Names in the wrapping directory.
    wrapped: HashSet<Vec<u8>>,
    told: Told,
}

impl<'a> Engine<'a> {
    fn new(
        pool: &'a ImportPool,
        sink: &'a dyn BlockSink,
        directories: &'a Collector,
        options: &'a AddOptions,
        output: &'a Output<AddEvent>,
        depth_first: bool,
    ) -> Self {
        let told = Told { roots: Vec::new(), held: Vec::new(), unreadable: 0, first_unreadable: None };
        let mut engine = Self {
            pool,
            sink,
            directories,
            options,
            output,
            depth_first,
            tree: None,
            wrapped: HashSet::new(),
            told,
        };
        if options.wrap {
            engine.open_tree(Heading { path: Vec::new(), mode: None, mtime: None });
        }
        engine
    }

    fn open_tree(&mut self, heading: Heading) {
        let (options, implied) = (self.options, self.options.meta(None, None));
        let meta = options.meta(heading.mode, heading.mtime);
        let tree = Tree::new(
            &options.import,
            self.directories,
            meta,
            implied,
            self.depth_first,
            !options.empty_dirs,
        );
        self.tree = Some((heading, tree));
    }

    /// Takes results until at most `left` turns wait.
    fn settle(&mut self, crew: &mut Crew<'_, '_>, left: usize) -> Result<(), AddError> {
        while crew.waiting.len() > left {
            let done = match crew.waiting.pop_front() {
                None => return Ok(()),
                Some(Turn::Unreadable(unreadable)) => {
                    self.unreadable(unreadable)?;
                    continue;
                }
                Some(Turn::Done(done)) => done,
                Some(Turn::InWork(done)) => {
                    done.recv().map_err(|_| AddError::Pool(crate::pool::PoolError::Panicked))?
                }
            };
            for done in done {
                self.done(done)?;
            }
            self.directories.pass_on_large(self.sink).map_err(ImportError::Sink)?;
        }
        Ok(())
    }

    fn done(&mut self, done: Done) -> Result<(), AddError> {
        let Done { path, mode, mtime, outcome } = done;
        let heading = Heading { path, mode, mtime };
        match outcome {
            Outcome::Stored { imported, file_bytes } => {
                if let Some(bytes) = file_bytes {
                    self.small_progress(&heading.path, bytes)?;
                }
                self.stored(heading, imported)
            }
            Outcome::Directory => self.directory(heading),
            Outcome::Large { disk, bytes } => match File::open(&disk) {
                Ok(file) => match self.import(&heading, file, Some(bytes)) {
                    // A file that fails half-way is left out like one that cannot be opened.
                    Err(AddError::Import(error)) if matches!(*error, ImportError::Read(_)) => {
                        let text = match &*error {
                            ImportError::Read(error) => go_error("read", &disk, error),
                            other => other.to_string(),
                        };
                        self.left_out(
                            &heading.path,
                            Unreadable { path: disk.display().to_string(), error: text },
                        )
                    }
                    outcome => self.stored(heading, outcome?),
                },
                Err(error) => {
                    let error = go_error("open", &disk, &error);
                    self.left_out(&heading.path, Unreadable { path: disk.display().to_string(), error })
                }
            },
            Outcome::Unreadable(unreadable) => self.left_out(&heading.path, unreadable),
            Outcome::Failed(error) => Err(error),
        }
    }

    /// A stream: what it fails with fails the add, because its source is in an unknown state.
    fn reader(
        &mut self,
        heading: Heading,
        reader: Box<dyn Read + Send>,
        size: Option<u64>,
    ) -> Result<(), AddError> {
        let imported = self.import(&heading, reader, size)?;
        self.stored(heading, imported)
    }

    fn import(
        &mut self,
        heading: &Heading,
        reader: impl Read + Send,
        size: Option<u64>,
    ) -> Result<Imported, AddError> {
        let cancelled = self.output.cancel_flag();
        let mut reader = Cancellable { reader, cancelled: &cancelled };
        let (mut bytes, mut told, mut gone) = (0, 0, false);
        let name = name_of(&heading.path);
        let (output, progress) = (self.output, self.options.progress);
        let mut tell = |read: u64| {
            bytes += read;
            // In the steps in which Kubo tells it, however much is read at once.
            while progress && !gone && bytes - told >= PROGRESS_BYTES {
                told += PROGRESS_BYTES;
                gone = output.send(AddEvent::Progress { name: name.clone(), bytes: told }).is_err();
            }
        };
        let meta = self.options.meta(heading.mode, heading.mtime);
        let imported =
            import_file(&self.options.import, meta, &mut reader, size, self.pool, self.sink, &mut tell);
        if gone || cancelled.load(Ordering::Relaxed) {
            return Err(AddError::Cancelled);
        }
        let imported = imported?;
        if progress && (told < bytes || bytes == 0) {
            output.send(AddEvent::Progress { name, bytes })?;
        }
        Ok(imported)
    }

    /// The progress of a file that was read at once, in the steps in which Kubo tells it.
    fn small_progress(&mut self, path: &[u8], bytes: u64) -> Result<(), AddError> {
        if self.options.progress {
            let name = name_of(path);
            for step in (1..=bytes / PROGRESS_BYTES).map(|step| step * PROGRESS_BYTES) {
                self.output.send(AddEvent::Progress { name: name.clone(), bytes: step })?;
            }
            if bytes == 0 || !bytes.is_multiple_of(PROGRESS_BYTES) {
                self.output.send(AddEvent::Progress { name, bytes })?;
            }
        }
        Ok(())
    }

    fn directory(&mut self, heading: Heading) -> Result<(), AddError> {
        if self.options.wrap {
            if is_top_level(&heading.path) && !self.wrapped.insert(heading.path.clone()) {
                return Err(AddError::Duplicate);
            }
            let meta = self.options.meta(heading.mode, heading.mtime);
            if let Some((_, tree)) = &mut self.tree {
                tree.directory(&heading.path, meta)?;
            }
            return Ok(());
        }
        if is_top_level(&heading.path) {
            self.close_tree()?;
            self.open_tree(heading);
            return Ok(());
        }
        let meta = self.options.meta(heading.mode, heading.mtime);
        let (tree, path) = self.tree_of(&heading.path)?;
        tree.directory(path, meta)?;
        Ok(())
    }

    /// The tree that an entry below the top belongs to, and its path in there.
    fn tree_of<'p>(&mut self, path: &'p [u8]) -> Result<(&mut Tree<'a>, &'p [u8]), AddError> {
        let (top, inner) = if self.options.wrap {
            (&[][..], path)
        } else {
            let slash = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default())
        };
        if self.tree.as_ref().is_none_or(|(heading, _)| heading.path != top) {
            self.close_tree()?;
            self.open_tree(Heading { path: top.to_owned(), mode: None, mtime: None });
        }
        let (_, tree) = self.tree.as_mut().ok_or(AddError::Nothing)?;
        Ok((tree, inner))
    }

    /// A file or symlink is complete.
    fn stored(&mut self, mut heading: Heading, imported: Imported) -> Result<(), AddError> {
        let given = heading.path.clone();
        if heading.path.is_empty() {
            heading.path = imported.cid.to_string().into_bytes();
        }
        let name = name_of(&heading.path);
        if is_top_level(&heading.path) && !self.options.wrap {
            self.close_tree()?;
            self.told.roots.push((given, imported));
            return self.added(name, &imported, &heading, true);
        }
        if self.options.wrap && is_top_level(&heading.path) && !self.wrapped.insert(heading.path.clone()) {
            return Err(AddError::Duplicate);
        }
        let (tree, path) = self.tree_of(&heading.path)?;
        tree.entry(path, &imported)?;
        let top = self.top();
        self.added(name, &imported, &top, false)
    }

    /// Metadata of the top-level entry that is being built, which its events echo.
    fn top(&self) -> Heading {
        let (mode, mtime) = self.tree.as_ref().map_or((None, None), |(top, _)| (top.mode, top.mtime));
        Heading { path: Vec::new(), mode, mtime }
    }

    fn added(
        &mut self,
        name: String,
        imported: &Imported,
        top: &Heading,
        is_root: bool,
    ) -> Result<(), AddError> {
        let Heading { mode, mtime, .. } = *top;
        let added = Added { name, cid: imported.cid, size: imported.tsize, mode, mtime };
        let waits = (is_root || !self.told.held.is_empty()) && self.told.held.len() < HELD_EVENTS_MAX;
        if waits && !self.options.only_hash {
            self.told.held.push(added);
            return Ok(());
        }
        for held in self.told.held.drain(..) {
            self.output.send(AddEvent::Added(held))?;
        }
        Ok(self.output.send(AddEvent::Added(added))?)
    }

    fn left_out(&mut self, path: &[u8], unreadable: Unreadable) -> Result<(), AddError> {
        if !is_top_level(path) {
            let (tree, path) = self.tree_of(path)?;
            tree.mention(path)?;
        }
        self.unreadable(unreadable)
    }

    fn unreadable(&mut self, unreadable: Unreadable) -> Result<(), AddError> {
        self.told.unreadable += 1;
        self.told.first_unreadable.get_or_insert_with(|| unreadable.error.clone());
        Ok(self.output.send(AddEvent::Unreadable(unreadable))?)
    }

    /// Completes the top-level directory, if one is being built.
    fn close_tree(&mut self) -> Result<(), AddError> {
        let Some((top, tree)) = self.tree.take() else { return Ok(()) };
        let (finished, root) = tree.finish()?;
        for (path, cid, tsize) in finished.iter() {
            let path =
                if top.path.is_empty() { path.to_owned() } else { [&top.path, &b"/"[..], path].concat() };
            self.added(name_of(&path), &Imported { cid, tsize, filesize: 0 }, &top, false)?;
        }
        self.told.roots.push((top.path.clone(), root));
        self.added(name_of(&top.path), &root, &top, true)
    }

    fn finish(mut self) -> Result<Told, AddError> {
        self.close_tree()?;
        self.directories.pass_on(self.sink).map_err(ImportError::Sink)?;
        Ok(self.told)
    }
}

/// A path as events tell it.
fn name_of(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn is_top_level(path: &[u8]) -> bool {
    !path.contains(&b'/')
}

/// A reader that fails once the add is cancelled.
struct Cancellable<'a, R> {
    reader: R,
    cancelled: &'a AtomicBool,
}

impl<R: Read> Read for Cancellable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        self.reader.read(buffer)
    }
}

/// Blocks go to the store.
struct StoreSink<'a>(&'a Writer);

impl BlockSink for StoreSink<'_> {
    fn put(&self, blocks: Vec<Block>) -> Result<(), SinkError> {
        Ok(self.0.put(blocks)?)
    }
}

/// Blocks go nowhere.
struct NoSink;

impl BlockSink for NoSink {
    fn put(&self, _: Vec<Block>) -> Result<(), SinkError> {
        Ok(())
    }
}
