//! `routing findprovs|findpeer|provide`, `stats dht`, and their older names below `dht`.

use std::task::Poll;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use holdfast_dag::cid::Cid;
use holdfast_dag::path::PathRoot;
use holdfast_dag::read::RefsOptions;
use holdfast_dht::ipns::Timestamp;
use holdfast_dht::kad::{BucketStats, Key, PeerInfo, QueryError, QueryEvent, Scope, Stats};
use libp2p::PeerId;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::config::line;
use super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Request, Response};
use super::{Context, paths, planned};
use crate::keys::parse_peer_id;
use crate::routing::Routing;

/// Events that wait for whoever reads the answer. Of more, those on the way are dropped, never what was found.
const EVENTS_MAX: usize = 1024;

/// Kubo's words for a node that takes part in no DHT.
pub(super) const NO_DHT: &str = "routing service is not a DHT";

/// `Type` of events, as Kubo numbers them.
mod kind {
    pub(super) const SENDING_QUERY: u8 = 0;
    pub(super) const PEER_RESPONSE: u8 = 1;
    pub(super) const FINAL_PEER: u8 = 2;
    pub(super) const QUERY_ERROR: u8 = 3;
    pub(super) const PROVIDER: u8 = 4;
    pub(super) const VALUE: u8 = 5;
    pub(super) const ADDING_PEER: u8 = 6;
    pub(super) const DIALING_PEER: u8 = 7;
}

/// Both names of a question: `routing findprovs`, `dht findprovs`.
pub(super) fn find_providers() -> Command {
    Command::new("findprovs", "Find peers that can provide a specific value, given a key.")
        .help("Lists the IDs of peers that have announced that they have the block.")
        .arg(Arg::text("key", "The key to find providers for.").required().variadic())
        .opt(verbose())
        .opt(Opt::int("num-providers n", "The number of providers to find.").default(20))
        .needs(Needs::Config)
        .run(run_find_providers)
        .text(|call, value, out| text(call, value, out, Shown::Providers))
}

async fn run_find_providers(context: Context, request: Request) -> Result<Response, CommandError> {
    let routing = routing(&context)?.clone();
    let count = usize::try_from(request.int("num-providers")).unwrap_or_default();
    if count < 1 {
        return Err(CommandError::new("number of providers must be greater than 0"));
    }
    let cid = cid_of(request.arg(0))?;
    Ok(answer(Results::OfBoth, move |out, events| async move {
        let mut found = routing.find_providers(cid.hash(), count, Some(events));
        while let Some(provider) = found.next().await {
            if out.send(QueryEvent::Provider { provider }).await.is_err() {
                break;
            }
        }
        Ok(Vec::new())
    }))
}

/// `routing findpeer`, `dht findpeer`.
pub(super) fn find_peer() -> Command {
    Command::new("findpeer", "Find the multiaddresses associated with a Peer ID.")
        .help("Prints the addresses of a peer, one a line.")
        .arg(Arg::text("peerID", "The ID of the peer to search for.").required().variadic())
        .opt(verbose())
        .needs(Needs::Config)
        .run(run_find_peer)
        .text(|call, value, out| text(call, value, out, Shown::Addresses))
}

async fn run_find_peer(context: Context, request: Request) -> Result<Response, CommandError> {
    let (routing, swarm) = (routing(&context)?.clone(), super::swarm::of_command(&context)?.clone());
    let peer = parse_peer_id(request.arg(0)).map_err(CommandError::from_error)?;
    if peer == swarm.peer_id() {
        return Err(CommandError::new("cannot query for own peer ID"));
    }
    Ok(answer(Results::OfBoth, move |_, events| async move {
        let known = swarm.book().addresses(&peer);
        let connected = !known.is_empty() && is_connected(&swarm, peer).await;
        let found = if connected {
            PeerInfo { id: peer, addresses: known }
        } else {
            routing.find_peer(peer, Some(events)).await?
        };
        Ok(vec![QueryEvent::FinalPeer { peer: found }])
    }))
}

pub(super) async fn is_connected(swarm: &crate::swarm::SwarmHandle, peer: PeerId) -> bool {
    let connections = swarm.connections().await.unwrap_or_default();
    connections.iter().any(|connection| connection.peer == peer)
}

/// `routing provide`.
pub(super) fn provide() -> Command {
    provide_here().opt(Opt::bool("recursive r", "Recursively provide entire graph."))
}

