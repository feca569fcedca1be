//! `diag profile`: what a developer needs to know of a node that is slow or large, in one file.

use std::fmt::Write as _;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::watch;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{cmds, sys};
use crate::commands::blocking::blocking;
use crate::commands::log::runtime;
use crate::commands::registry::{
    Call, Command, CommandError, Needs, Opt, OptKind, Request, Response, duration_from_go,
};
use crate::commands::time::CivilTime;
use crate::commands::{Context, KUBO_VERSION, Terminal};
use crate::observe::log::{Level, Tail};
use crate::observe::{AllocatorFigures, scrape};

/// Longest time that a profile takes.
const TIME_MAX: Duration = Duration::from_secs(600);
/// Log lines and their bytes that a profile holds.
const LOG_LINES_MAX: usize = 10_000;
const LOG_BYTES_MAX: usize = 8 << 20;

/// What the archive says of itself.
const README: &str = "What is in this file:

version.txt       what runs here
sys.json          machine and process, as 'diag sys' tells them
memory.txt        what the kernel says of the process's memory, at the end
allocator.txt     what the allocator says of it: live bytes, pages, arenas and sizes
threads.txt       every thread: its state at the end, and the processor time that it took meanwhile
metrics-*.txt     metrics at the beginning and at the end
requests.json     commands that run or ran a moment ago, without their secrets
log.jsonl         what was logged meanwhile

There are no goroutines here, and no samples of stacks: threads.txt is what there is in their place. The file holds no
blocks, no config and no keys. It does name paths and CIDs that commands were given.
";

pub(super) fn command() -> Command {
    Command::new("profile", "Collect a performance profile.")
        .help(
            "Writes a ZIP file about the running daemon: versions, machine, memory, threads with the processor time that they \
             took, metrics before and after, requests, and what was logged meanwhile. It takes as long as --profile-time \
             says. A README in it names its parts.",
        )
        .opt(Opt::string(
            "output o",
            "The path where the output .zip should be stored. Default: ./ipfs-profile-[timestamp].zip.",
        ))
        .opt(Opt::new(
            OptKind::CommaStrings,
            "collectors",
            "Kubo's collectors. Accepted: all parts are small here, and always there.",
        ))
        .opt(
            Opt::string("profile-time", "How long threads, metrics and logs are watched, 10 minutes at most.")
                .default("30s"),
        )
        .opt(Opt::int("mutex-profile-fraction", "Accepted; there is no profile of locks here.").default(4))
        .opt(Opt::string("block-profile-rate", "Accepted; there is no profile of waiting here.").default("1ms"))
        .needs(Needs::Config)
        .run(run)
        .terminal(|terminal, call, response| Box::pin(save(terminal, call, response)))
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let text = request.text("profile-time");
    let time = duration_from_go(text)
        .map_err(|error| CommandError::new(format!("failed to parse profile duration {text:?}: {error}")))?;
    if time > TIME_MAX {
        return Err(CommandError::client("profile-time is 10 minutes at most: 10m"));
    }
    let runtime = runtime(&context, "diag profile")?;
    // From here on: what the parts themselves log belongs to the profile too.
    let log = runtime.logs().follow(Level::TRACE).map_err(CommandError::from_error)?;
    let metrics_before = scrape(&context).await.unwrap_or_default();
    let threads_before = blocking(|| Ok::<_, CommandError>(threads())).await?;
    let log = watch_log(log, runtime.stopping(), time).await?;
    let metrics_after = scrape(&context).await.unwrap_or_default();
    let requests: Value = runtime.requests().list().iter().map(cmds::to_json).collect();
    let (folder, tasks) =
        (context.repo_dir().to_owned(), tokio::runtime::Handle::current().metrics().num_alive_tasks());
    let online = context.swarm().is_some();
    let archive = blocking(move || {
        let version = format!("holdfast {}\nKubo's level: {KUBO_VERSION}\n", env!("CARGO_PKG_VERSION"));
        pack(&[
            ("README.txt", README.as_bytes()),
            ("version.txt", version.as_bytes()),
            ("sys.json", format!("{:#}\n", sys::report(&folder, tasks, online)).as_bytes()),
            ("memory.txt", memory().as_bytes()),
            ("allocator.txt", AllocatorFigures::report().as_bytes()),
            ("threads.txt", compare(&threads_before, &threads(), time).as_bytes()),
            ("metrics-before.txt", metrics_before.as_bytes()),
            ("metrics-after.txt", metrics_after.as_bytes()),
            ("requests.json", format!("{requests:#}\n").as_bytes()),
            ("log.jsonl", &log),
        ])
    })
    .await?;
    Ok(Response::bytes(archive, "application/zip"))
}

