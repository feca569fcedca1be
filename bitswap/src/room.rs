//! Memory that messages of others take before they are dealt with: a bound for each connection, and one for all together.
//!
//! A stream asks before its buffer grows. Where there is no room it waits, and reads nothing; one stream, the lead, goes on all the same,
//! so that there is always one that comes to its end. Where connections compete, the message that has been coming longest is ended when
//! that has lasted [`CROWDED_AGE`]: whoever drips bytes into many messages cannot keep others out. It does no I/O and knows no clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

/// A message that has been coming for so long may be ended where others wait for room.
const CROWDED_AGE: Duration = Duration::from_secs(10);

/// Streams that are woken at a time when there is room again; the others look again by themselves.
const WOKEN_MAX: usize = 64;

/// What the handler sees of a stream that it does not hold any more.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Between messages, and nothing came when it was read last.
    pub(crate) idle: AtomicBool,
    ended: AtomicBool,
    pub(crate) waker: AtomicWaker,
}

impl Marks {
    /// Ends the stream, to make room for another.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Memory that several streams share.
#[derive(Debug)]
pub(crate) struct Room {
    bytes_max: usize,
    ends_oldest: bool,
    next_stream: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held_bytes: usize,
    /// The stream that may take more than there is.
    lead: Option<u64>,
    /// Messages that are not whole, by when they began.
    partial: BTreeMap<(Instant, u64), Arc<Marks>>,
    /// The stream that was told to end and has not yet.
    ending: Option<u64>,
    waiters: BTreeMap<u64, Waker>,
}

impl State {
    fn end_oldest(&mut self, now: Instant) {
        if self.ending.is_some() {
            return;
        }
        if let Some(((since, stream), marks)) = self.partial.first_key_value()
            && now.saturating_duration_since(*since) >= CROWDED_AGE
        {
            marks.end();
            self.ending = Some(*stream);
        }
    }

    /// Those to wake where something was given back: the next lead, or as many as may find room.
    fn woken(&mut self, bytes_max: usize) -> Vec<Waker> {
        let count = if self.held_bytes < bytes_max { WOKEN_MAX } else { usize::from(self.lead.is_none()) };
        (0..count).map_while(|_| self.waiters.pop_first()).map(|(_, waker)| waker).collect()
    }
}

impl Room {
    /// Of one connection. Its own slow messages are its own matter.
    pub(crate) fn of_connection(bytes_max: usize) -> Self {
        Self { bytes_max, ends_oldest: false, next_stream: AtomicU64::new(1), state: Mutex::default() }
    }

