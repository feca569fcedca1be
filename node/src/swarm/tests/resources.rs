//! What connections may use, and what becomes of those that are too many.

use libp2p::Multiaddr;

use super::{listening, node, peers, plain, settings, until};
use crate::swarm::{SwarmHandle, SwarmSettings};

/// Listens over TCP and over QUIC, within limits.
fn strict() -> SwarmSettings {
    settings(&["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"])
}

fn at(node: &SwarmHandle, part: &str) -> Vec<Multiaddr> {
    listening(node).into_iter().filter(|address| address.to_string().contains(part)).collect()
}

#[tokio::test]
async fn connections_that_need_a_socket_are_refused_where_there_are_none_left_and_quic_is_not() {
    let mut strict = strict();
    strict.limits.as_mut().unwrap().system.sockets = Some(2);
    let node = node(strict).await;
    let mut both = Vec::new();
    for _ in 0..2 {
        let peer = plain().await;
        peer.connect(node.peer_id(), &at(&node, "/tcp/")).await.unwrap();
        both.push(peer);
    }
    until("both are there", || async { peers(&node).await.len() == 2 }).await;
    let third = plain().await;
    assert!(third.connect(node.peer_id(), &at(&node, "/tcp/")).await.is_err(), "before it is secured");
    // Neither does the node open one.
    let _ = node.connect(third.peer_id(), &listening(&third)).await;
    until("it is not connected", || async { peers(&third).await.is_empty() }).await;
    assert_eq!(peers(&node).await.len(), 2);
    third.connect(node.peer_id(), &at(&node, "/quic-v1")).await.unwrap();
    until("over QUIC it is", || async { peers(&node).await.len() == 3 }).await;
    both.pop().unwrap().stop().await;
    until("one has gone", || async { peers(&node).await.len() == 2 }).await;
    let fourth = plain().await;
    fourth.connect(node.peer_id(), &at(&node, "/tcp/")).await.unwrap();
    until("its socket is free for another", || async { peers(&node).await.len() == 3 }).await;
}
