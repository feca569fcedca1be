//! Who meets whom, over what, and what is known of them then.

use std::time::{Duration, Instant};

use libp2p::pnet::PreSharedKey;
use libp2p::swarm::StreamProtocol;
use libp2p::{Multiaddr, PeerId};
use serde_json::json;

use super::{TIME_MAX, is_connected, listening, node, node_of, peers, plain, settings, until, with_key};
use crate::config::Config;
use crate::dns::{DnsChoice, DnsSettings};
use crate::keys::{KeySpec, PrivateKey};
use crate::swarm::addresses::split_peer;
use crate::swarm::{ConnectError, Direction, DisconnectError, Gone, OpenError, PingError, SwarmSettings};

#[tokio::test]
async fn two_nodes_meet_over_tcp_quic_and_websocket_and_know_each_other() {
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0/ws"] {
        let (here, there) = (plain().await, node(settings(&[listen])).await);
        here.connect(there.peer_id(), &listening(&there))
            .await
            .unwrap_or_else(|error| panic!("{listen}: {error}"));
        let open = here.connections().await.unwrap();
        assert_eq!(open.len(), 1, "{listen}");
        assert_eq!((open[0].peer, open[0].direction), (there.peer_id(), Direction::Outbound));
        assert_eq!(vec![open[0].address.clone()], listening(&there), "{listen}");
        assert_eq!(there.connections().await.unwrap()[0].direction, Direction::Inbound);
        let known = here.description(&there.peer_id()).unwrap();
        assert_eq!((known.agent.as_str(), known.protocol_version.as_str()), ("holdfast/test", "ipfs/0.1.0"));
        assert!(known.protocols.contains(&"/ipfs/ping/1.0.0".to_owned()), "{known:?}");
        assert_eq!(here.book().addresses(&there.peer_id()), listening(&there), "what it announces, no more");
        assert!(here.ping(there.peer_id()).await.unwrap() < TIME_MAX);
        until("pings that nobody asked for say how far it is, on a stream that is listed", || async {
            let open = here.connections().await.unwrap();
            open[0].latency.is_some() && open[0].streams.contains(&"/ipfs/ping/1.0.0".to_owned())
        })
        .await;
        let (of_peer, of_ping) =
            (here.traffic_of_peer(&there.peer_id()), here.traffic_of_protocol("/ipfs/ping/1.0.0"));
        assert!(of_ping.bytes_in >= 64 && of_ping.bytes_out >= 64, "{of_ping:?}");
        assert!(of_peer.bytes_in > of_ping.bytes_in && here.traffic().bytes_in >= of_peer.bytes_in);
        assert_eq!(here.traffic_of_protocol("/nobody/speaks/this"), crate::swarm::meter::Traffic::default());
    }
}

#[tokio::test]
async fn a_private_network_lets_in_only_who_has_its_key() {
    let key = |byte: u8| Some(PreSharedKey::new([byte; 32]));
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0/ws"] {
        let member = node(with_key(&[listen], key(1))).await;
        let friend = node(with_key(&[listen], key(1))).await;
        friend.connect(member.peer_id(), &listening(&member)).await.unwrap();
        for stranger in [node(with_key(&[listen], key(2))).await, plain().await] {
            let error = stranger.connect(member.peer_id(), &listening(&member)).await.unwrap_err();
            assert!(matches!(error, ConnectError::Failed { .. }), "{error}");
            assert!(!is_connected(&member, stranger.peer_id()).await);
        }
        assert_eq!(peers(&member).await, [friend.peer_id()]);
        assert_eq!(member.private_network(), friend.private_network());
        assert!(member.private_network().is_some());
    }
    let without_quic = with_key(&["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"], key(1));
    assert_eq!(without_quic.listen.len(), 1, "QUIC would go around the key");
}

#[tokio::test]
async fn an_rsa_identity_meets_others_over_every_transport() {
    let key = PrivateKey::generate(KeySpec::parse("rsa", Some(2048)).unwrap()).unwrap();
    let listen = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"];
    let rsa = node_of(key.keypair().clone(), settings(&listen)).await;
    assert!(rsa.peer_id().to_base58().starts_with("Qm"));
    for address in listening(&rsa) {
        let other = plain().await;
        other.connect(rsa.peer_id(), &[address]).await.unwrap();
        assert_eq!(other.description(&rsa.peer_id()).unwrap().public_key, key.public_protobuf());
    }
}

#[tokio::test]
async fn who_cannot_be_reached_is_told_why_in_kubos_words() {
    let (here, nobody) = (plain().await, PeerId::random());
    let words = here.connect(nobody, &[]).await.unwrap_err().to_string();
    assert_eq!(words, format!("failed to dial: failed to dial {nobody}: no addresses"));
    let words = here.connect(here.peer_id(), &[]).await.unwrap_err().to_string();
    assert_eq!(words, "failed to dial: dial to self attempted");
    let closed: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let words = here.connect(nobody, std::slice::from_ref(&closed)).await.unwrap_err().to_string();
    assert!(
        words.starts_with(&format!(
            "failed to dial: failed to dial {nobody}: all dials failed\n  * [{closed}] "
        ))
    );
    let named: Multiaddr = "/dns4/example.net/tcp/1".parse().unwrap();
    let error = here.connect(nobody, &[named]).await.unwrap_err();
    assert!(matches!(error, ConnectError::Resolve(_)), "the test profile asks no resolver: {error}");
    let there = plain().await;
    let words = here.connect(nobody, &listening(&there)).await.unwrap_err().to_string();
    assert!(words.contains(&format!("remote key matches {}", there.peer_id())), "{words}");
}

