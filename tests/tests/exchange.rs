//! Daemons on loopback give each other blocks, as their users see it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use holdfast_tests::hostile::words::{binary, framed, presences_in, questions, wants};
use holdfast_tests::hostile::{Hostile, STREAM_WAIT_MAX, Stream, hear_frame, send};
use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use libp2p::identity::Keypair;
use serde_json::{Value, json};
use tokio::time::timeout;

const TCP: &str = "tcp";
const QUIC: &str = "quic-v1";
const BITSWAP: &str = "/ipfs/bitswap/1.2.0";

/// A file of bytes that no two numbers share.
fn file(dir: &Path, number: u8, bytes: usize) -> std::path::PathBuf {
    let path = dir.join(format!("file-{number}"));
    let data: Vec<u8> = (0..bytes).map(|at| (at / 7) as u8 ^ (at >> 13) as u8 ^ number).collect();
    std::fs::write(&path, data).unwrap();
    path
}

#[test]
fn a_file_added_on_one_is_read_on_the_other_over_each_transport() {
    let dir = temporary("exchange");
    for (number, transport) in [(1, TCP), (2, QUIC)] {
        let from = Peer::start(dir.path(), &format!("from-{transport}"), &[], None);
        let to = Peer::start(dir.path(), &format!("to-{transport}"), &[], None);
        let path = file(dir.path(), number, 3_000_000);
        let cid = from.add(&[], &path);
        to.connect(&from.address(transport));
        let read = to.run(["cat", "--timeout=60s", &cid]).ok().stdout;
        assert!(read == std::fs::read(&path).unwrap(), "over {transport}");

        // Both say what went over.
        let stat = |peer: &Peer| peer.daemon().post("/api/v0/bitswap/stat").json();
        let number = |stat: &Value, key: &str| stat[key].as_u64().unwrap();
        let (sent, received) = wait_until("both counted the same", || {
            let (sent, received) = (stat(&from), stat(&to));
            let came = number(&received, "BlocksReceived");
            if number(&sent, "BlocksSent") == came {
                Ok((sent, received))
            } else {
                Err(format!("{sent} {received}"))
            }
        });
        assert_eq!(received["Peers"], json!([from.id()]));
        assert_eq!(received["Wantlist"], json!([]));
        // Who hears nothing for half a second, which takes a busy machine, asks again.
        assert!(number(&received, "DupBlksReceived") <= 2, "{received}");
        let text = to.run(["bitswap", "stat", "-v"]).ok().out();
        assert!(text.contains("\twantlist [0 keys]\n\tpartners [1]\n\t\t"), "{text}");
        let ledger = from.daemon().post(&format!("/api/v0/bitswap/ledger?arg={}", to.id())).json();
        assert_eq!(ledger["Sent"], sent["DataSent"], "{ledger}");
        assert_eq!(ledger["Peer"], to.id());
    }
}

#[test]
fn a_pin_of_what_is_elsewhere_is_whole_when_it_returns() {
    let dir = temporary("exchange-pin");
    let (from, to) = (Peer::start(dir.path(), "from", &[], None), Peer::start(dir.path(), "to", &[], None));
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    for number in 0..20 {
        file(&folder, number, 60_000);
    }
    let cid = from.add(&[], &folder);
    to.connect(&from.address(TCP));
    assert_eq!(
        to.run(["pin", "add", "--timeout=60s", &cid]).ok().out(),
        format!("pinned {cid} recursively\n")
    );
    // Without its peer it has all of it.
    to.run(["swarm", "disconnect", &format!("/p2p/{}", from.id())]).ok();
    drop(from);
    assert_eq!(to.run(["pin", "verify", "--verbose", "--offline"]).ok().out(), format!("{cid} ok\n"));
    to.get(&cid, &dir.path().join("copy"));
    for number in 0..20 {
        let name = format!("file-{number}");
        let read = |folder: &Path| std::fs::read(folder.join(&name)).unwrap();
        assert!(read(&folder) == read(&dir.path().join("copy")), "{name}");
    }
}

