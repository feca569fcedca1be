//! Garbage is collected again and again, without a grace period, while eight writers add, pin, import and edit files that
//! share most of their blocks, unpin and remove them, and collect at once some of what they unpinned. Nothing that was
//! acknowledged ever misses a byte: each writer reads back what it did, at once and later, and at the end everything is
//! compared with a full walk.
//!
//! 2 minutes; 30 with `SOAK=1`; `GC_LOOP_SECONDS` for another time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../services/support.rs"]
#[expect(dead_code, reason = "a part of what the scenarios of services share")]
mod support;

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use holdfast::Node;
use holdfast::services::dag::{ExportOptions, ImportOptions};
use holdfast::services::gc::GcStep;
use holdfast::services::pins::{PinAddError, PinOptions, PinProgress};
use holdfast::services::unixfs::CatOptions;
use holdfast::services::unixfs::add::{AddEvent, AddOptions, DiskSource, Root, WalkOptions};
use holdfast_blockstore::GcOptions;
use holdfast_dag::cid::Cid;
use holdfast_dag::path::ContentPath;

use crate::support::{TestNode, get_file, mfs, noise, put_file};

const WRITERS: u64 = 8;
/// Contents that all writers use: what one unpins, another finds.
const SHARED: u64 = 12;
/// What a writer keeps at a time.
const KEPT: usize = 6;
/// Archives of each importer.
const ARCHIVES: u64 = 10;

fn shared(seed: u64) -> Vec<u8> {
    noise(200_000 + 90_000 * (seed % SHARED) as usize, seed % SHARED)
}

/// What the writers and the collector have in common.
struct Bed {
    test: TestNode,
    stop: AtomicBool,
    acknowledged: AtomicU64,
    /// Blocks that went with the pins that were removed.
    at_once: AtomicU64,
    /// Pins that were refused, because a collection had been faster.
    too_late: AtomicU64,
}

/// A folder of its own with a file that others have too.
struct Kept {
    root: Cid,
    seed: u64,
}

