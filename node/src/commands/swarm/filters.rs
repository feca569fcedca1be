//! `swarm filters`: ranges that nothing is dialled in or accepted from.

use serde_json::json;

use super::{of_command, strings, strings_text};
use crate::commands::Context;
use crate::commands::config::change;
use crate::commands::registry::{Arg, Command, CommandError, Needs, Request, Response};
use crate::swarm::filters::IpRange;

/// Where they stand in the config.
const KEY: &str = "Swarm.AddrFilters";

pub(super) fn command() -> Command {
    let arg = || Arg::text("address", "Filter, as a multiaddr with a mask.").required().variadic().stdin();
    Command::new("filters", "Manipulate address filters.")
        .help(
            "Lists the ranges of addresses that this node neither dials nor accepts connections from, such as \
             /ip4/192.168.0.0/ipcidr/16. They begin as what Swarm.AddrFilters in the config says.",
        )
        .needs(Needs::Config)
        .run(run_list)
        .text(strings_text)
        .subcommand(
            Command::new("add", "Add an address filter.")
                .help("Adds filters, here and in the config. Connections that are open stay.")
                .arg(arg())
                .needs(Needs::Config)
                .run(run_add)
                .text(strings_text),
        )
        .subcommand(
            Command::new("rm", "Remove an address filter.")
                .help("Removes filters, here and in the config; 'all' removes every one.")
                .arg(arg())
                .needs(Needs::Config)
                .run(run_rm)
                .text(strings_text),
        )
}

async fn run_list(context: Context, _: Request) -> Result<Response, CommandError> {
    let ranges: Vec<String> = of_command(&context)?.filters().iter().map(ToString::to_string).collect();
    Ok(strings(&ranges))
}

fn parsed(texts: &[String]) -> Result<Vec<IpRange>, CommandError> {
    texts.iter().map(|text| IpRange::parse(text).map_err(CommandError::from_error)).collect()
}

async fn run_add(context: Context, request: Request) -> Result<Response, CommandError> {
    let swarm = of_command(&context)?.clone();
    for range in parsed(request.args())? {
        swarm.filter_add(range).map_err(CommandError::from_error)?;
    }
    let mut given: Vec<String> = Vec::new();
    for text in request.args() {
        if !given.contains(text) {
            given.push(text.clone());
        }
    }
    let added = given.clone();
    change(&context, move |config, path| {
        let mut list = given;
        for known in config.text_list(KEY).map_err(CommandError::from_error)? {
            if !list.contains(&known) {
                list.push(known);
            }
        }
        config.set(KEY, json!(list)).map_err(CommandError::from_error)?;
        config.save(path).map_err(CommandError::from_error)
    })
    .await?;
    Ok(strings(&added))
}

async fn run_rm(context: Context, request: Request) -> Result<Response, CommandError> {
    let swarm = of_command(&context)?.clone();
    let all = matches!(request.arg(0), "all" | "*");
    if all {
        swarm.filters_clear();
    } else {
        parsed(request.args())?.into_iter().for_each(|range| swarm.filter_remove(range));
    }
    let unwanted = request.args().to_vec();
    let removed = change(&context, move |config, path| {
        let list = config.text_list(KEY).map_err(CommandError::from_error)?;
        let (removed, kept): (Vec<String>, Vec<String>) =
            list.into_iter().partition(|known| all || unwanted.contains(known));
        config.set(KEY, json!(kept)).map_err(CommandError::from_error)?;
        config.save(path).map_err(CommandError::from_error)?;
        Ok(removed)
    })
    .await?;
    Ok(strings(&removed))
}
