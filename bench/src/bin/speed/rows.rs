//! The rows, in the order of the table.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_bench::meter::Meter;
use holdfast_bench::pairs::{Contestant, compare};
use sha2::{Digest as _, Sha256};

use crate::Res;
use crate::bed::{Bed, call, command};

const GIB_MB: f64 = 1_073.741_824;

/// `add --only-hash` next to a program that only reads and hashes the same cached file on all cores.
pub(crate) fn only_hash(bed: &Bed) -> Res<()> {
    let file = bed.file(4096)?;
    let text = file.display().to_string();
    let repo = bed.fresh_repo(&bed.holdfast, "only-hash")?;
    let kubo_repo = bed.kubo.as_ref().map(|kubo| bed.fresh_repo(kubo, "kubo")).transpose()?;
    let mut contestants = vec![
        Contestant::new(
            "holdfast add --only-hash",
            || Ok(()),
            || call(&bed.holdfast, &repo, &["add", "-Q", "-n", &text]).map(|_| None),
        ),
        Contestant::new("read and hash only, all cores", || Ok(()), || hash_all_cores(&file).map(|()| None)),
    ];
    if bed.kubo_library.is_some() {
        let run = || bed.kubo_library_add(&file, true);
        contestants.push(Contestant::new("Kubo 0.22 library, only-hash", || Ok(()), run));
    }
    if let (Some(kubo), Some(repo)) = (&bed.kubo, &kubo_repo) {
        let run = || call(kubo, repo, &["add", "-Q", "-n", &text]).map(|_| None);
        contestants.push(Contestant::new("KUBO_BIN", || Ok(()), run));
    }
    compare("only-hash of 4 GiB, 256 KiB chunks", bed.rounds, 4.0 * GIB_MB, "MB", &mut contestants)?;
    Ok(())
}

/// Durable adds of 1 GiB next to `cp` and fsync of the same file.
pub(crate) fn durable_add(bed: &Bed) -> Res<()> {
    let file = bed.file(1024)?;
    let text = file.display().to_string();
    for (title, flags) in [
        ("durable add of 1 GiB, 256 KiB chunks", &["add", "-Q"][..]),
        (
            "durable add of 1 GiB, 1 MiB raw chunks",
            &["add", "-Q", "--cid-version=1", "--raw-leaves", "--chunker=size-1048576"][..],
        ),
    ] {
        let copy = bed.path("copy.bin");
        let mut contestants = vec![
            Contestant::new(
                "holdfast add",
                || bed.fresh_repo(&bed.holdfast, "add").map(drop),
                || {
                    let args: Vec<&str> = flags.iter().copied().chain([text.as_str()]).collect();
                    call(&bed.holdfast, &bed.path("add"), &args).map(|_| None)
                },
            ),
            Contestant::new(
                "copy and fsync",
                || remove(&copy),
                || copy_and_sync(&file, &copy).map(|()| None),
            ),
        ];
        if bed.kubo_library.is_some() && flags.len() == 2 {
            let run = || bed.kubo_library_add(&file, false);
            contestants.push(Contestant::new("Kubo 0.22 library (not durable)", || Ok(()), run));
        }
        if let (Some(peer), 2) = (&bed.rust_ipfs, flags.len()) {
            let run = || Ok(Some(bed.rust_ipfs_add_and_cat(peer, &file)?.0));
            contestants.push(Contestant::new("rust-ipfs (not durable)", || Ok(()), run));
        }
        if let Some(kubo) = &bed.kubo {
            contestants.push(Contestant::new(
                "KUBO_BIN",
                || bed.fresh_repo(kubo, "kubo").map(drop),
                || {
                    let args: Vec<&str> = flags.iter().copied().chain([text.as_str()]).collect();
                    call(kubo, &bed.path("kubo"), &args).map(|_| None)
                },
            ));
        }
        compare(title, bed.rounds, GIB_MB, "MB", &mut contestants)?;
        remove(&copy)?;
    }
    Ok(())
}

/// Many small files.
pub(crate) fn small_files(bed: &Bed) -> Res<()> {
    let tree = bed.tree(20_000, 1_500)?;
    let text = tree.display().to_string();
    let fresh = || bed.fresh_repo(&bed.holdfast, "small").map(drop);
    let add = || call(&bed.holdfast, &bed.path("small"), &["add", "-r", "-Q", &text]).map(|_| None);
    let mut contestants = vec![
        Contestant::new("holdfast add -r", fresh, add),
        Contestant::new("holdfast add -r, once more", || Ok(()), add),
    ];
    if bed.kubo_library.is_some() {
        let run = || bed.kubo_library_add(&tree, false);
        contestants.push(Contestant::new("Kubo 0.22 library (not durable)", || Ok(()), run));
    }
    if let Some(kubo) = &bed.kubo {
        contestants.push(Contestant::new(
            "KUBO_BIN",
            || bed.fresh_repo(kubo, "kubo").map(drop),
            || call(kubo, &bed.path("kubo"), &["add", "-r", "-Q", &text]).map(|_| None),
        ));
    }
    compare("20,000 files of 1.5 kB", bed.rounds, 20_000.0, "files", &mut contestants)?;
    Ok(())
}

