//! `Swarm.ResourceMgr` in numbers: what connections and streams may use, in go-libp2p's scopes.

use std::collections::HashMap;
use std::sync::Arc;

use libp2p::PeerId;
use rustix::process::{Resource, getrlimit};
use serde_json::Value;

use super::connections::Watermarks;
use super::overrides::FILE;
use super::settings::count;
use super::transport::QUIC_CONNECTION_WINDOW_BYTES;
use crate::config::{Config, ValueError};

/// Inbound connections that are allowed at least, as in Kubo.
const INBOUND_CONNECTIONS_MIN: u64 = 800;
/// Connections of one peer.
const PEER_CONNECTIONS_MAX: usize = 8;
/// Streams that one peer may have opened, on all its connections.
const PEER_STREAMS_MAX: usize = 512;
/// QUIC connections that others may have opened are refused above this many at least: it is of use to everyone.
const QUIC_CONNECTIONS_MIN: u64 = 64;
/// Bytes that may wait unread in yamux at least, on all connections: 64 KiB, the largest frame of the usual muxers, for more
/// connections than the smallest machine takes.
pub(super) const UNREAD_BYTES_MIN: usize = 64 << 20;
/// What the machine's memory is taken for where nobody says.
const MEMORY_BYTES_UNKNOWN: u64 = 1 << 30;
/// Streams that all peers together may have opened, for each inbound connection that is allowed.
const STREAMS_PER_CONNECTION: usize = 16;
/// Which share of the files that the process may have open is left to connections, as in Kubo: one in so many.
const FILES_PER_SOCKET: u64 = 2;

/// Limits on what others opened, on what we opened, and on both together; none where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Directed {
    /// Both together.
    pub both: Option<usize>,
    /// Opened by others.
    pub inbound: Option<usize>,
    /// Opened by us.
    pub outbound: Option<usize>,
}

impl Directed {
    /// Whether there may be one more that others open, where there are so many of theirs and of ours.
    pub(super) fn takes_inbound(&self, inbound: usize, outbound: usize) -> bool {
        self.inbound.is_none_or(|max| inbound < max)
            && self.both.is_none_or(|max| inbound.saturating_add(outbound) < max)
    }
}

/// Limits of one scope; none where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScopeLimits {
    /// `Memory`: bytes that wait unread in yamux.
    pub memory_bytes: Option<usize>,
    /// `FD`: connections that have a socket of their own.
    pub sockets: Option<usize>,
    /// `Conns`, `ConnsInbound`, `ConnsOutbound`.
    pub connections: Directed,
    /// `Streams`, `StreamsInbound`, `StreamsOutbound`.
    pub streams: Directed,
}

/// All limits. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Everything together.
    pub system: ScopeLimits,
    /// What is not secured yet.
    pub transient: ScopeLimits,
    /// Each peer.
    pub peer: ScopeLimits,
    /// Peers with limits of their own.
    pub peers: Arc<HashMap<PeerId, ScopeLimits>>,
    /// Connections over QUIC, in either direction, at which no more are taken. Each may hold its window unread, and together they hold no
    /// more than three quarters of `MaxMemory`.
    pub quic_connections: usize,
}

impl ResourceLimits {
    /// What holds for this peer.
    pub fn of_peer(&self, peer: &PeerId) -> &ScopeLimits {
        self.peers.get(peer).unwrap_or(&self.peer)
    }
}

/// `Swarm.ResourceMgr.MaxMemory`. The limit of the process is a quarter of the machine; here Kubo takes half of it.
fn max_memory(config: &Config) -> Result<u64, ValueError> {
    let said = config.size("Swarm.ResourceMgr.MaxMemory")?;
    let memory = said.or_else(|| crate::memory::default_limit_bytes().map(|quarter| 2 * quarter as u64));
    Ok(memory.unwrap_or(MEMORY_BYTES_UNKNOWN))
}

/// Bytes that may wait unread in yamux: a quarter of `Swarm.ResourceMgr.MaxMemory`.
pub(super) fn unread_bytes_max(config: &Config) -> Result<usize, ValueError> {
    Ok(saturated(max_memory(config)? / 4).max(UNREAD_BYTES_MIN))
}

