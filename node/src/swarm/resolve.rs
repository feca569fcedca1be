//! Names in multiaddrs, resolved before dialling: `/dns4`, `/dns6`, `/dns` to addresses, `/dnsaddr` to whole multiaddrs.

use std::time::Duration;

use hickory_resolver::proto::rr::{RData, RecordType};
use libp2p::Multiaddr;
use multiaddr::Protocol;
use tokio::time::timeout;

use super::named::NAMES_MAX;
use crate::dns::{Dns, DnsError, DnsSettings};

/// Names inside names that are followed, as go-multiaddr-dns.
const DEPTH_MAX: usize = 32;
/// Queries that one address may cost.
const QUERIES_MAX: usize = 64;
/// Addresses that one may turn into.
const ADDRESSES_MAX: usize = 100;
/// How long all of it may take (Kubo's `dnsResolveTimeout`).
const TIME_MAX: Duration = Duration::from_secs(10);

/// Why a name was not resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The config leaves no resolver.
    #[error("{0} holds a name, and this node asks no resolver (DNS.Resolvers in the config)")]
    NoResolver(Multiaddr),
    /// The resolver gave no answer.
    #[error("resolving {name}: {reason}")]
    Lookup {
        /// The name.
        name: String,
        /// What the resolver said.
        reason: String,
    },
    /// It took too long.
    #[error("resolving {0}: no answer within 10 seconds")]
    Timeout(Multiaddr),
    /// Its names, and those of the other addresses that are dialled with it, are too many.
    #[error("resolving {0}: the peer's addresses hold more names than a dial may ask for ({NAMES_MAX})")]
    TooManyNames(Multiaddr),
}

/// Resolves names. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Resolver {
    dns: Dns,
}

impl Resolver {
    /// One that asks as the settings say.
    pub fn new(settings: &DnsSettings) -> Self {
        Self { dns: Dns::new(settings) }
    }

    /// Who is asked.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// Every address that `address` stands for: itself where it holds no name. At most 100, each once.
    pub async fn resolve(&self, address: &Multiaddr) -> Result<Vec<Multiaddr>, ResolveError> {
        self.resolve_within(address, &|| true).await
    }

    /// The same, where each name is asked for only if `may_ask` lets it.
    pub(super) async fn resolve_within(
        &self,
        address: &Multiaddr,
        may_ask: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Vec<Multiaddr>, ResolveError> {
        if !holds_name(address) {
            return Ok(vec![address.clone()]);
        }
        let resolving = resolve(&self.dns, address, may_ask);
        timeout(TIME_MAX, resolving).await.unwrap_or_else(|_| Err(ResolveError::Timeout(address.clone())))
    }
}

/// Whether there is a name in an address.
pub(super) fn holds_name(address: &Multiaddr) -> bool {
    name_in(address).is_some()
}

/// The first name in an address, and where it stands.
fn name_in(address: &Multiaddr) -> Option<(usize, Protocol<'static>)> {
    let names = address.iter().enumerate().map(|(place, part)| (place, part.acquire()));
    let mut names = names.filter(|(_, part)| {
        matches!(part, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_))
    });
    names.next()
}

async fn resolve(
    dns: &Dns,
    address: &Multiaddr,
    may_ask: &(dyn Fn() -> bool + Send + Sync),
) -> Result<Vec<Multiaddr>, ResolveError> {
    let mut open = vec![(address.clone(), 0_usize)];
    let mut done = Vec::new();
    let mut last_error = None;
    for _ in 0..QUERIES_MAX {
        let Some((next, depth)) = open.pop() else { break };
        let Some((place, name)) = name_in(&next) else {
            if done.len() < ADDRESSES_MAX && !done.contains(&next) {
                done.push(next);
            }
            continue;
        };
        if depth >= DEPTH_MAX {
            continue;
        }
        if !may_ask() {
            last_error = Some(ResolveError::TooManyNames(address.clone()));
            continue;
        }
        match answers(dns, &next, place, &name).await {
            Ok(found) => {
                let room = ADDRESSES_MAX.saturating_sub(open.len());
                open.extend(found.into_iter().take(room).map(|found| (found, depth + 1)));
            }
            Err(error) => last_error = Some(error),
        }
    }
    // What is still open beyond the bounds is left, unless it is whole already.
    let whole = open.into_iter().map(|(address, _)| address).filter(|address| name_in(address).is_none());
    for address in whole {
        if done.len() < ADDRESSES_MAX && !done.contains(&address) {
            done.push(address);
        }
    }
    match last_error {
        Some(error) if done.is_empty() => Err(error),
        _ => Ok(done),
    }
}

