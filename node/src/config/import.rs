//! How data is imported: the `Import` section, the flags of `add`, and what the two come to.

use holdfast_dag::cid::{CidBuilder, Version};
use holdfast_dag::hash::HashKind;

use super::{Config, ValueError};
use crate::go_text::go_quote;

/// Longest pin name, in bytes (Kubo).
pub const PIN_NAME_BYTES_MAX: usize = 255;

/// Longest block that may be inlined, in bytes: the longest identity digest (IPIP-512).
pub const INLINE_BYTES_MAX: i64 = 128;

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
    pub hamt_estimation: Option<HamtEstimation>,
    /// `UnixFSDAGLayout`. Default `balanced`.
    pub layout: Option<ImportLayout>,
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

/// How the size of a directory is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HamtEstimation {
    /// Lengths of names and CIDs.
    #[default]
    Links,
    /// The exact length of the block.
    Block,
    /// Directories are never sharded for their size.
    Disabled,
}

/// How leaves are gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImportLayout {
    /// All leaves at one depth.
    #[default]
    Balanced,
    /// Leaves early, for reading from the start.
    Trickle,
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

/// The flags of `add` that decide about the DAG, as given: `None` where a flag is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddFlags {
    /// `--cid-version`.
    pub cid_version: Option<i64>,
    /// `--hash`.
    pub hash: Option<String>,
    /// `--raw-leaves`.
    pub raw_leaves: Option<bool>,
    /// `--chunker`.
    pub chunker: Option<String>,
    /// `--trickle`.
    pub trickle: Option<bool>,
    /// `--max-file-links`.
    pub file_links_max: Option<i64>,
    /// `--max-directory-links`.
    pub directory_links_max: Option<i64>,
    /// `--max-hamt-fanout`.
    pub hamt_fanout: Option<i64>,
    /// `--inline`.
    pub inline: bool,
    /// `--inline-limit`.
    pub inline_limit: Option<i64>,
    /// `--nocopy`.
    pub nocopy: bool,
    /// `--preserve-mode`.
    pub preserve_mode: bool,
    /// `--preserve-mtime`.
    pub preserve_mtime: bool,
    /// `--mode`; 0 is the same as absent.
    pub mode: Option<u32>,
    /// `--mtime`; 0 is the same as absent.
    pub mtime: Option<i64>,
    /// `--mtime-nsecs`.
    pub mtime_nsecs: Option<u32>,
    /// `--only-hash`.
    pub only_hash: bool,
    /// `--wrap-with-directory`.
    pub wrap: bool,
    /// `--pin`.
    pub pin: Option<bool>,
    /// `--pin-name`.
    pub pin_name: Option<String>,
    /// `--to-files`.
    pub to_files: Option<String>,
    /// `--fast-provide-root`.
    pub fast_provide_root: Option<bool>,
    /// `--fast-provide-dag`.
    pub fast_provide_dag: Option<bool>,
    /// `--fast-provide-wait`.
    pub fast_provide_wait: Option<bool>,
}

