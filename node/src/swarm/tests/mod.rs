//! Swarms that meet over loopback.

mod hostile;
mod meetings;
mod relays;
mod resources;
mod streams;
mod transports;
mod unread;
mod upkeep;

use std::future::Future;
use std::time::Duration;

use libp2p::pnet::PreSharedKey;
use libp2p::{Multiaddr, PeerId};
use libp2p_identity::Keypair;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Protocols, SwarmHandle, SwarmParams, SwarmSettings, start};
use crate::config::Config;

/// How long anything may take before it counts as hanging.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Waits until something holds.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = Instant::now() + TIME_MAX;
    while !holds().await {
        assert!(Instant::now() < end, "it never came to this: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What the test profile says, listening there.
fn settings(listen: &[&str]) -> SwarmSettings {
    with_key(listen, None)
}

fn with_key(listen: &[&str], psk: Option<PreSharedKey>) -> SwarmSettings {
    let mut config = Config::defaults();
    config.apply_profiles("test").unwrap();
    config.set("Addresses.Swarm", json!(listen)).unwrap();
    SwarmSettings::of_config(&config, psk).unwrap()
}

async fn node(settings: SwarmSettings) -> SwarmHandle {
    node_of(Keypair::generate_ed25519(), settings).await
}

async fn node_of(key: Keypair, settings: SwarmSettings) -> SwarmHandle {
    let (agent, protocols) = ("holdfast/test".to_owned(), Protocols::default());
    let params = SwarmParams { key, agent, settings, protocols, exchange: None };
    Box::pin(start(params)).await.unwrap()
}

async fn plain() -> SwarmHandle {
    node(settings(&["/ip4/127.0.0.1/tcp/0"])).await
}

fn listening(node: &SwarmHandle) -> Vec<Multiaddr> {
    node.local_addresses().listening
}

/// The peers with a connection, each once.
async fn peers(node: &SwarmHandle) -> Vec<PeerId> {
    let mut peers: Vec<PeerId> =
        node.connections().await.unwrap().into_iter().map(|open| open.peer).collect();
    peers.sort();
    peers.dedup();
    peers
}

async fn is_connected(node: &SwarmHandle, peer: PeerId) -> bool {
    peers(node).await.contains(&peer)
}
