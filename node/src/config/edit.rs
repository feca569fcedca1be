//! What the `config` commands do: get, set, show, replace, with the secrets kept out of sight.

use serde_json::Value;

use super::{Config, document, redact, schema};
use crate::go_text::{go_quote, json_error};
use crate::keys::parse_peer_id;

/// Why a config command was refused. The text is Kubo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The key is, or holds, the node's private key.
    #[error("cannot show or change private key through API")]
    PrivateKey,
    /// The key is, or holds, the key of a remote pinning service.
    #[error("cannot show or change pinning services credentials")]
    PinningCredentials,
    /// There is nothing at the key.
    #[error("failed to get config value: {}", go_quote(.0))]
    Get(String),
    /// The key is unknown, or the value has the wrong type.
    #[error("failed to set config value: {0} (maybe use --json?)")]
    Set(String),
    /// The value is what is shown in the place of a secret.
    #[error(
        "the secrets of API.Authorizations are not shown: give the secret itself, or set another key of the entry"
    )]
    Hidden,
    /// The new peer ID is not that of the private key.
    #[error(
        "cannot set Identity.PeerID to a value that does not match the node's private key; use 'ipfs key rotate' to \
         change the node identity"
    )]
    PeerId,
    /// The private key in the config cannot be read, so nothing can be compared with it.
    #[error("{0}")]
    Identity(String),
    /// The argument of `--json` is not JSON.
    #[error("failed to unmarshal json. {0}")]
    Json(String),
    /// The argument of `config replace` is not a config.
    #[error("failed to decode file as config")]
    Decode,
    /// The new config brings a private key.
    #[error("setting private key with API is not supported")]
    ReplacePrivateKey,
    /// The new config has other remote pinning services.
    #[error("cannot add or remove remote pinning services with 'config replace'")]
    ReplaceServices,
    /// The new config changes where a remote pinning service is, or its key.
    #[error("cannot change remote pinning services api info with `config replace`")]
    ReplaceServiceApi,
    /// The store that the config asks for is not one that Holdfast has.
    #[error("{0}")]
    Store(String),
}

/// Reads the value argument of `config key value`: as JSON, as a boolean (anything but `true` is false), or as text.
pub fn parse_argument(text: &str, json: bool, boolean: bool) -> Result<Value, ConfigError> {
    if json {
        let mut value =
            serde_json::from_str(text).map_err(|error| ConfigError::Json(json_error(text, &error)))?;
        document::tidy_numbers(&mut value);
        return Ok(value);
    }
    Ok(if boolean { Value::Bool(text == "true") } else { Value::String(text.to_owned()) })
}

/// Path of the secret in a remote pinning service; every key on the way to it is refused too.
const SERVICE_SECRET: [&str; 5] = ["Pinning", "RemoteServices", "*", "API", "Key"];

/// Refuses keys that are, or hold, a secret.
fn check_secret(parts: &[String]) -> Result<(), ConfigError> {
    let is = |index: usize, name: &str| parts.get(index).is_some_and(|part| part.eq_ignore_ascii_case(name));
    if is(0, "Identity") && (parts.len() == 1 || is(1, "PrivKey")) {
        return Err(ConfigError::PrivateKey);
    }
    let concealed = parts
        .iter()
        .zip(SERVICE_SECRET)
        .all(|(part, pattern)| pattern == "*" || part.eq_ignore_ascii_case(pattern));
    if concealed { Err(ConfigError::PinningCredentials) } else { Ok(()) }
}

/// Whether a key is that of the node's own name, which follows from its private key.
fn is_peer_id(parts: &[String]) -> bool {
    matches!(parts, [section, name] if section.eq_ignore_ascii_case("Identity") && name.eq_ignore_ascii_case("PeerID"))
}

/// Refuses a store that Holdfast does not have.
fn check_store(spec: &Value) -> Result<(), ConfigError> {
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default();
    let ours = spec.is_null() || kind == "rocksdb";
    let reason = "Holdfast keeps blocks in RocksDB only: leave Datastore.Spec as it is, \
        and bring data over with 'dag export' and 'dag import'";
    if ours {
        Ok(())
    } else {
        Err(ConfigError::Store(format!("unsupported Datastore.Spec type {}: {reason}", go_quote(kind))))
    }
}

