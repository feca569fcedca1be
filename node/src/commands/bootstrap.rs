//! `bootstrap`.

use serde_json::{Value, json};

use super::Context;
use super::config::{change, line, load_for};
use super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Request, Response};

pub(super) fn command() -> Command {
    let list = || {
        Command::new("list", "Show peers in the bootstrap list.")
            .opt(Opt::bool("expand-auto", "Expand 'auto' placeholders to their resolved values."))
            .needs(Needs::Config)
            .run(run_list)
            .text(text_sorted)
    };
    Command::new("bootstrap", "Show or edit the list of bootstrap peers.")
        .help("Without a subcommand, lists the bootstrap peers.")
        .needs(Needs::Config)
        .run(run_list)
        .text(text_sorted)
        .subcommand(add())
        .subcommand(list())
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
                .run(run_rm)
                .text(text_removed)
                .subcommand(
                    Command::new("all", "Remove all peers from the bootstrap list.")
                        .needs(Needs::Config)
                        .run(|context, _| remove_all(context))
                        .text(text_removed),
                ),
        )
}

fn add() -> Command {
    Command::new("add", "Add peers to the bootstrap list.")
        .help("Puts peers at the front of the list, and prints them, whether or not they were on it before.")
        .arg(
            Arg::text("peer", "A peer to add to the bootstrap list (multiaddr with /p2p/, or default).")
                .variadic()
                .stdin(),
        )
        .needs(Needs::Config)
        .run(|context, request| async move {
            let peers = request.args().to_vec();
            let added = change(&context, move |config, path| {
                let added = config.bootstrap_add(&peers).map_err(CommandError::from_error)?;
                config.save(path).map_err(CommandError::from_error)?;
                Ok(added)
            })
            .await?;
            Ok(peers_value(&added))
        })
        .text(|_, value, out| each(value, out, "added "))
}

async fn run_list(context: Context, request: Request) -> Result<Response, CommandError> {
    let config = load_for(&context, &request).await?;
    let peers = config.bootstrap().map_err(CommandError::from_error)?;
    Ok(peers_value(&peers))
}

async fn run_rm(context: Context, request: Request) -> Result<Response, CommandError> {
    if request.bool("all") {
        return remove_all(context).await;
    }
    let peers = request.args().to_vec();
    let removed = change(&context, move |config, path| {
        let removed = config.bootstrap_remove(&peers).map_err(CommandError::from_error)?;
        config.save(path).map_err(CommandError::from_error)?;
        Ok(removed)
    })
    .await?;
    Ok(peers_value(&removed))
}

async fn remove_all(context: Context) -> Result<Response, CommandError> {
    let removed = change(&context, |config, path| {
        let removed = config.bootstrap_remove_all().map_err(CommandError::from_error)?;
        config.save(path).map_err(CommandError::from_error)?;
        Ok(removed)
    })
    .await?;
    Ok(peers_value(&removed))
}

fn peers_value(peers: &[String]) -> Response {
    Response::One(json!({ "Peers": peers }))
}

fn text_sorted(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let mut peers = peers_of(value);
    peers.sort_unstable();
    peers.into_iter().try_for_each(|peer| line(out, peer))
}

fn text_removed(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    each(value, out, "removed ")
}

fn each(value: &Value, out: &mut Vec<u8>, before: &str) -> Result<(), CommandError> {
    peers_of(value).into_iter().try_for_each(|peer| line(out, &format!("{before}{peer}")))
}

fn peers_of(value: &Value) -> Vec<&str> {
    let peers = value.get("Peers").and_then(Value::as_array);
    peers.map(|peers| peers.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}
