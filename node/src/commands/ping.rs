//! `ping`.

use std::time::Duration;

use futures_util::stream::unfold;
use holdfast_dht::kad::QueryError;
use libp2p::{Multiaddr, PeerId};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::Context;
use super::config::line;
use super::finding::is_connected;
use super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Request, Response};
use crate::config::parse_multiaddr;
use crate::keys::parse_peer_id;
use crate::node::Node;
use crate::routing::Routing;
use crate::swarm::addresses::split_peer;
use crate::swarm::{PingError, SwarmHandle};

/// Time from one ping to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a peer is looked for whose addresses nobody here knows, and what each ping may add to the time of all (Kubo's
/// `kPingTimeout`).
const TIME_MAX: Duration = Duration::from_secs(10);
/// Kubo's words for what took too long.
const LATE: &str = "context deadline exceeded";

pub(super) fn command() -> Command {
    Command::new("ping", "Send echo request packets to IPFS hosts.")
        .help("Connects to the peer if there is no connection, sends pings, and says how long their answers took. Where no address of it \
             is known, the DHT is asked for 10 seconds.")
        .arg(Arg::text("peer ID", "ID of peer to be pinged.").required().variadic().stdin())
        .opt(Opt::int("count n", "Number of ping messages to send.").default(10))
        .needs(Needs::Config)
        .run(run)
        .text(text)
        .feed()
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let swarm = super::swarm::of_command(&context)?.clone();
    let asked = request.arg(0);
    let (address, peer) = parse(asked)
        .map_err(|error| CommandError::new(format!("failed to parse peer address '{asked}': {error}")))?;
    if peer == swarm.peer_id() {
        return Err(CommandError::new("error: can't ping self"));
    }
    let count = request.int("count");
    let count = u64::try_from(count)
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| CommandError::new(format!("ping count must be greater than 0, was {count}")))?;
    swarm.book().add(peer, address);
    let is_known = !swarm.book().addresses(&peer).is_empty() || is_connected(&swarm, peer).await;
    let finding = (!is_known).then(|| context.open_node().and_then(Node::routing).cloned());
    let stage = finding.map_or(Stage::Known, Stage::Unknown);
    let (until, total) = (Instant::now(), Duration::ZERO);
    let pinging = Pinging { swarm, peer, stage, left: count, until, answered: 0, total, next: None };
    let values = unfold(pinging, |mut pinging| async move {
        let value = pinging.step().await?;
        Some((value, pinging))
    });
    Ok(Response::Stream(Box::pin(values)))
}

/// A peer ID, or a multiaddr that ends with one.
fn parse(text: &str) -> Result<(Option<Multiaddr>, PeerId), CommandError> {
    if !text.starts_with('/') {
        return parse_peer_id(text).map(|peer| (None, peer)).map_err(CommandError::from_error);
    }
    let address = parse_multiaddr(text).map_err(CommandError::from_error)?;
    let (transport, peer) = split_peer(&address);
    let peer = peer.ok_or_else(|| CommandError::new("invalid p2p multiaddr"))?;
    Ok((Some(transport).filter(|transport| !transport.is_empty()), peer))
}

/// How far a row of pings is.
enum Stage {
    /// No address of the peer is known: it is to be looked for, by this if there is one.
    Unknown(Option<Routing>),
    /// It is being looked for.
    Finding(Option<Routing>),
    /// The peer can be dialled.
    Known,
    /// Pings are sent.
    Pinging,
    Done,
}

/// A row of pings.
struct Pinging {
    swarm: SwarmHandle,
    peer: PeerId,
    stage: Stage,
    left: u64,
    /// When the pings are to be over, however many are left.
    until: Instant,
    answered: u32,
    total: Duration,
    /// When the next may be sent.
    next: Option<Instant>,
}

impl Pinging {
    /// The next value, the last of which is how long the answers took on average.
    async fn step(&mut self) -> Option<Result<Value, CommandError>> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Unknown(routing) => {
                self.stage = Stage::Finding(routing);
                Some(Ok(said(&format!("Looking up peer {}", self.peer))))
            }
            Stage::Finding(routing) => {
                if let Err(reason) = self.find(routing).await {
                    return Some(Err(CommandError::new(format!("peer lookup failed: {reason}"))));
                }
                self.begin()
            }
            Stage::Known => self.begin(),
            Stage::Pinging => Some(self.ping_or_end().await),
            Stage::Done => None,
        }
    }

    #[allow(clippy::unnecessary_wraps, reason = "it is one of the values that a step may give")]
    fn begin(&mut self) -> Option<Result<Value, CommandError>> {
        self.stage = Stage::Pinging;
        self.until = Instant::now() + TIME_MAX * u32::try_from(self.left).unwrap_or(u32::MAX);
        Some(Ok(said(&format!("PING {}.", self.peer))))
    }

    /// Has the DHTs say where the peer is. The words are those of go-libp2p's routing.
    async fn find(&self, routing: Option<Routing>) -> Result<(), String> {
        let not_found = || QueryError::NotFound.to_string();
        let routing = routing.ok_or_else(not_found)?;
        let found = timeout(TIME_MAX, routing.find_peer(self.peer, None)).await;
        let found = found.map_err(|_| LATE.to_owned())?.map_err(|error| error.to_string())?;
        if found.addresses.is_empty() {
            return Err(not_found());
        }
        self.swarm.book().hear(self.peer, found.addresses);
        Ok(())
    }

    async fn ping_or_end(&mut self) -> Result<Value, CommandError> {
        if let Some(next) = self.next.take() {
            sleep_until(next).await;
        }
        if self.left > 0 && Instant::now() < self.until {
            self.left -= 1;
            self.next = Some(Instant::now() + INTERVAL);
            self.stage = Stage::Pinging;
            return Ok(self.ping().await);
        }
        if self.answered == 0 {
            return Err(CommandError::new("ping failed"));
        }
        let milliseconds = self.total.as_secs_f64() * 1000.0 / f64::from(self.answered);
        Ok(said(&format!("Average latency: {milliseconds:.2}ms")))
    }

    async fn ping(&mut self) -> Value {
        let failure = match timeout_at(self.until, self.swarm.ping(self.peer)).await {
            Ok(Ok(time)) => {
                self.answered += 1;
                self.total += time;
                let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                return json!({ "Success": true, "Time": nanos, "Text": "" });
            }
            Ok(Err(error)) => {
                // Whoever could not be reached at all is not dialled for each ping.
                if self.answered == 0 && matches!(error, PingError::Connect(_)) {
                    self.left = 0;
                }
                error.to_string()
            }
            Err(_) => LATE.to_owned(),
        };
        json!({ "Success": false, "Time": 0, "Text": format!("Ping error: {failure}") })
    }
}

fn said(text: &str) -> Value {
    json!({ "Success": true, "Time": 0, "Text": text })
}

fn text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let text = value.get("Text").and_then(Value::as_str).unwrap_or_default();
    if !text.is_empty() {
        return line(out, text);
    }
    if value.get("Success") == Some(&Value::Bool(true)) {
        let nanos = value.get("Time").and_then(Value::as_u64).unwrap_or_default();
        return line(out, &format!("Pong received: time={:.2} ms", nanos as f64 / 1e6));
    }
    line(out, "Pong failed")
}
