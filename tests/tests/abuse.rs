//! A peer without manners comes to a node that serves others.
//!
//! It sends blocks that nobody asked for and blocks that are not what was asked for, messages beyond every limit, a flood of
//! wants, HAVE and then silence, streams that never end, and frames that are none in every protocol the node speaks.
//! Nothing of it is stored, honest peers are served beside it, and when it has left nothing of it is held.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_tests::hostile::words::{
    blocks, framed, haves, malformed, old_blocks, raw_cid, text, wanted, wants,
};
use holdfast_tests::hostile::{Hostile, STREAM_WAIT_MAX, Stream, hear_frame};
use holdfast_tests::inputs::noise;
use holdfast_tests::need::{say, temporary};
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::{wait_until, wait_within};
use libp2p::futures::AsyncWriteExt as _;
use libp2p::identity::Keypair;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const BITSWAP: [&str; 4] =
    ["/ipfs/bitswap/1.2.0", "/ipfs/bitswap/1.1.0", "/ipfs/bitswap/1.0.0", "/ipfs/bitswap"];
/// Bytes of each file that honest peers exchange.
const FILE_BYTES: u64 = 12 << 20;

/// Wants of one message, and messages of one round of the flood.
const WANTS: usize = 1000;
const FLOOD_MESSAGES: usize = 100;
/// Streams that are held in the middle of a frame.
const HELD_STREAMS: usize = 60;
/// How long the node may take to give back what the hostile peer cost: timeouts of streams, idle threads and caches.
const GIVEN_BACK_TIME_MAX: Duration = Duration::from_secs(180);

/// What all parts of the hostile peer know.
struct Plan {
    address: String,
    protocols: Vec<String>,
    /// Blocks that the node has.
    served: Vec<Vec<u8>>,
    over: AtomicBool,
    seed: AtomicU64,
    /// CIDs of everything that it sent.
    sent: Mutex<HashSet<String>>,
    /// Wants of the node that came to it and were answered with lies.
    lied_to: AtomicU64,
    /// Which protocol is next to get malformed frames.
    turn: AtomicU64,
    /// How often each part was played to its end; the last is asking for all that is served.
    rounds: [AtomicU64; 6],
}

const FLOOD: usize = 0;
const BLOCKS: usize = 1;
const OVERSIZE: usize = 2;
const HELD: usize = 3;
const MALFORMED: usize = 4;

