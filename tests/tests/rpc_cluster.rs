//! ipfs-cluster runs on top of this node as it runs on top of Kubo.
//!
//! Its connector sends 13 kinds of requests (`Content-Type` empty where there is no body, a Go user agent, kept connections), and
//! reads certain fields and certain words of the answers, and no trailers. This emulates the connector: each test is one of the
//! checks that it has for itself.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::car::Block;
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::reply::{End, Reply};
use holdfast_tests::run::Node;
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

#[test]
fn it_reads_the_identity() {
    let dir = temporary("cluster");
    let daemon = start(dir.path());
    let mut connector = Connector::new(&daemon);
    for _ in 0..3 {
        let id = connector.ask("id").unwrap().value();
        assert!(id["ID"].as_str().is_some_and(|id| id.starts_with("12D3Koo")), "{id}");
        assert!(id["Addresses"].is_array() || id["Addresses"].is_null(), "{id}");
    }
    daemon.stop();
}

#[test]
fn it_pins_and_unpins_and_asks_again() {
    let dir = temporary("cluster");
    let daemon = start(dir.path());
    let mut connector = Connector::new(&daemon);
    assert_eq!(connector.pin_status(CID, "recursive"), "unpinned");
    connector.pin(CID, true).unwrap();
    assert_eq!(connector.pin_status(CID, "recursive"), "recursive");
    connector.pin(CID, true).expect("pinning again is no error");
    // The other way of pinning, with a depth, which is ignored.
    connector.ask(&format!("pin/add?arg={CID}&max-depth=3&progress=true&recursive=true")).unwrap();

    connector.ask(&format!("pin/rm?arg={CID}")).unwrap();
    assert_eq!(connector.pin_status(CID, "recursive"), "unpinned");
    assert_eq!(connector.ask(&format!("pin/rm?arg={CID}")).unwrap_err(), "not pinned or pinned indirectly");

    connector.pin(CID, false).unwrap();
    assert_eq!(connector.pin_status(CID, "direct"), "direct");
    assert_eq!(connector.pin_status(CID, "recursive"), "unpinned");

    // What is not here cannot be pinned, and is not pinned afterwards.
    let message = connector.pin(NOT_HERE, true).unwrap_err();
    assert!(message.starts_with("pin: "), "{message}");
    assert_eq!(connector.pin_status(NOT_HERE, "recursive"), "unpinned");
    daemon.stop();
}

#[test]
fn it_moves_a_pin_and_keeps_the_old_one() {
    let dir = temporary("cluster");
    let daemon = start(dir.path());
    let mut connector = Connector::new(&daemon);
    let parts = Multipart::new().file("next", b"the next version");
    let next = Ask::command("add?pin=false").parts(&parts).send(daemon.api()).ok().value();
    let next = next["Hash"].as_str().unwrap();
    connector.pin(CID, true).unwrap();
    connector.ask(&format!("pin/update?arg={CID}&arg={next}&unpin=false")).unwrap();
    assert_eq!(connector.pin_status(CID, "recursive"), "recursive");
    assert_eq!(connector.pin_status(next, "recursive"), "recursive");
    daemon.stop();
}

#[test]
fn it_lists_pins_as_a_stream_and_finds_them_in_another_base() {
    let dir = temporary("cluster");
    let daemon = start(dir.path());
    let mut connector = Connector::new(&daemon);
    let files = (0..300_u64).fold(Multipart::new(), |parts, at| parts.file("f", &noise(at, 100)));
    let added = Ask::command("add?cid-version=1").parts(&files).send(daemon.api()).ok().values();
    let v1 = added[0]["Hash"].as_str().unwrap().to_owned();
    connector.pin(CID, false).unwrap();
    let listed = connector.ask("pin/ls?stream=true&type=recursive").unwrap().values();
    assert_eq!(listed.len(), 300);
    assert!(listed.iter().all(|pin| pin["Type"] == "recursive" && pin["Cid"].is_string()), "{:?}", listed[0]);
    let listed = connector.ask("pin/ls?stream=true&type=direct").unwrap().values();
    assert_eq!((listed.len(), &listed[0]["Cid"]), (1, &Value::from(CID)));
    // The same CID in base58.
    let other = Ask::with_args("cid/format", &[&v1]);
    let other =
        Ask::command(&format!("{}&b=z", other.target().trim_start_matches("/api/v0/"))).send(daemon.api());
    let other = other.ok().value()["Formatted"].as_str().unwrap().to_owned();
    assert!(other.starts_with('z'), "{other}");
    assert_eq!(connector.pin_status(&other, "recursive"), "recursive");
    daemon.stop();
}

