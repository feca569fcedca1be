//! Our daemon as a peer among others: its repo, its process, its commands, where it stands.

use std::path::Path;

use serde_json::{Value, json};

use crate::ask::Ask;
use crate::daemon::Daemon;
use crate::netns::Place;
use crate::run::{Answer, Node};
use crate::wait::wait_until;
use crate::wire::Wire;

/// A daemon of the binary under test, online, with commands that go through it.
#[derive(Debug)]
pub struct Peer {
    node: Node,
    daemon: Daemon,
    id: String,
}

impl Peer {
    /// A fresh repo `dir/name` of the `test` profile, and its daemon: [`Self::repo`] with [`Self::with`].
    ///
    /// # Panics
    /// When a config key is refused or the daemon does not start.
    #[track_caller]
    pub fn start(dir: &Path, name: &str, config: &[(&str, Value)], place: Option<&Place>) -> Self {
        Self::with(Self::repo(dir, name, "test", config, place))
    }

    /// A fresh repo `dir/name` of a profile, whose node listens on free ports for TCP and QUIC: of
    /// the loopback address, or of the place's. `config` holds further keys, or these.
    ///
    /// # Panics
    /// When the profile or a config key is refused.
    #[track_caller]
    pub fn repo(
        dir: &Path,
        name: &str,
        profile: &str,
        config: &[(&str, Value)],
        place: Option<&Place>,
    ) -> Node {
        let mut node = Node::at(&dir.join(name).join("repo"));
        let mut address = "127.0.0.1".to_owned();
        if let Some(place) = place {
            node = node.inside(place);
            address = place.address().to_string();
        }
        std::fs::create_dir_all(dir.join(name)).unwrap();
        node.run(["init", "--profile", profile]).ok();
        let listen = json!([format!("/ip4/{address}/tcp/0"), format!("/ip4/{address}/udp/0/quic-v1")]);
        for (key, value) in [("Addresses.Swarm", listen)].iter().chain(config) {
            node.run(["config", "--json", key, &value.to_string()]).ok();
        }
        node
    }

    /// The daemon of a repo that is there.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn with(node: Node) -> Self {
        let daemon = Daemon::start(&node, &[]);
        let id = node.run(["config", "Identity.PeerID"]).ok().out().trim().to_owned();
        Self { node, daemon, id }
    }

    /// One of the numbers that the daemon tells of itself, by the name of its metric.
    ///
    /// # Panics
    /// When it does not tell it.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let api = self.daemon.api();
        let ask = Ask::new("GET", "/debug/metrics/prometheus");
        let text = ask.send_over(&mut Wire::tcp(api), &api.to_string()).ok().text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in: {text}")).parse().unwrap()
    }

    /// What is allocated and not freed, without the memory of the index, which is bounded by the config and grows and shrinks as
    /// tables are written.
    ///
    /// # Panics
    /// When the daemon does not tell it.
    #[track_caller]
    pub fn live_bytes(&self) -> f64 {
        self.metric("holdfast_allocator_allocated_bytes") - self.metric("holdfast_index_memory_bytes")
    }

    /// Runs a command through the daemon.
    #[track_caller]
    pub fn run<'a>(&self, args: impl AsRef<[&'a str]>) -> Answer {
        self.node.run(args.as_ref())
    }

    /// Its repo and commands.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its process.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Its peer ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it says of itself: the JSON of `id`.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn identity(&self) -> Value {
        let out = self.run(["id"]).ok().out();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Its first address over a transport (`tcp` or `quic-v1`), which ends in `/p2p/ID`.
    ///
    /// # Panics
    /// When it has none in time.
    #[track_caller]
    pub fn address(&self, transport: &str) -> String {
        let part = format!("/{transport}/");
        wait_until(&format!("an address over {transport}"), || {
            let identity = self.identity();
            let addresses = identity["Addresses"].as_array().cloned().unwrap_or_default();
            let found = addresses.iter().filter_map(Value::as_str).find(|text| text.contains(&part));
            found.map(str::to_owned).ok_or(identity)
        })
    }

    /// Connects to an address that ends in `/p2p/ID`.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn connect(&self, address: &str) {
        self.run(["swarm", "connect", address]).ok();
    }

    /// The IDs of its connected peers, each once.
    ///
    /// # Panics
    /// When it does not say.
    #[track_caller]
    pub fn peers(&self) -> Vec<String> {
        let out = self.run(["swarm", "peers"]).ok().out();
        let mut found: Vec<String> =
            out.lines().filter_map(|line| Some(line.rsplit_once("/p2p/")?.1.to_owned())).collect();
        found.sort();
        found.dedup();
        found
    }

    /// Waits until it is connected to a peer.
    ///
    /// # Panics
    /// When it is not in time.
    #[track_caller]
    pub fn wait_for_peer(&self, id: &str) {
        wait_until(&format!("a connection to {id}"), || {
            let peers = self.peers();
            if peers.iter().any(|peer| peer == id) { Ok(()) } else { Err(peers) }
        });
    }

    /// Adds a file or folder with these flags beyond `-Q -r`, and returns its CID.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn add(&self, flags: &[&str], path: &Path) -> String {
        let path = path.to_str().expect("paths here are UTF-8");
        let mut args = vec!["add", "-Q", "-r"];
        args.extend(flags);
        args.push(path);
        self.run(args).ok().cid()
    }

    /// Fetches a file or folder to `path`.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn get(&self, cid: &str, path: &Path) {
        self.run(["get", "-o", path.to_str().expect("paths here are UTF-8"), cid]).ok();
    }

    /// Stores bytes as one raw block with these flags beyond the defaults, and returns its CID.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn put_block(&self, flags: &[&str], path: &Path) -> String {
        let mut args = vec!["block", "put"];
        args.extend(flags);
        args.push(path.to_str().expect("paths here are UTF-8"));
        self.run(args).ok().cid()
    }

    /// Stops the daemon, and returns the node for another start.
    ///
    /// # Panics
    /// When it does not end well.
    #[track_caller]
    pub fn stop(self) -> Node {
        self.daemon.stop().ok();
        self.node
    }
}
