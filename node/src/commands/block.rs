//! `block`.

use bytes::Bytes;
use futures_util::stream::{self, try_unfold};
use holdfast_dag::block::BLOCK_BYTES_MAX;
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::hash::HashKind;
use serde_json::{Value, json};

use super::cid_text::CidText;
use super::codecs;
use super::paths;
use super::registry::{Arg, Call, Command, CommandError, InputError, Opt, Request, Response};
use super::{Context, Terminal};
use crate::node::Node;
use crate::services::blocks::{BIG_BLOCK, BlockPutOptions};

/// Largest block that the store takes, for those who ask for it in spite of the limit of 2 MiB.
const BIG_BLOCK_BYTES_MAX: u64 = 8 << 20;

/// What is said in the end where a block was kept.
const NOT_REMOVED: &str = "some blocks not removed";

pub(super) fn command() -> Command {
    Command::new("block", "Interact with raw IPFS blocks.")
        .help("Reads and writes blocks as they are, without a look at what is in them.")
        .subcommand(
            Command::new("get", "Get a raw IPFS block.")
                .arg(Arg::text("cid", "The CID of an existing block to get.").required().stdin())
                .run(get),
        )
        .subcommand(put_command())
        .subcommand(
            Command::new("rm", "Remove IPFS blocks from the local datastore.")
                .help("Removes blocks by CID. Pinned blocks are kept, and named.")
                .arg(Arg::text("cid", "CIDs of blocks to remove.").required().variadic().stdin())
                .opt(Opt::bool("force f", "Ignore nonexistent blocks."))
                .opt(Opt::bool("quiet q", "Write minimal output."))
                .run(remove)
                .failure(|value| value.get("Error").map(|_| NOT_REMOVED.to_owned()))
                .terminal(|terminal, call, response| Box::pin(show_removed(terminal, call, response))),
        )
        .subcommand(
            Command::new("stat", "Print information of a raw IPFS block.")
                .arg(Arg::text("cid", "The CID of an existing block to stat.").required().stdin())
                .run(stat)
                .text(stat_text),
        )
}

fn put_command() -> Command {
    Command::new("put", "Store input as an IPFS block.")
        .help(
            "Stores each file as one block, and prints its CID. Blocks over 2 MiB cannot be exchanged with other \
             peers, and are refused unless --allow-big-block is given.",
        )
        .arg(Arg::file("data", "The data to be stored as an IPFS block.").required().variadic().stdin())
        .opt(Opt::string("cid-codec", "Multicodec to use in returned CID.").default("raw"))
        .opt(Opt::string("mhtype", "Multihash hash function. Default: Import.HashFunction."))
        .opt(Opt::int("mhlen", "Multihash hash length; -1 is the function's own.").default(-1))
        .opt(Opt::bool("pin", "Pin added blocks recursively.").default(false))
        .opt(Opt::bool("allow-big-block", "Disable block size check and allow creation of blocks bigger than 2MiB."))
        .opt(Opt::string("format f", "CID format: v0, protobuf, cbor or raw. Deprecated: use --cid-codec."))
        .run(put)
        .text(key_text)
}

async fn block_of(node: &Node, text: &str) -> Result<Cid, CommandError> {
    node.resolve_block(&paths::parse(text)?).await.map_err(CommandError::from_error)
}

async fn get(context: Context, request: Request) -> Result<Response, CommandError> {
    let node = context.node().await?;
    let cid = block_of(node, request.arg(0)).await?;
    let block = node.blocks().get(&cid).await.map_err(CommandError::from_error)?;
    Ok(Response::bytes(block, "application/vnd.ipld.raw"))
}

async fn stat(context: Context, request: Request) -> Result<Response, CommandError> {
    let cids = CidText::of_call(&request)?;
    let node = context.node().await?;
    let cid = block_of(node, request.arg(0)).await?;
    let stat = node.blocks().stat(&cid).await.map_err(CommandError::from_error)?;
    Ok(Response::One(json!({ "Key": cids.text(&stat.cid), "Size": stat.size })))
}

fn stat_text(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let key = value.get("Key").and_then(Value::as_str).unwrap_or_default();
    let size = value.get("Size").and_then(Value::as_u64).unwrap_or_default();
    out.extend_from_slice(format!("Key: {key}\nSize: {size}\n").as_bytes());
    Ok(())
}

fn key_text(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    out.extend_from_slice(value.get("Key").and_then(Value::as_str).unwrap_or_default().as_bytes());
    out.push(b'\n');
    Ok(())
}

