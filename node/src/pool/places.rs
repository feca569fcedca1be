//! How many long operations there may be: few that work, more that wait for their clients, and of those a share for each
//! address that asks.
//!
//! An operation lasts as long as its client does. One that works holds memory and a processor; one that waits for a
//! client's bytes, or for a client to take some, holds a thread and what it has gathered. So the first are bounded tightly, and
//! whoever waits makes place for others ([`aside`]).

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::park_until;

/// Operations that may exist, for each that may work.
const OPEN_PER_WORKING: usize = 6;

/// How long an operation that has what it waited for waits for its place. Then it goes on without one: what holds the
/// places may wait for a lock that this operation has.
const RETURN_MAX: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// On whose behalf operations are begun.
    static ADDRESS: IpAddr;
}

/// Runs a future whose operations come out of the share of this address.
pub(crate) async fn on_behalf_of<F: Future>(address: IpAddr, future: F) -> F::Output {
    ADDRESS.scope(address, future).await
}

/// The places of one pool. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    working: Arc<Semaphore>,
    open: Arc<Semaphore>,
    open_max: usize,
    /// Operations that may be begun on behalf of one address: three quarters, so that no one takes all.
    share_max: usize,
    /// Of the addresses that have or wait for some.
    shares: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// An operation that may begin.
#[derive(Debug)]
pub(super) struct Place {
    working: Option<OwnedSemaphorePermit>,
    places: Places,
    // Given back in this order.
    _open: OwnedSemaphorePermit,
    _share: Option<Share>,
}

impl Places {
    /// Places for `working_max` operations that work, and six times as many that are there.
    pub(super) fn new(working_max: usize) -> Self {
        let open_max = working_max.saturating_mul(OPEN_PER_WORKING).min(Semaphore::MAX_PERMITS);
        let inner = Inner {
            working: Arc::new(Semaphore::new(working_max)),
            open: Arc::new(Semaphore::new(open_max)),
            open_max,
            share_max: (open_max - open_max / 4).max(1),
            shares: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Waits for the turn of an operation. The places are never closed: `None` does not come.
    pub(super) async fn take(&self) -> Option<Place> {
        let share = match ADDRESS.try_with(|address| *address) {
            Ok(address) => Some(self.share(address).await?),
            Err(_) => None,
        };
        let open = Arc::clone(&self.inner.open).acquire_owned().await.ok()?;
        let working = Arc::clone(&self.inner.working).acquire_owned().await.ok()?;
        Some(Place { working: Some(working), places: self.clone(), _open: open, _share: share })
    }

    async fn share(&self, address: IpAddr) -> Option<Share> {
        // Made before it waits: whoever goes away meanwhile leaves no entry behind.
        let mut share = Share { permit: None, address, places: self.clone() };
        let places = {
            let mut shares = self.inner.shares.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(self.inner.share_max));
            Arc::clone(shares.entry(address).or_insert_with(new))
        };
        share.permit = Some(places.acquire_owned().await.ok()?);
        Some(share)
    }

    /// Waits until there is no operation. Those that begin meanwhile are waited for too.
    pub(super) async fn idle(&self) {
        let all = u32::try_from(self.inner.open_max).unwrap_or(u32::MAX);
        drop(self.inner.open.acquire_many(all).await);
    }
}

/// One operation of an address.
#[derive(Debug)]
struct Share {
    permit: Option<OwnedSemaphorePermit>,
    address: IpAddr,
    places: Places,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.places.inner.shares.lock().unwrap_or_else(PoisonError::into_inner);
        self.permit = None;
        // Whoever waits holds the semaphore too.
        if shares.get(&self.address).is_some_and(|places| Arc::strong_count(places) == 1) {
            shares.remove(&self.address);
        }
    }
}

