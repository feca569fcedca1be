//! `swarm peering`: peers that are kept connected.

use serde_json::{Value, json};

use super::{of_command, peers_of};
use crate::commands::Context;
use crate::commands::config::line;
use crate::commands::registry::{Arg, Call, Command, CommandError, Needs, Request, Response};
use crate::config::parse_multiaddr;
use crate::keys::parse_peer_id;

pub(super) fn command() -> Command {
    Command::new("peering", "Modify the peering subsystem.")
        .help(
            "Peers in this list are kept connected: they are dialled again when a connection ends, at least every 10 \
             seconds, and the connection manager leaves them alone. Changes last until the daemon ends; Peering.Peers in \
             the config is what it begins with.",
        )
        .needs(Needs::Config)
        .subcommand(
            Command::new("add", "Add peers into the peering subsystem.")
                .arg(Arg::text("address", "Address of the peer, with its ID.").required().variadic())
                .needs(Needs::Config)
                .run(run_add)
                .text(|_, value, out| text("add", value, out)),
        )
        .subcommand(
            Command::new("ls", "List peers registered in the peering subsystem.")
                .needs(Needs::Config)
                .run(run_ls)
                .text(ls_text),
        )
        .subcommand(
            Command::new("rm", "Remove a peer from the peering subsystem.")
                .arg(
                    Arg::text("ID", "ID of peer to remove from the peering subsystem.").required().variadic(),
                )
                .needs(Needs::Config)
                .run(run_rm)
                .text(|_, value, out| text("remove", value, out)),
        )
}

async fn run_add(context: Context, request: Request) -> Result<Response, CommandError> {
    let parsed = request.args().iter().map(|text| parse_multiaddr(text).map_err(CommandError::from_error));
    let peers = peers_of(&parsed.collect::<Result<Vec<_>, _>>()?)?;
    let swarm = of_command(&context)?;
    let mut done = Vec::new();
    for (peer, addresses) in peers {
        swarm.peering_add(peer, addresses).await.map_err(CommandError::from_error)?;
        done.push(json!({ "ID": peer.to_base58(), "Status": "success" }));
    }
    Ok(Response::values(done))
}

async fn run_rm(context: Context, request: Request) -> Result<Response, CommandError> {
    let swarm = of_command(&context)?;
    let mut done = Vec::new();
    for text in request.args() {
        let peer = parse_peer_id(text).map_err(CommandError::from_error)?;
        swarm.peering_remove(peer).await.map_err(CommandError::from_error)?;
        done.push(json!({ "ID": peer.to_base58(), "Status": "success" }));
    }
    Ok(Response::values(done))
}

async fn run_ls(context: Context, _: Request) -> Result<Response, CommandError> {
    let peers = of_command(&context)?.peering_list().await.map_err(CommandError::from_error)?;
    let shown = peers.iter().map(|(peer, addresses)| {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        json!({ "ID": peer.to_base58(), "Addrs": addresses })
    });
    Ok(Response::One(json!({ "Peers": shown.collect::<Vec<_>>() })))
}

fn text(verb: &str, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    line(out, &format!("{verb} {} {}", field("ID"), field("Status")))
}

fn ls_text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let peers = value.get("Peers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for peer in peers {
        line(out, peer.get("ID").and_then(Value::as_str).unwrap_or_default())?;
        let addresses = peer.get("Addrs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        addresses
            .iter()
            .filter_map(Value::as_str)
            .try_for_each(|address| line(out, &format!("\t{address}")))?;
    }
    Ok(())
}
