//! Somebody offers the API to others, and wants none of them to have all of it.
//!
//! Requests a second are limited for each address and for each credential (429, with the time after which to come again), and
//! the bytes of an upload (413). Both are off until the config says otherwise. What is refused has no effect.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::reply::{End, Reply};
use holdfast_tests::run::Node;
use holdfast_tests::wire::Wire;

fn daemon(dir: &std::path::Path, keys: &[(&str, &str)]) -> Daemon {
    let node = Node::init(&dir.join("repo"));
    for (key, value) in keys {
        node.run(["config", "--json", key, value]).ok();
    }
    Daemon::alone(&node, &[])
}

fn is_too_many(reply: &Reply) -> bool {
    if reply.status() == 429 {
        let wait: u64 = reply.head.get("Retry-After").expect("when to come again").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
    }
    reply.status() == 429
}

#[test]
fn an_address_that_asks_too_often_is_told_when_to_come_again() {
    let dir = temporary("limits");
    let daemon = daemon(dir.path(), &[("API.RateLimitPerAddress", "5")]);
    let host = daemon.api().to_string();
    let mut wire = Wire::tcp(daemon.api());
    let replies: Vec<Reply> = (0..400).map(|_| Ask::command("version").send_over(&mut wire, &host)).collect();
    let refused = replies.iter().filter(|reply| is_too_many(reply)).count();
    let served = replies.iter().filter(|reply| reply.status() == 200).count();
    assert_eq!(refused + served, replies.len());
    assert!(refused > 0 && served >= 5, "{served} served, {refused} refused");
    // Other connections are of the same address; health is not counted.
    let mut others = (0..50).map(|_| Ask::command("id").send(daemon.api()));
    assert!(others.any(|reply| is_too_many(&reply)), "each connection is counted for itself");
    for _ in 0..20 {
        assert_eq!(Ask::new("GET", "/healthz").send(daemon.api()).status(), 200);
    }
    // After the time that was told, it is served again.
    let refused = Ask::command("version").send_over(&mut wire, &host);
    if is_too_many(&refused) {
        let wait = refused.head.get("Retry-After").unwrap().parse().unwrap();
        std::thread::sleep(std::time::Duration::from_secs(wait));
        Ask::command("version").send_over(&mut wire, &host).ok();
    }
    daemon.stop();
}

#[test]
fn a_credential_that_is_used_up_leaves_others_theirs() {
    let dir = temporary("limits");
    let users = r#"{"a": {"AuthSecret": "bearer:a", "AllowedPaths": ["/"]}, "b": {"AuthSecret": "bearer:b", "AllowedPaths": ["/"]}}"#;
    let daemon = daemon(dir.path(), &[("API.Authorizations", users), ("API.RateLimitPerCredential", "3")]);
    let as_user = |user: &str| {
        Ask::command("version").field("Authorization", &format!("Bearer {user}")).send(daemon.api())
    };
    let refused = (0..200).filter(|_| is_too_many(&as_user("a"))).count();
    assert!(refused > 0, "200 requests in a row were served at 3 a second");
    as_user("b").ok();
    // Who is nobody is nobody, limit or not.
    assert_eq!(as_user("c").status(), 403);
    daemon.stop();
}

#[test]
fn an_upload_beyond_the_largest_size_is_refused_and_leaves_nothing() {
    let dir = temporary("limits");
    let daemon = daemon(dir.path(), &[("API.MaxUploadSize", "\"1MiB\"")]);
    let host = daemon.api().to_string();
    let pins = || Ask::command("pin/ls").send(daemon.api()).ok().text();
    let before = pins();
    let small = Multipart::new().file("f", &noise(1, 1_000_000));
    let large = Multipart::new().file("f", &noise(2, 1_200_000));
    for command in ["add", "block/put?allow-big-block=true", "files/write?arg=/f&create=true", "dag/import"] {
        let reply = Ask::command(command).parts(&large).send(daemon.api());
        assert_eq!(reply.status(), 413, "{command}: {}", reply.text());
    }
    assert_eq!(pins(), before);
    assert_eq!(
        Ask::command("files/ls").send(daemon.api()).ok().value()["Entries"].as_array().map_or(0, Vec::len),
        0
    );
    // In chunks nobody says how much will come: it is counted, and may already have been answered in part.
    for command in ["add", "add?progress=true", "files/write?arg=/f&create=true"] {
        let ask = Ask::command(command).field("Content-Type", &large.content_type());
        let mut wire = Wire::tcp(daemon.api());
        wire.send(&ask.field("Transfer-Encoding", "chunked").head(&host));
        for piece in large.whole().chunks(50_000) {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            if wire.try_send(&chunk).is_err() {
                break;
            }
        }
        drop(wire.try_send(b"0\r\n\r\n"));
        if let Some(reply) = wire.reply() {
            let said =
                reply.status() == 413 || reply.end == End::Cut || reply.trailer("X-Stream-Error").is_some();
            assert!(said, "{command}: {} {}", reply.status(), reply.text());
            assert!(!reply.text().contains("Hash"), "{command}: {}", reply.text());
        }
    }
    assert_eq!(pins(), before);
    Ask::command("add").parts(&small).send(daemon.api()).ok();
    daemon.stop();
}

#[test]
fn nothing_is_limited_until_the_config_says_so() {
    let dir = temporary("limits");
    let daemon = daemon(dir.path(), &[]);
    let host = daemon.api().to_string();
    let mut wire = Wire::tcp(daemon.api());
    for _ in 0..2_000 {
        Ask::command("version").send_over(&mut wire, &host).ok();
    }
    let parts = Multipart::new().file("f", &noise(1, 20 << 20));
    Ask::command("add").parts(&parts).send(daemon.api()).ok();
    daemon.stop();
}

#[test]
fn a_config_may_let_reads_come_by_get_and_report_another_version() {
    let dir = temporary("limits");
    let daemon = daemon(dir.path(), &[("API.AllowGet", "true"), ("API.ReportedVersion", "\"0.7.0\"")]);
    let version = Ask::new("GET", "/api/v0/version").send(daemon.api()).ok().value();
    assert_eq!(version["Version"], "0.7.0");
    assert_eq!(Ask::new("PUT", "/api/v0/version").send(daemon.api()).status(), 405);
    // A page cannot use that: what it sends with a GET is checked as well.
    let page = Ask::new("GET", "/api/v0/id").field("Referer", "http://evil.example/").send(daemon.api());
    assert_eq!(page.status(), 403);
    let rebound = Ask::new("GET", "/api/v0/id").field("Host", "evil.example").send(daemon.api());
    assert_eq!(rebound.status(), 403);
    daemon.stop();
}
