//! mDNS over IPv4 and IPv6, on each link for itself. libp2p's behaviour hears and asks over IPv6 on one of several links, and its
//! list of found peers grows with every answer, which anyone in the local network can give.

mod found;
mod link;
pub mod message;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use if_addrs::{Interface, get_if_addrs};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, ListenAddresses, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use rand::distr::{Alphanumeric, SampleString as _};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval};

use found::{Found, TTL_MAX};
use link::{Link, LinkId, ip_of, is_dialled};
use message::Heard;

/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(500);
/// Looks between two readings of the machine's interfaces.
const TICKS_PER_READING: u32 = 4;
/// Links that are used, those of each family counted for themselves.
const LINKS_MAX: usize = 64;
/// Messages that are read of one link at a time: then others have their turn.
const MESSAGES_MAX: usize = 8;
/// Longest time between two questions: an answer may be lost, twice, before a neighbour is believed to have gone.
const QUESTION_INTERVAL_MAX: Duration = Duration::from_secs(TTL_MAX.as_secs() / 3);
/// Letters of the name under which we are there: it says nothing of us, as the specification wants it.
const NAME_CHARS: usize = 32;

/// What became known.
#[derive(Debug)]
pub(super) enum Event {
    /// Peers are here, at addresses that were not known before.
    Found(Vec<(PeerId, Multiaddr)>),
    /// Peers are no longer here.
    Gone(Vec<PeerId>),
}

/// The behaviour. Must be polled within a tokio runtime.
pub(super) struct Mdns {
    us: PeerId,
    name: String,
    question_interval: Duration,
    listening: ListenAddresses,
    links: BTreeMap<LinkId, Link>,
    ticks: Interval,
    tick: u32,
    /// The machine's interfaces, which are being read.
    reading: Option<JoinHandle<io::Result<Vec<Interface>>>>,
    found: Found,
    events: VecDeque<Event>,
}

