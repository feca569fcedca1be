//! `pin remote service`: pinning services in the config.

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::super::super::config::{change, load};
use super::super::super::layout::aligned;
use super::super::super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Request, Response};
use crate::commands::Context;
use crate::config::{Config, RemoteService};
use crate::pinning::{Client, Filter, PinState, PinningError};

/// Services that are asked at a time, each with four questions.
const ASKED_MAX: usize = 8;

pub(super) fn service() -> Command {
    Command::new("service", "Configure remote pinning services.")
        .needs(Needs::Config)
        .subcommand(add())
        .subcommand(ls())
        .subcommand(rm())
}

fn add() -> Command {
    Command::new("add", "Add a remote pinning service.")
        .help(
            "Writes the service and the key that it is used with into the config, below Pinning.RemoteServices. 'config \
             show' leaves the key out.",
        )
        .arg(Arg::text("service", "Service name.").required())
        .arg(Arg::text("endpoint", "Service endpoint: its URL, without /pins.").required())
        .arg(Arg::text("key", "Service key.").required())
        .needs(Needs::Config)
        .run(|context, request| async move {
            let [name, endpoint, key] = [0, 1, 2].map(|index| request.arg(index).to_owned());
            change(&context, move |config, path| {
                config.remote_service_add(&name, &endpoint, &key).map_err(CommandError::from_error)?;
                config.save(path).map_err(CommandError::from_error)
            })
            .await?;
            Ok(Response::Empty)
        })
}

fn ls() -> Command {
    Command::new("ls", "List remote pinning services.")
        .help(
            "Lists names and endpoints. With --stat, each service is asked how many pins it has: queued/pinning/pinned/failed, \
             or 'invalid' where it does not answer that. 'pin remote ls' says why.",
        )
        .opt(Opt::bool("stat", "Ask each service how many pins it has (queued/pinning/pinned/failed).").default(false))
        .needs(Needs::Config)
        .run(run_ls)
        .text(ls_text)
}

async fn run_ls(context: Context, request: Request) -> Result<Response, CommandError> {
    let config = load(&context).await?;
    let services = config.remote_services();
    let services: Vec<Value> = if request.bool("stat") {
        let asked = services.into_iter().map(|service| with_stat(&config, service));
        stream::iter(asked).buffered(ASKED_MAX).collect().await
    } else {
        services.into_iter().map(|service| plain(&service)).collect()
    };
    Ok(Response::One(json!({ "RemoteServices": services })))
}

fn plain(service: &RemoteService) -> Value {
    json!({ "Service": service.name, "ApiEndpoint": service.endpoint })
}

/// A service and how many pins it has. One that fails does not hide the others.
async fn with_stat(config: &Config, service: RemoteService) -> Value {
    let mut value = plain(&service);
    let stat = match counts(config, &service.name).await {
        Ok(counts) => {
            let [queued, pinning, pinned, failed] = counts;
            let counts = json!({ "Queued": queued, "Pinning": pinning, "Pinned": pinned, "Failed": failed });
            json!({ "Status": "valid", "PinCount": counts })
        }
        Err(error) => {
            tracing::debug!("the pinning service {:?} was not counted: {error}", service.name);
            json!({ "Status": "invalid" })
        }
    };
    if let Some(value) = value.as_object_mut() {
        value.insert("Stat".to_owned(), stat);
    }
    value
}

/// How many pins it has in each state, in the API's order.
async fn counts(config: &Config, name: &str) -> Result<[u64; 4], PinningError> {
    let client = Client::new(&config.remote_service(name)?)?;
    let count = |state| {
        let (client, filter) = (client.clone(), Filter { states: vec![state], ..Filter::default() });
        async move { Ok::<_, PinningError>(client.page(&filter, None, 1).await?.count) }
    };
    let [a, b, c, d] = PinState::ALL.map(count);
    let (a, b, c, d) = tokio::try_join!(a, b, c, d)?;
    Ok([a, b, c, d])
}

fn ls_text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let services = value.get("RemoteServices").and_then(Value::as_array).into_iter().flatten();
    let lines: Vec<Vec<String>> = services
        .map(|service| {
            let field = |name: &str| service.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut line = vec![field("Service"), field("ApiEndpoint")];
            line.extend(call.bool("stat").then(|| stat_text(service)));
            line
        })
        .collect();
    out.extend_from_slice(aligned(&lines, 1).as_bytes());
    Ok(())
}

fn stat_text(service: &Value) -> String {
    match service.pointer("/Stat/PinCount") {
        Some(counts) => {
            let count = |name: &str| counts.get(name).and_then(Value::as_u64).unwrap_or_default().to_string();
            ["Queued", "Pinning", "Pinned", "Failed"].map(count).join("/")
        }
        None => service.pointer("/Stat/Status").and_then(Value::as_str).unwrap_or_default().to_owned(),
    }
}

fn rm() -> Command {
    Command::new("rm", "Remove a remote pinning service.")
        .help("Takes the service and its key out of the config. A name that is not there is no error.")
        .arg(Arg::text("service", "Name of remote pinning service to remove.").required())
        .needs(Needs::Config)
        .run(|context, request| async move {
            let name = request.arg(0).to_owned();
            change(&context, move |config, path| {
                config.remote_service_remove(&name).map_err(CommandError::from_error)?;
                config.save(path).map_err(CommandError::from_error)
            })
            .await?;
            Ok(Response::Empty)
        })
}
