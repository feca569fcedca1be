//! Who may ask what: every route of the API port against every kind of credential.
//!
//! The table's expectation is computed from the rule, not from the answer: with `API.Authorizations` set, health is open,
//! `version` is for everybody who is known, and everything else is for those whose allowed paths contain it, segment by
//! segment. A cell is wrong if it lets somebody in, keeps somebody out, or says anything else than it should.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::{say, temporary};
use holdfast_tests::run::Node;
use holdfast_tests::wire::Wire;

const USERS: &str = r#"{
    "admin": {"AuthSecret": "bearer:admin-token-7Kd", "AllowedPaths": ["/api/v0"]},
    "root": {"AuthSecret": "bearer:root-token-9Qx", "AllowedPaths": ["/"]},
    "reader": {"AuthSecret": "basic:reader:pass-w0rd", "AllowedPaths": ["/api/v0/pin", "/api/v0/cat"]},
    "coded": {"AuthSecret": "basic:Y29kZWQ6czNjcjN0", "AllowedPaths": ["/api/v0/files/ls", "/debug"]},
    "bare": {"AuthSecret": "bare-token-3Zt", "AllowedPaths": ["/api/v0/repo/stat/", "/webui"]},
    "nothing": {"AuthSecret": "bearer:nothing-5Lp", "AllowedPaths": []},
    "odd": {"AuthSecret": "digest:odd-1Vb", "AllowedPaths": ["/"]}
}"#;

/// A name, what is sent, and whose it is: the allowed paths, or `None` for nobody's.
type Credential = (&'static str, Option<&'static str>, Option<&'static [&'static str]>);

const CREDENTIALS: &[Credential] = &[
    ("none", None, None),
    ("an empty value", Some(""), None),
    ("a wrong bearer", Some("Bearer admin-token-7Ke"), None),
    ("a bearer cut short", Some("Bearer admin-token-7K"), None),
    ("a bearer and more", Some("Bearer admin-token-7Kdd"), None),
    ("a scheme alone", Some("Bearer"), None),
    ("a token without its scheme", Some("admin-token-7Kd"), None),
    ("the secret as it is in the config", Some("bearer:admin-token-7Kd"), None),
    ("a bearer as basic", Some("Basic admin-token-7Kd"), None),
    ("a wrong password", Some("Basic cmVhZGVyOnBhc3MtdzByZQ=="), None),
    ("a secret of an unknown kind", Some("digest:odd-1Vb"), None),
    ("that as a bearer", Some("Bearer odd-1Vb"), None),
    ("that as a whole bearer", Some("Bearer digest:odd-1Vb"), None),
    ("admin", Some("Bearer admin-token-7Kd"), Some(&["/api/v0"])),
    ("root", Some("Bearer root-token-9Qx"), Some(&["/"])),
    ("reader", Some("Basic cmVhZGVyOnBhc3MtdzByZA=="), Some(&["/api/v0/pin", "/api/v0/cat"])),
    ("coded", Some("Basic Y29kZWQ6czNjcjN0"), Some(&["/api/v0/files/ls", "/debug"])),
    ("bare", Some("Bearer bare-token-3Zt"), Some(&["/api/v0/repo/stat", "/webui"])),
    ("nothing", Some("Bearer nothing-5Lp"), Some(&[])),
];

/// Routes under `/api/v0/`: a GET is refused with 405 after the credential was checked, so nothing runs.
const COMMANDS: &[&str] = &[
    "add",
    "bitswap/stat",
    "bitswap/wantlist",
    "block/get",
    "block/put",
    "block/rm",
    "block/stat",
    "bootstrap",
    "bootstrap/rm/all",
    "cat",
    "cat/QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
    "cid/format",
    "commands",
    "config",
    "config/replace",
    "config/show",
    "dag/export",
    "dag/get",
    "dag/import",
    "dag/put",
    "dag/resolve",
    "dag/stat",
    "diag/cmds",
    "diag/profile",
    "diag/sys",
    "files/chcid",
    "files/cp",
    "files/flush",
    "files/ls",
    "files/mkdir",
    "files/mv",
    "files/read",
    "files/rm",
    "files/stat",
    "files/write",
    "get",
    "id",
    "key/gen",
    "key/import",
    "key/list",
    "key/rm",
    "log/level",
    "log/ls",
    "log/tail",
    "ls",
    "multibase/list",
    "name/publish",
    "name/resolve",
    "object/stat",
    "pin/add",
    "pin/ls",
    "pin/remote/service/ls",
    "pin/rm",
    "pin/update",
    "pin/verify",
    "ping",
    "pubsub/sub",
    "refs",
    "refs/local",
    "repo/gc",
    "repo/stat",
    "repo/verify",
    "resolve",
    "routing/findprovs",
    "shutdown",
    "stats/bw",
    "stats/repo",
    "swarm/addrs",
    "swarm/connect",
    "swarm/peers",
    "version",
    "version/deps",
];

