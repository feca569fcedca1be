//! Clients that take their time: uploads over a thin line, listings that somebody reads page by page.
//!
//! They keep what they have begun, and hold up nobody. A reader of whom nothing is heard for 15 s is cut off; one that shows
//! that it is there is not, and our own terminal does that while a pager waits for its user.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::reply::End;
use holdfast_tests::run::{Node, finish};
use holdfast_tests::wait::wait_until;
use holdfast_tests::wire::{Part, Wire};

const SLOW_CLIENTS: usize = 100;
/// How often each of them is heard of.
const SIGN_PERIOD: Duration = Duration::from_secs(3);

/// How many commands of these words are running.
fn running(daemon: &Daemon, words: &str) -> usize {
    let all = daemon.post("/api/v0/diag/cmds").json();
    let is_meant = |record: &&serde_json::Value| record["Active"] == true && record["Command"] == words;
    all.as_array().unwrap().iter().filter(is_meant).count()
}

/// A byte of each upload, and an empty line of each reader.
fn give_signs(uploads: &mut [Wire], listings: &mut [Wire], byte: &[u8]) {
    for wire in uploads {
        wire.send(byte);
    }
    for wire in listings {
        wire.send(b"\r\n");
    }
}

#[test]
fn a_hundred_slow_uploads_and_a_hundred_slow_listings_hold_up_nobody() {
    let dir = temporary("slow-clients");
    let daemon = Daemon::alone(&Node::init(&dir.path().join("repo")), &[]);
    let (to, host) = (daemon.api(), daemon.api().to_string());
    // Its listing is longer than what the buffers of a connection hold.
    let file = Multipart::new().file("large", &noise(2, 24 << 20));
    let added = Ask::command("add?chunker=size-256&pin=false").parts(&file).send(to).ok().value();
    let large = added["Hash"].as_str().unwrap().to_owned();

    let body = Multipart::new().file("slow", &noise(1, 100_000));
    let whole = body.whole();
    let (first, rest) = whole.split_at(50_000);
    let ask = Ask::command("add").field("Content-Type", &body.content_type());
    let head = ask.field("Content-Length", &whole.len().to_string()).head(&host);
    let mut uploads: Vec<Wire> = (0..SLOW_CLIENTS).map(|_| Wire::tcp(to)).collect();
    for wire in &mut uploads {
        wire.send(&head);
        wire.send(first);
    }
    let (mut listings, mut sent, mut signed) = (Vec::<Wire>::new(), 0, Instant::now());
    for _ in 0..SLOW_CLIENTS {
        if signed.elapsed() >= SIGN_PERIOD {
            give_signs(&mut uploads, &mut listings, &rest[sent..=sent]);
            (sent, signed) = (sent + 1, Instant::now());
        }
        let mut wire = Wire::tcp(to);
        wire.send(&Ask::command(&format!("refs?arg={large}&recursive=true")).bytes(&host));
        assert_eq!(wire.head().unwrap().status, 200);
        listings.push(wire);
    }
    let over = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let signs = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                give_signs(&mut uploads, &mut listings, &rest[sent..=sent]);
                sent += 1;
                thread::sleep(SIGN_PERIOD);
            }
            sent
        });
        wait_until("all uploads have begun", || match running(&daemon, "add") {
            SLOW_CLIENTS => Ok(()),
            count => Err(count),
        });
        assert_eq!(running(&daemon, "refs"), SLOW_CLIENTS, "the listings fit into buffers");
        for number in 0..5 {
            let bytes = noise(10 + number, 300_000);
            let added = Ask::command("add").parts(&Multipart::new().file("f", &bytes)).send(to).ok().value();
            let hash = added["Hash"].as_str().unwrap();
            assert!(Ask::with_args("cat", &[hash]).send(to).ok().body == bytes);
            for command in ["pin/ls", "refs", "dag/stat"] {
                Ask::with_args(command, &[hash]).send(to).ok();
            }
        }
        assert_eq!(running(&daemon, "add"), SLOW_CLIENTS, "who is slow is not cut off");
        over.store(true, Ordering::Relaxed);
        signs.join().unwrap()
    });
    // All go on at once: none is silent while others are waited for.
    for wire in &mut uploads {
        wire.send(&rest[sent..]);
    }
    for wire in &mut uploads {
        assert_eq!(wire.reply().expect("a slow upload ends as others do").ok().value()["Name"], "slow");
    }
    drop(listings);
    daemon.stop();
}

