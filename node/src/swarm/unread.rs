//! Bytes that peers sent through yamux and that nobody here has read yet: how many there may be, of all connections together.
//!
//! A connection takes its next frame only if what it then holds is no more than what is still free of the bound. So the sum
//! never passes the bound, and the fewer hold anything, the more each may. Who may not take a frame leaves it in the socket,
//! which stops the peer. Who has to wait for long is given room: the connection is closed of which the most bytes have stayed
//! unread all that time, if they are more than twice what the one that waits holds. What is read in time does not count.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use libp2p::futures::task::AtomicWaker;
use libp2p::futures::{AsyncRead, AsyncWrite};

/// Connections that are woken when bytes were read, those first that wait longest: each looks again whether there is room.
const WOKEN_AT_ONCE: usize = 4;
/// How long a connection waits for room before another has to make it, and how long bytes stay until they count as never read.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes in front of each frame of yamux.
const HEADER_BYTES: usize = 12;
/// Bytes of a frame beyond which yamux ends the connection without taking it.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// What may wait unread. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Unread {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    max: usize,
    held: AtomicUsize,
    /// Connections in the queue, so that nobody takes its lock for nothing.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
    watch: Mutex<Watch>,
}

/// All connections, and since when it is watched what stays unread.
#[derive(Debug, Default)]
struct Watch {
    connections: Vec<Weak<Held>>,
    since: Option<Instant>,
}

/// Connections that may not take their next frame, in the order in which they came.
#[derive(Debug, Default)]
struct Queue {
    /// The place of who came last. The first is 1.
    last: u64,
    waiting: BTreeMap<u64, Waker>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Unread {
    /// No more than this many bytes.
    pub(super) fn new(max: usize) -> Self {
        let (held, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (queue, watch) = (Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { max, held, waiting, queue, watch }) }
    }

    /// A new connection, which holds nothing yet.
    pub(super) fn connection(&self) -> Arc<Held> {
        let held = Arc::new(Held {
            all: Arc::clone(&self.shared),
            bytes: AtomicUsize::new(0),
            least: AtomicUsize::new(0),
            stayed: AtomicUsize::new(0),
            place: AtomicU64::new(0),
            waits_since: Mutex::default(),
            streams: Mutex::default(),
            task: AtomicWaker::new(),
            is_cut: AtomicBool::new(false),
        });
        lock(&self.shared.watch).connections.push(Arc::downgrade(&held));
        held
    }

    /// Makes room where somebody has waited for too long: to be called once a second.
    pub(super) fn tick(&self, now: Instant) {
        let mut watch = lock(&self.shared.watch);
        watch.connections.retain(|held| held.strong_count() > 0);
        let all: Vec<Arc<Held>> = watch.connections.iter().filter_map(Weak::upgrade).collect();
        let is_over = watch.since.is_none_or(|since| now.saturating_duration_since(since) >= PATIENCE);
        if is_over {
            watch.since = Some(now);
            for held in &all {
                held.watch_anew();
            }
        }
        drop(watch);
        let waits = |held: &&Arc<Held>| {
            lock(&held.waits_since).is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE)
        };
        let Some(poorest) = all.iter().filter(waits).map(|held| held.bytes()).min() else { return };
        let open = all.iter().filter(|held| !held.is_cut());
        if let Some(held) = open.max_by_key(|held| held.never_read())
            && held.never_read() > 2 * poorest
        {
            held.cut();
        }
        // Whoever was passed over looks again.
        self.shared.wake(0);
    }

    /// Bytes that wait now.
    pub(super) fn bytes(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }

    /// Bytes that may wait.
    pub(super) fn bytes_max(&self) -> usize {
        self.shared.max
    }
}

impl Shared {
    /// Wakes who waits at this place, if anybody does, and some of those who wait longest.
    fn wake(&self, place: u64) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut queue = lock(&self.queue);
        let mut woken: Vec<Waker> = queue.waiting.remove(&place).into_iter().collect();
        for _ in 0..WOKEN_AT_ONCE {
            woken.extend(queue.waiting.pop_first().map(|(_, waker)| waker));
        }
        self.waiting.store(queue.waiting.len(), Ordering::SeqCst);
        drop(queue);
        woken.into_iter().for_each(Waker::wake);
    }
}

