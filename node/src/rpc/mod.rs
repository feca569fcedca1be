//! The HTTP door to the commands: Kubo's RPC, `/api/v0`.
//!
//! [`Door`] is a [`Handler`](crate::http::Handler): it decides who may ask ([`Settings`], from the config section `API`),
//! finds the command, reads options and arguments from the query and files from a multipart body, runs the command, and
//! encodes what it answers. No command is known by name here, except `version`, which every authorization may use, and
//! `log/tail`, which is also at `/logs`.
//!
//! What is served beside the commands is in [`Routes`]; who wants to know what runs is a [`Watch`]. `docs/rpc.md` says what
//! clients see.

mod answer;
mod auth;
mod call;
mod cors;
mod door;
mod host;
#[doc(hidden)]
pub mod multipart;
mod pages;
mod path;
mod rate;
mod reply;
mod routes;
mod run;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

pub use door::Door;
pub(crate) use pages::web_ui;
pub use routes::{Access, Routes};
pub use settings::Settings;
pub use watch::{Outcome, Watch, Watched};
