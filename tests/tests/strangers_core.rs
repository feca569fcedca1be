//! The core API's own test suite passes where current Kubo passes it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use holdfast_tests::need::{data, json as json_file, temporary, workspace};
use holdfast_tests::run::binary;
use holdfast_tests::strangers::Programs;
use serde_json::json;

/// How many tests that Kubo passes are excused, each with its reason.
const LISTED: usize = 0;

#[test]
fn interface_ipfs_core_passes_where_kubo_passes_it() {
    if !Programs::Core.present("interface-ipfs-core 0.158.1") {
        return;
    }
    let Some(data) = data("interface-ipfs-core 0.158.1") else { return };
    let kubo = data.join("interface-core-kubo.json");
    assert!(json_file(&kubo).as_object().unwrap().len() > 20, "the groups of the suite");
    let listed = json_file(&workspace().join("tests/interop/strangers/interface_core_listed.json"));
    let groups = listed["listed"].as_object().unwrap().values();
    let titles: usize = groups.map(|group| group.as_array().unwrap().len()).sum();
    assert_eq!(titles, LISTED, "a test was excused or is excused no more: docs/interop.md counts them too");
    let dir = temporary("interface-core");
    let settings = json!({"bin": binary(), "kubo": kubo, "scratch": dir.path()});
    Programs::Core.run("interface_core.mjs", &settings, dir.path());
}