/// `dht provide`.
pub(super) fn provide_here() -> Command {
    Command::new("provide", "Announce to the network that you are providing given values.")
        .help("Tells the peers closest to each key that this node has its block, and waits until they know.")
        .arg(Arg::text("key", "The key[s] to send provide records for.").required().variadic().stdin())
        .opt(verbose())
        .needs(Needs::Config)
        .run(run_provide)
        .text(|call, value, out| text(call, value, out, Shown::Sent))
}

async fn run_provide(context: Context, request: Request) -> Result<Response, CommandError> {
    let (routing, swarm) = (routing(&context)?.clone(), super::swarm::of_command(&context)?);
    super::provide::enabled(&context)?;
    if swarm.connections().await.map_err(CommandError::from_error)?.is_empty() {
        return Err(CommandError::new("cannot provide, no connected peers"));
    }
    let node = context.node().await?;
    let mut cids = Vec::new();
    for text in request.args() {
        let cid = cid_of(text)?;
        let (store, hash) = (node.store().clone(), *cid.hash());
        let has = node.pool().run(move || store.has(&hash)).await.map_err(CommandError::from_error)?;
        if !has.map_err(CommandError::from_error)? {
            return Err(CommandError::new(format!("block {cid} not found locally, cannot provide")));
        }
        cids.push(cid);
    }
    if request.bool("recursive") {
        let options = RefsOptions { recursive: true, unique: true, ..RefsOptions::default() };
        let mut below = node.refs(cids.clone(), options);
        while let Some(edge) = below.next().await {
            cids.push(edge.map_err(CommandError::from_error)?.dst);
        }
    }
    Ok(answer(Results::OfEach, move |_, events| async move {
        for cid in cids {
            routing.provide(cid.hash(), Some(events.clone())).await?;
        }
        Ok(Vec::new())
    }))
}

/// `dht query`.
pub(super) fn query() -> Command {
    Command::new("query", "Find the closest Peer IDs to a given Peer ID by querying the DHT.")
        .arg(Arg::text("peerID", "The peerID to run the query against.").required().variadic())
        .opt(verbose())
        .needs(Needs::Config)
        .run(|context, request| async move {
            let routing = routing(&context)?.clone();
            let peer = parse_peer_id(request.arg(0)).map_err(CommandError::from_error)?;
            let key = Key::new(&peer.to_bytes()).map_err(CommandError::from_error)?;
            Ok(answer(Results::OfEach, move |_, events| async move {
                routing.closest_peers(key, Some(events)).await?;
                Ok(Vec::new())
            }))
        })
        .text(|call, value, out| text(call, value, out, Shown::Closest))
}

/// `stats dht`.
pub(super) fn stats() -> Command {
    Command::new("dht", "Returns statistics about the node's DHT(s).")
        .help("Lists the peers in the routing tables, by how many bits of their IDs are ours.")
        .arg(Arg::text("dht", "The DHT whose table should be listed: wan, lan. Default: both.").variadic())
        .needs(Needs::Config)
        .run(run_stats)
        .text(stats_text)
}

async fn run_stats(context: Context, request: Request) -> Result<Response, CommandError> {
    let routing = routing(&context)?;
    let asked: Vec<&str> = match request.args() {
        [] => vec!["wan", "lan"],
        names => names.iter().map(String::as_str).collect(),
    };
    let mut tables = Vec::new();
    for name in asked {
        let scope = match name {
            "wan" | "wanserver" => Scope::Wan,
            "lan" | "lanserver" => Scope::Lan,
            _ => return Err(CommandError::client(format!("unknown dht type: {name}"))),
        };
        let stats = routing.stats(scope).await.map_err(CommandError::from_error)?;
        tables.push(Ok(table(name, &stats, &context)));
    }
    Ok(Response::Stream(futures_util::stream::iter(tables).boxed()))
}

