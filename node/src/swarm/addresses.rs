//! Our addresses: which of them are announced, and what kind they are.

use std::net::IpAddr;

use libp2p::Multiaddr;
use multiaddr::Protocol;

use super::filters::{FilterError, IpRange, ip_of};

/// Addresses that are announced, at most: as many as libp2p keeps.
pub(super) const ANNOUNCED_MAX: usize = 20;
/// Bytes of all announced addresses: an identify message has at most 4,096, and the key, the names of protocols and a
/// prefix for each address need room too.
const ANNOUNCED_BYTES_MAX: usize = 2048;

/// From where an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The internet; also names, which nobody can tell apart.
    Public,
    /// Through a relay.
    Relayed,
    /// The local network.
    Private,
    /// This machine.
    Loopback,
}

impl Scope {
    /// That of an address.
    pub fn of(address: &Multiaddr) -> Self {
        if address.iter().any(|part| part == Protocol::P2pCircuit) {
            return Self::Relayed;
        }
        match ip_of(address) {
            Some(ip) if ip.is_loopback() => Self::Loopback,
            Some(ip) if is_private(ip) => Self::Private,
            _ => Self::Public,
        }
    }
}

/// Whether a peer that is seen at `seen` may say that it is at `told`: nobody at a distance names this machine or the local network,
/// where the dial would find somebody else (the rule is go-libp2p's, which knows the IP address behind a name; here the name tells). Of a
/// circuit, that of its relay counts.
pub(super) fn may_tell(seen: &Multiaddr, told: &Multiaddr) -> bool {
    host_scope(told) <= host_scope(seen)
}

/// From where the host that an address begins with can be reached; of a name, as far as the name tells.
fn host_scope(address: &Multiaddr) -> Scope {
    let host: Multiaddr = address.iter().take_while(|part| *part != Protocol::P2pCircuit).collect();
    match host.iter().next() {
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) | Protocol::Dnsaddr(name)) => {
            scope_of_name(&name)
        }
        _ => Scope::of(&host),
    }
}

/// That of a host that was dialled by its name. Names that mean something in one network only are its own; a container is named
/// without any domain.
fn scope_of_name(name: &str) -> Scope {
    let name = name.trim_end_matches('.');
    let last = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
    match last.as_str() {
        "localhost" => Scope::Loopback,
        "local" | "internal" | "lan" | "arpa" | "home" | "test" => Scope::Private,
        _ if last == name.to_ascii_lowercase() => Scope::Private,
        _ => Scope::Public,
    }
}

/// Whether an IP address has no meaning on the internet (IANA special-purpose registries).
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_documentation()
                || v4.is_broadcast()
                || v4.is_multicast()
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b))
                || a >= 240
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            v6.is_unspecified()
                || v6.is_multicast()
                || a & 0xfe00 == 0xfc00
                || a & 0xffc0 == 0xfe80
                || a & 0xfe00 == 0x0200
                || (a == 0x2001 && b == 0xdb8)
        }
    }
}

/// What is announced, and what not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnounceRules {
    /// `Addresses.Announce`: announced instead of all others, where there is any.
    pub instead: Vec<Multiaddr>,
    /// `Addresses.AppendAnnounce`: announced too.
    pub also: Vec<Multiaddr>,
    /// `Addresses.NoAnnounce`: never announced.
    pub never: Vec<NeverAnnounce>,
}

/// An entry of `Addresses.NoAnnounce`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NeverAnnounce {
    /// One address.
    Address(Multiaddr),
    /// All in a range.
    Range(IpRange),
}

impl NeverAnnounce {
    /// Reads an address or `/ip4/10.0.0.0/ipcidr/8`.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        match IpRange::parse(text) {
            Ok(range) => Ok(Self::Range(range)),
            Err(error) => text.parse().map(Self::Address).map_err(|_| error),
        }
    }

    fn matches(&self, address: &Multiaddr) -> bool {
        match self {
            Self::Address(never) => never == address,
            Self::Range(range) => ip_of(address).is_some_and(|ip| range.contains(ip)),
        }
    }
}

impl AnnounceRules {
    /// The addresses to announce, those that reach farthest first; as many as fit.
    pub(super) fn announced<'a>(
        &self,
        listening: impl Iterator<Item = &'a Multiaddr>,
        confirmed: impl Iterator<Item = &'a Multiaddr>,
    ) -> Vec<Multiaddr> {
        let mut all: Vec<Multiaddr> = if self.instead.is_empty() {
            let mut ours: Vec<Multiaddr> = confirmed.chain(listening).cloned().collect();
            ours.sort_by(|a, b| Scope::of(a).cmp(&Scope::of(b)).then_with(|| a.as_ref().cmp(b.as_ref())));
            ours
        } else {
            self.instead.clone()
        };
        // What the user asked for comes before what was found.
        all.splice(0..0, self.also.iter().cloned());
        let mut announced: Vec<Multiaddr> = Vec::new();
        let mut bytes = 0;
        for address in all {
            let never = self.never.iter().any(|rule| rule.matches(&address));
            if never || announced.contains(&address) {
                continue;
            }
            bytes += address.len();
            if bytes > ANNOUNCED_BYTES_MAX || announced.len() >= ANNOUNCED_MAX {
                break;
            }
            announced.push(address);
        }
        announced
    }
}

