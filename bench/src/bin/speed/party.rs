//! Nodes that exchange blocks in the rows: ours, Kubo and rust-ipfs, each a process of its own.

use std::fs;
use std::path::Path;
use std::time::Instant;

use holdfast_tests::foreign::{Foreign, Kind};
use holdfast_tests::run::{COMMAND_TIME_MAX, Node};
use holdfast_tests::swarm::Peer;
use serde_json::json;

use crate::Res;

/// Which program a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Ours,
    /// Kubo 0.22 as a library, or what `KUBO_BIN` names.
    Kubo,
    RustIpfs,
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "holdfast",
            Self::Kubo if std::env::var_os("KUBO_BIN").is_some() => "KUBO_BIN",
            Self::Kubo => "Kubo 0.22",
            Self::RustIpfs => "rust-ipfs 0.16",
        }
    }

    /// Whether it can be started here.
    pub(crate) fn present(self) -> bool {
        match self {
            Self::Ours => true,
            Self::Kubo => Kind::Kubo.present("rows with Kubo"),
            Self::RustIpfs => Kind::RustIpfs.present("rows with rust-ipfs"),
        }
    }
}

/// A running node.
pub(crate) enum Party {
    Ours(Peer),
    Theirs(Program, Foreign),
}

impl Party {
    /// Starts a node that listens on loopback over one transport, `tcp` or `quic-v1`, on the repo `dir/name`, which is
    /// made if it is not there.
    pub(crate) fn start(program: Program, dir: &Path, name: &str, transport: &str) -> Self {
        let port = if transport == "tcp" { "tcp/0" } else { "udp/0/quic-v1" };
        let listen = json!([format!("/ip4/127.0.0.1/{port}")]);
        let kind = match program {
            Program::Ours => {
                let node = Node::at(&dir.join(name).join("repo"));
                if !dir.join(name).exists() {
                    Peer::repo(dir, name, "test", &[("Addresses.Swarm", listen)], None);
                }
                return Self::Ours(Peer::with(node));
            }
            Program::Kubo => Kind::Kubo,
            Program::RustIpfs => Kind::RustIpfs,
        };
        // As users have it: what Kubo's flatfs says is stored has been synced.
        Self::Theirs(program, Foreign::start(kind, dir, name, json!({"listen": listen, "sync": true}), None))
    }

    /// The same with a repo of its own for each start.
    pub(crate) fn start_fresh(program: Program, dir: &Path, name: &str, transport: &str) -> Res<Self> {
        if dir.join(name).exists() {
            fs::remove_dir_all(dir.join(name))?;
        }
        Ok(Self::start(program, dir, name, transport))
    }

    /// Adds a file (or a folder: not rust-ipfs) with the program's defaults, and returns the root's CID.
    pub(crate) fn add(&self, path: &Path) -> String {
        self.add_for(Program::Ours, path)
    }

    /// The same for a program that is to fetch it: where that is rust-ipfs, ours adds leaves as it does, raw ones, so that
    /// its own pair carries the same blocks.
    pub(crate) fn add_for(&self, fetcher: Program, path: &Path) -> String {
        match self {
            Self::Ours(peer) if fetcher == Program::RustIpfs => peer.add(&["--raw-leaves"], path),
            Self::Ours(peer) => peer.add(&[], path),
            Self::Theirs(_, peer) => {
                let answer = peer.ask_within(COMMAND_TIME_MAX, "add", json!({"path": path}));
                answer.get("cid").and_then(|cid| cid.as_str()).unwrap_or_default().to_owned()
            }
        }
    }

    pub(crate) fn address(&self, transport: &str) -> String {
        match self {
            Self::Ours(peer) => peer.address(transport),
            Self::Theirs(_, peer) => peer.address(transport).to_owned(),
        }
    }

    pub(crate) fn connect(&self, address: &str) {
        match self {
            Self::Ours(peer) => peer.connect(address),
            Self::Theirs(_, peer) => peer.connect(address),
        }
    }

    /// Fetches everything below a CID, and returns the seconds until the last block was stored.
    pub(crate) fn fetch(&self, cid: &str) -> f64 {
        let start = Instant::now();
        match self {
            Self::Ours(peer) => drop(peer.run(["pin", "add", "--progress=false", cid]).ok()),
            Self::Theirs(program, peer) => {
                let action = if *program == Program::Kubo { "pin" } else { "fetch" };
                peer.ask_within(COMMAND_TIME_MAX, action, json!({"cid": cid}));
            }
        }
        start.elapsed().as_secs_f64()
    }

    /// The most memory that it had resident, in MiB.
    pub(crate) fn memory_mib_peak(&self) -> u64 {
        memory_mib(self.pid(), "VmHWM:")
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Ours(peer) => peer.daemon().pid().as_raw_nonzero().get().unsigned_abs(),
            Self::Theirs(_, peer) => peer.pid(),
        }
    }
}

/// A line of a process's status that counts memory, in MiB; 0 when the process is gone.
pub(crate) fn memory_mib(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() >> 10
}
