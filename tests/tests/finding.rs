//! Daemons on loopback find each other's blocks and each other through the DHT of the local network.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use holdfast_tests::ask::Ask;
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use libp2p::PeerId;
use serde_json::{Value, json};

/// A peer whose local network is loopback, and which keeps to those that it is told to connect to.
fn peer(dir: &Path, name: &str) -> Peer {
    Peer::start(dir, name, &[("Routing.LoopbackAddressesOnLanDHT", json!(true))], None)
}

/// Waits until a peer is in the routing table of another.
fn wait_for_table(of: &Peer, peer: &Peer) {
    wait_until("a peer in the routing table", || {
        let stats = of.daemon().post("/api/v0/stats/dht?arg=lan").json();
        if stats.to_string().contains(peer.id()) { Ok(()) } else { Err(stats) }
    });
}

/// Two peers that know only a third one.
fn three(dir: &Path) -> [Peer; 3] {
    let [one, middle, other] = ["one", "middle", "other"].map(|name| peer(dir, name));
    for end in [&one, &other] {
        end.connect(&middle.address("tcp"));
        wait_for_table(end, &middle);
        wait_for_table(&middle, end);
    }
    [one, middle, other]
}

#[test]
fn a_block_is_found_through_a_third_node_and_read_from_a_stranger() {
    let dir = temporary("finding");
    let [one, middle, other] = three(dir.path());
    let path = dir.path().join("file");
    std::fs::write(&path, vec![7; 300_000]).unwrap();
    let cid = one.add(&[], &path);
    one.run(["routing", "provide", &cid]).ok();
    let found = other.run(["routing", "findprovs", "-n", "1", "--timeout=60s", &cid]).ok().out();
    assert_eq!(found, format!("{}\n", one.id()));
    let old_name = other.run(["dht", "findprovs", "-n", "1", "--timeout=60s", &cid]).ok().out();
    assert_eq!(old_name, found);

    assert_eq!(other.run(["cat", "--timeout=60s", &cid]).ok().stdout, vec![7; 300_000]);
    assert!(other.peers().contains(&one.id().to_owned()), "it was read from the provider");
    drop(middle);
}

#[test]
fn a_name_published_on_one_is_followed_on_a_stranger() {
    let dir = temporary("finding-name");
    let [one, middle, other] = three(dir.path());
    let path = dir.path().join("file");
    std::fs::write(&path, b"what the name means").unwrap();
    let cid = one.add(&[], &path);
    one.run(["name", "publish", "--timeout=60s", &format!("/ipfs/{cid}")]).ok();
    let name = one.id().to_owned();
    let resolved = other.run(["name", "resolve", "--timeout=60s", &name]).ok().out();
    assert_eq!(resolved, format!("/ipfs/{cid}\n"));
    // It is kept: nobody needs to be asked again.
    drop((one, middle));
    let kept = other.run(["name", "resolve", "--offline", &name]).ok().out();
    assert_eq!(kept, resolved);
}

/// Publishes a path under the node's own name.
fn publish(peer: &Peer, dir: &Path, text: &str, ttl: &str) -> String {
    let path = dir.join(text);
    std::fs::write(&path, text).unwrap();
    let path = format!("/ipfs/{}", peer.add(&[], &path));
    peer.run(["name", "publish", "--timeout=60s", &format!("--ttl={ttl}"), &path]).ok();
    path
}

fn resolved(asked: &Peer, options: &[&str], name: &str) -> String {
    let args = [&["name", "resolve", "--timeout=60s"], options, &[name]].concat();
    asked.run(args).ok().out().trim().to_owned()
}

