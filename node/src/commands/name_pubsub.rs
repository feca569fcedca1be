//! `name pubsub`: names that are followed over pubsub.

use holdfast_dht::ipns::Name;
use serde_json::{Value, json};

use super::Context;
use super::config::line;
use super::registry::{Arg, Command, CommandError, Needs, Opt, Request, Response, Status};
use crate::keys::{IpnsBase, parse_peer_id};
use crate::services::names::NameGossip;

pub(super) fn command() -> Command {
    Command::new("pubsub", "Manage IPNS pubsub.")
        .help(
            "With Ipns.UsePubsub in the config, records of names also go over pubsub: to whoever follows the name, at once. \
             A name is followed when it is published or resolved.",
        )
        .needs(Needs::Config)
        .status(Status::Experimental)
        .subcommand(state())
        .subcommand(subs())
        .subcommand(cancel())
}

/// Names over pubsub; Kubo's words where they were not switched on.
fn gossip(context: &Context) -> Result<&NameGossip, CommandError> {
    let gossip = context.online_node().and_then(|node| node.name_gossip());
    gossip.ok_or_else(|| CommandError::client("IPNS pubsub subsystem is not enabled"))
}

fn state() -> Command {
    Command::new("state", "Query the state of IPNS pubsub.")
        .needs(Needs::Config)
        .status(Status::Experimental)
        .run(|context, _| {
            let answer = json!({ "Enabled": gossip(&context).is_ok() });
            std::future::ready(Ok(Response::One(answer)))
        })
        .text(|_, value, out| {
            let enabled = value.get("Enabled").and_then(Value::as_bool).unwrap_or_default();
            line(out, if enabled { "enabled" } else { "disabled" })
        })
}

fn subs() -> Command {
    Command::new("subs", "Show current name subscriptions.")
        .opt(
            Opt::string("ipns-base", "Encoding used for keys: b58mh or a multibase for CIDv1.")
                .default("base36"),
        )
        .needs(Needs::Config)
        .status(Status::Experimental)
        .run(|context: Context, request: Request| async move {
            let base: IpnsBase = request.text("ipns-base").parse().map_err(CommandError::from_error)?;
            let names = gossip(&context)?.names();
            let paths: Vec<String> =
                names.iter().map(|name| format!("/ipns/{}", base.format(&name.peer_id()))).collect();
            Ok(Response::One(json!({ "Strings": paths })))
        })
        .text(|_, value, out| {
            let names = value.get("Strings").and_then(Value::as_array).into_iter().flatten();
            names.filter_map(Value::as_str).try_for_each(|name| line(out, name))
        })
}

fn cancel() -> Command {
    Command::new("cancel", "Cancel a name subscription.")
        .arg(Arg::text("name", "Name to cancel the subscription for.").required())
        .needs(Needs::Config)
        .status(Status::Experimental)
        .run(|context: Context, request: Request| async move {
            let gossip = gossip(&context)?;
            let text = request.arg(0);
            let peer = parse_peer_id(text.strip_prefix("/ipns/").unwrap_or(text))
                .map_err(|error| CommandError::client(format!("not a valid IPNS name: {error}")))?;
            let canceled = gossip.cancel(&Name::from(peer)).await;
            Ok(Response::One(json!({ "Canceled": canceled })))
        })
        .text(|_, value, out| {
            let canceled = value.get("Canceled").and_then(Value::as_bool).unwrap_or_default();
            line(out, if canceled { "canceled" } else { "no subscription" })
        })
}
