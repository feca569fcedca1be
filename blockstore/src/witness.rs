//! The witness of the log: a file beside the index that says how far changes were acknowledged.
//!
//! RocksDB drops what it cannot read of its log without a word, and a log that lost its end looks whole. So every batch
//! carries a number, and the number of the last acknowledged one is noted here, after its sync and before the answer.
//! The note is not synced: a power cut may leave an old one, never one that is ahead of the log. If the index comes back
//! with a lower number than this, acknowledged changes were lost.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::IndexError;
use crate::rows::family;
use crate::rows::malformed;
use crate::sync::lock;

const NAME: &str = "witness";
const MAGIC: [u8; 8] = *b"HOLDFWIT";
const VERSION: u32 = 1;
const LEN: usize = 32;
/// Bytes that the checksum covers.
const COVERED: usize = 28;

/// How far changes were acknowledged.
pub(crate) struct Witness {
    /// `None`: nothing is noted.
    path: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    round: u64,
    file: Option<File>,
    failed: bool,
}

impl Witness {
    /// The witness of the index in this folder. One that cannot be read witnesses nothing.
    pub(crate) fn of(index: &Path) -> Self {
        let path = index.with_file_name(NAME);
        let round = match std::fs::read(&path) {
            // A power cut may leave a new file without its bytes.
            Ok(bytes) if bytes.iter().all(|byte| *byte == 0) => 0,
            Ok(bytes) => decode(&bytes).unwrap_or_else(|| {
                tracing::warn!(
                    "{} is damaged: whether the index lost changes cannot be told this time",
                    path.display()
                );
                0
            }),
            Err(_) => 0,
        };
        Self { path: Some(path), state: Mutex::new(State { round, file: None, failed: false }) }
    }

    /// One that knows of a round and notes nothing: for an index in the making.
    pub(crate) fn silent(round: u64) -> Self {
        Self { path: None, state: Mutex::new(State { round, file: None, failed: false }) }
    }

    /// The last round that was acknowledged; 0 if that is not known.
    pub(crate) fn round(&self) -> u64 {
        lock(&self.state).round
    }

    /// Notes that everything up to this round is acknowledged. What goes wrong is only logged: the changes are safe.
    pub(crate) fn note(&self, round: u64) {
        let Some(path) = &self.path else { return };
        let state = &mut *lock(&self.state);
        if round <= state.round {
            return;
        }
        state.round = round;
        let noted = open(&mut state.file, path).and_then(|file| file.write_all_at(&encode(round), 0));
        if let Err(error) = noted
            && !std::mem::replace(&mut state.failed, true)
        {
            tracing::warn!("could not note in {} what is acknowledged: {error}", path.display());
        }
    }
}

fn open<'a>(slot: &'a mut Option<File>, path: &Path) -> io::Result<&'a File> {
    let file = match slot.take() {
        Some(file) => file,
        None => OpenOptions::new().write(true).create(true).truncate(false).open(path)?,
    };
    Ok(slot.insert(file))
}

fn encode(round: u64) -> [u8; LEN] {
    let mut out = [0; LEN];
    let bytes = MAGIC.into_iter().chain(VERSION.to_le_bytes()).chain(round.to_le_bytes());
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = from;
    }
    let crc = crc32c::crc32c(out.get(..COVERED).unwrap_or_default()).to_le_bytes();
    for (to, from) in out.iter_mut().skip(COVERED).zip(crc) {
        *to = from;
    }
    out
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let round = u64::from_le_bytes(*bytes.get(12..)?.first_chunk()?);
    (bytes == encode(round)).then_some(round)
}

/// What was lost, as it is remembered until someone acknowledges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Batches of acknowledged changes that the index no longer has.
    pub rounds: u64,
    /// How often that was found out.
    pub times: u64,
    /// When it was last found out, in milliseconds since 1970.
    pub noticed_unix_ms: u64,
}

impl Loss {
    pub(crate) fn encode(self) -> Vec<u8> {
        let numbers = [self.rounds, self.times, self.noticed_unix_ms];
        [1].into_iter().chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect()
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, IndexError> {
        let read = || {
            let mut numbers = row.strip_prefix(&[1])?.chunks_exact(8);
            let mut next = || Some(u64::from_le_bytes(*numbers.next()?.first_chunk()?));
            Some(Self { rounds: next()?, times: next()?, noticed_unix_ms: next()? })
        };
        read().ok_or(malformed(family::STATS, "not a version 1 row of a loss"))
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the index lost {} acknowledged changes (its log was damaged or cut): pins and the files root may lack what \
             was changed last, and blocks deleted last may be listed again",
            self.rounds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_is_as_the_format_page_says() {
        let bytes = encode(0x0102);
        assert_eq!(&bytes[..8], b"HOLDFWIT");
        assert_eq!(bytes[8..12], [1, 0, 0, 0]);
        assert_eq!(bytes[12..20], [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[20..28], [0; 8]);
        assert_eq!(bytes[28..], crc32c::crc32c(&bytes[..28]).to_le_bytes());
    }

    #[test]
    fn a_witness_remembers_the_highest_round_and_a_damaged_one_witnesses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("db");
        let witness = Witness::of(&index);
        assert_eq!(witness.round(), 0);
        witness.note(7);
        witness.note(5);
        assert_eq!(Witness::of(&index).round(), 7);
        let path = folder.path().join("witness");
        let good = std::fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bad).unwrap();
            assert_eq!(Witness::of(&index).round(), 0, "bit {bit}");
        }
    }
}
