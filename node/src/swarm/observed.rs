//! What others see of us, where a NAT gives us another port than the one that we listen on.
//!
//! libp2p's identify takes the address that a peer sees for one of an ephemeral port then, and puts the port of a listener into
//! it: right for a node whose connections leave from any port, and wrong behind such a NAT, because ours leave from the port
//! that is listened on. Where two peers see the same address, the NAT has one port for all that we talk to, and the address is
//! worth being tried by who wants to make a hole. Where each sees another one, none is of use to anybody else.

use std::collections::{HashMap, HashSet, VecDeque};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use super::addresses::Scope;
use super::filters::ip_of;

/// Addresses that are remembered; the oldest make room.
const ADDRESSES_MAX: usize = 64;

/// Addresses that are given to be tested, at most: until the end, for libp2p forgets none of them. The second is for those of
/// one IP address: a NAT with a port for each peer has many, and none is of use. The third is for those that one peer said.
const CANDIDATES_MAX: usize = 1024;
const CANDIDATES_OF_IP_MAX: usize = 16;
const CANDIDATES_OF_PEER_MAX: usize = 8;

/// An address, and who saw it first.
#[derive(Debug)]
struct Seen {
    address: Multiaddr,
    by: PeerId,
    is_told: bool,
}

/// The addresses that others see. It does no I/O.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Connections that we dialled from a port that we listen on: as many as are open, at most.
    dialled: HashSet<ConnectionId>,
    seen: VecDeque<Seen>,
}

impl Observed {
    /// We dialled a connection, from a port that we listen on if there is one.
    pub(super) fn dialled(&mut self, id: ConnectionId) {
        self.dialled.insert(id);
    }

    pub(super) fn closed(&mut self, id: ConnectionId) {
        self.dialled.remove(&id);
    }

    /// A peer says from which address our connection came. Whether that is to be tried by others: when a second peer says so.
    pub(super) fn note(&mut self, id: ConnectionId, peer: PeerId, address: &Multiaddr) -> bool {
        if !self.dialled.contains(&id) {
            return false;
        }
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.address == *address) {
            return seen.by != peer && !std::mem::replace(&mut seen.is_told, true);
        }
        if self.seen.len() >= ADDRESSES_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { address: address.clone(), by: peer, is_told: false });
        false
    }
}

/// Addresses that are worth being tested from the internet, and who said first that they are ours.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    said: HashMap<Multiaddr, PeerId>,
}

impl Candidates {
    /// Whether an address that a peer says is ours is to be tested.
    pub(super) fn admit(&mut self, address: &Multiaddr, peer: PeerId) -> bool {
        if self.said.contains_key(address) {
            return true;
        }
        let (Scope::Public, Some(ip)) = (Scope::of(address), ip_of(address)) else { return false };
        let of_ip = self.said.keys().filter(|known| ip_of(known) == Some(ip)).count();
        let of_peer = self.said.values().filter(|by| **by == peer).count();
        let admitted = self.said.len() < CANDIDATES_MAX
            && of_ip < CANDIDATES_OF_IP_MAX
            && of_peer < CANDIDATES_OF_PEER_MAX;
        if admitted {
            self.said.insert(address.clone(), peer);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_say_is_ours_is_tested_within_bounds() {
        let mut candidates = Candidates::default();
        let address = |ip: usize, port: usize| -> Multiaddr {
            format!("/ip4/8.8.{}.{}/tcp/{port}", ip >> 8, ip & 255).parse().unwrap()
        };
        for text in ["/dns4/example.net/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"] {
            assert!(!candidates.admit(&text.parse().unwrap(), PeerId::random()), "{text}");
        }
        assert!(!candidates.admit(&Multiaddr::empty().with_p2p(PeerId::random()).unwrap(), PeerId::random()));
        let liar = PeerId::random();
        let believed = (0..100).filter(|ip| candidates.admit(&address(*ip, 1), liar)).count();
        assert_eq!(believed, CANDIDATES_OF_PEER_MAX);
        assert!(candidates.admit(&address(0, 1), PeerId::random()), "it is known");
        let ports = (0..100).filter(|port| candidates.admit(&address(500, *port), PeerId::random())).count();
        assert_eq!(ports, CANDIDATES_OF_IP_MAX);
        for ip in 1_000..1_000 + 2 * CANDIDATES_MAX {
            candidates.admit(&address(ip, 1), PeerId::random());
        }
        assert_eq!(candidates.said.len(), CANDIDATES_MAX);
    }

    fn address(port: usize) -> Multiaddr {
        format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn what_two_peers_see_is_told_once_and_what_one_sees_never() {
        let mut observed = Observed::default();
        let [first, second, inbound] = [1, 2, 3].map(ConnectionId::new_unchecked);
        observed.dialled(first);
        observed.dialled(second);
        let [one, other] = [PeerId::random(), PeerId::random()];
        assert!(!observed.note(first, one, &address(1)));
        assert!(!observed.note(second, one, &address(1)), "it is one peer");
        assert!(!observed.note(inbound, other, &address(1)), "where others dial us says nothing of our NAT");
        assert!(observed.note(second, other, &address(1)));
        assert!(!observed.note(second, other, &address(1)), "it is told once");
        // A NAT with a port for each peer.
        assert!(!observed.note(second, other, &address(2)));
        observed.closed(first);
        assert!(!observed.note(first, one, &address(2)));
    }

    #[test]
    fn a_nat_with_a_port_for_each_peer_fills_no_memory() {
        let mut observed = Observed::default();
        let id = ConnectionId::new_unchecked(1);
        observed.dialled(id);
        for port in 0..10 * ADDRESSES_MAX {
            assert!(!observed.note(id, PeerId::random(), &address(port)));
        }
        assert_eq!(observed.seen.len(), ADDRESSES_MAX);
    }
}
