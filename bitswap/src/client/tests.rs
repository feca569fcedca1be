mod repeated;
mod shared;

use std::time::Duration;

use super::*;
use crate::message::Message;
use crate::sim::{Manner, Sim, blocks, cids, message_of};

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A fetcher, node 0, and providers that have all of `blocks` and that it is connected to.
fn star(providers: usize, latency: Duration, have: &[(Cid, Bytes)]) -> Sim {
    let mut sim = Sim::new(providers + 1, latency, |_| {});
    for at in 1..=providers {
        sim.give(at, have);
        sim.connect(0, at);
    }
    sim
}

fn delivered(sim: &Sim, request: u64) -> Vec<(Cid, Bytes)> {
    let mut all = sim.nodes[0].delivered.get(&RequestId(request)).cloned().unwrap_or_default();
    all.sort();
    all
}

fn sorted(blocks: &[(Cid, Bytes)]) -> Vec<(Cid, Bytes)> {
    let mut all = blocks.to_vec();
    all.sort();
    all
}

#[test]
fn one_block_from_one_peer_takes_one_round_trip() {
    let have = blocks(1, 1 << 10);
    let mut sim = star(1, 20 * MS, &have);
    let key = sim.nodes[1].id;
    sim.nodes[0].client.add_peers(SessionId(1), &[(key, vec![])], sim.now);
    sim.get(0, 1, 1, &cids(&have));
    assert!(sim.run_to_end(0, 1, MINUTE));
    assert!(sim.elapsed() < 42 * MS, "{:?}", sim.elapsed());
    assert_eq!(delivered(&sim, 1), have);
}

#[test]
fn a_block_of_an_unknown_peer_takes_two_round_trips() {
    let have = blocks(1, 100 << 10);
    let mut sim = star(3, 20 * MS, &[]);
    sim.give(2, &have);
    sim.get(0, 1, 1, &cids(&have));
    assert!(sim.run_to_end(0, 1, MINUTE));
    assert!(sim.elapsed() < 84 * MS, "{:?}", sim.elapsed());
    assert!(sim.nodes[0].searches.is_empty(), "somebody had it");
}

/// Each node of a chain is known only when the one before has come: hops must not cost more than the line does.
#[test]
fn a_deep_chain_takes_one_round_trip_a_hop() {
    let chain = blocks(200, 300);
    let mut sim = star(4, 20 * MS, &chain);
    for (hop, (cid, _)) in chain.iter().enumerate() {
        sim.get(0, 1, hop as u64 + 1, &[*cid]);
        assert!(sim.run_to_end(0, hop as u64 + 1, MINUTE));
    }
    let hops = sim.elapsed().as_secs_f64() / 0.040;
    assert!(hops <= 1.1 * 200.0, "{hops} round trips for 200 hops");
}

#[test]
fn four_providers_share_the_work_with_few_duplicates() {
    for (count, len) in [(2000, 256 << 10), (5000, 1500), (5000, 500)] {
        let have = blocks(count, len);
        let mut sim = star(4, 5 * MS, &have);
        sim.rates = vec![1e9, 100e6, 100e6, 100e6, 50e6];
        sim.get(0, 1, 1, &cids(&have));
        assert!(sim.run_to_end(0, 1, 10 * MINUTE));
        assert_eq!(delivered(&sim, 1), sorted(&have));
        let duplicates = sim.nodes[0].duplicates;
        assert!(duplicates * 50 <= count, "{duplicates} duplicates of {count} blocks of {len}");
        let shares: Vec<_> = sim.nodes[1..].iter().map(|node| node.blocks_out).collect();
        if len > 100_000 {
            assert!(shares.iter().all(|share| *share * 12 > count), "{shares:?}");
            // 350 MB/s in sum.
            let ideal = count as f64 * len as f64 / 350e6;
            assert!(sim.elapsed().as_secs_f64() < 1.5 * ideal, "{:?} for {ideal} s", sim.elapsed());
        }
    }
}

/// Both have all of it and lines of the same rate: the hops of a chain are asked of the one that is near.
#[test]
fn of_two_who_have_a_block_the_nearer_is_asked() {
    let chain = blocks(100, 300);
    let mut sim = star(2, Duration::ZERO, &chain);
    sim.distances = vec![Duration::ZERO, 100 * MS, MS];
    for (hop, (cid, _)) in chain.iter().enumerate() {
        sim.get(0, 1, hop as u64 + 1, &[*cid]);
        assert!(sim.run_to_end(0, hop as u64 + 1, MINUTE));
    }
    let [far, near] = [1, 2].map(|at| sim.nodes[at].blocks_out);
    assert!(far <= 5 && near >= 95, "{far} blocks of the far one, {near} of the near one");
    assert!(sim.elapsed() < 1500 * MS, "{:?}", sim.elapsed());
}

