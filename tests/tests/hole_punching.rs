//! Nodes at home, each behind a NAT of its own, find out that nobody can dial them, are reached through a relay, and then
//! through a hole that both make in their NATs at once.
//!
//! Each test makes its own internet of namespaces; nobody looks for peers, so that each connection is one of the story.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use holdfast_tests::goods::NoiseFile;
use holdfast_tests::nat::{Home, Internet, Nat};
use holdfast_tests::need::temporary;
use holdfast_tests::netns::Place;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::{wait_until, wait_within};
use serde_json::{Value, json};

/// Reachability is first looked at 15 s after the start, by dials that nobody answers, and after a failure 90 s later.
const AUTONAT_TIME_MAX: Duration = Duration::from_secs(180);

/// A hole is tried three times, each with a dial that hangs until its time is over.
const ATTEMPTS_TIME_MAX: Duration = Duration::from_secs(180);

fn start(dir: &Path, name: &str, place: &Place, config: &[(&str, Value)]) -> Peer {
    let config = [&[("Routing.Type", json!("none"))], config].concat();
    Peer::start(dir, name, &config, Some(place))
}

fn relay(dir: &Path, place: &Place) -> Peer {
    start(dir, "relay", place, &[("Swarm.RelayService.Enabled", json!(true))])
}

/// The addresses at which a node is connected to another.
fn connections(peer: &Peer, other: &Peer) -> Vec<String> {
    let out = peer.run(["swarm", "peers"]).ok().out();
    out.lines().filter(|line| line.ends_with(other.id())).map(str::to_owned).collect()
}

/// Waits until a node announces an address through a relay, and returns it.
fn circuit(peer: &Peer, relay: &Peer) -> String {
    wait_within(AUTONAT_TIME_MAX, "an address through the relay", || {
        let identity = peer.identity();
        let addresses = identity["Addresses"].as_array().cloned().unwrap_or_default();
        let through = |text: &&str| text.contains(relay.id()) && text.contains("/p2p-circuit/");
        let found = addresses.iter().filter_map(Value::as_str).find(through);
        found.map(str::to_owned).ok_or(identity)
    })
}

/// The addresses of a node as its NAT shows them, if it keeps the port.
fn outside(peer: &Peer, home: &Home) -> Vec<String> {
    let (inside, outside) = (home.place().address().to_string(), home.outside().to_string());
    let identity = peer.identity();
    let own = identity["Addresses"].as_array().into_iter().flatten().filter_map(Value::as_str);
    own.filter(|text| text.contains(&inside)).map(|text| text.replace(&inside, &outside)).collect()
}

fn is_relayed(address: &str) -> bool {
    address.contains("/p2p-circuit")
}