/// Why flags of `add` do not go together. The text is Kubo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportFlagError {
    /// `--inline-limit` is too large.
    #[error("inline-limit {0} exceeds maximum allowed size of {INLINE_BYTES_MAX} bytes")]
    InlineLimit(i64),
    /// `--inline-limit` is negative.
    #[error("inline-limit must not be negative, got {0}")]
    InlineLimitNegative(i64),
    /// `--pin-name` is too long.
    #[error("pin name is {0} bytes (max {PIN_NAME_BYTES_MAX} bytes)")]
    PinNameTooLong(usize),
    /// Raw leaves cannot hold a mode or an mtime.
    #[error("raw-leaves can't be used with UnixFS metadata like mode or modification time")]
    RawLeavesWithMetadata,
    /// Two options exclude each other.
    #[error("{0} and {1} options are not compatible")]
    Incompatible(&'static str, &'static str),
    /// A pin name without a pin.
    #[error("pin-name option requires pin to be set")]
    PinNameWithoutPin,
    /// `--hash` names no function.
    #[error("unrecognized hash function: {}", go_quote(.0))]
    Hash(String),
    /// `--mtime-nsecs` without `--mtime`.
    #[error("option \"mtime-nsecs\" requires \"mtime\" to be provided as well")]
    NsecsWithoutMtime,
    /// `--mtime-nsecs` is a second or more.
    #[error("mtime nanoseconds must be in range [1, 999999999]")]
    Nsecs,
    /// `--nocopy` with `--raw-leaves=false`.
    #[error("nocopy option requires '--raw-leaves' to be enabled as well")]
    NocopyRawLeaves,
    /// `--nocopy` without the config for it.
    #[error(
        "either the filestore or the urlstore must be enabled to use nocopy, see: \
         https://github.com/ipfs/kubo/blob/master/docs/experimental-features.md#ipfs-filestore"
    )]
    NocopyDisabled,
    /// `--nocopy` with the config for it.
    #[error(
        "nocopy is not available: Holdfast keeps every block in its own store, so that what is pinned cannot change"
    )]
    Nocopy,
    /// CIDv0 with another hash function.
    #[error("CIDv0 only supports sha2-256")]
    CidV0Hash,
    /// `--cid-version` is neither 0 nor 1.
    #[error("unknown CID version: {0}")]
    CidVersion(i64),
    /// `--max-file-links` is too small to build a tree.
    #[error("max-file-links must be at least 2, got {0}")]
    FileLinks(i64),
    /// `--max-directory-links` is negative.
    #[error("max-directory-links must be non-negative, got {0}")]
    DirectoryLinks(i64),
    /// `--max-hamt-fanout` is not a width that a HAMT can have.
    #[error("max-hamt-fanout must be a positive power of 2, multiple of 8, and not exceed 1024 (got {0})")]
    Fanout(i64),
    /// The `Import` section cannot be used.
    #[error(transparent)]
    Config(#[from] ImportConfigError),
}

/// What config and flags come to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct ResolvedImport {
    /// Version and hash function of CIDs.
    pub cid: CidBuilder,
    /// Whether leaves are raw blocks.
    pub raw_leaves: bool,
    /// How files are cut, as text: the chunker reads it, with Kubo's words for errors.
    pub chunker: String,
    /// How leaves are gathered.
    pub layout: ImportLayout,
    /// Most links of a file node.
    pub file_links_max: usize,
    /// Most links of an unsharded directory; 0 is no limit.
    pub directory_links_max: usize,
    /// Width of HAMT nodes.
    pub hamt_fanout: u16,
    /// Directories estimated larger than this many bytes are sharded.
    pub hamt_threshold_bytes: u64,
    /// How that size is estimated.
    pub hamt_estimation: HamtEstimation,
    /// Blocks of at most this many bytes are inlined.
    pub inline_bytes_max: Option<usize>,
    /// A mode to store with every file and directory instead of its own.
    pub mode: Option<u32>,
    /// A modification time to store instead of each entry's own: seconds and nanoseconds.
    pub mtime: Option<(i64, u32)>,
    /// Store each entry's own mode.
    pub preserve_mode: bool,
    /// Store each entry's own modification time.
    pub preserve_mtime: bool,
    /// Pin the roots (never with `--only-hash`).
    pub pin: bool,
    /// Name of the pin.
    pub pin_name: Option<String>,
    /// Announce roots at once.
    pub fast_provide_root: bool,
    /// Announce whole DAGs at once.
    pub fast_provide_dag: bool,
    /// Wait for the announcement.
    pub fast_provide_wait: bool,
}

