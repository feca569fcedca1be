//! Appending to a file in the trickle layout, from where its last leaf is.
//!
//! The nodes on the way to that place are open and in memory; the rest stays as it is. Leaves that are appended one
//! after the other, in however many edits, give the DAG that the trickle layout of an import gives.

use super::EditError;
use super::file_node::{FileNode, Part};
use super::overlay::{Link, Overlay};
use crate::cid::CidBuilder;
use crate::read::FILE_DEPTH_MAX;

/// Subtrees of each depth below one node (boxo `depthRepeat`).
const REPEAT: usize = 4;

struct Open {
    node: FileNode,
    /// Depth of this subtree: 1 has leaves only. `None` is the root, which has no limit.
    depth: Option<usize>,
}

/// A finished subtree.
#[derive(Clone, Copy)]
pub(super) struct Child {
    pub(super) link: Link,
    pub(super) size: u64,
}

/// A file that is open at its end.
pub(super) struct Trickle {
    links_max: usize,
    /// How new inner nodes are named.
    builder: CidBuilder,
    /// From the root downwards.
    path: Vec<Open>,
}

impl Trickle {
    /// Opens the nodes on the way to the last leaf of a file.
    pub(super) fn open(
        overlay: &Overlay<'_>,
        root: FileNode,
        builder: CidBuilder,
        links_max: usize,
    ) -> Result<Self, EditError> {
        let mut path = vec![Open { node: root, depth: None }];
        while path.len() < FILE_DEPTH_MAX
            && let Some(open) = path.last_mut()
            && open.node.links.len() > links_max
            && let Some(last) = open.node.links.last()
        {
            // Files of other layouts may have leaves here: those are complete.
            let Part::Node(node) = Part::load(overlay, &last.link.cid)? else { break };
            if !node.is_inner() {
                break;
            }
            let depth = (open.node.links.len() - 1 - links_max) / REPEAT + 1;
            open.node.links.pop();
            path.push(Open { node, depth: Some(depth) });
        }
        Ok(Self { links_max, builder, path })
    }

    /// Appends a leaf.
    pub(super) fn add(&mut self, overlay: &mut Overlay<'_>, leaf: Child) {
        while let Some(depth) = self.next_place(overlay) {
            match depth {
                0 => {
                    self.push(leaf);
                    break;
                }
                depth => {
                    self.path.push(Open { node: FileNode::new(self.builder), depth: Some(depth) });
                }
            }
        }
    }

    /// Appends as many times the same leaf. What would be a whole subtree of it is made once and linked.
    pub(super) fn add_repeated(&mut self, overlay: &mut Overlay<'_>, leaf: Child, mut count: u64) {
        let mut whole: Vec<Child> = Vec::new();
        while count > 0 {
            let Some(depth) = self.next_place(overlay) else { return };
            if depth == 0 {
                self.push(leaf);
                count -= 1;
                continue;
            }
            while whole.len() < depth
                && whole.last().is_none_or(|child| child.size / leaf.size.max(1) < count)
            {
                let next = self.whole_subtree(overlay, leaf, &whole);
                whole.push(next);
            }
            match whole.get(depth - 1) {
                Some(child) if child.size / leaf.size.max(1) <= count => {
                    count -= child.size / leaf.size.max(1);
                    self.push(*child);
                }
                _ => self.path.push(Open { node: FileNode::new(self.builder), depth: Some(depth) }),
            }
        }
    }

    /// The subtree full of `leaf` that is one deeper than the deepest of `whole`.
    fn whole_subtree(&self, overlay: &mut Overlay<'_>, leaf: Child, whole: &[Child]) -> Child {
        let mut node = FileNode::new(self.builder);
        for _ in 0..self.links_max {
            node.push(leaf.link, leaf.size);
        }
        for child in whole {
            for _ in 0..REPEAT {
                node.push(child.link, child.size);
            }
        }
        Child { size: node.size(), link: node.write(overlay) }
    }

    /// Where the next leaf goes in the deepest open node: 0 is in that node itself, otherwise the depth of the
    /// subtree that is to be opened. Closes what is full on the way.
    fn next_place(&mut self, overlay: &mut Overlay<'_>) -> Option<usize> {
        loop {
            let open = self.path.last()?;
            let count = open.node.links.len();
            if count < self.links_max {
                return Some(0);
            }
            let depth = (count - self.links_max) / REPEAT + 1;
            if open.depth.is_none_or(|limit| depth < limit) {
                return Some(depth);
            }
            self.close_deepest(overlay);
        }
    }

    fn push(&mut self, child: Child) {
        if let Some(open) = self.path.last_mut() {
            open.node.push(child.link, child.size);
        }
    }

    /// Writes the deepest open node into its parent.
    fn close_deepest(&mut self, overlay: &mut Overlay<'_>) {
        if let Some(Open { node, .. }) = self.path.pop() {
            let size = node.size();
            let link = node.write(overlay);
            self.push(Child { link, size });
        }
    }

    /// Closes everything but the root, and gives that.
    pub(super) fn close(mut self, overlay: &mut Overlay<'_>) -> FileNode {
        while self.path.len() > 1 {
            self.close_deepest(overlay);
        }
        self.path.pop().map_or_else(|| FileNode::new(self.builder), |open| open.node)
    }
}
