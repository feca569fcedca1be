//! The one stream that we open on a connection: it stays open, and carries wants and answers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use futures_util::AsyncWrite as _;
use tokio::time::Sleep;

use super::failures::Failures;
use crate::config::Config;
use crate::counters::{Counters, InFlight};
use crate::inbox::Sending;
use crate::message::{Message, Version, encode};

/// A peer that was refused again is believed to speak Bitswap only after this long, then after three times as long, and so on.
const READMIT_AFTER: Duration = Duration::from_millis(500);

/// What the handler has to do.
pub(super) enum Event {
    /// Ask for a stream.
    Open,
    /// A message is in the stream, so long after it was handed over.
    Sent(Sending, Duration),
    /// The stream is gone, and with it these.
    Lost(Vec<Sending>),
    /// There will be no stream.
    Refused(Vec<Sending>),
    /// That was long ago: there may be one.
    Readmitted,
}

enum State {
    Closed,
    Waiting(Pin<Box<Sleep>>),
    Opening,
    Open(libp2p::Stream, Version),
    /// Since when, and until when at most.
    Refused(Instant, Pin<Box<Sleep>>),
}

/// Stream and queue. The queue is bounded by what client and server let be on its way.
pub(super) struct Outbound {
    state: State,
    queue: VecDeque<(Message, Sending, Instant)>,
    /// Pieces of the message that is being written.
    pieces: VecDeque<Bytes>,
    writing: Option<(Sending, Instant, InFlight)>,
    needs_flush: bool,
    failures: Failures,
    /// How often it was refused and then not.
    readmitted: u32,
    opened_at: Instant,
    idle_max: Duration,
    refused_max: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    last_write: Instant,
    events: VecDeque<Event>,
    counters: Arc<Counters>,
}

impl Outbound {
    pub(super) fn new(config: &Config, counters: Arc<Counters>) -> Self {
        Self {
            state: State::Closed,
            queue: VecDeque::new(),
            pieces: VecDeque::new(),
            writing: None,
            needs_flush: false,
            failures: Failures::default(),
            readmitted: 0,
            opened_at: Instant::now(),
            idle_max: config.stream_idle_max,
            refused_max: config.refused_max,
            timer: None,
            last_write: Instant::now(),
            events: VecDeque::new(),
            counters,
        }
    }

    /// Queues a message. Wants go before blocks that are not begun: they are small, and the peer can work on them meanwhile.
    pub(super) fn push(&mut self, message: Message, sending: Sending) {
        let now = Instant::now();
        match sending {
            Sending::Wants => {
                let wants = self.queue.iter().take_while(|(_, other, _)| *other == Sending::Wants).count();
                self.queue.insert(wants, (message, sending, now));
            }
            Sending::Answer(_) => self.queue.push_back((message, sending, now)),
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.queue.is_empty() || self.writing.is_some()
    }

    pub(super) fn opened(&mut self, mut stream: libp2p::Stream, version: Version) {
        stream.ignore_for_keep_alive();
        self.opened_at = Instant::now();
        self.state = State::Open(stream, version);
    }

    /// The stream could not be opened; `refused` if the peer said that it does not speak Bitswap. What is queued waits for the next.
    pub(super) fn open_failed(&mut self, refused: bool) {
        match self.failures.on_unopened(Instant::now()).filter(|_| !refused) {
            Some(pause) => self.wait(pause),
            None => self.refuse(),
        }
    }

    fn refuse(&mut self) {
        let lost = self.drain();
        let retry = Box::pin(tokio::time::sleep(self.refused_max));
        self.state = State::Refused(Instant::now(), retry);
        self.events.push_back(Event::Refused(lost));
    }

    /// The peer speaks Bitswap after all. Says whether that is news: one that speaks it and takes no streams is not believed each time.
    pub(super) fn readmit(&mut self) -> bool {
        let State::Refused(since, _) = self.state else { return false };
        let pause = READMIT_AFTER * (2_u32.pow(self.readmitted.min(10)) - 1);
        if since.elapsed() < pause {
            return false;
        }
        self.readmitted += 1;
        self.try_again();
        true
    }

    fn try_again(&mut self) {
        self.failures = Failures::default();
        self.state = State::Closed;
    }

    fn drain(&mut self) -> Vec<Sending> {
        self.pieces.clear();
        self.needs_flush = false;
        let writing = self.writing.take().map(|(sending, ..)| sending);
        writing.into_iter().chain(self.queue.drain(..).map(|(_, sending, _)| sending)).collect()
    }

    fn wait(&mut self, pause: Duration) {
        self.state = State::Waiting(Box::pin(tokio::time::sleep(pause)));
    }

    fn lost(&mut self) {
        match self.failures.on_lost(self.opened_at, Instant::now()) {
            Some(pause) => {
                let lost = self.drain();
                self.wait(pause);
                self.events.push_back(Event::Lost(lost));
            }
            None => self.refuse(),
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            if let State::Refused(_, retry) = &mut self.state
                && retry.as_mut().poll(cx).is_ready()
            {
                self.try_again();
                return Poll::Ready(Event::Readmitted);
            }
            match &mut self.state {
                State::Closed | State::Refused(..) if self.queue.is_empty() => return Poll::Pending,
                State::Closed => {
                    self.state = State::Opening;
                    return Poll::Ready(Event::Open);
                }
                State::Waiting(timer) => {
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.state = State::Closed;
                }
                State::Opening => return Poll::Pending,
                State::Refused(..) => {
                    let lost = self.drain();
                    return Poll::Ready(Event::Refused(lost));
                }
                State::Open(..) => match self.poll_write(cx) {
                    Poll::Ready(Ok((sent, since))) => {
                        self.failures.on_sent();
                        return Poll::Ready(Event::Sent(sent, since.elapsed()));
                    }
                    Poll::Ready(Err(_)) => self.lost(),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    /// Writes until a message is in the stream.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<(Sending, Instant)>> {
        let State::Open(stream, version) = &mut self.state else { return Poll::Pending };
        loop {
            if let Some(piece) = self.pieces.front_mut() {
                match Pin::new(&mut *stream).poll_write(cx, piece) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(count)) => {
                        piece.advance(count);
                        if piece.is_empty() {
                            self.pieces.pop_front();
                        }
                        self.last_write = Instant::now();
                        self.needs_flush = true;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return self.poll_stuck(cx),
                }
            } else if let Some((sent, since, _)) = self.writing.take() {
                self.timer = None;
                return Poll::Ready(Ok((sent, since)));
            } else if let Some((message, sending, since)) = self.queue.pop_front() {
                self.pieces = encode(&message, *version).into();
                self.writing = Some((sending, since, InFlight::new(&self.counters)));
                self.last_write = Instant::now();
            } else if self.needs_flush {
                match Pin::new(&mut *stream).poll_flush(cx) {
                    Poll::Ready(Ok(())) => self.needs_flush = false,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            } else {
                return Poll::Pending;
            }
        }
    }

    /// The peer takes nothing: for so long, and no longer.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<(Sending, Instant)>> {
        loop {
            let until = self.last_write + self.idle_max;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= until {
                return Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(until.into());
        }
    }
}
