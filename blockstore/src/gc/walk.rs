//! Marking: walking down from roots, through everything that is stored.
//!
//! Links come from the `links` rows, so that marking reads no leaf and hardly ever a value. The walk is depth first; what
//! is open of it are the links rows of the nodes on the way down, without those whose last child was taken: a chain of
//! any length takes the memory of one node.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use holdfast_dag::cid::{Cid, Multihash, cid_from_bytes, codec, identity_data};
use holdfast_dag::{hash, ipld};

use super::lost::Lost;
use super::marks::Marks;
use super::{GcBroken, GcError, GcEvent};
use crate::error::{IndexError, ReadError};
use crate::links::children;
use crate::pending::Row;
use crate::rows::{encode_links, links_key, split_links_key};
use crate::segment::Place;
use crate::store::Inner;
use crate::sync::{lock, read};

/// Blocks between two reports of progress.
const BLOCKS_PER_REPORT: u64 = 4096;
/// Broken blocks that are told apart. The others are counted only.
const BROKEN_MAX: usize = 100_000;
/// Version of a links row.
const LINKS_VERSION: u8 = 1;

/// What is expected under a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// A pin: all of it is here.
    Whole,
    /// The mutable file system and what is held by hand: what is here is kept, the rest may come later.
    BestEffort,
}

/// What a walk tells, and whether it is to go on.
pub(crate) type Events<'a> = &'a mut dyn FnMut(GcEvent<'_>) -> ControlFlow<()>;

pub(crate) struct Walk<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) events: Events<'a>,
    pub(crate) marks: Marks,
    pub(crate) lost: Lost,
    /// Nodes and blocks that were reported, or followed although they are missing.
    broken: HashSet<Vec<u8>>,
    pub(crate) broken_blocks: u64,
    frames: Vec<Frame>,
    root: Cid,
    promise: Promise,
    /// A block that is looked for, and whether it was met.
    target: Option<&'a [u8]>,
    found: bool,
    reported: u64,
    /// Whether locks are held, so that nobody can be told anything now.
    pub(super) quiet: bool,
    /// What is told later.
    untold: Vec<GcBroken>,
}

/// A node whose children are being walked.
struct Frame {
    row: Vec<u8>,
    at: usize,
}

impl Frame {
    /// `None` for a node without children, and for a row that is not one.
    fn new(row: Vec<u8>) -> Option<Self> {
        (row.len() > 1 && row.first() == Some(&LINKS_VERSION)).then_some(Self { row, at: 1 })
    }

    fn next(&mut self) -> Option<Cid> {
        let rest = self.row.get(self.at..)?;
        let (len, rest_after_len) = unsigned_varint::decode::usize(rest).ok()?;
        let cid = rest_after_len.get(..len)?;
        self.at += rest.len() - rest_after_len.len() + len;
        cid_from_bytes(cid).ok()
    }

    fn is_done(&self) -> bool {
        self.at >= self.row.len()
    }
}

impl<'a> Walk<'a> {
    pub(crate) fn new(inner: &'a Inner, events: Events<'a>) -> Self {
        Self {
            inner,
            events,
            marks: Marks::default(),
            lost: Lost::default(),
            broken: HashSet::new(),
            broken_blocks: 0,
            frames: Vec::new(),
            root: Cid::new_v1(codec::RAW, Multihash::default()),
            promise: Promise::Whole,
            target: None,
            found: false,
            reported: 0,
            quiet: false,
            untold: Vec::new(),
        }
    }

    /// Marks one block and nothing below it.
    pub(crate) fn block(&mut self, cid: &Cid) -> Result<(), GcError> {
        self.root = *cid;
        self.promise = Promise::Whole;
        self.visit(&Cid::new_v1(codec::RAW, *cid.hash()))
    }

    /// Marks everything under a root.
    pub(crate) fn root(&mut self, cid: &Cid, promise: Promise) -> Result<(), GcError> {
        self.descend(cid, cid, promise)
    }

    /// Marks everything under a node that a root holds.
    pub(super) fn descend(&mut self, cid: &Cid, root: &Cid, promise: Promise) -> Result<(), GcError> {
        self.root = *root;
        self.promise = promise;
        self.visit(cid)?;
        self.drain()
    }

    /// Marks everything under a root until a block is met that is looked for; whether it was.
    pub(crate) fn finds(&mut self, root: &Cid, target: &'a [u8]) -> Result<bool, GcError> {
        self.target = Some(target);
        self.root(root, Promise::Whole)?;
        self.frames.clear();
        Ok(self.found)
    }

    /// Walks what is open.
    fn drain(&mut self) -> Result<(), GcError> {
        while !self.found
            && let Some(frame) = self.frames.last_mut()
        {
            let child = frame.next();
            if child.is_none() || frame.is_done() {
                self.frames.pop();
            }
            if let Some(child) = child {
                self.visit(&child)?;
            }
        }
        Ok(())
    }

