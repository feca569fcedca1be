//! `repo migrate`.

use serde_json::{Value, json};

use super::REPO_VERSION;
use super::config::line;
use super::registry::{Command, CommandError, Needs, Opt, Response};

/// The version of Kubo's repos that this program's stand for.
const VERSION: i32 = 18;

pub(super) fn command() -> Command {
    Command::new("migrate", "Migrate the repository.")
        .help(
            "There is nothing to migrate: a repo of an older Holdfast is brought up to date when it is opened, and Kubo's own \
             repos are not opened. The versions are Kubo's, as scripts expect them.",
        )
        .opt(Opt::int("to", "Target repository version.").default(VERSION))
        .opt(Opt::bool("allow-downgrade", "Allow downgrading to a lower repo version."))
        .needs(Needs::Config)
        .terminal_only()
        .run(|_, request| async move {
            let to = request.int("to");
            let from = i64::from(VERSION);
            if to == from {
                return Ok(Response::One(json!({ "Version": REPO_VERSION })));
            }
            Err(CommandError::new(if to < from && !request.bool("allow-downgrade") {
                format!("downgrade from version {from} to {to} requires --allow-downgrade flag")
            } else {
                format!("there is no way from version {from} to {to}: repos of this program have version {from} only")
            }))
        })
        .text(|_, value, out| {
            let version = value.get("Version").and_then(Value::as_str).unwrap_or_default();
            line(out, &format!("Repository is already at version {version}."))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_which_the_repo_tells() {
        assert_eq!(VERSION.to_string(), REPO_VERSION);
    }
}