impl Config {
    /// The value at a dotted key: `Addresses.API`, `DNS.Resolvers["."]`. Secrets are refused, those of `API.Authorizations`
    /// are left out of what is shown.
    pub fn get(&self, key: &str) -> Result<Value, ConfigError> {
        let parts = document::split_key(key);
        check_secret(&parts)?;
        let value = document::get(&self.document, &parts).cloned().map_err(ConfigError::Get)?;
        Ok(redact::redacted(&parts, value))
    }

    /// Sets the value at a dotted key, and returns what is there now. The key must be one that Kubo's config knows (or one
    /// of Holdfast's own), the value must have its type; `null` sets the default.
    ///
    /// Nothing is changed on error. The file is not written: see [`Config::save`].
    pub fn set(&mut self, key: &str, value: Value) -> Result<Value, ConfigError> {
        let parts = document::split_key(key);
        check_secret(&parts)?;
        if redact::is_placeholder(&parts, &value) {
            return Err(ConfigError::Hidden);
        }
        let value = if is_peer_id(&parts) { self.own_peer_id(&value)? } else { value };
        schema::check_key(&parts).map_err(ConfigError::Set)?;
        schema::check_value(&parts, &value).map_err(ConfigError::Set)?;
        let mut changed = self.clone();
        document::set(&mut changed.document, &parts, value).map_err(ConfigError::Set)?;
        document::sort(&mut changed.document);
        changed.check_own()?;
        *self = changed;
        self.get(key)
    }

    /// The node's peer ID as the config holds it, if `value` is that in any form.
    fn own_peer_id(&self, value: &Value) -> Result<Value, ConfigError> {
        let key = self.private_key().map_err(|error| ConfigError::Identity(error.to_string()))?;
        let given = value.as_str().and_then(|text| parse_peer_id(text).ok());
        if given == Some(key.peer_id()) {
            Ok(Value::String(key.peer_id().to_string()))
        } else {
            Err(ConfigError::PeerId)
        }
    }

    /// The whole config without its secrets: private key, API authorizations, keys of remote pinning services.
    pub fn show(&self) -> Value {
        let mut shown = self.document.clone();
        document::remove(&mut shown, &["Identity", "PrivKey"]);
        if shown.pointer("/API/Authorizations").is_some_and(Value::is_object) {
            let parts = ["API".to_owned(), "Authorizations".to_owned()];
            let _ = document::set(&mut shown, &parts, Value::Object(serde_json::Map::new()));
        }
        if let Some(services) = shown.pointer_mut("/Pinning/RemoteServices").and_then(Value::as_object_mut) {
            for service in services.values_mut() {
                document::remove(service, &["API", "Key"]);
            }
        }
        shown
    }

    /// The config with this JSON text's content. Identity, API authorizations and the keys of remote pinning services are
    /// kept (what [`Config::show`] hides may be missing from the text); a text that changes those secrets is refused.
    pub fn replaced(&self, text: &str) -> Result<Self, ConfigError> {
        let mut new = Self::parse(text).map_err(|_| ConfigError::Decode)?;
        schema::check_value(&[], &new.document).map_err(|_| ConfigError::Decode)?;
        let given_key = new.document.pointer("/Identity/PrivKey").and_then(Value::as_str);
        if given_key.is_some_and(|key| !key.is_empty()) {
            return Err(ConfigError::ReplacePrivateKey);
        }
        new.keep_services(self)?;
        if let Some(identity) = self.document.get("Identity") {
            new.put("Identity", identity.clone());
        }
        let shows_none = new.document.pointer("/API/Authorizations").and_then(Value::as_object);
        if shows_none.is_none_or(serde_json::Map::is_empty)
            && let Some(authorizations) = self.document.pointer("/API/Authorizations")
        {
            new.put("API.Authorizations", authorizations.clone());
        }
        new.check_own()?;
        Ok(new)
    }

