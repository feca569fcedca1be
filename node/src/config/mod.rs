//! Kubo's JSON config: loading, saving, changing, and typed views of it.
//!
//! The document is kept as it was read, so keys that this version does not know survive every change. Keys are written
//! sorted, as Kubo writes them. What differs from Kubo's defaults: `Datastore.Spec` is `{"path": "db", "type": "rocksdb"}`;
//! `Datastore.Durability`, `.ReserveSize`, `.ScrubPeriod`, `.ScrubBytesPerSecond`, `Resources.MemoryLimit`, `Discovery.MDNS.Interval`,
//! `Swarm.PingInterval` and some of `API` are Holdfast's own keys, absent until set.

mod api;
mod auto;
mod bootstrap;
mod document;
mod edit;
mod gateway;
mod import;
mod profiles;
mod redact;
mod remote_services;
mod resolve;
mod schema;
mod units;
mod views;

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use api::{Api, ApiAuthorization};
pub use bootstrap::{AUTO, BootstrapError, DEFAULT_BOOTSTRAP, parse_multiaddr};
pub use document::human_output;
pub use edit::{ConfigError, parse_argument};
pub use gateway::{Gateway, PublicGateway};
pub use import::{ImportConfig, ImportConfigError};
pub use profiles::{Change, Profile, ProfileChange, ProfileError, apply_profile, changes, profiles};
pub use remote_services::{
    MfsPolicy, REPIN_INTERVAL_DEFAULT, REPIN_INTERVAL_MIN, RemoteAccess, RemoteService, RemoteServiceError,
};
pub use resolve::{
    AddFlags, INLINE_BYTES_MAX, ImportFlagError, PIN_NAME_BYTES_MAX, ResolvedImport, resolve_import,
};
pub use units::{DurationError, GoDuration, SizeError, parse_size};
pub use views::{Addresses, Datastore, Durability, Identity, MEMORY_LIMIT_BYTES_MIN, Resources, ValueError};

/// Name of the config file in a repo.
pub const FILE_NAME: &str = "config";

/// Largest config file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// What a new repo's config holds, before its identity: Kubo 0.44's defaults as data.
const DEFAULTS: &str = include_str!("defaults.json");

