//! `libp2p-resource-limit-overrides.json`: the operator's own limits, in the shape of go-libp2p's `PartialLimitConfig`, over those that
//! follow from the config.
//!
//! A value is a number, `"unlimited"`, `"blockAll"`, or `"default"`, which leaves what the config says; go's numbers for the words, -1
//! and -2, do as well, and 0 blocks all. `Memory` may be a number in quotes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use libp2p::PeerId;
use serde_json::{Map, Value};

use super::resources::{ResourceLimits, ScopeLimits, UNREAD_BYTES_MIN};

/// Its name in the repo.
pub(super) const FILE: &str = "libp2p-resource-limit-overrides.json";
/// A larger file is none: it would take 4,096 peers with all their limits.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why the file is none. It names the place in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverridesError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// It is larger than 1 MiB.
    #[error("it is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// It is no JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// There is something else where an object belongs.
    #[error("{place} must be an object")]
    NoObject {
        /// Which one, as `Peer.12D3KooW…`.
        place: String,
    },
    /// A value is none.
    #[error("{place} must be a number, \"unlimited\", \"blockAll\" or \"default\", not {found}")]
    Value {
        /// Its name and that of its scope: `System.Conns`.
        place: String,
        /// What is there.
        found: String,
    },
    /// A peer that is none.
    #[error("Peer.{0}: it is no peer ID")]
    Peer(String),
}

/// The limits of a scope, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Memory,
    Fd,
    Conns,
    ConnsInbound,
    ConnsOutbound,
    Streams,
    StreamsInbound,
    StreamsOutbound,
}

impl Field {
    const ALL: [(&'static str, Self); 8] = [
        ("Memory", Self::Memory),
        ("FD", Self::Fd),
        ("Conns", Self::Conns),
        ("ConnsInbound", Self::ConnsInbound),
        ("ConnsOutbound", Self::ConnsOutbound),
        ("Streams", Self::Streams),
        ("StreamsInbound", Self::StreamsInbound),
        ("StreamsOutbound", Self::StreamsOutbound),
    ];

    /// As go decodes names: whatever the case.
    fn named(name: &str) -> Option<(&'static str, Self)> {
        Self::ALL.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    fn of(self, limits: &mut ScopeLimits) -> &mut Option<usize> {
        match self {
            Self::Memory => &mut limits.memory_bytes,
            Self::Fd => &mut limits.sockets,
            Self::Conns => &mut limits.connections.both,
            Self::ConnsInbound => &mut limits.connections.inbound,
            Self::ConnsOutbound => &mut limits.connections.outbound,
            Self::Streams => &mut limits.streams.both,
            Self::StreamsInbound => &mut limits.streams.inbound,
            Self::StreamsOutbound => &mut limits.streams.outbound,
        }
    }
}

/// A scope, as far as something has to do with it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    System,
    Transient,
    Peer,
    /// It has no limits here.
    Other,
}

impl Scope {
    /// Whether there is such a limit here. What this node opens itself is bounded where it is opened.
    fn has(self, field: Field) -> bool {
        use Field::{Conns, ConnsInbound, ConnsOutbound, Streams, StreamsInbound, StreamsOutbound};
        match self {
            Self::System => field != StreamsOutbound,
            Self::Transient => matches!(field, Conns | ConnsInbound | ConnsOutbound),
            Self::Peer => {
                matches!(field, Conns | ConnsInbound | ConnsOutbound | Streams | StreamsInbound)
            }
            Self::Other => false,
        }
    }
}

/// All scopes: their names, and whether there are objects with names of their own below.
const SCOPES: [(&str, Scope, bool); 16] = [
    ("System", Scope::System, false),
    ("Transient", Scope::Transient, false),
    ("AllowlistedSystem", Scope::Other, false),
    ("AllowlistedTransient", Scope::Other, false),
    ("ServiceDefault", Scope::Other, false),
    ("Service", Scope::Other, true),
    ("ServicePeerDefault", Scope::Other, false),
    ("ServicePeer", Scope::Other, true),
    ("ProtocolDefault", Scope::Other, false),
    ("Protocol", Scope::Other, true),
    ("ProtocolPeerDefault", Scope::Other, false),
    ("ProtocolPeer", Scope::Other, true),
    ("PeerDefault", Scope::Peer, false),
    ("Peer", Scope::Peer, true),
    ("Conn", Scope::Other, false),
    ("Stream", Scope::Other, false),
];

/// A value that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Unlimited,
    AtMost(usize),
}

impl Limit {
    fn max(self) -> Option<usize> {
        match self {
            Self::Unlimited => None,
            Self::AtMost(max) => Some(max),
        }
    }
}

/// What is said of one scope.
type Said = BTreeMap<Field, Limit>;

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    system: Said,
    transient: Said,
    peer: Said,
    peers: Vec<(PeerId, Said)>,
    /// Limits that there are none of here.
    without_effect: BTreeSet<String>,
}