/// A stream, until its connection ends.
type Slot = Mutex<Option<yamux::Stream>>;

/// What is known of one stream.
#[derive(Debug, Default)]
struct OfStream {
    /// Bytes that wait on it.
    waiting: usize,
    /// None between the frame that opens it and its being taken.
    slot: Option<Arc<Slot>>,
}

/// What one connection holds.
#[derive(Debug)]
pub(super) struct Held {
    all: Arc<Shared>,
    bytes: AtomicUsize,
    /// The least that it held since it is watched anew, and while it was watched before.
    least: AtomicUsize,
    stayed: AtomicUsize,
    /// Where it waits in the queue, if it does, and since when.
    place: AtomicU64,
    waits_since: Mutex<Option<Instant>>,
    /// The streams that are open here, by their numbers.
    streams: Mutex<HashMap<u32, OfStream>>,
    /// Who drives the connection.
    task: AtomicWaker,
    is_cut: AtomicBool,
}

impl Held {
    /// Bytes that it holds now.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the connection has to end, to make room for others. Whoever drives it is woken when it has to.
    pub(super) fn must_end(&self, cx: &Context<'_>) -> bool {
        self.task.register(cx.waker());
        self.is_cut()
    }

    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }

    fn cut(&self) {
        tracing::debug!("a connection is closed that holds {} bytes which nobody reads", self.bytes());
        self.is_cut.store(true, Ordering::SeqCst);
        self.task.wake();
    }

    fn watch_anew(&self) {
        let least = self.least.swap(self.bytes(), Ordering::SeqCst);
        self.stayed.store(least, Ordering::SeqCst);
    }

    /// Bytes that it has held all the time that it was watched.
    fn never_read(&self) -> usize {
        let least = self.least.load(Ordering::SeqCst).min(self.bytes());
        least.min(self.stayed.load(Ordering::SeqCst))
    }

    /// Takes this many bytes, if there is room.
    fn take(&self, bytes: usize) -> bool {
        let would_hold = self.bytes.load(Ordering::SeqCst) + bytes;
        let fits = |held: usize| {
            let free = self.all.max.saturating_sub(held);
            (would_hold <= free).then(|| held + bytes)
        };
        let taken = self.all.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok();
        if taken {
            self.bytes.fetch_add(bytes, Ordering::SeqCst);
        }
        taken
    }

    /// Takes this many bytes as soon as there is room.
    fn poll_take(&self, cx: &Context<'_>, bytes: usize) -> Poll<()> {
        if self.take(bytes) {
            *lock(&self.waits_since) = None;
            return Poll::Ready(());
        }
        lock(&self.waits_since).get_or_insert_with(Instant::now);
        let mut queue = lock(&self.all.queue);
        if let Some(waker) = queue.waiting.get_mut(&self.place.load(Ordering::Relaxed)) {
            waker.clone_from(cx.waker());
        } else {
            queue.last += 1;
            let place = queue.last;
            queue.waiting.insert(place, cx.waker().clone());
            self.place.store(place, Ordering::Relaxed);
        }
        self.all.waiting.store(queue.waiting.len(), Ordering::SeqCst);
        drop(queue);
        // Whoever gave something back before it stood in the queue did not wake it.
        if self.take(bytes) {
            self.leave_queue();
            *lock(&self.waits_since) = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn leave_queue(&self) {
        let mut queue = lock(&self.all.queue);
        queue.waiting.remove(&self.place.load(Ordering::Relaxed));
        self.all.waiting.store(queue.waiting.len(), Ordering::SeqCst);
    }

    /// Gives bytes back, no more than it holds: a stream may be read while the connection ends.
    fn give_back(&self, bytes: usize) {
        let less = |held: usize| Some(held.saturating_sub(bytes));
        let before = self.bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).unwrap_or_default();
        let given = before.min(bytes);
        if given > 0 {
            self.least.fetch_min(before - given, Ordering::SeqCst);
            self.all.held.fetch_sub(given, Ordering::SeqCst);
            self.all.wake(self.place.load(Ordering::Relaxed));
        }
    }

    /// A frame is whole: its bytes wait on its stream, or yamux drops them where there is none.
    fn arrived(&self, stream: u32, opens: bool, bytes: usize) {
        let mut streams = lock(&self.streams);
        let of_stream =
            if opens { Some(streams.entry(stream).or_default()) } else { streams.get_mut(&stream) };
        if let Some(known) = of_stream {
            known.waiting += bytes;
        } else {
            drop(streams);
            self.give_back(bytes);
        }
    }

    fn opened(&self, stream: u32, slot: Arc<Slot>) {
        lock(&self.streams).entry(stream).or_default().slot = Some(slot);
    }

    fn was_read(&self, stream: u32, bytes: usize) {
        let mut streams = lock(&self.streams);
        let Some(known) = streams.get_mut(&stream) else { return };
        let bytes = bytes.min(known.waiting);
        known.waiting -= bytes;
        drop(streams);
        self.give_back(bytes);
    }

    fn closed(&self, stream: u32) {
        let known = lock(&self.streams).remove(&stream);
        self.give_back(known.map_or(0, |known| known.waiting));
    }

    /// The connection is over, and with it what was not read: also on streams that somebody keeps and does not look at.
    pub(super) fn end(&self) {
        let streams = std::mem::take(&mut *lock(&self.streams));
        for slot in streams.into_values().filter_map(|known| known.slot) {
            let stream = lock(&slot).take();
            drop(stream);
        }
        self.leave_queue();
        *lock(&self.waits_since) = None;
        self.give_back(usize::MAX);
    }
}

