//! An operator watches a daemon: scrapes it, probes it, turns its log up and down, and follows it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Instant;

use holdfast_tests::ask::Ask;
use holdfast_tests::daemon::{DAEMON_TIME_MAX, Daemon, RawAnswer};
use holdfast_tests::need::{json as json_file, temporary, workspace};
use holdfast_tests::run::Node;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use serde_json::{Value, json};

fn repo(name: &str) -> (tempfile::TempDir, Node) {
    let dir = temporary(name);
    let node = Node::init(&dir.path().join("repo"));
    (dir, node)
}

fn get(daemon: &Daemon, path: &str, headers: &str) -> RawAnswer {
    let mut connection = TcpStream::connect(daemon.api()).unwrap();
    connection.set_read_timeout(Some(DAEMON_TIME_MAX)).unwrap();
    let host = daemon.api();
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).unwrap();
    RawAnswer::parse(&bytes)
}

fn scrape(daemon: &Daemon) -> BTreeMap<String, f64> {
    let text = get(daemon, "/debug/metrics/prometheus", "").text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

#[test]
fn a_scrape_moves_with_what_the_daemon_does() {
    let (_dir, node) = repo("observe-metrics");
    let daemon = Daemon::start(&node, &[]);
    let head = get(&daemon, "/debug/metrics/prometheus", "").head;
    assert!(
        head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8; escaping=underscores"),
        "{head}"
    );
    let before = scrape(&daemon);
    let cid = node.run_with(["add", "-Q"], b"counted").ok().cid();
    assert_eq!(node.run(["cat", &cid]).ok().out(), "counted");
    node.run(["cat", "--offline", "QmPZ9gcCEpqKTo6aq61g2nXGUhM4iCL3ewB6LDXZCtioEB"]).failed();
    let shown = Ask::new("GET", &format!("/ipfs/{cid}")).send(daemon.gateway()).ok();
    assert_eq!(shown.text(), "counted");
    let after = wait_until("the answer of the gateway is counted", || {
        let seen = scrape(&daemon);
        match seen.get("ipfs_http_gw_get_duration_seconds_count{gateway=\"ipfs\"}") {
            Some(_) => Ok(seen),
            None => Err(seen),
        }
    });
    assert!(after["holdfast_allocator_allocated_bytes"] > 1e6, "{after:#?}");
    let grew = |name: &str| after.get(name).unwrap_or(&0.0) - before.get(name).unwrap_or(&0.0);
    let grown = [
        ("ipfs_operations_total{operation=\"add\",status=\"success\"}", 1.0),
        ("ipfs_operations_total{operation=\"cat\",status=\"success\"}", 1.0),
        ("ipfs_operations_total{operation=\"cat\",status=\"error\"}", 1.0),
        ("ipfs_operation_duration_seconds_count{operation=\"cat\"}", 2.0),
        ("ipfs_cache_hits_total", 1.0),
        ("holdfast_repo_blocks", 1.0),
        ("holdfast_commits_total", 1.0),
        ("ipfs_http_gw_get_duration_seconds_count{gateway=\"ipfs\"}", 1.0),
        ("ipfs_http_gw_unixfs_file_get_duration_seconds_count{gateway=\"ipfs\"}", 1.0),
        ("ipfs_http_requests_total{handler=\"api\",method=\"post\",code=\"200\"}", 2.0),
        ("ipfs_http_requests_total{handler=\"api\",method=\"post\",code=\"500\"}", 1.0),
    ];
    for (name, least) in grown {
        assert!(grew(name) >= least, "{name} grew by {} only:\n{after:#?}", grew(name));
    }
    assert!(grew("ipfs_cache_misses_total") >= 1.0, "{after:#?}");
    assert!(after["holdfast_requests_active"] < 0.5, "none runs any more");
    daemon.stop();
}

/// What boxo's Bitswap counts: gauges and counters, and histograms of sizes in bytes and of times in seconds.
const BITSWAP_NUMBERS: [&str; 13] = [
    "ipfs_bitswap_blocks_received",
    "ipfs_bitswap_haves_received",
    "ipfs_bitswap_wantlist_total",
    "ipfs_bitswap_want_blocks_total",
    "ipfs_bitswap_wanthaves_broadcast",
    "ipfs_bitswap_bcast_skips_total",
    "ipfs_bitswap_pending_tasks",
    "ipfs_bitswap_active_tasks",
    "ipfs_bitswap_pending_block_tasks",
    "ipfs_bitswap_active_block_tasks",
    "exchange_bitswap_requests_in_flight",
    "exchange_bitswap_wantlists_total",
    "exchange_bitswap_wantlists_items_total",
];
const SIZES: [f64; 6] = [64.0, 1024.0, 16_384.0, 262_144.0, 262_159.0, 4_194_304.0];
const TIMES: [f64; 7] = [1.0, 10.0, 30.0, 60.0, 90.0, 120.0, 600.0];
const MESSAGE_SIZES: [f64; 7] = [1.0, 131_072.0, 262_144.0, 524_288.0, 1_048_576.0, 2_097_152.0, 4_190_208.0];
const WANTS_TIMES: [f64; 15] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0];
const BITSWAP_HISTOGRAMS: [(&str, &[f64]); 6] = [
    ("ipfs_bitswap_recv_all_blocks_bytes", &SIZES),
    ("ipfs_bitswap_recv_dup_blocks_bytes", &SIZES),
    ("ipfs_bitswap_sent_all_blocks_bytes", &SIZES),
    ("ipfs_bitswap_send_times", &TIMES),
    ("exchange_bitswap_response_bytes", &MESSAGE_SIZES),
    ("exchange_bitswap_wantlists_seconds", &WANTS_TIMES),
];

