//! Who is asked for domain names (`DNS` in the config), and asking them.
//!
//! Addresses with names in them are `swarm::resolve`'s, links from domain names to content (DNSLink) are the names service's.
//! `https` asks servers over HTTPS (`literal`: those at IPv6 addresses), `system` those that the system asks; `connecting` tells
//! why one is not reached.

mod connecting;
mod https;
mod literal;
mod system;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use hickory_resolver::{Resolver, ResolverBuilder};
use tokio::time::timeout;

use crate::config::{Config, GoDuration, ValueError};

pub use https::HttpsServer;

use connecting::{Asking, Connecting};
use https::Https;
use system::System;

/// How long one question may take, its repetitions included.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Texts of one name that are looked at.
const TEXTS_MAX: usize = 64;
/// Bytes of one text that are looked at: a path is shorter.
const TEXT_BYTES_MAX: usize = 4096;

/// What `DNS.Resolvers` may hold.
const KNOWN: &str = "https://NAME-OR-ADDRESS[:PORT]/PATH, udp://ADDRESS:PORT and \"auto\"";

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsChoice {
    /// Nobody: names are not resolved.
    Nobody,
    /// Whom the system asks.
    System,
    /// This server, over UDP and TCP.
    Server(SocketAddr),
    /// This server, over HTTPS.
    Https(HttpsServer),
    /// A server that this version cannot ask, as the config names it.
    Unknown(String),
}

/// `DNS` in the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSettings {
    /// `Resolvers["."]`: for all names that none of the others is for.
    pub default: DnsChoice,
    /// The other `Resolvers`: a domain in lower case without dots at its ends, and whom to ask for what lies in it. The
    /// longest come first.
    pub domains: Vec<(String, DnsChoice)>,
    /// `MaxCacheTTL`: how long an answer is kept at most. Default: as long as it says, at most a day.
    pub cache_time_max: Option<Duration>,
}

impl DnsSettings {
    /// Settings with which nobody is asked.
    pub const NOBODY: Self = Self { default: DnsChoice::Nobody, domains: Vec::new(), cache_time_max: None };

    /// Reads them. `private`: of a node that is not in the public network. What cannot be used is said in `warnings`.
    pub fn of_config(config: &Config, private: bool, warnings: &mut Vec<String>) -> Result<Self, ValueError> {
        let resolvers = config.dns_resolvers(private)?;
        // What the profiles test and mesh write. Old configs of Kubo have the empty map too, and mean the system's.
        if resolvers.is_empty() && !config.auto_conf()? {
            return Ok(Self::NOBODY);
        }
        let cache_time_max = config.duration("DNS.MaxCacheTTL")?.and_then(GoDuration::to_std);
        let mut settings = Self { default: DnsChoice::System, domains: Vec::new(), cache_time_max };
        for (domain, value) in resolvers {
            let choice = choice(&value);
            if let DnsChoice::Unknown(url) = &choice {
                warnings.push(format!(
                    "DNS.Resolvers: {url} cannot be asked, so names in {domain:?} are not resolved: this version knows {KNOWN}"
                ));
            }
            match domain.trim_matches('.').to_ascii_lowercase() {
                root if root.is_empty() => settings.default = choice,
                domain => settings.domains.push((domain, choice)),
            }
        }
        settings.domains.sort_by_key(|(domain, _)| std::cmp::Reverse(domain.len()));
        Ok(settings)
    }
}

fn choice(text: &str) -> DnsChoice {
    match text.strip_prefix("udp://").map(str::parse) {
        Some(Ok(address)) => DnsChoice::Server(address),
        _ if text.is_empty() => DnsChoice::System,
        _ => HttpsServer::parse(text).map_or_else(|| DnsChoice::Unknown(text.to_owned()), DnsChoice::Https),
    }
}

/// Why a name was not resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// The config leaves no resolver.
    #[error("this node asks no resolver (DNS.Resolvers in the config)")]
    Nobody,
    /// The config wants somebody asked who cannot be.
    #[error("DNS.Resolvers says to ask {0}, and this version cannot: it knows {KNOWN}")]
    Unknown(String),
    /// A server over HTTPS was not found, not trusted, or gave no answer.
    #[error("asking {url} (DNS.Resolvers): {reason}")]
    Https {
        /// The server, as the config names it.
        url: String,
        /// What happened.
        reason: String,
    },
    /// There is no such name, or nothing of what was asked for.
    #[error("there are no such records")]
    NoRecords,
    /// The resolver gave no answer.
    #[error("{0}")]
    Failed(String),
    /// It took too long.
    #[error("no answer within 10 seconds")]
    Timeout,
}

