//! Recorded data that tests compare with, in the folder that `HOLDFAST_TEST_DATA` names.

use std::path::PathBuf;

use serde_json::Value;

/// Reads a JSON file of the test data folder, `$HOLDFAST_TEST_DATA`.
///
/// `None`, with a line on stderr, where the folder is absent; a panic then if `REQUIRE_ALL=1`.
pub(crate) fn json(name: &str) -> Option<Value> {
    let folder = std::env::var_os("HOLDFAST_TEST_DATA").map_or_else(PathBuf::new, PathBuf::from);
    let path = folder.join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: no test data at {}: set HOLDFAST_TEST_DATA", path.display());
        assert!(
            std::env::var("REQUIRE_ALL").as_deref() != Ok("1"),
            "test data is required: {}",
            path.display()
        );
        return None;
    };
    Some(serde_json::from_str(&text).expect("test data is JSON"))
}
