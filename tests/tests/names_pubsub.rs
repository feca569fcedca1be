//! Names over pubsub: who follows a name has its new record at once, without a DHT.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use holdfast_tests::ask::Ask;
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use serde_json::json;

/// A peer without a DHT, whose records go over pubsub.
fn peer(dir: &Path, name: &str) -> Peer {
    Peer::start(dir, name, &[("Ipns.UsePubsub", json!(true)), ("Routing.Type", json!("none"))], None)
}

fn add(peer: &Peer, dir: &Path, text: &str) -> String {
    let path = dir.join(text);
    std::fs::write(&path, text).unwrap();
    format!("/ipfs/{}", peer.add(&["--cid-version=1"], &path))
}

#[test]
fn a_record_is_asked_of_who_follows_the_name_and_a_new_one_comes_by_itself() {
    let dir = temporary("names-pubsub");
    let [owner, reader, late] = ["owner", "reader", "late"].map(|name| peer(dir.path(), name));
    assert_eq!(owner.run(["name", "pubsub", "state"]).ok().out(), "enabled\n");
    let first = add(&owner, dir.path(), "first");
    // Nobody is there yet: that is no failure.
    owner.run(["name", "publish", &first]).ok();
    let subs = owner.run(["name", "pubsub", "subs", "--ipns-base=b58mh"]).ok().out();
    assert_eq!(subs, format!("/ipns/{}\n", owner.id()));

    reader.connect(&owner.address("tcp"));
    // The owner's topics are known a moment after it is connected.
    wait_until("the first record", || {
        let answer = reader.run(["name", "resolve", owner.id()]);
        if answer.out() == format!("{first}\n") { Ok(()) } else { Err(answer.err()) }
    });

    let second = add(&owner, dir.path(), "second");
    wait_until("the owner to know its reader", || {
        let topic = owner.run(["pubsub", "ls"]).ok().out();
        let peers = owner.run(["pubsub", "peers", topic.trim()]).ok().out();
        if peers.contains(reader.id()) { Ok(()) } else { Err(peers) }
    });
    owner.run(["name", "publish", &second]).ok();
    // Nobody is asked here: it has come.
    wait_until("the second record", || {
        let answer = reader.run(["name", "resolve", "--offline", owner.id()]).ok().out();
        if answer == format!("{second}\n") { Ok(()) } else { Err(answer) }
    });

    // It is told on by who follows the name too.
    let name = owner.id().to_owned();
    owner.stop();
    late.connect(&reader.address("tcp"));
    wait_until("the second record from the reader", || {
        let answer = late.run(["name", "resolve", &name]);
        if answer.out() == format!("{second}\n") { Ok(()) } else { Err(answer.err()) }
    });

    assert_eq!(late.run(["name", "pubsub", "cancel", &name]).ok().out(), "canceled\n");
    assert_eq!(late.run(["name", "pubsub", "cancel", &name]).ok().out(), "no subscription\n");
    assert_eq!(late.run(["name", "pubsub", "subs"]).ok().out(), "");
}

#[test]
fn what_is_no_record_of_the_name_changes_nothing_and_is_not_told_on() {
    let dir = temporary("names-pubsub-false");
    let [owner, liar, reader] = ["owner", "liar", "reader"].map(|name| peer(dir.path(), name));
    let value = add(&owner, dir.path(), "true");
    for peer in [&liar, &reader] {
        peer.connect(&owner.address("tcp"));
    }
    owner.run(["name", "publish", &value]).ok();
    let topic = owner.run(["pubsub", "ls"]).ok().out().trim().to_owned();
    for peer in [&liar, &reader] {
        wait_until("the record", || {
            let answer = peer.run(["name", "resolve", owner.id()]);
            if answer.out() == format!("{value}\n") { Ok(()) } else { Err(answer.err()) }
        });
    }
    wait_until("the liar's way to the owner", || {
        let peers = liar.run(["pubsub", "peers", &topic]).ok().out();
        if peers.contains(owner.id()) { Ok(()) } else { Err(peers) }
    });
    // A reader beside the examiner sees only what was found good.
    let follower =
        holdfast_tests::daemon::Daemon::spawn(reader.node().command(["pubsub", "sub", "--enc=json", &topic]));
    liar.node().run_with(["pubsub", "pub", &topic], b"no record at all").ok();
    let next = add(&owner, dir.path(), "next");
    owner.run(["name", "publish", &next]).ok();
    wait_until("the next record", || {
        let answer = reader.run(["name", "resolve", "--offline", owner.id()]);
        if answer.out() == format!("{next}\n") { Ok(()) } else { Err(answer.err()) }
    });
    // Until the follower is there; each record is newer than the one before.
    wait_until("a good message", || {
        owner.run(["name", "publish", &next]).ok();
        let lines = follower.lines();
        if lines.is_empty() { Err(lines) } else { Ok(()) }
    });
    let from_liar = follower.lines().iter().filter(|line| line.contains(liar.id())).count();
    assert_eq!(from_liar, 0, "{:?}", follower.lines());
}

