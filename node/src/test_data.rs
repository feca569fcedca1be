//! Recorded data that tests compare with, kept beside the checkout.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Reads a JSON file of the test data folder: `$HOLDFAST_TEST_DATA`, else `shared/data` beside the workspace.
///
/// `None`, with a line on stderr, where the folder is absent; a panic then if `REQUIRE_ALL=1`.
pub(crate) fn json(name: &str) -> Option<Value> {
    let folder = std::env::var_os("HOLDFAST_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let path = folder.join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: no test data at {}: set HOLDFAST_TEST_DATA", path.display());
        assert!(std::env::var("REQUIRE_ALL").is_err(), "test data is required: {}", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).expect("test data is JSON"))
}
