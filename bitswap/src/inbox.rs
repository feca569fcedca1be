//! What connections, hashing jobs and readers tell the behaviour: one queue beside the swarm's own, which would make a connection wait
//! for the swarm's task with every event.
//!
//! It is bounded by what fills it: a connection holds a [`Credit`] for each message, one acknowledgement comes for each message that was
//! given to it, and a reader is noted once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use holdfast_dag::cid::Cid;
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use crate::client::RequestId;
use crate::message::{Entry, Presence, Version};
use crate::room::Room;

/// The connection that something came from.
pub(crate) type From = (PeerId, ConnectionId);

/// What a message says besides blocks.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) entries: Vec<Entry>,
    pub(crate) full: bool,
    pub(crate) presences: Vec<Presence>,
}

/// Blocks of one message, or part of one.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// Each named by the hash of its bytes.
    pub(crate) blocks: Vec<(Cid, Bytes)>,
    /// Bytes of the message that all of them are slices of.
    pub(crate) frame_bytes: usize,
}

/// What a connection was given to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// A change of our wantlist.
    Wants,
    /// An answer of the server, with this many bytes of blocks.
    Answer(usize),
}

/// One thing to be told.
#[derive(Debug)]
pub(crate) enum Input {
    /// A message came.
    Control(From, Control, Credit),
    /// Blocks came, and are hashed.
    Blocks(From, Arrived, Credit),
    /// Part of a large message came.
    Progress(From),
    /// The stream out is open.
    Opened(From, Version),
    /// A message was given to the stream.
    Sent(From, Sending),
    /// The stream out was lost; these were not sent, or not to the end.
    Lost(From, Vec<Sending>),
    /// The peer does not speak Bitswap, or its stream out cannot be opened.
    Refused(From),
    /// It does after all, or may by now.
    Readmitted(From),
    /// Something is to be read from a peer's stream or from a reader: see the request.
    Reader(RequestId),
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    queue: Mutex<Vec<Input>>,
    waker: AtomicWaker,
}

impl Inbox {
    pub(crate) fn push(&self, input: Input) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(input);
        self.waker.wake();
    }

    /// Takes everything, or makes sure that `waker` is woken when something comes.
    pub(crate) fn take(&self, into: &mut Vec<Input>, waker: &Waker) {
        self.waker.register(waker);
        std::mem::swap(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner), into);
    }
}

/// What the behaviour and a connection's handler both look at.
#[derive(Debug)]
pub(crate) struct Line {
    /// Of all connections.
    room: Arc<Room>,
    /// Messages and bytes that wait for hashing or for the behaviour.
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Woken when there is room again, or when something below changed.
    pub(crate) waker: AtomicWaker,
    /// Wants that the peer was told of. Blocks of a peer without any are dropped unhashed.
    wants: AtomicUsize,
    /// Whether the connection should stay although no stream is busy.
    keep: AtomicBool,
}

impl Line {
    pub(crate) fn new(room: &Arc<Room>) -> Self {
        Self {
            room: room.clone(),
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            waker: AtomicWaker::new(),
            wants: AtomicUsize::new(0),
            keep: AtomicBool::new(false),
        }
    }

    pub(crate) fn held(&self) -> (usize, usize) {
        (self.messages.load(Ordering::Acquire), self.bytes.load(Ordering::Acquire))
    }

    pub(crate) fn wants(&self) -> usize {
        self.wants.load(Ordering::Acquire)
    }

    /// Notes what the peer is asked for and whether anything is pending with it.
    pub(crate) fn note(&self, wants: usize, keep: bool) {
        self.wants.store(wants, Ordering::Release);
        if self.keep.swap(keep, Ordering::AcqRel) != keep {
            self.waker.wake();
        }
    }

    pub(crate) fn keep(&self) -> bool {
        self.keep.load(Ordering::Acquire)
    }
}

/// Room that a message takes up until it was dealt with.
#[derive(Debug)]
pub(crate) struct Credit {
    line: Arc<Line>,
    bytes: usize,
}

impl Credit {
    pub(crate) fn new(line: &Arc<Line>, bytes: usize) -> Self {
        line.messages.fetch_add(1, Ordering::AcqRel);
        line.bytes.fetch_add(bytes, Ordering::AcqRel);
        line.room.take(bytes);
        Self { line: line.clone(), bytes }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.line.messages.fetch_sub(1, Ordering::AcqRel);
        self.line.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.line.room.give_back(self.bytes);
        self.line.waker.wake();
    }
}
