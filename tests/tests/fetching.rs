//! Whatever reads gets what is missing here from a peer, ahead of what is read, and says so where that takes long.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use holdfast_tests::ask::{Ask, escape};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::goods::NoiseFile;
use holdfast_tests::hostile::words::{raw_cid, text};
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::terminal::on_terminal;
use holdfast_tests::tree;
use holdfast_tests::wait::wait_until;
use holdfast_tests::wire::Wire;
use serde_json::{Value, json};

const BITSWAP: &str = "/ipfs/bitswap/1.2.0";

/// Bytes of a leaf, as `add` cuts them.
const LEAF_BYTES: u64 = 256 << 10;

/// A node that has nothing, beside one that has everything.
fn reader(dir: &Path, name: &str, from: &Peer) -> Peer {
    let to = Peer::start(dir, name, &[], None);
    to.connect(&from.address("tcp"));
    to
}

/// A folder with a file of many blocks, and small ones at two depths.
fn folder(dir: &Path) -> std::path::PathBuf {
    let folder = dir.join("folder");
    fs::create_dir_all(folder.join("inner")).unwrap();
    fs::rename(NoiseFile::lay(dir, 1, 5_000_000).path, folder.join("large")).unwrap();
    for number in 0..20 {
        fs::write(folder.join(format!("small-{number}")), format!("number {number}")).unwrap();
        fs::write(folder.join("inner").join(format!("small-{number}")), vec![number; 3000]).unwrap();
    }
    folder
}

#[test]
fn each_command_that_reads_fetches_what_is_missing() {
    let dir = temporary("fetching");
    let from = Peer::start(dir.path(), "from", &[], None);
    let folder = folder(dir.path());
    let cid = from.add(&["--raw-leaves"], &folder);
    // What depends on no order of arrival is the same to the byte.
    for (number, command) in [
        vec!["dag", "export"],
        vec!["refs", "-r"],
        vec!["ls"],
        vec!["dag", "get"],
        vec!["dag", "stat", "--progress=false"],
        vec!["files", "stat"],
    ]
    .into_iter()
    .enumerate()
    {
        let to = reader(dir.path(), &format!("to-{number}"), &from);
        let path = format!("/ipfs/{cid}");
        let arg = if command[0] == "files" { path.as_str() } else { &cid };
        let line = [&command[..], &["--timeout=60s", arg]].concat();
        let expected = from.run(&line[..]).ok().stdout;
        assert!(to.run(&line[..]).ok().stdout == expected, "{line:?}");
    }

    let to = reader(dir.path(), "to-files", &from);
    to.run(["files", "cp", "--timeout=60s", &format!("/ipfs/{cid}"), "/copied"]).ok();
    let listed = to.run(["files", "ls", "--timeout=60s", "/copied/inner"]).ok().out();
    assert_eq!(listed.lines().count(), 20, "{listed}");
    // It is there by its root alone, and read as it is asked for.
    let blocks = || to.run(["refs", "local"]).ok().out().lines().count();
    let before = blocks();
    assert!(before < 6, "{before} blocks for a folder that nobody read");
    let part =
        to.run(["files", "read", "--timeout=60s", "-o=2000000", "-n=1000", "/copied/large"]).ok().stdout;
    let large = fs::read(folder.join("large")).unwrap();
    assert!(part == large[2_000_000..2_001_000]);
    assert!(blocks() < before + 8, "{} blocks, before {before}", blocks());
    assert!(to.run(["files", "read", "--timeout=60s", "/copied/large"]).ok().stdout == large);
    to.run(["files", "mkdir", "--timeout=60s", "/copied/inner/new"]).ok();
    let listed = to.run(["files", "ls", "/copied/inner"]).ok().out();
    assert!(listed.lines().any(|line| line == "new"), "{listed}");

    let to = reader(dir.path(), "to-get", &from);
    let got = dir.path().join("got");
    to.get(&cid, &got);
    tree::compare(&folder, &got, &|_| false).unwrap();
}

#[test]
fn a_reader_asks_ahead_as_far_as_its_window() {
    let dir = temporary("fetching-ahead");
    let from = Peer::start(dir.path(), "from", &[], None);
    let file = NoiseFile::lay(dir.path(), 2, 60 << 20);
    let cid = from.add(&["--raw-leaves", "--pin=false"], &file.path);
    let leaves = from.run(["refs", "-r", "--unique", &cid]).ok().out();
    let leaves: Vec<&str> = leaves.lines().filter(|cid| cid.starts_with("bafkrei")).collect();
    assert_eq!(leaves.len() as u64, (60 << 20) / LEAF_BYTES);
    from.run([&["block", "rm"][..], &leaves[..]].concat()).ok();
    let to = reader(dir.path(), "to", &from);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| to.run(["cat", "--timeout=120s", &cid]));
        // Nothing of it is there to be read, and still more than the first block is asked for; not the whole file.
        let asked = wait_until("wants of blocks that come later", || {
            let wanted = from.daemon().post(&format!("/api/v0/bitswap/wantlist?peer={}", to.id())).json();
            let count = wanted["Keys"].as_array().map_or(0, Vec::len);
            if count >= 8 { Ok(count) } else { Err(wanted) }
        });
        assert!(asked as u64 <= (32 << 20) / LEAF_BYTES, "{asked}");
        assert_eq!(from.add(&["--raw-leaves", "--pin=false"], &file.path), cid);
        assert!(reading.join().unwrap().ok().stdout == fs::read(&file.path).unwrap());
    });
}

