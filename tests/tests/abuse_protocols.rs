//! Every protocol that a node says it speaks is spoken to it wrongly, over TCP and over QUIC, by a peer that also answers wrongly
//! whatever the node asks.
//!
//! What is spoken is what the node's own identify lists, with everything switched on that is off by default: a protocol that
//! is added later is attacked too, or fails this test until `hostile/shapes.rs` knows how.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast_tests::ask::{Ask, escape};
use holdfast_tests::hostile::attack::speak;
use holdfast_tests::hostile::names::{get_value, routing_key};
use holdfast_tests::hostile::shapes::{Speech, is_for_circuits, right, wrong};
use holdfast_tests::hostile::words::{bytes_field, fields, framed, number_field};
use holdfast_tests::hostile::{Hostile, Opened, STREAM_WAIT_MAX, Stream, hear_frame, send};
use holdfast_tests::inputs::noise;
use holdfast_tests::need::{say, temporary};
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::{PATIENCE, wait_until, wait_within};
use libp2p::futures::future::join_all;
use libp2p::identity::Keypair;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

const IDENTIFY: &str = "/ipfs/id/1.0.0";
const KAD: &str = "/ipfs/kad/1.0.0";
const HOP: &str = "/libp2p/circuit/relay/0.2.0/hop";
/// Protocols that are spoken only where they were switched on.
const SWITCHED_ON: [&str; 6] =
    [HOP, "/ipfs/kad/1.0.0", "/meshsub/1.1.0", "/floodsub/1.0.0", "/libp2p/fetch/0.0.1", "/x/echo"];
/// What is spoken where nothing was switched off.
const EVERYWHERE: [&str; 14] = [
    IDENTIFY,
    "/ipfs/id/push/1.0.0",
    "/ipfs/ping/1.0.0",
    "/ipfs/bitswap/1.2.0",
    "/ipfs/bitswap/1.1.0",
    "/ipfs/bitswap/1.0.0",
    "/ipfs/bitswap",
    "/ipfs/lan/kad/1.0.0",
    "/libp2p/autonat/1.0.0",
    "/libp2p/autonat/2/dial-request",
    "/libp2p/autonat/2/dial-back",
    "/libp2p/circuit/relay/0.2.0/stop",
    "/meshsub/1.0.0",
    "/meshsub/1.2.0",
];
/// Connections whose streams are held without an end.
const HELD_CONNECTIONS: usize = 4;
/// How long a node may take to give back what a hostile peer cost: messages of pubsub are remembered for 2 minutes, and what
/// connections read with is given back when they were idle for a while.
const GIVEN_BACK_TIME_MAX: Duration = Duration::from_secs(240);

/// The largest request of the DHT that is served.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// Peers that begin requests, connections of each, and requests on each of them.
const PEERS: usize = 3;
const CONNECTIONS: usize = 8;
const REQUESTS: usize = 32;

/// A server of somebody, behind a stream of the node's.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let (mut connection, mut bytes) = (connection, [0; 4096]);
                while matches!(connection.read(&mut bytes), Ok(1..)) {}
            });
        }
    });
    format!("/ip4/127.0.0.1/tcp/{port}")
}

/// A node that speaks all that it can.
fn everything_on(dir: &Path, name: &str) -> Peer {
    let config: [(&str, Value); 7] = [
        ("Routing.Type", json!("dhtserver")),
        ("Pubsub.Enabled", json!(true)),
        ("Ipns.UsePubsub", json!(true)),
        ("Swarm.RelayService.Enabled", json!(true)),
        ("Swarm.RelayClient.Enabled", json!(true)),
        ("Experimental.Libp2pStreamMounting", json!(true)),
        ("Swarm.PingInterval", json!("1s")),
    ];
    let peer = Peer::start(dir, name, &config, None);
    peer.run(["p2p", "listen", "/x/echo", &server()]).ok();
    peer
}

/// The liar of one transport, and what it saw.
struct Liar {
    runtime: Runtime,
    key: Keypair,
    address: String,
    seed: u64,
    /// Protocols that the node opened streams for; they were answered by nonsense.
    answered: Arc<Mutex<BTreeSet<String>>>,
}

