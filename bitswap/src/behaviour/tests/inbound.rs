//! More streams of a peer than one connection takes, while reading pauses.

use std::future::poll_fn;

use libp2p::Stream;
use libp2p::swarm::handler::{ConnectionEvent, ConnectionHandler as _, FullyNegotiatedInbound};

use super::bench::Bench;
use super::*;
use crate::inbox::Credit;

/// Pairs of ends of streams.
async fn streams(count: usize) -> (Vec<Stream>, Vec<Stream>) {
    let (mut a, mut b) = (
        swarm(|_| raw::Raw::new(Version::V1_2.protocol())),
        swarm(|_| raw::Raw::new(Version::V1_2.protocol())),
    );
    let (address, peer, opener) = (listen(&mut b).await, *b.local_peer_id(), a.behaviour().opener.clone());
    a.dial(address).unwrap();
    while !matches!(a.next().now_or_never(), Some(Some(SwarmEvent::ConnectionEstablished { .. }))) {
        let _ = b.next().now_or_never();
        tokio::task::yield_now().await;
    }
    let (tell, mut arrived) = mpsc::channel(count);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = a.next() => {}
                event = b.next() => {
                    if let Some(SwarmEvent::Behaviour((_, stream))) = event {
                        tell.send(stream).await.unwrap();
                    }
                }
            }
        }
    });
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let mut stream = opener.open(peer).await;
        let cid = cids(&blocks(1, 100 + theirs.len()))[0];
        let want =
            Entry { cid, priority: 1, cancel: false, want_type: WantType::Have, send_dont_have: false };
        let message = Message { entries: vec![want], ..Message::default() };
        stream.write_all(&encode(&message, Version::V1_2).concat()).await.unwrap();
        stream.flush().await.unwrap();
        theirs.push(stream);
        ours.push(tokio::time::timeout(LIMIT, arrived.recv()).await.unwrap().unwrap());
    }
    (theirs, ours)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_not_read_yet_is_not_ended_for_another() {
    let (theirs, ours) = streams(6).await;
    let mut bench = Bench::unconnected();
    let mut config = (*bench.behaviour.common.config).clone();
    config.inbound_streams_max = 4;
    bench.behaviour.common.config = Arc::new(config);
    let line = Arc::new(Line::new(&bench.behaviour.common.room));
    let from = (bench.peer, ConnectionId::new_unchecked(1));
    let mut handler = Handler::new(from, bench.behaviour.common.clone(), line.clone(), Offer::All);
    // Much waits to be dealt with, so nothing is read.
    let credits: Vec<_> = (0..32).map(|_| Credit::new(&line, 0)).collect();
    let polled = async |handler: &mut Handler| poll_fn(|cx| Poll::Ready(handler.poll(cx).is_ready())).await;
    for stream in ours {
        let negotiated = FullyNegotiatedInbound { protocol: (stream, Version::V1_2), info: () };
        handler.on_connection_event(ConnectionEvent::FullyNegotiatedInbound(negotiated));
        polled(&mut handler).await;
    }
    let mut theirs = theirs.into_iter();
    let mut kept: Vec<_> = theirs.by_ref().take(4).collect();
    for mut refused in theirs {
        let read = tokio::time::timeout(LIMIT, refused.read(&mut [0])).await.expect("it is over at once");
        assert!(matches!(read, Ok(0) | Err(_)));
    }
    drop(credits);
    polled(&mut handler).await;
    assert_eq!(bench.handle.counters().messages_received.get(), 4, "what had come is read");
    for stream in &mut kept {
        assert!(stream.read(&mut [0]).now_or_never().is_none(), "they go on");
    }
}
