//! Everything that a peer without manners does to a node, in parts that go on beside each other until a test has enough.
//!
//! Each part counts what it did, so that none may silently not happen.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::futures::AsyncWriteExt as _;
use libp2p::identity::Keypair;
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::greed::{self, Taker};
use super::shapes::{self, End, Speech};
use super::words::{
    PRIORITY_MAX, RAW_PREFIX, binary, blocks, framed, haves, old_blocks, raw_cid, text, wanted, wants,
};
use super::{Hostile, STREAM_WAIT_MAX, Stream, hear_frame, send};
use crate::inputs::noise;
use crate::swarm::Peer;

/// How the CIDs of raw blocks begin.
const RAW: &str = "bafkrei";

/// All versions of Bitswap.
pub const BITSWAP: [&str; 4] =
    ["/ipfs/bitswap/1.2.0", "/ipfs/bitswap/1.1.0", "/ipfs/bitswap/1.0.0", "/ipfs/bitswap"];

/// Wants of one message of the flood, and messages of one wave of it: 100,000 wants as fast as they are taken.
pub const WANTS: usize = 1000;
/// See [`WANTS`].
pub const FLOOD_MESSAGES: usize = 100;
/// Waves that are made before the flood begins, so that making them slows nothing. They come again and again: a node that
/// remembers a thousand wants has forgotten them by then.
const FLOOD_WAVES: usize = 4;
/// How long waves follow each other on one connection.
const FLOOD_TIME: Duration = Duration::from_secs(5);
/// Streams that are held in the middle of a frame.
pub const HELD_STREAMS: usize = 60;
/// Blocks that nobody asked for: of one message, and messages of one stream.
pub const UNREQUESTED: (usize, usize) = (16, 8);
/// What is said in a protocol in one round.
const SPEECHES: usize = 12;
/// How long something is said for, when the node does not take it.
const SPEECH_TIME_MAX: Duration = Duration::from_secs(3);
/// How long one round of a part may take.
const ROUND_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a promise that is not kept is held.
const SILENCE_TIME: Duration = Duration::from_secs(3);
/// Identities of an attack.
pub const PEERS_MAX: usize = 6;

/// A part of the attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// 100,000 wants of blocks that nobody has, and as many again for seconds.
    Flood,
    /// Blocks that nobody asked for, and HAVE of everything.
    Blocks,
    /// Blocks and messages beyond the limits.
    Oversize,
    /// Streams in the middle of a frame, which are held.
    Held,
    /// Each protocol said wrongly.
    Malformed,
    /// All that the node serves, again and again.
    Greed,
    /// HAVE of all that the node asks for, and nothing more.
    Silent,
}

impl Part {
    /// All of them, in an order in which those that hold streams share an identity with the flood: see [`Attack::begin`].
    pub const ALL: [Self; 7] =
        [Self::Held, Self::Blocks, Self::Oversize, Self::Greed, Self::Malformed, Self::Silent, Self::Flood];
}

/// Whom it is done to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its addresses, which are used in turn.
    pub addresses: Vec<String>,
    /// The protocols that it speaks.
    pub protocols: Vec<String>,
    /// CIDs of blocks that it has.
    pub served: Vec<Vec<u8>>,
}

impl Target {
    /// A node over these transports that it listens on, which has the file below `root`.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    pub fn of(peer: &Peer, root: &str, transports: &[&str]) -> Self {
        let protocols = peer.identity()["Protocols"].as_array().cloned().unwrap_or_default();
        let leaves = peer.run(["refs", "-r", root]).ok().out();
        Self {
            addresses: transports.iter().map(|transport| peer.address(transport)).collect(),
            protocols: protocols.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            served: leaves.lines().filter(|cid| cid.starts_with(RAW)).map(binary).collect(),
        }
    }
}

/// What all parts know.
#[derive(Debug)]
pub struct Plan {
    target: Target,
    over: AtomicBool,
    seed: AtomicU64,
    /// CIDs of all blocks that were sent.
    sent: Mutex<HashSet<String>>,
    lied_to: AtomicU64,
    promised: AtomicU64,
    taken: AtomicU64,
    connections: AtomicU64,
    turn: AtomicU64,
    rounds: [AtomicU64; Part::ALL.len()],
    /// Messages of the flood, if it is a part.
    flood: Vec<Vec<u8>>,
    wants: AtomicU64,
    begun: Instant,
}

