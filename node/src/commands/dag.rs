//! `dag`: single objects, and what a DAG is made of. Archives are in [`super::dag_car`].

use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::stream::try_unfold;
use holdfast_dag::block::BLOCK_BYTES_MAX;
use holdfast_dag::hash::HashKind;
use holdfast_dag::ipld::codec_by_name;
use serde_json::{Map, Value, json};

use super::cid_text::CidText;
use super::layout::human_bytes;
use super::registry::{
    Arg, Call, Command, CommandError, InputError, Opt, Request, Response, TextForm, quote,
};
use super::{Context, Terminal, codecs, dag_car, paths};
use crate::node::Node;
use crate::services::blocks::BIG_BLOCK;
use crate::services::dag::{DagPutOptions, DagStats};

/// Most bytes of an object that is put: text forms are longer than the block that is made of them.
const INPUT_BYTES_MAX: u64 = 8 * BLOCK_BYTES_MAX as u64;

pub(super) fn command() -> Command {
    Command::new("dag", "Interact with IPLD DAG objects.")
        .subcommand(dag_car::export())
        .subcommand(
            Command::new("get", "Get a DAG node from IPFS.")
                .arg(Arg::text("ref", "The object to get.").required().stdin())
                .opt(
                    Opt::string("output-codec", "Format that the object will be encoded as.")
                        .default("dag-json"),
                )
                .run(get),
        )
        .subcommand(dag_car::import())
        .subcommand(put_command())
        .subcommand(
            Command::new("resolve", "Resolve IPLD block.")
                .help(
                    "Prints the CID that a path leads to, and what is left of the path inside of that block.",
                )
                .arg(Arg::text("ref", "The path to resolve.").required().stdin())
                .run(resolve)
                .text(resolve_text),
        )
        .subcommand(
            Command::new("stat", "Get stats for a DAG.")
                .help("Counts the blocks and bytes of DAGs, and what they share.")
                .arg(
                    Arg::text("root", "CID of a DAG root to get statistics for.")
                        .required()
                        .variadic()
                        .stdin(),
                )
                .opt(Opt::bool("progress p", "Give what is counted so far, too.").default(true))
                .run(stat)
                .text_with(|_| StatText { last: Value::Null })
                .pre_run(before_stat),
        )
}

fn put_command() -> Command {
    Command::new("put", "Add a DAG node to IPFS.")
        .arg(Arg::file("object data", "The object to put.").required().variadic().stdin())
        .opt(
            Opt::string("store-codec", "Codec that the stored object will be encoded with.")
                .default("dag-cbor"),
        )
        .opt(Opt::string("input-codec", "Codec that the input object is encoded in.").default("dag-json"))
        .opt(Opt::bool("pin", "Pin this object when adding."))
        .opt(Opt::string("hash", "Hash function to use. Default: Import.HashFunction."))
        .opt(Opt::bool(
            "allow-big-block",
            "Disable block size check and allow creation of blocks bigger than 2MiB.",
        ))
        .run(put)
        .text(cid_line)
}

async fn get(context: Context, request: Request) -> Result<Response, CommandError> {
    let codec = codecs::by_name(request.text("output-codec"))?;
    let path = paths::parse(request.arg(0))?;
    let value = context.node().await?.dag().get(&path, codec).await.map_err(CommandError::from_error)?;
    Ok(Response::bytes(value, "text/plain"))
}

async fn put(context: Context, mut request: Request) -> Result<Response, CommandError> {
    let cids = CidText::of_call(&request)?;
    let node = context.node().await?.clone();
    let options = put_options(&node, &request)?;
    let state = (node, request.take_input(), false);
    let values = try_unfold(state, move |(node, mut input, any)| async move {
        let read = move || {
            let object = input.read_optional_file("object data", INPUT_BYTES_MAX);
            (input, object)
        };
        let (input, object) = node.pool().operation(read).await.map_err(CommandError::from_error)?;
        let object = match object {
            Ok(Some(object)) => object,
            Ok(None) if any => return Ok(None),
            Ok(None) => return Err(InputError::Missing("object data").into()),
            Err(InputError::TooLarge { .. }) if !options.allow_big => {
                return Err(CommandError::new(BIG_BLOCK));
            }
            Err(error) => return Err(error.into()),
        };
        let cid = node.dag().put(Bytes::from(object), options).await.map_err(CommandError::from_error)?;
        Ok(Some((json!({ "Cid": cids.link(&cid) }), (node, input, true))))
    });
    Ok(Response::Stream(Box::pin(values)))
}

fn put_options(node: &Node, call: &Call) -> Result<DagPutOptions, CommandError> {
    let config = node.config().import().map_err(CommandError::from_error)?;
    let hash_name = call.text_opt("hash").map(str::to_owned).filter(|name| !name.is_empty()).or(config.hash);
    let hash_name = hash_name.unwrap_or_else(|| "sha2-256".to_owned());
    let hash = HashKind::from_name(&hash_name).ok_or_else(|| {
        CommandError::new(match codec_by_name(&hash_name) {
            None => format!("unknown multicodec: {}", quote(&hash_name)),
            Some(_) => format!("unrecognized hash function: {}", quote(&hash_name)),
        })
    })?;
    Ok(DagPutOptions {
        input_codec: codecs::by_name(call.text("input-codec"))?,
        store_codec: codecs::by_name(call.text("store-codec"))?,
        hash,
        pin: call.bool("pin"),
        allow_big: call.bool("allow-big-block"),
    })
}

