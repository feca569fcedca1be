//! mDNS over IPv6: on each link for itself, which libp2p's behaviour does not do: it hears and asks on one of several.

mod link;
mod message;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::net::Ipv6Addr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use if_addrs::{IfAddr, get_if_addrs};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::mdns::Event;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, ListenAddresses, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use multiaddr::Protocol;
use rand::distr::{Alphanumeric, SampleString as _};
use tokio::time::{Interval, MissedTickBehavior, interval};

use link::{Link, is_dialled};
use message::Heard;

/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(500);
/// Looks between two readings of the machine's interfaces.
const TICKS_PER_READING: u32 = 4;
/// Links that are used.
const LINKS_MAX: usize = 32;
/// Messages that are read of one link at a time: then others have their turn.
const MESSAGES_MAX: usize = 64;
/// Addresses that are known at once, in all; those that end first make room.
const FOUND_MAX: usize = 1024;
/// How long others may believe what we say (libp2p's default).
const TTL: Duration = Duration::from_secs(6 * 60);
/// How long others are believed at most, whatever they say.
const TTL_MAX: Duration = Duration::from_secs(3600);
/// Letters of the name under which we are there: it says nothing of us, as the specification wants it.
const NAME_CHARS: usize = 32;

/// The behaviour. Must be polled within a tokio runtime.
pub(super) struct MdnsV6 {
    us: PeerId,
    name: String,
    question_interval: Duration,
    listening: ListenAddresses,
    links: BTreeMap<u32, Link>,
    ticks: Interval,
    tick: u32,
    found: HashMap<(PeerId, Multiaddr), Instant>,
    events: VecDeque<Event>,
}

impl MdnsV6 {
    /// Must be called within a tokio runtime.
    pub(super) fn new(us: PeerId, question_interval: Duration) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            us,
            name: Alphanumeric.sample_string(&mut rand::rng(), NAME_CHARS),
            question_interval,
            listening: ListenAddresses::default(),
            links: BTreeMap::new(),
            ticks,
            tick: 0,
            found: HashMap::new(),
            events: VecDeque::new(),
        }
    }

    fn on_tick(&mut self, now: Instant) {
        if self.tick.is_multiple_of(TICKS_PER_READING) {
            self.read_interfaces(now);
        }
        self.tick = self.tick.wrapping_add(1);
        for link in self.links.values_mut() {
            if link.takes_question(now, self.question_interval) {
                link.send(&message::question());
            }
        }
        self.expire(now);
    }

    /// Opens links that came, closes those that went, and notes which addresses they have.
    fn read_interfaces(&mut self, now: Instant) {
        let interfaces = match get_if_addrs() {
            Ok(interfaces) => interfaces,
            Err(error) => return tracing::debug!("the interfaces of this machine: {error}"),
        };
        let mut addresses: BTreeMap<u32, Vec<Ipv6Addr>> = BTreeMap::new();
        for interface in interfaces.iter().filter(|interface| !interface.is_loopback()) {
            if let (Some(index), IfAddr::V6(address)) = (interface.index, &interface.addr) {
                addresses.entry(index).or_default().push(address.ip);
            }
        }
        self.links.retain(|index, _| addresses.contains_key(index));
        for (index, addresses) in addresses {
            if !self.links.contains_key(&index) && self.links.len() < LINKS_MAX {
                match Link::open(index, now) {
                    Ok(link) => drop(self.links.insert(index, link)),
                    Err(error) => tracing::debug!("no mDNS over IPv6 on interface {index}: {error}"),
                }
            }
            if let Some(link) = self.links.get_mut(&index) {
                link.set_addresses(addresses, now);
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        let gone: Vec<_> = self.found.extract_if(|_, until| *until <= now).map(|(known, _)| known).collect();
        self.tell_gone(gone);
    }

    /// Says who is gone: a peer is while no address of it is left.
    fn tell_gone(&mut self, mut gone: Vec<(PeerId, Multiaddr)>) {
        gone.retain(|(peer, _)| !self.found.keys().any(|(other, _)| other == peer));
        if !gone.is_empty() {
            self.events.push_back(Event::Expired(gone));
        }
    }

    /// Somebody says where peers are.
    fn on_peers(&mut self, peers: Vec<(PeerId, Multiaddr, Duration)>, now: Instant) {
        let (mut new, mut gone) = (Vec::new(), Vec::new());
        for (peer, address, ttl) in peers {
            let is_usable = matches!(address.iter().next(), Some(Protocol::Ip6(ip)) if is_dialled(&ip));
            if peer == self.us || !is_usable {
                continue;
            }
            let known = (peer, address);
            if ttl.is_zero() {
                gone.extend(self.found.remove(&known).map(|_| known));
                continue;
            }
            if !self.found.contains_key(&known) {
                self.make_room();
                new.push(known.clone());
            }
            self.found.insert(known, now + ttl.min(TTL_MAX));
        }
        self.tell_gone(gone);
        if !new.is_empty() {
            self.events.push_back(Event::Discovered(new));
        }
    }

    fn make_room(&mut self) {
        if self.found.len() < FOUND_MAX {
            return;
        }
        if let Some(first) =
            self.found.iter().min_by_key(|(_, until)| **until).map(|(known, _)| known.clone())
        {
            self.found.remove(&first);
            self.tell_gone(vec![first]);
        }
    }

    /// Reads what came on a link. Whether there may be more.
    fn poll_link(&mut self, index: u32, now: Instant, cx: &mut Context<'_>) -> bool {
        for _ in 0..MESSAGES_MAX {
            let Some(link) = self.links.get_mut(&index) else { return false };
            let heard = match link.poll_receive(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(bytes)) => message::read(bytes),
                Poll::Ready(Err(error)) => {
                    tracing::debug!("mDNS on interface {index}: {error}");
                    // It is opened again with the next reading, if it is still there.
                    self.links.remove(&index);
                    return false;
                }
            };
            match heard {
                Some(Heard::Question) => {
                    let listening: Vec<Multiaddr> = self.listening.iter().cloned().collect();
                    let own: Vec<Multiaddr> = link.own(&listening).cloned().collect();
                    if !own.is_empty() && link.takes_answer(now) {
                        link.send(&message::answer(&self.name, self.us, &own, TTL));
                    }
                }
                Some(Heard::Peers(peers)) => self.on_peers(peers, now),
                None => {}
            }
        }
        true
    }
}