/// `Swarm.ResourceMgr.MaxFileDescriptors`; where it says nothing, half of what the process may have open. It is read when the swarm
/// starts: the daemon has raised the limit of its process by then.
fn max_sockets(config: &Config) -> Result<Option<usize>, ValueError> {
    let half = || getrlimit(Resource::Nofile).current.map(|files| saturated(files / FILES_PER_SOCKET));
    let said = count(config, "Swarm.ResourceMgr.MaxFileDescriptors")?;
    Ok(said.or_else(half))
}

/// Limits that stand in the config itself. Kubo takes none since 0.19, either: they would be believed to hold.
fn refuse_limits_in_config(config: &Config) -> Result<(), ValueError> {
    match config.document().pointer("/Swarm/ResourceMgr/Limits") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(map)) if map.is_empty() => Ok(()),
        Some(_) => Err(ValueError {
            key: "Swarm.ResourceMgr.Limits".to_owned(),
            reason: format!(
                "it was removed in Kubo 0.19 and must be empty or absent; limits of your own go into {FILE} in the repo"
            ),
        }),
    }
}

fn saturated(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// After Kubo's defaults: one inbound connection for each MiB of `MaxMemory`, at least 800 and twice the high watermark.
pub(super) fn limits(
    config: &Config,
    watermarks: Option<Watermarks>,
) -> Result<Option<ResourceLimits>, ValueError> {
    refuse_limits_in_config(config)?;
    if config.flag("Swarm.ResourceMgr.Enabled")? == Some(false) {
        return Ok(None);
    }
    let memory = max_memory(config)?;
    let by_watermark = watermarks.map_or(0, |marks| 2 * marks.high as u64);
    let inbound = saturated((memory >> 20).max(by_watermark).max(INBOUND_CONNECTIONS_MIN));
    let quic = memory / 4 * 3 / u64::from(QUIC_CONNECTION_WINDOW_BYTES);
    let directed = |both, inbound, outbound| Directed { both, inbound, outbound };
    Ok(Some(ResourceLimits {
        system: ScopeLimits {
            memory_bytes: Some(unread_bytes_max(config)?),
            sockets: max_sockets(config)?,
            connections: directed(None, Some(inbound), None),
            streams: directed(None, Some(inbound.saturating_mul(STREAMS_PER_CONNECTION)), None),
        },
        transient: ScopeLimits {
            connections: directed(None, Some(inbound / 4), Some(inbound / 4)),
            ..ScopeLimits::default()
        },
        peer: ScopeLimits {
            connections: directed(Some(PEER_CONNECTIONS_MAX), None, None),
            streams: directed(None, Some(PEER_STREAMS_MAX), None),
            ..ScopeLimits::default()
        },
        peers: Arc::default(),
        quic_connections: saturated(quic.max(QUIC_CONNECTIONS_MIN)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(text: &str) -> ResourceLimits {
        limits(&Config::parse(text).unwrap(), None).unwrap().unwrap()
    }

    #[test]
    fn half_of_the_files_of_the_process_is_for_connections_where_nobody_says_how_many() {
        let files = getrlimit(Resource::Nofile).current.map(|files| saturated(files / 2));
        assert_eq!(of_text("{}").system.sockets, files);
        let said = r#"{"Swarm":{"ResourceMgr":{"MaxFileDescriptors":7}}}"#;
        assert_eq!(of_text(said).system.sockets, Some(7));
        let config = Config::parse(r#"{"Swarm":{"ResourceMgr":{"MaxFileDescriptors":-1}}}"#).unwrap();
        assert_eq!(limits(&config, None).unwrap_err().key, "Swarm.ResourceMgr.MaxFileDescriptors");
    }

    #[test]
    fn limits_in_the_config_itself_end_the_start_and_the_file_for_them_is_named() {
        for text in [r#"{"System":{"Conns":9}}"#, "[]", "7"] {
            for is_enabled in [true, false] {
                let manager = format!(r#"{{"Limits":{text},"Enabled":{is_enabled}}}"#);
                let config = Config::parse(&format!(r#"{{"Swarm":{{"ResourceMgr":{manager}}}}}"#)).unwrap();
                let error = limits(&config, None).unwrap_err();
                assert_eq!(error.key, "Swarm.ResourceMgr.Limits");
                assert!(error.reason.contains(FILE), "{}", error.reason);
            }
        }
        for text in ["{}", "null"] {
            of_text(&format!(r#"{{"Swarm":{{"ResourceMgr":{{"Limits":{text}}}}}}}"#));
        }
    }
}
