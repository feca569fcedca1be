//! What hostile or broken peers answer, one engine against them: searches end, tables stay clean, nothing is believed that
//! cannot be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use holdfast_dht::ipns::{Draft, Name, Timestamp};
use holdfast_dht::kad::{
    Action, Config, Engine, Goal, InboundId, KadId, Key, Kind, Message, Mode, Now, Outcome, PeerInfo,
    Provide, QueryError, RequestFailure, Response, Scope, ValueRecord,
};
use holdfast_dht::records::{MemoryStore, StoreError, StoreRequest};
use libp2p::{Multiaddr, PeerId};
use libp2p_identity::Keypair;

fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn public() -> Multiaddr {
    address("/ip4/1.2.3.4/tcp/4001")
}

fn now() -> Now {
    Now { at: Instant::now(), wall: Timestamp::from_unix(1_700_000_000, 0) }
}

fn key() -> Key {
    Key::new(&[&[0x12, 0x20][..], &[7; 32]].concat()).unwrap()
}

/// An engine that knows one server.
fn engine() -> (Engine, PeerId, PeerId) {
    let (local, server) = (PeerId::random(), PeerId::random());
    let mut engine = Engine::new(local, Config::new(Scope::Wan), 1, now().at);
    engine.set_mode(Mode::Server);
    engine.set_own_addresses(&[public()]);
    engine.on_identified(server, true, &[public()], now());
    (engine, local, server)
}

/// Lets `reply` answer what a query asks until it ends; how it ended, and how many were asked.
fn drive(
    engine: &mut Engine,
    goal: Goal,
    mut reply: impl FnMut(&PeerInfo, &Message) -> Result<Option<Message>, RequestFailure>,
) -> (Result<Outcome, QueryError>, usize, Vec<PeerInfo>) {
    let (store, mut asked, mut providers) = (MemoryStore::default(), 0, Vec::new());
    engine.start(goal, now()).unwrap();
    for _ in 0..100_000 {
        match engine.poll_action().expect("a query that waits for nothing is over") {
            Action::Send { request, peer, message } => {
                asked += 1;
                let answer = reply(&peer, &message);
                engine.on_response(request, answer, now());
            }
            Action::Store { id, request } => {
                let answer = store.handle_now(request, now().wall);
                engine.on_stored(id, Ok(answer), now());
            }
            Action::Provider { provider, .. } => providers.push(provider),
            Action::Done { result, .. } => return (result, asked, providers),
            _ => {}
        }
    }
    panic!("the query does not end");
}

fn answer(message: &Message, closer: Vec<PeerInfo>) -> Message {
    Message { closer, ..Message::request(message.kind, &message.key) }
}

#[test]
fn peers_without_end_end_the_search_at_its_bound() {
    let (mut engine, _, _) = engine();
    let (result, asked, _) = drive(&mut engine, Goal::ClosestPeers { key: key() }, |_, message| {
        let invented = || PeerInfo { id: PeerId::random(), addresses: vec![public()] };
        Ok(Some(answer(message, std::iter::repeat_with(invented).take(32).collect())))
    });
    assert!(matches!(result, Ok(Outcome::Peers(peers)) if peers.len() == 20));
    assert!(asked <= 256, "{asked}");
}

#[test]
fn closer_and_closer_peers_that_fail_end_it_too() {
    let (mut engine, _, server) = engine();
    let (result, asked, _) = drive(&mut engine, Goal::ClosestPeers { key: key() }, |peer, message| {
        if peer.id != server {
            return Err(RequestFailure::Dial);
        }
        let invented = || PeerInfo { id: PeerId::random(), addresses: vec![public()] };
        Ok(Some(answer(message, std::iter::repeat_with(invented).take(32).collect())))
    });
    assert_eq!(result.map(|_| ()), Ok(()), "the one that answers is found");
    assert!(asked <= 33, "{asked}");
}

