//! The background verification of a node that stays open: all blocks, once a period, slowly.

use std::time::{Duration, SystemTime};

use holdfast_blockstore::Store;

use super::{Stop, Worker};

/// How long a node is left alone after it was opened: many are closed before.
const FIRST_LOOK: Duration = Duration::from_secs(60);
/// How often it is looked whether it is time.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// When and how fast blocks are verified without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScrubPlan {
    /// `Datastore.ScrubPeriod`: from the beginning of one to that of the next.
    pub(crate) period: Duration,
    /// `Datastore.ScrubBytesPerSecond`.
    pub(crate) bytes_per_second_max: u64,
    /// When it is looked first.
    pub(crate) first_look: Duration,
}

impl ScrubPlan {
    /// What the config says; `None` for a period or a pace of zero, which mean "never".
    pub(crate) fn new(period: Duration, bytes_per_second_max: u64) -> Option<Self> {
        let wanted = !period.is_zero() && bytes_per_second_max > 0;
        wanted.then_some(Self { period, bytes_per_second_max, first_look: FIRST_LOOK })
    }

    /// Starts the thread that does it. It ends within a tenth of a second when it is dropped; the next one goes on.
    pub(crate) fn start(self, store: Store) -> Worker {
        Worker::start("verification", move |stop| run(&store, &self, stop))
    }
}

fn run(store: &Store, plan: &ScrubPlan, stop: &Stop) {
    let mut wait = plan.first_look;
    while !stop.wait(wait) {
        wait = LOOK_EVERY.min(plan.period);
        match is_due(store, plan) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(error) => {
                tracing::warn!("the background verification does not begin: {error}");
                continue;
            }
        }
        tracing::info!("verifying all blocks in the background");
        match store.scrub(plan.bytes_per_second_max, &mut || !stop.is_asked()) {
            Ok(Some(figures)) => tracing::info!(
                blocks = figures.blocks,
                damaged = figures.damaged,
                "all blocks were verified in the background"
            ),
            Ok(None) => return,
            Err(error) => tracing::warn!("the background verification goes on later: {error}"),
        }
    }
}

/// Whether one is under way, or the last began a period ago.
fn is_due(store: &Store, plan: &ScrubPlan) -> Result<bool, holdfast_blockstore::ReadError> {
    let state = store.scrub_state()?;
    let Some(last) = state.last.filter(|_| state.current.is_none()) else { return Ok(true) };
    let began = SystemTime::UNIX_EPOCH + Duration::from_millis(last.began_unix_ms);
    // A clock that was set back counts as if the period had passed.
    Ok(began.elapsed().map_or(true, |since| since >= plan.period))
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use holdfast_blockstore::StoreConfig;
    use holdfast_dag::block::Block;
    use holdfast_dag::cid::{CidBuilder, Version, codec};
    use holdfast_dag::hash::HashKind;

    use super::*;

    fn store(repo: &std::path::Path) -> Store {
        let config = StoreConfig { reserve_file_bytes: Some(0), ..StoreConfig::default() };
        Store::open(repo, config).unwrap()
    }

    fn fill(store: &Store) {
        let cids = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
        let writer = store.writer();
        for n in 0..40_u8 {
            let data = vec![n; 100_000];
            writer.put([Block::trusted(cids.cid_of(codec::RAW, &[&data]), data)]).unwrap();
        }
        writer.commit(&[]).unwrap();
    }

    fn plan(bytes_per_second_max: u64) -> ScrubPlan {
        ScrubPlan {
            first_look: Duration::ZERO,
            ..ScrubPlan::new(Duration::from_secs(3600), bytes_per_second_max).unwrap()
        }
    }

    #[test]
    fn everything_is_verified_once_a_period() {
        let repo = tempfile::tempdir().unwrap();
        let store = store(repo.path());
        fill(&store);
        let scrubber = plan(1 << 30).start(store.clone());
        let begin = Instant::now();
        while store.scrub_state().unwrap().last.is_none() {
            assert!(begin.elapsed() < Duration::from_secs(60), "the scrub does not come to its end");
            thread::sleep(Duration::from_millis(10));
        }
        drop(scrubber);
        let last = store.scrub_state().unwrap().last.unwrap();
        assert_eq!((last.blocks, last.damaged), (40, 0));
        assert!(!is_due(&store, &plan(1)).unwrap());
        let hasty = ScrubPlan { period: Duration::from_nanos(1), ..plan(1) };
        thread::sleep(Duration::from_millis(2));
        assert!(is_due(&store, &hasty).unwrap());
    }

    #[test]
    fn it_ends_at_once_however_slow_it_is() {
        let repo = tempfile::tempdir().unwrap();
        let store = store(repo.path());
        fill(&store);
        let scrubber = plan(1).start(store.clone());
        thread::sleep(Duration::from_millis(200));
        let begin = Instant::now();
        drop(scrubber);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert_eq!(store.scrub_state().unwrap().last, None);
    }

    #[test]
    fn a_period_or_a_pace_of_zero_means_never() {
        assert_eq!(ScrubPlan::new(Duration::ZERO, 1), None);
        assert_eq!(ScrubPlan::new(Duration::from_secs(1), 0), None);
    }
}
