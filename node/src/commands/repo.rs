//! `repo`.

use holdfast_blockstore::repo::Repo;
use holdfast_blockstore::{ScrubFigures, StoreConfig, rebuild_index};
use serde_json::{Value, json};

use super::Context;
use super::blocking::blocking;
use super::config::line;
use super::layout::{aligned, human_bytes};
use super::registry::{Call, Command, CommandError, Needs, Opt, Request, Response};
use super::time::CivilTime;
use super::{REPO_VERSION, refs};
use crate::services::repo::RepoHealth;

pub(super) fn command() -> Command {
    Command::new("repo", "Manipulate the IPFS repo.")
        .subcommand(super::repo_gc::command())
        .subcommand(refs::local("ls"))
        .subcommand(rebuild())
        .subcommand(super::repo_migrate::command())
        .subcommand(stat("stat"))
        .subcommand(super::repo_verify::command())
        .subcommand(
            Command::new("version", "Show the repo version.")
                .opt(Opt::bool("quiet q", "Write minimal output."))
                .needs(Needs::Nothing)
                .run(|_, _| async { Ok(Response::One(json!({ "Version": REPO_VERSION }))) })
                .text(version_text),
        )
}

/// `repo rebuild`, which Kubo does not have: the way out when the index is damaged or lost.
fn rebuild() -> Command {
    Command::new("rebuild", "Make the index of the repo anew from the stored blocks.")
        .help(
            "Reads every stored block once and writes a new index. Pins, the files root and what else is in no block are \
             taken over from the old index as far as it can be read. If a part of it cannot, it is moved aside, not \
             deleted, and the last lines say what is missing and where it is.",
        )
        .needs(Needs::Config)
        .terminal_only()
        .alone()
        .run(|context, _| async move {
            context.require_repo()?;
            let folder = context.repo_dir().to_owned();
            let report = blocking(move || {
                let repo = Repo::open(folder).map_err(CommandError::from_error)?;
                rebuild_index(repo.paths().root(), &StoreConfig::default()).map_err(CommandError::from_error)
            })
            .await?;
            Ok(Response::One(json!({
                "Blocks": report.blocks,
                "Bytes": report.value_bytes,
                "Damaged": report.damaged,
                "Pins": report.pins,
                "Unread": report.unread,
                "OldIndex": report.old_index.map(|path| path.display().to_string()),
            })))
        })
        .text(|_, value, out| {
            let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or_default();
            let (blocks, bytes, damaged) = (number("Blocks"), number("Bytes"), number("Damaged"));
            line(out, &format!("indexed {blocks} blocks of {}", human_bytes(bytes)))?;
            line(out, &format!("kept {} pins", number("Pins")))?;
            if damaged > 0 {
                line(out, &format!("{damaged} damaged blocks are left out; adding them again brings them back"))?;
            }
            for sentence in value.get("Unread").and_then(Value::as_array).into_iter().flatten() {
                line(out, sentence.as_str().unwrap_or_default())?;
            }
            match value.get("OldIndex").and_then(Value::as_str) {
                Some(path) => line(
                    out,
                    &format!("pins that stood there may be lost; the old index was moved to {path}"),
                ),
                None => Ok(()),
            }
        })
}

/// `repo stat`, and `stats repo`.
pub(super) fn stat(name: &'static str) -> Command {
    Command::new(name, "Get stats for the currently used repo.")
        .help(
            "Prints how many blocks there are, how many bytes they take, how many they may take, and where. The \
             numbers are kept up to date all along: nothing is walked for them.",
        )
        .opt(Opt::bool("size-only s", "Only report RepoSize and StorageMax."))
        .opt(Opt::bool("human H", "Print sizes in human readable format (e.g., 1K 234M 2G)."))
        .opt(Opt::bool(
            "health",
            "Also report damaged blocks, the last background verification and lost changes (not in Kubo).",
        ))
        .run(run_stat)
        .text(stat_text)
}

