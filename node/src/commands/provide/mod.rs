//! `provide`: announcing on demand, and what is known of announcing. Its statistics have older names below `stats`.

mod once;
mod stat;
mod stat_text;

use serde_json::Value;

use super::registry::{Command, CommandError, Needs, Opt, Response, Status};
use super::{Context, planned};
use crate::provide::Provider;

pub(super) use stat::stat;

/// Kubo's words where announcing is switched off.
const SWITCHED_OFF: &str = "invalid configuration: Provide.Enabled is set to 'false'";

pub(super) fn command() -> Command {
    Command::new("provide", "Control and monitor content providing.")
        .help(
            "A node tells the DHT which blocks it has, so that others find it: new ones at once, all of them again once a \
             Provide.DHT.Interval, chosen by Provide.Strategy.",
        )
        .status(Status::Experimental)
        .needs(Needs::Config)
        .subcommand(clear())
        .subcommand(once::command())
        .subcommand(stat("stat"))
}

fn clear() -> Command {
    Command::new("clear", "Clear all CIDs from the provide queue.")
        .help(
            "Forgets what waits to be announced for the first time, and prints how many CIDs that were. They are announced \
             in their turn all the same. A node that is not online has none.",
        )
        .opt(Opt::bool("quiet q", "Do not write output."))
        .needs(Needs::Config)
        .run(|context, request| async move {
            let cleared = match context.open_node().and_then(crate::node::Node::provider) {
                Some(provider) => provider.clear().await.map_err(CommandError::from_error)?,
                None => 0,
            };
            Ok(if request.bool("quiet") { Response::Empty } else { Response::One(cleared.into()) })
        })
        .text(|_, value, out| {
            out.extend_from_slice(format!("removed {value} items from provide queue\n").as_bytes());
            Ok(())
        })
}

/// `routing reprovide`, and its older name below `bitswap`.
pub(super) fn reprovide() -> Command {
    Command::new("reprovide", "Announce again all that is stored, now.")
        .help(
            "Makes everything due at once that Provide.Strategy chooses. Announcing goes on by itself, so it is only allowed \
             with Provide.DHT.SweepEnabled=false, as in Kubo; 'provide stat --all' shows how far it is.",
        )
        .status(Status::Deprecated)
        .needs(Needs::Config)
        .run(|context, _| async move {
            super::swarm::of_command(&context)?;
            let provider = enabled(&context)?;
            let settings = provider.settings();
            if settings.sweep.interval.is_zero() {
                return Err(CommandError::new(
                    "invalid configuration: Provide.DHT.Interval is set to '0'",
                ));
            }
            if settings.is_sweep {
                return Err(CommandError::new(
                    "manual reprovide is not available with the sweep provider; set Provide.DHT.SweepEnabled=false to use \
                     the legacy provider, or run 'ipfs provide stat --all' to monitor the sweep schedule",
                ));
            }
            provider.reprovide().await.map_err(CommandError::from_error)?;
            Ok(Response::Empty)
        })
}

/// What announces in a node that is online, or Kubo's words for why nothing does.
pub(super) fn enabled(context: &Context) -> Result<&Provider, CommandError> {
    let node = context.open_node().ok_or_else(|| CommandError::new(planned::OFFLINE_COMMAND))?;
    node.provider().ok_or_else(|| {
        let is_off = node.config().flag("Provide.Enabled").ok().flatten() == Some(false);
        CommandError::new(if is_off { SWITCHED_OFF } else { super::finding::NO_DHT })
    })
}

/// A number in a value, by its path; 0 where there is none.
fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_default()
}
