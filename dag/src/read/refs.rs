//! The links of a DAG, as `refs` lists them.

use std::collections::HashMap;

use bytes::Bytes;

use super::error::ReadError;
use super::ipld;
use super::links::LinkTable;
use super::ordered::{Admission, Ordered, Piece, Plan};
use super::typical::TypicalSize;
use crate::cid::{Cid, codec};
use crate::walk::{Step, Walker};

/// A link from one block to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// The block that has the link.
    pub src: Cid,
    /// The block that it leads to.
    pub dst: Cid,
    /// Name of the link; empty where the codec has none.
    pub link_name: Bytes,
    /// Links from the root, 1 for the root's own.
    pub depth: u64,
}

/// Which links are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RefsOptions {
    /// Goes below the root's own links.
    pub recursive: bool,
    /// Lists each target once, at its first sight.
    pub unique: bool,
    /// Deepest links listed when recursive; `None` is unlimited, 0 lists nothing.
    pub max_depth: Option<u64>,
    /// Asks for every listed target, even where its links are not needed, as Kubo does. Without it raw leaves and
    /// what lies at the deepest level are listed unseen.
    pub fetch_listed: bool,
}

/// Lists links depth first: each target before its own links, children in link order.
///
/// With `unique`, memory grows with the DAG: about 80 bytes a target.
///
/// # Errors
/// Blocks that do not decode or whose codec is unknown; [`ReadError::TooWide`].
pub struct Refs {
    walk: Ordered<RefsPlan>,
}

impl Refs {
    /// Lists the links below these roots, in their order. With `unique`, what they share is listed once.
    pub fn new(roots: impl IntoIterator<Item = Cid>, options: RefsOptions) -> Self {
        let max_depth = if options.recursive { options.max_depth } else { Some(1) };
        let seen = options.unique.then(HashMap::new);
        let plan =
            RefsPlan { max_depth, fetch_listed: options.fetch_listed, typical: TypicalSize::default(), seen };
        let nodes = roots.into_iter().map(|dst| RefsNode {
            link: Ref { src: dst, dst, link_name: Bytes::new(), depth: 0 },
            estimate: 0,
        });
        Self { walk: Ordered::new(plan, nodes) }
    }
}

impl Walker for Refs {
    type Item = Ref;
    type Error = ReadError;

    fn wants(&mut self, window_bytes: u64, wants: &mut Vec<Cid>) {
        self.walk.wants(window_bytes, wants);
    }

    fn supply(&mut self, cid: &Cid, block: Bytes) {
        self.walk.supply(cid, block);
    }

    fn step(&mut self) -> Result<Step<Ref>, ReadError> {
        self.walk.step()
    }
}

struct RefsNode {
    /// The link that led here; a root has depth 0.
    link: Ref,
    estimate: u64,
}

struct RefsRun {
    src: Cid,
    depth: u64,
    links: LinkTable,
}

struct RefsPlan {
    max_depth: Option<u64>,
    fetch_listed: bool,
    typical: TypicalSize,
    /// Least depth at which a target was seen, if each is listed once. CIDs as written: Kubo tells versions apart.
    seen: Option<HashMap<Box<[u8]>, u64>>,
}

impl RefsPlan {
    fn goes_below(&self, link: &Ref) -> bool {
        self.max_depth.is_none_or(|max| link.depth < max) && link.dst.codec() != codec::RAW
    }

    fn seen_at(&self, link: &Ref) -> Option<u64> {
        self.seen.as_ref()?.get(link.dst.to_bytes().as_slice()).copied()
    }
}

impl Plan for RefsPlan {
    type Node = RefsNode;
    type Run = RefsRun;
    type Item = Ref;

    fn cid(node: &RefsNode) -> &Cid {
        &node.link.dst
    }

    fn estimate(node: &RefsNode) -> u64 {
        node.estimate
    }

    fn open(&mut self, node: &RefsNode, block: &Bytes) -> Result<RefsRun, ReadError> {
        if self.needs_block(node) {
            self.typical.learn(block.len());
        }
        let links = if self.goes_below(&node.link) {
            ipld::links(&node.link.dst, block)?
        } else {
            LinkTable::default()
        };
        Ok(RefsRun { src: node.link.dst, depth: node.link.depth, links })
    }

    fn next(&self, run: &mut RefsRun) -> Option<Piece<RefsNode, Ref>> {
        let link = run.links.take()?;
        let estimate = self.typical.estimate(&link.cid, link.size);
        let link = Ref { src: run.src, dst: link.cid, link_name: link.name, depth: run.depth + 1 };
        Some(Piece::Node(RefsNode { link, estimate }))
    }

    fn held(run: &RefsRun) -> usize {
        run.links.held()
    }

    /// Seen before, and either no depth limit or seen no deeper: nothing new can come of it.
    fn passes_over(&self, node: &RefsNode) -> bool {
        let link = &node.link;
        link.depth > 0
            && self.seen_at(link).is_some_and(|seen| self.max_depth.is_none() || seen <= link.depth)
    }

    fn needs_block(&self, node: &RefsNode) -> bool {
        self.goes_below(&node.link) || (self.fetch_listed && node.link.depth > 0)
    }

    fn admit(&mut self, node: &RefsNode, _block: &Bytes) -> Admission<Ref> {
        let link = &node.link;
        let mut first = link.depth > 0;
        if first && let Some(seen) = &mut self.seen {
            first = seen.insert(link.dst.to_bytes().into_boxed_slice(), link.depth).is_none();
        }
        Admission { item: first.then(|| link.clone()), descend: self.goes_below(link) }
    }
}
