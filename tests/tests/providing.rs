//! What is added to one daemon is found by others through the DHT, without anybody asking for it to be announced; and after a
//! restart announcing goes on where it was.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::{wait_until, wait_within};
use serde_json::{Value, json};

/// A repo whose local network is loopback.
fn repo(dir: &Path, name: &str, config: &[(&str, Value)]) -> holdfast_tests::run::Node {
    let lan = ("Routing.LoopbackAddressesOnLanDHT", json!(true));
    let all: Vec<(&str, Value)> = std::iter::once(lan).chain(config.iter().cloned()).collect();
    Peer::repo(dir, name, "test", &all, None)
}

fn peer(dir: &Path, name: &str, config: &[(&str, Value)]) -> Peer {
    Peer::with(repo(dir, name, config))
}

/// Connects two peers, and waits until each is in the other's routing table.
fn join(one: &Peer, other: &Peer) {
    one.connect(&other.address("tcp"));
    for (of, peer) in [(one, other), (other, one)] {
        wait_until("a peer in the routing table", || {
            let stats = of.daemon().post("/api/v0/stats/dht?arg=lan").json();
            if stats.to_string().contains(peer.id()) { Ok(()) } else { Err(stats) }
        });
    }
}

/// The figures of a peer's sweep of the local network.
fn figures(of: &Peer) -> Value {
    of.daemon().post("/api/v0/provide/stat?lan=true").json()["Sweep"].clone()
}

fn number(figures: &Value, path: &str) -> u64 {
    figures.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {figures}"))
}

/// Waits until a figure is at least so much.
fn wait_for(of: &Peer, path: &str, at_least: u64) -> Value {
    wait_until(&format!("{path} of at least {at_least}"), || {
        let figures = figures(of);
        if number(&figures, path) >= at_least { Ok(figures) } else { Err(figures) }
    })
}

/// Who provides a CID, as far as a peer finds out.
fn providers(asked: &Peer, cid: &str) -> Vec<String> {
    let out = asked.run(["routing", "findprovs", "-n", "5", "--timeout=20s", cid]).ok().out();
    out.lines().map(str::to_owned).collect()
}

