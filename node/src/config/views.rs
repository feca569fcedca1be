//! Typed views of sections of the config. `null` and absent keys are the default.

use serde_json::Value;

use super::{Config, GoDuration, document, parse_size};

/// Why a value of the config cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the config value {key} cannot be used: {reason}")]
pub struct ValueError {
    /// The dotted key.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// `Identity`: who this node is.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Peer ID, base58.
    pub peer_id: String,
    /// Private key: libp2p protobuf in base64.
    pub private_key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("peer_id", &self.peer_id).finish_non_exhaustive()
    }
}

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Loss of power.
    #[default]
    Power,
    /// The end of the process, not loss of power.
    Process,
}

/// `Datastore`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datastore {
    /// `StorageMax` in bytes; `None`: no limit. Default 10 GB.
    pub storage_bytes_max: Option<u64>,
    /// `StorageGCWatermark`: per cent of the limit at which garbage is collected. Default 90.
    pub gc_watermark_percent: u64,
    /// `GCPeriod`: time between looks at the watermark. Default 1 h.
    pub gc_period: GoDuration,
    /// `HashOnRead`.
    pub hash_on_read: bool,
    /// `Durability`: `power` (default) or `process`.
    pub durability: Durability,
    /// `ReserveSize`: bytes that adding leaves free, and size of the file that is given up for removing when others have
    /// filled the disk. `None`, the default: what the index may have in flight, at least 64 MiB. 0: neither.
    pub reserve_bytes: Option<u64>,
    /// `ScrubPeriod`: time from the beginning of one background verification of all blocks to the next, while a node is
    /// open for long. Default 720 h; 0 for none.
    pub scrub_period: GoDuration,
    /// `ScrubBytesPerSecond`: how fast it reads at most. Default 4 MiB.
    pub scrub_bytes_per_second_max: u64,
    /// `Spec.path`: the store's folder in the repo. Default `db`.
    pub path: String,
}

/// Default of `Datastore.ScrubPeriod`: 30 days.
const SCRUB_PERIOD: GoDuration = GoDuration::from_secs(30 * 24 * 3600);
/// Default of `Datastore.ScrubBytesPerSecond`: 4 MiB, 10 TiB in 30 days.
const SCRUB_BYTES_PER_SECOND: u64 = 4 << 20;

/// `Addresses`, as multiaddrs in text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Where to listen for peers.
    pub swarm: Vec<String>,
    /// Announced instead of the listen addresses.
    pub announce: Vec<String>,
    /// Announced beside the listen addresses.
    pub append_announce: Vec<String>,
    /// Never announced.
    pub no_announce: Vec<String>,
    /// Where to listen for RPC.
    pub api: Vec<String>,
    /// Where to listen for the gateway.
    pub gateway: Vec<String>,
}

/// `Resources`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// `MemoryLimit` of the process in bytes; `None`: a quarter of the machine or cgroup.
    pub memory_bytes_max: Option<u64>,
}

/// Smallest `Resources.MemoryLimit` that is accepted, in bytes: below it not even one add fits.
pub const MEMORY_LIMIT_BYTES_MIN: u64 = 32 << 20;

impl Config {
    /// `Identity`; an error where there is none.
    pub fn identity(&self) -> Result<Identity, ValueError> {
        let field = |key: &str| {
            self.text(key)?
                .filter(|text| !text.is_empty())
                .ok_or_else(|| ValueError { key: key.to_owned(), reason: "it is missing".to_owned() })
        };
        Ok(Identity { peer_id: field("Identity.PeerID")?, private_key: field("Identity.PrivKey")? })
    }

    /// `Datastore`.
    pub fn datastore(&self) -> Result<Datastore, ValueError> {
        let durability = match self.text("Datastore.Durability")?.as_deref() {
            None | Some("power") => Durability::Power,
            Some("process") => Durability::Process,
            Some(other) => {
                return Err(ValueError {
                    key: "Datastore.Durability".to_owned(),
                    reason: format!("it must be \"power\" or \"process\", not \"{other}\""),
                });
            }
        };
        let storage_bytes_max = match self.text("Datastore.StorageMax")? {
            None => Some(10_000_000_000),
            Some(text) if text.is_empty() => None,
            Some(_) => self.size("Datastore.StorageMax")?,
        };
        Ok(Datastore {
            storage_bytes_max,
            gc_watermark_percent: self.number("Datastore.StorageGCWatermark")?.map_or(90, i64::unsigned_abs),
            gc_period: self.duration("Datastore.GCPeriod")?.unwrap_or(GoDuration::from_secs(3600)),
            hash_on_read: self.flag("Datastore.HashOnRead")?.unwrap_or(false),
            durability,
            reserve_bytes: self.size("Datastore.ReserveSize")?,
            scrub_period: self.duration("Datastore.ScrubPeriod")?.unwrap_or(SCRUB_PERIOD),
            scrub_bytes_per_second_max: self
                .size("Datastore.ScrubBytesPerSecond")?
                .unwrap_or(SCRUB_BYTES_PER_SECOND),
            path: self.text("Datastore.Spec.path")?.unwrap_or_else(|| "db".to_owned()),
        })
    }

    /// `Addresses`.
    pub fn addresses(&self) -> Result<Addresses, ValueError> {
        Ok(Addresses {
            swarm: self.text_list("Addresses.Swarm")?,
            announce: self.text_list("Addresses.Announce")?,
            append_announce: self.text_list("Addresses.AppendAnnounce")?,
            no_announce: self.text_list("Addresses.NoAnnounce")?,
            api: self.text_list("Addresses.API")?,
            gateway: self.text_list("Addresses.Gateway")?,
        })
    }

