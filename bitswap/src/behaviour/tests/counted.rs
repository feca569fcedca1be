//! What is counted is what happened.

use super::bench::{Bench, FIRST};
use super::*;

async fn settled(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, waited).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_streams_are_counted_as_they_come_and_go() {
    let (a, b) = (node(|_| {}).await, node(|_| {}).await);
    let have = blocks(20, 5000);
    a.give(&have).await;
    assert_eq!(b.fetch(&a, cids(&have)).await.len(), 20);
    let (asked, served) = (&b.handle.counters().traffic, &a.handle.counters().traffic);
    // Twenty wants; those that a block answered are not cancelled.
    assert!(asked.wantlists_total.get() >= 1 && asked.wantlists_items_total.get() >= 20);
    assert_eq!(
        (served.wantlists_total.get(), served.wantlists_items_total.get()),
        (0, 0),
        "it asked for nothing"
    );
    let times = asked.wantlists_seconds.micros();
    settled("each list went out", || times.count() == asked.wantlists_total.get()).await;
    assert!(times.sum() > 0);
    let sizes = &asked.response_bytes;
    assert_eq!(sizes.count(), b.handle.counters().messages_received.get());
    assert!((20 * 5000..21 * 5000).contains(&sizes.sum()), "{} bytes came", sizes.sum());
    // One stream each way, and nothing that is being written.
    settled("two streams", || asked.requests_in_flight.get() == 1 && served.requests_in_flight.get() == 1)
        .await;
    let left = b.handle.clone();
    drop((b.stop, a.stop));
    settled("they are closed", || left.counters().traffic.requests_in_flight.get() == 0).await;
}

#[tokio::test]
async fn what_a_peer_that_left_was_to_be_served_is_not_counted_any_more() {
    let mut bench = Bench::set(|config| {
        (config.outstanding_bytes_max, config.message_bytes_target) = (5000, 5000);
    });
    bench.connect(FIRST, 0);
    let have = blocks(10, 5000);
    bench.store.0.lock().unwrap().extend(have.iter().cloned());
    bench.asks_on(FIRST, &cids(&have));
    bench.told().await;
    let counters = bench.handle.shared.counters.clone();
    for (pending, close) in [(9, true), (0, false)] {
        let counted = async {
            while counters.pending_block_tasks.get() != pending {
                tokio::time::sleep(Duration::from_millis(20)).await;
                bench.told_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), counted).await.expect("it is counted");
        if close {
            bench.close(FIRST);
        }
    }
    assert_eq!((counters.pending_tasks.get(), counters.active_tasks.get()), (0, 0));
}
