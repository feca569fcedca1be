//! Peers that ask for much and take little.

use super::*;

/// One block that is here has as many names as there are codecs.
#[test]
fn haves_that_a_peer_does_not_take_are_bounded() {
    let mut bench = Bench::new(|_| {});
    let peer = bench.peer();
    let (cid, data) = blocks(1, 5000).remove(0);
    let names: Vec<_> = (1..30_000).map(|codec| Cid::new_v1(codec, *cid.hash())).collect();
    bench.store.extend(names.iter().map(|name| (*name, data.clone())));
    bench.takes = false;
    for some in names.chunks(500) {
        bench.server.on_wants(peer, &wants(some, WantType::Have), false);
        bench.run();
        let list = &bench.server.lists[&peer];
        assert!(list.presences.len() <= 4096 + 1024 && list.unknown.len() <= 2 * 1024 + 64);
    }
    let said = |bench: &Bench| bench.sent.iter().map(|(_, message)| message.presences.len()).sum::<usize>();
    let before = said(&bench);
    assert!(bench.sent.len() <= 4 && before < 10_000);
    // Its stream takes what it was given: the rest is said.
    let waiting = bench.server.lists[&peer].presences.len() + bench.server.wantlist(&peer).len();
    bench.takes = true;
    bench.server.on_sent(&peer, 0, bench.now);
    bench.run();
    assert_eq!(said(&bench), before + waiting);
    assert!(bench.server.wantlist(&peer).is_empty());
}

#[test]
fn wants_that_are_cancelled_during_a_lookup_leave_nothing() {
    let mut bench = Bench::new(|_| {});
    let peer = bench.peer();
    let all = cids(&blocks(5000, 50));
    bench.server.on_wants(peer, &wants(&all[..1], WantType::Block), false);
    let Some(Action::LookUp { .. }) = bench.server.poll_action(bench.now) else { panic!() };
    for cid in &all[1..] {
        bench.server.on_wants(peer, &[want(*cid, 1, WantType::Block)], false);
        bench.server.on_wants(peer, &[Entry { cancel: true, ..want(*cid, 1, WantType::Block) }], false);
        assert!(bench.server.lists[&peer].unknown.len() < 100);
    }
    bench.server.on_presence(&peer, &all[..1], &[None]);
    bench.run();
    assert_eq!(bench.server.wantlist(&peer), all[..1]);
}

#[test]
fn peers_that_have_enough_have_no_turn_until_they_took_some() {
    let mut bench = Bench::new(|_| {});
    let have = blocks(30, 256 << 10);
    bench.store.extend(have.clone());
    bench.takes = false;
    let peers: Vec<_> = (0..100).map(|_| bench.peer()).collect();
    for peer in &peers {
        bench.server.on_wants(*peer, &wants(&cids(&have), WantType::Block), true);
    }
    bench.run();
    assert!(bench.server.turns.is_empty(), "nobody is passed over again and again");
    bench.takes = true;
    for (peer, message) in std::mem::take(&mut bench.sent) {
        bench.server.on_sent(&peer, message.block_bytes(), bench.now);
        bench.sent.push((peer, message));
        bench.run();
    }
    assert!(peers.iter().all(|peer| bench.blocks_to(*peer) == 30), "each gets everything");
}
