//! The set of CIDs that a walk has seen: exact, and bounded in memory.
//!
//! A set that decides whether a walk descends must not guess: a CID that it wrongly takes for seen is left out with all
//! below it. So it holds whole digests. The first ones are held in memory, out of a share that all sets of the process
//! take from; the others go to an unnamed file beside the repo, a hash table of pages that the page cache keeps warm.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_dag::cid::Cid;

/// CIDs that all sets together hold in memory, at 40 bytes each: 80 MiB.
const MEMORY_MAX: usize = 2 << 20;
/// CIDs that a set takes out of that share at once; what the first ones cost is nobody's concern.
const STEP: usize = 16 << 10;
/// Bytes of a digest that fits a slot: those of sha2-256, blake3 and their like.
const DIGEST: usize = 32;
/// A slot: which kind of CID, and its digest. Kind 0 is an empty slot.
const SLOT: usize = 1 + DIGEST;
const PAGE: usize = 4096;
const SLOTS_PER_PAGE: usize = PAGE / SLOT;
/// Pages of a new table: 8 MiB.
const PAGES_MIN: u64 = 2048;

/// What the sets of this process hold in memory.
static IN_MEMORY: AtomicUsize = AtomicUsize::new(0);

type Slot = [u8; SLOT];

/// CIDs, told apart by version, codec and multihash.
pub(crate) struct Seen {
    /// Version, codec and hash function of the CIDs so far; a slot begins with the place here, counted from 1.
    kinds: Vec<(u64, u64, u64)>,
    memory: HashSet<Slot>,
    /// What is taken of the share.
    taken: usize,
    /// How many may be held in memory, for tests.
    memory_max: usize,
    spilled: Option<Table>,
    /// CIDs with digests of other lengths, and those beyond 255 kinds: rare.
    other: HashSet<Box<[u8]>>,
    folder: PathBuf,
}

impl Seen {
    /// An empty set that writes what it cannot hold to a file in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            kinds: Vec::new(),
            memory: HashSet::new(),
            taken: 0,
            memory_max: usize::MAX,
            spilled: None,
            other: HashSet::new(),
            folder: folder.to_owned(),
        }
    }

    /// Adds a CID and says whether it is new.
    pub(crate) fn insert(&mut self, cid: &Cid) -> io::Result<bool> {
        let Some(slot) = self.slot(cid) else {
            return Ok(self.other.insert(cid.to_bytes().into_boxed_slice()));
        };
        if self.memory.contains(&slot) {
            return Ok(false);
        }
        if let Some(table) = &mut self.spilled {
            return table.insert(&slot);
        }
        if self.may_grow() {
            return Ok(self.memory.insert(slot));
        }
        self.spilled.insert(Table::new(&self.folder, PAGES_MIN)?).insert(&slot)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        let mut empty = Self::new(&self.folder);
        empty.memory_max = self.memory_max;
        *self = empty;
    }

    fn slot(&mut self, cid: &Cid) -> Option<Slot> {
        let digest: &[u8; DIGEST] = cid.hash().digest().try_into().ok()?;
        let kind = (u64::from(cid.version()), cid.codec(), cid.hash().code());
        let place = self.kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
            self.kinds.push(kind);
            self.kinds.len() - 1
        });
        let mut slot = [0; SLOT];
        let (first, rest) = slot.split_first_mut()?;
        *first = u8::try_from(place + 1).ok()?;
        rest.copy_from_slice(digest);
        Some(slot)
    }

    /// Whether one more may be held in memory.
    fn may_grow(&mut self) -> bool {
        let held = self.memory.len();
        if held < self.taken || held < STEP {
            return held < self.memory_max;
        }
        let take = |all: usize| (all + STEP <= MEMORY_MAX).then_some(all + STEP);
        let may = held < self.memory_max
            && IN_MEMORY.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if may {
            self.taken = held + STEP;
        }
        may
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        if self.taken > 0 {
            // The first step was not taken out of the share.
            IN_MEMORY.fetch_sub(self.taken - STEP, Ordering::Relaxed);
        }
    }
}

/// A hash table in a file without a name: pages of slots, filled from the front; a full page runs over into the next.
struct Table {
    file: File,
    folder: PathBuf,
    pages: u64,
    slots: u64,
    hasher: RandomState,
}

impl Table {
    fn new(folder: &Path, pages: u64) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        file.set_len(pages * PAGE as u64)?;
        Ok(Self { file, folder: folder.to_owned(), pages, slots: 0, hasher: RandomState::new() })
    }

    fn insert(&mut self, slot: &Slot) -> io::Result<bool> {
        // At three quarters hardly any page is full.
        if self.slots >= self.pages * SLOTS_PER_PAGE as u64 / 4 * 3 {
            self.grow()?;
        }
        let mut page = self.hasher.hash_one(slot) % self.pages;
        let mut bytes = [0; PAGE];
        loop {
            let start = page * PAGE as u64;
            self.file.read_exact_at(&mut bytes, start)?;
            for (at, held) in bytes.as_chunks::<SLOT>().0.iter().enumerate() {
                if held == slot {
                    return Ok(false);
                }
                if held.first() == Some(&0) {
                    self.file.write_all_at(slot, start + (at * SLOT) as u64)?;
                    self.slots += 1;
                    return Ok(true);
                }
            }
            page = (page + 1) % self.pages;
        }
    }

    fn grow(&mut self) -> io::Result<()> {
        let mut larger = Self::new(&self.folder, self.pages * 4)?;
        let mut bytes = [0; PAGE];
        for page in 0..self.pages {
            self.file.read_exact_at(&mut bytes, page * PAGE as u64)?;
            for held in bytes.as_chunks::<SLOT>().0.iter().filter(|held| held.first() != Some(&0)) {
                larger.insert(held)?;
            }
        }
        *self = larger;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_dag::cid::{CidBuilder, Version, codec};
    use holdfast_dag::hash::HashKind;

    use super::*;

    fn cid(number: u32, version: Version) -> Cid {
        let builder = CidBuilder { version, hash: HashKind::Sha2_256 };
        builder.cid_of(codec::DAG_PB, &[&number.to_le_bytes()])
    }

    #[test]
    fn what_does_not_fit_into_memory_is_still_seen_exactly_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = Seen::new(folder.path());
        seen.memory_max = 1000;
        // Enough for the table to grow twice over its first pages.
        let count = 3 * PAGES_MIN as u32 * SLOTS_PER_PAGE as u32 / 2;
        for number in 0..count {
            assert!(seen.insert(&cid(number, Version::V1)).unwrap(), "{number} is new");
        }
        for number in (0..count).step_by(7) {
            assert!(!seen.insert(&cid(number, Version::V1)).unwrap(), "{number} was seen");
            assert!(seen.insert(&cid(number, Version::V0)).unwrap(), "another version is another CID");
        }
        assert_eq!(seen.memory.len(), 1000);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
        seen.clear();
        assert!(seen.insert(&cid(0, Version::V1)).unwrap());
    }

    #[test]
    fn the_share_of_memory_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = Seen::new(folder.path());
        for number in 0..3 * STEP as u32 {
            seen.insert(&cid(number, Version::V1)).unwrap();
        }
        assert_eq!(seen.taken, 3 * STEP);
        let shared = IN_MEMORY.load(Ordering::Relaxed);
        drop(seen);
        assert_eq!(IN_MEMORY.load(Ordering::Relaxed), shared - 2 * STEP);
    }
}
