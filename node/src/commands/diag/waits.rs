//! `diag waits`: what the commands that run now wait for that other nodes have.

use serde_json::Value;

use crate::commands::calls::wait_sentence;
use crate::commands::config::line;
use crate::commands::registry::{Command, Needs, Opt, Response};

pub(super) fn command() -> Command {
    Command::new("waits", "List the blocks that running commands wait for (not in Kubo).")
        .help(
            "Lists for each command that waits for other nodes the block that it needs next, for how long nothing has come, \
             and who was asked.",
        )
        .opt(Opt::string("call", "Only the call that was sent with this value of the header X-Holdfast-Call."))
        .needs(Needs::Config)
        .run(|context, request| async move {
            let mark = request.text_opt("call").filter(|mark| !mark.is_empty());
            Ok(Response::One(Value::Array(context.waits(mark))))
        })
        .text(|_, value, out| {
            for wait in value.as_array().into_iter().flatten() {
                let command = wait.get("Command").and_then(Value::as_str).unwrap_or_default();
                line(out, &format!("{command}: {}", wait_sentence(wait).unwrap_or_default()))?;
            }
            Ok(())
        })
}
