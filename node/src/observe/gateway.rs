//! What the gateway counts, under Kubo's names.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Metrics;

/// Names and values of labels: statuses and yes or no, so that the number of series is bounded.
type Labels = Vec<(&'static str, String)>;

/// Upper bounds of the buckets for durations, in seconds, as boxo has them.
const DURATION_BUCKETS: [f64; 15] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0];

/// What an answer of the gateway serves: its duration is counted under Kubo's name for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// A file or symbolic link.
    File,
    /// The page of a directory, which is a file too.
    IndexPage,
    /// A listing of a directory.
    Listing,
    /// A CAR.
    Car,
    /// A block.
    Block,
    /// A tar archive.
    Tar,
    /// A document of JSON or CBOR.
    Document,
    /// A record of a name.
    Record,
}

impl Served {
    /// Where answers that went out whole are counted, beside all of them together.
    fn whole(self) -> &'static [&'static str] {
        match self {
            Self::File => &[FILE],
            Self::IndexPage => &[FILE, INDEX_PAGE],
            Self::Listing => &[LISTING],
            Self::Car => &[CAR],
            Self::Block => &[BLOCK],
            Self::Tar => &[TAR],
            Self::Document => &[DOCUMENT],
            Self::Record => &[RECORD],
        }
    }

    /// Where those that broke off are.
    fn broken_off(self) -> Option<&'static str> {
        match self {
            Self::Car => Some(CAR_FAILED),
            Self::Tar => Some(TAR_FAILED),
            _ => None,
        }
    }
}

const ALL: &str = "ipfs_http_gw_get_duration_seconds";
const FILE: &str = "ipfs_http_gw_unixfs_file_get_duration_seconds";
const INDEX_PAGE: &str = "ipfs_http_gw_unixfs_dir_indexhtml_get_duration_seconds";
const LISTING: &str = "ipfs_http_gw_unixfs_gen_dir_listing_get_duration_seconds";
const CAR: &str = "ipfs_http_gw_car_stream_get_duration_seconds";
const CAR_FAILED: &str = "ipfs_http_gw_car_stream_fail_duration_seconds";
const BLOCK: &str = "ipfs_http_gw_raw_block_get_duration_seconds";
const TAR: &str = "ipfs_http_gw_tar_stream_get_duration_seconds";
const TAR_FAILED: &str = "ipfs_http_gw_tar_stream_fail_duration_seconds";
const DOCUMENT: &str = "ipfs_http_gw_jsoncbor_get_duration_seconds";
const RECORD: &str = "ipfs_http_gw_ipns_record_get_duration_seconds";

/// Names of histograms, and what they hold.
const DURATIONS: [(&str, &str); 11] = [
    (ALL, "Seconds that answers of the gateway took, of any kind, to their last byte"),
    (FILE, "Seconds that the gateway took to serve whole files"),
    (INDEX_PAGE, "Seconds that the gateway took to serve a directory's index.html"),
    (LISTING, "Seconds that the gateway took to serve a listing"),
    (CAR, "Seconds that the gateway took to serve a whole CAR"),
    (CAR_FAILED, "Seconds that the gateway served a CAR before it broke off"),
    (BLOCK, "Seconds that the gateway took to serve a block"),
    (TAR, "Seconds that the gateway took to serve a whole tar archive"),
    (TAR_FAILED, "Seconds that the gateway served a tar archive before it broke off"),
    (DOCUMENT, "Seconds that the gateway took to serve a document of JSON or CBOR"),
    (RECORD, "Seconds that the gateway took to serve a record of a name"),
];

type Durations = Family<Labels, Histogram, fn() -> Histogram>;

fn histogram() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

/// Counters of all requests to the gateway.
#[derive(Debug)]
pub(super) struct GatewayCounters {
    concurrent: Gauge,
    responses: Family<Labels, Counter>,
    timeouts: Family<Labels, Counter>,
    /// In the order of [`DURATIONS`].
    durations: [Durations; DURATIONS.len()],
}

impl Default for GatewayCounters {
    fn default() -> Self {
        Self {
            concurrent: Gauge::default(),
            responses: Family::default(),
            timeouts: Family::default(),
            durations: std::array::from_fn(|_| Durations::new_with_constructor(histogram)),
        }
    }
}

impl GatewayCounters {
    fn took(&self, name: &str, namespace: &'static str, time: Duration) {
        let labels = vec![("gateway", namespace.to_owned())];
        let mut all = DURATIONS.iter().zip(&self.durations);
        if let Some((_, durations)) = all.find(|((own, _), _)| *own == name) {
            durations.get_or_create(&labels).observe(time.as_secs_f64());
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        for ((name, help), durations) in DURATIONS.iter().zip(&self.durations) {
            registry.register(*name, *help, durations.clone());
        }
        registry.register(
            "ipfs_http_gw_concurrent_requests",
            "Requests to the gateway that are being answered",
            self.concurrent.clone(),
        );
        registry.register(
            "ipfs_http_gw_responses",
            "Answers of the gateway, by status",
            self.responses.clone(),
        );
        registry.register(
            "ipfs_http_gw_retrieval_timeouts",
            "Requests to the gateway whose content did not come in time",
            self.timeouts.clone(),
        );
    }
}

impl Metrics {
    /// A request to the gateway has found room.
    pub(crate) fn gateway_began(&self) {
        self.gateway().concurrent.inc();
    }

    /// It is over, with the last byte of its answer.
    pub(crate) fn gateway_ended(&self) {
        self.gateway().concurrent.dec();
    }

    /// A request to the gateway has its head.
    pub(crate) fn gateway_answered(&self, status: StatusCode) {
        let labels = vec![("code", status.as_str().to_owned())];
        self.gateway().responses.get_or_create(&labels).inc();
    }

    /// An answer has gone out, whole or not; `namespace` is `ipfs` or `ipns`.
    pub(crate) fn gateway_served(
        &self,
        served: Served,
        namespace: &'static str,
        whole: bool,
        took: Duration,
    ) {
        if whole {
            for name in std::iter::once(&ALL).chain(served.whole()) {
                self.gateway().took(name, namespace, took);
            }
        } else if let Some(name) = served.broken_off() {
            self.gateway().took(name, namespace, took);
        }
    }

    /// Content did not come in time; `truncated` says that its answer had begun.
    pub(crate) fn gateway_timed_out(&self, status: StatusCode, truncated: bool) {
        let labels = vec![("code", status.as_str().to_owned()), ("truncated", truncated.to_string())];
        self.gateway().timeouts.get_or_create(&labels).inc();
    }
}
