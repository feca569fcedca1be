//! The section `API`: how the RPC answers, and to whom.

use super::{Config, ValueError, document};

/// `API`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Api {
    /// `HTTPHeaders`: names with their values, which answers carry. `Access-Control-Allow-*` decide about other origins.
    pub http_headers: Vec<(String, Vec<String>)>,
    /// `Authorizations`: if there is any, nobody else is let in.
    pub authorizations: Vec<ApiAuthorization>,
    /// `AllowedHosts`: names that a `Host` header may have, beside IP addresses and `localhost`. `*` is any name.
    pub allowed_hosts: Vec<String>,
    /// `AllowGet`: answer commands to GET and HEAD too. Default: false.
    pub allow_get: bool,
    /// `ReportedVersion`: what `version` says instead of the Kubo level that is matched. Default: none.
    pub reported_version: Option<String>,
    /// `RateLimitPerAddress`: requests a second of one address. Default: no limit.
    pub requests_per_second_per_address: Option<u32>,
    /// `RateLimitPerCredential`: requests a second of one entry of `Authorizations`. Default: no limit.
    pub requests_per_second_per_credential: Option<u32>,
    /// `MaxUploadSize`: bytes of the body of one request. Default: no limit.
    pub upload_bytes_max: Option<u64>,
}

/// An entry of `API.Authorizations`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiAuthorization {
    /// Its name.
    pub user: String,
    /// `bearer:token`, `basic:user:password`, `basic:base64`, or a bearer token alone.
    pub secret: String,
    /// Beginnings of paths that it may use.
    pub allowed_paths: Vec<String>,
}

// Secrets are not printed.
impl std::fmt::Debug for ApiAuthorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiAuthorization")
            .field("user", &self.user)
            .field("allowed_paths", &self.allowed_paths)
            .finish_non_exhaustive()
    }
}

// Headers may hold secrets of the proxies before us.
impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("authorizations", &self.authorizations).finish_non_exhaustive()
    }
}

impl Config {
    /// `API`.
    pub fn api(&self) -> Result<Api, ValueError> {
        let text = |key: &str| Ok(self.text(key)?.filter(|text| !text.is_empty()));
        let rate = |key: &str| {
            let number = self.number(key)?.unwrap_or(0);
            let rate = u32::try_from(number).map_err(|_| ValueError {
                key: key.to_owned(),
                reason: format!("{number} is no number of requests a second"),
            })?;
            Ok::<_, ValueError>(Some(rate).filter(|rate| *rate > 0))
        };
        let mut http_headers = Vec::new();
        for name in self.names_in("API.HTTPHeaders")? {
            let values = self.text_list(&document::join_key("API.HTTPHeaders", &name))?;
            http_headers.push((name, values));
        }
        let mut authorizations = Vec::new();
        for user in self.names_in("API.Authorizations")? {
            let entry = document::join_key("API.Authorizations", &user);
            authorizations.push(ApiAuthorization {
                secret: self.text(&format!("{entry}.AuthSecret"))?.unwrap_or_default(),
                allowed_paths: self.text_list(&format!("{entry}.AllowedPaths"))?,
                user,
            });
        }
        Ok(Api {
            http_headers,
            authorizations,
            allowed_hosts: self.text_list("API.AllowedHosts")?,
            allow_get: self.flag("API.AllowGet")?.unwrap_or(false),
            reported_version: text("API.ReportedVersion")?,
            requests_per_second_per_address: rate("API.RateLimitPerAddress")?,
            requests_per_second_per_credential: rate("API.RateLimitPerCredential")?,
            upload_bytes_max: self.size("API.MaxUploadSize")?.filter(|bytes| *bytes > 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_section_is_read_and_is_empty_by_default() {
        assert_eq!(Config::defaults().api(), Ok(Api::default()));
        let mut config = Config::defaults();
        config.put(
            "API",
            json!({
                "HTTPHeaders": { "Access-Control-Allow-Origin": ["http://a.example"], "X.Y": ["1", "2"] },
                "Authorizations": { "al.ice": { "AuthSecret": "bearer:s3cret", "AllowedPaths": ["/api/v0"] }, "bob": {} },
                "AllowedHosts": ["ipfs0"],
                "AllowGet": true,
                "ReportedVersion": "0.7.0",
                "RateLimitPerAddress": 10,
                "RateLimitPerCredential": 0,
                "MaxUploadSize": "1MiB",
            }),
        );
        let api = config.api().unwrap();
        assert_eq!(api.http_headers[1], ("X.Y".to_owned(), vec!["1".to_owned(), "2".to_owned()]));
        assert_eq!(api.authorizations[0].secret, "bearer:s3cret");
        assert_eq!(api.authorizations[0].allowed_paths, ["/api/v0"]);
        assert_eq!((&api.authorizations[1].user[..], &api.authorizations[1].secret[..]), ("bob", ""));
        assert_eq!((api.allow_get, api.reported_version.as_deref()), (true, Some("0.7.0")));
        assert_eq!(
            (api.requests_per_second_per_address, api.requests_per_second_per_credential),
            (Some(10), None)
        );
        assert_eq!(
            (api.upload_bytes_max, &api.allowed_hosts[..]),
            (Some(1 << 20), &["ipfs0".to_owned()][..])
        );
        assert!(!format!("{api:?}").contains("s3cret"));
        config.put("API.RateLimitPerAddress", json!(-1));
        assert!(config.api().unwrap_err().to_string().contains("API.RateLimitPerAddress"));
    }
}
