//! The store: opening, and what all its parts share.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock, Weak};
use std::thread::JoinHandle;

use holdfast_dag::cid::Cid;
use rocksdb::WriteBatch;

use crate::buffers::BufferPool;
use crate::changes::Change;
use crate::committer::stored;
use crate::config::StoreConfig;
use crate::counters;
pub(crate) use crate::counters::{counter, segment_rows};
use crate::error::{IndexError, OpenError, WriteError};
use crate::format;
use crate::gc::epochs::Epochs;
use crate::index::IndexCell;
use crate::options::Tuning;
use crate::pending::Pending;
use crate::protect::Protection;
use crate::quota::Quota;
use crate::recover::{OpenReport, recover};
use crate::reserve::{Reserve, says_full};
use crate::roots::Roots;
use crate::rows::{family, stats_key};
use crate::segment::Place;
use crate::segments::{SegmentDir, sync_dir};
use crate::sync::{lock, read, write};
use crate::tail::Tail;
use crate::tally::Tally;

/// A block store. Cloning is cheap and shares it; the last clone to go closes it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Arc<Inner>,
    report: OpenReport,
    committer: Mutex<Option<JoinHandle<()>>>,
}

/// What the handle, the writers and the committer's thread share.
pub(crate) struct Inner {
    pub(crate) config: StoreConfig,
    pub(crate) index: IndexCell,
    pub(crate) segments: SegmentDir,
    pub(crate) pending: RwLock<Pending>,
    pub(crate) tail: Mutex<Tail>,
    /// Wakes the committer.
    pub(crate) work: Condvar,
    /// Wakes writers that wait for room.
    pub(crate) room: Condvar,
    /// Advances when a write fails: operations begun before may rely on what is gone.
    pub(crate) generation: AtomicU64,
    /// Counts the times that pending rows went into the index.
    pub(crate) rounds: AtomicU64,
    /// Set when the index failed and has to be opened again before the next write.
    pub(crate) reopen: AtomicBool,
    pub(crate) protection: Protection,
    pub(crate) roots: Roots,
    /// Multihashes of blocks whose stored copy is known to be damaged.
    pub(crate) damaged: RwLock<HashSet<Box<[u8]>>>,
    pub(crate) buffers: Arc<BufferPool>,
    pub(crate) quota: Quota,
    pub(crate) epochs: Epochs,
    /// Held by whoever collects garbage or moves records.
    pub(crate) maintenance: Mutex<()>,
    pub(crate) reserve: u64,
    pub(crate) reserve_file: Reserve,
    pub(crate) tally: Tally,
    /// Told of blocks that became readable, and of changes that were made.
    pub(crate) watchers: RwLock<Vec<Weak<Watcher>>>,
}