/// A connection, and what answers the node on it.
struct Line {
    peer: Hostile,
    answering: AbortHandle,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

impl Liar {
    fn new(address: String) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { runtime, key: Keypair::generate_ed25519(), address, seed: 0, answered: Arc::default() }
    }

    fn noise(&mut self) -> Vec<u8> {
        self.seed += 1;
        noise(self.seed, 4000)
    }

    async fn connect(&self) -> io::Result<Line> {
        let (peer, opened) = Hostile::connect(&self.key, &self.address).await?;
        let answering = tokio::spawn(answer(opened, Arc::clone(&self.answered))).abort_handle();
        Ok(Line { peer, answering })
    }

    /// The protocols that the node lists to those who ask.
    fn listed(&self) -> Vec<String> {
        let message = self.runtime.block_on(async {
            let (_line, mut stream) = self.open(None, IDENTIFY).await.expect("identify");
            timeout(STREAM_WAIT_MAX, hear_frame(&mut stream, 1 << 16)).await.unwrap().unwrap()
        });
        let names = fields(&message).into_iter().filter(|(number, _)| *number == 3);
        names.map(|(_, name)| String::from_utf8(name.to_vec()).unwrap()).collect()
    }

    /// Whether the node opens a stream for a protocol.
    fn is_spoken(&self, protocol: &str) -> bool {
        self.runtime.block_on(async {
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until {
                if let Ok(line) = self.connect().await
                    && let Ok(opened) = line.peer.open(protocol).await
                {
                    return opened.is_some();
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            panic!("no connection lasted long enough to ask for {protocol}")
        })
    }

    /// Says all of this on streams of their own, and returns how many there were.
    fn say_all(&self, protocol: &str, speeches: &[Speech]) -> usize {
        self.runtime.block_on(async {
            let (mut said, mut held) = (0, VecDeque::new());
            let mut line = None;
            for speech in speeches {
                let Some((on, stream)) = self.open(line.take(), protocol).await else { continue };
                said += 1;
                let open = speak(stream, speech).await;
                if let Some(open) = open {
                    // It is held on its connection, while others begin.
                    held.push_back((on, open));
                    if held.len() > HELD_CONNECTIONS {
                        held.pop_front();
                    }
                } else {
                    line = Some(on);
                }
            }
            said
        })
    }

    /// A stream on a connection that may have ended: then on a new one.
    async fn open(&self, line: Option<Line>, protocol: &str) -> Option<(Line, Stream)> {
        let mut line = line;
        // Connections may end before anything could be said on them, on a busy machine many.
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(on) = line.take() {
                if let Ok(Some(stream)) = on.peer.open(protocol).await {
                    return Some((on, stream));
                }
                // One too many is closed when it is there: those that were held are being closed.
                drop(on);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            match self.connect().await {
                Ok(new) => line = Some(new),
                // As many connections as one peer may have: those that were held are being closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        None
    }
}

/// Answers whatever the node opens with the next thing that is no answer, and leaves it open.
async fn answer(mut opened: mpsc::Receiver<Opened>, answered: Arc<Mutex<BTreeSet<String>>>) {
    let (mut open, mut turn) = (VecDeque::new(), 0);
    while let Some((protocol, mut stream)) = opened.recv().await {
        let all = wrong(&right(&protocol).unwrap_or_default(), &noise(turn as u64, 4000));
        send(&mut stream, &all[turn % all.len()].bytes).await;
        turn += 1;
        answered.lock().unwrap().insert(protocol);
        open.push_back(stream);
        if open.len() > 64 {
            open.pop_front();
        }
    }
}

/// Bytes that came to the node in a protocol, as it counts them.
fn came_in(victim: &Peer, protocol: &str) -> u64 {
    let ask = Ask::new("POST", &format!("/api/v0/stats/bw?proto={}", escape(protocol)));
    ask.send(victim.daemon().api()).ok().value()["TotalIn"].as_u64().unwrap()
}

/// Has an honest peer read something new of the node.
fn serve(victim: &Peer, honest: &Peer, dir: &Path, seed: u64) {
    let path = dir.join("block");
    std::fs::write(&path, noise(7_000_000 + seed, 20_000)).unwrap();
    let cid = victim.put_block(&[], &path);
    let read = honest.run(["block", "get", "--timeout=120s", &cid]).ok().stdout;
    assert!(read == std::fs::read(&path).unwrap(), "{cid} came with other bytes");
}

#[test]
fn every_protocol_that_is_spoken_bears_what_is_wrong_and_nothing_of_it_is_kept() {
    let dir = temporary("abuse-protocols");
    let victim = everything_on(dir.path(), "victim");
    let honest = Peer::start(dir.path(), "honest", &[("Routing.Type", json!("none"))], None);
    honest.connect(&victim.address("tcp"));
    for seed in 0..10 {
        serve(&victim, &honest, dir.path(), seed);
    }
    let before = victim.live_bytes();
    let mut seed = 10;
    for transport in ["tcp", "quic-v1"] {
        let mut liar = Liar::new(victim.address(transport));
        let identity = victim.identity();
        let shown: BTreeSet<&str> =
            identity["Protocols"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let listed = liar.listed();
        let told = listed.iter().map(String::as_str).collect();
        let hidden: Vec<&&str> = shown.difference(&told).collect();
        assert!(told.is_subset(&shown), "others are told {told:?}, and `id` says {shown:?}");
        assert!(hidden.iter().all(|name| is_for_circuits(name)), "others are not told {hidden:?}");
        for expected in EVERYWHERE.iter().chain(&SWITCHED_ON) {
            assert!(shown.contains(expected), "{expected} is not spoken: {shown:?}");
        }
        let mut said = 0;
        for protocol in shown.iter().copied() {
            let right = right(protocol);
            let right =
                right.unwrap_or_else(|| panic!("nobody knows how to attack {protocol}: add it to shapes.rs"));
            if is_for_circuits(protocol) {
                assert!(
                    !liar.is_spoken(protocol),
                    "{protocol} is spoken on connections that are no circuits"
                );
                continue;
            }
            let speeches = wrong(&right, &liar.noise());
            let bytes = came_in(&victim, protocol);
            let opened = liar.say_all(protocol, &speeches);
            assert_eq!(opened, speeches.len(), "{protocol} over {transport}: not everything could be said");
            let now = came_in(&victim, protocol);
            assert!(now > bytes, "{protocol} over {transport}: nothing came of what was said");
            said += opened;
            // It goes on.
            serve(&victim, &honest, dir.path(), seed);
            seed += 1;
        }
        let answered = liar.answered.lock().unwrap().clone();
        for opened in [IDENTIFY, "/ipfs/ping/1.0.0"] {
            assert!(answered.contains(opened), "the node asked nothing by {opened}, but {answered:?}");
        }
        say(&format!(
            "abuse over {transport}: {} protocols, {said} streams; answered {answered:?}",
            listed.len()
        ));
    }
    wait_until("only the honest peer is left", || {
        let peers = victim.peers();
        if peers == [honest.id()] { Ok(()) } else { Err(peers) }
    });
    // One that speaks as much and served the same in peace: what grows with what a node does, and not with who does it, costs the
    // same there.
    let calm = everything_on(dir.path(), "calm");
    let friend = Peer::start(dir.path(), "friend", &[("Routing.Type", json!("none"))], None);
    friend.connect(&calm.address("tcp"));
    for seed in 0..seed {
        serve(&calm, &friend, dir.path(), seed);
    }
    let begun = Instant::now();
    let beside = victim.live_bytes();
    let [without, after] =
        wait_within(GIVEN_BACK_TIME_MAX, "what the hostile peer cost is given back", || {
            let [without, now] = [&calm, &victim].map(Peer::live_bytes);
            if now <= 1.1 * without.max(before) { Ok([without, now]) } else { Err((before, without, now)) }
        });
    say(&format!(
        "abuse of protocols: live bytes before {before}, at its end {beside}, after {:?} more {after}, of a node that never met it \
         {without}",
        begun.elapsed()
    ));
    victim.run(["repo", "verify"]).ok();
    serve(&victim, &honest, dir.path(), seed);
}

/// A message of gossipsub that follows topics with names of this length.
fn follows(topics: std::ops::Range<usize>, name_bytes: usize) -> Vec<u8> {
    let mut message = Vec::new();
    for number in topics {
        let mut change = Vec::new();
        number_field(&mut change, 1, 1);
        bytes_field(&mut change, 2, format!("{number:0name_bytes$}").as_bytes());
        bytes_field(&mut message, 1, &change);
    }
    framed(&message)
}

#[test]
fn a_peer_that_follows_more_than_may_be_remembered_is_disconnected() {
    let dir = temporary("abuse-topics");
    let victim = Peer::start(dir.path(), "victim", &[("Pubsub.Enabled", json!(true))], None);
    victim.run(["log", "level", "all", "debug"]).ok();
    let liar = Liar::new(victim.address("tcp"));
    let id = liar.key.public().to_peer_id().to_base58();
    liar.runtime.block_on(async {
        // Names that nobody may have are passed over, and what is usual is remembered.
        let (_line, mut stream) = liar.open(None, "/meshsub/1.1.0").await.expect("gossipsub");
        for number in 0..200 {
            assert!(send(&mut stream, &follows(number..number + 1, 5000)).await, "{number}");
        }
        assert!(send(&mut stream, &follows(0..100, 70)).await);
        let before = came_in(&victim, "/meshsub/1.1.0");
        assert!(send(&mut stream, &follows(100..101, 70)).await);
        wait_until("it was read", || {
            let now = came_in(&victim, "/meshsub/1.1.0");
            if now > before { Ok(()) } else { Err(now) }
        });
        assert_eq!(victim.peers(), [id]);
        for number in 0..200 {
            if !send(&mut stream, &follows(number..number + 1, 4000)).await {
                break;
            }
        }
        victim.daemon().wait_for_complaint("follows more topics than may be remembered");
        wait_until("it is disconnected", || {
            let peers = victim.peers();
            if peers.is_empty() { Ok(()) } else { Err(peers) }
        });
    });
}

/// Begins a request of the DHT on as many streams as a connection may have, and keeps its last byte back.
async fn begin_requests(liar: &Liar, key: &Keypair) -> (Hostile, Vec<Stream>) {
    let (peer, opened) = Hostile::connect(key, &liar.address).await.unwrap();
    tokio::spawn(answer(opened, Arc::default()));
    let mut request = vec![0x80, 0x80, 0x04];
    request.resize(3 + REQUEST_BYTES_MAX - 1, 0);
    let mut streams = Vec::new();
    for _ in 0..REQUESTS {
        let mut stream = peer.open(KAD).await.unwrap().expect("the DHT");
        send(&mut stream, &request).await;
        streams.push(stream);
    }
    (peer, streams)
}

#[test]
fn requests_of_the_dht_that_do_not_end_hold_little_and_keep_nobody_from_asking() {
    const MIB: f64 = (1 << 20) as f64;
    let dir = temporary("abuse-requests");
    let victim = Peer::start(dir.path(), "victim", &[("Routing.Type", json!("dhtserver"))], None);
    let liar = Liar::new(victim.address("tcp"));
    liar.runtime.block_on(liar.connect()).unwrap();
    let before = victim.live_bytes();
    let held = liar.runtime.block_on(async {
        let mut held = Vec::new();
        for _ in 0..PEERS {
            let key = Keypair::generate_ed25519();
            held.extend(join_all((0..CONNECTIONS).map(|_| begin_requests(&liar, &key))).await);
        }
        held
    });
    let grown = (victim.live_bytes() - before) / MIB;
    let begun = (PEERS * CONNECTIONS * REQUESTS * REQUEST_BYTES_MAX) as f64 / MIB;
    say(&format!("abuse of the DHT: {grown:.1} MiB are held of {begun} MiB that were begun"));
    assert!(grown < begun / 2.0, "{grown} MiB are held of {begun} MiB that were begun");
    // Others ask, and get their answer.
    let asked = liar.runtime.block_on(async {
        let line = liar.connect().await.unwrap();
        let mut stream = line.peer.open(KAD).await.unwrap().expect("the DHT");
        send(&mut stream, &get_value(&routing_key(&line.peer.id()))).await;
        timeout(STREAM_WAIT_MAX, hear_frame(&mut stream, 1 << 16)).await.unwrap()
    });
    assert!(asked.is_ok(), "an honest question has no answer: {asked:?}");
    // Nobody waits for the last byte for long.
    let ended = liar.runtime.block_on(async {
        let streams = held.into_iter().map(|(peer, streams)| async move {
            for mut stream in streams {
                let end = timeout(STREAM_WAIT_MAX, hear_frame(&mut stream, 1)).await;
                assert!(end.expect("a stream is held still").is_err(), "half a request has an answer");
            }
            drop(peer);
        });
        join_all(streams).await.len()
    });
    assert_eq!(ended, PEERS * CONNECTIONS);
}

#[test]
fn what_is_off_by_default_is_not_spoken() {
    let dir = temporary("abuse-off");
    let victim = Peer::start(dir.path(), "victim", &[("Routing.Type", json!("dhtclient"))], None);
    for transport in ["tcp", "quic-v1"] {
        let liar = Liar::new(victim.address(transport));
        for protocol in SWITCHED_ON.into_iter().chain(["/ipfs/lan/kad/1.0.0"]) {
            assert!(!liar.is_spoken(protocol), "{protocol} over {transport}");
        }
        assert!(liar.is_spoken(IDENTIFY));
    }
}

/// Who is behind a relay asks whoever comes through it to punch a hole, three times, and is answered wrongly each time.
#[test]
fn hole_punching_bears_what_is_wrong() {
    const CIRCUITS: usize = 8;
    let dir = temporary("abuse-dcutr");
    let none = ("Routing.Type", json!("none"));
    let relay =
        Peer::start(dir.path(), "relay", &[none.clone(), ("Swarm.RelayService.Enabled", json!(true))], None);
    let config = [
        none.clone(),
        ("Swarm.RelayClient.Enabled", json!(true)),
        ("Swarm.RelayClient.StaticRelays", json!([relay.address("tcp")])),
        ("Internal.Libp2pForceReachability", json!("private")),
    ];
    let victim = Peer::start(dir.path(), "victim", &config, None);
    wait_until("an address through the relay", || {
        let identity = victim.identity();
        if identity["Addresses"].to_string().contains("/p2p-circuit/") { Ok(()) } else { Err(identity) }
    });
    let honest = Peer::start(dir.path(), "honest", &[none], None);
    // Not through the relay, over which no blocks go.
    let identity = victim.identity();
    let addresses = identity["Addresses"].as_array().unwrap().iter().filter_map(Value::as_str);
    let mut direct = addresses.filter(|text| text.contains("/tcp/") && !text.contains("/p2p-circuit"));
    honest.connect(direct.next().expect("an address of its own"));
    for seed in 0..10 {
        serve(&victim, &honest, dir.path(), seed);
    }
    let before = victim.live_bytes();
    let liar = Liar::new(relay.address("tcp"));
    let protocol = "/libp2p/dcutr";
    let mut speeches = wrong(&right(protocol).unwrap(), &noise(1, 4000)).into_iter().cycle();
    let mut said = 0;
    liar.runtime.block_on(async {
        for _ in 0..CIRCUITS {
            let line = liar.connect().await.unwrap();
            let (_peer, mut opened) =
                line.peer.through(&liar.key, victim.id().parse().unwrap()).await.unwrap();
            let mut held = Vec::new();
            // It asks at most three times, and no more once it has given up.
            while let Ok(Some((name, stream))) = timeout(Duration::from_secs(3), opened.recv()).await {
                if name == protocol {
                    held.push(speak(stream, &speeches.next().unwrap()).await);
                    said += 1;
                }
            }
        }
    });
    assert!(said >= CIRCUITS, "{said} requests for a hole came through {CIRCUITS} circuits");
    let mut expected = [relay.id(), honest.id()];
    expected.sort_unstable();
    wait_until("only the honest ones are left", || {
        let peers = victim.peers();
        if peers == expected { Ok(()) } else { Err(peers) }
    });
    let after = wait_within(GIVEN_BACK_TIME_MAX, "what the hostile peer cost is given back", || {
        let now = victim.live_bytes();
        if now <= 1.1 * before { Ok(now) } else { Err((before, now)) }
    });
    say(&format!(
        "abuse of hole punching: {said} answers over {CIRCUITS} circuits; live bytes before {before}, after {after}"
    ));
    serve(&victim, &honest, dir.path(), 10);
}