/// Other routes, asked with GET; whether each is health, which is open to everybody.
const OTHERS: &[(&str, bool)] = &[
    ("/healthz", true),
    ("/readyz", true),
    ("/api/v1/ipfs/health", true),
    ("/webui", false),
    ("/webui/", false),
    ("/version", false),
    ("/logs", false),
    ("/debug/metrics/prometheus", false),
    ("/debug/vars", false),
    ("/debug/stack", false),
    ("/debug/pprof/", false),
    ("/", false),
    ("/ipfs/QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", false),
    ("/ipns/localhost", false),
    ("/routing/v1/providers/QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", false),
    ("/api", false),
    ("/api/v0", false),
    ("/api/v0/", false),
    ("/api/v0/pinx/ls", false),
    ("/api/v0/pi", false),
    ("/api/v0/files/lsx", false),
    ("/api/v0/repo/stat2", false),
    ("/api/v0/nosuch", false),
    ("/api/v1/", false),
    ("/healthzz", false),
    ("/webuix", false),
    ("/debugx", false),
];

fn daemon_with_users(dir: &std::path::Path) -> Daemon {
    let node = Node::init(&dir.join("repo"));
    node.run(["config", "--json", "API.Authorizations", USERS]).ok();
    Daemon::alone(&node, &[])
}

