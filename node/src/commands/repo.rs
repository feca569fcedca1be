//! `repo`.

use super::registry::{Command, Needs, Opt};

pub(super) fn command() -> Command {
    Command::new("repo", "Manipulate the IPFS repo.")
        .subcommand(Command::new("ls", "List all local references.").planned(super::planned::NOT_YET))
        .subcommand(stat("stat"))
        .subcommand(
            Command::new("verify", "Verify all blocks in repo are not corrupted.")
                .help("Reads every block and compares it with its hash. --drop removes what is damaged.")
                .opt(Opt::bool("drop", "Remove corrupt blocks from datastore."))
                .opt(
                    Opt::bool("heal", "Remove corrupt blocks and re-fetch them from the network.")
                        .refused(super::planned::NETWORK),
                )
                .opt(Opt::string("heal-timeout", "Maximum time to wait for each block heal.").default("30s"))
                .planned(super::planned::NOT_YET),
        )
        .subcommand(
            Command::new("version", "Show the repo version.")
                .opt(Opt::bool("quiet q", "Write minimal output."))
                .needs(Needs::Nothing)
                .planned(super::planned::NOT_YET),
        )
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
        .planned(super::planned::NOT_YET)
}
