//! What `add` does: its flags, the `Import` section, and what the two come to.

use holdfast_dag::chunker::ChunkerSpecError;
use holdfast_dag::cid::{CidBuilder, Version};
use holdfast_dag::hash::HashKind;
use holdfast_dag::import::{ImportParams, Layout};
use holdfast_dag::unixfs::Mtime;

use super::import::{ImportConfig, ImportConfigError, hash_kind, is_fanout};
use crate::go_text::go_quote;

/// Longest pin name, in bytes (Kubo).
pub const PIN_NAME_BYTES_MAX: usize = 255;

/// Longest block that may be inlined, in bytes: the longest identity digest (IPIP-512).
pub const INLINE_BYTES_MAX: i64 = 128;

/// The flags of `add` that decide about the DAG, as given: `None` where a flag is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
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
    /// The chunker's name or parameters are wrong, in flag or config.
    #[error(transparent)]
    Chunker(#[from] ChunkerSpecError),
    /// The `Import` section cannot be used.
    #[error(transparent)]
    Config(#[from] ImportConfigError),
}

/// What config and flags come to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct ResolvedImport {
    /// What decides the shape of the DAG.
    pub import: ImportParams,
    /// A mode to store with every file and directory instead of its own.
    pub mode: Option<u32>,
    /// A modification time to store instead of each entry's own.
    pub mtime: Option<Mtime>,
    /// Store each entry's own mode.
    pub preserve_mode: bool,
    /// Store each entry's own modification time.
    pub preserve_mtime: bool,
    /// Pin the roots (never with `--only-hash`).
    pub pin: bool,
    /// Name of the pin; empty for none.
    pub pin_name: String,
    /// Announce roots at once.
    pub fast_provide_root: bool,
    /// Announce whole DAGs at once.
    pub fast_provide_dag: bool,
    /// Wait for the announcement.
    pub fast_provide_wait: bool,
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
    let layout = flags.trickle.map(|trickle| if trickle { Layout::Trickle } else { Layout::Balanced });
    let chunker = flags.chunker.as_ref().filter(|chunker| !chunker.is_empty()).or(config.chunker.as_ref());
    let defaults = ImportParams::unixfs_v0_2015();
    let import = ImportParams {
        cid: CidBuilder { version, hash },
        raw_leaves: raw_leaves.unwrap_or(version == Version::V1),
        chunker: chunker.map_or(Ok(defaults.chunker), |chunker| chunker.parse())?,
        layout: layout.or(config.layout).unwrap_or(defaults.layout),
        file_links_max: sizes.file_links_max,
        directory_links_max: sizes.directory_links_max,
        hamt_fanout: sizes.hamt_fanout,
        hamt_threshold_bytes: config.hamt_threshold_bytes.unwrap_or(defaults.hamt_threshold_bytes),
        hamt_estimation: config.hamt_estimation.unwrap_or(defaults.hamt_estimation),
        inline_bytes_max,
    };
    Ok(ResolvedImport {
        import,
        mode,
        // Without nanoseconds the field is absent, as in Kubo.
        mtime: mtime.map(|seconds| Mtime { seconds, nanos: Some(nsecs).filter(|nsecs| *nsecs != 0) }),
        preserve_mode: flags.preserve_mode && mode.is_none(),
        preserve_mtime: flags.preserve_mtime && mtime.is_none(),
        pin: flags.pin.unwrap_or(true) && !flags.only_hash,
        pin_name: flags.pin_name.clone().unwrap_or_default(),
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
    use super::super::Config;
    use super::*;
    use serde_json::json;

    fn resolve(flags: &AddFlags) -> Result<ResolvedImport, String> {
        resolve_import(&Config::defaults().import().unwrap(), flags).map_err(|error| error.to_string())
    }

    fn shape(resolved: &ResolvedImport) -> (Version, bool) {
        (resolved.import.cid.version, resolved.import.raw_leaves)
    }

    #[test]
    fn profiles_resolve_to_their_parameters() {
        let old = resolve(&AddFlags::default()).unwrap();
        assert_eq!(old.import, ImportParams::unixfs_v0_2015());
        assert!(old.pin && old.fast_provide_root && !old.fast_provide_dag && !old.fast_provide_wait);

        let mut config = Config::defaults();
        config.apply_profiles("unixfs-v0-2015").unwrap();
        assert_eq!(resolve_import(&config.import().unwrap(), &AddFlags::default()), Ok(old));

        config.apply_profiles("unixfs-v1-2025").unwrap();
        let new = resolve_import(&config.import().unwrap(), &AddFlags::default()).unwrap();
        assert_eq!(new.import, ImportParams::unixfs_v1_2025());
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
            assert_eq!(shape(&resolve(&flags).unwrap()), expected, "{flags:?}");
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
        let from_config = resolve_import(&import, &AddFlags::default()).unwrap().import;
        assert_eq!(from_config.layout, Layout::Trickle);
        assert_eq!((from_config.chunker, from_config.file_links_max), ("buzhash".parse().unwrap(), 10));
        let flags = AddFlags {
            cid_version: Some(0),
            trickle: Some(false),
            chunker: Some("size-5".to_owned()),
            file_links_max: Some(3),
            ..AddFlags::default()
        };
        let from_flags = resolve_import(&import, &flags).unwrap();
        assert_eq!(shape(&from_flags), (Version::V0, false));
        let from_flags = from_flags.import;
        assert_eq!(from_flags.layout, Layout::Balanced);
        assert_eq!((from_flags.chunker, from_flags.file_links_max), ("size-5".parse().unwrap(), 3));
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
            (AddFlags { chunker: text("foo"), ..flags() }, "unrecognized chunker option: foo"),
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
            assert_eq!(resolve(&flags).unwrap_err(), words);
        }
        assert!(
            resolve(&AddFlags { nocopy: true, ..flags() }).unwrap_err().starts_with("either the filestore")
        );
        assert_eq!(resolve(&AddFlags { inline: true, ..flags() }).unwrap().import.inline_bytes_max, Some(32));
        assert_eq!(
            resolve(&AddFlags { inline_limit: Some(200), ..flags() }).unwrap().import.inline_bytes_max,
            None
        );
        let only_hash = resolve(&AddFlags { only_hash: true, ..flags() }).unwrap();
        assert!(!only_hash.pin && !only_hash.fast_provide_root);
    }
}
