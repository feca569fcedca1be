//! `config`.

use std::io::Write as _;
use std::path::Path;
use std::process::Command as Process;
use std::time::Duration;

use holdfast_blockstore::repo::{Repo, RepoPaths};
use serde_json::{Value, json};

use super::Context;
use super::blocking::{blocking, read_input};
use super::profile_help;
use super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Request, Response};
use crate::config::{Config, apply_profile, changes, human_output, parse_argument};
use crate::fsutil::write_atomic;
use crate::swarm::is_private;

/// Largest file that `config replace` takes.
const REPLACE_BYTES_MAX: u64 = 16 << 20;

/// How long a change of the config or the key store waits for a process that has the repo. Other changes take moments.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

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
        .subcommand(Command::new("profile", "Apply profiles to config.").help(&profile_help::GROUP).needs(Needs::Config).subcommand(profile_apply()))
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
                .run(|context, request| async move { Ok(Response::One(load_for(&context, &request).await?.show())) })
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

/// The same, with what the node uses in the place of `auto` where `--expand-auto` asks for that.
pub(super) async fn load_for(context: &Context, request: &Request) -> Result<Config, CommandError> {
    let config = load(context).await?;
    if !request.bool("expand-auto") {
        return Ok(config);
    }
    let repo_dir = context.repo_dir().to_owned();
    blocking(move || config.expanded(is_private(&repo_dir)).map_err(CommandError::from_error)).await
}

/// What changes the config inherits the option for reading it, and writes `auto` as it stands: whoever asks for something else is told.
fn refuse_expand_auto(request: &Request) -> Result<(), CommandError> {
    if !request.bool("expand-auto") {
        return Ok(());
    }
    Err(CommandError::new("--expand-auto can only be used for reading config values, not for setting them"))
}

/// Locks the context's repo for a change of its small files, so that no two changes start from the same content. A repo
/// that this program must not write to is refused, untouched.
pub(super) fn lock(repo_dir: &Path) -> Result<Repo, CommandError> {
    Repo::open_within(repo_dir, LOCK_WAIT_MAX).map_err(CommandError::from_error)
}

/// Loads the config, changes it, and writes it: one blocking piece, under the lock of the repo.
pub(super) async fn change<T: Send + 'static>(
    context: &Context,
    change: impl FnOnce(&mut Config, &Path) -> Result<T, CommandError> + Send + 'static,
) -> Result<T, CommandError> {
    context.require_repo()?;
    let (path, turn) = (context.config_path(), context.turn());
    blocking(move || {
        let _taken = turn.take()?;
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
        None => load_for(&context, &request).await?.get(&key).map_err(CommandError::from_error)?,
        Some(text) => {
            refuse_expand_auto(&request)?;
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
    refuse_expand_auto(&request)?;
    // Before the turn is taken: whoever sends it may be slow.
    let bytes = read_input(&context, request.take_input(), "file", REPLACE_BYTES_MAX).await?;
    change(&context, move |config, path| {
        let new = config.replaced(&String::from_utf8_lossy(&bytes)).map_err(CommandError::from_error)?;
        new.save(path).map_err(CommandError::from_error)
    })
    .await?;
    Ok(Response::Empty)
}

fn profile_apply() -> Command {
    Command::new("apply", "Apply profile to config.")
        .help(&profile_help::APPLY)
        .arg(Arg::text("profile", "The profile to apply to the config.").required())
        .opt(Opt::bool("dry-run", "Print what would change, and change nothing."))
        .needs(Needs::Config)
        .run(|context, request| async move {
            refuse_expand_auto(&request)?;
            let (name, dry_run) = (request.arg(0).to_owned(), request.bool("dry-run"));
            let apply = move |config: &mut Config, path: &Path| {
                apply_profile(config, path, &name, dry_run).map_err(CommandError::from_error)
            };
            let changed = if dry_run {
                let (mut config, path) = (load(&context).await?, context.config_path());
                blocking(move || apply(&mut config, &path)).await?
            } else {
                change(&context, apply).await?
            };
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
        .run(|context, request| async move {
            refuse_expand_auto(&request)?;
            context.require_repo()?;
            let (path, repo_dir) = (context.config_path(), context.repo_dir().to_owned());
            blocking(move || edit_file(&path, &repo_dir)).await?;
            Ok(Response::Empty)
        })
}

/// Lets the user edit a copy of the config, and replaces the config by it if it is one.
fn edit_file(path: &Path, repo_dir: &Path) -> Result<(), CommandError> {
    // Editing takes minutes: the repo is locked only to take over what was written.
    RepoPaths::new(repo_dir).check().map_err(CommandError::from_error)?;
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
    let taken_over = Config::check_edited(&text)
        .and_then(|()| lock(repo_dir).map_err(|error| error.message))
        .and_then(|repo| match std::fs::read(path) {
            Ok(now) if now == before => Ok(repo),
            Ok(_) => Err("the config was changed by somebody else meanwhile".to_owned()),
            Err(error) => Err(error.to_string()),
        });
    let _repo = match taken_over {
        Ok(repo) => repo,
        Err(reason) => return Err(keep_copy(copy, &real, &reason)),
    };
    write_atomic(path, text.as_bytes(), 0o600).map_err(CommandError::from)
}

/// Keeps what the user wrote, and says where.
fn keep_copy(copy: tempfile::NamedTempFile, real: &Path, reason: &str) -> CommandError {
    let kept = match copy.keep() {
        Ok((_, kept)) => kept,
        Err(error) => return CommandError::from_error(error.error),
    };
    let (config, kept) = (real.display(), kept.display());
    CommandError::new(format!(
        "the config was left as it was, because what you wrote cannot be used: {reason}\nIt is kept in {kept}: mend it \
         there, then 'mv {kept} {config}'"
    ))
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