/// The texts of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// At most 64, each of at most 4 KiB; what is longer, or no UTF-8, is left out.
    pub texts: Vec<String>,
    /// How long they may be relied on.
    pub ttl: Duration,
}

enum Asked {
    Nobody,
    System(Box<System>),
    Resolver(Box<Asking>),
    Https(Box<Https>),
    Unknown(String),
}

impl Asked {
    fn new(choice: &DnsChoice, cache_time_max: Option<Duration>) -> Self {
        let builder = match choice {
            DnsChoice::Nobody => return Self::Nobody,
            DnsChoice::Unknown(text) => return Self::Unknown(text.clone()),
            DnsChoice::Https(server) => {
                return Self::Https(Box::new(Https::new(server.clone(), cache_time_max)));
            }
            DnsChoice::System => return Self::System(Box::new(System::new(cache_time_max))),
            DnsChoice::Server(address) => {
                let mut server = NameServerConfig::udp_and_tcp(address.ip());
                for connection in &mut server.connections {
                    connection.port = address.port();
                }
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                Resolver::builder_with_config(config, Connecting::default())
            }
        };
        match build(builder, cache_time_max) {
            Ok(resolver) => Self::Resolver(Box::new(resolver)),
            Err(error) => {
                tracing::warn!("names cannot be resolved: {error}");
                Self::Nobody
            }
        }
    }
}

/// A resolver that keeps answers no longer than this.
fn build(
    mut builder: ResolverBuilder<Connecting>,
    cache_time_max: Option<Duration>,
) -> Result<Asking, NetError> {
    if let Some(time) = cache_time_max {
        let options = builder.options_mut();
        (options.positive_max_ttl, options.negative_max_ttl) = (Some(time), Some(time));
    }
    builder.build()
}

/// What a resolver said instead of an answer.
fn failure(error: &NetError) -> DnsError {
    if error.is_no_records_found() || error.is_nx_domain() {
        DnsError::NoRecords
    } else {
        DnsError::Failed(error.to_string())
    }
}

/// Asks for names. Cheap to clone.
#[derive(Clone)]
pub struct Dns {
    inner: Arc<Inner>,
}

struct Inner {
    default: Asked,
    domains: Vec<(String, Asked)>,
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns").field("domains", &self.inner.domains.len()).finish_non_exhaustive()
    }
}

impl Dns {
    /// One that asks as the settings say. Whom the system asks is looked up when it is needed.
    pub fn new(settings: &DnsSettings) -> Self {
        let asked = |choice| Asked::new(choice, settings.cache_time_max);
        let domains = settings.domains.iter().map(|(domain, choice)| (domain.clone(), asked(choice)));
        Self { inner: Arc::new(Inner { default: asked(&settings.default), domains: domains.collect() }) }
    }

    /// Who is asked for a name.
    fn asked(&self, name: &str) -> &Asked {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let own = self.inner.domains.iter().find(|(domain, _)| lies_in(&name, domain));
        own.map_or(&self.inner.default, |(_, asked)| asked)
    }

    /// Puts a question about a name to whoever is asked for it.
    async fn ask<T, A>(&self, name: &str, question: impl FnOnce(Asking) -> A) -> Result<T, DnsError>
    where
        A: Future<Output = Result<T, NetError>>,
    {
        match self.asked(name) {
            Asked::Nobody => Err(DnsError::Nobody),
            Asked::Unknown(text) => Err(DnsError::Unknown(text.clone())),
            Asked::Resolver(resolver) => {
                let asking = question(Asking::clone(resolver));
                let answer = timeout(TIME_MAX, asking).await.map_err(|_| DnsError::Timeout)?;
                answer.map_err(|error| failure(&error))
            }
            Asked::System(system) => {
                let asking = async {
                    let resolver = system.resolver().await?;
                    question(resolver).await.map_err(|error| failure(&error))
                };
                timeout(TIME_MAX, asking).await.unwrap_or(Err(DnsError::Timeout))
            }
            Asked::Https(https) => {
                let asking = async {
                    let resolver = https.resolver().await?;
                    question(resolver).await.map_err(|error| https.error(&error))
                };
                timeout(https::TIME_MAX, asking).await.unwrap_or_else(|_| Err(https.timeout()))
            }
        }
    }