impl Config {
    /// `Import`, with Kubo's checks of each value.
    pub fn import(&self) -> Result<ImportConfig, ImportConfigError> {
        let estimation = match self.text("Import.UnixFSHAMTDirectorySizeEstimation")?.as_deref() {
            None => None,
            Some("links") => Some(HamtEstimation::Links),
            Some("block") => Some(HamtEstimation::Block),
            Some("disabled") => Some(HamtEstimation::Disabled),
            Some(other) => return Err(ImportConfigError::Estimation(other.to_owned())),
        };
        let layout = match self.text("Import.UnixFSDAGLayout")?.as_deref() {
            None => None,
            Some("balanced") => Some(ImportLayout::Balanced),
            Some("trickle") => Some(ImportLayout::Trickle),
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

fn is_fanout(fanout: i64) -> bool {
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
fn hash_kind(name: &str) -> Option<HashKind> {
    HashKind::from_name(&name.to_lowercase())
}

/// Works out what `add` does: a flag wins over `Import`, which wins over the default; then Kubo's rules apply.
///
/// Another hash function than sha2-256 asks for CIDv1; CIDv1 and `--nocopy` ask for raw leaves; a mode or an mtime ask for
/// none. CIDv0 with raw leaves is legal: roots and directories are v0 then, and leaves v1.
pub fn resolve_import(config: &ImportConfig, flags: &AddFlags) -> Result<ResolvedImport, ImportFlagError> {
    let inline_limit = flags.inline_limit.unwrap_or(32);
    if flags.inline && inline_limit > INLINE_BYTES_MAX {
        return Err(ImportFlagError::InlineLimit(inline_limit));
    }
    let inline_bytes = usize::try_from(inline_limit);
    let inline_bytes_max = match inline_bytes {
        _ if !flags.inline => None,
        Ok(bytes) => Some(bytes),
        Err(_) => return Err(ImportFlagError::InlineLimitNegative(inline_limit)),
    };
    if let Some(name) = flags.pin_name.as_ref().filter(|name| name.len() > PIN_NAME_BYTES_MAX) {
        return Err(ImportFlagError::PinNameTooLong(name.len()));
    }
    let mut raw_leaves = flags.raw_leaves.or(config.raw_leaves);
    let mode = flags.mode.filter(|mode| *mode != 0);
    let mtime = flags.mtime.filter(|secs| *secs != 0);
    if flags.preserve_mode || flags.preserve_mtime || mode.is_some() || mtime.is_some() {
        if raw_leaves == Some(true) {
            return Err(ImportFlagError::RawLeavesWithMetadata);
        }
        raw_leaves = Some(false);
    }
    check_combinations(flags)?;
    let hash_name = flags.hash.as_ref().filter(|name| !name.is_empty()).or(config.hash.as_ref());
    let hash_name = hash_name.map_or("sha2-256", String::as_str);
    let hash = hash_kind(hash_name).ok_or_else(|| ImportFlagError::Hash(hash_name.to_lowercase()))?;
    let nsecs = flags.mtime_nsecs.unwrap_or(0);
    if mtime.is_none() && nsecs != 0 {
        return Err(ImportFlagError::NsecsWithoutMtime);
    }
    if nsecs > 999_999_999 {
        return Err(ImportFlagError::Nsecs);
    }
    if flags.nocopy {
        return Err(match raw_leaves {
            Some(false) => ImportFlagError::NocopyRawLeaves,
            _ if !config.nocopy_enabled => ImportFlagError::NocopyDisabled,
            _ => ImportFlagError::Nocopy,
        });
    }
    let version = cid_version(flags.cid_version.or(config.cid_version), hash)?;
    let sizes = Sizes::resolve(config, flags)?;
    let trickle =
        flags.trickle.map(|trickle| if trickle { ImportLayout::Trickle } else { ImportLayout::Balanced });
    let chunker = flags.chunker.as_ref().filter(|chunker| !chunker.is_empty()).or(config.chunker.as_ref());
    Ok(ResolvedImport {
        cid: CidBuilder { version, hash },
        raw_leaves: raw_leaves.unwrap_or(version == Version::V1),
        chunker: chunker.map_or_else(|| "size-262144".to_owned(), String::clone),
        layout: trickle.or(config.layout).unwrap_or_default(),
        file_links_max: sizes.file_links_max,
        directory_links_max: sizes.directory_links_max,
        hamt_fanout: sizes.hamt_fanout,
        hamt_threshold_bytes: config.hamt_threshold_bytes.unwrap_or(256 << 10),
        hamt_estimation: config.hamt_estimation.unwrap_or_default(),
        inline_bytes_max,
        mode,
        mtime: mtime.map(|secs| (secs, nsecs)),
        preserve_mode: flags.preserve_mode && mode.is_none(),
        preserve_mtime: flags.preserve_mtime && mtime.is_none(),
        pin: flags.pin.unwrap_or(true) && !flags.only_hash,
        pin_name: flags.pin_name.clone(),
        fast_provide_root: flags.fast_provide_root.or(config.fast_provide_root).unwrap_or(true)
            && !flags.only_hash,
        fast_provide_dag: flags.fast_provide_dag.or(config.fast_provide_dag).unwrap_or(false)
            && !flags.only_hash,
        fast_provide_wait: flags.fast_provide_wait.or(config.fast_provide_wait).unwrap_or(false),
    })
}

/// Options that exclude or need each other.
fn check_combinations(flags: &AddFlags) -> Result<(), ImportFlagError> {
    if flags.only_hash && flags.to_files.is_some() {
        return Err(ImportFlagError::Incompatible("only-hash", "to-files"));
    }
    if flags.pin == Some(false) && flags.pin_name.is_some() {
        return Err(ImportFlagError::PinNameWithoutPin);
    }
    if flags.wrap && flags.to_files.is_some() {
        return Err(ImportFlagError::Incompatible("wrap-with-directory", "to-files"));
    }
    Ok(())
}

/// The CID version, where `given` is what flag or config say.
fn cid_version(given: Option<i64>, hash: HashKind) -> Result<Version, ImportFlagError> {
    match given {
        Some(0) if hash != HashKind::Sha2_256 => Err(ImportFlagError::CidV0Hash),
        None if hash != HashKind::Sha2_256 => Ok(Version::V1),
        None | Some(0) => Ok(Version::V0),
        Some(1) => Ok(Version::V1),
        // Kubo reads a negative version as none.
        Some(version) if version < 0 => cid_version(None, hash),
        Some(version) => Err(ImportFlagError::CidVersion(version)),
    }
}

/// Limits of nodes.
struct Sizes {
    file_links_max: usize,
    directory_links_max: usize,
    hamt_fanout: u16,
}

impl Sizes {
    fn resolve(config: &ImportConfig, flags: &AddFlags) -> Result<Self, ImportFlagError> {
        let file_links = flags.file_links_max.or(config.file_links_max).unwrap_or(174);
        let directory_links = flags.directory_links_max.or(config.directory_links_max).unwrap_or(0);
        let fanout = flags.hamt_fanout.or(config.hamt_fanout).unwrap_or(256);
        let file_links_max = usize::try_from(file_links).ok().filter(|links| *links >= 2);
        let hamt_fanout = u16::try_from(fanout).ok().filter(|_| is_fanout(fanout));
        Ok(Self {
            file_links_max: file_links_max.ok_or(ImportFlagError::FileLinks(file_links))?,
            directory_links_max: usize::try_from(directory_links)
                .map_err(|_| ImportFlagError::DirectoryLinks(directory_links))?,
            hamt_fanout: hamt_fanout.ok_or(ImportFlagError::Fanout(fanout))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resolve(flags: AddFlags) -> Result<ResolvedImport, String> {
        resolve_import(&Config::defaults().import().unwrap(), &flags).map_err(|error| error.to_string())
    }

    fn shape(resolved: &ResolvedImport) -> (Version, bool) {
        (resolved.cid.version, resolved.raw_leaves)
    }

    #[test]
    fn profiles_resolve_to_their_parameters() {
        let old = resolve(AddFlags::default()).unwrap();
        assert_eq!(shape(&old), (Version::V0, false));
        assert_eq!((old.chunker.as_str(), old.file_links_max, old.hamt_fanout), ("size-262144", 174, 256));
        assert_eq!((old.hamt_estimation, old.hamt_threshold_bytes), (HamtEstimation::Links, 262_144));
        assert!(old.pin && old.fast_provide_root && !old.fast_provide_dag && !old.fast_provide_wait);

        let mut config = Config::defaults();
        config.apply_profiles("unixfs-v0-2015").unwrap();
        assert_eq!(resolve_import(&config.import().unwrap(), &AddFlags::default()), Ok(old));

        config.apply_profiles("unixfs-v1-2025").unwrap();
        let new = resolve_import(&config.import().unwrap(), &AddFlags::default()).unwrap();
        assert_eq!(shape(&new), (Version::V1, true));
        assert_eq!((new.chunker.as_str(), new.file_links_max), ("size-1048576", 1024));
        assert_eq!(new.hamt_estimation, HamtEstimation::Block);
    }

    #[test]
    fn version_hash_and_leaves_follow_kubos_rules() {
        let flags = AddFlags::default;
        let hash = |name: &str| Some(name.to_owned());
        for (flags, expected) in [
            (AddFlags { cid_version: Some(1), ..flags() }, (Version::V1, true)),
            (AddFlags { cid_version: Some(1), raw_leaves: Some(false), ..flags() }, (Version::V1, false)),
            (AddFlags { raw_leaves: Some(true), ..flags() }, (Version::V0, true)),
            (AddFlags { hash: hash("SHA2-512"), ..flags() }, (Version::V1, true)),
            (AddFlags { mode: Some(0o644), ..flags() }, (Version::V0, false)),
            (AddFlags { cid_version: Some(1), preserve_mtime: true, ..flags() }, (Version::V1, false)),
            (AddFlags { cid_version: Some(1), mode: Some(0), ..flags() }, (Version::V1, true)),
        ] {
            assert_eq!(shape(&resolve(flags.clone()).unwrap()), expected, "{flags:?}");
        }
    }

    #[test]
    fn flags_win_over_the_config() {
        let mut config = Config::defaults();
        config.put("Import.CidVersion", json!(1));
        config.put("Import.UnixFSDAGLayout", json!("trickle"));
        config.put("Import.UnixFSChunker", json!("buzhash"));
        config.put("Import.UnixFSFileMaxLinks", json!(10));
        let import = config.import().unwrap();
        let from_config = resolve_import(&import, &AddFlags::default()).unwrap();
        assert_eq!(from_config.layout, ImportLayout::Trickle);
        assert_eq!((from_config.chunker.as_str(), from_config.file_links_max), ("buzhash", 10));
        let flags = AddFlags {
            cid_version: Some(0),
            trickle: Some(false),
            chunker: Some("size-5".to_owned()),
            file_links_max: Some(3),
            ..AddFlags::default()
        };
        let from_flags = resolve_import(&import, &flags).unwrap();
        assert_eq!(shape(&from_flags), (Version::V0, false));
        assert_eq!(from_flags.layout, ImportLayout::Balanced);
        assert_eq!((from_flags.chunker.as_str(), from_flags.file_links_max), ("size-5", 3));
    }

    #[test]
    fn refusals_use_kubos_words() {
        let flags = AddFlags::default;
        let text = |text: &str| Some(text.to_owned());
        for (flags, words) in [
            (
                AddFlags { inline: true, inline_limit: Some(200), ..flags() },
                "inline-limit 200 exceeds maximum allowed size of 128 bytes",
            ),
            (
                AddFlags { raw_leaves: Some(true), mode: Some(1), ..flags() },
                "raw-leaves can't be used with UnixFS metadata like mode or modification time",
            ),
            (
                AddFlags { only_hash: true, to_files: text("/"), ..flags() },
                "only-hash and to-files options are not compatible",
            ),
            (
                AddFlags { wrap: true, to_files: text("/"), ..flags() },
                "wrap-with-directory and to-files options are not compatible",
            ),
            (
                AddFlags { pin: Some(false), pin_name: text("x"), ..flags() },
                "pin-name option requires pin to be set",
            ),
            (AddFlags { hash: text("foo"), ..flags() }, "unrecognized hash function: \"foo\""),
            (AddFlags { cid_version: Some(2), ..flags() }, "unknown CID version: 2"),
            (
                AddFlags { cid_version: Some(0), hash: text("blake3"), ..flags() },
                "CIDv0 only supports sha2-256",
            ),
            (
                AddFlags { mtime_nsecs: Some(5), ..flags() },
                "option \"mtime-nsecs\" requires \"mtime\" to be provided as well",
            ),
            (
                AddFlags { mtime: Some(1), mtime_nsecs: Some(1_000_000_000), ..flags() },
                "mtime nanoseconds must be in range [1, 999999999]",
            ),
            (
                AddFlags { nocopy: true, raw_leaves: Some(false), ..flags() },
                "nocopy option requires '--raw-leaves' to be enabled as well",
            ),
            (
                AddFlags { pin_name: Some("x".repeat(256)), ..flags() },
                "pin name is 256 bytes (max 255 bytes)",
            ),
        ] {
            assert_eq!(resolve(flags).unwrap_err(), words);
        }
        assert!(
            resolve(AddFlags { nocopy: true, ..flags() }).unwrap_err().starts_with("either the filestore")
        );
        assert_eq!(resolve(AddFlags { inline: true, ..flags() }).unwrap().inline_bytes_max, Some(32));
        assert_eq!(resolve(AddFlags { inline_limit: Some(200), ..flags() }).unwrap().inline_bytes_max, None);
        let only_hash = resolve(AddFlags { only_hash: true, ..flags() }).unwrap();
        assert!(!only_hash.pin && !only_hash.fast_provide_root);
    }

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
