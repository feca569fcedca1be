//! `ping`.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{iter, unfold};
use libp2p::{Multiaddr, PeerId};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::Context;
use super::config::line;
use super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Request, Response};
use crate::config::parse_multiaddr;
use crate::keys::parse_peer_id;
use crate::node::Node;
use crate::routing::reach;
use crate::swarm::addresses::split_peer;
use crate::swarm::{Need, SwarmHandle};

/// Time from one ping to the next.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn command() -> Command {
    Command::new("ping", "Send echo request packets to IPFS hosts.")
        .help("Connects to the peer if there is no connection, sends pings, and says how long their answers took.")
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
    if swarm.book().addresses(&peer).is_empty() {
        let routing = context.open_node().and_then(Node::routing);
        // What went wrong is said below, or by the first ping. Whoever is connected needs no address.
        let reached = reach(Need::Any, &swarm, routing, peer, &[]).await;
        if reached.is_err() && swarm.book().addresses(&peer).is_empty() {
            return Err(CommandError::new(format!(
                "peer lookup failed: no address of {peer} is known; name one: ping /ip4/.../p2p/{peer}"
            )));
        }
    }
    let pinging =
        Pinging { swarm, peer, left: count, answered: 0, total: Duration::ZERO, next: None, done: false };
    let answers = unfold(pinging, |mut pinging| async move {
        let value = pinging.step().await?;
        Some((value, pinging))
    });
    let first = json!({ "Success": true, "Time": 0, "Text": format!("PING {peer}.") });
    Ok(Response::Stream(Box::pin(iter([Ok(first)]).chain(answers))))
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

/// A row of pings.
struct Pinging {
    swarm: SwarmHandle,
    peer: PeerId,
    left: u64,
    answered: u32,
    total: Duration,
    /// When the next may be sent.
    next: Option<Instant>,
    done: bool,
}

impl Pinging {
    /// The next value: an answer, or at the end how long they took on average.
    async fn step(&mut self) -> Option<Result<Value, CommandError>> {
        if let Some(next) = self.next.take() {
            sleep_until(next).await;
        }
        if self.left > 0 {
            self.left -= 1;
            self.next = Some(Instant::now() + INTERVAL);
            return Some(Ok(match self.swarm.ping(self.peer).await {
                Ok(time) => {
                    self.answered += 1;
                    self.total += time;
                    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                    json!({ "Success": true, "Time": nanos, "Text": "" })
                }
                Err(error) => json!({ "Success": false, "Time": 0, "Text": format!("Ping error: {error}") }),
            }));
        }
        if std::mem::replace(&mut self.done, true) {
            return None;
        }
        if self.answered == 0 {
            return Some(Err(CommandError::new("ping failed")));
        }
        let milliseconds = self.total.as_secs_f64() * 1000.0 / f64::from(self.answered);
        let text = format!("Average latency: {milliseconds:.2}ms");
        Some(Ok(json!({ "Success": true, "Time": 0, "Text": text })))
    }
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
