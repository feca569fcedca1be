//! Rows of blocks that travel between two nodes over loopback. The end point is the last block stored, for every pair.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::process::Command;

use holdfast_bench::pairs::{Contestant, Outcome, compare};

use crate::Res;
use crate::bed::Bed;
use crate::party::{Party, Program};

const MEBIBYTES: u64 = 512;

const TRANSPORTS: [&str; 2] = ["tcp", "quic-v1"];

/// 512 MiB, each program to itself, next to one plain libp2p stream.
pub(crate) fn alike(bed: &Bed) -> Res<()> {
    let pairs = [Program::Ours, Program::Kubo, Program::RustIpfs].map(|program| (program, program));
    large_file(bed, "each program to itself", &pairs, true)
}

/// 512 MiB, ours with the other programs, next to their own pairs.
pub(crate) fn mixed(bed: &Bed) -> Res<()> {
    use Program::{Kubo, Ours, RustIpfs};
    large_file(bed, "with Kubo", &[(Ours, Kubo), (Kubo, Ours), (Kubo, Kubo)], false)?;
    large_file(bed, "with rust-ipfs", &[(Ours, RustIpfs), (RustIpfs, Ours), (RustIpfs, RustIpfs)], false)
}

fn large_file(bed: &Bed, title: &str, pairs: &[(Program, Program)], limit: bool) -> Res<()> {
    let file = bed.file(MEBIBYTES)?;
    let amount = MEBIBYTES as f64 * 1.048_576;
    for transport in TRANSPORTS {
        let pairs: Vec<_> = pairs.iter().filter(|(from, to)| from.present() && to.present()).collect();
        let pairs: Vec<_> =
            pairs.into_iter().map(|&(from, to)| Pair::new(bed, from, to, transport, &file)).collect();
        let mut contestants: Vec<_> = pairs.iter().map(Pair::contestant).collect();
        if let (true, Some(raw)) = (limit, &bed.raw_stream) {
            let run = || raw_stream(raw, transport);
            contestants.push(Contestant::new("one plain libp2p stream", || Ok(()), run));
        }
        let title = format!("{MEBIBYTES} MiB over {transport}, {title}: from > to");
        compare(&title, bed.rounds, amount, "MB", &mut contestants)?;
        for pair in &pairs {
            println!("  {:<34} {:>9} MiB at most in the one that fetches", pair.name(), pair.peak.get());
        }
    }
    Ok(())
}

/// 5,000 files of 1.5 kB in folders of 100.
pub(crate) fn small_files(bed: &Bed) -> Res<()> {
    let tree = bed.tree(5_000, 1_500)?;
    for transport in TRANSPORTS {
        let pairs = [Program::Ours, Program::Kubo].into_iter().filter(|program| program.present());
        let pairs: Vec<_> = pairs.map(|program| Pair::new(bed, program, program, transport, &tree)).collect();
        let mut contestants: Vec<_> = pairs.iter().map(Pair::contestant).collect();
        let title = format!("5,000 files of 1.5 kB over {transport}: from > to");
        compare(&title, bed.rounds, 5_000.0, "files", &mut contestants)?;
    }
    Ok(())
}

/// One node that fetches 512 MiB from four: how many blocks it gets twice.
pub(crate) fn four_providers(bed: &Bed) -> Res<()> {
    let file = bed.file(MEBIBYTES)?;
    println!("\n{MEBIBYTES} MiB from four providers ({} rounds)", bed.rounds);
    for round in 0..bed.rounds {
        let mut cid = String::new();
        let mut providers = Vec::new();
        for number in 0..4 {
            let provider = Party::start(Program::Ours, bed.dir.path(), &format!("provider-{number}"), "tcp");
            cid = provider.add(&file);
            providers.push(provider);
        }
        let Party::Ours(fetcher) = Party::start_fresh(Program::Ours, bed.dir.path(), "fetcher", "tcp")?
        else {
            return Err("ours is not ours".into());
        };
        for provider in &providers {
            fetcher.connect(&provider.address("tcp"));
        }
        let fetcher = Party::Ours(fetcher);
        let seconds = fetcher.fetch(&cid);
        let Party::Ours(peer) = &fetcher else { return Err("ours is not ours".into()) };
        let stat = peer.run(["bitswap", "stat"]).ok().out();
        let number = |label: &str| {
            let line = stat.lines().find_map(|line| line.trim().strip_prefix(label));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or_default()
        };
        let (received, twice) = (number("blocks received:"), number("dup blocks received:"));
        println!(
            "  round {}: {seconds:.3} s, {received} blocks, {twice} of them not the first ({:.2} %), {} MiB at most",
            round + 1,
            100.0 * twice / received,
            fetcher.memory_mib_peak()
        );
    }
    Ok(())
}

/// A node that has the data and one that fetches it; both run only while it is their turn.
struct Pair<'a> {
    bed: &'a Bed,
    from: Program,
    to: Program,
    transport: &'static str,
    data: &'a Path,
    /// The two, the fetcher second, from `prepare` to the end of `run`; and the root.
    running: RefCell<Option<(Party, Party, String)>>,
    peak: Cell<u64>,
}

impl<'a> Pair<'a> {
    fn new(bed: &'a Bed, from: Program, to: Program, transport: &'static str, data: &'a Path) -> Self {
        Self { bed, from, to, transport, data, running: RefCell::new(None), peak: Cell::new(0) }
    }

    fn name(&self) -> String {
        format!("{} > {}", self.from.name(), self.to.name())
    }

    fn contestant(&self) -> Contestant<'_> {
        Contestant::new(self.name(), || self.prepare(), || self.run())
    }

    fn prepare(&self) -> Res<()> {
        let dir = self.bed.dir.path();
        let name = format!("from-{}-{}", self.transport, self.from.name().replace(' ', "-"));
        let from = Party::start(self.from, dir, &name, self.transport);
        // The second time it is there already.
        let cid = from.add_for(self.to, self.data);
        let to = Party::start_fresh(self.to, dir, "to", self.transport)?;
        to.connect(&from.address(self.transport));
        *self.running.borrow_mut() = Some((from, to, cid));
        Ok(())
    }

    fn run(&self) -> Outcome {
        let (_from, to, cid) = self.running.borrow_mut().take().ok_or("no pair was prepared")?;
        let seconds = to.fetch(&cid);
        self.peak.set(self.peak.get().max(to.memory_mib_peak()));
        Ok(Some(seconds))
    }
}

fn raw_stream(program: &Path, transport: &str) -> Outcome {
    let output = Command::new(program).args([transport, &MEBIBYTES.to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let seconds = text.trim().parse().ok();
    seconds.map(Some).ok_or_else(|| format!("raw-stream: {}", String::from_utf8_lossy(&output.stderr)).into())
}
