//! How do single operations, listings and opening grow with the number of blocks and pins?
//!
//! A worker process fills a repo with N leaves, each pinned directly under a name, and N/100 branches over them, pinned
//! recursively; then it is killed. What is measured on it: opening after the kill, opening after an orderly end, single
//! operations on random leaves, and the listing of all pins, with the memory that it takes.

use std::fs;
use std::io::BufRead as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use futures_util::TryStreamExt as _;
use holdfast::Node;
use holdfast::services::pins::{ListOptions, PinTypes};
use holdfast_bench::meter::{median, memory_bytes_peak};
use holdfast_blockstore::{Change, Pin, PinKind, ReadError, Through};
use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, CidBuilder, Version, codec};
use holdfast_dag::hash::HashKind;
use tokio::runtime::Runtime;

use crate::Res;
use crate::bed::Bed;
use crate::embedded::fresh_node;

const SIZES: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Leaves below one branch.
pub(crate) const FANOUT: u32 = 100;
/// Random leaves that are asked for.
const SAMPLES: usize = 3000;

/// What was measured at one size, in seconds and bytes: name and value.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// Growth from 1,000 to 1,000,000 blocks and pins.
pub(crate) fn growth(bed: &Bed) -> Res<()> {
    let mut measured: Vec<(u32, Figures)> = Vec::new();
    for size in sizes()? {
        let repo = bed.path(&format!("growth-{size}"));
        fill_and_kill(&repo, size)?;
        measured.push((size, measure(&repo, size)?));
        fs::remove_dir_all(&repo)?;
    }
    print_growth("growth with the number of blocks and pins (medians", &measured);
    Ok(())
}

/// The sizes that are measured: all up to `GROWTH_MAX`.
pub(crate) fn sizes() -> Res<Vec<u32>> {
    let most = std::env::var("GROWTH_MAX").map_or(Ok(u32::MAX), |text| text.parse())?;
    Ok(SIZES.into_iter().filter(|size| *size <= most).collect())
}

/// Prints a row a figure: its value at each size, how many times the first the last is, and the slope between them in a
/// plot with logarithmic axes.
pub(crate) fn print_growth(title: &str, measured: &[(u32, Figures)]) {
    println!("\n{title}; slope 0 is flat, 1 is linear)");
    print!("  {:<34}", "");
    for (size, _) in measured {
        print!("{size:>12}");
    }
    println!("{:>9}{:>8}", "ratio", "slope");
    let names: Vec<&str> = measured
        .first()
        .map(|(_, figures)| figures.iter().map(|(name, _)| *name).collect())
        .unwrap_or_default();
    for (at, name) in names.into_iter().enumerate() {
        let values: Vec<f64> =
            measured.iter().filter_map(|(_, figures)| figures.get(at).map(|(_, value)| *value)).collect();
        print!("  {name:<34}");
        for value in &values {
            print!("{:>12}", figure(name, *value));
        }
        let (Some(first), Some(last)) = (values.first(), values.last()) else { continue };
        let decades = values.len().saturating_sub(1).max(1) as f64;
        println!("{:>9.2}{:>8.2}", last / first, (last / first).log10() / decades);
    }
}

fn figure(name: &str, value: f64) -> String {
    if name.contains("MiB") || name.contains("bytes") {
        format!("{value:.1}")
    } else {
        format!("{:.1} us", value * 1e6)
    }
}

fn fill_and_kill(repo: &Path, size: u32) -> Res<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["worker-grow", &repo.display().to_string(), &size.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut told = String::new();
    if let Some(stdout) = child.stdout.as_mut() {
        std::io::BufReader::new(stdout).read_line(&mut told)?;
    }
    child.kill()?;
    child.wait()?;
    if told.trim() == "done" { Ok(()) } else { Err("the worker ended early".into()) }
}

fn builder() -> CidBuilder {
    CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 }
}

pub(crate) fn leaf(number: u32) -> Block {
    let bytes = format!("leaf {number:0>64}").into_bytes();
    Block::trusted(builder().cid_of(codec::RAW, &[&bytes]), bytes)
}

/// A dag-cbor list of links.
pub(crate) fn branch(leaves: &[Block]) -> Block {
    let mut bytes = vec![0x98, u8::try_from(leaves.len()).unwrap_or(u8::MAX)];
    for leaf in leaves {
        bytes.extend([0xd8, 0x2a, 0x58, 37, 0]);
        bytes.extend(leaf.cid.to_bytes());
    }
    Block::trusted(builder().cid_of(codec::DAG_CBOR, &[&bytes]), bytes)
}