#[test]
fn a_pin_that_waits_says_for_what_and_who_was_asked() {
    let dir = temporary("exchange-waits");
    let (from, to) = (Peer::start(dir.path(), "from", &[], None), Peer::start(dir.path(), "to", &[], None));
    let path = file(dir.path(), 6, 600_000);
    let cid = from.add(&["--raw-leaves", "--pin=false"], &path);
    let leaves = from.run(["refs", &cid]).ok().out();
    let lost = leaves.lines().last().unwrap();
    from.run(["block", "rm", lost]).ok();
    let size = |cid: &str| {
        let stat = from.daemon().post(&format!("/api/v0/block/stat?arg={cid}")).json();
        stat["Size"].as_u64().unwrap()
    };
    let bytes: u64 = leaves.lines().filter(|leaf| *leaf != lost).map(size).sum::<u64>() + size(&cid);
    to.connect(&from.address(TCP));
    let told = to.daemon().post(&format!("/api/v0/pin/add?arg={cid}&progress=true&timeout=8s")).text();
    let values = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let waiting: Vec<Value> = values.filter(|value| value["Waiting"]["Cid"] == *lost).collect();
    assert!(waiting.iter().any(|value| value["Waiting"]["Peers"] == json!([from.id()])), "{told}");
    assert!(waiting.iter().all(|value| value["Missing"] == 1 && value["Progress"] != 0), "{told}");
    // All but what is waited for.
    let last = waiting.last().unwrap();
    let count = leaves.lines().count();
    assert_eq!((&last["Progress"], &last["Bytes"]), (&json!(count), &json!(bytes)), "{told}");
    let refused = to.run(["pin", "add", "--progress", "--timeout=4s", &cid]).failed();
    let (lines, said) = (refused.out(), refused.err());
    let progress = format!("Fetched/Processed {count} nodes ({} kB), 1 missing", (bytes + 500) / 1000);
    assert!(said.contains(&progress), "{progress}: {lines}{said}");
    assert!(said.contains(lost) && said.contains(&format!("1 peer asked ({})", from.id())), "{said}");
}

#[test]
fn what_is_wanted_is_pushed_when_it_arrives() {
    let dir = temporary("exchange-push");
    let (from, to) = (Peer::start(dir.path(), "from", &[], None), Peer::start(dir.path(), "to", &[], None));
    to.connect(&from.address(TCP));
    let path = file(dir.path(), 9, 100_000);
    let cid = from.run(["add", "-Q", "--only-hash", path.to_str().unwrap()]).ok().cid();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| to.run(["cat", "--timeout=60s", &cid]));
        // The want is on its way before there is anything to give.
        wait_until("the want of the reader", || {
            let wanted = from.daemon().post(&format!("/api/v0/bitswap/wantlist?peer={}", to.id())).json();
            if wanted["Keys"] == json!([{ "/": cid }]) { Ok(()) } else { Err(wanted) }
        });
        assert_eq!(from.add(&[], &path), cid);
        assert!(reading.join().unwrap().ok().stdout == std::fs::read(&path).unwrap());
    });
}

#[test]
fn a_node_that_serves_nobody_still_fetches() {
    let dir = temporary("exchange-no-server");
    let off = [("Bitswap.ServerEnabled", json!(false))];
    let (from, to) = (Peer::start(dir.path(), "from", &[], None), Peer::start(dir.path(), "to", &off, None));
    let path = file(dir.path(), 3, 700_000);
    let cid = from.add(&[], &path);
    to.connect(&from.address(TCP));
    assert!(to.run(["cat", "--timeout=60s", &cid]).ok().stdout == std::fs::read(&path).unwrap());
    let own = to.add(&[], &file(dir.path(), 4, 1_000));
    let refused = from.run(["cat", "--timeout=2s", &own]);
    assert!(refused.err().contains("context deadline exceeded"), "{}", refused.err());
}

#[test]
fn offline_is_answered_in_kubos_words_and_switched_off_in_ours() {
    let dir = temporary("exchange-off");
    let none = [("Bitswap.Libp2pEnabled", json!(false))];
    let peer = Peer::start(dir.path(), "off", &none, None);
    let answer = peer.daemon().post("/api/v0/bitswap/stat").json();
    let words = answer["Message"].as_str().unwrap_or_default();
    assert!(words.contains("Bitswap.Libp2pEnabled is false"), "{answer}");
    let _: Value = answer;
}

