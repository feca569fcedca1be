//! `swarm`: what this node's swarm is connected to, and how.

mod addrs;
mod connect;
mod filters;
mod peering;
mod peers;
mod resources;

use libp2p::{Multiaddr, PeerId};
use serde_json::{Value, json};

use super::config::line;
use super::registry::{Call, Command, CommandError, Needs, Response};
use super::{Context, planned};
use crate::config::parse_multiaddr;
use crate::swarm::SwarmHandle;
use crate::swarm::addresses::split_peer;

pub(super) fn command() -> Command {
    Command::new("swarm", "Interact with the swarm.")
        .help("The swarm keeps this node's connections to its peers.")
        .needs(Needs::Config)
        .subcommand(addrs::command())
        .subcommand(connect::connect())
        .subcommand(connect::disconnect())
        .subcommand(filters::command())
        .subcommand(peering::command())
        .subcommand(peers::command())
        .subcommand(resources::command())
}

/// The swarm of a running daemon, for commands of Kubo's core interface.
fn of_action<'c>(context: &'c Context, call: &Call) -> Result<&'c SwarmHandle, CommandError> {
    // Those heed `--offline` also in a daemon that is online.
    let swarm = context.swarm().filter(|_| !call.offline());
    swarm.ok_or_else(|| CommandError::new(planned::OFFLINE_ACTION))
}

/// The swarm of a running daemon, for all other commands.
pub(super) fn of_command(context: &Context) -> Result<&SwarmHandle, CommandError> {
    context.swarm().ok_or_else(|| CommandError::new(planned::OFFLINE_COMMAND))
}

/// `{"Strings": [...]}`.
fn strings(list: &[String]) -> Response {
    Response::One(json!({ "Strings": list }))
}

/// One line for each string; they may hold what strangers said, so nothing that a terminal acts on.
fn strings_text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let list = value.get("Strings").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).try_for_each(|text| line(out, text))
}

/// Peers and their addresses from multiaddrs that end with `/p2p/ID`, each peer once, in order.
fn peers_of(addresses: &[Multiaddr]) -> Result<Vec<(PeerId, Vec<Multiaddr>)>, CommandError> {
    let mut peers: Vec<(PeerId, Vec<Multiaddr>)> = Vec::new();
    for address in addresses {
        let (transport, peer) = split_peer(address);
        let peer = peer.ok_or_else(|| CommandError::new("invalid p2p multiaddr"))?;
        let known = peers.iter().position(|(known, _)| *known == peer);
        let place = known.unwrap_or_else(|| {
            peers.push((peer, Vec::new()));
            peers.len() - 1
        });
        if let (Some((_, addresses)), false) = (peers.get_mut(place), transport.is_empty()) {
            addresses.push(transport);
        }
    }
    Ok(peers)
}

/// Reads addresses; those that do not end with a peer are resolved until they do.
pub(super) async fn peers_of_args(
    swarm: &SwarmHandle,
    args: &[String],
) -> Result<Vec<(PeerId, Vec<Multiaddr>)>, CommandError> {
    let mut addresses = Vec::new();
    for text in args {
        let address = parse_multiaddr(text).map_err(CommandError::from_error)?;
        if split_peer(&address).1.is_some() {
            addresses.push(address);
            continue;
        }
        let resolved = swarm.resolver().resolve(&address).await.map_err(CommandError::from_error)?;
        let before = addresses.len();
        addresses.extend(resolved.into_iter().filter(|found| split_peer(found).1.is_some()));
        if addresses.len() == before {
            return Err(CommandError::new(format!("found no ipfs peers at {address}")));
        }
    }
    peers_of(&addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";

    #[test]
    fn addresses_of_one_peer_are_taken_together() {
        let parsed =
            |texts: &[String]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Multiaddr>>();
        let peers = peers_of(&parsed(&[
            format!("/ip4/127.0.0.1/tcp/1/p2p/{PEER}"),
            format!("/p2p/{PEER}"),
            format!("/ip4/127.0.0.1/udp/1/quic-v1/p2p/{PEER}"),
        ]))
        .unwrap();
        assert_eq!(peers.len(), 1);
        assert_eq!((peers[0].0.to_base58().as_str(), peers[0].1.len()), (PEER, 2));
        let error = peers_of(&parsed(&["/ip4/127.0.0.1/tcp/1".to_owned()])).unwrap_err();
        assert_eq!(error.message, "invalid p2p multiaddr");
    }
}