thread_local! {
    /// The place of the operation that runs on this thread.
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

impl Place {
    /// Makes it the place of this thread, for [`aside`].
    pub(super) fn enter(self) {
        PLACE.set(Some(self));
    }

    /// Gives the place of this thread back.
    pub(super) fn leave() {
        drop(PLACE.take());
    }
}

/// Waits for what a client gives or takes. On the thread of an operation, another one may work meanwhile.
pub(crate) fn aside<T>(wait: impl FnOnce() -> T) -> T {
    let working = PLACE.with_borrow_mut(|place| {
        let place = place.as_mut()?;
        place.working = None;
        Some(Arc::clone(&place.places.inner.working))
    });
    let value = wait();
    if let Some(working) = working {
        let deadline = Instant::now().checked_add(RETURN_MAX);
        let back = park_until(working.acquire_owned(), deadline, None);
        let back = back.ok().and_then(Result::ok);
        PLACE.with_borrow_mut(|place| {
            if let Some(place) = place {
                place.working = back;
            }
        });
    }
    value
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::mpsc;

    use crate::pool::{Pool, aside, on_behalf_of};

    /// Begins operations that wait for their clients, until they are told.
    fn waiting(
        pool: &Pool,
        address: Ipv4Addr,
        begun: &mpsc::Sender<()>,
    ) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
        let (tell, told) = mpsc::channel();
        let (pool, begun) = (pool.clone(), begun.clone());
        let operation = async move {
            let work = move || {
                aside(|| {
                    begun.send(()).unwrap();
                    told.recv().unwrap();
                });
            };
            pool.operation(work).await.unwrap();
        };
        (tell, tokio::spawn(on_behalf_of(address.into(), operation)))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_operation_that_waits_for_its_client_lets_others_work() {
        let pool = Pool::new(1, 1).unwrap();
        let (begun, begins) = mpsc::channel();
        let all: Vec<_> = (0..3).map(|_| waiting(&pool, Ipv4Addr::LOCALHOST, &begun)).collect();
        for _ in 0..3 {
            begins.recv().unwrap();
        }
        assert_eq!(pool.operation(|| 7).await, Ok(7));
        for (tell, waiting) in all {
            tell.send(()).unwrap();
            waiting.await.unwrap();
        }
        pool.idle().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_address_takes_all_there_is_and_what_it_left_is_forgotten() {
        let pool = Pool::new(1, 1).unwrap();
        let (begun, begins) = mpsc::channel();
        let (greedy, other) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
        // Six may exist, five of them on behalf of one address.
        let all: Vec<_> = (0..20).map(|_| waiting(&pool, greedy, &begun)).collect();
        for _ in 0..5 {
            begins.recv().unwrap();
        }
        assert_eq!(on_behalf_of(other.into(), pool.operation(|| 7)).await, Ok(7));
        assert!(begins.try_recv().is_err(), "more than a share began");
        // Which of them began is chance: all are told before any is waited for.
        let (tells, waiting): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        for tell in &tells {
            tell.send(()).unwrap();
        }
        for waiting in waiting {
            waiting.await.unwrap();
        }
        assert!(pool.places.inner.shares.lock().unwrap().is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_has_a_lock_that_others_wait_for_goes_on_without_a_place() {
        let pool = Pool::new(1, 1).unwrap();
        let lock = std::sync::Arc::new(std::sync::Mutex::new(()));
        let (begun, begins) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let (first, own) = (pool.clone(), lock.clone());
        let has_it = tokio::spawn(async move {
            let work = move || {
                let _held = own.lock().unwrap();
                aside(|| {
                    begun.send(()).unwrap();
                    told.recv().unwrap();
                });
            };
            first.operation(work).await.unwrap();
        });
        begins.recv().unwrap();
        let (began, begin) = mpsc::channel();
        let second = pool.clone();
        let wants_it = tokio::spawn(async move {
            let work = move || {
                began.send(()).unwrap();
                drop(lock.lock().unwrap());
            };
            second.operation(work).await.unwrap();
        });
        begin.recv().unwrap();
        tell.send(()).unwrap();
        has_it.await.unwrap();
        wants_it.await.unwrap();
    }
}
