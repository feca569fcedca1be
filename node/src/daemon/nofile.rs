//! The limit on open files: every connection is one, and so is every segment that is read.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::console::Console;

/// What is asked for where `IPFS_FD_MAX` says nothing: all connections that the API and the gateway take, and as much again for the
/// swarm and for files.
const FILES: u64 = 65_536;
/// Below this, Kubo complains, and so do we.
const FILES_MIN: u64 = 2048;

/// Connections of one server, at most: five eighths of the files that this process may have open are left to servers.
pub(super) fn connections_max(most: usize) -> usize {
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    files.map_or(most, |files| most.min(files / 8 * 5))
}

/// Raises the limit of this process as far as it may. What it is too low for is named.
pub(super) fn raise(console: &Console) {
    let asked = std::env::var("IPFS_FD_MAX").ok().filter(|text| !text.is_empty());
    let asked = asked.and_then(|text| {
        let number = text.parse::<u64>();
        if number.is_err() {
            console.warn(format!("bad value for IPFS_FD_MAX: {text:?} is not a number"));
        }
        number.ok()
    });
    let wanted = asked.unwrap_or(FILES);
    let limit = getrlimit(Resource::Nofile);
    // No limit is as good as any.
    let Some(current) = limit.current.filter(|current| *current < wanted) else { return };
    let reached =
        [wanted, limit.maximum.map_or(wanted, |maximum| maximum.min(wanted))].into_iter().find(|files| {
            let maximum = limit.maximum.map(|maximum| maximum.max(*files));
            setrlimit(Resource::Nofile, Rlimit { current: Some(*files), maximum }).is_ok()
        });
    let reached = reached.unwrap_or(current);
    if asked.is_some_and(|asked| reached < asked) {
        console.warn(format!("failed to raise ulimit to IPFS_FD_MAX ({wanted}): set to {reached}"));
    } else if reached < FILES_MIN {
        console.warn(format!("failed to raise ulimit to minimum {FILES_MIN}: set to {reached}"));
    }
}
