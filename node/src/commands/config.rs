//! `config`.

use std::io::Write as _;
use std::path::Path;
use std::process::Command as Process;

use serde_json::{Value, json};

use super::Context;
use super::blocking::blocking;
use super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Request, Response};
use crate::config::{Config, apply_profile, changes, human_output, parse_argument};
use crate::fsutil::write_atomic;

/// Largest file that `config replace` takes.
const REPLACE_BYTES_MAX: u64 = 16 << 20;

pub(super) fn command() -> Command {
    Command::new("config", "Get and set IPFS config values.")
        .help(
            "Shows the value of a key, or sets it. Keys are separated by dots.\n\nGet the value of a key:\n\n  \
             $ {program} config Datastore.StorageMax\n\nSet it:\n\n  $ {program} config Datastore.StorageMax 50GB\n  $ {program} config \
             --json Swarm.ConnMgr.HighWater 200\n\nOur own keys, absent until they are set: Resources.MemoryLimit (a size: \
             memory of the process), Datastore.Durability (power or process), Datastore.ReserveSize (free space at \
             which adding stops), Datastore.ScrubPeriod and Datastore.ScrubBytesPerSecond (background verification). \
             docs/config.md has their defaults, and which of Kubo's keys have an effect.",
        )
        .arg(Arg::text("key", "The key of the config entry (e.g. \"Addresses.API\").").required())
        .arg(Arg::text("value", "The value to set the config entry to."))
        .opt(Opt::bool("bool", "Set a boolean value."))
        .opt(Opt::bool("json", "Parse stringified JSON."))
        .opt(Opt::bool("expand-auto", "Expand 'auto' placeholders to their resolved values."))
        .needs(Needs::Config)
        .run(get_or_set)
        .text(value_text)
        .plain_output()
        .subcommand(edit())
        .subcommand(Command::new("profile", "Apply profiles to config.").needs(Needs::Config).subcommand(profile_apply()))
        .subcommand(
            Command::new("replace", "Replace the config with <file>.")
                .help("Replaces the config with the contents of a file. The identity is kept.")
                .arg(Arg::file("file", "The file to use as the new config.").required())
                .needs(Needs::Config)
                .run(replace),
        )
        .subcommand(
            Command::new("show", "Output config file contents.")
                .help("Prints the config without its secrets.")
                .needs(Needs::Config)
                .run(|context, _| async move { Ok(Response::One(load(&context).await?.show())) })
                .text(|_, value, out| line(out, &human_output(value)))
                .plain_output(),
        )
}

/// The config of the context's repo.
pub(super) async fn load(context: &Context) -> Result<Config, CommandError> {
    context.require_repo()?;
    let path = context.config_path();
    blocking(move || Config::load(&path).map_err(CommandError::from_error)).await
}

/// Loads the config, changes it, and writes it: one blocking piece.
pub(super) async fn change<T: Send + 'static>(
    context: &Context,
    change: impl FnOnce(&mut Config, &Path) -> Result<T, CommandError> + Send + 'static,
) -> Result<T, CommandError> {
    context.require_repo()?;
    let path = context.config_path();
    blocking(move || {
        let mut config = Config::load(&path).map_err(CommandError::from_error)?;
        change(&mut config, &path)
    })
    .await
}

/// Appends a line.
pub(super) fn line(out: &mut Vec<u8>, text: &str) -> Result<(), CommandError> {
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
    Ok(())
}

async fn get_or_set(context: Context, request: Request) -> Result<Response, CommandError> {
    let key = request.arg(0).to_owned();
    let value = match request.args().get(1).cloned() {
        None => load(&context).await?.get(&key).map_err(CommandError::from_error)?,
        Some(text) => {
            let (as_json, as_bool, key) = (request.bool("json"), request.bool("bool"), key.clone());
            change(&context, move |config, path| {
                let value = parse_argument(&text, as_json, as_bool).map_err(CommandError::from_error)?;
                let value = config.set(&key, value).map_err(CommandError::from_error)?;
                config.save(path).map_err(CommandError::from_error)?;
                Ok(value)
            })
            .await?
        }
    };
    Ok(Response::One(json!({ "Key": key, "Value": value })))
}

