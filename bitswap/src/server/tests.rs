mod greedy;

use std::collections::HashMap;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::message::{Entry, MESSAGE_BYTES_MAX, Version, WantType, encode};
use crate::sim::{blocks, cids};

struct Bench {
    server: Server,
    store: HashMap<Cid, Bytes>,
    sent: Vec<(PeerId, Message)>,
    /// Whether streams take what they are given.
    takes: bool,
    now: Instant,
}

impl Bench {
    fn new(set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(PeerId::random());
        set(&mut config);
        let server = Server::new(config);
        Self { server, store: HashMap::new(), sent: Vec::new(), takes: true, now: Instant::now() }
    }

    fn peer(&mut self) -> PeerId {
        let peer = PeerId::random();
        self.server.on_connected(peer);
        peer
    }

    fn run(&mut self) {
        while let Some(action) = self.server.poll_action(self.now) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::LookUp { peer, cids } => {
                let sizes: Vec<_> =
                    cids.iter().map(|cid| self.store.get(cid).map(|data| data.len() as u64)).collect();
                self.server.on_presence(&peer, &cids, &sizes);
            }
            Action::Read { batch, cids, .. } => {
                let found = cids.iter().map(|cid| self.store.get(cid).cloned()).collect();
                self.server.on_read(batch, found, self.now);
            }
            Action::Send { peer, message } => {
                if self.takes {
                    self.server.on_sent(&peer, message.block_bytes(), self.now);
                }
                self.sent.push((peer, message));
            }
        }
    }

    fn blocks_to(&self, peer: PeerId) -> usize {
        self.sent.iter().filter(|(to, _)| *to == peer).map(|(_, message)| message.blocks.len()).sum()
    }

    fn bytes_to(&self, peer: PeerId) -> usize {
        self.sent.iter().filter(|(to, _)| *to == peer).map(|(_, message)| message.block_bytes()).sum()
    }
}

fn want(cid: Cid, priority: i32, want_type: WantType) -> Entry {
    Entry { cid, priority, cancel: false, want_type, send_dont_have: true }
}

fn wants(cids: &[Cid], want_type: WantType) -> Vec<Entry> {
    cids.iter().zip((1..=i32::MAX).rev()).map(|(cid, priority)| want(*cid, priority, want_type)).collect()
}

#[test]
fn blocks_haves_and_dont_haves_are_answered_as_asked() {
    let mut bench = Bench::new(|_| {});
    let peer = bench.peer();
    let (small, large, absent) = (blocks(1, 1024), blocks(1, 1025), cids(&blocks(2, 50)));
    bench.store.extend(small.iter().chain(&large).cloned());
    let mut quiet = want(absent[1], 1, WantType::Block);
    quiet.send_dont_have = false;
    let entries = [
        want(small[0].0, 4, WantType::Have),
        want(large[0].0, 3, WantType::Have),
        want(absent[0], 2, WantType::Have),
        quiet,
    ];
    bench.server.on_wants(peer, &entries, true);
    bench.run();
    let all: Vec<_> = bench.sent.iter().flat_map(|(_, message)| &message.presences).cloned().collect();
    assert_eq!(bench.blocks_to(peer), 1, "a HAVE for a small block is the block");
    assert_eq!(all.len(), 2);
    assert!(all.iter().any(|presence| presence.cid == large[0].0 && presence.have));
    assert!(all.iter().any(|presence| presence.cid == absent[0] && !presence.have));
    assert_eq!(bench.server.wantlist(&peer).len(), 2, "what is not here is remembered");
}

#[test]
fn what_arrives_is_pushed_to_all_who_asked() {
    let mut bench = Bench::new(|_| {});
    let peers = [bench.peer(), bench.peer(), bench.peer()];
    let have = blocks(1, 5000);
    let cid = have[0].0;
    bench.server.on_wants(peers[0], &[want(cid, 1, WantType::Block)], true);
    bench.server.on_wants(peers[1], &[want(cid, 1, WantType::Have)], true);
    bench.server.on_wants(peers[2], &[want(cid, 1, WantType::Block)], true);
    bench.run();
    bench.server.on_disconnected(&peers[2]);
    bench.sent.clear();
    bench.store.extend(have.clone());
    bench.server.on_new_blocks(&[(cid, 5000)]);
    bench.run();
    assert_eq!((bench.blocks_to(peers[0]), bench.blocks_to(peers[1]), bench.blocks_to(peers[2])), (1, 0, 0));
    assert!(bench.sent.iter().any(|(to, message)| *to == peers[1] && message.presences[0].have));
    assert!(bench.server.waiting.is_empty());
}

