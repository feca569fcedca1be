//! The reserve: a file that holds space for the day on which others have filled the disk to the last byte.
//!
//! Adding stops long before (`space`), but it is not alone on the disk. Removing needs space too: rows that say what is
//! gone go to the log first. So a file is kept that nobody uses, and given up for `pin rm`, deletion and garbage
//! collection alone, before RocksDB meets the full disk. It is made again when there is room for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;

use crate::changes::Change;
use crate::error::{IndexError, WriteError};
use crate::space;
use crate::store::Inner;
use crate::sync::lock;
use crate::tail::{Commit, Round};

const NAME: &str = "reserve";
/// How long after a vain try to make the file the next one comes.
const RETRY: Duration = Duration::from_secs(2);
/// Zeros written at a time where space cannot be allocated without.
const CHUNK: usize = 1 << 20;

pub(crate) struct Reserve {
    path: PathBuf,
    /// Size of the file; 0 means that there is to be none.
    bytes: u64,
    /// Free space that is left when it is made.
    gate: u64,
    state: Mutex<State>,
}

struct State {
    held: bool,
    next_try: Instant,
}

impl Reserve {
    /// The reserve of a repo. It is made if there is room for it and for what adding leaves free.
    pub(crate) fn open(repo: &Path, bytes: u64, gate: u64) -> Self {
        let path = repo.join(NAME);
        let found = fs::metadata(&path).ok().map(|meta| meta.len());
        let held = bytes > 0 && found == Some(bytes);
        if found.is_some() && !held {
            drop(fs::remove_file(&path));
        }
        let state = Mutex::new(State { held, next_try: Instant::now() });
        let reserve = Self { path, bytes, gate, state };
        reserve.restore();
        reserve
    }

    /// Whether the file ought to be there and is not.
    pub(crate) fn is_missing(&self) -> bool {
        self.bytes > 0 && !lock(&self.state).held
    }

    /// Whether there is so little space that nothing but removing may go on. Without a reserve, it is simply tried.
    pub(crate) fn is_needed(&self) -> bool {
        self.bytes > 0 && space::free_bytes(&self.path_of_disk()).is_ok_and(|free| free < self.floor())
    }

    /// Free bytes below which the reserve is needed.
    pub(crate) fn floor(&self) -> u64 {
        self.bytes / 4
    }

    fn path_of_disk(&self) -> PathBuf {
        self.path.parent().unwrap_or(&self.path).to_owned()
    }

    /// Gives the space back. Whether there was any.
    pub(crate) fn give_up(&self) -> bool {
        let mut state = lock(&self.state);
        if !state.held {
            return false;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::error!("could not give up the reserve {}: {error}", self.path.display());
            return false;
        }
        tracing::warn!("the disk is full: the reserve of {} bytes is given up for removing", self.bytes);
        (state.held, state.next_try) = (false, Instant::now() + RETRY);
        true
    }

    /// Makes the file if it is missing and there is room.
    pub(crate) fn restore(&self) {
        let mut state = lock(&self.state);
        if self.bytes == 0 || state.held || Instant::now() < state.next_try {
            return;
        }
        state.next_try = Instant::now() + RETRY;
        let needed = self.bytes.saturating_add(self.gate);
        if space::free_bytes(&self.path_of_disk()).is_ok_and(|free| free >= needed) {
            match allocate(&self.path, self.bytes) {
                Ok(()) => state.held = true,
                Err(error) => tracing::debug!("could not make the reserve: {error}"),
            }
        }
    }
}

/// Makes a file that takes so many bytes on disk.
fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    let beside = path.with_extension("tmp");
    let make = || {
        let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let zeros = vec![0; CHUNK];
                let mut left = bytes;
                while left > 0 {
                    let now = left.min(CHUNK as u64);
                    file.write_all(zeros.get(..now as usize).unwrap_or_default())?;
                    left -= now;
                }
            }
            other => other?,
        }
        fs::rename(&beside, path)
    };
    let made = make();
    if made.is_err() {
        drop(fs::remove_file(&beside));
    }
    made
}

/// Whether an error means that there is no space.
pub(crate) fn is_full(error: &WriteError) -> bool {
    match error {
        WriteError::DiskFull { .. } => true,
        WriteError::Index(IndexError::Closed(text)) => says_full(text),
        _ => false,
    }
}

/// Whether RocksDB's text says that there is no space: it has no other word for it.
pub(crate) fn says_full(text: &str) -> bool {
    ["No space left", "quota exceeded"].iter().any(|words| text.contains(words))
}

impl Commit {
    /// Whether it makes the store smaller, or is on the way to it.
    pub(crate) fn frees(&self) -> bool {
        self.removing
            || self.changes.iter().any(|change| matches!(change, Change::Unpin { .. })) && !self.adds()
    }

    /// Whether it makes the store larger.
    fn adds(&self) -> bool {
        self.changes
            .iter()
            .any(|change| matches!(change, Change::Pin(_) | Change::FilesRoot(_) | Change::NameRecord { .. }))
    }
}

impl Inner {
    /// While the reserve is needed, what frees is done first and alone, and what adds is refused before RocksDB can meet
    /// a full disk. Returns what is left to be done.
    pub(crate) fn ration(&self, mut round: Round) -> Option<Round> {
        if !self.reserve_file.is_needed() {
            return Some(round);
        }
        let (freeing, others): (Vec<_>, Vec<_>) = round.commits.drain(..).partition(Commit::frees);
        round.commits = others;
        if !freeing.is_empty() {
            self.reserve_file.give_up();
            self.run_now(Round { commits: freeing, ..Round::default() });
        }
        let path = self.segments.path();
        let full = WriteError::DiskFull {
            path: path.to_owned(),
            free_bytes: space::free_bytes(path).unwrap_or(0),
            needed_bytes: self.reserve_file.floor(),
        };
        if !round.rows.is_empty() {
            self.refuse(round, full);
            return None;
        }
        let (adding, harmless) = round.commits.drain(..).partition(Commit::adds);
        crate::committer::answer(adding, &Err(full));
        round.commits = harmless;
        Some(round)
    }

    /// Removes something; if the disk turns out to be full, once more with what the reserve held.
    pub(crate) fn with_reserve<T>(
        &self,
        remove: impl Fn() -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        self.room_to_remove()?;
        match remove() {
            Err(error) if is_full(&error) && self.reserve_file.give_up() => {
                self.room_to_remove()?;
                remove()
            }
            other => other,
        }
    }

    /// To be called before rows are removed: gives up the reserve if it is needed, and lets the index be opened again if
    /// it met a full disk before.
    pub(crate) fn room_to_remove(&self) -> Result<(), WriteError> {
        if self.reserve_file.is_needed() {
            self.reserve_file.give_up();
        }
        if !self.reopen.load(std::sync::atomic::Ordering::Acquire) {
            return Ok(());
        }
        match self.barrier_to_remove() {
            // It was opened again: that is what was wanted.
            Err(WriteError::Generation) => Ok(()),
            other => other,
        }
    }
}