impl Overrides {
    /// Reads the file, if there is one. Blocks.
    pub(super) fn read(path: &Path) -> Result<Self, OverridesError> {
        match std::fs::metadata(path) {
            Ok(meta) if meta.len() > FILE_BYTES_MAX => Err(OverridesError::TooLarge),
            Ok(_) => Self::parse(&std::fs::read(path)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, OverridesError> {
        let document: Value = serde_json::from_slice(bytes)?;
        let mut all = Self::default();
        for (name, value) in object("the file", &document)?.into_iter().flatten() {
            let known = SCOPES.into_iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
            match known {
                None => drop(all.without_effect.insert(name.clone())),
                Some((name, scope, false)) => {
                    let said = all.scope(name, name, scope, value)?;
                    match name {
                        "System" => all.system = said,
                        "Transient" => all.transient = said,
                        "PeerDefault" => all.peer = said,
                        _ => {}
                    }
                }
                Some((name, scope, true)) => {
                    for (key, value) in object(name, value)?.into_iter().flatten() {
                        let said = all.scope(name, &format!("{name}.{key}"), scope, value)?;
                        if scope == Scope::Peer {
                            let peer = crate::keys::parse_peer_id(key);
                            all.peers.push((peer.map_err(|_| OverridesError::Peer(key.clone()))?, said));
                        }
                    }
                }
            }
        }
        Ok(all)
    }

    /// What is said of one scope that has an effect here.
    fn scope(
        &mut self,
        name: &str,
        place: &str,
        scope: Scope,
        value: &Value,
    ) -> Result<Said, OverridesError> {
        let mut said = Said::new();
        for (key, value) in object(place, value)?.into_iter().flatten() {
            let Some((key, field)) = Field::named(key) else {
                self.without_effect.insert(format!("{name}.{key}"));
                continue;
            };
            let Some(limit) = limit(&format!("{place}.{key}"), field, value)? else { continue };
            if scope.has(field) {
                said.insert(field, limit);
            } else if limit != Limit::Unlimited {
                // Where there is no limit, `unlimited` is what it is.
                let shown = if scope == Scope::Other { name.to_owned() } else { format!("{name}.{key}") };
                self.without_effect.insert(shown);
            }
        }
        Ok(said)
    }

    /// Puts them over those of the config. What has no effect is said in `warnings`.
    pub(super) fn apply(&self, limits: &mut ResourceLimits, warnings: &mut Vec<String>) {
        let over = |said: &Said, mut limits: ScopeLimits| {
            for (field, limit) in said {
                *field.of(&mut limits) = limit.max();
            }
            limits
        };
        limits.system = over(&self.system, limits.system);
        limits.transient = over(&self.transient, limits.transient);
        limits.peer = over(&self.peer, limits.peer);
        let peers: HashMap<_, _> =
            self.peers.iter().map(|(peer, said)| (*peer, over(said, limits.peer))).collect();
        limits.peers = Arc::new(peers);
        if let Some(bytes) = limits.system.memory_bytes.as_mut().filter(|bytes| **bytes < UNREAD_BYTES_MIN) {
            warnings.push(format!(
                "{FILE}: System.Memory is raised to {UNREAD_BYTES_MIN} bytes: with less, connections wait for each other"
            ));
            *bytes = UNREAD_BYTES_MIN;
        }
        if !self.without_effect.is_empty() {
            let names: Vec<&str> = self.without_effect.iter().map(String::as_str).collect();
            warnings
                .push(format!("{FILE}: without effect, for there are no such limits: {}", names.join(", ")));
        }
    }

    /// A limit of the whole node that leaves no room for the connections that are kept, and its value.
    pub(super) fn below(&self, high_watermark: usize) -> Option<(&'static str, usize)> {
        use Field::{Conns, ConnsInbound, Streams, StreamsInbound};
        Field::ALL.into_iter().find_map(|(name, field)| {
            let counts = matches!(field, Conns | ConnsInbound | Streams | StreamsInbound);
            let max = self.system.get(&field).filter(|_| counts)?.max()?;
            (max <= high_watermark).then_some((name, max))
        })
    }
}

/// An object; none where go takes `null` for one.
fn object<'v>(place: &str, value: &'v Value) -> Result<Option<&'v Map<String, Value>>, OverridesError> {
    match value {
        Value::Null => Ok(None),
        Value::Object(map) => Ok(Some(map)),
        _ => Err(OverridesError::NoObject { place: place.to_owned() }),
    }
}

/// A limit; none where it is left as it is.
fn limit(place: &str, field: Field, value: &Value) -> Result<Option<Limit>, OverridesError> {
    let number = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) if field == Field::Memory => text.parse().ok(),
        _ => None,
    };
    match (value, number) {
        (Value::Null, _) => Ok(None),
        (Value::String(text), _) if text == "default" => Ok(None),
        (Value::String(text), _) if text == "unlimited" => Ok(Some(Limit::Unlimited)),
        (Value::String(text), _) if text == "blockAll" => Ok(Some(Limit::AtMost(0))),
        (_, Some(-1)) => Ok(Some(Limit::Unlimited)),
        (_, Some(-2)) => Ok(Some(Limit::AtMost(0))),
        (_, Some(number @ 0..)) => Ok(Some(Limit::AtMost(usize::try_from(number).unwrap_or(usize::MAX)))),
        _ => Err(OverridesError::Value { place: place.to_owned(), found: value.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::swarm::resources;

    const PEER: &str = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";

    fn applied(text: &str) -> (ResourceLimits, Vec<String>) {
        let (mut limits, mut warnings) =
            (resources::limits(&Config::defaults(), None).unwrap().unwrap(), Vec::new());
        Overrides::parse(text.as_bytes()).unwrap().apply(&mut limits, &mut warnings);
        (limits, warnings)
    }

    #[test]
    fn what_it_says_stands_over_what_follows_from_the_config() {
        let computed = applied("{}").0;
        let (limits, warnings) = applied(&format!(
            r#"{{
                "System": {{ "Conns": 300, "ConnsInbound": "default", "ConnsOutbound": 0, "Streams": 2000,
                             "StreamsInbound": "unlimited", "FD": "blockAll", "Memory": "1073741824" }},
                "transient": {{ "conns": 5, "ConnsInbound": -1, "ConnsOutbound": -2 }},
                "PeerDefault": {{ "Conns": 3, "StreamsInbound": 7 }},
                "Peer": {{ "{PEER}": {{ "Conns": "unlimited", "Streams": 9 }} }},
                "Service": null
            }}"#
        ));
        let system = limits.system;
        assert_eq!((system.memory_bytes, system.sockets), (Some(1 << 30), Some(0)));
        assert_eq!(
            (system.connections.both, system.connections.inbound, system.connections.outbound),
            (Some(300), computed.system.connections.inbound, Some(0))
        );
        assert_eq!((system.streams.both, system.streams.inbound), (Some(2000), None));
        let transient = limits.transient.connections;
        assert_eq!((transient.both, transient.inbound, transient.outbound), (Some(5), None, Some(0)));
        assert_eq!((limits.peer.connections.both, limits.peer.streams.inbound), (Some(3), Some(7)));
        // What is not said of a peer is what is said of all.
        let friend = limits.of_peer(&PEER.parse().unwrap());
        assert_eq!((friend.connections.both, friend.streams.both), (None, Some(9)));
        assert_eq!(friend.streams.inbound, Some(7));
        assert_eq!(limits.of_peer(&PeerId::random()), &limits.peer);
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(applied("{}"), (computed, Vec::new()));
    }

    #[test]
    fn what_has_no_effect_is_named_in_one_line_and_what_asks_for_nothing_is_not() {
        let (_, warnings) = applied(
            r#"{ "Service": { "libp2p.autonat": { "Memory": 1 } }, "ProtocolDefault": { "Streams": 5 }, "Conn": { "FD": "unlimited" },
                 "Stream": { "Memory": "default" }, "System": { "StreamsOutbound": 7, "Sockets": 1 },
                 "PeerDefault": { "Memory": "65536", "FD": "unlimited" }, "Sistem": {} }"#,
        );
        let expected = format!(
            "{FILE}: without effect, for there are no such limits: PeerDefault.Memory, ProtocolDefault, Service, Sistem, \
             System.Sockets, System.StreamsOutbound"
        );
        assert_eq!(warnings, [expected]);
        let (limits, warnings) = applied(r#"{ "System": { "Memory": 1 } }"#);
        assert_eq!(limits.system.memory_bytes, Some(UNREAD_BYTES_MIN));
        assert!(warnings[0].contains("System.Memory is raised"), "{warnings:?}");
    }

    #[test]
    fn what_is_wrong_with_it_names_the_place() {
        for (text, words) in [
            ("{ \"System\": {\n \"Conns\": }", "line 2 column 11"),
            ("7", "the file must be an object"),
            (r#"{ "System": 7 }"#, "System must be an object"),
            (r#"{ "System": { "Conns": "many" } }"#, "System.Conns must be a number, \"unlimited\""),
            (r#"{ "System": { "Conns": "7" } }"#, "not \"7\""),
            (r#"{ "Transient": { "FD": -3 } }"#, "Transient.FD must be"),
            (r#"{ "Service": { "a": { "FD": 1.5 } } }"#, "Service.a.FD must be"),
            (r#"{ "Peer": { "nobody": {} } }"#, "Peer.nobody: it is no peer ID"),
        ] {
            let error = Overrides::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
