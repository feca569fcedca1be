//! `dag import` and `dag export`: DAGs as CAR files.

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use super::cid_text::CidText;
use super::fast_provide::{self, Fast};
use super::registry::{
    Arg, ByteStream, Call, Command, CommandError, Encoding, Input, InputError, Opt, Request, Response, quote,
};
use super::{Context, Terminal, paths};
use crate::provide::Content;
use crate::services::dag::{ExportOptions, ImportEvent, ImportOptions};

pub(super) fn export() -> Command {
    Command::new("export", "Stream the selected DAG as a CAR file.")
        .help("Writes every block of the DAG below <root>, each once, to standard output as a CARv1.")
        .arg(Arg::text("root", "CID of a root to recursively export.").required())
        .opt(Opt::bool("progress p", "Show progress where a person sees it.").default(true))
        .opt(Opt::bool("local-only", "Leave out what is not stored here instead of failing."))
        .run(run_export)
}

pub(super) fn import() -> Command {
    Command::new("import", "Import the contents of CAR files.")
        .help(
            "Stores the blocks of CAR files (version 1 and 2), each checked against its CID, and pins the roots that \
             their headers name, once their DAGs are complete.",
        )
        .arg(Arg::file("path", "The path of a .car file.").required().variadic().stdin())
        .opt(Opt::bool("pin-roots", "Pin the roots that are listed in the header.").default(true))
        .opt(Opt::bool("local-only", "Accept DAGs that are not complete here. Implies --pin-roots=false."))
        .opt(Opt::bool("silent", "No output."))
        .opt(Opt::bool("stats", "Output stats."))
        .opts(fast_provide::options())
        .opt(Opt::bool("allow-big-block", "Disable block size check and allow creation of blocks bigger than 2MiB."))
        .opt(Opt::bool("progress", "Tell how many bytes were read.").hidden())
        .run(run_import)
        .fails_loudly()
        .text(import_text)
        .pre_run(before)
        .terminal(|terminal, call, response| Box::pin(show(terminal, call, response)))
}

async fn run_export(context: Context, request: Request) -> Result<Response, CommandError> {
    let path = paths::parse(request.arg(0))?;
    let node = context.node().await?;
    let root = node.resolve_block(&path).await.map_err(CommandError::from_error)?;
    let options = ExportOptions { local_only: request.bool("local-only") };
    let archive = node.dag().export(&root, options).await.map_err(CommandError::from_error)?;
    Ok(Response::Bytes(ByteStream {
        stream: Box::pin(archive.map_err(CommandError::from_error)),
        length: None,
        content_type: "application/vnd.ipld.car",
    }))
}

/// A person at the terminal sees progress.
fn before(call: &mut Call, terminal: &Terminal) -> Result<(), CommandError> {
    if !call.is_given("progress") && terminal.err_is_terminal && call.encoding()?.is_none() {
        call.set("progress", true);
    }
    Ok(())
}

async fn run_import(context: Context, mut request: Request) -> Result<Response, CommandError> {
    let cids = CidText::of_call(&request)?;
    let local_only = request.bool("local-only");
    if local_only && request.is_given("pin-roots") && request.bool("pin-roots") {
        return Err(CommandError::new(
            "--local-only implies --pin-roots=false and cannot be combined with --pin-roots=true; please drop one of them",
        ));
    }
    let options = ImportOptions {
        pin_roots: request.bool("pin-roots") && !local_only,
        stats: request.bool("stats"),
        allow_big: request.bool("allow-big-block"),
        progress: request.bool("progress"),
    };
    let archives = Archives { input: request.take_input(), any: false };
    let node = context.node().await?;
    let content = Content { pinned: options.pin_roots, in_files: false };
    let fast = Fast::of_call(node, &request, content)?;
    let events = node.dag().import(archives, options);
    Ok(Response::Stream(fast.after(events, move |event, roots| match event {
        ImportEvent::Progress { bytes } => Some(json!({ "Progress": bytes })),
        ImportEvent::Root { cid, error } => {
            roots.extend(error.is_none().then_some(cid));
            let error = error.unwrap_or_default();
            Some(json!({ "Root": { "Cid": cids.link(&cid), "PinErrorMsg": error } }))
        }
        ImportEvent::Unpinned { cid } => {
            roots.push(cid);
            None
        }
        ImportEvent::Stats { blocks, bytes } => {
            Some(json!({ "Stats": { "BlockCount": blocks, "BlockBytesCount": bytes } }))
        }
    })))
}

/// The files of a call, one after the other; at least one.
struct Archives {
    input: Input,
    any: bool,
}

impl Iterator for Archives {
    type Item = std::io::Result<Box<dyn std::io::Read + Send>>;

    fn next(&mut self) -> Option<Self::Item> {
        let missing = !std::mem::replace(&mut self.any, true);
        match self.input.next_file() {
            Ok(Some(file)) => Some(Ok(file)),
            Ok(None) if missing => Some(Err(std::io::Error::other(InputError::Missing("path")))),
            Ok(None) => None,
            Err(error) => Some(Err(std::io::Error::other(error))),
        }
    }
}

fn import_text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    if call.bool("silent") {
        return Ok(());
    }
    if let Some(root) = value.get("Root") {
        let cid = root.pointer("/Cid/~1").and_then(Value::as_str).unwrap_or_default();
        let error = root.get("PinErrorMsg").and_then(Value::as_str).unwrap_or_default();
        if !error.is_empty() {
            return Err(CommandError::new(format!("pinning root {} FAILED: {error}", quote(cid))));
        }
        out.extend_from_slice(format!("Pinned root\t{cid}\tsuccess\n").as_bytes());
    }
    if let Some(stats) = value.get("Stats").filter(|stats| !stats.is_null()) {
        let number = |name: &str| stats.get(name).and_then(Value::as_u64).unwrap_or_default();
        let line =
            format!("Imported {} blocks ({} bytes)\n", number("BlockCount"), number("BlockBytesCount"));
        out.extend_from_slice(line.as_bytes());
    }
    Ok(())
}

/// The text form, or lines of JSON, with a line of progress below.
async fn show(terminal: &mut Terminal, call: &Call, response: Response) -> Result<(), CommandError> {
    let Response::Stream(mut values) = response else { return Ok(()) };
    let as_json = call.encoding()? == Some(Encoding::Json);
    let (mut progress, mut out) = (terminal.progress("importing", None), Vec::new());
    while let Some(value) = terminal.next(&mut values).await? {
        let value = value?;
        if let Some(bytes) = value.get("Progress").and_then(Value::as_u64).filter(|_| !as_json) {
            progress.set_total(terminal.upload.get());
            progress.set_bytes(bytes);
            continue;
        }
        progress.clear();
        if as_json {
            out.extend_from_slice(value.to_string().as_bytes());
            out.push(b'\n');
        } else {
            import_text(call, &value, &mut out)?;
        }
        terminal.print(&out)?;
        out.clear();
    }
    Ok(())
}
