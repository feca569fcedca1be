//! What is wanted of others, for those who look at it from outside: what a request waits for, and since when.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use holdfast_dag::cid::{Cid, Multihash};

use super::{Session, Tried};

/// A block that somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The block: of those that are asked for, the one that is needed first.
    pub cid: Cid,
    /// How long nothing has come.
    pub waited: Duration,
    /// Blocks that are asked for, this one included.
    pub wanted: u64,
    /// Who was asked.
    pub tried: Tried,
}

impl fmt::Display for Wait {
    /// `block bafy... for 3 s: 2 peers asked, ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {}", self.cid)?;
        if self.wanted > 1 {
            write!(f, " and {} more", self.wanted - 1)?;
        }
        write!(f, " for {} s: {}", self.waited.as_secs(), self.tried)
    }
}

/// What one reader wants of others.
pub(super) struct Wanted {
    session: Arc<dyn Session>,
    state: Mutex<State>,
    /// Wakes the reader when a block that it wants has come by another way.
    pub(super) waker: AtomicWaker,
}

#[derive(Default)]
struct State {
    places: HashMap<Cid, u64>,
    /// In the order of asking, which is that of use.
    order: BTreeMap<u64, Cid>,
    next: u64,
    /// Since when the reader waits and nothing came.
    blocked: Option<Instant>,
    /// Wanted blocks that are in the store by now.
    stored: VecDeque<Cid>,
}

impl Wanted {
    pub(super) fn new(session: Arc<dyn Session>) -> Arc<Self> {
        Arc::new(Self { session, state: Mutex::default(), waker: AtomicWaker::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that these are asked for.
    pub(super) fn add(&self, cids: &[Cid]) {
        let mut state = self.state();
        for cid in cids {
            let place = state.next;
            state.next += 1;
            if let Some(old) = state.places.insert(*cid, place) {
                state.order.remove(&old);
            }
            state.order.insert(place, *cid);
        }
    }

    /// Notes that a block came or is given up; whether it was wanted.
    pub(super) fn remove(&self, cid: &Cid) -> bool {
        let mut state = self.state();
        let Some(place) = state.places.remove(cid) else { return false };
        state.order.remove(&place);
        state.blocked = None;
        true
    }

    pub(super) fn len(&self) -> usize {
        self.state().places.len()
    }

    pub(super) fn contains(&self, cid: &Cid) -> bool {
        self.state().places.contains_key(cid)
    }

    /// Notes whether the reader waits.
    pub(super) fn set_blocked(&self, blocked: bool) {
        let mut state = self.state();
        state.blocked = if blocked { state.blocked.or_else(|| Some(Instant::now())) } else { None };
    }

    pub(super) fn tried(&self) -> Tried {
        self.session.tried()
    }

    /// Takes note of blocks that are in the store now.
    pub(super) fn note_stored(&self, hashes: &HashSet<Multihash>) {
        let mut state = self.state();
        let came: Vec<Cid> = state.places.keys().filter(|cid| hashes.contains(cid.hash())).copied().collect();
        if !came.is_empty() {
            state.stored.extend(came);
            drop(state);
            self.waker.wake();
        }
    }

    /// A block that was wanted and is in the store now.
    pub(super) fn next_stored(&self) -> Option<Cid> {
        let mut state = self.state();
        while let Some(cid) = state.stored.pop_front() {
            if state.places.contains_key(&cid) {
                return Some(cid);
            }
        }
        None
    }

    fn wait(&self) -> Option<Wait> {
        let state = self.state();
        let since = state.blocked?;
        let cid = *state.order.values().next()?;
        let wanted = state.places.len() as u64;
        drop(state);
        Some(Wait { cid, waited: since.elapsed(), wanted, tried: self.session.tried() })
    }
}

/// Everything that one request, or everybody without one, wants of others.
#[derive(Default)]
pub(super) struct Waits {
    all: Mutex<Vec<Weak<Wanted>>>,
}

impl Waits {
    fn all(&self) -> MutexGuard<'_, Vec<Weak<Wanted>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, wanted: &Arc<Wanted>) {
        let mut all = self.all();
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(wanted));
    }

    /// Those that are still there.
    pub(super) fn live(&self) -> Vec<Arc<Wanted>> {
        self.all().iter().filter_map(Weak::upgrade).collect()
    }

    /// What has been waited for longest.
    pub(super) fn longest(&self) -> Option<Wait> {
        self.live().iter().filter_map(|wanted| wanted.wait()).max_by_key(|wait| wait.waited)
    }
}
