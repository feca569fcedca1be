//! Garbage: collected on request, and by a node that is open and fills up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use holdfast::config::Config;
use holdfast::repo_init::InitParams;
use holdfast::services::blocks::BlockPutOptions;
use holdfast::services::files::WriteOptions;
use holdfast::services::gc::GcStep;
use holdfast::services::unixfs::add::AddOptions;
use holdfast::{Node, node};
use holdfast_blockstore::GcOptions;
use serde_json::json;

use crate::support::{TestNode, get_file, mfs, names, noise, put_file};

#[tokio::test]
async fn what_is_not_pinned_is_collected_on_request() {
    let test = TestNode::new().await;
    let kept = test.write("kept", noise(900_000, 1));
    let loose = test.write("loose", noise(900_000, 2));
    let kept = test.add(&kept, AddOptions::default()).await[0].cid;
    test.add(&loose, AddOptions { pin: false, ..AddOptions::default() }).await;
    let before = test.node.repo_stat().await.unwrap();
    let steps: Vec<GcStep> = test.node.repo_gc(GcOptions::default()).try_collect().await.unwrap();
    let removed = steps.iter().filter(|step| matches!(step, GcStep::Removed { .. })).count() as u64;
    let Some(GcStep::Done(report)) = steps.last() else { panic!("{steps:?}") };
    assert_eq!((removed, report.removed_blocks), (5, 5));
    let after = test.node.repo_stat().await.unwrap();
    assert_eq!(after.blocks, before.blocks - 5);
    assert_eq!(test.cat(kept, holdfast::services::unixfs::CatOptions::default()).await, noise(900_000, 1));
}

/// The root before is kept for the case that the root is damaged; a collection asked for takes what only that one holds.
#[tokio::test]
async fn what_was_removed_from_files_is_collected_on_request() {
    let test = TestNode::new().await;
    put_file(&test.node, "/kept", &noise(300_000, 1)).await;
    put_file(&test.node, "/gone", &noise(300_000, 2)).await;
    let removed = test.node.files().resolve(mfs("/gone")).await.unwrap();
    test.node.files().remove(vec![mfs("/gone")], false, false).await.unwrap().remove(0).unwrap();
    let root = test.node.files().resolve(mfs("/")).await.unwrap();
    let dry = GcOptions { dry_run: true, ..GcOptions::default() };
    let _: Vec<GcStep> = test.node.repo_gc(dry).try_collect().await.unwrap();
    assert!(test.node.store().has(removed.hash()).unwrap());
    let _: Vec<GcStep> = test.node.repo_gc(GcOptions::default()).try_collect().await.unwrap();
    assert!(!test.node.store().has(removed.hash()).unwrap());
    let roots = test.node.files().recorded().await.unwrap();
    assert_eq!((roots.current, roots.previous), (Some(root), Some(root)));
    assert_eq!(get_file(&test.node, "/kept").await, noise(300_000, 1));
}

