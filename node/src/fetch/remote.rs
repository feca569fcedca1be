//! One reader's wants of others: asked for in a session, checked, kept, and given in the order in which they come.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, SelectAll, Stream as _, StreamExt as _};
use holdfast_dag::block::Block;
use holdfast_dag::cid::Cid;

use super::waits::Wanted;
use super::{Exchange, Fetch, FetchError, Session, Tried};
use crate::pool::Pool;

/// Window of a reader that has just begun to ask, in bytes. It doubles as it is used up.
const WINDOW_BYTES_MIN: u64 = 4 << 20;
/// Widest window of one reader, in bytes.
pub const REMOTE_WINDOW_BYTES_MAX: u64 = 32 << 20;
/// Windows of all readers together, in bytes, except that each has [`WINDOW_BYTES_SHARE_MIN`].
const WINDOWS_BYTES_MAX: u64 = 64 << 20;
/// What each reader has, however many there are.
const WINDOW_BYTES_SHARE_MIN: u64 = 1 << 20;
/// Blocks of one reader that are hashed at a time.
const CHECKS: usize = 4;

/// Blocks were missed at a time that nobody noted.
pub(crate) const MISSED_BEFORE: u64 = 0;

/// What came, or will not come.
pub(crate) enum Arrival {
    /// A block that was wanted; its hash was checked.
    Block(Cid, Bytes),
    /// A block that is not to be had.
    GivenUp(Cid, FetchError),
}

/// What a stream of a session gives here.
enum Event {
    Block(Cid, Bytes),
    /// Somebody put it into the store, and it was read there.
    Stored(Cid, Bytes),
    /// The stream has ended; these were asked for by it.
    End(Vec<Cid>),
}

/// Whether blocks that come are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Written behind the reader.
    AsCache,
    /// Whoever asked writes them.
    ByCaller,
}

/// What one reader wants of others. Dropping it cancels its wants.
pub(crate) struct Remote {
    fetch: Fetch,
    session: Arc<dyn Session>,
    wanted: Arc<Wanted>,
    arriving: SelectAll<BoxStream<'static, Event>>,
    is_verified: bool,
    keep: Keep,
    window_bytes: u64,
    /// Bytes that came since the window has this width.
    came_bytes: u64,
}

impl Remote {
    pub(super) fn new(fetch: Fetch, exchange: &dyn Exchange, root: &Cid, keep: Keep) -> Self {
        let session = fetch.scope.session(exchange, root);
        let wanted = Wanted::new(Arc::clone(&session));
        fetch.scope.waits.add(&wanted);
        fetch.shared.wanted.add(&wanted);
        fetch.shared.readers.fetch_add(1, Ordering::Relaxed);
        Self {
            session,
            wanted,
            arriving: SelectAll::new(),
            is_verified: exchange.verifies(),
            keep,
            window_bytes: WINDOW_BYTES_MIN,
            came_bytes: 0,
            fetch,
        }
    }

    /// Bytes that are to be on their way at a time. It grows as long as what came is read, and all readers share a bound.
    pub(crate) fn window_bytes(&self) -> u64 {
        let readers = self.fetch.shared.readers.load(Ordering::Relaxed).max(1) as u64;
        self.window_bytes.min((WINDOWS_BYTES_MAX / readers).max(WINDOW_BYTES_SHARE_MIN))
    }

    /// Blocks that are on their way.
    pub(crate) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Who was asked so far.
    pub(crate) fn tried(&self) -> Tried {
        self.wanted.tried()
    }

    /// Asks for blocks that the store did not have when `missed` was the count of puts ([`Fetch::puts`]), or [`MISSED_BEFORE`].
    pub(crate) fn want(&mut self, cids: Vec<Cid>, missed: u64) {
        if cids.is_empty() {
            return;
        }
        self.wanted.add(&cids);
        // From here on it is told of what is put.
        if missed != self.fetch.puts() {
            self.look_again(cids.clone());
        }
        let blocks = self.session.get(cids.clone());
        let blocks = if self.is_verified { blocks } else { checked(blocks, self.fetch.pool().clone()) };
        let blocks = blocks.map(|(cid, data)| Event::Block(cid, data));
        self.arriving.push(blocks.chain(stream::iter([Event::End(cids)])).boxed());
    }

