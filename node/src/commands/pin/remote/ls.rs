//! `pin remote ls`.

use futures_util::TryStreamExt as _;
use futures_util::stream::StreamExt as _;
use serde_json::Value;

use super::super::super::registry::{Call, Command, CommandError, Needs, Request, Response};
use super::{client, field, filter, filter_options, value};
use crate::commands::Context;
use crate::commands::cid_text::CidText;
use crate::pinning::list;

pub(super) fn command() -> Command {
    Command::new("ls", "List objects pinned to remote pinning service.")
        .help(
            "Lists the pins that match, the newest first, as the service gives them. Without --status it is those that are \
             pinned; all of them:\n\n  $ {program} pin remote ls --service=mysrv --status=queued,pinning,pinned,failed",
        )
        .opts(filter_options())
        .needs(Needs::Config)
        .run(run)
        .text(text)
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let client = client(&context, &request).await?;
    let cids = CidText::of_call(&request)?;
    let pins = list(client, filter(&request)?).map_err(CommandError::from_error);
    Ok(Response::Stream(pins.map_ok(move |pin| value(&pin, cids)).boxed()))
}

fn text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let [cid, status, name] = ["Cid", "Status", "Name"].map(|name| field(value, name));
    out.extend_from_slice(format!("{cid}\t{status}\t{name}\n").as_bytes());
    Ok(())
}
