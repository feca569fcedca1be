//! What others see of us, where a NAT gives us another port than the one that we listen on.
//!
//! libp2p's identify takes the address that a peer sees for one of an ephemeral port then, and puts the port of a listener into
//! it: right for a node whose connections leave from any port, and wrong behind such a NAT, because ours leave from the port
//! that is listened on. Where two peers see the same address, the NAT has one port for all that we talk to, and the address is
//! worth being tried by who wants to make a hole. Where each sees another one, none is of use to anybody else.

use std::collections::{HashSet, VecDeque};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

/// Addresses that are remembered; the oldest make room.
const ADDRESSES_MAX: usize = 64;

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

#[cfg(test)]
mod tests {
    use super::*;

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