impl Bed {
    fn node(&self) -> &Node {
        &self.test.node
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn folder(&self, writer: u64, seed: u64) -> std::path::PathBuf {
        let name = format!("writer-{writer}");
        self.test.write(&format!("{name}/own"), format!("{writer} {seed}"));
        self.test.write(&format!("{name}/shared"), shared(seed));
        self.test.path(&name)
    }

    async fn check(&self, kept: &Kept) {
        let path = ContentPath::parse(&format!("/ipfs/{}/shared", kept.root)).unwrap();
        let file = self.node().unixfs().cat(&[path], CatOptions::default()).await.unwrap();
        let bytes = file.try_collect::<Vec<_>>().await.unwrap().concat();
        assert!(bytes == shared(kept.seed), "{} has other bytes", kept.root);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps it, looks at something kept before, and unpins what is oldest.
    async fn keep(&self, all: &mut VecDeque<Kept>, new: Kept) {
        self.check(&new).await;
        let before = new.seed as usize % (all.len() + 1);
        all.push_back(new);
        if let Some(kept) = all.get(before) {
            self.check(kept).await;
        }
        if all.len() > KEPT
            && let Some(old) = all.pop_front()
        {
            let unpinned = self.node().pins().remove(old.root, true).await.unwrap();
            // Every other one is collected at once, beside the full collections.
            if old.seed.is_multiple_of(2) {
                let report = self.node().pins().collect(&[unpinned]).await.unwrap();
                assert_eq!(report.unprovable, None);
                self.at_once.fetch_add(report.removed_blocks, Ordering::Relaxed);
            }
        }
    }
}

async fn add(node: &Node, path: std::path::PathBuf, pin: bool) -> Cid {
    let walk = WalkOptions { recursive: true, ..WalkOptions::default() };
    let source = DiskSource::new(vec![Root::Path(path)], walk).unwrap();
    let events = node.unixfs().add(source, AddOptions { pin, ..AddOptions::default() });
    let events: Vec<_> = events.try_collect().await.unwrap();
    let last = events.iter().rev().find_map(|event| match event {
        AddEvent::Added(added) => Some(added.cid),
        _ => None,
    });
    last.unwrap()
}

async fn adds(bed: Arc<Bed>, writer: u64) {
    let (mut kept, mut seed) = (VecDeque::new(), writer * 1_000_000);
    while bed.goes_on() {
        seed += 1;
        let root = add(bed.node(), bed.folder(writer, seed), true).await;
        bed.keep(&mut kept, Kept { root, seed }).await;
    }
}

async fn pins(bed: Arc<Bed>, writer: u64) {
    let (mut kept, mut seed) = (VecDeque::new(), writer * 1_000_000);
    while bed.goes_on() {
        seed += 1;
        let root = add(bed.node(), bed.folder(writer, seed), false).await;
        match bed.node().pins().add(root, PinOptions::default(), &PinProgress::default()).await {
            Ok(()) => bed.keep(&mut kept, Kept { root, seed }).await,
            Err(PinAddError::Incomplete(_)) => {
                bed.too_late.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn edits(bed: Arc<Bed>, writer: u64) {
    let (mut kept, mut seed): (VecDeque<u64>, _) = (VecDeque::new(), writer * 1_000_000);
    let path = |seed: u64| format!("/writer-{writer}/{seed}");
    while bed.goes_on() {
        seed += 1;
        put_file(bed.node(), &path(seed), &shared(seed)).await;
        kept.push_back(seed);
        let before = kept[seed as usize % kept.len()];
        assert!(get_file(bed.node(), &path(before)).await == shared(before), "{}", path(before));
        bed.acknowledged.fetch_add(1, Ordering::Relaxed);
        if kept.len() > KEPT {
            let old = mfs(&path(kept.pop_front().unwrap()));
            let outcomes = bed.node().files().remove(vec![old], false, false).await.unwrap();
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        }
    }
}

async fn imports(bed: Arc<Bed>, writer: u64) {
    let source = TestNode::new().await;
    let mut archives = Vec::new();
    for seed in 0..ARCHIVES {
        let seed = writer * 1_000_000 + seed;
        let root = add(&source.node, bed.folder(writer, seed), true).await;
        let car = source.node.dag().export(&root, ExportOptions::default()).await.unwrap();
        let car = car.try_collect::<Vec<_>>().await.unwrap().concat();
        archives.push((root, seed, car));
    }
    let (mut kept, mut round) = (VecDeque::new(), 0);
    while bed.goes_on() {
        let (root, seed, car) = &archives[round % archives.len()];
        round += 1;
        let archive: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(car.clone()));
        let import = bed.node().dag().import(std::iter::once(Ok(archive)), ImportOptions::default());
        let events: Vec<_> = import.try_collect().await.unwrap();
        assert!(!events.is_empty());
        bed.keep(&mut kept, Kept { root: *root, seed: *seed }).await;
    }
}

/// Collects until it is told to stop; says how often, what was removed, and the longest hold of any lock.
async fn collects(bed: Arc<Bed>) -> (u64, u64, Duration) {
    let (mut times, mut removed, mut longest) = (0, 0, Duration::ZERO);
    while bed.goes_on() {
        let steps: Vec<GcStep> = bed.node().repo_gc(GcOptions::default()).try_collect().await.unwrap();
        let Some(GcStep::Done(report)) = steps.last() else { panic!("a collection without an end") };
        assert_eq!(
            (report.broken_blocks, &report.unprovable),
            (0, &None),
            "a collection met something broken"
        );
        times += 1;
        removed += report.removed_blocks;
        longest = longest.max(report.longest_hold);
    }
    (times, removed, longest)
}

fn duration() -> Duration {
    let on = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty() && value != "0");
    let given = std::env::var("GC_LOOP_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(if on("SOAK") { 1800 } else { 120 }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_misses_a_block_while_garbage_is_collected() {
    let bed = Arc::new(Bed {
        test: TestNode::new().await,
        stop: AtomicBool::new(false),
        acknowledged: AtomicU64::new(0),
        at_once: AtomicU64::new(0),
        too_late: AtomicU64::new(0),
    });
    let collector = tokio::spawn(collects(Arc::clone(&bed)));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let bed = Arc::clone(&bed);
        match writer % 4 {
            0 => writers.spawn(adds(bed, writer)),
            1 => writers.spawn(pins(bed, writer)),
            2 => writers.spawn(edits(bed, writer)),
            _ => writers.spawn(imports(bed, writer)),
        };
    }
    let end = Instant::now() + duration();
    while Instant::now() < end && writers.len() == WRITERS as usize {
        tokio::select! {
            // None ends before it is told to: one that does has failed.
            ended = writers.join_next() => ended.unwrap().unwrap(),
            () = tokio::time::sleep_until(end.into()) => {}
        }
    }
    bed.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let (times, removed, longest) = collector.await.unwrap();
    let (acknowledged, too_late) = (&bed.acknowledged, &bed.too_late);
    eprintln!(
        "gc_loop: {times} collections removed {removed} blocks, and {} went with their pins, beside {} acknowledged and read \
         operations; {} pins came too late; longest hold {longest:?}",
        bed.at_once.load(Ordering::Relaxed),
        acknowledged.load(Ordering::Relaxed),
        too_late.load(Ordering::Relaxed)
    );
    assert!(times > 1 && removed > 0 && acknowledged.load(Ordering::Relaxed) > WRITERS);
    let verified: Vec<_> = bed.node().pins().verify().try_collect().await.unwrap();
    assert!(!verified.is_empty());
    for pin in verified {
        assert!(pin.bad_nodes.is_empty(), "{}: {:?}", pin.cid, pin.bad_nodes.len());
    }
    let differences = bed.node().store().check().unwrap();
    assert!(differences.is_empty(), "{differences:?}");
}
