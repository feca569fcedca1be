//! The trickle layout: every node takes leaves first, then subtrees of depth 1, 2, ..., four of each.
//!
//! The open nodes form a path from the root to where the next leaf goes. It is as long as the logarithm of the file.

use super::batch::{Batch, Naming};
use super::draft::{Child, Draft, LayoutBuilder};
use super::{FileMeta, ImportError};

/// Subtrees of each depth below one node (boxo `depthRepeat`).
const REPEAT: usize = 4;

#[derive(Default)]
struct Open {
    draft: Draft,
    /// Depth of this subtree: 1 has leaves only. `None` is the root, which has no limit.
    depth: Option<usize>,
}

pub(crate) struct Trickle {
    links_max: usize,
    /// From the root downwards.
    path: Vec<Open>,
}

impl Trickle {
    pub(crate) fn new(links_max: usize) -> Self {
        Self { links_max, path: vec![Open::default()] }
    }

    /// Closes the deepest open node into its parent, which must exist.
    fn close_deepest(&mut self, naming: &Naming, batch: &mut Batch) -> Result<(), ImportError> {
        if let Some(mut deepest) = self.path.pop() {
            let child = deepest.draft.close(FileMeta::default(), naming, batch)?;
            if let Some(parent) = self.path.last_mut() {
                parent.draft.push(&child);
            }
        }
        Ok(())
    }
}

impl LayoutBuilder for Trickle {
    fn add(&mut self, leaf: &Child, naming: &Naming, batch: &mut Batch) -> Result<(), ImportError> {
        while let Some(open) = self.path.last_mut() {
            let count = open.draft.count();
            if count < self.links_max {
                open.draft.push(leaf);
                break;
            }
            // The leaves are complete; what comes now is a subtree of this depth.
            let depth = (count - self.links_max) / REPEAT + 1;
            if open.depth.is_none_or(|limit| depth < limit) {
                self.path.push(Open { draft: Draft::default(), depth: Some(depth) });
            } else {
                self.close_deepest(naming, batch)?;
            }
        }
        Ok(())
    }

    fn finish(
        mut self: Box<Self>,
        meta: FileMeta,
        naming: &Naming,
        batch: &mut Batch,
    ) -> Result<Child, ImportError> {
        while self.path.len() > 1 {
            self.close_deepest(naming, batch)?;
        }
        let mut root = self.path.pop().expect("invariant: the root is never closed before the end");
        root.draft.close(meta, naming, batch)
    }
}
