//! Which keys a config may have and what type each value has: Kubo's `CheckKey`, and the type errors of its decoder.

use serde_json::Value;

use super::units::{GoDuration, parse_size};
use crate::go_text::go_quote;

/// The type of a value. Every type also takes `null`: the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text.
    Str,
    /// A whole number, with the name of its Go type.
    Int(&'static str),
    /// `true` or `false`.
    Bool,
    /// A list of texts.
    List,
    /// One text, or a list of texts.
    OneOrMany,
    /// `true` or `false`, with a default.
    Flag,
    /// `false`, or a positive number.
    Priority,
    /// A Go duration as text.
    Duration,
    /// A size as text or number.
    Size,
    /// Anything.
    Any,
}

use Kind::{Any, Bool, Duration, Flag, Int, List, OneOrMany, Priority, Size, Str};

const INT: Kind = Int("int");
const INT64: Kind = Int("int64");

/// Every key, with `*` for the names of a map. `Datastore.Durability`, `.ReserveSize`, `.ScrubPeriod`,
/// `.ScrubBytesPerSecond`, `Resources`, `Discovery.MDNS.Interval`, `Swarm.PingInterval`, and those of `API` behind `Authorizations` are Holdfast's own.
const KEYS: &[(&str, &[(&str, Kind)])] = &[
    ("Identity", &[("PeerID", Str), ("PrivKey", Str)]),
    (
        "Datastore",
        &[
            ("StorageMax", Str),
            ("StorageGCWatermark", INT64),
            ("GCPeriod", Str),
            ("Spec", Any),
            ("HashOnRead", Bool),
            ("BloomFilterSize", INT),
            ("BlockKeyCacheSize", INT64),
            ("WriteThrough", Flag),
            ("Durability", Str),
            ("ReserveSize", Size),
            ("ScrubPeriod", Duration),
            ("ScrubBytesPerSecond", Size),
        ],
    ),
    ("Resources", &[("MemoryLimit", Size)]),
    (
        "Addresses",
        &[
            ("Swarm", List),
            ("Announce", List),
            ("AppendAnnounce", List),
            ("NoAnnounce", List),
            ("API", OneOrMany),
            ("Gateway", OneOrMany),
        ],
    ),
    (
        "Mounts",
        &[
            ("IPFS", Str),
            ("IPNS", Str),
            ("MFS", Str),
            ("FuseAllowOther", Flag),
            ("StoreMtime", Flag),
            ("StoreMode", Flag),
        ],
    ),
    ("Discovery", &[("MDNS.Enabled", Bool), ("MDNS.Interval", Duration)]),
    (
        "Routing",
        &[
            ("Type", Str),
            ("AcceleratedDHTClient", Flag),
            ("LoopbackAddressesOnLanDHT", Flag),
            ("IgnoreProviders", List),
            ("DelegatedRouters", List),
            ("Routers.*.Type", Str),
            ("Routers.*.Parameters", Any),
            ("Methods.*.RouterName", Str),
        ],
    ),
    (
        "Ipns",
        &[
            ("RepublishPeriod", Str),
            ("RecordLifetime", Str),
            ("ResolveCacheSize", INT),
            ("MaxCacheTTL", Duration),
            ("UsePubsub", Flag),
            ("DelegatedPublishers", List),
        ],
    ),
    ("Bootstrap", &[("", List)]),
    (
        "Gateway",
        &[
            ("HTTPHeaders.*", List),
            ("RootRedirect", Str),
            ("NoFetch", Bool),
            ("NoDNSLink", Bool),
            ("DeserializedResponses", Flag),
            ("AllowCodecConversion", Flag),
            ("DisableHTMLErrors", Flag),
            ("ExposeRoutingAPI", Flag),
            ("RetrievalTimeout", Duration),
            ("MaxRequestDuration", Duration),
            ("MaxConcurrentRequests", INT64),
            ("MaxRangeRequestFileSize", Size),
            ("DiagnosticServiceURL", Str),
            ("PublicGateways.*.Paths", List),
            ("PublicGateways.*.UseSubdomains", Bool),
            ("PublicGateways.*.NoDNSLink", Bool),
            ("PublicGateways.*.InlineDNSLink", Flag),
            ("PublicGateways.*.DeserializedResponses", Flag),
        ],
    ),
    (
        "API",
        &[
            ("HTTPHeaders.*", List),
            ("Authorizations.*.AuthSecret", Str),
            ("Authorizations.*.AllowedPaths", List),
            ("AllowUnauthenticated", Flag),
            ("AllowedHosts", List),
            ("AllowGet", Flag),
            ("ReportedVersion", Str),
            ("RateLimitPerAddress", INT64),
            ("RateLimitPerCredential", INT64),
            ("MaxUploadSize", Size),
        ],
    ),
    (
        "Swarm",
        &[
            ("AddrFilters", List),
            ("DisableBandwidthMetrics", Bool),
            ("DisableNatPortMap", Bool),
            ("DisableRelay", Bool),
            ("EnableRelayHop", Bool),
            ("EnableAutoRelay", Bool),
            ("EnableHolePunching", Flag),
            ("RelayClient.Enabled", Flag),
            ("RelayClient.StaticRelays", List),
            ("RelayService.Enabled", Flag),
            ("RelayService.ConnectionDurationLimit", Duration),
            ("RelayService.ConnectionDataLimit", INT64),
            ("RelayService.ReservationTTL", Duration),
            ("RelayService.MaxReservations", INT64),
            ("RelayService.MaxCircuits", INT64),
            ("RelayService.BufferSize", INT64),
            ("RelayService.MaxReservationsPerPeer", INT64),
            ("RelayService.MaxReservationsPerIP", INT64),
            ("RelayService.MaxReservationsPerASN", INT64),
            ("Transports.Network.QUIC", Flag),
            ("Transports.Network.TCP", Flag),
            ("Transports.Network.Websocket", Flag),
            ("Transports.Network.Relay", Flag),
            ("Transports.Network.WebTransport", Flag),
            ("Transports.Network.WebRTCDirect", Flag),
            ("Transports.Security.TLS", Priority),
            ("Transports.Security.SECIO", Priority),
            ("Transports.Security.Noise", Priority),
            ("Transports.Multiplexers.Yamux", Priority),
            ("Transports.Multiplexers.Mplex", Priority),
            ("ConnMgr.Type", Str),
            ("ConnMgr.LowWater", INT64),
            ("ConnMgr.HighWater", INT64),
            ("ConnMgr.GracePeriod", Duration),
            ("ConnMgr.SilencePeriod", Duration),
            ("PingInterval", Duration),
            ("ResourceMgr.Enabled", Flag),
            ("ResourceMgr.Limits", Any),
            ("ResourceMgr.MaxMemory", Size),
            ("ResourceMgr.MaxFileDescriptors", INT64),
            ("ResourceMgr.Allowlist", List),
        ],
    ),
    (
        "AutoNAT",
        &[
            ("ServiceMode", Str),
            ("Throttle.GlobalLimit", INT),
            ("Throttle.PeerLimit", INT),
            ("Throttle.Interval", Duration),
        ],
    ),
    (
        "AutoTLS",
        &[
            ("Enabled", Flag),
            ("AutoWSS", Flag),
            ("DomainSuffix", Str),
            ("RegistrationEndpoint", Str),
            ("RegistrationToken", Str),
            ("RegistrationDelay", Duration),
            ("CAEndpoint", Str),
            ("ShortAddrs", Flag),
            ("SkipDNSLookup", Flag),
        ],
    ),
    (
        "AutoConf",
        &[
            ("URL", Str),
            ("Enabled", Flag),
            ("TLSInsecureSkipVerify", Flag),
            ("RefreshInterval", Duration),
            ("CacheDir", Str),
        ],
    ),
    (
        "Pubsub",
        &[
            ("Router", Str),
            ("DisableSigning", Bool),
            ("Enabled", Flag),
            ("SeenMessagesTTL", Duration),
            ("SeenMessagesStrategy", Str),
        ],
    ),
    ("Peering", &[("Peers", Any)]),
    ("DNS", &[("Resolvers.*", Str), ("MaxCacheTTL", Duration), ("OverrideSystem", Flag)]),
    ("Migration", &[("DownloadSources", List), ("Keep", Str)]),
    (
        "Provide",
        &[
            ("Enabled", Flag),
            ("Strategy", Str),
            ("BloomFPRate", INT64),
            ("DHT.Interval", Duration),
            ("DHT.MaxWorkers", INT64),
            ("DHT.SweepEnabled", Flag),
            ("DHT.DedicatedPeriodicWorkers", INT64),
            ("DHT.DedicatedBurstWorkers", INT64),
            ("DHT.MaxProvideConnsPerWorker", INT64),
            ("DHT.KeystoreBatchSize", INT64),
            ("DHT.OfflineDelay", Duration),
            ("DHT.SendProviderRecordTimeout", Duration),
            ("DHT.LANOnly", Flag),
            ("DHT.ResumeEnabled", Flag),
        ],
    ),
    ("Provider", &[("Enabled", Flag), ("Strategy", Str), ("WorkerCount", INT64)]),
    ("Reprovider", &[("Interval", Duration), ("Strategy", Str)]),
    (
        "HTTPRetrieval",
        &[
            ("Enabled", Flag),
            ("Allowlist", List),
            ("Denylist", List),
            ("NumWorkers", INT64),
            ("MaxBlockSize", Str),
            ("TLSInsecureSkipVerify", Flag),
        ],
    ),
    (
        "Experimental",
        &[
            ("FilestoreEnabled", Bool),
            ("UrlstoreEnabled", Bool),
            ("ShardingEnabled", Bool),
            ("GraphsyncEnabled", Any),
            ("Libp2pStreamMounting", Bool),
            ("P2pHttpProxy", Bool),
            ("StrategicProviding", Bool),
            ("AcceleratedDHTClient", Any),
            ("OptimisticProvide", Bool),
            ("OptimisticProvideJobsPoolSize", INT),
            ("GatewayOverLibp2p", Bool),
        ],
    ),
    ("Plugins", &[("Plugins.*.Disabled", Bool), ("Plugins.*.Config", Any)]),
    (
        "Pinning",
        &[
            ("RemoteServices.*.API.Endpoint", Str),
            ("RemoteServices.*.API.Key", Str),
            ("RemoteServices.*.Policies.MFS.Enable", Bool),
            ("RemoteServices.*.Policies.MFS.PinName", Str),
            ("RemoteServices.*.Policies.MFS.RepinInterval", Str),
        ],
    ),
    (
        "Import",
        &[
            ("CidVersion", INT64),
            ("UnixFSRawLeaves", Flag),
            ("UnixFSChunker", Str),
            ("HashFunction", Str),
            ("UnixFSFileMaxLinks", INT64),
            ("UnixFSDirectoryMaxLinks", INT64),
            ("UnixFSHAMTDirectoryMaxFanout", INT64),
            ("UnixFSHAMTDirectorySizeThreshold", Size),
            ("UnixFSHAMTDirectorySizeEstimation", Str),
            ("UnixFSDAGLayout", Str),
            ("BatchMaxNodes", INT64),
            ("BatchMaxSize", INT64),
            ("FastProvideRoot", Flag),
            ("FastProvideDAG", Flag),
            ("FastProvideWait", Flag),
        ],
    ),
    ("Version", &[("AgentSuffix", Str), ("SwarmCheckEnabled", Flag), ("SwarmCheckPercentThreshold", INT64)]),
    (
        "Internal",
        &[
            ("Bitswap.TaskWorkerCount", INT64),
            ("Bitswap.EngineBlockstoreWorkerCount", INT64),
            ("Bitswap.EngineTaskWorkerCount", INT64),
            ("Bitswap.MaxOutstandingBytesPerPeer", INT64),
            ("Bitswap.ProviderSearchDelay", Duration),
            ("Bitswap.ProviderSearchMaxResults", INT64),
            ("Bitswap.WantHaveReplaceSize", INT64),
            ("Bitswap.BroadcastControl.Enable", Flag),
            ("Bitswap.BroadcastControl.MaxPeers", INT64),
            ("Bitswap.BroadcastControl.LocalPeers", Flag),
            ("Bitswap.BroadcastControl.PeeredPeers", Flag),
            ("Bitswap.BroadcastControl.MaxRandomPeers", INT64),
            ("Bitswap.BroadcastControl.SendToPendingPeers", Flag),
            ("UnixFSShardingSizeThreshold", Str),
            ("Libp2pForceReachability", Str),
            ("BackupBootstrapInterval", Duration),
            ("MFSNoFlushLimit", INT64),
            ("ShutdownTimeout", Duration),
            ("CGNATCheck", Flag),
            ("DeadListenerCheck", Flag),
            ("NonPublicAddrPublishing", Flag),
        ],
    ),
    ("Bitswap", &[("Libp2pEnabled", Flag), ("ServerEnabled", Flag)]),
];

