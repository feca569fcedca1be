//! Relays that we can be reached through while nobody can dial us: who is asked for a reservation, and who is left alone for
//! having refused one.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::core::transport::ListenerId;
use libp2p::{Multiaddr, PeerId};
use multiaddr::Protocol;

use super::Task;
use crate::swarm::addresses::{Scope, split_peer};
use crate::swarm::connections::Worth;
use crate::swarm::handle::Reachability;

/// Relays that are held at once while nobody can dial us (go-libp2p's AutoRelay).
const RELAYS_WANTED: usize = 2;
/// Time between two looks for relays.
const PERIOD: Duration = Duration::from_secs(15);
/// Time after a refusal until the next candidate is asked.
const NEXT_CANDIDATE: Duration = Duration::from_secs(1);
/// How long a relay is left alone after the first refusal.
const WAIT_MIN: Duration = Duration::from_secs(30);
/// The same after many: as long as go-libp2p's AutoRelay leaves a candidate alone.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// The same for those of `Swarm.RelayClient.StaticRelays`: there are no others to ask meanwhile.
const FIXED_WAIT_MAX: Duration = Duration::from_secs(300);
/// Refusals that are remembered, at most.
const REFUSALS_MAX: usize = 1024;
/// What relays serve.
const HOP: &str = "/libp2p/circuit/relay/0.2.0/hop";

/// The relays that are held, and those that refused.
#[derive(Debug)]
pub(super) struct Relays {
    enabled: bool,
    /// `Swarm.RelayClient.StaticRelays`.
    fixed: Vec<Multiaddr>,
    /// Those that hold a reservation for us, or were asked for one.
    held: HashMap<ListenerId, PeerId>,
    refusals: Refusals,
    next: Instant,
    worth: Worth,
}

impl Relays {
    pub(super) fn new(enabled: bool, fixed: Vec<Multiaddr>, worth: Worth, now: Instant) -> Self {
        let refusals = Refusals::new(if fixed.is_empty() { WAIT_MAX } else { FIXED_WAIT_MAX });
        Self { enabled, fixed, held: HashMap::new(), refusals, next: now, worth }
    }

    /// A relay holds a reservation for us: the reservation ends with the connection, so that is kept.
    pub(super) fn accepted(&mut self, relay: PeerId) {
        self.refusals.forget(&relay);
        if self.held.values().any(|held| *held == relay) {
            self.worth.protect(relay, "relay");
        }
    }

    /// A listener ended: if it was at a relay, that one refused, could not be reached, or went away.
    pub(super) fn ended(&mut self, listener: ListenerId, now: Instant) {
        if let Some(relay) = self.held.remove(&listener) {
            self.worth.unprotect(&relay, "relay");
            self.refusals.note(relay, now);
            self.next = self.next.min(now + NEXT_CANDIDATE);
        }
    }
}

/// Relays that are not asked for a while. It does no I/O and knows no clock.
#[derive(Debug)]
struct Refusals {
    wait_max: Duration,
    peers: HashMap<PeerId, Refusal>,
}

#[derive(Debug, Clone, Copy)]
struct Refusal {
    /// How often in a row, less one.
    repeated: u32,
    /// When it may be asked again.
    until: Instant,
}

impl Refusals {
    fn new(wait_max: Duration) -> Self {
        Self { wait_max, peers: HashMap::new() }
    }

    /// A relay refused: it is left alone for 30 seconds, and for twice as long each time that it refuses again.
    fn note(&mut self, relay: PeerId, now: Instant) {
        if self.peers.len() >= REFUSALS_MAX && !self.peers.contains_key(&relay) {
            self.make_room(now);
        }
        let repeated = self.peers.get(&relay).map_or(0, |known| known.repeated.saturating_add(1));
        let wait = WAIT_MIN.saturating_mul(1 << repeated.min(10)).min(self.wait_max);
        self.peers.insert(relay, Refusal { repeated, until: now + wait });
    }

    fn forget(&mut self, relay: &PeerId) {
        self.peers.remove(relay);
    }

    fn may_ask(&self, relay: &PeerId, now: Instant) -> bool {
        self.peers.get(relay).is_none_or(|refusal| refusal.until <= now)
    }

