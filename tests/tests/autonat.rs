//! A node dials others back so that they learn whether they can be reached (AutoNAT), and no more often than its config says.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use holdfast_tests::hostile::dial_back::{FIRST, SECOND, Verdict, ask};
use holdfast_tests::nat::Internet;
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::PATIENCE;
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// Dials for all in an interval, and for each.
const GLOBAL: usize = 3;
const PER_PEER: usize = 2;
/// Long enough for all that is to be refused within it.
const INTERVAL: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Asks until the limits are met, and then until they let somebody through again.
async fn ask_too_often(version: &str, node: &str, own: Ipv4Addr) {
    // Somebody who ends every connection at once is dialled as well as anybody.
    let listener = TcpListener::bind((own, 0)).await.unwrap();
    let at: Multiaddr = format!("/ip4/{own}/tcp/{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let dials = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&dials);
    let counting = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            seen.fetch_add(1, Ordering::Relaxed);
        }
    });
    let [greedy, other] = [0; 2].map(|_| Keypair::generate_ed25519());
    let begun = Instant::now();
    let asks = async |key| ask(version, key, node, &at).await.unwrap().expect("it is spoken");
    for _ in 0..PER_PEER {
        assert_eq!(asks(&greedy).await, Verdict::Dialled, "{version}");
    }
    assert!(matches!(asks(&greedy).await, Verdict::Refused(_)), "{version}: one too many of a peer");
    for _ in PER_PEER..GLOBAL {
        assert_eq!(asks(&other).await, Verdict::Dialled, "{version}");
    }
    assert!(matches!(asks(&other).await, Verdict::Refused(_)), "{version}: one too many of all");
    assert_eq!(dials.load(Ordering::Relaxed), GLOBAL, "{version}");
    assert!(begun.elapsed() < INTERVAL, "this machine is too slow for this test: {:?}", begun.elapsed());
    while asks(&greedy).await != Verdict::Dialled {
        assert!(begun.elapsed() < INTERVAL + PATIENCE, "{version}: it is never served again");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(begun.elapsed() >= INTERVAL, "{version}: served again after {:?}", begun.elapsed());
    assert_eq!(dials.load(Ordering::Relaxed), GLOBAL + 1, "{version}");
    counting.abort();
}

#[test]
fn who_asks_more_often_than_the_throttle_allows_is_refused_until_the_interval_is_over() {
    let Some(net) = Internet::new("AutoNAT", 2, &[]) else { return };
    let dir = temporary("autonat");
    let [place, client] = [&net.public()[0], &net.public()[1]];
    let config = [
        ("Routing.Type", json!("none")),
        ("AutoNAT.Throttle.GlobalLimit", json!(GLOBAL)),
        ("AutoNAT.Throttle.PeerLimit", json!(PER_PEER)),
        ("AutoNAT.Throttle.Interval", json!(format!("{}s", INTERVAL.as_secs()))),
    ];
    let peer = Peer::start(dir.path(), "node", &config, Some(place));
    let (node, own) = (peer.address("tcp"), client.address());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.enter();
            let both =
                async { tokio::join!(ask_too_often(FIRST, &node, own), ask_too_often(SECOND, &node, own)) };
            runtime().block_on(both);
        });
    });
}

#[test]
fn a_node_whose_service_is_off_dials_nobody_back() {
    let Some(net) = Internet::new("AutoNAT", 2, &[]) else { return };
    let dir = temporary("autonat-off");
    let [place, client] = [&net.public()[0], &net.public()[1]];
    // Nobody is there: it is dialled all the same.
    let at: Multiaddr = format!("/ip4/{}/tcp/1", client.address()).parse().unwrap();
    let dialled = Some(Verdict::Dialled);
    for (mode, expected) in
        [("disabled", (None, None)), ("legacy-v1", (dialled, None)), ("enabled", (dialled, dialled))]
    {
        let config = [("Routing.Type", json!("none")), ("AutoNAT.ServiceMode", json!(mode))];
        let peer = Peer::start(dir.path(), mode, &config, Some(place));
        let node = peer.address("tcp");
        let asked = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                client.enter();
                let key = Keypair::generate_ed25519();
                let asked = |version| runtime().block_on(ask(version, &key, &node, &at)).unwrap();
                (asked(FIRST), asked(SECOND))
            });
            asking.join().unwrap()
        });
        assert_eq!(asked, expected, "{mode}");
    }
}
