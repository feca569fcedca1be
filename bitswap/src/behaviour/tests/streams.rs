//! Streams out that cannot be opened, or are lost.

use std::future::poll_fn;

use libp2p::swarm::StreamUpgradeError;
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler as _, ConnectionHandlerEvent, DialUpgradeError,
};

use super::bench::{Bench, FIRST};
use super::*;
use crate::behaviour::outbound::{Event, Outbound};
use crate::inbox::Sending;

/// Whether the handler asks for a stream now.
async fn asks_for_stream(handler: &mut Handler) -> bool {
    poll_fn(|cx| {
        let event = handler.poll(cx);
        Poll::Ready(matches!(event, Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { .. })))
    })
    .await
}

fn fail(handler: &mut Handler, error: StreamUpgradeError<Infallible>) {
    handler.on_connection_event(ConnectionEvent::DialUpgradeError(DialUpgradeError { info: (), error }));
}

/// It has too much to do for a moment.
#[tokio::test]
async fn what_is_to_be_sent_waits_for_a_peer_that_does_not_take_a_stream_at_once() {
    let mut bench = Bench::unconnected();
    let mut handler = bench.connect(FIRST, 0);
    let (cids, _session, _blocks) = bench.want(3).await;
    let (_, message) = bench.told().await;
    assert_eq!(message.entries.len(), cids.len());
    handler.on_behaviour_event(Outgoing { message, sending: Sending::Wants });
    for _ in 0..4 {
        let asked = async {
            while !asks_for_stream(&mut handler).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LIMIT, asked).await.expect("it tries again");
        fail(&mut handler, StreamUpgradeError::Timeout);
        assert!(!asks_for_stream(&mut handler).await, "not at once");
        assert_eq!(bench.told_now().await, None, "nothing is lost, so nothing is said again");
        assert!(handler.connection_keep_alive());
    }
    assert_eq!(bench.handle.counters().messages_received.get(), 0);
}

#[tokio::test]
async fn a_peer_that_refused_and_then_asks_is_answered() {
    let mut bench = Bench::unconnected();
    let mut handler = bench.connect(FIRST, 0);
    let have = blocks(2, 5000);
    bench.store.0.lock().unwrap().extend(have.iter().cloned());
    let (_, _session, _blocks) = bench.want(3).await;
    let (_, message) = bench.told().await;
    handler.on_behaviour_event(Outgoing { message, sending: Sending::Wants });
    assert!(asks_for_stream(&mut handler).await);
    fail(&mut handler, StreamUpgradeError::NegotiationFailed);
    assert!(!asks_for_stream(&mut handler).await);
    assert_eq!(bench.told_now().await, None, "it does not speak Bitswap");
    handler.on_message(wants(&cids(&have)), 100);
    let mut told = vec![bench.told().await.1, bench.told().await.1];
    told.sort_by_key(|message| message.blocks.len());
    assert_eq!((told[0].entries.len(), told[1].blocks.len()), (3, 2), "it is asked, and answered");
    handler.on_behaviour_event(Outgoing { message: told.remove(0), sending: Sending::Wants });
    assert!(asks_for_stream(&mut handler).await, "there is another try");
    fail(&mut handler, StreamUpgradeError::NegotiationFailed);
    assert!(!asks_for_stream(&mut handler).await);
    handler.on_message(wants(&cids(&have)), 100);
    assert_eq!(bench.told_now().await, None, "who refuses again has to wait");
}

/// It never sends anything, and so cannot show that it speaks Bitswap by now.
#[tokio::test]
async fn a_peer_that_refused_and_says_nothing_is_tried_again_after_a_while() {
    let mut bench = Bench::set(|config| config.refused_max = Duration::from_millis(300));
    let mut handler = bench.connect(FIRST, 0);
    let (cids, _session, _blocks) = bench.want(3).await;
    let mut last = None;
    for _ in 0..3 {
        let asked = async {
            loop {
                // Polled on its connection's task, whatever comes.
                assert!(!asks_for_stream(&mut handler).await, "nothing is to be sent");
                match bench.told_now().await {
                    Some((_, message)) => return message,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let message = tokio::time::timeout(LIMIT, asked).await.expect("it is asked again");
        assert_eq!(message.entries.len(), cids.len());
        let before = last.replace(Instant::now()).map(|at: Instant| at.elapsed());
        assert!(before.is_none_or(|since| since >= Duration::from_millis(300)), "{before:?}");
        handler.on_behaviour_event(Outgoing { message, sending: Sending::Wants });
        assert!(asks_for_stream(&mut handler).await);
        fail(&mut handler, StreamUpgradeError::NegotiationFailed);
    }
}

/// It agrees to each stream and then resets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_lost_again_and_again_are_opened_ever_less_often() {
    fn quiet(_: &Message, _: &HashMap<Cid, Bytes>) -> Vec<Vec<u8>> {
        Vec::new()
    }
    let mut peer = scripted(Version::V1_2, &[], quiet).await;
    let a = node(|_| {}).await;
    let session = a.handle.session();
    session.add_peers(vec![(peer.peer, vec![peer.address.clone()])]).await;
    let _blocks = session.get(cids(&blocks(1, 99)));
    tokio::time::timeout(LIMIT, peer.told.recv()).await.unwrap().expect("it is connected");
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(tokio::time::timeout(LIMIT, peer.opener.open(a.peer)).await.unwrap());
    }
    // The line is cut: each of them fails.
    drop(a.stop);
    let mut outbound = Outbound::new(&Config::new(PeerId::random()), Arc::default());
    let mut waits = Vec::new();
    for stream in streams {
        outbound.opened(stream, Version::V1_2);
        loop {
            outbound.push(wants(&cids(&blocks(1, 100))), Sending::Wants);
            match tokio::time::timeout(LIMIT, poll_fn(|cx| outbound.poll(cx))).await.unwrap() {
                Event::Lost(_) => break,
                Event::Sent(..) => tokio::time::sleep(Duration::from_millis(10)).await,
                Event::Open | Event::Refused(_) | Event::Readmitted => panic!("it is open"),
            }
        }
        let lost_at = Instant::now();
        outbound.push(wants(&cids(&blocks(1, 100))), Sending::Wants);
        let next = tokio::time::timeout(LIMIT, poll_fn(|cx| outbound.poll(cx))).await.unwrap();
        assert!(matches!(next, Event::Open));
        waits.push(lost_at.elapsed().as_millis());
    }
    assert!(waits[3] >= 1600 && waits.is_sorted(), "{waits:?}");
}
