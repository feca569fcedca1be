//! Real swarms over loopback TCP with noise and yamux.

mod bench;
mod closing;
mod counted;
mod dialling;
mod favoured;
mod inbound;
mod muxer;
mod raw;
mod sessions;
mod streams;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use libp2p::swarm::SwarmEvent;
use libp2p::{Swarm, SwarmBuilder, noise, tcp};
use tokio::sync::oneshot;

use super::*;
use crate::Handle;
use crate::message::{Assembler, Entry, Message, Payload, Prefix, Version, WantType, decode, encode};
use crate::sim::{blocks, cids, wants};

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Store(Mutex<HashMap<Cid, Bytes>>);

impl Host for Store {
    fn presence(&self, cids: Vec<Cid>) -> BoxFuture<'static, Vec<Option<u64>>> {
        let store = self.0.lock().unwrap();
        let sizes = cids.iter().map(|cid| store.get(cid).map(|data| data.len() as u64)).collect();
        std::future::ready(sizes).boxed()
    }

    fn read(&self, cids: Vec<Cid>) -> BoxFuture<'static, Vec<Option<Bytes>>> {
        let store = self.0.lock().unwrap();
        std::future::ready(cids.iter().map(|cid| store.get(cid).cloned()).collect()).boxed()
    }

    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }
}

struct Node {
    peer: PeerId,
    address: Multiaddr,
    handle: Handle,
    store: Arc<Store>,
    /// Ends the swarm's task.
    stop: oneshot::Sender<()>,
}

impl Node {
    async fn give(&self, blocks: &[(Cid, Bytes)]) {
        self.store.0.lock().unwrap().extend(blocks.iter().cloned());
        self.handle.new_blocks(blocks.iter().map(|(cid, data)| (*cid, data.len() as u64)).collect()).await;
    }

    async fn fetch(&self, from: &Node, cids: Vec<Cid>) -> Vec<(Cid, Bytes)> {
        let session = self.handle.session();
        session.add_peers(vec![(from.peer, vec![from.address.clone()])]).await;
        let blocks = session.get(cids).collect();
        let mut got: Vec<_> = tokio::time::timeout(LIMIT, blocks).await.expect("in time");
        got.sort();
        got
    }
}

fn swarm<B: NetworkBehaviour>(behaviour: impl FnOnce(PeerId) -> B) -> Swarm<B> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, || muxer::Yamux)
        .unwrap()
        .with_behaviour(|key| behaviour(key.public().to_peer_id()))
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(120)))
        .build()
}

async fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>) -> Multiaddr {
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.next().await.unwrap() {
            return address;
        }
    }
}

async fn node(set: impl FnOnce(&mut Config)) -> Node {
    let store = Arc::new(Store::default());
    let host = store.clone();
    let mut made = None;
    let mut swarm = swarm(|peer| {
        let mut config = Config::new(peer);
        set(&mut config);
        let (behaviour, handle) = Behaviour::new(config, host);
        made = Some(handle);
        behaviour
    });
    let address = listen(&mut swarm).await;
    let peer = *swarm.local_peer_id();
    let (stop, mut stopped) = oneshot::channel();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = &mut stopped => return,
                _ = swarm.next() => {}
            }
        }
    });
    Node { peer, address, handle: made.unwrap(), store, stop }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_of_all_sizes_pass_both_ways() {
    let (a, b) = (node(|_| {}).await, node(|_| {}).await);
    let mut have: Vec<_> =
        [8, 1 << 10, 4 << 10, 256 << 10, 1 << 20, 2 << 20].iter().flat_map(|len| blocks(5, *len)).collect();
    have.sort();
    a.give(&have).await;
    assert_eq!(b.fetch(&a, cids(&have)).await, have);
    let mut back = blocks(50, 5000);
    back.sort();
    b.give(&back).await;
    assert_eq!(a.fetch(&b, cids(&back)).await, back);
    let stat = b.handle.stat().await;
    assert_eq!((stat.blocks_received, stat.dup_blocks_received, stat.wantlist.len()), (30, 0, 0));
    assert_eq!(stat.peers, [a.peer]);
    let (ours, theirs) = (b.handle.ledger(a.peer).await, a.handle.ledger(b.peer).await);
    assert_eq!((ours.received_bytes, ours.sent_bytes), (theirs.sent_bytes, theirs.received_bytes));
    assert_eq!(ours.exchanges, 80);
}

