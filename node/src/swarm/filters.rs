//! `Swarm.AddrFilters`: ranges of IP addresses that nothing is dialled in or accepted from, as `/ip4/10.0.0.0/ipcidr/8`.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use libp2p::Multiaddr;
use multiaddr::Protocol;

use crate::go_text::go_quote;

/// Ranges that are kept, at most: each address is compared with all.
const RANGES_MAX: usize = 4096;

/// Why a text is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// It has another shape. The words are those of Go's parser of masks.
    #[error("invalid multiaddr mask {}: it must look like /ip4/10.0.0.0/ipcidr/8", go_quote(.0))]
    Shape(String),
    /// There are too many.
    #[error("{RANGES_MAX} address filters are in place, and there can be no more")]
    TooMany,
}

/// Bits in front of the IPv4 address in an IPv6 one that stands for it.
const MAPPED_BITS: u8 = 96;

/// A range of IP addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpRange {
    address: IpAddr,
    bits: u8,
}

impl IpRange {
    /// Reads `/ip4/10.0.0.0/ipcidr/8`.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let shape = || FilterError::Shape(text.to_owned());
        let mut parts = text.split('/');
        let (Some(""), Some(family), Some(address), Some("ipcidr"), Some(bits), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(shape());
        };
        let address: IpAddr = match family {
            "ip4" => IpAddr::V4(address.parse().map_err(|_| shape())?),
            "ip6" => IpAddr::V6(address.parse().map_err(|_| shape())?),
            _ => return Err(shape()),
        };
        let bits: u8 = bits.parse().map_err(|_| shape())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        if bits > width {
            return Err(shape());
        }
        // Addresses of this kind are taken for what they stand for.
        let (address, bits) = match address {
            IpAddr::V6(v6) if bits >= MAPPED_BITS => {
                v6.to_ipv4_mapped().map_or((address, bits), |v4| (IpAddr::V4(v4), bits - MAPPED_BITS))
            }
            _ => (address, bits),
        };
        Ok(Self { address: masked(address, bits), bits })
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.bits) == self.address
    }
}

impl std::fmt::Display for IpRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = if self.address.is_ipv4() { "ip4" } else { "ip6" };
        write!(f, "/{family}/{}/ipcidr/{}", self.address, self.bits)
    }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// The IP address that a multiaddr begins with.
pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
        _ => None,
    }
}

/// Whether an address begins with the only host that it names, or is for a relay, which is dialled by an address of its own. libp2p's
/// TCP dials the last host that stands in an address; everything that judges addresses looks at the first.
pub(super) fn names_one_host(address: &Multiaddr) -> bool {
    let is_host = |part: &Protocol<'_>| {
        use Protocol::{Dns, Dns4, Dns6, Dnsaddr, Ip4, Ip6, Ip6zone};
        matches!(part, Ip4(_) | Ip6(_) | Ip6zone(_) | Dns(_) | Dns4(_) | Dns6(_) | Dnsaddr(_))
    };
    let mut parts = address.iter().take_while(|part| *part != Protocol::P2pCircuit);
    parts.next().is_some_and(|first| matches!(first, Protocol::Ip4(_) | Protocol::Ip6(_)))
        && !parts.any(|part| is_host(&part))
}

/// The ranges in force. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Filters {
    ranges: Arc<RwLock<Vec<IpRange>>>,
}

impl Filters {
    pub(super) fn new(ranges: Vec<IpRange>) -> Self {
        Self { ranges: Arc::new(RwLock::new(ranges)) }
    }

    pub(super) fn refuse(&self, address: &Multiaddr) -> bool {
        let Some(ip) = ip_of(address) else { return false };
        self.ranges.read().unwrap_or_else(PoisonError::into_inner).iter().any(|range| range.contains(ip))
    }

