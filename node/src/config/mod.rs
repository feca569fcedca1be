//! Kubo's JSON config.
