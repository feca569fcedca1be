//! The root of the tree: global options, and every group in its place.

use super::registry::{Command, Opt, Registry};

/// Every command.
pub fn registry() -> Registry {
    let groups = super::catalog::commands();
    Registry::new(groups.into_iter().fold(root(), Command::subcommand))
}

/// The root and the options that every command has.
fn root() -> Command {
    Command::new("", "An IPFS storage node.")
        .opt(Opt::string("repo-dir", "Path to the repository directory to use."))
        .opt(Opt::string("config-file", "Path to the configuration file to use."))
        .opt(Opt::string("config c", "Path to the configuration file to use. Deprecated: use --config-file."))
        .opt(Opt::bool("debug D", "Operate in debug mode."))
        .opt(Opt::bool("help", "Show the full command help text."))
        .opt(Opt::bool("h", "Show a short version of the command help text."))
        .opt(Opt::bool(
            "local L",
            "Run the command locally, instead of using the daemon. Deprecated: use --offline.",
        ))
        .opt(Opt::bool("offline", "Run the command offline."))
        .opt(Opt::string("api", "Use a specific API instance (multiaddr)."))
        .opt(Opt::string(
            "api-auth",
            "Authorization secret for the API, as in API.Authorizations of the config.",
        ))
        .opt(Opt::string(
            "cid-base",
            "Multibase encoding used for CIDv1 in output. CIDv0 is upgraded to match.",
        ))
        .opt(Opt::bool("upgrade-cidv0-in-output", "Print CIDv0 as CIDv1. Deprecated: --cid-base does it."))
        .opt(Opt::string("encoding enc", "The encoding of the output: text or json."))
        .opt(Opt::bool(
            "json-lines json",
            "Print every value as one line of JSON, where --json is not another option.",
        ))
        .opt(Opt::bool("stream-channels", "Stream channel output. Output is always streamed."))
        .opt(Opt::string("timeout", "Set a timeout on the command: 300ms, 10s, 1h30m."))
}