/// A socket below yamux that lets a frame in only when there is room for it.
#[derive(Debug)]
pub(super) struct Inlet<C> {
    socket: C,
    held: Arc<Held>,
    at: At,
}

/// How far the frame is that is being read.
#[derive(Debug, Clone, Copy)]
enum At {
    /// So many bytes of its header have come. They are kept back: yamux makes room for the frame as soon as it knows of it.
    Header { bytes: [u8; HEADER_BYTES], length: usize },
    /// The header is whole, and so much of it was handed on.
    Known { bytes: [u8; HEADER_BYTES], given: usize },
    /// So many bytes of it are missing.
    Body { frame: Frame, missing: usize },
}

const START: At = At::Header { bytes: [0; HEADER_BYTES], length: 0 };

/// What its header says of a frame.
#[derive(Debug, Clone, Copy)]
struct Frame {
    stream: u32,
    /// Whether it opens the stream.
    opens: bool,
    /// Bytes behind the header.
    length: usize,
}

impl Frame {
    /// Frames that carry no data have nothing behind the header, and those that yamux will not take do not matter.
    fn of(header: [u8; HEADER_BYTES]) -> Self {
        const DATA: u8 = 0;
        const SYN: u8 = 1;
        let [_, kind, _, flags, s0, s1, s2, s3, l0, l1, l2, l3] = header;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let length = if kind == DATA && length <= FRAME_BYTES_MAX { length } else { 0 };
        Self { stream: u32::from_be_bytes([s0, s1, s2, s3]), opens: flags & SYN != 0, length }
    }
}

impl<C> Inlet<C> {
    pub(super) fn new(socket: C, held: Arc<Held>) -> Self {
        Self { socket, held, at: START }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Inlet<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            match &mut this.at {
                At::Header { bytes, length } => {
                    let rest = bytes.get_mut(*length..).unwrap_or_default();
                    let count = ready!(Pin::new(&mut this.socket).poll_read(cx, rest))?;
                    if count == 0 {
                        return Poll::Ready(Ok(0));
                    }
                    *length += count;
                    if *length == HEADER_BYTES {
                        this.at = At::Known { bytes: *bytes, given: 0 };
                    }
                }
                At::Known { bytes, given } => {
                    let frame = Frame::of(*bytes);
                    if *given == 0 && frame.length > 0 {
                        ready!(this.held.poll_take(cx, frame.length));
                    }
                    let count = (HEADER_BYTES - *given).min(buf.len());
                    let (now, rest) = (bytes.get(*given..*given + count), buf.get_mut(..count));
                    if let (Some(now), Some(rest)) = (now, rest) {
                        rest.copy_from_slice(now);
                    }
                    *given += count;
                    if *given == HEADER_BYTES {
                        let body = At::Body { frame, missing: frame.length };
                        this.at = if frame.length > 0 { body } else { START };
                    }
                    return Poll::Ready(Ok(count));
                }
                At::Body { frame, missing } => {
                    let room = (*missing).min(buf.len());
                    let into = buf.get_mut(..room).unwrap_or_default();
                    let count = ready!(Pin::new(&mut this.socket).poll_read(cx, into))?;
                    *missing -= count;
                    if *missing == 0 {
                        this.held.arrived(frame.stream, frame.opens, frame.length);
                        this.at = START;
                    }
                    return Poll::Ready(Ok(count));
                }
            }
        }
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Inlet<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

/// A stream of yamux that says what was read of it.
#[derive(Debug)]
pub(super) struct Stream {
    slot: Arc<Slot>,
    id: u32,
    held: Arc<Held>,
}

impl Stream {
    pub(super) fn new(stream: yamux::Stream, held: &Arc<Held>) -> Self {
        let id = stream.id().val();
        let slot = Arc::new(Mutex::new(Some(stream)));
        held.opened(id, Arc::clone(&slot));
        Self { slot, id, held: Arc::clone(held) }
    }

