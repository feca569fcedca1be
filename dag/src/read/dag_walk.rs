//! Every block of a DAG, once.

use bytes::Bytes;

use super::error::ReadError;
use super::ipld;
use super::links::LinkTable;
use super::ordered::{Admission, Ordered, Piece, Plan};
use super::typical::TypicalSize;
use super::visited::Visited;
use crate::cid::{Cid, identity_data};
use crate::walk::{Step, Walker};

/// Walks a DAG depth first, parents before children and children in link order, and gives each block at its first
/// sight: the order of Kubo's CAR export.
///
/// Blocks are told apart by codec and multihash, so that a block is given once whichever CID version names it. Blocks
/// that are inlined in identity CIDs are walked through but not given: nobody stores them.
///
/// # Errors
/// Blocks that do not decode or whose codec is unknown; [`ReadError::TooWide`].
pub struct DagWalk {
    walk: Ordered<DagPlan>,
}

impl DagWalk {
    /// Walks everything below these roots, in their order; what they share is given once.
    pub fn new(roots: impl IntoIterator<Item = Cid>) -> Self {
        let nodes = roots.into_iter().map(|cid| DagNode { cid, estimate: 0 });
        Self { walk: Ordered::new(DagPlan::default(), nodes) }
    }

    /// Gives identity blocks too, for counting what a DAG is made of.
    #[must_use]
    pub fn with_identity_blocks(mut self) -> Self {
        self.walk.plan_mut().identity = true;
        self
    }

    /// Gives a block as often as it occurs. The output of a DAG of few blocks can then be of any length.
    #[must_use]
    pub fn with_duplicates(mut self) -> Self {
        self.walk.plan_mut().duplicates = true;
        self
    }

    /// Leaves out a block that was asked for and that nobody has, with all that only it leads to.
    pub fn supply_missing(&mut self, cid: &Cid) {
        self.walk.supply_missing(cid);
    }
}

impl Walker for DagWalk {
    type Item = (Cid, Bytes);
    type Error = ReadError;

    fn wants(&mut self, window_bytes: u64, wants: &mut Vec<Cid>) {
        self.walk.wants(window_bytes, wants);
    }

    fn supply(&mut self, cid: &Cid, block: Bytes) {
        self.walk.supply(cid, block);
    }

    fn step(&mut self) -> Result<Step<(Cid, Bytes)>, ReadError> {
        self.walk.step()
    }
}

struct DagNode {
    cid: Cid,
    estimate: u64,
}

#[derive(Default)]
struct DagPlan {
    visited: Visited,
    typical: TypicalSize,
    identity: bool,
    duplicates: bool,
}

impl Plan for DagPlan {
    type Node = DagNode;
    type Run = LinkTable;
    type Item = (Cid, Bytes);

    fn cid(node: &DagNode) -> &Cid {
        &node.cid
    }

    fn estimate(node: &DagNode) -> u64 {
        node.estimate
    }

    fn open(&mut self, node: &DagNode, block: &Bytes) -> Result<LinkTable, ReadError> {
        self.typical.learn(block.len());
        ipld::links(&node.cid, block)
    }

    fn next(&self, links: &mut LinkTable) -> Option<Piece<DagNode, (Cid, Bytes)>> {
        let link = links.take()?;
        let estimate = self.typical.estimate(&link.cid, link.size);
        Some(Piece::Node(DagNode { cid: link.cid, estimate }))
    }

    fn held(links: &LinkTable) -> usize {
        links.held()
    }

    fn passes_over(&self, node: &DagNode) -> bool {
        !self.duplicates && self.visited.contains(&node.cid)
    }

    fn admit(&mut self, node: &DagNode, block: &Bytes) -> Admission<(Cid, Bytes)> {
        if !self.duplicates {
            self.visited.insert(&node.cid);
        }
        let given = self.identity || identity_data(&node.cid).is_none();
        Admission { item: given.then(|| (node.cid, block.clone())), descend: true }
    }
}
