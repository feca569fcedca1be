//! A peer without manners comes to a node that serves others.
//!
//! It sends blocks that nobody asked for and blocks that are not what was asked for, messages beyond every limit, a flood of
//! wants, HAVE and then silence, streams that never end, and frames that are none in every protocol the node speaks.
//! Nothing of it is stored, honest peers are served beside it, and when it has left nothing of it is held.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_tests::hostile::attack::{
    Attack, BITSWAP, FLOOD_MESSAGES, HELD_STREAMS, Part, Target, UNREQUESTED, WANTS,
};
use holdfast_tests::hostile::words::{raw_cid, text};
use holdfast_tests::inputs::noise;
use holdfast_tests::need::{say, temporary};
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::{wait_until, wait_within};
use libp2p::PeerId;

/// Bytes of each file that honest peers exchange.
const FILE_BYTES: u64 = 12 << 20;

/// Wants that a node remembers of one peer.
const WANTS_KEPT_MAX: usize = 1024;

/// What a node may remember of the first peers that leave, and of what was asked meanwhile: tables with bounds, and counters.
const REMEMBERED_BYTES: f64 = 2.0 * 1024.0 * 1024.0;

/// How long the node may take to give back what the hostile peer cost: timeouts of streams, idle threads and caches.
const GIVEN_BACK_TIME_MAX: Duration = Duration::from_secs(180);

const MESSAGES: &str = "holdfast_bitswap_messages_received_total";
const UNWANTED: &str = "holdfast_bitswap_unwanted_blocks_total";
const BAD: &str = "holdfast_bitswap_bad_messages_total";

fn file(dir: &Path, seed: u64) -> PathBuf {
    let path = dir.join(format!("file-{seed}"));
    std::fs::write(&path, noise(seed, FILE_BYTES)).unwrap();
    path
}

/// Waits until a number of the node is this much higher than it was.
fn wait_for_growth(peer: &Peer, name: &str, before: f64, by: usize) {
    wait_until(&format!("{name} grows by {by}"), || {
        let now = peer.metric(name);
        if now >= before + by as f64 { Ok(()) } else { Err((before, now)) }
    });
}

/// How many wants of a peer the node remembers.
fn wants_of(victim: &Peer, peer: PeerId) -> usize {
    let answer = victim.daemon().post(&format!("/api/v0/bitswap/wantlist?peer={peer}")).json();
    answer["Keys"].as_array().map_or(0, Vec::len)
}

/// How many streams are open with a peer, as the node lists them.
fn streams_with(victim: &Peer, peer: PeerId) -> usize {
    let answer = victim.daemon().post("/api/v0/swarm/peers?streams=true").json();
    let connections = answer["Peers"].as_array().cloned().unwrap_or_default();
    let of_peer = connections.iter().filter(|connection| connection["Peer"] == peer.to_base58());
    of_peer.map(|connection| connection["Streams"].as_array().map_or(0, Vec::len)).sum()
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
    let before = victim.live_bytes();
    let leaves = victim.run(["refs", "-r", &served]).ok().out();
    let target = Target::of(&victim, &served, &["quic-v1", "tcp"]);
    let protocols = target.protocols.len() as u64;
    for expected in BITSWAP.into_iter().chain(["/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"]) {
        assert!(
            target.protocols.iter().any(|name| name == expected),
            "no {expected}: {:?}",
            target.protocols
        );
    }
    let [unwanted, bad] = [UNWANTED, BAD].map(|name| victim.metric(name));
    let attack = Attack::begin(target.clone(), &Part::ALL);
    // Honest peers go on beside it, both ways, until each part was played.
    let mut exchanged = 0;
    wait_within(Duration::from_secs(300), "every part is played while honest peers exchange", || {
        let seed = 10 + 2 * exchanged;
        exchange(&victim, &honest, &file(dir.path(), seed));
        exchange(&honest, &victim, &file(dir.path(), seed + 1));
        exchanged += 1;
        let rounds = attack.plan().rounds();
        // One turn more: the last one has ended then.
        let all = attack.plan().turns() > protocols && rounds.iter().all(|count| *count > 0);
        if exchanged >= 2 && all { Ok(()) } else { Err(rounds) }
    });
    // Something that only a liar claims to have is not found, and not made up.
    let nowhere = text(&raw_cid(b"nobody has this"));
    wait_until("liars are asked", || {
        let words = victim.run(["cat", "--timeout=3s", &nowhere]).failed().err();
        assert!(words.contains(&nowhere) || words.contains("deadline"), "{words}");
        if attack.plan().lied_to() > 0 { Ok(()) } else { Err(attack.plan().rounds()) }
    });
    let peak = victim.live_bytes();
    let (wants, wants_a_second) = attack.plan().flooded();
    let plan = attack.end();
    assert!(plan.taken_bytes() > 0, "nobody was greedy");
    wait_for_growth(&victim, UNWANTED, unwanted, 1);
    wait_for_growth(&victim, BAD, bad, 1);
    // It is gone, the node is not.
    wait_until("only the honest peer is left", || {
        let peers = victim.peers();
        if peers == [honest.id()] { Ok(()) } else { Err(peers) }
    });
    let sent = plan.sent();
    // Two others that exchange the same files in peace, and are asked the same: books, logs of the index and caches, which
    // grow with what a node does and not with who does it, cost the same there. Beyond it, or beyond what it held before, a node
    // may remember six peers that left. What threads keep of freed memory, which depends on how many were busy at once, is not among the live bytes.
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
            let [without, now] = [&calm, &victim].map(Peer::live_bytes);
            let most = 1.1 * without.max(before) + REMEMBERED_BYTES;
            if now <= most { Ok([without, now]) } else { Err((before, without, now)) }
        });
    let stored = blocks_of(&victim);
    assert!(
        !leaves.is_empty() && leaves.lines().all(|cid| stored.contains(cid)),
        "the same text for a block"
    );
    assert_eq!(stored.intersection(&sent).count(), 0, "blocks of the hostile peer were stored");
    victim.run(["repo", "verify"]).ok();
    exchange(&victim, &honest, &file(dir.path(), 3));
    // Others come and do it all again. What a node remembers of such peers it remembers now: beyond a tenth, nothing is added.
    let again = Attack::begin(target, &Part::ALL);
    let mut seed = 1_000;
    wait_within(Duration::from_secs(300), "every part is played again", || {
        exchange(&honest, &victim, &file(dir.path(), seed));
        seed += 1;
        let rounds = again.plan().rounds();
        if rounds.iter().all(|count| *count > 0) { Ok(()) } else { Err(rounds) }
    });
    again.end();
    let last = wait_within(GIVEN_BACK_TIME_MAX, "what the others cost is given back", || {
        let now = victim.live_bytes();
        if now <= 1.1 * after.max(without) { Ok(now) } else { Err((after, without, now)) }
    });
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    say(&format!(
        "abuse: {} blocks sent, {wants} wants ({wants_a_second:.0} a second), {} wants lied to, rounds {:?}; live bytes before {:.1} MiB, beside it {:.1}, after {:.1} and, when others had done the same, {:.1}, of a \
         node that never met it {:.1}; it was served {:.1} MiB while honest peers exchanged {:.1}",
        sent.len(),
        plan.lied_to(),
        plan.rounds(),
        mib(before),
        mib(peak),
        mib(after),
        mib(last),
        mib(without),
        mib(plan.taken_bytes() as f64),
        mib((exchanged * 2 * FILE_BYTES) as f64)
    ));
}

