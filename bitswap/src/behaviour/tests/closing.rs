//! A peer with two connections, one of which closes: nothing that was on its way is lost for long.

use libp2p::swarm::ConnectionHandler as _;

use super::bench::{Bench, FIRST, SECOND};
use super::*;

fn asked(message: &Message) -> HashSet<Cid> {
    message.entries.iter().filter(|entry| !entry.cancel).map(|entry| entry.cid).collect()
}

fn set(cids: &[Cid]) -> HashSet<Cid> {
    cids.iter().copied().collect()
}

/// Both dialled at once: we tell our wants on the first connection, the peer was answering on the second.
#[tokio::test]
async fn what_was_being_answered_on_a_connection_that_closes_is_asked_for_again_on_the_other() {
    let mut bench = Bench::new();
    let (cids, _session, _blocks) = bench.want(3).await;
    let (on, message) = bench.told().await;
    assert_eq!((on, asked(&message)), (FIRST, set(&cids)));
    bench.sent_wants(FIRST);
    assert_eq!(bench.told_now().await, None, "everything is said");
    bench.close(SECOND);
    let (on, message) = bench.told().await;
    assert_eq!((on, message.full, asked(&message)), (FIRST, true, set(&cids)));
}

#[tokio::test]
async fn what_was_said_on_a_connection_that_closes_is_said_again_on_the_other() {
    for was_sent in [true, false] {
        let mut bench = Bench::new();
        let (cids, _session, _blocks) = bench.want(3).await;
        assert_eq!(bench.told().await.0, FIRST);
        if was_sent {
            bench.sent_wants(FIRST);
        }
        bench.close(FIRST);
        let (on, message) = bench.told().await;
        assert_eq!((on, message.full, asked(&message)), (SECOND, true, set(&cids)));
    }
}

/// One message of wants is on its way at a time, whatever closes meanwhile.
#[tokio::test]
async fn wants_that_are_on_their_way_are_not_overtaken() {
    let mut bench = Bench::new();
    let (cids, _session, _blocks) = bench.want(3).await;
    assert_eq!(bench.told().await.0, FIRST);
    bench.close(SECOND);
    assert_eq!(bench.told_now().await, None, "the first is not in its stream yet");
    bench.sent_wants(FIRST);
    let (on, message) = bench.told().await;
    assert_eq!((on, message.full, asked(&message)), (FIRST, true, set(&cids)));
}

#[tokio::test]
async fn a_peer_that_is_asked_for_nothing_is_told_nothing_when_a_connection_closes() {
    let mut bench = Bench::new();
    bench.close(SECOND);
    assert_eq!(bench.told_now().await, None);
}

/// Its own end of the second connection is gone; ours is not yet. What it asks for again has to come where it asks.
#[tokio::test]
async fn a_peer_is_answered_on_the_connection_on_which_it_asked_last() {
    let mut bench = Bench::new();
    let have = blocks(2, 5000);
    bench.store.0.lock().unwrap().extend(have.iter().cloned());
    for (on, closes) in [(SECOND, false), (FIRST, false), (SECOND, true)] {
        bench.asks_on(on, &cids(&have));
        let (answered_on, message) = bench.told().await;
        assert_eq!((answered_on, message.blocks.len()), (on, 2));
        if closes {
            bench.close(on);
        }
    }
    bench.asks_on(FIRST, &cids(&have));
    let (answered_on, message) = bench.told().await;
    assert_eq!((answered_on, message.blocks.len()), (FIRST, 2), "what was lost is no reason to wait");
}

/// Blocks that come on a connection which does not know that any are wanted are dropped unhashed.
#[tokio::test]
async fn a_connection_that_comes_later_knows_what_is_wanted() {
    let mut bench = Bench::new();
    let (_cids, _session, _blocks) = bench.want(3).await;
    assert_eq!(bench.told().await.0, FIRST);
    bench.sent_wants(FIRST);
    assert_eq!(bench.told_now().await, None);
    let later = bench.connect(3, 2);
    assert_eq!(bench.told_now().await, None, "everything is said");
    assert!(later.connection_keep_alive(), "blocks may come on it");
}

/// What happened to a connection, and nothing else, may make something to be looked up or read.
#[tokio::test]
async fn what_an_event_of_the_swarm_asks_of_the_host_begins_at_once() {
    let mut bench = Bench::new();
    let have = blocks(1, 5000);
    bench.store.0.lock().unwrap().extend(have.iter().cloned());
    assert_eq!(bench.told_now().await, None);
    let peer = bench.peer;
    bench.behaviour.server.on_wants(peer, &wants(&cids(&have)).entries, true);
    assert_eq!(bench.told().await.1.blocks.len(), 1);
}