#[test]
fn bitswap_is_told_under_kubos_names_with_kubos_buckets_after_a_block_went_to_a_peer() {
    let dir = temporary("observe-bitswap");
    let [giver, taker] = ["giver", "taker"].map(|name| Peer::start(dir.path(), name, &[], None));
    taker.connect(&giver.address("tcp"));
    let cid = giver.node().run_with(["add", "-Q"], b"for a peer").ok().cid();
    assert_eq!(taker.run(["cat", &cid]).ok().out(), "for a peer");
    let seen = wait_until("the message with the block is counted", || {
        let seen = scrape(giver.daemon());
        let sent = seen.get("ipfs_bitswap_send_times_count").is_some_and(|count| *count >= 1.0);
        if sent { Ok(seen) } else { Err(seen) }
    });
    for name in BITSWAP_NUMBERS {
        assert!(seen.contains_key(name), "{name}: {seen:#?}");
    }
    for (name, bounds) in BITSWAP_HISTOGRAMS {
        let prefix = format!("{name}_bucket{{le=\"");
        let found = seen.keys().filter_map(|key| key.strip_prefix(&prefix)?.strip_suffix("\"}"));
        let mut found: Vec<f64> = found.map(|bound| bound.parse().unwrap()).collect();
        found.sort_by(f64::total_cmp);
        assert_eq!(found, [bounds, &[f64::INFINITY]].concat(), "{name}");
    }
    assert!(seen["ipfs_bitswap_send_times_sum"] > 0.0);
    assert!(seen["ipfs_bitswap_sent_all_blocks_bytes_sum"] >= 10.0);
    let asked = scrape(taker.daemon());
    assert!(asked["exchange_bitswap_wantlists_items_total"] >= asked["exchange_bitswap_wantlists_total"]);
    for name in [
        "exchange_bitswap_requests_in_flight",
        "exchange_bitswap_wantlists_total",
        "exchange_bitswap_wantlists_seconds_count",
        "exchange_bitswap_response_bytes_count",
    ] {
        assert!(asked[name] >= 1.0, "{name}: {asked:#?}");
    }
}

