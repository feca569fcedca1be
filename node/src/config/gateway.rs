//! The section `Gateway`: what web clients are served, and how.

use std::time::Duration;

use super::{Config, ValueError, document};

/// Default of `Gateway.RetrievalTimeout`: Kubo's.
const RETRIEVAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Default of `Gateway.MaxRequestDuration`: Kubo's.
const REQUEST_DURATION_MAX: Duration = Duration::from_secs(3600);
/// Default of `Gateway.MaxConcurrentRequests`: Kubo's.
const CONCURRENT_REQUESTS_MAX: usize = 4096;

/// `Gateway`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the config")]
pub struct Gateway {
    /// `HTTPHeaders`: names with their values, which answers carry.
    pub http_headers: Vec<(String, Vec<String>)>,
    /// `RootRedirect`: where `/` leads. Default: nowhere.
    pub root_redirect: Option<String>,
    /// `NoFetch`: serve what is stored here and ask nobody. Default: false.
    pub no_fetch: bool,
    /// `DeserializedResponses`: serve files and listings beside blocks, CARs and records. Default: true.
    pub deserialized_responses: bool,
    /// `AllowCodecConversion`: give dag-cbor as dag-json and the like. Default: false.
    pub allow_codec_conversion: bool,
    /// `DisableHTMLErrors`: tell browsers of errors in plain text. Default: false.
    pub disable_html_errors: bool,
    /// `RetrievalTimeout`: time to the first byte, and between bytes. Default: 30 s; 0 is `None`, no limit.
    pub retrieval_timeout: Option<Duration>,
    /// `MaxRequestDuration`: time of a whole request. Default: 1 h; 0 is `None`, no limit.
    pub request_duration_max: Option<Duration>,
    /// `MaxConcurrentRequests`. Default: 4,096; 0 is `None`, no limit.
    pub concurrent_requests_max: Option<usize>,
    /// `MaxRangeRequestFileSize`: bytes of a file that ranges are served of. Default: 0, which is `None`, no limit.
    pub range_file_bytes_max: Option<u64>,
    /// `PublicGateways`: hosts with rules of their own.
    pub public_gateways: Vec<PublicGateway>,
}

/// An entry of `Gateway.PublicGateways`. Those that are `null` are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicGateway {
    /// The host's name, with a port perhaps.
    pub host: String,
    /// `Paths`: beginnings of paths that are served there.
    pub paths: Vec<String>,
    /// `UseSubdomains`: serve each root from an origin of its own.
    pub use_subdomains: bool,
    /// `DeserializedResponses` for this host; `None`: as for all.
    pub deserialized_responses: Option<bool>,
}

impl Config {
    /// `Gateway`.
    pub fn gateway(&self) -> Result<Gateway, ValueError> {
        let flag = |key: &str, default| Ok::<_, ValueError>(self.flag(key)?.unwrap_or(default));
        let time = |key: &str, default: Duration| {
            let given = self.duration(key)?.map(|given| given.to_std().unwrap_or_default());
            Ok::<_, ValueError>(Some(given.unwrap_or(default)).filter(|time| !time.is_zero()))
        };
        let mut http_headers = Vec::new();
        for name in self.names_in("Gateway.HTTPHeaders")? {
            let values = self.text_list(&document::join_key("Gateway.HTTPHeaders", &name))?;
            http_headers.push((name, values));
        }
        let concurrent = self.number("Gateway.MaxConcurrentRequests")?;
        let concurrent = concurrent
            .map_or(CONCURRENT_REQUESTS_MAX, |number| usize::try_from(number.max(0)).unwrap_or(usize::MAX));
        Ok(Gateway {
            http_headers,
            root_redirect: self.text("Gateway.RootRedirect")?.filter(|text| !text.is_empty()),
            no_fetch: flag("Gateway.NoFetch", false)?,
            deserialized_responses: flag("Gateway.DeserializedResponses", true)?,
            allow_codec_conversion: flag("Gateway.AllowCodecConversion", false)?,
            disable_html_errors: flag("Gateway.DisableHTMLErrors", false)?,
            retrieval_timeout: time("Gateway.RetrievalTimeout", RETRIEVAL_TIMEOUT)?,
            request_duration_max: time("Gateway.MaxRequestDuration", REQUEST_DURATION_MAX)?,
            concurrent_requests_max: Some(concurrent).filter(|max| *max > 0),
            range_file_bytes_max: self.size("Gateway.MaxRangeRequestFileSize")?.filter(|bytes| *bytes > 0),
            public_gateways: self.public_gateways()?,
        })
    }

    fn public_gateways(&self) -> Result<Vec<PublicGateway>, ValueError> {
        let mut all = Vec::new();
        for host in self.names_in("Gateway.PublicGateways")? {
            let entry = document::join_key("Gateway.PublicGateways", &host);
            if self.value(&entry).is_none() {
                continue;
            }
            all.push(PublicGateway {
                paths: self.text_list(&format!("{entry}.Paths"))?,
                use_subdomains: self.flag(&format!("{entry}.UseSubdomains"))?.unwrap_or(false),
                deserialized_responses: self.flag(&format!("{entry}.DeserializedResponses"))?,
                host,
            });
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_section_is_read_and_has_the_defaults_of_kubo() {
        let gateway = Config::defaults().gateway().unwrap();
        assert!(gateway.deserialized_responses && !gateway.no_fetch && !gateway.allow_codec_conversion);
        assert_eq!(gateway.retrieval_timeout, Some(Duration::from_secs(30)));
        assert_eq!(gateway.request_duration_max, Some(Duration::from_secs(3600)));
        assert_eq!((gateway.concurrent_requests_max, gateway.range_file_bytes_max), (Some(4096), None));
        assert_eq!((gateway.root_redirect, gateway.public_gateways.len()), (None, 0));
        let mut config = Config::defaults();
        config.put(
            "Gateway",
            json!({
                "HTTPHeaders": { "X-A": ["1", "2"] },
                "RootRedirect": "/ipfs/bafkqaaa",
                "NoFetch": true,
                "DeserializedResponses": false,
                "RetrievalTimeout": "2s",
                "MaxRequestDuration": "0s",
                "MaxConcurrentRequests": 0,
                "MaxRangeRequestFileSize": "5GiB",
                "PublicGateways": {
                    "dweb.example": { "Paths": ["/ipfs"], "UseSubdomains": true },
                    "localhost": null,
                },
            }),
        );
        let gateway = config.gateway().unwrap();
        assert_eq!(gateway.http_headers, [("X-A".to_owned(), vec!["1".to_owned(), "2".to_owned()])]);
        assert_eq!(gateway.root_redirect.as_deref(), Some("/ipfs/bafkqaaa"));
        assert!(gateway.no_fetch && !gateway.deserialized_responses);
        assert_eq!(gateway.retrieval_timeout, Some(Duration::from_secs(2)));
        assert_eq!((gateway.request_duration_max, gateway.concurrent_requests_max), (None, None));
        assert_eq!(gateway.range_file_bytes_max, Some(5 << 30));
        let host = &gateway.public_gateways[0];
        assert_eq!(
            (&host.host[..], &host.paths[..], host.use_subdomains),
            ("dweb.example", &["/ipfs".to_owned()][..], true)
        );
        assert_eq!((host.deserialized_responses, gateway.public_gateways.len()), (None, 1));
    }
}
