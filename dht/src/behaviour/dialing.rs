//! Requests to peers that are not connected yet: one dial a peer, whoever asks.

use std::collections::HashMap;

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};

use super::handler::Outgoing;
use crate::kad::{PeerInfo, RequestFailure, RequestId};

/// Peers that are dialled at a time.
const PEERS_MAX: usize = 1_024;

/// Requests that wait for one dial.
const WAITING_MAX: usize = 256;

struct Dial {
    connection: ConnectionId,
    /// Others dial it: this one waits for what comes of that.
    is_others: bool,
    addresses: Vec<Multiaddr>,
    waiting: Vec<Outgoing>,
}

/// What is to be done after a dial has failed.
pub(super) enum Next {
    /// Nothing: somebody else is dialling.
    Wait,
    /// Dial with the addresses that are known here.
    Dial(DialOpts),
    /// It is connected.
    Send(Vec<Outgoing>),
    /// Nobody can reach it.
    Fail(Vec<Outgoing>),
}

#[derive(Default)]
pub(super) struct Dialing {
    peers: HashMap<PeerId, Dial>,
}

impl Dialing {
    /// A request to a peer that is not connected; the dial to begin, if none is on its way.
    pub(super) fn want(
        &mut self,
        peer: PeerInfo,
        request: Outgoing,
    ) -> Result<Option<DialOpts>, RequestFailure> {
        if let Some(dial) = self.peers.get_mut(&peer.id) {
            if dial.waiting.len() >= WAITING_MAX {
                return Err(RequestFailure::Busy);
            }
            dial.waiting.push(request);
            return Ok(None);
        }
        if peer.addresses.is_empty() {
            return Err(RequestFailure::Dial);
        }
        if self.peers.len() >= PEERS_MAX {
            return Err(RequestFailure::Busy);
        }
        let opts = options(peer.id, &peer.addresses);
        let connection = opts.connection_id();
        let dial = Dial { connection, is_others: false, addresses: peer.addresses, waiting: vec![request] };
        self.peers.insert(peer.id, dial);
        Ok(Some(opts))
    }

    /// Nobody waits for a request any more.
    pub(super) fn forget(&mut self, request: RequestId) {
        self.peers.retain(|_, dial| {
            dial.waiting.retain(|waiting| waiting.id != request);
            !dial.waiting.is_empty()
        });
    }

    /// A connection is there: what was waiting for it.
    pub(super) fn connected(&mut self, peer: &PeerId) -> Vec<Outgoing> {
        self.peers.remove(peer).map(|dial| dial.waiting).unwrap_or_default()
    }

    /// A dial of anybody's failed.
    pub(super) fn failed(
        &mut self,
        peer: &PeerId,
        connection: ConnectionId,
        error: &DialError,
        is_connected: bool,
    ) -> Next {
        if is_connected && self.peers.contains_key(peer) {
            return Next::Send(self.connected(peer));
        }
        self.ended(peer, connection, matches!(error, DialError::DialPeerConditionFalse(_)))
    }

    /// A connection through a relay is there, over which the DHT is not spoken: if it is what was waited for, that was in vain.
    pub(super) fn relayed(&mut self, peer: &PeerId, connection: ConnectionId) -> Next {
        self.ended(peer, connection, false)
    }

    fn ended(&mut self, peer: &PeerId, connection: ConnectionId, is_refused: bool) -> Next {
        let Some(dial) = self.peers.get_mut(peer) else { return Next::Wait };
        if dial.connection == connection {
            if is_refused {
                dial.is_others = true;
                return Next::Wait;
            }
            return Next::Fail(self.connected(peer));
        }
        if dial.is_others && !is_refused {
            // They knew other addresses, perhaps.
            let opts = options(*peer, &dial.addresses);
            dial.connection = opts.connection_id();
            dial.is_others = false;
            return Next::Dial(opts);
        }
        Next::Wait
    }
}

/// A dial unless one is on its way. A peer that is connected over a relay only is dialled.
fn options(peer: PeerId, addresses: &[Multiaddr]) -> DialOpts {
    DialOpts::peer_id(peer).condition(PeerCondition::NotDialing).addresses(addresses.to_vec()).build()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::kad::{Action, Config, Engine, Goal, Key, Now, Scope};

    /// Numbers of requests, which an engine gives.
    fn requests(count: usize) -> Vec<Outgoing> {
        let mut engine = Engine::new(PeerId::random(), Config::new(Scope::Wan), 1, Instant::now());
        let now = Now { at: Instant::now(), wall: crate::ipns::Timestamp::from_unix(1_700_000_000, 0) };
        let server: Multiaddr = "/ip4/1.2.3.4/tcp/4001".parse().unwrap();
        engine.on_identified(PeerId::random(), true, &[server], now);
        for number in 0..count {
            let key = Key::new(&number.to_be_bytes()).unwrap();
            engine.start(Goal::ClosestPeers { key }, now).unwrap();
        }
        let sent = std::iter::from_fn(|| engine.poll_action()).filter_map(|action| match action {
            Action::Send { request, .. } => Some(request),
            _ => None,
        });
        let timeout = Config::new(Scope::Wan).request_timeout;
        sent.map(|id| Outgoing { id, bytes: Vec::new(), is_answered: true, timeout }).collect()
    }

    #[test]
    fn a_dial_that_ends_at_a_relay_fails_what_waits_for_it() {
        let mut dialing = Dialing::default();
        let peer = PeerInfo { id: PeerId::random(), addresses: vec!["/ip4/1.2.3.4/tcp/1".parse().unwrap()] };
        let mut dial = None;
        for request in requests(3) {
            dial = dialing.want(peer.clone(), request).unwrap().or(dial);
        }
        let dial = dial.unwrap().connection_id();
        let another = options(peer.id, &peer.addresses).connection_id();
        assert!(matches!(dialing.relayed(&peer.id, another), Next::Wait), "it was opened by the peer");
        match dialing.relayed(&peer.id, dial) {
            Next::Fail(waiting) => assert_eq!(waiting.len(), 3),
            _ => panic!("they would wait for ever"),
        }
        assert!(matches!(dialing.relayed(&peer.id, dial), Next::Wait));
    }
}
