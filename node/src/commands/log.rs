//! `log`: levels of the daemon's logs, and following them.

use futures_util::{StreamExt as _, stream};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::Context;
use super::config::line;
use super::registry::{Arg, ByteStream, Call, Command, CommandError, Needs, Opt, Request, Response, Status};
use crate::observe::log::{ALL, Level, SUBSYSTEMS, Tail};
use crate::runtime::Runtime;

/// The name that the default level goes by among those of subsystems.
const DEFAULT: &str = "(default)";

pub(super) fn command() -> Command {
    Command::new("log", "Interact with the daemon log output.")
        .help(
            "Reads and changes what a running daemon logs. Before it starts, RUST_LOG or GOLOG_LOG_LEVEL say the levels \
             (error,rpc=debug), GOLOG_LOG_FMT the form of lines (color, nocolor, json), GOLOG_FILE and GOLOG_OUTPUT where \
             they go. Lines go to standard error otherwise.",
        )
        .needs(Needs::Config)
        .subcommand(level())
        .subcommand(ls())
        .subcommand(tail())
}

/// The runtime of the daemon that this runs in; these words where there is none.
pub(super) fn runtime(context: &Context, path: &str) -> Result<Runtime, CommandError> {
    let none = || CommandError::new(format!("command must be run on the daemon: [{path}]"));
    context.runtime().cloned().ok_or_else(none)
}

fn ls() -> Command {
    Command::new("ls", "List the logging subsystems.")
        .help("Lists the names that levels can be set for.")
        .needs(Needs::Config)
        .run(|_, _| async {
            let names: Vec<&str> = SUBSYSTEMS.iter().map(|subsystem| subsystem.name).collect();
            Ok(Response::One(json!({ "Strings": names })))
        })
        .text(|_, value, out| {
            let names = value.get("Strings").and_then(Value::as_array).into_iter().flatten();
            names.filter_map(Value::as_str).try_for_each(|name| line(out, name))
        })
}

fn level() -> Command {
    Command::new("level", "Change or get the logging level.")
        .help(
            "Shows or sets the level of a subsystem while the daemon runs.\n\nWithout arguments, shows the default level, \
             which holds for what has none of its own. 'all' or '*' stands for all subsystems: setting it also sets the \
             default. The level 'default' sets a subsystem to what the default is now.",
        )
        .arg(Arg::text("subsystem", "The name of the subsystem: see 'log ls'. 'all' or '*' means all of them."))
        .arg(Arg::text(
            "level",
            "The level to set: trace, debug, info, warn, error, dpanic, panic, fatal, or default.",
        ))
        .needs(Needs::Config)
        .run(run_level)
        .text(level_text)
}

async fn run_level(context: Context, request: Request) -> Result<Response, CommandError> {
    let runtime = runtime(&context, "log level")?;
    let logs = runtime.logs();
    let subsystem = match request.arg(0) {
        "all" => ALL,
        name => name,
    };
    let word = request.arg(1);
    if !word.is_empty() {
        let level = match word {
            "default" => logs.default_level(),
            word => Level::parse(word).map_err(CommandError::from_error)?,
        };
        logs.set_level(subsystem, level).map_err(CommandError::from_error)?;
        let message = format!("Changed log level of '{subsystem}' to '{level}'\n");
        tracing::info!(target: "holdfast::daemon", subsystem, level = level.word(), "log level changed");
        return Ok(Response::One(json!({ "Message": message })));
    }
    let mut levels = Map::new();
    match subsystem {
        "" => {
            levels.insert(String::new(), logs.default_level().word().into());
        }
        ALL => {
            levels.insert(DEFAULT.to_owned(), logs.default_level().word().into());
            let all = logs.all_levels().into_iter();
            levels.extend(all.map(|(name, level)| (name.to_owned(), level.word().into())));
        }
        name => {
            let level = logs.level(name).map_err(CommandError::from_error)?;
            levels.insert(name.to_owned(), level.word().into());
        }
    }
    Ok(Response::One(json!({ "Levels": levels })))
}

/// One level alone is shown without its name.
fn level_text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    if let Some(message) = super::words_in(value, "Message") {
        out.extend_from_slice(message.as_bytes());
        return Ok(());
    }
    let levels: Vec<(&String, &str)> = value
        .get("Levels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, level)| (name, level.as_str().unwrap_or_default()))
        .collect();
    let shown = |(name, level): &(&String, &str)| match levels.len() {
        1 => (*level).to_owned(),
        _ => format!("{name}: {level}"),
    };
    let mut lines: Vec<String> = levels.iter().map(shown).collect();
    lines.sort_unstable();
    lines.iter().try_for_each(|text| line(out, text))
}

fn tail() -> Command {
    Command::new("tail", "Read and output log messages.")
        .help(
            "Prints what the daemon logs from now on, one JSON object a line, until it is interrupted. Several readers may \
             do so at once; one that reads too slowly loses lines, and is told how many.\n\n--log-level shows only what is \
             at least that severe. What the daemon's own levels leave out is not there: see 'log level'.",
        )
        .opt(Opt::string("log-level", "Log level to listen to.").default(""))
        .status(Status::Experimental)
        .needs(Needs::Config)
        .run(run_tail)
        .feed()
}

async fn run_tail(context: Context, request: Request) -> Result<Response, CommandError> {
    let runtime = runtime(&context, "log tail")?;
    let level = match request.text("log-level") {
        "" => Level::TRACE,
        word => Level::parse(word)
            .map_err(|error| CommandError::new(format!("setting log level {word}: {error}")))?,
    };
    let lines = runtime.logs().follow(level).map_err(CommandError::from_error)?;
    // What was logged before the end is given before the end.
    let next = |(mut lines, mut stopping): (Tail, watch::Receiver<bool>)| async move {
        let line = tokio::select! {
            biased;
            line = lines.next() => line?,
            _ = stopping.wait_for(|stop| *stop) => return None,
        };
        Some((Ok(line), (lines, stopping)))
    };
    let stream = Box::pin(stream::unfold((lines, runtime.stopping()), next));
    Ok(Response::Bytes(ByteStream { stream, length: None, content_type: "text/plain" }))
}
