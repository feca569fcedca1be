//! A pinning service's gateway keeps ten thousand connections open and asks on all of them.
//!
//! The client is a process of its own, so that each side has its own file descriptors. No answer is a 5xx, no connection is
//! lost, and honest work goes on beside it. How fast it is is printed, not asserted.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::process::{Command, Stdio};

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::{say, skip, switched_on, temporary};
use holdfast_tests::run::Node;
use rustix::process::{Resource, getrlimit};
use serde_json::Value;

const CONNECTIONS: u64 = 10_000;
const REQUESTS_PER_SECOND: u64 = 2_000;

#[test]
fn ten_thousand_connections_are_served_without_a_failure() {
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if hard < CONNECTIONS + 1_000 {
        skip("ten thousand connections", &format!("this process may have {hard} file descriptors only"));
        return;
    }
    let seconds = if switched_on("SOAK") { 120 } else { 10 };
    let dir = temporary("load");
    let daemon = Daemon::alone(&Node::init(&dir.path().join("repo")), &[]);
    let parts = Multipart::new().file("f", &noise(1, 10_000));
    let hash = Ask::command("add").parts(&parts).send(daemon.api()).ok().value()["Hash"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut client = Command::new(env!("CARGO_BIN_EXE_holdfast-load"));
    client.arg(daemon.api().to_string());
    client.args([CONNECTIONS, REQUESTS_PER_SECOND, seconds].map(|number| number.to_string()));
    client.args(
        ["version", &format!("cat?arg={hash}"), &format!("block/stat?arg={hash}"), "pin/ls?type=recursive"]
            .map(|path| format!("/api/v0/{path}")),
    );
    let client = client.stdout(Stdio::piped()).spawn().unwrap();

    // Beside it, somebody adds files, each over a connection of its own.
    let done = std::sync::atomic::AtomicBool::new(false);
    let (output, added) = std::thread::scope(|scope| {
        let adding = scope.spawn(|| {
            let mut added = 0_u64;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let parts = Multipart::new().file("f", &noise(1_000 + added, 100_000));
                Ask::command("add?pin=false").parts(&parts).send(daemon.api()).ok();
                added += 1;
            }
            added
        });
        let output = client.wait_with_output().unwrap();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        (output, adding.join().unwrap())
    });
    let text = String::from_utf8(output.stdout).unwrap();
    let seen: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    say(&format!("rpc_load: {} and {added} adds of 100 kB beside it", text.trim()));
    assert_eq!(seen["opened"], CONNECTIONS);
    assert_eq!(seen["failures"], 0, "{seen}");
    assert_eq!(seen["statuses"]["200"], REQUESTS_PER_SECOND * seconds, "{seen}");
    assert!(added > 0);
    daemon.stop();
}

#[test]
fn connections_beyond_the_limit_are_told_so_and_those_before_them_go_on() {
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if hard < 20_000 {
        skip(
            "more connections than the limit",
            &format!("this process may have {hard} file descriptors only"),
        );
        return;
    }
    let dir = temporary("load");
    let node = Node::init(&dir.path().join("repo"));
    // With few file descriptors the limit is near.
    let script = "ulimit -n 256; exec \"$0\" daemon --offline --manage-fdlimit=false";
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(holdfast_tests::run::binary());
    for (name, value) in node.command(["version"]).get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let daemon = Daemon::spawn(command).ready();
    let host = daemon.api().to_string();
    let mut first = holdfast_tests::wire::Wire::tcp(daemon.api());
    Ask::command("version").send_over(&mut first, &host).ok();
    let mut many: Vec<_> = (0..600).map(|_| holdfast_tests::wire::Wire::tcp(daemon.api())).collect();
    // Those that came last are told at once, without a question, and closed.
    let told = many.iter_mut().rev().take(100).filter_map(|wire| wire.reply());
    let told: Vec<u16> = told.map(|reply| reply.status()).collect();
    assert!(told.len() >= 90 && told.iter().all(|status| *status == 503), "{told:?}");
    Ask::command("version").send_over(&mut first, &host).ok();
    drop(many);
    // What was refused or waited is served again once there is room.
    for _ in 0..50 {
        let mut wire = holdfast_tests::wire::Wire::tcp(daemon.api());
        drop(wire.try_send(&Ask::command("version").bytes(&host)));
        if wire.reply().is_some_and(|reply| reply.status() == 200) {
            let parts = Multipart::new().file("f", b"room again");
            Ask::command("add").parts(&parts).send(daemon.api()).ok();
            daemon.stop();
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("there is no room after the crowd has left: {}", daemon.stderr());
}
