//! `provide stat`, `stats provide`, `stats reprovide`: figures of announcing, in Kubo's JSON.

use std::time::Duration;

use holdfast_dht::ipns::Timestamp;
use holdfast_dht::kad::Scope;
use holdfast_dht::sweep::SweepStats;
use serde_json::{Value, json};

use super::super::registry::{Command, CommandError, Needs, Opt, Request, Response, Status};
use super::super::{Context, planned};
use super::stat_text::text;
use crate::node::Node;
use crate::provide::ClassicStats;

/// How Go writes a time that is not set.
pub(super) const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Kubo's words where there is no sweep of the local network.
const NO_LAN: &str = "LAN stats only available for Sweep provider with Dual DHT";

/// The command, under one of its names.
pub(in crate::commands) fn stat(name: &'static str) -> Command {
    let status = if name == "stat" { Status::Experimental } else { Status::Deprecated };
    Command::new(name, "Show statistics about the provide system.")
        .help(
            "Shows how far announcing is: what waits, what is scheduled, who takes it. Without options a summary; --all shows \
             everything, each section has an option of its own. Times are in UTC.\n\nThe figures are those of the WAN DHT; \
             --lan shows those of the local network. With Provide.DHT.SweepEnabled=false there are only a few, and no options.",
        )
        .status(status)
        .opt(Opt::bool("lan", "Show stats for LAN DHT only."))
        .opt(Opt::bool("all a", "Display all provide sweep stats."))
        .opt(Opt::bool("compact", "Display stats in 2-column layout (requires --all)."))
        .opt(Opt::bool("connectivity", "Display DHT connectivity status."))
        .opt(Opt::bool("network", "Display network stats (peers, reachability, region size)."))
        .opt(Opt::bool("schedule", "Display reprovide schedule (CIDs/regions scheduled, next reprovide time)."))
        .opt(Opt::bool("timings", "Display timing information (uptime, cycle start, reprovide interval)."))
        .opt(Opt::bool("workers", "Display worker pool stats (active/available/queued workers)."))
        .opt(Opt::bool("operations", "Display operation stats (ongoing/past provides, rates, errors)."))
        .opt(Opt::bool("queues", "Display provide and reprovide queue sizes."))
        .needs(Needs::Config)
        .run(run)
        .text(text)
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    super::super::swarm::of_command(&context)?;
    let node = context.open_node().ok_or_else(|| CommandError::new(planned::OFFLINE_COMMAND))?;
    let lan = request.bool("lan");
    let Some(provider) = node.provider() else { return Err(CommandError::new(nothing(node, lan))) };
    if let Some(stats) = provider.classic_stats() {
        if lan {
            return Err(CommandError::new(NO_LAN));
        }
        return Ok(Response::One(json!({ "Sweep": null, "Legacy": legacy(&stats), "FullRT": false })));
    }
    let scope = if lan || !provider.announces_in(Scope::Wan) { Scope::Lan } else { Scope::Wan };
    let stats = provider.stats(scope).await.map_err(CommandError::from_error)?;
    Ok(Response::One(json!({ "Sweep": sweep(&stats), "Legacy": null, "FullRT": false })))
}

/// Why there are no figures. The first words are Kubo's.
fn nothing(node: &Node, lan: bool) -> String {
    if lan {
        return NO_LAN.to_owned();
    }
    let why = if node.routing().is_none() { "Routing.Type is none" } else { "Provide.Enabled is false" };
    format!("stats not available with current routing system: nothing is announced, for {why}")
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn legacy(stats: &ClassicStats) -> Value {
    json!({
        "TotalReprovides": stats.reprovided,
        "LastReprovideBatchSize": stats.last_keys,
        "ReprovideInterval": nanos(stats.interval),
        "AvgReprovideDuration": nanos(stats.key_duration),
        "LastReprovideDuration": nanos(stats.last_duration),
        "LastRun": stats.last_run.map_or_else(|| NO_TIME.to_owned(), |at| at.to_string()),
    })
}

fn sweep(stats: &SweepStats) -> Value {
    let has_schedule = !stats.interval.is_zero() && stats.scheduled_keys > 0;
    let time = |at: Timestamp, is_set: bool| if is_set { at.to_string() } else { NO_TIME.to_owned() };
    let prefix = if has_schedule { stats.next_reprovide_prefix.to_string() } else { String::new() };
    let past = &stats.past;
    json!({
        "closed": false,
        "connectivity": { "status": stats.status, "since": stats.since.to_string() },
        "queues": {
            "pending_key_provides": stats.pending_key_provides,
            "pending_region_provides": stats.pending_region_provides,
            "pending_region_reprovides": stats.pending_region_reprovides,
        },
        "schedule": {
            "keys": stats.scheduled_keys,
            "regions": stats.scheduled_regions,
            "avg_prefix_length": stats.average_prefix_bits,
            "next_reprovide_at": time(stats.next_reprovide_at, has_schedule),
            "next_reprovide_prefix": prefix,
        },
        "workers": {
            "max": stats.workers_max,
            "active": stats.active_periodic + stats.active_burst,
            "active_periodic": stats.active_periodic,
            "active_burst": stats.active_burst,
            "dedicated_periodic": stats.dedicated_periodic,
            "dedicated_burst": stats.dedicated_burst,
            "queued_periodic": stats.queued_periodic,
            "queued_burst": stats.queued_burst,
            "max_provide_conns_per_worker": stats.connections_per_worker,
        },
        "timing": {
            "uptime": nanos(stats.uptime),
            "reprovides_interval": nanos(stats.interval),
            "cycle_start": time(stats.cycle_start, !stats.interval.is_zero()),
            "current_time_offset": nanos(stats.offset),
            "max_reprovide_delay": nanos(stats.reprovide_delay_max),
        },
        "operations": {
            "ongoing": {
                "region_provides": stats.ongoing_provides.0,
                "key_provides": stats.ongoing_provides.1,
                "region_reprovides": stats.ongoing_reprovides.0,
                "key_reprovides": stats.ongoing_reprovides.1,
            },
            "past": {
                "records_provided": past.records_provided,
                "keys_provided": past.keys_provided,
                "keys_failed": past.keys_failed,
                "keys_provided_per_minute": past.keys_provided_per_minute,
                "keys_reprovided_per_minute": past.keys_reprovided_per_minute,
                "reprovide_duration": nanos(past.region_duration),
                "avg_keys_per_reprovide": past.keys_per_region,
                "regions_reprovided_last_cycle": past.regions_last_cycle,
            },
        },
        "network": {
            "peers": stats.peers,
            "reachable": stats.reachable,
            "complete_keyspace_coverage": stats.is_complete,
            "avg_region_size": stats.average_region_peers,
            "avg_holders": stats.average_holders,
            "replication_factor": stats.replication,
        },
    })
}