/// A key that may go on: the rest of its pattern and its type.
type Candidate = (&'static str, Kind);

/// The whole table as candidates below the root, or those below `part` of the given ones.
fn below(candidates: Option<&[Candidate]>, part: &str) -> Vec<Candidate> {
    let Some(candidates) = candidates else {
        let section = KEYS.iter().find(|(name, _)| *name == part);
        return section.map(|(_, keys)| keys.to_vec()).unwrap_or_default();
    };
    let step = |wanted: &str| -> Vec<Candidate> {
        candidates
            .iter()
            .filter(|(rest, _)| !rest.is_empty())
            .filter_map(|(rest, kind)| {
                let (head, tail) = rest.split_once('.').unwrap_or((rest, ""));
                (head == wanted).then_some((tail, *kind))
            })
            .collect()
    };
    let named = step(part);
    if named.is_empty() { step("*") } else { named }
}

/// The type of a key that has no keys below it.
fn leaf(candidates: &[Candidate]) -> Option<Kind> {
    candidates.iter().find(|(rest, _)| rest.is_empty()).map(|(_, kind)| *kind)
}

/// Says whether the config knows `parts`, in the words of Kubo's `CheckKey`.
pub(super) fn check_key(parts: &[String]) -> Result<(), String> {
    let mut candidates: Option<Vec<Candidate>> = None;
    for (index, part) in parts.iter().enumerate() {
        if let Some(kind) = candidates.as_deref().and_then(leaf) {
            let so_far = parts.iter().take(index).map(String::as_str).collect::<Vec<_>>().join(".");
            return if kind == Any { Ok(()) } else { Err(format!("{so_far} key is not a map")) };
        }
        let next = below(candidates.as_deref(), part);
        if next.is_empty() {
            let path = parts.iter().take(index + 1).map(String::as_str).collect::<Vec<_>>().join(".");
            return Err(format!("{path} not found"));
        }
        candidates = Some(next);
    }
    Ok(())
}

/// Says whether `value` at `parts`, which the config must know, has the right type throughout.
pub(super) fn check_value(parts: &[String], value: &Value) -> Result<(), String> {
    let mut candidates: Option<Vec<Candidate>> = None;
    for part in parts {
        candidates = Some(below(candidates.as_deref(), part));
    }
    check_below(candidates.as_deref(), &parts.join("."), value)
        .map_err(|reason| format!("failure to decode config: {reason}"))
}

/// The keys of a whole config that it does not know, dotted.
pub(super) fn unknown_keys(document: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut todo = vec![(Vec::<String>::new(), document)];
    while let Some((path, value)) = todo.pop() {
        let Some(map) = value.as_object() else { continue };
        for (name, value) in map {
            let mut path = path.clone();
            path.push(name.clone());
            if check_key(&path).is_err() {
                unknown.push(path.join("."));
            } else {
                todo.push((path, value));
            }
        }
    }
    unknown.sort();
    unknown
}

fn check_below(candidates: Option<&[Candidate]>, path: &str, value: &Value) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    if let Some(kind) = candidates.and_then(leaf) {
        return check_leaf(kind, path, value);
    }
    let Some(map) = value.as_object() else {
        let name = path.rsplit('.').next().unwrap_or(path);
        return Err(mismatch(value, path, &format!("config.{name}")));
    };
    for (name, value) in map {
        let next = below(candidates, name);
        if next.is_empty() {
            continue;
        }
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        check_below(Some(&next), &path, value)?;
    }
    Ok(())
}

