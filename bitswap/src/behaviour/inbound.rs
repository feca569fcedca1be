//! Streams that a peer opened: messages are read and decoded here, on the connection's task.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{AsyncRead, Stream};

use crate::counters::InFlight;
use crate::message::{Assembler, Message, decode};
use crate::room::Share;

/// A stream on which a long message comes says so this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// A message that comes more slowly than this is not waited for: 32 kbit/s, so the longest within about 18 minutes.
const RATE_MIN_BYTES: u64 = 4 << 10;

/// A stream that waits for room looks again after this time, besides when it is told.
const ROOM_INTERVAL: Duration = Duration::from_secs(1);

/// A stream ends after more messages in a row that say nothing.
const EMPTY_MAX: u32 = 100;

/// What came on a stream.
pub(super) enum Inflow {
    /// A message, and the bytes that it keeps in memory.
    Message(Box<Message>, usize),
    /// Part of one.
    Progress,
    /// Something that ends the stream.
    Bad,
}

/// One stream.
pub(super) struct Inbound<S = libp2p::Stream> {
    stream: S,
    assembler: Assembler,
    share: Share,
    idle_max: Duration,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    last_read: Instant,
    last_told: Instant,
    /// Since when there is no room for more of the message, and how long that was before.
    waits_since: Option<Instant>,
    waited: Duration,
    /// Messages that said nothing, since the last that said something.
    empty_in_row: u32,
    is_over: bool,
    _in_flight: InFlight,
}

impl<S: AsyncRead + Unpin> Inbound<S> {
    /// A message on `stream` may pause for `idle_max`, and take that long besides what its bytes do at the smallest rate.
    pub(super) fn new(stream: S, share: Share, idle_max: Duration, in_flight: InFlight) -> Self {
        let now = Instant::now();
        Self {
            stream,
            assembler: Assembler::default(),
            share,
            idle_max,
            timer: None,
            last_read: now,
            last_told: now,
            waits_since: None,
            waited: Duration::ZERO,
            empty_in_row: 0,
            is_over: false,
            _in_flight: in_flight,
        }
    }