    /// Forgets those that may be asked again, else the one whose turn comes first.
    fn make_room(&mut self, now: Instant) {
        self.peers.retain(|_, refusal| refusal.until > now);
        if self.peers.len() >= REFUSALS_MAX
            && let Some(first) =
                self.peers.iter().min_by_key(|(_, refusal)| refusal.until).map(|(relay, _)| *relay)
        {
            self.peers.remove(&first);
        }
    }
}

impl Task {
    /// Holds reservations with relays as long as others cannot dial us.
    pub(super) fn look_for_relays(&mut self, now: Instant) {
        if !self.relays.enabled || now < self.relays.next {
            return;
        }
        self.relays.next = now + PERIOD;
        if self.nat_info().reachability != Reachability::Private {
            for (listener, relay) in self.relays.held.drain() {
                self.relays.worth.unprotect(&relay, "relay");
                self.swarm.remove_listener(listener);
            }
            return;
        }
        let missing = RELAYS_WANTED.saturating_sub(self.relays.held.len());
        for (peer, circuit) in self.relay_candidates(now).into_iter().take(missing) {
            match self.swarm.listen_on(circuit.clone()) {
                Ok(listener) => {
                    self.relays.held.insert(listener, peer);
                }
                Err(error) => {
                    tracing::debug!("no reservation at {circuit}: {error}");
                    self.relays.refusals.note(peer, now);
                }
            }
        }
    }

    /// Relays that are not held yet and did not refuse a moment ago: those of the config, else peers that serve it and can be
    /// dialled from the internet.
    fn relay_candidates(&self, now: Instant) -> Vec<(PeerId, Multiaddr)> {
        let mut found: Vec<(PeerId, Multiaddr)> = if self.relays.fixed.is_empty() {
            let speaking = self.shared.book.speaking(HOP).into_iter();
            speaking
                .filter_map(|peer| {
                    let addresses = self.shared.book.addresses(&peer);
                    let public = addresses.iter().find(|address| Scope::of(address) == Scope::Public)?;
                    Some((peer, circuit(public, peer)))
                })
                .collect()
        } else {
            let fixed = self.relays.fixed.iter();
            fixed
                .filter_map(|address| split_peer(address).1.map(|peer| (peer, circuit(address, peer))))
                .collect()
        };
        // One relay may be listed with several addresses.
        let mut seen: HashSet<PeerId> = self.relays.held.values().copied().collect();
        found.retain(|(peer, _)| seen.insert(*peer) && self.relays.refusals.may_ask(peer, now));
        found
    }
}

/// What is listened on at a relay.
fn circuit(relay: &Multiaddr, peer: PeerId) -> Multiaddr {
    let mut circuit = split_peer(relay).0;
    circuit.push(Protocol::P2p(peer));
    circuit.push(Protocol::P2pCircuit);
    circuit
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a relay is left alone that refuses at `now`, in seconds.
    fn wait_after(refusals: &mut Refusals, relay: PeerId, now: Instant) -> u64 {
        refusals.note(relay, now);
        assert!(!refusals.may_ask(&relay, now));
        let until = refusals.peers[&relay].until;
        assert!(refusals.may_ask(&relay, until));
        (until - now).as_secs()
    }

    #[test]
    fn who_refuses_is_left_alone_for_ever_longer_up_to_an_hour() {
        let (now, relay) = (Instant::now(), PeerId::random());
        let mut refusals = Refusals::new(WAIT_MAX);
        assert!(refusals.may_ask(&relay, now));
        let waits: Vec<u64> = (0..40).map(|_| wait_after(&mut refusals, relay, now)).collect();
        assert_eq!(waits[..8], [30, 60, 120, 240, 480, 960, 1920, 3600]);
        assert!(waits[8..].iter().all(|wait| *wait == 3600));
        refusals.forget(&relay);
        assert_eq!(wait_after(&mut refusals, relay, now), 30, "one that has held a reservation begins anew");
    }

    #[test]
    fn refusals_that_are_remembered_are_bounded() {
        let start = Instant::now();
        let mut refusals = Refusals::new(WAIT_MAX);
        let first = PeerId::random();
        refusals.note(first, start);
        for seconds in 0..3 * REFUSALS_MAX as u64 {
            refusals.note(PeerId::random(), start + Duration::from_millis(seconds));
        }
        assert!(refusals.peers.len() <= REFUSALS_MAX, "{}", refusals.peers.len());
        assert!(!refusals.peers.contains_key(&first), "it would have been the first to be asked again");
    }
}
