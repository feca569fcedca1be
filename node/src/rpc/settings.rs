//! What the config says about the RPC.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, HeaderName, HeaderValue,
};

use super::auth::Authorizations;
use super::cors::Cors;
use crate::commands::KUBO_VERSION;
use crate::config::{Config, ValueError};

/// How requests are taken and answered. It is read once, when the daemon starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Headers that answers carry.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) cors: Cors,
    pub(super) authorizations: Authorizations,
    pub(super) allowed_hosts: Vec<String>,
    pub(super) allow_get: bool,
    pub(super) version: String,
    pub(super) per_address: Option<u32>,
    pub(super) per_credential: Option<u32>,
    pub(super) upload_bytes_max: Option<u64>,
}

impl Settings {
    /// The section `API`. An error names the key and what is wrong with it.
    pub fn of_config(config: &Config) -> Result<Self, ValueError> {
        let api = config.api()?;
        let values = |name: &HeaderName| -> Vec<String> {
            let same = api.http_headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name.as_str()));
            same.flat_map(|(_, values)| values.clone()).collect()
        };
        let cors = Cors::new(
            &values(&ACCESS_CONTROL_ALLOW_ORIGIN),
            &values(&ACCESS_CONTROL_ALLOW_METHODS),
            &values(&ACCESS_CONTROL_ALLOW_HEADERS),
            &values(&ACCESS_CONTROL_ALLOW_CREDENTIALS),
        );
        let of_cors =
            [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_CREDENTIALS];
        let mut headers = Vec::new();
        for (name, values) in &api.http_headers {
            let unusable = |what: &str| ValueError {
                key: format!("API.HTTPHeaders.{name}"),
                reason: format!("{what} is not possible in HTTP"),
            };
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable("a header of this name"))?;
            for value in values.iter().filter(|_| !of_cors.contains(&name)) {
                let value = HeaderValue::from_str(value).map_err(|_| unusable("one of its values"))?;
                headers.push((name.clone(), value));
            }
        }
        Ok(Self {
            headers,
            cors,
            authorizations: Authorizations::new(&api.authorizations),
            allowed_hosts: api.allowed_hosts,
            allow_get: api.allow_get,
            version: api.reported_version.unwrap_or_else(|| KUBO_VERSION.to_owned()),
            per_address: api.requests_per_second_per_address,
            per_credential: api.requests_per_second_per_credential,
            upload_bytes_max: api.upload_bytes_max,
        })
    }

    /// Whether only those are let in who show a credential.
    pub fn asks_for_credentials(&self) -> bool {
        self.authorizations.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_config_are_checked_when_it_is_read() {
        let read = |headers: &str| {
            let text = format!("{{ \"API\": {{ \"HTTPHeaders\": {headers} }} }}");
            Settings::of_config(&Config::parse(&text).unwrap())
        };
        let settings = read(r#"{ "X-Mine": ["a", "b"], "access-control-allow-origin": ["*"] }"#).unwrap();
        assert_eq!(settings.headers.len(), 2, "those of other origins are not echoed");
        assert!(!settings.asks_for_credentials());
        assert!(read(r#"{ "a b": ["x"] }"#).unwrap_err().to_string().contains("API.HTTPHeaders.a b"));
        assert!(read(r#"{ "X": ["x\ny"] }"#).is_err());
    }
}
