//! The paths as a client sees them, on a node in a folder of its own.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::commands::ContextParams;
use crate::commands::registry::{Door, Registry};
use crate::node;
use crate::observe::{BitswapFigures, Outcome, ProcessFigures, Served, health};
use crate::repo_init::InitParams;
use crate::runtime::Runtime;

struct Daemon {
    context: Context,
    _folder: TempDir,
}

impl Daemon {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repo");
        let params = InitParams { repo: repo.clone(), profiles: "test".to_owned(), ..InitParams::default() };
        node::init(&params, &mut |_| {}).unwrap();
        let node = crate::Node::builder().repo(&repo).maintenance(false).open().await.unwrap();
        let params = ContextParams { repo_dir: repo, config_file: None, program: "ipfs".to_owned() };
        let runtime = Runtime::new();
        runtime.set_ready();
        Self { context: Context::of_node(params, node).with_runtime(runtime), _folder: folder }
    }

    fn runtime(&self) -> &Runtime {
        self.context.runtime().unwrap()
    }

    async fn get(&self, path: &str) -> (StatusCode, String, String) {
        let answer = Route::find(path).unwrap().answer(self.context.clone(), &Method::GET).await;
        let content_type = answer.headers().get(CONTENT_TYPE).unwrap().to_str().unwrap().to_owned();
        let (parts, ResponseBody::Full(body)) = answer.into_parts() else {
            panic!("{path} has no plain body")
        };
        (parts.status, content_type, String::from_utf8(body.to_vec()).unwrap())
    }

    fn request(&self, outcome: Outcome) {
        let registry = crate::commands::registry();
        let call = Registry::call(&registry.find(&["version"]).unwrap(), &[], Door::Http).unwrap();
        self.runtime().requests().begin(&call).set_outcome(outcome);
    }
}

/// The samples of a scrape: name with labels, value.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_counts_what_was_done() {
    let daemon = Daemon::start().await;
    let node = daemon.context.node().await.unwrap();
    let missing = "bafkreiafdxaehozptg73zud3kraoqdyc4vg2jzpwad26m4cnwj4gopmshm".parse().unwrap();
    assert!(node.fetch().get(&missing).await.is_err());
    daemon.request(Outcome::Success);
    daemon.request(Outcome::Error);
    let (status, content_type, text) = daemon.get("/debug/metrics/prometheus").await;
    assert_eq!((status, content_type.as_str()), (StatusCode::OK, text::CONTENT_TYPE));
    let samples = samples(&text);
    let id = node.config().identity().unwrap().peer_id;
    let expected = [
        (format!("ipfs_node_health{{node=\"{id}\"}}"), 1.0),
        ("ipfs_operations_total{operation=\"version\",status=\"success\"}".to_owned(), 1.0),
        ("ipfs_operations_total{operation=\"version\",status=\"error\"}".to_owned(), 1.0),
        ("ipfs_operation_duration_seconds_count{operation=\"version\"}".to_owned(), 2.0),
        ("ipfs_cache_hits_total".to_owned(), 0.0),
        ("ipfs_cache_misses_total".to_owned(), 1.0),
        ("holdfast_requests_active".to_owned(), 0.0),
        ("holdfast_repo_damaged_blocks".to_owned(), 0.0),
    ];
    for (name, value) in expected {
        assert_eq!(samples.get(name.as_str()), Some(&value), "{name} in\n{text}");
    }
    assert!(samples.get("process_resident_memory_bytes").is_some_and(|bytes| *bytes > 1e6), "{text}");
    assert!(samples.get("holdfast_repo_size_bytes").is_some_and(|bytes| *bytes > 0.0), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_is_declared_twice_or_under_another_type() {
    let daemon = Daemon::start().await;
    daemon.request(Outcome::Success);
    let (_, _, text) = daemon.get("/debug/metrics/prometheus").await;
    let mut types = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            assert_eq!(types.insert(name, kind), None, "{name} twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
                let family = name.strip_suffix(suffix)?;
                types.get(family).filter(|kind| matches!(**kind, "histogram" | "summary"))
            });
            assert!(family.is_some() || types.contains_key(name), "{name} has no type");
        }
    }
    assert_eq!(types.get("ipfs_operations_total"), Some(&"counter"));
    assert_eq!(types.get("ipfs_operation_duration_seconds"), Some(&"histogram"));
    assert_eq!(types.get("ipfs_cache_hits_total"), Some(&"counter"));
    assert_eq!(types.get("ipfs_node_health"), Some(&"gauge"));
    assert_eq!(types.get("ipfs_info"), Some(&"gauge"));
    assert_eq!(types.get("process_cpu_seconds_total"), Some(&"counter"));
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_follow_the_life_of_the_daemon() {
    let daemon = Daemon::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            daemon.get(path).await,
            (StatusCode::OK, "text/plain; charset=utf-8".to_owned(), "ok\n".to_owned())
        );
    }
    let (status, _, report) = daemon.get("/api/v1/ipfs/health").await;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((status, &report["status"]), (StatusCode::OK, &json!("healthy")));
    assert_eq!(report["nodes"], json!({ "total": 1, "healthy": 1, "unhealthy": 0 }));
    assert_eq!(report["performance"]["operations_per_second"], json!(0.0));
    daemon.request(Outcome::Success);
    let (_, _, report) = daemon.get("/api/v1/ipfs/health/").await;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(report["performance"]["operations_per_second"].as_f64().unwrap() > 0.0, "{report}");
    daemon.runtime().stop();
    assert_eq!(daemon.get("/healthz").await.0, StatusCode::OK);
    let (status, _, reason) = daemon.get("/readyz").await;
    assert_eq!((status, reason.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "the daemon is shutting down\n"));
    assert_eq!(daemon.get("/api/v1/ipfs/health").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_is_not_ready_before_its_listeners_are() {
    let daemon = Daemon::start().await;
    let context = daemon.context.clone().with_runtime(Runtime::new());
    let answer = Route::find("/readyz").unwrap().answer(context, &Method::GET).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_paths_are_refused() {
    let daemon = Daemon::start().await;
    let answer = Route::find("/healthz").unwrap().answer(daemon.context.clone(), &Method::POST).await;
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers().get(ALLOW), Some(&HeaderValue::from_static("GET, HEAD")));
    for path in ["/debug", "/healthz/x", "/debug/metrics"] {
        assert!(Route::find(path).is_none(), "{path}");
    }
}

/// A scrape of a daemon that has answered something, through its own server.
fn scrape_of_a_used_daemon() -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let daemon = Daemon::start().await;
        daemon.request(Outcome::Success);
        daemon.runtime().metrics().http_exchange(&crate::observe::HttpExchange {
            handler: "api",
            method: &Method::POST,
            status: StatusCode::OK,
            took: Duration::from_millis(3),
            request_bytes: 10,
            response_bytes: 20,
        });
        daemon.runtime().metrics().gateway_answered(StatusCode::OK);
        daemon.runtime().metrics().gateway_timed_out(StatusCode::GATEWAY_TIMEOUT, false);
        let kinds = [
            Served::File,
            Served::IndexPage,
            Served::Listing,
            Served::Car,
            Served::Block,
            Served::Tar,
            Served::Document,
            Served::Record,
        ];
        for (served, whole) in kinds.into_iter().flat_map(|served| [(served, true), (served, false)]) {
            let took = Duration::from_millis(70);
            daemon.runtime().metrics().gateway_served(served, "ipfs", whole, took);
        }
        // This daemon is offline, and has no Bitswap of its own.
        let mut figures = health::figures(&daemon.context).await.unwrap();
        figures.bitswap = Some(BitswapFigures::of(&holdfast_bitswap::Counters::default()));
        daemon.runtime().metrics().text(Some(figures), ProcessFigures::read())
    })
}

