//! Whether others can reach us, from what AutoNAT says in both versions, and for how long that holds.
//!
//! Version 1 tests again by itself, every 15 minutes. Version 2 tests an address once, so what it proved ends here: with the address,
//! with the last listener of its kind, and after an hour in which nobody from the internet came in. When one of several
//! listen addresses goes, the node may be in another network: then it is five minutes. It does no I/O and knows no clock.

use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use multiaddr::Protocol;

use crate::swarm::NatInfo;
use crate::swarm::addresses::Scope;
use crate::swarm::handle::Reachability;

/// Addresses that reachability is remembered of, in each list.
const ADDRESSES_MAX: usize = 32;
/// How long a proof holds without a connection from the internet.
const PROOF_TIME_MAX: Duration = Duration::from_secs(3600);
/// The same after a listen address of its kind went and others stayed.
const DOUBT_TIME_MAX: Duration = Duration::from_secs(300);

/// What AutoNAT knows.
#[derive(Debug, Default)]
pub(super) struct Arbiter {
    /// Of version 1.
    told: Reachability,
    /// Those that others reached, and until when that holds.
    reached: Vec<(Multiaddr, Instant)>,
    missed: Vec<Multiaddr>,
}

/// The IP version and transport that an address and its listener have in common.
fn kind(address: &Multiaddr) -> (bool, bool) {
    let v6 = matches!(address.iter().next(), Some(Protocol::Ip6(_) | Protocol::Dns6(_)));
    (v6, address.iter().any(|part| matches!(part, Protocol::Udp(_))))
}

impl Arbiter {
    /// Version 1 has come to this.
    pub(super) fn told(&mut self, reachability: Reachability) {
        self.told = reachability;
    }

    /// An address of ours was tested.
    pub(super) fn tested(&mut self, address: Multiaddr, reached: bool, now: Instant) {
        self.reached.retain(|(known, _)| *known != address);
        self.missed.retain(|known| *known != address);
        if reached {
            self.reached.insert(0, (address, now + PROOF_TIME_MAX));
        } else {
            self.missed.insert(0, address);
        }
        self.reached.truncate(ADDRESSES_MAX);
        self.missed.truncate(ADDRESSES_MAX);
    }

    /// Somebody came in from the internet, not through a relay, on a listener of the kind of `local`: what was proven holds.
    pub(super) fn came_in(&mut self, local: &Multiaddr, now: Instant) {
        for (_, until) in self.reached.iter_mut().filter(|(address, _)| kind(address) == kind(local)) {
            *until = now + PROOF_TIME_MAX;
        }
    }

    /// An address is not ours any more.
    pub(super) fn lost(&mut self, address: &Multiaddr) {
        self.reached.retain(|(known, _)| known != address);
        self.missed.retain(|known| known != address);
    }

    /// We do not listen on `gone` any more, but on `listening` still. Returns what is not proven any more.
    pub(super) fn listens_no_more(
        &mut self,
        gone: &[Multiaddr],
        listening: &[Multiaddr],
        now: Instant,
    ) -> Vec<Multiaddr> {
        let mut lost = Vec::new();
        for address in gone.iter().filter(|it| !matches!(Scope::of(it), Scope::Loopback | Scope::Relayed)) {
            self.missed.retain(|known| known != address);
            let alike = |it: &Multiaddr| kind(it) == kind(address);
            let others = listening
                .iter()
                .any(|it| alike(it) && !matches!(Scope::of(it), Scope::Loopback | Scope::Relayed));
            self.reached.retain_mut(|(known, until)| {
                if known == address || !others && alike(known) {
                    lost.push(known.clone());
                    return false;
                }
                // One that we listen on as it is does not depend on others.
                if alike(known) && !listening.contains(known) {
                    *until = (*until).min(now + DOUBT_TIME_MAX);
                }
                true
            });
        }
        lost
    }

