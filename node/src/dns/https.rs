//! DNS over HTTPS (RFC 8484): a server that a URL names, found and trusted as any other on the web.
//!
//! Its own name is a question for the system's resolver, asked once. Who it is, is checked with the certificates that the
//! command line trusts too: `SSL_CERT_FILE`, else the system's, else Mozilla's list.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use http::Uri;
use rustls::ClientConfig;
use rustls::crypto::ring;
use tokio::sync::OnceCell;

use super::connecting::{Asking, Connecting};
use super::{DnsError, build, failure};
use crate::http::roots_of_system;

/// How long a question may take, with finding and reaching the server: less than whoever asks has, so that the error can
/// name the server.
pub(super) const TIME_MAX: Duration = Duration::from_secs(8);
/// Addresses of a server that are used.
const ADDRESSES_MAX: usize = 4;
/// How often a question is put again to a server that did not answer it.
const REPETITIONS: usize = 1;
/// Where such servers listen.
const PORT: u16 = 443;

/// A server, as its URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsServer {
    url: String,
    host: String,
    port: u16,
    path: String,
}

impl HttpsServer {
    /// Reads `https://host[:port]/path`. The host is a name or an address, an IPv6 one in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let is_https = uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let host = match authority.host().strip_prefix('[') {
            Some(literal) => literal.strip_suffix(']').filter(|it| it.parse::<Ipv6Addr>().is_ok())?,
            None => authority.host(),
        };
        if !is_https || host.is_empty() {
            return None;
        }
        let has_port = authority.as_str().len() > authority.host().len();
        let port = if has_port { authority.port_u16()? } else { PORT };
        Some(Self {
            url: text.to_owned(),
            host: host.to_owned(),
            port,
            path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        })
    }
}

/// Asks one server. It is found with the first question.
pub(super) struct Https {
    server: HttpsServer,
    cache_time_max: Option<Duration>,
    connecting: Connecting,
    resolver: OnceCell<Asking>,
}

impl Https {
    pub(super) fn new(server: HttpsServer, cache_time_max: Option<Duration>) -> Self {
        Self { server, cache_time_max, connecting: Connecting::default(), resolver: OnceCell::new() }
    }

    /// Who asks it. What failed is tried anew with the next question.
    pub(super) async fn resolver(&self) -> Result<Asking, DnsError> {
        self.resolver.get_or_try_init(|| self.open()).await.cloned()
    }

    async fn open(&self) -> Result<Asking, DnsError> {
        let (host, path): (Arc<str>, Arc<str>) =
            (self.server.host.as_str().into(), self.server.path.as_str().into());
        let servers = self.addresses().await?.into_iter().take(ADDRESSES_MAX).map(|address| {
            let mut server = NameServerConfig::https(address, Arc::clone(&host), Some(Arc::clone(&path)));
            for connection in &mut server.connections {
                connection.port = self.server.port;
            }
            server
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        let mut builder =
            Resolver::builder_with_config(config, self.connecting.clone()).with_tls_config(self.tls().await?);
        builder.options_mut().attempts = REPETITIONS;
        build(builder, self.cache_time_max).map_err(|error| self.failed(&error))
    }

    /// Where the server is.
    async fn addresses(&self) -> Result<Vec<IpAddr>, DnsError> {
        if let Ok(address) = self.server.host.parse() {
            return Ok(vec![address]);
        }
        let failed = |error: NetError| self.failed(&format!("finding {}: {error}", self.server.host));
        let system = Resolver::builder(Connecting::default())
            .and_then(|builder| build(builder, None))
            .map_err(failed)?;
        let found = system.lookup_ip(self.server.host.as_str()).await.map_err(failed)?;
        Ok(found.iter().collect())
    }

    /// Whom to trust. The files of certificates are read off the async tasks.
    async fn tls(&self) -> Result<ClientConfig, DnsError> {
        let read = tokio::task::spawn_blocking(roots_of_system).await;
        let roots = read.map_err(|error| self.failed(&error))?.map_err(|error| self.failed(&error))?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| self.failed(&error))?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }

    /// What a failed question is told as. Where there is no connection, what the resolver says would not tell why.
    pub(super) fn error(&self, error: &NetError) -> DnsError {
        let failures = self.connecting.failures();
        match failure(error) {
            DnsError::Failed(_) if !failures.is_empty() => self.failed(&failures),
            DnsError::Failed(reason) => self.failed(&reason),
            other => other,
        }
    }

    /// That there was no answer in time.
    pub(super) fn timeout(&self) -> DnsError {
        self.failed(&format!("no answer within {} seconds", TIME_MAX.as_secs()))
    }

    fn failed(&self, reason: &dyn std::fmt::Display) -> DnsError {
        DnsError::Https { url: self.server.url.clone(), reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_host_port_and_path() {
        let read =
            |text: &str| HttpsServer::parse(text).map(|server| (server.host, server.port, server.path));
        let expected = |host: &str, port, path: &str| Some((host.to_owned(), port, path.to_owned()));
        assert_eq!(read("https://dns.example/dns-query"), expected("dns.example", 443, "/dns-query"));
        assert_eq!(read("https://192.0.2.1:8443/a/b?c=d"), expected("192.0.2.1", 8443, "/a/b?c=d"));
        assert_eq!(read("https://[2001:db8::1]/q"), expected("2001:db8::1", 443, "/q"));
        assert_eq!(read("https://[::1]:8443/q"), expected("::1", 8443, "/q"));
        assert_eq!(read("HTTPS://dns.example"), expected("dns.example", 443, "/"));
        for text in [
            "",
            "dns.example",
            "http://dns.example/",
            "https://",
            "https:///path",
            "https://a@dns.example/",
            "https://a:65536/",
            "https://[::1/",
            "https://[::1]:65536/",
            "https://[::1]x/",
            "https://[v1.fe]/",
            "https://::1/",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