    /// Of all connections.
    pub(crate) fn of_all(bytes_max: usize) -> Self {
        Self { ends_oldest: true, ..Self::of_connection(bytes_max) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.lock().held_bytes
    }

    /// Counts a message that is whole and waits to be dealt with.
    pub(crate) fn take(&self, bytes: usize) {
        self.lock().held_bytes += bytes;
    }

    /// Gives back what [`Room::take`] counted.
    pub(crate) fn give_back(&self, bytes: usize) {
        let mut state = self.lock();
        state.held_bytes = state.held_bytes.saturating_sub(bytes);
        let woken = state.woken(self.bytes_max);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    fn is_lead(&self, stream: u64) -> bool {
        self.lock().lead == Some(stream)
    }

    /// Whether a stream may take more, or else wakes it when others gave something back.
    fn may_take(&self, stream: u64, now: Instant, waker: &Waker) -> bool {
        let mut state = self.lock();
        if state.held_bytes < self.bytes_max || *state.lead.get_or_insert(stream) == stream {
            return true;
        }
        state.waiters.insert(stream, waker.clone());
        if self.ends_oldest {
            state.end_oldest(now);
        }
        false
    }

    /// A message that is not whole holds more than before.
    fn grow(&self, stream: u64, by: usize, since: Instant, marks: &Arc<Marks>) {
        let mut state = self.lock();
        state.held_bytes += by;
        state.partial.entry((since, stream)).or_insert_with(|| marks.clone());
    }

    /// A message that was not whole is, or is given up.
    fn release(&self, stream: u64, bytes: usize, since: Option<Instant>) {
        let mut state = self.lock();
        state.held_bytes = state.held_bytes.saturating_sub(bytes);
        if let Some(since) = since {
            state.partial.remove(&(since, stream));
        }
        state.lead.take_if(|lead| *lead == stream);
        state.ending.take_if(|ending| *ending == stream);
        state.waiters.remove(&stream);
        let woken = state.woken(self.bytes_max);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }
}

/// What one stream holds, in its connection's room and in that of all.
#[derive(Debug)]
pub(crate) struct Share {
    connection: Arc<Room>,
    all: Arc<Room>,
    stream: u64,
    marks: Arc<Marks>,
    held_bytes: usize,
    /// When the message began that is not whole.
    since: Option<Instant>,
}

impl Share {
    pub(crate) fn new(connection: &Arc<Room>, all: &Arc<Room>, marks: &Arc<Marks>) -> Self {
        let stream = all.next_stream.fetch_add(1, Ordering::Relaxed);
        let (connection, all, marks) = (connection.clone(), all.clone(), marks.clone());
        Self { connection, all, stream, marks, held_bytes: 0, since: None }
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// When the message began that is not whole, if there is one.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether the stream may take more, or else wakes it when others gave something back.
    pub(crate) fn may_take(&self, now: Instant, waker: &Waker) -> bool {
        // The lead of all is not held up by its connection's, which may wait for it.
        self.all.is_lead(self.stream)
            || self.connection.may_take(self.stream, now, waker) && self.all.may_take(self.stream, now, waker)
    }

    /// The message that is not whole holds this much now.
    pub(crate) fn grow_to(&mut self, bytes: usize, now: Instant) {
        let Some(by) = bytes.checked_sub(self.held_bytes).filter(|by| *by > 0) else { return };
        let since = *self.since.get_or_insert(now);
        self.held_bytes = bytes;
        for room in [&self.connection, &self.all] {
            room.grow(self.stream, by, since, &self.marks);
        }
    }

    /// No message is under way.
    pub(crate) fn release(&mut self) {
        let (bytes, since) = (std::mem::take(&mut self.held_bytes), self.since.take());
        for room in [&self.connection, &self.all] {
            room.release(self.stream, bytes, since);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    struct Streams {
        all: Arc<Room>,
        now: Instant,
    }

    impl Streams {
        fn new(bytes_max: usize) -> Self {
            Self { all: Arc::new(Room::of_all(bytes_max)), now: Instant::now() }
        }

        /// A stream on a connection of its own.
        fn connect(&self) -> Share {
            let connection = Arc::new(Room::of_connection(8 * MIB));
            Share::new(&connection, &self.all, &Arc::default())
        }

        /// Reads on while there is room: whether the message came to its end.
        fn reads(&self, share: &mut Share, message_bytes: usize) -> bool {
            let mut held = share.held_bytes;
            while held < message_bytes && share.may_take(self.now, Waker::noop()) {
                held = (held * 2).clamp(64 << 10, message_bytes);
                share.grow_to(held, self.now);
            }
            if held == message_bytes {
                share.release();
            }
            held == message_bytes
        }
    }

    #[test]
    fn slow_messages_of_many_connections_stay_within_one_sum() {
        let (sum, mut streams) = (16 * MIB, Streams::new(16 * MIB));
        let mut slow: Vec<Share> = (0..800).map(|_| streams.connect()).collect();
        for bytes in [64 << 10, MIB, 4 * MIB] {
            for share in &mut slow {
                while share.held_bytes < bytes && share.may_take(streams.now, Waker::noop()) {
                    share.grow_to((share.held_bytes * 2).max(64 << 10), streams.now);
                }
            }
            let held = streams.all.held_bytes();
            assert!(held <= sum + 4 * MIB, "{held} bytes: the sum, and one message of the lead");
        }
        assert!(streams.all.held_bytes() >= sum, "otherwise nothing was tried");

        // The lead among them never ends. An honest one comes, and waits.
        let mut honest = streams.connect();
        assert!(!streams.reads(&mut honest, MIB));
        assert!(slow.iter().all(|share| !share.marks.is_over()), "nobody is cut for a moment's delay");
        streams.now += CROWDED_AGE;
        let mut looks = 0;
        while !streams.reads(&mut honest, MIB) {
            looks += 1;
            assert!(looks <= slow.len(), "the honest one never comes to its end");
            slow.retain(|share| !share.marks.is_over());
        }
        assert!(slow.len() >= 700, "no more are ended than need be: {} are left", slow.len());
        drop((slow, honest));
        assert_eq!(streams.all.held_bytes(), 0);
    }

    #[test]
    fn one_message_always_comes_to_its_end() {
        let streams = Streams::new(MIB);
        let mut shares: Vec<Share> = (0..10).map(|_| streams.connect()).collect();
        let mut rounds = 0;
        while !shares.is_empty() {
            rounds += 1;
            assert!(rounds <= 10, "all wait for each other");
            shares.retain_mut(|share| !streams.reads(share, 2 * MIB));
        }
        assert_eq!(streams.all.held_bytes(), 0);
    }

    #[test]
    fn the_lead_of_all_does_not_wait_for_the_lead_of_its_connection() {
        let all = Arc::new(Room::of_all(MIB));
        let connection = Arc::new(Room::of_connection(2 * MIB));
        let [mut first, mut second] = [(); 2].map(|()| Share::new(&connection, &all, &Arc::default()));
        let (now, waker) = (Instant::now(), Waker::noop());
        first.grow_to(MIB, now);
        assert!(first.may_take(now, waker), "it leads all");
        second.grow_to(MIB, now);
        assert!(!second.may_take(now, waker), "it leads its connection, and waits for the other");
        assert!(first.may_take(now, waker));
        first.release();
        assert!(second.may_take(now, waker));
    }

    #[test]
    fn messages_that_wait_to_be_dealt_with_count() {
        let streams = Streams::new(MIB);
        streams.all.take(MIB);
        let [mut lead, mut other] = [(); 2].map(|()| streams.connect());
        lead.grow_to(1, streams.now);
        assert!(lead.may_take(streams.now, Waker::noop()));
        assert!(!streams.reads(&mut other, MIB));
        streams.all.give_back(MIB);
        assert!(streams.reads(&mut other, MIB));
    }

    #[test]
    fn a_stream_that_ends_as_the_lead_leaves_the_lead_to_others() {
        let streams = Streams::new(0);
        let [first, second] = [(); 2].map(|()| streams.connect());
        assert!(first.may_take(streams.now, Waker::noop()));
        assert!(!second.may_take(streams.now, Waker::noop()));
        drop(first);
        assert!(second.may_take(streams.now, Waker::noop()));
    }
}