    /// Whether a text is a config that a node can start with; the error says what is wrong with it.
    pub fn check_edited(text: &str) -> Result<(), String> {
        let config = Self::parse(text)?;
        schema::check_value(&[], &config.document)?;
        config.check_own().map_err(|error| error.to_string())?;
        config.private_key().map(drop).map_err(|error| error.to_string())
    }

    /// Takes the API section of each remote pinning service from `old`.
    fn keep_services(&mut self, old: &Self) -> Result<(), ConfigError> {
        const PLACE: &str = "/Pinning/RemoteServices";
        let services = |config: &Self| config.document.pointer(PLACE).and_then(Value::as_object).cloned();
        let old_services = services(old).unwrap_or_default();
        let mut new_services = services(self).unwrap_or_default();
        if old_services.len() != new_services.len() {
            return Err(ConfigError::ReplaceServices);
        }
        for (name, old_service) in &old_services {
            let new_service = new_services.get_mut(name).ok_or(ConfigError::ReplaceServices)?;
            let said = |field: &str| {
                let text = new_service.pointer(field).and_then(Value::as_str);
                text.filter(|text| !text.is_empty()).map(str::to_owned)
            };
            let endpoint = said("/API/Endpoint");
            let same_place = endpoint.is_none()
                || endpoint.as_deref() == old_service.pointer("/API/Endpoint").and_then(Value::as_str);
            if said("/API/Key").is_some() || !same_place {
                return Err(ConfigError::ReplaceServiceApi);
            }
            if let (Some(api), Some(service)) = (old_service.get("API"), new_service.as_object_mut()) {
                service.insert("API".to_owned(), api.clone());
            }
        }
        if !new_services.is_empty() {
            self.put("Pinning.RemoteServices", Value::Object(new_services));
        }
        Ok(())
    }

