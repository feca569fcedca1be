//! "Present is not safe": what an operation in flight has found or written is kept from deletion until its end.
//!
//! A find registers its key and looks it up under the key's stripe; a delete checks and removes under the same
//! stripe. So a block is either found and kept, or deleted and not found. Finds take one stripe at a time, deletes
//! several in ascending order: they cannot wait for each other in a circle.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::sync::lock;

const STRIPES: usize = 256;

/// A keyed hash of a multihash: 8 bytes a block. Two blocks with one fingerprint only mean that one is kept longer.
pub(crate) type Fingerprint = u64;

/// Fingerprints are hashes already.
#[derive(Default)]
pub(crate) struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// What one operation protects.
#[derive(Default)]
pub(crate) struct Shield {
    prints: Mutex<HashSet<Fingerprint, BuildHasherDefault<Same>>>,
}

impl Shield {
    pub(crate) fn add(&self, print: Fingerprint) {
        lock(&self.prints).insert(print);
    }
}

/// Fingerprints that are remembered of operations that ended without making a root: some 16 bytes each.
const LINGERING_MAX: usize = 1 << 20;

pub(crate) struct Protection {
    hasher: RandomState,
    stripes: Vec<Mutex<()>>,
    shields: Mutex<Vec<Arc<Shield>>>,
    lingering: Mutex<Lingering>,
}

/// Shields of operations that ended without making a root, and when. A client may put a block that is old garbage, be told
/// that it is there, and pin it with its next call: automatic collections spare it for their grace period.
#[derive(Default)]
struct Lingering {
    shields: VecDeque<(Instant, Arc<Shield>)>,
    prints: usize,
}

impl Protection {
    pub(crate) fn new() -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::new(())).collect();
        let hasher = RandomState::new();
        Self { hasher, stripes, shields: Mutex::default(), lingering: Mutex::default() }
    }

    pub(crate) fn print(&self, key: &[u8]) -> Fingerprint {
        self.hasher.hash_one(key)
    }

    fn stripe(&self, at: usize) -> MutexGuard<'_, ()> {
        lock(self.stripes.get(at % STRIPES).expect("invariant: a remainder of STRIPES is below their number"))
    }

    /// The stripe of one key.
    pub(crate) fn guard(&self, print: Fingerprint) -> MutexGuard<'_, ()> {
        self.stripe(print as usize)
    }

    /// The stripes of several keys, in ascending order.
    pub(crate) fn guard_all(&self, prints: impl Iterator<Item = Fingerprint>) -> Vec<MutexGuard<'_, ()>> {
        let mut wanted: Vec<usize> = prints.map(|print| print as usize % STRIPES).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.into_iter().map(|at| self.stripe(at)).collect()
    }

    /// Begins an operation.
    pub(crate) fn open(&self) -> Arc<Shield> {
        let shield = Arc::new(Shield::default());
        lock(&self.shields).push(Arc::clone(&shield));
        shield
    }

    /// Ends an operation: what it protected may go, unless a pin holds it by now.
    pub(crate) fn close(&self, shield: &Arc<Shield>) {
        lock(&self.shields).retain(|other| !Arc::ptr_eq(other, shield));
    }

    /// Ends an operation that made no root. What it protected is no longer safe from deletion by hand, but automatic
    /// collections spare it for a while.
    pub(crate) fn close_without_root(&self, shield: &Arc<Shield>) {
        let prints = lock(&shield.prints).len();
        if prints > 0 {
            let mut lingering = lock(&self.lingering);
            lingering.prints += prints;
            lingering.shields.push_back((Instant::now(), Arc::clone(shield)));
            while lingering.prints > LINGERING_MAX
                && let Some((_, oldest)) = lingering.shields.pop_front()
            {
                lingering.prints -= lock(&oldest.prints).len();
            }
        }
        self.close(shield);
    }

    /// Whether an operation in flight protects the key, or one that made no root and ended less than `grace` ago did. To
    /// be asked with the key's stripe held.
    pub(crate) fn is_protected_since(&self, print: Fingerprint, grace: Duration) -> bool {
        // In this order: a shield that ends in between is in both.
        self.is_protected(print)
            || !grace.is_zero()
                && lock(&self.lingering)
                    .shields
                    .iter()
                    .any(|(ended, shield)| ended.elapsed() < grace && lock(&shield.prints).contains(&print))
    }

    /// Whether any operation in flight protects the key. To be asked with its stripe held.
    pub(crate) fn is_protected(&self, print: Fingerprint) -> bool {
        lock(&self.shields).iter().any(|shield| lock(&shield.prints).contains(&print))
    }
}
