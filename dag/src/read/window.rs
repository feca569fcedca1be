//! Blocks that a walker waits for or holds: each is asked for once, however often the window needs it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;

use crate::cid::{Cid, identity_data};

/// Entries below which the table is not swept.
const SWEEP_MIN: usize = 64;

/// What came of a wanted block.
#[derive(Debug, Clone)]
pub(crate) enum Supplied {
    /// Its bytes.
    Block(Bytes),
    /// Nobody has it, and the caller goes on without it.
    Missing,
}

/// One block, shared by all places in the window that need it; it is dropped with the last of them.
#[derive(Debug)]
pub(crate) struct Want {
    asked: AtomicBool,
    supplied: OnceLock<Supplied>,
}

impl Want {
    /// What was supplied, if anything was yet.
    pub(crate) fn supplied(&self) -> Option<&Supplied> {
        self.supplied.get()
    }

    /// Whether it was asked for.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether this is the first time that it is asked for.
    pub(crate) fn ask(&self) -> bool {
        !self.asked.swap(true, Ordering::Relaxed)
    }
}

/// The blocks of a window, by CID.
#[derive(Debug, Default)]
pub(crate) struct Window {
    wants: HashMap<Cid, Weak<Want>>,
    sweep_at: usize,
}

impl Window {
    /// The block of a CID. Identity CIDs carry theirs and are never asked for.
    pub(crate) fn want(&mut self, cid: &Cid) -> Arc<Want> {
        if let Some(data) = identity_data(cid) {
            let supplied = OnceLock::from(Supplied::Block(Bytes::copy_from_slice(data)));
            return Arc::new(Want { asked: AtomicBool::new(true), supplied });
        }
        if let Some(want) = self.wants.get(cid).and_then(Weak::upgrade) {
            return want;
        }
        if self.wants.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.wants.retain(|_, want| want.strong_count() > 0);
            self.sweep_at = 2 * self.wants.len();
        }
        let want = Arc::new(Want { asked: AtomicBool::new(false), supplied: OnceLock::new() });
        self.wants.insert(*cid, Arc::downgrade(&want));
        want
    }

    /// Hands in a block; says whether anyone waits for it. What was not asked for is ignored.
    pub(crate) fn supply(&mut self, cid: &Cid, supplied: Supplied) -> bool {
        match self.wants.get(cid).and_then(Weak::upgrade) {
            Some(want) if want.is_asked() => want.supplied.set(supplied).is_ok(),
            _ => false,
        }
    }
}
