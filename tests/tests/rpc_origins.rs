//! A web page that somebody visits must not drive the node that runs beside the browser.
//!
//! Browsers say where a request comes from (`Origin`, `Referer`), who they are (`User-Agent`) and whom they think they talk
//! to (`Host`, which is how a rebound name is noticed). The rules are Kubo's, and the check of `Host`, which Kubo has not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use holdfast_tests::ask::Ask;
use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::temporary;
use holdfast_tests::run::Node;

/// A request's header fields, and whether it is served. `{P}` is the daemon's port.
type Case = (&'static [(&'static str, &'static str)], bool);

const CASES: &[Case] = &[
    (&[], true),
    (&[("User-Agent", "curl/8.5")], true),
    (&[("User-Agent", "")], true),
    // Origins.
    (&[("Origin", "http://localhost:{P}")], true),
    (&[("Origin", "http://127.0.0.1:{P}")], true),
    (&[("Origin", "http://[::1]:{P}")], true),
    (&[("Origin", "https://localhost:{P}")], true),
    (&[("Origin", "https://127.0.0.1:{P}")], true),
    (&[("Origin", "chrome-extension://nibjojkomfdiaoajekhjakgkdhaomnch")], true),
    (&[("Origin", "chrome-extension://hjoieblefckbooibpepigmacodalfndh")], true),
    (&[("Origin", "chrome-extension://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")], false),
    (&[("Origin", "http://localhost")], false),
    (&[("Origin", "http://localhost:1")], false),
    (&[("Origin", "http://localhost:{P}0")], false),
    (&[("Origin", "http://localhost:{P}.evil.example")], false),
    (&[("Origin", "http://evil.example")], false),
    (&[("Origin", "http://evil.example:{P}")], false),
    (&[("Origin", "http://127.0.0.1.evil.example:{P}")], false),
    (&[("Origin", "null")], false),
    (&[("Origin", "file://")], false),
    (&[("Origin", "ftp://localhost:{P}")], false),
    // Referers.
    (&[("Referer", "http://localhost:{P}/webui/")], true),
    (&[("Referer", "http://127.0.0.1:{P}/")], true),
    (&[("Referer", "http://evil.example/")], false),
    (&[("Referer", "http://evil.example/?http://localhost:{P}/")], false),
    (&[("Referer", "http://localhost:{P}@evil.example/")], false),
    (&[("Referer", "http://localhost:{P}/"), ("Origin", "http://evil.example")], false),
    (&[("Referer", "http://evil.example/"), ("Origin", "http://localhost:{P}")], false),
    (&[("Referer", "http://localhost:{P}/"), ("Origin", "http://localhost:{P}")], true),
    // Browsers that say nothing of where they come from.
    (&[("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0")], false),
    (&[("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) ipfs-desktop/0.40 Electron/32.0")], true),
    (&[("User-Agent", "Mozilla/5.0 Firefox/130.0"), ("Origin", "http://localhost:{P}")], true),
    (&[("User-Agent", "Mozilla/5.0 Firefox/130.0"), ("Referer", "http://localhost:{P}/webui")], true),
    (&[("User-Agent", "Mozilla/5.0 Firefox/130.0"), ("Origin", "http://evil.example")], false),
    (&[("User-Agent", "like Mozilla/5.0")], true),
    // Whom they think they talk to.
    (&[("Host", "localhost:{P}")], true),
    (&[("Host", "localhost")], true),
    (&[("Host", "LOCALHOST:{P}")], true),
    (&[("Host", "127.0.0.1:{P}")], true),
    (&[("Host", "127.0.0.1")], true),
    (&[("Host", "[::1]:{P}")], true),
    (&[("Host", "192.0.2.7:{P}")], true),
    (&[("Host", "evil.example")], false),
    (&[("Host", "evil.example:{P}")], false),
    (&[("Host", "localhost.evil.example:{P}")], false),
    (&[("Host", "127.0.0.1.evil.example")], false),
    (&[("Host", "ipfs0:5001")], false),
    (&[("Host", "node.home.arpa:5001")], false),
];

fn sent(case: &Case, port: u16) -> Ask {
    let fields = case.0.iter();
    fields.fold(Ask::command("id").body(b""), |ask, (name, value)| {
        ask.field(name, &value.replace("{P}", &port.to_string()))
    })
}

#[test]
fn pages_of_others_are_refused_and_programs_and_own_pages_are_not() {
    let dir = temporary("origins");
    let daemon = Daemon::alone(&Node::init(&dir.path().join("repo")), &[]);
    let mut wrong = Vec::new();
    for case in CASES {
        let reply = sent(case, daemon.api().port()).send(daemon.api());
        let status = if case.1 { 200 } else { 403 };
        if reply.status() != status {
            wrong.push(format!("{:?}: {} instead of {status}: {}", case.0, reply.status(), reply.text()));
        }
        if reply.head.get("Access-Control-Allow-Origin") == Some("*") {
            wrong.push(format!("{:?}: every origin may read the answer", case.0));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
    daemon.stop();
}

#[test]
fn origins_and_hosts_that_the_config_allows_are_served() {
    let dir = temporary("origins");
    let node = Node::init(&dir.path().join("repo"));
    let headers = r#"{"Access-Control-Allow-Origin": ["http://webui.example"],
        "Access-Control-Allow-Methods": ["PUT", "POST"], "X-Mine": ["yes"]}"#;
    node.run(["config", "--json", "API.HTTPHeaders", headers]).ok();
    node.run(["config", "--json", "API.AllowedHosts", r#"["ipfs0", "node.home.arpa"]"#]).ok();
    let daemon = Daemon::alone(&node, &[]);
    let port = daemon.api().port();
    let ask = |fields: &[(&str, &str)]| {
        let ask =
            fields.iter().fold(Ask::command("id").body(b""), |ask, (name, value)| ask.field(name, value));
        ask.send(daemon.api())
    };
    let reply = ask(&[("Origin", "http://webui.example")]).ok();
    assert_eq!(reply.head.get("Access-Control-Allow-Origin"), Some("http://webui.example"));
    assert!(reply.head.lists("Vary", "Origin"), "{:?}", reply.head);
    assert_eq!(reply.head.get("X-Mine"), Some("yes"));
    assert_eq!(ask(&[("Origin", "https://webui.example")]).status(), 403);
    assert_eq!(ask(&[("Origin", "http://webui.example.evil.example")]).status(), 403);
    assert_eq!(ask(&[("Referer", "http://webui.example/page")]).status(), 200);
    assert_eq!(ask(&[("Origin", &format!("http://localhost:{port}"))]).status(), 200, "its own page still");
    for (host, status) in
        [("ipfs0:5001", 200), ("IPFS0", 200), ("node.home.arpa:5001", 200), ("ipfs1:5001", 403)]
    {
        assert_eq!(ask(&[("Host", host)]).status(), status, "{host}");
    }

    // What a browser asks before it sends.
    let preflight = |origin: &str| {
        let ask = Ask::new("OPTIONS", "/api/v0/add").field("Origin", origin);
        ask.field("Access-Control-Request-Method", "POST")
            .field("Access-Control-Request-Headers", "content-type")
            .send(daemon.api())
    };
    let reply = preflight("http://webui.example");
    assert_eq!(
        reply.head.get("Access-Control-Allow-Origin"),
        Some("http://webui.example"),
        "{:?}",
        reply.head
    );
    assert!(reply.head.lists("Access-Control-Allow-Methods", "POST"), "{:?}", reply.head);
    let reply = preflight("http://evil.example");
    assert_eq!(reply.head.get("Access-Control-Allow-Origin"), None, "{:?}", reply.head);
    daemon.stop();
}

#[test]
fn any_origin_is_any_origin_where_the_config_says_so() {
    let dir = temporary("origins");
    let node = Node::init(&dir.path().join("repo"));
    node.run(["config", "--json", "API.HTTPHeaders", r#"{"Access-Control-Allow-Origin": ["*"]}"#]).ok();
    let daemon = Daemon::alone(&node, &[]);
    let reply =
        Ask::command("id").field("Origin", "http://anything.example").body(b"").send(daemon.api()).ok();
    assert!(
        matches!(reply.head.get("Access-Control-Allow-Origin"), Some("*" | "http://anything.example")),
        "{:?}",
        reply.head
    );
    // A name that was rebound is still noticed.
    let rebound = Ask::command("id").field("Host", "evil.example").body(b"").send(daemon.api());
    assert_eq!(rebound.status(), 403);
    daemon.stop();
}

#[test]
fn a_command_line_of_another_version_is_told_so_except_for_the_version() {
    let dir = temporary("origins");
    let daemon = Daemon::alone(&Node::init(&dir.path().join("repo")), &[]);
    let version =
        Ask::command("version").send(daemon.api()).ok().value()["Version"].as_str().unwrap().to_owned();
    let ask =
        |command: &str, agent: &str| Ask::command(command).field("User-Agent", agent).send(daemon.api());
    let other = ask("id", "/kubo/0.1.2/");
    assert_eq!(other.status(), 400, "{}", other.text());
    assert!(other.text().contains("api version mismatch"), "{}", other.text());
    assert_eq!(ask("id", "/go-ipfs/0.4.0/abcdef").status(), 400);
    assert_eq!(ask("version", "/kubo/0.1.2/").status(), 200);
    assert_eq!(ask("id", &format!("/kubo/{version}/")).status(), 200);
    assert_eq!(ask("id", "Go-http-client/1.1").status(), 200);
    daemon.stop();
}
