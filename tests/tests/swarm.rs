//! Two daemons on loopback meet, as their users see it: the commands about peers, in Kubo's shapes and words.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::TcpListener;
use std::time::{Duration, Instant};

use holdfast_tests::ask::Ask;
use holdfast_tests::daemon::{DAEMON_TIME_MAX, Daemon};
use holdfast_tests::need::temporary;
use holdfast_tests::netns::Net;
use holdfast_tests::run::Node;
use serde_json::{Value, json};

struct Peer {
    _dir: tempfile::TempDir,
    node: Node,
    daemon: Daemon,
    id: String,
    address: String,
}

fn peer_with(name: &str, change: impl FnOnce(&Node)) -> Peer {
    let dir = temporary(name);
    let node = Node::init(&dir.path().join("repo"));
    change(&node);
    let daemon = Daemon::start(&node, &[]);
    let id = node.run(["id", "-f=<id>"]).ok().out();
    let address = node.run(["swarm", "addrs", "local", "--id"]).ok().out().lines().next().unwrap().to_owned();
    Peer { _dir: dir, node, daemon, id, address }
}

fn peer(name: &str) -> Peer {
    peer_with(name, |_| {})
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DAEMON_TIME_MAX;
    while !holds() {
        assert!(Instant::now() < end, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn peers_of(daemon: &Daemon, options: &str) -> Vec<Value> {
    let answer = daemon.post(&format!("/api/v0/swarm/peers?{options}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["Peers"].as_array().unwrap().clone()
}

#[test]
fn a_user_connects_looks_pings_and_disconnects() {
    let (here, there) = (peer("swarm-here"), peer("swarm-there"));
    assert_eq!(peers_of(&here.daemon, ""), Vec::<Value>::new());
    let said = here.node.run(["swarm", "connect", &there.address]).ok().out();
    assert_eq!(said, format!("connect {} success\n", there.id));
    assert_eq!(here.node.run(["swarm", "peers"]).ok().out(), format!("{}\n", there.address));

    let plain = &peers_of(&here.daemon, "")[0];
    let keys: Vec<&String> = plain.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["Addr", "Peer", "Identify"], "{plain}");
    assert_eq!(plain["Identify"]["ID"], "");
    until("a ping says how far it is", || peers_of(&here.daemon, "latency=true")[0]["Latency"] != "n/a");
    let full = &peers_of(&here.daemon, "verbose=true")[0];
    assert_eq!(full["Direction"], 2, "{full}");
    assert_eq!(full["Identify"]["ID"], there.id.as_str());
    assert!(full["Identify"]["AgentVersion"].as_str().unwrap().starts_with("holdfast/"), "{full}");
    assert!(
        full["Streams"].as_array().unwrap().contains(&json!({ "Protocol": "/ipfs/ping/1.0.0" })),
        "{full}"
    );

    let pings = here.node.run(["ping", "-n", "2", &there.id]).ok().out();
    let lines: Vec<&str> = pings.lines().collect();
    assert_eq!(lines[0], format!("PING {}.", there.id));
    assert!(lines[1].starts_with("Pong received: time=") && lines[1].ends_with(" ms"), "{pings}");
    assert!(lines.len() == 4 && lines[3].starts_with("Average latency: "), "{pings}");

    let known: Value = serde_json::from_str(&here.node.run(["id", &there.id]).ok().out()).unwrap();
    assert_eq!(known["Addresses"], json!([there.address]));
    assert!(known["Protocols"].as_array().unwrap().contains(&json!("/ipfs/id/1.0.0")), "{known}");

    let said = here.node.run(["swarm", "disconnect", &there.address]).ok().out();
    assert_eq!(said, format!("disconnect {} success\n", there.id));
    until("nobody is connected", || peers_of(&here.daemon, "").is_empty());
    let said = here.node.run(["swarm", "disconnect", &format!("/p2p/{}", there.id)]).ok().out();
    assert_eq!(said, format!("disconnect {} failure: not connected\n", there.id));
    assert_eq!((here.daemon.stop().code, there.daemon.stop().code), (Some(0), Some(0)));
}

#[test]
fn a_node_says_where_it_is_and_what_it_knows() {
    let (here, there) = (peer("swarm-here"), peer("swarm-there"));
    here.node.run(["swarm", "connect", &there.address]).ok();
    let own: Value = serde_json::from_str(&here.node.run(["id"]).ok().out()).unwrap();
    assert_eq!(own["Addresses"], json!([here.address]));
    let transport = here.address.split("/p2p/").next().unwrap();
    for line in ["listen", "local"] {
        assert_eq!(here.node.run(["swarm", "addrs", line]).ok().out(), format!("{transport}\n"));
    }
    let known = here.daemon.post("/api/v0/swarm/addrs").json();
    assert_eq!(known["Addrs"][&there.id], json!([there.address.split("/p2p/").next().unwrap()]));
    let nat = here.daemon.post("/api/v0/swarm/addrs/autonat").json();
    assert_eq!(nat, json!({ "reachability": "Unknown" }));
    let usage = here.daemon.post("/api/v0/swarm/resources").json();
    assert_eq!(usage["System"]["ConnsOutboundUsage"], 1, "{usage}");
    assert!(usage["System"]["ConnsInbound"].as_u64().unwrap() >= 800, "{usage}");
    // Shape and words of Kubo, numbers of our own.
    assert!(usage["System"]["Memory"].as_str().unwrap().parse::<u64>().unwrap() >= 64 << 20, "{usage}");
    let sockets = usage["System"]["FD"].as_u64().unwrap();
    assert!(
        sockets >= 512 && usage["System"]["FDUsage"] == 1,
        "half of what the process may have open: {usage}"
    );
    assert_eq!(usage["Transient"].as_object().unwrap().len(), 16, "{usage}");
    let peer = &usage["Peers"][&there.id];
    assert_eq!(
        (&peer["Conns"], &peer["ConnsUsage"], &peer["ConnsOutboundUsage"]),
        (&json!(8), &json!(1), &json!(1))
    );
    let streams: u64 = usage["Protocols"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, protocol)| protocol["StreamsUsage"].as_u64().unwrap())
        .sum();
    let undecided = usage["Transient"]["StreamsUsage"].as_u64().unwrap();
    assert_eq!(streams + undecided, peer["StreamsUsage"].as_u64().unwrap(), "{usage}");
    let table = here.node.run(["swarm", "resources"]).ok().out();
    assert!(table.starts_with("Scope\t") && table.contains("ConnsInbound\t"), "{table}");
    assert!(table.contains(&format!("peer:{}\tConns\t\t\t8\t\t\t1\t\t\t12.5%\t\t\t\n", there.id)), "{table}");
    assert!(!table.contains("unlimited"), "{table}");
    let traffic = here.daemon.post(&format!("/api/v0/stats/bw?peer={}", there.id)).json();
    let keys: Vec<&String> = traffic.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["TotalIn", "TotalOut", "RateIn", "RateOut"]);
    assert!(traffic["TotalIn"].as_u64().unwrap() > 0, "{traffic}");
    let both = here.node.run(["stats", "bw", "--peer", &there.id, "--proto", "/x"]).failed();
    assert!(both.err().contains("please only specify peer OR protocol"), "{}", both.err());
    let metrics = Ask::new("GET", "/debug/metrics/prometheus").send(here.daemon.api()).ok().text();
    assert!(metrics.contains("ipfs_p2p_peers_total{transport=\"/ip4/tcp\"} 1"), "{metrics}");
}

#[test]
fn limits_of_ones_own_are_read_from_kubos_file_shown_and_kept_to() {
    const FILE: &str = "libp2p-resource-limit-overrides.json";
    let stranger = peer("swarm-stranger");
    let of_stranger = json!({ "Conns": 0, "Streams": 5, "Memory": "65536" });
    let limits = json!({
        "System": { "Conns": 500, "StreamsInbound": "unlimited", "Memory": "134217728" },
        "Transient": { "ConnsInbound": 9 },
        "PeerDefault": { "Conns": 4 },
        "Peer": { stranger.id.clone(): of_stranger },
        "Service": { "libp2p.autonat": { "StreamsInbound": 1 } },
    });
    let here = peer_with("swarm-here", |node| {
        std::fs::write(node.repo().join(FILE), limits.to_string()).unwrap();
    });
    let said = here.daemon.stderr();
    let warned: Vec<&str> = said.lines().filter(|line| line.contains(FILE)).collect();
    assert!(
        warned.len() == 1 && warned[0].ends_with("there are no such limits: Peer.Memory, Service"),
        "{warned:?}"
    );
    let friend = peer("swarm-friend");
    here.node.run(["swarm", "connect", &friend.address]).ok();
    let shown = here.daemon.post("/api/v0/swarm/resources").json();
    assert_eq!((&shown["System"]["Conns"], &shown["System"]["Memory"]), (&json!(500), &json!("134217728")));
    assert_eq!(shown["System"]["StreamsInbound"], "unlimited");
    assert_eq!(shown["Transient"]["ConnsInbound"], 9);
    assert_eq!(shown["Peers"][&friend.id]["Conns"], 4);
    let error = here.node.run(["swarm", "connect", &stranger.address]).failed().err();
    assert!(error.contains("at most 0 established per peer connections"), "{error}");

    let broken = temporary("swarm-broken");
    let node = Node::init(&broken.path().join("repo"));
    std::fs::write(node.repo().join(FILE), "{\n  \"System\": { \"Conns\": many }\n}").unwrap();
    let said = node.run(["daemon"]).failed().error_line();
    assert!(said.contains(FILE) && said.contains("at line 2 column 24"), "{said}");
}

#[test]
fn filters_and_peered_nodes_are_changed_while_it_runs() {
    let (here, there) = (peer("swarm-here"), peer("swarm-there"));
    let range = "/ip4/127.0.0.0/ipcidr/8";
    assert_eq!(here.node.run(["swarm", "filters"]).ok().out(), "");
    assert_eq!(here.node.run(["swarm", "filters", "add", range]).ok().out(), format!("{range}\n"));
    let error = here.node.run(["swarm", "connect", &there.address]).failed().error_line();
    assert!(error.starts_with(&format!("Error: connect {} failure: failed to dial", there.id)), "{error}");
    assert_eq!(here.node.run(["config", "Swarm.AddrFilters"]).ok().out().matches(range).count(), 1);
    assert_eq!(here.node.run(["swarm", "filters", "rm", "all"]).ok().out(), format!("{range}\n"));
    assert_eq!(here.node.run(["swarm", "filters"]).ok().out(), "");

    let said = here.node.run(["swarm", "peering", "add", &there.address]).ok().out();
    assert_eq!(said, format!("add {} success\n", there.id));
    until("it is connected by itself", || peers_of(&here.daemon, "").len() == 1);
    let list = here.daemon.post("/api/v0/swarm/peering/ls").json();
    assert_eq!(
        list,
        json!({ "Peers": [{ "ID": there.id, "Addrs": [there.address.split("/p2p/").next().unwrap()] }] })
    );
    let said = here.node.run(["swarm", "peering", "rm", &there.id]).ok().out();
    assert_eq!(said, format!("remove {} success\n", there.id));
}

#[test]
fn what_cannot_be_done_is_said_in_kubos_words() {
    let here = peer("swarm-here");
    let stranger = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
    for (line, words) in [
        (
            vec!["swarm", "connect", "foo"],
            "Error: failed to parse multiaddr \"foo\": must begin with /".to_owned(),
        ),
        (
            vec!["swarm", "connect", "/ip4/127.0.0.1/tcp/1"],
            "Error: found no ipfs peers at /ip4/127.0.0.1/tcp/1".to_owned(),
        ),
        (vec!["ping", &here.id], "Error: error: can't ping self".to_owned()),
        (vec!["ping", "-n", "0", stranger], "Error: ping count must be greater than 0, was 0".to_owned()),
        (vec!["swarm", "peering", "add", "/ip4/127.0.0.1/tcp/1"], "Error: invalid p2p multiaddr".to_owned()),
    ] {
        assert_eq!(here.node.run(&line).failed().error_line(), words);
    }
    assert!(here.node.run(["id", stranger]).failed().err().contains("pass --offline option"));
}

#[test]
fn a_ping_looks_for_whom_it_does_not_know_and_dials_whom_it_cannot_reach_once() {
    let here = peer("swarm-here");
    let stranger = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
    let unknown = here.node.run(["ping", stranger]).failed();
    assert_eq!(unknown.out(), format!("Looking up peer {stranger}\n"));
    assert_eq!(unknown.error_line(), "Error: peer lookup failed: failed to find any peer in table");
    let reply = Ask::with_args("ping", &[stranger]).send(here.daemon.api());
    assert_eq!(reply.status(), 200);
    let first = format!(r#"{{"Success":true,"Time":0,"Text":"Looking up peer {stranger}"}}"#);
    assert_eq!(reply.text(), format!("{first}\n"));
    assert_eq!(reply.trailer("X-Stream-Error"), Some("peer lookup failed: failed to find any peer in table"));

    let away = here.node.run(["ping", &format!("/ip4/127.0.0.1/tcp/1/p2p/{stranger}")]).failed();
    let out = away.out();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], format!("PING {stranger}."));
    assert!(lines[1].starts_with("Ping error: failed to dial: failed to dial "), "{out}");
    assert_eq!(out.matches("Ping error").count(), 1, "{out}");
    assert_eq!(away.error_line(), "Error: ping failed");
}

#[test]
fn a_silent_host_is_pinged_for_as_long_as_the_pings_may_take() {
    let here = peer("swarm-here");
    // It takes connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let stranger = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
    let address = format!("/ip4/127.0.0.1/tcp/{}/p2p/{stranger}", silent.local_addr().unwrap().port());
    let ended = here.node.run(["ping", "-n", "1", &address]).failed();
    assert_eq!(ended.out(), format!("PING {stranger}.\nPing error: context deadline exceeded\n"));
    assert_eq!(ended.error_line(), "Error: ping failed");
}

#[test]
fn the_addresses_that_a_node_listens_on_are_those_of_its_interfaces() {
    let check = "the addresses of interfaces";
    let Some(net) = Net::new(check, 1) else { return };
    let place = &net.places()[0];
    let dir = temporary("swarm-interfaces");
    let everywhere = json!(["/ip4/0.0.0.0/tcp/4001", "/ip4/127.0.0.1/tcp/4002/ws"]);
    let peer = holdfast_tests::swarm::Peer::start(
        dir.path(),
        "here",
        &[("Addresses.Swarm", everywhere)],
        Some(place),
    );
    let own = format!("/ip4/{}/tcp/4001", place.address());
    let mut listening = [own.as_str(), "/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/4002/ws"];
    listening.sort_unstable();
    let text = |line: &[&str]| peer.run(line).ok().out();
    assert_eq!(text(&["swarm", "addrs", "listen"]), format!("{}\n", listening.join("\n")));
    let json = text(&["swarm", "addrs", "listen", "--enc=json"]);
    assert_eq!(json, format!("{}\n", json!({ "Strings": listening })));
    // Only those that are announced have a form with the node's ID, in Kubo too.
    let with_id = text(&["swarm", "addrs", "local", "--id"]);
    let announced: Vec<&str> = with_id.lines().collect();
    assert!(announced.contains(&format!("{own}/p2p/{}", peer.id()).as_str()), "{with_id}");
    assert!(announced.iter().all(|line| line.ends_with(&format!("/p2p/{}", peer.id()))), "{with_id}");
    let without = text(&["swarm", "addrs", "local"]);
    assert_eq!(with_id.replace(&format!("/p2p/{}", peer.id()), ""), without);
    let refused = peer.run(["swarm", "addrs", "listen", "--id"]).failed();
    assert_eq!(refused.error_line(), "Error: unknown option \"id\"");
}

#[test]
fn a_daemon_of_a_private_network_says_so_and_keeps_strangers_out() {
    let key = |digit: &str| format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", digit.repeat(64));
    let with = |digit: &'static str| {
        peer_with("swarm-private", move |node| {
            std::fs::write(node.repo().join("swarm.key"), key(digit)).unwrap();
        })
    };
    let (here, friend, stranger) = (with("1"), with("1"), with("2"));
    let lines = here.daemon.lines();
    assert!(
        lines.contains(&"Swarm is limited to private network of peers with the swarm key".to_owned()),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.starts_with("Swarm key fingerprint: ")), "{lines:?}");
    friend.node.run(["swarm", "connect", &here.address]).ok();
    stranger.node.run(["swarm", "connect", &here.address]).failed();
    assert_eq!(peers_of(&here.daemon, "").len(), 1);

    let dir = temporary("swarm-forced");
    let node = Node::init(&dir.path().join("repo"));
    let mut command = node.command(["daemon"]);
    command.env("LIBP2P_FORCE_PNET", "1");
    let refused = Daemon::spawn(command).wait();
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err().contains("private network was not configured but is enforced"),
        "{}",
        refused.err()
    );
}