    /// Looks for blocks in the store that somebody may have put since they were missed.
    fn look_again(&mut self, cids: Vec<Cid>) {
        let fetch = self.fetch.clone();
        let look = self.fetch.pool().start(move || {
            let here = cids.into_iter().filter(|cid| matches!(fetch.shared.store.has(cid.hash()), Ok(true)));
            here.filter_map(|cid| Some((cid, fetch.get_local_blocking(&cid).ok()?))).collect::<Vec<_>>()
        });
        let found = stream::once(look).flat_map(|found| stream::iter(found.unwrap_or_default()));
        self.arriving.push(found.map(|(cid, data)| Event::Stored(cid, data)).boxed());
    }

    /// Says that the reader does not wait for anything just now.
    pub(crate) fn set_idle(&self) {
        self.wanted.set_blocked(false);
    }

    /// The next block in order of arrival; `None` if nothing is wanted.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Arrival>> {
        self.wanted.waker.register(context.waker());
        loop {
            if self.wanted.len() == 0 {
                return Poll::Ready(None);
            }
            while let Some(cid) = self.wanted.next_stored() {
                // Somebody put it meanwhile.
                let read = stream::once(self.fetch.start_many(vec![cid]));
                let read = read.flat_map(|blocks| stream::iter(blocks.unwrap_or_default()));
                let read = read.map(|(cid, block)| {
                    block.map_or_else(|_| Event::End(Vec::new()), |data| Event::Stored(cid, data))
                });
                self.arriving.push(read.boxed());
            }
            let room = match (self.keep, self.fetch.shared.intake.get()) {
                (Keep::AsCache, Some(intake)) => intake.poll_room(context),
                _ => Poll::Ready(()),
            };
            let event = if room.is_pending() {
                Poll::Pending
            } else {
                Pin::new(&mut self.arriving).poll_next(context)
            };
            match event {
                Poll::Ready(Some(Event::Block(cid, data))) if self.wanted.remove(&cid) => {
                    self.arrived(&cid, &data);
                    return Poll::Ready(Some(Arrival::Block(cid, data)));
                }
                Poll::Ready(Some(Event::Stored(cid, data))) if self.wanted.remove(&cid) => {
                    return Poll::Ready(Some(Arrival::Block(cid, data)));
                }
                Poll::Ready(Some(Event::Block(..) | Event::Stored(..))) => {}
                Poll::Ready(Some(Event::End(cids))) => {
                    // Of those that did not come, one is told now, the others when it is asked again.
                    let mut left: Vec<Cid> =
                        cids.into_iter().filter(|cid| self.wanted.contains(cid)).collect();
                    if let Some(cid) = left.pop() {
                        self.wanted.remove(&cid);
                        self.arriving.push(stream::iter([Event::End(left)]).boxed());
                        let tried = Box::new(self.wanted.tried());
                        let error = FetchError::Unavailable { cid: Box::new(cid), tried };
                        return Poll::Ready(Some(Arrival::GivenUp(cid, error)));
                    }
                }
                Poll::Ready(None) | Poll::Pending => {
                    self.wanted.set_blocked(true);
                    return Poll::Pending;
                }
            }
        }
    }

    fn arrived(&mut self, cid: &Cid, data: &Bytes) {
        let bytes = data.len() as u64;
        self.fetch.shared.counters.note_fetched(bytes);
        self.came_bytes += bytes;
        if self.came_bytes >= self.window_bytes {
            self.came_bytes = 0;
            self.window_bytes = (2 * self.window_bytes).min(REMOTE_WINDOW_BYTES_MAX);
        }
        if self.keep == Keep::AsCache
            && let Some(intake) = self.fetch.shared.intake.get()
        {
            intake.push(cid, data);
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.fetch.shared.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Leaves out what does not match its CID. Hashing is done on the pool's threads.
fn checked(blocks: BoxStream<'static, (Cid, Bytes)>, pool: Pool) -> BoxStream<'static, (Cid, Bytes)> {
    let check = move |(cid, data): (Cid, Bytes)| {
        pool.start(move || match Block::verified(cid, data.clone()) {
            Ok(_) => Some((cid, data)),
            Err(error) => {
                tracing::warn!("a block that was fetched is not kept: {error}");
                None
            }
        })
    };
    blocks
        .map(check)
        .buffer_unordered(CHECKS)
        .filter_map(|checked| std::future::ready(checked.ok().flatten()))
        .boxed()
}
