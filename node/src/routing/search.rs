//! Searches for providers that Bitswap asks for.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use holdfast_bitswap::{Events, Handle};
use holdfast_dag::cid::Cid;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Routing, SEARCH_TIME_MAX};

/// Searches at a time. Those asked for meanwhile wait, and a session asks again.
const SEARCHES_MAX: usize = 16;

/// Answers searches until Bitswap is gone, each with `providers_max` providers at most. A search for a CID that is being searched for already is not begun again.
pub(crate) async fn answer_searches(
    routing: Routing,
    mut asked: Events,
    exchange: Handle,
    providers_max: usize,
) {
    let mut running: JoinSet<Cid> = JoinSet::new();
    let mut searched: HashSet<Cid> = HashSet::new();
    loop {
        tokio::select! {
            Some(ended) = running.join_next(), if !running.is_empty() => match ended {
                Ok(cid) => drop(searched.remove(&cid)),
                Err(error) => tracing::error!("a search for providers failed: {error}"),
            },
            request = asked.next(), if running.len() < SEARCHES_MAX => {
                let Some(request) = request else { return };
                if searched.insert(request.cid) {
                    running.spawn(search(routing.clone(), request.cid, exchange.clone(), providers_max));
                }
            }
        }
    }
}

async fn search(routing: Routing, cid: Cid, exchange: Handle, providers_max: usize) -> Cid {
    let mut found = routing.find_providers(cid.hash(), providers_max, None);
    let all = async {
        while let Some(provider) = found.next().await {
            if provider.id == routing.us {
                continue;
            }
            exchange.providers(cid, vec![(provider.id, provider.addresses)]).await;
        }
    };
    // Whoever was found until then has been told.
    drop(timeout(SEARCH_TIME_MAX, all).await);
    cid
}
