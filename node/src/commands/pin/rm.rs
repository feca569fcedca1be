//! `pin rm`.

use futures_util::stream;
use holdfast_blockstore::UnpinnedReport;
use serde_json::{Value, json};

use super::super::Context;
use super::super::cid_text::CidText;
use super::super::layout::human_bytes;
use super::super::registry::{Arg, Call, Command, CommandError, Opt, Request, Response};
use super::{pins_of, resolve};

pub(super) fn command() -> Command {
    Command::new("rm", "Remove object from pin-list.")
        .help(
            "Removes the pin from objects, recursive or direct; with -r=false direct ones only. The blocks stay until \
             garbage collection takes them.\n\nWith --gc the blocks that only these pins kept are removed at once: those of \
             any age that no other pin, 'files' or an operation in flight keeps. It takes time for what goes, not for what \
             is stored. Over RPC the answer then has 'Removed' beside 'Pins': Blocks and Bytes that went, Kept blocks that \
             something else keeps, and blocks that are Left to the next 'repo gc', because they are in use or have \
             very many ancestors. If a pin cannot be removed, those before it are, and nothing is collected.\n\n\
             What is pinned only through something else cannot be unpinned: \
             'pin ls -t indirect <cid>' names what keeps it.",
        )
        .arg(Arg::text("ipfs-path", "Path to object(s) to be unpinned.").required().variadic().stdin())
        .opt(
            Opt::bool("recursive r", "Recursively unpin the object linked to by the specified object(s).")
                .default(true),
        )
        .opt(Opt::bool("gc", "Remove at once what nothing else keeps, and say what went (not in Kubo)."))
        .run(run)
        .text(text)
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let cids = CidText::of_call(&request)?;
    let (node, recursive) = (context.node().await?, request.bool("recursive"));
    let (mut unpinned, mut names) = (Vec::new(), Vec::with_capacity(request.args().len()));
    for path in request.args() {
        let cid = resolve(node, path).await?;
        unpinned.push(node.pins().remove(cid, recursive).await.map_err(CommandError::from_error)?);
        names.push(cids.text(&cid));
    }
    if !request.bool("gc") {
        return Ok(Response::One(json!({ "Pins": names })));
    }
    let failed = |why: String| {
        let error = CommandError::new(format!("unpinned, but not collected: {why}"));
        // What was done is told all the same.
        let values = [Ok(json!({ "Pins": names })), Err(error)];
        Ok(Response::Stream(Box::pin(stream::iter(values))))
    };
    match node.pins().collect(&unpinned).await {
        Err(error) => failed(error.to_string()),
        Ok(UnpinnedReport { unprovable: Some(unprovable), .. }) => failed(unprovable.to_string()),
        Ok(report) => Ok(Response::One(json!({ "Pins": names, "Removed": removed_value(&report) }))),
    }
}

fn removed_value(report: &UnpinnedReport) -> Value {
    json!({
        "Blocks": report.removed_blocks,
        "Bytes": report.removed_bytes,
        "Kept": report.kept_blocks,
        "Left": report.left_blocks,
    })
}

fn text(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    for cid in pins_of(value) {
        out.extend_from_slice(format!("unpinned {cid}\n").as_bytes());
    }
    if let Some(removed) = value.get("Removed") {
        let number = |name: &str| removed.get(name).and_then(Value::as_u64).unwrap_or_default();
        let of = |name: &str, what: &str| match number(name) {
            0 => String::new(),
            blocks => format!(", {blocks} {what}"),
        };
        let line = format!(
            "removed {} blocks of {}{}{}\n",
            number("Blocks"),
            human_bytes(number("Bytes")),
            of("Kept", "are kept by something else"),
            of("Left", "are left to 'repo gc'"),
        );
        out.extend_from_slice(line.as_bytes());
    }
    Ok(())
}
