//! Requests and answers on the wire, byte by byte: what an HTTP/1.1 client may rely on.
//!
//! A client in Go, Python or C that nobody here wrote sends pipelined requests, keeps connections, speaks HTTP/1.0, waits for
//! `100 Continue`, or asks with the wrong method. Each test opens a socket and looks at the bytes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::reply::End;
use holdfast_tests::run::Node;
use holdfast_tests::wire::{Part, Wire};

fn daemon(dir: &std::path::Path) -> Daemon {
    Daemon::alone(&Node::init(&dir.join("repo")), &[])
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let dir = temporary("framing");
    let daemon = daemon(dir.path());
    let (to, mut wire) = (daemon.api(), Wire::tcp(daemon.api()));
    let host = to.to_string();
    for round in 0..100 {
        let added =
            Ask::command("block/put").parts(&Multipart::new().file("f", format!("{round}").as_bytes()));
        let key = added.send_over(&mut wire, &host).ok().value()["Key"].as_str().unwrap().to_owned();
        let read = Ask::with_args("block/get", &[&key]).send_over(&mut wire, &host).ok();
        assert_eq!(read.text(), round.to_string());
        assert!(!read.head.lists("Connection", "close"), "{:?}", read.head);
        // An error before the first byte ends nothing either.
        let wrong = Ask::command("block/get?arg=nonsense").send_over(&mut wire, &host);
        assert_eq!((wrong.status(), wrong.end.clone()), (500, End::Whole), "{}", wrong.text());
        let nothing = Ask::command("nosuch").send_over(&mut wire, &host);
        assert_eq!((nothing.status(), nothing.end.clone()), (404, End::Whole), "{}", nothing.text());
    }
    daemon.stop();
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let dir = temporary("framing");
    let daemon = daemon(dir.path());
    let host = daemon.api().to_string();
    let mut wire = Wire::tcp(daemon.api());
    let mut all = Vec::new();
    for round in 0..50 {
        let body = Multipart::new().file("f", format!("pipelined {round}").as_bytes());
        all.extend_from_slice(&Ask::command("add?pin=false").parts(&body).bytes(&host));
        all.extend_from_slice(&Ask::command("version?number=true").bytes(&host));
    }
    // One write; the last request asks for the end of the connection.
    all.extend_from_slice(&Ask::command("repo/version").field("Connection", "close").bytes(&host));
    wire.send(&all);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..50 {
        let added = wire.reply().expect("every request is answered").ok().value();
        assert!(seen.insert(added["Hash"].as_str().unwrap().to_owned()), "{round}: {added}");
        let version = wire.reply().expect("every request is answered").ok().value();
        assert!(version["Version"].is_string(), "{version}");
    }
    let last = wire.reply().expect("every request is answered").ok();
    assert!(last.value()["Version"].is_string() && last.head.lists("Connection", "close"), "{:?}", last.head);
    assert!(wire.closes(), "a connection that was asked to close closes");
    daemon.stop();
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks_and_its_connection_closes() {
    let dir = temporary("framing");
    let daemon = daemon(dir.path());
    let body = vec![7; 600_000];
    let added = Ask::command("add").parts(&Multipart::new().file("f", &body)).send(daemon.api()).ok().value();
    let hash = added["Hash"].as_str().unwrap();
    for target in [format!("/api/v0/cat?arg={hash}"), "/api/v0/version".to_owned()] {
        let mut wire = Wire::tcp(daemon.api());
        wire.send(format!("POST {target} HTTP/1.0\r\n\r\n").as_bytes());
        let reply = wire.reply().unwrap();
        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert!(reply.head.get("Transfer-Encoding").is_none(), "{:?}", reply.head);
        assert!(reply.end != End::Cut && reply.trailers.is_empty(), "{:?}", reply.end);
        assert!(wire.closes(), "{target}: HTTP/1.0 without keep-alive closes");
        if target.contains("cat") {
            assert!(reply.body == body, "{} bytes instead of {}", reply.body.len(), body.len());
        }
    }
    daemon.stop();
}

#[test]
fn a_client_of_http_1_0_does_not_take_a_failure_for_the_end() {
    let dir = temporary("framing");
    let daemon = daemon(dir.path());
    let body = noise(1, 1 << 20);
    let parts = Multipart::new().file("f", &body);
    let added = Ask::command("add?raw-leaves=true&pin=false").parts(&parts).send(daemon.api()).ok().value();
    let hash = added["Hash"].as_str().unwrap();
    let leaves = daemon.post(&format!("/api/v0/refs?arg={hash}")).text();
    let last = leaves.lines().last().unwrap();
    let lost = serde_json::from_str::<serde_json::Value>(last).unwrap()["Ref"].as_str().unwrap().to_owned();
    assert_eq!(daemon.post(&format!("/api/v0/block/rm?arg={lost}")).status, 200);
    let mut client = TcpStream::connect(daemon.api()).unwrap();
    write!(client, "POST /api/v0/cat?arg={hash} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let ended = client.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{} bytes", answer.len());
    assert!(answer.len() < body.len(), "a block is missing");
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    daemon.stop();
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_once_and_only_where_its_body_is_wanted() {
    let dir = temporary("framing");
    let daemon = daemon(dir.path());
    let host = daemon.api().to_string();
    let body = Multipart::new().file("f", b"waited for");
    let bytes = body.whole();
    let with_body = |command: &str| {
        let ask = Ask::command(command).field("Expect", "100-continue");
        ask.field("Content-Type", &body.content_type())
            .field("Content-Length", &bytes.len().to_string())
            .head(&host)
    };

    let mut wire = Wire::tcp(daemon.api());
    wire.send(&with_body("add"));
    let interim = wire.head().expect("an answer while the client waits");
    assert_eq!(interim.status, 100);
    wire.send(&bytes);
    let head = wire.head().unwrap();
    assert_eq!(head.status, 200, "the interim answer comes once");
    assert_eq!(wire.rest(head).value()["Name"], "f");

    // What is refused is refused without the body, which then was never sent: the connection cannot go on.
    for (command, status) in [("nosuch", 404), ("key/gen", 400), ("add?pin=perhaps", 400)] {
        let mut wire = Wire::tcp(daemon.api());
        wire.send(&with_body(command));
        let head = wire.head().expect("an answer while the client waits");
        assert_eq!(head.status, status, "{command}");
        assert!(head.lists("Connection", "close"), "{command}: {head:?}");
        assert!(wire.rest(head).end != End::Cut && wire.closes(), "{command}");
    }

    // An expectation that nobody knows is refused.
    let mut wire = Wire::tcp(daemon.api());
    wire.send(&Ask::command("add").field("Expect", "a miracle").field("Content-Length", "3").head(&host));
    assert_eq!(wire.reply().unwrap().status(), 417);
    daemon.stop();
}

#[test]
fn other_methods_are_refused_as_kubo_refuses_them_and_head_gets_no_body() {
    let dir = temporary("framing");
    let daemon = daemon(dir.path());
    for method in ["GET", "PUT", "DELETE", "PATCH", "BREW"] {
        for path in ["/api/v0/version", "/api/v0/id", "/api/v0/add", "/api/v0/shutdown"] {
            let reply = Ask::new(method, path).send(daemon.api());
            assert_eq!(
                (reply.status(), reply.text().as_str()),
                (405, "405 - Method Not Allowed\n"),
                "{method} {path}"
            );
            assert_eq!(reply.head.get("Allow"), Some("OPTIONS, POST"), "{method} {path}");
        }
    }
    let host = daemon.api().to_string();
    let mut wire = Wire::tcp(daemon.api());
    for _ in 0..3 {
        let reply = Ask::new("HEAD", "/api/v0/id").send_over(&mut wire, &host);
        assert_eq!(reply.status(), 405);
        // If a body followed, it would be read as the head of this answer.
        Ask::command("version").send_over(&mut wire, &host).ok();
    }
    let options = Ask::new("OPTIONS", "/api/v0/version").send(daemon.api());
    assert_eq!((options.status(), options.body.len()), (204, 0));
    daemon.stop();
}

#[test]
fn a_request_in_single_bytes_is_a_request() {
    let dir = temporary("framing");
    let daemon = daemon(dir.path());
    let host = daemon.api().to_string();
    let mut wire = Wire::tcp(daemon.api());
    for byte in Ask::command("add").parts(&Multipart::new().file("slow", b"one byte at a time")).bytes(&host)
    {
        wire.send(&[byte]);
    }
    assert_eq!(wire.reply().unwrap().ok().value()["Name"], "slow");
    // The same in chunks of one byte, with extensions and trailers, which are read over.
    let body = Multipart::new().file("slow", b"one byte at a time");
    let ask =
        Ask::command("add").field("Content-Type", &body.content_type()).field("Transfer-Encoding", "chunked");
    wire.send(&ask.head(&host));
    for byte in body.whole() {
        wire.send(&[b'1', b';', b'x', b'=', b'y', b'\r', b'\n', byte, b'\r', b'\n']);
    }
    wire.send(b"0\r\nX-Anything: at all\r\n\r\n");
    assert_eq!(wire.reply().unwrap().ok().value()["Name"], "slow");
    Ask::command("version").send_over(&mut wire, &host).ok();
    daemon.stop();
}

#[test]
fn every_header_of_a_success_is_kubos_and_in_canonical_case() {
    let dir = temporary("framing");
    let daemon = daemon(dir.path());
    let body = Multipart::new().file("f", b"some bytes");
    let hash =
        Ask::command("add").parts(&body).send(daemon.api()).ok().value()["Hash"].as_str().unwrap().to_owned();
    let lists = "X-Stream-Output, X-Chunked-Output, X-Content-Length";
    for (command, kind) in [
        (format!("cat?arg={hash}"), Some("X-Stream-Output")),
        (format!("refs?arg={hash}"), Some("X-Chunked-Output")),
        ("version".to_owned(), None),
    ] {
        let head = Ask::command(&command).send(daemon.api()).ok().head;
        let exact =
            |name: &str| head.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        assert_eq!(exact("Access-Control-Allow-Headers"), Some(lists), "{command}: {head:?}");
        assert_eq!(exact("Access-Control-Expose-Headers"), Some(lists), "{command}: {head:?}");
        assert_eq!(exact("Trailer"), Some("X-Stream-Error"), "{command}: {head:?}");
        assert_eq!(exact("Vary"), Some("Origin"), "{command}: {head:?}");
        let length = exact("Content-Length").is_some();
        // As Kubo; one value that is known when it is sent may have a length.
        assert!(
            exact("Transfer-Encoding") == Some("chunked") || (length && kind.is_none()),
            "{command}: {head:?}"
        );
        assert!(exact("Server").is_some_and(|server| server.contains("kubo/")), "{command}: {head:?}");
        assert!(exact("Date").is_some_and(|date| date.ends_with(" GMT")), "{command}: {head:?}");
        for name in ["X-Stream-Output", "X-Chunked-Output"] {
            let wanted = (kind == Some(name)).then_some("1");
            assert_eq!(exact(name), wanted, "{command}: {head:?}");
        }
        for (name, _) in &head.fields {
            let canonical = name.split('-').all(|word| {
                word.starts_with(|first: char| first.is_ascii_uppercase())
                    && !word.chars().skip(1).any(|rest| rest.is_ascii_uppercase())
            });
            assert!(canonical, "{command}: {name}");
        }
    }
    assert_eq!(
        Ask::command(&format!("cat?arg={hash}&offset=5"))
            .send(daemon.api())
            .ok()
            .head
            .get("X-Content-Length"),
        Some("5"),
        "the bytes that are sent, not the bytes of the file"
    );
    daemon.stop();
}

#[test]
fn an_answer_that_nobody_reads_holds_nobody_up() {
    let dir = temporary("framing");
    let daemon = daemon(dir.path());
    let host = daemon.api().to_string();
    let body = Multipart::new().file("f", &vec![3; 32 << 20]);
    let hash = Ask::command("add?pin=false").parts(&body).send(daemon.api()).ok().value()["Hash"]
        .as_str()
        .unwrap()
        .to_owned();
    // 50 clients ask for 32 MiB each, read one piece, and stop.
    let mut stuck: Vec<Wire> = (0..50).map(|_| Wire::tcp(daemon.api())).collect();
    for wire in &mut stuck {
        wire.send(&Ask::command(&format!("cat?arg={hash}")).bytes(&host));
        assert_eq!(wire.head().unwrap().status, 200);
        assert!(matches!(wire.part(), Part::Data(_)));
    }
    for _ in 0..20 {
        let reply = Ask::command(&format!("cat?arg={hash}&length=1000")).send(daemon.api()).ok();
        assert_eq!(reply.body.len(), 1000);
    }
    drop(stuck);
    Ask::command("version").send(daemon.api()).ok();
    daemon.stop();
}
