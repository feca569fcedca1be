//! Clients that begin and do not go on: a crashed program, a cut cable, somebody who opens sockets to use them up.
//!
//! A head that is not complete within 10 s and a body of which no byte moved for 15 s end their connections; a subscription,
//! which has nothing to say, stays. The waits are real, so every kind waits at the same time, and honest clients go on
//! beside them. Nothing is asserted about how fast anything is: only what is closed and what is not, and that nothing is
//! closed long before its limit.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::{say, temporary};
use holdfast_tests::run::Node;
use holdfast_tests::wire::{Part, Wire};

/// Well beyond both limits: what is not closed by then is not reaped.
const REAPED_WITHIN: Duration = Duration::from_secs(45);
/// How many clients of each kind there are.
const EACH: usize = 40;

/// What is sent before the silence, and how long the server has to wait at least.
struct Silence {
    kind: &'static str,
    sent: Vec<u8>,
    at_least: Duration,
}

fn silences(host: &str, hash: &str) -> Vec<Silence> {
    let body = Multipart::new().file("f", b"never whole");
    let upload = |field: &str, value: &str| {
        Ask::command("add").field("Content-Type", &body.content_type()).field(field, value).head(host)
    };
    let with = |mut head: Vec<u8>, more: &[u8]| {
        head.extend_from_slice(more);
        head
    };
    let head = Duration::from_secs(9);
    let moving = Duration::from_secs(14);
    vec![
        Silence { kind: "nothing at all", sent: Vec::new(), at_least: head },
        Silence { kind: "one byte of a head", sent: b"P".to_vec(), at_least: head },
        Silence {
            kind: "half a head",
            sent: b"POST /api/v0/version HTTP/1.1\r\nHost: loc".to_vec(),
            at_least: head,
        },
        Silence { kind: "a head and no body", sent: upload("Content-Length", "1000"), at_least: moving },
        Silence {
            kind: "half a body",
            sent: with(upload("Content-Length", "100000"), &body.whole()[..80]),
            at_least: moving,
        },
        Silence {
            kind: "half a chunk",
            sent: with(upload("Transfer-Encoding", "chunked"), b"ff\r\n--hold"),
            at_least: moving,
        },
        Silence {
            kind: "a body for a command that takes none",
            sent: with(
                Ask::command(&format!("block/stat?arg={hash}")).field("Content-Length", "1000").head(host),
                b"xx",
            ),
            at_least: Duration::ZERO,
        },
    ]
}

/// Sends, waits for the end of the connection, and says how long that took; an answer on the way is read over.
fn wait_for_end(to: std::net::SocketAddr, sent: &[u8]) -> Option<Duration> {
    let mut wire = Wire::tcp(to);
    wire.send(sent);
    let start = Instant::now();
    // Never answered, answered with an error, or begun and cut: what counts is that it ends.
    wire.ends_within(REAPED_WITHIN).then(|| start.elapsed())
}

