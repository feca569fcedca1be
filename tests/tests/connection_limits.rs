//! How many connections a node takes, of each peer and of those that do not say who they are, and which it gives up for others.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use holdfast_tests::crowd::raise_files;
use holdfast_tests::hostile::greed::Taker;
use holdfast_tests::hostile::words::{binary, raw_cid};
use holdfast_tests::hostile::{Hostile, attend, hear_frame};
use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use libp2p::PeerId;
use libp2p::identity::Keypair;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

const IDENTIFY: &str = "/ipfs/id/1.0.0";

/// Connections that one peer may have.
const OF_PEER_MAX: usize = 8;
/// Connections that may be without a name where the config allows no more memory than this.
const MEMORY: &str = "1MiB";
const NAMELESS_MAX: usize = 200;
/// Connections that are opened without a word.
const SILENT: usize = 600;
/// Other files that a node may open meanwhile: connections of commands.
const OTHER_FILES_MAX: usize = 20;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn node(dir: &Path, config: &[(&str, Value)]) -> Peer {
    let config = [&[("Routing.Type", json!("none"))], config].concat();
    Peer::start(dir, "node", &config, None)
}

/// How many connections a node lists with a peer.
fn connections(node: &Peer, peer: PeerId) -> usize {
    let out = node.run(["swarm", "peers"]).ok().out();
    let end = format!("/p2p/{}", peer.to_base58());
    out.lines().filter(|line| line.ends_with(&end)).count()
}

fn wait_for_connections(node: &Peer, peer: PeerId, count: usize) {
    wait_until(&format!("{count} connections of one peer"), || {
        let now = connections(node, peer);
        if now == count { Ok(()) } else { Err(now) }
    });
}

/// A connection on which pings are answered.
struct Line {
    peer: Hostile,
    attending: JoinHandle<()>,
}

impl Line {
    async fn open(key: &Keypair, to: &str) -> Self {
        let (peer, opened) = Hostile::connect(key, to).await.unwrap();
        Self { peer, attending: tokio::spawn(attend(opened)) }
    }

    /// Whether the node still says who it is.
    async fn is_served(&self) -> bool {
        match self.peer.open(IDENTIFY).await {
            Ok(Some(mut stream)) => hear_frame(&mut stream, 1 << 16).await.is_ok(),
            _ => false,
        }
    }
}

#[test]
fn the_ninth_connection_of_a_peer_is_refused_and_eight_stay() {
    let dir = temporary("connections-of-peer");
    let node = node(dir.path(), &[]);
    let runtime = runtime();
    for transport in ["tcp", "quic-v1"] {
        let (key, address) = (Keypair::generate_ed25519(), node.address(transport));
        let id = key.public().to_peer_id();
        let mut lines: Vec<Line> =
            (0..OF_PEER_MAX).map(|_| runtime.block_on(Line::open(&key, &address))).collect();
        wait_for_connections(&node, id, OF_PEER_MAX);
        // What is refused is ended when it has been made: only then is it known whose it is.
        if let Ok((ninth, opened)) = runtime.block_on(Hostile::connect(&key, &address)) {
            let ended = runtime.spawn(attend(opened));
            wait_until("the end of the ninth", || if ended.is_finished() { Ok(()) } else { Err(ninth.id()) });
        }
        for line in &lines {
            assert!(runtime.block_on(line.is_served()), "{transport}: one of the eight was ended");
        }
        assert_eq!(connections(&node, id), OF_PEER_MAX);
        // Where one ends there is room for another.
        lines.pop();
        wait_for_connections(&node, id, OF_PEER_MAX - 1);
        lines.push(runtime.block_on(Line::open(&key, &address)));
        wait_for_connections(&node, id, OF_PEER_MAX);
    }
}

#[test]
fn without_limits_a_peer_may_have_more_connections() {
    let dir = temporary("connections-unlimited");
    let node = node(dir.path(), &[("Swarm.ResourceMgr.Enabled", json!(false))]);
    let (runtime, key, address) = (runtime(), Keypair::generate_ed25519(), node.address("tcp"));
    let lines: Vec<Line> =
        (0..2 * OF_PEER_MAX).map(|_| runtime.block_on(Line::open(&key, &address))).collect();
    wait_for_connections(&node, key.public().to_peer_id(), 2 * OF_PEER_MAX);
    for line in &lines {
        assert!(runtime.block_on(line.is_served()));
    }
}

/// Where a node takes TCP connections.
fn socket(node: &Peer) -> SocketAddr {
    let address = node.address("tcp");
    let mut parts = address.split('/').skip(2);
    let (ip, port) = (parts.next().unwrap(), parts.nth(1).unwrap());
    SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap())
}

/// Connections that nobody says a word on.
struct Silent(Vec<TcpStream>);

impl Silent {
    fn open(to: SocketAddr) -> Self {
        let open = |_| {
            let stream = TcpStream::connect(to).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        };
        Self((0..SILENT).map(open).collect())
    }

    /// How many the node has not ended.
    fn held(&mut self) -> usize {
        self.0.retain_mut(
            |stream| matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock),
        );
        self.0.len()
    }
}