fn within(path: &str, allowed: &str) -> bool {
    let allowed = allowed.trim_end_matches('/');
    path.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the rule lets it in.
fn may(path: &str, health: bool, paths: Option<&[&str]>) -> bool {
    let Some(paths) = paths else { return health };
    health || path == "/api/v0/version" || paths.iter().any(|allowed| within(path, allowed))
}

#[test]
fn no_cell_of_routes_and_credentials_is_wrong() {
    let dir = temporary("access");
    let daemon = daemon_with_users(dir.path());
    let host = daemon.api().to_string();
    let commands = COMMANDS.iter().map(|command| (format!("/api/v0/{command}"), false));
    let others = OTHERS.iter().map(|(path, health)| ((*path).to_owned(), *health));
    let routes: Vec<(String, bool)> = commands.chain(others).collect();
    assert!(routes.len() >= 60, "{} routes", routes.len());
    let (mut cells, mut wrong) = (0, Vec::new());
    for (path, health) in &routes {
        for (name, value, paths) in CREDENTIALS {
            let ask = Ask::new("GET", path);
            let ask = value.iter().fold(ask, |ask, value| ask.field("Authorization", value));
            let mut wire = Wire::tcp(daemon.api());
            wire.send(&ask.bytes(&host));
            let head = wire.head().unwrap_or_else(|| panic!("{path} as {name}: no answer"));
            let allowed = may(path, *health, *paths);
            cells += 1;
            let right = if !allowed {
                let text = wire.rest(head.clone()).text();
                head.status == 403 && text.starts_with("Kubo RPC Access Denied")
            } else if COMMANDS.iter().any(|command| path.ends_with(&format!("/v0/{command}"))) {
                head.status == 405
            } else {
                // What is not there is not there; what is there answers.
                matches!(head.status, 200 | 301 | 302 | 307 | 308 | 404 | 405 | 503)
            };
            if !right {
                wrong.push(format!(
                    "{path} as {name}: {} where it is {}",
                    head.status,
                    if allowed { "allowed" } else { "denied" }
                ));
            }
        }
    }
    say(&format!(
        "rpc_access: {} routes, {} credentials, {cells} cells, {} wrong",
        routes.len(),
        CREDENTIALS.len(),
        wrong.len()
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    daemon.stop();
}

#[test]
fn what_is_allowed_is_served_and_what_is_denied_has_no_effect() {
    let dir = temporary("access");
    let daemon = daemon_with_users(dir.path());
    let body = Multipart::new().file("f", b"mine");
    let admin = |ask: Ask| ask.field("Authorization", "Bearer admin-token-7Kd").send(daemon.api());
    let reader = |ask: Ask| ask.field("Authorization", "Basic cmVhZGVyOnBhc3MtdzByZA==").send(daemon.api());
    let hash = admin(Ask::command("add").parts(&body)).ok().value()["Hash"].as_str().unwrap().to_owned();
    assert_eq!(reader(Ask::with_args("cat", &[&hash])).ok().text(), "mine");
    assert!(reader(Ask::with_args("pin/ls", &[&hash])).ok().text().contains(&hash));
    reader(Ask::command("version")).ok();
    for denied in [
        Ask::command("add").parts(&Multipart::new().file("g", b"not theirs")),
        Ask::command("shutdown"),
        Ask::command("config?arg=Datastore.StorageMax&arg=1B"),
        Ask::command("files/mkdir?arg=/denied"),
        Ask::command("key/gen?arg=denied"),
    ] {
        let target = denied.target().to_owned();
        assert_eq!(reader(denied.clone()).status(), 403, "{target}");
        assert_eq!(denied.send(daemon.api()).status(), 403, "{target} without a credential");
    }
    assert!(!admin(Ask::command("files/ls")).ok().text().contains("denied"));
    assert!(!admin(Ask::command("key/list")).ok().text().contains("denied"));
    assert!(!admin(Ask::command("config?arg=Datastore.StorageMax")).ok().text().contains("1B"));
    // Two credentials at once are nobody's.
    let two = Ask::command("id")
        .field("Authorization", "Bearer wrong")
        .field("Authorization", "Bearer admin-token-7Kd");
    assert!(matches!(two.send(daemon.api()).status(), 400 | 403));
    daemon.stop();
}

#[test]
fn no_spelling_of_a_path_leads_out_of_what_is_allowed() {
    let dir = temporary("access");
    let daemon = daemon_with_users(dir.path());
    for path in [
        "/api/v0/pin/../config/show",
        "/api/v0/pin/%2e%2e/config/show",
        "/api/v0/pin/..%2fconfig/show",
        "/api/v0/pin%2f..%2fconfig%2fshow",
        "/api/v0/pin/./../config/show",
        "/api/v0//config/show",
        "//api/v0/config/show",
        "/api/v0/pin;/../config/show",
        "/api/v0/pin\\..\\config/show",
        "/api/v0/pin/ls/../../config/show",
        "/api/v0/config/show?x=/api/v0/pin",
        "/api/v0/config/show#/api/v0/pin",
        "/API/V0/config/show",
        "/api/v0/%63onfig/show",
        "http://localhost/api/v0/config/show",
        "http://localhost/api/v0/pin/../config/show",
        "/api/v0/pin/%252e%252e/config/show",
    ] {
        for credential in ["Basic cmVhZGVyOnBhc3MtdzByZA==", "Bearer nothing-5Lp", "Bearer wrong"] {
            let reply =
                Ask::new("POST", path).field("Authorization", credential).body(b"").send(daemon.api());
            let shown = reply.text().contains("\"Datastore\"");
            assert!(reply.status() != 200 && !shown, "{path} with {credential}: {}", reply.status());
        }
    }
    daemon.stop();
}

#[test]
fn the_terminal_passes_its_credential_on() {
    let dir = temporary("access");
    let node = Node::init(&dir.path().join("repo"));
    node.run(["config", "--json", "API.Authorizations", USERS]).ok();
    let daemon = Daemon::alone(&node, &[]);
    let denied = node.run(["pin", "ls"]).failed();
    assert!(denied.err().contains("Access Denied"), "{}", denied.err());
    for auth in ["bearer:admin-token-7Kd", "admin-token-7Kd", "basic:reader:pass-w0rd"] {
        node.run(["--api-auth", auth, "pin", "ls"]).ok();
    }
    node.run(["--api-auth", "basic:reader:wrong", "pin", "ls"]).failed();
    node.run(["--api-auth", "basic:reader:pass-w0rd", "repo", "stat"]).failed();
    daemon.stop();
}
