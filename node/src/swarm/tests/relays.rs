//! Relays that a node finds for itself when nobody can dial it, and what is done about those who are met through one.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::{is_connected, listening, node, plain, until};
use crate::config::Config;
use crate::dns::{DnsChoice, DnsSettings};
use crate::swarm::{ConnectError, ConnectionInfo, Need, SwarmHandle, SwarmSettings};

fn settings(keys: &[(&str, serde_json::Value)]) -> SwarmSettings {
    let mut config = Config::defaults();
    config.apply_profiles("test").unwrap();
    for (key, value) in keys {
        config.set(key, value.clone()).unwrap();
    }
    SwarmSettings::of_config(&config, None).unwrap()
}

#[tokio::test]
async fn relays_that_refuse_do_not_keep_a_node_from_one_that_is_willing() {
    // They serve no circuits, and stand first in the list.
    let refusing = [plain().await, plain().await];
    let willing = node(settings(&[("Swarm.RelayService.Enabled", json!(true))])).await;
    let listed: Vec<String> = refusing
        .iter()
        .chain([&willing])
        .map(|relay| format!("{}/p2p/{}", listening(relay)[0], relay.peer_id()))
        .collect();
    let hidden = node(settings(&[
        ("Internal.Libp2pForceReachability", json!("private")),
        ("Swarm.RelayClient.Enabled", json!(true)),
        ("Swarm.RelayClient.StaticRelays", json!(listed)),
    ]))
    .await;
    let through = format!("/p2p/{}/p2p-circuit", willing.peer_id());
    until("it announces a circuit through the willing one", || async {
        hidden.local_addresses().announced.iter().any(|address| address.to_string().contains(&through))
    })
    .await;
    until("the connection manager leaves the relay alone", || async {
        hidden.worth().is_protected(&willing.peer_id())
    })
    .await;
    let caller = node(settings(&[("Swarm.RelayClient.Enabled", json!(true))])).await;
    let circuit = format!("{}{through}", listening(&willing)[0]).parse().unwrap();
    caller.connect(hidden.peer_id(), &[circuit]).await.unwrap();
}

/// A relay, a node that has a circuit at it and listens at these addresses too, and the address of that circuit. Nobody makes
/// holes.
async fn behind_a_relay(listen: &[&str]) -> (SwarmHandle, SwarmHandle, Multiaddr) {
    let relay = node(settings(&[("Swarm.RelayService.Enabled", json!(true))])).await;
    let circuit = format!("{}/p2p/{}/p2p-circuit", listening(&relay)[0], relay.peer_id());
    let listen: Vec<&str> = listen.iter().copied().chain([circuit.as_str()]).collect();
    let hidden = node(without_holes(&listen)).await;
    until("it announces the circuit", || async {
        hidden.local_addresses().announced.iter().any(|address| address.to_string().contains("p2p-circuit"))
    })
    .await;
    (relay, hidden, circuit.parse().unwrap())
}

fn without_holes(listen: &[&str]) -> SwarmSettings {
    settings(&[
        ("Addresses.Swarm", json!(listen)),
        ("Swarm.RelayClient.Enabled", json!(true)),
        ("Swarm.EnableHolePunching", json!(false)),
    ])
}

async fn connections_to(node: &SwarmHandle, peer: PeerId) -> Vec<ConnectionInfo> {
    node.connections().await.unwrap().into_iter().filter(|open| open.peer == peer).collect()
}

async fn is_direct(node: &SwarmHandle, peer: PeerId) -> bool {
    connections_to(node, peer).await.iter().any(|open| !open.relayed)
}

const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/0";

#[tokio::test]
async fn a_peered_node_that_is_there_through_a_relay_is_dialled_directly() {
    // It is peered after the circuit opened, or the circuit is all that is known of it.
    for met_before in [true, false] {
        let (_relay, hidden, circuit) = behind_a_relay(&[LOOPBACK]).await;
        let (caller, peer) = (node(without_holes(&[LOOPBACK])).await, hidden.peer_id());
        if met_before {
            caller.connect(peer, std::slice::from_ref(&circuit)).await.unwrap();
            assert!(!is_direct(&caller, peer).await, "nobody makes holes");
        }
        caller.peering_add(peer, vec![circuit]).await.unwrap();
        until("there is a direct connection", || is_direct(&caller, peer)).await;
        let relayed = connections_to(&caller, peer).await.iter().filter(|open| open.relayed).count();
        assert!(relayed <= 1, "one circuit is enough: {relayed}");
    }
}

#[tokio::test]
async fn a_direct_connection_that_ends_is_dialled_again_beside_a_circuit() {
    let (_relay, hidden, circuit) = behind_a_relay(&[LOOPBACK]).await;
    let (caller, peer) = (node(without_holes(&[LOOPBACK])).await, hidden.peer_id());
    caller.connect(peer, std::slice::from_ref(&circuit)).await.unwrap();
    caller.peering_add(peer, vec![circuit]).await.unwrap();
    until("there is a direct connection", || is_direct(&caller, peer)).await;
    let open = connections_to(&caller, peer).await;
    assert!(open.iter().any(|open| open.relayed), "the circuit is there for a while: {open:?}");
    let direct = open.into_iter().find(|open| !open.relayed).unwrap();
    caller.disconnect(peer, Some(direct.address)).await.unwrap();
    until("it has ended", || async { !is_direct(&caller, peer).await }).await;
    assert!(is_connected(&caller, peer).await, "the circuit is left");
    until("there is another", || is_direct(&caller, peer)).await;
}