/// A value that was asked for; nothing where one was set.
fn value_text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    if call.args().len() == 2 {
        return Ok(());
    }
    line(out, &human_output(value.get("Value").unwrap_or(&Value::Null)))
}

async fn replace(context: Context, mut request: Request) -> Result<Response, CommandError> {
    let mut input = request.take_input();
    change(&context, move |config, path| {
        let bytes = input.read_file("file", REPLACE_BYTES_MAX)?;
        let new = config.replaced(&String::from_utf8_lossy(&bytes)).map_err(CommandError::from_error)?;
        new.save(path).map_err(CommandError::from_error)
    })
    .await?;
    Ok(Response::Empty)
}

fn profile_apply() -> Command {
    Command::new("apply", "Apply profile to config.")
        .help(
            "Applies a profile and prints what it changed. The config before it is kept beside the new one, as \
             config-pre-<profile>-<random>.",
        )
        .arg(Arg::text("profile", "The profile to apply to the config.").required())
        .opt(Opt::bool("dry-run", "Print what would change, and change nothing."))
        .needs(Needs::Config)
        .run(|context, request| async move {
            let (name, dry_run) = (request.arg(0).to_owned(), request.bool("dry-run"));
            let changed = change(&context, move |config, path| {
                apply_profile(config, path, &name, dry_run).map_err(CommandError::from_error)
            })
            .await?;
            serde_json::to_value(changed).map(Response::One).map_err(CommandError::from_error)
        })
        .text(profile_text)
}

/// One line a key that differs.
fn profile_text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let (old, new) =
        (value.get("OldCfg").unwrap_or(&Value::Null), value.get("NewCfg").unwrap_or(&Value::Null));
    let shown = |value: Option<Value>| value.map_or("(not set)".to_owned(), |value| value.to_string());
    for change in changes(old, new) {
        line(out, &format!("{}: {} -> {}", change.key, shown(change.old), shown(change.new)))?;
    }
    Ok(())
}

fn edit() -> Command {
    Command::new("edit", "Open the config file for editing in $EDITOR.")
        .help(
            "Opens a copy of the config file in the editor that the environment variable EDITOR names, and takes it over \
             if it can be used. Otherwise the config stays as it was, and the copy stays beside it.",
        )
        .needs(Needs::Config)
        .terminal_only()
        .run(|context, _| async move {
            context.require_repo()?;
            let path = context.config_path();
            blocking(move || edit_file(&path)).await?;
            Ok(Response::Empty)
        })
}

/// Lets the user edit a copy of the config, and replaces the config by it if it is one.
fn edit_file(path: &Path) -> Result<(), CommandError> {
    let before = std::fs::read(path)?;
    let real = std::fs::canonicalize(path)?;
    let folder = real.parent().unwrap_or(Path::new("/"));
    let mut copy = tempfile::Builder::new().prefix("config-edit-").suffix(".json").tempfile_in(folder)?;
    copy.write_all(&before)?;
    open_editor(copy.path())?;
    let text = std::fs::read_to_string(copy.path())?;
    if text.as_bytes() == before {
        return Ok(());
    }
    if let Err(reason) = Config::check_edited(&text) {
        let (_, kept) = copy.keep().map_err(|error| CommandError::from_error(error.error))?;
        let (config, kept) = (real.display(), kept.display());
        return Err(CommandError::new(format!(
            "the config was left as it was, because what you wrote cannot be used: {reason}\nIt is kept in {kept}: mend it \
             there, then 'mv {kept} {config}'"
        )));
    }
    write_atomic(path, text.as_bytes(), 0o600).map_err(CommandError::from)
}

/// Runs the editor and waits for it.
fn open_editor(path: &Path) -> Result<(), CommandError> {
    let editor = std::env::var("EDITOR").unwrap_or_default();
    if editor.is_empty() {
        return Err(CommandError::new("ENV variable $EDITOR not set"));
    }
    // As a shell reads it: EDITOR may carry options, quoted ones too.
    let line = format!("{editor} \"$@\"");
    let status = Process::new("sh").args(["-c", &line, &editor]).arg(path).status()?;
    if status.success() { Ok(()) } else { Err(CommandError::new(format!("{editor}: {status}"))) }
}
