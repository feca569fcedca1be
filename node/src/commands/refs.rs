//! `refs` and `resolve`.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use holdfast_dag::cid::Cid;
use holdfast_dag::path::PathRoot;
use holdfast_dag::read::{Ref, RefsOptions};
use serde_json::{Value, json};

use super::cid_text::CidText;
use super::paths;
use super::registry::{Arg, Call, Command, CommandError, Opt, Request, Response};
use super::{Context, words_in};
use crate::services::names::ResolveDepth;

/// What an edge looks like.
const EDGE_FORMAT: &str = "<src> -> <dst>";
/// What a link looks like where nothing else is said.
const FORMAT_DEFAULT: &str = "<dst>";

pub(super) fn refs() -> Command {
    Command::new("refs", "List links (references) from an object.")
        .help(
            "Lists the CIDs of all links that objects hold, one a line; with -r, of all objects below them too.\n\n\
             --format takes any text with <src>, <dst> and <linkname> in it.",
        )
        .arg(Arg::text("ipfs-path", "Path to the objects to list refs from.").required().variadic().stdin())
        .opt(
            Opt::string("format", "Emit edges with given format. Tokens: <src> <dst> <linkname>.")
                .default(FORMAT_DEFAULT),
        )
        .opt(Opt::bool("edges e", "Emit edge format: <from> -> <to>."))
        .opt(Opt::bool("unique u", "Omit duplicate refs from output."))
        .opt(Opt::bool("recursive r", "Recursively list links of child nodes."))
        .opt(
            Opt::int("max-depth", "Only for recursive refs, limits fetch and listing to the given depth.")
                .default(-1),
        )
        .run(run)
        .text(line)
        .failure(|value| words_in(value, "Err"))
        .late(failed)
        .subcommand(local("local"))
}

/// `refs local`, and `repo ls`.
pub(super) fn local(name: &'static str) -> Command {
    Command::new(name, "List all local references.")
        .help("Lists the CID (version 1, codec raw) of every block in the repository.")
        .run(run_local)
        .text(line)
}

pub(super) fn resolve() -> Command {
    Command::new("resolve", "Resolve the value of names to IPFS.")
        .help("Prints the path that a path leads to: what its links, or a name, point at in the end.")
        .arg(Arg::text("name", "The name to resolve.").required().stdin())
        .opt(Opt::bool("recursive r", "Resolve until the result is an IPFS name.").default(true))
        .opt(Opt::uint("dht-record-count dhtrc", "Number of records to request for DHT resolution."))
        .opt(Opt::string("dht-timeout dhtt", "Max time to collect values during DHT resolution, e.g. 30s."))
        .run(run_resolve)
        .text(path_text)
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let cids = CidText::of_call(&request)?;
    let format = match (request.bool("edges"), request.text("format")) {
        (true, FORMAT_DEFAULT) => EDGE_FORMAT.to_owned(),
        (true, _) => return Err(CommandError::new("using format argument with edges is not allowed")),
        (false, format) => format.to_owned(),
    };
    let options = RefsOptions {
        recursive: request.bool("recursive"),
        unique: request.bool("unique"),
        max_depth: u64::try_from(request.int("max-depth")).ok(),
        ..RefsOptions::default()
    };
    let node = context.node().await?;
    let mut roots: Vec<Cid> = Vec::new();
    for path in paths::parse_all(request.args())? {
        roots.push(node.resolve_block(&path).await.map_err(CommandError::from_error)?);
    }
    let refs = node.refs(roots, options).map(move |found| match found {
        Ok(found) => json!({ "Ref": formatted(&format, &found, cids), "Err": "" }),
        Err(error) => failed(&CommandError::from_error(error)),
    });
    Ok(Response::Stream(Box::pin(refs.map(Ok))))
}

/// As Kubo has it, a failure is a value.
fn failed(error: &CommandError) -> Value {
    json!({ "Ref": "", "Err": error.to_string() })
}

fn formatted(format: &str, found: &Ref, cids: CidText) -> String {
    if format == FORMAT_DEFAULT {
        return cids.text(&found.dst);
    }
    format
        .replace("<src>", &cids.text(&found.src))
        .replace("<dst>", &cids.text(&found.dst))
        .replace("<linkname>", &String::from_utf8_lossy(&found.link_name))
}

async fn run_local(context: Context, request: Request) -> Result<Response, CommandError> {
    let cids = CidText::of_call(&request)?;
    let steps = context.node().await?.local_refs().map_err(CommandError::from_error);
    let values = steps.map_ok(move |step| {
        stream::iter(step.into_iter().map(move |cid| Ok(json!({ "Ref": cids.text(&cid), "Err": "" }))))
    });
    Ok(Response::Stream(Box::pin(values.try_flatten())))
}

fn line(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    if !text("Err").is_empty() {
        return Err(CommandError::new(text("Err")));
    }
    out.extend_from_slice(text("Ref").as_bytes());
    out.push(b'\n');
    Ok(())
}

async fn run_resolve(context: Context, request: Request) -> Result<Response, CommandError> {
    let search_time = super::name::dht_timeout(&request)?;
    let path = paths::parse(request.arg(0))?;
    let cids = CidText::of_path(&request, request.arg(0))?;
    let node = context.node().await?;
    let depth = if request.bool("recursive") { ResolveDepth::ToTheEnd } else { ResolveDepth::OneHop };
    let named = matches!(path.root(), PathRoot::Ipns(_));
    let path = super::name::dht_record_count(&request, node.names().with_search_time(search_time))
        .resolve(&path, depth)
        .await
        .map_err(CommandError::from_error)?
        .path;
    if named && depth == ResolveDepth::OneHop {
        return Ok(Response::One(json!({ "Path": path.to_string() })));
    }
    let resolved = node.resolve(&path).await.map_err(CommandError::from_error)?;
    let namespace = if matches!(path.root(), PathRoot::Ipld(_)) { "ipld" } else { "ipfs" };
    let mut text = format!("/{namespace}/{}", cids.text(&resolved.cid));
    for segment in &resolved.remainder {
        text.push('/');
        text.push_str(segment);
    }
    Ok(Response::One(json!({ "Path": text })))
}

fn path_text(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    out.extend_from_slice(value.get("Path").and_then(Value::as_str).unwrap_or_default().as_bytes());
    out.push(b'\n');
    Ok(())
}
