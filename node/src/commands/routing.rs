//! `routing get` and `routing put`, for records of names in this repo.

use data_encoding::BASE64;
use holdfast_dht::ipns::{Name, Record, StoredError};
use serde_json::{Value, json};

use super::Context;
use super::config::line;
use super::name::{is_networked, tell};
use super::registry::{Arg, Command, CommandError, Opt, Request, Response, Status};
use crate::node::Node;
use crate::services::names::{NameFindError, NameRecordError, Wanted};

/// Kubo's words for a put without a network.
const OFFLINE_PUT: &str = "can't put while offline: pass `--allow-offline` to override";
/// Kubo's words for a get without a network, where nothing is kept here.
const OFFLINE_GET: &str = "this action must be run in online mode, try running 'ipfs daemon' first";

/// The `Type` of an event that carries a value.
const VALUE_EVENT: u8 = 5;

/// Longest value that is read, in bytes: what is longer than a record may be is told so.
const READ_BYTES_MAX: u64 = 1 << 20;

pub(super) fn get() -> Command {
    Command::new("get", "Given a key, query the routing system for its best value.")
        .help(
            "Writes the record of a name: keys are of the form /ipns/<name>. A node that is online asks others for the newest \
             one, unless it published the name itself; the one that is kept here is given where nobody has a better one.",
        )
        .arg(Arg::text("key", "The key to find a value for.").required().variadic())
        .status(Status::Experimental)
        .run(|context, request| async move {
            let name = name_of_key(request.arg(0))?;
            let record = newest_record(context.node().await?, name).await?;
            Ok(Response::One(event("", &BASE64.encode(record.as_bytes()))))
        })
        .text(|_, value, out| {
            let record = value.get("Extra").and_then(Value::as_str).unwrap_or_default();
            out.extend(BASE64.decode(record.as_bytes()).map_err(CommandError::from_error)?);
            Ok(())
        })
        .plain_output()
}

pub(super) fn put() -> Command {
    Command::new("put", "Write a key/value pair to the routing system.")
        .help("Keeps the signed record of a name: keys are of the form /ipns/<name>.")
        .arg(Arg::text("key", "The key to store the value at.").required())
        .arg(Arg::file("value-file", "A path to a file containing the value to store.").required().stdin())
        .opt(Opt::bool(
            "allow-offline",
            "When offline, save the IPNS record to the local datastore without broadcasting to the network.",
        ))
        .status(Status::Experimental)
        .run(run_put)
        .text(|_, value, out| line(out, value.get("ID").and_then(Value::as_str).unwrap_or_default()))
}

async fn run_put(context: Context, mut request: Request) -> Result<Response, CommandError> {
    let node = context.node().await?;
    let mut input = request.take_input();
    let read = move || input.read_file("value-file", READ_BYTES_MAX);
    let bytes = node.pool().operation(read).await.map_err(CommandError::from_error)??;
    let name: Name = request.arg(0).parse().map_err(CommandError::from_error)?;
    let offline = request.bool("allow-offline");
    if !offline && !is_networked(node, request.call()) {
        return Err(CommandError::new(OFFLINE_PUT));
    }
    name_of_key(request.arg(0))?;
    let record = node.names().put(name, bytes).await.map_err(CommandError::from_error)?;
    tell(node, request.call(), &name, &record, offline).await?;
    Ok(Response::One(event(&name.peer_id().to_string(), "")))
}

/// The name in a routing key such as `/ipns/k51...`.
fn name_of_key(key: &str) -> Result<Name, CommandError> {
    match key.strip_prefix("/ipns/") {
        Some(name) if !name.contains('/') => name.parse().map_err(CommandError::from_error),
        _ => Err(CommandError::new("invalid key")),
    }
}

/// The newest record of a name that others have, or else the one that is kept here.
pub(super) async fn newest_record(node: &Node, name: Name) -> Result<Record, CommandError> {
    let found = node.names().find(name, Wanted::Newest).await;
    found.map_err(|error| match error {
        NameFindError::Kept(NameRecordError::Stored(StoredError::Missing(_))) => {
            CommandError::new(OFFLINE_GET)
        }
        error => CommandError::from_error(error),
    })
}

/// An event of a query, as Kubo writes it.
fn event(id: &str, extra: &str) -> Value {
    json!({ "Extra": extra, "ID": id, "Responses": null, "Type": VALUE_EVENT })
}
