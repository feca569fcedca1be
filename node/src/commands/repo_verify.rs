//! `repo verify`.

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::Context;
use super::registry::{Call, Command, CommandError, Opt, Request, Response};
use crate::config::GoDuration;
use crate::services::verify::{Damage, Verified, VerifyParams};

/// Blocks between two reports as text.
const BLOCKS_PER_REPORT: u64 = 1000;
/// Kubo's words for a command that needs peers.
const NOT_ONLINE: &str = "this command must be run in online mode. Try running 'ipfs daemon' first";

pub(super) fn command() -> Command {
    Command::new("verify", "Verify all blocks in repo are not corrupted.")
        .help(
            "Reads every block and compares it with its hash, and compares what the index counts and derives with the \
             blocks. What is damaged is named and remembered, and never served; adding it again repairs it. Without \
             options nothing is changed.\n\n\
             --drop removes damaged blocks. What one of them links to stays known, so that a garbage collection keeps \
             the rest of what is pinned. --heal asks other nodes for each first, and removes only what none of them gives.\n\n\
             The exit code is 1 if anything damaged was found and not put right, if the index is not what the blocks \
             say, if the root of 'files' cannot be read, or if acknowledged changes were lost earlier and nobody has acknowledged that.",
        )
        .opt(Opt::bool("drop", "Remove corrupt blocks from datastore (destructive operation)."))
        .opt(Opt::bool(
            "heal",
            "Remove corrupt blocks and re-fetch from network (destructive operation, implies --drop).",
        ))
        .opt(
            Opt::string("heal-timeout", "Maximum time to wait for each block heal (e.g., \"30s\"). Only applies with --heal.")
                .default("30s"),
        )
        .opt(Opt::bool("acknowledge", "Take note of lost changes: they are told once more, and then forgotten (not in Kubo)."))
        .run(run)
        .text(text)
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let timeout = GoDuration::parse(request.text("heal-timeout"))
        .map_err(|error| CommandError::new(format!("invalid heal-timeout: {error}")))?;
    let Some(timeout) = timeout.to_std() else {
        return Err(CommandError::new("heal-timeout must be >= 0"));
    };
    let heals = request.bool("heal");
    let node = context.node().await?;
    if heals && !node.fetch().is_online() {
        return Err(CommandError::new(NOT_ONLINE));
    }
    let params = VerifyParams {
        drop_damaged: request.bool("drop") || heals,
        acknowledge: request.bool("acknowledge"),
        heal: heals.then_some(timeout),
    };
    let events = node.repo_verify(params).map(Some);
    let mut summary = Summary { params, ..Summary::default() };
    // What is said at the end depends on what was found on the way.
    let values = events.chain(stream::once(std::future::ready(None))).flat_map(move |event| {
        let values = match event {
            None => vec![summary.end()],
            Some(Err(error)) => vec![Err(CommandError::from_error(error))],
            Some(Ok(event)) => summary.tell(event).into_iter().map(Ok).collect(),
        };
        stream::iter(values)
    });
    Ok(Response::Stream(Box::pin(values)))
}

/// What was found so far.
#[derive(Default)]
struct Summary {
    params: VerifyParams,
    corrupt: u64,
    removed: u64,
    stayed: u64,
    healed: u64,
    unhealed: u64,
    index: u64,
    files: bool,
    lost: bool,
}

fn message(text: &str) -> Value {
    json!({ "Msg": text, "Progress": 0 })
}

impl Summary {
    fn tell(&mut self, event: Verified) -> Vec<Value> {
        match event {
            Verified::Index(sentence) => {
                self.index += 1;
                vec![message(&format!("index: {sentence}"))]
            }
            Verified::Files(sentence) => {
                self.files = true;
                vec![message(&sentence)]
            }
            Verified::Lost(sentence) => {
                self.lost = true;
                vec![message(&sentence)]
            }
            Verified::Block { processed, cid, damage } => {
                let damage = damage.map(|(reason, damage)| {
                    self.corrupt += 1;
                    let end = match damage {
                        Damage::Found => String::new(),
                        Damage::Removed => {
                            self.removed += 1;
                            ", removed".to_owned()
                        }
                        Damage::Stayed(why) => {
                            self.stayed += 1;
                            format!(", failed to remove ({why})")
                        }
                        Damage::Healed => {
                            self.removed += 1;
                            self.healed += 1;
                            ", removed, healed".to_owned()
                        }
                        Damage::Unhealed(why) => {
                            self.removed += 1;
                            self.unhealed += 1;
                            format!(", removed, failed to heal ({why})")
                        }
                    };
                    message(&format!("block {cid} was corrupt ({reason}){end}"))
                });
                damage.into_iter().chain([json!({ "Msg": "", "Progress": processed })]).collect()
            }
        }
    }

    /// The last line: an error if anything is left that is not right.
    fn end(&self) -> Result<Value, CommandError> {
        let mut text = "verify complete, all blocks validated.".to_owned();
        if self.corrupt > 0 {
            text = format!("verify complete, {} blocks corrupt", self.corrupt);
            let what = [
                (self.removed, "removed"),
                (self.stayed, "failed to remove"),
                (self.healed, "healed"),
                (self.unhealed, "failed to heal"),
            ];
            for (number, what) in what.into_iter().filter(|(number, _)| *number > 0) {
                text = format!("{text}, {number} {what}");
            }
        }
        let mut fails = self.corrupt > 0 && !(self.params.drop_damaged && self.stayed + self.unhealed == 0);
        if self.index > 0 {
            fails = true;
            text.push_str("; the index is not what the blocks say: 'holdfast repo rebuild' makes a new one");
        }
        if self.files {
            fails = true;
            text.push_str("; the root of 'files' cannot be read");
        }
        if self.lost && !self.params.acknowledge {
            fails = true;
            text.push_str(
                "; acknowledged changes were lost: 'holdfast repo verify --acknowledge' takes note of it",
            );
        }
        if fails { Err(CommandError::new(text)) } else { Ok(message(&text)) }
    }
}

fn text(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
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
