//! What a command announces by itself: at once, also what the strategy would leave out, and if it is told to, before it returns.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_tests::goods::NoiseFile;
use holdfast_tests::need::temporary;
use holdfast_tests::run::{COMMAND_TIME_MAX, finish};
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};

/// A peer of the DHT that is asked is waited for a little longer.
const SILENCE_TIME_MAX: Duration = Duration::from_secs(8);

/// A peer that announces by this strategy, and one that only keeps records; each is in the other's routing table.
fn two(dir: &Path, strategy: &str, more: &[(&str, Value)]) -> (Peer, Peer) {
    let peer = |name: &str, config: &[(&str, Value)]| {
        let lan = ("Routing.LoopbackAddressesOnLanDHT", json!(true));
        Peer::start(dir, name, &[&[lan], config].concat(), None)
    };
    let one = peer("one", &[&[("Provide.Strategy", json!(strategy))], more].concat());
    let keeper = peer("keeper", &[("Provide.Enabled", json!(false))]);
    one.connect(&keeper.address("tcp"));
    for (of, peer) in [(&one, &keeper), (&keeper, &one)] {
        wait_until("a peer in the routing table", || {
            let stats = of.daemon().post("/api/v0/stats/dht?arg=lan").json();
            if stats.to_string().contains(peer.id()) { Ok(()) } else { Err(stats) }
        });
    }
    (one, keeper)
}

/// Who provides a CID, as far as a peer finds out.
fn providers(asked: &Peer, cid: &str) -> Vec<String> {
    let out = asked.run(["routing", "findprovs", "-n", "5", "--timeout=20s", cid]).ok().out();
    out.lines().map(str::to_owned).collect()
}

fn wait_for_provider(asked: &Peer, cid: &str, provider: &Peer) {
    wait_until("a provider", || {
        let found = providers(asked, cid);
        if found == [provider.id()] { Ok(()) } else { Err(found) }
    });
}

/// The CIDs below another, one level of them or all.
fn below(peer: &Peer, cid: &str, options: &[&str]) -> Vec<String> {
    let out = peer.run([&["refs"], options, &[cid]].concat()).ok().out();
    out.lines().map(str::to_owned).collect()
}

#[test]
fn a_whole_dag_is_announced_at_once_that_the_strategy_alone_would_leave_out() {
    let dir = temporary("fast-provide-dag");
    let (one, keeper) = two(dir.path(), "mfs", &[]);
    // Three levels: a root, nodes, chunks. Nothing of it is in the mutable file system.
    let add = |seed: u64, flags: &[&str]| {
        let flags = [&["--raw-leaves", "--chunker=size-1000"], flags].concat();
        one.add(&flags, &NoiseFile::lay(dir.path(), seed, 200_000).path)
    };
    let silent = add(1, &[]);
    let told = add(2, &["--fast-provide-dag"]);
    let (nodes, all) = (below(&one, &told, &[]), below(&one, &told, &["-r"]));
    assert!(nodes.len() > 1 && all.len() > nodes.len() + 100, "{} of {}", nodes.len(), all.len());
    for cid in [&told, &nodes[1], all.last().unwrap()] {
        wait_for_provider(&keeper, cid, &one);
    }
    wait_until("all of it announced", || {
        let figures = one.daemon().post("/api/v0/provide/stat?lan=true").json();
        let sent = figures.pointer("/Sweep/operations/past/keys_provided").and_then(Value::as_u64);
        if sent > Some(all.len() as u64) { Ok(()) } else { Err(figures) }
    });
    let silent_nodes = below(&one, &silent, &[]);
    for cid in [&silent, &silent_nodes[1]] {
        assert_eq!(providers(&keeper, cid), [""; 0], "nobody asked for it to be announced");
    }
    // A pin can ask for it too.
    one.run(["pin", "add", "--fast-provide-dag", &silent]).ok();
    wait_for_provider(&keeper, &silent_nodes[1], &one);

    // And an import.
    let car = |seed: u64| {
        let cid = add(seed, &["--pin=false"]);
        (dir.path().join(format!("{seed}.car")), below(&one, &cid, &[])[1].clone(), cid)
    };
    let [silent, told] = [3, 4].map(|seed| {
        let (path, node, cid) = car(seed);
        std::fs::write(&path, one.run(["dag", "export", &cid]).ok().stdout).unwrap();
        (path.to_str().unwrap().to_owned(), node)
    });
    one.run(["dag", "import", &silent.0]).ok();
    one.run(["dag", "import", "--fast-provide-dag", &told.0]).ok();
    wait_for_provider(&keeper, &told.1, &one);
    assert_eq!(providers(&keeper, &silent.1), [""; 0], "nobody asked for it to be announced");
}

#[test]
fn a_whole_dag_is_announced_where_the_config_says_so_and_the_option_does_not_say_otherwise() {
    let dir = temporary("fast-provide-dag-config");
    let (one, keeper) = two(dir.path(), "mfs", &[("Import.FastProvideDAG", json!(true))]);
    let node_of = |seed: u64, flags: &[&str]| {
        let flags = [&["--raw-leaves", "--chunker=size-1000"], flags].concat();
        let cid = one.add(&flags, &NoiseFile::lay(dir.path(), seed, 200_000).path);
        below(&one, &cid, &[])[1].clone()
    };
    let (silent, told) = (node_of(1, &["--fast-provide-dag=false"]), node_of(2, &[]));
    wait_for_provider(&keeper, &told, &one);
    assert_eq!(providers(&keeper, &silent), [""; 0], "the option said not to");
}

