//! `swarm addrs`: addresses of others and our own.

use std::fmt::Write as _;

use libp2p::Multiaddr;
use serde_json::{Map, Value, json};

use super::{of_action, of_command, strings, strings_text};
use crate::commands::Context;
use crate::commands::config::line;
use crate::commands::registry::{Call, Command, CommandError, Needs, Opt, Request, Response};
use crate::swarm::Reachability;

pub(super) fn command() -> Command {
    Command::new("addrs", "List known addresses. Useful for debugging.")
        .help("Lists every address of other peers that this node knows.")
        .needs(Needs::Config)
        .run(run_known)
        .text(known_text)
        .subcommand(
            Command::new("autonat", "Show what is known about reachability.")
                .help("Shows which of this node's addresses others could reach when they tried (AutoNAT).")
                .needs(Needs::Config)
                .run(run_autonat)
                .text(autonat_text),
        )
        .subcommand(
            Command::new("listen", "List interface listening addresses.")
                .help("Lists the addresses that this node listens on, one for each network interface.")
                .needs(Needs::Config)
                .run(run_listen)
                .text(strings_text),
        )
        .subcommand(
            Command::new("local", "List local addresses.")
                .help("Lists the addresses that this node announces.")
                .opt(Opt::bool("id", "Show peer ID in addresses."))
                .needs(Needs::Config)
                .run(run_local)
                .text(strings_text),
        )
}

fn texts(addresses: &[Multiaddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

async fn run_known(context: Context, request: Request) -> Result<Response, CommandError> {
    let swarm = of_action(&context, request.call())?;
    let mut known = Map::new();
    for (peer, addresses) in swarm.book().all() {
        known.insert(peer.to_base58(), json!(texts(&addresses)));
    }
    let own = swarm.local_addresses().announced;
    if !own.is_empty() {
        known.insert(swarm.peer_id().to_base58(), json!(texts(&own)));
    }
    Ok(Response::One(json!({ "Addrs": known })))
}

fn known_text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let known = value.get("Addrs").and_then(Value::as_object);
    let mut peers: Vec<_> = known.into_iter().flatten().collect();
    peers.sort_by(|a, b| a.0.cmp(b.0));
    for (peer, addresses) in peers {
        let addresses = addresses.as_array().map(Vec::as_slice).unwrap_or_default();
        line(out, &format!("{peer} ({})", addresses.len()))?;
        addresses
            .iter()
            .filter_map(Value::as_str)
            .try_for_each(|address| line(out, &format!("\t{address}")))?;
    }
    Ok(())
}

async fn run_listen(context: Context, request: Request) -> Result<Response, CommandError> {
    let swarm = of_action(&context, request.call())?;
    let mut addresses = texts(&swarm.local_addresses().listening);
    addresses.sort_unstable();
    Ok(strings(&addresses))
}

async fn run_local(context: Context, request: Request) -> Result<Response, CommandError> {
    let swarm = of_action(&context, request.call())?;
    let mut addresses = texts(&swarm.local_addresses().announced);
    if request.bool("id") {
        let id = swarm.peer_id();
        for address in &mut addresses {
            // A text takes everything.
            let _ = write!(address, "/p2p/{id}");
        }
    }
    addresses.sort_unstable();
    Ok(strings(&addresses))
}

async fn run_autonat(context: Context, _: Request) -> Result<Response, CommandError> {
    let nat = of_command(&context)?.nat().await.map_err(CommandError::from_error)?;
    let mut shown = Map::new();
    let word = match nat.reachability {
        Reachability::Unknown => "Unknown",
        Reachability::Public => "Public",
        Reachability::Private => "Private",
    };
    shown.insert("reachability".to_owned(), word.into());
    let lists = [("reachable", nat.reachable), ("unreachable", nat.unreachable), ("unknown", nat.unknown)];
    for (name, addresses) in lists {
        if !addresses.is_empty() {
            shown.insert(name.to_owned(), json!(texts(&addresses)));
        }
    }
    Ok(Response::One(Value::Object(shown)))
}

fn autonat_text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let word = value.get("reachability").and_then(Value::as_str).unwrap_or_default();
    line(out, "AutoNAT V2 Status:")?;
    line(out, &format!("  Reachability: {word}"))?;
    line(out, "")?;
    line(out, "Per-Address Reachability:")?;
    let mut is_empty = true;
    for (name, title) in [("reachable", "Reachable"), ("unreachable", "Unreachable"), ("unknown", "Unknown")]
    {
        let Some(addresses) = value.get(name).and_then(Value::as_array) else { continue };
        is_empty = false;
        line(out, &format!("  {title}:"))?;
        addresses
            .iter()
            .filter_map(Value::as_str)
            .try_for_each(|address| line(out, &format!("    {address}")))?;
    }
    if is_empty {
        line(out, "  (no address reachability data available)")?;
    }
    Ok(())
}
