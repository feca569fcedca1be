//! What is left of `object`.

use serde_json::{Value, json};

use super::Context;
use super::cid_text::CidText;
use super::paths;
use super::registry::{Arg, Call, Command, CommandError, Request, Response, Status};

/// The numbers of `object stat`, in the order in which they are printed.
const NUMBERS: [&str; 5] = ["NumLinks", "BlockSize", "LinksSize", "DataSize", "CumulativeSize"];

/// The group `object`, to which what Kubo removed is added.
pub(super) fn command() -> Command {
    Command::new("object", "Interact with IPFS objects in their old form.").status(Status::Deprecated)
}

/// `object stat`. Kubo removed it; it stays here because clients still ask it for sizes.
pub(super) fn stat() -> Command {
    Command::new("stat", "Get stats for a DAG node.")
        .arg(Arg::text("key", "Key of the object to retrieve.").required().stdin())
        .status(Status::Deprecated)
        .run(run)
        .text(text)
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let cids = CidText::of_call(&request)?;
    let path = paths::parse(request.arg(0))?;
    let node = context.node().await?;
    let cid = node.resolve_block(&path).await.map_err(CommandError::from_error)?;
    let stat = node.object_stat(&cid).await.map_err(CommandError::from_error)?;
    Ok(Response::One(json!({
        "Hash": cids.text(&stat.cid),
        "NumLinks": stat.links,
        "BlockSize": stat.block_size,
        "LinksSize": stat.links_size,
        "DataSize": stat.data_size,
        "CumulativeSize": stat.cumulative_size,
    })))
}

fn text(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    for name in NUMBERS {
        let number = value.get(name).and_then(Value::as_u64).unwrap_or_default();
        out.extend_from_slice(format!("{name}: {number}\n").as_bytes());
    }
    Ok(())
}
