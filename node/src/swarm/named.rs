//! Names in addresses that peers told (`/dns4/...`): resolved when they are dialled, wherever the address came from.
//!
//! The names of the config are resolved before a dial ([`super::resolve`]); what identify, the DHTs, Bitswap or the peer book
//! bring goes to the swarm as it is, and ends here. Anybody can announce names, so a dial of one peer costs few queries.

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

impl Transport for ByName {
    type Output = (PeerId, StreamMuxerBox);
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
        if !holds_name(&address) {
            return Ok(Box::pin(lock(&self.inner).dial(address, opts)?));
        }
        let (inner, resolver, budget) =
            (Arc::clone(&self.inner), self.resolver.clone(), self.budget(&address));
        Ok(Box::pin(async move {
            let take = || {
                budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            };
            let found = resolver.resolve_within(&address, &take).await.map_err(io::Error::other)?;
            dial_any(&inner, found, opts).await
        }))
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut *lock(&self.inner)).poll(cx)
    }
}

/// Dials all that a name stands for; the first connection counts.
async fn dial_any(
    inner: &Mutex<Transports>,
    addresses: Vec<Multiaddr>,
    opts: DialOpts,
) -> io::Result<(PeerId, StreamMuxerBox)> {
    let mut failures = Vec::new();
    let mut dialling = FuturesUnordered::new();
    for address in addresses.into_iter().take(ADDRESSES_MAX) {
        match lock(inner).dial(address.clone(), opts) {
            Ok(dial) => dialling.push(async move { (address, dial.await) }),
            Err(TransportError::MultiaddrNotSupported(address)) => {
                failures.push(format!("{address}: no transport for protocol"));
            }
            Err(TransportError::Other(error)) => failures.push(format!("{address}: {error}")),
        }
    }
    while let Some((address, dialled)) = dialling.next().await {
        match dialled {
            Ok(connection) => return Ok(connection),
            Err(error) => failures.push(format!("{address}: {error}")),
        }
    }
    let words =
        if failures.is_empty() { "its names stand for no address".to_owned() } else { failures.join("; ") };
    Err(io::Error::other(words))
}

#[cfg(test)]
mod tests {
    use libp2p::core::transport::PortUse;
    use libp2p::core::{Endpoint, transport};

    use super::*;
    use crate::dns::DnsSettings;

    #[tokio::test]
    async fn a_dial_asks_for_eight_names_whatever_a_peer_announces_and_the_next_has_its_own() {
        let inner = transport::dummy::DummyTransport::new().boxed();
        let mut names = ByName::new(inner, Resolver::new(&DnsSettings::NOBODY));
        let peer = PeerId::random();
        let address = |text: &str| -> Multiaddr { format!("{text}/p2p/{peer}").parse().unwrap() };
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
        for _ in 0..2 {
            // As the swarm does: all addresses of a peer are given before any of them is waited for.
            let all: Vec<_> = (0..12)
                .map(|number| names.dial(address(&format!("/dns4/n{number}.example/tcp/1")), opts).unwrap())
                .collect();
            let ended = futures_util::future::join_all(all).await;
            let words: Vec<String> = ended.into_iter().map(|it| it.err().unwrap().to_string()).collect();
            let count = |part: &str| words.iter().filter(|words| words.contains(part)).count();
            assert_eq!(count("this node asks no resolver"), NAMES_MAX, "{words:?}");
            assert_eq!(count("more names than a dial may ask for"), 12 - NAMES_MAX, "{words:?}");
        }
        assert!(
            names.dial(address("/ip4/127.0.0.1/tcp/1"), opts).is_err(),
            "without a name nothing is asked"
        );
        let other = format!("/dns4/b.example/p2p/{}", PeerId::random());
        drop(names.budget(&other.parse().unwrap()));
        names.budget(&address("/dns4/a.example"));
        assert!(names.dialling.len() <= 1, "dials that are over are forgotten");
    }
}
