//! `repo gc`.

use futures_util::{StreamExt as _, stream};
use holdfast_blockstore::{GcOptions, GcReport};
use serde_json::{Value, json};

use super::layout::human_bytes;
use super::registry::{Call, Command, CommandError, Encoding, Opt, Request, Response};
use super::{Context, Terminal};
use crate::services::gc::{GcProgress, GcStep};

/// Errors that are told in one where they are not streamed.
const ERRORS_TOLD_MAX: usize = 20;

pub(super) fn command() -> Command {
    Command::new("gc", "Perform a garbage collection sweep on the repo.")
        .help(
            "Removes every block that is not pinned and not in 'files', and gives its space back. Everything else goes on \
             meanwhile.\n\nA pinned DAG that is broken is named, and does not stop the rest.",
        )
        .opt(Opt::bool("stream-errors", "Stream errors."))
        .opt(Opt::bool("quiet q", "Write minimal output."))
        .opt(Opt::bool("silent", "Write no output."))
        .opt(Opt::bool("dry-run", "Remove nothing: list what would be removed."))
        .opt(Opt::bool("report", "Say at the end what was done: blocks, bytes, longest wait of a writer."))
        .run(run)
        .text(text)
        .terminal(|terminal, call, response| Box::pin(show(terminal, call, response)))
}

/// What the values of a collection are made of.
struct Course {
    stream_errors: bool,
    silent: bool,
    report: bool,
    errors: Vec<String>,
    errors_untold: u64,
    unprovable: Option<String>,
}

impl Course {
    /// The values of a step; none for what only shows progress.
    fn values(&mut self, step: GcStep) -> Vec<Value> {
        match step {
            GcStep::Removed { cid } if !self.silent || self.stream_errors => {
                vec![json!({ "Key": { "/": cid.to_string() } })]
            }
            GcStep::Removed { .. } => Vec::new(),
            GcStep::Broken { cid, root, reason } => {
                self.error(&format!("could not retrieve links for {cid}: {reason} (under {root})"))
            }
            GcStep::Progress(progress) => vec![progress_value(progress)],
            GcStep::Done(report) => {
                let mut values = Vec::new();
                if let Some(unprovable) = &report.unprovable {
                    self.unprovable = Some(unprovable.to_string());
                    values = self.error(&unprovable.to_string());
                }
                if self.report {
                    values.push(json!({ "Key": null, "Report": report_value(&report) }));
                }
                values
            }
        }
    }

    fn error(&mut self, error: &str) -> Vec<Value> {
        if self.errors.len() >= ERRORS_TOLD_MAX {
            self.errors_untold += 1;
        } else {
            self.errors.push(error.to_owned());
        }
        if self.stream_errors { vec![json!({ "Key": null, "Error": error })] } else { Vec::new() }
    }

    /// How it ends.
    fn end(self) -> Result<(), CommandError> {
        if self.errors.is_empty() {
            return Ok(());
        }
        if self.stream_errors {
            return Err(CommandError::new("encountered errors during gc run"));
        }
        let mut errors = self.errors;
        if self.errors_untold > 0 {
            errors.push(format!("and {} more, which --stream-errors shows", self.errors_untold));
        }
        if self.unprovable.is_none() {
            errors.push("all else that is not pinned was collected".to_owned());
        }
        Err(CommandError::new(errors.join("; ")))
    }
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let node = context.node().await?;
    let options = GcOptions { dry_run: request.bool("dry-run"), ..GcOptions::default() };
    let course = Course {
        stream_errors: request.bool("stream-errors"),
        silent: request.bool("silent"),
        report: request.bool("report"),
        errors: Vec::new(),
        errors_untold: 0,
        unprovable: None,
    };
    // Progress is for who sits at the terminal: clients of Kubo know no such values.
    let progress = context.is_at_terminal() && !wants_json(&request)?;
    let steps = node.repo_gc(options).map(Some).chain(stream::once(std::future::ready(None)));
    let values = steps.scan(Some(course), move |course, step| {
        let values = match step {
            Some(Ok(GcStep::Progress(_))) if !progress => Vec::new(),
            Some(Ok(step)) => course
                .as_mut()
                .map_or_else(Vec::new, |course| course.values(step))
                .into_iter()
                .map(Ok)
                .collect(),
            Some(Err(error)) => {
                *course = None;
                vec![Err(CommandError::from_error(error))]
            }
            None => course.take().and_then(|course| course.end().err()).map(Err).into_iter().collect(),
        };
        std::future::ready(Some(stream::iter(values)))
    });
    Ok(Response::Stream(Box::pin(values.flatten())))
}

