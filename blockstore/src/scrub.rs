//! The scrub: a verification in the background that goes on where the last process left off, and what it found.

use std::ops::ControlFlow;
use std::time::SystemTime;

use rocksdb::WriteBatch;

use crate::error::{IndexError, ReadError};
use crate::rows::{family, malformed, stats_key};
use crate::store::Store;
use crate::verify::{VerifyError, VerifyEvent, VerifyOptions};

/// Figures of a scrub, whole or under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubFigures {
    /// When it began, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// When it was at this point: for a whole one, when it ended.
    pub at_unix_ms: u64,
    /// Blocks read.
    pub blocks: u64,
    /// Blocks that were damaged.
    pub damaged: u64,
}

/// What is known of scrubs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubState {
    /// The last one that went through all blocks.
    pub last: Option<ScrubFigures>,
    /// The one that goes on when there is time.
    pub current: Option<ScrubFigures>,
}

impl ScrubFigures {
    const LEN: usize = 33;

    fn encode(self) -> Vec<u8> {
        let numbers = [self.began_unix_ms, self.at_unix_ms, self.blocks, self.damaged];
        [1].into_iter().chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect()
    }

    fn decode(row: &[u8]) -> Result<Self, IndexError> {
        let read = || {
            let mut numbers = row.strip_prefix(&[1])?.chunks_exact(8);
            let mut next = || Some(u64::from_le_bytes(*numbers.next()?.first_chunk()?));
            let (began_unix_ms, at_unix_ms) = (next()?, next()?);
            Some(Self { began_unix_ms, at_unix_ms, blocks: next()?, damaged: next()? })
        };
        read().ok_or(malformed(family::STATS, "not a version 1 row of a scrub"))
    }
}

fn now_unix_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Store {
    /// What is known of scrubs. Rows that are malformed count as none.
    pub fn scrub_state(&self) -> Result<ScrubState, ReadError> {
        let index = self.inner().index.get()?;
        let figures = |key| -> Result<Option<ScrubFigures>, ReadError> {
            let row = index.get(family::STATS, key)?;
            Ok(row.and_then(|row| ScrubFigures::decode(&row).ok()))
        };
        Ok(ScrubState { last: figures(stats_key::SCRUBBED)?, current: figures(stats_key::SCRUB)? })
    }

    /// Verifies all blocks at a pace, from where the last scrub was left, and remembers how far it came and what it
    /// found. `go_on` is asked at least every 100 ms, and after each block. Returns the figures if it came to the end.
    ///
    /// Figures of a process that is killed are at most 1,024 blocks behind.
    pub fn scrub(
        &self,
        bytes_per_second_max: u64,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<ScrubFigures>, ReadError> {
        let row = self.inner().index.get()?.get(family::STATS, stats_key::SCRUB)?.unwrap_or_default();
        let (mut figures, from) = match ScrubFigures::decode(&row) {
            Ok(figures) => (figures, row.get(ScrubFigures::LEN..).unwrap_or_default().to_vec()),
            Err(_) => (ScrubFigures { began_unix_ms: now_unix_ms(), ..ScrubFigures::default() }, Vec::new()),
        };
        let options = VerifyOptions { bytes_per_second_max, from, drop_damaged: false };
        let (mut ended, mut failed) = (true, None);
        let result = self.verify_with(&options, &mut |event| {
            match event {
                VerifyEvent::Sound(_) => figures.blocks += 1,
                VerifyEvent::Damaged(hash, error) => {
                    (figures.blocks, figures.damaged) = (figures.blocks + 1, figures.damaged + 1);
                    tracing::warn!("scrub: the block of multihash {:02x?}: {error}", hash.to_bytes());
                }
                VerifyEvent::Page(at) => {
                    figures.at_unix_ms = now_unix_ms();
                    failed = self.note_scrub(&figures, Some(&at)).err();
                }
                VerifyEvent::Removed(..) | VerifyEvent::Stayed(..) | VerifyEvent::Waiting => {}
            }
            ended = failed.is_none() && go_on();
            if ended { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if let Err(VerifyError::Read(error)) = result {
            return Err(error);
        }
        if let Some(error) = failed {
            return Err(error.into());
        }
        if !ended {
            return Ok(None);
        }
        figures.at_unix_ms = now_unix_ms();
        self.note_scrub(&figures, None)?;
        Ok(Some(figures))
    }

    /// Remembers how far a scrub came, or that it came to its end.
    fn note_scrub(&self, figures: &ScrubFigures, at: Option<&[u8]>) -> Result<(), IndexError> {
        let index = self.inner().index.get()?;
        let stats = index.family(family::STATS);
        let mut batch = WriteBatch::default();
        if let Some(at) = at {
            batch.put_cf(stats, stats_key::SCRUB, [&figures.encode(), at].concat());
        } else {
            batch.delete_cf(stats, stats_key::SCRUB);
            batch.put_cf(stats, stats_key::SCRUBBED, figures.encode());
        }
        index.write(batch, false)
    }
}
