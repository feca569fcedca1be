//! Where lines are written: a thread behind a bounded queue.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{Format, InstallError, LogSettings, Output};

/// Lines that may wait. With the bound on a line's length this is some MiB at the very worst, and usually some KiB.
const LINES_MAX: usize = 1024;

enum Job {
    Line(String),
    /// Answers when all that came before is written.
    Flush(SyncSender<()>),
}

/// The way to the outputs.
#[derive(Debug)]
pub(super) struct Sink {
    format: Format,
    jobs: SyncSender<Job>,
    lost: Arc<AtomicU64>,
}

impl Sink {
    /// Opens the outputs and starts the thread, which ends when this is dropped.
    pub(super) fn start(settings: &LogSettings) -> Result<Self, InstallError> {
        let outputs = settings.outputs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        Self::of_writers(settings.format, outputs)
    }

    pub(super) fn of_writers(
        format: Format,
        outputs: Vec<Box<dyn Write + Send>>,
    ) -> Result<Self, InstallError> {
        let (jobs, queue) = sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        let run = move || write_all(&queue, outputs, format, &counter);
        thread::Builder::new().name("log".to_owned()).spawn(run).map_err(InstallError::Thread)?;
        Ok(Self { format, jobs, lost })
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Queues a line, or counts it as lost.
    pub(super) fn send(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.jobs.try_send(Job::Line(line)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn lines_lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until what was queued is written. A full queue means that nobody reads: then there is nothing to wait for.
    pub(super) fn flush(&self, wait_max: Duration) {
        let (done, written) = sync_channel(1);
        if self.jobs.try_send(Job::Flush(done)).is_ok() {
            // Too late is too late: the process ends.
            let _ = written.recv_timeout(wait_max);
        }
    }
}

fn open(output: &Output) -> Result<Box<dyn Write + Send>, InstallError> {
    Ok(match output {
        Output::Stderr => Box::new(io::stderr()),
        Output::Stdout => Box::new(io::stdout()),
        Output::File(path) => {
            let open = OpenOptions::new().create(true).append(true).open(path);
            let file: File =
                open.map_err(|source| InstallError::File { path: path.display().to_string(), source })?;
            Box::new(file)
        }
    })
}

fn write_all(
    queue: &Receiver<Job>,
    mut outputs: Vec<Box<dyn Write + Send>>,
    format: Format,
    lost: &AtomicU64,
) {
    let mut told = 0;
    // An output that fails (its reader went away, its disk is full) has no place to say so.
    let mut write = |line: &str| {
        for output in &mut outputs {
            let _ = output.write_all(line.as_bytes()).and_then(|()| output.flush());
        }
    };
    while let Ok(job) = queue.recv() {
        match job {
            Job::Line(line) => write(&line),
            Job::Flush(done) => {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
        let now = lost.load(Ordering::Relaxed);
        if now > told {
            let words =
                format!("{} log lines were lost here: they came faster than they were read", now - told);
            write(&match format {
                Format::Json => format!("{}\n", json!({ "level": "warn", "logger": "log", "msg": words })),
                Format::Text | Format::Color => format!("{words}\n"),
            });
            told = now;
        }
    }
}
