//! Stream mounting (`p2p`): TCP connections that go through a stream to a peer, and streams of peers that become TCP
//! connections. Behind `Experimental.Libp2pStreamMounting`.
//!
//! # Map
//! `copy` carries bytes both ways; `endpoint` is a TCP address as a multiaddr; here is who listens for what.

mod copy;
mod endpoint;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use libp2p::swarm::{Stream, StreamProtocol};
use libp2p::{Multiaddr, PeerId};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{sleep, timeout};

pub(crate) use endpoint::EndpointError;

use crate::routing::{Routing, reach};
use crate::swarm::{AcceptError, ConnectError, Incoming, Need, OpenError, SwarmHandle};

/// Streams that are open at once; further ones are closed at once.
const STREAMS_MAX: usize = 1024;
/// Listeners of both kinds.
const LISTENERS_MAX: usize = 256;
/// How long a peer may take to be reached and to open a stream (Kubo's).
const DIAL_TIME_MAX: Duration = Duration::from_secs(30);
/// How long closing waits until what was listened for is free again. It takes no longer than the runtime needs for one more turn.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long accepting pauses after the system refused it, for want of file descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why nothing listens. The words are Kubo's where Kubo has words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ListenError {
    /// The address is none that this version can use.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The name is none for a protocol.
    #[error("protocol {0:?} does not begin with /")]
    Protocol(String),
    /// Somebody listens for the protocol already.
    #[error("listener already registered")]
    Registered,
    /// Too many listen.
    #[error("{LISTENERS_MAX} listeners are open already: close some with 'p2p close'")]
    TooMany,
    /// The system does not let it.
    #[error("listening on {address}: {error}")]
    Bind {
        /// Where.
        address: Multiaddr,
        /// What it said.
        error: std::io::Error,
    },
}

impl From<AcceptError> for ListenError {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Taken(_) => Self::Registered,
            AcceptError::TooMany => Self::TooMany,
        }
    }
}

/// Who listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) protocol: String,
    pub(crate) listen: Multiaddr,
    pub(crate) target: Multiaddr,
}

/// A stream that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenStream {
    pub(crate) number: u64,
    pub(crate) protocol: String,
    pub(crate) origin: Multiaddr,
    pub(crate) target: Multiaddr,
}

/// A listener that was made: closing it by hand, or hearing that somebody did.
#[derive(Debug)]
pub(crate) struct Handle {
    number: u64,
    mounts: Mounts,
    closed: watch::Receiver<()>,
}

impl Handle {
    /// Returns when somebody closes it. It can be cancelled.
    pub(crate) async fn closed(&mut self) {
        // Its other end goes with the listener, and is never used.
        while self.closed.changed().await.is_ok() {}
    }

    /// Closes it. Streams that it opened go on.
    pub(crate) fn close(&self) {
        self.mounts.lock().listeners.remove(&self.number);
    }
}

/// All listeners and streams of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Mounts {
    inner: Arc<Mutex<Inner>>,
    /// One for each stream that is open or being opened.
    slots: Arc<Semaphore>,
    way: Way,
}

/// How peers are reached.
#[derive(Debug, Clone)]
struct Way {
    swarm: SwarmHandle,
    /// Who finds those whose addresses are not known.
    routing: Option<Routing>,
}

#[derive(Debug, Default)]
struct Inner {
    listeners: BTreeMap<u64, Listening>,
    streams: BTreeMap<u64, Running>,
    next: u64,
}

#[derive(Debug)]
struct Listening {
    listener: Listener,
    /// Ends with the entry.
    task: Task,
    _closed: watch::Sender<()>,
}

#[derive(Debug)]
struct Running {
    stream: OpenStream,
    task: AbortHandle,
}

#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Task {
    /// Ends it, and returns when what it held is free.
    async fn end(mut self) {
        self.0.abort();
        // That it was aborted is what is to be heard.
        let _ = timeout(CLOSE_TIME_MAX, &mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }
}

