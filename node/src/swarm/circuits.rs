//! Which peers are connected through a relay. Nobody who dials one of them is led through a relay again: what a direct
//! connection is wanted for, a second circuit does not carry either, and relays count them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libp2p::{Multiaddr, PeerId};

use super::addresses::{Scope, split_peer};

/// The circuits that are open: how many lead to whom. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Circuits {
    open: Arc<Mutex<HashMap<PeerId, usize>>>,
}

impl Circuits {
    fn open(&self) -> MutexGuard<'_, HashMap<PeerId, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn opened(&self, peer: PeerId) {
        *self.open().entry(peer).or_insert(0) += 1;
    }

    pub(super) fn closed(&self, peer: &PeerId) {
        let mut open = self.open();
        if let Some(left) = open.get_mut(peer) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                open.remove(peer);
            }
        }
    }

    /// Whether an address leads through a relay, to a peer that is connected through one.
    pub(super) fn has_enough(&self, address: &Multiaddr) -> bool {
        Scope::of(address) == Scope::Relayed
            && split_peer(address).1.is_some_and(|peer| self.open().contains_key(&peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_led_to_through_a_relay_as_long_as_no_circuit_to_it_is_open() {
        let (circuits, [relay, near, far]) = (Circuits::default(), [(); 3].map(|()| PeerId::random()));
        let through =
            |peer| format!("/ip4/1.1.1.1/tcp/1/p2p/{relay}/p2p-circuit/p2p/{peer}").parse().unwrap();
        circuits.opened(near);
        circuits.opened(near);
        circuits.closed(&near);
        assert!(circuits.has_enough(&through(near)) && !circuits.has_enough(&through(far)));
        let direct = format!("/ip4/1.1.1.1/tcp/1/p2p/{near}").parse().unwrap();
        assert!(!circuits.has_enough(&direct), "it is what is missing");
        circuits.closed(&near);
        assert!(!circuits.has_enough(&through(near)) && circuits.open().is_empty());
    }
}
