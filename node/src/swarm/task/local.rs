//! Our own addresses: kept, announced, and told to whoever watches.

use std::time::Instant;

use libp2p::Multiaddr;
use libp2p::swarm::behaviour::{ExternalAddrConfirmed, ExternalAddrExpired};
use libp2p::swarm::{FromSwarm, NetworkBehaviour as _};

use super::Task;
use crate::swarm::addresses::{Scope, split_peer};
use crate::swarm::handle::LocalAddresses;

impl Task {
    pub(super) fn listens_on(&mut self, address: Multiaddr) {
        if !self.listening.contains(&address) {
            self.listening.push(address);
            self.listening.sort_by_key(ToString::to_string);
        }
        self.announce_anew();
    }

    pub(super) fn no_longer_listens_on(&mut self, addresses: &[Multiaddr]) {
        self.listening.retain(|known| !addresses.contains(known));
        let lost = self.nat.listens_no_more(addresses, &self.listening, Instant::now());
        self.not_proven_any_more(&lost);
        self.announce_anew();
        self.serve_if_reachable();
    }

    /// What was proven too long ago is not announced any more.
    pub(super) fn expire_proofs(&mut self, now: Instant) {
        let lost = self.nat.expire(now);
        if !lost.is_empty() {
            self.not_proven_any_more(&lost);
            self.announce_anew();
            self.serve_if_reachable();
        }
    }

    fn not_proven_any_more(&mut self, addresses: &[Multiaddr]) {
        let confirmed: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        for address in confirmed.iter().filter(|it| addresses.contains(&split_peer(it).0)) {
            self.swarm.remove_external_address(address);
        }
    }

    /// Works out what to announce, and tells those who are connected and those who watch.
    pub(super) fn announce_anew(&mut self) {
        // A relay confirms its circuits with our own ID behind. Here addresses have none: whoever shows them adds it.
        let confirmed: Vec<Multiaddr> =
            self.swarm.external_addresses().map(|address| split_peer(address).0).collect();
        let announced = self.announce.announced(self.listening.iter(), confirmed.iter());
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        let behaviour = self.swarm.behaviour_mut();
        behaviour.identify.announce(&announced, peers.into_iter());
        if let Some(relay) = behaviour.relay_service.as_mut() {
            // A relay gives its clients the addresses that it announces; on a local network none is ever confirmed.
            for addr in self.local.borrow().announced.iter().filter(|known| !announced.contains(known)) {
                relay.on_swarm_event(FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }));
            }
            for addr in announced.iter().filter(|address| Scope::of(address) != Scope::Relayed) {
                relay.on_swarm_event(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }));
            }
        }
        for dht in [behaviour.wan.as_mut(), behaviour.lan.as_mut()].into_iter().flatten() {
            dht.set_own_addresses(&announced);
        }
        let local = LocalAddresses { listening: self.listening.clone(), announced };
        self.local.send_if_modified(|known| {
            let changed = *known != local;
            *known = local;
            changed
        });
    }

    /// What AutoNAT knows, put together from both versions.
    pub(super) fn nat_info(&self) -> crate::swarm::NatInfo {
        let mut nat = self.nat.info(&self.listening);
        nat.reachability = self.forced_reachability.unwrap_or(nat.reachability);
        nat
    }
}
