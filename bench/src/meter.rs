//! Clocks and counters of this process.

use std::fs;
use std::time::{Duration, Instant};

/// Wall clock, processor time and bytes handed to the disk since it was made.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    cpu: Duration,
    written: u64,
}

impl Meter {
    /// Starts to measure.
    pub fn start() -> Self {
        Self { start: Instant::now(), cpu: cpu_time(), written: bytes_written() }
    }

    /// Seconds of wall clock.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Seconds of processor time, user and system, of all threads.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_time().saturating_sub(self.cpu).as_secs_f64()
    }

    /// Bytes that the kernel wrote to disk for this process.
    pub fn bytes_written(&self) -> u64 {
        bytes_written().saturating_sub(self.written)
    }
}

/// The middle of the samples, 0 if there are none.
pub fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

/// Peak resident memory of this process in bytes.
pub fn memory_bytes_peak() -> u64 {
    proc_field("/proc/self/status", "VmHWM:") << 10
}

/// Forgets clean pages of all files, so that the next read is cold. Needs root; says whether it worked.
pub fn drop_page_cache() -> bool {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn bytes_written() -> u64 {
    proc_field("/proc/self/io", "write_bytes:")
}

fn proc_field(file: &str, field: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
