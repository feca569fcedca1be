//! Which addresses belong to which of the two DHTs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, StreamProtocol};

/// The two DHTs of IPFS. They speak the same messages under two names and differ in the addresses they deal in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The public network.
    Wan,
    /// The networks that a node is attached to.
    Lan,
}

impl Scope {
    /// The name of its protocol.
    pub fn protocol(self) -> StreamProtocol {
        match self {
            Self::Wan => StreamProtocol::new("/ipfs/kad/1.0.0"),
            Self::Lan => StreamProtocol::new("/ipfs/lan/kad/1.0.0"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wan => "public",
            Self::Lan => "local",
        })
    }
}

/// From where an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// From everywhere.
    Public,
    /// From a network that the peer is attached to.
    Private,
    /// From the same machine.
    Loopback,
    /// From nowhere: unspecified, multicast, reserved for documentation, or not an address of the internet.
    Unusable,
}

/// Sorts addresses. The node uses [`IpClassifier`]; tests on loopback bring one that calls loopback public.
pub trait Classify: fmt::Debug + Send + Sync {
    /// The class of an address. For a relayed address, that of the relay.
    fn classify(&self, address: &Multiaddr) -> AddressClass;
}

/// Goes by the first part of an address: the IP ranges of the IANA registries, and names by their last label.
///
/// 0200::/7 counts as private: the registry has withdrawn it, and overlay networks (Yggdrasil) use it.
#[derive(Debug, Clone, Copy, Default)]
pub struct IpClassifier;

impl Classify for IpClassifier {
    fn classify(&self, address: &Multiaddr) -> AddressClass {
        match address.iter().next() {
            Some(Protocol::Ip4(ip)) => classify_v4(ip),
            Some(Protocol::Ip6(ip)) => classify_v6(ip),
            Some(Protocol::Ip6zone(_)) => AddressClass::Private,
            Some(
                Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) | Protocol::Dnsaddr(name),
            ) => classify_name(&name),
            _ => AddressClass::Unusable,
        }
    }
}

fn classify_v4(ip: Ipv4Addr) -> AddressClass {
    let [a, b, ..] = ip.octets();
    if ip.is_loopback() {
        AddressClass::Loopback
    } else if ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64) {
        AddressClass::Private
    } else if a == 0 || a >= 224 || ip.is_documentation() || (a == 198 && b & 0xfe == 18) {
        AddressClass::Unusable
    } else {
        AddressClass::Public
    }
}

fn classify_v6(ip: Ipv6Addr) -> AddressClass {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return classify_v4(v4);
    }
    let [first, second, ..] = ip.segments();
    if ip.is_loopback() {
        AddressClass::Loopback
    } else if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80 || first & 0xfe00 == 0x0200 {
        AddressClass::Private
    } else if (first & 0xe000 == 0x2000 && !(first == 0x2001 && second == 0x0db8))
        || (first == 0x0064 && second == 0xff9b)
    {
        AddressClass::Public
    } else {
        AddressClass::Unusable
    }
}

fn classify_name(name: &str) -> AddressClass {
    let name = name.trim_end_matches('.');
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.eq_ignore_ascii_case("localhost") {
        AddressClass::Loopback
    } else if ["local", "internal", "lan", "arpa", "home", "test"]
        .iter()
        .any(|tld| last.eq_ignore_ascii_case(tld))
    {
        AddressClass::Private
    } else if name.is_empty() {
        AddressClass::Unusable
    } else {
        AddressClass::Public
    }
}

/// The rules of one scope, applied to every address that is learned, dialled or given out.
#[derive(Debug, Clone)]
pub struct ScopeFilter {
    scope: Scope,
    classifier: Arc<dyn Classify>,
    loopback_on_lan: bool,
}

impl ScopeFilter {
    /// The rules of a scope: WAN keeps public addresses, LAN all but loopback, which `loopback_on_lan` lets pass.
    pub fn new(scope: Scope, classifier: Arc<dyn Classify>, loopback_on_lan: bool) -> Self {
        Self { scope, classifier, loopback_on_lan }
    }

    /// The scope.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether an address may be dialled and given out.
    pub fn keeps(&self, address: &Multiaddr) -> bool {
        let class = self.classifier.classify(address);
        match self.scope {
            Scope::Wan => class == AddressClass::Public,
            Scope::Lan => match class {
                AddressClass::Public | AddressClass::Private => true,
                AddressClass::Loopback => self.loopback_on_lan,
                AddressClass::Unusable => false,
            },
        }
    }

    /// Whether an address lets its peer into the routing table: nobody can be asked quickly through a relay.
    pub fn qualifies(&self, address: &Multiaddr) -> bool {
        self.keeps(address) && !is_relayed(address)
    }

    /// Whether a connection from or to this address shows that its peer is one of this scope. For the public network any does.
    /// Every node serves the LAN DHT, and tells strangers of its private addresses too, so on a LAN what a peer says of itself
    /// is worth nothing: the connection has to be private itself, or go no further than to one of this node's own public IPs
    /// (IPv6: its link, a /64).
    pub fn is_met_over(&self, remote: &Multiaddr, own: &[Multiaddr]) -> bool {
        if self.scope == Scope::Wan {
            return true;
        }
        let is_here = || ip_of(remote).is_some_and(|ip| own.iter().any(|own| is_same_link(ip, ip_of(own))));
        !is_relayed(remote)
            && match self.classifier.classify(remote) {
                AddressClass::Private => true,
                AddressClass::Loopback => self.loopback_on_lan,
                AddressClass::Public => is_here(),
                AddressClass::Unusable => false,
            }
    }