#[tokio::test]
async fn an_old_address_that_is_somebody_elses_now_does_not_keep_a_peer_from_being_reached() {
    // The one that is meant answers last: it needs a second handshake, for WebSocket.
    let others = [plain().await, plain().await, plain().await];
    let there = node(settings(&["/ip4/127.0.0.1/tcp/0/ws"])).await;
    for _ in 0..5 {
        let here = plain().await;
        let addresses: Vec<Multiaddr> = others.iter().chain([&there]).flat_map(listening).collect();
        here.connect(there.peer_id(), &addresses).await.unwrap();
        assert_eq!(peers(&here).await, [there.peer_id()]);
    }
    let here = plain().await;
    let old = listening(&others[0]);
    here.book().add(there.peer_id(), old.clone());
    let words = here.connect(there.peer_id(), &[]).await.unwrap_err().to_string();
    assert!(words.contains(&format!("[{}] peer id mismatch", old[0])), "{words}");
    until("the address is forgotten", || async { here.book().addresses(&there.peer_id()).is_empty() }).await;
}

#[tokio::test]
async fn connections_are_closed_by_peer_or_by_address() {
    let (here, there) =
        (plain().await, node(settings(&["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0"])).await);
    assert_eq!(here.disconnect(there.peer_id(), None).await, Err(DisconnectError::NotConnected));
    here.connect(there.peer_id(), &listening(&there)).await.unwrap();
    let through = here.connections().await.unwrap()[0].address.clone();
    let other: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    assert_eq!(here.disconnect(there.peer_id(), Some(other)).await, Err(DisconnectError::NotFound));
    here.disconnect(there.peer_id(), Some(through)).await.unwrap();
    until("both sides know that it is closed", || async {
        !is_connected(&here, there.peer_id()).await && !is_connected(&there, here.peer_id()).await
    })
    .await;
}

#[tokio::test]
async fn a_circuit_leads_through_a_relay_to_who_listens_behind_it() {
    let mut config = Config::defaults();
    config.apply_profiles("test").unwrap();
    config.set("Swarm.RelayService.Enabled", json!(true)).unwrap();
    let relay = node(SwarmSettings::of_config(&config, None).unwrap()).await;
    let circuit = format!("{}/p2p/{}/p2p-circuit", listening(&relay)[0], relay.peer_id());
    let hidden = node(settings(&[&circuit])).await;
    until("it announces the circuit", || async {
        hidden.local_addresses().announced.iter().any(|address| address.to_string().contains("p2p-circuit"))
    })
    .await;
    let caller = plain().await;
    caller.connect(hidden.peer_id(), &[circuit.parse().unwrap()]).await.unwrap();
    let open = caller.connections().await.unwrap();
    assert!(open.iter().any(|open| open.peer == hidden.peer_id() && open.relayed), "{open:?}");
    assert!(caller.ping(hidden.peer_id()).await.is_ok());
}

#[tokio::test]
async fn a_ping_to_whom_no_connection_is_left_ends_at_once() {
    let (here, there) = (plain().await, plain().await);
    here.connect(there.peer_id(), &listening(&there)).await.unwrap();
    assert!(here.ping_connected(there.peer_id()).await.is_ok());
    here.disconnect(there.peer_id(), None).await.unwrap();
    until("it is closed", || async { !is_connected(&here, there.peer_id()).await }).await;
    assert_eq!(here.ping_connected(there.peer_id()).await, Err(PingError::Disconnected));
}

#[tokio::test]
async fn who_does_not_dial_back_for_others_does_not_offer_to() {
    const V1: StreamProtocol = StreamProtocol::new("/libp2p/autonat/1.0.0");
    for (mode, offers) in [("enabled", true), ("legacy-v1", true), ("disabled", false)] {
        let mut config = Config::defaults();
        config.apply_profiles("test").unwrap();
        config.set("AutoNAT.ServiceMode", json!(mode)).unwrap();
        let (here, there) = (plain().await, node(SwarmSettings::of_config(&config, None).unwrap()).await);
        here.connect(there.peer_id(), &listening(&there)).await.unwrap();
        let known = here.description(&there.peer_id()).unwrap().protocols;
        assert_eq!(known.iter().any(|name| name == V1.as_ref()), offers, "{mode}: {known:?}");
        assert_eq!(there.protocols().iter().any(|name| name == V1.as_ref()), offers, "{mode}");
        let opened = here.streams().open(there.peer_id(), V1).await;
        assert_eq!(opened.err(), (!offers).then_some(OpenError::Unsupported(V1)), "{mode}");
    }
}

