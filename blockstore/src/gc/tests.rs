//! Nodes whose links are lost: rows are taken away from the index, which no caller can do.

use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, CidBuilder, Version, codec};
use holdfast_dag::hash::HashKind;
use holdfast_dag::pb::{PbLinkRef, PbNodeRef, encode};
use rocksdb::WriteBatch;

use super::sweep::{Run, Swept};
use super::{GcEvent, GcOptions, GcReport, Unprovable};
use crate::rows::{family, files_key, links_key, pin_key};
use crate::{Change, Pin, PinKind, Store, StoreConfig};

const V1: CidBuilder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };

fn leaf(name: &str) -> Block {
    let data = name.repeat(50).into_bytes();
    Block::trusted(V1.cid_of(codec::RAW, &[&data]), data)
}

fn node(children: &[&Block]) -> Block {
    let link = |block: &&Block| PbLinkRef { cid: block.cid, name: Some(b""), tsize: Some(1) };
    let data = encode(&PbNodeRef { links: children.iter().map(link).collect(), data: Some(b"node") });
    Block::trusted(V1.cid_of(codec::DAG_PB, &[&data]), data)
}

/// A root over two inner nodes of two leaves each, and a block that nothing holds.
struct Scene {
    repo: tempfile::TempDir,
    store: Store,
    root: Block,
    inner: [Block; 2],
    leaves: [Block; 4],
    garbage: Block,
}

impl Scene {
    fn new(root: impl FnOnce(Cid) -> Change) -> Self {
        let repo = tempfile::tempdir().unwrap();
        let config = StoreConfig { memory_bytes_max: 16 << 20, ..StoreConfig::default() };
        let store = Store::open(repo.path(), config).unwrap();
        let leaves = ["a", "b", "c", "d"].map(leaf);
        let inner = [node(&[&leaves[0], &leaves[1]]), node(&[&leaves[2], &leaves[3]])];
        let top = node(&[&inner[0], &inner[1]]);
        let garbage = leaf("garbage");
        let writer = store.writer();
        writer.put(leaves.iter().chain(&inner).chain([&top, &garbage]).cloned().collect::<Vec<_>>()).unwrap();
        writer.commit(&[root(top.cid)]).unwrap();
        Self { repo, store, root: top, inner, leaves, garbage }
    }

    fn pinned() -> Self {
        Self::new(|cid| Pin::new(cid, PinKind::Recursive, "").into())
    }

    fn has(&self, block: &Block) -> bool {
        self.store.inner().locate(&block.cid.hash().to_bytes()).unwrap().is_some()
    }

    fn write(&self, change: impl FnOnce(&crate::index::Index, &mut WriteBatch)) {
        let index = self.store.inner().index.get().unwrap();
        let mut batch = WriteBatch::default();
        change(&index, &mut batch);
        index.write(batch, true).unwrap();
    }

    fn lose_links(&self, block: &Block) {
        self.write(|index, batch| {
            let key = links_key(&block.cid.hash().to_bytes(), block.cid.codec());
            batch.delete_cf(index.family(family::LINKS), key);
        });
    }

    fn lose_rlinks(&self, parent: &Block) {
        let all = self.store.inner().index.get().unwrap().all(family::RLINKS, &[]).unwrap();
        let end = links_key(&parent.cid.hash().to_bytes(), parent.cid.codec());
        self.write(|index, batch| {
            for (key, _) in all.iter().filter(|(key, _)| key.ends_with(&end)) {
                batch.delete_cf(index.family(family::RLINKS), key);
            }
        });
    }

    /// Takes the block's row away, as an index does that lost a part.
    fn lose_block(&self, block: &Block) {
        self.write(|index, batch| batch.delete_cf(index.family(family::META), block.cid.hash().to_bytes()));
    }

