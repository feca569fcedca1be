//! `Pinning.RemoteServices`: pinning services, the keys that they are used with, and what is pinned there by itself.

use std::time::Duration;

use http::Uri;
use serde_json::{Map, Value, json};

use super::{Config, GoDuration, document};

/// `Policies.MFS.RepinInterval` where it says nothing (Kubo).
pub const REPIN_INTERVAL_DEFAULT: Duration = Duration::from_secs(300);
/// The least that it may be; less is taken for this (Kubo).
pub const REPIN_INTERVAL_MIN: Duration = Duration::from_secs(60);

/// Why a service was not added. The text is Kubo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteServiceError {
    /// One of that name is there.
    #[error("service already present")]
    Present,
    /// Its endpoint is no URL of a web server.
    #[error("service endpoint must be a valid HTTP URL")]
    NoUrl,
    /// Its endpoint has a query.
    #[error("service endpoint should be provided without any query parameters")]
    Query,
    /// Its endpoint names the list of pins and not the service.
    #[error("service endpoint should be provided without the /pins suffix")]
    Pins,
    /// There is none of that name.
    #[error("service not known")]
    Unknown,
    /// The place in the config holds something else.
    #[error("the config value Pinning.RemoteServices cannot be used: {0}")]
    Config(String),
}

/// A service, without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteService {
    /// Its name.
    pub name: String,
    /// Its URL.
    pub endpoint: String,
}

/// What a service is used with.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteAccess {
    /// Its URL, without `/pins`.
    pub endpoint: String,
    /// The secret that it knows us by.
    pub key: String,
}

/// Without the key.
impl std::fmt::Debug for RemoteAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteAccess").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// That the root of the mutable file system is kept pinned at a service: `Policies.MFS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MfsPolicy {
    /// The service.
    pub access: RemoteAccess,
    /// `PinName`. Empty: one that names this node.
    pub pin_name: String,
    /// `RepinInterval`: the least time between two requests to pin. Default [`REPIN_INTERVAL_DEFAULT`].
    pub repin_interval: Duration,
}

impl Config {
    /// What a service is used with.
    pub fn remote_service(&self, name: &str) -> Result<RemoteAccess, RemoteServiceError> {
        let services = self.document().pointer("/Pinning/RemoteServices");
        access(services.and_then(|services| services.get(name)).ok_or(RemoteServiceError::Unknown)?)
    }

    /// The services at which the root of the mutable file system is kept pinned, by name, and what is wrong with such a
    /// policy.
    pub fn mfs_policies(&self) -> Vec<(String, Result<MfsPolicy, RemoteServiceError>)> {
        let services = self.document().pointer("/Pinning/RemoteServices").and_then(Value::as_object);
        let enabled = |service: &Value| service.pointer("/Policies/MFS/Enable") == Some(&Value::Bool(true));
        let services = services.into_iter().flatten().filter(|(_, service)| enabled(service));
        services.map(|(name, service)| (name.clone(), mfs_policy(service))).collect()
    }

    /// The services, by name.
    pub fn remote_services(&self) -> Vec<RemoteService> {
        let services = self.document().pointer("/Pinning/RemoteServices").and_then(Value::as_object);
        let mut services: Vec<RemoteService> = services
            .into_iter()
            .flatten()
            .map(|(name, service)| {
                let endpoint = service.pointer("/API/Endpoint").and_then(Value::as_str).unwrap_or_default();
                RemoteService { name: name.clone(), endpoint: endpoint.to_owned() }
            })
            .collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        services
    }

    /// Adds a service. The file is not written: see [`Config::save`].
    pub fn remote_service_add(
        &mut self,
        name: &str,
        endpoint: &str,
        key: &str,
    ) -> Result<(), RemoteServiceError> {
        let endpoint = normalized(endpoint)?;
        if self.remote_services().iter().any(|service| service.name == name) {
            return Err(RemoteServiceError::Present);
        }
        let service = json!({
            "API": { "Endpoint": endpoint, "Key": key },
            "Policies": { "MFS": { "Enable": false, "PinName": "", "RepinInterval": "" } },
        });
        self.remote_services_edit(|services| {
            services.insert(name.to_owned(), service);
        })
    }

    /// Removes a service, if it is there. The file is not written: see [`Config::save`].
    pub fn remote_service_remove(&mut self, name: &str) -> Result<(), RemoteServiceError> {
        self.remote_services_edit(|services| {
            services.remove(name);
        })
    }

    fn remote_services_edit(
        &mut self,
        edit: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<(), RemoteServiceError> {
        let mut services = match self.document().pointer("/Pinning/RemoteServices") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(services)) => services.clone(),
            Some(_) => return Err(RemoteServiceError::Config("it is no object".to_owned())),
        };
        edit(&mut services);
        let key = ["Pinning", "RemoteServices"].map(str::to_owned);
        document::set(&mut self.document, &key, Value::Object(services))
            .map_err(RemoteServiceError::Config)?;
        document::sort(&mut self.document);
        Ok(())
    }
}

