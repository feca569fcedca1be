//! A node and one peer. No swarm: connections are what the test says they are.

use std::future::poll_fn;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::behaviour::ConnectionEstablished;

use super::*;
use crate::inbox::{Control, Credit, Sending};

pub(super) const FIRST: usize = 1;
pub(super) const SECOND: usize = 2;

pub(super) struct Bench {
    pub(super) behaviour: Behaviour,
    pub(super) handle: Handle,
    pub(super) store: Arc<Store>,
    pub(super) peer: PeerId,
    pub(super) endpoint: ConnectedPoint,
}

impl Bench {
    /// A node with two connections to one peer.
    pub(super) fn new() -> Self {
        let mut bench = Self::unconnected();
        for (others, id) in [FIRST, SECOND].into_iter().enumerate() {
            bench.connect(id, others);
        }
        bench
    }

    pub(super) fn unconnected() -> Self {
        Self::set(|_| {})
    }

    /// A node with such a config, unconnected.
    pub(super) fn set(set: impl FnOnce(&mut Config)) -> Self {
        let store = Arc::new(Store::default());
        let mut config = Config::new(PeerId::random());
        set(&mut config);
        let (behaviour, handle) = Behaviour::new(config, store.clone());
        let address = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
        let (role_override, port_use) = (Endpoint::Dialer, PortUse::Reuse);
        let endpoint = ConnectedPoint::Dialer { address, role_override, port_use };
        Self { behaviour, handle, store, peer: PeerId::random(), endpoint }
    }

    pub(super) fn connect(&mut self, id: usize, others: usize) -> Handler {
        let (connection_id, address) = (ConnectionId::new_unchecked(id), self.endpoint.get_remote_address());
        let made = self.behaviour.handle_established_outbound_connection(
            connection_id,
            self.peer,
            address,
            Endpoint::Dialer,
            PortUse::Reuse,
        );
        self.behaviour.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: self.peer,
            connection_id,
            endpoint: &self.endpoint,
            failed_addresses: &[],
            other_established: others,
        }));
        made.expect("nobody is refused")
    }

    pub(super) fn close(&mut self, id: usize) {
        self.behaviour.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: self.peer,
            connection_id: ConnectionId::new_unchecked(id),
            endpoint: &self.endpoint,
            cause: None,
            remaining_established: 1,
        }));
    }

    pub(super) fn from(&self, id: usize) -> (PeerId, ConnectionId) {
        (self.peer, ConnectionId::new_unchecked(id))
    }

    pub(super) fn sent_wants(&self, id: usize) {
        self.behaviour.common.inbox.push(Input::Sent(self.from(id), Sending::Wants));
    }

    /// The peer tells all its wants on a connection.
    pub(super) fn asks_on(&self, id: usize, cids: &[Cid]) {
        let Message { entries, full, presences, .. } = wants(cids);
        let control = Control { entries, full, presences };
        let credit = Credit::new(&Arc::new(Line::new(&self.behaviour.common.room)), 0);
        self.behaviour.common.inbox.push(Input::Control(self.from(id), control, credit));
    }

    /// The next message that a connection is given, if there is one now.
    pub(super) async fn told_now(&mut self) -> Option<(usize, Message)> {
        poll_fn(|cx| {
            while let Poll::Ready(event) = self.behaviour.poll(cx) {
                let ToSwarm::NotifyHandler { peer_id, handler, event } = event else { continue };
                assert_eq!(peer_id, self.peer);
                let libp2p::swarm::NotifyHandler::One(on) = handler else { panic!("to one connection") };
                let known = [FIRST, SECOND].into_iter().find(|id| ConnectionId::new_unchecked(*id) == on);
                return Poll::Ready(Some((known.expect("one of two"), event.message)));
            }
            Poll::Ready(None)
        })
        .await
    }

    pub(super) async fn told(&mut self) -> (usize, Message) {
        self.told_now().await.expect("a connection is told something")
    }

    /// Wants blocks of the peer, and returns their CIDs with the stream that they come on.
    pub(super) async fn want(&mut self, count: usize) -> (Vec<Cid>, crate::Session, crate::Blocks) {
        let cids = cids(&blocks(count, 5000));
        let session = self.handle.session();
        session.add_peers(vec![(self.peer, Vec::new())]).await;
        let blocks = session.get(cids.clone());
        (cids, session, blocks)
    }
}