/// The metrics that the queries of the shipped dashboard name, those that fill its choices too.
fn dashboard_metrics() -> BTreeSet<String> {
    fn queries(value: &Value, found: &mut Vec<String>) {
        let inner: Vec<(Option<&str>, &Value)> = match value {
            Value::Array(list) => list.iter().map(|value| (None, value)).collect(),
            Value::Object(object) => object.iter().map(|(key, value)| (Some(key.as_str()), value)).collect(),
            _ => return,
        };
        for (key, value) in inner {
            match value {
                Value::String(text) if matches!(key, Some("expr" | "query")) => found.push(text.clone()),
                value => queries(value, found),
            }
        }
    }
    let file = workspace().join("contrib/grafana/holdfast.json");
    let mut found = Vec::new();
    queries(&json_file(&file), &mut found);
    let ours = |word: &&str| ["ipfs_", "holdfast_", "process_"].iter().any(|prefix| word.starts_with(prefix));
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    found.iter().flat_map(|query| query.split(|c| !is_part(c)).filter(ours)).map(str::to_owned).collect()
}

#[test]
fn every_metric_of_the_shipped_dashboard_is_there_after_one_add_and_one_page() {
    let asked = dashboard_metrics();
    assert!(asked.len() >= 30, "are the queries read rightly? {asked:?}");
    let (_dir, node) = repo("observe-dashboard");
    let daemon = Daemon::start(&node, &[]);
    let cid = node.run_with(["add", "-Q"], b"on the dashboard").ok().cid();
    Ask::new("GET", &format!("/ipfs/{cid}")).send(daemon.gateway()).ok();
    wait_until("all metrics of the dashboard", || {
        let seen: BTreeSet<String> =
            scrape(&daemon).into_keys().map(|name| name.split('{').next().unwrap().to_owned()).collect();
        let missing: Vec<&String> = asked.difference(&seen).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("missing: {missing:?}")) }
    });
    daemon.stop();
}

#[test]
fn the_health_report_has_the_users_fields_from_what_really_happened() {
    let (_dir, node) = repo("observe-health");
    // Without a network only the commands below ask for blocks.
    let daemon = Daemon::alone(&node, &[]);
    let cid = node.run_with(["add", "-Q"], b"healthy").ok().cid();
    assert_eq!(node.run(["cat", &cid]).ok().out(), "healthy");
    node.run(["cat", "QmPZ9gcCEpqKTo6aq61g2nXGUhM4iCL3ewB6LDXZCtioEB"]).failed();
    let report = get(&daemon, "/api/v1/ipfs/health", "").json();
    assert_eq!(report["status"], "healthy");
    assert_eq!(report["nodes"], json!({ "total": 1, "healthy": 1, "unhealthy": 0 }));
    let performance = report["performance"].as_object().unwrap();
    let names: Vec<&str> = performance.keys().map(String::as_str).collect();
    assert_eq!(names, ["avg_response_time", "cache_hit_rate", "operations_per_second"], "{report}");
    let figure = |name: &str| performance[name].as_f64().unwrap();
    assert!(figure("avg_response_time") > 0.0 && figure("operations_per_second") > 0.0, "{report}");
    let scraped = scrape(&daemon);
    let (hits, misses) = (scraped["ipfs_cache_hits_total"], scraped["ipfs_cache_misses_total"]);
    assert!(hits >= 1.0 && misses >= 1.0, "{scraped:#?}");
    assert!((figure("cache_hit_rate") - hits / (hits + misses)).abs() < 1e-9, "{report}: {hits}, {misses}");
    daemon.stop();
}