fn table(name: &str, stats: &Stats, context: &Context) -> Value {
    let now = SystemTime::now();
    let before = |ago: Option<Duration>| {
        let then = ago.and_then(|ago| now.checked_sub(ago)).map(Timestamp::from);
        // Whole seconds, as Go writes them.
        then.map(|then| Timestamp::from_unix(then.unix_seconds(), 0).to_string()).unwrap_or_default()
    };
    let agent = |peer: &PeerId| {
        let description = context.swarm().and_then(|swarm| swarm.description(peer));
        description.map(|description| description.agent).unwrap_or_default()
    };
    let bucket = |bucket: &BucketStats| {
        let peers = bucket.peers.iter().map(|peer| {
            json!({
                "ID": peer.peer.to_base58(), "Connected": peer.connected, "AgentVersion": agent(&peer.peer),
                "LastUsefulAt": before(peer.useful), "LastQueriedAt": before(peer.queried),
            })
        });
        let peers: Vec<Value> = peers.collect();
        let peers = if peers.is_empty() { Value::Null } else { Value::Array(peers) };
        json!({ "LastRefresh": before(bucket.refreshed), "Peers": peers })
    };
    json!({ "Name": name, "Buckets": stats.buckets.iter().map(bucket).collect::<Vec<_>>() })
}

fn stats_text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let list =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let field =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let buckets = list(value, "Buckets");
    let peers: usize = buckets.iter().map(|bucket| list(bucket, "Peers").len()).sum();
    line(out, &format!("DHT {} ({peers} peers):", field(value, "Name")))?;
    for (bits, bucket) in buckets.iter().enumerate() {
        let peers = list(bucket, "Peers");
        if peers.is_empty() {
            continue;
        }
        line(out, &format!("  Bucket {bits:>2} ({} peers)", peers.len()))?;
        for peer in &peers {
            let mark = if peer.get("Connected") == Some(&Value::Bool(true)) { "@" } else { " " };
            line(out, &format!("  {mark} {} {}", field(peer, "ID"), field(peer, "AgentVersion")))?;
        }
    }
    Ok(())
}

/// The DHTs of a running daemon.
fn routing(context: &Context) -> Result<&Routing, CommandError> {
    context.swarm().ok_or_else(|| CommandError::new(planned::OFFLINE_COMMAND))?;
    let routing = context.open_node().and_then(crate::node::Node::routing);
    routing.ok_or_else(|| CommandError::new(NO_DHT))
}

fn verbose() -> Opt {
    Opt::bool("verbose v", "Print extra information.")
}

/// A CID, or a path whose root it is.
pub(super) fn cid_of(text: &str) -> Result<Cid, CommandError> {
    let path = paths::parse(text)?;
    match path.root() {
        PathRoot::Ipfs(cid) | PathRoot::Ipld(cid) => Ok(*cid),
        PathRoot::Ipns(_) => Err(CommandError::new(format!("{text} names no CID"))),
    }
}

/// Whose results are told, where a search runs in both DHTs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Results {
    /// Those of each DHT, as they come.
    OfEach,
    /// Those that were put together from both.
    OfBoth,
}

