//! What is known of machine and process.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde_json::{Value, json};

use crate::commands::KUBO_VERSION;
use crate::commands::version::{COMMIT, arch, os};
use crate::observe::ProcessFigures;

/// The report of `diag sys`. Blocks for as long as a few small files of `/proc` take. `tasks` run in the process.
pub(in crate::commands) fn report(repo: &Path, tasks: usize, online: bool) -> Value {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    json!({
        "diskinfo": disk(repo),
        "environment": { "IPFS_PATH": std::env::var("IPFS_PATH").unwrap_or_default() },
        "ipfs_commit": COMMIT,
        "ipfs_version": KUBO_VERSION,
        "memory": memory(),
        "net": { "interface_addresses": addresses(), "online": online },
        "runtime": {
            "arch": arch(),
            "compiler": "rustc",
            "gomaxprocs": cores,
            "numcpu": cores,
            "numgoroutines": tasks,
            "os": os(),
            "version": env!("HOLDFAST_RUSTC"),
        },
    })
}

fn disk(repo: &Path) -> Value {
    let (Ok(space), Ok(kind)) = (rustix::fs::statvfs(repo), rustix::fs::statfs(repo)) else {
        return Value::Null;
    };
    json!({
        "free_space": space.f_bavail * space.f_frsize,
        "fstype": kind.f_type.to_string(),
        "total_space": space.f_blocks * space.f_frsize,
    })
}

/// In bytes. `swap` is what of the process is swapped out.
fn memory() -> Value {
    let Some(figures) = ProcessFigures::read() else { return Value::Null };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let swap =
        status.lines().find_map(|line| line.strip_prefix("VmSwap:")?.split_whitespace().next()?.parse().ok());
    let swap: u64 = swap.unwrap_or(0) * 1024;
    json!({ "resident": figures.resident_bytes, "swap": swap, "virt": figures.virtual_bytes })
}

/// The addresses of this machine, as multiaddrs.
fn addresses() -> BTreeSet<String> {
    let v4 = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let v4 = v4_addresses(&v4).into_iter().map(|address| format!("/ip4/{address}"));
    v4.chain(v6_addresses(&v6).map(|address| format!("/ip6/{address}"))).collect()
}

/// Those that the routing table calls this host's own: a line with the address, then one that says so.
fn v4_addresses(fib_trie: &str) -> Vec<Ipv4Addr> {
    let lines: Vec<&str> = fib_trie.lines().map(str::trim).collect();
    let pairs = lines.iter().zip(lines.iter().skip(1));
    pairs
        .filter(|(_, next)| next.starts_with("/32 host LOCAL"))
        .filter_map(|(line, _)| line.strip_prefix("|-- ")?.parse().ok())
        .collect()
}

fn v6_addresses(if_inet6: &str) -> impl Iterator<Item = Ipv6Addr> {
    let first = if_inet6.lines().filter_map(|line| line.split_whitespace().next());
    first.filter_map(|digits| u128::from_str_radix(digits, 16).ok()).map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_kernels_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.7\n        \
                    /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n";
        assert_eq!(v4_addresses(trie), [Ipv4Addr::new(10, 0, 0, 7)]);
        let v6 = "00000000000000000000000000000001 01 80 10 80       lo\nnonsense\n";
        assert_eq!(v6_addresses(v6).collect::<Vec<_>>(), [Ipv6Addr::LOCALHOST]);
    }

    #[test]
    fn the_report_has_kubos_keys_and_real_figures() {
        let report = report(Path::new("/"), 3, false);
        let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
        let kubos = ["diskinfo", "environment", "ipfs_commit", "ipfs_version", "memory", "net", "runtime"];
        assert_eq!(keys, kubos);
        assert!(report["diskinfo"]["total_space"].as_u64().unwrap() > 0, "{report}");
        assert!(report["memory"]["virt"].as_u64().unwrap() > 1 << 20, "{report}");
        assert!(report["runtime"]["version"].as_str().unwrap().starts_with("rustc 1."), "{report}");
        assert_eq!(report["runtime"]["numgoroutines"], 3);
    }
}