/// The part of the killed process: fills the repo, says so, and waits for its end.
pub(crate) fn worker_grow(repo: &Path, size: u32) -> Res<()> {
    let runtime = Runtime::new()?;
    let node = runtime.block_on(fresh_node(repo))?;
    let groups: Vec<u32> = (0..size / FANOUT).collect();
    for part in groups.chunks(100) {
        let writer = node.store().writer();
        let mut changes: Vec<Change> = Vec::new();
        for group in part {
            let mut blocks: Vec<Block> = (group * FANOUT..(group + 1) * FANOUT).map(leaf).collect();
            let pins = blocks.iter().map(|block| Pin::new(block.cid, PinKind::Direct, "a name"));
            changes.extend(pins.map(Change::Pin));
            let branch = branch(&blocks);
            changes.push(Pin::new(branch.cid, PinKind::Recursive, "a name").into());
            blocks.push(branch);
            writer.put(&blocks)?;
        }
        writer.commit(&changes)?;
    }
    println!("done");
    std::thread::sleep(std::time::Duration::from_secs(600));
    Ok(())
}

fn measure(repo: &Path, size: u32) -> Res<Figures> {
    let runtime = Runtime::new()?;
    let mut figures = Figures::new();
    let open = |name, figures: &mut Figures| -> Res<Node> {
        let start = Instant::now();
        let node = runtime.block_on(Node::builder().repo(repo).open())?;
        figures.push((name, start.elapsed().as_secs_f64()));
        Ok(node)
    };
    let killed = open("open after SIGKILL", &mut figures)?;
    runtime.block_on(killed.close())?;
    let node = open("open", &mut figures)?;
    let store = node.store();
    // Spread over the whole repo, and the same at each size.
    let numbers =
        (0..SAMPLES as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % u64::from(size));
    let cids: Vec<Cid> = numbers.map(|number| leaf(number as u32).cid).collect();
    // Each work says whether it found what it asked for, so that none can be left out.
    let timed = |work: &dyn Fn(&Cid) -> Result<bool, ReadError>| -> Res<f64> {
        let mut samples = Vec::with_capacity(cids.len());
        for cid in &cids {
            let start = Instant::now();
            if !work(cid)? {
                return Err(format!("{cid} is not as it was made").into());
            }
            samples.push(start.elapsed().as_secs_f64());
        }
        Ok(median(&mut samples))
    };
    figures.push(("has", timed(&|cid| store.has(cid.hash()))?));
    figures.push(("stat", timed(&|cid| Ok(store.size(cid.hash())?.is_some()))?));
    figures.push(("get, verified", timed(&|cid| Ok(store.get(cid)?.is_some()))?));
    figures.push(("is pinned, by itself", timed(&|cid| Ok(store.pins().of(cid)?.direct.is_some()))?));
    let through = |cid: &Cid| {
        let standing = store.pins().standing(cid, |_| true)?;
        Ok(matches!(standing.through, Some(Through::Pin(_))))
    };
    figures.push(("is pinned, through what", timed(&through)?));
    figures.push(("repo stat", timed(&|_| Ok(store.stat()?.blocks > 0))?));

    // Peaks count from here on.
    let reset = fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = memory_bytes_peak();
    let start = Instant::now();
    let (mut listed, mut first) = (0_usize, None);
    runtime.block_on(async {
        let options = ListOptions { types: PinTypes::Direct, ..ListOptions::default() };
        let mut pins = node.pins().list(options);
        while let Some(step) = pins.try_next().await? {
            first.get_or_insert_with(|| start.elapsed().as_secs_f64());
            listed += step.len();
        }
        Ok::<_, holdfast::services::pins::PinListError>(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    if listed != size as usize {
        return Err(format!("{listed} pins were listed, there are {size}").into());
    }
    figures.push(("pin ls, the first pin", first.unwrap_or_default()));
    figures.push(("pin ls, all pins", seconds));
    if reset {
        let grown = memory_bytes_peak().saturating_sub(before);
        figures.push(("pin ls, memory above before, MiB", grown as f64 / f64::from(1 << 20)));
    }
    runtime.block_on(node.close())?;
    Ok(figures)
}