/// Runs a search, and answers with what happens until it ends: its own results as it gives them, what happens on the way,
/// and in the end what it returns; a failure is an event and then the error.
fn answer<F>(
    results: Results,
    search: impl FnOnce(mpsc::Sender<QueryEvent>, mpsc::Sender<QueryEvent>) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = Result<Vec<QueryEvent>, QueryError>> + Send + 'static,
{
    let (out, mut happened) = mpsc::channel(EVENTS_MAX);
    let work = async move {
        let (way, mut on_the_way) = mpsc::channel(EVENTS_MAX);
        let tell = async {
            while let Some(event) = on_the_way.recv().await {
                if results == Results::OfEach || !is_result(&event) {
                    drop(out.send(event).await);
                }
            }
        };
        let (outcome, ()) = tokio::join!(search(out.clone(), way), tell);
        let (last, failed) = match outcome {
            Ok(last) => (last, None),
            Err(error) => {
                (vec![QueryEvent::QueryError { peer: None, error: error.to_string() }], Some(error))
            }
        };
        for event in last {
            drop(out.send(event).await);
        }
        failed.map(|error| Err(CommandError::from_error(error)))
    };
    let (mut work, mut failure) = (Some(Box::pin(work)), None);
    let events = futures_util::stream::poll_fn(move |context| {
        if let Some(running) = &mut work
            && let Poll::Ready(failed) = running.as_mut().poll(context)
        {
            (work, failure) = (None, failed);
        }
        // The work dropped its senders when it ended: what happened comes to an end, and then its failure.
        let next = std::task::ready!(happened.poll_recv(context));
        Poll::Ready(next.map(|event| Ok(value_of(&event))).or_else(|| failure.take()))
    });
    Response::Stream(events.boxed())
}

/// Whether this is what was looked for, rather than what happened on the way.
fn is_result(event: &QueryEvent) -> bool {
    matches!(event, QueryEvent::Provider { .. } | QueryEvent::FinalPeer { .. })
}

/// An event as Kubo writes it.
fn value_of(event: &QueryEvent) -> Value {
    let info = |peer: &PeerInfo| {
        let addresses: Vec<String> = peer.addresses.iter().map(ToString::to_string).collect();
        json!({ "ID": peer.id.to_base58(), "Addrs": addresses })
    };
    let (kind, id, responses, extra) = match event {
        QueryEvent::SendingQuery { peer } => (kind::SENDING_QUERY, Some(peer), Value::Null, String::new()),
        QueryEvent::PeerResponse { peer, closer } => {
            (kind::PEER_RESPONSE, Some(peer), closer.iter().map(info).collect(), String::new())
        }
        QueryEvent::FinalPeer { peer } => {
            (kind::FINAL_PEER, Some(&peer.id), json!([info(peer)]), String::new())
        }
        QueryEvent::QueryError { peer, error } => {
            (kind::QUERY_ERROR, peer.as_ref(), Value::Null, error.clone())
        }
        QueryEvent::Provider { provider } => (kind::PROVIDER, None, json!([info(provider)]), String::new()),
        QueryEvent::Value { peer, value } => {
            (kind::VALUE, Some(peer), Value::Null, data_encoding::BASE64.encode(value))
        }
        // Clients in JavaScript take the peer from the responses here, and end the query where there are none.
        QueryEvent::AddingPeer { peer } => {
            let peers = json!([{ "Addrs": [], "ID": peer.to_base58() }]);
            (kind::ADDING_PEER, Some(peer), peers, String::new())
        }
        QueryEvent::DialingPeer { peer } => (kind::DIALING_PEER, Some(peer), Value::Null, String::new()),
    };
    let id = id.map(|peer| peer.to_base58()).unwrap_or_default();
    json!({ "Extra": extra, "ID": id, "Responses": responses, "Type": kind })
}

/// What a command shows of its events beside what all show with `-v`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Providers,
    Addresses,
    Sent,
    Closest,
}

fn text(call: &Call, value: &Value, out: &mut Vec<u8>, shown: Shown) -> Result<(), CommandError> {
    let verbose = call.bool("verbose");
    let id = value.get("ID").and_then(Value::as_str).unwrap_or_default();
    let extra = value.get("Extra").and_then(Value::as_str).unwrap_or_default();
    let responses = value.get("Responses").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let peer_id = |peer: &Value| peer.get("ID").and_then(Value::as_str).unwrap_or_default().to_owned();
    let addresses = |peer: &Value| {
        let list = peer.get("Addrs").and_then(Value::as_array).cloned().unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let kind = value.get("Type").and_then(Value::as_u64).and_then(|kind| u8::try_from(kind).ok());
    match (kind, shown) {
        (Some(kind::PROVIDER), _) => responses.iter().try_for_each(|peer| {
            line(out, &format!("{}{}", if verbose { "provider: " } else { "" }, peer_id(peer)))?;
            let told = addresses(peer).into_iter().filter(|_| verbose);
            told.into_iter().try_for_each(|address| line(out, &format!("\t{address}")))
        }),
        (Some(kind::FINAL_PEER), Shown::Addresses) => {
            responses.iter().flat_map(addresses).try_for_each(|address| line(out, &address))
        }
        (Some(kind::FINAL_PEER), Shown::Closest) => line(out, id),
        (Some(kind::FINAL_PEER), Shown::Sent) if verbose => {
            line(out, &format!("sending provider record to peer {id}"))
        }
        (Some(kind::FINAL_PEER), Shown::Providers) if verbose => line(out, &format!("* closest peer {id}")),
        (Some(kind::SENDING_QUERY), _) if verbose => line(out, &format!("* querying {id}")),
        (Some(kind::PEER_RESPONSE), _) if verbose => {
            let closer = responses.iter().fold(String::new(), |text, peer| text + &peer_id(peer) + " ");
            line(out, &format!("* {id} says use {closer}"))
        }
        (Some(kind::QUERY_ERROR), _) if verbose => line(out, &format!("error: {extra}")),
        (Some(kind::ADDING_PEER), _) if verbose => line(out, &format!("adding peer to query: {id}")),
        (Some(kind::DIALING_PEER), _) if verbose => line(out, &format!("dialing peer: {id}")),
        _ => Ok(()),
    }
}
