//! Getting blocks: from the CID itself, from what every node knows, from the local store, or from other nodes.
//!
//! Every surface reads through [`Fetch`]. [`Fetch::walk`] drives any sans-IO walker of the DAG crate with read-ahead:
//! while its items are consumed, the blocks it will want next are read and hash-checked on the pool's threads. What the
//! store does not have is asked for in a session of the [`Exchange`], if there is one, and written behind the reader.
//! `exchange` is that seam, `remote` one reader's wants, `intake` the writing, `waits` what a look from outside shows.

mod counts;
mod error;
mod exchange;
mod intake;
mod known;
mod remote;
mod scope;
mod waits;
mod walk;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use holdfast_blockstore::repo::Repo;
use holdfast_blockstore::{Happened, Store, Watch};
use holdfast_dag::cid::{Cid, Multihash};
use holdfast_dag::walk::Walker;

use crate::pool::{Pool, Task, Unfinished, wait_for};

use counts::Counters;
pub use counts::FetchCounts;
pub use error::{FetchError, WalkError};
pub use exchange::{Exchange, PEERS_NAMED_MAX, Session, Tried};
use intake::{Held, Intake};
pub(crate) use known::known_block;
pub use remote::REMOTE_WINDOW_BYTES_MAX;
pub(crate) use remote::{Arrival, Keep, MISSED_BEFORE, Remote};
use scope::Scope;
pub use waits::Wait;
use waits::Waits;
pub(crate) use walk::WalkBlocking;
pub use walk::{WINDOW_BYTES, Walk};

/// Blocks that were asked for, each with its own outcome.
pub(crate) type Blocks = Vec<(Cid, Result<Bytes, FetchError>)>;

/// The way to blocks. Clones share store, pool and exchange.
#[derive(Clone)]
pub struct Fetch {
    shared: Arc<Shared>,
    scope: Scope,
}

/// In the order in which it is to be dropped: whoever still reads or writes keeps the lock of the repo.
struct Shared {
    /// There from the first exchange on.
    intake: OnceLock<Intake>,
    watch: OnceLock<Watch>,
    store: Store,
    pool: Pool,
    exchange: Arc<ExchangeCell>,
    counters: Counters,
    /// All readers that want something of others, whatever their scope.
    wanted: Arc<Waits>,
    readers: AtomicUsize,
    /// How often blocks were put that did not come from others for a reader. It begins at 1.
    puts: Arc<AtomicU64>,
    _repo: Arc<Repo>,
}

type ExchangeCell = RwLock<Option<Arc<dyn Exchange>>>;

impl Fetch {
    /// Reads from `store` on the threads of `pool`.
    pub fn new(store: Store, pool: Pool, repo: Arc<Repo>) -> Self {
        let shared = Shared {
            intake: OnceLock::new(),
            watch: OnceLock::new(),
            store,
            pool,
            exchange: Arc::default(),
            counters: Counters::default(),
            wanted: Arc::default(),
            readers: AtomicUsize::new(0),
            puts: Arc::new(AtomicU64::new(1)),
            _repo: repo,
        };
        Self { shared: Arc::new(shared), scope: Scope::default() }
    }

    /// Asks others from now on for what the store does not have, or with `None` nobody any more. Readers that wait stay
    /// with whom they asked.
    ///
    /// What an exchange keeps of this node, it must let go of when it is taken away.
    pub fn set_exchange(&self, exchange: Option<Arc<dyn Exchange>>) {
        if exchange.is_some() {
            let intake = self.shared.intake.get_or_init(|| Intake::start(self.shared.store.clone()));
            self.shared.watch.get_or_init(|| self.listen(intake.held()));
        }
        *self.shared.exchange.write().unwrap_or_else(PoisonError::into_inner) = exchange;
    }

    /// Has the store tell what is put into it.
    fn listen(&self, held: Held) -> Watch {
        let puts = Arc::clone(&self.shared.puts);
        let exchange = Arc::downgrade(&self.shared.exchange);
        let wanted = Arc::downgrade(&self.shared.wanted);
        self.shared.store.watch(move |happened| {
            let Happened::Stored(blocks) = happened else { return };
            if blocks.iter().any(|(cid, _)| !held.has(cid.hash())) {
                puts.fetch_add(1, Ordering::Release);
            }
            if let Some(wanted) = wanted.upgrade() {
                let live = wanted.live();
                if !live.is_empty() {
                    let hashes: HashSet<Multihash> = blocks.iter().map(|(cid, _)| *cid.hash()).collect();
                    for wanted in &live {
                        wanted.note_stored(&hashes);
                    }
                }
            }
            let exchange = exchange.upgrade();
            let exchange =
                exchange.and_then(|cell| cell.read().unwrap_or_else(PoisonError::into_inner).clone());
            if let Some(exchange) = exchange {
                exchange.stored(blocks.to_vec());
            }
        })
    }

