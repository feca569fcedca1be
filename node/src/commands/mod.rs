//! Every command, once: name, help, arguments, options, what it does and its text form. The terminal, the RPC router,
//! help, completions and `commands` are all derived from here.
//!
//! # How to add a command
//! One file a group. A function returns the definition; `run` is an async function that gets the [`Context`] and the
//! typed [`registry::Request`], and answers one value, a stream of values, a stream of bytes, or nothing:
//!
//! ```
//! use holdfast::commands::registry::{Arg, Call, Command, CommandError, Needs, Opt, Request, Response};
//! use holdfast::commands::Context;
//! use serde_json::{Value, json};
//!
//! fn greet() -> Command {
//!     Command::new("greet", "Greet somebody.")
//!         .help("Greets each <name>, loudly if asked to.")
//!         .arg(Arg::text("name", "Whom to greet.").required().variadic().stdin())
//!         .opt(Opt::bool("loud l", "In capital letters."))
//!         .needs(Needs::Nothing)
//!         .run(run)
//!         .text(text)
//! }
//!
//! async fn run(_context: Context, request: Request) -> Result<Response, CommandError> {
//!     let values = request.args().iter().map(|name| {
//!         let name = if request.bool("loud") { name.to_uppercase() } else { name.clone() };
//!         json!({ "Name": name })
//!     });
//!     Ok(Response::values(values.collect()))
//! }
//!
//! fn text(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
//!     out.extend_from_slice(format!("hello {}\n", value["Name"].as_str().unwrap_or_default()).as_bytes());
//!     Ok(())
//! }
//! # let _ = greet();
//! ```
//!
//! - Put the definition into [`registry()`]: below its group, or at the root. Many definitions are there already,
//!   with their options and without a `run`: such a command is explained and parsed, and says that this version
//!   does not have it.
//! - Options are read from the request by main name: `request.bool("loud")`, `text`, `int`, `list`, and `_opt` forms
//!   that tell "not given". Global ones have methods of their own: `cid_base()`, `offline()`, ....
//! - Files: `request.take_input()` is an iterator of entries, read on the blocking pool. At the terminal the walk
//!   follows the options `recursive`, `hidden`, `ignore`, `ignore-rules-path`, `dereference-args`,
//!   `dereference-symlinks` and `stdin-name`, if the command has them.
//! - The text form is a function of call and value alone, so that it also works on values that came over RPC. Without
//!   one, text is JSON. [`registry::Command::text_with`] is for forms with state (table heads, "last value only").
//! - What only the terminal does (write files, draw progress) is a [`registry::Command::terminal`] view of the
//!   response; texts from elsewhere go through [`Terminal::safe`] or [`Terminal::print_line`] there. Where Kubo prints
//!   text even with `--enc=json`, [`registry::Command::always_text`] does too. What the terminal adds to the call before it runs is a [`registry::Command::pre_run`] hook.
//! - An option that Kubo has and we refuse: [`registry::Opt::refused`] with a sentence that says why.

// Text forms and runs have one signature, also where nothing can go wrong in them.
#![allow(clippy::unnecessary_wraps)]

mod add;
mod bandwidth;
mod bitswap;
mod block;
mod blocking;
mod bootstrap;
mod calls;
mod cat;
mod catalog;
mod cid;
mod cid_text;
mod codecs;
mod completion;
mod config;
mod context;
mod daemon;
mod dag;
mod dag_car;
mod deps;
mod diag;
mod documents;
mod fast_provide;
mod files;
mod finding;
mod get;
mod identity;
mod key;
mod key_rotate;
mod key_sign;
mod layout;
mod list;
mod log;
mod ls;
mod multibase;
mod name;
mod name_inspect;
mod name_pubsub;
mod name_record;
mod object;
mod p2p;
mod paths;
mod pin;
mod ping;
mod planned;
mod planned_help;
mod profile_help;
mod progress;
mod provide;
mod pubsub;
mod refs;
pub mod registry;
mod repo;
mod repo_gc;
mod repo_migrate;
mod repo_verify;
mod root;
mod routing;
mod swarm;
mod terminal;
mod time;
mod upload;
mod version;

/// The words that a value holds under this name, if there are any: how many values tell of a failure.
fn words_in(value: &serde_json::Value, name: &str) -> Option<String> {
    value.get(name).and_then(serde_json::Value::as_str).filter(|words| !words.is_empty()).map(str::to_owned)
}

pub use calls::{CALL_HEADER, wait_sentence};
pub use context::{Context, ContextParams, RepoError};
pub use progress::{Progress, StatusLine};
pub use root::registry;
pub use terminal::{Terminal, escape};
pub(crate) use version::system;
pub use version::{KUBO_VERSION, REPO_VERSION};
