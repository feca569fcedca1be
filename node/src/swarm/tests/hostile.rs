//! A peer that opens streams without end: it speaks to the node through a bare muxer, as no libp2p program would.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::core::muxing::{StreamMuxer as _, StreamMuxerBox, SubstreamBox};
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::{Endpoint, Transport as _};
use libp2p::futures::AsyncWriteExt as _;
use libp2p_identity::Keypair;
use tokio::time::sleep;

use super::{listening, node, plain, settings, until};
use crate::dns::DnsSettings;
use crate::swarm::circuits::Circuits;
use crate::swarm::filters::Filters;
use crate::swarm::meter::Meter;
use crate::swarm::resolve::Resolver;
use crate::swarm::transport::{TransportChoice, TransportParams, build};
use crate::swarm::unread::Unread;

/// Streams that it keeps open, the first ones: more than the node lets it.
const HELD_MAX: usize = 64;
/// Time between two streams.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) async fn bare_connection(to: &Multiaddr) -> StreamMuxerBox {
    let key = Keypair::generate_ed25519();
    let mut transports = build(TransportParams {
        key: &key,
        choice: TransportChoice::default(),
        psk: None,
        meter: Meter::new(None),
        unread: Unread::new(usize::MAX),
        filters: Filters::default(),
        circuits: Circuits::default(),
        relay: None,
        resolver: Resolver::new(&DnsSettings::NOBODY),
    })
    .unwrap();
    let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    transports.dial(to.clone(), opts).unwrap().await.unwrap().1
}

/// Opens streams for ever, holds them, and says one byte on each, which begins a line that never ends.
async fn open_for_ever(mut muxer: StreamMuxerBox, opened: Arc<AtomicUsize>) {
    let mut held: Vec<SubstreamBox> = Vec::new();
    loop {
        let next = std::future::poll_fn(|cx| {
            // Windows and answers come only where the connection is driven too.
            let _ = Pin::new(&mut muxer).poll(cx);
            Pin::new(&mut muxer).poll_outbound(cx)
        });
        let Ok(mut stream) = next.await else { return };
        let mut saying = Box::pin(async {
            // The node may have reset it already.
            let _ = stream.write_all(&[19]).await;
            let _ = stream.flush().await;
        });
        std::future::poll_fn(|cx| {
            let _ = Pin::new(&mut muxer).poll(cx);
            saying.as_mut().poll(cx)
        })
        .await;
        drop(saying);
        // The node gets its turn: what it refuses must come back before the next.
        let mut pause = Box::pin(sleep(PAUSE));
        std::future::poll_fn(|cx| {
            let _ = Pin::new(&mut muxer).poll(cx);
            pause.as_mut().poll(cx)
        })
        .await;
        opened.fetch_add(1, Ordering::Relaxed);
        // What was refused is let go: yamux ends a connection with more streams than it may have.
        if held.len() < HELD_MAX {
            held.push(stream);
        }
    }
}

#[tokio::test]
async fn a_peer_that_opens_streams_without_end_holds_as_many_as_it_may_and_no_more() {
    const STREAMS_MAX: usize = 8;
    let mut strict = settings(&["/ip4/127.0.0.1/tcp/0"]);
    strict.limits.as_mut().unwrap().peer.streams.inbound = Some(STREAMS_MAX);
    let node = node(strict).await;
    let opened = Arc::new(AtomicUsize::new(0));
    let muxer = bare_connection(&listening(&node)[0]).await;
    let hostile = tokio::spawn(open_for_ever(muxer, Arc::clone(&opened)));
    until("hundreds were refused", || async {
        let streams = node.usage().await.unwrap().streams;
        assert!(streams.inbound <= STREAMS_MAX, "{streams:?}");
        streams.refused > 200
    })
    .await;
    assert!(opened.load(Ordering::Relaxed) > 200);
    // Others are served meanwhile.
    let honest = plain().await;
    honest.connect(node.peer_id(), &listening(&node)).await.unwrap();
    assert!(honest.ping(node.peer_id()).await.is_ok());
    hostile.abort();
    until("nothing of it is left", || async {
        let usage = node.usage().await.unwrap();
        usage.inbound_connections == 1 && usage.streams.inbound < STREAMS_MAX
    })
    .await;
}