impl NetworkBehaviour for MdnsV6 {
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
        let now = Instant::now();
        while self.ticks.poll_tick(cx).is_ready() {
            self.on_tick(now);
        }
        let indexes: Vec<u32> = self.links.keys().copied().collect();
        let mut is_more = false;
        for index in indexes {
            is_more |= self.poll_link(index, now, cx);
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

    fn address(number: usize) -> Multiaddr {
        format!("/ip6/fd00::{number:x}/tcp/4001").parse().unwrap()
    }

    #[tokio::test]
    async fn a_peer_is_told_once_kept_while_it_is_heard_and_gone_with_its_last_address() {
        let mut mdns = MdnsV6::new(PeerId::random(), TTL);
        let (peer, us, now) = (PeerId::random(), mdns.us, Instant::now());
        let here = |number| (peer, address(number), TTL);
        mdns.on_peers(vec![here(1), here(2), (us, address(3), TTL)], now);
        let Some(Event::Discovered(found)) = mdns.events.pop_front() else { panic!("nobody was told") };
        assert_eq!(found, [(peer, address(1)), (peer, address(2))]);
        mdns.on_peers(vec![here(1)], now + TTL / 2);
        assert!(mdns.events.is_empty(), "that is known");
        mdns.expire(now + TTL);
        assert!(mdns.events.is_empty(), "an address of it is left");
        mdns.expire(now + TTL + TTL / 2);
        let Some(Event::Expired(gone)) = mdns.events.pop_front() else { panic!("it was kept") };
        assert_eq!(gone, [(peer, address(1))]);
        // One that says that it goes.
        mdns.on_peers(vec![here(1)], now);
        mdns.on_peers(vec![(peer, address(1), Duration::ZERO)], now);
        assert!(matches!(mdns.events.pop_back(), Some(Event::Expired(_))));
        // Addresses that nobody can dial without knowing more.
        for text in ["/ip6/fe80::1/tcp/1", "/ip6/::1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/dns6/a.example/tcp/1"] {
            mdns.events.clear();
            mdns.on_peers(vec![(peer, text.parse().unwrap(), TTL)], now);
            assert!(mdns.events.is_empty(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_neighbour_that_says_too_much_fills_no_memory() {
        let mut mdns = MdnsV6::new(PeerId::random(), TTL);
        for number in 0..2 * FOUND_MAX {
            mdns.on_peers(vec![(PeerId::random(), address(number), Duration::MAX)], Instant::now());
            mdns.events.clear();
        }
        assert_eq!(mdns.found.len(), FOUND_MAX);
        assert!(mdns.found.values().all(|until| *until <= Instant::now() + TTL_MAX));
    }
}
