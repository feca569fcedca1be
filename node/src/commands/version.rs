//! `version`.

use serde_json::{Value, json};

use super::Context;
use super::registry::{Call, Command, CommandError, Needs, Opt, Request, Response};

/// The level of Kubo's interfaces that this version matches. Clients parse it as plain numbers.
pub const KUBO_VERSION: &str = "0.44.0";

/// The repo version that clients of that level expect.
pub const REPO_VERSION: &str = "18";

/// What this program is, in the place where Kubo has its commit.
pub(super) const COMMIT: &str = concat!("holdfast-", env!("CARGO_PKG_VERSION"));

pub(super) fn command() -> Command {
    super::deps::add_to(version())
}

fn version() -> Command {
    Command::new("version", "Show version information.")
        .help(
            "Shows which level of Kubo's commands and interfaces this node matches. --all also names the program \
             itself. The key API.ReportedVersion of the config has it say another level, for old clients that insist \
             on one.",
        )
        .opt(Opt::bool("number n", "Only show the version number."))
        .opt(Opt::bool("commit", "Show the commit hash."))
        .opt(Opt::bool("repo", "Show repo version."))
        .opt(Opt::bool("all", "Show all version information."))
        .needs(Needs::Nothing)
        .run(run)
        .text(text)
}

async fn run(context: Context, _request: Request) -> Result<Response, CommandError> {
    Ok(Response::One(json!({
        "Version": reported(context).await,
        "Commit": COMMIT,
        "Repo": REPO_VERSION,
        "System": system(),
        "Golang": "",
    })))
}

/// What clients are told: the level that is matched, unless `API.ReportedVersion` of the config says something else. Before
/// `init` there is no config.
async fn reported(context: Context) -> String {
    let of_config = super::config::load(&context).await.ok().and_then(|config| config.api().ok());
    of_config.and_then(|api| api.reported_version).unwrap_or_else(|| KUBO_VERSION.to_owned())
}

/// Architecture and system, in Go's words.
pub(crate) fn system() -> String {
    format!("{}/{}", arch(), os())
}

pub(super) fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(super) fn os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

fn text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, commit, repo) = (field("Version"), field("Commit"), field("Repo"));
    let suffix = if commit.is_empty() { String::new() } else { format!("-{commit}") };
    let shown = if call.bool("commit") { suffix.as_str() } else { "" };
    let text = if call.bool("all") {
        format!(
            "Kubo version: {version}{suffix}\nRepo version: {repo}\nSystem version: {}\nGolang version: {}\n",
            field("System"),
            field("Golang")
        )
    } else if call.bool("repo") {
        format!("{repo}\n")
    } else if call.bool("number") {
        format!("{version}{shown}\n")
    } else {
        format!("ipfs version {version}{shown}\n")
    };
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