#[test]
fn peers_that_wanted_much_leave_no_room_behind() {
    let mut bench = Bench::new(|_| {});
    let peers: Vec<_> = (0..8).map(|_| bench.peer()).collect();
    for (at, peer) in peers.iter().enumerate() {
        let absent = cids(&blocks(1000, 40 + at));
        bench.server.on_wants(*peer, &wants(&absent, WantType::Block), true);
    }
    bench.run();
    assert!(bench.server.waiting.len() == 8000 && bench.server.waiting.capacity() >= 8000);
    for peer in &peers[1..] {
        bench.server.on_disconnected(peer);
    }
    assert_eq!(bench.server.wantlist(&peers[0]).len(), 1000, "who stays is waited for");
    bench.server.on_disconnected(&peers[0]);
    assert!(bench.server.waiting.capacity() <= SPARE_MIN, "{}", bench.server.waiting.capacity());
}

/// The block is stored between the question and the answer "not here".
#[test]
fn a_block_that_arrives_while_it_is_looked_up_is_not_missed() {
    let mut bench = Bench::new(|_| {});
    let peer = bench.peer();
    let have = blocks(1, 5000);
    bench.server.on_wants(peer, &[want(have[0].0, 1, WantType::Block)], true);
    let Some(Action::LookUp { cids, .. }) = bench.server.poll_action(bench.now) else { panic!() };
    bench.store.extend(have.clone());
    bench.server.on_new_blocks(&[(have[0].0, 5000)]);
    bench.server.on_presence(&peer, &cids, &[None]);
    bench.run();
    assert_eq!(bench.blocks_to(peer), 1);
}

#[test]
fn the_list_is_capped_and_wants_of_low_priority_give_way() {
    let mut bench = Bench::new(|config| config.wants_per_peer_max = 10);
    let peer = bench.peer();
    let all = cids(&blocks(30, 50));
    bench.server.on_wants(peer, &wants(&all[10..20], WantType::Block), true);
    let low: Vec<_> = all[20..].iter().map(|cid| want(*cid, 1, WantType::Block)).collect();
    bench.server.on_wants(peer, &low, false);
    bench.run();
    assert_eq!(bench.server.wantlist(&peer), all[10..20], "less urgent wants find no room");
    let urgent: Vec<_> = all[..3].iter().map(|cid| want(*cid, i32::MAX, WantType::Block)).collect();
    bench.server.on_wants(peer, &urgent, false);
    bench.run();
    let mut now = bench.server.wantlist(&peer);
    now.sort();
    let mut expected = [&all[..3], &all[10..17]].concat();
    expected.sort();
    assert_eq!(now, expected);
    assert_eq!(bench.server.waiting.len(), 10);
}

#[test]
fn a_hundred_thousand_wants_leave_no_more_than_the_cap() {
    let mut bench = Bench::new(|_| {});
    let peer = bench.peer();
    let all = cids(&blocks(100_000, 16));
    for some in all.chunks(10_000) {
        bench.server.on_wants(peer, &wants(some, WantType::Have), false);
        bench.run();
        assert!(bench.server.wantlist(&peer).len() <= 1024);
        assert!(bench.server.waiting.len() <= 1024);
    }
    bench.server.on_disconnected(&peer);
    assert!(bench.server.waiting.is_empty() && bench.server.lists.is_empty());
}

