//! What the gateway counts, under Kubo's names.

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

/// Names and values of labels: statuses and yes or no, so that the number of series is bounded.
type Labels = Vec<(&'static str, String)>;

/// Counters of all requests to the gateway.
#[derive(Debug, Default)]
pub(super) struct GatewayCounters {
    concurrent: Gauge,
    responses: Family<Labels, Counter>,
    timeouts: Family<Labels, Counter>,
}

impl GatewayCounters {
    pub(super) fn register(&self, registry: &mut Registry) {
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

    /// Content did not come in time; `truncated` says that its answer had begun.
    pub(crate) fn gateway_timed_out(&self, status: StatusCode, truncated: bool) {
        let labels = vec![("code", status.as_str().to_owned()), ("truncated", truncated.to_string())];
        self.gateway().timeouts.get_or_create(&labels).inc();
    }
}