fn wants_json(call: &Call) -> Result<bool, CommandError> {
    Ok(call.json_lines() || call.encoding()? == Some(Encoding::Json))
}

fn progress_value(progress: GcProgress) -> Value {
    let text = match progress {
        GcProgress::Marking(blocks) => format!("marking: {blocks} blocks are kept"),
        GcProgress::Sweeping(blocks, of) => format!("sweeping: {blocks} of {of} blocks looked at"),
        GcProgress::Compacting(disk, live) => {
            format!("compacting: {} on disk for {}", human_bytes(disk), human_bytes(live))
        }
    };
    json!({ "Progress": text })
}

fn report_value(report: &GcReport) -> Value {
    json!({
        "RemovedBlocks": report.removed_blocks,
        "RemovedBytes": report.removed_bytes,
        "KeptBlocks": report.reached_blocks,
        "InUseBlocks": report.in_use_blocks,
        "DeferredBlocks": report.deferred_blocks,
        "BrokenBlocks": report.broken_blocks,
        "RewrittenBytes": report.compaction.rewritten_bytes,
        "FreedByRewritingBytes": report.compaction.freed_bytes,
        "SegmentBytes": report.compaction.disk_bytes,
        "LiveBytes": report.compaction.live_bytes,
        "LongestHoldMicroseconds": report.longest_hold.as_micros() as u64,
        "MarkMemoryBytes": report.mark_memory_bytes,
    })
}

fn text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let line = if call.bool("silent") {
        return Ok(());
    } else if let Some(error) = value.get("Error").and_then(Value::as_str) {
        format!("Error: {error}\n")
    } else if let Some(report) = value.get("Report") {
        report_text(call, report)
    } else if let Some(cid) = value.get("Key").and_then(|key| key.get("/")).and_then(Value::as_str) {
        match (call.bool("quiet"), call.bool("dry-run")) {
            (true, _) => format!("{cid}\n"),
            (false, true) => format!("would remove {cid}\n"),
            (false, false) => format!("removed {cid}\n"),
        }
    } else {
        return Ok(());
    };
    out.extend_from_slice(line.as_bytes());
    Ok(())
}

fn report_text(call: &Call, report: &Value) -> String {
    let number = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or_default();
    let bytes = |name: &str| human_bytes(number(name));
    let done = if call.bool("dry-run") { "would be removed" } else { "removed" };
    format!(
        "{} blocks of {} {done}, {} kept; {} rewritten to free {}, {} on disk for {} live; writers waited {} us at most\n",
        number("RemovedBlocks"),
        bytes("RemovedBytes"),
        number("KeptBlocks"),
        bytes("RewrittenBytes"),
        bytes("FreedByRewritingBytes"),
        bytes("SegmentBytes"),
        bytes("LiveBytes"),
        number("LongestHoldMicroseconds"),
    )
}

/// The text form with a line of progress below it.
async fn show(terminal: &mut Terminal, call: &Call, response: Response) -> Result<(), CommandError> {
    let Response::Stream(mut values) = response else { return Ok(()) };
    let json = wants_json(call)?;
    let mut status = terminal.status();
    let mut out = Vec::new();
    while let Some(value) = terminal.next(&mut values).await? {
        let value = match value {
            Ok(value) => value,
            Err(error) => {
                status.clear();
                return Err(error);
            }
        };
        if let Some(progress) = value.get("Progress").and_then(Value::as_str) {
            status.set(progress);
            continue;
        }
        if json {
            serde_json::to_writer(&mut out, &value).map_err(CommandError::from_error)?;
            out.push(b'\n');
        } else {
            text(call, &value, &mut out)?;
        }
        if !out.is_empty() && terminal.out_is_terminal {
            status.clear();
        }
        terminal.print(&out)?;
        out.clear();
    }
    status.clear();
    Ok(())
}
