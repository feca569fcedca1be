//! Where HTTP is spoken: a TCP port or a Unix socket, as the config, the command line and the file `api` name it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use multiaddr::{Multiaddr, Protocol};

/// The beginning of a Unix socket's multiaddr. What follows is a path, whatever it looks like.
const UNIX: &str = "/unix/";

/// A place where HTTP is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP port of an IP address.
    Ip(SocketAddr),
    /// A TCP port of a host that has a name: to connect to, and to listen on where it means this machine.
    Name {
        /// The protocol that it was named with: `dns`, `dns4` or `dns6`.
        kind: &'static str,
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket's path.
    Unix(PathBuf),
}

/// Why an address names no place where this program can speak HTTP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It is no multiaddr.
    #[error("{text:?} is not a multiaddr: {why}")]
    NotMultiaddr {
        /// The address.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// It is one, of another transport.
    #[error("{text:?} is not supported: {why}")]
    Unsupported {
        /// The address.
        text: String,
        /// Why.
        why: &'static str,
    },
}

impl Endpoint {
    /// Reads a multiaddr (`/ip4/127.0.0.1/tcp/5001`, `/dns4/host/tcp/5001/http`, `/unix/run/api.sock`) or a URL
    /// (`http://host:5001`).
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("http://") {
            return from_url(text, rest);
        }
        if text.starts_with("https://") {
            return Err(unsupported(text, NO_TLS));
        }
        // The path in a Unix address is all that follows, which few parsers of multiaddrs know.
        match text.strip_prefix(UNIX) {
            Some("") => Err(unsupported(text, "a Unix socket has a path")),
            Some(path) => Ok(Self::Unix(Path::new("/").join(path))),
            None => from_multiaddr(text),
        }
    }

    /// The same place as whoever is on this machine reaches it: any address becomes the loopback address.
    #[must_use]
    pub fn reachable(&self) -> Self {
        match self {
            Self::Ip(address) => match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => {
                    Self::Ip(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()))
                }
                IpAddr::V6(ip) if ip.is_unspecified() => {
                    Self::Ip(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()))
                }
                _ => self.clone(),
            },
            _ => self.clone(),
        }
    }

    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().to_canonical().is_loopback(),
            Self::Name { host, .. } => host == "localhost" || host.ends_with(".localhost"),
            Self::Unix(_) => true,
        }
    }

    /// What a request to it carries as `Host`.
    pub fn host(&self) -> String {
        match self {
            Self::Ip(address) => address.to_string(),
            Self::Name { host, port, .. } => format!("{host}:{port}"),
            Self::Unix(_) => "unix".to_owned(),
        }
    }
}

/// As a multiaddr.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => {
                let kind = if address.is_ipv4() { "ip4" } else { "ip6" };
                write!(f, "/{kind}/{}/tcp/{}", address.ip(), address.port())
            }
            Self::Name { kind, host, port } => write!(f, "/{kind}/{host}/tcp/{port}"),
            Self::Unix(path) => write!(f, "/unix/{}", path.display().to_string().trim_start_matches('/')),
        }
    }
}

const NO_TLS: &str = "this program serves HTTP without TLS only; put a proxy with TLS before it";

fn unsupported(text: &str, why: &'static str) -> EndpointError {
    EndpointError::Unsupported { text: text.to_owned(), why }
}

fn from_url(text: &str, rest: &str) -> Result<Endpoint, EndpointError> {
    let not = |why: &str| EndpointError::NotMultiaddr { text: text.to_owned(), why: why.to_owned() };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(not("a URL of the API is http://host:port and no more"));
    }
    if let Ok(address) = authority.parse() {
        return Ok(Endpoint::Ip(address));
    }
    if let Ok(ip) = authority.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok(Endpoint::Ip(SocketAddr::new(ip, 80)));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| not("its port is not a number"))?),
        None => (authority, 80),
    };
    if host.is_empty() {
        return Err(not("it names no host"));
    }
    Ok(Endpoint::Name { kind: "dns", host: host.to_owned(), port })
}