impl Mdns {
    /// Must be called within a tokio runtime.
    pub(super) fn new(us: PeerId, question_interval: Duration) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            us,
            name: Alphanumeric.sample_string(&mut rand::rng(), NAME_CHARS),
            question_interval: question_interval.min(QUESTION_INTERVAL_MAX),
            listening: ListenAddresses::default(),
            links: BTreeMap::new(),
            ticks,
            tick: 0,
            reading: None,
            found: Found::default(),
            events: VecDeque::new(),
        }
    }

    fn on_tick(&mut self, now: Instant) {
        if self.tick.is_multiple_of(TICKS_PER_READING) && self.reading.is_none() {
            self.reading = Some(spawn_blocking(get_if_addrs));
        }
        self.tick = self.tick.wrapping_add(1);
        for link in self.links.values_mut() {
            link.refill();
            if link.takes_question(now, self.question_interval) {
                link.send(&message::question());
            }
        }
        let gone = self.found.expire(now);
        self.tell(Vec::new(), gone);
    }

    /// Opens links that came, closes those that went, and notes which addresses they have.
    fn on_interfaces(&mut self, interfaces: &[Interface], now: Instant) {
        let mut addresses: BTreeMap<LinkId, Vec<IpAddr>> = BTreeMap::new();
        for interface in interfaces.iter().filter(|interface| !interface.is_loopback()) {
            let Some(index) = interface.index else { continue };
            let ip = interface.ip();
            addresses.entry(LinkId { index, is_v6: ip.is_ipv6() }).or_default().push(ip);
        }
        self.links.retain(|id, _| addresses.contains_key(id));
        for (id, addresses) in addresses {
            if let Err(error) = self.use_link(id, addresses, now) {
                // It is opened anew with the next reading.
                self.links.remove(&id);
                tracing::debug!("no mDNS on {id:?}: {error}");
            }
        }
    }

    fn use_link(&mut self, id: LinkId, addresses: Vec<IpAddr>, now: Instant) -> io::Result<()> {
        if !self.links.contains_key(&id) && self.links.len() < LINKS_MAX {
            self.links.insert(id, Link::open(id, now)?);
        }
        match self.links.get_mut(&id) {
            Some(link) => link.set_addresses(addresses, now),
            None => Ok(()),
        }
    }

    /// Somebody says where peers are.
    fn on_peers(&mut self, peers: Vec<(PeerId, Multiaddr, Duration)>, now: Instant) {
        let us = self.us;
        let usable = peers
            .into_iter()
            .filter(|(peer, address, _)| *peer != us && ip_of(address).is_some_and(|ip| is_dialled(&ip)));
        let changes = self.found.hear(usable, now);
        self.tell(changes.new, changes.gone);
    }

    fn tell(&mut self, new: Vec<(PeerId, Multiaddr)>, gone: Vec<PeerId>) {
        if !gone.is_empty() {
            self.events.push_back(Event::Gone(gone));
        }
        if !new.is_empty() {
            self.events.push_back(Event::Found(new));
        }
    }

    /// Reads what came on a link. Whether there may be more.
    fn poll_link(&mut self, id: LinkId, now: Instant, cx: &mut Context<'_>) -> bool {
        for _ in 0..MESSAGES_MAX {
            let Some(link) = self.links.get_mut(&id) else { return false };
            let heard = match link.poll_receive(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(bytes)) => message::read(bytes),
                Poll::Ready(Err(error)) => {
                    tracing::debug!("mDNS on {id:?}: {error}");
                    // It is opened again with the next reading, if it is still there.
                    self.links.remove(&id);
                    return false;
                }
            };
            match heard {
                Some(Heard::Question) => {
                    let listening: Vec<Multiaddr> = self.listening.iter().cloned().collect();
                    let own: Vec<Multiaddr> = link.own(&listening).cloned().collect();
                    if !own.is_empty() && link.takes_answer(now) {
                        link.send(&message::answer(&self.name, self.us, &own, TTL_MAX));
                    }
                }
                Some(Heard::Peers(peers)) => self.on_peers(peers, now),
                None => {}
            }
        }
        true
    }
}

impl NetworkBehaviour for Mdns {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.listening.on_swarm_event(&event);
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ToSwarm::<Event, Infallible>::GenerateEvent(event));
        }
        let now = Instant::now();
        while self.ticks.poll_tick(cx).is_ready() {
            self.on_tick(now);
        }
        if let Some(reading) = &mut self.reading
            && let Poll::Ready(read) = reading.poll_unpin(cx)
        {
            self.reading = None;
            match read.map_err(io::Error::other).flatten() {
                Ok(interfaces) => self.on_interfaces(&interfaces, now),
                Err(error) => tracing::debug!("the interfaces of this machine: {error}"),
            }
        }
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        let mut is_more = false;
        for id in ids {
            is_more |= self.poll_link(id, now, cx);
        }
        if is_more {
            cx.waker().wake_by_ref();
        }
        match self.events.pop_front() {
            Some(event) => Poll::Ready(ToSwarm::<Event, Infallible>::GenerateEvent(event)),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_that_nobody_can_dial_and_our_own_are_not_told() {
        let mut mdns = Mdns::new(PeerId::random(), TTL_MAX);
        let (peer, us, now) = (PeerId::random(), mdns.us, Instant::now());
        let good: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        mdns.on_peers(vec![(peer, good.clone(), TTL_MAX), (us, good.clone(), TTL_MAX)], now);
        let Some(Event::Found(found)) = mdns.events.pop_front() else { panic!("nobody was told") };
        assert_eq!(found, [(peer, good)]);
        for text in ["/ip6/fe80::1/tcp/1", "/ip6/::1/tcp/1", "/ip4/127.0.0.1/tcp/1", "/dns6/a.example/tcp/1"]
        {
            mdns.on_peers(vec![(peer, text.parse().unwrap(), TTL_MAX)], now);
            assert!(mdns.events.is_empty(), "{text}");
        }
    }
}
