//! What is new in the store: told by those who put and commit, noted in the table a moment later and together.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_blockstore::{Change, Happened, PinKind};
use holdfast_dag::cid::{Cid, Multihash};
use tokio::sync::{Notify, oneshot, watch};

use super::feed::Feed;
use super::strategy::Strategy;
use super::table::Table;
use super::walk::{KeysError, Sink, Source};
use crate::pool::Pool;

/// Blocks that wait to be noted: about 5 MB. Of more, a sync finds them again.
const BLOCKS_MAX: usize = 32_768;

/// Pins and DAGs that wait to be walked. Of more, a sync finds them again.
const ROOTS_MAX: usize = 16_384;

/// How long what is new is gathered before it is noted.
const GATHER: Duration = Duration::from_millis(100);

/// Keys that are noted in one batch.
const BATCH: usize = 4_096;

/// What is new.
#[derive(Default)]
struct New {
    blocks: Vec<Multihash>,
    pins: Vec<(Cid, PinKind)>,
    /// DAGs that somebody wants announced, and who waits until they were walked.
    dags: Vec<(Cid, Option<oneshot::Sender<()>>)>,
    files: bool,
    /// Something found no room.
    is_missed: bool,
}

/// Where what is new waits.
pub(super) struct Intake {
    strategy: Strategy,
    new: Mutex<New>,
    bell: Notify,
}

impl Intake {
    pub(super) fn new(strategy: Strategy) -> Self {
        Self { strategy, new: Mutex::default(), bell: Notify::new() }
    }

    /// Something happened in the store. Called by those who write: it only remembers.
    pub(super) fn happened(&self, happened: Happened<'_>) {
        match happened {
            Happened::Stored(blocks) if self.strategy.all => self.change(|new| {
                let room = BLOCKS_MAX.saturating_sub(new.blocks.len());
                new.blocks.extend(blocks.iter().take(room).map(|(cid, _)| *cid.hash()));
                new.is_missed |= blocks.len() > room;
            }),
            Happened::Committed(changes) if !self.strategy.all => self.committed(changes),
            _ => {}
        }
    }

    fn committed(&self, changes: &[Change]) {
        let strategy = self.strategy;
        let takes_pins = strategy.pinned || strategy.roots;
        let matters = |change: &Change| match change {
            Change::Pin(_) => takes_pins,
            Change::FilesRoot(_) => strategy.mfs,
            _ => false,
        };
        if !changes.iter().any(matters) {
            return;
        }
        self.change(|new| {
            for change in changes.iter().filter(|change| matters(change)) {
                match change {
                    Change::Pin(pin) if new.pins.len() < ROOTS_MAX => new.pins.push((pin.cid, pin.kind)),
                    Change::Pin(_) => new.is_missed = true,
                    _ => new.files = true,
                }
            }
        });
    }

    /// Has a DAG walked and announced. The receiver is told when it was walked, or dropped where there is no room.
    pub(super) fn dag(&self, root: Cid) -> oneshot::Receiver<()> {
        let (walked, receiver) = oneshot::channel();
        self.change(|new| {
            if new.dags.len() < ROOTS_MAX {
                new.dags.push((root, Some(walked)));
            }
        });
        receiver
    }

    fn change(&self, change: impl FnOnce(&mut New)) {
        change(&mut self.new.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.notify_one();
    }

    fn take(&self) -> New {
        std::mem::take(&mut *self.new.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Notes what is new.
pub(super) struct Noter {
    pub(super) intake: Arc<Intake>,
    pub(super) table: Arc<Table>,
    pub(super) pool: Pool,
    pub(super) folder: PathBuf,
    pub(super) feeds: Vec<Arc<Feed>>,
    /// Rung where something was missed.
    pub(super) sync: Arc<Notify>,
    pub(super) is_stopping: watch::Receiver<bool>,
}

impl Noter {
    /// Runs until it is aborted.
    pub(super) async fn run(self) {
        loop {
            self.intake.bell.notified().await;
            tokio::time::sleep(GATHER).await;
            let new = self.intake.take();
            if new.is_missed {
                self.sync.notify_one();
            }
            for batch in new.blocks.chunks(BATCH) {
                self.note(batch.to_vec()).await;
            }
            self.walk(new.pins, new.dags, new.files).await;
            for feed in &self.feeds {
                feed.ring();
            }
        }
    }

    async fn note(&self, batch: Vec<Multihash>) {
        let table = Arc::clone(&self.table);
        let noted = self.pool.run(move || table.note(&batch, false, true).map(drop)).await;
        if let Ok(Err(error)) = noted {
            tracing::warn!("new blocks are announced later: {error}");
            self.sync.notify_one();
        }
    }

    async fn walk(
        &self,
        pins: Vec<(Cid, PinKind)>,
        dags: Vec<(Cid, Option<oneshot::Sender<()>>)>,
        files: bool,
    ) {
        if pins.is_empty() && dags.is_empty() && !files {
            return;
        }
        let (table, folder, strategy) = (Arc::clone(&self.table), self.folder.clone(), self.intake.strategy);
        let is_stopping = self.is_stopping.clone();
        let walked = self.pool.operation(move || {
            let source = Source { store: table.store(), folder: &folder, strategy, skips_known: true };
            let mut sink = |hashes: &[Multihash], is_whole: bool| {
                if *is_stopping.borrow() {
                    return Err(KeysError::Stopped);
                }
                Ok(table.note(hashes, is_whole, true)?)
            };
            walk_all(&source, pins, dags, files, &mut sink)
        });
        match walked.await {
            Ok(Ok(()) | Err(KeysError::Stopped)) => {}
            Ok(Err(error)) => {
                tracing::warn!("what was pinned or put into files is announced later: {error}");
                self.sync.notify_one();
            }
            Err(error) => tracing::warn!("what was pinned or put into files is announced later: {error}"),
        }
    }
}

fn walk_all(
    source: &Source<'_>,
    pins: Vec<(Cid, PinKind)>,
    dags: Vec<(Cid, Option<oneshot::Sender<()>>)>,
    files: bool,
    sink: &mut Sink<'_>,
) -> Result<(), KeysError> {
    for (cid, kind) in pins {
        source.pinned(&cid, kind, sink)?;
    }
    for (cid, walked) in dags {
        source.below(&cid, sink)?;
        if let Some(walked) = walked {
            // Who waited may have gone.
            let _is_heard = walked.send(());
        }
    }
    if files { source.new_files(sink) } else { Ok(()) }
}
