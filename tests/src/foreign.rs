//! Peers that nobody here wrote, as processes that a test drives: Kubo, Helia, rust-ipfs.
//!
//! Each takes its settings as one JSON argument, and then requests and answers as lines of JSON;
//! `tests/interop/peers/lines.py` has the protocol, the drivers have the actions. Whatever
//! a peer is asked has a time limit, and a peer is gone when its guard is dropped.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::need::{skip, workspace};
use crate::netns::Place;
use crate::oracle::{self, Oracle};
use crate::wait::wait_until;

/// How long an action may take, and a start.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// How much of a peer's log a failed test shows, in bytes.
const LOG_SHOWN_MAX: usize = 3000;

/// The programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Kubo 0.22 as a library, or the binary that `KUBO_BIN` names. TCP and QUIC.
    Kubo,
    /// Helia 7. TCP.
    Helia,
    /// rust-ipfs 0.16. TCP and QUIC.
    RustIpfs,
    /// Our own binary in the place of what `KUBO_BIN` names, driven as that is.
    OursAsKubo,
}

/// The binary that takes part as Kubo, in place of the library.
fn kubo_binary() -> Option<PathBuf> {
    let named = std::env::var_os("KUBO_BIN").filter(|name| !name.is_empty()).map(PathBuf::from)?;
    // Its driver runs in another folder. A name without a folder is found on the path.
    Some(named.canonicalize().unwrap_or(named))
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Kubo => "Kubo",
            Self::Helia => "Helia 7",
            Self::RustIpfs => "rust-ipfs 0.16",
            Self::OursAsKubo => "our binary as Kubo",
        }
    }

    fn file(self) -> PathBuf {
        let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
        let cache = oracle::dir();
        match self {
            Self::Kubo | Self::OursAsKubo => Oracle::python(),
            Self::Helia => cache.join(format!("peers/node_modules/node-linux-{machine}/bin/node")),
            Self::RustIpfs => {
                if let Some(optimised) = std::env::var_os("RUST_IPFS_NODE") {
                    return PathBuf::from(optimised);
                }
                let target = std::env::var_os("HOLDFAST_PEER_TARGET").map_or_else(
                    || cache.parent().expect("the folder of the programs lies in one").join("rust-ipfs"),
                    PathBuf::from,
                );
                target.join("quick/rust-ipfs-node")
            }
        }
    }

    /// Whether it is there; if not, that is said, and `check` is skipped.
    pub fn present(self, check: &str) -> bool {
        if self == Self::Kubo && kubo_binary().is_none() {
            return Oracle::Kubo.present(check);
        }
        let packages = oracle::dir().join("peers/node_modules/helia");
        let there = self.file().is_file() && (self != Self::Helia || packages.is_dir());
        if !there {
            let (name, file) = (self.name(), self.file());
            skip(
                check,
                &format!("{name} is not there; tests/interop/setup.sh makes it ({})", file.display()),
            );
        }
        there
    }

    fn command(self) -> Command {
        let mut command = Command::new(self.file());
        let drivers = workspace().join("tests/interop/peers");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        match self {
            Self::Kubo | Self::OursAsKubo => {
                command.arg(drivers.join("kubo_node.py")).env("PYTHONDONTWRITEBYTECODE", "1");
                let ours = || Some(crate::run::binary());
                if let Some(binary) = if self == Self::Kubo { kubo_binary() } else { ours() } {
                    command.env("KUBO_BIN", binary);
                }
            }
            Self::Helia => {
                command.arg("--import").arg(drivers.join("../strangers/from.mjs"));
                command.arg(drivers.join("helia_node.mjs"));
                command.env("HOLDFAST_MODULES", oracle::dir().join("peers"));
            }
            Self::RustIpfs => {}
        }
        command
    }
}

/// A running peer.
#[derive(Debug)]
pub struct Foreign {
    child: Child,
    name: String,
    log: PathBuf,
    requests: Mutex<(u64, ChildStdin)>,
    answers: Answers,
    id: String,
    addresses: Vec<String>,
}

