//! `diag`: what helps to find out what a node does.

mod cmds;
mod profile;
pub(super) mod sys;
mod waits;

use std::path::PathBuf;

use serde_json::{Value, json};

use super::config::line;
use super::registry::{Command, CommandError, Needs, Response};
use crate::observe::health;

/// The group. What looks into Kubo's data store is put below it where it is planned.
pub(super) fn command() -> Command {
    Command::new("diag", "Generate diagnostic reports.")
        .needs(Needs::Config)
        .subcommand(cmds::command())
        .subcommand(healthy())
        .subcommand(profile::command())
        .subcommand(sys())
        .subcommand(waits::command())
}

fn healthy() -> Command {
    Command::new("healthy", "Tell whether the daemon is well.")
        .help(
            "Ends with 0 and prints ok if a daemon runs, is not shutting down, and can read its repo and resolve the empty \
             directory. For health checks of containers and service managers.",
        )
        .needs(Needs::Config)
        .run(|context, _| async move {
            context.runtime().ok_or_else(|| CommandError::new("daemon not running"))?;
            health::check(&context).await.map_err(CommandError::from_error)?;
            let node = context.node().await?;
            let empty = EMPTY_DIRECTORY.parse().map_err(CommandError::from_error)?;
            let probe = node.fetch().get(&empty).await;
            probe.map_err(|error| CommandError::new(format!("probe fetch: {error}")))?;
            Ok(Response::One(json!("ok")))
        })
        .text(|_, value, out| line(out, value.as_str().unwrap_or_default()))
}

/// The directory that every node knows.
const EMPTY_DIRECTORY: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";

fn sys() -> Command {
    Command::new("sys", "Print system diagnostic information.")
        .help("Prints what the node knows of the machine and of itself, as one JSON object. No names of files, no secrets.")
        .needs(Needs::Config)
        .run(|context, _| async move {
            let folder: PathBuf = context.repo_dir().to_owned();
            let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
            let online = context.swarm().is_some();
            let report = move || Ok::<Value, CommandError>(sys::report(&folder, tasks, online));
            super::blocking::blocking(report).await.map(Response::One)
        })
}

#[cfg(test)]
mod tests;
