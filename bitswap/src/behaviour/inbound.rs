//! Streams that a peer opened: messages are read and decoded here, on the connection's task.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use futures_util::{AsyncRead as _, Stream};

use crate::message::{Assembler, Message, decode};

/// A stream on which a long message comes says so this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// What came on a stream.
pub(super) enum Inflow {
    /// A message, and the bytes that it keeps in memory.
    Message(Box<Message>, usize),
    /// Part of one.
    Progress,
    /// Something that ends the stream.
    Bad,
}

/// Memory for messages that are not whole, of all streams of a connection.
#[derive(Debug)]
pub(super) struct Room {
    max: usize,
    held: AtomicUsize,
    /// The stream that may take more than there is, so that one always comes to its end.
    lead: AtomicU64,
    waiters: Mutex<Vec<Waker>>,
}

impl Room {
    pub(super) fn new(max: usize) -> Self {
        Self { max, held: AtomicUsize::new(0), lead: AtomicU64::new(0), waiters: Mutex::default() }
    }

    /// Whether a stream may take more, or else wakes it when others gave something back.
    fn may_take(&self, stream: u64, cx: &Context<'_>) -> bool {
        if self.held.load(Ordering::Relaxed) < self.max {
            return true;
        }
        let lead = self.lead.compare_exchange(0, stream, Ordering::Relaxed, Ordering::Relaxed);
        if lead.is_ok() || lead == Err(stream) {
            return true;
        }
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.push(cx.waker().clone());
        false
    }

    fn change(&self, stream: u64, from: usize, to: usize) {
        if to >= from {
            self.held.fetch_add(to - from, Ordering::Relaxed);
            return;
        }
        self.held.fetch_sub(from - to, Ordering::Relaxed);
        let _ = self.lead.compare_exchange(stream, 0, Ordering::Relaxed, Ordering::Relaxed);
        let waiters = std::mem::take(&mut *self.waiters.lock().unwrap_or_else(PoisonError::into_inner));
        waiters.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_used(&self) -> bool {
        self.held.load(Ordering::Relaxed) > 0
    }
}

/// What the handler sees of a stream that it does not hold any more.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Between messages.
    pub(super) idle: AtomicBool,
    ended: AtomicBool,
    waker: AtomicWaker,
}

impl Marks {
    /// Ends the stream, to make room for another.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.waker.wake();
    }
}

/// One stream.
pub(super) struct Inbound {
    stream: libp2p::Stream,
    id: u64,
    assembler: Assembler,
    room: Arc<Room>,
    marks: Arc<Marks>,
    held: usize,
    idle_max: Duration,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    last_read: Instant,
    last_told: Instant,
    is_over: bool,
}

impl Inbound {
    pub(super) fn new(
        mut stream: libp2p::Stream,
        id: u64,
        room: Arc<Room>,
        marks: Arc<Marks>,
        idle_max: Duration,
    ) -> Self {
        // An idle stream is no reason to keep a connection.
        stream.ignore_for_keep_alive();
        let now = Instant::now();
        let assembler = Assembler::default();
        marks.idle.store(true, Ordering::Relaxed);
        Self {
            stream,
            id,
            assembler,
            room,
            marks,
            held: 0,
            idle_max,
            timer: None,
            last_read: now,
            last_told: now,
            is_over: false,
        }
    }

    /// Reads until a message is whole. `None` at the end of the stream.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inflow>> {
        loop {
            match self.assembler.next_frame() {
                Ok(Some(frame)) => {
                    self.account(0);
                    let bytes = frame.len();
                    let message = decode(&frame);
                    return Poll::Ready(Some(
                        message.map_or(Inflow::Bad, |message| Inflow::Message(Box::new(message), bytes)),
                    ));
                }
                Ok(None) => {}
                Err(_) => return Poll::Ready(Some(Inflow::Bad)),
            }
            if self.assembler.is_amid() && !self.room.may_take(self.id, cx) {
                return self.poll_idle(cx);
            }
            let space = self.assembler.space();
            let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, space) else {
                return self.poll_idle(cx);
            };
            let count = match read {
                Ok(0) | Err(_) => return Poll::Ready(None),
                Ok(count) => count,
            };
            self.assembler.filled(count);
            self.account(self.assembler.held_bytes());
            self.last_read = Instant::now();
            if self.assembler.held_bytes() > 0
                && self.last_read.duration_since(self.last_told) >= PROGRESS_INTERVAL
            {
                self.last_told = self.last_read;
                return Poll::Ready(Some(Inflow::Progress));
            }
        }
    }

    fn account(&mut self, held: usize) {
        self.room.change(self.id, std::mem::replace(&mut self.held, held), held);
    }

    /// Nothing comes: bad if that is in the middle of a message and for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inflow>> {
        let amid = self.assembler.is_amid();
        self.marks.idle.store(!amid, Ordering::Relaxed);
        if !amid {
            self.timer = None;
            return Poll::Pending;
        }
        loop {
            let until = self.last_read + self.idle_max;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= until {
                return Poll::Ready(Some(Inflow::Bad));
            }
            timer.as_mut().reset(until.into());
        }
    }
}

impl Stream for Inbound {
    type Item = Inflow;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Inflow>> {
        let this = &mut *self;
        if this.is_over || this.marks.ended.load(Ordering::Relaxed) {
            return Poll::Ready(None);
        }
        this.marks.waker.register(cx.waker());
        let inflow = ready!(this.poll_message(cx));
        this.is_over = matches!(inflow, None | Some(Inflow::Bad));
        Poll::Ready(inflow)
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.account(0);
        self.marks.ended.store(true, Ordering::Relaxed);
    }
}

impl Marks {
    pub(super) fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}
