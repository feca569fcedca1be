//! A gateway that everybody may reach has bounds: so many requests at once and no more, nothing held for clients that went
//! away, and figures that tell the operator.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_tests::ask::Ask;
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::run::Node;
use holdfast_tests::wire::Wire;

/// More than the sockets between two processes hold.
const LARGE_BYTES: u64 = 64 << 20;

fn large_file(node: &Node, dir: &Path) -> String {
    let file = dir.join("large");
    fs::write(&file, noise(3, LARGE_BYTES)).unwrap();
    node.run(["add", "-Q", file.to_str().unwrap()]).ok().cid()
}

/// Waits until something is so.
#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A figure of the daemon's scrape.
#[track_caller]
fn figure(daemon: &Daemon, line: &str) -> Option<f64> {
    let scrape = Ask::new("GET", "/debug/metrics/prometheus").send(daemon.api()).ok().text();
    scrape.lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok())
}

#[test]
fn beyond_the_limit_clients_are_told_when_to_come_again_and_a_place_is_free_when_one_goes() {
    let dir = temporary("gateway-limit");
    let node = Node::init(&dir.path().join("repo"));
    node.run(["config", "--json", "Gateway.MaxConcurrentRequests", "2"]).ok();
    let daemon = Daemon::alone(&node, &[]);
    let path = format!("/ipfs/{}", large_file(&node, dir.path()));
    let host = daemon.gateway().to_string();
    let small = || Ask::new("GET", "/ipfs/bafkqaaa?format=raw").send(daemon.gateway());
    let mut readers: Vec<Wire> = (0..2)
        .map(|_| {
            let mut wire = Wire::tcp(daemon.gateway());
            wire.send(&Ask::new("GET", &path).bytes(&host));
            let head = wire.head().unwrap();
            assert_eq!(head.get("Content-Length"), Some(&LARGE_BYTES.to_string()[..]));
            wire
        })
        .collect();
    let refused = small();
    assert_eq!(refused.status(), 429, "{}", refused.text());
    assert_eq!(
        (refused.head.get("Retry-After"), refused.head.get("Cache-Control")),
        (Some("60"), Some("no-store"))
    );
    assert_eq!(figure(&daemon, "ipfs_http_gw_concurrent_requests "), Some(2.0));
    // Who goes away in the middle gives his place to others.
    drop(readers.pop());
    eventually("the place of a client that is gone stays taken", || small().status() == 200);
    drop(readers);
    eventually("requests are counted as running for ever", || {
        figure(&daemon, "ipfs_http_gw_concurrent_requests ") == Some(0.0)
    });
    assert!(figure(&daemon, "ipfs_http_gw_responses_total{code=\"429\"} ").is_some_and(|count| count >= 1.0));
    assert!(
        figure(&daemon, "ipfs_http_requests_total{handler=\"gateway\",method=\"get\",code=\"200\"} ")
            .is_some()
    );
}

#[test]
fn the_addresses_of_the_gateway_are_as_the_config_lists_them() {
    let dir = temporary("gateway-addresses");
    let node = Node::init(&dir.path().join("repo"));
    let socket = dir.path().join("gateway.sock");
    let list = format!(
        r#"["/unix{}","/ip4/0.0.0.0/tcp/0","/ip6/::1/tcp/0","/ip4/1.2.3.4/udp/1/quic-v1"]"#,
        socket.display()
    );
    node.run(["config", "--json", "Addresses.Gateway", &list]).ok();
    let daemon = Daemon::alone(&node, &[]);
    assert_eq!(daemon.gateway_multiaddrs().len(), 3, "{:?}", daemon.lines());
    let words = daemon.wait_for_complaint("passed over");
    assert!(words.contains("Addresses.Gateway"), "{words}");
    let port = daemon.gateway().port();
    // Programs open what is in the file.
    let file = node.repo().join("gateway");
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("http://127.0.0.1:{port}"));
    let reply = Ask::new("GET", "/ipfs/bafkqaaa?format=raw").send(([127, 0, 0, 1], port).into());
    assert_eq!(reply.status(), 200);
    let mut wire = Wire::unix(&socket);
    let over_socket = Ask::new("GET", "/ipfs/bafkqaaa?format=raw").send_over(&mut wire, "unix");
    assert_eq!(over_socket.status(), 200);
    daemon.stop().ok();
    assert!(!file.exists() && !socket.exists());
    // Without an address there is no gateway, and no file that names one.
    node.run(["config", "--json", "Addresses.Gateway", "[]"]).ok();
    let daemon = Daemon::alone(&node, &[]);
    assert!(daemon.gateway_multiaddrs().is_empty() && !file.exists());
    daemon.stop().ok();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    node.run(["config", "Addresses.Gateway", &address]).ok();
    let failed = node.run(["daemon", "--offline"]).failed();
    assert!(
        failed.err().contains("Addresses.Gateway") && failed.err().contains("Another program"),
        "{}",
        failed.err()
    );
    assert!(!node.repo().join("api").exists());
}

#[test]
fn ranges_of_files_beyond_a_size_are_refused_where_the_operator_says_so() {
    let dir = temporary("gateway-range-limit");
    let node = Node::init(&dir.path().join("repo"));
    node.run(["config", "Gateway.MaxRangeRequestFileSize", "1KiB"]).ok();
    let daemon = Daemon::alone(&node, &[]);
    let (small, large) = (vec![1; 1024], vec![2; 1025]);
    for (bytes, status) in [(&small, 206), (&large, 501)] {
        let cid = node.run_with(["add", "-Q"], bytes).ok().cid();
        let ask = Ask::new("GET", &format!("/ipfs/{cid}")).field("Range", "bytes=0-1");
        assert_eq!(ask.send(daemon.gateway()).status(), status);
        assert_eq!(
            Ask::new("GET", &format!("/ipfs/{cid}")).send(daemon.gateway()).ok().body.len(),
            bytes.len()
        );
    }
}
