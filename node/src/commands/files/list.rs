//! `files ls`.

use serde_json::{Value, json};

use super::super::Context;
use super::super::cid_text::CidText;
use super::super::registry::{Arg, Call, Command, CommandError, Opt, Request, Response};
use super::options::path;
use crate::services::files::FilesEntry;

/// How Kubo numbers what an entry is.
const FILE: u64 = 0;
const DIRECTORY: u64 = 1;

pub(super) fn ls() -> Command {
    Command::new("ls", "List directories in the local mutable namespace.")
        .help("Lists a directory of the tree; with -l name, CID and size of each entry. Directories end with a slash.")
        .arg(Arg::text("path", "Path to show listing for. Defaults to '/'."))
        .opt(Opt::bool("long l", "Use long listing format."))
        .opt(Opt::bool("U", "Do not sort; list entries in directory order."))
        .run(run)
        .text(text)
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let path = path(request.args().first().map_or("/", String::as_str))?;
    let cids = CidText::of_call(&request)?;
    let files = context.node().await?.files();
    let entries = files.ls(path, request.bool("long")).await.map_err(CommandError::from_error)?;
    let entries: Vec<Value> = entries.iter().map(|entry| value(entry, cids)).collect();
    let entries = if entries.is_empty() { Value::Null } else { Value::Array(entries) };
    Ok(Response::One(json!({ "Entries": entries })))
}

fn value(entry: &FilesEntry, cids: CidText) -> Value {
    json!({
        "Name": String::from_utf8_lossy(&entry.name),
        "Type": if entry.is_directory { DIRECTORY } else { FILE },
        "Size": entry.size,
        "Hash": entry.cid.map_or_else(String::new, |cid| cids.text(&cid)),
    })
}

fn text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let mut entries: Vec<&Value> = value
        .get("Entries")
        .and_then(Value::as_array)
        .map(|entries| entries.iter().collect())
        .unwrap_or_default();
    let name = |entry: &Value| entry.get("Name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !call.bool("U") {
        entries.sort_by_key(|entry| name(entry));
    }
    for entry in entries {
        let mut line = name(entry);
        if call.bool("long") {
            let number = |key: &str| entry.get(key).and_then(Value::as_u64).unwrap_or_default();
            let hash = entry.get("Hash").and_then(Value::as_str).unwrap_or_default();
            let slash = if number("Type") == DIRECTORY { "/" } else { "" };
            line = format!("{line}{slash}\t{hash}\t{}", number("Size"));
        }
        line.push('\n');
        out.extend_from_slice(line.as_bytes());
    }
    Ok(())
}
