//! What an honest peer gets of a node beside peers without manners: counted in bytes of blocks, not in time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_tests::hostile::attack::{Attack, Part, Target};
use holdfast_tests::hostile::greed::{Taker, echo, fetch, take_forever};
use holdfast_tests::hostile::words::{Ask, framed, haves, lines, text};
use holdfast_tests::hostile::{Hostile, Opened, Stream, hear_frame, send};
use holdfast_tests::inputs::noise;
use holdfast_tests::need::{say, temporary};
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use libp2p::PeerId;
use libp2p::identity::Keypair;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Bytes of the file that is fetched: 160 blocks.
const FILE_BYTES: u64 = 40 << 20;
/// Peers that want everything again and again.
const GREEDY: u64 = 3;
const BITSWAP: &str = "/ipfs/bitswap/1.2.0";

fn file(dir: &Path) -> PathBuf {
    let path = dir.join("file");
    std::fs::write(&path, noise(1, FILE_BYTES)).unwrap();
    path
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// While both want, whoever asks once gets at least half of what is due to each of all who ask.
#[test]
fn an_honest_peer_gets_half_of_its_fair_share_of_blocks_beside_greedy_ones_and_a_flood() {
    let dir = temporary("abuse-share");
    let victim = Peer::start(dir.path(), "victim", &[], None);
    let root = victim.add(&["--cid-version=1"], &file(dir.path()));
    let address = victim.address("tcp");
    let target = Target::of(&victim, &root, &["tcp"]);
    let served = target.served.clone();
    let flood = Attack::begin(target, &[Part::Flood]);
    let greed = runtime();
    let taken = Arc::new(AtomicU64::new(0));
    for _ in 0..GREEDY {
        let (address, served, taken) = (address.clone(), served.clone(), Arc::clone(&taken));
        greed.spawn(async move {
            let mut taker = Taker::connect(&Keypair::generate_ed25519(), &address).await.unwrap();
            take_forever(&mut taker, &served, &taken).await
        });
    }
    // All of them are at it before the honest one comes.
    wait_until("the others are served and the flood came", || {
        let seen = (taken.load(Ordering::Relaxed), flood.plan().rounds());
        if seen.0 > FILE_BYTES && seen.1[Part::Flood as usize] > 0 { Ok(()) } else { Err(seen) }
    });
    // Of its own runtime: what the others are given is not to cost it its turn to read.
    let (own, others) = runtime().block_on(async {
        let mut taker = Taker::connect(&Keypair::generate_ed25519(), &address).await.unwrap();
        // Windows of connections grow with use, and those of the others have: its first fetch does not count.
        fetch(&mut taker, &served).await.unwrap();
        let before = taken.load(Ordering::Relaxed);
        let own = fetch(&mut taker, &served).await.unwrap();
        (own, taken.load(Ordering::Relaxed) - before)
    });
    drop(greed);
    let flooded = flood.end().rounds()[Part::Flood as usize];
    assert!(own == FILE_BYTES && flooded > 0, "{own} bytes, {flooded} floods");
    assert!(others > FILE_BYTES / 8, "the others were not at it: {others} bytes");
    let due = (own + others) / (GREEDY + 1);
    say(&format!(
        "abuse: an honest peer was served {} MiB while {GREEDY} greedy ones were served {} MiB: {:.2} of its share",
        own >> 20,
        others >> 20,
        own as f64 / due as f64
    ));
    assert!(2 * own >= due, "{own} bytes of a share of {due}");
}

/// The same with a node that fetches; what it is due depends on how fast it is, so it only has to be served, and its share is told.
#[test]
fn a_node_fetches_beside_greedy_peers() {
    let dir = temporary("abuse-node");
    let victim = Peer::start(dir.path(), "victim", &[], None);
    let honest = Peer::start(dir.path(), "honest", &[], None);
    honest.connect(&victim.address("tcp"));
    let path = file(dir.path());
    let root = victim.add(&["--cid-version=1"], &path);
    let target = Target::of(&victim, &root, &["tcp", "quic-v1"]);
    let attack =
        Attack::begin(target, &[Part::Greed, Part::Flood, Part::Blocks, Part::Oversize, Part::Greed]);
    wait_until("the greedy ones are served", || {
        let taken = attack.plan().taken_bytes();
        if taken > FILE_BYTES { Ok(()) } else { Err(taken) }
    });
    let sent = |peer: &str| {
        let ledger = victim.daemon().post(&format!("/api/v0/bitswap/ledger?arg={peer}")).json();
        ledger["Sent"].as_u64().unwrap()
    };
    // The first and the last of the parts take.
    let greedy = [attack.peers()[0], attack.peers()[4]].map(PeerId::to_base58);
    let of_greedy = || greedy.iter().map(|peer| sent(peer)).sum::<u64>();
    let before = of_greedy();
    let read = honest.run(["cat", "--timeout=120s", &root]).ok().stdout;
    let (own, others) = (sent(honest.id()), of_greedy() - before);
    assert!(read == std::fs::read(&path).unwrap(), "{root} came with other bytes");
    assert!(own >= FILE_BYTES, "{own}");
    attack.end();
    let due = (own + others) / (greedy.len() as u64 + 1);
    say(&format!(
        "abuse: a node was served {} MiB while {} greedy ones were served {} MiB: {:.2} of its share",
        own >> 20,
        greedy.len(),
        others >> 20,
        own as f64 / due as f64
    ));
}

/// A peer that says HAVE to whatever it is asked, and sends nothing.
struct Silent {
    runtime: Runtime,
    over: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<(Ask, String)>>>,
}

impl Silent {
    fn begin(address: &str) -> Self {
        let (runtime, over, heard) = (runtime(), Arc::new(AtomicBool::new(false)), Arc::default());
        let silent = Self { runtime, over, heard };
        let (address, over, heard) =
            (address.to_owned(), Arc::clone(&silent.over), Arc::clone(&silent.heard));
        silent.runtime.spawn(async move {
            let key = Keypair::generate_ed25519();
            while !over.load(Ordering::Relaxed) {
                let Ok((peer, opened)) = Hostile::connect(&key, &address).await else {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                };
                promise(&Arc::new(peer), opened, &heard).await;
            }
        });
        silent
    }

    fn heard(&self) -> Vec<(Ask, String)> {
        self.heard.lock().unwrap().clone()
    }
}

/// Until the connection ends. Pings are answered, so that the node has no reason to end it.
async fn promise(
    peer: &Arc<Hostile>,
    mut opened: mpsc::Receiver<Opened>,
    heard: &Arc<Mutex<Vec<(Ask, String)>>>,
) {
    let mut streams = JoinSet::new();
    while let Some((protocol, stream)) = opened.recv().await {
        match protocol.as_str() {
            "/ipfs/ping/1.0.0" => streams.spawn(echo(stream)),
            BITSWAP => streams.spawn(promise_on(Arc::clone(peer), stream, Arc::clone(heard))),
            _ => streams.spawn(async move {
                let _held = stream;
                std::future::pending::<()>().await;
            }),
        };
    }
}

async fn promise_on(peer: Arc<Hostile>, mut stream: Stream, heard: Arc<Mutex<Vec<(Ask, String)>>>) {
    let Ok(Some(mut own)) = peer.open(BITSWAP).await else { return };
    while let Ok(message) = hear_frame(&mut stream, 4 << 20).await {
        let asked = lines(&message);
        let wanted: Vec<Vec<u8>> =
            asked.iter().filter(|(ask, _)| *ask != Ask::Cancel).map(|(_, cid)| cid.clone()).collect();
        heard.lock().unwrap().extend(asked.into_iter().map(|(ask, cid)| (ask, text(&cid))));
        if !wanted.is_empty() && !send(&mut own, &framed(&haves(&wanted))).await {
            return;
        }
    }
}

/// How often each CID was asked for in one way.
fn times(heard: &[(Ask, String)], way: Ask) -> HashMap<&str, usize> {
    let mut times = HashMap::new();
    for (_, cid) in heard.iter().filter(|(ask, _)| *ask == way) {
        *times.entry(cid.as_str()).or_default() += 1;
    }
    times
}

#[test]
fn a_peer_that_says_have_and_then_nothing_is_passed_over_and_not_asked_for_ever() {
    let dir = temporary("abuse-silent");
    let [fetcher, honest] = ["fetcher", "honest"].map(|name| Peer::start(dir.path(), name, &[], None));
    let path = file(dir.path());
    let root = honest.add(&["--cid-version=1"], &path);
    let blocks = honest.run(["refs", "-r", &root]).ok().out().lines().count() + 1;
    // The silent one is there first, and has promised before the honest one comes.
    let silent = Silent::begin(&fetcher.address("tcp"));
    wait_until("the silent one is connected", || {
        let peers = fetcher.peers();
        if peers.is_empty() { Err(peers) } else { Ok(()) }
    });
    let words = fetcher.run(["cat", "--timeout=6s", &root]).failed().err();
    assert!(words.contains(&root) || words.contains("deadline"), "{words}");
    let in_vain = wait_until("the fetch to be called off", || {
        let heard = silent.heard();
        std::thread::sleep(Duration::from_millis(300));
        let more = silent.heard().len() - heard.len();
        if more == 0 { Ok(heard) } else { Err(more) }
    });
    assert!(
        times(&in_vain, Ask::Block).contains_key(root.as_str()),
        "it was not asked for the root: {in_vain:?}"
    );

    fetcher.connect(&honest.address("tcp"));
    let read = fetcher.run(["cat", "--timeout=120s", &root]).ok().stdout;
    assert!(read == std::fs::read(&path).unwrap(), "{root} came with other bytes");
    silent.over.store(true, Ordering::Relaxed);
    let heard = silent.heard().split_off(in_vain.len());
    let (for_blocks, for_haves) = (times(&heard, Ask::Block), times(&heard, Ask::Have));
    let most = |times: &HashMap<&str, usize>| times.values().copied().max().unwrap_or_default();
    let sum = |times: &HashMap<&str, usize>| times.values().sum::<usize>();
    say(&format!(
        "abuse: of {blocks} blocks a silent peer was asked for {} in {} wants, at most {} for one, and whether it has {} in {}",
        for_blocks.len(),
        sum(&for_blocks),
        most(&for_blocks),
        for_haves.len(),
        sum(&for_haves)
    ));
    assert!(sum(&for_blocks) > 0, "it was not asked at all");
    // Where this machine stalls, the honest one is silent for a moment too, and everybody is asked once more.
    assert!(most(&for_blocks) <= 4 && most(&for_haves) <= 4, "{heard:?}");
    assert!(sum(&for_blocks) <= 2 * blocks && sum(&for_haves) <= 2 * blocks, "{heard:?}");
}