fn wait_for_provider(asked: &Peer, cid: &str, provider: &Peer) {
    wait_until("a provider", || {
        let found = providers(asked, cid);
        if found.iter().any(|id| id == provider.id()) { Ok(()) } else { Err(found) }
    });
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The CIDs of all blocks in a repo.
fn blocks(of: &Peer) -> Vec<String> {
    of.run(["refs", "local"]).ok().out().lines().map(str::to_owned).collect()
}

#[test]
fn every_block_of_an_added_file_is_found_by_a_stranger_and_the_file_is_read() {
    let dir = temporary("providing");
    let one = peer(dir.path(), "one", &[]);
    let middle = peer(dir.path(), "middle", &[]);
    let other = peer(dir.path(), "other", &[]);
    join(&one, &middle);
    join(&other, &middle);
    let bytes: Vec<u8> = (0..700_000_u32).map(|number| (number % 251) as u8).collect();
    let cid = one.add(&["--raw-leaves"], &write(dir.path(), "file", &bytes));
    wait_for_provider(&other, &cid, &one);
    // The chunks too, and not only the root.
    let chunks = one.run(["refs", "-r", &cid]).ok().out();
    let chunk = chunks.lines().last().unwrap();
    wait_for_provider(&other, chunk, &one);
    assert_eq!(other.run(["cat", "--timeout=60s", &cid]).ok().stdout, bytes);
    // Whoever read it has it now, and says so.
    wait_for_provider(&middle, &cid, &other);
    // It is the others who know: the one that announced is not needed for it.
    wait_until("nothing left to be announced", || {
        let figures = figures(&one);
        let told = number(&figures, "/operations/past/keys_provided") >= blocks(&one).len() as u64;
        if told && number(&figures, "/queues/pending_key_provides") == 0 { Ok(()) } else { Err(figures) }
    });
    let id = one.id().to_owned();
    drop(one.stop());
    assert!(providers(&middle, &cid).contains(&id));
    assert!(providers(&middle, chunk).contains(&id));
}

#[test]
fn a_sweep_begins_while_somebody_watches_its_figures() {
    let dir = temporary("providing-watched");
    let (one, middle) = (peer(dir.path(), "one", &[]), peer(dir.path(), "middle", &[]));
    one.connect(&middle.address("tcp"));
    // Many times a second, and sooner than the sweep saves where it is: that is after a minute.
    wait_within(Duration::from_secs(30), "a sweep", || {
        let figures = figures(&one);
        if figures["connectivity"]["status"] == "online" { Ok(()) } else { Err(figures) }
    });
}

#[test]
fn what_came_while_nobody_was_there_is_announced_when_somebody_comes() {
    let dir = temporary("providing-later");
    // Added before there is a daemon, and while it is alone.
    let node = repo(dir.path(), "one", &[]);
    let early = write(dir.path(), "early", b"before there was a daemon");
    let early = node.run(["add", "-Q", early.to_str().unwrap()]).ok().cid();
    let one = Peer::with(node);
    let alone = one.add(&[], &write(dir.path(), "alone", b"while it was alone"));
    let middle = peer(dir.path(), "middle", &[]);
    let other = peer(dir.path(), "other", &[]);
    join(&one, &middle);
    join(&other, &middle);
    wait_for_provider(&other, &early, &one);
    wait_for_provider(&other, &alone, &one);
}

#[test]
fn the_strategy_roots_announces_roots_alone() {
    let dir = temporary("providing-roots");
    let one = peer(dir.path(), "one", &[("Provide.Strategy", json!("roots"))]);
    let middle = peer(dir.path(), "middle", &[("Provide.Enabled", json!(false))]);
    join(&one, &middle);
    let bytes: Vec<u8> = (0..600_000_u32).map(|number| (number % 241) as u8).collect();
    let path = write(dir.path(), "file", &bytes);
    let root = one.add(&["--raw-leaves"], &path);
    let loose = one.add(&["--pin=false"], &write(dir.path(), "loose", b"nobody keeps it"));
    wait_for_provider(&middle, &root, &one);
    wait_until("as many keys as roots", || {
        let figures = figures(&one);
        if number(&figures, "/schedule/keys") == roots(&one) { Ok(()) } else { Err(figures) }
    });
    let chunks = one.run(["refs", "-r", &root]).ok().out();
    assert_eq!(providers(&middle, chunks.lines().next().unwrap()), [""; 0]);
    assert_eq!(providers(&middle, &loose), [""; 0]);
    // Asked for by hand, everything is announced.
    let queued = one.run(["provide", "once", "-r", &root]).ok().out();
    assert_eq!(queued, format!("queued {} CID(s) for immediate provide\n", 1 + chunks.lines().count()));
    wait_for_provider(&middle, chunks.lines().next().unwrap(), &one);
    assert_eq!(number(&figures(&one), "/schedule/keys"), roots(&one), "that does not change the schedule");
}

fn roots(of: &Peer) -> u64 {
    of.run(["pin", "ls", "-q", "--type=recursive"]).ok().out().lines().count() as u64
}

#[test]
fn all_is_announced_again_once_an_interval_and_the_figures_say_so() {
    let dir = temporary("providing-again");
    let one = peer(dir.path(), "one", &[("Provide.DHT.Interval", json!("3s"))]);
    let middle = peer(dir.path(), "middle", &[("Provide.Enabled", json!(false))]);
    join(&one, &middle);
    let cid = one.add(&[], &write(dir.path(), "file", b"again and again"));
    wait_for_provider(&middle, &cid, &one);
    let keys = blocks(&one).len() as u64;
    let before = wait_for(&one, "/operations/past/keys_provided", keys);
    assert_eq!(before["connectivity"]["status"], "online", "{before}");
    assert_eq!(number(&before, "/schedule/keys"), keys, "{before}");
    // Two more turns, of one region as there is one peer.
    let provided = number(&before, "/operations/past/keys_provided");
    let after = wait_for(&one, "/operations/past/keys_provided", provided + 2 * keys);
    assert_eq!(number(&after, "/operations/past/keys_failed"), 0, "{after}");
    assert_eq!(number(&after, "/queues/pending_key_provides"), 0, "{after}");
    assert!(number(&after, "/network/peers") >= 1, "{after}");
    // One peer holds each record: as many records as keys.
    let (keys, records) = (
        number(&after, "/operations/past/keys_provided"),
        number(&after, "/operations/past/records_provided"),
    );
    assert!(records >= keys, "{after}");
    let text = one.run(["provide", "stat", "--lan", "--all"]).ok().out();
    for heading in
        ["Connectivity:", "Queues:", "Schedule:", "Timings:", "Network:", "Operations:", "Workers:"]
    {
        assert!(text.lines().any(|line| line == heading), "{heading} in {text}");
    }
    let old_name = one.daemon().post("/api/v0/stats/reprovide?lan=true").json();
    assert_eq!(old_name["Sweep"]["schedule"]["keys"], after["schedule"]["keys"]);
    let refused = one.run(["provide", "stat", "--compact"]);
    assert!(refused.err().contains("--compact requires --all flag"), "{}", refused.err());
}

#[test]
fn after_a_restart_the_cycle_goes_on_where_it_was() {
    let dir = temporary("providing-restart");
    let one = peer(dir.path(), "one", &[]);
    let middle = peer(dir.path(), "middle", &[("Provide.Enabled", json!(false))]);
    join(&one, &middle);
    let cid = one.add(&[], &write(dir.path(), "file", b"once is enough"));
    wait_for_provider(&middle, &cid, &one);
    let keys = blocks(&one).len() as u64;
    // The turn of all keys, after which the next one is 22 hours away.
    let before = wait_until("a whole cycle", || {
        let figures = figures(&one);
        let is_over = number(&figures, "/operations/past/keys_provided") >= keys
            && number(&figures, "/queues/pending_key_provides") == 0
            && number(&figures, "/workers/active") == 0
            // Without a saved state the cycle begins 22 hours back, and ends at once.
            && number(&figures, "/timing/current_time_offset") < 3_600_000_000_000;
        if is_over { Ok(figures) } else { Err(figures) }
    });
    let one = Peer::with(one.stop());
    join(&one, &middle);
    let new = one.add(&[], &write(dir.path(), "new", b"this one is new"));
    wait_for_provider(&middle, &new, &one);
    let after = wait_for(&one, "/operations/past/keys_provided", 1);
    assert_eq!(after["timing"]["cycle_start"], before["timing"]["cycle_start"], "{after}");
    assert_eq!(after["schedule"]["next_reprovide_at"], before["schedule"]["next_reprovide_at"], "{after}");
    let new_keys = blocks(&one).len() as u64 - keys;
    assert!(
        number(&after, "/operations/past/keys_provided") <= new_keys,
        "only what is new was announced again: {after}"
    );
}

#[test]
fn a_command_waits_for_the_announcement_if_it_is_told_to() {
    let dir = temporary("providing-wait");
    let one = peer(dir.path(), "one", &[("Provide.Strategy", json!("mfs"))]);
    let path = write(dir.path(), "file", b"wait for me");
    // Alone it cannot be told to anybody, which is an error only where it is waited for, and where the strategy takes it.
    one.add(&["--fast-provide-wait"], &path);
    let refused = one.run(["add", "--fast-provide-wait", "--to-files=/", path.to_str().unwrap()]);
    assert!(refused.err().contains("fast-provide: "), "{}", refused.err());
    one.run(["files", "rm", "/file"]).ok();
    one.run(["add", "--to-files=/", path.to_str().unwrap()]).ok();
    let middle = peer(dir.path(), "middle", &[("Provide.Enabled", json!(false))]);
    join(&one, &middle);
    one.run(["files", "rm", "/file"]).ok();
    let new = write(dir.path(), "new", b"and for me");
    let added = one.run(["add", "-Q", "--fast-provide-wait", "--to-files=/", new.to_str().unwrap()]).ok();
    // No waiting here: it is known when the command has ended.
    assert_eq!(providers(&middle, &added.cid()), [one.id()]);
}

#[test]
fn pins_and_imports_wait_for_the_announcement_too() {
    let dir = temporary("providing-pin");
    let one = peer(dir.path(), "one", &[("Provide.Strategy", json!("roots"))]);
    let middle = peer(dir.path(), "middle", &[("Provide.Enabled", json!(false))]);
    join(&one, &middle);
    let unpinned = |name: &str| {
        let path = write(dir.path(), name, name.as_bytes());
        let cid = one.add(&["--pin=false"], &path);
        assert_eq!(providers(&middle, &cid), [] as [&str; 0], "it is no root yet");
        cid
    };
    let pinned = unpinned("to be pinned");
    one.run(["pin", "add", "--fast-provide-wait", &pinned]).ok();
    assert_eq!(providers(&middle, &pinned), [one.id()]);
    let imported = unpinned("to be imported");
    let car = write(dir.path(), "car", &one.run(["dag", "export", &imported]).ok().stdout);
    one.run(["dag", "import", "--fast-provide-wait", car.to_str().unwrap()]).ok();
    assert_eq!(providers(&middle, &imported), [one.id()]);
}

#[test]
fn where_announcing_is_switched_off_commands_say_so() {
    let dir = temporary("providing-off");
    let one = peer(dir.path(), "one", &[("Provide.Enabled", json!(false))]);
    let cid = one.add(&[], &write(dir.path(), "file", b"nobody is told"));
    for (args, words) in [
        (&["routing", "provide", &cid][..], "invalid configuration: Provide.Enabled is set to 'false'"),
        (&["routing", "reprovide"], "invalid configuration: Provide.Enabled is set to 'false'"),
        (&["provide", "once", &cid], "cannot provide: Provide.Enabled is false"),
        (&["provide", "stat"], "stats not available with current routing system"),
        (&["provide", "stat", "--lan"], "LAN stats only available for Sweep provider with Dual DHT"),
    ] {
        let refused = one.run(args);
        assert!(refused.err().contains(words), "{args:?}: {}", refused.err());
    }
    assert_eq!(one.run(["provide", "clear"]).ok().out(), "removed 0 items from provide queue\n");
}

#[test]
fn the_queue_is_counted_cleared_and_a_reprovide_by_hand_needs_the_old_setting() {
    let dir = temporary("providing-queue");
    let one = peer(dir.path(), "one", &[]);
    let cid = one.add(&[], &write(dir.path(), "file", b"it waits"));
    let refused = one.run(["provide", "once", &cid]);
    assert!(refused.err().contains("cannot provide: no connected peers"), "{}", refused.err());
    let refused = one.run(["routing", "reprovide"]);
    assert!(refused.err().contains("manual reprovide is not available"), "{}", refused.err());
    // Nobody is there, so that it waits; and what waits outlives a restart.
    let waiting = number(&wait_for(&one, "/queues/pending_key_provides", 1), "/queues/pending_key_provides");
    let one = Peer::with(one.stop());
    wait_for(&one, "/queues/pending_key_provides", waiting);
    let cleared = one.run(["provide", "clear"]).ok().out();
    let cleared = cleared.trim_start_matches("removed ").split(' ').next().unwrap().parse::<u64>().unwrap();
    assert!(cleared >= waiting, "{cleared} of {waiting}");
    assert_eq!(number(&figures(&one), "/queues/pending_key_provides"), 0);
}

#[test]
fn a_config_that_kubo_refuses_keeps_the_daemon_from_starting() {
    let dir = temporary("providing-config");
    let node = repo(dir.path(), "one", &[]);
    node.run(["config", "--json", "Reprovider.Strategy", "\"all\""]).ok();
    let refused = node.run(["daemon"]);
    assert!(refused.err().contains("Reprovider.Strategy -> Provide.Strategy"), "{}", refused.err());
    node.run(["config", "--json", "Reprovider", "{}"]).ok();
    node.run(["config", "--json", "Provide.DHT.Interval", "\"0\""]).ok();
    let refused = node.run(["daemon"]);
    assert!(refused.err().contains("set Provide.Enabled explicitly"), "{}", refused.err());
}

#[test]
fn without_the_sweep_each_key_is_announced_by_a_lookup_of_its_own() {
    let dir = temporary("providing-classic");
    let config = [("Provide.DHT.SweepEnabled", json!(false)), ("Provide.DHT.MaxWorkers", json!(2))];
    let node = repo(dir.path(), "one", &config);
    let early = write(dir.path(), "early", b"before there was a daemon");
    let early = node.run(["add", "-Q", early.to_str().unwrap()]).ok().cid();
    let one = Peer::with(node);
    let alone = one.add(&[], &write(dir.path(), "alone", b"while it was alone"));
    let middle = peer(dir.path(), "middle", &[]);
    let other = peer(dir.path(), "other", &[]);
    join(&one, &middle);
    join(&other, &middle);
    let bytes: Vec<u8> = (0..700_000_u32).map(|number| (number % 239) as u8).collect();
    let cid = one.add(&["--raw-leaves"], &write(dir.path(), "file", &bytes));
    let chunks = one.run(["refs", "-r", &cid]).ok().out();
    for announced in [&early, &alone, &cid, chunks.lines().last().unwrap()] {
        wait_for_provider(&other, announced, &one);
    }

    let stats = |name: &str| one.daemon().post(&format!("/api/v0/{name}")).json();
    one.run(["routing", "reprovide"]).ok();
    let all = blocks(&one).len() as u64;
    let legacy = wait_until("all keys announced again", || {
        let figures = stats("provide/stat");
        assert!(figures["Sweep"].is_null() && figures["FullRT"] == false, "{figures}");
        if number(&figures, "/Legacy/LastReprovideBatchSize") >= all {
            Ok(figures["Legacy"].clone())
        } else {
            Err(figures)
        }
    });
    assert!(
        number(&legacy, "/TotalReprovides") >= all && number(&legacy, "/AvgReprovideDuration") > 0,
        "{legacy}"
    );
    assert_ne!(legacy["LastRun"], "0001-01-01T00:00:00Z");
    assert_eq!(number(&legacy, "/ReprovideInterval"), 22 * 3600 * 1_000_000_000);
    for old_name in ["stats/provide", "stats/reprovide"] {
        assert!(stats(old_name)["Legacy"].is_object(), "{old_name}");
    }
    let text = one.run(["provide", "stat"]).ok().out();
    assert!(text.starts_with("TotalReprovides:") && text.contains("LastReprovide:"), "{text}");
    for (option, words) in [("--all", "cannot use flags with legacy"), ("--lan", "only available for Sweep")]
    {
        let refused = one.run(["provide", "stat", option]).failed().err();
        assert!(refused.contains(words), "{refused}");
    }
    one.run(["provide", "clear"]).ok();

    // A start within the interval does not announce all again.
    let one = Peer::with(one.stop());
    let again = one.daemon().post("/api/v0/provide/stat").json();
    assert_eq!(
        again["Legacy"]["LastRun"].as_str().map(|at| &at[..19]),
        legacy["LastRun"].as_str().map(|at| &at[..19])
    );
    assert_eq!(number(&again, "/Legacy/TotalReprovides"), 0);
}