    /// The records of a kind that a name has. At most 10 seconds.
    pub(crate) async fn records(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, DnsError> {
        let asked = name.to_owned();
        let found = self.ask(name, |resolver| async move { resolver.lookup(asked, kind).await }).await?;
        Ok(found.answers().to_vec())
    }

    /// The IP addresses of a name, of both kinds. At most 10 seconds.
    pub(crate) async fn ips(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        let asked = name.to_owned();
        let found = self.ask(name, |resolver| async move { resolver.lookup_ip(asked).await }).await?;
        Ok(found.iter().collect())
    }

    /// The texts (TXT) of a name that is given in full.
    pub async fn texts(&self, name: &str) -> Result<Texts, DnsError> {
        // With a dot at its end, the system's search list does not make another name of it.
        let found = self.records(&format!("{}.", name.trim_end_matches('.')), RecordType::TXT).await?;
        let records = found.iter().filter_map(|record| match &record.data {
            // A long text comes in pieces.
            RData::TXT(text) => Some((record.ttl, text.txt_data.concat())),
            _ => None,
        });
        let (mut texts, mut ttl) = (Vec::new(), None);
        for (seconds, text) in records.take(TEXTS_MAX) {
            ttl = Some(ttl.map_or(seconds, |known: u32| known.min(seconds)));
            if text.len() <= TEXT_BYTES_MAX
                && let Ok(text) = String::from_utf8(text)
            {
                texts.push(text);
            }
        }
        Ok(Texts { texts, ttl: Duration::from_secs(u64::from(ttl.unwrap_or(0))) })
    }
}

/// Whether a name is a domain, or lies in it.
fn lies_in(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> (DnsSettings, Vec<String>) {
        let mut warnings = Vec::new();
        let settings = DnsSettings::of_config(&Config::parse(text).unwrap(), false, &mut warnings).unwrap();
        (settings, warnings)
    }

    #[tokio::test]
    async fn every_domain_has_its_own_resolver_and_the_longest_counts() {
        let (settings, warnings) = settings(
            r#"{"DNS":{"MaxCacheTTL":"1m","Resolvers":{".":"udp://127.0.0.1:5353","Eth.":"tls://dns.example",
               "a.eth.":"","c.eth.":"auto","b.eth.":"https://dns.example/dns-query"}}}"#,
        );
        assert_eq!(settings.default, DnsChoice::Server("127.0.0.1:5353".parse().unwrap()));
        assert_eq!(settings.cache_time_max, Some(Duration::from_secs(60)));
        let server = HttpsServer::parse("https://dns.example/dns-query").unwrap();
        let eth = ("eth".to_owned(), DnsChoice::Unknown("tls://dns.example".to_owned()));
        let (a, b) =
            (("a.eth".to_owned(), DnsChoice::System), ("b.eth".to_owned(), DnsChoice::Https(server)));
        assert_eq!(settings.domains, [a, b, eth.clone()]);
        assert!(
            warnings.len() == 1 && warnings[0].contains("tls://dns.example cannot be asked"),
            "{warnings:?}"
        );

        let dns = Dns::new(&DnsSettings { domains: vec![eth], ..DnsSettings::NOBODY });
        for name in ["vitalik.ETH.", "eth"] {
            assert!(matches!(dns.texts(name).await, Err(DnsError::Unknown(_))), "{name}");
        }
        assert_eq!(dns.texts("meth").await, Err(DnsError::Nobody));
    }

    #[test]
    fn without_a_word_the_system_is_asked_and_the_profile_test_asks_nobody() {
        let limo = HttpsServer::parse("https://dns.eth.limo/dns-query").unwrap();
        for text in ["{}", r#"{"DNS":{"Resolvers":{".":"auto"}}}"#] {
            let auto = settings(text).0;
            assert_eq!(auto.default, DnsChoice::System);
            assert_eq!(auto.domains, [("eth".to_owned(), DnsChoice::Https(limo.clone()))]);
        }
        let quiet = r#"{"AutoConf":{"Enabled":false},"DNS":{"Resolvers":{}}}"#;
        assert_eq!(settings(quiet).0, DnsSettings::NOBODY);
    }
}
