//! Paths among the arguments of a command.

use holdfast_dag::path::ContentPath;

use super::registry::CommandError;

/// A path, a URI or a bare CID that a user wrote.
pub(super) fn parse(text: &str) -> Result<ContentPath, CommandError> {
    ContentPath::parse_user(text).map_err(CommandError::from_error)
}

/// Several of them.
pub(super) fn parse_all(texts: &[String]) -> Result<Vec<ContentPath>, CommandError> {
    texts.iter().map(|text| parse(text)).collect()
}

/// What follows the last slash of a path: the name of what it leads to.
pub(super) fn last_name(path: &ContentPath) -> String {
    let text = path.to_string();
    text.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
}
