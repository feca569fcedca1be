//! `routing get` and `routing put`, for records of names and for public keys.

use std::time::SystemTime;

use data_encoding::BASE64;
use holdfast_dht::ipns::{Name, Record, StoredError};
use holdfast_dht::kad::{Key, QueryError, validate_value};
use serde_json::{Value, json};

use super::Context;
use super::config::line;
use super::name::{is_networked, tell};
use super::registry::{Arg, Call, Command, CommandError, Opt, Request, Response, Status};
use crate::node::Node;
use crate::routing::{Routing, ValueSearch};
use crate::services::names::{NameFindError, NameRecordError, Wanted};

/// Kubo's words for a put without a network.
const OFFLINE_PUT: &str = "can't put while offline: pass `--allow-offline` to override";
/// Kubo's words for a get without a network, where nothing is kept here.
const OFFLINE_GET: &str = "this action must be run in online mode, try running 'ipfs daemon' first";

/// Why `--allow-offline` is of no use for a public key.
const KEYS_ARE_NOT_KEPT: &str = "public keys are kept by the peers of the DHT, and this node is in none now";

/// The `Type` of an event that carries a value.
const VALUE_EVENT: u8 = 5;

/// Longest value that is read, in bytes: what is longer than a record may be is told so.
const READ_BYTES_MAX: u64 = 1 << 20;

pub(super) fn get() -> Command {
    Command::new("get", "Given a key, query the routing system for its best value.")
        .help(
            "Writes the record of a name, for keys of the form /ipns/<name>, or the public key of a peer, for /pk/<peer ID>. A \
             node that is online asks others for the newest record, unless it published the name itself; the one that is kept \
             here is given where nobody has a better one.",
        )
        .arg(Arg::text("key", "The key to find a value for.").required().variadic())
        .status(Status::Experimental)
        .run(|context, request| async move {
            let key = RoutingKey::parse(request.arg(0))?;
            let node = context.node().await?;
            let value = match key {
                RoutingKey::Name(name) => newest_record(node, name).await?.as_bytes().to_vec(),
                RoutingKey::PublicKey(owner) => public_key(node, request.call(), &owner).await?,
            };
            Ok(Response::One(event("", &BASE64.encode(&value))))
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
        .help(
            "Keeps the signed record of a name and tells it to others, for keys of the form /ipns/<name>; or tells others the \
             public key of a peer, for /pk/<peer ID>.",
        )
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
    let offline = request.bool("allow-offline");
    if let Ok(RoutingKey::PublicKey(owner)) = RoutingKey::parse(request.arg(0)) {
        put_public_key(node, request.call(), &owner, bytes, offline).await?;
        return Ok(Response::One(event(&owner.peer_id().to_string(), "")));
    }
    let name: Name = request.arg(0).parse().map_err(CommandError::from_error)?;
    if !offline && !is_networked(node, request.call()) {
        return Err(CommandError::new(OFFLINE_PUT));
    }
    RoutingKey::parse(request.arg(0))?;
    let record = node.names().put(name, bytes).await.map_err(CommandError::from_error)?;
    tell(node, request.call(), &name, &record, offline).await?;
    Ok(Response::One(event(&name.peer_id().to_string(), "")))
}

/// What a value is asked for or put under.
enum RoutingKey {
    /// `/ipns/k51...`: the record of a name.
    Name(Name),
    /// `/pk/12D3...`: the public key with this hash.
    PublicKey(Name),
}

impl RoutingKey {
    fn parse(key: &str) -> Result<Self, CommandError> {
        let is_name = key.starts_with("/ipns/");
        match key.strip_prefix("/ipns/").or_else(|| key.strip_prefix("/pk/")) {
            Some(hash) if !hash.contains('/') => {
                let hash = hash.parse().map_err(CommandError::from_error)?;
                Ok(if is_name { Self::Name(hash) } else { Self::PublicKey(hash) })
            }
            _ => Err(CommandError::new("invalid key")),
        }
    }
}

/// Where the DHT keeps a public key.
fn place_of(owner: &Name) -> Result<Key, CommandError> {
    Key::new(&[b"/pk/", &owner.to_bytes()[..]].concat()).map_err(CommandError::from_error)
}

/// The DHT, if the request lets it be asked.
fn dht<'a>(node: &'a Node, call: &Call) -> Option<&'a Routing> {
    node.routing().filter(|_| !call.offline())
}

/// A public key, as the DHT has it.
async fn public_key(node: &Node, call: &Call, owner: &Name) -> Result<Vec<u8>, CommandError> {
    let routing = dht(node, call).ok_or_else(|| CommandError::new(OFFLINE_GET))?;
    let search = ValueSearch::default();
    routing.get_value(place_of(owner)?, search, None).await.map_err(|error| match error {
        QueryError::Timeout { seconds, .. } => {
            CommandError::new(format!("no key was found within {seconds} seconds"))
        }
        error => CommandError::from_error(error),
    })
}

/// Gives a public key to the peers closest to its hash. Where it may stay here, nobody who takes it is no failure, as this node
/// answers for it as one of the DHT; without a DHT there is nothing that it could stay in.
async fn put_public_key(
    node: &Node,
    call: &Call,
    owner: &Name,
    bytes: Vec<u8>,
    may_stay_here: bool,
) -> Result<(), CommandError> {
    let offline = if may_stay_here { KEYS_ARE_NOT_KEPT } else { OFFLINE_PUT };
    let routing = dht(node, call).ok_or_else(|| CommandError::new(offline))?;
    let place = place_of(owner)?;
    validate_value(place.as_bytes(), &bytes, SystemTime::now().into()).map_err(CommandError::from_error)?;
    match routing.put_value(place, bytes, None).await {
        Err(error) if !may_stay_here => Err(CommandError::from_error(error)),
        _ => Ok(()),
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
