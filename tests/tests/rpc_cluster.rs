//! ipfs-cluster runs on top of this node as it runs on top of Kubo.
//!
//! Its connector sends 13 kinds of requests (`Content-Type` empty where there is no body, a Go user agent, kept connections), and
//! reads certain fields and certain words of the answers, and no trailers. This emulates the connector: the tests are the 18
//! checks that it has for itself, one by one, with the name that it has there behind each; what is beyond them stands at the end.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::car::Block;
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::reply::{End, Reply};
use holdfast_tests::run::Node;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wire::Wire;
use serde_json::Value;

const CID: &str = "QmVr26fY1tKyspEJBniVhqxQeEjhF78XerGiqWAwraVLQH";
const NOT_HERE: &str = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";

/// The connector, with one kept connection.
struct Connector {
    wire: Wire,
    host: String,
}

impl Connector {
    fn new(daemon: &Daemon) -> Self {
        Self { wire: Wire::tcp(daemon.api()), host: daemon.api().to_string() }
    }

    fn post(&mut self, command: &str) -> Reply {
        let ask =
            Ask::command(command).field("User-Agent", "Go-http-client/1.1").field("Content-Length", "0");
        let ask = ask.field("Content-Type", "").field("Accept-Encoding", "gzip");
        let reply = ask.send_over(&mut self.wire, &self.host);
        assert_eq!(reply.end, End::Whole, "{command}");
        reply
    }

    /// As it reads answers: 200 or the message of an error.
    fn ask(&mut self, command: &str) -> Result<Reply, String> {
        let reply = self.post(command);
        if reply.status() == 200 {
            return Ok(reply);
        }
        let error = reply.value();
        assert_eq!(error["Type"], "error", "{command}: {error}");
        Err(error["Message"].as_str().unwrap_or_else(|| panic!("{command}: {error}")).to_owned())
    }

    /// How it finds out whether a CID is pinned.
    fn pin_status(&mut self, cid: &str, kind: &str) -> String {
        match self.ask(&format!("pin/ls?stream=true&arg={cid}&type={kind}")) {
            Ok(reply) => reply.values()[0]["Type"].as_str().unwrap().to_owned(),
            Err(message) if message.ends_with("not pinned") => "unpinned".to_owned(),
            Err(message) => panic!("{cid}: {message}"),
        }
    }

    fn pin(&mut self, cid: &str, recursive: bool) -> Result<(), String> {
        let reply = self.ask(&format!("pin/add?arg={cid}&progress=true&recursive={recursive}"))?;
        let values = reply.values();
        assert!(values.iter().all(Value::is_object), "{}", reply.text());
        let last = values.last().expect("a last value");
        assert_eq!(last["Pins"][0], cid, "{last}");
        Ok(())
    }
}

fn start(dir: &std::path::Path) -> Daemon {
    let daemon = Daemon::alone(&Node::init(&dir.join("repo")), &[]);
    let parts = Multipart::new().file("hello", b"Hello Worlds!\n");
    let added = Ask::command("add?pin=false").parts(&parts).send(daemon.api()).ok().value();
    assert_eq!(added["Hash"], CID);
    daemon
}

/// A daemon with one block that nothing pins, and a connector to it.
struct Scene {
    connector: Connector,
    daemon: Daemon,
    _dir: tempfile::TempDir,
}

fn scene() -> Scene {
    let dir = temporary("cluster");
    let daemon = start(dir.path());
    Scene { connector: Connector::new(&daemon), daemon, _dir: dir }
}

impl Scene {
    /// Adds bytes without a pin.
    fn add(&self, data: &[u8], options: &str) -> String {
        let parts = Multipart::new().file("f", data);
        let added = Ask::command(&format!("add?pin=false{options}")).parts(&parts).send(self.daemon.api());
        added.ok().value()["Hash"].as_str().unwrap().to_owned()
    }
}

/// `NewConnector`: it asks for the identity once a second until there is an answer.
#[test]
fn it_begins_as_soon_as_the_daemon_answers() {
    let mut scene = scene();
    assert!(scene.connector.ask("id").is_ok());
    // A further one beside it.
    assert!(Connector::new(&scene.daemon).ask("id").is_ok());
    scene.daemon.stop();
}