    /// Forgets what was proven too long ago, and returns it.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Multiaddr> {
        self.reached.extract_if(.., |(_, until)| *until <= now).map(|(address, _)| address).collect()
    }

    /// All of it. Version 1 stands over version 2 as long as it knows.
    pub(super) fn info(&self, listening: &[Multiaddr]) -> NatInfo {
        let reachable: Vec<Multiaddr> = self.reached.iter().map(|(address, _)| address.clone()).collect();
        let reachability = match self.told {
            Reachability::Unknown if !reachable.is_empty() => Reachability::Public,
            Reachability::Unknown if !self.missed.is_empty() => Reachability::Private,
            told => told,
        };
        let public = listening.iter().filter(|it| Scope::of(it) == Scope::Public);
        let unknown = public.filter(|it| !reachable.contains(it) && !self.missed.contains(it)).cloned();
        NatInfo { reachability, unknown: unknown.collect(), reachable, unreachable: self.missed.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn reachability(arbiter: &Arbiter) -> Reachability {
        arbiter.info(&[]).reachability
    }

    fn proven(now: Instant) -> (Arbiter, Multiaddr) {
        let (mut arbiter, outside) = (Arbiter::default(), address("/ip4/1.1.1.1/tcp/4001"));
        assert_eq!(reachability(&arbiter), Reachability::Unknown);
        arbiter.tested(outside.clone(), true, now);
        assert_eq!(reachability(&arbiter), Reachability::Public);
        (arbiter, outside)
    }

    #[test]
    fn a_node_that_moves_behind_a_nat_is_private() {
        let now = Instant::now();
        let (mut arbiter, outside) = proven(now);
        // The server's address goes, that of a home comes.
        let lost = arbiter.listens_no_more(
            std::slice::from_ref(&outside),
            &[address("/ip4/192.168.1.2/tcp/4001")],
            now,
        );
        assert_eq!(lost, [outside]);
        assert_eq!(reachability(&arbiter), Reachability::Unknown);
        arbiter.tested(address("/ip4/8.8.8.8/tcp/4001"), false, now);
        assert_eq!(reachability(&arbiter), Reachability::Private);
    }

    #[test]
    fn a_proof_ends_with_its_address() {
        let (mut arbiter, outside) = proven(Instant::now());
        arbiter.lost(&outside);
        assert_eq!(reachability(&arbiter), Reachability::Unknown);
    }

    #[test]
    fn a_proof_ends_with_the_last_listener_of_its_kind() {
        let now = Instant::now();
        let (mut arbiter, outside) = proven(now);
        let (tcp, udp) = (address("/ip4/10.0.0.2/tcp/4001"), address("/ip4/10.0.0.2/udp/4001/quic-v1"));
        assert!(
            arbiter.listens_no_more(std::slice::from_ref(&udp), std::slice::from_ref(&tcp), now).is_empty()
        );
        assert!(arbiter.expire(now + DOUBT_TIME_MAX).is_empty(), "another kind is no matter");
        let loopback = address("/ip4/127.0.0.1/tcp/4001");
        assert_eq!(arbiter.listens_no_more(&[tcp], &[udp, loopback], now), [outside]);
        assert_eq!(reachability(&arbiter), Reachability::Unknown);
    }

    #[test]
    fn a_proof_ends_after_an_hour_in_which_nobody_came() {
        let start = Instant::now();
        let (mut arbiter, outside) = proven(start);
        let later = start + PROOF_TIME_MAX / 2;
        arbiter.came_in(&address("/ip4/10.0.0.2/udp/4001/quic-v1"), later);
        arbiter.came_in(&address("/ip4/10.0.0.2/tcp/4001"), later);
        assert!(arbiter.expire(start + PROOF_TIME_MAX).is_empty(), "somebody came");
        assert_eq!(arbiter.expire(later + PROOF_TIME_MAX), [outside]);
        assert_eq!(reachability(&arbiter), Reachability::Unknown);
    }

    #[test]
    fn where_one_of_several_addresses_goes_a_proof_is_doubted() {
        let now = Instant::now();
        let (mut arbiter, outside) = proven(now);
        let (home, other) = (address("/ip4/192.168.1.2/tcp/4001"), address("/ip4/172.17.0.1/tcp/4001"));
        let gone = |arbiter: &mut Arbiter| {
            assert!(
                arbiter
                    .listens_no_more(std::slice::from_ref(&other), std::slice::from_ref(&home), now)
                    .is_empty()
            );
        };
        gone(&mut arbiter);
        arbiter.came_in(&home, now);
        assert!(arbiter.expire(now + DOUBT_TIME_MAX).is_empty(), "others still come in");
        gone(&mut arbiter);
        assert_eq!(arbiter.expire(now + DOUBT_TIME_MAX), [outside]);
    }

    #[test]
    fn what_version_1_says_stands_over_old_proofs() {
        let (mut arbiter, _) = proven(Instant::now());
        arbiter.told(Reachability::Private);
        assert_eq!(reachability(&arbiter), Reachability::Private);
        arbiter.told(Reachability::Unknown);
        assert_eq!(reachability(&arbiter), Reachability::Public);
    }
}