async fn run_stat(context: Context, request: Request) -> Result<Response, CommandError> {
    let node = context.node().await?;
    let stat = node.repo_stat().await.map_err(CommandError::from_error)?;
    let storage_max = node.config().datastore().map_err(CommandError::from_error)?.storage_bytes_max;
    let all = !request.bool("size-only");
    let path = if all { stat.path.display().to_string() } else { String::new() };
    let version = if all { format!("fs-repo@{REPO_VERSION}") } else { String::new() };
    let mut value = json!({
        "RepoSize": stat.repo_size,
        "StorageMax": storage_max,
        "NumObjects": if all { stat.blocks } else { 0 },
        "RepoPath": path,
        "Version": version,
    });
    // Only where it is asked for: the shape is Kubo's otherwise.
    if let Some(map) = value.as_object_mut().filter(|_| request.bool("health")) {
        let health = node.repo_health().await.map_err(CommandError::from_error)?;
        map.insert("Health".to_owned(), health_json(&health));
    }
    Ok(Response::One(value))
}

fn health_json(health: &RepoHealth) -> Value {
    let figures = |figures: ScrubFigures| {
        json!({
            "Began": rfc3339(figures.began_unix_ms),
            "At": rfc3339(figures.at_unix_ms),
            "Blocks": figures.blocks,
            "Damaged": figures.damaged,
        })
    };
    json!({
        "DamagedBlocks": health.damaged_blocks,
        "LastScrub": health.scrubs.last.map(figures),
        "Scrub": health.scrubs.current.map(figures),
        "Lost": health.loss.map(|loss| json!({
            "Rounds": loss.rounds,
            "Times": loss.times,
            "Noticed": rfc3339(loss.noticed_unix_ms),
        })),
    })
}

fn rfc3339(unix_ms: u64) -> String {
    let time = CivilTime::of_unix((unix_ms / 1000).cast_signed());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year, time.month, time.day, time.hour, time.minute, time.second
    )
}

fn health_lines(health: &Value) -> Vec<Vec<String>> {
    let text = |value: &Value, name: &str| match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let scrub = |name: &str, none: &str| match health.get(name) {
        Some(figures) if !figures.is_null() => format!(
            "{} ({} blocks, {} damaged)",
            text(figures, "At"),
            text(figures, "Blocks"),
            text(figures, "Damaged")
        ),
        _ => none.to_owned(),
    };
    let lost = match health.get("Lost") {
        Some(loss) if !loss.is_null() => {
            format!("{} changes, noticed {}", text(loss, "Rounds"), text(loss, "Noticed"))
        }
        _ => "nothing".to_owned(),
    };
    [
        ("DamagedBlocks:", text(health, "DamagedBlocks")),
        ("LastScrub:", scrub("LastScrub", "never")),
        ("Scrub:", scrub("Scrub", "none under way")),
        ("Lost:", lost),
    ]
    .map(|(name, value)| vec![name.to_owned(), value])
    .to_vec()
}

fn stat_text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or_default();
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let size = |name: &str| {
        let bytes = number(name);
        vec![format!("{name}:"), if call.bool("human") { human_bytes(bytes) } else { bytes.to_string() }]
    };
    let mut lines = vec![size("RepoSize"), size("StorageMax")];
    if !call.bool("size-only") {
        lines.insert(0, vec!["NumObjects:".to_owned(), number("NumObjects").to_string()]);
        lines.push(vec!["RepoPath:".to_owned(), text("RepoPath")]);
        lines.push(vec!["Version:".to_owned(), text("Version")]);
    }
    lines.extend(value.get("Health").map(health_lines).unwrap_or_default());
    out.extend_from_slice(aligned(&lines, 0).as_bytes());
    Ok(())
}

fn version_text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let version = value.get("Version").and_then(Value::as_str).unwrap_or_default();
    let before = if call.bool("quiet") { "" } else { "ipfs repo version " };
    out.extend_from_slice(format!("{before}fs-repo@{version}\n").as_bytes());
    Ok(())
}