#[test]
fn what_is_announced_at_once_and_waited_for_is_what_the_options_say_and_else_the_config() {
    const ROOT: &str = "--fast-provide-root";
    const NO_ROOT: &str = "--fast-provide-root=false";
    const WAIT: &str = "--fast-provide-wait";
    const NO_WAIT: &str = "--fast-provide-wait=false";
    let dir = temporary("fast-provide-config");
    let archive = NoiseFile::lay(dir.path(), 1, 10_000).path;
    // There is nobody who could be told: what waits for an announcement fails, and nothing else does.
    let fails = |config: &[(&str, Value)], cases: &[(&[&str], bool)]| {
        let name = format!("peer-{}", config.len());
        let peer = Peer::start(dir.path(), &name, config, None);
        let car = dir.path().join(format!("{name}.car"));
        let cid = peer.add(&["--pin=false", NO_WAIT], &archive);
        std::fs::write(&car, peer.run(["dag", "export", &cid]).ok().stdout).unwrap();
        for (options, fails) in cases {
            for command in
                [&["add", archive.to_str().unwrap()][..], &["dag", "import", car.to_str().unwrap()]]
            {
                let line = [command, options].concat();
                let answer = peer.run(&line);
                assert_eq!(answer.code, Some(i32::from(*fails)), "{config:?} {line:?}: {}", answer.err());
                assert_eq!(answer.err().contains("fast-provide: "), *fails, "{line:?}: {}", answer.err());
            }
        }
    };
    // A root is announced, and nobody waits.
    fails(&[], &[(&[], false), (&[WAIT], true), (&[WAIT, NO_ROOT], false), (&[WAIT, ROOT], true)]);
    let wait = ("Import.FastProvideWait", json!(true));
    fails(std::slice::from_ref(&wait), &[(&[], true), (&[NO_WAIT], false), (&[NO_ROOT], false)]);
    let root = ("Import.FastProvideRoot", json!(false));
    fails(&[wait, root], &[(&[], false), (&[ROOT], true), (&[ROOT, NO_WAIT], false)]);
}

/// Runs a command that is to wait for an announcement, while the only peer that could take it answers nobody; and then answers.
/// False if that took longer than a peer is waited for: then it shows nothing.
fn waits(one: &Peer, keeper: &Peer, args: &[&str], cid: &str, others: &[PathBuf]) -> bool {
    let stopped = Instant::now();
    keeper.daemon().signal(Signal::STOP);
    let mut waiting = one.node().command(args).spawn().unwrap();
    wait_until("its work to be done but for the announcement", || {
        let pinned = one.run(["pin", "ls", "--type=recursive", cid]);
        if pinned.code == Some(0) { Ok(()) } else { Err(pinned.err()) }
    });
    // Others that are not told to wait begin later, and end meanwhile.
    for path in others {
        let later = one.add(&["--pin=false"], path);
        one.run(["pin", "add", "--fast-provide-wait=false", &later]).ok();
    }
    let ended = waiting.try_wait().unwrap();
    let was_in_time = stopped.elapsed() < SILENCE_TIME_MAX;
    keeper.daemon().signal(Signal::CONT);
    if !was_in_time {
        finish(waiting, args.join(" "), b"", COMMAND_TIME_MAX).ok();
        return false;
    }
    assert!(ended.is_none(), "{args:?} did not wait: {ended:?}");
    finish(waiting, args.join(" "), b"", COMMAND_TIME_MAX).ok();
    assert_eq!(providers(keeper, cid), [one.id()], "{args:?} returned, and nobody knew");
    true
}

#[test]
fn commands_that_are_told_to_wait_return_when_somebody_was_told_and_not_before() {
    let dir = temporary("fast-provide-wait");
    let (one, keeper) = two(dir.path(), "roots", &[]);
    let lay = |seed: u64| NoiseFile::lay(dir.path(), seed, 10_000).path;
    let others = |seed: u64| [lay(seed), lay(seed + 1)];

    // Whatever took too long on a busy machine is tried again with other files.
    let tried = |first: u64, turn: &dyn Fn(u64) -> bool| {
        assert!(
            (0..5).any(|again| turn(first + 10 * again)),
            "five times it took longer than a peer is waited for"
        );
    };
    tried(100, &|seed| {
        let cid = one.add(&["--pin=false"], &lay(seed));
        waits(&one, &keeper, &["pin", "add", "--fast-provide-wait", &cid], &cid, &others(seed + 1))
    });
    tried(200, &|seed| {
        let cid = one.add(&["--pin=false"], &lay(seed));
        let car = dir.path().join(format!("car-{seed}"));
        std::fs::write(&car, one.run(["dag", "export", &cid]).ok().stdout).unwrap();
        let import = ["dag", "import", "--fast-provide-wait", car.to_str().unwrap()];
        waits(&one, &keeper, &import, &cid, &others(seed + 1))
    });
    tried(300, &|seed| {
        let path = lay(seed);
        let cid = one.add(&["--only-hash"], &path);
        waits(&one, &keeper, &["add", "--fast-provide-wait", path.to_str().unwrap()], &cid, &others(seed + 1))
    });
}
