//! `swarm resources`: the limits of `Swarm.ResourceMgr`, and how much of them is used.

use serde_json::{Map, Value, json};

use crate::commands::registry::{Call, Command, CommandError, Needs, Request, Response};
use crate::commands::{Context, planned};
use crate::swarm::{ResourceLimits, Usage};

/// What Kubo writes where there is no limit.
const UNLIMITED: &str = "unlimited";

pub(super) fn command() -> Command {
    Command::new("resources", "Get a summary of all resources that connections use.")
        .help(
            "Shows the limits on connections and streams, and how much of them is used. System is everything together, \
             Transient are connections that are not secured yet.",
        )
        .needs(Needs::Config)
        .run(run)
        .text(text)
}

async fn run(context: Context, _: Request) -> Result<Response, CommandError> {
    let swarm = context.swarm();
    let Some((swarm, limits)) = swarm.and_then(|swarm| Some((swarm, swarm.limits()?))) else {
        return Err(CommandError::new(planned::NO_RESOURCE_MANAGER));
    };
    let usage = swarm.usage().await.map_err(CommandError::from_error)?;
    Ok(Response::One(json!({
        "System": system(&limits, &usage),
        "Transient": transient(&limits, &usage),
    })))
}

fn system(limits: &ResourceLimits, usage: &Usage) -> Value {
    let connections = usage.inbound_connections + usage.outbound_connections;
    let streams = usage.streams.inbound + usage.streams.outbound;
    json!({
        "Conns": UNLIMITED, "ConnsUsage": connections,
        "ConnsInbound": limits.inbound_connections, "ConnsInboundUsage": usage.inbound_connections,
        "ConnsOutbound": UNLIMITED, "ConnsOutboundUsage": usage.outbound_connections,
        "Streams": UNLIMITED, "StreamsUsage": streams,
        "StreamsInbound": limits.inbound_streams, "StreamsInboundUsage": usage.streams.inbound,
        "StreamsOutbound": UNLIMITED, "StreamsOutboundUsage": usage.streams.outbound,
    })
}

fn transient(limits: &ResourceLimits, usage: &Usage) -> Value {
    json!({
        "Conns": UNLIMITED, "ConnsUsage": usage.pending_inbound + usage.pending_outbound,
        "ConnsInbound": limits.pending_inbound, "ConnsInboundUsage": usage.pending_inbound,
        "ConnsOutbound": limits.pending_outbound, "ConnsOutboundUsage": usage.pending_outbound,
    })
}

/// Kubo's table: columns of at least 20 characters.
fn text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    row(out, &["Scope", "Limit Name", "Limit Value", "Limit Usage Amount", "Limit Usage Percent"]);
    let scopes: [(&str, Option<&Map<String, Value>>); 2] = [
        ("system", value.get("System").and_then(Value::as_object)),
        ("transient", value.get("Transient").and_then(Value::as_object)),
    ];
    for (scope, fields) in scopes {
        let Some(fields) = fields else { continue };
        for (name, limit) in fields.iter().filter(|(name, _)| !name.ends_with("Usage")) {
            let used = fields.get(&format!("{name}Usage")).and_then(Value::as_u64).unwrap_or_default();
            let (limit, share) = match limit.as_u64() {
                Some(limit) if used == 0 => (limit.to_string(), "0%".to_owned()),
                Some(limit) => (limit.to_string(), format!("{:.1}%", used as f64 / limit as f64 * 100.0)),
                None => (UNLIMITED.to_owned(), "n/a".to_owned()),
            };
            row(out, &[scope, name, &limit, &used.to_string(), &share]);
        }
    }
    Ok(())
}

fn row(out: &mut Vec<u8>, cells: &[&str]) {
    for cell in cells {
        out.extend_from_slice(format!("{cell:<24}").as_bytes());
    }
    out.push(b'\n');
}
