//! `repo`.

use futures_util::{StreamExt as _, stream};
use holdfast_blockstore::repo::Repo;
use holdfast_blockstore::{StoreConfig, rebuild_index};
use serde_json::{Value, json};

use super::Context;
use super::blocking::blocking;
use super::config::line;
use super::layout::{aligned, human_bytes};
use super::registry::{Call, Command, CommandError, Needs, Opt, Request, Response};
use super::{REPO_VERSION, refs};
use crate::services::repo::Verified;

/// Blocks between two reports of `repo verify` as text.
const BLOCKS_PER_REPORT: u64 = 1000;

pub(super) fn command() -> Command {
    Command::new("repo", "Manipulate the IPFS repo.")
        .subcommand(super::repo_gc::command())
        .subcommand(refs::local("ls"))
        .subcommand(rebuild())
        .subcommand(stat("stat"))
        .subcommand(
            Command::new("verify", "Verify all blocks in repo are not corrupted.")
                .help(
                    "Reads every block and compares it with its hash. What is damaged is named and remembered; adding \
                     it again repairs it.",
                )
                .opt(Opt::bool("drop", "Remove corrupt blocks from datastore.").refused(
                    "damaged blocks are remembered, never served, and repaired when they are added again; 'block rm' \
                     removes them",
                ))
                .opt(
                    Opt::bool("heal", "Remove corrupt blocks and re-fetch them from the network.")
                        .refused(super::planned::NETWORK),
                )
                .opt(Opt::string("heal-timeout", "Maximum time to wait for each block heal.").default("30s"))
                .run(run_verify)
                .text(verify_text),
        )
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
            "Reads every stored block once and writes a new index. Pins are kept if the old index can still be read; \
             if it cannot, it is moved aside, not deleted, and the last line says where to.",
        )
        .needs(Needs::Config)
        .terminal_only()
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
                "OldIndex": report.old_index.map(|path| path.display().to_string()),
            })))
        })
        .text(|_, value, out| {
            let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or_default();
            let (blocks, bytes, damaged) = (number("Blocks"), number("Bytes"), number("Damaged"));
            line(out, &format!("indexed {blocks} blocks of {}", human_bytes(bytes)))?;
            if damaged > 0 {
                line(out, &format!("{damaged} damaged blocks are left out; adding them again brings them back"))?;
            }
            match value.get("OldIndex").and_then(Value::as_str) {
                Some(path) => line(out, &format!("the old index could not be read, and its pins are lost: {path}")),
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
    Ok(Response::One(json!({
        "RepoSize": stat.repo_size,
        "StorageMax": storage_max,
        "NumObjects": if all { stat.blocks } else { 0 },
        "RepoPath": path,
        "Version": version,
    })))
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
    out.extend_from_slice(aligned(&lines, 0).as_bytes());
    Ok(())
}

fn version_text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let version = value.get("Version").and_then(Value::as_str).unwrap_or_default();
    let before = if call.bool("quiet") { "" } else { "ipfs repo version " };
    out.extend_from_slice(format!("{before}fs-repo@{version}\n").as_bytes());
    Ok(())
}

async fn run_verify(context: Context, _request: Request) -> Result<Response, CommandError> {
    let blocks = context.node().await?.repo_verify();
    let mut damaged = 0_u64;
    // What is said at the end depends on what was found on the way.
    let events = blocks.map(Some).chain(stream::once(std::future::ready(None)));
    let values = events.map(move |event| match event {
        None if damaged == 0 => Ok(json!({ "Msg": "verify complete, all blocks validated.", "Progress": 0 })),
        None => Err(CommandError::new(format!("verify complete, some blocks were corrupt: {damaged}"))),
        Some(Err(error)) => Err(CommandError::from_error(error)),
        Some(Ok(Verified { processed, damage: None, .. })) => Ok(json!({ "Msg": "", "Progress": processed })),
        Some(Ok(Verified { cid, damage: Some(reason), .. })) => {
            damaged += 1;
            Ok(json!({ "Msg": format!("block {cid} was corrupt ({reason})"), "Progress": 0 }))
        }
    });
    Ok(Response::Stream(Box::pin(values)))
}

fn verify_text(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let message = value.get("Msg").and_then(Value::as_str).unwrap_or_default();
    let processed = value.get("Progress").and_then(Value::as_u64).unwrap_or_default();
    if !message.is_empty() {
        // As wide as a count, which it overwrites.
        out.extend_from_slice(format!("{message:30}\n").as_bytes());
    } else if processed.is_multiple_of(BLOCKS_PER_REPORT) {
        out.extend_from_slice(format!("{processed} blocks processed.\r").as_bytes());
    }
    Ok(())
}
