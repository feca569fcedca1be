//! What the config says of the swarm, read and checked before anything is opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_blockstore::repo::RepoPaths;
use libp2p::pnet::PreSharedKey;
use libp2p::{Multiaddr, PeerId};
use serde_json::Value;

use super::addresses::{AnnounceRules, NeverAnnounce, split_peer};
use super::autonat_server::AutonatThrottle;
use super::connections::Watermarks;
use super::filters::{FilterError, IpRange};
use super::handle::Reachability;
use super::limits::Allowed;
use super::overrides::{FILE, Overrides, OverridesError};
use super::ping::PingTimes;
use super::psk::{self, PskError};
use super::relay_service::RelayLimits;
use super::resources::{self, ResourceLimits};
use super::security::SecurityOrder;
use super::transport::TransportChoice;
use crate::config::{AUTO, Config, GoDuration, ValueError};
use crate::dns::DnsSettings;

/// The variable with which libp2p refuses to run outside a private network.
const FORCE_PNET: &str = "LIBP2P_FORCE_PNET";
/// Why there is no swarm.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A value cannot be used.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// `swarm.key` cannot be read.
    #[error("reading {path}: {source}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `swarm.key` is none.
    #[error("failed to configure private network: {path}: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: PskError,
    },
    /// The operator's own limits cannot be read.
    #[error("reading the limits in {path}: {reason}")]
    Overrides {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: OverridesError,
    },
    /// There would be no room for the connections that are kept.
    #[error(
        "{name} in {FILE} is {max}, and must be more than Swarm.ConnMgr.HighWater, which is {high}: connections would be refused before \
         others are closed for them"
    )]
    LimitBelowWatermark {
        /// The limit: `System.Conns`.
        name: String,
        /// Its value.
        max: usize,
        /// The watermark.
        high: usize,
    },
    /// `LIBP2P_FORCE_PNET` asks for a private network, and there is none. The words are libp2p's.
    #[error(
        "private network was not configured but is enforced by the environment: put a swarm.key into the repo, or unset \
         {FORCE_PNET}"
    )]
    PrivateNetworkEnforced,
}

/// Everything that the swarm needs to know.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key of its own in the config")]
pub struct SwarmSettings {
    /// `Addresses.Swarm` that this version can listen on.
    pub listen: Vec<Multiaddr>,
    /// What is announced.
    pub announce: AnnounceRules,
    /// Which transports there are.
    pub transports: TransportChoice,
    /// The key of a private network.
    pub psk: Option<PreSharedKey>,
    /// `Swarm.AddrFilters`.
    pub filters: Vec<IpRange>,
    /// `Swarm.ConnMgr`; none where its type is `none`.
    pub watermarks: Option<Watermarks>,
    /// `Swarm.ResourceMgr`; none where it is not enabled.
    pub limits: Option<ResourceLimits>,
    /// `Swarm.ResourceMgr.Allowlist`: whose connections pass the limits on connections.
    pub allowed: Vec<Allowed>,
    /// Bytes that may wait unread in yamux, on all connections together: a quarter of `Swarm.ResourceMgr.MaxMemory`.
    pub unread_bytes_max: usize,
    /// `Peering.Peers`.
    pub peered: Vec<(PeerId, Vec<Multiaddr>)>,
    /// `Bootstrap`, with what `auto` stands for.
    pub bootstrap: Vec<(PeerId, Vec<Multiaddr>)>,
    /// Who is asked for names.
    pub dns: DnsSettings,
    /// How often connections are tried.
    pub ping: PingTimes,
    /// `Discovery.MDNS.Enabled`, and how often it asks.
    pub mdns: Option<Duration>,
    /// `Swarm.DisableNatPortMap`, turned round.
    pub upnp: bool,
    /// `AutoNAT.ServiceMode`; none where it is `disabled`.
    pub autonat_service: Option<AutonatThrottle>,
    /// `Swarm.RelayClient.Enabled`.
    pub relay_client: bool,
    /// `Swarm.RelayClient.StaticRelays`.
    pub static_relays: Vec<Multiaddr>,
    /// `Swarm.RelayService.Enabled`; only where it is said.
    pub relay_service: Option<RelayLimits>,
    /// `Swarm.EnableHolePunching`.
    pub hole_punching: bool,
    /// `Internal.Libp2pForceReachability`: what holds, whatever others find out.
    pub reachability: Option<Reachability>,
    /// Where the peer book is kept.
    pub book_file: Option<PathBuf>,
    /// What was passed over, and why: one sentence each.
    pub warnings: Vec<String>,
}

