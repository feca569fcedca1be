//! `name publish`, `name resolve` and `name pubsub`.

use std::time::Duration;

use holdfast_dag::path::{ContentPath, PathRoot};
use holdfast_dht::ipns::{LIFETIME_DEFAULT, Name, Publish, Record, TTL_DEFAULT};
use serde_json::{Value, json};

use super::config::line;
use super::registry::{Arg, Call, Command, CommandError, Needs, Opt, OptKind, Request, Response};
use super::{Context, name_inspect, name_pubsub, name_record, paths};
use crate::config::{Config, GoDuration};
use crate::go_text::go_quote;
use crate::keys::IpnsBase;
use crate::node::Node;
use crate::services::names::{Names, ResolveDepth};

/// Kubo's words for a publish without a network.
const OFFLINE_PUBLISH: &str = "can't publish while offline: pass `--allow-offline` to override or `--allow-delegated` if \
                               Ipns.DelegatedPublishers are set up";

pub(super) fn command() -> Command {
    Command::new("name", "Publish and resolve IPNS names.")
        .help(
            "A name is the hash of a public key, and whoever has the private key says what it points at by publishing \
             signed records. The default name is the node's own peer ID; 'key gen' makes more.\n\n  $ {program} name \
             publish --allow-offline /ipfs/bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4\n  $ {program} \
             name resolve\n\nRecords are kept in the repo, and a daemon tells the network of them. Without one, names \
             are published with --allow-offline.",
        )
        .needs(Needs::Config)
        .subcommand(publish())
        .subcommand(resolve())
        .subcommand(name_inspect::command())
        .subcommand(name_record::get())
        .subcommand(name_record::put())
        .subcommand(name_pubsub::command())
}

fn publish() -> Command {
    Command::new("publish", "Publish IPNS names.")
        .help(
            "Signs a record that says what a name points at, and keeps it: it is durable when the command ends. Its \
             sequence number is that of the record before, or one more if it points at something else.",
        )
        .arg(Arg::text("ipfs-path", "ipfs path of the object to be published.").required().stdin())
        .opt(
            Opt::string("key k", "Name of the key to be used or a valid PeerID, as listed by 'key list -l'.")
                .default("self"),
        )
        .opt(Opt::bool("resolve", "Check if the given path can be resolved before publishing.").default(true))
        .opt(Opt::string("lifetime t", "How long the record will be valid: 300s, 1.5h. Default: 48h."))
        .opt(Opt::string(
            "ttl",
            "How long readers may keep the record before they look for a newer one, at most the lifetime. Default: 5m.",
        ))
        .opt(Opt::bool("quieter Q", "Write only final IPNS Name encoded as CIDv1."))
        .opt(Opt::bool("v1compat", "Include the fields and the signature of the first version.").default(true))
        .opt(Opt::bool("allow-offline", "Allow publishing when offline: the record is kept in the repo."))
        .opt(Opt::bool("allow-delegated", "Allow publishing without DHT connectivity, by HTTP publishers only."))
        .opt(Opt::new(OptKind::Uint64, "sequence", "Set a custom sequence number (must be higher than current)."))
        .opt(Opt::string("ipns-base", "Encoding used for keys: b58mh or a multibase for CIDv1.").default("base36"))
        .run(run_publish)
        .text(|call, value, out| {
            let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
            if call.bool("quieter") {
                line(out, text("Name"))
            } else {
                line(out, &format!("Published to {}: {}", text("Name"), text("Value")))
            }
        })
}

