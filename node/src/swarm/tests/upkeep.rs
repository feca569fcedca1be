//! What a node does by itself: connections that are closed, kept, refused and remembered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use holdfast_bitswap::Host;
use holdfast_dag::cid::Cid;
use libp2p::{Multiaddr, PeerId};
use libp2p_identity::Keypair;
use serde_json::json;

use super::{is_connected, listening, node, node_of, peers, plain, settings, until};
use crate::config::Config;
use crate::swarm::connections::Watermarks;
use crate::swarm::filters::IpRange;
use crate::swarm::{Allowed, Protocols, SwarmHandle, SwarmParams, SwarmSettings, start};

/// A store without blocks.
struct Nothing;

impl Host for Nothing {
    fn presence(&self, cids: Vec<Cid>) -> BoxFuture<'static, Vec<Option<u64>>> {
        ready(vec![None; cids.len()]).boxed()
    }
    fn read(&self, cids: Vec<Cid>) -> BoxFuture<'static, Vec<Option<Bytes>>> {
        ready(vec![None; cids.len()]).boxed()
    }
    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }
}

/// A node that speaks Bitswap.
async fn exchanging() -> (SwarmHandle, holdfast_bitswap::Handle) {
    let key = Keypair::generate_ed25519();
    let config = holdfast_bitswap::Config::new(key.public().to_peer_id());
    let (behaviour, exchange) = holdfast_bitswap::Behaviour::new(config, Arc::new(Nothing));
    let params = SwarmParams {
        key,
        agent: "holdfast/test".to_owned(),
        settings: settings(&["/ip4/127.0.0.1/tcp/0"]),
        protocols: Protocols { bitswap: Some(behaviour), ..Protocols::default() },
        exchange: Some(exchange.clone()),
    };
    (Box::pin(start(params)).await.unwrap(), exchange)
}

#[tokio::test]
async fn too_many_connections_are_trimmed_and_protected_ones_stay() {
    let mut few = settings(&["/ip4/127.0.0.1/tcp/0"]);
    few.watermarks = Some(Watermarks { high: 2, low: 2, grace: Duration::ZERO, silence: Duration::ZERO });
    let busy = node(few).await;
    let mut callers = Vec::new();
    for place in 0..6 {
        let caller = plain().await;
        if place < 2 {
            busy.worth().protect(caller.peer_id(), "test");
        }
        let connected = caller.connect(busy.peer_id(), &listening(&busy)).await;
        // The others may be trimmed before they have said who they are.
        if place < 2 {
            connected.unwrap();
        }
        callers.push(caller);
    }
    let mut kept: Vec<PeerId> = callers.iter().take(2).map(SwarmHandle::peer_id).collect();
    kept.sort();
    until("only the protected ones are left", || async { peers(&busy).await == kept }).await;
}

#[tokio::test]
async fn what_the_filters_refuse_is_neither_dialled_nor_let_in() {
    let loopback = IpRange::parse("/ip4/127.0.0.0/ipcidr/8").unwrap();
    let (here, there) = (plain().await, plain().await);
    here.filter_add(loopback).unwrap();
    let words = here.connect(there.peer_id(), &listening(&there)).await.unwrap_err().to_string();
    assert!(words.contains("Swarm.AddrFilters refuses this address"), "{words}");
    there.connect(here.peer_id(), &listening(&here)).await.unwrap_err();
    assert!(peers(&here).await.is_empty());
    here.filter_remove(loopback);
    assert_eq!(here.filters(), []);
    there.connect(here.peer_id(), &listening(&here)).await.unwrap();
}

#[tokio::test]
async fn a_peered_node_is_dialled_again_when_it_comes_back() {
    let key = Keypair::generate_ed25519();
    let first = node_of(key.clone(), settings(&["/ip4/127.0.0.1/tcp/0"])).await;
    let (peer, address) = (first.peer_id(), listening(&first)[0].clone());
    let here = plain().await;
    here.peering_add(peer, vec![address.clone()]).await.unwrap();
    assert_eq!(here.peering_list().await.unwrap(), [(peer, vec![address.clone()])]);
    until("it is connected", || is_connected(&here, peer)).await;
    assert!(here.worth().is_protected(&peer));
    first.stop().await;
    until("it is gone", || async { !is_connected(&here, peer).await }).await;
    let again = node_of(key, settings(&[&address.to_string()])).await;
    until("it is connected again", || is_connected(&here, peer)).await;
    here.peering_remove(peer).await.unwrap();
    assert!(here.peering_list().await.unwrap().is_empty() && !here.worth().is_protected(&peer));
    again.stop().await;
}