#[test]
fn where_all_wants_are_too_many_those_of_whoever_wants_most_give_way() {
    const TOTAL: usize = 100;
    let mut bench = Bench::new(|config| (config.wants_per_peer_max, config.wants_total_max) = (60, TOTAL));
    let all = cids(&blocks(400, 40));
    let greedy: Vec<_> = (0..4).map(|_| bench.peer()).collect();
    for (peer, own) in greedy.iter().zip(all.chunks(60)) {
        bench.server.on_wants(*peer, &wants(own, WantType::Block), true);
        bench.run();
        assert!(bench.server.crowd.total() <= TOTAL && bench.server.waiting.len() <= TOTAL);
    }
    let lengths =
        |bench: &Bench| greedy.iter().map(|peer| bench.server.wantlist(peer).len()).collect::<Vec<_>>();
    assert!(lengths(&bench).iter().all(|length| (24..=26).contains(length)), "{:?}", lengths(&bench));
    assert_eq!(bench.server.wantlist(&greedy[0]), all[..lengths(&bench)[0]], "the most urgent ones stay");

    // Who wants little gets all of it remembered, and answered when it comes.
    let modest = bench.peer();
    let (data, own) = (blocks(10, 700), cids(&blocks(10, 700)));
    bench.server.on_wants(modest, &wants(&own, WantType::Block), true);
    bench.run();
    assert_eq!(bench.server.wantlist(&modest), own);
    // And it stays, however often the others ask, urgently too.
    for round in 0..20 {
        for peer in &greedy {
            let urgent: Vec<_> =
                all[240 + round..300].iter().map(|cid| want(*cid, i32::MAX, WantType::Have)).collect();
            bench.server.on_wants(*peer, &urgent, false);
            bench.run();
            assert!(bench.server.crowd.total() <= TOTAL);
        }
    }
    assert_eq!(bench.server.wantlist(&modest), own);
    bench.store.extend(data.clone());
    bench.server.on_new_blocks(&data.iter().map(|(cid, data)| (*cid, data.len() as u64)).collect::<Vec<_>>());
    bench.run();
    assert_eq!(bench.blocks_to(modest), 10);
    greedy.iter().chain([&modest]).for_each(|peer| bench.server.on_disconnected(peer));
    assert_eq!((bench.server.crowd.total(), bench.server.crowd.longest()), (0, None));
    assert!(bench.server.waiting.is_empty());
}

#[test]
fn a_peer_that_asks_what_is_here_and_takes_no_answer_is_remembered_little_of() {
    let mut bench = Bench::new(|config| config.wants_per_peer_max = 10);
    let peer = bench.peer();
    let have = blocks(400, 2000);
    bench.store.extend(have.clone());
    bench.takes = false;
    for some in cids(&have).chunks(10) {
        bench.server.on_wants(peer, &wants(some, WantType::Have), false);
        bench.run();
    }
    let list = &bench.server.lists[&peer];
    assert!(list.presences.len() <= 20 && list.len() <= 10, "{} {}", list.presences.len(), list.len());
    bench.takes = true;
    (0..4).for_each(|_| bench.server.on_sent(&peer, 0, bench.now));
    bench.run();
    assert!(bench.server.lists[&peer].presences.is_empty(), "what is remembered is said");
}

#[test]
fn no_more_than_the_limit_is_on_its_way_to_a_peer_that_does_not_read() {
    let mut bench = Bench::new(|_| {});
    let peer = bench.peer();
    let have = blocks(100, 256 << 10);
    bench.store.extend(have.clone());
    bench.takes = false;
    bench.server.on_wants(peer, &wants(&cids(&have), WantType::Block), true);
    bench.run();
    assert!(bench.bytes_to(peer) <= 2 << 20, "{}", bench.bytes_to(peer));
    let ask = |bench: &mut Bench| {
        bench.server.on_wants(peer, &wants(&cids(&blocks(1000, 90)), WantType::Have), false);
        bench.run();
    };
    (0..50).for_each(|_| ask(&mut bench));
    assert!(bench.sent.len() < 10, "answers without blocks are held back too");
    let total = bench.server.lists[&peer].presences.len();
    assert!(total <= 1024);
}

#[test]
fn a_block_larger_than_all_limits_goes_alone() {
    let mut bench = Bench::new(|_| {});
    let peer = bench.peer();
    let have = blocks(3, 2 << 20);
    bench.store.extend(have.clone());
    bench.server.on_wants(peer, &wants(&cids(&have), WantType::Block), true);
    bench.run();
    assert_eq!(bench.blocks_to(peer), 3);
    assert!(bench.sent.iter().all(|(_, message)| message.blocks.len() == 1));
}

#[test]
fn small_blocks_travel_together() {
    let mut bench = Bench::new(|_| {});
    let peer = bench.peer();
    let have = blocks(1000, 1500);
    bench.store.extend(have.clone());
    bench.server.on_wants(peer, &wants(&cids(&have), WantType::Block), true);
    bench.run();
    assert_eq!(bench.blocks_to(peer), 1000);
    assert!(bench.sent.len() <= 4, "{} messages", bench.sent.len());
}