    /// The addresses that it keeps, each once.
    pub fn filter<'a>(&self, addresses: impl IntoIterator<Item = &'a Multiaddr>) -> Vec<Multiaddr> {
        let mut kept: Vec<Multiaddr> = Vec::new();
        for address in addresses {
            if self.keeps(address) && !kept.contains(address) {
                kept.push(address.clone());
            }
        }
        kept
    }
}

fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

fn is_same_link(ip: IpAddr, own: Option<IpAddr>) -> bool {
    match (ip, own) {
        (IpAddr::V6(ip), Some(IpAddr::V6(own))) => {
            ip.segments().iter().take(4).eq(own.segments().iter().take(4))
        }
        (ip, own) => Some(ip) == own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(scope: Scope) -> ScopeFilter {
        ScopeFilter::new(scope, Arc::new(IpClassifier), false)
    }

    #[test]
    fn each_scope_keeps_its_addresses() {
        let cases = [
            ("/ip4/1.2.3.4/tcp/4001", true, true),
            ("/ip4/10.0.0.1/tcp/4001", false, true),
            ("/ip4/100.64.3.4/tcp/4001", false, true),
            ("/ip4/169.254.3.4/tcp/4001", false, true),
            ("/ip4/127.0.0.1/tcp/4001", false, false),
            ("/ip4/0.0.0.0/tcp/4001", false, false),
            ("/ip4/224.0.0.251/udp/5353", false, false),
            ("/ip4/192.0.2.1/tcp/1", false, false),
            ("/ip6/::1/tcp/4001", false, false),
            ("/ip6/fe80::1/tcp/4001", false, true),
            ("/ip6/fd00::1/tcp/4001", false, true),
            ("/ip6/200:1::1/tcp/4001", false, true),
            ("/ip6/2a00:1450::1/udp/4001/quic-v1", true, true),
            ("/ip6/::ffff:10.0.0.1/tcp/1", false, true),
            ("/ip6/2001:db8::1/tcp/1", false, false),
            ("/dns4/example.com/tcp/4001", true, true),
            ("/dns4/pi.local/tcp/4001", false, true),
            ("/dns/localhost/tcp/4001", false, false),
            ("/memory/7", false, false),
        ];
        for (text, wan, lan) in cases {
            let address: Multiaddr = text.parse().unwrap();
            assert_eq!(filter(Scope::Wan).keeps(&address), wan, "WAN {text}");
            assert_eq!(filter(Scope::Lan).keeps(&address), lan, "LAN {text}");
        }
        let loopback = ScopeFilter::new(Scope::Lan, Arc::new(IpClassifier), true);
        assert!(loopback.keeps(&"/ip4/127.0.0.1/tcp/4001".parse().unwrap()));
    }

    #[test]
    fn a_relayed_address_lets_nobody_into_a_table() {
        let relayed: Multiaddr =
            "/ip4/1.2.3.4/tcp/4001/p2p/12D3KooWLQzUv2FHWGVPXTXSZpdHs7oHbXub2G5WC8Tx4NQhyd2d/p2p-circuit"
                .parse()
                .unwrap();
        assert!(filter(Scope::Wan).keeps(&relayed) && !filter(Scope::Wan).qualifies(&relayed));
        assert!(filter(Scope::Lan).qualifies(&"/ip4/10.2.3.4/tcp/4001".parse().unwrap()));
    }

    #[test]
    fn a_peer_is_of_the_lan_by_how_it_is_met() {
        let own: Vec<Multiaddr> = ["/ip4/1.2.3.4/tcp/4001", "/ip6/2a00:1450:1:2::3/udp/4001/quic-v1"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let cases = [
            ("/ip4/10.0.0.7/tcp/51000", true),
            ("/ip6/fe80::1/tcp/51000", true),
            ("/ip4/127.0.0.1/tcp/51000", false),
            ("/ip4/8.8.8.8/tcp/51000", false),
            ("/ip4/1.2.3.4/tcp/51000", true),
            ("/ip6/2a00:1450:1:2:a::b/tcp/51000", true),
            ("/ip6/2a00:1450:1:3::3/tcp/51000", false),
            (
                "/ip4/10.0.0.7/tcp/1/p2p/12D3KooWLQzUv2FHWGVPXTXSZpdHs7oHbXub2G5WC8Tx4NQhyd2d/p2p-circuit",
                false,
            ),
        ];
        for (text, is_met) in cases {
            let remote: Multiaddr = text.parse().unwrap();
            assert_eq!(filter(Scope::Lan).is_met_over(&remote, &own), is_met, "{text}");
            assert!(filter(Scope::Wan).is_met_over(&remote, &own));
        }
        let loopback = ScopeFilter::new(Scope::Lan, Arc::new(IpClassifier), true);
        assert!(loopback.is_met_over(&"/ip4/127.0.0.1/tcp/51000".parse().unwrap(), &own));
    }
}