impl Foreign {
    /// Starts a peer whose files lie in `dir/name`, in the test's own network or in `place`, with
    /// the settings that its driver takes beyond `repo`.
    ///
    /// Without `listen` it listens on a free TCP port of the loopback address, or of the place's.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(kind: Kind, dir: &Path, name: &str, settings: Value, place: Option<&Place>) -> Self {
        let home = dir.join(name);
        std::fs::create_dir_all(&home).unwrap();
        let Value::Object(mut settings) = settings else { panic!("settings are an object") };
        let address = place.map_or("127.0.0.1".to_owned(), |place| place.address().to_string());
        let listen = settings.entry("listen").or_insert_with(|| json!([format!("/ip4/{address}/tcp/0")]));
        let listeners = texts(listen).len();
        if kind == Kind::Kubo {
            settings.insert("library".to_owned(), json!(Oracle::kubo_library()));
        }
        if kind != Kind::Helia {
            settings.entry("repo").or_insert_with(|| json!(home.join("repo")));
        }
        let mut command = kind.command();
        command.arg(Value::Object(settings).to_string());
        command.env("HOME", &home).env("TMPDIR", &home).current_dir(&home);
        if let Some(place) = place {
            command = place.inside(&command);
        }
        let log = home.join("log");
        let stderr = std::fs::File::create(&log).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} ({command:?}): {error}"));
        let answers = Answers::of(child.stdout.take().unwrap());
        let requests = Mutex::new((0, child.stdin.take().unwrap()));
        let name = format!("{name} ({})", kind.name());
        let mut peer = Self { child, name, log, requests, answers, id: String::new(), addresses: Vec::new() };
        let ready = peer.answers.first(ANSWER_TIME_MAX);
        let Some(ready) = ready.as_ref().and_then(|first| first.get("ready")) else {
            panic!("{} did not start: {ready:?}{}", peer.name, peer.log_end())
        };
        ready["id"].as_str().unwrap().clone_into(&mut peer.id);
        // Listeners may come up one after the other.
        peer.addresses = wait_until("all listeners of a peer", || {
            let addresses = texts(&peer.ask("id", json!({}))["addrs"]);
            if addresses.len() >= listeners { Ok(addresses) } else { Err(addresses) }
        });
        peer
    }

    /// Its peer ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it listens on; each ends in `/p2p/ID`.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The first address over a transport: `tcp` or `quic-v1`.
    ///
    /// # Panics
    /// When it has none.
    #[track_caller]
    pub fn address(&self, transport: &str) -> &str {
        let part = format!("/{transport}/");
        let found = self.addresses.iter().find(|address| address.contains(&part));
        found.unwrap_or_else(|| panic!("{} has no {transport} among {:?}", self.name, self.addresses))
    }

    /// Asks for an action, and waits for its answer.
    ///
    /// # Panics
    /// When it fails or takes longer than [`ANSWER_TIME_MAX`].
    #[track_caller]
    pub fn ask(&self, action: &str, with: Value) -> Value {
        self.ask_within(ANSWER_TIME_MAX, action, with)
    }

    /// The same with a time limit of its own.
    ///
    /// # Panics
    /// When it fails or takes longer.
    #[track_caller]
    pub fn ask_within(&self, bound: Duration, action: &str, with: Value) -> Value {
        self.begin(action, with).wait_within(bound)
    }

    /// Asks for an action that may fail.
    ///
    /// # Panics
    /// When there is no answer within [`ANSWER_TIME_MAX`].
    #[track_caller]
    pub fn try_ask(&self, action: &str, with: Value) -> Result<Value, String> {
        self.begin(action, with).outcome(ANSWER_TIME_MAX)
    }

    /// Asks for an action, and waits for nothing.
    ///
    /// # Panics
    /// When the peer has ended.
    #[track_caller]
    pub fn begin(&self, action: &str, with: Value) -> Pending<'_> {
        let Value::Object(with) = with else { panic!("what an action takes is an object") };
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.0 += 1;
        let number = requests.0;
        let mut request = Map::from_iter([("n".to_owned(), json!(number)), ("do".to_owned(), json!(action))]);
        request.extend(with);
        let line = format!("{}\n", Value::Object(request));
        let sent = requests.1.write_all(line.as_bytes());
        assert!(sent.is_ok(), "{} has ended before {action}{}", self.name, self.log_end());
        Pending { peer: self, number, action: action.to_owned() }
    }

    /// Connects to an address that ends in `/p2p/ID`.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn connect(&self, address: &str) {
        self.ask("connect", json!({"addr": address}));
    }

    /// The IDs of its connected peers, each once.
    ///
    /// # Panics
    /// When it does not say.
    #[track_caller]
    pub fn peers(&self) -> Vec<String> {
        let answer = self.ask("peers", json!({}));
        let found = answer.as_array().unwrap().iter().map(|peer| peer["id"].as_str().unwrap().to_owned());
        let mut found: Vec<String> = found.collect();
        found.sort();
        found.dedup();
        found
    }

    /// Adds a file (Kubo: or a folder) with the peer's defaults, and returns its CID.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn add(&self, path: &Path) -> String {
        self.ask("add", json!({"path": path}))["cid"].as_str().unwrap().to_owned()
    }

    /// Downloads a file or folder to `path` (Kubo).
    ///
    /// # Panics
    /// When that fails, or takes longer than `bound`.
    #[track_caller]
    pub fn get(&self, bound: Duration, cid: &str, path: &Path) {
        self.ask_within(bound, "get", json!({"cid": cid, "path": path}));
    }

    /// Reads a file and returns the SHA-256 of its bytes in hex (Helia, rust-ipfs).
    ///
    /// # Panics
    /// When that fails, or takes longer than `bound`.
    #[track_caller]
    pub fn read(&self, bound: Duration, cid: &str) -> String {
        let answer = self.ask_within(bound, "cat", json!({"cid": cid}));
        answer["sha256"].as_str().unwrap().to_owned()
    }

    fn log_end(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let from = bytes.len().saturating_sub(LOG_SHOWN_MAX);
        format!("\nthe end of its log:\n{}", String::from_utf8_lossy(&bytes[from..]))
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It may have ended: that is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The strings of a JSON array.
fn texts(array: &Value) -> Vec<String> {
    array.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// An action that was asked for.
#[derive(Debug)]
#[must_use]
pub struct Pending<'a> {
    peer: &'a Foreign,
    number: u64,
    action: String,
}

impl Pending<'_> {
    /// Whether its answer is there.
    pub fn done(&self) -> bool {
        self.peer.answers.has(self.number)
    }

    /// Its answer.
    ///
    /// # Panics
    /// When it fails or takes longer than [`ANSWER_TIME_MAX`].
    #[track_caller]
    pub fn wait(self) -> Value {
        self.wait_within(ANSWER_TIME_MAX)
    }

    /// Its answer, within a time limit.
    ///
    /// # Panics
    /// When it fails or takes longer.
    #[track_caller]
    pub fn wait_within(self, bound: Duration) -> Value {
        let (peer, action) = (self.peer, self.action.clone());
        self.outcome(bound)
            .unwrap_or_else(|error| panic!("{}, {action}: {error}{}", peer.name, peer.log_end()))
    }

    /// Its answer or its failure.
    ///
    /// # Panics
    /// When there is neither within the bound.
    #[track_caller]
    pub fn outcome(self, bound: Duration) -> Result<Value, String> {
        let Self { peer, number, action } = self;
        let Some(mut answer) = peer.answers.take(number, bound) else {
            panic!("{}, {action}: no answer within {bound:?}{}", peer.name, peer.log_end())
        };
        match answer.get_mut("error") {
            Some(error) => Err(error.as_str().unwrap_or_default().to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }
}

/// The lines of a peer, gathered beside.
#[derive(Debug, Clone, Default)]
struct Answers(Arc<(Mutex<Gathered>, Condvar)>);

#[derive(Debug, Default)]
struct Gathered {
    /// By the request's number; 0 is what the peer said first.
    answers: HashMap<u64, Value>,
    ended: bool,
}

impl Answers {
    fn of(pipe: impl std::io::Read + Send + 'static) -> Self {
        let answers = Self::default();
        let gathered = answers.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let Ok(line) = line else { break };
                let Ok(answer) = serde_json::from_str::<Value>(&line) else { break };
                let number = answer.get("n").and_then(Value::as_u64).unwrap_or(0);
                gathered.change(|inner| drop(inner.answers.insert(number, answer)));
            }
            gathered.change(|inner| inner.ended = true);
        });
        answers
    }

    fn change(&self, change: impl FnOnce(&mut Gathered)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    fn has(&self, number: u64) -> bool {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).answers.contains_key(&number)
    }

    fn first(&self, bound: Duration) -> Option<Value> {
        self.take(0, bound)
    }

    /// The answer, or `None` when the time is over or the peer has ended.
    fn take(&self, number: u64, bound: Duration) -> Option<Value> {
        let until = Instant::now() + bound;
        let mut inner = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(answer) = inner.answers.remove(&number) {
                return Some(answer);
            }
            let left = until.saturating_duration_since(Instant::now());
            if inner.ended || left.is_zero() {
                return None;
            }
            inner = self.0.1.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