#[test]
fn silent_clients_are_reaped_while_honest_ones_and_idle_subscriptions_go_on() {
    let dir = temporary("time-limits");
    let daemon = Daemon::alone(&Node::init(&dir.path().join("repo")), &[]);
    let (to, host) = (daemon.api(), daemon.api().to_string());
    let added =
        Ask::command("add").parts(&Multipart::new().file("f", &noise(1, 24 << 20))).send(to).ok().value();
    let hash = added["Hash"].as_str().unwrap().to_owned();

    // Subscriptions, which may be idle for ever: begun before the silence, looked at after it.
    let mut subscriptions: Vec<Wire> = (0..EACH).map(|_| Wire::tcp(to)).collect();
    for wire in &mut subscriptions {
        wire.send(&Ask::command("log/tail").bytes(&host));
        assert_eq!(wire.head().expect("a log begins at once").status, 200);
    }
    // Connections that wait for their next request: within the idle limit of 120 s they stay.
    let mut idle: Vec<Wire> = (0..EACH).map(|_| Wire::tcp(to)).collect();
    for wire in &mut idle {
        Ask::command("version").send_over(wire, &host).ok();
    }
    // A reader that does not read: 24 MiB do not fit into socket buffers, so its answer stands still.
    let mut stuck = Wire::tcp(to);
    stuck.send(&Ask::command(&format!("cat?arg={hash}")).bytes(&host));
    assert_eq!(stuck.head().unwrap().status, 200);
    let stuck_since = Instant::now();

    let silences = silences(&host, &hash);
    let over = AtomicBool::new(false);
    let (honest, ends) = thread::scope(|scope| {
        let honest: Vec<_> = (0..4_u64)
            .map(|client| {
                let (over, host) = (&over, &host);
                scope.spawn(move || {
                    let (mut wire, mut count) = (Wire::tcp(to), 0_u64);
                    while !over.load(Ordering::Relaxed) {
                        let bytes = noise(client << 32 | count, 1000);
                        let body = Multipart::new().file("f", &bytes);
                        let added = Ask::command("add").parts(&body).send_over(&mut wire, host).ok().value();
                        let hash = added["Hash"].as_str().unwrap();
                        let read = Ask::with_args("cat", &[hash]).send_over(&mut wire, host).ok();
                        assert!(read.body == bytes, "an honest client read something else");
                        count += 1;
                        thread::sleep(Duration::from_millis(50));
                    }
                    count
                })
            })
            .collect();
        // A slow but honest upload: a byte every second, for longer than either limit.
        let slow = scope.spawn(|| {
            let body = Multipart::new().file("slow", b"a file that takes its time");
            let whole = body.whole();
            let ask = Ask::command("add").field("Content-Type", &body.content_type());
            let mut wire = Wire::tcp(to);
            wire.send(&ask.field("Content-Length", &whole.len().to_string()).head(&host));
            let (first, rest) = whole.split_at(whole.len() - 25);
            wire.send(first);
            for byte in rest {
                thread::sleep(Duration::from_secs(1));
                wire.send(&[*byte]);
            }
            wire.reply().expect("an upload that moves is not cut").ok().value()
        });
        // A head of which a byte comes every second is not complete within its time either.
        let trickle = scope.spawn(|| {
            let mut wire = Wire::tcp(to);
            let start = Instant::now();
            for byte in Ask::command("version").field("X-Padding", &"x".repeat(100)).bytes(&host) {
                if wire.try_send(&[byte]).is_err() || wire.ends_within(Duration::from_secs(1)) {
                    return start.elapsed();
                }
            }
            panic!("a head that took {:?} was read to its end", start.elapsed());
        });
        let ends: Vec<(&Silence, Vec<_>)> = silences
            .iter()
            .map(|silence| {
                (silence, (0..EACH).map(|_| scope.spawn(|| wait_for_end(to, &silence.sent))).collect())
            })
            .collect();
        let ends: Vec<(&Silence, Vec<Option<Duration>>)> = ends
            .into_iter()
            .map(|(silence, threads)| (silence, threads.into_iter().map(|end| end.join().unwrap()).collect()))
            .collect();
        assert_eq!(slow.join().unwrap()["Name"], "slow");
        let trickled = trickle.join().unwrap();
        assert!(trickled >= Duration::from_secs(9), "a slow head was closed after {trickled:?}");
        assert!(trickled < REAPED_WITHIN, "a slow head was closed after {trickled:?}");
        over.store(true, Ordering::Relaxed);
        let honest: u64 = honest.into_iter().map(|client| client.join().unwrap()).sum();
        (honest, ends)
    });
    assert!(honest > 0);
    for (silence, ends) in ends {
        let reaped: Vec<Duration> = ends.iter().flatten().copied().collect();
        assert_eq!(reaped.len(), EACH, "{}: connections stay open", silence.kind);
        let (first, last) = (reaped.iter().min().unwrap(), reaped.iter().max().unwrap());
        say(&format!("rpc_time_limits: {}: closed after {first:.1?} to {last:.1?}", silence.kind));
        assert!(*first >= silence.at_least, "{}: closed after {first:?}", silence.kind);
    }

    // The stuck reader has been cut by now: after what the buffers held, its answer ends before its end.
    if let Some(left) = Duration::from_secs(20).checked_sub(stuck_since.elapsed()) {
        thread::sleep(left);
    }
    let mut read = 0;
    let whole = loop {
        match stuck.part() {
            Part::Data(bytes) => read += bytes.len(),
            Part::End(end, _) => break end == holdfast_tests::reply::End::Whole,
        }
    };
    assert!(!whole, "an answer of which no byte moved for 15 s went on ({read} bytes)");

    for wire in &mut idle {
        Ask::command("version").send_over(wire, &host).ok();
    }
    for wire in &mut subscriptions {
        assert!(!wire.ends_within(Duration::from_millis(1)), "an idle subscription was closed");
    }
    daemon.stop();
}

#[test]
fn fifty_uploads_that_have_not_ended_do_not_stop_another() {
    let dir = temporary("time-limits");
    let daemon = Daemon::alone(&Node::init(&dir.path().join("repo")), &[]);
    let (to, host) = (daemon.api(), daemon.api().to_string());
    let large = Multipart::new().file("large", &noise(2, 24 << 20));
    let large = Ask::command("add").parts(&large).send(to).ok().value()["Hash"].as_str().unwrap().to_owned();
    let body = Multipart::new().file("slow", &noise(1, 100_000));
    let whole = body.whole();
    let (first, rest) = whole.split_at(50_000);
    let ask = Ask::command("add").field("Content-Type", &body.content_type());
    let head = ask.field("Content-Length", &whole.len().to_string()).head(&host);
    let mut slow: Vec<Wire> = (0..50).map(|_| Wire::tcp(to)).collect();
    for wire in &mut slow {
        wire.send(&head);
        wire.send(first);
    }
    // A byte for each after every step: they are slow, not silent.
    let mut rest = rest;
    let mut nudge = |slow: &mut Vec<Wire>| {
        let (byte, after) = rest.split_at(1);
        for wire in slow {
            wire.send(byte);
        }
        rest = after;
    };
    // Readers that have begun to read a long answer, and do not go on.
    let mut readers: Vec<Wire> = (0..100).map(|_| Wire::tcp(to)).collect();
    for wire in &mut readers {
        wire.send(&Ask::with_args("cat", &[&large]).bytes(&host));
        assert_eq!(wire.head().unwrap().status, 200);
        nudge(&mut slow);
    }
    // All of these are in the middle; whoever comes now is served, whatever they ask.
    let added = Ask::command("add").parts(&Multipart::new().file("f", b"served")).send(to).ok().value();
    let hash = added["Hash"].as_str().unwrap();
    for command in ["cat", "pin/ls", "refs", "block/stat", "dag/stat"] {
        nudge(&mut slow);
        Ask::with_args(command, &[hash]).send(to).ok();
    }
    nudge(&mut slow);
    Ask::command("files/ls").send(to).ok();
    drop(readers);
    // All go on at once: none is silent while others are waited for.
    for wire in &mut slow {
        wire.send(rest);
    }
    for wire in &mut slow {
        assert_eq!(wire.reply().expect("a slow upload ends as others do").ok().value()["Name"], "slow");
    }
    daemon.stop();
}
