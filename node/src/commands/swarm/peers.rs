//! `swarm peers`.

use serde_json::{Map, Value, json};

use super::of_action;
use crate::commands::Context;
use crate::commands::config::line;
use crate::commands::registry::{Call, Command, CommandError, Needs, Opt, Request, Response};
use crate::config::GoDuration;
use crate::identify::IdInfo;
use crate::keys::IpnsBase;
use crate::swarm::{ConnectionInfo, Direction, SwarmHandle};

pub(super) fn command() -> Command {
    Command::new("peers", "List peers with open connections.")
        .help("Lists the connections that are open, by the address of the other end.")
        .opt(Opt::bool("verbose v", "Display all extra information."))
        .opt(Opt::bool("streams", "Also list information about open streams for each peer."))
        .opt(Opt::bool("latency", "Also list information about latency to each peer."))
        .opt(Opt::bool("direction", "Also list information about the direction of connection."))
        .opt(Opt::bool("identify", "Also list information about peers identify."))
        .needs(Needs::Config)
        .run(run)
        .text(text)
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let swarm = of_action(&context, request.call())?;
    let connections = swarm.connections().await.map_err(CommandError::from_error)?;
    let shown: Vec<Value> =
        connections.iter().map(|connection| value(swarm, connection, request.call())).collect();
    Ok(Response::One(json!({ "Peers": shown })))
}

/// One connection, with as much as was asked for. Keys of what was not asked for are left out, `Identify` alone is empty.
fn value(swarm: &SwarmHandle, connection: &ConnectionInfo, call: &Call) -> Value {
    let wants = |name: &str| call.bool("verbose") || call.bool(name);
    let mut shown = Map::new();
    shown.insert("Addr".to_owned(), connection.address.to_string().into());
    shown.insert("Peer".to_owned(), connection.peer.to_base58().into());
    if wants("latency") {
        let latency = connection.latency.map(|time| GoDuration::from_std(time).to_string());
        shown.insert("Latency".to_owned(), latency.unwrap_or_else(|| "n/a".to_owned()).into());
    }
    if wants("direction") {
        let direction = match connection.direction {
            Direction::Inbound => 1,
            Direction::Outbound => 2,
        };
        shown.insert("Direction".to_owned(), direction.into());
    }
    if wants("streams") && !connection.streams.is_empty() {
        let streams = connection.streams.iter().map(|protocol| json!({ "Protocol": protocol }));
        shown.insert("Streams".to_owned(), streams.collect());
    }
    let identify = if wants("identify") {
        json!(IdInfo::of_known(swarm.book(), &connection.peer, IpnsBase::Base58Multihash))
    } else {
        json!({ "ID": "", "PublicKey": "", "Addresses": null, "AgentVersion": "", "Protocols": null })
    };
    shown.insert("Identify".to_owned(), identify);
    Value::Object(shown)
}

fn text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let peers = value.get("Peers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for peer in peers {
        let field = |name: &str| peer.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut words = format!("{}/p2p/{}", field("Addr"), field("Peer"));
        if !field("Latency").is_empty() {
            words = format!("{words} {}", field("Latency"));
        }
        match peer.get("Direction").and_then(Value::as_u64) {
            Some(1) => words.push_str(" inbound"),
            Some(2) => words.push_str(" outbound"),
            _ => {}
        }
        line(out, &words)?;
        let streams = peer.get("Streams").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for stream in streams {
            let protocol = stream.get("Protocol").and_then(Value::as_str).unwrap_or_default();
            line(out, &format!("  {}", if protocol.is_empty() { "<no protocol name>" } else { protocol }))?;
        }
    }
    Ok(())
}
