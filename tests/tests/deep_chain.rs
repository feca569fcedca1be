//! What can be known only one node after the other is fetched with one question a node, also from a peer that is far away.
//!
//! How long it takes is a matter of the machine, and not judged here: the row `deep-chain` of the bench tells it. What is
//! counted is what went over the line.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use holdfast_tests::distance::Distance;
use holdfast_tests::goods::{chain_car_of, deep_file_car};
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;

const EACH_WAY: Duration = Duration::from_millis(20);

/// Nodes of a chain.
const HOPS: u16 = 100;

/// What a fetcher counted.
#[derive(Debug)]
struct Traffic {
    lists: f64,
    items: f64,
    messages: f64,
    blocks: f64,
}

impl Traffic {
    fn of(peer: &Peer) -> Self {
        Self {
            lists: peer.metric("exchange_bitswap_wantlists_total"),
            items: peer.metric("exchange_bitswap_wantlists_items_total"),
            messages: peer.metric("holdfast_bitswap_messages_received_total"),
            blocks: peer.metric("ipfs_bitswap_blocks_received"),
        }
    }

    /// No more than 1.1 messages a hop each way, and 1.1 wants a block.
    fn judge(&self, before: &Self, what: &str) {
        let hops = f64::from(HOPS);
        let blocks = self.blocks - before.blocks;
        assert!(blocks >= hops, "{what}: {before:?} {self:?}");
        for (name, ratio) in [
            ("messages with wants a hop", (self.lists - before.lists) / hops),
            ("messages with answers a hop", (self.messages - before.messages) / hops),
            ("wants a block", (self.items - before.items) / blocks),
        ] {
            assert!(ratio <= 1.1, "{what}: {ratio} {name}: {before:?} {self:?}");
        }
    }
}

fn import(peer: &Peer, car: &Path) {
    peer.run(["dag", "import", "--pin-roots=false", car.to_str().unwrap()]).ok();
}

#[test]
fn a_deep_chain_costs_one_question_a_node() {
    let dir = temporary("deep-chain");
    let [giver, taker] = ["giver", "taker"].map(|name| Peer::start(dir.path(), name, &[], None));
    let (_relay, through) = Distance::before(&giver.address("tcp"), EACH_WAY);
    taker.connect(&through);
    let port = through.split('/').nth(4).unwrap();
    let only_far = || {
        let peers = taker.run(["swarm", "peers"]).ok().out();
        assert!(peers.lines().all(|line| line.contains(&format!("/tcp/{port}/"))), "it is far: {peers}");
        assert_eq!(peers.lines().count(), 1);
    };
    only_far();

    let (car, root) = chain_car_of(dir.path(), "chain", HOPS);
    import(&giver, &car);
    let before = Traffic::of(&taker);
    let refs = taker.run(["refs", "-r", &root]).ok().out();
    assert_eq!(refs.lines().count(), usize::from(HOPS) - 1);
    Traffic::of(&taker).judge(&before, "refs -r");

    let (car, root, text) = deep_file_car(dir.path(), "read", HOPS);
    import(&giver, &car);
    let before = Traffic::of(&taker);
    assert_eq!(taker.run(["cat", &root]).ok().out(), text);
    Traffic::of(&taker).judge(&before, "cat");

    let (car, root, _) = deep_file_car(dir.path(), "pinned", HOPS);
    import(&giver, &car);
    let before = Traffic::of(&taker);
    taker.run(["pin", "add", &root]).ok();
    Traffic::of(&taker).judge(&before, "pin add");
    only_far();
}
