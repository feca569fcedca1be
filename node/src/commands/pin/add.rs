//! `pin add`.

use std::fmt::Write as _;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};

use super::super::calls::wait_value;
use super::super::cid_text::CidText;
use super::super::fast_provide::{self, Fast};
use super::super::layout::human_bytes;
use super::super::registry::{Arg, Call, Command, CommandError, Encoding, Opt, Request, Response};
use super::super::{Context, Terminal};
use super::{PINNED, check_name, pins_of, resolve};
use crate::fetch::Wait;
use crate::node::Node;
use crate::services::pins::{PinOptions, PinProgress};

/// How often progress is told.
const REPORT_EVERY: Duration = Duration::from_millis(500);

pub(super) fn command() -> Command {
    Command::new("add", "Pin objects to local storage.")
        .help(
            "Keeps objects from garbage collection: with everything below them, or with -r=false the one block. A pin \
             is made once all of it is here and safely on disk.\n\nPinning again gives the pin the new name, also if \
             that is none. A direct pin becomes recursive; a recursive one does not become direct.\n\nWhat is missing is \
             fetched from other nodes. --progress says how much has come, how much is known to be missing, which block is \
             waited for, and who was asked for it.",
        )
        .arg(Arg::text("ipfs-path", "Path to object(s) to be pinned.").required().variadic().stdin())
        .opt(
            Opt::bool("recursive r", "Recursively pin the object linked to by the specified object(s).")
                .default(true),
        )
        .opt(Opt::string("name n", "An optional name for created pin(s)."))
        .opt(Opt::bool("progress", "Show progress."))
        .opts(fast_provide::options())
        .run(run)
        .fails_loudly()
        .text(text)
        .terminal(|terminal, call, response| Box::pin(show(terminal, call, response)))
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let cids = CidText::of_call(&request)?;
    let show_progress = request.bool("progress");
    let options = PinOptions {
        recursive: request.bool("recursive"),
        name: request.text("name").to_owned(),
        // Progress is told of all that is pinned, as in Kubo.
        every_block: show_progress,
    };
    check_name(&options.name)?;
    let node = context.node().await?.clone();
    let fast = Fast::of_call(&node, &request, PINNED)?;
    if !show_progress {
        let pins = add_all(&node, request.args(), &options, cids, &PinProgress::default(), &fast).await?;
        return Ok(Response::One(json!({ "Pins": pins })));
    }
    let (values, mut told) = mpsc::channel::<Value>(4);
    let paths = request.args().to_vec();
    let work = async move {
        let progress = PinProgress::default();
        let mut adding = pin!(add_all(&node, &paths, &options, cids, &progress, &fast));
        let mut ticks = interval_at(Instant::now() + REPORT_EVERY, REPORT_EVERY);
        let pins = loop {
            tokio::select! {
                pins = &mut adding => break pins?,
                _ = ticks.tick() => send(&values, progress_value(&progress, node.fetch().wait())).await?,
            }
        };
        if progress.nodes() > 0 {
            send(&values, progress_value(&progress, None)).await?;
        }
        send(&values, json!({ "Pins": pins })).await
    };
    // The values as they come; then what is wrong, if anything is. The work runs only while it is listened to.
    let mut work = Some(Box::pin(work));
    let values = futures_util::stream::poll_fn(move |context| {
        use std::future::Future as _;
        use std::task::Poll;
        if let Some(running) = &mut work
            && let Poll::Ready(done) = running.as_mut().poll(context)
        {
            work = None;
            if let Err(error) = done {
                return Poll::Ready(Some(Err(error)));
            }
        }
        told.poll_recv(context).map(|value| value.map(Ok))
    });
    Ok(Response::Stream(values.boxed()))
}

async fn send(values: &mpsc::Sender<Value>, value: Value) -> Result<(), CommandError> {
    values.send(value).await.map_err(|_| CommandError::closed_pipe())
}

/// Pins one path after the other; those before one that fails stay pinned.
async fn add_all(
    node: &Node,
    paths: &[String],
    options: &PinOptions,
    cids: CidText,
    progress: &PinProgress,
    fast: &Fast,
) -> Result<Vec<String>, CommandError> {
    let (mut added, mut roots) = (Vec::with_capacity(paths.len()), Vec::with_capacity(paths.len()));
    for path in paths {
        let cid = resolve(node, path).await?;
        node.pins().add(cid, options.clone(), progress).await.map_err(CommandError::from_error)?;
        added.push(cids.text(&cid));
        roots.push(cid);
    }
    fast.try_announce(&roots).await;
    Ok(added)
}

/// What is done so far; as in Kubo, what is 0 is left out. `Missing` and `Waiting` are ours: blocks that have not come yet,
/// the one that is waited for, and who was asked.
fn progress_value(progress: &PinProgress, wait: Option<Wait>) -> Value {
    let mut value = Map::new();
    let numbers =
        [("Progress", progress.nodes()), ("Bytes", progress.bytes()), ("Missing", progress.missing())];
    for (name, number) in numbers.into_iter().filter(|(_, number)| *number > 0) {
        value.insert(name.to_owned(), number.into());
    }
    if let Some(wait) = wait {
        value.insert("Waiting".to_owned(), wait_value(&wait));
    }
    Value::Object(value)
}

/// The same as a line.
fn progress_line(value: &Value) -> String {
    let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or_default();
    let mut line =
        format!("Fetched/Processed {} nodes ({})", number("Progress"), human_bytes(number("Bytes")));
    if number("Missing") > 0 {
        let _ = write!(line, ", {} missing", number("Missing"));
    }
    if let Some(waiting) = value.get("Waiting") {
        let text = |name: &str| waiting.get(name).and_then(Value::as_str).unwrap_or_default();
        let _ = write!(line, ", waiting for {} ({})", text("Cid"), text("Tried"));
    }
    line
}

fn text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let how = if call.bool("recursive") { "recursively" } else { "directly" };
    for cid in pins_of(value) {
        out.extend_from_slice(format!("pinned {cid} {how}\n").as_bytes());
    }
    Ok(())
}

/// The text form, or JSON, with progress on standard error.
async fn show(terminal: &mut Terminal, call: &Call, response: Response) -> Result<(), CommandError> {
    let as_json = call.encoding()? == Some(Encoding::Json);
    let mut values = match response {
        Response::One(value) => futures_util::stream::iter([Ok(value)]).boxed(),
        Response::Stream(values) => values,
        Response::Empty | Response::Bytes(_) => return Ok(()),
    };
    while let Some(value) = terminal.next(&mut values).await? {
        let value = value?;
        if value.get("Pins").is_none() {
            let line = progress_line(&value);
            let line = terminal.safe(&line).into_owned();
            // A line may be shorter than the one before it.
            let rest = if terminal.err_is_terminal { "\x1b[K" } else { "" };
            terminal.eprint(format!("{line}{rest}\r"));
            continue;
        }
        let mut out = Vec::new();
        if as_json {
            out.extend_from_slice(value.to_string().as_bytes());
            out.push(b'\n');
        } else {
            text(call, &value, &mut out)?;
        }
        terminal.print(&out)?;
    }
    Ok(())
}
