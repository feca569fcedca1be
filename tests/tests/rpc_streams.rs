//! An answer that has begun can still fail, and a client must not take it for a success.
//!
//! Kubo's own command line and most clients send no `TE` header; some read trailers, some do not. So failures after the
//! first byte come as the trailer `X-Stream-Error`, to everybody, and for `add`, `pin/add` and `dag/import`, whose clients
//! act on the answer, as a last value that is an error, on a connection that breaks off before its last chunk. And answers
//! that are long in coming begin at once: while the upload still runs, and before the first line of a log.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::car::Block;
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::reply::{End, Reply};
use holdfast_tests::run::Node;
use holdfast_tests::wire::{Part, Wire};
use serde_json::Value;

const CHUNK: usize = 262_144;

fn daemon(dir: &std::path::Path) -> Daemon {
    Daemon::alone(&Node::init(&dir.join("repo")), &[])
}

fn add(daemon: &Daemon, options: &str, bytes: &[u8]) -> String {
    let reply =
        Ask::command(&format!("add?{options}")).parts(&Multipart::new().file("f", bytes)).send(daemon.api());
    reply.ok().value()["Hash"].as_str().unwrap().to_owned()
}

/// A file of four chunks, unpinned, whose third is not stored.
fn file_with_a_hole(daemon: &Daemon) -> (String, Vec<u8>) {
    let bytes = noise(1, 4 * CHUNK as u64);
    let root = add(daemon, "pin=false", &bytes);
    let links = Ask::with_args("ls", &[&root]).send(daemon.api()).ok().value();
    let third = links["Objects"][0]["Links"][2]["Hash"].as_str().unwrap().to_owned();
    Ask::with_args("block/rm", &[&third]).send(daemon.api()).ok();
    (root, bytes)
}

/// The last value is an error, and the connection ended before the body did.
#[track_caller]
fn breaks_off_with_an_error(reply: &Reply) -> String {
    assert_eq!(reply.status(), 200, "it failed before it began: {}", reply.text());
    assert_eq!(reply.end, End::Cut, "the body ended as if all was well: {}", reply.text());
    let values = reply.values();
    let last = values.last().expect("a last value");
    assert_eq!((&last["Type"], &last["Code"]), (&Value::from("error"), &Value::from(0)), "{last}");
    assert_eq!(last.as_object().unwrap().len(), 3, "{last}");
    assert!(values.len() > 1, "nothing came before the error, which then should have been a 500: {last}");
    last["Message"].as_str().unwrap().to_owned()
}

#[test]
fn a_failure_after_the_first_byte_is_a_trailer_for_clients_that_never_asked_for_one() {
    let dir = temporary("streams");
    let daemon = daemon(dir.path());
    let (root, bytes) = file_with_a_hole(&daemon);
    let host = daemon.api().to_string();
    // One connection: the answer is complete as HTTP, so it goes on.
    let mut wire = Wire::tcp(daemon.api());
    for command in ["cat", "get", "dag/export"] {
        let reply = Ask::with_args(command, &[&root]).send_over(&mut wire, &host);
        assert_eq!((reply.status(), reply.end.clone()), (200, End::Whole), "{command}");
        assert_eq!(reply.head.get("Trailer"), Some("X-Stream-Error"), "{command}");
        let said = reply.trailer("X-Stream-Error").unwrap_or_else(|| panic!("{command}: no trailer"));
        assert!(said.contains("could not find") && !said.contains(['\r', '\n']), "{command}: {said}");
        assert!(
            !reply.body.is_empty() && reply.body.len() < bytes.len(),
            "{command}: {} bytes",
            reply.body.len()
        );
        if command == "cat" {
            assert!(bytes.starts_with(&reply.body), "what came before the failure is the file");
        }
    }
    let refs = Ask::command(&format!("refs?recursive=true&arg={root}")).send_over(&mut wire, &host);
    assert!(
        refs.status() == 500
            || refs.trailer("X-Stream-Error").is_some()
            || refs.text().contains("could not find")
    );
    // A success has no trailer.
    let whole = add(&daemon, "", b"whole");
    let reply = Ask::with_args("cat", &[&whole]).send_over(&mut wire, &host).ok();
    assert!(reply.trailers.is_empty(), "{:?}", reply.trailers);
    // Nothing that is known before the first byte waits for a trailer.
    let reply = Ask::command(&format!("cat?arg={root}&offset={}", 2 * CHUNK)).send_over(&mut wire, &host);
    assert!(reply.status() == 500 || reply.trailer("X-Stream-Error").is_some(), "{}", reply.status());
    daemon.stop();
}

