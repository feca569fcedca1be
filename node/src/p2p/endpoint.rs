//! TCP addresses as multiaddrs.

use std::net::{IpAddr, SocketAddr};

use libp2p::{Multiaddr, PeerId};
use multiaddr::Protocol;

/// Why an address is none that bytes can be carried to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum EndpointError {
    /// It is no IP address with a TCP port.
    #[error(
        "{0} is not the address of a TCP port, such as /ip4/127.0.0.1/tcp/8080: others cannot be mounted"
    )]
    NotTcp(Multiaddr),
}

/// The socket address that a multiaddr stands for.
pub(super) fn address(address: &Multiaddr) -> Result<SocketAddr, EndpointError> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => Some(IpAddr::from(ip)),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    };
    match (ip, parts.next(), parts.next()) {
        (Some(ip), Some(Protocol::Tcp(port)), None) => Ok((ip, port).into()),
        _ => Err(EndpointError::NotTcp(address.clone())),
    }
}

/// A socket address as a multiaddr.
pub(super) fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

/// A peer as a multiaddr.
pub(super) fn of_peer(peer: PeerId) -> Multiaddr {
    Multiaddr::from(Protocol::P2p(peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tcp_ports_are_endpoints() {
        for text in ["/ip4/127.0.0.1/tcp/80", "/ip6/::1/tcp/8080"] {
            let parsed: Multiaddr = text.parse().unwrap();
            assert_eq!(multiaddr(address(&parsed).unwrap()), parsed);
        }
        for text in
            ["/ip4/127.0.0.1/udp/80", "/ip4/127.0.0.1", "/ip4/127.0.0.1/tcp/80/ws", "/dns4/localhost/tcp/80"]
        {
            assert!(address(&text.parse().unwrap()).is_err(), "{text}");
        }
    }
}