/// `ID`
#[test]
fn it_reads_the_identity() {
    let mut scene = scene();
    for _ in 0..3 {
        let id = scene.connector.ask("id").unwrap().value();
        assert!(id["ID"].as_str().is_some_and(|id| id.starts_with("12D3Koo")), "{id}");
        assert!(id["Addresses"].is_array() || id["Addresses"].is_null(), "{id}");
    }
    scene.daemon.stop();
}

/// `Pin`
#[test]
fn it_pins_recursively_directly_and_again() {
    let mut scene = scene();
    let connector = &mut scene.connector;
    assert_eq!(connector.pin_status(CID, "recursive"), "unpinned");
    connector.pin(CID, true).unwrap();
    assert_eq!(connector.pin_status(CID, "recursive"), "recursive");
    connector.pin(CID, true).expect("pinning again is no error");
    // The other way of pinning, with a depth, which is ignored.
    connector.ask(&format!("pin/add?arg={CID}&max-depth=3&progress=true&recursive=true")).unwrap();
    // What is not here cannot be pinned, and is not pinned afterwards.
    let message = connector.pin(NOT_HERE, true).unwrap_err();
    assert!(message.starts_with("pin: "), "{message}");
    assert_eq!(connector.pin_status(NOT_HERE, "recursive"), "unpinned");
    let direct = scene.add(b"pinned directly", "");
    scene.connector.pin(&direct, false).unwrap();
    assert_eq!(scene.connector.pin_status(&direct, "direct"), "direct");
    scene.daemon.stop();
}

/// `PinUpdate`
#[test]
fn it_moves_a_pin_and_keeps_the_old_one() {
    let mut scene = scene();
    let next = scene.add(b"the next version", "");
    let connector = &mut scene.connector;
    connector.pin(CID, true).unwrap();
    connector.ask(&format!("pin/update?arg={CID}&arg={next}&unpin=false")).unwrap();
    assert_eq!(connector.pin_status(CID, "recursive"), "recursive");
    assert_eq!(connector.pin_status(&next, "recursive"), "recursive");
    scene.daemon.stop();
}

/// `Unpin`
#[test]
fn it_unpins_and_knows_by_the_words_that_it_was_done_before() {
    let mut scene = scene();
    let connector = &mut scene.connector;
    connector.pin(CID, true).unwrap();
    connector.ask(&format!("pin/rm?arg={CID}")).unwrap();
    assert_eq!(connector.pin_status(CID, "recursive"), "unpinned");
    assert_eq!(connector.ask(&format!("pin/rm?arg={CID}")).unwrap_err(), "not pinned or pinned indirectly");
    scene.daemon.stop();
}

/// `UnpinDisabled`: it refuses by itself and sends nothing, and what it does send leaves the pin.
#[test]
fn a_pin_stays_as_long_as_it_does_not_ask_for_its_end() {
    let mut scene = scene();
    scene.connector.pin(CID, true).unwrap();
    for command in
        ["id", "repo/stat?size-only=true", "pin/ls?stream=true&type=recursive", "repo/gc?stream-errors=true"]
    {
        scene.connector.ask(command).unwrap();
    }
    assert_eq!(scene.connector.pin_status(CID, "recursive"), "recursive");
    scene.daemon.stop();
}

/// `PinLsCid`
#[test]
fn it_asks_for_one_cid_by_the_kind_of_its_pin() {
    let mut scene = scene();
    let connector = &mut scene.connector;
    connector.pin(CID, false).unwrap();
    assert_eq!(connector.pin_status(CID, "direct"), "direct");
    assert_eq!(connector.pin_status(CID, "recursive"), "unpinned");
    assert_eq!(connector.pin_status(NOT_HERE, "direct"), "unpinned");
    scene.daemon.stop();
}

/// `PinLsCid_DifferentEncoding`
#[test]
fn it_finds_a_pin_under_another_spelling_of_its_cid() {
    let mut scene = scene();
    let v1 = scene.add(b"spelt in two ways", "&cid-version=1");
    scene.connector.pin(&v1, true).unwrap();
    let spelt = Ask::command(&format!("cid/format?arg={v1}&b=z")).send(scene.daemon.api()).ok();
    let spelt = spelt.value()["Formatted"].as_str().unwrap().to_owned();
    assert!(spelt.starts_with('z'), "{spelt}");
    assert_eq!(scene.connector.pin_status(&spelt, "recursive"), "recursive");
    scene.daemon.stop();
}

