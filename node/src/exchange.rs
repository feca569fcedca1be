//! Bitswap in this node: what it reads of the store, and how fetching uses it.

mod settings;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use holdfast_bitswap::{Handle, Host};
use holdfast_blockstore::Store;
use holdfast_dag::cid::Cid;
use tokio::runtime;
use tokio::sync::Notify;

use crate::fetch::{Exchange, PEERS_NAMED_MAX, Session, Tried};
use crate::pool::Pool;

pub(crate) use settings::{search_results_max, settings};

/// Blocks that were stored and that Bitswap was not told of yet. Of more, the oldest are forgotten: a peer that waits for one
/// asks again within a minute.
const UNTOLD_MAX: usize = 64 << 10;

/// How often what a session has tried is looked at.
const TRIED_PERIOD: Duration = Duration::from_secs(1);

/// The store, as Bitswap's server reads it, and the threads on which it hashes.
pub(crate) struct StoreHost {
    store: Store,
    pool: Pool,
    runtime: runtime::Handle,
}

impl StoreHost {
    /// Serves from `store`, and works on the threads of `pool`. Must be called within a tokio runtime.
    pub(crate) fn new(store: Store, pool: Pool) -> Self {
        Self { store, pool, runtime: runtime::Handle::current() }
    }
}

impl Host for StoreHost {
    fn presence(&self, cids: Vec<Cid>) -> BoxFuture<'static, Vec<Option<u64>>> {
        let (store, count) = (self.store.clone(), cids.len());
        let looked = self.pool.start(move || {
            // A block whose row cannot be read is not served.
            cids.iter().map(|cid| store.size(cid.hash()).ok().flatten()).collect::<Vec<_>>()
        });
        looked.map(move |found| found.unwrap_or_else(|_| vec![None; count])).boxed()
    }

    fn read(&self, cids: Vec<Cid>) -> BoxFuture<'static, Vec<Option<Bytes>>> {
        let (store, count) = (self.store.clone(), cids.len());
        // Reading checks the hash: a damaged block is not there.
        let read = self.pool.start(move || {
            store.get_many(&cids).into_iter().map(|found| found.ok().flatten()).collect::<Vec<_>>()
        });
        read.map(move |found| found.unwrap_or_else(|_| vec![None; count])).boxed()
    }

    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        let job = self.pool.start(work);
        // Where the queue is full, it gets room only while somebody waits.
        if job.is_queueing() {
            self.runtime.spawn(job);
        }
    }
}

/// Fetching by Bitswap.
pub(crate) struct Bitswap {
    handle: Handle,
    runtime: runtime::Handle,
    untold: Arc<Untold>,
}

/// Blocks that wait to be told of.
#[derive(Default)]
struct Untold {
    blocks: Mutex<VecDeque<(Cid, u64)>>,
    more: Notify,
    /// No more will come.
    is_over: AtomicBool,
}

impl Bitswap {
    /// Fetches through `handle`. Must be called within a tokio runtime.
    pub(crate) fn new(handle: Handle) -> Self {
        let untold = Arc::<Untold>::default();
        tokio::spawn(tell(handle.clone(), Arc::clone(&untold)));
        Self { handle, runtime: runtime::Handle::current(), untold }
    }
}

impl Drop for Bitswap {
    fn drop(&mut self) {
        self.untold.is_over.store(true, Ordering::Release);
        self.untold.more.notify_one();
    }
}

/// Tells Bitswap of stored blocks until there are no more to come.
async fn tell(handle: Handle, untold: Arc<Untold>) {
    loop {
        let blocks = std::mem::take(&mut *untold.blocks.lock().unwrap_or_else(PoisonError::into_inner));
        if !blocks.is_empty() {
            handle.new_blocks(blocks.into()).await;
        } else if untold.is_over.load(Ordering::Acquire) {
            return;
        } else {
            untold.more.notified().await;
        }
    }
}

impl Exchange for Bitswap {
    fn session(&self, _root: &Cid) -> Arc<dyn Session> {
        let session = Arc::new(BitswapSession { inner: self.handle.session(), tried: Mutex::default() });
        self.runtime.spawn(follow(Arc::downgrade(&session)));
        session
    }

    fn stored(&self, blocks: Vec<(Cid, u64)>) {
        let mut untold = self.untold.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        untold.extend(blocks);
        let excess = untold.len().saturating_sub(UNTOLD_MAX);
        untold.drain(..excess);
        drop(untold);
        self.untold.more.notify_one();
    }

    fn verifies(&self) -> bool {
        true
    }
}

/// A session of Bitswap, and what it has tried as of a moment ago.
struct BitswapSession {
    inner: holdfast_bitswap::Session,
    tried: Mutex<Tried>,
}

/// Keeps what a session has tried up to date for as long as somebody holds it.
async fn follow(session: Weak<BitswapSession>) {
    loop {
        tokio::time::sleep(TRIED_PERIOD).await;
        let Some(session) = session.upgrade() else { return };
        let tried = session.inner.tried().await;
        *session.tried.lock().unwrap_or_else(PoisonError::into_inner) = Tried {
            peers: tried.peers.iter().take(PEERS_NAMED_MAX).map(ToString::to_string).collect(),
            peers_asked: tried.peers_asked as u64,
            dont_have: tried.dont_haves as u64,
            searches: tried.provider_searches as u64,
        };
    }
}

impl Session for BitswapSession {
    fn get(&self, cids: Vec<Cid>) -> BoxStream<'static, (Cid, Bytes)> {
        self.inner.get(cids).boxed()
    }

    fn tried(&self) -> Tried {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
