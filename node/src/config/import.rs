//! How data is imported: the `Import` section of the config.

use holdfast_dag::hash::HashKind;
use holdfast_dag::import::{Layout, SizeEstimation};

use super::{Config, ValueError};
use crate::go_text::go_quote;

/// `Import`, as it stands in the config. `None` is the default of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportConfig {
    /// `CidVersion`: 0 or 1. Default 0.
    pub cid_version: Option<i64>,
    /// `UnixFSRawLeaves`. Default false with CIDv0, true with CIDv1.
    pub raw_leaves: Option<bool>,
    /// `UnixFSChunker`. Default `size-262144`.
    pub chunker: Option<String>,
    /// `HashFunction`. Default `sha2-256`.
    pub hash: Option<String>,
    /// `UnixFSFileMaxLinks`. Default 174.
    pub file_links_max: Option<i64>,
    /// `UnixFSDirectoryMaxLinks`; 0 is no limit. Default 0.
    pub directory_links_max: Option<i64>,
    /// `UnixFSHAMTDirectoryMaxFanout`: a power of two from 8 to 1,024. Default 256.
    pub hamt_fanout: Option<i64>,
    /// `UnixFSHAMTDirectorySizeThreshold` in bytes. Default 256 KiB.
    pub hamt_threshold_bytes: Option<u64>,
    /// `UnixFSHAMTDirectorySizeEstimation`. Default `links`.
    pub hamt_estimation: Option<SizeEstimation>,
    /// `UnixFSDAGLayout`. Default `balanced`.
    pub layout: Option<Layout>,
    /// `BatchMaxNodes`. Default 128.
    pub batch_nodes_max: Option<i64>,
    /// `BatchMaxSize` in bytes. Default 100 MiB.
    pub batch_bytes_max: Option<i64>,
    /// `FastProvideRoot`. Default true.
    pub fast_provide_root: Option<bool>,
    /// `FastProvideDAG`. Default false.
    pub fast_provide_dag: Option<bool>,
    /// `FastProvideWait`. Default false.
    pub fast_provide_wait: Option<bool>,
    /// `Experimental.FilestoreEnabled` or `Experimental.UrlstoreEnabled`, which `--nocopy` asks for.
    pub nocopy_enabled: bool,
}

/// Why the `Import` section cannot be used. The text is Kubo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportConfigError {
    /// A value has the wrong type.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// `CidVersion` is neither 0 nor 1.
    #[error("Import.CidVersion must be 0 or 1, got {0}")]
    CidVersion(i64),
    /// A number that must be greater than 0 is not.
    #[error("Import.{key} must be positive, got {value}")]
    NotPositive {
        /// The key below `Import`.
        key: &'static str,
        /// Its value.
        value: i64,
    },
    /// `UnixFSFileMaxLinks` is 1: no tree can be built of nodes with one link.
    #[error("Import.UnixFSFileMaxLinks must be at least 2, got 1")]
    OneLink,
    /// `UnixFSDirectoryMaxLinks` is negative.
    #[error("Import.UnixFSDirectoryMaxLinks must be non-negative, got {0}")]
    DirectoryMaxLinks(i64),
    /// `UnixFSHAMTDirectoryMaxFanout` is not a width that a HAMT can have.
    #[error(
        "Import.UnixFSHAMTDirectoryMaxFanout must be a positive power of 2, multiple of 8, and not exceed 1024 (got {0})"
    )]
    Fanout(i64),
    /// `UnixFSChunker` names no chunker.
    #[error(
        "Import.UnixFSChunker invalid format: {} (expected \"size-<bytes>\", \"rabin-<min>-<avg>-<max>\", or \"buzhash\")",
        go_quote(.0)
    )]
    Chunker(String),
    /// `HashFunction` names no function.
    #[error("Import.HashFunction unrecognized: {}", go_quote(.0))]
    Hash(String),
    /// `UnixFSHAMTDirectorySizeEstimation` names no way.
    #[error(
        "Import.UnixFSHAMTDirectorySizeEstimation must be \"links\", \"block\", or \"disabled\", got {}",
        go_quote(.0)
    )]
    Estimation(String),
    /// `UnixFSDAGLayout` names no layout.
    #[error("Import.UnixFSDAGLayout must be \"balanced\" or \"trickle\", got {}", go_quote(.0))]
    Layout(String),
}