#[test]
fn a_record_that_nobody_tells_over_pubsub_is_asked_of_the_dht_again() {
    let dir = temporary("names-pubsub-dht");
    let start = |name, uses_pubsub: bool| {
        let lan = ("Routing.LoopbackAddressesOnLanDHT", json!(true));
        Peer::start(dir.path(), name, &[lan, ("Ipns.UsePubsub", json!(uses_pubsub))], None)
    };
    let [owner, middle] = ["owner", "middle"].map(|name| start(name, false));
    let reader = start("reader", true);
    for end in [&owner, &reader] {
        end.connect(&middle.address("tcp"));
        wait_until("a peer in the routing table", || {
            let stats = end.daemon().post("/api/v0/stats/dht?arg=lan").json();
            if stats.to_string().contains(middle.id()) { Ok(()) } else { Err(stats) }
        });
    }
    let resolved = |options: &[&str]| {
        let args = [&["name", "resolve", "--timeout=60s"], options, &[owner.id()]].concat();
        reader.run(args).ok().out().trim().to_owned()
    };
    for text in ["first", "second"] {
        let value = add(&owner, dir.path(), text);
        owner.run(["name", "publish", "--timeout=60s", "--ttl=24h", &value]).ok();
        assert_eq!(resolved(&["--nocache"]), value);
        assert_eq!(resolved(&[]), value);
    }
}

/// A follower that missed the last record tells the one before, and sooner than the DHT tells the last one.
#[test]
fn a_newer_record_of_the_dht_counts_beside_an_older_one_that_a_follower_tells() {
    let dir = temporary("names-pubsub-older");
    let start = |name, uses_pubsub: bool| {
        let lan = ("Routing.LoopbackAddressesOnLanDHT", json!(true));
        Peer::start(dir.path(), name, &[lan, ("Ipns.UsePubsub", json!(uses_pubsub))], None)
    };
    let [owner, middle] = ["owner", "middle"].map(|name| start(name, false));
    let [follower, asker, reader] = ["follower", "asker", "reader"].map(|name| start(name, true));
    let join = |peer: &Peer| {
        peer.connect(&middle.address("tcp"));
        wait_until("a peer in the routing table", || {
            let stats = peer.daemon().post("/api/v0/stats/dht?arg=lan").json();
            if stats.to_string().contains(middle.id()) { Ok(()) } else { Err(stats) }
        });
    };
    for peer in [&owner, &follower] {
        join(peer);
    }
    let first = add(&owner, dir.path(), "first");
    owner.run(["name", "publish", "--timeout=60s", "--ttl=24h", &first]).ok();
    assert_eq!(follower.run(["name", "resolve", owner.id()]).ok().out().trim(), first);
    let second = add(&owner, dir.path(), "second");
    owner.run(["name", "publish", "--timeout=60s", "--ttl=24h", &second]).ok();
    assert_eq!(follower.run(["name", "resolve", "--offline", owner.id()]).ok().out().trim(), first);

    for peer in [&asker, &reader] {
        join(peer);
        peer.connect(&follower.address("tcp"));
    }
    // Whichever comes first is the answer, and the newer one counts a moment later, although the older has a TTL of a day.
    wait_until("the second record", || {
        let answer = reader.run(["name", "resolve", owner.id()]).ok().out();
        if answer.trim() == second { Ok(()) } else { Err(answer) }
    });
    // Who wants the newest waits for both.
    assert_eq!(asker.run(["name", "resolve", "--nocache", owner.id()]).ok().out().trim(), second);
}

#[test]
fn names_that_were_only_looked_up_make_room_for_one_another() {
    const LOOKED_UP_MAX: usize = 1024;
    let dir = temporary("names-pubsub-many");
    let owner = peer(dir.path(), "owner");
    owner.run(["name", "publish", &add(&owner, dir.path(), "value")]).ok();
    let names: Vec<String> = (0..LOOKED_UP_MAX + 40).map(|_| libp2p::PeerId::random().to_base58()).collect();
    for name in &names {
        let answer = Ask::with_args("name/resolve", &[name]).send(owner.daemon().api());
        assert_eq!(answer.status(), 500, "nobody has it: {}", answer.text());
    }
    let subs = owner.run(["name", "pubsub", "subs", "--ipns-base=b58mh"]).ok().out();
    let mut found: Vec<&str> = subs.lines().map(|line| line.trim_start_matches("/ipns/")).collect();
    found.sort_unstable();
    let mut expected: Vec<&str> = names[40..].iter().map(String::as_str).chain([owner.id()]).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(owner.run(["pubsub", "ls"]).ok().out().lines().count(), expected.len());
}

#[test]
fn where_it_is_off_it_says_so() {
    let dir = temporary("names-pubsub-off");
    let peer = Peer::start(dir.path(), "off", &[("Pubsub.Enabled", json!(true))], None);
    assert_eq!(peer.run(["name", "pubsub", "state"]).ok().out(), "disabled\n");
    for args in [&["name", "pubsub", "subs"][..], &["name", "pubsub", "cancel", "x"]] {
        let answer = peer.run(args);
        assert!(answer.err().contains("IPNS pubsub subsystem is not enabled"), "{}", answer.err());
    }
}