/// Collections run one after the other, sparing nothing by its age, while files are written that nobody flushes, and
/// while adds that pin nothing are linked into files. All of it is there in the end, and what nobody keeps went.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn collections_keep_unflushed_files_and_what_is_added_to_files() {
    const ROUNDS: u64 = 40;
    let test = Arc::new(TestNode::new().await);
    let stop = Arc::new(AtomicBool::new(false));
    let collector = tokio::spawn({
        let (test, stop) = (Arc::clone(&test), Arc::clone(&stop));
        async move {
            let (mut times, mut removed) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let steps: Vec<GcStep> = test.node.repo_gc(GcOptions::default()).try_collect().await.unwrap();
                let Some(GcStep::Done(report)) = steps.last() else { panic!("{steps:?}") };
                assert_eq!(report.unprovable, None);
                times += 1;
                removed += report.removed_blocks;
            }
            (times, removed)
        }
    });
    let unflushed = WriteOptions { create: true, parents: true, unflushed: true, ..WriteOptions::default() };
    for round in 0..ROUNDS {
        let content = std::io::Cursor::new(noise(300_000, round));
        test.node.files().write(mfs(&format!("/unflushed/{round}")), unflushed, content).await.unwrap();
        let added = test.write(&format!("added-{round}"), noise(300_000, 1000 + round));
        let to_files = Some(format!("/added-{round}"));
        test.add(&added, AddOptions { pin: false, to_files, ..AddOptions::default() }).await;
        let loose = test.write("loose", noise(300_000, 2000 + round));
        test.add(&loose, AddOptions { pin: false, ..AddOptions::default() }).await;
        let before = round / 2;
        assert!(get_file(&test.node, &format!("/unflushed/{before}")).await == noise(300_000, before));
        assert!(get_file(&test.node, &format!("/added-{before}")).await == noise(300_000, 1000 + before));
    }
    // The last change is one that nothing has flushed, and collections come after it.
    put_file(&test.node, "/flushed", b"flushed").await;
    test.node.files().write(mfs("/last"), unflushed, std::io::Cursor::new(noise(300_000, 9))).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let (times, removed) = collector.await.unwrap();
    let steps: Vec<GcStep> = test.node.repo_gc(GcOptions::default()).try_collect().await.unwrap();
    assert!(matches!(steps.last(), Some(GcStep::Done(_))));
    assert!(times > 1 && removed > 0, "{times} collections removed {removed}");
    assert_eq!(names(&test.node, "/").await.len() as u64, ROUNDS + 3);
    assert!(get_file(&test.node, "/last").await == noise(300_000, 9));
    for round in 0..ROUNDS {
        assert!(get_file(&test.node, &format!("/unflushed/{round}")).await == noise(300_000, round));
        assert!(get_file(&test.node, &format!("/added-{round}")).await == noise(300_000, 1000 + round));
    }
    test.node.files().flush(mfs("/")).await.unwrap();
    assert_eq!(test.node.store().check().unwrap(), Vec::<String>::new());
}

/// A node with a limit, whose collections spare nothing.
async fn limited(folder: &std::path::Path, storage_max: &str) -> Node {
    let repo = folder.join("repo");
    let params = InitParams { repo: repo.clone(), profiles: "test".to_owned(), ..InitParams::default() };
    node::init(&params, &mut |_| {}).unwrap();
    let mut config = Config::load(&repo.join("config")).unwrap();
    config.set("Datastore.StorageMax", json!(storage_max)).unwrap();
    Node::builder().repo(repo).config(config).grace(Duration::ZERO).open().await.unwrap()
}

async fn put(node: &Node, seed: u64, pin: bool) -> Result<(), String> {
    let block = bytes::Bytes::from(noise(1 << 20, seed));
    let options = BlockPutOptions { pin, ..BlockPutOptions::default() };
    node.blocks().put(block, options).await.map(drop).map_err(|error| error.to_string())
}

/// The repo passes 90 per cent of its limit with what nobody pins. Nobody asks for anything: some seconds later there is
/// room again. Closing does not wait for the next look.
#[tokio::test]
async fn a_node_that_fills_up_collects_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let node = limited(folder.path(), "60MB").await;
    for seed in 0..10 {
        put(&node, seed, true).await.unwrap();
    }
    let mut seed = 10;
    while node.store().used_bytes() < 54_000_000 {
        put(&node, seed, false).await.unwrap();
        seed += 1;
    }
    let begin = Instant::now();
    while node.repo_stat().await.unwrap().blocks > 10 {
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing was collected");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(node.repo_stat().await.unwrap().blocks, 10, "what is pinned stays");
    let begin = Instant::now();
    node.close().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

/// More is added than the limit allows, quicker than anyone looks: each add that meets the limit makes room itself. Once
/// everything is pinned, adds are refused with a sentence that says so.
#[tokio::test]
async fn the_limit_holds_and_says_what_helps() {
    let folder = tempfile::tempdir().unwrap();
    let node = limited(folder.path(), "40MB").await;
    for seed in 0..60 {
        put(&node, seed, false)
            .await
            .unwrap_or_else(|error| assert!(error.contains("storage limit"), "{error}"));
        assert!(node.repo_stat().await.unwrap().repo_size < 48_000_000);
    }
    let mut refused = None;
    for seed in 100..160 {
        if let Err(error) = put(&node, seed, true).await {
            refused = Some(error);
            break;
        }
    }
    let refused = refused.expect("60 MB do not fit into 40");
    for word in ["storage limit reached", "40000000 bytes", "repo gc", "Datastore.StorageMax"] {
        assert!(refused.contains(word), "{refused}");
    }
    node.close().await.unwrap();
}
