//! `pin remote service`: pinning services in the config.

use serde_json::{Value, json};

use super::super::config::{change, load};
use super::super::layout::aligned;
use super::super::planned::PINNING_SERVICES;
use super::super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Response};

pub(in crate::commands) fn service() -> Command {
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
        .help("Lists names and endpoints.")
        .opt(Opt::bool("stat", "Ask each service how many pins it has.").refused(PINNING_SERVICES))
        .needs(Needs::Config)
        .run(|context, _| async move {
            let services = load(&context).await?.remote_services();
            let service = |service: &crate::config::RemoteService| {
                json!({ "Service": service.name, "ApiEndpoint": service.endpoint })
            };
            let services: Vec<Value> = services.iter().map(service).collect();
            Ok(Response::One(json!({ "RemoteServices": services })))
        })
        .text(ls_text)
}

fn ls_text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let services = value.get("RemoteServices").and_then(Value::as_array).into_iter().flatten();
    let field = |service: &Value, name: &str| {
        service.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let lines: Vec<Vec<String>> =
        services.map(|service| vec![field(service, "Service"), field(service, "ApiEndpoint")]).collect();
    out.extend_from_slice(aligned(&lines, 1).as_bytes());
    Ok(())
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
