//! The process ends in the middle of a collection. What a copy of its files in that moment says is what the next one finds.

use crate::common::*;
use holdfast_blockstore::{GcEvent, GcOptions, GcPhase, Store, StoreConfig};
use holdfast_dag::block::Block;

/// At many moments of a sweep and a compaction, the files are copied and opened: counters equal a full walk, every pinned
/// block is there, and a further collection ends what was begun.
#[test]
fn a_collection_that_is_cut_off_leaves_nothing_half() {
    for durability in [config(), process()] {
        let repo = tempfile::tempdir().unwrap();
        let config = StoreConfig { segment_bytes_max: 500_000, sync_bytes: 300_000, ..durability };
        let store = Store::open(repo.path(), config.clone()).unwrap();
        let trees: Vec<Vec<Block>> = (0..60).map(|seed| tree(seed + 1, 40, 800)).collect();
        // Two trees at a time, in turns: one stays.
        for pair in trees.chunks(2) {
            let writer = store.writer();
            for (kept, garbage) in pair[0].iter().zip(&pair[1]) {
                writer.put([kept.clone(), garbage.clone()]).unwrap();
            }
            writer.commit(&[pin(root_of(&pair[0]))]).unwrap();
        }
        let kept: Vec<&Vec<Block>> = trees.iter().step_by(2).collect();
        let mut copies = Vec::new();
        let (mut removed, mut compacting) = (0, 0);
        let report = collect_with(&store, &GcOptions::default(), |event| {
            let due = match event {
                GcEvent::Removed { .. } => {
                    removed += 1;
                    removed % 200 == 1
                }
                GcEvent::Compacting { .. } => {
                    compacting += 1;
                    compacting % 2 == 1
                }
                GcEvent::Began(GcPhase::Compact) => true,
                _ => false,
            };
            if due {
                let copy = tempfile::tempdir().unwrap();
                for folder in ["db", "segments"] {
                    std::fs::create_dir_all(copy.path().join(folder)).unwrap();
                    copy_repo(&repo.path().join(folder), &copy.path().join(folder));
                }
                copies.push(copy);
            }
        });
        assert!(report.compaction.segments_removed > 0, "{report:?}");
        assert!(copies.len() > 6, "{}", copies.len());
        for copy in &copies {
            let survivor = Store::open(copy.path(), config.clone()).unwrap();
            assert!(survivor.open_report().short_segments.is_empty());
            assert_consistent(&survivor);
            assert!(kept.iter().all(|tree| is_whole(&survivor, tree)));
            collect(&survivor);
            assert_eq!(assert_consistent(&survivor), kept.len() as u64 * 41);
            assert!(kept.iter().all(|tree| is_whole(&survivor, tree)));
        }
    }
}
