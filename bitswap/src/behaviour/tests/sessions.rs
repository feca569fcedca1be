//! Sessions that are over before the behaviour hears of them.

use super::bench::{Bench, FIRST};
use super::*;

#[tokio::test]
async fn a_session_that_is_dropped_while_it_asks_ends_with_its_request() {
    let mut bench = Bench::unconnected();
    bench.connect(FIRST, 0);
    let wanted = cids(&blocks(1, 5000));
    let blocks = bench.handle.session().get(wanted);
    assert_eq!(bench.told().await.1.entries.len(), 1);
    // Numbers are given in order: the session's, the request's, and the next one's.
    let id = crate::SessionId(bench.handle.session().id().0 - 2);
    assert_eq!(bench.behaviour.client.tried(id).peers_asked, 1, "it is there while somebody reads");
    drop(blocks);
    bench.told_now().await;
    assert_eq!(bench.behaviour.client.tried(id), crate::Tried::default(), "it is forgotten");
}