/// 100 ms and 1 Gbit/s hold 12.5 MB: a window that stayed at 1 MiB would take twelve times as long.
#[test]
fn the_window_grows_to_what_a_long_line_holds() {
    let have = blocks(2000, 256 << 10);
    let mut sim = star(1, 50 * MS, &have);
    sim.rates[1] = 125e6;
    sim.get(0, 1, 1, &cids(&have));
    assert!(sim.run_to_end(0, 1, 10 * MINUTE));
    let ideal = 2000.0 * f64::from(256 << 10) / 125e6;
    assert!(sim.elapsed().as_secs_f64() < 1.6 * ideal, "{:?} for {ideal} s", sim.elapsed());
}

#[test]
fn a_slow_peer_gets_a_small_window() {
    let have = blocks(40, 256 << 10);
    let mut sim = star(1, 5 * MS, &have);
    sim.rates[1] = 1e6;
    sim.get(0, 1, 1, &cids(&have));
    assert!(sim.run_to_end(0, 1, 10 * MINUTE));
    let key = sim.nodes[0].client.peer_keys[&sim.nodes[1].id];
    assert!(sim.nodes[0].client.peers.get(key).unwrap().flow.window() < 1 << 20);
    assert_eq!(sim.nodes[0].duplicates, 0);
    assert_eq!(sim.nodes[0].client.tried(SessionId(1)).silences, 0, "slow is not silent");
}

#[test]
fn dont_have_moves_a_want_to_another_peer() {
    let have = blocks(100, 10 << 10);
    let mut sim = star(2, 10 * MS, &[]);
    sim.give(1, &have[..50]);
    sim.give(2, &have[50..]);
    sim.get(0, 1, 1, &cids(&have));
    assert!(sim.run_to_end(0, 1, MINUTE));
    assert!(sim.elapsed() < 400 * MS, "{:?}", sim.elapsed());
    assert!(sim.nodes[0].client.tried(SessionId(1)).dont_haves > 0);
}

#[test]
fn a_peer_that_promises_and_is_silent_is_passed_over() {
    let have = blocks(50, 10 << 10);
    for manner in [Manner::Promises, Manner::Mute, Manner::Lies] {
        let mut sim = star(2, 10 * MS, &have);
        sim.nodes[1].manner = manner;
        sim.get(0, 1, 1, &cids(&have));
        assert!(sim.run_to_end(0, 1, MINUTE), "{manner:?}");
        assert_eq!(delivered(&sim, 1), sorted(&have), "{manner:?}");
        assert!(sim.elapsed() < 30 * 1000 * MS, "{manner:?} {:?}", sim.elapsed());
    }
}

#[test]
fn a_peer_that_leaves_loses_its_wants_to_others() {
    let have = blocks(200, 64 << 10);
    let mut sim = star(2, 10 * MS, &have);
    sim.rates = vec![1e9, 10e6, 10e6];
    sim.get(0, 1, 1, &cids(&have));
    sim.run(200 * MS, |_| false);
    sim.cut(0, 1);
    assert!(sim.run_to_end(0, 1, MINUTE));
    assert_eq!(delivered(&sim, 1), sorted(&have));
}

/// A mesh: the only provider comes and goes every five seconds.
#[test]
fn a_fetch_resumes_each_time_that_the_line_comes_back() {
    let have = blocks(200, 256 << 10);
    let mut sim = star(1, 10 * MS, &have);
    sim.rates[1] = 1e6;
    sim.get(0, 1, 1, &cids(&have));
    let mut cuts = 0;
    while !sim.run_to_end(0, 1, 5000 * MS) {
        cuts += 1;
        assert!(cuts < 40, "{} of 200", delivered(&sim, 1).len());
        sim.cut(0, 1);
        sim.run(1000 * MS, |_| false);
        sim.connect(0, 1);
    }
    assert!(cuts > 5);
    assert_eq!(delivered(&sim, 1), sorted(&have));
}

#[test]
fn sixteen_dont_haves_in_a_row_end_membership() {
    let mut sim = star(1, MS, &[]);
    let peer = sim.nodes[1].id;
    sim.nodes[0].client.add_peers(SessionId(1), &[(peer, vec![])], sim.now);
    sim.get(0, 1, 1, &cids(&blocks(20, 100)));
    sim.run(500 * MS, |_| false);
    assert!(sim.nodes[0].client.sessions[&SessionId(1)].members.is_empty());
}