/// The text of the link in a value's field `Cid`.
fn cid_of(value: &Value) -> &str {
    value.pointer("/Cid/~1").and_then(Value::as_str).unwrap_or_default()
}

fn cid_line(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    out.extend_from_slice(cid_of(value).as_bytes());
    out.push(b'\n');
    Ok(())
}

async fn resolve(context: Context, request: Request) -> Result<Response, CommandError> {
    let path = paths::parse(request.arg(0))?;
    let resolved = context.node().await?.resolve(&path).await.map_err(CommandError::from_error)?;
    let cid = json!({ "/": resolved.cid.to_string() });
    Ok(Response::One(json!({ "Cid": cid, "RemPath": resolved.remainder.join("/") })))
}

/// Without a line end, and in the base of the path, as Kubo prints it.
fn resolve_text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let cids = CidText::of_path(call, call.arg(0))?;
    out.extend_from_slice(cids.again(cid_of(value)).as_bytes());
    let rest = value.get("RemPath").and_then(Value::as_str).unwrap_or_default();
    if !rest.is_empty() {
        out.push(b'/');
        out.extend_from_slice(rest.as_bytes());
    }
    Ok(())
}

/// At the terminal the last count is enough: it is made from the index, and soon there.
fn before_stat(call: &mut Call, _terminal: &Terminal) -> Result<(), CommandError> {
    call.set("progress", false);
    Ok(())
}

async fn stat(context: Context, request: Request) -> Result<Response, CommandError> {
    let node = context.node().await?;
    let mut roots = Vec::with_capacity(request.args().len());
    for path in paths::parse_all(request.args())? {
        roots.push(node.resolve_block(&path).await.map_err(CommandError::from_error)?);
    }
    let (cids, count) = (CidText::of_call(&request)?, roots.len());
    let progress = request.bool("progress");
    let mut last = None;
    if !progress {
        let mut counts = node.dag().stat(roots);
        while let Some(stats) = counts.try_next().await.map_err(CommandError::from_error)? {
            last = Some(stats);
        }
        return Ok(Response::values(last.iter().map(|stats| stats_value(stats, true, cids)).collect()));
    }
    let counts = node.dag().stat(roots).map_err(CommandError::from_error);
    Ok(Response::Stream(Box::pin(counts.map_ok(move |stats| {
        let is_final = stats.dags.len() == count && stats.is_final;
        stats_value(&stats, is_final, cids)
    }))))
}

/// Counts as Kubo tells them: what is 0 is left out, and only the last value has a ratio.
fn stats_value(stats: &DagStats, is_final: bool, cids: CidText) -> Value {
    let mut value = Map::new();
    let put = |map: &mut Map<String, Value>, name: &str, number: u64| {
        if number > 0 {
            map.insert(name.to_owned(), number.into());
        }
    };
    if is_final {
        put(&mut value, "UniqueBlocks", stats.unique_blocks);
        put(&mut value, "TotalSize", stats.total_size);
        put(&mut value, "SharedSize", stats.shared_size);
        value.insert("Ratio".to_owned(), stats.ratio().into());
    }
    let dags = stats.dags.iter().map(|dag| {
        let mut value = Map::new();
        value.insert("Cid".to_owned(), cids.text(&dag.cid).into());
        put(&mut value, "Size", dag.size);
        put(&mut value, "NumBlocks", dag.blocks);
        Value::Object(value)
    });
    value.insert("DagStats".to_owned(), dags.collect());
    Value::Object(value)
}

/// The table of the last value.
struct StatText {
    last: Value,
}

impl TextForm for StatText {
    fn value(&mut self, _call: &Call, value: &Value, _out: &mut Vec<u8>) -> Result<(), CommandError> {
        self.last = value.clone();
        Ok(())
    }

    fn end(&mut self, _call: &Call, out: &mut Vec<u8>) -> Result<(), CommandError> {
        let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64).unwrap_or_default();
        let text = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let dags = self.last.get("DagStats").and_then(Value::as_array).cloned().unwrap_or_default();
        let width = dags.first().map_or(0, |dag| text(dag, "Cid").len());
        let mut lines = format!("\n{:width$}\t{:15}\tSize\n", "CID", "Blocks");
        for dag in &dags {
            let (blocks, size) = (number(dag, "NumBlocks"), number(dag, "Size"));
            let _ = writeln!(lines, "{}\t{blocks:<15}\t{size}", text(dag, "Cid"));
        }
        let (total, shared) = (number(&self.last, "TotalSize"), number(&self.last, "SharedSize"));
        let ratio = self.last.get("Ratio").and_then(Value::as_f64).unwrap_or_default();
        let _ = write!(
            lines,
            "\nSummary\nTotal Size: {total} ({})\nUnique Blocks: {}\nShared Size: {shared} ({})\nRatio: {ratio:.6}\n\n\n",
            human_bytes(total),
            number(&self.last, "UniqueBlocks"),
            human_bytes(shared),
        );
        out.extend_from_slice(lines.as_bytes());
        Ok(())
    }
}