#[test]
fn each_attack_reaches_the_node_and_is_refused() {
    let dir = temporary("abuse-each");
    let victim = Peer::start(dir.path(), "victim", &[], None);
    let served = victim.add(&["--cid-version=1"], &file(dir.path(), 1));
    let leaves = victim.run(["refs", "-r", &served]).ok().out();
    let target = Target::of(&victim, &served, &["quic-v1", "tcp"]);
    let before = |name| victim.metric(name);

    let (messages, attack) = (before(MESSAGES), Attack::begin(target.clone(), &[Part::Flood]));
    let flooder = attack.peers()[0];
    wait_until("as many wants as are remembered", || {
        let kept = wants_of(&victim, flooder);
        assert!(
            kept <= WANTS_KEPT_MAX,
            "{kept} wants are remembered of {WANTS} in each of {FLOOD_MESSAGES} messages"
        );
        if kept == WANTS_KEPT_MAX { Ok(()) } else { Err(kept) }
    });
    wait_for_growth(&victim, MESSAGES, messages, FLOOD_MESSAGES);
    // It claims to have what the node wants, and sends something else.
    let (unwanted, nowhere) = (before(UNWANTED), text(&raw_cid(b"nobody has this")));
    wait_until("a want is lied to", || {
        victim.run(["cat", "--timeout=1s", &nowhere]).failed();
        if attack.plan().lied_to() > 0 { Ok(()) } else { Err(attack.plan().rounds()) }
    });
    wait_for_growth(&victim, UNWANTED, unwanted, 1);
    let (wants, wants_a_second) = attack.plan().flooded();
    let received = (victim.metric(MESSAGES) - messages) * WANTS as f64;
    say(&format!(
        "abuse: a flood of {wants} wants, {wants_a_second:.0} a second; in the messages that the node has read there were {received}"
    ));
    let mut sent = attack.end().sent();

    let (unwanted, attack) = (before(UNWANTED), Attack::begin(target.clone(), &[Part::Blocks]));
    wait_for_growth(&victim, UNWANTED, unwanted, BITSWAP.len() * UNREQUESTED.0 * UNREQUESTED.1);
    sent.extend(attack.end().sent());

    let (bad, attack) = (before(BAD), Attack::begin(target.clone(), &[Part::Oversize]));
    // A message that is too large, and a small one with a block that is, in each version.
    wait_for_growth(&victim, BAD, bad, 2 * BITSWAP.len());
    sent.extend(attack.end().sent());

    let attack = Attack::begin(target.clone(), &[Part::Held]);
    let holder = attack.peers()[0];
    let held = wait_until("streams that are held", || {
        let open = streams_with(&victim, holder);
        if open >= BITSWAP.len() { Ok(open) } else { Err(open) }
    });
    attack.end();
    assert!(held <= 2 * HELD_STREAMS, "{held} streams are open, and {HELD_STREAMS} were begun");

    let attack = Attack::begin(target, &[Part::Greed]);
    let greedy = attack.peers()[0];
    wait_until("the greedy one is served", || {
        let ledger = victim.daemon().post(&format!("/api/v0/bitswap/ledger?arg={greedy}")).json();
        if ledger["Sent"].as_u64() > Some(FILE_BYTES) { Ok(()) } else { Err(ledger) }
    });
    attack.end();

    wait_until("nobody is left", || {
        let peers = victim.peers();
        if peers.is_empty() { Ok(()) } else { Err(peers) }
    });
    let stored: HashSet<String> =
        victim.run(["refs", "local"]).ok().out().lines().map(str::to_owned).collect();
    assert!(leaves.lines().all(|cid| stored.contains(cid)), "the same text for a block");
    assert!(!sent.is_empty() && stored.is_disjoint(&sent));
    assert!(!stored.contains(&nowhere));
}
