//! A node that has addresses of every kind gives out, in each of the two DHTs, those of its scope and no others: its own when it
//! announces, and those of others when it answers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Instant;

use holdfast_dht::ipns::Timestamp;
use holdfast_dht::kad::{
    Action, Config, Engine, Goal, InboundId, Key, Kind, Message, Mode, Now, Outcome, PeerInfo, Provide,
    QueryError, Response, Scope,
};
use holdfast_dht::records::{MemoryStore, StoreRequest};
use libp2p::{Multiaddr, PeerId};

const PUBLIC: &str = "/ip4/11.0.0.1/tcp/4001";
const PRIVATE: &str = "/ip4/10.0.0.1/tcp/4001";
const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/4001";

/// What each scope keeps of one of each kind. On a LAN public addresses are as good as any; that is how
/// go-libp2p-kad-dht has it.
const KEPT: [(Scope, &[&str]); 2] = [(Scope::Wan, &[PUBLIC]), (Scope::Lan, &[PRIVATE, PUBLIC])];

/// Addresses of every kind, those that few scopes keep first.
fn every_kind() -> Vec<Multiaddr> {
    addresses(&[LOOPBACK, PRIVATE, PUBLIC])
}

fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn now() -> Now {
    Now { at: Instant::now(), wall: Timestamp::from_unix(1_700_000_000, 0) }
}

fn key(number: u8) -> Key {
    Key::new(&[&[0x12, 0x20][..], &[number; 32]].concat()).unwrap()
}

fn peer_of_every_kind() -> PeerInfo {
    PeerInfo { id: PeerId::random(), addresses: every_kind() }
}

/// A server with these addresses that has met these peers, and its store.
struct Node {
    local: PeerId,
    engine: Engine,
    store: MemoryStore,
}

impl Node {
    fn new(scope: Scope, own: &[Multiaddr], met: &[&PeerInfo]) -> Self {
        let local = PeerId::random();
        let mut engine = Engine::new(local, Config::new(scope), 1, now().at);
        engine.set_mode(Mode::Server);
        engine.set_own_addresses(own);
        for peer in met {
            engine.on_connections(peer.id, peer.addresses.clone(), now());
            engine.on_identified(peer.id, true, &peer.addresses, now());
        }
        Self { local, engine, store: MemoryStore::default() }
    }

    /// Runs a query to its end while every peer takes what it is told, and names `named` to whoever asks: how it ended, the
    /// requests that went out, and the providers that came.
    fn query(&mut self, goal: Goal, named: &[PeerInfo]) -> Queried {
        self.engine.start(goal, now()).unwrap();
        let (mut sent, mut found) = (Vec::new(), Vec::new());
        loop {
            match self.engine.poll_action().expect("a query that waits for nothing is over") {
                Action::Send { request, peer, message } => {
                    let answer = Message {
                        closer: named.to_vec(),
                        providers: named.to_vec(),
                        ..Message::request(message.kind, &message.key)
                    };
                    let answer = message.kind.is_answered().then_some(answer);
                    self.engine.on_connections(peer.id, peer.addresses.clone(), now());
                    sent.push((peer, message));
                    self.engine.on_response(request, Ok(answer), now());
                }
                Action::Provider { provider, .. } => found.push(provider),
                Action::Done { result, .. } => return Queried { result, sent, found },
                action => self.stored(action),
            }
        }
    }

    /// Lets the store do what it is asked.
    fn stored(&mut self, action: Action) {
        if let Action::Store { id, request } = action {
            let reply = self.store.handle_now(request, now().wall);
            self.engine.on_stored(id, Ok(reply), now());
        }
    }

    /// What a stranger is answered.
    fn answer(&mut self, kind: Kind, key: &[u8]) -> Message {
        self.engine.on_request(InboundId(1), PeerId::random(), Message::request(kind, key), now());
        loop {
            match self.engine.poll_action().expect("every message gets something") {
                Action::Respond { response: Response::Message(answer), .. } => return answer,
                Action::Respond { response, .. } => panic!("{response:?}"),
                action => self.stored(action),
            }
        }
    }
}

struct Queried {
    result: Result<Outcome, QueryError>,
    sent: Vec<(PeerInfo, Message)>,
    found: Vec<PeerInfo>,
}

impl Queried {
    /// What was announced: the block, and the peers that were said to have it.
    fn announced(&self) -> Vec<(&[u8], &[PeerInfo])> {
        let announcements = self.sent.iter().filter(|(_, message)| message.kind == Kind::AddProvider);
        announcements.map(|(_, message)| (&message.key[..], &message.providers[..])).collect()
    }
}

/// The two ways to say that this node has blocks.
fn announcements(peer: &PeerInfo) -> [(Goal, Vec<Key>); 2] {
    let keys = vec![key(2), key(3)];
    [
        (Goal::Provide { key: key(1), how: Provide::Classic }, vec![key(1)]),
        (Goal::Announce { peer: peer.clone(), keys: keys.clone() }, keys),
    ]
}