fn from_multiaddr(text: &str) -> Result<Endpoint, EndpointError> {
    let parsed: Multiaddr = text.parse().map_err(|error: multiaddr::Error| EndpointError::NotMultiaddr {
        text: text.to_owned(),
        why: error.to_string(),
    })?;
    let mut parts = parsed.iter();
    let host = parts.next();
    let Some(Protocol::Tcp(port)) = parts.next() else {
        return Err(unsupported(text, "HTTP needs a TCP port or a Unix socket"));
    };
    let endpoint = match host {
        Some(Protocol::Ip4(ip)) => Endpoint::Ip(SocketAddr::new(ip.into(), port)),
        Some(Protocol::Ip6(ip)) => Endpoint::Ip(SocketAddr::new(ip.into(), port)),
        Some(Protocol::Dns(host)) => Endpoint::Name { kind: "dns", host: host.into_owned(), port },
        Some(Protocol::Dns4(host)) => Endpoint::Name { kind: "dns4", host: host.into_owned(), port },
        Some(Protocol::Dns6(host)) => Endpoint::Name { kind: "dns6", host: host.into_owned(), port },
        _ => return Err(unsupported(text, "HTTP needs an IP address, a host's name or a Unix socket")),
    };
    match parts.next() {
        None | Some(Protocol::Http) => {}
        Some(Protocol::Https | Protocol::Tls) => return Err(unsupported(text, NO_TLS)),
        Some(_) => return Err(unsupported(text, "nothing but /http may follow the TCP port")),
    }
    if parts.next().is_some() {
        return Err(unsupported(text, "nothing but /http may follow the TCP port"));
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_customary() {
        for (text, multiaddr, host) in [
            ("/ip4/127.0.0.1/tcp/5001", "/ip4/127.0.0.1/tcp/5001", "127.0.0.1:5001"),
            (" /ip6/::1/tcp/0/http\n", "/ip6/::1/tcp/0", "[::1]:0"),
            ("/dns4/ipfs0/tcp/5001", "/dns4/ipfs0/tcp/5001", "ipfs0:5001"),
            ("/unix/var/run/kubo.socket", "/unix/var/run/kubo.socket", "unix"),
            ("http://127.0.0.1:5001/", "/ip4/127.0.0.1/tcp/5001", "127.0.0.1:5001"),
            ("http://[::1]:5001", "/ip6/::1/tcp/5001", "[::1]:5001"),
            ("http://ipfs0", "/dns/ipfs0/tcp/80", "ipfs0:80"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(
                (endpoint.to_string().as_str(), endpoint.host().as_str()),
                (multiaddr, host),
                "{text}"
            );
            assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint), "{text}");
        }
        assert_eq!(Endpoint::parse("/unix/a/b"), Ok(Endpoint::Unix("/a/b".into())));
    }

    #[test]
    fn what_cannot_be_spoken_to_says_why() {
        for text in [
            "",
            "127.0.0.1:5001",
            "/ip4/127.0.0.1/udp/5001/quic-v1",
            "/ip4/127.0.0.1/tcp/5001/ws",
            "/ip4/127.0.0.1/tcp/443/https",
            "/ip4/127.0.0.1/tcp/443/tls/http",
            "/nosuch/x/tcp/1",
            "/unix/",
            "https://127.0.0.1",
            "http://",
            "http://host:port",
            "http://host/api/v0",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn this_machine_is_told_from_others() {
        let local = |text: &str| Endpoint::parse(text).unwrap().is_local();
        assert!(local("/ip4/127.3.2.1/tcp/1") && local("/ip6/::1/tcp/1") && local("/unix/x"));
        assert!(local("/ip6/::ffff:127.0.0.1/tcp/1") && local("/dns4/localhost/tcp/1"));
        assert!(!local("/ip4/0.0.0.0/tcp/1") && !local("/ip6/::/tcp/1") && !local("/ip4/192.168.1.2/tcp/1"));
        assert!(!local("/dns4/example.com/tcp/1"));
        let reachable = |text: &str| Endpoint::parse(text).unwrap().reachable().to_string();
        assert_eq!(reachable("/ip4/0.0.0.0/tcp/5001"), "/ip4/127.0.0.1/tcp/5001");
        assert_eq!(reachable("/ip6/::/tcp/5001"), "/ip6/::1/tcp/5001");
        assert_eq!(reachable("/ip4/192.168.1.2/tcp/5001"), "/ip4/192.168.1.2/tcp/5001");
    }
}