/// `PinLs`
#[test]
fn it_lists_pins_of_each_kind_as_a_stream() {
    let mut scene = scene();
    let files = (0..300_u64).fold(Multipart::new(), |parts, at| parts.file("f", &noise(at, 100)));
    Ask::command("add?cid-version=1").parts(&files).send(scene.daemon.api()).ok();
    let connector = &mut scene.connector;
    connector.pin(CID, false).unwrap();
    let listed = connector.ask("pin/ls?stream=true&type=recursive").unwrap().values();
    assert_eq!(listed.len(), 300);
    assert!(listed.iter().all(|pin| pin["Type"] == "recursive" && pin["Cid"].is_string()), "{:?}", listed[0]);
    let listed = connector.ask("pin/ls?stream=true&type=direct").unwrap().values();
    assert_eq!((listed.len(), &listed[0]["Cid"]), (1, &Value::from(CID)));
    scene.daemon.stop();
}

/// `Shutdown`: its connections end, also in the middle of an answer, and the daemon goes on for the next.
#[test]
fn it_goes_away_at_any_time_and_comes_back() {
    let scene = scene();
    for command in
        ["id", "pin/ls?stream=true&type=recursive", "repo/gc?stream-errors=true", "repo/stat?size-only=true"]
    {
        let mut wire = Wire::tcp(scene.daemon.api());
        wire.send(&Ask::command(command).field("Content-Type", "").bytes(&scene.daemon.api().to_string()));
        drop(wire);
    }
    assert!(Connector::new(&scene.daemon).ask("id").is_ok());
    scene.daemon.stop();
}

/// `ConnectSwarms`
#[test]
fn it_has_the_daemons_of_its_peers_connect() {
    let dir = temporary("cluster");
    let (a, b) = (Peer::start(dir.path(), "a", &[], None), Peer::start(dir.path(), "b", &[], None));
    let address = b.address("tcp").replace('/', "%2F");
    let connected = Connector::new(a.daemon()).ask(&format!("swarm/connect?arg={address}")).unwrap();
    assert_eq!(connected.value()["Strings"][0], format!("connect {} success", b.id()));
    a.wait_for_peer(b.id());
}

/// `SwarmPeers`
#[test]
fn it_reads_who_is_connected_for_its_graph() {
    let dir = temporary("cluster");
    let (a, b) = (Peer::start(dir.path(), "a", &[], None), Peer::start(dir.path(), "b", &[], None));
    let mut connector = Connector::new(a.daemon());
    let alone = connector.ask("swarm/peers").unwrap().value();
    assert!(alone["Peers"].as_array().is_none_or(Vec::is_empty), "{alone}");
    a.connect(&b.address("quic-v1"));
    let peers = connector.ask("swarm/peers").unwrap().value();
    assert_eq!(peers["Peers"][0]["Peer"], b.id(), "{peers}");
}

