//! Names in addresses that peers told (`/dns4/...`): resolved when they are dialled, wherever the address came from.
//!
//! The names of the config are resolved before a dial ([`super::resolve`]); what identify, the DHTs, Bitswap or the peer book
//! bring goes to the swarm as it is, and ends here. Anybody can announce names, so a dial of one peer costs few queries.
//!
//! Here it is also seen whether the host that answers is the peer that is meant. The swarm looks only at the first connection of all
//! addresses, and ends the dial if that is another: an old address that is somebody else's now would keep the others from being tried.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, PeerId};

use super::addresses::split_peer;
use super::resolve::{Resolver, holds_name};
use super::transport::Transports;

/// Names that are asked for while one peer is dialled, those inside of others included.
pub(super) const NAMES_MAX: usize = 8;
/// Addresses that are dialled for one with a name, at once.
const ADDRESSES_MAX: usize = 8;

/// Names that a dial may still ask for. It is shared by the addresses of one peer that are dialled at a time.
type Budget = AtomicUsize;

/// Transports that know addresses without names, and names resolved before them.
pub(super) struct ByName {
    inner: Arc<Mutex<Transports>>,
    resolver: Resolver,
    dialling: HashMap<PeerId, Weak<Budget>>,
}

impl ByName {
    pub(super) fn new(inner: Transports, resolver: Resolver) -> Self {
        Self { inner: Arc::new(Mutex::new(inner)), resolver, dialling: HashMap::new() }
    }

    /// What the dial that this address belongs to may ask for. The swarm gives all addresses of a dial at once.
    fn budget(&mut self, address: &Multiaddr) -> Arc<Budget> {
        let Some(peer) = split_peer(address).1 else { return Arc::new(Budget::new(NAMES_MAX)) };
        if let Some(budget) = self.dialling.get(&peer).and_then(Weak::upgrade) {
            return budget;
        }
        // As many are left as are being dialled, which the limits on connections bound.
        self.dialling.retain(|_, budget| budget.strong_count() > 0);
        let budget = Arc::new(Budget::new(NAMES_MAX));
        self.dialling.insert(peer, Arc::downgrade(&budget));
        budget
    }
}

fn lock(inner: &Mutex<Transports>) -> MutexGuard<'_, Transports> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A host answered that is another peer than the one that is dialled. The words are go-libp2p's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("peer id mismatch: expected {expected}, but remote key matches {obtained}")]
pub(super) struct WrongPeer {
    expected: PeerId,
    obtained: PeerId,
}

impl WrongPeer {
    /// Whether an address failed for this alone; transports wrap the errors of each other.
    pub(super) fn is_cause(error: &io::Error) -> bool {
        let mut error = error;
        while let Some(inner) = error.get_ref() {
            if inner.is::<Self>() {
                return true;
            }
            let Some(next) = inner.downcast_ref() else { return false };
            error = next;
        }
        false
    }
}

type Connection = (PeerId, StreamMuxerBox);

/// A connection, if it leads to whom it is to lead to. One that does not is closed.
fn checked(expected: Option<PeerId>, connection: Connection) -> io::Result<Connection> {
    let obtained = connection.0;
    match expected.filter(|expected| *expected != obtained) {
        Some(expected) => Err(io::Error::other(WrongPeer { expected, obtained })),
        None => Ok(connection),
    }
}

impl Transport for ByName {
    type Output = Connection;
    type Error = io::Error;
    type ListenerUpgrade = <Transports as Transport>::ListenerUpgrade;
    type Dial = BoxFuture<'static, io::Result<Self::Output>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        lock(&self.inner).listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        lock(&self.inner).remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let expected = split_peer(&address).1;
        if !holds_name(&address) {
            let dial = lock(&self.inner).dial(address, opts)?;
            return Ok(Box::pin(async move { checked(expected, dial.await?) }));
        }
        let (inner, resolver, budget) =
            (Arc::clone(&self.inner), self.resolver.clone(), self.budget(&address));
        Ok(Box::pin(async move {
            let take = || {
                budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            };
            let found = resolver.resolve_within(&address, &take).await.map_err(io::Error::other)?;
            dial_any(&inner, expected, found, opts).await
        }))
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut *lock(&self.inner)).poll(cx)
    }
}