/// Both write as much as they can at once: neither may wait for the other with reading.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_send_much_to_each_other_do_not_wait_for_each_other() {
    let (a, b) = (node(|_| {}).await, node(|_| {}).await);
    let (mut of_a, mut of_b) = (blocks(120, 512 << 10), blocks(120, 500 << 10));
    a.give(&of_a).await;
    b.give(&of_b).await;
    let (got_b, got_a) = tokio::join!(b.fetch(&a, cids(&of_a)), a.fetch(&b, cids(&of_b)));
    of_a.sort();
    of_b.sort();
    assert!(got_b == of_a && got_a == of_b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_serves_nobody_still_fetches() {
    let (a, b) = (node(|_| {}).await, node(|config| config.server_enabled = false).await);
    let mut have = blocks(20, 100 << 10);
    have.sort();
    a.give(&have).await;
    assert_eq!(b.fetch(&a, cids(&have)).await, have);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_are_asked_for_dialled_and_used() {
    let (a, b) = (node(|_| {}).await, node(|_| {}).await);
    let have = blocks(3, 3000);
    a.give(&have).await;
    let mut searches = b.handle.events().expect("taken once");
    assert!(b.handle.events().is_none());
    let session = b.handle.session();
    let blocks = session.get(cids(&have));
    let search = tokio::time::timeout(LIMIT, searches.next()).await.unwrap().unwrap();
    assert_eq!(search.session, session.id());
    b.handle.providers(search.cid, vec![(a.peer, vec![a.address.clone()])]).await;
    let got: Vec<_> = tokio::time::timeout(LIMIT, blocks.collect()).await.unwrap();
    assert_eq!(got.len(), 3);
    let tried = session.tried().await;
    assert_eq!((tried.peers, tried.peers_asked, tried.provider_searches), (vec![a.peer], 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_stored_later_is_pushed_to_who_waits() {
    let (a, b) = (node(|_| {}).await, node(|_| {}).await);
    let have = blocks(1, 50_000);
    let session = b.handle.session();
    session.add_peers(vec![(a.peer, vec![a.address.clone()])]).await;
    let blocks = session.get(cids(&have));
    let known = async {
        while a.handle.wantlist(Some(b.peer)).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, known).await.expect("a hears of it");
    assert!(b.handle.is_active(&a.peer), "something is pending");
    a.give(&have).await;
    let got: Vec<_> = tokio::time::timeout(LIMIT, blocks.collect()).await.unwrap();
    assert_eq!(got, have);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_stream_cancels_and_dropping_the_swarm_ends_it() {
    let (a, b) = (node(|_| {}).await, node(|_| {}).await);
    let session = b.handle.session();
    session.add_peers(vec![(a.peer, vec![a.address.clone()])]).await;
    let blocks = session.get(cids(&blocks(5, 900)));
    let other = session.get(cids(&crate::sim::blocks(1, 901)));
    let is = |count: usize| {
        let a = &a;
        let peer = b.peer;
        async move {
            while a.handle.wantlist(Some(peer)).await.len() != count {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(LIMIT, is(6)).await.expect("a hears of it");
    drop(blocks);
    tokio::time::timeout(LIMIT, is(1)).await.expect("a hears that it is over");
    drop(b.stop);
    let rest: Vec<_> = tokio::time::timeout(LIMIT, other.collect()).await.expect("the stream ends");
    assert!(rest.is_empty());
}

/// A peer written out by hand: it knows one protocol, opens a stream for each answer, and notes what it is told.
struct Scripted {
    peer: PeerId,
    address: Multiaddr,
    told: mpsc::Receiver<Message>,
    opener: raw::Opener,
}

/// How the scripted peer answers a message.
type Script = fn(&Message, &HashMap<Cid, Bytes>) -> Vec<Vec<u8>>;

async fn scripted(version: Version, have: &[(Cid, Bytes)], script: Script) -> Scripted {
    let have: HashMap<_, _> = have.iter().cloned().collect();
    let mut swarm = swarm(|_| raw::Raw::new(version.protocol()));
    let address = listen(&mut swarm).await;
    let peer = *swarm.local_peer_id();
    let opener = swarm.behaviour().opener.clone();
    let (tell, told) = mpsc::channel(1000);
    tokio::spawn(async move {
        loop {
            let SwarmEvent::Behaviour((from, mut stream)) = swarm.next().await.unwrap() else { continue };
            let mut assembler = Assembler::default();
            let (tell, have, sender) = (tell.clone(), have.clone(), swarm.behaviour().opener.clone());
            tokio::spawn(async move {
                loop {
                    while let Some(frame) = assembler.next_frame().unwrap() {
                        let message = decode(&frame).unwrap();
                        for answer in script(&message, &have) {
                            let mut out = sender.open(from).await;
                            // Whoever refuses an answer resets its stream.
                            let _ = out.write_all(&answer).await;
                            let _ = out.close().await;
                        }
                        let _ = tell.send(message).await;
                    }
                    match stream.read(assembler.space()).await {
                        Ok(0) | Err(_) => return,
                        Ok(count) => assembler.filled(count),
                    }
                }
            });
        }
    });
    Scripted { peer, address, told, opener }
}

impl Scripted {
    async fn fetch(&self, node: &Node, cids: Vec<Cid>) -> Vec<(Cid, Bytes)> {
        let session = node.handle.session();
        session.add_peers(vec![(self.peer, vec![self.address.clone()])]).await;
        let blocks = session.get(cids).collect();
        let mut got: Vec<_> = tokio::time::timeout(LIMIT, blocks).await.expect("in time");
        got.sort();
        got
    }
}

fn wanted<'a>(message: &Message, have: &'a HashMap<Cid, Bytes>) -> Vec<(Cid, &'a Bytes)> {
    let wants = message.entries.iter().filter(|entry| !entry.cancel && entry.want_type == WantType::Block);
    wants.filter_map(|entry| Some((entry.cid, have.get(&entry.cid)?))).collect()
}

fn answer(version: Version, blocks: Vec<(Cid, &Bytes)>) -> Vec<u8> {
    let payload =
        |(cid, data): (Cid, &Bytes)| Payload { prefix: Prefix::of(&cid).unwrap(), data: data.clone() };
    let message = Message { blocks: blocks.into_iter().map(payload).collect(), ..Message::default() };
    encode(&message, version).concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_speak_only_old_versions_are_understood() {
    fn each<const V: usize>(message: &Message, have: &HashMap<Cid, Bytes>) -> Vec<Vec<u8>> {
        // A stream for each block, as boxo does.
        wanted(message, have).into_iter().map(|block| answer(Version::ALL[V], vec![block])).collect()
    }
    let scripts: [Script; 4] = [each::<0>, each::<1>, each::<2>, each::<3>];
    for (version, script) in Version::ALL.into_iter().zip(scripts) {
        let mut have: Vec<_> = [500, 5000, 300_000].iter().flat_map(|len| blocks(20, *len)).collect();
        have.sort();
        let peer = scripted(version, &have, script).await;
        let b = node(|_| {}).await;
        assert_eq!(peer.fetch(&b, cids(&have)).await, have, "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_peer_is_served_in_its_own_words() {
    for version in [Version::V1_1, Version::V1_0, Version::Plain] {
        fn quiet(_: &Message, _: &HashMap<Cid, Bytes>) -> Vec<Vec<u8>> {
            Vec::new()
        }
        let a = node(|_| {}).await;
        let have = blocks(3, 10_000);
        a.give(&have).await;
        let mut peer = scripted(version, &[], quiet).await;
        // It is dialled by us, and then asks on a stream of its own.
        let session = a.handle.session();
        session.add_peers(vec![(peer.peer, vec![peer.address.clone()])]).await;
        let _blocks = session.get(cids(&blocks(1, 77)));
        let first = tokio::time::timeout(LIMIT, peer.told.recv()).await.unwrap().unwrap();
        assert!(first.entries.iter().all(|entry| entry.want_type == WantType::Block));
        let mut stream = peer.opener.open(a.peer).await;
        stream.write_all(&encode(&wants(&cids(&have)), version).concat()).await.unwrap();
        let mut got = Vec::new();
        while got.len() < 3 {
            let message = tokio::time::timeout(LIMIT, peer.told.recv()).await.unwrap().unwrap();
            assert!(message.presences.is_empty());
            got.extend(message.blocks.into_iter().map(|block| (block.prefix, block.data)));
        }
        assert!(have.iter().all(|(_, data)| got.iter().any(|(_, other)| other == data)));
        assert!(got.iter().all(|(prefix, _)| (*prefix == Prefix::V0) != version.has_prefix()));
    }
}

/// Wrong bytes, blocks that nobody asked for, nonsense, a message that is too large, and an honest node beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_peer_gets_nothing_in_and_does_not_stop_a_fetch() {
    fn hostile(message: &Message, _: &HashMap<Cid, Bytes>) -> Vec<Vec<u8>> {
        let junk = blocks(20, 30_000);
        let wrong = message.entries.iter().map(|entry| (entry.cid, &junk[0].1)).collect();
        vec![
            answer(Version::V1_2, wrong),
            answer(Version::V1_2, junk.iter().map(|(cid, data)| (*cid, data)).collect()),
            vec![0xff; 5000],
            [&[0x81, 0x80, 0x80, 0x02][..], &[0; 10_000]].concat(),
            b"\x05\x0a\xff\xff\xff\x7f".to_vec(),
        ]
    }
    let (a, b) = (node(|_| {}).await, node(|_| {}).await);
    let mut have = blocks(40, 50_000);
    have.sort();
    a.give(&have).await;
    let peer = scripted(Version::V1_2, &[], hostile).await;
    let session = b.handle.session();
    session.add_peers(vec![(peer.peer, vec![peer.address.clone()]), (a.peer, vec![a.address.clone()])]).await;
    let mut got: Vec<_> = tokio::time::timeout(LIMIT, session.get(cids(&have)).collect()).await.unwrap();
    got.sort();
    assert_eq!(got, have);
    let counters = b.handle.counters();
    let refused = async {
        while counters.bad_messages.get() < 3 || counters.unwanted_blocks.get() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, refused).await.expect("what is wrong is refused and counted");
    assert_eq!(counters.blocks_received.get(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_waits_holds_no_more_than_its_bound() {
    let (a, b) = (node(|_| {}).await, node(|config| config.request_bytes_max = 4 << 20).await);
    let mut have = blocks(200, 256 << 10);
    a.give(&have).await;
    let session = b.handle.session();
    session.add_peers(vec![(a.peer, vec![a.address.clone()])]).await;
    let mut blocks = session.get(cids(&have));
    let mut got = blocks.next_batch().await.unwrap();
    let full = async {
        while b.handle.counters().data_received.get() < 3 << 20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, full).await.expect("it is filled");
    assert!(b.handle.counters().data_received.get() <= 12 << 20);
    while let Some(batch) = tokio::time::timeout(LIMIT, blocks.next_batch()).await.unwrap() {
        got.extend(batch);
    }
    got.sort();
    have.sort();
    assert!(got == have);
}
