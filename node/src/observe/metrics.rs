//! The metrics of one daemon, in one registry.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::gateway::GatewayCounters;
use super::recent::{LastMinute, Recent};
use super::snapshot::{NodeFigures, Snapshot};
use super::summary::Summary;
use super::{Logs, Outcome, ProcessFigures, text};

/// Upper bounds of the buckets for durations, in seconds: from a lookup in memory to a long upload.
const DURATION_BUCKETS: [f64; 16] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0];

/// Names and values of labels. Every value is from a fixed set, so that the number of series is bounded.
type Labels = Vec<(&'static str, String)>;

/// The metrics of one daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    began: Instant,
    recent: Mutex<Recent>,
    operations: Family<Labels, Counter>,
    operation_seconds: Family<Labels, Histogram, fn() -> Histogram>,
    requests_active: Gauge,
    http_requests: Family<Labels, Counter>,
    http_seconds: Family<Labels, Summary>,
    http_request_bytes: Family<Labels, Summary>,
    http_response_bytes: Family<Labels, Summary>,
    gateway: GatewayCounters,
    /// Its lock also keeps the snapshot of one scrape apart from that of another.
    registry: Mutex<Registry>,
    snapshot: Snapshot,
}

/// One HTTP exchange, after its end.
#[derive(Debug, Clone, Copy)]
pub struct HttpExchange<'a> {
    /// Which server: `api` or `gateway`.
    pub handler: &'static str,
    /// The method.
    pub method: &'a Method,
    /// The status of the answer.
    pub status: StatusCode,
    /// From the head of the request to the last byte of the answer.
    pub took: Duration,
    /// Bytes of the request's body that were read.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
}

fn duration_histogram() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

impl Metrics {
    pub(crate) fn new(logs: Logs) -> Self {
        let operation_seconds: Family<Labels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(duration_histogram);
        let mut inner = Inner {
            began: Instant::now(),
            recent: Mutex::default(),
            operations: Family::default(),
            operation_seconds,
            requests_active: Gauge::default(),
            http_requests: Family::default(),
            http_seconds: Family::default(),
            http_request_bytes: Family::default(),
            http_response_bytes: Family::default(),
            gateway: GatewayCounters::default(),
            registry: Mutex::default(),
            snapshot: Snapshot::new(logs),
        };
        inner.registry = Mutex::new(inner.register());
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn gateway(&self) -> &GatewayCounters {
        &self.inner.gateway
    }

    /// Notes an HTTP exchange, after its end.
    pub fn http_exchange(&self, exchange: &HttpExchange<'_>) {
        let handler = ("handler", exchange.handler.to_owned());
        let requests = vec![
            handler.clone(),
            ("method", method_label(exchange.method).to_owned()),
            ("code", exchange.status.as_str().to_owned()),
        ];
        self.inner.http_requests.get_or_create(&requests).inc();
        let labels = vec![handler];
        self.inner.http_seconds.get_or_create(&labels).observe(exchange.took.as_secs_f64());
        self.inner.http_request_bytes.get_or_create(&labels).observe(exchange.request_bytes as f64);
        self.inner.http_response_bytes.get_or_create(&labels).observe(exchange.response_bytes as f64);
    }

    pub(super) fn request_began(&self) {
        self.inner.requests_active.inc();
    }

    /// `command` is the words of a command of the registry, so that there are as many series as there are commands.
    pub(super) fn request_ended(&self, command: &str, outcome: Outcome, took: Duration) {
        self.inner.requests_active.dec();
        let operation = ("operation", command.to_owned());
        self.inner.operation_seconds.get_or_create(&vec![operation.clone()]).observe(took.as_secs_f64());
        let labels = vec![operation, ("status", outcome.label().to_owned())];
        self.inner.operations.get_or_create(&labels).inc();
        let mut recent = self.inner.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.note(self.inner.began.elapsed(), took);
    }

    /// The requests that ended in the last minute.
    pub(super) fn last_minute(&self) -> LastMinute {
        let recent = self.inner.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.last_minute(self.inner.began.elapsed())
    }

    /// How long it has been counted: the minute of [`Metrics::last_minute`] is shorter at the beginning.
    pub(super) fn age(&self) -> Duration {
        self.inner.began.elapsed()
    }

    /// Everything, in Prometheus's text format 0.0.4, with these figures of the node and the process.
    pub fn text(&self, node: Option<NodeFigures>, process: Option<ProcessFigures>) -> String {
        let registry = self.inner.registry.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.snapshot.set(node, process);
        text::write(&registry)
    }
}

impl Inner {
    /// A registry with all of them, in the order of their names as far as that goes.
    fn register(&self) -> Registry {
        let mut registry = Registry::default();
        let mut http = |name: &str, help: &str, metric: &Family<Labels, Summary>| {
            registry.register(name, help, metric.clone());
        };
        http("ipfs_http_request_duration_seconds", "Seconds that HTTP exchanges took", &self.http_seconds);
        http(
            "ipfs_http_request_size_bytes",
            "Bytes of the bodies of HTTP requests",
            &self.http_request_bytes,
        );
        http(
            "ipfs_http_response_size_bytes",
            "Bytes of the bodies of HTTP answers",
            &self.http_response_bytes,
        );
        registry.register(
            "ipfs_http_requests",
            "HTTP requests that were answered",
            self.http_requests.clone(),
        );
        registry.register(
            "ipfs_operation_duration_seconds",
            "Seconds from the beginning of a command to the end of its answer",
            self.operation_seconds.clone(),
        );
        registry.register("ipfs_operations", "Commands that ended", self.operations.clone());
        registry.register(
            "holdfast_requests_active",
            "Commands that are running",
            self.requests_active.clone(),
        );
        self.gateway.register(&mut registry);
        registry.register_collector(Box::new(self.snapshot.clone()));
        registry
    }
}

/// A method's name: one of a fixed set, as clients can send any word.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "POST" => "post",
        "HEAD" => "head",
        "OPTIONS" => "options",
        "PUT" => "put",
        "DELETE" => "delete",
        "PATCH" => "patch",
        _ => "unknown",
    }
}
