//! Commands that Kubo has and this version does not, and why.

/// Why commands that need the network are not there.
pub(super) const NETWORK: &str = "this version has no network";