impl Mounts {
    pub(crate) fn new(swarm: SwarmHandle, routing: Option<Routing>) -> Self {
        let slots = Arc::new(Semaphore::new(STREAMS_MAX));
        Self { inner: Arc::default(), slots, way: Way { swarm, routing } }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a task may hold: it must not keep alive what ends it.
    fn weak(&self) -> WeakMounts {
        let (slots, way) = (Arc::clone(&self.slots), self.way.clone());
        WeakMounts { inner: Arc::downgrade(&self.inner), slots, way }
    }

    /// Takes TCP connections at `listen`, and carries each to a peer that serves the protocol.
    pub(crate) async fn forward(
        &self,
        protocol: &str,
        listen: &Multiaddr,
        peer: PeerId,
    ) -> Result<Handle, ListenError> {
        let name = protocol_of(protocol)?;
        self.check_room()?;
        let failed = |error| ListenError::Bind { address: listen.clone(), error };
        let tcp = TcpListener::bind(endpoint::address(listen)?).await.map_err(failed)?;
        let listener = Listener {
            protocol: protocol.to_owned(),
            listen: endpoint::multiaddr(tcp.local_addr().map_err(failed)?),
            target: endpoint::of_peer(peer),
        };
        let task = tokio::spawn(accept(tcp, self.weak(), name, peer));
        Ok(self.add(listener, Task(task)))
    }

    /// Takes streams of peers for the protocol, and carries each to a TCP server. With `report`, the peer's ID and a line
    /// feed go before everything else.
    pub(crate) fn listen(
        &self,
        protocol: &str,
        target: &Multiaddr,
        report: bool,
    ) -> Result<Handle, ListenError> {
        let name = protocol_of(protocol)?;
        endpoint::address(target)?;
        self.check_room()?;
        let incoming = self.way.swarm.streams().accept(name)?;
        let listener = Listener {
            protocol: protocol.to_owned(),
            listen: endpoint::of_peer(self.way.swarm.peer_id()),
            target: target.clone(),
        };
        let serving = Serving { protocol: protocol.to_owned(), target: target.clone(), report };
        let task = tokio::spawn(serve(incoming, self.weak(), serving));
        Ok(self.add(listener, Task(task)))
    }

    fn check_room(&self) -> Result<(), ListenError> {
        if self.lock().listeners.len() >= LISTENERS_MAX { Err(ListenError::TooMany) } else { Ok(()) }
    }

    fn add(&self, listener: Listener, task: Task) -> Handle {
        let (sender, closed) = watch::channel(());
        let mut inner = self.lock();
        let number = inner.number();
        inner.listeners.insert(number, Listening { listener, task, _closed: sender });
        Handle { number, mounts: self.clone(), closed }
    }

    /// Who listens: first for TCP connections, then for streams.
    pub(crate) fn listeners(&self) -> Vec<Listener> {
        let mut all: Vec<Listener> = self.lock().listeners.values().map(|it| it.listener.clone()).collect();
        all.sort_by_key(|listener| listener.listen == endpoint::of_peer(self.way.swarm.peer_id()));
        all
    }

    /// Closes the listeners that are meant; protocols and addresses are free when this returns. Streams that they opened go on.
    /// Returns how many they were.
    pub(crate) async fn close(&self, mut is_meant: impl FnMut(&Listener) -> bool) -> usize {
        let closed: Vec<Listening> = {
            let mut inner = self.lock();
            let meant = inner.listeners.iter().filter(|(_, it)| is_meant(&it.listener));
            let numbers: Vec<u64> = meant.map(|(number, _)| *number).collect();
            numbers.iter().filter_map(|number| inner.listeners.remove(number)).collect()
        };
        let count = closed.len();
        join_all(closed.into_iter().map(|it| it.task.end())).await;
        count
    }

    /// The open streams.
    pub(crate) fn streams(&self) -> Vec<OpenStream> {
        self.lock().streams.values().map(|running| running.stream.clone()).collect()
    }

    /// Closes one stream, or all.
    pub(crate) fn close_streams(&self, number: Option<u64>) {
        let inner = self.lock();
        for running in
            inner.streams.values().filter(|it| number.is_none_or(|wanted| wanted == it.stream.number))
        {
            running.task.abort();
        }
    }
}

fn protocol_of(text: &str) -> Result<StreamProtocol, ListenError> {
    StreamProtocol::try_from_owned(text.to_owned()).map_err(|_| ListenError::Protocol(text.to_owned()))
}

#[derive(Debug, Clone)]
struct WeakMounts {
    inner: Weak<Mutex<Inner>>,
    slots: Arc<Semaphore>,
    way: Way,
}

impl WeakMounts {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> Option<T> {
        let inner = self.inner.upgrade()?;
        Some(work(&mut inner.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Room for one more stream, if there is some.
    fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Runs a stream to its end in a task of its own, and lists it meanwhile.
    fn run(&self, carried: Carried) {
        let Some(number) = self.with(Inner::number) else { return };
        let Carried { protocol, origin, target, tcp, stream, slot } = carried;
        let mounts = self.clone();
        let (go, may_go) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            // It is in the list before it can end.
            let _ = may_go.await;
            let _listed = Listed { mounts, number, _slot: slot };
            if let Err(error) = copy::both_ways(tcp, stream).await {
                tracing::debug!("a mounted stream ended: {error}");
            }
        });
        let stream = OpenStream { number, protocol, origin, target };
        self.with(|inner| inner.streams.insert(number, Running { stream, task: task.abort_handle() }));
        let _ = go.send(());
    }
}

/// The two ends of a stream, and what is said of it.
struct Carried {
    protocol: String,
    origin: Multiaddr,
    target: Multiaddr,
    tcp: TcpStream,
    stream: Stream,
    slot: OwnedSemaphorePermit,
}

/// Takes a stream out of the list when its task ends, however that is.
struct Listed {
    mounts: WeakMounts,
    number: u64,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.mounts.with(|inner| inner.streams.remove(&self.number));
    }
}

/// Why a connection is not carried.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Takes TCP connections, each of which gets a stream of its own.
async fn accept(tcp: TcpListener, mounts: WeakMounts, protocol: StreamProtocol, peer: PeerId) {
    loop {
        let (connection, origin) = match tcp.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("p2p forward: accepting a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(slot) = mounts.slot() else {
            tracing::warn!(
                "p2p forward: {STREAMS_MAX} streams are open, and a connection of {origin} is closed"
            );
            continue;
        };
        let (mounts, protocol) = (mounts.clone(), protocol.clone());
        tokio::spawn(async move {
            let opening = async {
                let Way { swarm, routing } = &mounts.way;
                reach(Need::Better, swarm, routing.as_ref(), peer, &[]).await?;
                Ok::<_, DialError>(swarm.streams().open(peer, protocol.clone()).await?)
            };
            match timeout(DIAL_TIME_MAX, opening).await {
                Ok(Ok(stream)) => {
                    let (origin, target) = (endpoint::multiaddr(origin), endpoint::of_peer(peer));
                    let (protocol, tcp) = (protocol.to_string(), connection);
                    mounts.run(Carried { protocol, origin, target, tcp, stream, slot });
                }
                Ok(Err(error)) => tracing::warn!("p2p forward: no stream to {peer} for {protocol}: {error}"),
                Err(_) => tracing::warn!("p2p forward: no stream to {peer} for {protocol} within 30 seconds"),
            }
        });
    }
}

/// Where streams of a protocol go.
#[derive(Debug)]
struct Serving {
    protocol: String,
    target: Multiaddr,
    report: bool,
}

/// Takes streams, each of which gets a TCP connection of its own.
async fn serve(mut incoming: Incoming, mounts: WeakMounts, serving: Serving) {
    let serving = Arc::new(serving);
    while let Some((peer, stream)) = incoming.next().await {
        let Some(slot) = mounts.slot() else {
            tracing::warn!("p2p listen: {STREAMS_MAX} streams are open, and one of {peer} is closed");
            continue;
        };
        let (mounts, serving) = (mounts.clone(), Arc::clone(&serving));
        tokio::spawn(async move {
            let connecting = async {
                let address = endpoint::address(&serving.target).map_err(std::io::Error::other)?;
                let mut tcp = TcpStream::connect(address).await?;
                if serving.report {
                    tcp.write_all(format!("{peer}\n").as_bytes()).await?;
                }
                Ok::<_, std::io::Error>(tcp)
            };
            match timeout(DIAL_TIME_MAX, connecting).await {
                Ok(Ok(tcp)) => {
                    let (protocol, target) = (serving.protocol.clone(), serving.target.clone());
                    let origin = endpoint::of_peer(peer);
                    mounts.run(Carried { protocol, origin, target, tcp, stream, slot });
                }
                Ok(Err(error)) => tracing::warn!("p2p listen: connecting to {}: {error}", serving.target),
                Err(_) => tracing::warn!("p2p listen: no connection to {} within 30 seconds", serving.target),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use libp2p_identity::Keypair;

    use super::*;
    use crate::config::Config;
    use crate::swarm::{Protocols, SwarmParams, SwarmSettings, start};

    // One thread: a task that is ended has its next turn only when this one waits.
    #[tokio::test]
    async fn what_was_listened_for_is_free_when_it_is_closed() {
        let mut config = Config::defaults();
        config.apply_profiles("test").unwrap();
        config.set("Addresses.Swarm", serde_json::json!(["/ip4/127.0.0.1/tcp/0"])).unwrap();
        let params = SwarmParams {
            key: Keypair::generate_ed25519(),
            agent: "test".to_owned(),
            settings: SwarmSettings::of_config(&config, None).unwrap(),
            protocols: Protocols::default(),
            exchange: None,
        };
        let mounts = Mounts::new(Box::pin(start(params)).await.unwrap(), None);
        let (any, target) =
            ("/ip4/127.0.0.1/tcp/0".parse().unwrap(), "/ip4/127.0.0.1/tcp/1".parse().unwrap());
        mounts.forward("/x/out", &any, PeerId::random()).await.unwrap();
        let bound = mounts.listeners()[0].listen.clone();
        mounts.listen("/x/in", &target, false).unwrap();
        for _ in 0..20 {
            assert_eq!(mounts.close(|_| true).await, 2);
            mounts.listen("/x/in", &target, false).unwrap();
            mounts.forward("/x/out", &bound, PeerId::random()).await.unwrap();
        }
        assert_eq!(mounts.close(|it| it.protocol == "/x/in").await, 1);
        assert_eq!(mounts.listeners().len(), 1);
    }
}
