//! A node that stays open collects garbage when its repo fills up.
//!
//! Kubo does this only in a daemon that was started with `--enable-gc`, and its limit is a hint. Here the limit holds (the
//! store refuses adds beyond it), so that making room in time is part of it.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use holdfast_blockstore::{GRACE, GcOptions, Store};

use super::{Stop, Worker};

/// How often the size of the repo is looked at, which costs nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Where a collection did not bring the repo below its watermark, growth by this part of the limit starts the next one
/// before its time.
const GROWTH_PART: u64 = 20;

/// When garbage is collected without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoGc {
    /// `Datastore.StorageMax`, in bytes.
    pub bytes_max: u64,
    /// `Datastore.StorageGCWatermark`: per cent of the limit from which on there is something to do.
    pub watermark_percent: u64,
    /// `Datastore.GCPeriod`: as long as the repo stays above the watermark, garbage is collected this often.
    pub period: Duration,
    /// How long blocks are spared after they were written. Default: [`GRACE`].
    pub grace: Duration,
}

impl AutoGc {
    /// What the config says; `None` where there is no limit, or a period of zero, which is Kubo's word for "never".
    pub fn new(bytes_max: Option<u64>, watermark_percent: u64, period: Duration) -> Option<Self> {
        let bytes_max = bytes_max.filter(|_| !period.is_zero())?;
        let watermark_percent = watermark_percent.clamp(1, 100);
        Some(Self { bytes_max, watermark_percent, period, grace: GRACE })
    }

    /// Starts the thread that does it. A collection that runs stops when it is dropped.
    pub(crate) fn start(self, store: Store) -> Worker {
        Worker::start("garbage collection", move |stop| run(&store, &self, stop))
    }

    fn watermark_bytes(&self) -> u64 {
        (u128::from(self.bytes_max) * u128::from(self.watermark_percent) / 100) as u64
    }

    /// Whether it is time.
    fn is_due(&self, used_bytes: u64, last: Option<Last>) -> bool {
        used_bytes >= self.watermark_bytes()
            && last.is_none_or(|last| {
                last.at.elapsed() >= self.period
                    || used_bytes >= last.used_bytes.saturating_add(self.bytes_max / GROWTH_PART)
            })
    }
}

/// The last collection: when it ended, and what the repo took then.
#[derive(Debug, Clone, Copy)]
struct Last {
    at: Instant,
    used_bytes: u64,
}

fn run(store: &Store, gc: &AutoGc, stop: &Stop) {
    let mut last = None;
    // A look at once: the repo may have been full when it was opened.
    loop {
        if gc.is_due(store.used_bytes(), last) {
            collect(store, gc, stop);
            last = Some(Last { at: Instant::now(), used_bytes: store.used_bytes() });
        }
        if stop.wait(LOOK_EVERY.min(gc.period)) {
            return;
        }
    }
}

fn collect(store: &Store, gc: &AutoGc, stop: &Stop) {
    let (used, watermark) = (store.used_bytes(), gc.watermark_bytes());
    tracing::info!(used_bytes = used, watermark_bytes = watermark, "collecting garbage");
    let options = GcOptions { grace: gc.grace, ..GcOptions::default() };
    let collected = store.collect(&options, &mut |_| {
        if stop.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match collected {
        Ok(report) => {
            tracing::info!(
                removed_blocks = report.removed_blocks,
                removed_bytes = report.removed_bytes,
                rewritten_bytes = report.compaction.rewritten_bytes,
                longest_hold_ms = report.longest_hold.as_millis() as u64,
                used_bytes = store.used_bytes(),
                "garbage was collected"
            );
            if let Some(unprovable) = report.unprovable {
                tracing::error!("{unprovable}");
            } else if store.used_bytes() >= watermark {
                tracing::warn!(
                    young_bytes = report.young_bytes,
                    "the repo is still above its watermark: what is left is pinned, in files, in use or young"
                );
            }
        }
        Err(_) if stop.is_asked() => {}
        Err(error) => tracing::warn!("garbage could not be collected: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GC: AutoGc =
        AutoGc { bytes_max: 1000, watermark_percent: 90, period: Duration::from_secs(3600), grace: GRACE };

    #[test]
    fn the_watermark_decides_and_then_period_or_growth() {
        assert!(!GC.is_due(899, None));
        assert!(GC.is_due(900, None));
        let last = Some(Last { at: Instant::now(), used_bytes: 920 });
        assert!(!GC.is_due(920, last), "it has just been tried");
        assert!(GC.is_due(970, last), "but there is more now");
        let hourly = AutoGc { period: Duration::ZERO, ..GC };
        assert!(hourly.is_due(920, last), "and some time later it is tried again");
    }

    #[test]
    fn a_period_of_zero_means_never() {
        assert_eq!(AutoGc::new(Some(1000), 90, Duration::ZERO), None);
        assert_eq!(AutoGc::new(None, 90, Duration::from_secs(1)), None);
        assert_eq!(AutoGc::new(Some(1000), 90, GC.period), Some(GC));
    }
}
