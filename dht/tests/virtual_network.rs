//! Two hundred nodes that have met three others each find everybody, keep each other's records, and go on when a fifth of
//! them is gone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use holdfast_dht::ipns::{Draft, Name, Timestamp};
use holdfast_dht::kad::{Goal, KadId, Outcome, Provide, QueryError, QueryEvent};
use libp2p::PeerId;
use libp2p_identity::Keypair;
use support::{Net, address, key};

const SIZE: usize = 200;

/// Where fewer will do.
const FEW: usize = 80;

fn truly_closest(net: &Net, target: &KadId) -> Vec<PeerId> {
    let mut all: Vec<PeerId> = net.peers().collect();
    all.sort_by_key(|peer| KadId::from(peer).distance(target));
    all.truncate(20);
    all
}

#[test]
fn lookups_find_the_truly_closest() {
    let mut net = Net::new(SIZE);
    let (mut right, mut all, mut requests) = (0, 0, 0);
    for number in 0..20 {
        let asker = number as usize * 7;
        let answer = net.query(asker, Goal::ClosestPeers { key: key(number) });
        let Some(Ok(Outcome::Peers(found))) = &answer.result else { panic!("{:?}", answer.result) };
        let mut truth = truly_closest(&net, &key(number).id());
        truth.retain(|peer| *peer != net.peer(asker));
        let found: HashSet<PeerId> = found.iter().map(|peer| peer.id).collect();
        right += truth.iter().filter(|peer| found.contains(peer)).count();
        all += truth.len();
        requests += answer.requests();
    }
    assert!(right * 100 >= all * 97, "{right} of {all}");
    assert!(requests <= 20 * 45, "{requests} requests for 20 lookups");
}

#[test]
fn what_one_provides_another_finds() {
    let mut net = Net::new(SIZE);
    for (number, how) in [(0, Provide::Classic), (1, Provide::Optimistic), (2, Provide::Optimistic)] {
        let provided = net.query(3, Goal::Provide { key: key(number), how });
        let Some(Ok(Outcome::Stored { peers })) = provided.result else { panic!("{:?}", provided.result) };
        assert!(peers >= 15, "{peers}");
        for asker in [50, 120, 199] {
            let found = net.query(asker, Goal::Providers { key: key(number), count: 1 });
            assert_eq!(found.providers.len(), 1, "{:?}", found.result);
            assert_eq!(
                (found.providers[0].id, &found.providers[0].addresses[..]),
                (net.peer(3), &[address(3)][..])
            );
            assert!(found.requests() <= 40, "{}", found.requests());
        }
    }
}

#[test]
fn a_search_stops_at_its_count_and_tells_of_each_provider_once() {
    let mut net = Net::new(FEW);
    for provider in 0..8 {
        net.query(provider, Goal::Provide { key: key(9), how: Provide::Classic });
    }
    let some = net.query(40, Goal::Providers { key: key(9), count: 5 });
    assert_eq!((some.providers.len(), some.result), (5, Some(Ok(Outcome::Searched { providers: 5 }))));
    let all = net.query(41, Goal::Providers { key: key(9), count: 1_000 });
    let ids: HashSet<PeerId> = all.providers.iter().map(|provider| provider.id).collect();
    assert_eq!((all.providers.len(), ids.len()), (8, 8));
}

#[test]
fn a_peer_is_found_with_its_address() {
    let mut net = Net::new(FEW);
    for target in [20, 47, 66] {
        let peer = net.peer(target);
        let found = net.query(5, Goal::FindPeer { peer });
        let Some(Ok(Outcome::Peer(info))) = found.result else { panic!("{:?}", found.result) };
        assert_eq!((info.id, info.addresses), (peer, vec![address(target)]));
        assert!(found.events.iter().any(|event| matches!(event, QueryEvent::FinalPeer { .. })));
    }
    let nobody = net.query(5, Goal::FindPeer { peer: PeerId::random() });
    assert_eq!(nobody.result, Some(Err(QueryError::NotFound)));
}

fn record(key: &Keypair, sequence: u64) -> Vec<u8> {
    let draft = Draft {
        value: "/ipfs/bafkqaaa".to_owned(),
        sequence,
        end_of_life: Timestamp::from_unix(1_700_000_000, 0).after(Duration::from_secs(86_400)),
        ttl: Duration::from_secs(60),
        v1_compatible: true,
    };
    draft.sign(key).unwrap().as_bytes().to_vec()
}

#[test]
fn the_newest_record_wins_and_older_ones_are_corrected() {
    let mut net = Net::new(FEW);
    let keypair = Keypair::ed25519_from_bytes([7; 32]).unwrap();
    let name = holdfast_dht::kad::Key::new(&Name::from(keypair.public().to_peer_id()).routing_key()).unwrap();
    let put = |net: &mut Net, from, sequence| {
        net.query(from, Goal::PutValue { key: name.clone(), value: record(&keypair, sequence) }).result
    };
    assert!(matches!(put(&mut net, 1, 1), Some(Ok(Outcome::Stored { peers: 20 }))));
    assert!(matches!(put(&mut net, 2, 2), Some(Ok(Outcome::Stored { peers: 20 }))));
    assert_eq!(put(&mut net, 2, 1), Some(Err(QueryError::Older)));
    // Somebody who does not keep records at this place, and so does not know of the newer one.
    let closest = truly_closest(&net, &name.id());
    let far = (3..FEW).find(|index| !closest.contains(&net.peer(*index))).unwrap();
    assert!(
        matches!(put(&mut net, far, 1), Some(Err(QueryError::NotStored { asked: 20 }))),
        "others hold a newer one"
    );
    let get =
        |net: &mut Net, asker, quorum| net.query(asker, Goal::GetValue { key: name.clone(), quorum }).result;
    assert_eq!(get(&mut net, 50, 16), Some(Ok(Outcome::Value(record(&keypair, 2)))));
    // It kept its own older record; asking at its place corrects it.
    assert_eq!(get(&mut net, far, 0), Some(Ok(Outcome::Value(record(&keypair, 2)))));
    assert_eq!(put(&mut net, far, 1), Some(Err(QueryError::Older)));
    let junk = net.query(4, Goal::PutValue { key: name, value: b"junk".to_vec() });
    assert!(matches!(junk.result, Some(Err(QueryError::Invalid(_)))));
}

#[test]
fn a_fifth_of_the_network_may_go() {
    let mut net = Net::new(FEW);
    net.query(3, Goal::Provide { key: key(5), how: Provide::Classic });
    let closest = truly_closest(&net, &key(6).id());
    (0..FEW).filter(|index| index % 5 == 4).for_each(|index| net.kill(index));
    for asker in [0, 31, 62] {
        let found = net.query(asker, Goal::Providers { key: key(5), count: 1 });
        assert_eq!(found.providers.len(), 1, "{:?}", found.result);
    }
    let again = net.query(8, Goal::Provide { key: key(6), how: Provide::Classic });
    // The tables still name those that are gone: whoever is left of the closest has the record.
    let left = closest.iter().filter(|peer| net.peers().any(|up| up == **peer && up != net.peer(8))).count();
    let Some(Ok(Outcome::Stored { peers })) = again.result else { panic!("{:?}", again.result) };
    assert!(peers >= left, "{peers} of {left}");
}

#[test]
fn the_size_of_the_network_is_guessed_from_lookups() {
    let mut net = Net::new(SIZE);
    (0..10).for_each(|number| {
        net.query(0, Goal::ClosestPeers { key: key(number) });
    });
    let size = net.engine(0).stats(std::time::Instant::now()).network_size.unwrap();
    assert!((100.0..400.0).contains(&size), "{size}");
}