/// What one name in an address stands for.
async fn answers(
    dns: &Dns,
    address: &Multiaddr,
    place: usize,
    name: &Protocol<'static>,
) -> Result<Vec<Multiaddr>, ResolveError> {
    let failed = |name: &str, error: DnsError| match error {
        DnsError::Nobody => ResolveError::NoResolver(address.clone()),
        error => ResolveError::Lookup { name: name.to_owned(), reason: error.to_string() },
    };
    let with = |part: Protocol<'static>| with_ip(address, place, part);
    match name {
        Protocol::Dnsaddr(host) => {
            let query = format!("_dnsaddr.{host}");
            let records =
                dns.records(&query, RecordType::TXT).await.map_err(|error| failed(&query, error))?;
            let suffix: Multiaddr = address.iter().skip(place + 1).collect();
            let prefix: Multiaddr = address.iter().take(place).collect();
            let texts = records.iter().filter_map(|record| match &record.data {
                RData::TXT(text) => Some(text.txt_data.concat()),
                _ => None,
            });
            Ok(texts.filter_map(|text| from_txt(&text, &prefix, &suffix)).collect())
        }
        Protocol::Dns4(host) => {
            let records = dns.records(host, RecordType::A).await.map_err(|error| failed(host, error))?;
            Ok(ips(&records).filter(|part| matches!(part, Protocol::Ip4(_))).filter_map(with).collect())
        }
        Protocol::Dns6(host) => {
            let records = dns.records(host, RecordType::AAAA).await.map_err(|error| failed(host, error))?;
            Ok(ips(&records).filter(|part| matches!(part, Protocol::Ip6(_))).filter_map(with).collect())
        }
        Protocol::Dns(host) => {
            let found = dns.ips(host).await.map_err(|error| failed(host, error))?;
            Ok(found.into_iter().map(Protocol::from).filter_map(with).collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// The address with an IP address in the place of a name. Over TLS, the server is still told and checked by its name.
fn with_ip(address: &Multiaddr, place: usize, ip: Protocol<'static>) -> Option<Multiaddr> {
    let mut parts: Vec<Protocol<'_>> = address.iter().collect();
    let (Protocol::Dns(host) | Protocol::Dns4(host) | Protocol::Dns6(host)) =
        std::mem::replace(parts.get_mut(place)?, ip)
    else {
        return None;
    };
    let behind =
        (parts.get(place + 1).cloned(), parts.get(place + 2).cloned(), parts.get(place + 3).cloned());
    match behind {
        (Some(Protocol::Tcp(_)), Some(Protocol::Tls), Some(Protocol::Ws(_))) => {
            parts.insert(place + 3, Protocol::Sni(host));
        }
        (Some(Protocol::Tcp(_)), Some(Protocol::Wss(path)), _) => {
            let over_tls = [Protocol::Tls, Protocol::Sni(host), Protocol::Ws(path)];
            drop(parts.splice(place + 2..=place + 2, over_tls));
        }
        _ => {}
    }
    Some(parts.into_iter().collect())
}

fn ips(records: &[hickory_resolver::proto::rr::Record]) -> impl Iterator<Item = Protocol<'static>> + '_ {
    records.iter().filter_map(|record| match &record.data {
        RData::A(a) => Some(Protocol::Ip4(a.0)),
        RData::AAAA(aaaa) => Some(Protocol::Ip6(aaaa.0)),
        _ => None,
    })
}

/// The address in a `dnsaddr=` record, if it is for the peer that was asked for.
fn from_txt(text: &[u8], prefix: &Multiaddr, suffix: &Multiaddr) -> Option<Multiaddr> {
    let text = std::str::from_utf8(text).ok()?.strip_prefix("dnsaddr=")?;
    let address: Multiaddr = text.parse().ok()?;
    if !address.ends_with(suffix) {
        return None;
    }
    Some(prefix.iter().chain(address.iter()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dnsaddr_record_counts_only_for_the_peer_that_was_asked_for() {
        let peer = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
        let suffix: Multiaddr = format!("/p2p/{peer}").parse().unwrap();
        let whole = format!("/ip4/192.0.2.1/tcp/4001/p2p/{peer}");
        let from = |text: String, suffix: &Multiaddr| from_txt(text.as_bytes(), &Multiaddr::empty(), suffix);
        assert_eq!(from(format!("dnsaddr={whole}"), &suffix), Some(whole.parse().unwrap()));
        assert_eq!(from(format!("dnsaddr={whole}"), &Multiaddr::empty()), Some(whole.parse().unwrap()));
        assert_eq!(from("dnsaddr=/ip4/192.0.2.1/tcp/4001".to_owned(), &suffix), None);
        assert_eq!(from(whole, &suffix), None);
        assert_eq!(from("dnsaddr=nonsense".to_owned(), &suffix), None);
    }

    #[test]
    fn what_is_reached_over_tls_keeps_its_name() {
        for (named, expected) in [
            ("/dns4/a.example/tcp/1", "/ip4/192.0.2.1/tcp/1"),
            ("/dns/a.example/udp/1/quic-v1", "/ip4/192.0.2.1/udp/1/quic-v1"),
            ("/dns4/a.example/tcp/443/tls/ws", "/ip4/192.0.2.1/tcp/443/tls/sni/a.example/ws"),
            ("/dns4/a.example/tcp/443/wss", "/ip4/192.0.2.1/tcp/443/tls/sni/a.example/ws"),
            ("/dns4/a.example/tcp/443/tls/sni/b.example/ws", "/ip4/192.0.2.1/tcp/443/tls/sni/b.example/ws"),
        ] {
            let found = with_ip(&named.parse().unwrap(), 0, Protocol::Ip4([192, 0, 2, 1].into()));
            assert_eq!(found.unwrap().to_string(), expected);
        }
    }

    #[tokio::test]
    async fn without_a_resolver_only_names_fail() {
        let resolver = Resolver::new(&DnsSettings::NOBODY);
        let plain: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        assert_eq!(resolver.resolve(&plain).await, Ok(vec![plain]));
        let named: Multiaddr = "/dns4/example.net/tcp/1".parse().unwrap();
        assert_eq!(resolver.resolve(&named).await, Err(ResolveError::NoResolver(named)));
    }
}