/// The same addresses in any order.
fn assert_same(seen: &[Multiaddr], expected: &[&str], what: &str) {
    let mut seen: Vec<String> = seen.iter().map(ToString::to_string).collect();
    seen.sort();
    assert_eq!(seen, expected, "{what}");
}

#[test]
fn an_announcement_carries_all_addresses_of_its_scope_and_no_others() {
    for (scope, kept) in KEPT {
        let other = peer_of_every_kind();
        for (goal, keys) in announcements(&other) {
            let mut node = Node::new(scope, &every_kind(), &[&other]);
            let what = format!("{scope:?} {goal:?}");
            let queried = node.query(goal, &[]);
            assert!(matches!(queried.result, Ok(Outcome::Stored { peers }) if peers == keys.len()), "{what}");
            let announced = queried.announced();
            assert_eq!(
                announced.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
                keys.iter().map(Key::as_bytes).collect::<Vec<_>>(),
                "{what}"
            );
            for (_, providers) in announced {
                assert_eq!(providers.len(), 1, "{what}: {providers:?}");
                assert_eq!(providers[0].id, node.local, "{what}");
                assert_same(&providers[0].addresses, kept, &what);
            }
        }
    }
}

#[test]
fn a_node_without_an_address_of_the_scope_announces_nothing_and_says_why() {
    let out_of_scope = [
        (Scope::Wan, &[PRIVATE, LOOPBACK][..], "this node has no public address"),
        (Scope::Lan, &[LOOPBACK][..], "this node has no local address"),
    ];
    for (scope, own, said) in out_of_scope {
        let other = peer_of_every_kind();
        for (goal, keys) in announcements(&other) {
            let mut node = Node::new(scope, &addresses(own), &[&other]);
            let what = format!("{scope:?} {goal:?}");
            let queried = node.query(goal, &[]);
            let error = queried.result.unwrap_err();
            assert_eq!(error, QueryError::NoAddresses { scope }, "{what}");
            let sentence = "that others could reach it at, so announcing would be of no use";
            assert_eq!(error.to_string(), format!("{said} {sentence}"), "{what}");
            assert_eq!(queried.sent, [], "{what}: nobody is asked");
            // It knows nothing of itself that another node could use either.
            for key in keys {
                assert_eq!(node.answer(Kind::GetProviders, key.as_bytes()).providers, [], "{what}");
            }
        }
    }
}

#[test]
fn closer_peers_and_the_node_itself_are_told_with_addresses_of_the_scope() {
    for (scope, kept) in KEPT {
        let (met, heard) = (peer_of_every_kind(), peer_of_every_kind());
        let mut node = Node::new(scope, &every_kind(), &[&met]);
        // One was met, and the other was named by it and answered.
        let queried = node.query(Goal::ClosestPeers { key: key(1) }, std::slice::from_ref(&heard));
        assert!(matches!(queried.result, Ok(Outcome::Peers(peers)) if peers.len() == 2), "{scope:?}");
        for (peer, _) in &queried.sent {
            assert_same(&peer.addresses, kept, &format!("{scope:?}: whom it asked"));
        }
        for target in [met.id, heard.id, node.local] {
            for closer in node.answer(Kind::FindNode, &target.to_bytes()).closer {
                assert_same(&closer.addresses, kept, &format!("{scope:?}: {} of {target}", closer.id));
            }
        }
        for kind in [Kind::GetProviders, Kind::FindNode] {
            let closer = node.answer(kind, key(1).as_bytes()).closer;
            assert_eq!(closer.len(), 2, "{scope:?} {kind:?}: {closer:?}");
            for closer in closer {
                assert_same(&closer.addresses, kept, &format!("{scope:?} {kind:?}"));
            }
        }
        assert_eq!(node.answer(Kind::FindNode, &node.local.to_bytes()).closer[0].id, node.local, "{scope:?}");
    }
}

#[test]
fn providers_are_told_with_addresses_of_the_scope_wherever_their_records_came_from() {
    for (scope, kept) in KEPT {
        let (met, provider) = (peer_of_every_kind(), peer_of_every_kind());
        let mut node = Node::new(scope, &every_kind(), &[&met]);
        let found =
            node.query(Goal::Providers { key: key(1), count: 9 }, std::slice::from_ref(&provider)).found;
        assert_eq!(found.len(), 1, "{scope:?}");
        assert_same(&found[0].addresses, kept, &format!("{scope:?}: found"));
        // The store belongs to both DHTs: what the other one kept is not told here. One record has no addresses any more, and
        // the peer was met; one is that of the node itself.
        let node_itself = PeerInfo { id: node.local, addresses: every_kind() };
        let aged = PeerInfo { addresses: Vec::new(), ..met.clone() };
        for provider in [&provider, &aged, &node_itself] {
            let request = StoreRequest::AddProvider { key: key(1), provider: provider.clone() };
            node.store.handle_now(request, now().wall);
        }
        let told = node.answer(Kind::GetProviders, key(1).as_bytes()).providers;
        assert_eq!(told.len(), 3, "{scope:?}: {told:?}");
        for provider in told {
            assert_same(&provider.addresses, kept, &format!("{scope:?}: {}", provider.id));
        }
    }
}