impl SwarmSettings {
    /// Reads them from a config and the repo that it belongs to. Blocks: it reads `swarm.key` and the file of limits.
    pub fn load(config: &Config, repo: &Path) -> Result<Self, SettingsError> {
        let paths = RepoPaths::new(repo);
        let psk = read_key(&paths.swarm_key())?;
        if is_forced() && psk.is_none() {
            return Err(SettingsError::PrivateNetworkEnforced);
        }
        let file = repo.join(FILE);
        let overrides =
            Overrides::read(&file).map_err(|reason| SettingsError::Overrides { path: file, reason })?;
        let mut settings = Self::of_parts(config, psk, &overrides)?;
        settings.book_file = Some(repo.join("peers.json"));
        Ok(settings)
    }

    /// Reads them from a config, with the key of a private network beside it.
    pub fn of_config(config: &Config, psk: Option<PreSharedKey>) -> Result<Self, SettingsError> {
        Self::of_parts(config, psk, &Overrides::default())
    }

    /// Reads them from a config, with what lies beside it in the repo.
    fn of_parts(
        config: &Config,
        psk: Option<PreSharedKey>,
        overrides: &Overrides,
    ) -> Result<Self, SettingsError> {
        let mut warnings = Vec::new();
        let transports = transports(config, &mut warnings)?;
        let flag = |key: &str, default: bool| Ok::<_, ValueError>(config.flag(key)?.unwrap_or(default));
        let watermarks = watermarks(config)?;
        let allowed = allowed(config, &mut warnings)?;
        let limits = limits(config, watermarks, &allowed, overrides, &mut warnings)?;
        let unread_bytes_max = match &limits {
            Some(limits) => limits.system.memory_bytes.unwrap_or(usize::MAX),
            None => resources::unread_bytes_max(config)?,
        };
        let relay_client = flag("Swarm.RelayClient.Enabled", true)? && transports.relay;
        let mdns = flag("Discovery.MDNS.Enabled", true)?;
        Ok(Self {
            listen: listen(config, &transports, psk.is_some(), &mut warnings)?,
            announce: announce(config, &mut warnings)?,
            transports,
            psk,
            filters: ranges(config, "Swarm.AddrFilters")?,
            watermarks,
            limits,
            allowed,
            unread_bytes_max,
            peered: peered(config)?,
            bootstrap: bootstrap(config, psk.is_some(), &mut warnings)?,
            dns: DnsSettings::of_config(config, psk.is_some(), &mut warnings)?,
            ping: ping(config)?,
            mdns: mdns
                .then(|| {
                    Ok::<_, ValueError>(time(config, "Discovery.MDNS.Interval")?.unwrap_or(MDNS_INTERVAL))
                })
                .transpose()?,
            upnp: !flag("Swarm.DisableNatPortMap", false)?,
            autonat_service: AutonatThrottle::of_config(config)?,
            relay_client,
            static_relays: parsed(config, "Swarm.RelayClient.StaticRelays", &mut warnings)?,
            relay_service: RelayLimits::of_config(config, &mut warnings)?,
            hole_punching: flag("Swarm.EnableHolePunching", true)? && relay_client,
            reachability: reachability(config)?,
            book_file: None,
            warnings,
        })
    }
}

/// Whether the node of this repo is in a private network, or refuses to be in another. Blocks: it looks for `swarm.key`.
pub fn is_private(repo: &Path) -> bool {
    is_forced() || RepoPaths::new(repo).swarm_key().exists()
}

