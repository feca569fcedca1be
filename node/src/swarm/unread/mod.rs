//! Bytes that peers sent through yamux and that nobody here has read yet: how many there may be, of all connections together.
//!
//! A connection takes its next frame only if what it then holds is no more than what is still free of the bound. So the sum
//! never passes the bound, and the fewer hold anything, the more each may. Who may not take a frame leaves it in the socket,
//! which stops the peer. Who has to wait for long is given room: the connection is closed of which the most bytes have stayed
//! unread all that time, if they are more than twice what the one that waits holds. What is read in time does not count.

mod inlet;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use libp2p::futures::task::AtomicWaker;

pub(super) use inlet::{Inlet, Stream};

/// Connections that are woken when bytes were read, those first that wait longest: each looks again whether there is room.
const WOKEN_AT_ONCE: usize = 4;
/// How long a connection waits for room before another has to make it, and how long bytes stay until they count as never read.
const PATIENCE: Duration = Duration::from_secs(10);
/// What yamux and we keep beside the bytes of a frame that waits: a peer may send one byte in each.
const FRAME_BYTES_KEPT: usize = 96;
/// Room for frames that a stream without any keeps.
const LIST_KEPT: usize = 64;

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

/// What a frame with data is to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It opens the stream.
    Opens,
    /// It is for a stream that is open, if there is one.
    Follows,
    /// It resets a stream: yamux looks at nothing else in it, not even at whether there is such a stream.
    Dropped,
}

/// A stream, until its connection ends.
type Slot = Mutex<Option<yamux::Stream>>;

/// What is known of one stream.
#[derive(Debug, Default)]
struct OfStream {
    /// Frames that wait on it, each with how many of its bytes do.
    frames: VecDeque<u32>,
    /// None between the frame that opens it and its being taken.
    slot: Option<Arc<Slot>>,
}

impl OfStream {
    /// What is held for it.
    fn held(&self) -> usize {
        self.frames.iter().map(|length| *length as usize + FRAME_BYTES_KEPT).sum()
    }

    /// So many bytes were read; what is held no more for it.
    fn was_read(&mut self, bytes: usize) -> usize {
        let (mut rest, mut given) = (bytes, 0);
        while let Some(first) = self.frames.front_mut() {
            let count = rest.min(*first as usize);
            rest -= count;
            given += count;
            *first = first.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
            if *first > 0 {
                return given;
            }
            self.frames.pop_front();
            given += FRAME_BYTES_KEPT;
        }
        // Many small frames need not leave an empty list behind for as long as the stream is open.
        self.frames.shrink_to(LIST_KEPT);
        given
    }
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
    fn arrived(&self, stream: u32, kind: Kind, bytes: u32) {
        let mut streams = lock(&self.streams);
        let of_stream = match kind {
            Kind::Opens => Some(streams.entry(stream).or_default()),
            Kind::Follows => streams.get_mut(&stream),
            Kind::Dropped => None,
        };
        if let Some(known) = of_stream {
            known.frames.push_back(bytes);
        } else {
            drop(streams);
            self.give_back(bytes as usize + FRAME_BYTES_KEPT);
        }
    }

    fn opened(&self, stream: u32, slot: Arc<Slot>) {
        lock(&self.streams).entry(stream).or_default().slot = Some(slot);
    }

    fn was_read(&self, stream: u32, bytes: usize) {
        let mut streams = lock(&self.streams);
        let Some(known) = streams.get_mut(&stream) else { return };
        let given = known.was_read(bytes);
        drop(streams);
        self.give_back(given);
    }