#[test]
fn probes_need_no_credentials_and_metrics_do() {
    let (_dir, node) = repo("observe-probes");
    let authorizations =
        json!({ "me": { "AuthSecret": "bearer:t0ken", "AllowedPaths": ["/api/v0", "/debug"] } });
    let path = node.repo().join("config");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["API"]["Authorizations"] = authorizations;
    fs::write(&path, config.to_string()).unwrap();
    let daemon = Daemon::start(&node, &[]);
    for path in ["/healthz", "/readyz"] {
        let answer = get(&daemon, path, "");
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"), "{path}");
    }
    let report = get(&daemon, "/api/v1/ipfs/health", "").json();
    assert_eq!(report["status"], "healthy");
    assert_eq!(report["nodes"], json!({ "total": 1, "healthy": 1, "unhealthy": 0 }));
    assert_eq!(get(&daemon, "/debug/metrics/prometheus", "").status, 403);
    assert_eq!(get(&daemon, "/debug/metrics/prometheus", "Authorization: Bearer t0ken\r\n").status, 200);
    daemon.stop();
}

#[test]
fn levels_change_at_run_time_and_the_token_reaches_no_log() {
    let (_dir, node) = repo("observe-levels");
    let mut command = node.command(["daemon"]);
    command.env("GOLOG_LOG_LEVEL", "error").env("GOLOG_LOG_FMT", "json");
    let daemon = Daemon::spawn(command).ready();
    assert_eq!(node.run(["log", "level"]).ok().out(), "error\n");
    let changed = node.run(["log", "level", "rpc", "debug"]).ok().out();
    assert_eq!(changed, "Changed log level of 'rpc' to 'debug'\n");
    node.run(["version", "deps"]).ok();
    node.run(["config", "API.Authorizations.x.AuthSecret", "bearer:t0ken"]);
    node.run(["pin", "remote", "service", "add", "mine", "https://example.com", "k3y"]).ok();
    get(&daemon, "/api/v0/id", "Authorization: Bearer t0ken\r\n");
    let list = node.run(["diag", "cmds", "-v"]).ok().out();
    assert!(list.contains("pin/remote/service/add") && list.contains("(redacted)"), "{list}");
    let answer = daemon.stop();
    let log = answer.err();
    assert!(log.contains(r#""logger":"rpc""#) && log.contains("pin/remote/service/add"), "{log}");
    for secret in ["t0ken", "k3y"] {
        assert!(!log.contains(secret) && !list.contains(secret), "{secret} in\n{log}\n{list}");
    }
}

#[test]
fn the_log_is_followed_by_several_and_answers_at_once() {
    let (_dir, node) = repo("observe-tail");
    let daemon = Daemon::start(&node, &[]);
    let mut connection = TcpStream::connect(daemon.api()).unwrap();
    connection.set_read_timeout(Some(DAEMON_TIME_MAX)).unwrap();
    write!(
        connection,
        "POST /api/v0/log/tail HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n",
        daemon.api()
    )
    .unwrap();
    let mut lines = BufReader::new(connection);
    let mut head = String::new();
    // Nothing is logged yet: the head comes all the same.
    lines.read_line(&mut head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut follower = node.command(["log", "tail"]).stdout(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + DAEMON_TIME_MAX;
    while node.run(["diag", "cmds"]).ok().out().matches("log/tail").count() < 2 {
        assert!(Instant::now() < until, "two do not come to follow");
    }
    let mut out = BufReader::new(follower.stdout.take().unwrap());
    node.run(["log", "level", "gc", "debug"]).ok();
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["msg"], &line["subsystem"]), (&json!("log level changed"), &json!("gc")));
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the other follower gets it too");
        if line.contains("log level changed") {
            break;
        }
    }
    daemon.stop();
    follower.wait().unwrap();
}

#[test]
fn a_log_variable_that_cannot_be_used_is_told_and_stops_nothing() {
    let (_dir, node) = repo("observe-variable");
    let mut command = node.command(["daemon"]);
    command.env("GOLOG_LOG_LEVEL", "loud");
    let daemon = Daemon::spawn(command).ready();
    let told = daemon.stderr();
    assert!(told.contains("GOLOG_LOG_LEVEL: unrecognized level: \"loud\""), "{told}");
    assert_eq!(node.run(["diag", "healthy"]).ok().out(), "ok\n");
    daemon.stop();
}