fn document(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn every_metric_of_a_scrape_is_documented_and_the_other_way_round() {
    let text = scrape_of_a_used_daemon();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let scraped: BTreeMap<&str, &str> = types.collect();
    let docs = document("docs/observability.md");
    let mut documented = BTreeMap::new();
    for line in docs.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let kind = cells.get(2).copied().unwrap_or_default();
        if ["counter", "gauge", "histogram", "summary"].contains(&kind) {
            documented.extend(cells[1].split(", ").map(|name| (name.trim_matches('`'), kind)));
        }
    }
    // This daemon is offline: it counts no peers, and takes part in no DHT.
    let of_network = ["libp2p_", "rpc_", "provider_", "holdfast_dht_", "holdfast_provide_"];
    documented.retain(|name, _| {
        !of_network.iter().any(|prefix| name.starts_with(prefix)) && !name.contains("p2p_")
    });
    assert_eq!(documented, scraped);
}

#[test]
fn every_subsystem_of_the_log_is_documented() {
    let docs = document("docs/observability.md");
    for subsystem in crate::observe::log::SUBSYSTEMS {
        let row = format!("| `{}` | {}", subsystem.name, subsystem.about);
        assert!(docs.contains(&row), "{row}");
        for alias in subsystem.aliases {
            assert!(docs.contains(&format!("`{alias}`")), "{alias}");
        }
    }
}

#[test]
fn every_metric_that_the_dashboard_asks_for_is_in_a_scrape() {
    let text = scrape_of_a_used_daemon();
    let scraped: Vec<&str> = text.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let dashboard: Value = serde_json::from_str(&document("contrib/grafana/holdfast.json")).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            for name in metric_names(target["expr"].as_str().unwrap()) {
                asked += 1;
                assert!(scraped.contains(&name), "{}: {name} is in no scrape:\n{text}", panel["title"]);
            }
        }
    }
    assert!(asked >= 20, "only {asked} metrics are asked for: are queries read rightly?");
}

/// The words of a query that look like metrics of ours.
fn metric_names(query: &str) -> Vec<&str> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| ["ipfs_", "holdfast_", "process_"].iter().any(|prefix| word.starts_with(prefix)))
        .collect()
}
