//! Random operations against a model that is a few maps, reopening included.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::*;
use holdfast_blockstore::{DeleteError, PinnedBy, Store, StoreConfig};
use holdfast_dag::block::Block;
use proptest::prelude::*;

const LEAVES: usize = 16;
const NODES: usize = 8;

#[derive(Debug, Clone)]
enum Op {
    Put(Vec<usize>),
    PutAndDrop(Vec<usize>),
    Pin(usize),
    Unpin(usize),
    Delete(Vec<usize>),
    GetMany(Vec<usize>),
    Flush,
    Reopen,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let some = || prop::collection::vec(0..LEAVES + NODES, 1..6);
    let op = prop_oneof![
        6 => some().prop_map(Op::Put),
        2 => some().prop_map(Op::PutAndDrop),
        3 => (0..LEAVES + NODES).prop_map(Op::Pin),
        2 => (0..LEAVES + NODES).prop_map(Op::Unpin),
        4 => some().prop_map(Op::Delete),
        2 => some().prop_map(Op::GetMany),
        1 => Just(Op::Flush),
        1 => Just(Op::Reopen),
    ];
    prop::collection::vec(op, 1..60)
}

/// Leaves of many sizes, and nodes over leaves and over each other.
fn universe() -> Vec<Block> {
    let sizes = [0, 1, 100, 4096, 70_000, 300_000];
    let mut blocks: Vec<Block> =
        (0..LEAVES).map(|n| leaf(n as u64 + 1, sizes[n % sizes.len()] + n)).collect();
    for n in 0..NODES {
        let children: Vec<_> = (0..n + 2).map(|k| blocks[(n * 5 + k * 3) % blocks.len()].cid).collect();
        blocks.push(node(&children));
    }
    blocks
}

#[derive(Default)]
struct Model {
    present: BTreeSet<usize>,
    pins: BTreeSet<usize>,
}

struct World {
    blocks: Vec<Block>,
    children: BTreeMap<usize, Vec<usize>>,
}

impl World {
    fn new() -> Self {
        let blocks = universe();
        let at = |cid: &holdfast_dag::cid::Cid| blocks.iter().position(|block| block.cid == *cid).unwrap();
        let children = (LEAVES..LEAVES + NODES)
            .map(|n| {
                let block = blocks[n].data.to_bytes();
                let node = holdfast_dag::pb::decode(&block).unwrap();
                (n, node.links.iter().map(|link| at(&link.cid)).collect())
            })
            .collect();
        Self { blocks, children }
    }

    /// Whether a pin holds a block: its own, or one on an ancestor, all of which between them are present.
    fn held(&self, model: &Model, of: usize) -> bool {
        model.pins.contains(&of)
            || self.children.iter().any(|(parent, children)| {
                children.contains(&of) && model.present.contains(parent) && self.held(model, *parent)
            })
    }
}

fn run(world: &World, ops: Vec<Op>) {
    let repo = tempfile::tempdir().unwrap();
    let settings = || StoreConfig { segment_bytes_max: 200_000, sync_bytes: 100_000, ..process() };
    let mut store = Store::open(repo.path(), settings()).unwrap();
    let mut model = Model::default();
    let pick = |some: &[usize]| some.iter().map(|n| world.blocks[*n].clone()).collect::<Vec<_>>();
    for op in ops {
        match op {
            Op::Put(some) => {
                put(&store, &pick(&some));
                model.present.extend(some);
            }
            Op::PutAndDrop(some) => {
                store.writer().put(pick(&some)).unwrap();
                model.present.extend(some);
            }
            Op::Pin(n) => {
                // A pin on what is not there is the caller's business; the model only pins what is.
                if model.present.contains(&n) {
                    store.writer().commit(&[pin(world.blocks[n].cid)]).unwrap();
                    model.pins.insert(n);
                }
            }
            Op::Unpin(n) => {
                store.writer().commit(&[unpin(world.blocks[n].cid)]).unwrap();
                model.pins.remove(&n);
            }
            Op::Delete(some) => {
                let cids: Vec<_> = some.iter().map(|n| world.blocks[*n].cid).collect();
                // Every answer is given for the state before its chunk: parents deleted along do not count yet.
                let before: Vec<_> =
                    some.iter().map(|n| (model.present.contains(n), world.held(&model, *n))).collect();
                let mut gone = BTreeSet::new();
                for ((n, (present, held)), deletion) in
                    some.iter().zip(before).zip(store.delete_blocks(&cids).unwrap())
                {
                    match deletion.result {
                        Ok(_) => {
                            assert!(present && !held && gone.insert(*n));
                            model.present.remove(n);
                        }
                        Err(DeleteError::NotFound(_)) => assert!(!present || gone.contains(n)),
                        Err(DeleteError::Pinned(PinnedBy::Pin(_))) => assert!(model.pins.contains(n)),
                        Err(DeleteError::Pinned(PinnedBy::Via(_))) => {
                            assert!(held && !model.pins.contains(n));
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            Op::GetMany(some) => {
                let cids: Vec<_> = some.iter().map(|n| world.blocks[*n].cid).collect();
                for (n, result) in some.iter().zip(store.get_many(&cids)) {
                    let expected = model.present.contains(n).then(|| world.blocks[*n].data.to_bytes());
                    assert_eq!(result.unwrap(), expected);
                }
            }
            Op::Flush => store.flush().unwrap(),
            Op::Reopen => {
                drop(store);
                store = Store::open(repo.path(), settings()).unwrap();
            }
        }
        for (n, block) in world.blocks.iter().enumerate() {
            assert_eq!(store.has(block.cid.hash()).unwrap(), model.present.contains(&n), "block {n}");
            if model.present.contains(&n) {
                let children = world.children.get(&n).map_or(0, Vec::len);
                assert_eq!(store.links(&block.cid).unwrap().unwrap().len(), children);
            }
        }
        assert_eq!(store.stat().unwrap().blocks, model.present.len() as u64);
    }
    assert_eq!(assert_consistent(&store), model.present.len() as u64);
    let pins: BTreeSet<_> = store.pins().iter(None).map(|pin| pin.unwrap().cid).collect();
    assert_eq!(pins, model.pins.iter().map(|n| world.blocks[*n].cid).collect());
}

#[test]
fn random_operations_agree_with_a_model() {
    let world = World::new();
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    proptest!(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }, |(ops in ops())| {
        run(&world, ops);
    });
}