#[tokio::test]
async fn acquaintances_are_remembered_and_dialled_in_the_next_life() {
    let folder = tempfile::tempdir().unwrap();
    let there = plain().await;
    let with_book = || {
        let mut settings = settings(&["/ip4/127.0.0.1/tcp/0"]);
        settings.book_file = Some(folder.path().join("peers.json"));
        settings
    };
    let here = node(with_book()).await;
    here.connect(there.peer_id(), &listening(&there)).await.unwrap();
    here.stop().await;
    drop(here);
    let next = node(with_book()).await;
    assert_eq!(next.book().addresses(&there.peer_id()), listening(&there));
    until("it finds the one it knew, without a bootstrap list", || is_connected(&next, there.peer_id()))
        .await;
    std::fs::write(folder.path().join("peers.json"), b"not a book").unwrap();
    let fresh = node(with_book()).await;
    assert!(fresh.book().all().is_empty(), "a broken book is passed over");
}

#[tokio::test]
async fn what_is_announced_is_what_the_config_says() {
    let mut config = Config::defaults();
    config.apply_profiles("test").unwrap();
    config.set("Addresses.AppendAnnounce", json!(["/dns4/me.example/tcp/4001"])).unwrap();
    config.set("Addresses.NoAnnounce", json!(["/ip4/127.0.0.0/ipcidr/8"])).unwrap();
    let there = node(SwarmSettings::of_config(&config, None).unwrap()).await;
    let announced: Vec<Multiaddr> = vec!["/dns4/me.example/tcp/4001".parse().unwrap()];
    assert_eq!(there.local_addresses().announced, announced);
    assert_eq!(listening(&there).len(), 1);
    // Whoever is called learns only what is announced.
    let here = plain().await;
    there.connect(here.peer_id(), &listening(&here)).await.unwrap();
    until("it has said who it is", || async { here.description(&there.peer_id()).is_some() }).await;
    assert_eq!(here.book().addresses(&there.peer_id()), announced);
}

#[tokio::test]
async fn who_leaves_while_blocks_are_asked_of_it_is_not_kept_in_mind() {
    let (here, exchange) = exchanging().await;
    let mut others = Vec::new();
    for _ in 0..4 {
        let (other, _) = exchanging().await;
        here.connect(other.peer_id(), &listening(&other)).await.unwrap();
        others.push(other);
    }
    let session = exchange.session();
    let nobody_has =
        holdfast_dag::cid::parse_cid("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy");
    let _blocks = session.get(vec![nobody_has.unwrap()]);
    until("all are kept for being asked", || async {
        others.iter().all(|other| here.worth().is_protected(&other.peer_id()))
    })
    .await;
    for other in &others {
        other.stop().await;
    }
    until("they are gone", || async { peers(&here).await.is_empty() }).await;
    assert_eq!(here.worth().len(), 0);
}

#[tokio::test]
async fn who_is_on_the_allowlist_gets_in_where_there_is_no_room_for_others() {
    let friend = plain().await;
    let mut strict = settings(&["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]);
    let limits = strict.limits.as_mut().unwrap();
    (limits.system.connections.inbound, limits.quic_connections) = (Some(0), 0);
    strict.allowed = vec![Allowed::parse(&format!("/ip4/127.0.0.1/p2p/{}", friend.peer_id())).unwrap()];
    let node = node(strict).await;
    assert_eq!(listening(&node).len(), 2);
    for address in listening(&node) {
        let stranger = plain().await;
        let _ = stranger.connect(node.peer_id(), std::slice::from_ref(&address)).await;
        until("a stranger is not let in", || async { peers(&stranger).await.is_empty() }).await;
        assert_eq!(peers(&node).await.len(), 0);
        friend.connect(node.peer_id(), std::slice::from_ref(&address)).await.unwrap();
        until("the friend is", || async { is_connected(&node, friend.peer_id()).await }).await;
        friend.disconnect(node.peer_id(), None).await.unwrap();
        until("it has gone", || async { peers(&node).await.is_empty() }).await;
    }
}