/// `cat` of 1 GiB from a warm cache into nothing, every block verified, next to reading the plain file.
pub(crate) fn cat(bed: &Bed) -> Res<()> {
    let file = bed.file(1024)?;
    let repo = bed.fresh_repo(&bed.holdfast, "cat")?;
    let printed = call(&bed.holdfast, &repo, &["add", "-Q", &file.display().to_string()])?;
    let root = printed.trim();
    let kubo_repo = bed.kubo.as_ref().map(|kubo| bed.fresh_repo(kubo, "kubo")).transpose()?;
    let cat = |program: &Path, repo: &Path| {
        let status = command(program, repo, &["cat", root]).stdout(Stdio::null()).status()?;
        if status.success() { Ok(None) } else { Err("cat failed".into()) }
    };
    let mut contestants = vec![
        Contestant::new("holdfast cat, verified", || Ok(()), || cat(&bed.holdfast, &repo)),
        Contestant::new("read and hash only, all cores", || Ok(()), || hash_all_cores(&file).map(|()| None)),
    ];
    if let (Some(kubo), Some(kubo_repo)) = (&bed.kubo, &kubo_repo) {
        call(kubo, kubo_repo, &["add", "-Q", &file.display().to_string()])?;
        contestants.push(Contestant::new("KUBO_BIN", || Ok(()), || cat(kubo, kubo_repo)));
    }
    if let Some(peer) = &bed.rust_ipfs {
        let run = || Ok(Some(bed.rust_ipfs_add_and_cat(peer, &file)?.1));
        contestants.push(Contestant::new("rust-ipfs", || Ok(()), run));
    }
    compare("cat of 1 GiB, warm", bed.rounds, GIB_MB, "MB", &mut contestants)?;
    Ok(())
}

/// How the time to add one directory grows with its entries: the directory alone, and durably with its files.
pub(crate) fn directories(bed: &Bed) -> Res<()> {
    for (title, flags) in
        [("only-hash", &["add", "-r", "-Q", "-n"][..]), ("durable, with its files", &["add", "-r", "-Q"])]
    {
        println!("\none directory, by number of entries ({title}; medians of {})", bed.rounds);
        let mut previous: Option<f64> = None;
        for count in [1_000_u64, 10_000, 100_000, 1_000_000] {
            let folder = bed.flat(count)?;
            let text = folder.display().to_string();
            let args: Vec<&str> = flags.iter().copied().chain([text.as_str()]).collect();
            let mut times = Vec::new();
            for _ in 0..bed.rounds {
                let repo = bed.fresh_repo(&bed.holdfast, "dirs")?;
                let meter = Meter::start();
                call(&bed.holdfast, &repo, &args)?;
                times.push(meter.seconds());
            }
            times.sort_by(f64::total_cmp);
            let seconds = times.get(times.len() / 2).copied().unwrap_or_default();
            let growth =
                previous.map_or(String::new(), |before| format!(", {:.1} x the row above", seconds / before));
            println!(
                "  {count:>9} entries {seconds:>8.3} s, {:>8.0} entries/s{growth}",
                count as f64 / seconds
            );
            previous = Some(seconds);
        }
    }
    for count in [1_000_u64, 10_000, 100_000, 1_000_000] {
        fs::remove_dir_all(bed.flat(count)?)?;
    }
    Ok(fs::remove_dir_all(bed.path("dirs"))?)
}

/// Peak memory of an add of 4 GiB at the default memory limit.
pub(crate) fn memory(bed: &Bed) -> Res<()> {
    let file = bed.file(4096)?;
    let repo = bed.fresh_repo(&bed.holdfast, "memory")?;
    let mut child = command(&bed.holdfast, &repo, &["add", "-Q", &file.display().to_string()])
        .stdout(Stdio::null())
        .spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let field = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = field.and_then(|field| field.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or_default());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    println!("\npeak memory of `holdfast add` of 4 GiB at the default memory limit: {} MiB", peak >> 10);
    Ok(())
}

/// Reads and hashes a file in chunks of 256 KiB on all cores: the limit of any add.
fn hash_all_cores(file: &Path) -> Res<()> {
    const CHUNK: u64 = 256 << 10;
    let threads = std::thread::available_parallelism()?.get();
    let file = File::open(file)?;
    let length = file.metadata()?.len();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let worker = || -> std::io::Result<()> {
            let mut buffer = vec![0; CHUNK as usize];
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed) * CHUNK;
                if at >= length {
                    return Ok(());
                }
                let wanted = CHUNK.min(length - at) as usize;
                let Some(chunk) = buffer.get_mut(..wanted) else { return Ok(()) };
                file.read_exact_at(chunk, at)?;
                std::hint::black_box(Sha256::digest(chunk));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())))
    })?;
    Ok(())
}

fn copy_and_sync(from: &Path, to: &Path) -> Res<()> {
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        to.write_all(bytes)?;
    }
    Ok(to.sync_all()?)
}

fn remove(path: &Path) -> Res<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