#[tokio::test]
async fn after_the_end_everything_fails_and_nothing_hangs() {
    let (here, there) = (plain().await, plain().await);
    here.connect(there.peer_id(), &listening(&there)).await.unwrap();
    here.stop().await;
    here.stop().await;
    assert_eq!(here.connections().await, Err(Gone));
    assert_eq!(here.connect(there.peer_id(), &[]).await, Err(ConnectError::Gone(Gone)));
    assert_eq!(here.ping(there.peer_id()).await, Err(PingError::Connect(ConnectError::Gone(Gone))));
    assert_eq!(here.disconnect(there.peer_id(), None).await, Err(DisconnectError::Gone(Gone)));
    until("the other side notices", || async { peers(&there).await.is_empty() }).await;
    let (address, peer) =
        split_peer(&format!("{}/p2p/{}", listening(&there)[0], there.peer_id()).parse().unwrap());
    assert_eq!((address, peer), (listening(&there)[0].clone(), Some(there.peer_id())));
}

/// A resolver that hears questions and answers none.
async fn silent_resolver() -> (tokio::net::UdpSocket, DnsSettings) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let default = DnsChoice::Server(socket.local_addr().unwrap());
    (socket, DnsSettings { default, ..DnsSettings::NOBODY })
}

#[tokio::test]
async fn what_needs_no_name_is_dialled_while_nobody_resolves_the_others() {
    let (_socket, dns) = silent_resolver().await;
    let there = plain().await;
    let peer = there.peer_id();
    let named: Vec<Multiaddr> =
        (0..6).map(|number| format!("/dns4/n{number}.example/tcp/4001").parse().unwrap()).collect();
    let entry = [named.clone(), listening(&there)].concat();
    for peered in [false, true] {
        let mut slow = settings(&["/ip4/127.0.0.1/tcp/0"]);
        slow.dns = dns.clone();
        let here = node(slow).await;
        let before = Instant::now();
        if peered {
            here.peering_add(peer, entry.clone()).await.unwrap();
            until("it is connected", || is_connected(&here, peer)).await;
        } else {
            here.connect(peer, &entry).await.unwrap();
        }
        assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
        here.connect(peer, &named).await.unwrap();
        assert!(before.elapsed() < Duration::from_secs(5), "who is connected needs no name");
    }
}

#[tokio::test]
async fn names_are_resolved_at_the_same_time_and_failures_of_all_addresses_are_told() {
    let (_socket, dns) = silent_resolver().await;
    let mut slow = settings(&["/ip4/127.0.0.1/tcp/0"]);
    slow.dns = dns;
    let (here, nobody, before) = (node(slow).await, PeerId::random(), Instant::now());
    let mut entry: Vec<Multiaddr> =
        (0..4).map(|number| format!("/dns4/n{number}.example/tcp/4001").parse().unwrap()).collect();
    let error = here.connect(nobody, &entry).await.unwrap_err();
    assert!(matches!(error, ConnectError::Resolve(_)), "{error}");
    assert!(before.elapsed() < Duration::from_secs(18), "one after another: {:?}", before.elapsed());
    entry.push("/ip4/127.0.0.1/tcp/1".parse().unwrap());
    let error = here.connect(nobody, &entry).await.unwrap_err().to_string();
    assert!(error.contains("all dials failed\n  * [/ip4/127.0.0.1/tcp/1] "), "{error}");
}

#[tokio::test]
async fn many_who_want_one_peer_share_a_dial() {
    // It takes connections, and says nothing on them.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Multiaddr =
        format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port()).parse().unwrap();
    let (here, nobody) = (plain().await, PeerId::random());
    here.book().add(nobody, [address.clone()]);
    let given = [vec![], vec![address.clone()], vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()]];
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..600 {
        // The last few know another address.
        let (here, given) = (here.clone(), given[if number < 590 { number % 2 } else { 2 }].clone());
        waiting.spawn(async move { here.connect(nobody, &given).await });
    }
    until("they are being dialled", || async { here.usage().await.unwrap().pending_outbound == 2 }).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(here.usage().await.unwrap().pending_outbound, 2);
    assert!(waiting.try_join_next().is_none(), "one was refused for being one of many");
    // Whoever is there is where all go when the dial leads there.
    drop(silent);
    let mut failed = 0;
    while let Some(ended) = waiting.join_next().await {
        assert!(matches!(ended.unwrap(), Err(ConnectError::Failed { .. })));
        failed += 1;
    }
    assert_eq!((failed, here.usage().await.unwrap().pending_outbound), (600, 0));
}

#[tokio::test]
async fn that_this_node_is_busy_is_not_said_of_the_peer() {
    let mut strict = settings(&["/ip4/127.0.0.1/tcp/0"]);
    if let Some(limits) = &mut strict.limits {
        limits.transient.connections.outbound = Some(0);
    }
    let (here, there) = (node(strict).await, plain().await);
    let error = here.connect(there.peer_id(), &listening(&there)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Busy { .. }), "{error}");
    assert!(error.to_string().contains("pending outgoing"), "{error}");
}
