//! The HTTP gateway: what is stored and named, for whoever speaks plain HTTP.
//!
//! [`Gateway`] is a [`Handler`]: it answers `GET` and `HEAD` of `/ipfs/<cid>[/path]` and `/ipns/<name>[/path]`. Files come
//! with their type and in ranges, directories as their `index.html` or a listing, anything as a block, CAR, tar or IPNS
//! record where `?format=` or `Accept` ask for one. `docs/gateway.md` says what clients see.
//!
//! It is not: a subdomain or DNSLink gateway, and it reads no `_redirects`.
//!
//! # Limits
//! The config's `Gateway.MaxConcurrentRequests` (4,096, then 429), `RetrievalTimeout` (30 s to the first byte, then 504; later
//! the connection is cut) and `MaxRequestDuration` (1 h). [`SEGMENTS_MAX`] segments of a path; [`ENTRIES_MAX`]
//! entries of a listing. What is on its way to all clients together is read ahead within [`WINDOWS_BYTES`].
//!
//! # Map
//! `door` admits, counts and times; `ask` reads a request, `target` follows its path, `serve` chooses among `file`, `directory`
//! (`listing`), `codec`, `block`, `car`, `tar` and `ipns`. `body` streams; the rest is HTTP: `format` (negotiation), `range`,
//! `conditional`, `headers`, `media_type`, `page` (HTML), `url`, `redirect`, `failure`.

mod ask;
mod block;
mod body;
mod car;
mod car_options;
mod codec;
mod conditional;
mod directory;
mod door;
mod failure;
mod file;
mod format;
mod headers;
mod ipns;
mod listing;
mod media_type;
mod page;
mod range;
mod redirect;
mod serve;
mod settings;
mod tar;
mod target;
#[cfg(test)]
mod tests;
mod url;
mod web_ui;

pub use door::{Gateway, SEGMENTS_MAX, WINDOWS_BYTES};
pub use listing::ENTRIES_MAX;
pub use settings::Settings;

#[expect(unused_imports, reason = "the documentation names it")]
use crate::http::Handler;

type Answer = http::Response<crate::http::ResponseBody>;
