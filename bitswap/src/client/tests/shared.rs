//! Several wait for the same blocks.

use super::*;

#[test]
fn who_waits_for_the_same_is_not_kept_by_a_reader_that_does_not_read() {
    let have = blocks(200, 256 << 10);
    let mut sim = star(1, 5 * MS, &have);
    sim.nodes[0].takes = false;
    sim.get(0, 1, 1, &cids(&have));
    assert!(!sim.run_to_end(0, 1, 5 * 1000 * MS), "it does not read");
    let first = delivered(&sim, 1).len();
    assert!((32..150).contains(&first), "{first}");

    // The second comes while the first is behind, and reads everything.
    let (now, all) = (sim.now, cids(&have));
    sim.nodes[0].client.get(SessionId(2), RequestId(2), &all[100..], now);
    let mut read = 0;
    let done = sim.run(MINUTE, |sim| {
        let came = sim.nodes[0].delivered.get(&RequestId(2)).map_or(0, Vec::len);
        let now = sim.now;
        sim.nodes[0].client.on_consumed(RequestId(2), (came - read) * (256 << 10), now);
        read = came;
        sim.nodes[0].ended.contains(&RequestId(2))
    });
    assert!(done, "{read} of 100 came");
    assert!(sim.elapsed() < 8 * 1000 * MS, "{:?}", sim.elapsed());
}

/// The first has the blocks on its list, and stops to read after the second has begun to wait for them.
#[test]
fn who_waits_for_the_same_goes_on_where_the_other_stops() {
    let have = blocks(200, 256 << 10);
    let mut sim = star(1, 5 * MS, &have);
    sim.nodes[0].takes = false;
    let (now, all) = (sim.now, cids(&have));
    // What both wait for is last: the first is full before it comes to that.
    sim.get(0, 1, 1, &all);
    sim.nodes[0].client.get(SessionId(2), RequestId(2), &all[150..], now);
    sim.get(0, 3, 3, &all);
    let mut read = [0; 2];
    let done = sim.run(MINUTE, |sim| {
        for (read, request) in read.iter_mut().zip([RequestId(2), RequestId(3)]) {
            let came = sim.nodes[0].delivered.get(&request).map_or(0, Vec::len);
            let now = sim.now;
            sim.nodes[0].client.on_consumed(request, (came - *read) * (256 << 10), now);
            *read = came;
        }
        [2, 3].iter().all(|request| sim.nodes[0].ended.contains(&RequestId(*request)))
    });
    assert!(done, "{read:?} came");
    assert!(sim.elapsed() < 5 * 1000 * MS, "{:?}", sim.elapsed());
}

/// With so many peers, not everybody is asked: the first waits for a search.
#[test]
fn who_comes_later_and_knows_a_peer_asks_it_for_both() {
    let have = blocks(3, 5000);
    let mut sim = Sim::new(3, 5 * MS, |config| config.broadcast_peers_max = 1);
    sim.give(2, &have);
    sim.connect(0, 1);
    sim.connect(0, 2);
    sim.get(0, 1, 1, &cids(&have));
    assert!(!sim.run_to_end(0, 1, MINUTE), "it does not know whom to ask");
    let (peer, now) = (sim.nodes[2].id, sim.now);
    sim.nodes[0].client.add_peers(SessionId(2), &[(peer, vec![])], now);
    sim.get(0, 2, 2, &cids(&have));
    assert!(sim.run_to_end(0, 2, 1000 * MS));
    assert!(sim.run_to_end(0, 1, MS));
    assert_eq!(delivered(&sim, 1), sorted(&have));
}