#[test]
fn an_error_text_with_line_ends_cannot_add_header_lines() {
    let dir = temporary("streams");
    let daemon = daemon(dir.path());
    // `files/rm` says by trailer what it could not remove, and JSON strings before that; names may hold anything.
    Ask::with_args("files/mkdir", &["/a\r\nSet-Cookie: x=y"]).send(daemon.api());
    for command in ["files/rm", "files/read", "files/stat", "cat", "pin/add"] {
        let reply =
            Ask::with_args(command, &["/a\r\nSet-Cookie: x=y", "/no\r\nSet-Cookie: x=y"]).send(daemon.api());
        assert!(reply.head.get("Set-Cookie").is_none(), "{command}: {:?}", reply.head);
        assert!(
            reply.trailers.iter().all(|(name, _)| name == "X-Stream-Error"),
            "{command}: {:?}",
            reply.trailers
        );
    }
    daemon.stop();
}

#[test]
fn an_add_whose_upload_is_cut_ends_in_an_error_and_no_last_chunk() {
    let dir = temporary("streams");
    let daemon = daemon(dir.path());
    let host = daemon.api().to_string();
    let ask = Ask::command("add?progress=true&pin=true")
        .field("Content-Type", &Multipart::new().content_type())
        .field("Transfer-Encoding", "chunked")
        .head(&host);
    let mut wire = Wire::tcp(daemon.api());
    wire.send(&ask);
    wire.send_chunk(&Multipart::part_head("file", "f", "application/octet-stream"));
    wire.send_chunk(&noise(2, 3 * CHUNK as u64));
    let head = wire.head().expect("the answer begins while the upload runs");
    let Part::Data(first) = wire.part() else { panic!("an answer without a value") };
    assert!(
        String::from_utf8_lossy(&first).contains("\"Bytes\":262144"),
        "{}",
        String::from_utf8_lossy(&first)
    );
    // The body ends as HTTP, but the multipart inside does not.
    wire.send(b"0\r\n\r\n");
    let mut reply = wire.rest(head);
    reply.body.splice(0..0, first);
    let said = breaks_off_with_an_error(&reply);
    assert!(!said.is_empty());
    assert!(!reply.text().contains("Hash"), "nothing was added: {}", reply.text());
    let pins = Ask::command("pin/ls").send(daemon.api()).ok().text();

    // The second of two files is cut: the first was told, and nothing is pinned all the same.
    let parts = Multipart::new().file("whole", b"a whole file");
    let mut wire = Wire::tcp(daemon.api());
    wire.send(&ask);
    wire.send_chunk(parts.unfinished());
    wire.send_chunk(&Multipart::part_head("file", "f", "application/octet-stream"));
    wire.send_chunk(&noise(3, CHUNK as u64));
    wire.send(b"0\r\n\r\n");
    let reply = wire.reply().unwrap();
    breaks_off_with_an_error(&reply);
    assert_eq!(Ask::command("pin/ls").send(daemon.api()).ok().text(), pins);
    daemon.stop();
}

