//! What the config says of the gateway, ready for use.

use std::collections::HashMap;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, HeaderMap, HeaderName, HeaderValue,
};

use crate::config::{Config, ValueError};

/// Headers that pages of other origins may set.
const ALLOWED_HEADERS: [&str; 4] = ["Content-Type", "Range", "User-Agent", "X-Requested-With"];
/// Headers that pages of other origins may read.
const EXPOSED_HEADERS: [&str; 6] =
    ["Content-Length", "Content-Range", "X-Chunked-Output", "X-Ipfs-Path", "X-Ipfs-Roots", "X-Stream-Output"];

/// The settings of a gateway.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key of its own in the config")]
pub struct Settings {
    /// Carried by every answer that does not say otherwise.
    pub(super) headers: HeaderMap,
    pub(super) root_redirect: Option<HeaderValue>,
    /// `Gateway.NoFetch`: only what is stored here is served.
    pub(super) no_fetch: bool,
    pub(super) deserialized: bool,
    pub(super) converts: bool,
    pub(super) html_errors: bool,
    pub(super) retrieval_timeout: Option<Duration>,
    pub(super) duration_max: Option<Duration>,
    pub(super) concurrent_max: Option<usize>,
    pub(super) range_file_bytes_max: Option<u64>,
    hosts: HashMap<String, Host>,
    /// What is in the config and has no effect, in sentences.
    warnings: Vec<String>,
}

/// A host with rules of its own.
#[derive(Debug, Clone)]
pub(super) struct Host {
    paths: Vec<String>,
    pub(super) deserialized: bool,
}

impl Host {
    /// Whether a path is served there.
    pub(super) fn serves(&self, path: &str) -> bool {
        self.paths.iter().any(|prefix| {
            let prefix = prefix.trim_end_matches('/');
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

impl Settings {
    /// Those of the config's section `Gateway`.
    pub fn of_config(config: &Config) -> Result<Self, ValueError> {
        let gateway = config.gateway()?;
        let mut warnings = Vec::new();
        if gateway.public_gateways.iter().any(|host| host.use_subdomains) {
            warnings.push(
                "Gateway.PublicGateways: UseSubdomains has no effect in this version; these hosts are served by path"
                    .to_owned(),
            );
        }
        let headers = headers(&gateway.http_headers, &mut warnings);
        let root_redirect = gateway.root_redirect.as_ref().and_then(|to| HeaderValue::from_str(to).ok());
        let hosts = gateway.public_gateways.iter().map(|host| {
            let deserialized = host.deserialized_responses.unwrap_or(gateway.deserialized_responses);
            (host.host.to_ascii_lowercase(), Host { paths: host.paths.clone(), deserialized })
        });
        Ok(Self {
            headers,
            root_redirect,
            no_fetch: gateway.no_fetch,
            deserialized: gateway.deserialized_responses,
            converts: gateway.allow_codec_conversion,
            html_errors: !gateway.disable_html_errors,
            retrieval_timeout: gateway.retrieval_timeout,
            duration_max: gateway.request_duration_max,
            concurrent_max: gateway.concurrent_requests_max,
            range_file_bytes_max: gateway.range_file_bytes_max,
            hosts: hosts.collect(),
            warnings,
        })
    }

    /// What is in the config and has no effect, in sentences.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The rules of a host, by its name with or without a port.
    pub(super) fn host(&self, name: &str) -> Option<&Host> {
        let name = name.to_ascii_lowercase();
        let bare = name.rsplit_once(':').map_or(name.as_str(), |(bare, _)| bare);
        self.hosts.get(&name).or_else(|| self.hosts.get(bare))
    }
}

impl Default for Settings {
    fn default() -> Self {
        let settings = Self::of_config(&Config::defaults());
        settings.expect("invariant: the default config can be read, which a test shows")
    }
}

/// The headers of the config, and what lets pages of any origin read what is public anyway.
fn headers(configured: &[(String, Vec<String>)], warnings: &mut Vec<String>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, values) in configured {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            warnings.push(format!("Gateway.HTTPHeaders: {name:?} is no name of a header; it is passed over"));
            continue;
        };
        for value in values {
            match HeaderValue::from_str(value) {
                Ok(value) => drop(headers.append(&name, value)),
                Err(_) => warnings.push(format!(
                    "Gateway.HTTPHeaders.{name}: {value:?} cannot stand in a header; it is passed over"
                )),
            }
        }
    }
    headers.entry(ACCESS_CONTROL_ALLOW_ORIGIN).or_insert(HeaderValue::from_static("*"));
    headers.entry(ACCESS_CONTROL_ALLOW_METHODS).or_insert(HeaderValue::from_static("GET, HEAD, OPTIONS"));
    join(&mut headers, &ACCESS_CONTROL_ALLOW_HEADERS, &ALLOWED_HEADERS);
    join(&mut headers, &ACCESS_CONTROL_EXPOSE_HEADERS, &EXPOSED_HEADERS);
    headers
}

/// Adds words to a header that is a list, in one line and in order.
fn join(headers: &mut HeaderMap, name: &HeaderName, words: &[&str]) {
    let given = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let given: Vec<String> =
        given.flat_map(|value| value.split(',')).map(|word| word.trim().to_owned()).collect();
    let mut all: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    for word in given {
        if !word.is_empty() && !all.iter().any(|known| known.eq_ignore_ascii_case(&word)) {
            all.push(word);
        }
    }
    all.sort_unstable();
    if let Ok(value) = HeaderValue::from_str(&all.join(", ")) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pages_may_read_and_the_config_adds_to_that() {
        let mut config = Config::defaults();
        config.put(
            "Gateway.HTTPHeaders",
            json!({
                "Access-Control-Allow-Origin": ["https://a.example"],
                "Access-Control-Allow-Headers": ["X-Own, range"],
                "X-A": ["1", "2"], "no name": ["x"], "X-B": ["a\nb"],
            }),
        );
        let settings = Settings::of_config(&config).unwrap();
        let header = |name: &str| settings.headers.get(name).unwrap().to_str().unwrap();
        assert_eq!(header("access-control-allow-origin"), "https://a.example");
        assert_eq!(
            header("access-control-allow-headers"),
            "Content-Type, Range, User-Agent, X-Own, X-Requested-With"
        );
        assert_eq!(settings.headers.get_all("x-a").iter().count(), 2);
        assert_eq!(settings.warnings().len(), 2, "{:?}", settings.warnings());
        assert_eq!(Settings::default().headers.get("access-control-allow-origin").unwrap(), "*");
    }

    #[test]
    fn a_host_is_known_by_its_name_and_serves_whole_segments() {
        let mut config = Config::defaults();
        config.put(
            "Gateway.PublicGateways",
            json!({ "Dweb.example": { "Paths": ["/ipfs"], "DeserializedResponses": false } }),
        );
        let settings = Settings::of_config(&config).unwrap();
        let host = settings.host("dweb.Example:8080").unwrap();
        assert!(
            host.serves("/ipfs/x")
                && host.serves("/ipfs")
                && !host.serves("/ipfsx")
                && !host.serves("/ipns/x")
        );
        assert!(!host.deserialized && settings.deserialized);
        assert!(settings.host("other.example").is_none());
    }
}
