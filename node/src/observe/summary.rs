//! A metric of Prometheus that the registry's crate does not have: sum and count without buckets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Sum and count of what was observed: a summary without quantiles, as Kubo's HTTP figures are with theirs left out.
///
/// It registers as a histogram without buckets, which the text writer shows as a summary.
#[derive(Debug, Clone, Default)]
pub(super) struct Summary {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    count: AtomicU64,
    /// The bits of a floating point number.
    sum: AtomicU64,
}

impl Summary {
    pub(super) fn observe(&self, value: f64) {
        self.inner.count.fetch_add(1, Ordering::Relaxed);
        let add = |bits: u64| Some((f64::from_bits(bits) + value).to_bits());
        // It always gives a next value, so it cannot fail.
        let _ = self.inner.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

impl TypedMetric for Summary {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Summary {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let sum = f64::from_bits(self.inner.sum.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, self.inner.count.load(Ordering::Relaxed), &[], None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