/// Dials all that a name stands for; the first connection to the peer that is meant counts.
async fn dial_any(
    inner: &Mutex<Transports>,
    expected: Option<PeerId>,
    addresses: Vec<Multiaddr>,
    opts: DialOpts,
) -> io::Result<Connection> {
    let mut failures = Vec::new();
    let mut dialling = FuturesUnordered::new();
    for address in addresses.into_iter().take(ADDRESSES_MAX) {
        match lock(inner).dial(address.clone(), opts) {
            Ok(dial) => dialling.push(async move { (address, dial.await) }),
            Err(TransportError::MultiaddrNotSupported(address)) => {
                failures.push((address, io::Error::other("no transport for protocol")));
            }
            Err(TransportError::Other(error)) => failures.push((address, error)),
        }
    }
    while let Some((address, dialled)) = dialling.next().await {
        match dialled.and_then(|connection| checked(expected, connection)) {
            Ok(connection) => return Ok(connection),
            Err(error) => failures.push((address, error)),
        }
    }
    if failures.is_empty() {
        return Err(io::Error::other("its names stand for no address"));
    }
    // Where all hosts are others, the name is another's: whoever remembers it is to know.
    if failures.iter().all(|(_, error)| WrongPeer::is_cause(error))
        && let Some((_, error)) = failures.pop()
    {
        return Err(error);
    }
    let words: Vec<String> = failures.iter().map(|(address, error)| format!("{address}: {error}")).collect();
    Err(io::Error::other(words.join("; ")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use libp2p::core::muxing::StreamMuxerEvent;
    use libp2p::core::transport::PortUse;
    use libp2p::core::{Endpoint, StreamMuxer, transport};
    use libp2p::futures::io::Cursor;
    use tokio::time::sleep;

    use super::*;
    use crate::dns::DnsSettings;

    const OPTS: DialOpts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };

    /// A connection that carries nothing.
    struct Idle;

    impl StreamMuxer for Idle {
        type Substream = Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    /// Hosts at ports 1, 2, and so on: those on the left answer first.
    struct Hosts(Vec<PeerId>);

    impl Transport for Hosts {
        type Output = Connection;
        type Error = io::Error;
        type ListenerUpgrade = BoxFuture<'static, io::Result<Connection>>;
        type Dial = BoxFuture<'static, io::Result<Connection>>;

        fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
            Err(TransportError::MultiaddrNotSupported(address))
        }

        fn remove_listener(&mut self, _: ListenerId) -> bool {
            false
        }

        fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
            let port = address.iter().find_map(|part| match part {
                multiaddr::Protocol::Tcp(port) => Some(port),
                _ => None,
            });
            let port = port.unwrap();
            let peer = self.0.get(usize::from(port) - 1).copied();
            Ok(Box::pin(async move {
                sleep(Duration::from_millis(30 * u64::from(port))).await;
                let peer = peer.ok_or(io::ErrorKind::ConnectionRefused)?;
                Ok((peer, StreamMuxerBox::new(Idle)))
            }))
        }

        fn poll(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn of_the_hosts_behind_a_name_the_peer_that_is_meant_is_taken_however_late_it_answers() {
        let [meant, other, stranger] = [(); 3].map(|()| PeerId::random());
        let inner = || Mutex::new(Hosts(vec![other, stranger, meant]).boxed());
        let found = |ports: &[u16]| -> Vec<Multiaddr> {
            ports.iter().map(|port| format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()).collect()
        };
        let (peer, _) = dial_any(&inner(), Some(meant), found(&[1, 9, 2, 3]), OPTS).await.unwrap();
        assert_eq!(peer, meant);
        let (peer, _) = dial_any(&inner(), None, found(&[2, 3]), OPTS).await.unwrap();
        assert_eq!(peer, stranger, "where nobody is meant, the first is");
        let failed = dial_any(&inner(), Some(meant), found(&[1, 9]), OPTS).await.err().unwrap();
        let words = failed.to_string();
        assert!(
            words.contains(&format!("remote key matches {other}")) && words.contains("refused"),
            "{words}"
        );
        assert!(!WrongPeer::is_cause(&failed), "one of the hosts may be the peer, and was not there");
        let failed = dial_any(&inner(), Some(meant), found(&[1, 2]), OPTS).await.err().unwrap();
        assert!(WrongPeer::is_cause(&io::Error::other(failed)), "the name is somebody else's");
    }

    #[tokio::test]
    async fn a_dial_asks_for_eight_names_whatever_a_peer_announces_and_the_next_has_its_own() {
        let inner = transport::dummy::DummyTransport::new().boxed();
        let mut names = ByName::new(inner, Resolver::new(&DnsSettings::NOBODY));
        let peer = PeerId::random();
        let address = |text: &str| -> Multiaddr { format!("{text}/p2p/{peer}").parse().unwrap() };
        for _ in 0..2 {
            // As the swarm does: all addresses of a peer are given before any of them is waited for.
            let all: Vec<_> = (0..12)
                .map(|number| names.dial(address(&format!("/dns4/n{number}.example/tcp/1")), OPTS).unwrap())
                .collect();
            let ended = futures_util::future::join_all(all).await;
            let words: Vec<String> = ended.into_iter().map(|it| it.err().unwrap().to_string()).collect();
            let count = |part: &str| words.iter().filter(|words| words.contains(part)).count();
            assert_eq!(count("this node asks no resolver"), NAMES_MAX, "{words:?}");
            assert_eq!(count("more names than a dial may ask for"), 12 - NAMES_MAX, "{words:?}");
        }
        assert!(
            names.dial(address("/ip4/127.0.0.1/tcp/1"), OPTS).is_err(),
            "without a name nothing is asked"
        );
        let other = format!("/dns4/b.example/p2p/{}", PeerId::random());
        drop(names.budget(&other.parse().unwrap()));
        names.budget(&address("/dns4/a.example"));
        assert!(names.dialling.len() <= 1, "dials that are over are forgotten");
    }
}
