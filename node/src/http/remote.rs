//! Where a client of HTTP connects to: an endpoint, over TLS or not.

use std::fmt;

use super::{Endpoint, EndpointError};

/// A place that HTTP is spoken with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Whether TLS is between.
    pub tls: bool,
}

impl Remote {
    /// Reads what [`Endpoint::parse`] does, and with TLS a URL (`https://host`, port 443 where it names none) or a multiaddr that ends
    /// in `/https` or `/tls/http`.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("https://") {
            let mut endpoint = Endpoint::parse(&format!("http://{rest}"))?;
            if !rest.trim_end_matches('/').ends_with(":80") {
                // A port that is not there is read as that of HTTP.
                match &mut endpoint {
                    Endpoint::Ip(address) if address.port() == 80 => address.set_port(443),
                    Endpoint::Name { port, .. } if *port == 80 => *port = 443,
                    _ => {}
                }
            }
            return Ok(Self { endpoint, tls: true });
        }
        let plain = text.strip_suffix("/https").or_else(|| text.strip_suffix("/tls/http"));
        match plain.filter(|plain| !plain.starts_with("/unix/") && !plain.contains("://")) {
            Some(plain) => Ok(Self { endpoint: Endpoint::parse(plain)?, tls: true }),
            None => Ok(Endpoint::parse(text)?.into()),
        }
    }

    /// What a request to it carries as `Host`: without the port where it is the usual one, as proxies expect it.
    pub fn host(&self) -> String {
        let usual = if self.tls { ":443" } else { ":80" };
        let host = self.endpoint.host();
        match host.strip_suffix(usual) {
            Some(host) => host.to_owned(),
            None => host,
        }
    }
}

impl From<Endpoint> for Remote {
    fn from(endpoint: Endpoint) -> Self {
        Self { endpoint, tls: false }
    }
}

/// As a multiaddr.
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.tls { "/https" } else { "" };
        write!(f, "{}{suffix}", self.endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_request_names_no_port_that_goes_without_saying() {
        for (text, host) in [
            ("https://node", "node"),
            ("https://node:80", "node:80"),
            ("http://node", "node"),
            ("http://node:443", "node:443"),
            ("https://[::1]", "[::1]"),
            ("/ip4/127.0.0.1/tcp/5001", "127.0.0.1:5001"),
            ("/unix/run/api", "unix"),
        ] {
            assert_eq!(Remote::parse(text).unwrap().host(), host, "{text}");
        }
    }

    #[test]
    fn tls_is_asked_for_as_it_is_customary() {
        for (text, multiaddr) in [
            ("/ip4/127.0.0.1/tcp/5001", "/ip4/127.0.0.1/tcp/5001"),
            ("/unix/run/https", "/unix/run/https"),
            ("http://node", "/dns/node/tcp/80"),
            ("https://node", "/dns/node/tcp/443/https"),
            ("https://node:8443/", "/dns/node/tcp/8443/https"),
            ("https://node:80", "/dns/node/tcp/80/https"),
            ("https://[::1]", "/ip6/::1/tcp/443/https"),
            ("/dns4/node/tcp/443/https", "/dns4/node/tcp/443/https"),
            (" /ip4/127.0.0.1/tcp/8443/tls/http\n", "/ip4/127.0.0.1/tcp/8443/https"),
        ] {
            let remote = Remote::parse(text).unwrap();
            assert_eq!(remote.to_string(), multiaddr, "{text}");
            assert_eq!(Remote::parse(multiaddr), Ok(remote), "{text}");
        }
        for text in
            ["https://", "https://node/api/v0", "/https", "/ip4/127.0.0.1/udp/1/https", "https://user@node"]
        {
            assert!(Remote::parse(text).is_err(), "{text}");
        }
    }
}
