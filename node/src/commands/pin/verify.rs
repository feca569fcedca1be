//! `pin verify`.

use std::fmt::Write as _;

use futures_util::TryStreamExt as _;
use serde_json::{Map, Value, json};

use super::super::Context;
use super::super::cid_text::CidText;
use super::super::registry::{Call, Command, CommandError, Opt, Request, Response};
use crate::services::pins::PinVerified;

pub(super) fn command() -> Command {
    Command::new("verify", "Verify that recursive pins are complete.")
        .help(
            "Walks every recursive pin and names those of which something is missing or damaged, and what. Blocks with \
             links are read and checked; of raw leaves it is asked whether they are here. 'repo verify' reads all.",
        )
        .opt(Opt::bool("verbose", "Also write the hashes of non-broken pins."))
        .opt(Opt::bool("quiet q", "Write just hashes of broken pins."))
        .run(run)
        .text(text)
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let (verbose, quiet) = (request.bool("verbose"), request.bool("quiet"));
    if verbose && quiet {
        return Err(CommandError::new("the --verbose and --quiet options can not be used at the same time"));
    }
    let cids = CidText::of_call(&request)?;
    let pins = context.node().await?.pins().verify().map_err(CommandError::from_error);
    let values = pins.try_filter_map(move |pin| {
        let told = verbose || !pin.bad_nodes.is_empty();
        std::future::ready(Ok(told.then(|| value(&pin, quiet, cids))))
    });
    Ok(Response::Stream(Box::pin(values)))
}

/// As in Kubo, what is empty is left out.
fn value(pin: &PinVerified, quiet: bool, cids: CidText) -> Value {
    let mut value = Map::new();
    value.insert("Cid".to_owned(), cids.text(&pin.cid).into());
    if pin.bad_nodes.is_empty() {
        value.insert("Ok".to_owned(), true.into());
    } else if !quiet {
        let bad = pin.bad_nodes.iter().map(|bad| json!({ "Cid": cids.text(&bad.cid), "Err": bad.error }));
        value.insert("BadNodes".to_owned(), bad.collect());
    }
    Value::Object(value)
}

fn text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let field =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let cid = field(value, "Cid");
    let sound = value.get("Ok").and_then(Value::as_bool).unwrap_or_default();
    let mut lines = match (call.bool("quiet"), sound) {
        (true, true) => String::new(),
        (true, false) => format!("{cid}\n"),
        (false, true) => format!("{cid} ok\n"),
        (false, false) => format!("{cid} broken\n"),
    };
    if !call.bool("quiet") {
        for bad in value.get("BadNodes").and_then(Value::as_array).into_iter().flatten() {
            let _ = writeln!(lines, "  {}: {}", field(bad, "Cid"), field(bad, "Err"));
        }
    }
    out.extend_from_slice(lines.as_bytes());
    Ok(())
}