impl Plan {
    fn noise(&self, bytes: usize) -> Vec<u8> {
        noise(1_000_000 + self.seed.fetch_add(1, Ordering::Relaxed), bytes as u64)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn done(&self, part: usize) {
        self.rounds[part].fetch_add(1, Ordering::Relaxed);
    }

    /// New blocks, noted as sent.
    fn blocks(&self, count: usize, bytes: usize) -> Vec<Vec<u8>> {
        let data: Vec<Vec<u8>> = (0..count).map(|_| self.noise(bytes)).collect();
        self.sent.lock().unwrap().extend(data.iter().map(|data| text(&raw_cid(data))));
        data
    }
}

/// Sends, as far as the node takes it.
async fn send(stream: &mut Stream, bytes: &[u8]) -> bool {
    let sending = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    matches!(timeout(STREAM_WAIT_MAX, sending).await, Ok(Ok(())))
}

/// Plays one part again and again, each time over a connection of its own.
async fn play(plan: Arc<Plan>, key: Keypair, part: usize) {
    while !plan.is_over() {
        let Ok((peer, mut opened)) = Hostile::connect(&key, &plan.address).await else {
            // Refused for now: it has more connections than one peer may.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let peer = Arc::new(peer);
        // What the node asks for is answered, with lies.
        let mut liars = JoinSet::new();
        let (of_liar, speaker) = (Arc::clone(&plan), Arc::clone(&peer));
        liars.spawn(async move {
            let mut lies = JoinSet::new();
            while let Some((protocol, stream)) = opened.recv().await {
                lies.spawn(lie(Arc::clone(&of_liar), Arc::clone(&speaker), protocol, stream));
                while lies.try_join_next().is_some() {}
            }
        });
        let acting = async {
            match part {
                FLOOD => flood(&plan, &peer).await,
                BLOCKS => send_blocks(&plan, &peer).await,
                OVERSIZE => send_oversize(&plan, &peer).await,
                HELD => hold(&plan, &peer).await,
                MALFORMED => send_malformed(&plan, &peer).await,
                _ => ask_for_all(&plan, &peer).await,
            }
        };
        if timeout(Duration::from_secs(60), acting).await.is_ok_and(|outcome| outcome.is_ok()) {
            plan.done(part);
        }
        // The node opens its streams a moment later.
        sleep(Duration::from_millis(200)).await;
        liars.shutdown().await;
    }
}

type Outcome = std::io::Result<()>;

/// What the node opens: its wants are answered by HAVE and by blocks that are others; anything else is left open.
async fn lie(plan: Arc<Plan>, peer: Arc<Hostile>, protocol: String, mut stream: Stream) {
    let Ok(Some(mut own)) = peer.open(BITSWAP[0]).await else { return };
    while protocol.starts_with("/ipfs/bitswap") {
        let Ok(Ok(message)) = timeout(STREAM_WAIT_MAX, hear_frame(&mut stream, 4 << 20)).await else {
            return;
        };
        let cids = wanted(&message);
        if cids.is_empty() {
            continue;
        }
        plan.lied_to.fetch_add(cids.len() as u64, Ordering::Relaxed);
        let others = plan.blocks(cids.len().min(16), 5000);
        let said = framed(&[haves(&cids), blocks(&others)].concat());
        // Where answers belong, and on the stream that the node opened, where it expects none.
        if !send(&mut own, &said).await || !send(&mut stream, &said).await {
            return;
        }
    }
    sleep(Duration::from_secs(60)).await;
}

async fn flood(plan: &Plan, peer: &Hostile) -> Outcome {
    let Some(mut stream) = peer.open(BITSWAP[0]).await? else { return Ok(()) };
    for _ in 0..FLOOD_MESSAGES {
        let digests = plan.noise(WANTS * 32);
        let cids: Vec<Vec<u8>> = digests.chunks(32).map(raw_cid).collect();
        if plan.is_over() || !send(&mut stream, &framed(&wants(&cids))).await {
            break;
        }
    }
    Ok(())
}

async fn send_blocks(plan: &Plan, peer: &Hostile) -> Outcome {
    for protocol in BITSWAP {
        let Some(mut stream) = peer.open(protocol).await? else { continue };
        for _ in 0..8 {
            let data = plan.blocks(16, 10_000);
            let cids: Vec<Vec<u8>> = data.iter().map(|data| raw_cid(data)).collect();
            // It has them all, it says, and what is wanted too.
            let said = [blocks(&data), old_blocks(&data), haves(&cids), haves(&plan.served)].concat();
            if plan.is_over() || !send(&mut stream, &framed(&said)).await {
                break;
            }
        }
    }
    Ok(())
}

async fn send_oversize(plan: &Plan, peer: &Hostile) -> Outcome {
    for protocol in BITSWAP {
        // A block of 3 MiB in a message that is small enough, and a message that is not.
        for (count, bytes) in [(1, 3 << 20), (6, 1 << 20)] {
            if plan.is_over() {
                return Ok(());
            }
            let Some(mut stream) = peer.open(protocol).await? else { continue };
            send(&mut stream, &framed(&blocks(&plan.blocks(count, bytes)))).await;
        }
    }
    Ok(())
}

/// Streams in the middle of a frame, which are held.
async fn hold(plan: &Plan, peer: &Hostile) -> Outcome {
    let mut held = Vec::new();
    for index in 0..HELD_STREAMS {
        let protocol = &plan.protocols[index % plan.protocols.len()];
        if let Some(mut stream) = peer.open(protocol).await? {
            let mut begun = vec![0x80, 0x80, 0x40];
            begun.extend(plan.noise(20_000));
            send(&mut stream, &begun).await;
            held.push(stream);
        }
    }
    while !plan.is_over() {
        sleep(Duration::from_millis(50)).await;
        if held.len() < HELD_STREAMS / 2 {
            break;
        }
        plan.done(HELD);
    }
    Ok(())
}

/// The next of the node's protocols, which may end the connection for it.
async fn send_malformed(plan: &Plan, peer: &Hostile) -> Outcome {
    let turn = plan.turn.fetch_add(1, Ordering::Relaxed) as usize;
    let protocol = &plan.protocols[turn % plan.protocols.len()];
    for (_, frame) in malformed(&plan.noise(4000)) {
        if plan.is_over() {
            return Ok(());
        }
        let Some(mut stream) = peer.open(protocol).await? else { break };
        if send(&mut stream, &frame).await {
            // It may say something, or end the stream; it may not end itself.
            let _ = timeout(Duration::from_millis(20), hear_frame(&mut stream, 1 << 20)).await;
        }
    }
    Ok(())
}

/// Asks for everything that the node serves, with the highest priority, and reads what comes: as fast as it can.
async fn ask_for_all(plan: &Plan, peer: &Hostile) -> Outcome {
    let Some(mut stream) = peer.open(BITSWAP[0]).await? else { return Ok(()) };
    for _ in 0..20 {
        if plan.is_over() || !send(&mut stream, &framed(&wants(&plan.served))).await {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn file(dir: &Path, seed: u64) -> PathBuf {
    let path = dir.join(format!("file-{seed}"));
    std::fs::write(&path, noise(seed, FILE_BYTES)).unwrap();
    path
}

fn metric(peer: &Peer, name: &str) -> f64 {
    let mut wire = holdfast_tests::wire::Wire::tcp(peer.daemon().api());
    let host = peer.daemon().api().to_string();
    let ask = holdfast_tests::ask::Ask::new("GET", "/debug/metrics/prometheus");
    let text = ask.send_over(&mut wire, &host).ok().text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in: {text}")).parse().unwrap()
}

/// Has one read from the other, and compares.
fn exchange(from: &Peer, to: &Peer, path: &Path) -> String {
    let cid = from.add(&["--cid-version=1"], path);
    let read = to.run(["cat", "--timeout=120s", &cid]).ok().stdout;
    assert!(read == std::fs::read(path).unwrap(), "{cid} came with other bytes");
    cid
}

#[test]
fn a_hostile_peer_stores_nothing_starves_nobody_and_leaves_nothing_behind() {
    let dir = temporary("abuse");
    let victim = Peer::start(dir.path(), "victim", &[], None);
    let honest = Peer::start(dir.path(), "honest", &[], None);
    honest.connect(&victim.address("tcp"));
    let served = exchange(&victim, &honest, &file(dir.path(), 1));
    exchange(&honest, &victim, &file(dir.path(), 2));
    let blocks_of = |peer: &Peer| -> HashSet<String> {
        peer.run(["refs", "local"]).ok().out().lines().map(str::to_owned).collect()
    };
    let before = metric(&victim, "holdfast_allocator_allocated_bytes");
    let leaves = victim.run(["refs", "-r", &served]).ok().out();
    let identity = victim.identity();
    let protocols: Vec<String> = identity["Protocols"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    for expected in BITSWAP.into_iter().chain(["/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"]) {
        assert!(protocols.iter().any(|name| name == expected), "{expected} is not among {protocols:?}");
    }
    let plan = Arc::new(Plan {
        address: victim.address("quic-v1"),
        protocols,
        served: leaves.lines().map(holdfast_tests::hostile::words::binary).collect(),
        over: AtomicBool::new(false),
        seed: AtomicU64::new(0),
        sent: Mutex::default(),
        lied_to: AtomicU64::new(0),
        turn: AtomicU64::new(0),
        rounds: Default::default(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // The parts come as one peer each, but for two that share an identity.
    let keys: Vec<Keypair> = (0..5).map(|_| Keypair::generate_ed25519()).collect();
    let playing: Vec<_> = (0..plan.rounds.len())
        .map(|part| runtime.spawn(play(Arc::clone(&plan), keys[part % keys.len()].clone(), part)))
        .collect();
    // Honest peers go on beside it, both ways, until each part was played.
    let mut exchanged = 0;
    wait_within(Duration::from_secs(300), "every part is played while honest peers exchange", || {
        let seed = 10 + 2 * exchanged;
        exchange(&victim, &honest, &file(dir.path(), seed));
        exchange(&honest, &victim, &file(dir.path(), seed + 1));
        exchanged += 1;
        let rounds = plan.rounds.each_ref().map(|count| count.load(Ordering::Relaxed));
        // One turn more: the last one has ended then.
        let all_protocols = plan.turn.load(Ordering::Relaxed) > plan.protocols.len() as u64;
        let all = all_protocols && rounds.iter().all(|count| *count > 0);
        if exchanged >= 2 && all { Ok(()) } else { Err(rounds) }
    });
    // Something that only a liar claims to have is not found, and not made up.
    let nowhere = text(&raw_cid(b"nobody has this"));
    let words = victim.run(["cat", "--timeout=3s", &nowhere]).failed().err();
    assert!(words.contains(&nowhere) || words.contains("deadline"), "{words}");
    let peak = metric(&victim, "holdfast_allocator_allocated_bytes");
    let share: Vec<u64> = keys
        .iter()
        .map(|key| {
            let id = key.public().to_peer_id();
            let ledger = victim.daemon().post(&format!("/api/v0/bitswap/ledger?arg={id}")).json();
            ledger["Sent"].as_u64().unwrap_or_default()
        })
        .collect();
    plan.over.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        for part in playing {
            part.await.unwrap();
        }
    });
    drop(runtime);
    // It is gone, the node is not.
    wait_until("only the honest peer is left", || {
        let peers = victim.peers();
        if peers == [honest.id()] { Ok(()) } else { Err(peers) }
    });
    let sent = std::mem::take(&mut *plan.sent.lock().unwrap());
    // Two others that exchange the same files in peace, and are asked the same: books, logs of the index and caches, which
    // grow with what a node does and not with who does it, cost the same there. Beyond it a node may remember five peers that
    // left. What threads keep of freed memory, which depends on how many were busy at once, is not among the live bytes.
    let calm = Peer::start(dir.path(), "calm", &[], None);
    let friend = Peer::start(dir.path(), "friend", &[], None);
    friend.connect(&calm.address("tcp"));
    for seed in [1].into_iter().chain((10..10 + 2 * exchanged).step_by(2)) {
        exchange(&calm, &friend, &file(dir.path(), seed));
        exchange(&friend, &calm, &file(dir.path(), seed + 1));
    }
    calm.run(["refs", "-r", &served]).ok();
    calm.run(["cat", "--timeout=3s", &nowhere]).failed();
    blocks_of(&calm);
    let [without, after] =
        wait_within(GIVEN_BACK_TIME_MAX, "what the hostile peer cost is given back", || {
            let [without, now] =
                [&calm, &victim].map(|peer| metric(peer, "holdfast_allocator_allocated_bytes"));
            if now <= 1.1 * without { Ok([without, now]) } else { Err((before, without, now)) }
        });
    let stored = blocks_of(&victim);
    assert!(
        !leaves.is_empty() && leaves.lines().all(|cid| stored.contains(cid)),
        "the same text for a block"
    );
    assert_eq!(stored.intersection(&sent).count(), 0, "blocks of the hostile peer were stored");
    victim.run(["repo", "verify"]).ok();
    exchange(&victim, &honest, &file(dir.path(), 3));
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    say(&format!(
        "abuse: {} blocks sent, {} wants lied to, rounds {:?}; live bytes before {:.1} MiB, beside it {:.1}, after {:.1}, of a \
         node that never met it {:.1}; it was served {:.1} MiB while honest peers exchanged {:.1}",
        sent.len(),
        plan.lied_to.load(Ordering::Relaxed),
        plan.rounds,
        mib(before),
        mib(peak),
        mib(after),
        mib(without),
        mib(share.iter().sum::<u64>() as f64),
        mib((exchanged * 2 * FILE_BYTES) as f64)
    ));
}
