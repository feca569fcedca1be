//! What connections may use, and what becomes of those that are too many.

use std::collections::HashMap;
use std::sync::Arc;

use libp2p::Multiaddr;

use super::{listening, node, peers, plain, settings, until};
use crate::swarm::{Directed, ScopeLimits, SwarmHandle, SwarmSettings};

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

#[tokio::test]
async fn a_peer_with_limits_of_its_own_has_as_many_connections_as_they_say() {
    let (stranger, friend) = (plain().await, plain().await);
    let mut strict = strict();
    let limits = strict.limits.as_mut().unwrap();
    limits.peer.connections.inbound = Some(0);
    limits.peers = Arc::new(HashMap::from([(friend.peer_id(), ScopeLimits::default())]));
    let node = node(strict).await;
    let _ = stranger.connect(node.peer_id(), &listening(&node)).await;
    until("a stranger is not let in", || async { peers(&stranger).await.is_empty() }).await;
    friend.connect(node.peer_id(), &listening(&node)).await.unwrap();
    until("the friend is", || async { peers(&node).await == [friend.peer_id()] }).await;
    // What the node opens itself is another matter.
    node.connect(stranger.peer_id(), &listening(&stranger)).await.unwrap();
}

#[tokio::test]
async fn connections_of_both_directions_are_bounded_together_and_each_for_itself() {
    for (limits, may_enter, may_leave) in [
        (Directed { both: Some(0), ..Directed::default() }, false, false),
        (Directed { inbound: Some(0), ..Directed::default() }, false, true),
        (Directed { outbound: Some(0), ..Directed::default() }, true, false),
    ] {
        for is_transient in [false, true] {
            let (guest, host) = (plain().await, plain().await);
            let mut strict = strict();
            let scopes = strict.limits.as_mut().unwrap();
            let scope = if is_transient { &mut scopes.transient } else { &mut scopes.system };
            scope.connections = limits;
            let node = node(strict).await;
            let _ = guest.connect(node.peer_id(), &listening(&node)).await;
            until("the guest is in, or out", || async { peers(&guest).await.is_empty() != may_enter }).await;
            let left = node.connect(host.peer_id(), &listening(&host)).await;
            assert_eq!(left.is_ok(), may_leave, "{limits:?} {is_transient}");
        }
    }
}

#[tokio::test]
async fn streams_that_others_open_are_refused_where_there_are_too_many_of_both_directions() {
    let mut strict = strict();
    strict.limits.as_mut().unwrap().system.streams.both = Some(0);
    let (node, peer) = (node(strict).await, plain().await);
    peer.connect(node.peer_id(), &listening(&node)).await.unwrap();
    until("its streams are refused", || async { node.usage().await.unwrap().streams.refused > 0 }).await;
}
