//! Sessions that go on for long: cancelled requests, searches that come again, members that make room.

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
    assert!(client.sessions[&SessionId(1)].broadcast.is_empty(), "the second one asks");
    client.cancel(RequestId(2), sim.now);
    assert_eq!(client.sessions[&SessionId(1)].broadcast.len(), 1);
}

#[test]
fn a_search_delay_of_zero_searches_at_once_and_then_ever_less_often() {
    for is_connected in [false, true] {
        let mut sim = Sim::new(2, MS, |config| config.search_delay = Duration::ZERO);
        sim.nodes[1].manner = Manner::Mute;
        if is_connected {
            sim.connect(0, 1);
        }
        sim.get(0, 1, 1, &cids(&blocks(1, 100)));
        sim.run(10 * 1000 * MS, |_| false);
        let times: Vec<_> = sim.nodes[0].searches.iter().map(|(at, _)| at.as_millis() / 100).collect();
        assert_eq!(times, [0, 2, 6, 14, 30, 62]);
    }
}

/// A session that has waited long for one thing, and searches seldom; and its wanted blocks.
fn patient() -> (Sim, Vec<(Cid, Bytes)>) {
    let wanted = blocks(2, 5000);
    let mut sim = star(1, MS, &[]);
    sim.nodes[1].manner = Manner::Mute;
    sim.get(0, 1, 1, &cids(&wanted));
    sim.run(70 * 1000 * MS, |_| false);
    (sim, wanted)
}

#[test]
fn a_session_that_rested_searches_as_soon_as_a_new_one() {
    let (mut sim, wanted) = patient();
    sim.nodes[0].client.cancel(RequestId(1), sim.now);
    let before = sim.nodes[0].searches.len();
    sim.get(0, 1, 2, &cids(&wanted));
    sim.run(1010 * MS, |_| false);
    assert_eq!(sim.nodes[0].searches.len(), before + 1);
}

#[test]
fn a_block_brings_the_next_search_nearer() {
    let (mut sim, wanted) = patient();
    let before = sim.nodes[0].searches.len();
    let peer = sim.nodes[1].id;
    sim.receive(0, peer, message_of(&wanted[..1]));
    sim.run(1010 * MS, |_| false);
    assert_eq!(sim.nodes[0].searches.len(), before + 1);
}

#[test]
fn a_peer_that_may_keep_an_old_list_is_told_that_nothing_is_left() {
    for is_stream_lost in [true, false] {
        let mut sim = star(1, MS, &[]);
        let (peer, now) = (sim.nodes[1].id, sim.now);
        let client = &mut sim.nodes[0].client;
        let empty = Action::Send { peer, entries: Vec::new(), full: true };
        client.get(SessionId(1), RequestId(1), &cids(&blocks(1, 100)), now);
        assert!(matches!(client.poll_action(now), Some(Action::Send { full: true, .. })));
        if is_stream_lost {
            client.on_sent(peer);
            client.cancel(RequestId(1), now);
            client.on_stream_lost(peer);
        } else {
            client.on_answers_lost(peer);
            client.cancel(RequestId(1), now);
            assert_eq!(client.poll_action(now), None, "one message is on its way");
            client.on_sent(peer);
        }
        assert_eq!(client.poll_action(now), Some(empty));
        client.on_sent(peer);
        assert_eq!(client.poll_action(now), None);
    }
    // Who was told nothing need not hear that there is nothing.
    let mut sim = star(1, MS, &[]);
    let (peer, now) = (sim.nodes[1].id, sim.now);
    sim.nodes[0].client.on_stream_lost(peer);
    assert_eq!(sim.nodes[0].client.poll_action(now), None);
}

/// All four had the root, and none has what is below it.
#[test]
fn who_has_a_block_takes_the_place_of_a_member_that_had_nothing() {
    for is_found_by_search in [false, true] {
        let (root, leaf) = (blocks(1, 5000), blocks(1, 6000));
        let mut sim = Sim::new(6, MS, |config| config.session_peers_max = 4);
        for at in 1..=4 {
            sim.give(at, &root);
            sim.connect(0, at);
        }
        sim.give(5, &leaf);
        sim.get(0, 1, 1, &cids(&root));
        assert!(sim.run_to_end(0, 1, MINUTE));
        sim.run(100 * MS, |_| false);
        assert_eq!(sim.nodes[0].client.sessions[&SessionId(1)].members.len(), 4);
        sim.get(0, 1, 2, &cids(&leaf));
        sim.run(500 * MS, |_| false);
        if is_found_by_search {
            let peer = sim.nodes[5].id;
            sim.nodes[0].client.on_providers(&leaf[0].0, &[(peer, vec![])], sim.now);
            assert!(sim.run(MS, |sim| sim.nodes[0].dials == [peer]));
        }
        sim.connect(0, 5);
        assert!(sim.run_to_end(0, 2, 100 * MS));
    }
}

#[test]
fn a_session_that_was_served_by_the_want_of_another_ends() {
    let have = blocks(2, 5000);
    let mut sim = star(1, 20 * MS, &have);
    sim.get(0, 1, 1, &cids(&have));
    sim.get(0, 2, 2, &cids(&have[..1]));
    sim.nodes[0].client.end_session(SessionId(2));
    assert!(sim.run_to_end(0, 2, MINUTE) && sim.run_to_end(0, 1, MINUTE));
    assert!(sim.nodes[0].client.sessions.keys().eq([&SessionId(1)]), "nobody holds the second one");
}