async fn run_publish(context: Context, request: Request) -> Result<Response, CommandError> {
    let (offline, delegated) = where_to(&request)?;
    let base: IpnsBase = request.text("ipns-base").parse().map_err(CommandError::from_error)?;
    let (lifetime, ttl) = lifetime_and_ttl(&request)?;
    let path = paths::parse(request.arg(0))?;
    let node = context.node().await?;
    if request.bool("resolve") {
        let resolved = node.resolve(&path).await.map_err(CommandError::from_error)?;
        node.blocks().get(&resolved.cid).await.map_err(CommandError::from_error)?;
    }
    if delegated {
        refuse_delegated(node.config())?;
    } else if !offline && !is_networked(node, request.call()) {
        return Err(CommandError::new(OFFLINE_PUBLISH));
    }
    let value = path.to_string();
    let publish = Publish {
        value: value.clone(),
        lifetime,
        ttl,
        sequence: request.uint_opt("sequence"),
        v1_compatible: request.bool("v1compat"),
    };
    let names = node.names();
    let published = names.publish(request.text("key"), publish).await.map_err(CommandError::from_error)?;
    tell(node, request.call(), &published.name, &published.record, offline || delegated).await?;
    Ok(Response::One(json!({ "Name": base.format(&published.name.peer_id()), "Value": value })))
}

/// Tells the network of a record that is kept. Where it may stay here alone, nobody to tell is no failure.
pub(super) async fn tell(
    node: &Node,
    call: &Call,
    name: &Name,
    record: &Record,
    may_stay_here: bool,
) -> Result<(), CommandError> {
    if !is_networked(node, call) {
        return Ok(());
    }
    match node.names().announce(name, record).await {
        Ok(_) => Ok(()),
        Err(error) if may_stay_here => {
            tracing::debug!("the record of {name} stays here for now: {error}");
            Ok(())
        }
        Err(error) => Err(CommandError::from_error(error)),
    }
}

/// Whether records can be told to anybody.
pub(super) fn is_networked(node: &Node, call: &Call) -> bool {
    !call.offline() && (node.routing().is_some() || node.name_gossip().is_some())
}

/// `--allow-offline` and `--allow-delegated`, which exclude each other.
pub(super) fn where_to(call: &Call) -> Result<(bool, bool), CommandError> {
    match (call.bool("allow-offline"), call.bool("allow-delegated")) {
        (true, true) => Err(CommandError::new("cannot use both --allow-offline and --allow-delegated flags")),
        flags => Ok(flags),
    }
}

/// Publishing over HTTP: Kubo's words where no publisher is set up, else that it is not there yet.
pub(super) fn refuse_delegated(config: &Config) -> Result<(), CommandError> {
    let publishers = config.text_list("Ipns.DelegatedPublishers").map_err(CommandError::from_error)?;
    Err(CommandError::new(if publishers.is_empty() {
        "no delegated publishers configured: add Ipns.DelegatedPublishers or use --allow-offline for local-only publishing"
    } else {
        "this version does not publish over HTTP yet: use --allow-offline to keep the record here"
    }))
}

/// How long a record is to be valid, and how long readers may keep it.
fn lifetime_and_ttl(call: &Call) -> Result<(Duration, Duration), CommandError> {
    let lifetime = match call.text_opt("lifetime") {
        None => LIFETIME_DEFAULT,
        Some(text) => {
            let parsed = GoDuration::parse(text);
            let parsed = parsed
                .map_err(|error| CommandError::new(format!("error parsing lifetime option: {error}")))?;
            parsed
                .to_std()
                .filter(|lifetime| !lifetime.is_zero())
                .ok_or_else(|| CommandError::new(format!("lifetime must be greater than zero, got {text}")))?
        }
    };
    let Some(text) = call.text_opt("ttl") else { return Ok((lifetime, TTL_DEFAULT.min(lifetime))) };
    let parsed = GoDuration::parse(text).map_err(CommandError::from_error)?;
    let ttl =
        parsed.to_std().ok_or_else(|| CommandError::new(format!("ttl must not be negative, got {text}")))?;
    if ttl > lifetime {
        let lifetime = go_duration(lifetime);
        return Err(CommandError::new(format!(
            "ttl ({parsed}) must not be greater than lifetime ({lifetime})"
        )));
    }
    Ok((lifetime, ttl))
}

fn go_duration(duration: Duration) -> GoDuration {
    GoDuration { nanos: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX) }
}