/// `<transport>/p2p/<peer>` as its parts; the peer is the last part, so that of a circuit is the one behind the relay.
pub fn split_peer(address: &Multiaddr) -> (Multiaddr, Option<libp2p::PeerId>) {
    let mut transport = address.clone();
    match transport.iter().last() {
        Some(Protocol::P2p(peer)) => {
            transport.pop();
            (transport, Some(peer))
        }
        _ => (transport, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_are_told_apart_by_their_reach() {
        let peer = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
        for (text, scope) in [
            ("/ip4/127.0.0.1/tcp/1".to_owned(), Scope::Loopback),
            ("/ip6/::1/tcp/1".to_owned(), Scope::Loopback),
            ("/ip4/192.168.1.1/tcp/1".to_owned(), Scope::Private),
            ("/ip4/100.64.0.1/tcp/1".to_owned(), Scope::Private),
            ("/ip6/fe80::1/tcp/1".to_owned(), Scope::Private),
            ("/ip4/1.1.1.1/udp/1/quic-v1".to_owned(), Scope::Public),
            ("/dns4/example.net/tcp/1".to_owned(), Scope::Public),
            (format!("/ip4/1.1.1.1/tcp/1/p2p/{peer}/p2p-circuit"), Scope::Relayed),
        ] {
            assert_eq!(Scope::of(&text.parse().unwrap()), scope, "{text}");
        }
    }

    #[test]
    fn who_is_far_away_names_no_address_that_is_near() {
        let relay = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
        let near = format!("/ip4/127.0.0.1/tcp/1/p2p/{relay}/p2p-circuit");
        let far = format!("/ip4/8.8.8.8/tcp/1/p2p/{relay}/p2p-circuit");
        let told = [
            "/ip4/9.9.9.9/tcp/1",
            "/ip4/10.0.0.1/tcp/1",
            "/ip6/::1/tcp/1",
            &near,
            &far,
            "/dns4/a.example/tcp/1",
        ];
        for (seen, expected) in [
            ("/ip4/127.0.0.1/tcp/5", [true; 6]),
            ("/ip4/192.168.1.1/tcp/5", [true, true, false, false, true, true]),
            ("/ip6/2a00::1/udp/5/quic-v1", [true, false, false, false, true, true]),
            (&far, [true, false, false, false, true, true]),
            (&near, [true; 6]),
            ("/dns4/kubo/tcp/5", [true, true, false, false, true, true]),
            ("/dns4/node.lan/tcp/5", [true, true, false, false, true, true]),
            ("/dns4/a.example/tcp/5", [true, false, false, false, true, true]),
        ] {
            let seen = seen.parse().unwrap();
            assert_eq!(told.map(|told| may_tell(&seen, &told.parse().unwrap())), expected, "{seen}");
        }
    }

    #[test]
    fn what_is_announced_follows_the_rules_and_reaches_far_first() {
        let listening =
            parsed(&["/ip4/127.0.0.1/tcp/4001", "/ip4/10.0.0.2/tcp/4001", "/ip4/8.8.8.8/tcp/4001"]);
        let confirmed = parsed(&["/ip4/9.9.9.9/tcp/4001"]);
        let announced = |rules: &AnnounceRules| rules.announced(listening.iter(), confirmed.iter());
        let mut rules = AnnounceRules::default();
        let expected = [
            "/ip4/8.8.8.8/tcp/4001",
            "/ip4/9.9.9.9/tcp/4001",
            "/ip4/10.0.0.2/tcp/4001",
            "/ip4/127.0.0.1/tcp/4001",
        ];
        assert_eq!(announced(&rules), parsed(&expected));
        rules.never = vec![
            NeverAnnounce::parse("/ip4/10.0.0.0/ipcidr/8").unwrap(),
            NeverAnnounce::parse("/ip4/127.0.0.1/tcp/4001").unwrap(),
        ];
        rules.also = parsed(&["/dns4/me.example/tcp/4001"]);
        let expected = ["/dns4/me.example/tcp/4001", "/ip4/8.8.8.8/tcp/4001", "/ip4/9.9.9.9/tcp/4001"];
        assert_eq!(announced(&rules), parsed(&expected));
        rules.instead = parsed(&["/ip4/7.7.7.7/tcp/1"]);
        assert_eq!(announced(&rules), parsed(&["/dns4/me.example/tcp/4001", "/ip4/7.7.7.7/tcp/1"]));
    }

    #[test]
    fn a_host_with_a_thousand_addresses_announces_as_many_as_fit() {
        let many: Vec<Multiaddr> = (0..1000_u16)
            .map(|port| format!("/ip6/2001:db7::{port:x}/udp/{port}/quic-v1").parse().unwrap())
            .collect();
        let announced = AnnounceRules::default().announced(many.iter(), std::iter::empty());
        assert_eq!(announced.len(), ANNOUNCED_MAX);
        assert!(announced.iter().map(Multiaddr::len).sum::<usize>() <= ANNOUNCED_BYTES_MAX);
    }
}