fn open_files(node: &Peer) -> usize {
    let process = node.daemon().pid().as_raw_nonzero();
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

#[test]
fn connections_that_do_not_say_whose_they_are_are_few_and_end() {
    raise_files();
    let dir = temporary("connections-nameless");
    let node = node(dir.path(), &[("Swarm.ResourceMgr.MaxMemory", json!(MEMORY))]);
    let runtime = runtime();
    let line = runtime.block_on(Line::open(&Keypair::generate_ed25519(), &node.address("tcp")));
    assert!(runtime.block_on(line.is_served()));
    let (to, before) = (socket(&node), open_files(&node));
    let opening = std::thread::spawn(move || Silent::open(to));
    let mut most = before;
    while !opening.is_finished() {
        most = most.max(open_files(&node));
    }
    let mut silent = opening.join().unwrap();
    wait_until("all but a few are ended", || {
        most = most.max(open_files(&node));
        let held = silent.held();
        if held <= NAMELESS_MAX { Ok(()) } else { Err(held) }
    });
    assert!(most <= before + NAMELESS_MAX + OTHER_FILES_MAX, "{most} files are open, before {before}");
    assert!(most >= before + NAMELESS_MAX / 2, "none are taken at all: {most} files, before {before}");
    // Who has said who he is notices nothing of it; nor does, in the end, who comes then.
    assert!(runtime.block_on(line.is_served()));
    wait_until("the end of all", || {
        let held = silent.held();
        if held == 0 { Ok(()) } else { Err(held) }
    });
    let late = runtime.block_on(Line::open(&Keypair::generate_ed25519(), &node.address("tcp")));
    assert!(runtime.block_on(late.is_served()) && runtime.block_on(line.is_served()));
}

#[test]
fn without_limits_more_say_nothing_and_end_all_the_same() {
    raise_files();
    let dir = temporary("connections-nameless-unlimited");
    let config =
        [("Swarm.ResourceMgr.MaxMemory", json!(MEMORY)), ("Swarm.ResourceMgr.Enabled", json!(false))];
    let node = node(dir.path(), &config);
    let (to, before) = (socket(&node), open_files(&node));
    let mut silent = Silent::open(to);
    wait_until("all are taken", || {
        let now = open_files(&node);
        if now >= before + SILENT { Ok(()) } else { Err((before, now)) }
    });
    wait_until("the end of all", || {
        let held = silent.held();
        if held == 0 { Ok(()) } else { Err(held) }
    });
}

/// `Swarm.ConnMgr` of a node that is soon full.
const HIGH: usize = 6;
const LOW: usize = 2;
/// Strangers that come: enough to be above the high watermark more than once.
const STRANGERS: usize = 16;
/// Blocks that are asked for, and bytes of each: more than fits into what lies between two peers.
const BLOCKS: usize = 24;
const BLOCK_BYTES: u64 = 1 << 20;

/// Strangers come until most of them were given up again.
fn crowd(runtime: &Runtime, to: &str) -> Vec<Line> {
    let lines: Vec<Line> =
        (0..STRANGERS).map(|_| runtime.block_on(Line::open(&Keypair::generate_ed25519(), to))).collect();
    wait_until("strangers are given up", || {
        let gone = lines.iter().filter(|line| line.attending.is_finished()).count();
        if gone + HIGH >= STRANGERS { Ok(()) } else { Err(gone) }
    });
    lines
}

#[test]
fn a_peer_that_blocks_are_under_way_to_is_kept_when_others_are_given_up() {
    let dir = temporary("connections-busy");
    let config = [
        ("Swarm.ConnMgr.HighWater", json!(HIGH)),
        ("Swarm.ConnMgr.LowWater", json!(LOW)),
        ("Swarm.ConnMgr.GracePeriod", json!("1s")),
        ("Swarm.ConnMgr.SilencePeriod", json!("1s")),
    ];
    let node = node(dir.path(), &config);
    let wanted: Vec<Vec<u8>> = (0..BLOCKS)
        .map(|seed| {
            let path = dir.path().join("block");
            std::fs::write(&path, noise(seed as u64, BLOCK_BYTES)).unwrap();
            binary(&node.put_block(&[], &path))
        })
        .collect();
    let (runtime, key, address) = (runtime(), Keypair::generate_ed25519(), node.address("tcp"));
    let id = key.public().to_peer_id();
    // It came first, which makes it the first to be given up; and it reads nothing of what it asked for, so that there is more.
    let mut taker = runtime.block_on(Taker::connect(&key, &address)).unwrap();
    runtime.block_on(taker.ask(&wanted, 1)).unwrap();
    wait_until("blocks are under way", || {
        let ledger = node.daemon().post(&format!("/api/v0/bitswap/ledger?arg={id}")).json();
        if ledger["Sent"].as_u64() > Some(0) { Ok(()) } else { Err(ledger) }
    });
    let strangers = crowd(&runtime, &address);
    assert_eq!(connections(&node, id), 1, "it is given up with the others");
    let mut missing = wanted.clone();
    runtime.block_on(async {
        while !missing.is_empty() {
            let blocks = tokio::time::timeout(Duration::from_secs(60), taker.next()).await.unwrap();
            let came: Vec<_> =
                blocks.expect("the node is there").iter().map(|block| raw_cid(block)).collect();
            missing.retain(|cid| !came.contains(cid));
        }
    });
    drop(strangers);
    // It has all that it wanted: now it is one of many.
    let _others = crowd(&runtime, &address);
    wait_for_connections(&node, id, 0);
}