    /// Overwrites some of its stored bytes.
    fn damage(&self, block: &Block) {
        let place = self.store.inner().locate(&block.cid.hash().to_bytes()).unwrap().unwrap();
        let path = self.store.inner().segments.file_path(place.segment);
        assert!(path.starts_with(self.repo.path() as &Path));
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[0xEE; 8], place.data_offset(block.cid.hash().to_bytes().len())).unwrap();
        assert!(self.store.get(&block.cid).is_err());
    }

    fn collect(&self) -> (GcReport, Vec<(Cid, Cid)>) {
        let mut broken = Vec::new();
        let report = self.store.collect(&GcOptions::default(), &mut |event| {
            if let GcEvent::Broken(block) = event {
                broken.push((block.cid, block.root));
            }
            ControlFlow::Continue(())
        });
        (report.unwrap(), broken)
    }

    fn all_but_garbage(&self) -> impl Iterator<Item = &Block> {
        self.leaves.iter().chain(&self.inner).chain([&self.root])
    }
}

#[test]
fn what_was_committed_and_collected_is_counted() {
    let scene = Scene::pinned();
    let before = scene.store.tally();
    assert_eq!((before.commits, before.collections), (1, 0), "{before:?}");
    let (report, _) = scene.collect();
    let after = scene.store.tally();
    assert_eq!((after.collections, after.collected_blocks), (1, 1), "{after:?}");
    assert_eq!(after.collected_bytes, report.removed_bytes);
    assert!(after.rounds >= before.rounds && before.rounds > 0, "{before:?} {after:?}");
    let dry = GcOptions { dry_run: true, ..GcOptions::default() };
    scene.store.collect(&dry, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(scene.store.tally().collections, 1, "nothing was collected");
}

#[test]
fn a_damaged_node_with_its_links_row_loses_nothing() {
    let scene = Scene::pinned();
    scene.damage(&scene.inner[0]);
    let (report, broken) = scene.collect();
    assert_eq!(broken, [(scene.inner[0].cid, scene.root.cid)], "it is named, with the pin");
    assert_eq!((report.removed_blocks, report.unprovable), (1, None));
    assert!(scene.all_but_garbage().all(|block| scene.has(block)) && !scene.has(&scene.garbage));
}

#[test]
fn a_damaged_node_without_its_links_row_is_known_to_its_children() {
    let scene = Scene::pinned();
    scene.damage(&scene.inner[0]);
    scene.lose_links(&scene.inner[0]);
    let (report, broken) = scene.collect();
    assert!(broken.iter().all(|named| *named == (scene.inner[0].cid, scene.root.cid)) && !broken.is_empty());
    assert_eq!((report.removed_blocks, report.unprovable), (1, None));
    assert!(scene.all_but_garbage().all(|block| scene.has(block)) && !scene.has(&scene.garbage));
}

/// The root is lost, and what is found below it by `rlinks` is lost in its turn.
#[test]
fn lost_nodes_below_lost_nodes_are_found_one_after_the_other() {
    let scene = Scene::pinned();
    for block in [&scene.root, &scene.inner[1]] {
        scene.damage(block);
        scene.lose_links(block);
    }
    let (report, _) = scene.collect();
    assert_eq!((report.removed_blocks, report.unprovable), (1, None));
    assert!(scene.all_but_garbage().all(|block| scene.has(block)));
}

#[test]
fn a_missing_node_that_its_children_know_keeps_them() {
    let scene = Scene::pinned();
    scene.lose_block(&scene.inner[0]);
    scene.lose_links(&scene.inner[0]);
    let (report, broken) = scene.collect();
    assert_eq!(broken, [(scene.inner[0].cid, scene.root.cid)]);
    assert_eq!((report.removed_blocks, report.unprovable), (1, None));
    assert!(scene.leaves.iter().all(|block| scene.has(block)));
}

/// Nothing tells what the node linked to: any block might be a child of it, so none goes. Once it is put again, or
/// unpinned, collections go on.
#[test]
fn where_everything_about_a_node_is_lost_nothing_is_removed() {
    for damaged in [true, false] {
        let scene = Scene::pinned();
        if damaged {
            scene.damage(&scene.inner[0]);
        } else {
            scene.lose_block(&scene.inner[0]);
        }
        scene.lose_links(&scene.inner[0]);
        scene.lose_rlinks(&scene.inner[0]);
        let (report, _) = scene.collect();
        let (cid, root) = (Box::new(scene.inner[0].cid), Box::new(scene.root.cid));
        assert_eq!(report.unprovable, Some(Unprovable::Node { cid, root }));
        assert_eq!(report.removed_blocks, 0);
        assert!(scene.has(&scene.garbage) && scene.leaves.iter().all(|block| scene.has(block)));
        let text = report.unprovable.unwrap().to_string();
        assert!(
            text.contains(&scene.inner[0].cid.to_string()) && text.contains(&scene.root.cid.to_string()),
            "{text}"
        );

        let writer = scene.store.writer();
        writer.put([scene.inner[0].clone()]).unwrap();
        writer.commit(&[]).unwrap();
        let (report, _) = scene.collect();
        assert_eq!((report.removed_blocks, report.unprovable), (1, None));
        assert!(scene.all_but_garbage().all(|block| scene.has(block)));
    }
}

#[test]
fn unpinning_what_is_broken_lets_collections_go_on() {
    let scene = Scene::pinned();
    scene.damage(&scene.inner[0]);
    scene.lose_links(&scene.inner[0]);
    scene.lose_rlinks(&scene.inner[0]);
    assert_eq!(scene.collect().0.removed_blocks, 0);
    scene.store.writer().commit(&[Change::Unpin { cid: scene.root.cid, kind: PinKind::Recursive }]).unwrap();
    assert_eq!(scene.collect().0.removed_blocks, 8);
}

/// Under the files root what is missing was never promised; what is there and cannot be read was.
#[test]
fn under_the_files_root_a_missing_node_is_no_fault_and_a_damaged_one_is() {
    let scene = Scene::new(Change::FilesRoot);
    scene.lose_block(&scene.inner[0]);
    scene.lose_links(&scene.inner[0]);
    let (report, broken) = scene.collect();
    assert_eq!((report.removed_blocks, report.unprovable, broken.len()), (3, None, 0));

    let scene = Scene::new(Change::FilesRoot);
    scene.damage(&scene.inner[0]);
    scene.lose_links(&scene.inner[0]);
    let (report, _) = scene.collect();
    assert_eq!((report.removed_blocks, report.unprovable), (1, None));
    assert!(scene.all_but_garbage().all(|block| scene.has(block)), "its children know it");
}

#[test]
fn a_damaged_record_of_a_root_stops_every_removal() {
    let scene = Scene::new(Change::FilesRoot);
    scene.write(|index, batch| batch.put_cf(index.family(family::FILES), files_key::ROOT, b"nonsense"));
    let (report, _) = scene.collect();
    assert!(matches!(report.unprovable, Some(Unprovable::FilesRoot(_))));
    assert_eq!(report.removed_blocks, 0);
    let unpinned =
        scene.store.collect_unpinned(&[scene.root.cid], &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(unpinned.removed_blocks, 0);
    scene.store.writer().commit(&[Change::FilesRoot(scene.root.cid)]).unwrap();
    assert_eq!(scene.collect().0.removed_blocks, 1);

    let mut bad = pin_key(PinKind::Recursive, &scene.root.cid);
    bad.truncate(20);
    scene.write(|index, batch| batch.put_cf(index.family(family::PINS), &bad, b"x"));
    assert_eq!(scene.collect().0.unprovable, Some(Unprovable::Pin));
}

/// Between the last look at the new roots and the locks of a chunk, one of its blocks is pinned, and its writer ends. Nothing
/// protects the block any more but the log, which is looked at again under the locks.
#[test]
fn a_root_that_comes_in_the_last_moment_stops_the_chunk() {
    for walk_here in [false, true] {
        let scene = Scene::new(|cid| Pin::new(cid, PinKind::Direct, "").into());
        let (options, mut quiet) = (GcOptions::default(), |_: GcEvent<'_>| ControlFlow::Continue(()));
        let mut run = Run::begin(scene.store.inner(), &options, &mut quiet).unwrap();
        run.mark().unwrap();
        let rows = scene.store.inner().index.get().unwrap().page(family::META, &[], &[], 100).unwrap();
        let chunk = run.candidates(&rows);
        assert_eq!(chunk.len(), 7, "all but the root, which is pinned alone");
        scene.store.writer().commit(&[Pin::new(scene.inner[0].cid, PinKind::Recursive, "").into()]).unwrap();
        let swept = run.try_chunk(&chunk, walk_here).unwrap();
        let kept = [&scene.inner[0], &scene.leaves[0], &scene.leaves[1]];
        assert!(kept.iter().all(|block| scene.has(block)));
        match swept {
            Swept::Again => assert!(!walk_here && scene.has(&scene.garbage)),
            Swept::Done(removed) => assert!(walk_here && removed.len() == 4),
        }
    }
}

/// A row that is not one neither ends a collection nor loses what is below its block.
#[test]
fn a_malformed_row_of_a_block_is_named_and_left_alone() {
    for root in [Change::FilesRoot as fn(Cid) -> Change, |cid| Pin::new(cid, PinKind::Recursive, "").into()] {
        let scene = Scene::new(root);
        let key = scene.inner[0].cid.hash().to_bytes();
        scene.write(|index, batch| batch.put_cf(index.family(family::META), &key, b"nonsense"));
        let (report, broken) = scene.collect();
        assert_eq!(broken, [(scene.inner[0].cid, scene.root.cid)]);
        assert_eq!((report.removed_blocks, report.unprovable), (1, None));
        assert!(scene.leaves.iter().all(|block| scene.has(block)));
        let row = scene.store.inner().index.get().unwrap().get(family::META, &key).unwrap();
        assert_eq!(row.as_deref(), Some(b"nonsense".as_slice()));
    }
}

/// A new root's DAG is looked at while the sweep runs; a lost node in it stops the sweep where it is.
#[test]
fn a_lost_node_under_a_root_that_comes_during_the_sweep_stops_it() {
    let scene = Scene::new(|cid| Pin::new(cid, PinKind::Direct, "").into());
    scene.damage(&scene.inner[0]);
    scene.lose_links(&scene.inner[0]);
    scene.lose_rlinks(&scene.inner[0]);
    let report = scene.store.collect(&GcOptions::default(), &mut |event| {
        if matches!(event, GcEvent::Began(super::GcPhase::Sweep)) {
            let pin = Pin::new(scene.root.cid, PinKind::Recursive, "");
            scene.store.writer().commit(&[pin.into()]).unwrap();
        }
        ControlFlow::Continue(())
    });
    let report = report.unwrap();
    assert!(matches!(report.unprovable, Some(Unprovable::Node { .. })), "{report:?}");
    assert_eq!(report.removed_blocks, 0);
}

/// Ends the other thread however the test ends.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A root is about to be written by the committer in the moment in which the log of new roots begins: it was noted when
/// nobody listened, and is not to be seen yet. So beginning the log waits for the committer.
#[test]
fn a_root_in_the_committers_hand_is_not_missed() {
    let scene = Scene::new(|cid| Pin::new(cid, PinKind::Direct, "").into());
    let inner = scene.store.inner();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = StopOnDrop(&stop);
        scope.spawn(|| {
            let kind = PinKind::Recursive;
            let cid = scene.inner[0].cid;
            while !stop.load(Ordering::Acquire) {
                scene.store.writer().commit(&[Pin::new(cid, kind, "").into()]).unwrap();
                scene.store.writer().commit(&[Change::Unpin { cid, kind }]).unwrap();
            }
        });
        let key = scene.inner[0].cid;
        let pinned = || scene.store.pins().get_kind(&key, PinKind::Recursive).unwrap().is_some();
        let mut seen = 0;
        for _ in 0..400 {
            let (log, _) = inner.log_roots().unwrap();
            let before = pinned();
            // The committer ends what it has in hand, and the round after it.
            scene.store.flush().unwrap();
            if !before && pinned() {
                assert!(!log.is_empty(), "not there when it was read, there now, and not in the log");
                seen += 1;
            }
        }
        assert!(seen > 5, "{seen}");
    });
}