/// `BlockStream`
#[test]
fn it_puts_the_blocks_of_an_add_in_one_request() {
    let mut scene = scene();
    let blocks: Vec<Block> = (0..2_000_u64).map(|at| Block::raw(noise(at, 500))).collect();
    let parts = blocks.iter().fold(Multipart::new(), |parts, block| parts.file(&block.cid(), block.data()));
    let command = "block/put?cid-codec=raw&mhtype=sha2-256&mhlen=-1&pin=false&allow-big-block=true";
    let reply = Ask::command(command).parts(&parts).send(scene.daemon.api()).ok();
    let keys: Vec<String> =
        reply.values().iter().map(|value| value["Key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys, blocks.iter().map(Block::cid).collect::<Vec<_>>());
    // A block of a codec that it was not put with: found by its multihash.
    let folder = Block::directory(&[(b"a", &blocks[0])]);
    let parts = Multipart::new().file(&folder.cid(), folder.data());
    let command = "block/put?cid-codec=dag-pb&mhtype=sha2-256&mhlen=-1&pin=false&allow-big-block=true";
    let key = Ask::command(command).parts(&parts).send(scene.daemon.api()).ok().value();
    assert_eq!(key["Key"], folder.cid());
    scene.connector.pin(&folder.cid(), true).unwrap();
    scene.daemon.stop();
}

/// `BlockGet`
#[test]
fn it_reads_blocks_as_they_are() {
    let mut scene = scene();
    for at in 0..20_u64 {
        let block = Block::raw(noise(at, 5000));
        let parts = Multipart::new().file(&block.cid(), block.data());
        let command = "block/put?cid-codec=raw&mhtype=sha2-256&mhlen=-1&pin=false&allow-big-block=true";
        Ask::command(command).parts(&parts).send(scene.daemon.api()).ok();
        let read = scene.connector.ask(&format!("block/get?arg={}", block.cid())).unwrap();
        assert_eq!(read.body, block.data());
    }
    assert!(!scene.connector.ask(&format!("block/get?arg={NOT_HERE}")).unwrap_err().is_empty());
    scene.daemon.stop();
}

/// `RepoStat`
#[test]
fn it_reads_sizes_for_its_metrics() {
    let mut scene = scene();
    let stat = scene.connector.ask("repo/stat?size-only=true").unwrap().value();
    let (size, max) = (stat["RepoSize"].as_u64().unwrap(), stat["StorageMax"].as_u64().unwrap());
    // Otherwise it takes this peer for full.
    assert!(size > 0 && max > size, "{stat}");
    scene.daemon.stop();
}

/// `Resolve`
#[test]
fn it_resolves_paths() {
    let mut scene = scene();
    let parts = Multipart::new().file("d%2Ff", b"inside");
    let added = Ask::command("add").parts(&parts).send(scene.daemon.api()).ok().values();
    let of = |name: &str| {
        let found = added.iter().find(|value| value["Name"] == name).unwrap();
        found["Hash"].as_str().unwrap().to_owned()
    };
    let (folder, file) = (of("d"), of("d/f"));
    let connector = &mut scene.connector;
    let path = connector.ask(&format!("resolve?arg=%2Fipfs%2F{folder}%2Ff")).unwrap().value();
    assert_eq!(path["Path"], format!("/ipfs/{file}"));
    assert!(connector.ask(&format!("resolve?arg=%2Fipfs%2F{folder}%2Fnone")).is_err());
    scene.daemon.stop();
}

/// `ConfigKey`: by path, in what is shown.
#[test]
fn it_looks_keys_of_the_config_up() {
    let mut scene = scene();
    let config = scene.connector.ask("config/show").unwrap().value();
    assert!(config["Datastore"]["StorageMax"].is_string(), "{config}");
    assert!(config["Datastore"]["NoSuchKey"].is_null());
    assert!(config.pointer("/Identity/PrivKey").is_none(), "the private key is shown to nobody");
    scene.daemon.stop();
}

/// `RepoGC`
#[test]
fn it_runs_a_collection_and_reads_what_was_removed() {
    let mut scene = scene();
    // CID is not pinned: the collection takes it.
    let removed = scene.connector.ask("repo/gc?stream-errors=true").unwrap().values();
    let fine =
        |value: &Value| value["Key"]["/"].is_string() && value.get("Error").is_none_or(|error| error == "");
    assert!(removed.iter().any(fine), "{removed:?}");
    assert!(scene.connector.ask(&format!("block/get?arg={CID}&offline=true")).is_err());
    scene.daemon.stop();
}

#[test]
fn it_is_told_of_a_node_without_a_network_in_words_and_goes_on() {
    let mut scene = scene();
    let connector = &mut scene.connector;
    // Offline, as Kubo: errors with a message, which it writes to its log. It ignores those of `swarm/connect`.
    let address = "%2Fip4%2F127.0.0.1%2Ftcp%2F9%2Fp2p%2FQmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN";
    assert!(!connector.ask(&format!("swarm/connect?arg={address}")).unwrap_err().is_empty());
    match connector.ask("swarm/peers") {
        Ok(reply) => assert!(reply.value()["Peers"].is_array()),
        Err(message) => assert!(!message.is_empty()),
    }
    connector.ask("id").unwrap();
    scene.daemon.stop();
}

#[test]
fn its_proxy_copies_headers_of_version_and_options() {
    let dir = temporary("cluster");
    let daemon = start(dir.path());
    let version = Ask::command("version").send(daemon.api()).ok();
    assert!(
        version.head.get("Server").is_some() && version.head.lists("Vary", "Origin"),
        "{:?}",
        version.head
    );
    let options =
        Ask::new("OPTIONS", "/api/v0/add").field("Origin", "http://localhost:3000").send(daemon.api());
    assert!(matches!(options.status(), 200 | 204), "{}", options.status());
    // What it does not know itself goes through: an unknown path is 404.
    assert_eq!(Ask::command("nosuch").send(daemon.api()).status(), 404);
    daemon.stop();
}