#[test]
fn a_dag_import_that_fails_after_its_first_value_ends_in_an_error_and_no_last_chunk() {
    let dir = temporary("streams");
    let daemon = daemon(dir.path());
    let root = add(&daemon, "pin=false", &noise(4, 8 * CHUNK as u64));
    let archive = Ask::with_args("dag/export", &[&root]).send(daemon.api()).ok().body;
    let pins = Ask::command("pin/ls").send(daemon.api()).ok().text();
    let parts = Multipart::new().file("a.car", &archive).file("b.car", &archive[..archive.len() - 1000]);
    let reply = Ask::command("dag/import?progress=true&stats=true").parts(&parts).send(daemon.api());
    let said = breaks_off_with_an_error(&reply);
    assert!(said.starts_with("import failed"), "{said}");
    assert_eq!(Ask::command("pin/ls").send(daemon.api()).ok().text(), pins, "nothing of it is pinned");
    // Without progress it fails before its first value: a plain 500.
    let reply = Ask::command("dag/import").parts(&parts).send(daemon.api());
    assert_eq!(reply.status(), 500, "{}", reply.text());
    assert!(reply.value()["Message"].as_str().unwrap().starts_with("import failed"), "{}", reply.text());
    daemon.stop();
}

#[test]
fn a_pin_that_fails_after_its_first_value_ends_in_an_error_and_no_last_chunk() {
    let dir = temporary("streams");
    let daemon = daemon(dir.path());
    let missing = Block::raw(b"stored nowhere".to_vec()).cid();
    // Many arguments, one a line, until one pin after the other takes longer than the first report of progress.
    for count in [200, 800, 3_200, 12_800, 51_200] {
        let files =
            (0..200).fold(Multipart::new(), |parts, at| parts.file("f", format!("{count} {at}").as_bytes()));
        let keys = Ask::command("block/put?cid-codec=raw").parts(&files).send(daemon.api()).ok().values();
        let keys: Vec<&str> = keys.iter().map(|key| key["Key"].as_str().unwrap()).collect();
        let mut lines: Vec<&str> = keys.iter().copied().cycle().take(count).collect();
        lines.push(&missing);
        let arguments =
            Multipart::new().part("file", "", "application/octet-stream", lines.join("\n").as_bytes());
        let reply = Ask::command("pin/add?progress=true").parts(&arguments).send(daemon.api());
        if reply.status() == 500 {
            assert!(reply.text().contains("could not find"), "{}", reply.text());
            continue;
        }
        let said = breaks_off_with_an_error(&reply);
        assert!(said.starts_with("pin: ") && said.contains("could not find"), "{said}");
        assert!(!reply.text().contains("Pins"), "the list of what was pinned never came");
        daemon.stop();
        return;
    }
    panic!("51,200 pins took less than a report of progress");
}

#[test]
fn our_command_line_prints_the_error_of_an_answer_that_broke_off() {
    let dir = temporary("streams");
    let node = Node::init(&dir.path().join("repo"));
    let daemon = Daemon::alone(&node, &[]);
    let (root, _) = file_with_a_hole(&daemon);
    let answer = node.run(["cat", &root]).failed();
    assert!(answer.error_line().contains("could not find") && !answer.stdout.is_empty(), "{}", answer.err());
    let archive =
        Ask::with_args("dag/export", &[&add(&daemon, "", &noise(5, 1 << 20))]).send(daemon.api()).ok().body;
    let path = dir.path().join("cut.car");
    std::fs::write(&path, &archive[..archive.len() - 10]).unwrap();
    let answer = node.run(["dag", "import", path.to_str().unwrap()]).failed();
    assert!(answer.error_line().starts_with("Error: import failed"), "{}", answer.err());
    daemon.stop();
}

