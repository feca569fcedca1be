//! `config` and `bootstrap`.

use super::registry::{Arg, Command, Needs, Opt};

pub(super) fn command() -> Command {
    Command::new("config", "Get and set IPFS config values.")
        .help(
            "Shows the value of a key, or sets it. Keys are separated by dots.\n\nGet the value of a key:\n\n  \
             $ {program} config Datastore.StorageMax\n\nSet it:\n\n  $ {program} config Datastore.StorageMax 50GB\n  $ {program} config \
             --json Swarm.ConnMgr.HighWater 200",
        )
        .arg(Arg::text("key", "The key of the config entry (e.g. \"Addresses.API\").").required())
        .arg(Arg::text("value", "The value to set the config entry to."))
        .opt(Opt::bool("bool", "Set a boolean value."))
        .opt(Opt::bool("json", "Parse stringified JSON."))
        .opt(Opt::bool("expand-auto", "Expand 'auto' placeholders to their resolved values."))
        .needs(Needs::Config)
        .planned(super::planned::NOT_YET)
        .subcommand(
            Command::new("edit", "Open the config file for editing in $EDITOR.")
                .help("Opens the config file in the editor that the environment variable EDITOR names.")
                .needs(Needs::Config)
                .terminal_only()
                .planned(super::planned::NOT_YET),
        )
        .subcommand(
            Command::new("profile", "Apply profiles to config.")
                .needs(Needs::Config)
                .subcommand(
                    Command::new("apply", "Apply profile to config.")
                        .arg(Arg::text("profile", "The profile to apply to the config.").required())
                        .opt(Opt::bool("dry-run", "Print what would change, and change nothing."))
                        .needs(Needs::Config)
                        .planned(super::planned::NOT_YET),
                ),
        )
        .subcommand(
            Command::new("replace", "Replace the config with <file>.")
                .help("Replaces the config with the contents of a file. The identity is kept.")
                .arg(Arg::file("file", "The file to use as the new config.").required())
                .needs(Needs::Config)
                .planned(super::planned::NOT_YET),
        )
        .subcommand(
            Command::new("show", "Output config file contents.")
                .help("Prints the config without its secrets.")
                .needs(Needs::Config)
                .planned(super::planned::NOT_YET),
        )
}

pub(super) fn bootstrap() -> Command {
    Command::new("bootstrap", "Show or edit the list of bootstrap peers.")
        .help("Without a subcommand, lists the bootstrap peers.")
        .needs(Needs::Config)
        .planned(super::planned::NOT_YET)
        .subcommand(
            Command::new("add", "Add peers to the bootstrap list.")
                .help("Prints the peers that were added: those that were not on the list.")
                .arg(
                    Arg::text(
                        "peer",
                        "A peer to add to the bootstrap list (multiaddr with /p2p/, or default).",
                    )
                    .variadic()
                    .stdin(),
                )
                .needs(Needs::Config)
                .planned(super::planned::NOT_YET),
        )
        .subcommand(
            Command::new("list", "Show peers in the bootstrap list.")
                .opt(Opt::bool("expand-auto", "Expand 'auto' placeholders to their resolved values."))
                .needs(Needs::Config)
                .planned(super::planned::NOT_YET),
        )
        .subcommand(
            Command::new("rm", "Remove peers from the bootstrap list.")
                .help("Prints the peers that were removed.")
                .arg(
                    Arg::text("peer", "A peer to remove from the bootstrap list.")
                        .variadic()
                        .stdin_unless("all"),
                )
                .opt(Opt::bool("all", "Remove all bootstrap peers. Deprecated: use 'all' subcommand."))
                .needs(Needs::Config)
                .planned(super::planned::NOT_YET)
                .subcommand(
                    Command::new("all", "Remove all peers from the bootstrap list.")
                        .needs(Needs::Config)
                        .planned(super::planned::NOT_YET),
                ),
        )
}