/// Why a config file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no config file, so there is no repo.
    #[error("no IPFS repo found in {}.\nplease run: 'ipfs init'", repo.display())]
    NoRepo {
        /// The repo folder.
        repo: PathBuf,
    },
    /// The file has no content, as a power cut can leave it behind for other programs.
    #[error("the config file {} is empty: copy a backup (config-pre-*) from the same folder over it, \
        or move it away and run 'ipfs init' (this makes a new identity; stored data stays)", path.display())]
    Empty {
        /// The config file.
        path: PathBuf,
    },
    /// The file is not a JSON object.
    #[error("the config file {} is damaged ({reason}): repair it with an editor, \
        or copy a backup (config-pre-*) from the same folder over it", path.display())]
    Damaged {
        /// The config file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot read the config file {}: {source}", path.display())]
    Io {
        /// The config file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Why a config file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the config file {}: {source}", path.display())]
pub struct SaveError {
    /// The config file.
    pub path: PathBuf,
    /// The operating system's reason.
    pub source: io::Error,
}

/// A config in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Always an object.
    document: Value,
}

impl Config {
    /// The config of a new repo, without an identity.
    #[expect(clippy::missing_panics_doc, reason = "the text is part of the program, and a test parses it")]
    pub fn defaults() -> Self {
        let document = serde_json::from_str(DEFAULTS).expect("invariant: a unit test parses the defaults");
        Self { document }
    }

    /// Reads the config file at `path`.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let io_error = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => {
                LoadError::NoRepo { repo: path.parent().unwrap_or(Path::new("")).to_owned() }
            }
            _ => LoadError::Io { path: path.to_owned(), source },
        };
        let damaged = |reason: String| LoadError::Damaged { path: path.to_owned(), reason };
        let bytes = std::fs::metadata(path).map_err(io_error)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(damaged(format!("{bytes} bytes, the limit is {FILE_BYTES_MAX}")));
        }
        let content = std::fs::read(path).map_err(io_error)?;
        if content.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Err(LoadError::Empty { path: path.to_owned() });
        }
        let text = String::from_utf8(content).map_err(|_| damaged("it is not UTF-8 text".to_owned()))?;
        Self::parse(&text).map_err(damaged)
    }

    /// Reads a config from JSON text; the error says what is wrong in the words of Go's decoder.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut document: Value =
            serde_json::from_str(text).map_err(|error| crate::go_text::json_error(text, &error))?;
        if !document.is_object() {
            return Err("it is JSON, but not an object".to_owned());
        }
        document::tidy_numbers(&mut document);
        document::sort(&mut document);
        Ok(Self { document })
    }

    /// Replaces the config file at `path`, atomically and durably, readable by its owner only.
    pub fn save(&self, path: &Path) -> Result<(), SaveError> {
        crate::fsutil::write_atomic(path, self.to_file_text().as_bytes(), 0o600)
            .map_err(|source| SaveError { path: path.to_owned(), source })
    }

    /// The whole document, with its secrets: never send it anywhere.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// What the file holds: sorted keys, indented by 2 spaces.
    fn to_file_text(&self) -> String {
        human_output(&self.document) + "\n"
    }

    /// Things in the config that do nothing here, as sentences for the user: unknown keys, and keys that newer ones replaced.
    pub fn warnings(&self) -> Vec<String> {
        let unknown = schema::unknown_keys(&self.document)
            .into_iter()
            .map(|key| format!("the config key {key} is not known and does nothing"));
        let replaced =
            [("Provider", "Provide"), ("Reprovider", "Provide")].into_iter().flat_map(|(old, new)| {
                let map = self.document.get(old).and_then(Value::as_object);
                map.into_iter().flatten().filter(|(_, value)| !value.is_null()).map(move |(key, _)| {
                    format!("the config key {old}.{key} is deprecated and does nothing: use {new} instead")
                })
            });
        unknown.chain(replaced).collect()
    }

    /// Sets a value that this code knows to be right; used by profiles.
    pub(crate) fn put(&mut self, key: &str, value: Value) {
        let parts = document::split_key(key);
        // A hand-edited config may hold a text where a map belongs; the profile's value takes its place.
        for count in (1..parts.len()).rev() {
            let parents = parts.get(..count).unwrap_or_default();
            if document::get(&self.document, parents).is_ok_and(|value| !value.is_object()) {
                let _ = document::set(&mut self.document, parents, Value::Object(serde_json::Map::new()));
            }
        }
        let _ = document::set(&mut self.document, &parts, value);
        document::sort(&mut self.document);
    }

    /// Replaces the identity: the key and the peer ID must belong together.
    pub(crate) fn put_identity(&mut self, identity: Value) {
        self.put("Identity", identity);
    }

    /// Removes a key, so that its default holds.
    fn unset(&mut self, key: &str) {
        let parts = document::split_key(key);
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        document::remove(&mut self.document, &parts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_kubos() {
        let Some(data) = crate::test_data::json("kubo-config.json") else { return };
        let mut expected = data["default"].clone();
        expected["Datastore"]["Spec"] = serde_json::json!({ "path": "db", "type": "rocksdb" });
        assert_eq!(Config::defaults().document, expected);
        assert_eq!(Config::defaults().warnings(), Vec::<String>::new());
    }

    #[test]
    fn unknown_keys_survive_and_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        std::fs::write(&path, r#"{"Zed": {"b": 1, "a": {}}, "Reprovider": {"Strategy": "all"}, "API": {}}"#)
            .unwrap();
        let config = Config::load(&path).unwrap();
        config.save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\n  \"API\": {},\n  \"Reprovider\": {\n    \"Strategy\": \"all\"\n  },\n  \"Zed\": {\n    \"a\": {},\n    \"b\": 1\n  }\n}\n"
        );
        assert_eq!(
            config.warnings(),
            [
                "the config key Zed is not known and does nothing",
                "the config key Reprovider.Strategy is deprecated and does nothing: use Provide instead"
            ]
        );
    }

    #[test]
    fn damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        assert_eq!(
            Config::load(&path).unwrap_err().to_string(),
            format!("no IPFS repo found in {}.\nplease run: 'ipfs init'", folder.path().display())
        );
        for content in ["", " \n", "\0\0\0"] {
            std::fs::write(&path, content).unwrap();
            assert!(matches!(Config::load(&path), Err(LoadError::Empty { .. })), "{content:?}");
        }
        for content in ["{\"API\": {", "[]", "nonsense", "{\"a\": \"\u{fffd}"] {
            std::fs::write(&path, content).unwrap();
            assert!(matches!(Config::load(&path), Err(LoadError::Damaged { .. })), "{content:?}");
        }
    }
}