    pub(super) fn add(&self, range: IpRange) -> Result<(), FilterError> {
        let mut ranges = self.ranges.write().unwrap_or_else(PoisonError::into_inner);
        if ranges.contains(&range) {
            return Ok(());
        }
        if ranges.len() >= RANGES_MAX {
            return Err(FilterError::TooMany);
        }
        ranges.push(range);
        Ok(())
    }

    pub(super) fn remove(&self, range: IpRange) {
        self.ranges.write().unwrap_or_else(PoisonError::into_inner).retain(|known| *known != range);
    }

    pub(super) fn clear(&self) {
        self.ranges.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn list(&self) -> Vec<IpRange> {
        self.ranges.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_say() {
        let filters = Filters::default();
        for text in ["/ip4/10.0.0.0/ipcidr/8", "/ip6/fe80::/ipcidr/10"] {
            let range = IpRange::parse(text).unwrap();
            assert_eq!(range.to_string(), text);
            filters.add(range).unwrap();
        }
        for (address, refused) in [
            ("/ip4/10.255.1.2/tcp/1", true),
            ("/ip4/11.0.0.1/tcp/1", false),
            ("/ip6/fe80::1/udp/1/quic-v1", true),
            ("/ip6/::ffff:10.1.1.1/tcp/1", true),
            ("/ip6/2001:db8::1/tcp/1", false),
            ("/dns4/example.net/tcp/1", false),
        ] {
            assert_eq!(filters.refuse(&address.parse().unwrap()), refused, "{address}");
        }
        filters.remove(IpRange::parse("/ip4/10.9.9.9/ipcidr/8").unwrap());
        assert!(!filters.refuse(&"/ip4/10.255.1.2/tcp/1".parse().unwrap()));
        assert!(IpRange::parse("/ip4/0.0.0.0/ipcidr/0").unwrap().contains([255, 1, 2, 3].into()));
    }

    #[test]
    fn a_range_of_addresses_that_stand_for_ipv4_is_one_of_those() {
        let range = IpRange::parse("/ip6/::ffff:10.0.0.0/ipcidr/104").unwrap();
        assert_eq!(range.to_string(), "/ip4/10.0.0.0/ipcidr/8");
        assert!(range.contains([10, 1, 2, 3].into()));
        assert_eq!(IpRange::parse("/ip6/::/ipcidr/0").unwrap().to_string(), "/ip6/::/ipcidr/0");
    }

    #[test]
    fn an_address_that_names_a_second_host_is_told_from_others() {
        let peer = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
        for (address, one) in [
            ("/ip4/1.1.1.1/tcp/80".to_owned(), true),
            (format!("/ip6/2001:db8::1/udp/1/quic-v1/p2p/{peer}"), true),
            ("/ip4/1.1.1.1/tcp/80/ws".to_owned(), true),
            (format!("/ip4/1.1.1.1/tcp/1/p2p/{peer}/p2p-circuit/p2p/{peer}"), true),
            ("/ip4/1.1.1.1/ip4/10.0.0.1/tcp/80".to_owned(), false),
            ("/ip4/1.1.1.1/tcp/1/ip4/10.0.0.1/tcp/80".to_owned(), false),
            ("/ip6zone/x/ip6/fe80::1/tcp/22".to_owned(), false),
            (format!("/p2p/{peer}/ip4/192.168.1.1/tcp/80"), false),
            ("/ip4/1.1.1.1/dns4/example.net/tcp/80".to_owned(), false),
            (format!("/ip4/1.1.1.1/ip4/10.0.0.1/tcp/1/p2p/{peer}/p2p-circuit/p2p/{peer}"), false),
        ] {
            assert_eq!(names_one_host(&address.parse().unwrap()), one, "{address}");
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in [
            "",
            "/ip4/10.0.0.0",
            "/ip4/10.0.0.0/ipcidr/33",
            "/ip6/10.0.0.0/ipcidr/8",
            "/ip4/10.0.0.0/ipcidr/8/tcp/1",
        ] {
            assert!(matches!(IpRange::parse(text), Err(FilterError::Shape(_))), "{text}");
        }
    }
}
