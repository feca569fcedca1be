//! Ours and the published `libp2p-kad` in one process over QUIC on loopback: each finds the other's provider records, peers and
//! values. Loopback counts as public here, as the classifier says.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_dht::ipns::{Draft, Name, Timestamp};
use holdfast_dht::kad::{
    AddressClass, Classify, Config, KadId, Key, Mode, Provide, QueryError, QueryEvent, Scope,
};
use holdfast_dht::records::MemoryStore;
use holdfast_dht::sweep::{Done, Keys, Keystore, Reprovider, SavedState, SweepConfig};
use holdfast_dht::{Behaviour, Handle};
use libp2p::futures::StreamExt as _;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify};
use libp2p_identity::Keypair;
use libp2p_kad as kad;
use tokio::sync::{mpsc, oneshot};

/// More than any of this takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct LoopbackIsPublic;

impl Classify for LoopbackIsPublic {
    fn classify(&self, _: &Multiaddr) -> AddressClass {
        AddressClass::Public
    }
}

#[derive(NetworkBehaviour)]
struct Ours {
    identify: identify::Behaviour,
    dht: Behaviour,
}

#[derive(NetworkBehaviour)]
struct Theirs {
    identify: identify::Behaviour,
    kad: kad::Behaviour<kad::store::MemoryStore>,
}

fn identify(key: &Keypair) -> identify::Behaviour {
    identify::Behaviour::new(identify::Config::new("ipfs/0.1.0".to_owned(), key.public()))
}

fn swarm<B: NetworkBehaviour>(key: Keypair, behaviour: impl FnOnce(&Keypair) -> B) -> Swarm<B> {
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_quic()
        .with_behaviour(behaviour)
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

async fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>) -> Multiaddr {
    swarm.listen_on("/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()).unwrap();
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

struct OurNode {
    peer: PeerId,
    address: Multiaddr,
    handle: Handle,
    dials: mpsc::Sender<Multiaddr>,
}

impl OurNode {
    async fn start(mode: Mode) -> Self {
        Self::start_with(mode, true).await
    }

    async fn start_with(mode: Mode, tells_its_address: bool) -> Self {
        let key = Keypair::generate_ed25519();
        let peer = key.public().to_peer_id();
        let mut config = Config::new(Scope::Wan);
        config.classifier = Arc::new(LoopbackIsPublic);
        let (dht, handle) = Behaviour::new(peer, config, Arc::new(MemoryStore::default()));
        let mut swarm = swarm(key, |key| Ours { identify: identify(key), dht });
        let address = listen(&mut swarm).await;
        swarm.behaviour_mut().dht.set_mode(mode);
        if tells_its_address {
            swarm.behaviour_mut().dht.set_own_addresses(std::slice::from_ref(&address));
        }
        let (dials, mut to_dial) = mpsc::channel::<Multiaddr>(8);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    address = to_dial.recv() => match address {
                        Some(address) => swarm.dial(address).unwrap(),
                        None => break,
                    },
                    event = swarm.select_next_some() => {
                        if let SwarmEvent::Behaviour(OursEvent::Identify(identify::Event::Received { peer_id, info, .. })) = event {
                            swarm.behaviour_mut().dht.on_identified(peer_id, &info.protocols, &info.listen_addrs);
                        }
                    }
                }
            }
        });
        Self { peer, address, handle, dials }
    }

    async fn meets(&self, peers: usize) {
        let met = async {
            while self.handle.table_len() < peers {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, met).await.expect("the peer is in the table");
    }
}

type Order = Box<dyn FnOnce(&mut kad::Behaviour<kad::store::MemoryStore>) -> kad::QueryId + Send>;

struct TheirNode {
    peer: PeerId,
    address: Multiaddr,
    orders: mpsc::Sender<(Order, oneshot::Sender<Vec<kad::QueryResult>>)>,
}

