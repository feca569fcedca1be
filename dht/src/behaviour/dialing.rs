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
        let Some(dial) = self.peers.get_mut(peer) else { return Next::Wait };
        let is_refused = matches!(error, DialError::DialPeerConditionFalse(_));
        if is_connected {
            return Next::Send(self.connected(peer));
        }
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