#[test]
fn who_names_this_node_itself_or_addresses_of_another_scope_is_not_followed() {
    let (mut engine, local, server) = engine();
    let stranger = PeerId::random();
    let mut asked_peers = HashSet::new();
    let (result, ..) = drive(&mut engine, Goal::ClosestPeers { key: key() }, |peer, message| {
        asked_peers.insert(peer.id);
        assert!(peer.addresses.iter().all(|known| *known == public()), "{:?}", peer.addresses);
        let closer = vec![
            PeerInfo { id: local, addresses: vec![public()] },
            PeerInfo {
                id: stranger,
                addresses: vec![address("/ip4/10.0.0.1/tcp/1"), address("/ip4/127.0.0.1/tcp/1")],
            },
            PeerInfo { id: PeerId::random(), addresses: vec![] },
        ];
        Ok(Some(answer(message, closer)))
    });
    assert!(matches!(result, Ok(Outcome::Peers(peers)) if peers.len() == 1));
    assert_eq!(asked_peers, HashSet::from([server]));
}

#[test]
fn an_answer_of_another_kind_counts_as_none_and_three_cost_the_place() {
    let (mut engine, _, server) = engine();
    let wrong = |engine: &mut Engine| {
        let goal = Goal::ClosestPeers { key: key() };
        let pong =
            |_: &PeerInfo, _: &Message| Some((Duration::ZERO, Some(Message::request(Kind::Ping, b""))));
        assert_eq!(run_out(engine, goal, pong).0, Err(QueryError::NotFound));
    };
    (0..5).for_each(|_| wrong(&mut engine));
    assert!(engine.is_in_table(&server), "failures at the same moment are one");
    for _ in 0..2 {
        assert!(engine.is_in_table(&server));
        std::thread::sleep(Duration::from_millis(1_010));
        wrong(&mut engine);
    }
    assert!(!engine.is_in_table(&server));
}

fn record(keypair: &Keypair, sequence: u64) -> Vec<u8> {
    let draft = Draft {
        value: "/ipfs/bafkqaaa".to_owned(),
        sequence,
        end_of_life: now().wall.after(Duration::from_secs(60)),
        ttl: Duration::from_secs(60),
        v1_compatible: true,
    };
    draft.sign(keypair).unwrap().as_bytes().to_vec()
}

fn name(keypair: &Keypair) -> Key {
    Key::new(&Name::from(keypair.public().to_peer_id()).routing_key()).unwrap()
}

#[test]
fn forged_records_and_records_of_other_keys_are_not_believed() {
    let (mut engine, ..) = engine();
    let (keypair, other) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let goal = Goal::GetValue { key: name(&keypair), quorum: 1 };
    for (under, value) in [
        (name(&keypair), b"junk".to_vec()),
        (name(&keypair), record(&other, 9)),
        (name(&other), record(&keypair, 9)),
        (name(&keypair), vec![0; 2 << 20]),
    ] {
        let (result, ..) = drive(&mut engine, goal.clone(), |_, message| {
            let record = ValueRecord {
                key: under.as_bytes().to_vec(),
                value: value.clone(),
                time_received: String::new(),
            };
            Ok(Some(Message { record: Some(record), ..answer(message, Vec::new()) }))
        });
        assert_eq!(result, Err(QueryError::NotFound));
    }
}

#[test]
fn providers_come_once_and_with_addresses_of_the_scope_only() {
    let (mut engine, ..) = engine();
    let provider = PeerId::random();
    let (result, _, providers) =
        drive(&mut engine, Goal::Providers { key: key(), count: 100 }, |_, message| {
            let lying =
                PeerInfo { id: provider, addresses: vec![address("/ip4/192.168.0.1/tcp/1"), public()] };
            Ok(Some(Message { providers: vec![lying; 50], ..answer(message, Vec::new()) }))
        });
    assert_eq!(result, Ok(Outcome::Searched { providers: 1 }));
    assert_eq!(providers, [PeerInfo { id: provider, addresses: vec![public()] }]);
}

/// What the engine answers a message, with a store behind it.
fn serve(engine: &mut Engine, store: &MemoryStore, from: PeerId, message: Message) -> Response {
    engine.on_request(InboundId(1), from, message, now());
    loop {
        match engine.poll_action().expect("every message gets something") {
            Action::Respond { response, .. } => return response,
            Action::Store { id, request } => {
                let reply = store.handle_now(request, now().wall);
                engine.on_stored(id, Ok(reply), now());
            }
            _ => {}
        }
    }
}

