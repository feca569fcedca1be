//! Short names for parts of the program, as users set levels for them.

/// A part of the program: its name, and the tracing targets (module paths) that belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subsystem {
    /// Its name.
    pub name: &'static str,
    /// Names that Kubo has for the same part.
    pub aliases: &'static [&'static str],
    /// What it logs under. A target stands for everything below it that has no subsystem of its own.
    pub targets: &'static [&'static str],
    /// What it is, for the docs.
    pub about: &'static str,
}

const fn subsystem(
    name: &'static str,
    aliases: &'static [&'static str],
    targets: &'static [&'static str],
    about: &'static str,
) -> Subsystem {
    Subsystem { name, aliases, targets, about }
}

/// Every subsystem, by name.
pub const SUBSYSTEMS: [Subsystem; 16] = [
    subsystem(
        "blockstore",
        &["flatfs"],
        &["holdfast_blockstore"],
        "the block store: commits, damage, disk space",
    ),
    subsystem("config", &[], &["holdfast::config"], "the config file"),
    subsystem("core", &["core/commands", "cmd/ipfs"], &["holdfast"], "what has no subsystem of its own"),
    subsystem("daemon", &["core/server"], &["holdfast::daemon"], "start, listeners, stop"),
    subsystem("dag", &["merkledag", "unixfs"], &["holdfast_dag"], "formats of files and directories"),
    subsystem("dht", &["dht/provider", "routing"], &["holdfast_dht"], "finding, and IPNS records"),
    subsystem("gateway", &["core/corehttp"], &["holdfast::gateway"], "the gateway"),
    subsystem(
        "gc",
        &[],
        &[
            "holdfast::maintenance::gc",
            "holdfast::services::gc",
            "holdfast_blockstore::compact",
            "holdfast_blockstore::delete",
            "holdfast_blockstore::gc",
            "holdfast_blockstore::quota",
        ],
        "garbage collection",
    ),
    subsystem("http", &[], &["holdfast::http"], "connections"),
    subsystem("mfs", &["files"], &["holdfast::services::files"], "the mutable file system"),
    subsystem("names", &["namesys", "ipns"], &["holdfast::services::names"], "IPNS names"),
    subsystem(
        "pinning",
        &["remotepinning/mfs", "pinning-service-http-client"],
        &["holdfast::pinning"],
        "pinning services, and the files root that is kept pinned at them",
    ),
    subsystem("rocksdb", &["leveldb"], &["holdfast_blockstore::rocksdb"], "messages of RocksDB itself"),
    subsystem("rpc", &["cmds", "cmds/http"], &["holdfast::rpc"], "requests for commands"),
    subsystem(
        "scrub",
        &[],
        &["holdfast::maintenance::scrub", "holdfast_blockstore::scrub", "holdfast_blockstore::verify"],
        "verification of blocks",
    ),
    subsystem("swarm", &["connmgr", "net/identify", "swarm2"], &["holdfast::swarm"], "connections to peers"),
];

/// The subsystem of this name or alias.
pub(super) fn find(name: &str) -> Option<&'static Subsystem> {
    SUBSYSTEMS.iter().find(|subsystem| subsystem.name == name || subsystem.aliases.contains(&name))
}

/// The subsystem that a target belongs to: that with the longest of the targets above it.
pub(super) fn of_target(target: &str) -> Option<&'static Subsystem> {
    let above = |prefix: &str| {
        target.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let longest = |subsystem: &Subsystem| {
        subsystem.targets.iter().filter(|prefix| above(prefix)).map(|prefix| prefix.len()).max()
    };
    SUBSYSTEMS
        .iter()
        .max_by_key(|subsystem| longest(subsystem))
        .filter(|subsystem| longest(subsystem).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_belongs_to_the_nearest_subsystem() {
        let name = |target| of_target(target).map(|subsystem| subsystem.name);
        assert_eq!(name("holdfast::services::gc"), Some("gc"));
        assert_eq!(name("holdfast::services::pins"), Some("core"));
        assert_eq!(name("holdfast_blockstore::rocksdb"), Some("rocksdb"));
        assert_eq!(name("holdfast_blockstore::store"), Some("blockstore"));
        assert_eq!(name("holdfastness"), None);
        assert_eq!(name("mio::poll"), None);
    }

    #[test]
    fn names_and_targets_are_in_order_and_said_once() {
        let names: Vec<&str> =
            SUBSYSTEMS.iter().flat_map(|one| one.aliases.iter().copied().chain([one.name])).collect();
        let targets: Vec<&str> = SUBSYSTEMS.iter().flat_map(|one| one.targets.iter().copied()).collect();
        for mut words in [names, targets] {
            let count = words.len();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), count);
        }
        assert!(SUBSYSTEMS.is_sorted_by_key(|subsystem| subsystem.name));
    }
}