#[test]
fn a_log_and_a_subscription_begin_before_their_first_line() {
    let dir = temporary("streams");
    let daemon = daemon(dir.path());
    let host = daemon.api().to_string();
    // Nothing that could be a first line is logged.
    Ask::command("log/level?arg=all&arg=fatal").send(daemon.api()).ok();
    let mut wire = Wire::tcp(daemon.api());
    wire.send(&Ask::command("log/tail").bytes(&host));
    wire.wait_at_most(std::time::Duration::from_secs(20));
    let head = wire.head().expect("the head comes while the log is quiet");
    assert_eq!(head.status, 200, "{head:?}");
    assert!(head.lists("Transfer-Encoding", "chunked"), "{head:?}");
    // A line that is written then arrives: the answer is the same one.
    Ask::command("log/level?arg=all&arg=debug").send(daemon.api()).ok();
    for at in 0..1000 {
        add(&daemon, "", format!("{at}").as_bytes());
        wire.wait_at_most(std::time::Duration::from_secs(30));
        if let Part::Data(line) = wire.part() {
            assert!(!line.is_empty());
            daemon.stop();
            return;
        }
    }
    panic!("1,000 adds at level debug wrote no line of log");
}

#[test]
fn an_add_answers_while_its_upload_still_runs() {
    let dir = temporary("streams");
    let daemon = daemon(dir.path());
    let host = daemon.api().to_string();
    let mut wire = Wire::tcp(daemon.api());
    wire.send(
        &Ask::command("add?progress=true")
            .field("Content-Type", &Multipart::new().content_type())
            .field("Transfer-Encoding", "chunked")
            .head(&host),
    );
    wire.send_chunk(&Multipart::part_head("file", "f", "application/octet-stream"));
    let mut seen = Vec::new();
    let mut head = None;
    // Piece by piece: the next one is sent only once the progress of the one before has come back.
    for round in 1..=20_u64 {
        wire.send_chunk(&noise(round, CHUNK as u64));
        if round == 2 {
            head = Some(wire.head().expect("the answer begins while the upload runs"));
        }
        // What may yet be the beginning of a boundary is held back: the last bytes of a piece count with the next.
        let wanted = format!("\"Bytes\":{}", (round.max(2) - 1) * CHUNK as u64);
        while round > 1 && !String::from_utf8_lossy(&seen).contains(&wanted) {
            match wire.part() {
                Part::Data(bytes) => seen.extend_from_slice(&bytes),
                end @ Part::End(..) => {
                    let seen = String::from_utf8_lossy(&seen).into_owned();
                    panic!("in round {round} the answer ended while the upload ran: {end:?} after {seen}");
                }
            }
        }
    }
    wire.send_chunk(b"\r\n");
    wire.send_chunk(&Multipart::end());
    wire.send(b"0\r\n\r\n");
    let mut reply = wire.rest(head.unwrap());
    reply.body.splice(0..0, seen);
    let last = reply.ok().values().pop().unwrap();
    assert_eq!(last["Name"], "f");
    daemon.stop();
}

#[test]
fn block_put_of_many_parts_streams_both_ways() {
    let dir = temporary("streams");
    let daemon = daemon(dir.path());
    let host = daemon.api().to_string();
    // As ipfs-cluster adds: one request, thousands of parts, keys read while blocks are still being sent.
    let mut wire = Wire::tcp(daemon.api());
    let head =
        Ask::command("block/put?cid-codec=raw&mhtype=sha2-256&mhlen=-1&pin=false&allow-big-block=true")
            .field("Content-Type", &Multipart::new().content_type())
            .field("Transfer-Encoding", "chunked")
            .head(&host);
    wire.send(&head);
    for at in 0..3_000 {
        wire.send_chunk(
            Multipart::new().file(&format!("b{at}"), format!("block {at}").as_bytes()).unfinished(),
        );
    }
    wire.send_chunk(&Multipart::end());
    wire.send(b"0\r\n\r\n");
    let values = wire.reply().unwrap().ok().values();
    assert_eq!(values.len(), 3_000);
    for (at, value) in values.iter().enumerate() {
        assert_eq!(value["Key"], Block::raw(format!("block {at}").into_bytes()).cid());
    }
    daemon.stop();
}
