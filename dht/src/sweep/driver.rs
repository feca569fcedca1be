//! The sweep at work: a task that reads keys from a [`Keystore`] and asks the network through a [`Handle`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libp2p::futures::StreamExt as _;
use libp2p::futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::{JobId, SavedState, SweepAction, SweepConfig, SweepStats, Sweeper};
use crate::Handle;
use crate::ipns::Timestamp;
use crate::kad::{KadId, Key, PeerInfo, QueryError};
use crate::records::StoreError;

/// Orders that may wait for the task.
const ORDERS_MAX: usize = 64;

/// How often the state is saved, and the size of the network asked for.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// How often it is looked whether anybody is there, while nobody is.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Keys that come later.
pub type Keys = Pin<Box<dyn Future<Output = Result<Vec<Key>, StoreError>> + Send>>;

/// The end of something that takes its time.
pub type Done = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The keys that a node announces, in the order of their places (the SHA-256 of the multihash), and what the sweep
/// remembers. Kept in that order a region is one range, read from its first place on.
pub trait Keystore: Send + Sync + 'static {
    /// Keys whose place is in `from..=last`, in the order of their places, at most `max` (16,384). The future may take its
    /// time but must not block.
    fn keys(&self, from: KadId, last: KadId, max: usize) -> Keys;

    /// Remembers 41 bytes, about once a minute; losing the last minute is harmless. They are given back to
    /// [`Reprovider::start`]. The future must not block either.
    fn save(&self, state: Vec<u8>) -> Done;

    /// New keys were dealt with: each, and whether any server took it. It must be quick and must not block.
    fn settled(&self, keys: Vec<(Key, bool)>);
}

/// Why an order was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the announcing of keys has been shut down")]
pub struct ReproviderError;

enum Order {
    Provide(Vec<Key>, oneshot::Sender<usize>),
    Clear(oneshot::Sender<usize>),
    Stats(oneshot::Sender<SweepStats>),
    Restart(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// Gives orders to a running sweep; cheap to clone. The task ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Reprovider {
    orders: mpsc::Sender<Order>,
}

/// The task of a sweep: spawn it.
pub type SweepTask = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Reprovider {
    /// A sweep over `keystore`, and its task. `saved` is what [`Keystore::save`] was last told; what cannot be read counts as
    /// nothing, and then all keys are announced at once.
    pub fn start(
        dht: Handle,
        keystore: Arc<dyn Keystore>,
        config: SweepConfig,
        saved: Option<&[u8]>,
    ) -> (Self, SweepTask) {
        let (orders, receiver) = mpsc::channel(ORDERS_MAX);
        let saved = saved.and_then(|saved| SavedState::decode(saved).ok());
        let task = Box::pin(async move {
            let sweeper = Sweeper::new(config, saved, wall());
            let running = FuturesUnordered::new();
            let driver = Driver { dht, keystore, sweeper, running, orders: receiver, look: Look::NotYet };
            driver.run().await;
        });
        (Self { orders }, task)
    }

    /// Announces new keys as soon as a worker is free; how many found room (262,144 may wait).
    pub async fn provide(&self, keys: Vec<Key>) -> Result<usize, ReproviderError> {
        self.order(|reply| Order::Provide(keys, reply)).await
    }

    /// Forgets the new keys that wait; how many there were.
    pub async fn clear(&self) -> Result<usize, ReproviderError> {
        self.order(Order::Clear).await
    }

    /// What `provide stat` shows.
    pub async fn stats(&self) -> Result<SweepStats, ReproviderError> {
        self.order(Order::Stats).await
    }

    /// Makes all keys due at once.
    pub async fn restart(&self) -> Result<(), ReproviderError> {
        self.order(Order::Restart).await
    }

    /// Ends the task, and has it save where it is first. What is on its way is given up.
    pub async fn stop(&self) {
        // If it has ended already, it has saved too.
        let _has_ended = self.order(Order::Stop).await;
    }

    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, ReproviderError> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).await.map_err(|_| ReproviderError)?;
        answer.await.map_err(|_| ReproviderError)
    }
}

/// What something that ran gave.
enum Ran {
    Keys(JobId, Option<Vec<Key>>),
    Closest(JobId, Key, Result<Vec<PeerInfo>, QueryError>),
    Announced(JobId, PeerInfo, Vec<Key>, Result<usize, QueryError>),
    Looked(Option<f64>),
    Saved,
}

/// What is known of the size of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Nobody has looked.
    NotYet,
    /// Being looked at.
    Running,
    /// Known, as far as it can be.
    Done,
}

type Running = Pin<Box<dyn Future<Output = Ran> + Send>>;

struct Driver {
    dht: Handle,
    keystore: Arc<dyn Keystore>,
    sweeper: Sweeper,
    /// At most one thing a worker, or 20 announcements.
    running: FuturesUnordered<Running>,
    orders: mpsc::Receiver<Order>,
    look: Look,
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}

