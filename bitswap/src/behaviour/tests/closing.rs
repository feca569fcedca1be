//! A peer with two connections, one of which closes: nothing that was on its way is lost for long. No swarm: connections are
//! what the test says they are.

use std::future::poll_fn;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionHandler as _;
use libp2p::swarm::behaviour::ConnectionEstablished;

use super::*;
use crate::inbox::{Control, Credit, Sending};

const FIRST: usize = 1;
const SECOND: usize = 2;

struct Bench {
    behaviour: Behaviour,
    handle: Handle,
    store: Arc<Store>,
    peer: PeerId,
    endpoint: ConnectedPoint,
}

impl Bench {
    /// A node with two connections to one peer.
    fn new() -> Self {
        let store = Arc::new(Store::default());
        let (behaviour, handle) = Behaviour::new(Config::new(PeerId::random()), store.clone());
        let address = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
        let (role_override, port_use) = (Endpoint::Dialer, PortUse::Reuse);
        let endpoint = ConnectedPoint::Dialer { address, role_override, port_use };
        let mut bench = Self { behaviour, handle, store, peer: PeerId::random(), endpoint };
        for (others, id) in [FIRST, SECOND].into_iter().enumerate() {
            bench.connect(id, others);
        }
        bench
    }

    fn connect(&mut self, id: usize, others: usize) -> Handler {
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

    fn close(&mut self, id: usize) {
        self.behaviour.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: self.peer,
            connection_id: ConnectionId::new_unchecked(id),
            endpoint: &self.endpoint,
            cause: None,
            remaining_established: 1,
        }));
    }

    fn from(&self, id: usize) -> (PeerId, ConnectionId) {
        (self.peer, ConnectionId::new_unchecked(id))
    }

    fn sent_wants(&self, id: usize) {
        self.behaviour.common.inbox.push(Input::Sent(self.from(id), Sending::Wants));
    }

    /// The peer tells all its wants on a connection.
    fn asks_on(&self, id: usize, cids: &[Cid]) {
        let entries = cids.iter().map(|cid| Entry {
            cid: *cid,
            priority: 1,
            cancel: false,
            want_type: WantType::Block,
            send_dont_have: true,
        });
        let control = Control { entries: entries.collect(), full: true, presences: Vec::new() };
        let credit = Credit::new(&Arc::new(Line::new(&self.behaviour.common.room)), 0);
        self.behaviour.common.inbox.push(Input::Control(self.from(id), control, credit));
    }

    /// The next message that a connection is given, if there is one now.
    async fn told_now(&mut self) -> Option<(usize, Message)> {
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

    async fn told(&mut self) -> (usize, Message) {
        self.told_now().await.expect("a connection is told something")
    }

    /// Wants blocks of the peer, and returns their CIDs with the stream that they come on.
    async fn want(&mut self, count: usize) -> (Vec<Cid>, crate::Session, crate::Blocks) {
        let cids = cids(&blocks(count, 5000));
        let session = self.handle.session();
        session.add_peers(vec![(self.peer, Vec::new())]).await;
        let blocks = session.get(cids.clone());
        (cids, session, blocks)
    }
}

fn asked(message: &Message) -> HashSet<Cid> {
    message.entries.iter().filter(|entry| !entry.cancel).map(|entry| entry.cid).collect()
}

fn set(cids: &[Cid]) -> HashSet<Cid> {
    cids.iter().copied().collect()
}

/// Both dialled at once: we tell our wants on the first connection, the peer was answering on the second.
#[tokio::test]
async fn what_was_being_answered_on_a_connection_that_closes_is_asked_for_again_on_the_other() {
    let mut bench = Bench::new();
    let (cids, _session, _blocks) = bench.want(3).await;
    let (on, message) = bench.told().await;
    assert_eq!((on, asked(&message)), (FIRST, set(&cids)));
    bench.sent_wants(FIRST);
    assert_eq!(bench.told_now().await, None, "everything is said");
    bench.close(SECOND);
    let (on, message) = bench.told().await;
    assert_eq!((on, message.full, asked(&message)), (FIRST, true, set(&cids)));
}

#[tokio::test]
async fn what_was_said_on_a_connection_that_closes_is_said_again_on_the_other() {
    for was_sent in [true, false] {
        let mut bench = Bench::new();
        let (cids, _session, _blocks) = bench.want(3).await;
        assert_eq!(bench.told().await.0, FIRST);
        if was_sent {
            bench.sent_wants(FIRST);
        }
        bench.close(FIRST);
        let (on, message) = bench.told().await;
        assert_eq!((on, message.full, asked(&message)), (SECOND, true, set(&cids)));
    }
}

/// One message of wants is on its way at a time, whatever closes meanwhile.
#[tokio::test]
async fn wants_that_are_on_their_way_are_not_overtaken() {
    let mut bench = Bench::new();
    let (cids, _session, _blocks) = bench.want(3).await;
    assert_eq!(bench.told().await.0, FIRST);
    bench.close(SECOND);
    assert_eq!(bench.told_now().await, None, "the first is not in its stream yet");
    bench.sent_wants(FIRST);
    let (on, message) = bench.told().await;
    assert_eq!((on, message.full, asked(&message)), (FIRST, true, set(&cids)));
}

#[tokio::test]
async fn a_peer_that_is_asked_for_nothing_is_told_nothing_when_a_connection_closes() {
    let mut bench = Bench::new();
    bench.close(SECOND);
    assert_eq!(bench.told_now().await, None);
}

/// Its own end of the second connection is gone; ours is not yet. What it asks for again has to come where it asks.
#[tokio::test]
async fn a_peer_is_answered_on_the_connection_on_which_it_asked_last() {
    let mut bench = Bench::new();
    let have = blocks(2, 5000);
    bench.store.0.lock().unwrap().extend(have.iter().cloned());
    for (on, closes) in [(SECOND, false), (FIRST, false), (SECOND, true)] {
        bench.asks_on(on, &cids(&have));
        let (answered_on, message) = bench.told().await;
        assert_eq!((answered_on, message.blocks.len()), (on, 2));
        if closes {
            bench.close(on);
        }
    }
    bench.asks_on(FIRST, &cids(&have));
    let (answered_on, message) = bench.told().await;
    assert_eq!((answered_on, message.blocks.len()), (FIRST, 2), "what was lost is no reason to wait");
}

/// Blocks that come on a connection which does not know that any are wanted are dropped unhashed.
#[tokio::test]
async fn a_connection_that_comes_later_knows_what_is_wanted() {
    let mut bench = Bench::new();
    let (_cids, _session, _blocks) = bench.want(3).await;
    assert_eq!(bench.told().await.0, FIRST);
    bench.sent_wants(FIRST);
    assert_eq!(bench.told_now().await, None);
    let later = bench.connect(3, 2);
    assert_eq!(bench.told_now().await, None, "everything is said");
    assert!(later.connection_keep_alive(), "blocks may come on it");
}
