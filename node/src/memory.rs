//! How much memory the process may take where its config does not say: a quarter of the machine's, or of its cgroup's.

use std::fs;

/// A quarter of the machine's memory, or of what the process's cgroup is allowed, if that is less; in bytes. `None` where
/// neither can be read.
pub(crate) fn default_limit_bytes() -> Option<usize> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    let cgroup = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let cgroup = cgroup.iter().find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    let bytes: u64 = machine.into_iter().chain(cgroup).min()?;
    usize::try_from(bytes / 4).ok()
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_how_much_it_has() {
        assert_eq!(total_of("MemTotal:        1000 kB\nMemFree: 1 kB\n"), Some(1_024_000));
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
        assert!(default_limit_bytes().is_none_or(|bytes| bytes > 1 << 20));
    }
}