    /// The same for one request: it shares a session, and can be asked what it waits for. `offline`: asks nobody.
    #[must_use]
    pub fn for_request(&self, offline: bool) -> Self {
        Self { shared: Arc::clone(&self.shared), scope: Scope::of_request(offline) }
    }

    /// The same for what belongs together: one session, unless the request has one.
    #[must_use]
    pub(crate) fn together(&self) -> Self {
        if self.scope.shares_a_session() { self.clone() } else { self.for_request(self.scope.is_offline()) }
    }

    /// The same that asks nobody.
    #[must_use]
    pub fn offline(&self) -> Self {
        self.for_request(true)
    }

    /// Whether the request that this is for may not ask others, whoever there is.
    pub fn is_kept_offline(&self) -> bool {
        self.scope.is_offline()
    }

    /// Whether others are asked for what is not here.
    pub fn is_online(&self) -> bool {
        self.exchange().is_some()
    }

    /// What has been waited for longest, in this request if it is one.
    pub fn wait(&self) -> Option<Wait> {
        if self.scope.shares_a_session() { self.scope.waits.longest() } else { self.shared.wanted.longest() }
    }

    /// How many blocks were asked for by now, by all clones together.
    pub fn counts(&self) -> FetchCounts {
        self.shared.counters.read()
    }