    /// Checks the keys that Kubo would check only at the next start, where this is about Holdfast's own.
    fn check_own(&self) -> Result<(), ConfigError> {
        check_store(self.document.pointer("/Datastore/Spec").unwrap_or(&Value::Null))?;
        self.datastore().map_err(|error| ConfigError::Set(error.to_string()))?;
        self.resources().map_err(|error| ConfigError::Set(error.to_string()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> Config {
        let mut config = Config::defaults();
        config.put("Identity", json!({ "PeerID": "id", "PrivKey": "secret" }));
        config.put("API.Authorizations", json!({ "alice": { "AuthSecret": "secret" } }));
        config.put(
            "Pinning.RemoteServices.svc",
            json!({ "API": { "Endpoint": "https://x", "Key": "secret" }, "Policies": { "MFS": { "Enable": false } } }),
        );
        config
    }

    #[test]
    fn gets_and_sets_as_kubo() {
        let mut config = Config::defaults();
        assert_eq!(config.get("Datastore.StorageMax"), Ok(json!("10GB")));
        assert_eq!(config.set("Datastore.StorageMax", json!("5GB")), Ok(json!("5GB")));
        assert_eq!(config.get("Datastore.StorageMax"), Ok(json!("5GB")));
        assert_eq!(config.set("Import.CidVersion", json!(1)), Ok(json!(1)));
        assert_eq!(config.set("Import.CidVersion", json!(null)), Ok(json!(null)));
        assert_eq!(config.set("DNS.Resolvers[\"eth.\"]", json!("https://x")), Ok(json!("https://x")));
        assert_eq!(config.get("DNS.Resolvers"), Ok(json!({ ".": "auto", "eth.": "https://x" })));
        let words = |error: ConfigError| error.to_string();
        assert_eq!(
            words(config.get("No.Such.Key").unwrap_err()),
            "failed to get config value: \"No not found\""
        );
        assert_eq!(
            words(config.set("No.Such.Key", json!(1)).unwrap_err()),
            "failed to set config value: No not found (maybe use --json?)"
        );
        assert_eq!(
            words(config.set("Import.CidVersion", json!("1")).unwrap_err()),
            "failed to set config value: failure to decode config: json: cannot unmarshal string into Go struct field \
             Import.Import.CidVersion of type int64 (maybe use --json?)"
        );
        assert_eq!(
            words(parse_argument("{", true, false).unwrap_err()),
            "failed to unmarshal json. unexpected end of JSON input"
        );
        assert_eq!(parse_argument("yes", false, true), Ok(json!(false)));
        assert_eq!(parse_argument("1.0", true, false), Ok(json!(1)));
    }

    #[test]
    fn secrets_are_refused_however_they_are_written() {
        let mut config = config();
        for key in ["Identity.PrivKey", "Identity", "identity.privkey", "[\"Identity\"].PrivKey"] {
            assert_eq!(config.get(key), Err(ConfigError::PrivateKey), "{key}");
            assert_eq!(config.set(key, json!("x")), Err(ConfigError::PrivateKey), "{key}");
        }
        assert_eq!(config.get("Identity.PeerID"), Ok(json!("id")));
        for key in [
            "Pinning",
            "Pinning.RemoteServices",
            "pinning.remoteservices.svc",
            "Pinning.RemoteServices.svc.API.Key",
            "Pinning.RemoteServices[\"svc\"].API.Key",
        ] {
            assert_eq!(config.get(key), Err(ConfigError::PinningCredentials), "{key}");
        }
        let toggle = "Pinning.RemoteServices[\"svc\"].Policies.MFS.Enable";
        assert_eq!(config.set(toggle, json!(true)), Ok(json!(true)));
        assert!(!config.show().to_string().contains("secret"));
        for key in
            ["API", "api.authorizations", "API.Authorizations.alice", "API.Authorizations.alice.AuthSecret"]
        {
            if let Ok(shown) = config.get(key) {
                assert!(!shown.to_string().contains("\"secret\""), "{key}: {shown}");
            }
        }
        let shown = config.get("API.Authorizations").unwrap();
        assert_eq!(config.set("API.Authorizations", shown), Err(ConfigError::Hidden));
        let secret = "API.Authorizations.alice.AuthSecret";
        assert_eq!(config.set(secret, json!("new")), Ok(json!("<hidden>")));
        assert_eq!(config.document.pointer("/API/Authorizations/alice/AuthSecret"), Some(&json!("new")));
    }

    #[test]
    fn replace_keeps_what_show_hides() {
        let config = config();
        let shown = human_output(&config.show());
        assert_eq!(config.replaced(&shown), Ok(config.clone()));
        assert_eq!(config.replaced("{"), Err(ConfigError::Decode));
        assert_eq!(config.replaced(r#"{"Bootstrap": 1}"#), Err(ConfigError::Decode));
        let edited = |place: &str, value: Value| {
            let mut shown = config.show();
            *shown.pointer_mut(place).unwrap() = value;
            config.replaced(&shown.to_string())
        };
        assert_eq!(edited("/Identity", json!({ "PrivKey": "x" })), Err(ConfigError::ReplacePrivateKey));
        assert_eq!(edited("/Pinning/RemoteServices", json!({})), Err(ConfigError::ReplaceServices));
        assert_eq!(
            edited("/Pinning/RemoteServices/svc/API/Endpoint", json!("https://y")),
            Err(ConfigError::ReplaceServiceApi)
        );
        let changed = edited("/Datastore/StorageMax", json!("1TB")).unwrap();
        assert_eq!(changed.get("Datastore.StorageMax"), Ok(json!("1TB")));
        assert_eq!(changed.document.pointer("/Identity/PrivKey"), Some(&json!("secret")));
    }

    #[test]
    fn other_stores_are_refused() {
        let mut config = Config::defaults();
        let before = config.clone();
        let error = config.set("Datastore.Spec", json!({ "type": "flatfs" })).unwrap_err();
        assert!(error.to_string().starts_with("unsupported Datastore.Spec type \"flatfs\""), "{error}");
        assert!(config.set("Datastore.Durability", json!("never")).is_err());
        assert!(config.set("Resources.MemoryLimit", json!("much")).is_err());
        assert_eq!(config, before);
        assert_eq!(config.set("Datastore.Durability", json!("process")), Ok(json!("process")));
        assert_eq!(config.set("Resources.MemoryLimit", json!("512MiB")), Ok(json!("512MiB")));
    }

    use super::super::human_output;
}