/// Takes what happened.
type Watcher = dyn Fn(Happened<'_>) + Send + Sync;

/// Who is told what happens in a store, as long as this is kept ([`Store::watch`]).
#[must_use = "what is dropped is not told anything"]
pub struct Watch {
    _watcher: Arc<Watcher>,
}

/// What a store tells those who watch it ([`Store::watch`]).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Happened<'a> {
    /// Blocks that were not there before can be read, with their sizes in bytes. Whether they are durable by then is
    /// another matter.
    Stored(&'a [(Cid, u64)]),
    /// These changes were committed, all of them.
    Committed(&'a [Change]),
}

impl Store {
    /// Opens the store in a repo folder (`db/` and `segments/` in it), and creates it if there is none.
    ///
    /// The time does not grow with the number of blocks. What a crash left behind needs no hand: the log is replayed,
    /// and bytes appended after the last commit are cut off; [`Store::open_report`] says what was found.
    pub fn open(repo: &Path, config: StoreConfig) -> Result<Self, OpenError> {
        let (db, dir) = (db_path(repo), segments_path(repo));
        for path in [&db, &dir].into_iter().filter(|path| !path.is_dir()) {
            fs::create_dir_all(path).map_err(OpenError::io("create", path))?;
            sync_dir(repo).map_err(OpenError::io("sync", repo))?;
        }
        let bad = |source| OpenError::Index { path: db.clone(), source };
        let reserve_file = Reserve::open(repo, config.reserve_file(), config.reserve());
        let open = || IndexCell::open(db.clone(), Tuning::new(config.budget()), config.durability);
        let index = match open() {
            // Opening writes, and without it nothing could be removed.
            Err(IndexError::Rocks(error)) if says_full(error.as_ref()) && reserve_file.give_up() => open(),
            other => other,
        };
        let index = index.map_err(bad)?;
        let segments = SegmentDir::new(dir);
        let handle = index.get().map_err(bad)?;
        let mut report = OpenReport::default();
        format::check(&handle, &segments, &db, &mut report)?;
        let tail = recover(&handle, &segments, &config, &mut report)?;
        counters::mend(&handle, &mut report.bad_rows).map_err(bad)?;
        report.log();
        let damaged = handle.all(family::STATS, &stats_key::of_damaged(&[])).map_err(bad)?;
        let damaged = damaged.iter().filter_map(|(key, _)| key.get(2..).map(Box::from)).collect();
        let epochs = Epochs::read(&handle).map_err(bad)?;
        let mut pending = Pending::default();
        pending.set_indexed(stored(&handle).map_err(bad)?);
        drop(handle);
        let inner = Arc::new(Inner {
            buffers: BufferPool::new(config.budget().read_buffers),
            reserve: config.reserve(),
            reserve_file,
            tally: Tally::default(),
            watchers: RwLock::default(),
            config,
            index,
            segments,
            pending: RwLock::new(pending),
            tail: Mutex::new(tail),
            work: Condvar::new(),
            room: Condvar::new(),
            generation: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
            protection: Protection::new(),
            roots: Roots::default(),
            damaged: RwLock::new(damaged),
            quota: Quota::default(),
            epochs,
            maintenance: Mutex::default(),
        });
        inner.sample_used();
        let worker = Arc::clone(&inner);
        let committer = std::thread::Builder::new()
            .name("holdfast-commit".to_owned())
            .spawn(move || worker.commit_loop())
            .map_err(OpenError::io("start the committer of", repo))?;
        let shared = Shared { inner, report, committer: Mutex::new(Some(committer)) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What opening found and did.
    pub fn open_report(&self) -> &OpenReport {
        &self.shared.report
    }

    /// Makes everything that was put so far durable, whoever put it. Closing does the same but cannot say how it went.
    pub fn flush(&self) -> Result<(), WriteError> {
        self.inner().barrier(self.inner().generation(), Vec::new())
    }

    /// Has `watcher` told of what is put and committed from now on, until what this returns is dropped.
    ///
    /// It is called on the threads of those who put and commit, in batches: it must be quick and must do neither.
    pub fn watch(&self, watcher: impl Fn(Happened<'_>) + Send + Sync + 'static) -> Watch {
        let watcher: Arc<Watcher> = Arc::new(watcher);
        let mut watchers = write(&self.inner().watchers);
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(&watcher));
        Watch { _watcher: watcher }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.shared.inner
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        lock(&self.inner.tail).stop = true;
        self.inner.work.notify_all();
        self.inner.room.notify_all();
        if let Some(committer) = lock(&self.committer).take() {
            // The thread catches its own failures and has told those who waited for it.
            drop(committer.join());
        }
        if let Ok(index) = self.inner.index.get() {
            index.settle();
        }
    }
}

impl Inner {
    /// Whether anybody watches.
    pub(crate) fn is_watched(&self) -> bool {
        !read(&self.watchers).is_empty()
    }

    /// Tells those who watch.
    pub(crate) fn tell(&self, happened: Happened<'_>) {
        // Not under the lock: a watcher may be dropped in its own call.
        let watchers: Vec<Arc<Watcher>> = read(&self.watchers).iter().filter_map(Weak::upgrade).collect();
        for watcher in &watchers {
            watcher(happened);
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Where a block lies, pending or indexed, damaged or not.
    pub(crate) fn locate(&self, key: &[u8]) -> Result<Option<Place>, IndexError> {
        if let Some(value) = read(&self.pending).value(key) {
            return Ok(Some(value.place));
        }
        Ok(self.index.get()?.meta(key)?.map(|row| row.place))
    }

    /// Where a block lies, unless its copy is known to be damaged.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Option<Place>, IndexError> {
        if self.is_damaged(key) {
            let pending = read(&self.pending).value(key);
            return Ok(pending.filter(|value| value.replaces.is_some()).map(|value| value.place));
        }
        self.locate(key)
    }

    pub(crate) fn is_damaged(&self, key: &[u8]) -> bool {
        let damaged = read(&self.damaged);
        !damaged.is_empty() && damaged.contains(key)
    }

    /// Remembers that a stored copy is damaged, over restarts too, so that the next put of the block rewrites it.
    pub(crate) fn mark_damaged(&self, key: &[u8]) {
        if !write(&self.damaged).insert(key.into()) {
            return;
        }
        let noted = self.index.get().and_then(|index| {
            let mut batch = WriteBatch::default();
            batch.put_cf(index.family(family::STATS), stats_key::of_damaged(key), []);
            index.write(batch, false)
        });
        if let Err(error) = noted {
            tracing::warn!("could not note a damaged block in the index: {error}");
        }
    }
}

/// Folder of the index.
pub(crate) fn db_path(repo: &Path) -> PathBuf {
    repo.join("db")
}

/// Folder of the values.
pub(crate) fn segments_path(repo: &Path) -> PathBuf {
    repo.join("segments")
}