impl TheirNode {
    async fn start() -> Self {
        let key = Keypair::generate_ed25519();
        let peer = key.public().to_peer_id();
        let mut swarm = swarm(key, |key| {
            let protocol = StreamProtocol::new("/ipfs/kad/1.0.0");
            let mut kad = kad::Behaviour::with_config(
                peer,
                kad::store::MemoryStore::new(peer),
                kad::Config::new(protocol),
            );
            kad.set_mode(Some(kad::Mode::Server));
            Theirs { identify: identify(key), kad }
        });
        let address = listen(&mut swarm).await;
        swarm.add_external_address(address.clone());
        let (orders, mut receiver) = mpsc::channel::<(Order, oneshot::Sender<Vec<kad::QueryResult>>)>(8);
        tokio::spawn(async move {
            let mut running = Vec::new();
            loop {
                tokio::select! {
                    order = receiver.recv() => {
                        let Some((order, reply)) = order else { break };
                        running.push((order(&mut swarm.behaviour_mut().kad), reply, Vec::new()));
                    }
                    event = swarm.select_next_some() => match event {
                        SwarmEvent::Behaviour(TheirsEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
                            for address in info.listen_addrs {
                                swarm.behaviour_mut().kad.add_address(&peer_id, address);
                            }
                        }
                        SwarmEvent::Behaviour(TheirsEvent::Kad(kad::Event::OutboundQueryProgressed { id, result, step, .. })) => {
                            let Some(index) = running.iter().position(|(of, ..)| *of == id) else { continue };
                            running[index].2.push(result);
                            if step.last {
                                let (_, reply, results) = running.swap_remove(index);
                                let _ = reply.send(results);
                            }
                        }
                        _ => {}
                    }
                }
            }
        });
        Self { peer, address, orders }
    }

    async fn ask(
        &self,
        order: impl FnOnce(&mut kad::Behaviour<kad::store::MemoryStore>) -> kad::QueryId + Send + 'static,
    ) -> Vec<kad::QueryResult> {
        let (reply, answer) = oneshot::channel();
        self.orders.send((Box::new(order), reply)).await.unwrap();
        tokio::time::timeout(PATIENCE, answer).await.expect("the query ends").unwrap()
    }