fn access(service: &Value) -> Result<RemoteAccess, RemoteServiceError> {
    let text = |pointer| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    Ok(RemoteAccess { endpoint: normalized(text("/API/Endpoint"))?, key: text("/API/Key").to_owned() })
}

fn mfs_policy(service: &Value) -> Result<MfsPolicy, RemoteServiceError> {
    let text = |pointer| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let repin_interval = match text("/Policies/MFS/RepinInterval") {
        "" => REPIN_INTERVAL_DEFAULT,
        interval => {
            let parsed = GoDuration::parse(interval)
                .map_err(|error| RemoteServiceError::Config(format!("RepinInterval: {error}")))?;
            parsed.to_std().unwrap_or_default()
        }
    };
    let pin_name = text("/Policies/MFS/PinName").to_owned();
    Ok(MfsPolicy { access: access(service)?, pin_name, repin_interval })
}

/// A URL without slashes at its end or several in a row.
fn normalized(endpoint: &str) -> Result<String, RemoteServiceError> {
    let uri: Uri = endpoint.parse().map_err(|_| RemoteServiceError::NoUrl)?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(RemoteServiceError::NoUrl);
    };
    let path: String = uri
        .path()
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .flat_map(|part| ["/", part])
        .collect();
    if uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(RemoteServiceError::Query);
    }
    if path.ends_with("/pins") {
        return Err(RemoteServiceError::Pins);
    }
    Ok(format!("{scheme}://{authority}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_come_and_go_and_names_may_hold_dots() {
        let mut config = Config::defaults();
        config.remote_service_add("b.example", "https://b.example//psa/", "key").unwrap();
        config.remote_service_add("a", "http://127.0.0.1:5000", "key").unwrap();
        assert_eq!(
            config.remote_service_add("a", "http://127.0.0.1", "other"),
            Err(RemoteServiceError::Present)
        );
        let names: Vec<(String, String)> =
            config.remote_services().into_iter().map(|service| (service.name, service.endpoint)).collect();
        let expected = [("a", "http://127.0.0.1:5000"), ("b.example", "https://b.example/psa")];
        assert_eq!(names, expected.map(|(name, endpoint)| (name.to_owned(), endpoint.to_owned())));
        assert!(!config.show().to_string().contains("\"key\""), "the key is a secret");
        config.remote_service_remove("b.example").unwrap();
        config.remote_service_remove("never there").unwrap();
        assert_eq!(config.remote_services().len(), 1);
    }

    #[test]
    fn what_a_service_is_used_with_is_told_but_its_key_is_not_shown() {
        let mut config = Config::defaults();
        config.remote_service_add("a.b", "http://127.0.0.1:5000/psa/", "secret").unwrap();
        let access = config.remote_service("a.b").unwrap();
        assert_eq!((access.endpoint.as_str(), access.key.as_str()), ("http://127.0.0.1:5000/psa", "secret"));
        assert!(!format!("{access:?}").contains("secret"));
        assert_eq!(config.remote_service("a"), Err(RemoteServiceError::Unknown));
    }

    #[test]
    fn policies_that_are_enabled_are_read_and_what_is_wrong_is_told() {
        let service =
            |mfs: Value| json!({ "API": { "Endpoint": "http://127.0.0.1:1" }, "Policies": { "MFS": mfs } });
        let services = json!({
            "off": service(json!({ "Enable": false })),
            "plain": service(json!({ "Enable": true, "PinName": "", "RepinInterval": "" })),
            "told": service(json!({ "Enable": true, "PinName": "mine", "RepinInterval": "1h" })),
            "wrong": service(json!({ "Enable": true, "RepinInterval": "often" })),
        });
        let text = json!({ "Pinning": { "RemoteServices": services } }).to_string();
        let policies = Config::parse(&text).unwrap().mfs_policies();
        let short = |(name, policy): (String, Result<MfsPolicy, RemoteServiceError>)| {
            (
                name,
                policy
                    .map(|policy| (policy.pin_name, policy.repin_interval.as_secs()))
                    .is_ok_and(|short| short == ("mine".to_owned(), 3600) || short == (String::new(), 300)),
            )
        };
        let policies: Vec<(String, bool)> = policies.into_iter().map(short).collect();
        let expected = [("plain", true), ("told", true), ("wrong", false)];
        assert_eq!(policies, expected.map(|(name, is_read)| (name.to_owned(), is_read)));
    }

    #[test]
    fn endpoints_are_urls_of_services() {
        for (endpoint, error) in [
            ("example.com", RemoteServiceError::NoUrl),
            ("ftp://example.com", RemoteServiceError::NoUrl),
            ("https://example.com?a=b", RemoteServiceError::Query),
            ("https://example.com/psa/pins/", RemoteServiceError::Pins),
        ] {
            assert_eq!(normalized(endpoint), Err(error), "{endpoint}");
        }
    }
}