impl Plan {
    /// A plan against a node. Nothing is done yet.
    pub fn new(target: Target, parts: &[Part]) -> Self {
        let mut plan = Self {
            target,
            over: AtomicBool::new(false),
            seed: AtomicU64::new(1_000_000),
            sent: Mutex::default(),
            lied_to: AtomicU64::new(0),
            promised: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            rounds: Default::default(),
            flood: Vec::new(),
            wants: AtomicU64::new(0),
            begun: Instant::now(),
        };
        if parts.contains(&Part::Flood) {
            plan.flood = (0..FLOOD_WAVES * FLOOD_MESSAGES).map(|_| plan.flood_message()).collect();
            plan.begun = Instant::now();
        }
        plan
    }

    /// Wants of blocks that nobody has, in one frame.
    fn flood_message(&self) -> Vec<u8> {
        let digests = self.noise(WANTS * 32);
        let cids: Vec<Vec<u8>> =
            digests.chunks(32).map(|digest| [&RAW_PREFIX[..], digest].concat()).collect();
        framed(&wants(&cids, PRIORITY_MAX))
    }

    /// Wants of the flood that were taken, and how many in each second since it began.
    pub fn flooded(&self) -> (u64, f64) {
        let wants = self.wants.load(Ordering::Relaxed);
        (wants, wants as f64 / self.begun.elapsed().as_secs_f64())
    }

    /// Wants of the node that came and were answered with lies.
    pub fn lied_to(&self) -> u64 {
        self.lied_to.load(Ordering::Relaxed)
    }

