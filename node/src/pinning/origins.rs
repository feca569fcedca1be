//! Where a service can have what this node has.

use libp2p::Multiaddr;
use multiaddr::Protocol;

use crate::swarm::SwarmHandle;
use crate::swarm::addresses::split_peer;

/// Origins of a pin (the API's bound).
const ORIGINS_MAX: usize = 20;

/// Our addresses with our ID at their ends, those that reach farthest first.
pub(crate) fn origins(swarm: &SwarmHandle) -> Vec<Multiaddr> {
    let announced = swarm.local_addresses().announced.into_iter().take(ORIGINS_MAX);
    announced.map(|address| split_peer(&address).0.with(Protocol::P2p(swarm.peer_id()))).collect()
}
