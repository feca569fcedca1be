//! `pin remote rm`.

use futures_util::TryStreamExt as _;

use super::super::super::registry::{Command, CommandError, Needs, Opt, Request, Response};
use super::{client, filter, filter_options};
use crate::commands::Context;
use crate::go_text::go_quote;
use crate::pinning::{PinningError, RequestId, list};

/// Pins that are removed at a time: their IDs are held in memory.
const REMOVED_MAX: usize = 100_000;

pub(super) fn command() -> Command {
    Command::new("rm", "Remove pins from remote pinning service.")
        .help(
            "Removes the pin that matches, so that the service may forget its blocks. 'pin remote ls' with the same options \
             lists what it would be. Where more than one matches, nothing is removed without --force. Without --status only \
             those that are pinned are meant:\n\n  $ {program} pin remote rm --service=mysrv --status=queued,pinning,failed --force",
        )
        .opts(filter_options())
        .opt(
            Opt::bool("force", "Allow removal of multiple pins matching the query without additional confirmation.")
                .default(false),
        )
        .needs(Needs::Config)
        .run(run)
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let client = client(&context, &request).await?;
    let listing =
        |error: PinningError| CommandError::new(format!("error while listing remote pins: {error}"));
    let filter = filter(&request)
        .map_err(|error| CommandError::new(format!("error while listing remote pins: {}", error.message)))?;
    let mut pins = list(client.clone(), filter);
    // The whole list before the first is removed: pages begin where the last one ended.
    let mut found: Vec<RequestId> = Vec::new();
    while let Some(pin) = pins.try_next().await.map_err(listing)? {
        found.push(pin.request);
        if found.len() > 1 && !request.bool("force") {
            return Err(CommandError::new(
                "multiple remote pins are matching this query, add --force to confirm the bulk removal",
            ));
        }
        if found.len() > REMOVED_MAX {
            return Err(listing(PinningError::TooMany));
        }
    }
    for id in found {
        client.remove(&id).await.map_err(|error| {
            let id = go_quote(id.as_str());
            CommandError::new(format!("removing pin identified by requestid={id} failed: {error}"))
        })?;
    }
    Ok(Response::Empty)
}
