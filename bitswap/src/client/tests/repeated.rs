//! Sessions that outlive their requests, and searches that come again.

use super::*;

#[test]
fn a_request_that_is_cancelled_leaves_nothing_to_its_session() {
    let have = blocks(20, 100 << 10);
    let mut sim = star(1, 200 * MS, &have);
    let peer = sim.nodes[1].id;
    sim.nodes[0].client.add_peers(SessionId(1), &[(peer, vec![])], sim.now);
    for request in 1..=20 {
        sim.get(0, 1, request, &cids(&have));
        sim.run(10 * MS, |_| false);
        let session = &sim.nodes[0].client.sessions[&SessionId(1)];
        assert!(session.held > 0, "request {request} is asked for");
        sim.nodes[0].client.cancel(RequestId(request), sim.now);
        let client = &sim.nodes[0].client;
        let session = &client.sessions[&SessionId(1)];
        assert_eq!((session.held, client.held_len(), client.wants_len()), (0, 0, 0));
    }
    sim.get(0, 1, 100, &cids(&have));
    assert!(sim.run_to_end(0, 100, MINUTE), "the session still fetches");
}

#[test]
fn a_broadcast_that_is_cancelled_leaves_nothing_to_its_session() {
    let mut sim = star(2, MS, &[]);
    for request in 1..=20 {
        sim.get(0, 1, request, &cids(&blocks(10, 100 + request as usize)));
        sim.run(10 * MS, |_| false);
        assert!(!sim.nodes[0].client.sessions[&SessionId(1)].broadcast.is_empty(), "request {request}");
        sim.nodes[0].client.cancel(RequestId(request), sim.now);
        assert!(sim.nodes[0].client.sessions[&SessionId(1)].broadcast.is_empty());
    }
    // Time goes on: what was cancelled does not keep the session's timer from being set.
    let have = blocks(1, 5000);
    sim.get(0, 1, 100, &cids(&have));
    sim.run(2 * MINUTE, |_| false);
    sim.give(2, &have);
    assert!(sim.run_to_end(0, 100, 2 * MINUTE));
}

#[test]
fn who_inherits_a_want_asks_for_it_at_once() {
    let mut sim = star(1, MS, &[]);
    let wanted = cids(&blocks(1, 5000));
    sim.get(0, 1, 1, &wanted);
    sim.get(0, 2, 2, &wanted);
    sim.run(10 * MS, |_| false);
    let client = &mut sim.nodes[0].client;
    assert!(client.sessions[&SessionId(2)].broadcast.is_empty(), "the first one asks");
    client.cancel(RequestId(1), sim.now);
    assert_eq!(client.sessions[&SessionId(2)].broadcast.len(), 1);
}
