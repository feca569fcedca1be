//! What the scenario tests under `tests/tests/` share.
//!
//! These suites judge the **binary** from outside: they start it, feed it, kill it, cut its disk
//! off, and compare what it answers with what others (recorded answers of Kubo, Kubo as a library,
//! the JavaScript importer, a third Rust program) say. They depend on no crate of the node, so
//! that a fault in one of those cannot hide itself here.
//!
//! - [`need`]: what a suite needs from its surroundings, and how it says so when that is absent.
//! - [`run`]: the binary, its repo and its environment; one call runs one command.
//! - [`inputs`]: bytes, files and trees made from a seed; the seeded number generator.
//! - [`wire`], [`ask`], [`reply`]: an HTTP/1.1 client that sees every byte; requests and multipart bodies; answers.
//! - [`recorded`]: the scenario of recorded answers.
//! - [`answers`]: when a recorded answer and a given one are equal.
//! - [`daemon`]: a running daemon, its lines and its end.
//! - [`car`]: the few lines of dag-pb and CARv1 that hostile and generated DAGs need.
//! - [`journal`]: what was acknowledged, kept outside the process that is killed.
//! - [`pin_book`]: what is pinned, by the operations that were acknowledged or begun.
//! - [`files_script`]: changes of files and what the root is after each.
//! - [`disk`]: loop devices and mounts that are undone when dropped.
//! - [`oracle`]: the programs of others that compute CIDs.
//! - [`strangers`]: the clients of others that drive a daemon, and their scripts.
//! - [`dns`]: a name server on loopback; [`dns_https`]: the same over HTTPS.
//! - [`goods`]: what peers exchange. [`crowd`]: thousands of connections.
//! - [`foreign`]: other peers as processes: Kubo, Helia, rust-ipfs.
//! - [`netns`]: networks that a test makes for itself, and cuts, splits and heals. [`nat`]: an internet with homes behind NATs.
//!   [`apart`]: places kept from each other.
//! - [`igd`]: a router at home that maps ports (UPnP).
//! - [`distance`]: peers that are far from each other.
//! - [`swarm`]: our daemon as a peer. [`wait`]: waiting for a condition, with a bound.
//! - [`pinning_service`]: a pinning service with a state of its own, which may also misbehave.
//! - [`hostile`]: a peer that says to a node whatever a test wants, over bare streams.
//! - [`tree`]: comparing two folders byte for byte.
//!
//! Environment: `HOLDFAST_BIN` (the binary; default beside the test executable's folder),
//! `HOLDFAST_TEST_DATA` (recorded answers and fixtures; `make test` sets a
//! default), `HOLDFAST_TEST_TMP` (where large temporary files go), `HOLDFAST_TEST_SEED` (repeats
//! a run), `HOLDFAST_INTEROP_DIR` (the programs of others), `SOAK=1` (long versions), `REQUIRE_ALL=1` (a
//! check that cannot run fails instead of saying that it was skipped).

// A panic is how a test reports; nothing here is shipped.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::missing_panics_doc)]
// `answer.ok();` is a whole check.
#![allow(clippy::return_self_not_must_use)]

pub mod answers;
pub mod apart;
pub mod ask;
pub mod car;
pub mod crowd;
pub mod daemon;
pub mod disk;
pub mod distance;
pub mod dns;
pub mod dns_https;
pub mod files_script;
pub mod foreign;
pub mod goods;
pub mod hostile;
pub mod igd;
pub mod inputs;
pub mod journal;
pub mod nat;
pub mod need;
pub mod netns;
pub mod oracle;
pub mod pin_book;
pub mod pinning_service;
pub mod recorded;
pub mod reply;
pub mod run;
pub mod strangers;
pub mod swarm;
pub mod terminal;
pub mod tree;
pub mod wait;
pub mod wire;
