//! `name get` and `name put`: signed records as they are.

use holdfast_dht::ipns::{Name, RECORD_BYTES_MAX, Record, Timestamp};
use serde_json::{Value, json};

use super::Context;
use super::config::line;
use super::name::{is_networked, refuse_delegated, tell, where_to};
use super::registry::{Arg, Command, CommandError, Opt, Request, Response, Status};
use super::routing::newest_record;
use crate::node::Node;

/// Kubo's words for a put without a network.
const OFFLINE_PUT: &str = "can't put while offline: pass `--allow-offline` to store locally or `--allow-delegated` if \
                           Ipns.DelegatedPublishers are set up";

/// Longest record that is looked at, in bytes: what is longer than a record may be is told so.
const READ_BYTES_MAX: u64 = 1 << 20;

pub(super) fn get() -> Command {
    Command::new("get", "Retrieve a signed IPNS record.")
        .help(
            "Writes the record of a name, as 'name inspect' and 'name put' take it. A node that is online asks others for the \
             newest one, unless it published the name itself; the one that is kept here is given where nobody has a better one.",
        )
        .arg(Arg::text("name", "The IPNS name to look up.").required())
        .status(Status::Experimental)
        .run(|context, request| async move {
            let name: Name = request.arg(0).parse().map_err(CommandError::from_error)?;
            let record = newest_record(context.node().await?, name).await?;
            Ok(Response::bytes(record.as_bytes().to_vec(), "application/vnd.ipfs.ipns-record"))
        })
}

pub(super) fn put() -> Command {
    Command::new("put", "Store a pre-signed IPNS record in the routing system.")
        .help(
            "Keeps a record that somebody signed. It must be valid, signed by the key of the name, and have a higher \
             sequence number than the record that is kept; the same record again is no error. --force leaves these checks \
             to whoever keeps the record.",
        )
        .arg(Arg::text("name", "The IPNS name to store the record for (e.g., k51... or /ipns/k51...).").required())
        .arg(Arg::file("record", "Path to file containing the signed IPNS record.").required().stdin())
        .opt(Opt::bool("force f", "Skip validation (signature, sequence, size)."))
        .opt(Opt::bool("allow-offline", "Store locally without broadcasting to the network."))
        .opt(Opt::bool("allow-delegated", "Publish via HTTP delegated publishers only (no DHT)."))
        .opt(Opt::bool("quiet q", "Write no output."))
        .status(Status::Experimental)
        .run(run_put)
        .text(|call, value, out| {
            let name = value.get("Name").and_then(Value::as_str).unwrap_or_default();
            if call.bool("quiet") { Ok(()) } else { line(out, name) }
        })
}

async fn run_put(context: Context, mut request: Request) -> Result<Response, CommandError> {
    let (offline, delegated) = where_to(&request)?;
    let node = context.node().await?;
    if delegated {
        refuse_delegated(node.config())?;
    }
    let name: Name =
        request.arg(0).parse().map_err(|error| CommandError::new(format!("invalid IPNS name: {error}")))?;
    let mut input = request.take_input();
    let read = move || input.read_file("record", READ_BYTES_MAX);
    let bytes = node.pool().operation(read).await.map_err(CommandError::from_error)??;
    if bytes.is_empty() {
        return Err(CommandError::new("record is empty"));
    }
    if !request.bool("force") {
        check(node, name, &bytes).await?;
    }
    if !offline && !is_networked(node, request.call()) {
        return Err(CommandError::new(OFFLINE_PUT));
    }
    let record = node.names().put(name, bytes).await.map_err(CommandError::from_error)?;
    tell(node, request.call(), &name, &record, offline).await?;
    let value = record.value().map(|path| path.to_string()).unwrap_or_default();
    Ok(Response::One(json!({ "Name": name.to_string(), "Value": value })))
}

/// What is looked at before a record is put, in Kubo's order and words.
async fn check(node: &Node, name: Name, bytes: &[u8]) -> Result<(), CommandError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(CommandError::new(format!(
            "record exceeds maximum size of {RECORD_BYTES_MAX} bytes, use --force to skip size check"
        )));
    }
    let record =
        Record::decode(bytes).map_err(|error| CommandError::new(format!("invalid IPNS record: {error}")))?;
    record
        .validate(&name, Timestamp::from(std::time::SystemTime::now()))
        .map_err(|error| CommandError::new(format!("record validation failed: {error}")))?;
    // None that is kept is nothing to compare with.
    let Ok(kept) = node.names().record(name).await else { return Ok(()) };
    if kept.as_bytes() == bytes {
        return Ok(());
    }
    match (kept.sequence(), record.sequence()) {
        (Ok(kept), Ok(new)) if kept >= new => Err(CommandError::new(format!(
            "existing IPNS record has sequence {kept} >= new record sequence {new}, use 'ipfs name put --force' to \
             skip this check"
        ))),
        _ => Ok(()),
    }
}