fn check_leaf(kind: Kind, path: &str, value: &Value) -> Result<(), String> {
    let fits = match kind {
        Any => true,
        Bool => value.is_boolean(),
        Int(_) => value.is_i64(),
        List => return check_list(path, value),
        OneOrMany if value.is_array() => return check_list(path, value),
        Str | OneOrMany => value.is_string(),
        Flag if value.is_boolean() => true,
        Flag => {
            let text = go_quote(&value.to_string());
            return Err(format!(
                "failed to unmarshal {text} into a flag: must be null/undefined, true, or false"
            ));
        }
        Priority => match value.as_i64() {
            Some(number) if number <= 0 => {
                return Err(format!("priority must be positive: {number} <= 0"));
            }
            Some(_) => true,
            None if value == &Value::Bool(true) => {
                return Err("'true' is not a valid priority".to_owned());
            }
            None => value.is_boolean(),
        },
        Duration => match value.as_str() {
            Some("" | "null" | "default") => true,
            Some(text) => return GoDuration::parse(text).map(drop).map_err(|error| error.to_string()),
            None => {
                return GoDuration::parse(&value.to_string()).map(drop).map_err(|error| error.to_string());
            }
        },
        Size => match value.as_str() {
            Some(text) => return parse_size(text).map(drop).map_err(|error| error.to_string()),
            None => value.is_u64(),
        },
    };
    if fits { Ok(()) } else { Err(mismatch(value, path, go_type(kind))) }
}

