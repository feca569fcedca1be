//! Asking pinning services to keep what this node has: a client of the IPFS Pinning Service API, version 1.0.0
//! (<https://ipfs.github.io/pinning-services-api-spec/>), and the policy that keeps the files root pinned at one.
//!
//! The key of a service goes to that service and nowhere else: redirects are not followed, and no error holds it, even where
//! the service says it back.
//!
//! Limits: an answer of 4 MiB and 30 s, 1,000 pins a page and 10,000 pages of a list, waits of at most 60 s where a service
//! asks for patience, four of them in a row.

mod answer;
mod client;
mod error;
mod list;
pub(crate) mod mfs;
mod origins;
#[cfg(test)]
mod tests;

pub use answer::{Page, PinState, RemotePin, RequestId};
pub use client::{Client, Filter, NewPin};
pub use error::{PinningError, Refusal};
pub use list::{ListStream, list};
pub(crate) use origins::origins;
