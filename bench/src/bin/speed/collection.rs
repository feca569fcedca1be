//! How do full and incremental garbage collection grow with the number of blocks?
//!
//! A store is filled with N small leaves below N/100 branches, every other one of which is pinned. The first collection
//! removes the other half; the second finds no garbage, and rewrites what the first left behind; then some of the pins
//! are removed and what they kept is collected at once, one after the other.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use holdfast_bench::meter::median;
use holdfast_blockstore::{Change, GcOptions, Pin, PinKind, Store, StoreConfig};
use holdfast_dag::block::Block;
use holdfast_dag::cid::Cid;

use crate::Res;
use crate::bed::Bed;
use crate::growth::{FANOUT, Figures, branch, leaf, print_growth, sizes};

/// Most pins that are removed and collected one by one.
const UNPINNED_MAX: usize = 100;

/// Collections at 1,000 to 1,000,000 blocks.
pub(crate) fn gc(bed: &Bed) -> Res<()> {
    let mut measured = Vec::new();
    for size in sizes()? {
        let repo = bed.path(&format!("gc-{size}"));
        fs::create_dir_all(&repo)?;
        measured.push((size, measure(&repo, size)?));
        fs::remove_dir_all(&repo)?;
    }
    print_growth("garbage collection, half of the blocks garbage (the last rows medians", &measured);
    Ok(())
}

fn measure(repo: &Path, size: u32) -> Res<Figures> {
    let store = Store::open(repo, StoreConfig { memory_bytes_max: 96 << 20, ..StoreConfig::default() })?;
    let pinned = fill(&store, size)?;
    let collect = |options: &GcOptions| -> Res<_> {
        let start = Instant::now();
        let report = store.collect(options, &mut |_| ControlFlow::Continue(()))?;
        Ok((start.elapsed().as_secs_f64(), report))
    };
    let (full, report) = collect(&GcOptions { no_compaction: true, ..GcOptions::default() })?;
    let group = u64::from(FANOUT) + 1;
    if (report.reached_blocks, report.removed_blocks)
        != (pinned.len() as u64 * group, u64::from(size / FANOUT) * group / 2)
    {
        return Err(format!("half of the blocks is garbage, but {report:?}").into());
    }
    let (compacting, _) = collect(&GcOptions::default())?;
    let unpinned = pinned.get(..pinned.len().div_ceil(2).min(UNPINNED_MAX)).unwrap_or_default();
    let (mut at_once, mut removing) = (Vec::new(), Vec::new());
    for root in unpinned {
        let start = Instant::now();
        store.writer().commit(&[Change::Unpin { cid: *root, kind: PinKind::Recursive }])?;
        removing.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let report = store.collect_unpinned(&[*root], &mut |_| ControlFlow::Continue(()))?;
        at_once.push(start.elapsed().as_secs_f64());
        if report.removed_blocks != group {
            return Err(format!("{root} kept {group} blocks, but {report:?}").into());
        }
    }
    Ok(vec![
        ("full", full),
        ("full, longest wait of a writer", report.longest_hold.as_secs_f64()),
        ("full, bytes of marks a kept block", report.mark_memory_bytes as f64 / report.reached_blocks as f64),
        ("full, no garbage, rewriting", compacting),
        ("pin rm, before the next row", median(&mut removing)),
        ("incremental, 101 blocks", median(&mut at_once)),
    ])
}

/// Fills the store, and gives the branches that are pinned.
fn fill(store: &Store, size: u32) -> Res<Vec<Cid>> {
    let groups: Vec<u32> = (0..size / FANOUT).collect();
    let mut pinned = Vec::new();
    for part in groups.chunks(100) {
        let writer = store.writer();
        let mut changes = Vec::new();
        for group in part {
            let mut blocks: Vec<Block> = (group * FANOUT..(group + 1) * FANOUT).map(leaf).collect();
            let branch = branch(&blocks);
            if group % 2 == 0 {
                changes.push(Change::Pin(Pin::new(branch.cid, PinKind::Recursive, "")));
                pinned.push(branch.cid);
            }
            blocks.push(branch);
            writer.put(&blocks)?;
        }
        writer.commit(&changes)?;
    }
    store.flush()?;
    Ok(pinned)
}
