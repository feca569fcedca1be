//! Whom Bitswap dials: whoever has no connection that it runs over. No swarm: connections are what the test says they are.

use std::future::poll_fn;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::behaviour::ConnectionEstablished;

use super::*;

/// What is dialled for a fetch from a peer with one connection, which has this address.
async fn dialled_beside(address: &str) -> Option<String> {
    let (mut behaviour, handle) =
        Behaviour::new(Config::new(PeerId::random()), Arc::new(Store::default()) as Arc<dyn Host>);
    let (peer, connection_id, address) =
        (PeerId::random(), ConnectionId::new_unchecked(1), address.parse().unwrap());
    let (role_override, port_use) = (Endpoint::Dialer, PortUse::Reuse);
    let made = behaviour.handle_established_outbound_connection(
        connection_id,
        peer,
        &address,
        role_override,
        port_use,
    );
    drop(made.expect("nobody is refused"));
    behaviour.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
        peer_id: peer,
        connection_id,
        endpoint: &ConnectedPoint::Dialer { address, role_override, port_use },
        failed_addresses: &[],
        other_established: 0,
    }));
    let session = handle.session();
    session.add_peers(vec![(peer, Vec::new())]).await;
    let _blocks = session.get(cids(&blocks(1, 5000)));
    poll_fn(|cx| {
        while let Poll::Ready(event) = behaviour.poll(cx) {
            if let ToSwarm::Dial { opts } = event {
                assert_eq!(opts.get_peer_id(), Some(peer));
                return Poll::Ready(Some(format!("{opts:?}")));
            }
        }
        Poll::Ready(None)
    })
    .await
}

#[tokio::test]
async fn a_peer_that_is_connected_through_a_relay_only_is_dialled() {
    let relay = PeerId::random();
    let dialled = dialled_beside(&format!("/ip4/1.1.1.1/tcp/1/p2p/{relay}/p2p-circuit")).await;
    let dialled = dialled.expect("a dial");
    assert!(dialled.contains("condition: NotDialing"), "the connection is no reason to refuse it: {dialled}");
    assert_eq!(dialled_beside("/ip4/1.1.1.1/tcp/1").await, None, "it is there");
}
