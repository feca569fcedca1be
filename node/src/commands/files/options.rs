//! What several of the commands read from their calls.

use holdfast_dag::cid::{CidBuilder, Version};
use holdfast_dag::hash::HashKind;
use holdfast_dag::path::ContentPath;

use super::super::registry::{Call, CommandError, Opt};
use crate::go_text::go_quote;
use crate::services::files::MfsPath;

/// `--cid-version` and `--hash`.
pub(super) fn cid_options() -> [Opt; 2] {
    [
        Opt::int("cid-version cid-ver", "Cid version to use. Default: Import.CidVersion."),
        Opt::string(
            "hash",
            "Hash function to use. Will set Cid version to 1 if used. Default: Import.HashFunction.",
        ),
    ]
}

/// What these say, where one of them is given.
pub(super) fn cid_builder(call: &Call) -> Result<Option<CidBuilder>, CommandError> {
    let (version, hash) = (call.int_opt("cid-version"), call.text_opt("hash"));
    if version.is_none() && hash.is_none() {
        return Ok(None);
    }
    let version = match version.unwrap_or(0) {
        0 if hash.is_some() => Version::V1,
        0 => Version::V0,
        1 => Version::V1,
        other => return Err(CommandError::new(format!("unknown CID version: {other}"))),
    };
    let hash = match hash {
        None => HashKind::Sha2_256,
        Some(name) => HashKind::from_name(&name.to_lowercase())
            .ok_or_else(|| CommandError::new(format!("unrecognized hash function: {}", go_quote(name))))?,
    };
    Ok(Some(CidBuilder { version, hash }))
}

/// A path of the tree.
pub(super) fn path(text: &str) -> Result<MfsPath, CommandError> {
    MfsPath::parse(text).map_err(CommandError::from_error)
}

/// A path of the tree, or one to content anywhere.
pub(super) enum AnyPath {
    Mfs(MfsPath),
    Content(ContentPath),
}

/// Content paths and their URIs are what they look like; everything else is a path of the tree.
pub(super) fn any_path(text: &str) -> Result<AnyPath, CommandError> {
    let content = if text.starts_with('/') {
        ContentPath::parse(text)
    } else if text.contains(':') {
        ContentPath::parse_user(text)
    } else {
        return path(text).map(AnyPath::Mfs);
    };
    content.map(AnyPath::Content).or_else(|_| path(text).map(AnyPath::Mfs))
}