/// One peer wants large blocks, one small ones, one asks for everything at once: with reads as the bottleneck each gets as many bytes.
#[test]
fn peers_get_equal_shares_whatever_they_ask_for() {
    let mut bench = Bench::new(|config| config.read_bytes_max = 1);
    let peers = [bench.peer(), bench.peer(), bench.peer()];
    let sets = [blocks(20, 1 << 20), blocks(1000, 20 << 10), blocks(80, 256 << 10)];
    for (peer, have) in peers.iter().zip(&sets) {
        bench.store.extend(have.clone());
        bench.server.on_wants(*peer, &wants(&cids(have), WantType::Block), true);
    }
    while peers.iter().all(|peer| bench.bytes_to(*peer) < 8 << 20) {
        let action = bench.server.poll_action(bench.now).unwrap();
        bench.act(action);
    }
    for peer in peers {
        assert!(bench.bytes_to(peer) >= 6 << 20, "{}", bench.bytes_to(peer));
    }
}

#[test]
fn who_was_never_served_goes_first() {
    let mut bench = Bench::new(|config| config.read_bytes_max = 1);
    let greedy = bench.peer();
    let have = blocks(40, 256 << 10);
    bench.store.extend(have.clone());
    bench.server.on_wants(greedy, &wants(&cids(&have), WantType::Block), true);
    while bench.bytes_to(greedy) < 1 << 20 {
        let action = bench.server.poll_action(bench.now).unwrap();
        bench.act(action);
    }
    let late = bench.peer();
    bench.server.on_wants(late, &[want(have[0].0, 1, WantType::Block)], true);
    let before = bench.bytes_to(greedy);
    while bench.blocks_to(late) == 0 {
        let action = bench.server.poll_action(bench.now).unwrap();
        bench.act(action);
    }
    assert!(bench.bytes_to(greedy) - before <= 1 << 20);
}

#[test]
fn a_server_that_is_off_answers_nothing() {
    let mut bench = Bench::new(|config| config.server_enabled = false);
    let peer = bench.peer();
    let have = blocks(3, 100);
    bench.store.extend(have.clone());
    bench.server.on_wants(peer, &wants(&cids(&have), WantType::Block), true);
    bench.run();
    assert!(bench.sent.is_empty() && bench.server.wantlist(&peer).is_empty());
}

/// What is not here is known while the block is read.
#[test]
fn a_message_with_a_block_that_just_fits_says_nothing_else() {
    let mut bench = Bench::new(|_| {});
    let peer = bench.peer();
    let large = blocks(1, MESSAGE_BYTES_MAX - 4096);
    bench.server.on_wants(peer, &wants(&cids(&large), WantType::Block), true);
    let Some(Action::LookUp { cids: asked, .. }) = bench.server.poll_action(bench.now) else { panic!() };
    bench.server.on_presence(&peer, &asked, &[Some(large[0].1.len() as u64)]);
    let Some(Action::Read { batch, .. }) = bench.server.poll_action(bench.now) else { panic!() };
    bench.server.on_wants(peer, &wants(&cids(&blocks(1000, 50)), WantType::Have), false);
    let Some(Action::LookUp { cids: asked, .. }) = bench.server.poll_action(bench.now) else { panic!() };
    bench.server.on_presence(&peer, &asked, &[None; 1000]);
    bench.server.on_read(batch, vec![Some(large[0].1.clone())], bench.now);
    bench.run();
    for (_, message) in &bench.sent {
        let bytes: usize = encode(message, Version::V1_2).iter().map(Bytes::len).sum();
        assert!(bytes <= MESSAGE_BYTES_MAX + 4, "{bytes} bytes");
    }
    let said: usize = bench.sent.iter().map(|(_, message)| message.presences.len()).sum();
    assert_eq!((bench.blocks_to(peer), said), (1, 1000));
}

#[test]
fn a_block_deleted_before_it_was_read_counts_as_not_here() {
    let mut bench = Bench::new(|_| {});
    let peer = bench.peer();
    let have = blocks(1, 5000);
    bench.server.on_wants(peer, &[want(have[0].0, 1, WantType::Block)], true);
    let Some(Action::LookUp { cids, .. }) = bench.server.poll_action(bench.now) else { panic!() };
    bench.server.on_presence(&peer, &cids, &[Some(5000)]);
    bench.run();
    assert!(!bench.sent[0].1.presences[0].have);
    assert_eq!(bench.server.lists[&peer].outstanding_bytes, 0);
    bench.store.extend(have.clone());
    bench.server.on_new_blocks(&[(have[0].0, 5000)]);
    bench.run();
    assert_eq!(bench.blocks_to(peer), 1);
}