#[test]
fn a_pager_may_wait_for_its_user_and_a_client_of_which_nothing_is_heard_is_cut_off() {
    let dir = temporary("slow-clients");
    let node = Node::init(&dir.path().join("repo"));
    let socket = dir.path().join("api.sock");
    let both = format!("[\"/ip4/127.0.0.1/tcp/0\", \"/unix{}\"]", socket.display());
    node.run(["config", "--json", "Addresses.API", &both]).ok();
    let daemon = Daemon::alone(&node, &[]);
    let (to, host) = (daemon.api(), daemon.api().to_string());
    let bytes = noise(1, 24 << 20);
    let added = Ask::command("add").parts(&Multipart::new().file("f", &bytes)).send(to).ok().value();
    let hash = added["Hash"].as_str().unwrap();

    // The terminal goes to the daemon over TCP, by the file `api`, and its output is not read on.
    let mut terminal = node.command(["cat", hash]).spawn().unwrap();
    let mut page = vec![0; 100_000];
    terminal.stdout.as_mut().unwrap().read_exact(&mut page).unwrap();
    // A program of the same user on the socket says nothing, and is waited for.
    let mut own = Wire::unix(&socket);
    own.send(&Ask::with_args("cat", &[hash]).bytes(&host));
    let head = own.head().unwrap();
    assert_eq!(head.status, 200);
    // One on TCP of which nothing is heard.
    let mut silent = Wire::tcp(to);
    silent.send(&Ask::with_args("cat", &[hash]).bytes(&host));
    assert_eq!(silent.head().unwrap().status, 200);
    assert_eq!(running(&daemon, "cat"), 3);
    let left = wait_until("the silent one is cut off", || match running(&daemon, "cat") {
        3 => Err(3),
        left => Ok(left),
    });
    assert_eq!(left, 2, "another one was cut off too");
    let end = loop {
        if let Part::End(end, _) = silent.part() {
            break end;
        }
    };
    assert!(end != End::Whole);

    let reply = own.rest(head).ok();
    assert!(reply.body == bytes, "{} bytes over the socket", reply.body.len());
    let answer = finish(terminal, "cat".to_owned(), &[], Duration::from_secs(60)).ok();
    page.extend(answer.stdout);
    assert!(page == bytes, "{} bytes at the terminal", page.len());
    daemon.stop();
}

#[test]
fn whoever_sends_a_config_or_a_key_slowly_keeps_nobody_from_changing_them() {
    let dir = temporary("slow-changes");
    let daemon = Daemon::alone(&Node::init(&dir.path().join("repo")), &[]);
    let (to, host) = (daemon.api(), daemon.api().to_string());
    let body = Multipart::new().file("file", &noise(1, 10_000));
    let whole = body.whole();
    let send = |command: &str| {
        let ask = Ask::command(command).field("Content-Type", &body.content_type());
        let mut wire = Wire::tcp(to);
        wire.send(&ask.field("Content-Length", &whole.len().to_string()).head(&host));
        wire.send(&whole[..5_000]);
        wire
    };
    let slow = [send("config/replace"), send("key/import?arg=slow")];
    let begun = || running(&daemon, "config/replace") + running(&daemon, "key/import");
    wait_until("both have begun", || if begun() == 2 { Ok(()) } else { Err(begun()) });
    Ask::command("config?arg=Import.UnixFSChunker&arg=size-1234").send(to).ok();
    Ask::command("key/gen?arg=quick").send(to).ok();
    assert_eq!(begun(), 2, "the slow ones were waited for");
    drop(slow);
    // What was cut off has changed nothing.
    assert_eq!(Ask::command("config?arg=Import.UnixFSChunker").send(to).ok().value()["Value"], "size-1234");
    let keys = Ask::command("key/list").send(to).ok().value();
    let names: Vec<&str> =
        keys["Keys"].as_array().unwrap().iter().map(|key| key["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["self", "quick"]);
    daemon.stop();
}