fn resolve() -> Command {
    Command::new("resolve", "Resolve IPNS names.")
        .help(
            "Prints the path that a name points at, with what follows the name behind it. Without a <name> it is the \
             node's own. Names are resolved with the records in the repo, and a daemon asks the network for others; IPFS_NS_MAP=<name>:<path>,... fixes others.",
        )
        .arg(Arg::text("name", "The IPNS name to resolve. Defaults to your node's peerID.").stdin())
        .opt(Opt::bool("recursive r", "Resolve until the result is not an IPNS name.").default(true))
        .opt(Opt::bool("nocache n", "Do not use cached entries."))
        .opt(Opt::uint("dht-record-count dhtrc", "Number of records to request for DHT resolution.").default(16_u64))
        .opt(
            Opt::string("dht-timeout dhtt", "Max time to collect values during DHT resolution, e.g. 30s.")
                .default("1m0s"),
        )
        .opt(Opt::bool("stream s", "Stream entries as they are found."))
        .run(run_resolve)
        .text(path_text)
}

async fn run_resolve(context: Context, request: Request) -> Result<Response, CommandError> {
    let search_time = dht_timeout(&request)?;
    let node = context.node().await?;
    let path = match request.args().first() {
        Some(name) => name_path(name)?,
        None => own_path(node)?,
    };
    let depth = if request.bool("recursive") { ResolveDepth::ToTheEnd } else { ResolveDepth::OneHop };
    let names = dht_record_count(&request, node.names().with_search_time(search_time));
    let resolution = if request.bool("nocache") {
        names.resolve_anew(&path, depth).await
    } else {
        names.resolve(&path, depth).await
    };
    let resolution = resolution.map_err(CommandError::from_error)?;
    let value = json!({ "Path": resolution.path.to_string() });
    Ok(if request.bool("stream") { Response::values(vec![value]) } else { Response::One(value) })
}

/// `--dht-timeout`: how long the record of a name is looked for; zero where nothing is said.
pub(super) fn dht_timeout(call: &Call) -> Result<Duration, CommandError> {
    let Some(text) = call.text_opt("dht-timeout") else { return Ok(Duration::ZERO) };
    let timeout = GoDuration::parse(text).map_err(CommandError::from_error)?;
    timeout.to_std().ok_or_else(|| CommandError::new("DHT timeout value must be >= 0"))
}

/// `--dht-record-count`: after how many records of a name the search ends.
pub(super) fn dht_record_count(call: &Call, names: Names) -> Names {
    match call.uint_opt("dht-record-count").map(usize::try_from) {
        Some(count) => names.with_search_records(count.unwrap_or(usize::MAX)),
        None => names,
    }
}

fn own_path(node: &Node) -> Result<ContentPath, CommandError> {
    let key = node.config().private_key().map_err(CommandError::from_error)?;
    ContentPath::parse(&format!("/ipns/{}", key.peer_id())).map_err(CommandError::from_error)
}

/// A name that a user wrote: bare, as a path or as a URI. Other paths are refused.
fn name_path(text: &str) -> Result<ContentPath, CommandError> {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    let path = match scheme.as_deref() {
        Some("ipfs" | "ipns" | "ipld") => ContentPath::parse_user(text),
        _ if text.starts_with('/') => ContentPath::parse(text),
        _ => ContentPath::parse(&format!("/ipns/{text}")),
    };
    let path = path.map_err(CommandError::from_error)?;
    match path.root() {
        PathRoot::Ipns(_) => Ok(path),
        PathRoot::Ipfs(_) | PathRoot::Ipld(_) => {
            Err(CommandError::new(format!("{} is not an IPNS name", go_quote(text))))
        }
    }
}

fn path_text(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    line(out, value.get("Path").and_then(Value::as_str).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_bare_as_paths_and_as_uris() {
        let path = |text: &str| name_path(text).map(|path| path.to_string()).map_err(|error| error.message);
        for text in ["example.com/a", "/ipns/example.com/a", "ipns://example.com/a", "IPNS:example.com/a"] {
            assert_eq!(path(text).unwrap(), "/ipns/example.com/a", "{text}");
        }
        assert_eq!(path("/ipfs/bafkqaaa").unwrap_err(), "\"/ipfs/bafkqaaa\" is not an IPNS name");
        assert_eq!(path("bafkqaaa").unwrap(), "/ipns/bafkqaaa", "a bare CID may be a key");
        assert!(path("/foo/bar").unwrap_err().contains("unknown namespace"));
    }
}