#[test]
fn a_name_is_asked_for_again_when_its_time_is_over_or_when_somebody_says_so() {
    let dir = temporary("finding-ttl");
    let lan = ("Routing.LoopbackAddressesOnLanDHT", json!(true));
    let [one, middle, other] = three(dir.path());
    // It does not rely on names for long, whatever their records say.
    let hasty = Peer::start(dir.path(), "hasty", &[lan, ("Ipns.MaxCacheTTL", json!("1s"))], None);
    hasty.connect(&middle.address("tcp"));
    wait_for_table(&hasty, &middle);
    let first = publish(&one, dir.path(), "first", "24h");
    for asked in [&other, &hasty] {
        assert_eq!(resolved(asked, &[], one.id()), first);
    }
    let second = publish(&one, dir.path(), "second", "24h");
    wait_until("the second value", || {
        let found = resolved(&hasty, &[], one.id());
        if found == second { Ok(()) } else { Err(found) }
    });
    assert_eq!(resolved(&other, &[], one.id()), first, "it may be relied on for a day");
    assert_eq!(resolved(&other, &["--nocache"], one.id()), second);
    assert_eq!(resolved(&other, &[], one.id()), second, "what was found is kept");

    // Records that say that they are to be asked for again soon.
    let third = publish(&one, dir.path(), "third", "1s");
    assert_eq!(resolved(&other, &["--nocache"], one.id()), third);
    let fourth = publish(&one, dir.path(), "fourth", "1s");
    wait_until("the fourth value", || {
        let found = resolved(&other, &[], one.id());
        if found == fourth { Ok(()) } else { Err(found) }
    });
    // Where nobody answers, what is kept is better than nothing.
    let name = one.id().to_owned();
    drop([one, middle, hasty].map(Peer::stop));
    assert_eq!(resolved(&other, &[], &name), fourth);
}

#[test]
fn a_record_that_ends_before_its_time_to_live_is_asked_for_again() {
    let dir = temporary("finding-ended");
    let [one, _middle, other] = three(dir.path());
    let path = dir.path().join("file");
    std::fs::write(&path, b"what the name means").unwrap();
    let path = format!("/ipfs/{}", one.add(&[], &path));
    one.run(["name", "publish", "--timeout=60s", "--ttl=15s", "--lifetime=15s", &path]).ok();
    // Its time to live begins when it is found.
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(resolved(&other, &[], one.id()), path);
    one.run(["name", "publish", "--timeout=60s", "--ttl=15s", "--lifetime=48h", &path]).ok();
    wait_until("the end of the first record", || {
        let found = other.run(["name", "resolve", "--offline", one.id()]);
        if found.code == Some(0) { Err(found.out()) } else { Ok(()) }
    });
    assert_eq!(resolved(&other, &[], one.id()), path);
}

/// The number of a name's record, as somebody got it.
fn sequence(asked: &Peer, record: &[u8]) -> u64 {
    let shown = asked.node().run_with(["name", "inspect", "--enc=json"], record).ok().out();
    serde_json::from_str::<Value>(&shown).unwrap()["Entry"]["Sequence"].as_u64().unwrap()
}

fn gateway_record(asked: &Peer, name: &str) -> Vec<u8> {
    let ask = Ask::new("GET", &format!("/ipns/{name}?format=ipns-record"));
    ask.send(asked.daemon().gateway()).ok().body
}

#[test]
fn commands_give_the_newest_record_that_others_have_and_the_gateway_one_that_may_be_relied_on() {
    let dir = temporary("finding-record");
    let [one, middle, other] = three(dir.path());
    let keys = one.run(["key", "list", "-l"]).ok().out();
    let name = keys.split_whitespace().next().unwrap().to_owned();
    publish(&one, dir.path(), "first", "1s");
    assert_eq!(sequence(&other, &gateway_record(&other, &name)), 0, "it was never seen before");
    publish(&one, dir.path(), "second", "1s");
    wait_until("the second record, as the time of the first is over", || {
        let found = sequence(&other, &gateway_record(&other, &name));
        if found == 1 { Ok(()) } else { Err(found) }
    });
    // From here on nobody has to ask again for a day: who wants the newest record asks all the same.
    let key = format!("/ipns/{name}");
    let gets = [["routing", "get", "--timeout=60s", &key], ["name", "get", "--timeout=60s", &name]];
    for (get, number) in gets.into_iter().zip(2..) {
        publish(&one, dir.path(), &format!("number {number}"), "24h");
        if number == 3 {
            let relied_on = gateway_record(&other, &name);
            assert_eq!(sequence(&other, &relied_on), 2, "it may be relied on for a day");
        }
        assert_eq!(sequence(&other, &other.run(get).ok().stdout), number, "{get:?}");
    }
    // Where nobody answers, or nobody is to be asked, there is the one that was found.
    drop([one, middle].map(Peer::stop));
    for get in gets.into_iter().chain([["name", "get", "--offline", &name]]) {
        assert_eq!(sequence(&other, &other.run(get).ok().stdout), 3, "{get:?}");
    }
}

