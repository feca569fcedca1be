//! The check of the `Host` header against DNS rebinding.
//!
//! A page of `evil.example` may have its name resolve to 127.0.0.1: to the browser, our answers are then its own. Such a
//! request names `evil.example` as its host. So a listener on the loopback interface takes IP addresses, `localhost` and
//! the names in `API.AllowedHosts`. Other listeners are reached under names that we cannot know (`http://ipfs0:5001`):
//! there, only what a browser can send without being asked is checked, which is GETs and what has an Origin or Referer.

use std::net::{IpAddr, Ipv6Addr};

use http::header::{HOST, ORIGIN, REFERER};
use http::{Method, Request};

use crate::go_text::go_quote;
use crate::http::Peer;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    host: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = go_quote(&self.host);
        write!(
            f,
            "403 - Forbidden: the Host header {host} is neither an IP address nor localhost, and may be that of a web \
             site which reaches for this node. If the name is yours, add it to API.AllowedHosts of the config and \
             restart the daemon"
        )
    }
}

/// Checks where a request says that it goes.
pub(super) fn check<B>(request: &Request<B>, allowed: &[String]) -> Result<(), Refused> {
    let is_loopback = match request.extensions().get::<Peer>() {
        // Browsers do not reach it.
        Some(Peer::Unix) => return Ok(()),
        Some(Peer::Tcp { local, .. }) => local.ip().to_canonical().is_loopback(),
        None => true,
    };
    let headers = request.headers();
    let from_a_page = headers.contains_key(ORIGIN) || headers.contains_key(REFERER);
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_loopback && !from_a_page && !is_read {
        return Ok(());
    }
    let of_header = headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    let of_uri = request.uri().authority().map(|authority| authority.as_str().to_owned());
    match of_header.into_iter().chain(of_uri).find(|host| !is_allowed(host, allowed)) {
        Some(host) => Err(Refused { host }),
        None => Ok(()),
    }
}

fn is_allowed(host: &str, allowed: &[String]) -> bool {
    let name = without_port(host).trim_end_matches('.');
    let is_address = name.parse::<IpAddr>().is_ok()
        || name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .is_some_and(|name| name.parse::<Ipv6Addr>().is_ok());
    is_address
        || name.eq_ignore_ascii_case("localhost")
        || allowed
            .iter()
            .any(|entry| entry == "*" || entry.eq_ignore_ascii_case(host) || entry.eq_ignore_ascii_case(name))
}

/// A host without its port: `localhost:5001`, `[::1]:5001`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (name.ends_with(']') || !name.contains(':')) =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, local: Option<&str>, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri("/api/v0/id");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer = local.map_or(Peer::Unix, |local| Peer::Tcp {
            remote: "192.0.2.1:1".parse().unwrap(),
            local: local.parse().unwrap(),
        });
        request.extension(peer).body(()).unwrap()
    }

    #[test]
    fn a_loopback_listener_takes_addresses_localhost_and_what_is_allowed() {
        let allowed = ["node.example".to_owned(), "with.port:5001".to_owned()];
        let takes =
            |host: &str, local| check(&request("POST", Some(local), &[("host", host)]), &allowed).is_ok();
        for local in ["127.0.0.1:5001", "[::1]:5001", "[::ffff:127.0.0.1]:5001"] {
            for host in [
                "127.0.0.1:5001",
                "127.0.0.1",
                "[::1]:5001",
                "[::1]",
                "192.0.2.7:80",
                "localhost",
                "LOCALHOST:5001",
                "localhost.:5001",
                "node.example",
                "Node.Example:99",
                "with.port:5001",
            ] {
                assert!(takes(host, local), "{host}");
            }
            for host in [
                "evil.example",
                "evil.example:5001",
                "with.port:80",
                "localhost.evil.example",
                "127.0.0.1.evil",
                "",
                ":5001",
                "[evil]",
            ] {
                assert!(!takes(host, local), "{host}");
            }
        }
        assert!(check(&request("POST", None, &[("host", "evil.example")]), &[]).is_ok(), "a Unix socket");
        assert!(check(&request("POST", Some("127.0.0.1:1"), &[("host", "x")]), &["*".to_owned()]).is_ok());
    }

    #[test]
    fn another_listener_takes_any_name_from_programs() {
        let takes =
            |method, headers: &[_]| check(&request(method, Some("192.0.2.2:5001"), headers), &[]).is_ok();
        assert!(takes("POST", &[("host", "ipfs0:5001")]));
        assert!(!takes("GET", &[("host", "ipfs0:5001")]));
        assert!(takes("GET", &[("host", "192.0.2.2:5001")]));
        assert!(!takes("POST", &[("host", "evil.example"), ("origin", "http://evil.example")]));
        assert!(!takes("POST", &[("host", "evil.example"), ("referer", "http://evil.example/x")]));
    }

    #[test]
    fn the_refusal_names_the_key_that_helps() {
        let refused =
            check(&request("POST", Some("127.0.0.1:1"), &[("host", "evil.example")]), &[]).unwrap_err();
        assert!(
            refused.to_string().contains("\"evil.example\"")
                && refused.to_string().contains("API.AllowedHosts")
        );
    }
}