    fn exchange(&self) -> Option<Arc<dyn Exchange>> {
        if self.scope.is_offline() {
            return None;
        }
        self.shared.exchange.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What tells [`Remote::want`] when blocks were missed: to be taken before they are looked for.
    fn puts(&self) -> u64 {
        self.shared.puts.load(Ordering::Acquire)
    }

    fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// Whether others are asked after the store has failed so.
    fn asks_others(&self, error: &FetchError) -> bool {
        error.is_for_want_of_a_copy() && self.is_online()
    }

    /// A reader's wants of others, if there are any.
    pub(crate) fn remote(&self, root: &Cid, keep: Keep) -> Option<Remote> {
        let exchange = self.exchange()?;
        Some(Remote::new(self.clone(), &*exchange, root, keep))
    }

    /// One block.
    pub async fn get(&self, cid: &Cid) -> Result<Bytes, FetchError> {
        if let Some(known) = known_block(cid) {
            return Ok(known);
        }
        let (fetch, local) = (self.clone(), *cid);
        match self.pool().run(move || fetch.get_local_blocking(&local)).await? {
            Err(error) => self.elsewhere(cid, error).await,
            found => found,
        }
    }

    /// A block that the store does not have, from others.
    async fn elsewhere(&self, cid: &Cid, error: FetchError) -> Result<Bytes, FetchError> {
        if !self.asks_others(&error) {
            return Err(error);
        }
        let Some(mut remote) = self.remote(cid, Keep::AsCache) else { return Err(error) };
        remote.want(vec![*cid], MISSED_BEFORE);
        match std::future::poll_fn(|context| remote.poll_next(context)).await {
            Some(Arrival::Block(_, block)) => Ok(block),
            Some(Arrival::GivenUp(_, given_up)) => Err(given_up),
            None => Err(error),
        }
    }

    /// Several blocks, in the order of `cids`; fails with the first that cannot be had. One job: keep it to a few MiB.
    pub async fn get_many(&self, cids: Vec<Cid>) -> Result<Vec<Bytes>, FetchError> {
        self.get_each(cids).await?.into_iter().map(|(_, block)| block).collect()
    }

    /// Several blocks in one job, each with its own outcome, in the order of `cids`. Keep it to a few MiB.
    pub(crate) async fn get_each(&self, cids: Vec<Cid>) -> Result<Blocks, FetchError> {
        let blocks = self.start_many(cids).await?;
        self.fill(blocks).await
    }

    /// Gets from others what the store did not have of these.
    pub(crate) async fn fill(&self, mut blocks: Blocks) -> Result<Blocks, FetchError> {
        let lacks = |error: &FetchError| self.asks_others(error);
        let missing: Vec<Cid> = blocks
            .iter()
            .filter(|(_, block)| block.as_ref().err().is_some_and(lacks))
            .map(|(cid, _)| *cid)
            .collect();
        let Some(mut remote) = missing.first().and_then(|first| self.remote(first, Keep::AsCache)) else {
            return Ok(blocks);
        };
        remote.want(missing, MISSED_BEFORE);
        while let Some(arrival) = std::future::poll_fn(|context| remote.poll_next(context)).await {
            let (cid, outcome) = match arrival {
                Arrival::Block(cid, block) => (cid, Ok(block)),
                Arrival::GivenUp(cid, error) => (cid, Err(error)),
            };
            for (_, slot) in blocks.iter_mut().filter(|(of, slot)| *of == cid && slot.is_err()) {
                slot.clone_from(&outcome);
            }
        }
        Ok(blocks)
    }

    /// Starts to read several blocks of the store in one job, each with its own outcome, in the order of `cids`.
    pub(crate) fn start_many(&self, cids: Vec<Cid>) -> Task<Blocks> {
        let fetch = self.clone();
        self.pool().start(move || {
            let at_hand: Vec<Option<Bytes>> = cids.iter().map(|cid| fetch.at_hand(cid)).collect();
            let asked: Vec<Cid> =
                cids.iter().zip(&at_hand).filter(|(_, held)| held.is_none()).map(|(cid, _)| *cid).collect();
            let mut found = fetch.shared.store.get_many(&asked).into_iter();
            let blocks = cids.into_iter().zip(at_hand).map(|(cid, held)| {
                let block = match held {
                    Some(block) => Ok(block),
                    None => fetch.or_known(&cid, found.next().unwrap_or(Ok(None))),
                };
                (cid, block)
            });
            blocks.collect()
        })
    }

    /// One block, on the thread of an operation.
    pub(crate) fn get_blocking(&self, cid: &Cid) -> Result<Bytes, FetchError> {
        match self.get_local_blocking(cid) {
            Err(error) if self.asks_others(&error) => wait_for(self.elsewhere(cid, error), None)?,
            found => found,
        }
    }

    /// One block from others, whatever the store says, on the thread of an operation. It is not kept.
    pub(crate) fn get_other_copy_blocking(
        &self,
        cid: &Cid,
        deadline: Option<Instant>,
    ) -> Result<Bytes, FetchError> {
        let missing = || FetchError::NotFound { cid: Box::new(*cid) };
        let mut remote = self.remote(cid, Keep::ByCaller).ok_or_else(missing)?;
        remote.want(vec![*cid], self.puts());
        let next = wait_for(std::future::poll_fn(|context| remote.poll_next(context)), deadline);
        match next {
            Ok(Some(Arrival::Block(_, block))) => Ok(block),
            Ok(Some(Arrival::GivenUp(_, error))) => Err(error),
            Ok(None) => Err(missing()),
            Err(Unfinished::Gone) => Err(FetchError::Cancelled),
            Err(Unfinished::Late) => {
                Err(FetchError::Late { cid: Box::new(*cid), tried: Box::new(remote.tried()) })
            }
        }
    }

    /// One block of the store, on a thread that may block. Nobody else is asked.
    pub(crate) fn get_local_blocking(&self, cid: &Cid) -> Result<Bytes, FetchError> {
        match self.at_hand(cid) {
            Some(block) => Ok(block),
            None => self.or_known(cid, self.shared.store.get(cid)),
        }
    }

    /// A block that came and is not in the store yet. To be looked for before the store: it goes from here to there.
    pub(crate) fn at_hand(&self, cid: &Cid) -> Option<Bytes> {
        self.shared.intake.get()?.get(cid.hash())
    }

    /// What the store found, or what is known without it.
    fn or_known(
        &self,
        cid: &Cid,
        found: Result<Option<Bytes>, holdfast_blockstore::ReadError>,
    ) -> Result<Bytes, FetchError> {
        if let Ok(None) = found
            && let Some(known) = known_block(cid)
        {
            return Ok(known);
        }
        self.shared.counters.note(&found);
        found?.ok_or_else(|| FetchError::NotFound { cid: Box::new(*cid) })
    }

    /// Drives a walker: a stream of its items, in order, then its error if it fails.
    ///
    /// About `window_bytes` (1 to 64 MiB) of blocks are on their way or waiting to be walked at any time; where blocks come
    /// from others, up to [`REMOTE_WINDOW_BYTES_MAX`]. Dropping it cancels what is on its way.
    pub fn walk<W: Walker>(&self, walker: W, window_bytes: u64) -> Walk<W> {
        Walk::new(self.clone(), walker, window_bytes)
    }

    /// Drives a walker on the thread of an operation.
    pub(crate) fn walk_blocking<W: Walker + Unpin>(&self, walker: W) -> WalkBlocking<W>
    where
        W::Error: Unpin,
    {
        WalkBlocking(self.walk(walker, WINDOW_BYTES))
    }
}