#[test]
fn a_wait_of_more_than_two_seconds_is_told_on_a_terminal_and_not_in_a_pipe() {
    let dir = temporary("fetching-waits");
    let (from, to) = (Peer::start(dir.path(), "from", &[], None), Peer::start(dir.path(), "to", &[], None));
    to.connect(&from.address("tcp"));
    let nobodys = "bafkreidon73zkcrwdb5iafqtijxildoonbwnpv7dyd6ef3qdgads2jc4su";
    let told = "waiting for block ";
    let piped = to.run(["cat", "--timeout=6s", nobodys]).failed();
    assert!(!piped.err().contains(told), "{}", piped.err());
    let line = format!("cat --timeout=6s {nobodys}");
    let Some((went_well, shown)) = on_terminal(to.node(), &dir.path().join("shown"), &line) else { return };
    assert!(!went_well, "{shown}");
    let sentence = shown.lines().find(|line| line.starts_with(told)).unwrap_or_else(|| panic!("{shown}"));
    assert!(sentence.contains(nobodys) && sentence.contains(" s: "), "{sentence}");
}

/// Waits until a node wants exactly these, and a peer of it knows that.
#[track_caller]
fn wait_for_wants(to: &Peer, from: &Peer, cids: &[&str]) {
    let links: Vec<Value> = cids.iter().map(|cid| json!({ "/": cid })).collect();
    let (own, told) = ("/api/v0/bitswap/wantlist", format!("/api/v0/bitswap/wantlist?peer={}", to.id()));
    wait_until(&format!("wants of {cids:?}"), || {
        let wanted = vec![to.daemon().post(own).json(), from.daemon().post(&told).json()];
        if wanted.iter().all(|list| list["Keys"] == json!(links)) { Ok(()) } else { Err(wanted) }
    });
}

#[test]
fn a_reader_that_goes_away_leaves_nothing_wanted() {
    let dir = temporary("fetching-away");
    let from = Peer::start(dir.path(), "from", &[], None);
    let to = reader(dir.path(), "to", &from);
    let nobodys = ["a command", "a client", "a browser"].map(|who| text(&raw_cid(who.as_bytes())));
    let [command, client, browser] = nobodys.each_ref().map(String::as_str);
    wait_for_wants(&to, &from, &[]);

    let reading = Daemon::spawn(to.node().command(["cat", command]));
    wait_for_wants(&to, &from, &[command]);
    let ended = reading.stop();
    assert!(ended.code != Some(0) && ended.stdout.is_empty(), "{ended:?}");
    wait_for_wants(&to, &from, &[]);

    let (api, gateway) = (to.daemon().api(), to.daemon().gateway());
    for (server, ask, cid) in [
        (api, Ask::with_args("cat", &[client]), client),
        (gateway, Ask::new("GET", &format!("/ipfs/{browser}")), browser),
    ] {
        let mut wire = Wire::tcp(server);
        wire.send(&ask.bytes(&server.to_string()));
        wait_for_wants(&to, &from, &[cid]);
        drop(wire);
        wait_for_wants(&to, &from, &[]);
    }
}

#[test]
fn traffic_is_counted_by_peer_and_by_protocol() {
    let dir = temporary("fetching-traffic");
    let from = Peer::start(dir.path(), "from", &[], None);
    let to = reader(dir.path(), "to", &from);
    let bytes = 3 << 20;
    let file = NoiseFile::lay(dir.path(), 3, bytes);
    let cid = from.add(&["--raw-leaves"], &file.path);
    let traffic = |peer: &Peer, query: &str| -> Value {
        peer.daemon().post(&format!("/api/v0/stats/bw{query}")).json()
    };
    let of = |peer: &Peer, name: &str, key: &str| {
        traffic(peer, &format!("?proto={}", escape(name)))[key].as_u64().unwrap()
    };
    assert_eq!(of(&to, "/no/such/protocol", "TotalIn"), 0);
    to.run(["cat", "--timeout=60s", &cid]).ok();
    wait_until("both counted the same", || {
        let pairs = [("TotalIn", "TotalOut"), ("TotalOut", "TotalIn")];
        let counts = pairs.map(|(here, there)| (of(&to, BITSWAP, here), of(&from, BITSWAP, there)));
        if counts.iter().all(|(here, there)| here == there) { Ok(()) } else { Err(counts) }
    });
    // Blocks, and what says which they are; one or the other came twice where the machine was busy.
    let received = of(&to, BITSWAP, "TotalIn");
    assert!(received > bytes && received < bytes + bytes / 4, "{received}");
    let of_peer = traffic(&to, &format!("?peer={}", from.id()))["TotalIn"].as_u64().unwrap();
    let all = traffic(&to, "")["TotalIn"].as_u64().unwrap();
    assert!(received < of_peer && of_peer <= all, "{received} {of_peer} {all}");
    assert!(of(&to, "/ipfs/id/1.0.0", "TotalIn") > 0);
    // The same by the command line, in units.
    let line = to.run(["stats", "bw", "-t", BITSWAP]).ok().out();
    assert!(line.starts_with("Bandwidth\nTotalIn: 3.") && line.contains(" MB\n"), "{line}");
}
