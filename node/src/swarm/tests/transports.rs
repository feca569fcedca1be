//! Transports and security protocols that the config switches off, or puts in another order.

use libp2p::{Multiaddr, PeerId};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{TIME_MAX, listening, node, plain, until};
use crate::config::Config;
use crate::swarm::{Protocols, SwarmHandle, SwarmParams, SwarmSettings, start};

const ALL: [&str; 3] = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0/ws"];

/// The test profile, listening over everything, with these keys of `Swarm.Transports`.
fn with(keys: &[(&str, Value)]) -> SwarmSettings {
    let mut config = Config::defaults();
    config.apply_profiles("test").unwrap();
    config.set("Addresses.Swarm", json!(ALL)).unwrap();
    for (key, value) in keys {
        config.set(&format!("Swarm.Transports.{key}"), value.clone()).unwrap();
    }
    SwarmSettings::of_config(&config, None).unwrap()
}

fn is_over(address: &Multiaddr, transport: &str) -> bool {
    let has = |name: &str| address.protocol_stack().any(|part| part == name);
    match transport {
        "QUIC" => has("quic-v1"),
        "Websocket" => has("ws"),
        _ => has("tcp") && !has("ws"),
    }
}

async fn meets(here: &SwarmHandle, there: &SwarmHandle, over: &[Multiaddr]) -> bool {
    here.connect(there.peer_id(), over).await.is_ok()
}

#[tokio::test]
async fn a_transport_that_is_off_is_neither_listened_on_nor_dialled_over() {
    let other = node(with(&[])).await;
    assert_eq!(listening(&other).len(), ALL.len());
    for off in ["TCP", "QUIC", "Websocket"] {
        let key = format!("Network.{off}");
        let without = || with(&[(key.as_str(), json!(false))]);
        let here = node(without()).await;
        let own = listening(&here);
        assert!(own.len() == 2 && !own.iter().any(|address| is_over(address, off)), "{off}: {own:?}");
        let (over, rest): (Vec<_>, Vec<_>) =
            listening(&other).into_iter().partition(|address| is_over(address, off));
        assert_eq!((over.len(), rest.len()), (1, 2), "{off}");
        assert!(!meets(&here, &other, &over).await, "{off}: it is dialled over");
        for address in rest {
            let here = node(without()).await;
            assert!(meets(&here, &other, std::slice::from_ref(&address)).await, "{off}: not over {address}");
        }
    }
}

#[tokio::test]
async fn without_relays_no_circuit_is_dialled() {
    let mut config = Config::defaults();
    config.apply_profiles("test").unwrap();
    config.set("Swarm.RelayService.Enabled", json!(true)).unwrap();
    let relay = node(SwarmSettings::of_config(&config, None).unwrap()).await;
    let circuit = format!("{}/p2p/{}/p2p-circuit", listening(&relay)[0], relay.peer_id());
    let hidden = node(super::settings(&[&circuit])).await;
    until("it announces the circuit", || async {
        hidden.local_addresses().announced.iter().any(|address| address.to_string().contains("p2p-circuit"))
    })
    .await;
    let (circuit, caller) = (circuit.parse().unwrap(), node(with(&[("Network.Relay", json!(false))])).await);
    assert!(!meets(&caller, &hidden, std::slice::from_ref(&circuit)).await);
    assert!(meets(&plain().await, &hidden, &[circuit]).await);
}

/// What a node proposes first to whoever it dials over TCP.
async fn first_proposal(settings: SwarmSettings) -> &'static str {
    let (here, listener) = (node(settings).await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    let address: Multiaddr = address.parse().unwrap();
    let reading = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&read).into_owned();
            if let Some(name) = ["/noise", "/tls/1.0.0"].into_iter().find(|name| text.contains(name)) {
                return name;
            }
            assert_ne!(socket.read_buf(&mut read).await.unwrap(), 0, "{text:?}");
        }
    };
    let to = [address];
    let (name, refused) =
        timeout(TIME_MAX, async { tokio::join!(reading, here.connect(PeerId::random(), &to)) })
            .await
            .unwrap();
    assert!(refused.is_err(), "nobody answers there");
    name
}

#[tokio::test]
async fn security_is_proposed_in_the_order_of_the_config_and_what_is_off_is_not() {
    let tcp = |node: &SwarmHandle| -> Vec<Multiaddr> {
        listening(node).into_iter().filter(|address| is_over(address, "TCP")).collect()
    };
    let tls_alone = [("Security.Noise", json!(false))];
    let noise_alone = [("Security.TLS", json!(false))];
    let cases: [(&[(&str, Value)], &str); 5] = [
        (&[], "/tls/1.0.0"),
        (&[("Security.TLS", json!(300))], "/noise"),
        (&[("Security.Noise", json!(50))], "/noise"),
        (&tls_alone, "/tls/1.0.0"),
        (&noise_alone, "/noise"),
    ];
    for (keys, first) in cases {
        assert_eq!(first_proposal(with(keys)).await, first, "{keys:?}");
        let (here, there) = (node(with(keys)).await, plain().await);
        assert!(meets(&here, &there, &listening(&there)).await, "{keys:?}: the other has both");
    }
    let (here, there) = (node(with(&tls_alone)).await, node(with(&noise_alone)).await);
    assert!(!meets(&here, &there, &tcp(&there)).await, "they have nothing in common");
}

#[tokio::test]
async fn without_any_security_the_start_is_refused() {
    let settings = with(&[("Security.TLS", json!(false)), ("Security.Noise", json!(false))]);
    let (key, agent) = (libp2p_identity::Keypair::generate_ed25519(), "holdfast/test".to_owned());
    let params = SwarmParams { key, agent, settings, protocols: Protocols::default(), exchange: None };
    let words = Box::pin(start(params)).await.err().map(|error| error.to_string());
    let expected = "Swarm.Transports.Security leaves neither TLS nor noise: no connection could be secured. Switch one of them on";
    assert_eq!(words.as_deref(), Some(expected));
}
