//! `Pinning.RemoteServices`: pinning services, and the keys that they are used with.

use http::Uri;
use serde_json::{Map, Value, json};

use super::{Config, document};

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

impl Config {
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
