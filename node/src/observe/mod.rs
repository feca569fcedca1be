//! What a node tells of itself: metrics, health, the table of requests, and logs.
//!
//! - [`Metrics`]: one registry for the process, written out in Prometheus's text format by `text`.
//! - [`Requests`]: what runs now and ran a moment ago (`diag cmds`); a door calls [`Requests::begin`] for each request.
//! - [`health`]: whether the node is well, from what it really counts.
//! - [`Logs`]: levels that change at run time, readers that follow (`log tail`). Only the process that is a daemon installs
//!   them; a library that embeds a node brings a subscriber of its own.
//! - [`routes`]: the HTTP paths beside the commands.
//!
//! `docs/observability.md` lists every name.

mod allocator;
mod bitswap;
mod finding;
mod gateway;
pub mod health;
pub mod log;
mod metrics;
mod process;
mod recent;
mod requests;
pub mod routes;
mod snapshot;
mod summary;
mod text;

pub use allocator::AllocatorFigures;
pub use bitswap::BitswapFigures;
pub use finding::DhtFigures;
pub(crate) use gateway::Served;
pub use log::Logs;
pub use metrics::{HttpExchange, Metrics};
pub use process::ProcessFigures;
pub use requests::{Outcome, RequestGuard, RequestRecord, Requests};
pub use snapshot::{NodeFigures, scrape};
