//! Verification: every block is read and compared with its hash, at the pace that the caller allows.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use holdfast_dag::cid::{Cid, Multihash, codec};

use crate::error::{DeleteError, ReadError, WriteError};
use crate::index::{Rows, after};
use crate::rows::{MetaRow, decode_meta_key, family};
use crate::segment::Place;
use crate::store::Store;

/// Rows read at a time: after so many blocks the verification can be resumed.
const PAGE: usize = 1024;
/// Bytes of values in memory at a time.
const BYTES_AT_ONCE: u64 = 8 << 20;
/// The same when the pace is limited, so that it is even.
const BYTES_AT_ONCE_PACED: u64 = 1 << 20;
/// Longest sleep: after it, whoever wants it to end is asked.
const SLEEP: Duration = Duration::from_millis(100);

/// How [`Store::verify_with`] goes about it.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Bytes of values read a second at most; 0, the default, is as fast as it goes.
    pub bytes_per_second_max: u64,
    /// Where to go on: what [`VerifyEvent::Page`] gave, empty for the beginning.
    pub from: Vec<u8>,
    /// Whether damaged blocks are removed. What one of them links to stays known, so that a garbage collection keeps
    /// the rest of what is pinned. Default: no.
    pub drop_damaged: bool,
}

/// What a verification tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum VerifyEvent {
    /// The bytes of a block match its hash.
    Sound(Multihash),
    /// They do not, or cannot be read.
    Damaged(Multihash, ReadError),
    /// They do not, and the block was removed.
    Removed(Multihash, ReadError),
    /// They do not, and the block could not be removed.
    Stayed(Multihash, ReadError, DeleteError),
    /// Everything before this place is done: a later verification can go on from here.
    Page(Vec<u8>),
    /// Nothing was read in this moment, because the pace is limited: a chance to end it.
    Waiting,
}

/// Why a verification ended early.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VerifyError {
    /// The index could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A damaged block could not be removed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Takes an event and says whether to go on.
type Each<'a> = &'a mut dyn FnMut(VerifyEvent) -> ControlFlow<()>;

impl Store {
    /// Reads and hashes every block and tells `each` about it, until all are done or it breaks. Returns the number of
    /// blocks looked at. Damaged blocks are remembered: adding them again repairs them. Nothing is changed otherwise.
    pub fn verify(&self, each: &mut dyn FnMut(VerifyEvent) -> ControlFlow<()>) -> Result<u64, ReadError> {
        match self.verify_with(&VerifyOptions::default(), each) {
            Ok(checked) => Ok(checked),
            Err(VerifyError::Read(error)) => Err(error),
            Err(VerifyError::Write(_)) => {
                unreachable!("invariant: nothing is removed without `drop_damaged`")
            }
        }
    }

    /// As [`Store::verify`], with options. Reads and writes go on beside; memory is bounded by 8 MiB of values and one
    /// page of the index.
    pub fn verify_with(
        &self,
        options: &VerifyOptions,
        each: &mut dyn FnMut(VerifyEvent) -> ControlFlow<()>,
    ) -> Result<u64, VerifyError> {
        // So that everything is in the index, which is read in pages, and each page in the order of the disk.
        if let Err(error) = self.flush() {
            tracing::warn!("verifying what is indexed only: {error}");
        }
        let mut run = Run { store: self, options, pace: Pace::new(options.bytes_per_second_max), checked: 0 };
        let mut from = options.from.clone();
        loop {
            let index = self.inner().index.get().map_err(ReadError::from)?;
            let rows = index.page(family::META, &[], &from, PAGE).map_err(ReadError::from)?;
            drop(index);
            let Some((last, _)) = rows.last() else { break };
            from = after(last);
            if run.page(&rows, each)?.is_break() || each(VerifyEvent::Page(from.clone())).is_break() {
                break;
            }
        }
        Ok(run.checked)
    }
}

struct Run<'a> {
    store: &'a Store,
    options: &'a VerifyOptions,
    pace: Pace,
    checked: u64,
}

impl Run<'_> {
    /// A page of blocks, in the order of the disk.
    fn page(&mut self, rows: &Rows, each: Each<'_>) -> Result<ControlFlow<()>, VerifyError> {
        let mut places: Vec<(Place, Multihash)> = Vec::with_capacity(rows.len());
        for (key, value) in rows {
            let hash = match decode_meta_key(key) {
                Ok(hash) => hash,
                Err(error) => {
                    // It has no name that could be told to anyone but the program's log.
                    tracing::warn!("{error}");
                    continue;
                }
            };
            match MetaRow::decode(value) {
                Ok(row) => places.push((row.place, hash)),
                Err(error) => {
                    self.checked += 1;
                    if each(VerifyEvent::Damaged(hash, error.at(key).into())).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        places.sort_unstable_by_key(|(place, _)| (place.segment, place.offset));
        let at_once = if self.pace.bytes_per_second > 0 { BYTES_AT_ONCE_PACED } else { BYTES_AT_ONCE };
        let mut rest = places.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|(place, _)| {
                bytes += u64::from(place.size);
                bytes <= at_once
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            rest = later;
            if self.blocks(now, each)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn blocks(
        &mut self,
        blocks: &[(Place, Multihash)],
        each: Each<'_>,
    ) -> Result<ControlFlow<()>, VerifyError> {
        let cids: Vec<Cid> = blocks.iter().map(|(_, hash)| Cid::new_v1(codec::RAW, *hash)).collect();
        for (cid, result) in cids.iter().zip(self.store.get_many(&cids)) {
            let event = match result {
                Ok(Some(_)) => VerifyEvent::Sound(*cid.hash()),
                // Deleted meanwhile.
                Ok(None) => continue,
                Err(error) => match self.damaged(cid, error)? {
                    Some(event) => event,
                    None => continue,
                },
            };
            self.checked += 1;
            if each(event).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        let bytes = blocks.iter().map(|(place, _)| u64::from(place.size)).sum();
        Ok(self.pace.after(bytes, each))
    }

    /// Removes a damaged block if that is asked for. `None`: it is gone or healed by someone else meanwhile.
    fn damaged(&self, cid: &Cid, error: ReadError) -> Result<Option<VerifyEvent>, WriteError> {
        let hash = *cid.hash();
        if !self.options.drop_damaged || !matches!(error, ReadError::Damaged { .. }) {
            return Ok(Some(VerifyEvent::Damaged(hash, error)));
        }
        Ok(match self.store.remove_damaged(cid)? {
            Ok(()) => Some(VerifyEvent::Removed(hash, error)),
            Err(DeleteError::NotFound(_)) => None,
            Err(why) => Some(VerifyEvent::Stayed(hash, error, why)),
        })
    }
}

/// Keeps reading at a pace.
struct Pace {
    bytes_per_second: u64,
    begin: Instant,
    bytes: u64,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, begin: Instant::now(), bytes: 0 }
    }

    /// Waits until so many bytes more may have been read.
    fn after(&mut self, bytes: u64, each: Each<'_>) -> ControlFlow<()> {
        if self.bytes_per_second == 0 {
            return ControlFlow::Continue(());
        }
        self.bytes += bytes;
        let due = Duration::from_secs_f64(self.bytes as f64 / self.bytes_per_second as f64);
        while let Some(wait) = due.checked_sub(self.begin.elapsed()).filter(|wait| !wait.is_zero()) {
            std::thread::sleep(wait.min(SLEEP));
            each(VerifyEvent::Waiting)?;
        }
        ControlFlow::Continue(())
    }
}
