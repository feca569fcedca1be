//! `swarm resources`: the limits of `Swarm.ResourceMgr`, and how much of them is used. Shape and words are Kubo's.

use std::collections::{BTreeMap, HashMap};

use libp2p::PeerId;
use serde_json::{Map, Value, json};

use crate::commands::registry::{Call, Command, CommandError, Needs, Request, Response};
use crate::commands::{Context, planned};
use crate::swarm::meter::{OpenStreams, Shares};
use crate::swarm::{ConnectionInfo, Directed, Direction, ResourceLimits, ScopeLimits, Usage};

/// What Kubo writes where there is no limit. The table leaves such rows out.
const UNLIMITED: &str = "unlimited";
/// What it writes where nothing is allowed.
const BLOCK_ALL: &str = "blockAll";
/// Columns are at least this wide, and end at a multiple of the second, in characters.
const COLUMN_MIN: usize = 20;
const TAB: usize = 8;

pub(super) fn command() -> Command {
    Command::new("resources", "Get a summary of all resources that connections use.")
        .help(
            "Shows what connections and streams use, and the limits on it. System is everything together; Transient \
             are connections that are not secured yet, and streams on which no protocol is agreed yet; then follows \
             each protocol and each peer.\n\nMemory is what peers sent over yamux and nobody has read yet; FD are TCP \
             sockets of open connections. The table shows what has a limit, --enc=json everything.",
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
    let connections = swarm.connections().await.map_err(CommandError::from_error)?;
    let shares = swarm.shares();
    let mut all = json!({
        "System": system(&limits, &usage, &connections),
        "Transient": transient(&limits, &usage, &shares),
    });
    if let Some(all) = all.as_object_mut() {
        // Kubo leaves out what is empty.
        for (name, scopes) in
            [("Protocols", protocols(&shares)), ("Peers", peers(&limits, &connections, &shares))]
        {
            if !scopes.is_empty() {
                all.insert(name.to_owned(), Value::Object(scopes));
            }
        }
    }
    Ok(Response::One(all))
}

/// A scope: limits, none of them set at first, and what is used.
#[derive(Debug, Default)]
struct Scope {
    memory: Amount,
    sockets: Amount,
    connections: Pair,
    streams: Pair,
}

#[derive(Debug, Default, Clone, Copy)]
struct Amount {
    used: usize,
    limit: Option<usize>,
}

/// What others opened, and what we opened.
#[derive(Debug, Default, Clone, Copy)]
struct Pair {
    limit: Option<usize>,
    inbound: Amount,
    outbound: Amount,
}

impl Pair {
    fn of(inbound: usize, outbound: usize) -> Self {
        let used = |used| Amount { used, limit: None };
        Self { limit: None, inbound: used(inbound), outbound: used(outbound) }
    }

    fn of_streams(streams: OpenStreams) -> Self {
        Self::of(streams.inbound, streams.outbound)
    }

    fn limited(self, limits: Directed) -> Self {
        let limited = |amount: Amount, limit| Amount { limit, ..amount };
        let (inbound, outbound) =
            (limited(self.inbound, limits.inbound), limited(self.outbound, limits.outbound));
        Self { limit: limits.both, inbound, outbound }
    }

    fn both(self) -> Amount {
        Amount { used: self.inbound.used + self.outbound.used, limit: self.limit }
    }
}

impl Scope {
    fn limited(self, limits: &ScopeLimits) -> Self {
        Self {
            memory: Amount { limit: limits.memory_bytes, ..self.memory },
            sockets: Amount { limit: limits.sockets, ..self.sockets },
            connections: self.connections.limited(limits.connections),
            streams: self.streams.limited(limits.streams),
        }
    }

    fn json(&self) -> Value {
        let mut fields = Map::new();
        let mut add = |name: &str, amount: Amount, limit: Value| {
            let shown = match amount.limit {
                None => json!(UNLIMITED),
                Some(0) => json!(BLOCK_ALL),
                Some(_) => limit,
            };
            fields.insert(name.to_owned(), shown);
            fields.insert(format!("{name}Usage"), json!(amount.used));
        };
        // go-libp2p writes numbers that may need 64 bits as text.
        add("Memory", self.memory, json!(self.memory.limit.map(|limit| limit.to_string())));
        for (name, amount) in [
            ("FD", self.sockets),
            ("Conns", self.connections.both()),
            ("ConnsInbound", self.connections.inbound),
            ("ConnsOutbound", self.connections.outbound),
            ("Streams", self.streams.both()),
            ("StreamsInbound", self.streams.inbound),
            ("StreamsOutbound", self.streams.outbound),
        ] {
            add(name, amount, json!(amount.limit));
        }
        Value::Object(fields)
    }
}

fn system(limits: &ResourceLimits, usage: &Usage, connections: &[ConnectionInfo]) -> Value {
    let mut scope = Scope {
        connections: Pair::of(usage.inbound_connections, usage.outbound_connections),
        streams: Pair::of(usage.streams.inbound, usage.streams.outbound),
        ..Scope::default()
    };
    scope.memory.used = usage.unread_bytes;
    scope.sockets.used = connections.iter().filter(|open| has_socket(open)).count();
    scope.limited(&limits.system).json()
}

fn transient(limits: &ResourceLimits, usage: &Usage, shares: &Shares) -> Value {
    let scope = Scope {
        connections: Pair::of(usage.pending_inbound, usage.pending_outbound),
        streams: Pair::of_streams(shares.undecided),
        ..Scope::default()
    };
    scope.limited(&limits.transient).json()
}

fn protocols(shares: &Shares) -> Map<String, Value> {
    let of = |streams: &OpenStreams| Scope { streams: Pair::of_streams(*streams), ..Scope::default() }.json();
    shares.protocols.iter().map(|(name, streams)| (name.clone(), of(streams))).collect()
}

fn peers(limits: &ResourceLimits, connections: &[ConnectionInfo], shares: &Shares) -> Map<String, Value> {
    let mut of_peers: HashMap<PeerId, Scope> = HashMap::new();
    for open in connections {
        let scope = of_peers.entry(open.peer).or_default();
        match open.direction {
            Direction::Inbound => scope.connections.inbound.used += 1,
            Direction::Outbound => scope.connections.outbound.used += 1,
        }
        scope.sockets.used += usize::from(has_socket(open));
    }
    let mut sorted = BTreeMap::new();
    for (peer, mut scope) in of_peers {
        let usage = shares.peers.get(&peer).copied().unwrap_or_default();
        scope.streams = Pair::of_streams(usage.streams);
        scope.memory.used = usage.unread_bytes;
        sorted.insert(peer.to_base58(), scope.limited(limits.of_peer(&peer)).json());
    }
    sorted.into_iter().collect()
}

fn has_socket(open: &ConnectionInfo) -> bool {
    !open.relayed && crate::swarm::has_socket(&open.address)
}

fn text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    table(value, out);
    Ok(())
}