#[test]
fn a_public_key_is_put_by_one_and_got_by_a_stranger() {
    let dir = temporary("finding-key");
    let [one, _middle, other] = three(dir.path());
    // The ID is the identity hash of the key: behind its kind and its length.
    let key = one.id().parse::<PeerId>().unwrap().to_bytes().split_off(2);
    let place = format!("/pk/{}", one.id());
    let get = ["routing", "get", "--timeout=60s", &place];
    assert!(other.run(get).failed().err().contains("not found"));
    let put = |place: &str| one.node().run_with(["routing", "put", "--timeout=60s", place], &key);
    assert_eq!(put(&place).ok().out(), format!("{}\n", one.id()));
    assert_eq!(other.run(get).ok().stdout, key);
    let forged = put(&format!("/pk/{}", other.id())).failed().error_line();
    assert_eq!(forged, "Error: public key does not match storage key");
    // Nobody has it without a DHT.
    let offline = other.run(["routing", "get", "--offline", &place]).failed().error_line();
    assert_eq!(offline, "Error: this action must be run in online mode, try running 'ipfs daemon' first");
    let node = one.stop();
    let put = |options: &[&str]| {
        node.run_with([&["routing", "put", &place], options].concat(), &key).failed().error_line()
    };
    assert_eq!(put(&[]), "Error: can't put while offline: pass `--allow-offline` to override");
    assert!(put(&["--allow-offline"]).contains("kept by the peers of the DHT"));
}

#[test]
fn a_peer_is_found_by_its_id_with_kubos_events() {
    let dir = temporary("finding-peer");
    let [one, _middle, other] = three(dir.path());
    let out = other.run(["routing", "findpeer", "--timeout=60s", one.id()]).ok().out();
    let address = one.address("tcp");
    let transport = address.split_once("/p2p/").unwrap().0.to_owned();
    assert!(out.lines().any(|line| line == transport), "{out} does not have {transport}");

    let answer = other.daemon().post(&format!("/api/v0/routing/findpeer?arg={}", one.id())).text();
    let events: Vec<Value> = answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = events.last().unwrap();
    assert_eq!(last["Type"], 2, "{answer}");
    assert_eq!(last["Responses"][0]["ID"], one.id());
    let refused = other.run(["routing", "findpeer", other.id()]);
    assert!(refused.err().contains("own peer"), "{}", refused.err());
}

/// The events of a question to the DHT, each of which has the keys of Kubo's and no others.
fn events(of: &Peer, path: &str) -> Vec<Value> {
    let answer = of.daemon().post(path);
    assert_eq!((answer.status, answer.trailers.as_str()), (200, ""), "{path}: {}", answer.text());
    let events: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in &events {
        let keys: Vec<&String> = event.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["Extra", "ID", "Responses", "Type"], "{event}");
        assert!(event["Extra"].is_string() && event["ID"].is_string() && event["Type"].is_u64(), "{event}");
        for peer in event["Responses"].as_array().into_iter().flatten() {
            assert!(peer["ID"].is_string() && peer["Addrs"].is_array(), "{event}");
        }
    }
    events
}

/// The peers that events of a type are about.
fn about(events: &[Value], kind: u64) -> Vec<&str> {
    events.iter().filter(|event| event["Type"] == kind).filter_map(|event| event["ID"].as_str()).collect()
}

const SENDING_QUERY: u64 = 0;
const PEER_RESPONSE: u64 = 1;
const FINAL_PEER: u64 = 2;

