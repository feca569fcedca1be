//! `pin remote`: what pinning services keep for this node.

mod add;
mod ls;
mod rm;
mod service;

use holdfast_dag::cid::parse_cid;
use serde_json::{Value, json};

use super::super::config::load;
use super::super::registry::{Call, Command, CommandError, Needs, Opt, OptKind, OptValue, Request};
use super::check_name;
use crate::commands::Context;
use crate::commands::cid_text::CidText;
use crate::go_text::go_quote;
use crate::pinning::{Client, Filter, PinState, RemotePin};

pub(super) fn command() -> Command {
    Command::new("remote", "Pin (and unpin) objects to remote pinning service.")
        .help(
            "A pinning service keeps what it is asked to keep, as others see it: over the IPFS Pinning Service API. 'pin remote \
             service add' writes one into the config.",
        )
        .needs(Needs::Config)
        .subcommand(add::command())
        .subcommand(ls::command())
        .subcommand(rm::command())
        .subcommand(service::service())
}

/// `--service`.
fn service_option() -> Opt {
    Opt::string("service", "Name of the remote pinning service to use (mandatory).")
}

/// The options that say which pins are meant.
fn filter_options() -> [Opt; 4] {
    let pinned = OptValue::List(vec![PinState::Pinned.word().to_owned()]);
    [
        service_option(),
        Opt::string("name", "Only pins of exactly this name."),
        Opt::new(OptKind::CommaStrings, "cid", "Only pins of these CIDs (comma-separated)."),
        Opt::new(
            OptKind::CommaStrings,
            "status",
            "Only pins with these statuses (queued,pinning,pinned,failed).",
        )
        .default(pinned),
    ]
}

/// A client of the service that a call names.
async fn client(context: &Context, request: &Request) -> Result<Client, CommandError> {
    let name =
        request.text_opt("service").ok_or_else(|| CommandError::new("a service name must be passed"))?;
    if name.is_empty() {
        return Err(CommandError::new("remote pinning service name not specified"));
    }
    // The config as it is now: services come and go while a daemon runs.
    let access = load(context).await?.remote_service(name).map_err(CommandError::from_error)?;
    Client::new(&access).map_err(CommandError::from_error)
}

/// Which pins a call means.
fn filter(call: &Call) -> Result<Filter, CommandError> {
    let name = call.text_opt("name").map(str::to_owned);
    check_name(name.as_deref().unwrap_or_default())?;
    let cid = |text: &String| {
        let parsed = parse_cid(text.strip_prefix("/ipfs/").unwrap_or(text));
        parsed.map_err(|error| CommandError::new(format!("CID {} cannot be parsed: {error}", go_quote(text))))
    };
    let cids = call.list("cid").iter().map(cid).collect::<Result<_, _>>()?;
    let state = |word: &String| {
        let state = PinState::of_word(word);
        state.ok_or_else(|| CommandError::new(format!("status {} is not valid", go_quote(word))))
    };
    let states = call.list("status").iter().map(state).collect::<Result<_, _>>()?;
    Ok(Filter { cids, name, states })
}

/// A pin as Kubo tells of it.
fn value(pin: &RemotePin, cids: CidText) -> Value {
    json!({ "Status": pin.state.word(), "Cid": cids.text(&pin.cid), "Name": pin.name })
}

/// A field of such a value.
fn field<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