#[test]
fn providers_are_searched_for_at_once_when_nobody_is_there_and_then_ever_less_often() {
    let mut sim = Sim::new(2, MS, |_| {});
    let wanted = blocks(1, 100);
    sim.get(0, 1, 1, &cids(&wanted));
    sim.run(5 * MINUTE, |_| false);
    let times: Vec<_> = sim.nodes[0].searches.iter().map(|(at, _)| at.as_secs()).collect();
    assert_eq!(times[..6], [0, 2, 6, 14, 30, 62], "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 60));
    // Somebody is found.
    sim.give(1, &wanted);
    let peer = sim.nodes[1].id;
    sim.nodes[0].client.on_providers(&wanted[0].0, &[(peer, vec![])], sim.now);
    assert!(sim.run(MS, |sim| sim.nodes[0].dials == [peer]));
    sim.connect(0, 1);
    assert!(sim.run_to_end(0, 1, 100 * MS));
}

#[test]
fn a_search_begins_when_all_said_that_they_have_not() {
    let mut sim = star(3, 20 * MS, &[]);
    sim.get(0, 1, 1, &cids(&blocks(1, 100)));
    assert!(sim.run(MINUTE, |sim| !sim.nodes[0].searches.is_empty()));
    assert!(sim.nodes[0].searches[0].0 < 100 * MS, "{:?}", sim.nodes[0].searches);
    let tried = sim.nodes[0].client.tried(SessionId(1));
    assert_eq!((tried.peers_asked, tried.provider_searches), (3, 1));
    assert!(tried.dont_haves >= 3);
}

#[test]
fn a_search_begins_after_a_second_without_a_block() {
    let mut sim = star(1, MS, &[]);
    sim.nodes[1].manner = Manner::Mute;
    sim.get(0, 1, 1, &cids(&blocks(1, 100)));
    sim.run(1100 * MS, |_| false);
    assert_eq!(sim.nodes[0].searches.len(), 1);
    assert!(sim.nodes[0].searches[0].0 >= 1000 * MS);
}

#[test]
fn a_block_is_pushed_when_it_arrives_at_a_peer_that_was_asked() {
    let wanted = blocks(1, 5000);
    let mut sim = star(1, 20 * MS, &[]);
    sim.get(0, 1, 1, &cids(&wanted));
    sim.run(600 * MS, |_| false);
    let before = sim.elapsed();
    sim.give(1, &wanted);
    assert!(sim.run_to_end(0, 1, MINUTE));
    assert!(sim.elapsed().saturating_sub(before) < 65 * MS, "HAVE, want, block: three times 20 ms");
}

#[test]
fn wants_end_with_their_last_reader() {
    let mut sim = star(1, MS, &[]);
    let wanted = cids(&blocks(10, 100));
    sim.get(0, 1, 1, &wanted);
    sim.get(0, 2, 2, &wanted);
    sim.run(100 * MS, |_| false);
    let fetcher = sim.nodes[0].id;
    assert_eq!(sim.nodes[1].server.wantlist(&fetcher).len(), 10);
    sim.nodes[0].client.cancel(RequestId(1), sim.now);
    sim.run(100 * MS, |_| false);
    assert_eq!(sim.nodes[1].server.wantlist(&fetcher).len(), 10, "another reader waits");
    sim.nodes[0].client.cancel(RequestId(2), sim.now);
    sim.run(100 * MS, |_| false);
    assert_eq!(sim.nodes[1].server.wantlist(&fetcher).len(), 0);
    assert_eq!(sim.nodes[0].client.wants_len(), 0);
    for session in [1, 2] {
        sim.nodes[0].client.end_session(SessionId(session));
    }
    assert!(sim.nodes[0].client.sessions.is_empty() && sim.nodes[0].client.requests.is_empty());
}

#[test]
fn a_reader_that_goes_leaves_the_block_to_the_other() {
    let have = blocks(50, 100 << 10);
    let mut sim = star(1, 20 * MS, &have);
    sim.rates[1] = 10e6;
    sim.get(0, 1, 1, &cids(&have));
    sim.get(0, 2, 2, &cids(&have));
    sim.run(100 * MS, |_| false);
    sim.nodes[0].client.cancel(RequestId(1), sim.now);
    assert!(sim.run_to_end(0, 2, MINUTE));
    assert_eq!(delivered(&sim, 2), sorted(&have));
    assert_eq!(sim.nodes[0].client.held_len(), 0);
}

#[test]
fn a_reader_that_does_not_read_is_not_sent_more() {
    let have = blocks(400, 256 << 10);
    let mut sim = star(2, MS, &have);
    sim.nodes[0].takes = false;
    sim.get(0, 1, 1, &cids(&have));
    sim.run(10 * MINUTE, |_| false);
    let held: usize = delivered(&sim, 1).iter().map(|(_, data)| data.len()).sum();
    assert!((8 << 20..=24 << 20).contains(&held), "{held} bytes held");
    sim.nodes[0].takes = true;
    sim.nodes[0].client.on_consumed(RequestId(1), held, sim.now);
    assert!(sim.run_to_end(0, 1, 10 * MINUTE));
    assert_eq!(delivered(&sim, 1), sorted(&have));
}

/// Small blocks say that the next ones are small, and then they are not.
#[test]
fn blocks_that_are_larger_than_those_before_do_not_overrun_a_reader() {
    let mut have = blocks(300, 200);
    have.extend(blocks(300, 1 << 20));
    let mut sim = star(1, 20 * MS, &have);
    sim.nodes[0].takes = false;
    sim.get(0, 1, 1, &cids(&have));
    sim.run(10 * MINUTE, |_| false);
    let held: usize = delivered(&sim, 1).iter().map(|(_, data)| data.len()).sum();
    assert!(held <= 24 << 20, "{held} bytes held");
    sim.nodes[0].takes = true;
    sim.nodes[0].client.on_consumed(RequestId(1), held, sim.now);
    assert!(sim.run_to_end(0, 1, 10 * MINUTE));
    assert_eq!(delivered(&sim, 1), sorted(&have));
}

#[test]
fn unrequested_blocks_are_dropped_and_counted() {
    let mut sim = star(1, MS, &[]);
    let junk = blocks(100, 1000);
    let peer = sim.nodes[1].id;
    sim.receive(0, peer, message_of(&junk));
    assert_eq!((sim.nodes[0].wanted, sim.nodes[0].unwanted), (0, 100));
    assert!(sim.nodes[0].delivered.is_empty());
}

#[test]
fn a_small_wanted_block_does_not_keep_the_message_that_it_came_in() {
    let wanted = blocks(1, 200);
    let mut sim = star(1, MS, &[]);
    sim.get(0, 1, 1, &cids(&wanted));
    let peer = sim.nodes[1].id;
    let data = wanted[0].1.clone();
    let outcome = sim.nodes[0].client.on_blocks(peer, vec![(wanted[0].0, data.clone())], 4 << 20, sim.now);
    assert_eq!(outcome.wanted, 1);
    sim.run(MS, |_| false);
    let got = &delivered(&sim, 1)[0].1;
    assert!(got == &data && got.as_ptr() != data.as_ptr(), "a copy");
}

#[test]
fn a_block_under_its_old_name_answers_a_want_by_the_new_one() {
    let (cid, data) = blocks(1, 200).remove(0);
    let mut sim = star(1, MS, &[]);
    sim.get(0, 1, 1, &[cid]);
    let v0 = Cid::new_v0(*cid.hash()).unwrap();
    let peer = sim.nodes[1].id;
    sim.receive(0, peer, message_of(&[(v0, data.clone())]));
    sim.run(MS, |_| false);
    assert_eq!(delivered(&sim, 1), [(cid, data)]);
}

#[test]
fn identity_cids_are_answered_without_asking_anybody() {
    let cid = Cid::new_v1(0x55, holdfast_dag::hash::HashKind::Identity.digest(&[b"inlined"]));
    let mut sim = star(1, MS, &[]);
    sim.get(0, 1, 1, &[cid, cid]);
    assert!(sim.run_to_end(0, 1, MS));
    assert_eq!(delivered(&sim, 1)[0].1, b"inlined"[..]);
    assert_eq!(sim.nodes[0].messages_out, 0);
}

#[test]
fn with_many_peers_only_those_that_delivered_or_are_near_are_asked_by_broadcast() {
    let mut sim = Sim::new(101, MS, |_| {});
    for at in 1..=100 {
        sim.connect(0, at);
    }
    let near = sim.nodes[7].id;
    sim.nodes[0].client.favour(near, true);
    let have = blocks(1, 3000);
    sim.give(7, &have);
    sim.get(0, 1, 1, &cids(&have));
    assert!(sim.run_to_end(0, 1, MINUTE));
    let asked = sim.nodes[0].client.tried(SessionId(1)).peers_asked;
    assert_eq!(asked, 1);
    assert!(sim.nodes[0].client.broadcasts().1 >= 99);
}

#[test]
fn no_more_than_64_wants_of_a_session_are_broadcast_at_once() {
    let mut sim = star(2, MS, &[]);
    sim.get(0, 1, 1, &cids(&blocks(1000, 100)));
    sim.run(900 * MS, |_| false);
    let fetcher = sim.nodes[0].id;
    assert_eq!(sim.nodes[1].server.wantlist(&fetcher).len(), 64);
}

/// The first message to a peer is its whole list, and so is the first after it came back or its stream was lost.
#[test]
fn lists_are_full_on_connecting_and_deltas_after() {
    let mut sim = star(1, MS, &[]);
    let wanted = cids(&blocks(3, 100));
    let peer = sim.nodes[1].id;
    let now = sim.now;
    let client = &mut sim.nodes[0].client;
    let send = |client: &mut Client| match client.poll_action(now) {
        Some(Action::Send { entries, full, .. }) => Some((entries.len(), full)),
        _ => None,
    };
    client.get(SessionId(1), RequestId(1), &wanted[..1], now);
    assert_eq!(send(client), Some((1, true)));
    client.get(SessionId(1), RequestId(2), &wanted[1..2], now);
    assert_eq!(send(client), None, "one message is on its way");
    client.on_sent(peer);
    assert_eq!(send(client), Some((1, false)));
    client.on_sent(peer);
    client.get(SessionId(1), RequestId(3), &wanted[2..], now);
    client.cancel(RequestId(2), now);
    assert_eq!(send(client), Some((2, false)), "a want and a cancel");
    client.on_stream_lost(peer);
    assert_eq!(send(client), Some((2, true)));
}

#[test]
fn old_peers_are_asked_for_blocks_only() {
    let wanted = cids(&blocks(1, 100));
    let mut sim = star(2, MS, &[]);
    let now = sim.now;
    for at in 1..=2 {
        let peer = sim.nodes[at].id;
        sim.nodes[0].client.on_version(peer, crate::message::Version::V1_1);
    }
    sim.nodes[0].client.get(SessionId(1), RequestId(1), &wanted, now);
    let mut said = Vec::new();
    while let Some(action) = sim.nodes[0].client.poll_action(now) {
        if let Action::Send { entries, .. } = action {
            said.extend(entries.into_iter().map(|entry| entry.want_type));
        }
    }
    assert_eq!(said, [WantType::Block; 2]);
}

/// A session that keeps a peer busy does not keep another session from it.
#[test]
fn a_small_fetch_beside_a_large_one_is_served() {
    let large = blocks(4000, 256 << 10);
    let small = blocks(5, 300 << 10);
    let mut sim = star(1, 5 * MS, &large);
    sim.give(1, &small);
    sim.rates[1] = 100e6;
    sim.get(0, 1, 1, &cids(&large));
    sim.run(1000 * MS, |_| false);
    let before = sim.elapsed();
    sim.get(0, 2, 2, &cids(&small));
    assert!(sim.run_to_end(0, 2, MINUTE));
    assert!(sim.elapsed().saturating_sub(before) < 1500 * MS, "{:?}", sim.elapsed().saturating_sub(before));
}

#[test]
fn nothing_is_left_when_everything_has_come() {
    let have = blocks(500, 2000);
    let mut sim = star(3, 5 * MS, &have);
    sim.get(0, 1, 1, &cids(&have));
    assert!(sim.run_to_end(0, 1, MINUTE));
    sim.nodes[0].client.end_session(SessionId(1));
    sim.run(MINUTE, |_| false);
    let fetcher = sim.nodes[0].id;
    for at in 1..=3 {
        assert!(sim.nodes[at].server.wantlist(&fetcher).is_empty());
        let peer = sim.nodes[at].id;
        assert_eq!(sim.nodes[0].client.wants_of(&peer), 0);
        sim.cut(0, at);
    }
    let client = &sim.nodes[0].client;
    assert!(client.wants.len() == 0 && client.requests.is_empty() && client.sessions.is_empty());
    assert!(client.peer_keys.is_empty() && client.timers.is_empty() && client.held == 0);
}

#[test]
fn a_message_of_presences_about_other_things_changes_nothing() {
    let mut sim = star(1, MS, &[]);
    let peer = sim.nodes[1].id;
    let presences =
        cids(&blocks(50, 90)).into_iter().map(|cid| crate::message::Presence { cid, have: true }).collect();
    sim.receive(0, peer, Message { presences, ..Message::default() });
    assert!(sim.nodes[0].client.sessions.is_empty());
}