/// Kubo's table: cells end with tabs, as Go's tabwriter sets them.
fn table(value: &Value, out: &mut Vec<u8>) {
    let head = ["Scope", "Limit Name", "Limit Value", "Limit Usage Amount", "Limit Usage Percent"];
    let mut rows = vec![head.map(str::to_owned)];
    for (name, scope) in [("System", "system"), ("Transient", "transient")] {
        rows.extend(
            value.get(name).and_then(Value::as_object).iter().flat_map(|fields| limited(scope, fields)),
        );
    }
    for (name, prefix) in [("Services", "svc:"), ("Protocols", "proto:"), ("Peers", "peer:")] {
        for (scope, fields) in value.get(name).and_then(Value::as_object).into_iter().flatten() {
            let fields = fields.as_object().into_iter();
            rows.extend(fields.flat_map(|fields| limited(&format!("{prefix}{scope}"), fields)));
        }
    }
    let mut widths = [COLUMN_MIN; 5];
    for row in &rows {
        for (cell, width) in row.iter().zip(&mut widths) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        for (cell, width) in row.iter().zip(widths) {
            let missing = width.next_multiple_of(TAB) - cell.chars().count();
            out.extend_from_slice(cell.as_bytes());
            out.extend(std::iter::repeat_n(b'\t', missing.div_ceil(TAB)));
        }
        out.push(b'\n');
    }
}

/// Rows of what has a limit.
fn limited(scope: &str, fields: &Map<String, Value>) -> Vec<[String; 5]> {
    let mut rows = Vec::new();
    for (name, limit) in fields.iter().filter(|(name, _)| !name.ends_with("Usage")) {
        let number = limit.as_u64().or_else(|| limit.as_str()?.parse().ok());
        let Some(limit) = number.or_else(|| (limit == BLOCK_ALL).then_some(0)) else { continue };
        let used = fields.get(&format!("{name}Usage")).and_then(Value::as_u64).unwrap_or_default();
        let share = match used {
            0 => "0%".to_owned(),
            // What was there before it was forbidden, or is on the allowlist.
            _ if limit == 0 => "100.0%".to_owned(),
            used => format!("{:.1}%", used as f64 / limit as f64 * 100.0),
        };
        let shown = if limit == 0 { BLOCK_ALL.to_owned() } else { limit.to_string() };
        rows.push([scope.to_owned(), name.clone(), shown, used.to_string(), share]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_gos_tabwriter_and_shows_what_has_a_limit() {
        let mut system =
            Scope { memory: Amount { used: 6_848_512, limit: Some(25_000_000_000) }, ..Scope::default() };
        system.connections.inbound = Amount { used: 0, limit: Some(23_841) };
        system.streams.inbound = Amount { used: 72, limit: Some(157) };
        let mut transient = Scope::default();
        transient.connections.limit = Some(0);
        let value = json!({ "System": system.json(), "Transient": transient.json() });
        let mut out = Vec::new();
        table(&value, &mut out);
        let expected = "Scope\t\t\tLimit Name\t\tLimit Value\t\tLimit Usage Amount\tLimit Usage Percent\t\n\
                        system\t\t\tMemory\t\t\t25000000000\t\t6848512\t\t\t0.0%\t\t\t\n\
                        system\t\t\tConnsInbound\t\t23841\t\t\t0\t\t\t0%\t\t\t\n\
                        system\t\t\tStreamsInbound\t\t157\t\t\t72\t\t\t45.9%\t\t\t\n\
                        transient\t\tConns\t\t\tblockAll\t\t0\t\t\t0%\t\t\t\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_scope_has_all_fields_of_kubo_in_its_order_and_its_words_for_no_limit() {
        let mut scope = Scope { memory: Amount { used: 1, limit: Some(2) }, ..Scope::default() };
        scope.connections = Pair::of(3, 4);
        scope.connections.inbound.limit = Some(5);
        let text = serde_json::to_string(&scope.json()).unwrap();
        let expected = concat!(
            r#"{"Memory":"2","MemoryUsage":1,"FD":"unlimited","FDUsage":0,"Conns":"unlimited","ConnsUsage":7,"#,
            r#""ConnsInbound":5,"ConnsInboundUsage":3,"ConnsOutbound":"unlimited","ConnsOutboundUsage":4,"#,
            r#""Streams":"unlimited","StreamsUsage":0,"StreamsInbound":"unlimited","StreamsInboundUsage":0,"#,
            r#""StreamsOutbound":"unlimited","StreamsOutboundUsage":0}"#
        );
        assert_eq!(text, expected);
    }
}