/// What is logged for a while. A daemon that stops does not wait for it.
async fn watch_log(
    tail: Tail,
    mut stopping: watch::Receiver<bool>,
    time: Duration,
) -> Result<Vec<u8>, CommandError> {
    let mut lines = tail.take(LOG_LINES_MAX);
    let end = tokio::time::sleep(time);
    tokio::pin!(end);
    let mut log = Vec::new();
    loop {
        tokio::select! {
            () = &mut end => return Ok(log),
            _ = stopping.wait_for(|stop| *stop) => return Err(CommandError::new("the daemon is shutting down")),
            Some(line) = lines.next() => {
                if log.len() + line.len() <= LOG_BYTES_MAX {
                    log.extend_from_slice(&line);
                }
            }
        }
    }
}

fn pack(files: &[(&str, &[u8])]) -> Result<Bytes, CommandError> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file(*name, options).map_err(CommandError::from_error)?;
        archive.write_all(content)?;
    }
    Ok(archive.finish().map_err(CommandError::from_error)?.into_inner().into())
}

fn memory() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    format!(
        "/proc/self/status\n{}\n/proc/self/smaps_rollup\n{}",
        read("/proc/self/status"),
        read("/proc/self/smaps_rollup")
    )
}

/// A thread, as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Thread {
    id: u64,
    name: String,
    state: char,
    /// Time on a processor.
    ran: Duration,
}

/// The threads of this process, by number.
fn threads() -> Vec<Thread> {
    let mut threads: Vec<Thread> = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let id = path.file_name()?.to_str()?.parse().ok()?;
            let stat = fs::read_to_string(path.join("stat")).ok()?;
            let (before, after) = stat.rsplit_once(')')?;
            let ran: u64 =
                fs::read_to_string(path.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()?;
            let name = before.split_once('(')?.1.to_owned();
            let state = after.trim_start().chars().next()?;
            Some(Thread { id, name, state, ran: Duration::from_nanos(ran) })
        })
        .collect();
    threads.sort_unstable_by_key(|thread| thread.id);
    threads
}

/// The threads that are there now, the busiest first.
fn compare(before: &[Thread], after: &[Thread], time: Duration) -> String {
    let ran_before =
        |id: u64| before.iter().find(|thread| thread.id == id).map_or(Duration::ZERO, |thread| thread.ran);
    let mut rows: Vec<(Duration, &Thread)> =
        after.iter().map(|thread| (thread.ran.saturating_sub(ran_before(thread.id)), thread)).collect();
    rows.sort_by_key(|(ran, _)| std::cmp::Reverse(*ran));
    let mut out = format!(
        "{} threads, watched for {:.1} s\n\n   ran (s)  total (s)  state  thread\n",
        rows.len(),
        time.as_secs_f64()
    );
    for (ran, thread) in rows {
        let (ran, total) = (ran.as_secs_f64(), thread.ran.as_secs_f64());
        // Writing to a string does not fail.
        let _ =
            writeln!(out, "{ran:>10.3} {total:>10.3}  {}      {} {}", thread.state, thread.id, thread.name);
    }
    out
}

/// Writes the archive to a file.
async fn save(terminal: &mut Terminal, call: &Call, response: Response) -> Result<(), CommandError> {
    let Response::Bytes(mut archive) = response else {
        return Err(CommandError::new("there is no profile in the answer"));
    };
    let path = match call.text("output") {
        "" => PathBuf::from(format!("ipfs-profile-{}.zip", timestamp(SystemTime::now()))),
        path => PathBuf::from(path),
    };
    let named = |error: std::io::Error| {
        CommandError::new(format!(
            "open {}: {}",
            path.display(),
            crate::commands::registry::errno_text(&error)
        ))
    };
    let mut file = fs::File::create(&path).map_err(named)?;
    while let Some(piece) = terminal.next(&mut archive.stream).await? {
        file.write_all(&piece?).map_err(named)?;
    }
    terminal.print_line(&format!("Wrote profiles to: {}", path.display()))
}

fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let CivilTime { year, month, day, hour, minute, second } = CivilTime::of_unix(seconds.cast_signed());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}_{minute:02}_{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_is_told_first() {
        let thread =
            |id, ms| Thread { id, name: format!("t{id}"), state: 'S', ran: Duration::from_millis(ms) };
        let text = compare(
            &[thread(1, 100), thread(2, 100)],
            &[thread(1, 110), thread(2, 600), thread(3, 5)],
            Duration::from_secs(1),
        );
        let order: Vec<&str> =
            text.lines().skip(3).filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(order, ["t2", "t1", "t3"], "{text}");
        assert!(text.contains("     0.500      0.600  S      2 t2"), "{text}");
    }

    #[test]
    fn this_thread_is_among_those_of_the_process() {
        let all =
            std::thread::Builder::new().name("seen here".to_owned()).spawn(threads).unwrap().join().unwrap();
        assert!(all.iter().any(|thread| thread.name == "seen here"), "{all:?}");
    }
}
