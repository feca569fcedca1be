//! What the config says of new directories and files.

use holdfast_dag::cid::{CidBuilder, Version};
use holdfast_dag::hash::HashKind;
use holdfast_dag::import::ImportParams;

use super::{FilesError, UNFLUSHED_MAX};
use crate::config::{AddFlags, Config, ImportConfig, resolve_import};

/// When directories are sharded, how files are cut, and how new nodes are named: the section `Import`.
///
/// Another hash function than sha2-256 asks for CIDv1, also where the config says CIDv0 (Kubo).
pub(super) fn params(config: &Config) -> Result<ImportParams, FilesError> {
    let import = config.import()?;
    let other_hash = import.hash.as_deref().is_some_and(|hash| !hash.eq_ignore_ascii_case("sha2-256"));
    let cid_version = import.cid_version.filter(|version| *version != 0 || !other_hash);
    let resolved = resolve_import(&ImportConfig { cid_version, ..import }, &AddFlags::default())?;
    Ok(ImportParams { inline_bytes_max: None, ..resolved.import })
}

/// Whether new leaves of files are raw, where the config says so.
pub(super) fn raw_leaves(config: &Config) -> Result<Option<bool>, FilesError> {
    Ok(config.import()?.raw_leaves)
}

/// Unflushed changes in a row that are accepted; `None` is no limit.
pub(super) fn unflushed_max(config: &Config) -> Result<Option<u64>, FilesError> {
    let limit = config.number("Internal.MFSNoFlushLimit")?;
    Ok(limit.map_or(Some(UNFLUSHED_MAX), |limit| u64::try_from(limit).ok().filter(|limit| *limit > 0)))
}

/// How a root without a record is named.
pub(super) fn root_builder(config: &Config) -> CidBuilder {
    let default = CidBuilder { version: Version::V0, hash: HashKind::Sha2_256 };
    params(config).map_or(default, |params| params.cid)
}
