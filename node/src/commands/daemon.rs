//! `daemon` and `shutdown`: their definitions. What a daemon does is in [`crate::daemon`].

use super::Context;
use super::registry::{Command, CommandError, Needs, Opt, Request, Response};
use crate::daemon;

pub(super) fn daemon() -> Command {
    Command::new("daemon", "Run a node that serves requests until it is stopped.")
        .help(
            "Opens the repo and serves its RPC API where Addresses.API says: by default on /ip4/127.0.0.1/tcp/5001. While it \
             runs, other commands on the same repo are sent to it.\n\nAddresses are multiaddrs: a TCP port \
             (/ip4/127.0.0.1/tcp/5001; port 0 takes any that is free) or a Unix socket (/unix/run/holdfast.sock). An \
             address that others can reach is served only if API.Authorizations asks for a secret, or \
             API.AllowUnauthenticated says that something else keeps others out.\n\nIt ends on SIGINT, SIGTERM and SIGHUP, \
             and when 'shutdown' asks it to; a second signal ends it at once. Garbage is collected by itself when the repo \
             comes near Datastore.StorageMax.\n\nIt joins the network that its config describes, unless --offline is given.",
        )
        .opts(repo_options())
        .opts(network_options())
        .needs(Needs::Nothing)
        .terminal_only()
        .own_signals()
        .run(daemon::run)
}

/// Options about the repo and the process.
fn repo_options() -> Vec<Opt> {
    vec![
        Opt::bool("init", "Initialize the repo with default settings if there is none."),
        Opt::string("init-config", "Path to existing configuration file to be loaded during --init."),
        Opt::string(
            "init-profile",
            "Configuration profiles to apply for --init. See 'init --help' for more.",
        ),
        Opt::bool(
            "enable-gc",
            "Collect garbage automatically. Accepted: it always is, see Datastore.StorageMax.",
        ),
        Opt::bool("manage-fdlimit", "Check and raise file descriptor limits if needed.").default(true),
        Opt::bool("migrate", "Migrate an older repo. Accepted: there is one version of it so far."),
    ]
}

/// Options about the network and what hangs on it.
fn network_options() -> Vec<Opt> {
    vec![
        Opt::string("routing", "Overrides Routing.Type.").default("default"),
        Opt::bool("mount", "Mounts IPFS to the filesystem using FUSE. Not available."),
        Opt::string("mount-ipfs", "Path to the mountpoint for IPFS, with --mount."),
        Opt::string("mount-ipns", "Path to the mountpoint for IPNS, with --mount."),
        Opt::string("mount-mfs", "Path to the mountpoint for MFS, with --mount."),
        Opt::bool(
            "unrestricted-api",
            "Serve everything under /ipfs and /ipns on the API's port, not the web UI alone.",
        ),
        Opt::bool("disable-transport-encryption", "Disable transport encryption. Without effect yet."),
        Opt::bool("enable-pubsub-experiment", "Enable pubsub: as Pubsub.Enabled in the config."),
        Opt::bool(
            "enable-namesys-pubsub",
            "Enable IPNS over pubsub, and pubsub with it: as Ipns.UsePubsub in the config.",
        ),
        Opt::bool("enable-mplex-experiment", "Removed. Without effect."),
        Opt::string("agent-version-suffix", "A suffix of the agent version that peers see."),
    ]
}

pub(super) fn shutdown() -> Command {
    Command::new("shutdown", "Shut down the daemon.")
        .help("Asks the running daemon to end. It closes its repo and is gone within a second.")
        .needs(Needs::Config)
        .ends_daemon()
        .run(run_shutdown)
}

async fn run_shutdown(context: Context, _request: Request) -> Result<Response, CommandError> {
    let runtime = context.runtime().ok_or_else(|| CommandError::client("daemon not running"))?;
    runtime.stop();
    Ok(Response::Empty)
}