    /// Reads until a message is whole. `None` at the end of the stream.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inflow>> {
        loop {
            match self.assembler.next_frame() {
                Ok(Some(frame)) => {
                    self.share.release();
                    self.waited = Duration::ZERO;
                    return Poll::Ready(Some(self.inflow(&frame)));
                }
                Ok(None) => {}
                Err(_) => return Poll::Ready(Some(Inflow::Bad)),
            }
            if self.assembler.is_full() && !self.has_room(cx) {
                return self.poll_idle(cx);
            }
            let space = self.assembler.space();
            let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, space) else {
                self.assembler.rest();
                self.share.grow_to(self.assembler.held_bytes(), Instant::now());
                return self.poll_idle(cx);
            };
            let count = match read {
                Ok(0) | Err(_) => return Poll::Ready(None),
                Ok(count) => count,
            };
            self.assembler.filled(count);
            self.last_read = Instant::now();
            self.share.grow_to(self.assembler.held_bytes(), self.last_read);
            if self.last_read.duration_since(self.last_told) >= PROGRESS_INTERVAL {
                self.last_told = self.last_read;
                return Poll::Ready(Some(Inflow::Progress));
            }
        }
    }

    /// What a message is worth. One that says nothing is no fault, but work.
    fn inflow(&mut self, frame: &Bytes) -> Inflow {
        let Ok(message) = decode(frame) else { return Inflow::Bad };
        self.empty_in_row = if message.is_empty() { self.empty_in_row + 1 } else { 0 };
        if self.empty_in_row > EMPTY_MAX {
            return Inflow::Bad;
        }
        Inflow::Message(Box::new(message), frame.len())
    }

    /// Whether the buffer may grow.
    fn has_room(&mut self, cx: &Context<'_>) -> bool {
        let now = Instant::now();
        if !self.share.may_take(now, cx.waker()) {
            self.waits_since.get_or_insert(now);
            return false;
        }
        self.waited += self.waits_since.take().map_or(Duration::ZERO, |since| now.duration_since(since));
        true
    }

    /// When the message that is under way is given up: nothing came for too long, or too little. That there was no room for it
    /// is not held against it.
    fn ends(&self, now: Instant) -> Instant {
        let silent = self.last_read + self.idle_max;
        let waited = self.waited + self.waits_since.map_or(Duration::ZERO, |since| now.duration_since(since));
        let seconds = self.assembler.received_bytes() as u64 / RATE_MIN_BYTES;
        let slow =
            self.share.since().map(|since| since + self.idle_max + waited + Duration::from_secs(seconds));
        slow.map_or(silent, |slow| slow.min(silent))
    }

    /// Nothing comes, or there is no room for it: bad if that is in the middle of a message and for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Inflow>> {
        let amid = self.assembler.is_amid();
        self.share.marks().idle.store(!amid, Ordering::Relaxed);
        if !amid {
            self.timer = None;
            return Poll::Pending;
        }
        loop {
            let now = Instant::now();
            let ends = self.ends(now);
            if now >= ends {
                return Poll::Ready(Some(Inflow::Bad));
            }
            let until = if self.waits_since.is_some() { ends.min(now + ROOM_INTERVAL) } else { ends };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
            if timer.deadline() > until.into() {
                timer.as_mut().reset(until.into());
            }
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
            if self.waits_since.is_some() {
                // Round again, to look for room.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Stream for Inbound<S> {
    type Item = Inflow;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Inflow>> {
        let this = &mut *self;
        if this.is_over || this.share.marks().is_over() {
            return Poll::Ready(None);
        }
        this.share.marks().waker.register(cx.waker());
        let inflow = ready!(this.poll_message(cx));
        this.is_over = matches!(inflow, None | Some(Inflow::Bad));
        Poll::Ready(inflow)
    }
}

impl<S> Drop for Inbound<S> {
    fn drop(&mut self) {
        self.share.marks().end();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use futures_util::StreamExt as _;
    use tokio::time::{Sleep, sleep, timeout};

    use super::*;
    use crate::message::{Payload, Prefix, Version, encode};
    use crate::room::{Marks, Room};
    use crate::sim::blocks;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A peer that sends some bytes at once, and then as many as said again and again.
    struct Peer {
        first: Vec<u8>,
        then_bytes: usize,
        timer: Pin<Box<Sleep>>,
        pieces: Arc<AtomicUsize>,
    }

    impl Peer {
        const EVERY: Duration = Duration::from_millis(10);

        fn new(first: Vec<u8>, then_bytes: usize) -> Self {
            Self { first, then_bytes, timer: Box::pin(sleep(Self::EVERY)), pieces: Arc::default() }
        }

        /// It announces 4 MiB, and sends a byte at a time.
        fn dripping() -> Self {
            let mut buffer = unsigned_varint::encode::usize_buffer();
            let mut first = unsigned_varint::encode::usize(4 << 20, &mut buffer).to_vec();
            first.resize(100, 0);
            Self::new(first, 1)
        }
    }

    impl AsyncRead for Peer {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            if !self.first.is_empty() {
                let count = buffer.len().min(self.first.len());
                buffer[..count].copy_from_slice(&self.first[..count]);
                self.first.drain(..count);
                return Poll::Ready(Ok(count));
            }
            ready!(self.timer.as_mut().poll(cx));
            self.timer = Box::pin(sleep(Self::EVERY));
            self.pieces.fetch_add(1, Ordering::Relaxed);
            let count = buffer.len().min(self.then_bytes);
            buffer[..count].fill(0);
            Poll::Ready(Ok(count))
        }
    }

    /// On a connection of its own.
    fn inbound(peer: Peer, all: &Arc<Room>, idle_max: Duration) -> Inbound<Peer> {
        let connection = Arc::new(Room::of_connection(8 << 20));
        let marks = Arc::new(Marks::default());
        let in_flight = InFlight::new(&Arc::default());
        Inbound::new(peer, Share::new(&connection, all, &marks), idle_max, in_flight)
    }

    async fn outcome(inbound: Inbound<Peer>) -> Inflow {
        let inflow = inbound.filter(|inflow| std::future::ready(!matches!(inflow, Inflow::Progress)));
        timeout(LIMIT, Box::pin(inflow).next()).await.expect("in time").expect("something came")
    }

    #[tokio::test]
    async fn a_peer_that_drips_bytes_into_a_message_is_cut_off() {
        let all = Arc::new(Room::of_all(16 << 20));
        let peer = Peer::dripping();
        let pieces = peer.pieces.clone();
        let inbound = inbound(peer, &all, Duration::from_secs(2));
        assert!(matches!(outcome(inbound).await, Inflow::Bad));
        assert!(pieces.load(Ordering::Relaxed) > 2, "it was never silent");
        assert_eq!(all.held_bytes(), 0);
    }

    #[tokio::test]
    async fn a_whole_message_comes_in_although_others_drip_bytes_into_all_the_room() {
        let all = Arc::new(Room::of_all(256 << 10));
        let slow: Vec<_> = (0..20)
            .map(|_| tokio::spawn(outcome(inbound(Peer::dripping(), &all, Duration::from_secs(2)))))
            .collect();
        let full = async {
            while all.held_bytes() < 256 << 10 {
                sleep(Peer::EVERY).await;
            }
        };
        timeout(LIMIT, full).await.expect("they take all");
        assert!(all.held_bytes() <= (320 << 10) + (20 << 12), "the sum, the lead and what came first");
        let mut message = Message::default();
        let (_, data) = blocks(1, 1 << 20).remove(0);
        message.blocks.push(Payload { prefix: Prefix::V0, data });
        let bytes = encode(&message, Version::V1_2).concat();
        let honest = inbound(Peer::new(bytes, 0), &all, LIMIT);
        assert!(matches!(outcome(honest).await, Inflow::Message(got, _) if *got == message));
        for slow in slow {
            assert!(matches!(slow.await.unwrap(), Inflow::Bad));
        }
        assert_eq!(all.held_bytes(), 0);
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_again_and_again_is_cut_off() {
        let all = Arc::new(Room::of_all(16 << 20));
        let inbound = inbound(Peer::new(vec![0; 100_000], 0), &all, LIMIT);
        let inflows: Vec<_> = timeout(LIMIT, inbound.collect()).await.expect("it ends");
        assert_eq!(inflows.len(), EMPTY_MAX as usize + 1);
        assert!(matches!(inflows.last(), Some(Inflow::Bad)));
        assert_eq!(all.held_bytes(), 0);
    }
}