fn autonat(peer: &Peer) -> Value {
    let out = peer.run(["swarm", "addrs", "autonat", "--enc=json"]).ok().out();
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// Two nodes at home that know a relay, and speak one transport alone.
struct Scene {
    net: Internet,
    dir: tempfile::TempDir,
    transport: &'static str,
    behind: Peer,
    far: Peer,
    /// The address of the first through the relay, which is up as long as this is.
    through: String,
    /// The relay, and another node that sees where the two come from.
    public: [Peer; 2],
}

impl Scene {
    fn new(transport: &'static str, nats: [Nat; 2]) -> Option<Self> {
        let net = Internet::new("hole punching", 2, &nats)?;
        let dir = temporary("hole-punching");
        let only = |place: &Place| {
            let (tcp, listen) = match transport {
                "tcp" => (true, format!("/ip4/{}/tcp/0", place.address())),
                _ => (false, format!("/ip4/{}/udp/0/quic-v1", place.address())),
            };
            vec![
                ("Addresses.Swarm", json!([listen])),
                ("Swarm.Transports.Network.TCP", json!(tcp)),
                ("Swarm.Transports.Network.Websocket", json!(false)),
                ("Swarm.Transports.Network.QUIC", json!(!tcp)),
            ]
        };
        let [place, other] = [0, 1].map(|number| &net.public()[number]);
        let serves = ("Swarm.RelayService.Enabled", json!(true));
        let relay = start(dir.path(), "relay", place, &[only(place), vec![serves]].concat());
        let witness = start(dir.path(), "witness", other, &only(other));
        let at_home = |name: &str, home: &Home| {
            let own = vec![
                ("Swarm.RelayClient.StaticRelays", json!([relay.address(transport)])),
                // What AutoNAT finds out after a while; another test waits for it.
                ("Internal.Libp2pForceReachability", json!("private")),
                ("Routing.Type", json!("none")),
            ];
            let config = [only(home.place()), own].concat();
            let node = Peer::repo(dir.path(), name, "test", &config, Some(home.place()));
            let peer = Peer::with(node.variable("GOLOG_LOG_LEVEL", "error,swarm=info"));
            for public in [&relay, &witness] {
                peer.connect(&public.address(transport));
            }
            peer
        };
        let (behind, far) = (at_home("behind", &net.homes()[0]), at_home("far", &net.homes()[1]));
        let through = circuit(&behind, &relay);
        circuit(&far, &relay);
        Some(Self { net, dir, transport, behind, far, through, public: [relay, witness] })
    }

    /// Each of the two, and the other.
    fn ends(&self) -> [(&Peer, &Peer); 2] {
        [(&self.far, &self.behind), (&self.behind, &self.far)]
    }

    /// Waits until both are connected without the relay, and have given it up.
    fn wait_for_hole(&self) {
        self.wait_for_direct(self.ends());
    }

    fn wait_for_direct(&self, ends: [(&Peer, &Peer); 2]) {
        for (one, other) in ends {
            wait_until("a connection through the hole alone", || {
                let addresses = connections(one, other);
                let replaced = !addresses.is_empty() && !addresses.iter().any(|address| is_relayed(address));
                if replaced { Ok(()) } else { Err(addresses) }
            });
            let addresses = connections(one, other);
            let own = format!("/{}/", self.transport);
            assert!(addresses.iter().all(|address| address.contains(&own)), "{addresses:?}");
        }
    }

    /// A relay carries no blocks: they take the hole, both ways.
    fn exchange(&self) {
        for (seed, (to, from)) in (1..).zip(self.ends()) {
            let file = NoiseFile::lay(self.dir.path(), seed, 3_000_000);
            let got = file.path.with_extension("got");
            to.get(&from.add(&[], &file.path), &got);
            file.check(&got);
        }
    }

    /// Nobody is let into a home that did not ask for him.
    fn assert_closed(&self) {
        let closed = outside(&self.behind, &self.net.homes()[0]);
        assert_eq!(closed.len(), 1, "{closed:?}");
        self.far.run(["swarm", "connect", "--timeout=5s", &closed[0]]).failed();
        assert_eq!(connections(&self.far, &self.behind), [""; 0], "a NAT let in what nobody had asked for");
    }

    /// They meet at the relay, find no other way, say so, and stay where they are.
    fn stay_with_the_relay(&self) {
        let said = format!("no hole to {}", self.far.id());
        let is_named = |address: &String| address.contains(self.public[0].id()) && is_relayed(address);
        let meet = || {
            self.far.connect(&self.through);
            wait_within(ATTEMPTS_TIME_MAX, "the end of all attempts", || {
                let [far, behind] = self.ends().map(|(one, other)| connections(one, other));
                assert!(far.iter().chain(&behind).all(is_named), "{far:?} {behind:?}");
                let log = self.behind.daemon().stderr();
                match (far.is_empty(), log.contains(&said)) {
                    (false, false) => Err(log),
                    (is_apart, is_said) => Ok(is_said && !is_apart),
                }
            })
        };
        // On a machine that is very busy a circuit ends before all attempts were made: then they meet again.
        assert!((0..4).any(|_| meet()), "no circuit lasted for as long as the attempts");
        let file = NoiseFile::lay(self.dir.path(), 1, 100_000);
        let cid = self.behind.add(&[], &file.path);
        self.far.run(["cat", "--timeout=2s", &cid]).failed();
    }
}

fn wait_until_apart(ends: [(&Peer, &Peer); 2]) {
    for (one, other) in ends {
        wait_until("the end of the connection", || {
            let addresses = connections(one, other);
            if addresses.is_empty() { Ok(()) } else { Err(addresses) }
        });
    }
}

#[test]
fn two_nodes_behind_nats_meet_at_a_relay_and_go_on_without_it_over_tcp_alone() {
    let Some(scene) = Scene::new("tcp", [Nat::Strict, Nat::Strict]) else { return };
    scene.assert_closed();
    scene.far.connect(&scene.through);
    scene.wait_for_hole();
    scene.exchange();
}

#[test]
fn two_nodes_behind_nats_make_one_hole_after_another_over_quic_alone() {
    let Some(scene) = Scene::new("quic-v1", [Nat::Strict, Nat::Strict]) else { return };
    scene.assert_closed();
    for _ in 0..3 {
        scene.far.connect(&scene.through);
        scene.wait_for_hole();
        scene.exchange();
        scene.far.run(["swarm", "disconnect", &format!("/p2p/{}", scene.behind.id())]).ok();
        wait_until_apart(scene.ends());
    }
}

#[test]
fn a_nat_that_gives_another_port_is_passed_as_long_as_it_is_one_for_all() {
    for transport in ["tcp", "quic-v1"] {
        let Some(scene) = Scene::new(transport, [Nat::OtherPort, Nat::OtherPort]) else { return };
        scene.far.connect(&scene.through);
        scene.wait_for_hole();
        scene.exchange();
    }
}

#[test]
fn a_node_behind_a_nat_that_gives_a_port_for_each_peer_dials_back_who_is_public() {
    for transport in ["tcp", "quic-v1"] {
        let Some(scene) = Scene::new(transport, [Nat::Symmetric, Nat::Strict]) else { return };
        let (behind, public) = (&scene.behind, &scene.public[1]);
        // They know each other from the scene's beginning; from here on the relay is the only way.
        public.run(["swarm", "disconnect", &format!("/p2p/{}", behind.id())]).ok();
        let met = [(public, behind), (behind, public)];
        wait_until_apart(met);
        public.connect(&scene.through);
        scene.wait_for_direct(met);
    }
}

#[test]
fn two_nats_that_give_a_port_for_each_peer_leave_tcp_to_the_relay_which_is_said() {
    let Some(scene) = Scene::new("tcp", [Nat::Symmetric, Nat::Symmetric]) else { return };
    scene.stay_with_the_relay();
}

#[test]
fn two_nats_that_give_a_port_for_each_peer_leave_quic_to_the_relay_which_is_said() {
    let Some(scene) = Scene::new("quic-v1", [Nat::Symmetric, Nat::Symmetric]) else { return };
    scene.stay_with_the_relay();
}

#[test]
fn autonat_tells_a_public_node_from_one_behind_a_nat_which_then_looks_for_a_relay() {
    let Some(net) = Internet::new("AutoNAT", 2, &[Nat::Strict]) else { return };
    let dir = temporary("autonat");
    let relay = relay(dir.path(), &net.public()[0]);
    let public = start(dir.path(), "public", &net.public()[1], &[]);
    let home = &net.homes()[0];
    let behind = start(dir.path(), "behind", home.place(), &[]);
    for peer in [&public, &behind] {
        peer.connect(&relay.address("tcp"));
        peer.connect(&relay.address("quic-v1"));
    }
    for (peer, expected) in [(&public, "Public"), (&relay, "Public"), (&behind, "Private")] {
        wait_within(AUTONAT_TIME_MAX, expected, || {
            let found = autonat(peer);
            if found["reachability"] == expected { Ok(()) } else { Err(found) }
        });
    }
    let through = circuit(&behind, &relay);
    assert!(through.starts_with(&format!("/ip4/{}/", net.public()[0].address())), "{through}");
    let own = home.outside().to_string();
    let listed = |found: &Value, list: &str| found[list].to_string().contains(&own);
    // Whoever tries to dial back says that it did not come through, before the one who asked has stopped listening.
    wait_within(AUTONAT_TIME_MAX, "an address that is not reachable", || {
        let found = autonat(&behind);
        if listed(&found, "unreachable") { Ok(()) } else { Err(found) }
    });
    assert!(!listed(&autonat(&behind), "reachable"), "{}", autonat(&behind));
    // Whoever is public is asked for nothing, and holds no place at a relay.
    let announced = public.identity()["Addresses"].to_string();
    assert!(!is_relayed(&announced), "{announced}");
}