#[tokio::test]
async fn whoever_is_there_through_a_relay_is_pinged_and_asked_on_that_circuit() {
    let (_relay, hidden, circuit) = behind_a_relay(&[]).await;
    // Neither can be dialled: the circuit is all there is.
    let (caller, peer) = (node(without_holes(&[])).await, hidden.peer_id());
    caller.connect(peer, std::slice::from_ref(&circuit)).await.unwrap();
    until("the other end knows who called", || async { hidden.description(&caller.peer_id()).is_some() })
        .await;
    for _ in 0..5 {
        caller.ping(peer).await.unwrap();
        hidden.ping(caller.peer_id()).await.unwrap();
    }
    for (need, is_enough) in [(Need::Any, true), (Need::Better, true), (Need::Direct, false)] {
        let there = caller.connect_for(need, peer, std::slice::from_ref(&circuit)).await;
        assert_eq!(there.is_ok(), is_enough, "{need:?}: {there:?}");
        let back = hidden.connect_for(need, caller.peer_id(), &[]).await;
        assert_eq!(back.is_ok(), is_enough, "{need:?}: {back:?}");
        if let Err(error) = there {
            assert!(matches!(error, ConnectError::Failed { .. }), "{error}");
        }
    }
    assert_eq!(connections_to(&caller, peer).await.len(), 1);
    assert_eq!(connections_to(&hidden, caller.peer_id()).await.len(), 1);
}

#[tokio::test]
async fn who_dials_for_more_than_a_circuit_is_not_content_with_one_that_comes_meanwhile() {
    let (_relay, hidden, circuit) = behind_a_relay(&[]).await;
    let (caller, peer) = (node(without_holes(&[])).await, hidden.peer_id());
    // Whoever dials here waits for as long as this lets them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Multiaddr =
        format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port()).parse().unwrap();
    let [any, better, direct] = [Need::Any, Need::Better, Need::Direct].map(|need| {
        let (caller, address) = (caller.clone(), address.clone());
        tokio::spawn(async move { caller.connect_for(need, peer, &[address]).await })
    });
    // They share one dial.
    let socket = silent.accept().await.unwrap();
    sleep(Duration::from_millis(200)).await;
    caller.connect_for(Need::Better, peer, &[circuit]).await.unwrap();
    any.await.unwrap().unwrap();
    sleep(Duration::from_millis(500)).await;
    assert!(!better.is_finished() && !direct.is_finished(), "their dials are under way");
    drop((silent, socket));
    better.await.unwrap().unwrap();
    assert!(matches!(direct.await.unwrap(), Err(ConnectError::Failed { .. })));
}

#[tokio::test]
async fn a_relay_serves_so_many_peers_of_one_address_and_the_next_when_one_has_left() {
    let relay = node(settings(&[
        ("Swarm.RelayService.Enabled", json!(true)),
        ("Swarm.RelayService.MaxReservationsPerIP", json!(1)),
    ]))
    .await;
    let circuit = format!("{}/p2p/{}/p2p-circuit", listening(&relay)[0], relay.peer_id());
    let has_circuit = |node: &SwarmHandle| {
        node.local_addresses().announced.iter().any(|address| address.to_string().contains("p2p-circuit"))
    };
    let first = node(without_holes(&[LOOPBACK, &circuit])).await;
    until("the first has its circuit", || async { has_circuit(&first) }).await;
    let second = node(without_holes(&[LOOPBACK, &circuit])).await;
    until("the second is there", || is_connected(&relay, second.peer_id())).await;
    sleep(Duration::from_secs(2)).await;
    assert!(!has_circuit(&second), "their address is the same");
    first.stop().await;
    until("the first has left", || async { !is_connected(&relay, first.peer_id()).await }).await;
    let third = node(without_holes(&[LOOPBACK, &circuit])).await;
    until("another has its place", || async { has_circuit(&third) || has_circuit(&second) }).await;
}

#[tokio::test]
async fn what_a_name_stands_for_is_dialled_although_a_circuit_is_there_and_the_circuit_does_where_that_fails()
{
    let (_relay, hidden, circuit) = behind_a_relay(&[]).await;
    // It takes connections, and ends them.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let named: Multiaddr =
        format!("/dns4/localhost/tcp/{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let mut asking = without_holes(&[]);
    asking.dns =
        DnsSettings { default: DnsChoice::Server("127.0.0.1:9".parse().unwrap()), ..DnsSettings::NOBODY };
    let (caller, peer) = (node(asking).await, hidden.peer_id());
    // First it is only known, and leads there while the name waits; the second time it is open.
    for addresses in [&[circuit, named.clone()][..], std::slice::from_ref(&named)] {
        let dialled = async { drop(listener.accept().await.unwrap()) };
        let (connected, ()) = tokio::join!(caller.connect(peer, addresses), dialled);
        connected.unwrap();
    }
    drop(listener);
    assert!(caller.connect_for(Need::Direct, peer, &[named]).await.is_err());
}
