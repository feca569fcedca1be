//! What a suite needs from its surroundings.
//!
//! A check that cannot run says so on a line of its own that starts with `SKIPPED`, past the test
//! harness's capture, and fails instead when `REQUIRE_ALL=1` is set.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes one line to the terminal or log, also when the harness captures a passing test's output.
pub fn say(line: &str) {
    let mut text = String::with_capacity(line.len() + 1);
    text.push_str(line);
    text.push('\n');
    // One write a line, so that lines of tests that run at once do not mix. Nobody reading is fine.
    drop(std::io::stderr().write_all(text.as_bytes()));
}

/// Whether an environment switch is on: set, and neither empty nor `0`.
pub fn switched_on(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| !value.is_empty() && value != "0")
}

/// Says loudly that a check did not run, and why.
///
/// # Panics
/// Under `REQUIRE_ALL=1`.
pub fn skip(check: &str, why: &str) {
    say(&format!("SKIPPED: {check}: {why}"));
    assert!(!switched_on("REQUIRE_ALL"), "REQUIRE_ALL is set, and {check} could not run: {why}");
}

/// The checkout's root.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

/// The folder of recorded answers and fixtures, or `None` after saying that `check` is skipped.
pub fn data(check: &str) -> Option<PathBuf> {
    let path = std::env::var_os("HOLDFAST_TEST_DATA").map_or_else(PathBuf::new, PathBuf::from);
    if path.is_dir() {
        return Some(path.canonicalize().unwrap());
    }
    skip(check, &format!("no test data at {} (set HOLDFAST_TEST_DATA)", path.display()));
    None
}

/// A JSON file of the data folder.
///
/// # Panics
/// When the file is absent or not JSON.
pub fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A fresh folder, removed when dropped: under `HOLDFAST_TEST_TMP`, else cargo's folder for tests.
///
/// Not `/tmp`: that may be memory, and some suites write gigabytes and measure durability.
pub fn temporary(prefix: &str) -> tempfile::TempDir {
    let base = std::env::var_os("HOLDFAST_TEST_TMP").map_or_else(
        || {
            let exe = std::env::current_exe().unwrap();
            exe.ancestors().nth(3).expect("target/PROFILE/deps/test").join("tmp")
        },
        PathBuf::from,
    );
    std::fs::create_dir_all(&base).unwrap();
    tempfile::Builder::new().prefix(prefix).tempdir_in(base.canonicalize().unwrap()).unwrap()
}

/// Whether a program is on the path.
pub fn program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(name).is_file())
}