impl Driver {
    async fn run(mut self) {
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        // Orders may come faster than that, as from whoever watches the figures: they do not put it off.
        let mut looking = tokio::time::interval(LOOK_PERIOD);
        looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.sweeper.set_online(false, wall());
        let stopped = loop {
            self.sweeper.on_timeout(wall());
            while let Some(action) = self.sweeper.poll_action() {
                self.act(action);
            }
            let settled = self.sweeper.take_settled();
            if !settled.is_empty() {
                self.keystore.settled(settled);
            }
            let (wait, is_looking) = (self.wait(), self.is_looking());
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Stop(reply)) => break Some(reply),
                    Some(order) => self.on_order(order),
                    None => break None,
                },
                Some(ran) = self.running.next(), if !self.running.is_empty() => self.on_ran(ran),
                _ = housekeeping.tick() => self.keep_house(),
                _ = looking.tick(), if is_looking => self.look_who_is_there(),
                () = tokio::time::sleep(wait) => self.look_who_is_there(),
            }
        };
        self.keystore.save(self.sweeper.saved_state().encode()).await;
        if let Some(stopped) = stopped {
            let _is_heard = stopped.send(());
        }
    }

    /// Whether it is not known yet that somebody is there, and how many.
    fn is_looking(&self) -> bool {
        self.look != Look::Done || !self.sweeper.is_online()
    }

    /// How long until something may be due by itself.
    fn wait(&mut self) -> Duration {
        self.sweeper.wait(wall()).unwrap_or(HOUSEKEEPING).clamp(Duration::from_millis(100), HOUSEKEEPING)
    }

    /// Saves the state, and has the size of the network told again.
    fn keep_house(&mut self) {
        let save = self.keystore.save(self.sweeper.saved_state().encode());
        self.running.push(Box::pin(async move {
            save.await;
            Ran::Saved
        }));
        if self.look == Look::Done && self.dht.table_len() > 0 {
            self.measure(false);
        }
        self.look_who_is_there();
    }

    /// Begins to work when there are peers and this node has an address to tell them, and stops beginning otherwise.
    fn look_who_is_there(&mut self) {
        if self.dht.table_len() == 0 || !self.dht.has_addresses() {
            self.sweeper.set_online(false, wall());
            return;
        }
        match self.look {
            Look::NotYet => self.measure(true),
            Look::Running => {}
            Look::Done => self.sweeper.set_online(true, wall()),
        }
    }

    /// Asks for the size of the network, by which regions are cut. Before the first region it is measured by a few lookups.
    fn measure(&mut self, by_lookups: bool) {
        let dht = self.dht.clone();
        if by_lookups {
            self.look = Look::Running;
        }
        self.running.push(Box::pin(async move {
            for number in (0..4_u8).filter(|_| by_lookups) {
                if let Ok(key) = Key::new(&[b'n', number]) {
                    let _only_measured = dht.closest_peers(key, None).await;
                }
            }
            Ran::Looked(dht.stats().await.ok().and_then(|stats| stats.network_size))
        }));
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Provide(keys, reply) => {
                let _is_heard = reply.send(self.sweeper.provide(keys));
            }
            Order::Clear(reply) => {
                let _is_heard = reply.send(self.sweeper.clear());
            }
            Order::Stats(reply) => {
                let _is_heard = reply.send(self.sweeper.stats(wall()));
            }
            Order::Restart(reply) => {
                self.sweeper.restart(wall());
                let _is_heard = reply.send(());
            }
            // The loop takes it.
            Order::Stop(_) => {}
        }
    }

    fn act(&mut self, action: SweepAction) {
        let dht = self.dht.clone();
        self.running.push(match action {
            SweepAction::Keys { job, from, last, max } => {
                let keys = self.keystore.keys(from, last, max);
                Box::pin(async move { Ran::Keys(job, keys.await.ok()) })
            }
            SweepAction::Lookup { job, key } => Box::pin(async move {
                let closest = dht.closest_peers(key.clone(), None).await;
                Ran::Closest(job, key, closest)
            }),
            SweepAction::Announce { job, peer, keys } => Box::pin(async move {
                let sent = dht.announce(peer.clone(), keys.clone()).await;
                Ran::Announced(job, peer, keys, sent)
            }),
        });
    }

    fn on_ran(&mut self, ran: Ran) {
        match ran {
            Ran::Keys(job, keys) => self.sweeper.on_keys(job, keys, wall()),
            Ran::Closest(job, key, closest) => {
                if matches!(closest, Err(QueryError::NoPeers)) {
                    self.sweeper.set_online(false, wall());
                }
                self.sweeper.on_closest(job, &key, closest.ok(), wall());
            }
            Ran::Announced(job, peer, keys, sent) => {
                if matches!(sent, Err(QueryError::NoAddresses { .. })) {
                    self.sweeper.set_online(false, wall());
                }
                let sent = match sent {
                    Ok(sent) => Some(sent),
                    // The server was not asked.
                    Err(QueryError::NoAddresses { .. } | QueryError::Busy | QueryError::Closed) => None,
                    Err(_) => Some(0),
                };
                self.sweeper.on_announced(job, &peer.id, &keys, sent, wall());
            }
            Ran::Looked(size) => {
                self.sweeper.set_network_size(size);
                self.look = Look::Done;
                self.look_who_is_there();
            }
            Ran::Saved => {}
        }
    }
}