    /// Bytes of blocks that the greedy part was given.
    pub fn taken_bytes(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// How often each part was played to its end and did something.
    pub fn rounds(&self) -> [u64; Part::ALL.len()] {
        self.rounds.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Turns of protocols that were said wrongly.
    pub fn turns(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    /// The CIDs of all blocks that were sent.
    pub fn sent(&self) -> HashSet<String> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn noise(&self, bytes: usize) -> Vec<u8> {
        noise(self.seed.fetch_add(1, Ordering::Relaxed), bytes as u64)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// New blocks, noted as sent.
    fn blocks(&self, count: usize, bytes: usize) -> Vec<Vec<u8>> {
        let data: Vec<Vec<u8>> = (0..count).map(|_| self.noise(bytes)).collect();
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.extend(data.iter().map(|data| text(&raw_cid(data))));
        data
    }

    fn address(&self) -> &str {
        let next = self.connections.fetch_add(1, Ordering::Relaxed) as usize;
        &self.target.addresses[next % self.target.addresses.len()]
    }
}

/// An attack that goes on.
#[derive(Debug)]
pub struct Attack {
    plan: Arc<Plan>,
    peers: Vec<PeerId>,
    playing: Vec<JoinHandle<()>>,
    runtime: Runtime,
}

impl Attack {
    /// Begins these parts, each as a peer of its own, but for the seventh, which shares the identity of the first.
    ///
    /// # Panics
    /// When there is no runtime.
    pub fn begin(target: Target, parts: &[Part]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let plan = Arc::new(Plan::new(target, parts));
        let keys: Vec<Keypair> =
            (0..parts.len().min(PEERS_MAX)).map(|_| Keypair::generate_ed25519()).collect();
        let playing = parts
            .iter()
            .enumerate()
            .map(|(at, part)| runtime.spawn(play(Arc::clone(&plan), keys[at % keys.len()].clone(), *part)));
        let playing = playing.collect();
        let peers = keys.iter().map(|key| key.public().to_peer_id()).collect();
        Self { plan, peers, playing, runtime }
    }

    /// What was done so far.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The peers it consists of.
    pub fn peers(&self) -> &[PeerId] {
        &self.peers
    }

    /// Ends it; all its connections are closed. Returns what was done.
    ///
    /// # Panics
    /// When a part did.
    pub fn end(self) -> Arc<Plan> {
        self.plan.over.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            for part in self.playing {
                part.await.unwrap();
            }
        });
        self.plan
    }
}

/// What a part handed over: blocks, messages or streams.
type Done = io::Result<usize>;

/// Plays one part again and again, each time over a connection of its own.
async fn play(plan: Arc<Plan>, key: Keypair, part: Part) {
    while !plan.is_over() {
        let done = if part == Part::Greed { take(&plan, &key).await } else { round(&plan, &key, part).await };
        match done {
            Ok(1..) => {
                plan.rounds[part as usize].fetch_add(1, Ordering::Relaxed);
            }
            // Refused for now: it has more connections than one peer may.
            _ => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// One round, in which what the node asks for is answered with lies.
async fn round(plan: &Arc<Plan>, key: &Keypair, part: Part) -> Done {
    let (peer, mut opened) = Hostile::connect(key, plan.address()).await?;
    let peer = Arc::new(peer);
    let mut liars = JoinSet::new();
    let (of_liar, speaker) = (Arc::clone(plan), Arc::clone(&peer));
    liars.spawn(async move {
        let mut lies = JoinSet::new();
        while let Some((protocol, stream)) = opened.recv().await {
            let (plan, speaker) = (Arc::clone(&of_liar), Arc::clone(&speaker));
            if part == Part::Silent && protocol.starts_with("/ipfs/bitswap") {
                lies.spawn(promise(plan, speaker, stream));
            } else {
                lies.spawn(lie(plan, speaker, protocol, stream));
            }
            while lies.try_join_next().is_some() {}
        }
    });
    let acting = async {
        match part {
            Part::Flood => flood(plan, &peer).await,
            Part::Blocks => send_blocks(plan, &peer).await,
            Part::Oversize => send_oversize(plan, &peer).await,
            Part::Held => hold(plan, &peer).await,
            Part::Malformed => send_malformed(plan, &peer).await,
            Part::Silent => be_silent(plan).await,
            // It reads, and has a connection of its own.
            Part::Greed => Ok(0),
        }
    };
    let done = timeout(ROUND_TIME_MAX, acting).await.unwrap_or(Ok(0));
    // The node opens its streams a moment later.
    sleep(Duration::from_millis(200)).await;
    liars.shutdown().await;
    done
}

/// What the node opens: its wants are answered by HAVE and by blocks that are others; anything else by what is none.
async fn lie(plan: Arc<Plan>, peer: Arc<Hostile>, protocol: String, mut stream: Stream) {
    if !protocol.starts_with("/ipfs/bitswap") {
        let said = shapes::wrong(&[], &plan.noise(4000));
        let turn = plan.seed.fetch_add(1, Ordering::Relaxed) as usize;
        send(&mut stream, &said[turn % said.len()].bytes).await;
        sleep(ROUND_TIME_MAX).await;
        return;
    }
    let Ok(Some(mut own)) = peer.open(BITSWAP[0]).await else { return };
    while let Ok(Ok(message)) = timeout(STREAM_WAIT_MAX, hear_frame(&mut stream, 4 << 20)).await {
        let cids = wanted(&message);
        if cids.is_empty() {
            continue;
        }
        let others = plan.blocks(cids.len().min(16), 5000);
        let said = framed(&[haves(&cids), blocks(&others)].concat());
        // Where answers belong, and on the stream that the node opened, where it expects none.
        if !send(&mut own, &said).await {
            return;
        }
        plan.lied_to.fetch_add(cids.len() as u64, Ordering::Relaxed);
        if !send(&mut stream, &said).await {
            return;
        }
    }
}

/// Says HAVE to all that the node asks for on this stream.
async fn promise(plan: Arc<Plan>, peer: Arc<Hostile>, mut stream: Stream) {
    let Ok(Some(mut own)) = peer.open(BITSWAP[0]).await else { return };
    while let Ok(Ok(message)) = timeout(STREAM_WAIT_MAX, hear_frame(&mut stream, 4 << 20)).await {
        let cids = wanted(&message);
        if !cids.is_empty() && !send(&mut own, &framed(&haves(&cids))).await {
            return;
        }
        plan.promised.fetch_add(cids.len() as u64, Ordering::Relaxed);
    }
}

/// Waits while promises are made; how many there were.
async fn be_silent(plan: &Plan) -> Done {
    let before = plan.promised.load(Ordering::Relaxed);
    let begun = Instant::now();
    while !plan.is_over() && begun.elapsed() < SILENCE_TIME {
        sleep(Duration::from_millis(50)).await;
    }
    Ok((plan.promised.load(Ordering::Relaxed) - before) as usize)
}

/// Sends a flood of wants, in whole waves; messages that were taken.
async fn flood(plan: &Plan, peer: &Hostile) -> Done {
    let Some(mut stream) = peer.open(BITSWAP[0]).await? else { return Ok(0) };
    let (begun, mut sent) = (Instant::now(), 0);
    for message in plan.flood.iter().cycle() {
        if sent % FLOOD_MESSAGES == 0 && begun.elapsed() >= FLOOD_TIME {
            break;
        }
        if plan.is_over() || !send(&mut stream, message).await {
            break;
        }
        plan.wants.fetch_add(WANTS as u64, Ordering::Relaxed);
        sent += 1;
    }
    Ok(sent)
}

/// Sends blocks that nobody asked for, in all versions; messages that were taken.
async fn send_blocks(plan: &Plan, peer: &Hostile) -> Done {
    let (mut taken, (count, messages)) = (0, UNREQUESTED);
    for protocol in BITSWAP {
        let Some(mut stream) = peer.open(protocol).await? else { continue };
        for _ in 0..messages {
            let data = plan.blocks(count, 10_000);
            let cids: Vec<Vec<u8>> = data.iter().map(|data| raw_cid(data)).collect();
            // It has them all, it says, and what is served too.
            let said = [blocks(&data), old_blocks(&data), haves(&cids), haves(&plan.target.served)].concat();
            if plan.is_over() || !send(&mut stream, &framed(&said)).await {
                break;
            }
            taken += 1;
        }
    }
    Ok(taken)
}

/// A block of 3 MiB in a message that is small enough, and a message that is not; streams on which they went out.
async fn send_oversize(plan: &Plan, peer: &Hostile) -> Done {
    let mut streams = 0;
    for protocol in BITSWAP {
        for (count, bytes) in [(1, 3 << 20), (6, 1 << 20)] {
            if plan.is_over() {
                return Ok(streams);
            }
            let Some(mut stream) = peer.open(protocol).await? else { continue };
            // It may end the stream before it has all.
            send(&mut stream, &framed(&blocks(&plan.blocks(count, bytes)))).await;
            streams += 1;
        }
    }
    Ok(streams)
}

/// Streams in the middle of a frame, which are held for a while.
async fn hold(plan: &Plan, peer: &Hostile) -> Done {
    let mut held = Vec::new();
    let protocols = plan.target.protocols.iter().filter(|name| !shapes::is_for_circuits(name)).cycle();
    for protocol in protocols.take(HELD_STREAMS) {
        if let Some(mut stream) = peer.open(protocol).await? {
            let mut begun = vec![0x80, 0x80, 0x40];
            begun.extend(plan.noise(20_000));
            send(&mut stream, &begun).await;
            held.push(stream);
        }
    }
    for _ in 0..100 {
        if plan.is_over() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(held.len())
}

/// The next of the node's protocols, which may end the connection for it; streams that were opened for it.
async fn send_malformed(plan: &Plan, peer: &Hostile) -> Done {
    let turn = plan.turn.fetch_add(1, Ordering::Relaxed) as usize;
    let protocol = &plan.target.protocols[turn % plan.target.protocols.len()];
    let right = shapes::right(protocol).unwrap_or_default();
    let (mut opened, mut held) = (0, Vec::new());
    let all = shapes::wrong(&right, &plan.noise(4000));
    // Another dozen each time, so that all protocols have their turn soon.
    for speech in all.iter().cycle().skip(turn * SPEECHES).take(SPEECHES) {
        if plan.is_over() {
            break;
        }
        let Some(stream) = peer.open(protocol).await? else { break };
        opened += 1;
        held.extend(speak(stream, speech).await);
    }
    Ok(opened.max(usize::from(shapes::is_for_circuits(protocol))))
}

/// Says something on a stream, and gives it back if it is to be held.
pub async fn speak(mut stream: Stream, speech: &Speech) -> Option<Stream> {
    let saying = async {
        for _ in 0..speech.times {
            stream.write_all(&speech.bytes).await?;
        }
        stream.flush().await?;
        if speech.end == End::HalfClose { stream.close().await } else { Ok(()) }
    };
    // Whoever is not read any more has said enough.
    let said = matches!(timeout(SPEECH_TIME_MAX, saying).await, Ok(Ok(())));
    if said && speech.end == End::Never {
        return Some(stream);
    }
    // It may say something, or end the stream; it may not end itself.
    let _ = timeout(Duration::from_millis(20), hear_frame(&mut stream, 1 << 20)).await;
    None
}

/// Takes all that is served for a while; 1 if anything came.
async fn take(plan: &Plan, key: &Keypair) -> Done {
    let mut taker = Taker::connect(key, plan.address()).await?;
    let before = plan.taken_bytes();
    let ended = async {
        for _ in 0..250 {
            if plan.is_over() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        taken = greed::take_forever(&mut taker, &plan.target.served, &plan.taken) => taken?,
        () = ended => {}
    }
    Ok(usize::from(plan.taken_bytes() > before))
}