    /// Uses it while there is a connection. The words for what comes later are those of yamux.
    fn with<T>(
        &self,
        act: impl FnOnce(Pin<&mut yamux::Stream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match lock(&self.slot).as_mut() {
            Some(stream) => act(Pin::new(stream)),
            None => Poll::Ready(Err(io::Error::new(io::ErrorKind::WriteZero, "connection is closed"))),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.held.closed(self.id);
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = match lock(&self.slot).as_mut() {
            Some(stream) => ready!(Pin::new(stream).poll_read(cx, buf))?,
            // What yamux says of a connection that is over.
            None => return Poll::Ready(Ok(0)),
        };
        self.held.was_read(self.id, count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_close(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use libp2p::futures::io::Cursor;

    use super::*;

    #[derive(Debug, Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Flag {
        fn take(&self) -> bool {
            self.0.swap(false, Ordering::Relaxed)
        }
    }

    fn takes(held: &Held, flag: &Arc<Flag>, bytes: usize) -> bool {
        let waker = Waker::from(Arc::clone(flag));
        held.poll_take(&Context::from_waker(&waker), bytes).is_ready()
    }

    /// Takes frames of this size as long as it may, and says how many bytes it holds then.
    fn fill(held: &Held, frame: usize) -> usize {
        while takes(held, &Arc::default(), frame) {
            held.arrived(1, true, frame);
        }
        held.bytes()
    }

    #[test]
    fn the_sum_stays_below_the_bound_and_those_that_hold_equally_much_leave_as_much_free() {
        const MAX: usize = 1000;
        let all = Unread::new(MAX);
        let alone = all.connection();
        assert_eq!(fill(&alone, 1), MAX / 2);
        alone.end();
        assert_eq!(all.bytes(), 0, "with the connection it is given back");
        let mut greedy = Vec::new();
        for _ in 0..9 {
            greedy.push(all.connection());
            for held in &greedy {
                fill(held, 1);
            }
            assert!(all.bytes() < MAX, "{}", all.bytes());
        }
        // 500 of the first, 250 of the second, and so on: who holds more than is free gives nothing up, and gets no more.
        let newcomer = all.connection();
        assert!(takes(&newcomer, &Arc::default(), 1) && all.bytes() <= MAX);
        for held in &greedy {
            held.was_read(1, usize::MAX);
        }
        for _ in 0..1000 {
            for held in &greedy {
                if takes(held, &Arc::default(), 1) {
                    held.arrived(1, true, 1);
                }
            }
        }
        let shares: Vec<usize> = greedy.iter().map(|held| held.bytes()).collect();
        assert!(
            shares.iter().all(|bytes| (99..=100).contains(bytes)),
            "of ten that may share it: {shares:?}"
        );
    }

    #[test]
    fn who_waits_for_long_has_those_closed_that_hold_much_which_is_never_read() {
        let all = Unread::new(1000);
        let (stuck, read, late) = (all.connection(), all.connection(), all.connection());
        assert_eq!((fill(&stuck, 100), fill(&read, 100)), (500, 300));
        let start = Instant::now();
        let flag = Arc::new(Flag::default());
        let cx_waker = Waker::from(Arc::clone(&flag));
        assert!(!stuck.must_end(&Context::from_waker(&cx_waker)));
        assert!(!takes(&late, &Arc::default(), 400));
        let (read_flag, mut second) = (Arc::new(Flag::default()), start);
        assert!(!read.must_end(&Context::from_waker(&Waker::from(Arc::clone(&read_flag)))));
        while !flag.take() {
            second += Duration::from_secs(1);
            assert!(second < start + 4 * PATIENCE);
            all.tick(second);
            // Full as it was, but with other bytes.
            read.was_read(1, 300);
            assert_eq!(fill(&read, 100), 300);
        }
        assert!(second >= start + PATIENCE, "nobody is closed at once");
        assert!(stuck.is_cut() && !read.is_cut() && !late.is_cut());
        stuck.end();
        assert!(takes(&late, &Arc::default(), 400));
        // It holds more than the one that waits now, but not twice as much.
        late.arrived(1, true, 400);
        assert!(!takes(&read, &Arc::default(), 400));
        for _ in 0..4 * PATIENCE.as_secs() {
            second += Duration::from_secs(1);
            all.tick(second);
        }
        assert!(!late.is_cut() && !read_flag.take());
    }

    #[test]
    fn who_waits_is_woken_when_there_is_room_and_is_not_waited_for_when_it_is_gone() {
        let all = Unread::new(100);
        let (full, empty) = (all.connection(), all.connection());
        assert_eq!(fill(&full, 50), 50);
        let (flag, gone) = (Arc::new(Flag::default()), Arc::new(Flag::default()));
        assert!(!takes(&empty, &flag, 60));
        let short = all.connection();
        assert!(!takes(&short, &gone, 60));
        short.end();
        assert!(!flag.take());
        full.was_read(1, 30);
        assert!(flag.take() && !gone.take());
        assert!(takes(&empty, &flag, 60));
        assert_eq!((all.bytes(), all.shared.waiting.load(Ordering::SeqCst)), (80, 0));
    }

    #[test]
    fn what_is_for_no_stream_or_for_one_that_is_closed_is_not_held() {
        let all = Unread::new(100);
        let held = all.connection();
        assert!(held.take(10));
        held.arrived(7, false, 10);
        assert_eq!(all.bytes(), 0);
        held.opened(7, Arc::default());
        assert!(held.take(10));
        held.arrived(7, false, 10);
        assert_eq!(all.bytes(), 10);
        held.was_read(7, 4);
        assert_eq!(all.bytes(), 6);
        held.closed(7);
        assert_eq!((all.bytes(), held.bytes()), (0, 0));
        assert!(held.take(10));
        held.end();
        held.give_back(10);
        assert_eq!(all.bytes(), 0, "nothing is given back twice");
    }

    fn frame(kind: u8, flags: u8, stream: u32, length: u32, body: &[u8]) -> Vec<u8> {
        [&[0, kind, 0, flags], &stream.to_be_bytes()[..], &length.to_be_bytes()[..], body].concat()
    }

    #[test]
    fn bytes_pass_unchanged_and_a_frame_without_room_is_not_even_announced() {
        let sent = [
            frame(0, 1, 1, 5, b"first"),
            frame(1, 0, 1, 300_000, b""),
            frame(2, 0, 0, 7, b""),
            frame(0, 0, 1, 40, &[7; 40]),
            frame(0, 0, 1, 60, &[8; 60]),
        ]
        .concat();
        let all = Unread::new(120);
        let mut inlet = Inlet::new(Cursor::new(sent.clone()), all.connection());
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        let mut read = Vec::new();
        // Pieces of 7 bytes, so that no boundary is met by chance.
        let mut piece = [0; 7];
        while let Poll::Ready(Ok(count)) = Pin::new(&mut inlet).poll_read(&mut cx, &mut piece) {
            assert!(count > 0, "it waits before the end");
            read.extend_from_slice(&piece[..count]);
        }
        assert_eq!(read.len(), sent.len() - 72, "the last frame is held back with its header");
        assert_eq!(all.bytes(), 45);
        inlet.held.was_read(1, 45);
        assert!(flag.take());
        while let Poll::Ready(Ok(count)) = Pin::new(&mut inlet).poll_read(&mut cx, &mut piece) {
            read.extend_from_slice(&piece[..count]);
            if count == 0 {
                break;
            }
        }
        assert!(read == sent);
    }
}
