//! Figures of this process, as the kernel tells them.

use std::fs;

/// Clock ticks a second in `/proc`: part of Linux's interface to programs, whatever the kernel itself uses.
const USER_HZ: f64 = 100.0;

/// What the kernel counts for this process. Figures that it does not tell are `None` as a whole: see
/// [`ProcessFigures::read`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessFigures {
    /// Seconds of processor time, of user and system.
    pub cpu_seconds: f64,
    /// Threads.
    pub threads: u64,
    /// When it started, in seconds since 1970.
    pub start_unix_seconds: f64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Bytes of memory that are resident.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// File descriptors that it may open.
    pub max_fds: u64,
}

impl ProcessFigures {
    /// Reads them from `/proc`; `None` where that is not to be had. Takes well under a millisecond.
    pub fn read() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let status = |name: &str| -> Option<u64> {
            status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        };
        Some(Self {
            cpu_seconds: cpu_seconds(),
            threads: status("Threads:")?,
            start_unix_seconds: start_unix_seconds()?,
            virtual_bytes: status("VmSize:")? * 1024,
            resident_bytes: status("VmRSS:")? * 1024,
            open_fds: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
            max_fds: max_fds()?,
        })
    }
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn start_unix_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program is in parentheses and may hold anything; field 3 comes behind it, this is field 22.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(22 - 3)?.parse().ok()?;
    Some(boot_unix_seconds()? as f64 + ticks as f64 / USER_HZ)
}

fn boot_unix_seconds() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

fn max_fds() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_figures_are_those_of_a_process_that_runs() {
        let figures = ProcessFigures::read().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - 86_400.0..now + 5.0).contains(&figures.start_unix_seconds), "{figures:?} {now}");
        assert!(
            figures.resident_bytes > 1 << 20 && figures.virtual_bytes > figures.resident_bytes,
            "{figures:?}"
        );
        assert!(figures.threads >= 1 && (3..=figures.max_fds).contains(&figures.open_fds), "{figures:?}");
    }
}