fn providers_kept(store: &MemoryStore) -> Vec<PeerInfo> {
    let request = StoreRequest::Providers { key: key(), max: 100 };
    match store.handle_now(request, now().wall) {
        holdfast_dht::records::StoreReply::Providers(kept) => kept,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_peer_provides_only_itself_and_only_where_it_can_be_reached() {
    let ((mut engine, ..), store) = (engine(), MemoryStore::default());
    let (from, other) = (PeerId::random(), PeerId::random());
    let announce = |providers| Message { providers, ..Message::request(Kind::AddProvider, key().as_bytes()) };
    let at = |id, text| PeerInfo { id, addresses: vec![address(text)] };
    for refused in [
        vec![at(other, "/ip4/1.2.3.4/tcp/1")],
        vec![at(from, "/ip4/10.0.0.1/tcp/1")],
        vec![PeerInfo { id: from, addresses: vec![] }],
        vec![],
    ] {
        assert_eq!(serve(&mut engine, &store, from, announce(refused)), Response::Nothing);
        assert_eq!(providers_kept(&store), []);
    }
    let mixed = PeerInfo { id: from, addresses: vec![address("/ip4/10.0.0.1/tcp/1"), public()] };
    assert_eq!(
        serve(&mut engine, &store, from, announce(vec![at(other, "/ip4/1.2.3.4/tcp/1"), mixed])),
        Response::Nothing
    );
    assert_eq!(providers_kept(&store), [PeerInfo { id: from, addresses: vec![public()] }]);
    let long =
        Message { key: vec![1; 81], ..announce(vec![PeerInfo { id: from, addresses: vec![public()] }]) };
    assert_eq!(serve(&mut engine, &store, from, long), Response::Reset);
}

#[test]
fn a_value_that_is_invalid_older_or_under_another_key_resets_the_stream() {
    let ((mut engine, ..), store) = (engine(), MemoryStore::default());
    let (keypair, from) = (Keypair::generate_ed25519(), PeerId::random());
    let put = |under: &Key, record_key: &Key, value: Vec<u8>| {
        let record = ValueRecord { key: record_key.as_bytes().to_vec(), value, time_received: String::new() };
        Message { record: Some(record), ..Message::request(Kind::PutValue, under.as_bytes()) }
    };
    let name = name(&keypair);
    let good = put(&name, &name, record(&keypair, 5));
    assert_eq!(serve(&mut engine, &store, from, good.clone()), Response::Message(good.clone()));
    assert_eq!(serve(&mut engine, &store, from, good.clone()), Response::Message(good), "again is fine");
    for bad in [
        put(&name, &name, record(&keypair, 4)),
        put(&name, &name, b"junk".to_vec()),
        put(&name, &key(), record(&keypair, 6)),
        put(&key(), &key(), record(&keypair, 6)),
        Message::request(Kind::PutValue, name.as_bytes()),
        Message::request(Kind::GetValue, b""),
        Message::request(Kind::FindNode, b""),
    ] {
        assert_eq!(serve(&mut engine, &store, from, bad), Response::Reset);
    }
    let got = serve(&mut engine, &store, from, Message::request(Kind::GetValue, name.as_bytes()));
    let Response::Message(got) = got else { panic!("{got:?}") };
    assert_eq!(got.record.map(|record| record.value), Some(record(&keypair, 5)));
}

#[test]
fn the_target_comes_first_in_an_answer_and_the_asker_never() {
    let ((mut engine, local, server), store) = (engine(), MemoryStore::default());
    let (client, asker) = (PeerId::random(), PeerId::random());
    for _ in 0..40 {
        engine.on_identified(PeerId::random(), true, &[public()], now());
    }
    engine.on_identified(asker, true, &[public()], now());
    // A client: in no table, but its addresses are known.
    engine.on_identified(client, false, &[public(), address("/ip4/10.0.0.1/tcp/1")], now());
    let mut find = |target: PeerId| {
        let request = Message::request(Kind::FindNode, &target.to_bytes());
        match serve(&mut engine, &store, asker, request) {
            Response::Message(answer) => answer.closer,
            other => panic!("{other:?}"),
        }
    };
    let closer = find(client);
    assert_eq!(closer.len(), 20);
    assert_eq!(closer[0], PeerInfo { id: client, addresses: vec![public()] });
    assert_eq!(find(server)[0].id, server);
    assert_eq!(find(local), [PeerInfo { id: local, addresses: vec![public()] }]);
    assert!(find(asker).iter().skip(1).all(|peer| peer.id != asker));
}

#[test]
fn a_peer_that_never_answers_costs_its_time_and_no_more() {
    let (mut engine, _, server) = engine();
    let start = now();
    let query = engine.start(Goal::ClosestPeers { key: key() }, start).unwrap();
    let later = Now { at: start.at + Duration::from_secs(16), wall: start.wall };
    assert!(engine.next_timeout().unwrap() <= later.at);
    engine.on_timeout(later);
    let ended = std::iter::from_fn(|| engine.poll_action()).find_map(|action| match action {
        Action::Done { query: of, result } if of == query => Some(result),
        _ => None,
    });
    assert_eq!(ended, Some(Err(QueryError::NotFound)));
    assert!(engine.is_in_table(&server), "once is forgiven");
}

#[test]
fn a_peer_that_takes_no_announcement_costs_the_time_that_is_set_for_it_and_no_more() {
    let (local, server) = (PeerId::random(), PeerInfo { id: PeerId::random(), addresses: vec![public()] });
    for seconds in [2, 40] {
        let announce_timeout = Duration::from_secs(seconds);
        let config = Config { announce_timeout, ..Config::new(Scope::Wan) };
        let mut engine = Engine::new(local, config, 1, now().at);
        engine.set_own_addresses(&[public()]);
        let start = now();
        let goal = Goal::Announce { peer: server.clone(), keys: vec![key()] };
        let query = engine.start(goal, start).unwrap();
        let ended_at = |engine: &mut Engine, after: Duration| {
            engine.on_timeout(Now { at: start.at + after, wall: start.wall });
            std::iter::from_fn(|| engine.poll_action()).find_map(|action| match action {
                Action::Done { query: of, result } if of == query => Some(result),
                _ => None,
            })
        };
        let just_before = announce_timeout.checked_sub(Duration::from_millis(1)).unwrap();
        assert_eq!(ended_at(&mut engine, just_before), None, "{seconds} s");
        let ended = ended_at(&mut engine, announce_timeout);
        assert_eq!(ended, Some(Err(QueryError::NotStored { asked: 1 })), "{seconds} s");
    }
}

#[test]
fn queries_are_bounded_and_a_client_serves_nobody() {
    let (mut engine, _, server) = engine();
    let max = Config::new(Scope::Wan).queries_max;
    for _ in 0..max {
        engine.start(Goal::ClosestPeers { key: key() }, now()).unwrap();
    }
    assert_eq!(engine.start(Goal::ClosestPeers { key: key() }, now()), Err(QueryError::Busy));
    while engine.poll_action().is_some() {}
    engine.set_mode(Mode::Client);
    let ping = Message::request(Kind::Ping, b"");
    assert_eq!(serve(&mut engine, &MemoryStore::default(), server, ping), Response::Reset);
}

#[test]
fn a_value_that_is_too_large_for_its_key_is_refused_before_it_waits_for_the_store() {
    let (mut engine, _, server) = engine();
    let id = PeerId::random().to_bytes();
    let (name, public_key) = ([b"/ipns/", &id[..]].concat(), [b"/pk/", &id[..]].concat());
    let mut stored = |key: &[u8], bytes: usize, number: u64| {
        while engine.poll_action().is_some() {}
        let record = ValueRecord { key: key.to_vec(), value: vec![7; bytes], ..ValueRecord::default() };
        let message = Message { record: Some(record), ..Message::request(Kind::PutValue, key) };
        engine.on_request(InboundId(number), server, message, now());
        match engine.poll_action() {
            Some(Action::Store { request: StoreRequest::PutValue { .. }, .. }) => true,
            Some(Action::Respond { response: Response::Reset, .. }) => false,
            other => panic!("{other:?}"),
        }
    };
    for (number, (key, most)) in [(&name, 10 << 10), (&public_key, 4 << 10)].into_iter().enumerate() {
        assert!(stored(key, most, number as u64));
        assert!(!stored(key, most + 1, 10 + number as u64), "{most} bytes are the most");
    }
    assert!(!stored(b"/other/x", 1, 20), "a key of no known kind");
}

#[test]
fn a_stranger_from_the_internet_is_not_of_the_lan_whatever_it_says_and_answers() {
    let mut engine = Engine::new(PeerId::random(), Config::new(Scope::Lan), 1, now().at);
    let (stranger, neighbour) = (PeerId::random(), PeerId::random());
    let claimed = [address("/ip4/192.168.1.7/tcp/4001"), public()];
    engine.on_connections(stranger, vec![public()], now());
    engine.on_identified(stranger, true, &claimed, now());
    // Who is not connected at all was only heard of.
    engine.on_identified(PeerId::random(), true, &claimed, now());
    assert_eq!(engine.table_len(), 0);
    let lan = || address("/ip4/192.168.1.9/tcp/51234");
    engine.on_connections(neighbour, vec![lan()], now());
    engine.on_identified(neighbour, true, &claimed, now());
    assert!(engine.is_in_table(&neighbour) && engine.table_len() == 1);
    // It names a stranger, who answers: over a public connection that makes it no neighbour.
    let (result, asked, _) = drive(&mut engine, Goal::ClosestPeers { key: key() }, |peer, message| {
        let named = PeerInfo { id: stranger, addresses: claimed.to_vec() };
        Ok(Some(answer(message, if peer.id == neighbour { vec![named] } else { vec![] })))
    });
    assert!(matches!(result, Ok(Outcome::Peers(peers)) if peers.len() == 2) && asked == 2);
    assert!(!engine.is_in_table(&stranger));
    // One that was met at home and identifies from elsewhere is a neighbour no longer.
    engine.on_connections(neighbour, vec![public()], now());
    engine.on_identified(neighbour, true, &claimed, now());
    assert!(!engine.is_in_table(&neighbour));
    engine.on_connections(neighbour, vec![public(), lan()], now());
    engine.on_identified(neighbour, true, &claimed, now());
    assert!(engine.is_in_table(&neighbour), "one connection of the LAN is enough");
}

#[test]
fn a_record_reaches_others_when_the_store_here_is_full() {
    let (mut engine, _, server) = engine();
    let keypair = Keypair::generate_ed25519();
    let put = |value| Goal::PutValue { key: name(&keypair), value };
    engine.start(put(record(&keypair, 1)), now()).unwrap();
    let result = loop {
        match engine.poll_action().expect("the query goes on") {
            Action::Store { id, .. } => engine.on_stored(id, Err(StoreError("full".to_owned())), now()),
            Action::Send { request, message, peer } => {
                assert_eq!(peer.id, server);
                engine.on_response(request, Ok(Some(message)), now());
            }
            Action::Done { result, .. } => break result,
            _ => {}
        }
    };
    assert_eq!(result, Ok(Outcome::Stored { peers: 1 }));
    // What the record's own rule is against is told to nobody.
    let (result, asked, _) =
        drive(&mut engine, put(b"junk".to_vec()), |_, message| Ok(Some(message.clone())));
    assert!(matches!(result, Err(QueryError::Invalid(_))) && asked == 0, "{result:?}");
}

/// Lets time pass from one thing to the next until a query ends: each message gets what `reply` says, after the time it says, or
/// nothing. How it ended, and after how long.
fn run_out(
    engine: &mut Engine,
    goal: Goal,
    reply: impl FnMut(&PeerInfo, &Message) -> Option<(Duration, Option<Message>)>,
) -> (Result<Outcome, QueryError>, Duration) {
    run_out_within(engine, goal, None, reply)
}

fn run_out_within(
    engine: &mut Engine,
    goal: Goal,
    limit: Option<Duration>,
    mut reply: impl FnMut(&PeerInfo, &Message) -> Option<(Duration, Option<Message>)>,
) -> (Result<Outcome, QueryError>, Duration) {
    let (store, start) = (MemoryStore::default(), now());
    let (mut at, mut coming, mut number) = (start, BTreeMap::new(), 0_u32);
    engine.start_within(goal, limit, at).unwrap();
    for _ in 0..100_000 {
        match engine.poll_action() {
            Some(Action::Send { request, peer, message }) => {
                if let Some((after, answer)) = reply(&peer, &message) {
                    number += 1;
                    coming.insert((at.at + after, number), (request, answer));
                }
            }
            Some(Action::Store { id, request }) => {
                let answer = store.handle_now(request, at.wall);
                engine.on_stored(id, Ok(answer), at);
            }
            Some(Action::Done { result, .. }) => return (result, at.at - start.at),
            Some(_) => {}
            None => {
                let next = coming.first_key_value().map(|((at, _), _)| *at);
                let timeout = engine.next_timeout().expect("a query has an end");
                at.at = next.map_or(timeout, |next| next.min(timeout)).max(at.at);
                if next == Some(at.at) {
                    let (_, (request, answer)) = coming.pop_first().unwrap();
                    engine.on_response(request, Ok(answer), at);
                } else {
                    engine.on_timeout(at);
                }
            }
        }
    }
    panic!("the query does not end");
}

#[test]
fn a_batch_for_one_server_has_the_time_that_it_takes_while_the_server_takes_keys() {
    let (mut engine, _, server) = engine();
    let keys: Vec<Key> = (0..1_000_u32).map(|number| Key::new(&number.to_be_bytes()).unwrap()).collect();
    let peer = PeerInfo { id: server, addresses: vec![public()] };
    let announce = |keys: &[Key]| Goal::Announce { peer: peer.clone(), keys: keys.to_vec() };
    // 32 at a time are on their way, so 4 a second are taken.
    let (result, took) = run_out(&mut engine, announce(&keys), |_, _| Some((Duration::from_secs(8), None)));
    assert_eq!(result, Ok(Outcome::Stored { peers: 1_000 }));
    assert!(took > Duration::from_secs(240) && took < Duration::from_secs(260), "{took:?}");
    // One that stops is given up soon, and what it took counts.
    let mut taken = 0;
    let (result, took) = run_out(&mut engine, announce(&keys), |_, _| {
        taken += 1;
        (taken <= 100).then_some((Duration::from_secs(1), None))
    });
    assert_eq!(result, Ok(Outcome::Stored { peers: 100 }));
    assert!(took < Duration::from_secs(25), "{took:?}");
    // And one that takes them ever so slowly has ten minutes.
    let (result, took) = run_out(&mut engine, announce(&keys), |_, _| Some((Duration::from_secs(9), None)));
    assert_eq!(result, Ok(Outcome::Stored { peers: 1_000 }));
    assert!(took < Duration::from_secs(600), "{took:?}");
    let many: Vec<Key> = (0..16_384_u32).map(|number| Key::new(&number.to_be_bytes()).unwrap()).collect();
    let (result, took) = run_out(&mut engine, announce(&many), |_, _| Some((Duration::from_secs(9), None)));
    assert!(matches!(result, Ok(Outcome::Stored { peers }) if peers > 1_000));
    assert_eq!(took, Duration::from_secs(600));
}

#[test]
fn peers_that_never_answer_do_not_cost_a_search_those_that_did() {
    let (mut engine, _, server) = engine();
    let others: Vec<PeerId> = std::iter::repeat_with(PeerId::random).take(2).collect();
    for peer in &others {
        engine.on_identified(*peer, true, &[public()], now());
    }
    let honest = |peer: &PeerId| *peer == server || others.contains(peer);
    let keypair = Keypair::generate_ed25519();
    let soon = Duration::from_millis(100);
    for goal in [
        // Those are to be the closest there are, or none.
        Goal::ClosestPeers { key: key() },
        Goal::Provide { key: key(), how: Provide::Classic },
        Goal::PutValue { key: name(&keypair), value: record(&keypair, 1) },
    ] {
        let target = match &goal {
            Goal::PutValue { key, .. } => key.id(),
            _ => key().id(),
        };
        // All of them closer than who names them.
        let invented = || {
            let id = std::iter::repeat_with(PeerId::random);
            let id = id.into_iter().find(|id| KadId::from(id).common_prefix_bits(&target) > 3).unwrap();
            PeerInfo { id, addresses: vec![public()] }
        };
        let (result, took) = run_out(&mut engine, goal.clone(), |peer, message| {
            let answer = match message.kind {
                Kind::FindNode => Some(answer(message, std::iter::repeat_with(invented).take(32).collect())),
                Kind::PutValue => Some(message.clone()),
                _ => None,
            };
            honest(&peer.id).then_some((soon, answer))
        });
        let after = if let Goal::ClosestPeers { .. } = goal {
            assert!(matches!(result, Err(QueryError::Timeout { .. })), "{result:?}");
            60.0
        } else {
            assert_eq!(result, Ok(Outcome::Stored { peers: 3 }));
            45.0
        };
        assert!((took.as_secs_f64() - after).abs() < 1.0, "{took:?}");
        assert!(engine.is_in_table(&server));
    }
}

/// Of its two seconds, one and a half are for the search.
#[test]
fn whoever_answers_when_the_time_of_the_search_is_over_is_told_all_the_same() {
    let (mut engine, _, server) = engine();
    let goal = Goal::Provide { key: key(), how: Provide::Classic };
    let invented: Vec<PeerInfo> = std::iter::repeat_with(PeerId::random)
        .take(32)
        .map(|id| PeerInfo { id, addresses: vec![public()] })
        .collect();
    let [limit, late, soon] = [2_000, 1_700, 100].map(Duration::from_millis);
    let (result, took) = run_out_within(&mut engine, goal, Some(limit), |peer, message| {
        let is_question = message.kind == Kind::FindNode;
        let answer = is_question.then(|| answer(message, invented.clone()));
        (peer.id == server).then_some((if is_question { late } else { soon }, answer))
    });
    assert_eq!((result, took), (Ok(Outcome::Stored { peers: 1 }), late + soon));
}

#[test]
fn nobody_is_told_of_where_a_peer_was_half_an_hour_ago() {
    let (mut engine, ..) = engine();
    let (client, asker, start) = (PeerId::random(), PeerId::random(), now());
    engine.on_connections(client, vec![public()], start);
    engine.on_identified(client, false, &[public()], start);
    let is_known = |engine: &mut Engine, minutes: u64| {
        let later = Now { at: start.at + Duration::from_secs(60 * minutes), wall: start.wall };
        engine.on_request(InboundId(1), asker, Message::request(Kind::FindNode, &client.to_bytes()), later);
        let answer = std::iter::from_fn(|| engine.poll_action()).find_map(|action| match action {
            Action::Respond { response: Response::Message(answer), .. } => Some(answer),
            _ => None,
        });
        answer.unwrap().closer.iter().any(|peer| peer.id == client)
    };
    assert!(is_known(&mut engine, 600), "it is connected");
    engine.on_connections(client, vec![], Now { at: start.at + Duration::from_secs(36_000), ..start });
    assert!(is_known(&mut engine, 629) && !is_known(&mut engine, 630));
}

#[test]
fn a_search_with_a_limit_of_its_own_gives_what_it_has_by_then() {
    let (mut engine, _, server) = engine();
    let keypair = Keypair::generate_ed25519();
    let (goal, limit) = (Goal::GetValue { key: name(&keypair), quorum: 16 }, Duration::from_secs(5));
    let mut has_record = true;
    for result in
        [Ok(Outcome::Value(record(&keypair, 3))), Err(QueryError::Timeout { seconds: 5, asked: 11 })]
    {
        let found = run_out_within(&mut engine, goal.clone(), Some(limit), |peer, message| {
            let value = record(&keypair, 3);
            let record = ValueRecord { key: message.key.clone(), value, ..ValueRecord::default() };
            let dead = || PeerInfo { id: PeerId::random(), addresses: vec![public()] };
            let closer = std::iter::repeat_with(dead).take(32).collect();
            let answer = Message { record: has_record.then_some(record), ..answer(message, closer) };
            (peer.id == server).then_some((Duration::from_secs(1), Some(answer)))
        });
        assert_eq!(found, (result, limit));
        has_record = false;
    }
}

#[test]
fn a_peer_that_is_dead_where_it_was_is_found_where_it_is() {
    let (mut engine, _, _) = engine();
    let (wanted, new) = (PeerId::random(), address("/ip4/8.8.8.8/tcp/4001"));
    (0..4).for_each(|_| engine.on_identified(PeerId::random(), true, &[public()], now()));
    // The table has its old address, at which nothing answers.
    engine.on_identified(wanted, true, &[public()], now());
    let mut knows = true;
    let mut find = |engine: &mut Engine| {
        let found = run_out(engine, Goal::FindPeer { peer: wanted }, |peer, message| {
            let named = PeerInfo { id: wanted, addresses: vec![new.clone()] };
            let answer = answer(message, if knows { vec![named] } else { vec![] });
            (peer.id != wanted).then_some((Duration::from_millis(300), Some(answer)))
        });
        knows = false;
        found
    };
    let (result, took) = find(&mut engine);
    assert_eq!(result, Ok(Outcome::Peer(PeerInfo { id: wanted, addresses: vec![new.clone()] })));
    assert!(took < Duration::from_secs(3), "{took:?}");
    // If nobody knows another address, it has its time to answer.
    let (result, took) = find(&mut engine);
    assert_eq!((result, took), (Err(QueryError::NotFound), Duration::from_secs(15)));
}