    /// `Resources`.
    pub fn resources(&self) -> Result<Resources, ValueError> {
        let memory_bytes_max = self.size("Resources.MemoryLimit")?;
        if let Some(bytes) = memory_bytes_max.filter(|bytes| *bytes < MEMORY_LIMIT_BYTES_MIN) {
            return Err(ValueError {
                key: "Resources.MemoryLimit".to_owned(),
                reason: format!("{bytes} bytes are too few, at least {MEMORY_LIMIT_BYTES_MIN} are needed"),
            });
        }
        Ok(Resources { memory_bytes_max })
    }

    /// The value at `key`; `None` where it is absent or `null`.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        document::get(&self.document, &document::split_key(key)).ok().filter(|value| !value.is_null())
    }

    /// The names of a map, in its order; none where it is absent.
    pub(super) fn names_in(&self, key: &str) -> Result<Vec<String>, ValueError> {
        let names = self.typed(key, "a map", |value| Some(value.as_object()?.keys().cloned().collect()))?;
        Ok(names.unwrap_or_default())
    }

    /// Whether there is something at `key`: neither `null` nor an empty text.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.as_str() != Some(""))
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<String>, ValueError> {
        self.typed(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// A whole number.
    pub fn number(&self, key: &str) -> Result<Option<i64>, ValueError> {
        self.typed(key, "a whole number", Value::as_i64)
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, ValueError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A list of texts; one text alone is a list of one, absent and empty texts are none.
    pub fn text_list(&self, key: &str) -> Result<Vec<String>, ValueError> {
        let list = self.typed(key, "a list of texts", |value| match value {
            Value::String(text) if text.is_empty() => Some(Vec::new()),
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        })?;
        Ok(list.unwrap_or_default())
    }

    /// A size in bytes: a number, or a text such as `256KiB`.
    pub fn size(&self, key: &str) -> Result<Option<u64>, ValueError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let parsed = match value.as_str() {
            Some(text) => parse_size(text).map_err(|error| error.to_string()),
            None => value.as_u64().ok_or_else(|| "it must be a size such as \"256KiB\"".to_owned()),
        };
        parsed.map(Some).map_err(|reason| ValueError { key: key.to_owned(), reason })
    }

    /// A duration; the empty text is the default.
    pub fn duration(&self, key: &str) -> Result<Option<GoDuration>, ValueError> {
        let text = self.text(key)?.filter(|text| !matches!(text.as_str(), "" | "null" | "default"));
        text.map(|text| GoDuration::parse(&text))
            .transpose()
            .map_err(|error| ValueError { key: key.to_owned(), reason: error.to_string() })
    }

    fn typed<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ValueError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let read = read(value);
        let error =
            || ValueError { key: key.to_owned(), reason: format!("it must be {wanted}, not {value}") };
        read.map(Some).ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults() {
        let config = Config::defaults();
        let expected = Datastore {
            storage_bytes_max: Some(10_000_000_000),
            gc_watermark_percent: 90,
            gc_period: GoDuration::from_secs(3600),
            hash_on_read: false,
            durability: Durability::Power,
            reserve_bytes: None,
            scrub_period: GoDuration::from_secs(720 * 3600),
            scrub_bytes_per_second_max: 4 << 20,
            path: "db".to_owned(),
        };
        assert_eq!(config.datastore(), Ok(expected.clone()));
        assert_eq!(Config::parse("{}").unwrap().datastore(), Ok(expected));
        assert_eq!(config.resources(), Ok(Resources { memory_bytes_max: None }));
        assert_eq!(config.addresses().unwrap().api, ["/ip4/127.0.0.1/tcp/5001"]);
        assert_eq!(config.addresses().unwrap().swarm.len(), 8);
        assert!(config.identity().is_err());
    }

    #[test]
    fn values_and_their_errors() {
        let mut config = Config::defaults();
        config.put("Resources.MemoryLimit", json!("1G"));
        config.put("Datastore.StorageMax", json!(""));
        config.put("Datastore.Durability", json!("process"));
        config.put("Datastore.ReserveSize", json!("1MiB"));
        config.put("Datastore.ScrubPeriod", json!("24h"));
        config.put("Datastore.ScrubBytesPerSecond", json!(1000));
        config.put("Addresses.API", json!(["/unix/a", "/unix/b"]));
        assert_eq!(config.resources(), Ok(Resources { memory_bytes_max: Some(1_000_000_000) }));
        assert_eq!(config.datastore().unwrap().storage_bytes_max, None);
        assert_eq!(config.datastore().unwrap().durability, Durability::Process);
        let datastore = config.datastore().unwrap();
        assert_eq!((datastore.reserve_bytes, datastore.scrub_bytes_per_second_max), (Some(1 << 20), 1000));
        assert_eq!(datastore.scrub_period, GoDuration::from_secs(86_400));
        assert_eq!(config.addresses().unwrap().api, ["/unix/a", "/unix/b"]);
        config.put("Resources.MemoryLimit", json!("1MiB"));
        assert!(config.resources().is_err());
        config.put("Datastore.StorageMax", json!(5));
        assert_eq!(
            config.datastore().unwrap_err().to_string(),
            "the config value Datastore.StorageMax cannot be used: it must be a text, not 5"
        );
    }

    #[test]
    fn a_private_key_is_never_printed() {
        let identity = Identity { peer_id: "id".to_owned(), private_key: "secret".to_owned() };
        assert!(!format!("{identity:?}").contains("secret"));
    }
}