#[test]
fn a_query_of_the_dht_tells_whom_it_asked_what_they_said_and_who_is_closest() {
    let dir = temporary("finding-query");
    let [one, middle, other] = three(dir.path());
    let events = events(&other, &format!("/api/v0/dht/query?arg={}", one.id()));
    assert!(about(&events, SENDING_QUERY).contains(&middle.id()), "{events:?}");
    let said =
        events.iter().find(|event| event["Type"] == PEER_RESPONSE && event["ID"] == middle.id()).unwrap();
    let told = said["Responses"].as_array().unwrap().iter().find(|peer| peer["ID"] == one.id()).unwrap();
    let address = one.address("tcp").split_once("/p2p/").unwrap().0.to_owned();
    assert!(told["Addrs"].as_array().unwrap().contains(&json!(address)), "{told}");
    let mut closest = about(&events, FINAL_PEER);
    assert_eq!(closest[0], one.id(), "nobody is closer to a key than the peer that it is");
    closest.sort_unstable();
    let mut both = [one.id(), middle.id()];
    both.sort_unstable();
    assert_eq!(closest, both);

    let out = other.run(["dht", "query", "--timeout=60s", one.id()]).ok().out();
    assert_eq!(out, format!("{}\n{}\n", one.id(), middle.id()));
    let out = other.run(["dht", "query", "-v", "--timeout=60s", one.id()]).ok().out();
    for line in [format!("* querying {}", middle.id()), format!("* {} says use ", middle.id())] {
        assert!(out.lines().any(|shown| shown.starts_with(&line)), "no {line:?} in: {out}");
    }
    assert!(other.run(["dht", "query", "nobody"]).failed().err().contains("failed to parse peer ID"));
}

#[test]
fn what_is_provided_by_hand_is_found_and_its_events_name_who_was_told() {
    let dir = temporary("finding-provide");
    let lan = ("Routing.LoopbackAddressesOnLanDHT", json!(true));
    // Nothing is announced by itself.
    let one = Peer::start(dir.path(), "one", &[lan, ("Provide.Strategy", json!("mfs"))], None);
    let lonely = one.run(["routing", "provide", "bafkqaaa"]).failed().error_line();
    assert_eq!(lonely, "Error: cannot provide, no connected peers");
    let other = peer(dir.path(), "other");
    one.connect(&other.address("tcp"));
    wait_for_table(&one, &other);
    wait_for_table(&other, &one);
    let found = |cid: &str| {
        other.run(["routing", "findprovs", "-n", "1", "--timeout=60s", cid]).ok().out().trim().to_owned()
    };
    let path = dir.path().join("file");
    for (seed, command) in [(1, "routing/provide"), (2, "dht/provide")] {
        std::fs::write(&path, vec![seed; 1000]).unwrap();
        let cid = one.put_block(&[], &path);
        assert_eq!(found(&cid), "", "{command}: somebody provides it already");
        let events = events(&one, &format!("/api/v0/{command}?arg={cid}"));
        assert_eq!(about(&events, FINAL_PEER), [other.id()], "{command}: {events:?}");
        assert_eq!(found(&cid), one.id(), "{command}");
    }
    // A file of two leaves: its root alone, or with all that is below.
    std::fs::write(&path, [vec![3; 1000], vec![4; 1000]].concat()).unwrap();
    let root = one.add(&["--cid-version=1", "--chunker=size-1000"], &path);
    let leaves = one.run(["refs", &root]).ok().out();
    let leaf = leaves.lines().next().unwrap();
    for (options, expected) in [(&[][..], ""), (&["-r"], one.id())] {
        let line = [&["routing", "provide", "-v", "--timeout=60s"], options, &[&root]].concat();
        let out = one.run(&line[..]).ok().out();
        let told = format!("sending provider record to peer {}", other.id());
        assert!(out.lines().any(|line| line == told), "{options:?}: {out}");
        assert_eq!((found(&root).as_str(), found(leaf).as_str()), (one.id(), expected), "{options:?}");
    }
}