#[test]
fn ledgers_outlive_connections_and_are_bounded() {
    let mut bench = Bench::new(|config| config.ledgers_max = 3);
    let have = blocks(1, 500);
    bench.store.extend(have.clone());
    let peers: Vec<_> = (0..5).map(|_| bench.peer()).collect();
    for peer in &peers {
        bench.server.on_wants(*peer, &wants(&cids(&have), WantType::Block), true);
        bench.server.on_received(peer, 2, 300);
        bench.run();
        bench.server.on_disconnected(peer);
    }
    let known = |server: &Server, peer: &PeerId| server.ledger(peer) != Ledger::default();
    assert_eq!(peers.iter().filter(|peer| known(&bench.server, peer)).count(), 3);
    bench.server.on_connected(peers[4]);
    let ledger = bench.server.ledger(&peers[4]);
    assert_eq!((ledger.sent_bytes, ledger.received_bytes, ledger.exchanges), (500, 300, 3));
}

#[derive(Debug, Clone)]
enum Step {
    Want(Vec<(u8, bool, bool)>, bool),
    Cancel(Vec<u8>),
    Store(u8),
    Reconnect,
}

fn arb_step() -> impl Strategy<Value = Step> {
    let line = (0..24_u8, any::<bool>(), any::<bool>());
    prop_oneof![
        4 => (prop::collection::vec(line, 1..8), prop::bool::weighted(0.2)).prop_map(|(lines, full)| Step::Want(lines, full)),
        2 => prop::collection::vec(0..24_u8, 1..5).prop_map(Step::Cancel),
        2 => (0..24_u8).prop_map(Step::Store),
        1 => Just(Step::Reconnect),
    ]
}

proptest! {
    /// The wantlist against a model that a page of words could describe: what is wanted and not here is remembered with its strongest
    /// want; what is here is answered at once and forgotten.
    #[test]
    fn the_wantlist_is_that_of_a_simple_model(steps in prop::collection::vec(arb_step(), 1..60)) {
        let all = blocks(24, 3000);
        let mut bench = Bench::new(|_| {});
        let peer = bench.peer();
        let mut model: HashMap<Cid, WantType> = HashMap::new();
        for step in steps {
            bench.sent.clear();
            let mut due: HashMap<Cid, bool> = HashMap::new();
            match step {
                Step::Want(lines, full) => {
                    let mut seen = HashSet::new();
                    let lines: Vec<_> = lines.into_iter().filter(|(at, ..)| seen.insert(*at)).collect();
                    if full {
                        model.clear();
                    }
                    let mut entries = Vec::new();
                    for (at, block, _) in lines {
                        let cid = all[at as usize].0;
                        let want_type = if block { WantType::Block } else { WantType::Have };
                        entries.push(want(cid, 1, want_type));
                        let strongest = model.get(&cid).copied().unwrap_or(want_type).max(want_type);
                        if bench.store.contains_key(&cid) {
                            due.insert(cid, strongest == WantType::Block);
                        } else {
                            model.insert(cid, strongest);
                        }
                    }
                    bench.server.on_wants(peer, &entries, full);
                }
                Step::Cancel(which) => {
                    let cancel = |at: &u8| Entry { cancel: true, ..want(all[*at as usize].0, 0, WantType::Block) };
                    bench.server.on_wants(peer, &which.iter().map(cancel).collect::<Vec<_>>(), false);
                    model.retain(|cid, _| !which.iter().any(|at| all[*at as usize].0 == *cid));
                }
                Step::Store(at) => {
                    let (cid, data) = all[at as usize].clone();
                    if let Some(want_type) = model.remove(&cid) {
                        due.insert(cid, want_type == WantType::Block);
                    }
                    bench.server.on_new_blocks(&[(cid, data.len() as u64)]);
                    bench.store.insert(cid, data);
                }
                Step::Reconnect => {
                    bench.server.on_disconnected(&peer);
                    bench.server.on_connected(peer);
                    model.clear();
                }
            }
            bench.run();
            let mut known = bench.server.wantlist(&peer);
            known.sort();
            let mut expected: Vec<_> = model.keys().copied().collect();
            expected.sort();
            prop_assert_eq!(known, expected);
            let mut said: HashMap<Cid, bool> = HashMap::new();
            for (_, message) in &bench.sent {
                said.extend(message.presences.iter().filter(|presence| presence.have).map(|presence| (presence.cid, false)));
                said.extend(message.blocks.iter().map(|block| (block.prefix.cid_of(&block.data).unwrap(), true)));
            }
            prop_assert_eq!(said, due);
            prop_assert_eq!(bench.server.waiting.len(), model.len());
            prop_assert_eq!(bench.server.lists[&peer].outstanding_bytes, 0);
        }
    }
}
