//! `key rotate`: a new identity for the node.

use holdfast_blockstore::repo::{Repo, RepoError};
use serde_json::Value;

use super::Context;
use super::blocking::blocking;
use super::identity::print_lines;
use super::registry::{Command, CommandError, Needs, Opt, Request, Response};
use crate::config::Config;
use crate::keys::{KeySpec, Keystore};
use crate::repo_init::rotate;

/// Kubo's words where a daemon has the repo.
const DAEMON_RUNS: &str = "ipfs daemon is running. please stop it to run this command";

pub(super) fn command() -> Command {
    Command::new("rotate", "Rotates the IPFS identity.")
        .help(
            "Makes a new identity and writes it into the config. The old key is kept in the key store, under the name that \
             --oldkey gives. The daemon must not run.",
        )
        .opt(Opt::string("oldkey o", "Keystore name to use for backing up your existing identity."))
        .opt(Opt::string("type t", "Type of the key to create: rsa, ed25519, secp256k1.").default("ed25519"))
        .opt(Opt::int("size s", "Size of the key to generate."))
        .needs(Needs::Config)
        .terminal_only()
        .run(run)
        .terminal(|terminal, _, response| Box::pin(print_lines(terminal, response)))
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    context.require_repo()?;
    let (repo_dir, config_file) = (context.repo_dir().to_owned(), context.config_path());
    let old_name = request.text("oldkey").to_owned();
    let (kind, bits) = (request.text("type").to_owned(), request.int_opt("size"));
    let printed = blocking(move || {
        let _repo = Repo::open(&repo_dir).map_err(|error| match error {
            RepoError::Locked { .. } => CommandError::client(DAEMON_RUNS),
            other => CommandError::from_error(other),
        })?;
        let mut config = Config::load(&config_file).map_err(CommandError::from_error)?;
        let keystore = Keystore::open(&repo_dir).map_err(CommandError::from_error)?;
        let spec = KeySpec::parse(&kind, bits)
            .map_err(|error| CommandError::new(format!("creating identity ({error})")))?;
        let mut printed = Vec::new();
        let mut print = |text: &str| printed.push(Value::String(text.to_owned()));
        rotate(&mut config, &config_file, &keystore, &old_name, spec, &mut print)
            .map_err(CommandError::from_error)?;
        Ok::<_, CommandError>(printed)
    })
    .await?;
    Ok(Response::values(printed))
}