/// Asks a node on one stream and hears it on another, until it has said of all whether they are there.
async fn ask(
    asking: &mut Stream,
    answers: &mut Stream,
    message: &[u8],
    count: usize,
) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    assert!(send(asking, &framed(message)).await);
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    while there.len() + missing.len() < count {
        let heard = timeout(STREAM_WAIT_MAX, hear_frame(answers, 4 << 20)).await.unwrap().unwrap();
        let (more_there, more_missing) = presences_in(&heard);
        there.extend(more_there);
        missing.extend(more_missing);
    }
    (there, missing)
}

/// Whether a block is there is answered from the index: nobody makes a node read what it does not send. The blocks are overwritten
/// on the disk, and those that are asked for after that are all said to be there; those that are wanted turn out to be damaged.
#[test]
fn whether_blocks_are_there_is_answered_without_reading_them() {
    let dir = temporary("exchange-index");
    let peer = Peer::start(dir.path(), "peer", &[], None);
    let path = dir.path().join("file");
    std::fs::write(&path, noise(7, 2_000_000)).unwrap();
    let root = peer.add(&["--cid-version=1", "--raw-leaves"], &path);
    let leaves = peer.run(["refs", &root]).ok().out();
    let leaves: Vec<Vec<u8>> = leaves.lines().map(binary).collect();
    assert!(leaves.len() > 5);
    let segments = peer.node().repo().join("segments");
    for entry in std::fs::read_dir(&segments).unwrap() {
        let segment = entry.unwrap().path();
        let length = segment.metadata().unwrap().len();
        let file = std::fs::OpenOptions::new().write(true).open(&segment).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![0; length as usize], 0).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut asked = leaves.clone();
    asked.sort();
    runtime.block_on(async {
        let key = Keypair::generate_ed25519();
        let (hostile, mut opened) = Hostile::connect(&key, &peer.address(TCP)).await.unwrap();
        let mut asking = hostile.open(BITSWAP).await.unwrap().unwrap();
        let first = framed(&questions(&leaves));
        assert!(send(&mut asking, &first).await);
        let mut answers = loop {
            let (protocol, stream) = timeout(STREAM_WAIT_MAX, opened.recv()).await.unwrap().unwrap();
            if protocol == BITSWAP {
                break stream;
            }
        };
        let (mut there, missing) = ask(&mut asking, &mut answers, &[], leaves.len()).await;
        there.sort();
        assert!(there == asked && missing.is_empty(), "{} there, {} missing", there.len(), missing.len());
        let (there, mut missing) = ask(&mut asking, &mut answers, &wants(&leaves, 1), leaves.len()).await;
        missing.sort();
        assert!(there.is_empty() && missing == asked, "{} there, {} missing", there.len(), missing.len());
    });
}

/// Whatever goes over it, a connection has one stream of Bitswap that a node opened and one that the other did.
#[test]
fn each_side_opens_one_stream_of_bitswap_however_much_is_exchanged() {
    let dir = temporary("exchange-streams");
    let [one, other] = ["one", "other"].map(|name| Peer::start(dir.path(), name, &[], None));
    one.connect(&other.address(TCP));
    let given = [(&one, &other, 1), (&other, &one, 2)].map(|(from, to, number)| {
        let path = dir.path().join(format!("file-{number}"));
        std::fs::write(&path, noise(number, 24 << 20)).unwrap();
        (from.add(&[], &path), to, path)
    });
    let streams = |peer: &Peer| {
        let answer = peer.daemon().post("/api/v0/swarm/peers?streams=true").json();
        let connections = answer["Peers"].as_array().cloned().unwrap_or_default();
        let count = |connection: &Value| {
            let open = connection["Streams"].as_array().cloned().unwrap_or_default();
            open.iter().filter(|stream| stream["Protocol"].as_str().unwrap().contains("bitswap")).count()
        };
        connections.iter().map(count).max().unwrap_or_default()
    };
    let most = std::thread::scope(|scope| {
        let fetches = given.each_ref().map(|(cid, to, path)| {
            scope.spawn(move || {
                let read = to.run(["cat", "--timeout=120s", cid]).ok().stdout;
                assert!(read == std::fs::read(path).unwrap(), "{cid} came with other bytes");
            })
        });
        let mut most = 0;
        while !fetches.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            most = most.max(streams(&one)).max(streams(&other));
        }
        most.max(streams(&one)).max(streams(&other))
    });
    assert!((1..=2).contains(&most), "{most} streams of Bitswap on one connection");
}
