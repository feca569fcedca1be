//! Whether the node is well, from what it really counts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::snapshot::SwarmFigures;
use super::{BitswapFigures, NodeFigures, recent};
use crate::commands::Context;
use crate::node::Node;

/// How long the store may take to answer before it counts as unwell.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Why a node is not well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unwell {
    /// It is on its way down.
    #[error("the daemon is shutting down")]
    Stopping,
    /// The repo cannot be read.
    #[error("the repo cannot be read: {0}")]
    Repo(String),
    /// The repo does not answer.
    #[error("the repo has not answered for {} seconds", ANSWER_MAX.as_secs())]
    Stuck,
}

/// Whether the node answers: its store is open and can be read, and it is not on its way down.
pub async fn check(context: &Context) -> Result<(), Unwell> {
    if context.runtime().is_some_and(crate::runtime::Runtime::is_stopping) {
        return Err(Unwell::Stopping);
    }
    let node = context.node().await.map_err(|error| Unwell::Repo(error.message))?;
    // Not the counters but the index: it is a read that fails where reads fail.
    match tokio::time::timeout(ANSWER_MAX, node.repo_health()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Unwell::Repo(error.to_string())),
        Err(_) => Err(Unwell::Stuck),
    }
}

/// What a node counts, if there is one.
pub(super) async fn figures(context: &Context) -> Option<NodeFigures> {
    let healthy = check(context).await.is_ok();
    let node = context.node().await.ok()?;
    Some(NodeFigures {
        peer_id: peer_id(node),
        healthy,
        store: if healthy { store_stat(node).await } else { None },
        storage_bytes_max: node.config().datastore().ok().and_then(|datastore| datastore.storage_bytes_max),
        fetch: node.fetch().counts(),
        tally: node.store().tally(),
        swarm: swarm_figures(node).await,
        bitswap: node.exchange().map(|exchange| BitswapFigures::of(exchange.counters())),
        dhts: super::finding::figures(node).await,
    })
}

async fn swarm_figures(node: &Node) -> Option<SwarmFigures> {
    let swarm = node.swarm()?;
    let mut by_transport = BTreeMap::new();
    for connection in swarm.connections().await.ok()? {
        let names: Vec<String> = connection.address.protocol_stack().map(|name| format!("/{name}")).collect();
        *by_transport.entry(names.concat()).or_insert(0) += 1;
    }
    let traffic = swarm.traffic_by_protocol();
    Some(SwarmFigures {
        by_transport: by_transport.into_iter().collect(),
        usage: swarm.usage().await.ok()?,
        traffic,
    })
}

async fn store_stat(node: &Node) -> Option<holdfast_blockstore::StoreStat> {
    let at_work = node.clone();
    let stat = node.pool().run(move || at_work.store().stat());
    tokio::time::timeout(ANSWER_MAX, stat).await.ok()?.ok()?.ok()
}

fn peer_id(node: &Node) -> String {
    node.config().identity().map(|identity| identity.peer_id).unwrap_or_default()
}

/// The report of `GET /api/v1/ipfs/health`, and whether the node is well.
///
/// This node is the only one that it knows of. Rates are those of the last minute, the hit rate that of all blocks that
/// were asked for since the node opened; what has not happened yet is 0.
pub async fn report(context: &Context) -> (bool, Value) {
    let well = check(context).await;
    let healthy = well.is_ok();
    let fetch = match context.node().await {
        Ok(node) => node.fetch().counts(),
        Err(_) => crate::fetch::FetchCounts::default(),
    };
    let (minute, seconds) = context.runtime().map_or_else(Default::default, |runtime| {
        let metrics = runtime.metrics();
        let seconds = metrics.age().as_secs_f64().clamp(1.0, recent::WINDOW_SECONDS as f64);
        (metrics.last_minute(), seconds)
    });
    let asked = fetch.found + fetch.missing;
    let hit_rate = if asked == 0 { 0.0 } else { fetch.found as f64 / asked as f64 };
    let average = minute.time.as_secs_f64() / (minute.count.max(1)) as f64;
    let per_second = if minute.count == 0 { 0.0 } else { minute.count as f64 / seconds };
    let mut report = json!({
        "status": if healthy { "healthy" } else { "unhealthy" },
        "nodes": {
            "total": 1,
            "healthy": u8::from(healthy),
            "unhealthy": u8::from(!healthy),
        },
        "performance": {
            "avg_response_time": average,
            "cache_hit_rate": hit_rate,
            "operations_per_second": per_second,
        },
    });
    if let (Err(reason), Some(map)) = (well, report.as_object_mut()) {
        map.insert("reason".to_owned(), reason.to_string().into());
    }
    (healthy, report)
}