    /// Whether its table holds a peer.
    async fn knows(&self, peer: PeerId) {
        let known = async {
            loop {
                let found = self.ask(move |kad| kad.get_closest_peers(peer)).await;
                let is_there = found.iter().any(|result| {
                    matches!(result, kad::QueryResult::GetClosestPeers(Ok(found)) if found.peers.iter().any(|info| info.peer_id == peer))
                });
                if is_there {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, known).await.expect("they know the peer");
    }
}

/// Two of ours and two of theirs in a line: ours, theirs, ours, theirs. The ends have not met.
async fn line() -> (OurNode, TheirNode, OurNode, TheirNode) {
    let (a, b) = (OurNode::start(Mode::Server).await, TheirNode::start().await);
    let (c, d) = (OurNode::start(Mode::Server).await, TheirNode::start().await);
    a.dials.send(b.address.clone()).await.unwrap();
    c.dials.send(b.address.clone()).await.unwrap();
    c.dials.send(d.address.clone()).await.unwrap();
    a.meets(1).await;
    c.meets(2).await;
    b.knows(a.peer).await;
    b.knows(c.peer).await;
    d.knows(c.peer).await;
    (a, b, c, d)
}

fn key(number: u8) -> Key {
    Key::new(&[&[0x12, 0x20][..], &[number; 32]].concat()).unwrap()
}

fn their_key(key: &Key) -> kad::RecordKey {
    kad::RecordKey::new(&key.as_bytes())
}

/// Announcements have no answer, so whoever was told may still be about to store them: asks until one finds the provider.
async fn our_search_finds(handle: &Handle, key: &Key, provider: PeerId) {
    let found = async {
        loop {
            let mut providers = handle.find_providers(key.clone(), 1, None);
            if let Some(Ok(found)) = providers.next().await {
                assert_eq!(found.id, provider);
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the provider is found");
}

/// The same for them.
async fn their_search_finds(node: &TheirNode, key: &Key, provider: PeerId) {
    let found = async {
        loop {
            let wanted = their_key(key);
            let found = node.ask(move |kad| kad.get_providers(wanted)).await;
            let is_found = found.iter().any(|result| {
                matches!(result, kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { providers, .. })) if providers.contains(&provider))
            });
            if is_found {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the provider is found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_find_our_provider_records_and_we_theirs() {
    let (a, b, _c, d) = line().await;
    let known_by = a.handle.provide(key(1), Provide::Classic, None).await.unwrap();
    assert!(known_by >= 2, "{known_by}");
    their_search_finds(&d, &key(1), a.peer).await;

    let announced = their_key(&key(2));
    let started = d.ask(move |kad| kad.start_providing(announced).unwrap()).await;
    assert!(matches!(started[..], [kad::QueryResult::StartProviding(Ok(_))]), "{started:?}");
    our_search_finds(&a.handle, &key(2), d.peer).await;
    let (events, mut happened) = mpsc::channel(256);
    // Without a count: what this node itself keeps does not end the search.
    let mut providers = a.handle.find_providers(key(2), 0, Some(events));
    let provider = tokio::time::timeout(PATIENCE, providers.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((provider.id, provider.addresses), (d.peer, vec![d.address.clone()]));
    assert!(providers.next().await.is_none(), "each comes once");
    let mut kinds = Vec::new();
    while let Ok(event) = happened.try_recv() {
        kinds.push(event.kind());
    }
    for kind in [QueryEvent::SendingQuery { peer: b.peer }.kind(), 1, 4] {
        assert!(kinds.contains(&kind), "event {kind} is missing: {kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_are_found_both_ways() {
    let (a, _b, _c, d) = line().await;
    let found = a.handle.find_peer(d.peer, None).await.unwrap();
    assert_eq!((found.id, found.addresses), (d.peer, vec![d.address.clone()]));
    d.knows(a.peer).await;
    let closest = a.handle.closest_peers(Key::from(d.peer), None).await.unwrap();
    assert_eq!(closest.first().map(|peer| peer.id), Some(d.peer), "{closest:?}");
    assert_eq!(a.handle.find_peer(PeerId::random(), None).await, Err(QueryError::NotFound));
    let stats = a.handle.stats().await.unwrap();
    assert!(stats.buckets.iter().map(|bucket| bucket.peers.len()).sum::<usize>() >= 2, "{stats:?}");
    assert!(a.address != d.address);
}

fn record(keypair: &Keypair, sequence: u64) -> Vec<u8> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let draft = Draft {
        value: "/ipfs/bafkqaaa".to_owned(),
        sequence,
        end_of_life: Timestamp::from_unix(i64::try_from(seconds).unwrap() + 3600, 0),
        ttl: Duration::from_secs(60),
        v1_compatible: true,
    };
    draft.sign(keypair).unwrap().as_bytes().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_go_both_ways() {
    let (a, _b, c, d) = line().await;
    let keypair = Keypair::generate_ed25519();
    let name = Key::new(&Name::from(keypair.public().to_peer_id()).routing_key()).unwrap();
    let taken_by = a.handle.put_value(name.clone(), record(&keypair, 1), None).await.unwrap();
    assert!(taken_by >= 2, "{taken_by}");
    let wanted = their_key(&name);
    let found = d.ask(move |kad| kad.get_record(wanted)).await;
    let is_found = found.iter().any(|result| {
        matches!(result, kad::QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found))) if found.record.value == record(&keypair, 1))
    });
    assert!(is_found, "{found:?}");

    let newer = kad::Record::new(their_key(&name), record(&keypair, 2));
    let put = d.ask(move |kad| kad.put_record(newer, kad::Quorum::One).unwrap()).await;
    assert!(matches!(put[..], [kad::QueryResult::PutRecord(Ok(_))]), "{put:?}");
    assert_eq!(a.handle.get_value(name.clone(), 0, None).await, Ok(record(&keypair, 2)));
    // The search gave the newer one to those who held the older one, this node included.
    assert_eq!(a.handle.put_value(name, record(&keypair, 1), None).await, Err(QueryError::Older));

    // A record that its key did not sign is refused by ours: the stream is reset.
    let other = Name::from(Keypair::generate_ed25519().public().to_peer_id());
    let forged = kad::Record::new(other.routing_key(), record(&keypair, 9));
    let target = c.peer;
    let refused =
        d.ask(move |kad| kad.put_record_to(forged, std::iter::once(target), kad::Quorum::One)).await;
    assert!(matches!(refused[..], [kad::QueryResult::PutRecord(Err(_))]), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_asks_but_is_not_asked() {
    let (client, server) = (OurNode::start(Mode::Client).await, OurNode::start(Mode::Server).await);
    client.dials.send(server.address.clone()).await.unwrap();
    client.meets(1).await;
    assert_eq!(client.handle.provide(key(3), Provide::Classic, None).await, Ok(1));
    our_search_finds(&server.handle, &key(3), client.peer).await;
    assert_eq!(server.handle.table_len(), 0, "a client does not enter the table");
    assert_eq!(
        server.handle.closest_peers(key(3), None).await,
        Err(QueryError::NoPeers),
        "nobody serves the DHT but the server itself"
    );
    // But it is found: the server has met it.
    let found = client.handle.announce(
        holdfast_dht::kad::PeerInfo { id: server.peer, addresses: vec![server.address.clone()] },
        (10..60).map(key).collect(),
    );
    assert_eq!(found.await, Ok(50), "many announcements over one stream");
}

#[derive(Default)]
struct KeysInMemory {
    keys: BTreeMap<KadId, Key>,
    saved: Mutex<Vec<u8>>,
    settled: Mutex<Vec<(Key, bool)>>,
}

impl Keystore for KeysInMemory {
    fn keys(&self, from: KadId, last: KadId, max: usize) -> Keys {
        let keys = self.keys.range(from..=last).take(max).map(|(_, key)| key.clone()).collect();
        Box::pin(async move { Ok(keys) })
    }

    fn save(&self, state: Vec<u8>) -> Done {
        *self.saved.lock().unwrap() = state;
        Box::pin(async {})
    }

    fn settled(&self, keys: Vec<(Key, bool)>) {
        self.settled.lock().unwrap().extend(keys);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_announces_every_key_and_new_ones_at_once() {
    let (a, _b, c, d) = line().await;
    let keys = (100..150).map(key).map(|key| (key.id(), key)).collect();
    let store = Arc::new(KeysInMemory { keys, ..KeysInMemory::default() });
    let (sweep, task) = Reprovider::start(
        a.handle.clone(),
        Arc::clone(&store) as Arc<dyn Keystore>,
        SweepConfig::default(),
        None,
    );
    let task = tokio::spawn(task);
    assert_eq!(sweep.provide(vec![key(200), key(201)]).await, Ok(2));
    let all_out = async {
        while sweep.stats().await.unwrap().past.keys_provided < 52 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_out).await.expect("all keys are announced");
    for number in [100, 149, 200, 201] {
        our_search_finds(&c.handle, &key(number), a.peer).await;
        their_search_finds(&d, &key(number), a.peer).await;
    }
    let stats = sweep.stats().await.unwrap();
    assert_eq!((stats.status, stats.past.keys_failed, stats.pending_key_provides), ("online", 0, 0));
    let settled = std::mem::take(&mut *store.settled.lock().unwrap());
    let new: BTreeMap<_, _> = settled.into_iter().collect();
    assert_eq!(new, [(key(200), true), (key(201), true)].into(), "only new keys are told of");
    drop(sweep);
    tokio::time::timeout(PATIENCE, task).await.expect("the task ends with its last handle").unwrap();
    assert!(SavedState::decode(&store.saved.lock().unwrap()).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_waits_while_there_is_no_address_to_tell() {
    let (hidden, server) =
        (OurNode::start_with(Mode::Client, false).await, OurNode::start(Mode::Server).await);
    hidden.dials.send(server.address.clone()).await.unwrap();
    hidden.meets(1).await;
    assert!(!hidden.handle.has_addresses() && server.handle.has_addresses());
    let store = Arc::new(KeysInMemory::default());
    let (sweep, task) = Reprovider::start(hidden.handle.clone(), store, SweepConfig::default(), None);
    let task = tokio::spawn(task);
    assert_eq!(sweep.provide(vec![key(200)]).await, Ok(1));
    // It looks every second.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let stats = sweep.stats().await.unwrap();
    assert_eq!((stats.status, stats.past.keys_failed, stats.pending_key_provides), ("offline", 0, 1));
    drop(sweep);
    tokio::time::timeout(PATIENCE, task).await.expect("the task ends with its last handle").unwrap();
}