async fn put(context: Context, mut request: Request) -> Result<Response, CommandError> {
    let cids = CidText::of_call(&request)?;
    let node = context.node().await?.clone();
    let options = put_options(&node, &request)?;
    let bytes_max = if options.allow_big { BIG_BLOCK_BYTES_MAX } else { BLOCK_BYTES_MAX as u64 };
    let state = (node, request.take_input(), false);
    let values = try_unfold(state, move |(node, mut input, any)| async move {
        let read = move || {
            let block = input.read_optional_file("data", bytes_max);
            (input, block)
        };
        let (input, block) = node.pool().operation(read).await.map_err(CommandError::from_error)?;
        let block = match block {
            Ok(Some(block)) => block,
            Ok(None) if any => return Ok(None),
            Ok(None) => return Err(InputError::Missing("data").into()),
            Err(InputError::TooLarge { .. }) if !options.allow_big => {
                return Err(CommandError::new(BIG_BLOCK));
            }
            Err(error) => return Err(error.into()),
        };
        let stat = node.blocks().put(Bytes::from(block), options).await.map_err(CommandError::from_error)?;
        let value = json!({ "Key": cids.text(&stat.cid), "Size": stat.size });
        Ok(Some((value, (node, input, true))))
    });
    Ok(Response::Stream(Box::pin(values)))
}

fn put_options(node: &Node, call: &Call) -> Result<BlockPutOptions, CommandError> {
    let config = node.config().import().map_err(CommandError::from_error)?;
    let hash_name =
        call.text_opt("mhtype").map(str::to_owned).filter(|name| !name.is_empty()).or(config.hash);
    let hash_name = hash_name.unwrap_or_else(|| "sha2-256".to_owned());
    let hash = HashKind::from_name(&hash_name)
        .ok_or_else(|| CommandError::new(format!("unrecognized multihash function: {hash_name}")))?;
    let mut options = BlockPutOptions {
        hash,
        digest_bytes: usize::try_from(call.int("mhlen")).ok(),
        pin: call.bool("pin"),
        allow_big: call.bool("allow-big-block"),
        ..BlockPutOptions::default()
    };
    let (format, codec) = (call.text("format"), call.text("cid-codec"));
    if !format.is_empty() && !matches!(codec, "" | "raw") {
        return Err(CommandError::new(
            "unable to use \"format\" (deprecated) and a custom \"cid-codec\" at the same time",
        ));
    }
    options.codec = match format {
        "" => codecs::by_name(codec)?,
        "v0" | "protobuf" => codec::DAG_PB,
        "cbor" => codec::DAG_CBOR,
        name => codecs::by_name(name)?,
    };
    options.v0 = format == "v0";
    if options.v0 && (hash != HashKind::Sha2_256 || !matches!(options.digest_bytes, None | Some(32))) {
        return Err(CommandError::new("only sha2-255-32 is allowed with CIDv0"));
    }
    Ok(options)
}

async fn remove(context: Context, request: Request) -> Result<Response, CommandError> {
    let text = CidText::of_call(&request)?;
    let node = context.node().await?;
    let mut cids = Vec::with_capacity(request.args().len());
    for arg in request.args() {
        cids.push(block_of(node, arg).await?);
    }
    let removed =
        node.blocks().remove(cids, request.bool("force")).await.map_err(CommandError::from_error)?;
    let quiet = request.bool("quiet");
    let values = removed.into_iter().filter_map(move |block| {
        let hash = text.text(&block.cid);
        match block.error {
            Some(error) => Some(Ok(json!({ "Hash": hash, "Error": error.to_string() }))),
            None if quiet => None,
            None => Some(Ok(json!({ "Hash": hash }))),
        }
    });
    Ok(Response::Stream(Box::pin(stream::iter(values))))
}

async fn show_removed(terminal: &mut Terminal, _call: &Call, response: Response) -> Result<(), CommandError> {
    let Response::Stream(mut values) = response else { return Ok(()) };
    let mut failed = false;
    while let Some(value) = terminal.next(&mut values).await? {
        let value = value?;
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let hash = text("Hash").unwrap_or_default();
        match text("Error") {
            Some(error) => {
                failed = true;
                terminal.complain(&format!("cannot remove {hash}: {error}"));
            }
            None => terminal.print(format!("removed {hash}\n"))?,
        }
    }
    if failed { Err(CommandError::new(NOT_REMOVED)) } else { Ok(()) }
}