    fn closed(&self, stream: u32) {
        let known = lock(&self.streams).remove(&stream);
        self.give_back(known.map_or(0, |known| known.held()));
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

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    #[derive(Debug, Default)]
    pub(super) struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Flag {
        pub(super) fn take(&self) -> bool {
            self.0.swap(false, Ordering::Relaxed)
        }
    }

    fn takes(held: &Held, flag: &Arc<Flag>, bytes: usize) -> bool {
        let waker = Waker::from(Arc::clone(flag));
        held.poll_take(&Context::from_waker(&waker), bytes).is_ready()
    }

    /// A frame has come that takes this much of the bound.
    fn arrived(held: &Held, stream: u32, kind: Kind, takes: usize) {
        held.arrived(stream, kind, u32::try_from(takes - FRAME_BYTES_KEPT).unwrap());
    }

    /// Takes frames of this size as long as it may, and says how many bytes it holds then.
    fn fill(held: &Held, frame: usize) -> usize {
        while takes(held, &Arc::default(), frame) {
            arrived(held, 1, Kind::Opens, frame);
        }
        held.bytes()
    }

    #[test]
    fn the_sum_stays_below_the_bound_and_those_that_hold_equally_much_leave_as_much_free() {
        const MAX: usize = 100_000;
        /// Of one frame, the smallest but for three bytes.
        const FRAME: usize = 100;
        let all = Unread::new(MAX);
        let alone = all.connection();
        assert_eq!(fill(&alone, FRAME), MAX / 2);
        alone.end();
        assert_eq!(all.bytes(), 0, "with the connection it is given back");
        let mut greedy = Vec::new();
        for _ in 0..9 {
            greedy.push(all.connection());
            for held in &greedy {
                fill(held, FRAME);
            }
            assert!(all.bytes() < MAX, "{}", all.bytes());
        }
        // A half of the first, a quarter of the second, and so on: who holds more than is free gives nothing up, and gets no more.
        let newcomer = all.connection();
        assert!(takes(&newcomer, &Arc::default(), FRAME) && all.bytes() <= MAX);
        for held in &greedy {
            held.was_read(1, usize::MAX);
        }
        for _ in 0..1000 {
            for held in &greedy {
                if takes(held, &Arc::default(), FRAME) {
                    arrived(held, 1, Kind::Opens, FRAME);
                }
            }
        }
        let shares: Vec<usize> = greedy.iter().map(|held| held.bytes()).collect();
        assert!(
            shares.iter().all(|bytes| (9_900..=10_000).contains(bytes)),
            "of ten that may share it: {shares:?}"
        );
    }

    #[test]
    fn who_waits_for_long_has_those_closed_that_hold_much_which_is_never_read() {
        let all = Unread::new(10_000);
        let (stuck, read, late) = (all.connection(), all.connection(), all.connection());
        assert_eq!((fill(&stuck, 1_000), fill(&read, 1_000)), (5_000, 3_000));
        let start = Instant::now();
        let flag = Arc::new(Flag::default());
        let cx_waker = Waker::from(Arc::clone(&flag));
        assert!(!stuck.must_end(&Context::from_waker(&cx_waker)));
        assert!(!takes(&late, &Arc::default(), 4_000));
        let (read_flag, mut second) = (Arc::new(Flag::default()), start);
        assert!(!read.must_end(&Context::from_waker(&Waker::from(Arc::clone(&read_flag)))));
        while !flag.take() {
            second += Duration::from_secs(1);
            assert!(second < start + 4 * PATIENCE);
            all.tick(second);
            // Full as it was, but with other bytes.
            read.was_read(1, 3_000);
            assert_eq!(fill(&read, 1_000), 3_000);
        }
        assert!(second >= start + PATIENCE, "nobody is closed at once");
        assert!(stuck.is_cut() && !read.is_cut() && !late.is_cut());
        stuck.end();
        assert!(takes(&late, &Arc::default(), 4_000));
        // It holds more than the one that waits now, but not twice as much.
        arrived(&late, 1, Kind::Opens, 4_000);
        assert!(!takes(&read, &Arc::default(), 4_000));
        for _ in 0..4 * PATIENCE.as_secs() {
            second += Duration::from_secs(1);
            all.tick(second);
        }
        assert!(!late.is_cut() && !read_flag.take());
    }

    #[test]
    fn who_waits_is_woken_when_there_is_room_and_is_not_waited_for_when_it_is_gone() {
        let all = Unread::new(1000);
        let (full, empty) = (all.connection(), all.connection());
        assert_eq!(fill(&full, 500), 500);
        let (flag, gone) = (Arc::new(Flag::default()), Arc::new(Flag::default()));
        assert!(!takes(&empty, &flag, 600));
        let short = all.connection();
        assert!(!takes(&short, &gone, 600));
        short.end();
        assert!(!flag.take());
        full.was_read(1, 300);
        assert!(flag.take() && !gone.take());
        assert!(takes(&empty, &flag, 600));
        assert_eq!((all.bytes(), all.shared.waiting.load(Ordering::SeqCst)), (800, 0));
    }

    #[test]
    fn what_is_for_no_stream_or_for_one_that_is_closed_is_not_held() {
        const FRAME: usize = 10 + FRAME_BYTES_KEPT;
        let all = Unread::new(1000);
        let held = all.connection();
        assert!(held.take(FRAME));
        held.arrived(7, Kind::Follows, 10);
        assert_eq!(all.bytes(), 0);
        held.opened(7, Arc::default());
        assert!(held.take(FRAME));
        held.arrived(7, Kind::Follows, 10);
        assert_eq!(all.bytes(), FRAME);
        held.was_read(7, 4);
        assert_eq!(all.bytes(), FRAME - 4);
        held.closed(7);
        assert_eq!((all.bytes(), held.bytes()), (0, 0));
        assert!(held.take(FRAME));
        held.end();
        held.give_back(FRAME);
        assert_eq!(all.bytes(), 0, "nothing is given back twice");
    }

    /// yamux looks at the flag that resets a stream first: it neither opens one then nor keeps what the frame carries.
    #[test]
    fn frames_that_reset_streams_leave_nothing_behind() {
        let all = Unread::new(1000);
        let held = all.connection();
        for stream in 0..10_000 {
            assert!(held.take(1 + FRAME_BYTES_KEPT));
            held.arrived(stream, Kind::Dropped, 1);
        }
        assert_eq!((all.bytes(), lock(&held.streams).len()), (0, 0));
    }

    #[test]
    fn small_frames_are_held_for_what_they_cost_and_given_back_as_they_are_read() {
        let all = Unread::new(1 << 20);
        let held = all.connection();
        for _ in 0..1000 {
            assert!(held.take(1 + FRAME_BYTES_KEPT));
            held.arrived(3, Kind::Opens, 1);
        }
        assert_eq!(all.bytes(), 1000 * (1 + FRAME_BYTES_KEPT));
        held.was_read(3, 999);
        assert_eq!(all.bytes(), 1 + FRAME_BYTES_KEPT);
        held.was_read(3, 1);
        assert_eq!(all.bytes(), 0);
        assert!(lock(&held.streams)[&3].frames.capacity() <= LIST_KEPT);
    }
}
