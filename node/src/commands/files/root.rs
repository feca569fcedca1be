//! `files flush` and `files chroot`.

use holdfast_dag::cid::{Cid, parse_cid};
use serde_json::{Value, json};

use super::super::Context;
use super::super::cid_text::CidText;
use super::super::registry::{Arg, Call, Command, CommandError, Opt, Request, Response, Status};
use crate::go_text::go_quote;
use crate::services::files::MfsPath;

pub(super) fn flush() -> Command {
    Command::new("flush", "Flush a given path's data to disk.")
        .help("Makes durable what was changed with --flush=false, and prints the CID of the path.")
        .arg(Arg::text("path", "Path to flush. Default: '/'."))
        .run(run_flush)
}

async fn run_flush(context: Context, request: Request) -> Result<Response, CommandError> {
    let cids = CidText::of_call(&request)?;
    let files = context.node().await?.files();
    let path = MfsPath::clean(request.args().first().map_or("/", String::as_str));
    let cid = files.flush(path).await.map_err(CommandError::from_error)?;
    Ok(Response::One(json!({ "Cid": cids.text(&cid) })))
}

pub(super) fn chroot() -> Command {
    Command::new("chroot", "Change the MFS root CID.")
        .help(
            "Replaces the whole tree by a directory that is here, or by an empty one. What was in the tree before is \
             collected unless it is pinned: pin the old root first to keep it.",
        )
        .status(Status::Experimental)
        .arg(Arg::text("cid", "New root CID (defaults to empty directory if not specified)."))
        .opt(Opt::bool("confirm", "Confirm this potentially destructive operation."))
        .terminal_only()
        .run(run_chroot)
        .text(chroot_text)
}

async fn run_chroot(context: Context, request: Request) -> Result<Response, CommandError> {
    if !request.bool("confirm") {
        return Err(CommandError::new(
            "this is a potentially destructive operation; pass --confirm to proceed",
        ));
    }
    let cids = CidText::of_call(&request)?;
    let given = request.args().first();
    let root: Option<Cid> = given.map(|text| new_root(text)).transpose()?;
    let files = context.node().await?.files();
    let changed = files.replace_root(root).await.map_err(CommandError::from_error)?;
    let new = cids.text(&changed.new);
    let message = match changed.old.map(|old| cids.text(&old)) {
        Some(old) => format!(
            "MFS root changed from {old} to {new}\nThe old root {old} will be garbage collected unless pinned.\n"
        ),
        None => format!("MFS root set to {new}\n"),
    };
    Ok(Response::One(json!({ "Message": message })))
}

fn new_root(text: &str) -> Result<Cid, CommandError> {
    let cid = text.strip_prefix("/ipfs/").unwrap_or(text);
    parse_cid(cid).map_err(|error| CommandError::new(format!("invalid CID {}: {error}", go_quote(text))))
}

fn chroot_text(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    out.extend_from_slice(value.get("Message").and_then(Value::as_str).unwrap_or_default().as_bytes());
    Ok(())
}
