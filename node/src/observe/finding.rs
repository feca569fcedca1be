//! Figures of the DHTs and of announcing, for a scrape.

use holdfast_dht::kad::{self, Scope};
use holdfast_dht::sweep::SweepStats;

use super::snapshot::{Sheet, Written};
use crate::node::Node;

/// What one DHT counts.
#[derive(Debug, Clone, PartialEq)]
pub struct DhtFigures {
    /// `wan` or `lan`.
    pub name: &'static str,
    /// Peers in the routing table.
    pub table_peers: u64,
    /// How many servers there are, as far as can be guessed; 0 where it cannot.
    pub network_size: u64,
    /// Queries that run.
    pub queries: u64,
    /// Messages by kind.
    pub messages: kad::Counts,
    /// What is announced in it; `None` where nothing is.
    pub sweep: Option<SweepStats>,
}

#[expect(clippy::cast_sign_loss, reason = "a guess of a size is not negative, and cut off if it were")]
fn whole(size: f64) -> u64 {
    size.round() as u64
}

/// Both DHTs of a node; none where it takes part in none.
pub(super) async fn figures(node: &Node) -> Vec<DhtFigures> {
    let Some(routing) = node.routing() else { return Vec::new() };
    let mut all = Vec::new();
    for (name, scope) in [("wan", Scope::Wan), ("lan", Scope::Lan)] {
        let Ok(stats) = routing.stats(scope).await else { continue };
        let sweep = match node.provider() {
            Some(provider) => provider.stats(scope).await.ok(),
            None => None,
        };
        all.push(DhtFigures {
            name,
            table_peers: stats.buckets.iter().map(|bucket| bucket.peers.len() as u64).sum(),
            network_size: stats.network_size.map_or(0, whole),
            queries: stats.queries as u64,
            messages: stats.messages,
            sweep,
        });
    }
    all
}

type ByDht<'a> = Vec<([(&'a str, &'a str); 1], u64)>;

impl Sheet<'_> {
    /// Kubo's and go-libp2p-kad-dht's names, where they have some.
    pub(super) fn finding(&mut self, dhts: &[DhtFigures]) -> Written {
        let by_dht = |pick: fn(&DhtFigures) -> u64| -> ByDht<'_> {
            dhts.iter().map(|dht| ([("dht", dht.name)], pick(dht))).collect()
        };
        self.gauges(
            "holdfast_dht_table_peers",
            "Peers in the routing table",
            &by_dht(|dht| dht.table_peers),
        )?;
        self.gauges(
            "holdfast_dht_network_peers",
            "Servers in the network, as far as can be guessed",
            &by_dht(|dht| dht.network_size),
        )?;
        self.gauges("holdfast_dht_queries_active", "Queries that run", &by_dht(|dht| dht.queries))?;
        self.messages("rpc_inbound_messages", "Requests that peers sent", dhts, |counts| counts.inbound)?;
        self.messages("rpc_outbound_messages", "Requests that were sent to peers", dhts, |counts| {
            counts.outbound
        })?;
        self.messages("rpc_outbound_request_errors", "Requests that peers did not answer", dhts, |counts| {
            counts.outbound_failed
        })?;
        if dhts.iter().all(|dht| dht.sweep.is_none()) {
            return Ok(());
        }
        let provided = |pick: fn(&SweepStats) -> u64| -> ByDht<'_> {
            let sweeps = dhts.iter().filter_map(|dht| Some((dht.name, dht.sweep.as_ref()?)));
            sweeps.map(|(name, sweep)| ([("dht", name)], pick(sweep))).collect()
        };
        self.counters(
            "provider_provides",
            "Keys that were announced, new ones and again",
            &provided(|sweep| sweep.past.keys_provided),
        )?;
        self.counters(
            "holdfast_provide_failures",
            "Keys that nobody took",
            &provided(|sweep| sweep.past.keys_failed),
        )?;
        self.counters(
            "holdfast_provide_records",
            "Pairs of a key and a server that took it",
            &provided(|sweep| sweep.past.records_provided),
        )?;
        self.gauges(
            "holdfast_provide_queued_keys",
            "New keys that wait to be announced",
            &provided(|sweep| sweep.pending_key_provides as u64),
        )?;
        self.gauges(
            "holdfast_provide_scheduled_keys",
            "Keys that are announced once an interval",
            &provided(|sweep| sweep.scheduled_keys),
        )
    }

    fn messages(
        &mut self,
        name: &str,
        help: &str,
        dhts: &[DhtFigures],
        pick: fn(&kad::MessageCounts) -> u64,
    ) -> Written {
        let values: Vec<_> = dhts
            .iter()
            .flat_map(|dht| dht.messages.by_name().map(move |(kind, counts)| (dht.name, kind, counts)))
            .map(|(dht, kind, counts)| ([("dht", dht), ("message_type", kind)], pick(&counts)))
            .collect();
        self.counters(name, help, &values)
    }
}