#[test]
fn a_peer_is_reached_by_its_id_alone() {
    let dir = temporary("finding-reach");
    let [one, _middle, other] = three(dir.path());
    let pinged = other.run(["ping", "-n", "1", "--timeout=60s", one.id()]).ok().out();
    // It may have heard of it already, as one of the closest to itself.
    let found = pinged.strip_prefix(&format!("Looking up peer {}\n", one.id())).unwrap_or(&pinged);
    assert!(found.starts_with(&format!("PING {}.\nPong received: time=", one.id())), "{pinged}");
    let late = peer(dir.path(), "late");
    late.connect(&other.address("tcp"));
    wait_for_table(&late, &other);
    late.run(["swarm", "connect", "--timeout=60s", &format!("/p2p/{}", one.id())]).ok();
    assert!(late.peers().contains(&one.id().to_owned()));
}

#[test]
fn what_nobody_provides_is_not_found_and_what_is_not_here_is_not_announced() {
    let dir = temporary("finding-nothing");
    let [one, _middle, _other] = three(dir.path());
    let nowhere = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    assert_eq!(one.run(["routing", "findprovs", "--timeout=60s", nowhere]).ok().out(), "");
    let refused = one.run(["routing", "provide", nowhere]);
    let words = format!("block {nowhere} not found locally, cannot provide");
    assert!(refused.err().contains(&words), "{}", refused.err());
}

#[test]
fn a_node_without_routing_says_so() {
    let dir = temporary("finding-none");
    let peer = Peer::start(dir.path(), "none", &[("Routing.Type", json!("none"))], None);
    let answer =
        peer.daemon().post("/api/v0/routing/findprovs?arg=QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    assert_eq!(answer.json()["Message"], "routing service is not a DHT", "{}", answer.text());
}

#[test]
fn a_node_that_is_known_by_its_id_alone_is_shown_and_kept_connected() {
    let dir = temporary("finding-id");
    let [one, middle, other] = three(dir.path());
    let shown = other.run(["id", "--timeout=60s", one.id()]).ok().out();
    assert!(shown.contains("holdfast/"), "it said who it is: {shown}");
    let late = peer(dir.path(), "late");
    late.connect(&middle.address("tcp"));
    wait_for_table(&late, &middle);
    late.run(["swarm", "peering", "add", &format!("/p2p/{}", one.id())]).ok();
    wait_until("the peered node is connected", || {
        let peers = late.peers();
        if peers.contains(&one.id().to_owned()) { Ok(()) } else { Err(peers) }
    });
}

#[test]
fn a_block_is_read_from_a_provider_that_has_moved_since_it_was_announced() {
    let dir = temporary("finding-moved");
    let (one, other) = (peer(dir.path(), "one"), peer(dir.path(), "other"));
    one.connect(&other.address("tcp"));
    wait_for_table(&one, &other);
    wait_for_table(&other, &one);
    let path = dir.path().join("file");
    std::fs::write(&path, vec![9; 100_000]).unwrap();
    let cid = one.add(&[], &path);
    wait_until("a record of the provider", || {
        let found = other.run(["routing", "findprovs", "-n", "1", "--timeout=20s", &cid]).ok().out();
        if found.trim() == one.id() { Ok(()) } else { Err(found) }
    });
    let before = one.address("tcp");

    // It comes back elsewhere, remembers nobody, looks for nobody and announces nothing: only a third node knows where.
    let node = one.stop();
    std::fs::remove_file(node.repo().join("peers.json")).unwrap();
    for (key, value) in [("Routing.Type", "\"none\""), ("Provide.Enabled", "false")] {
        node.run(["config", "--json", key, value]).ok();
    }
    let one = Peer::with(node);
    assert_ne!(one.address("tcp"), before, "it has other ports");
    let middle = peer(dir.path(), "middle");
    one.connect(&middle.address("tcp"));
    other.connect(&middle.address("tcp"));
    wait_for_table(&other, &middle);
    assert_eq!(other.peers(), [middle.id()]);

    assert_eq!(other.run(["cat", "--timeout=60s", &cid]).ok().stdout, vec![9; 100_000]);
    assert!(other.peers().contains(&one.id().to_owned()), "it was read from the provider");
}