fn check_list(path: &str, value: &Value) -> Result<(), String> {
    let Some(items) = value.as_array() else { return Err(mismatch(value, path, "[]string")) };
    match items.iter().find(|item| !item.is_string() && !item.is_null()) {
        Some(item) => Err(mismatch(item, path, "string")),
        None => Ok(()),
    }
}

fn go_type(kind: Kind) -> &'static str {
    match kind {
        Str | OneOrMany | Size => "string",
        Int(name) => name,
        Bool | Flag => "bool",
        List => "[]string",
        Priority => "int64",
        Duration => "time.Duration",
        Any => "interface {}",
    }
}

/// Go's words for a value of the wrong type, with the struct that holds the field.
fn mismatch(value: &Value, path: &str, go_type: &str) -> String {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) if go_type.starts_with("int") => format!("number {number}"),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    };
    let holder = match path.rsplit_once('.') {
        None => "Config",
        Some(("Swarm", _)) => "SwarmConfig",
        Some(("AutoNAT", _)) => "AutoNATConfig",
        Some(("Pubsub", _)) => "PubsubConfig",
        Some(("Experimental", _)) => "Experiments",
        Some((parent, _)) => parent.rsplit('.').next().unwrap_or(parent),
    };
    format!("json: cannot unmarshal {found} into Go struct field {holder}.{path} of type {go_type}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parts(key: &str) -> Vec<String> {
        key.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn keys() {
        for known in [
            "Datastore.StorageMax",
            "Datastore",
            "Bootstrap",
            "Datastore.Spec.type",
            "Gateway.PublicGateways.example.Paths",
            "DNS.Resolvers.eth",
            "Pinning.RemoteServices.x.Policies.MFS.Enable",
            "Resources.MemoryLimit",
        ] {
            assert_eq!(check_key(&parts(known)), Ok(()), "{known}");
        }
        for (unknown, words) in [
            ("No.Such.Key", "No not found"),
            ("Datastore.Nope", "Datastore.Nope not found"),
            ("Datastore.StorageMax.x", "Datastore.StorageMax key is not a map"),
            ("Bootstrap.0", "Bootstrap key is not a map"),
            ("Gateway.PublicGateways.x.Nope", "Gateway.PublicGateways.x.Nope not found"),
        ] {
            assert_eq!(check_key(&parts(unknown)), Err(words.to_owned()));
        }
    }

    #[test]
    fn values() {
        assert_eq!(check_value(&parts("Import.CidVersion"), &json!(1)), Ok(()));
        assert_eq!(check_value(&parts("Import.CidVersion"), &json!(null)), Ok(()));
        assert_eq!(check_value(&parts("Addresses.API"), &json!(["/unix/x"])), Ok(()));
        for (key, value, words) in [
            (
                "Import.CidVersion",
                json!("1"),
                "json: cannot unmarshal string into Go struct field Import.Import.CidVersion of type int64",
            ),
            (
                "Discovery.MDNS.Enabled",
                json!("x"),
                "json: cannot unmarshal string into Go struct field MDNS.Discovery.MDNS.Enabled of type bool",
            ),
            (
                "Addresses.Swarm",
                json!("x"),
                "json: cannot unmarshal string into Go struct field Addresses.Addresses.Swarm of type []string",
            ),
            (
                "Import.UnixFSRawLeaves",
                json!("x"),
                "failed to unmarshal \"\\\"x\\\"\" into a flag: must be null/undefined, true, or false",
            ),
            ("Provide.DHT.Interval", json!("5"), "time: missing unit in duration \"5\""),
        ] {
            let said = check_value(&parts(key), &value).unwrap_err();
            assert_eq!(said, format!("failure to decode config: {words}"));
        }
        let section = json!({ "ConnMgr": { "LowWater": "x" }, "Unknown": 1 });
        assert!(check_value(&parts("Swarm"), &section).unwrap_err().contains("ConnMgr.LowWater"));
    }

    #[test]
    fn our_own_keys_are_explained() {
        let (page, kubo) = (include_str!("../../../docs/config.md"), crate::config::Config::defaults());
        for name in ["Durability", "ReserveSize", "ScrubPeriod", "ScrubBytesPerSecond"] {
            let datastore = KEYS.iter().find(|(section, _)| *section == "Datastore").unwrap().1;
            assert!(datastore.iter().any(|(key, _)| *key == name), "{name} is a key");
            assert_eq!(kubo.text(&format!("Datastore.{name}")), Ok(None), "{name} is absent until it is set");
            assert!(page.contains(&format!("| `Datastore.{name}` |")), "{name} is explained");
        }
        let of_api = KEYS.iter().find(|(section, _)| *section == "API").unwrap().1.iter();
        for (name, _) in of_api.filter(|(name, _)| !name.contains('*')) {
            assert_eq!(kubo.value(&format!("API.{name}")), None, "{name} is absent until it is set");
            assert!(page.contains(&format!("| `API.{name}` |")), "{name} is explained");
        }
        for (name, _) in KEYS.iter().find(|(section, _)| *section == "Resources").unwrap().1 {
            assert!(page.contains(&format!("| `Resources.{name}` |")), "{name} is explained");
        }
    }
}