impl Config {
    /// `Import`, with Kubo's checks of each value.
    pub fn import(&self) -> Result<ImportConfig, ImportConfigError> {
        let estimation = match self.text("Import.UnixFSHAMTDirectorySizeEstimation")?.as_deref() {
            None => None,
            Some("links") => Some(SizeEstimation::Links),
            Some("block") => Some(SizeEstimation::Block),
            Some("disabled") => Some(SizeEstimation::Disabled),
            Some(other) => return Err(ImportConfigError::Estimation(other.to_owned())),
        };
        let layout = match self.text("Import.UnixFSDAGLayout")?.as_deref() {
            None => None,
            Some("balanced") => Some(Layout::Balanced),
            Some("trickle") => Some(Layout::Trickle),
            Some(other) => return Err(ImportConfigError::Layout(other.to_owned())),
        };
        let enabled = |key: &str| self.flag(key).map(Option::unwrap_or_default);
        let import = ImportConfig {
            cid_version: self.number("Import.CidVersion")?,
            raw_leaves: self.flag("Import.UnixFSRawLeaves")?,
            chunker: self.text("Import.UnixFSChunker")?,
            hash: self.text("Import.HashFunction")?,
            file_links_max: self.number("Import.UnixFSFileMaxLinks")?,
            directory_links_max: self.number("Import.UnixFSDirectoryMaxLinks")?,
            hamt_fanout: self.number("Import.UnixFSHAMTDirectoryMaxFanout")?,
            hamt_threshold_bytes: self.size("Import.UnixFSHAMTDirectorySizeThreshold")?,
            hamt_estimation: estimation,
            layout,
            batch_nodes_max: self.number("Import.BatchMaxNodes")?,
            batch_bytes_max: self.number("Import.BatchMaxSize")?,
            fast_provide_root: self.flag("Import.FastProvideRoot")?,
            fast_provide_dag: self.flag("Import.FastProvideDAG")?,
            fast_provide_wait: self.flag("Import.FastProvideWait")?,
            nocopy_enabled: enabled("Experimental.FilestoreEnabled")?
                || enabled("Experimental.UrlstoreEnabled")?,
        };
        import.check()?;
        Ok(import)
    }
}

impl ImportConfig {
    /// The rules of Kubo's `ValidateImportConfig`, in its order.
    fn check(&self) -> Result<(), ImportConfigError> {
        if let Some(version) = self.cid_version.filter(|version| !matches!(version, 0 | 1)) {
            return Err(ImportConfigError::CidVersion(version));
        }
        let positive = |key: &'static str, value: Option<i64>| match value {
            Some(value) if value <= 0 => Err(ImportConfigError::NotPositive { key, value }),
            _ => Ok(()),
        };
        positive("UnixFSFileMaxLinks", self.file_links_max)?;
        if self.file_links_max == Some(1) {
            return Err(ImportConfigError::OneLink);
        }
        if let Some(links) = self.directory_links_max.filter(|links| *links < 0) {
            return Err(ImportConfigError::DirectoryMaxLinks(links));
        }
        if let Some(fanout) = self.hamt_fanout.filter(|fanout| !is_fanout(*fanout)) {
            return Err(ImportConfigError::Fanout(fanout));
        }
        positive("BatchMaxNodes", self.batch_nodes_max)?;
        positive("BatchMaxSize", self.batch_bytes_max)?;
        if let Some(chunker) = self.chunker.as_ref().filter(|chunker| !is_chunker(chunker)) {
            return Err(ImportConfigError::Chunker(chunker.clone()));
        }
        if let Some(hash) = self.hash.as_ref().filter(|hash| hash_kind(hash).is_none()) {
            return Err(ImportConfigError::Hash(hash.clone()));
        }
        Ok(())
    }
}

pub(super) fn is_fanout(fanout: i64) -> bool {
    u64::try_from(fanout).is_ok_and(|fanout| (8..=1024).contains(&fanout) && fanout.is_power_of_two())
}

/// The chunkers that Kubo's config takes; its rule is looser than the chunker's own.
fn is_chunker(text: &str) -> bool {
    if let Some(size) = text.strip_prefix("size-") {
        return size.parse::<i64>().is_ok_and(|size| size > 0);
    }
    if let Some(sizes) = text.strip_prefix("rabin-") {
        let sizes: Result<Vec<i64>, _> = sizes.split('-').map(str::parse).collect();
        return matches!(sizes.as_deref(), Ok([min, avg, max]) if min <= avg && avg <= max);
    }
    text == "buzhash"
}

/// A hash function that data may be imported with, by its name in any case.
pub(super) fn hash_kind(name: &str) -> Option<HashKind> {
    HashKind::from_name(&name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bad_section_is_refused_in_kubos_words() {
        for (key, value, words) in [
            ("CidVersion", json!(7), "Import.CidVersion must be 0 or 1, got 7"),
            ("UnixFSFileMaxLinks", json!(0), "Import.UnixFSFileMaxLinks must be positive, got 0"),
            (
                "UnixFSDirectoryMaxLinks",
                json!(-1),
                "Import.UnixFSDirectoryMaxLinks must be non-negative, got -1",
            ),
            (
                "UnixFSHAMTDirectoryMaxFanout",
                json!(100),
                "Import.UnixFSHAMTDirectoryMaxFanout must be a positive power of 2, multiple of 8, and not exceed 1024 (got 100)",
            ),
            (
                "UnixFSChunker",
                json!("size-0"),
                "Import.UnixFSChunker invalid format: \"size-0\" (expected \"size-<bytes>\", \"rabin-<min>-<avg>-<max>\", or \"buzhash\")",
            ),
            ("HashFunction", json!("foo"), "Import.HashFunction unrecognized: \"foo\""),
            (
                "UnixFSDAGLayout",
                json!("x"),
                "Import.UnixFSDAGLayout must be \"balanced\" or \"trickle\", got \"x\"",
            ),
        ] {
            let mut config = Config::defaults();
            config.put(&format!("Import.{key}"), value);
            assert_eq!(config.import().unwrap_err().to_string(), words);
        }
        let mut config = Config::defaults();
        config.put("Import.UnixFSChunker", json!("rabin-1-2-3"));
        config.put("Import.UnixFSHAMTDirectorySizeThreshold", json!("1B"));
        assert_eq!(config.import().unwrap().hamt_threshold_bytes, Some(1));
    }
}