    /// Marks a block, and opens it if its children have to be walked.
    fn visit(&mut self, cid: &Cid) -> Result<(), GcError> {
        if let Some(data) = identity_data(cid) {
            let links = children(cid.codec(), data).unwrap_or_default();
            self.frames.extend(Frame::new(encode_links(&links)));
            return Ok(());
        }
        let key = cid.hash().to_bytes();
        self.found |= self.target == Some(key.as_slice());
        let (place, replaced) = match self.inner.copies(&key) {
            Ok(Some(places)) => places,
            Ok(None) => return self.absent(cid, &key, "it is not stored", self.promise),
            // It is there, and nobody knows where. The sweep leaves such rows alone.
            Err(error @ IndexError::Row { .. }) => {
                return self.absent(cid, &key, &error.to_string(), Promise::Whole);
            }
            Err(error) => return Err(error.into()),
        };
        if !self.marks.insert(cid.codec(), &place) {
            return Ok(());
        }
        if let Some(replaced) = replaced {
            // The new copy is not in the index yet and may never be.
            self.marks.insert(cid.codec(), &replaced);
        }
        self.report_progress()?;
        if self.promise == Promise::Whole && self.inner.is_damaged(&key) {
            self.report(cid, "its stored copy is damaged".to_owned())?;
        }
        if cid.codec() == codec::RAW {
            return Ok(());
        }
        match self.inner.children_row(cid, &key, place)? {
            Ok(row) => self.frames.extend(Frame::new(row)),
            // Its bytes are what its hash says, and under this codec they are no node: it links to nothing.
            Err(error @ ReadError::Malformed { .. }) => {
                self.report(cid, error.to_string())?;
            }
            Err(error) => {
                self.report(cid, error.to_string())?;
                self.lost.insert(cid, &self.root, self.promise);
            }
        }
        Ok(())
    }

    /// A block that is not here or out of reach. If it should be, what it links to may still be known.
    fn absent(&mut self, cid: &Cid, key: &[u8], reason: &str, promise: Promise) -> Result<(), GcError> {
        if promise == Promise::BestEffort && cid.codec() == codec::RAW {
            return Ok(());
        }
        let first = match promise {
            Promise::Whole => self.report(cid, reason.to_owned())?,
            Promise::BestEffort => self.broken.insert(links_key(key, cid.codec())),
        };
        if !first || cid.codec() == codec::RAW {
            return Ok(());
        }
        match self.inner.links_row(key, cid.codec())? {
            // It was dropped as damaged: the rest of what held it is kept until it is back.
            Some(row) => self.frames.extend(Frame::new(row)),
            None if promise == Promise::BestEffort => {}
            None => self.lost.insert(cid, &self.root, promise),
        }
        Ok(())
    }

    /// Names a broken block, once; whether this was the first time.
    fn report(&mut self, cid: &Cid, reason: String) -> Result<bool, GcError> {
        let key = links_key(&cid.hash().to_bytes(), cid.codec());
        if self.broken.contains(&key) {
            return Ok(false);
        }
        self.broken_blocks += 1;
        if self.broken.len() < BROKEN_MAX {
            self.broken.insert(key);
        }
        let broken = GcBroken { cid: *cid, root: self.root, reason };
        self.tell(GcEvent::Broken(&broken)).map(|()| true)
    }

    /// Whether a block that is not here was reached by any codec, or may have been.
    pub(super) fn reached_missing(&self, key: &[u8]) -> bool {
        self.broken.len() >= BROKEN_MAX
            || self.broken.iter().any(|node| split_links_key(node).is_some_and(|(hash, _)| hash == key))
    }

    fn report_progress(&mut self) -> Result<(), GcError> {
        let marked = self.marks.count();
        if marked < self.reported + BLOCKS_PER_REPORT {
            return Ok(());
        }
        self.reported = marked;
        self.tell(GcEvent::Marking { blocks: marked })
    }

    pub(crate) fn tell(&mut self, event: GcEvent<'_>) -> Result<(), GcError> {
        if self.quiet {
            if let GcEvent::Broken(broken) = event {
                self.untold.push(broken.clone());
            }
            return Ok(());
        }
        let untold = std::mem::take(&mut self.untold);
        for event in untold.iter().map(GcEvent::Broken).chain([event]) {
            if (self.events)(event).is_break() {
                return Err(GcError::Stopped);
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Where a block lies, and the copy that a pending one is about to replace.
    pub(crate) fn copies(&self, key: &[u8]) -> Result<Option<(Place, Option<Place>)>, IndexError> {
        if let Some(value) = read(&self.pending).value(key) {
            return Ok(Some((value.place, value.replaces)));
        }
        Ok(self.index.get()?.meta(key)?.map(|row| (row.place, None)))
    }

    /// The links row of a stored block, else what its value says. The outer error is the index's, the inner one the
    /// block's.
    pub(super) fn children_row(
        &self,
        cid: &Cid,
        key: &[u8],
        place: Place,
    ) -> Result<Result<Vec<u8>, ReadError>, IndexError> {
        if let Some(row) = self.links_row(key, cid.codec())?
            && row.first() == Some(&LINKS_VERSION)
        {
            return Ok(Ok(row));
        }
        match self.decode_links_of(cid, key, place) {
            Err(ReadError::Index(error)) => Err(error),
            other => Ok(other),
        }
    }

    fn decode_links_of(&self, cid: &Cid, key: &[u8], place: Place) -> Result<Vec<u8>, ReadError> {
        if !ipld::has_decoder(cid.codec()) {
            return Err(ReadError::NoDecoder { codec: cid.codec() });
        }
        hash::check_policy(cid)?;
        // Deleted since it was located: nothing that a root holds is, so whatever it linked to is not held through it.
        let Some(data) = self.read_checked(cid, key, place)? else { return Ok(encode_links(&[])) };
        let malformed = |error: ipld::DecodeError| ReadError::Malformed {
            cid: Box::new(*cid),
            reason: error.to_string(),
        };
        let row = encode_links(&ipld::links(cid.codec(), &data).map_err(malformed)?);
        drop(self.wait_for_room(lock(&self.tail)));
        let derived = Row { key: key.into(), value: None, links: Some((cid.codec(), row.clone())) };
        self.enqueue_derived(Arc::new(derived));
        Ok(row)
    }
}