fn is_forced() -> bool {
    std::env::var(FORCE_PNET).is_ok_and(|value| value == "1")
}

/// How often mDNS asks: when nothing was heard for this long.
const MDNS_INTERVAL: Duration = Duration::from_secs(300);

fn read_key(path: &Path) -> Result<Option<PreSharedKey>, SettingsError> {
    let failed = |source| SettingsError::KeyFile { path: path.to_owned(), source };
    let content = match std::fs::metadata(path) {
        Ok(meta) if meta.len() > psk::FILE_BYTES_MAX => {
            return Err(SettingsError::Key { path: path.to_owned(), reason: PskError::Head });
        }
        Ok(_) => std::fs::read(path).map_err(failed)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let key = psk::parse(&content);
    key.map(Some).map_err(|reason| SettingsError::Key { path: path.to_owned(), reason })
}

/// A time that is more than none.
pub(super) fn time(config: &Config, key: &str) -> Result<Option<Duration>, ValueError> {
    match time_or_none(config, key)? {
        Some(Duration::ZERO) => {
            Err(ValueError { key: key.to_owned(), reason: "it must be more than nothing".to_owned() })
        }
        time => Ok(time),
    }
}

/// A time that may be no time at all.
fn time_or_none(config: &Config, key: &str) -> Result<Option<Duration>, ValueError> {
    let to_std = |duration: GoDuration| {
        let reason = "it must not be negative".to_owned();
        duration.to_std().ok_or_else(|| ValueError { key: key.to_owned(), reason })
    };
    config.duration(key)?.map(to_std).transpose()
}

/// A number of things.
pub(super) fn count(config: &Config, key: &str) -> Result<Option<usize>, ValueError> {
    let number = config.number(key)?.map(usize::try_from).transpose();
    number.map_err(|_| ValueError { key: key.to_owned(), reason: "it must not be negative".to_owned() })
}

fn transports(config: &Config, warnings: &mut Vec<String>) -> Result<TransportChoice, ValueError> {
    let network = |name: &str| {
        Ok::<_, ValueError>(config.flag(&format!("Swarm.Transports.Network.{name}"))?.unwrap_or(true))
    };
    let place = |name: &str, default: i64| match config
        .document()
        .pointer(&format!("/Swarm/Transports/Security/{name}"))
    {
        Some(Value::Bool(false)) => None,
        Some(Value::Number(number)) => Some(number.as_i64().unwrap_or(default)),
        _ => Some(default),
    };
    if config.document().pointer("/Swarm/Transports/Multiplexers/Yamux") == Some(&Value::Bool(false)) {
        warnings.push(
            "Swarm.Transports.Multiplexers.Yamux stays on: it is the only multiplexer of TCP connections"
                .to_owned(),
        );
    }
    Ok(TransportChoice {
        tcp: network("TCP")?,
        websocket: network("Websocket")?,
        quic: network("QUIC")?,
        relay: network("Relay")?,
        security: SecurityOrder { tls: place("TLS", 100), noise: place("Noise", 200) },
    })
}

/// The addresses to listen on, without those that no transport of ours takes.
fn listen(
    config: &Config,
    transports: &TransportChoice,
    private: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<Multiaddr>, ValueError> {
    let mut addresses = Vec::new();
    let mut unknown = Vec::new();
    for text in config.addresses()?.swarm {
        let address = match text.parse::<Multiaddr>() {
            Ok(address) => address,
            Err(error) => {
                warnings.push(format!(
                    "Addresses.Swarm: {text:?} is not a multiaddr: {error}; it is passed over"
                ));
                continue;
            }
        };
        let has = |name: &str| address.protocol_stack().any(|part| part == name);
        let listens = if has("webtransport") || has("webrtc-direct") {
            // They stand in every config of Kubo: nothing that anyone asked for.
            continue;
        } else if has("wss") || has("tls") {
            unknown.push(text);
            continue;
        } else if has("quic-v1") {
            // QUIC knows no pre-shared key, and Kubo leaves it out of private networks in silence.
            transports.quic && !private
        } else if has("ws") {
            transports.websocket
        } else if has("tcp") {
            transports.tcp
        } else {
            unknown.push(text);
            continue;
        };
        if listens && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if !unknown.is_empty() {
        let list = unknown.join(", ");
        warnings.push(format!(
            "Addresses.Swarm: this version does not have the transport of {list}; passed over"
        ));
    }
    Ok(addresses)
}

/// A list of multiaddrs; what is none is passed over.
fn parsed(config: &Config, key: &str, warnings: &mut Vec<String>) -> Result<Vec<Multiaddr>, ValueError> {
    let mut addresses = Vec::new();
    for text in config.text_list(key)?.into_iter().filter(|text| text != AUTO) {
        match text.parse() {
            Ok(address) => addresses.push(address),
            Err(error) => warnings.push(format!("{key}: {text}: {error}; it is passed over")),
        }
    }
    Ok(addresses)
}

/// Filters: where one cannot be read, nobody knows what is to be kept out.
fn ranges(config: &Config, key: &str) -> Result<Vec<IpRange>, ValueError> {
    let wrong = |error: FilterError| ValueError { key: key.to_owned(), reason: error.to_string() };
    config.text_list(key)?.iter().map(|text| IpRange::parse(text).map_err(wrong)).collect()
}

fn allowed(config: &Config, warnings: &mut Vec<String>) -> Result<Vec<Allowed>, ValueError> {
    const KEY: &str = "Swarm.ResourceMgr.Allowlist";
    let mut allowed = Vec::new();
    for text in config.text_list(KEY)? {
        match Allowed::parse(&text) {
            Ok(entry) => allowed.push(entry),
            Err(error) => warnings.push(format!("{KEY}: {error}; it is passed over")),
        }
    }
    Ok(allowed)
}

fn announce(config: &Config, warnings: &mut Vec<String>) -> Result<AnnounceRules, ValueError> {
    let mut never = Vec::new();
    for text in config.text_list("Addresses.NoAnnounce")? {
        match NeverAnnounce::parse(&text) {
            Ok(rule) => never.push(rule),
            Err(error) => warnings.push(format!("Addresses.NoAnnounce: {error}; it is passed over")),
        }
    }
    Ok(AnnounceRules {
        instead: parsed(config, "Addresses.Announce", warnings)?,
        also: parsed(config, "Addresses.AppendAnnounce", warnings)?,
        never,
    })
}

fn watermarks(config: &Config) -> Result<Option<Watermarks>, ValueError> {
    match config.text("Swarm.ConnMgr.Type")?.as_deref() {
        None | Some("" | "basic") => {}
        Some("none") => return Ok(None),
        Some(other) => {
            let reason = format!("unrecognized ConnMgr.Type: \"{other}\"; it must be \"basic\" or \"none\"");
            return Err(ValueError { key: "Swarm.ConnMgr.Type".to_owned(), reason });
        }
    }
    let default = Watermarks::default();
    Ok(Some(Watermarks {
        high: count(config, "Swarm.ConnMgr.HighWater")?.unwrap_or(default.high),
        low: count(config, "Swarm.ConnMgr.LowWater")?.unwrap_or(default.low),
        grace: time(config, "Swarm.ConnMgr.GracePeriod")?.unwrap_or(default.grace),
        silence: time_or_none(config, "Swarm.ConnMgr.SilencePeriod")?.unwrap_or(default.silence),
    }))
}

/// What follows from the config, and over it what the operator says.
fn limits(
    config: &Config,
    watermarks: Option<Watermarks>,
    allowed: &[Allowed],
    overrides: &Overrides,
    warnings: &mut Vec<String>,
) -> Result<Option<ResourceLimits>, SettingsError> {
    let Some(mut limits) = resources::limits(config, watermarks)? else { return Ok(None) };
    overrides.apply(&mut limits, warnings);
    // Who lists whom to let in may mean to let in nobody else. So it is in Kubo, too.
    if let Some(marks) = watermarks.filter(|_| allowed.is_empty())
        && let Some((name, max)) = overrides.below(marks.high)
    {
        return Err(SettingsError::LimitBelowWatermark {
            name: format!("System.{name}"),
            max,
            high: marks.high,
        });
    }
    Ok(Some(limits))
}

fn peered(config: &Config) -> Result<Vec<(PeerId, Vec<Multiaddr>)>, ValueError> {
    let error = |reason: String| ValueError { key: "Peering.Peers".to_owned(), reason };
    let Some(list) = config.document().pointer("/Peering/Peers").filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    let list = list.as_array().ok_or_else(|| error("it must be a list".to_owned()))?;
    let mut peers = Vec::new();
    for entry in list {
        let id = entry.get("ID").and_then(Value::as_str).unwrap_or_default();
        let peer: PeerId =
            crate::keys::parse_peer_id(id).map_err(|_| error(format!("\"{id}\" is no peer ID")))?;
        let texts = entry.get("Addrs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut addresses = Vec::new();
        for text in texts {
            let text = text.as_str().unwrap_or_default();
            let address: Multiaddr =
                text.parse().map_err(|_| error(format!("\"{text}\" is no multiaddr")))?;
            addresses.push(split_peer(&address).0);
        }
        peers.push((peer, addresses));
    }
    Ok(peers)
}

/// The bootstrap peers.
fn bootstrap(
    config: &Config,
    private: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<(PeerId, Vec<Multiaddr>)>, ValueError> {
    let mut peers: Vec<(PeerId, Vec<Multiaddr>)> = Vec::new();
    for text in config.bootstrap_expanded(private)? {
        let address = text.replace("/ipfs/", "/p2p/").parse::<Multiaddr>();
        let Some((transport, Some(peer))) = address.ok().map(|address| split_peer(&address)) else {
            warnings.push(format!("Bootstrap: {text} is no address of a peer; it is passed over"));
            continue;
        };
        // A dnsaddr is resolved with the peer at its end, so that only that peer's records count.
        let address = with_peer(transport, peer);
        match peers.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, addresses)) => addresses.push(address),
            None => peers.push((peer, vec![address])),
        }
    }
    Ok(peers)
}

fn with_peer(mut address: Multiaddr, peer: PeerId) -> Multiaddr {
    address.push(multiaddr::Protocol::P2p(peer));
    address
}

fn ping(config: &Config) -> Result<PingTimes, ValueError> {
    let default = PingTimes::default();
    Ok(match time(config, "Swarm.PingInterval")? {
        // Where failures are to be noticed early, answers are not waited for longer than that.
        Some(interval) => PingTimes { interval, timeout: interval.min(default.timeout) },
        None => default,
    })
}

fn reachability(config: &Config) -> Result<Option<Reachability>, ValueError> {
    const KEY: &str = "Internal.Libp2pForceReachability";
    match config.text(KEY)?.as_deref() {
        None | Some("") => Ok(None),
        Some("public") => Ok(Some(Reachability::Public)),
        Some("private") => Ok(Some(Reachability::Private)),
        Some(other) => {
            let reason = format!("it must be \"public\" or \"private\", not \"{other}\"");
            Err(ValueError { key: KEY.to_owned(), reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_profile(profile: &str) -> SwarmSettings {
        let mut config = Config::defaults();
        config.apply_profiles(profile).unwrap();
        SwarmSettings::of_config(&config, None).unwrap()
    }

    #[test]
    fn the_test_profile_keeps_to_loopback_and_asks_nobody() {
        let settings = of_profile("test");
        assert_eq!(settings.listen, ["/ip4/127.0.0.1/tcp/0".parse::<Multiaddr>().unwrap()]);
        assert_eq!((settings.bootstrap.len(), settings.mdns, settings.upnp), (0, None, false));
        assert_eq!(settings.dns, DnsSettings::NOBODY);
        assert_eq!(settings.warnings, Vec::<String>::new());
    }

    #[test]
    fn the_default_config_knows_the_public_network_and_a_private_one_does_not() {
        let settings = of_profile("");
        assert_eq!((settings.bootstrap.len(), settings.mdns), (5, Some(MDNS_INTERVAL)));
        assert_eq!(
            (settings.dns.default.clone(), settings.upnp, settings.hole_punching),
            (crate::dns::DnsChoice::System, true, true)
        );
        assert_eq!((settings.watermarks, settings.listen.len()), (Some(Watermarks::default()), 4));
        assert!(settings.relay_service.is_none() && settings.autonat_service.is_some());
        assert_eq!(settings.warnings, Vec::<String>::new());
        let private =
            SwarmSettings::of_config(&Config::defaults(), Some(PreSharedKey::new([7; 32]))).unwrap();
        assert_eq!((private.bootstrap.len(), private.listen.len()), (0, 2), "no public peers, no QUIC");
    }

    #[test]
    fn a_mesh_notices_lost_links_early_and_asks_often() {
        let settings = of_profile("mesh");
        let seconds = Duration::from_secs;
        assert_eq!((settings.ping.interval, settings.ping.timeout), (seconds(5), seconds(5)));
        assert_eq!((settings.mdns, settings.bootstrap.len()), (Some(seconds(10)), 0));
        assert_eq!((settings.dns, settings.relay_client), (DnsSettings::NOBODY, false));
    }

    #[test]
    fn the_time_between_trims_is_what_the_config_says_and_may_be_none() {
        for (text, seconds) in
            [("{}", 10), (r#"{"SilencePeriod":"3s"}"#, 3), (r#"{"SilencePeriod":"0s"}"#, 0)]
        {
            let config = Config::parse(&format!(r#"{{"Swarm":{{"ConnMgr":{text}}}}}"#)).unwrap();
            let silence = watermarks(&config).unwrap().unwrap().silence;
            assert_eq!(silence, Duration::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn a_limit_below_the_watermark_ends_the_start_unless_somebody_is_let_in_anyhow() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), r#"{"System":{"Conns":"unlimited","ConnsInbound":96}}"#)
            .unwrap();
        let load = |text: &str| SwarmSettings::load(&Config::parse(text).unwrap(), dir.path());
        let error = load("{}").unwrap_err().to_string();
        assert!(error.contains("System.ConnsInbound") && error.contains("96"), "{error}");
        for text in [
            r#"{"Swarm":{"ConnMgr":{"HighWater":95}}}"#,
            r#"{"Swarm":{"ConnMgr":{"Type":"none"}}}"#,
            r#"{"Swarm":{"ResourceMgr":{"Allowlist":["/ip4/10.0.0.1"]}}}"#,
        ] {
            assert_eq!(load(text).unwrap().limits.unwrap().system.connections.inbound, Some(96), "{text}");
        }
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        let error = load("{}").unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("line 1 column 1"), "{error}");
    }

    #[test]
    fn values_that_cannot_be_used_name_their_key() {
        for (text, key) in [
            (r#"{"Swarm":{"ConnMgr":{"Type":"basik"}}}"#, "Swarm.ConnMgr.Type"),
            (r#"{"Swarm":{"ConnMgr":{"HighWater":-1}}}"#, "Swarm.ConnMgr.HighWater"),
            (r#"{"Swarm":{"ConnMgr":{"GracePeriod":"0s"}}}"#, "Swarm.ConnMgr.GracePeriod"),
            (r#"{"Swarm":{"ConnMgr":{"SilencePeriod":"-1s"}}}"#, "Swarm.ConnMgr.SilencePeriod"),
            (r#"{"Peering":{"Peers":[{"ID":"nobody"}]}}"#, "Peering.Peers"),
            (r#"{"AutoNAT":{"ServiceMode":"sometimes"}}"#, "AutoNAT.ServiceMode"),
        ] {
            let config = Config::parse(text).unwrap();
            match SwarmSettings::of_config(&config, None) {
                Err(SettingsError::Value(error)) => assert_eq!(error.key, key),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