#[test]
fn it_puts_the_blocks_of_an_add_in_one_request_and_reads_them_back() {
    let dir = temporary("cluster");
    let daemon = start(dir.path());
    let mut connector = Connector::new(&daemon);
    let blocks: Vec<Block> = (0..2_000_u64).map(|at| Block::raw(noise(at, 500))).collect();
    let parts = blocks.iter().fold(Multipart::new(), |parts, block| parts.file(&block.cid(), block.data()));
    let command = "block/put?cid-codec=raw&mhtype=sha2-256&mhlen=-1&pin=false&allow-big-block=true";
    let reply = Ask::command(command).parts(&parts).send(daemon.api()).ok();
    let keys: Vec<String> =
        reply.values().iter().map(|value| value["Key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys, blocks.iter().map(Block::cid).collect::<Vec<_>>());
    for block in blocks.iter().step_by(97) {
        let read = connector.ask(&format!("block/get?arg={}", block.cid())).unwrap();
        assert_eq!(read.body, block.data());
    }
    // A block of a codec that it was not put with: found by its multihash.
    let folder = Block::directory(&[(b"a", &blocks[0])]);
    let parts = Multipart::new().file(&folder.cid(), folder.data());
    let command = "block/put?cid-codec=dag-pb&mhtype=sha2-256&mhlen=-1&pin=false&allow-big-block=true";
    let key = Ask::command(command).parts(&parts).send(daemon.api()).ok().value();
    assert_eq!(key["Key"], folder.cid());
    connector.pin(&folder.cid(), true).unwrap();
    daemon.stop();
}

#[test]
fn it_reads_sizes_for_its_metrics_and_runs_a_collection() {
    let dir = temporary("cluster");
    let daemon = start(dir.path());
    let mut connector = Connector::new(&daemon);
    let stat = connector.ask("repo/stat?size-only=true").unwrap().value();
    let (size, max) = (stat["RepoSize"].as_u64().unwrap(), stat["StorageMax"].as_u64().unwrap());
    assert!(size > 0 && max > size, "{stat}");
    // It looks configuration up by path in what is shown.
    let config = connector.ask("config/show").unwrap().value();
    assert!(config["Datastore"]["StorageMax"].is_string(), "{config}");
    // CID is not pinned: the collection takes it.
    let removed = connector.ask("repo/gc?stream-errors=true").unwrap().values();
    assert!(
        removed
            .iter()
            .any(|value| value["Key"]["/"].is_string() && value.get("Error").is_none_or(|e| e == ""))
    );
    assert!(connector.ask(&format!("block/get?arg={CID}&offline=true")).is_err());
    daemon.stop();
}

#[test]
fn it_resolves_paths() {
    let dir = temporary("cluster");
    let daemon = start(dir.path());
    let mut connector = Connector::new(&daemon);
    let parts = Multipart::new().file("d%2Ff", b"inside");
    let added = Ask::command("add").parts(&parts).send(daemon.api()).ok().values();
    let folder =
        added.iter().find(|value| value["Name"] == "d").unwrap()["Hash"].as_str().unwrap().to_owned();
    let file =
        added.iter().find(|value| value["Name"] == "d/f").unwrap()["Hash"].as_str().unwrap().to_owned();
    let path = connector.ask(&format!("resolve?arg=%2Fipfs%2F{folder}%2Ff")).unwrap().value();
    assert_eq!(path["Path"], format!("/ipfs/{file}"));
    assert!(connector.ask(&format!("resolve?arg=%2Fipfs%2F{folder}%2Fnone")).is_err());
    daemon.stop();
}

#[test]
fn it_is_told_of_a_node_without_peers_in_words_and_goes_on() {
    let dir = temporary("cluster");
    let daemon = start(dir.path());
    let mut connector = Connector::new(&daemon);
    // Offline, as Kubo: errors with a message, which it writes to its log. It ignores those of `swarm/connect`.
    let address = "%2Fip4%2F127.0.0.1%2Ftcp%2F9%2Fp2p%2FQmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN";
    assert!(!connector.ask(&format!("swarm/connect?arg={address}")).unwrap_err().is_empty());
    match connector.ask("swarm/peers") {
        Ok(reply) => assert!(reply.value()["Peers"].is_array()),
        Err(message) => assert!(!message.is_empty()),
    }
    connector.ask("id").unwrap();
    daemon.stop();
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
