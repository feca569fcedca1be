//! The balanced layout: all leaves at one depth, every node full before the next is begun.
//!
//! One draft a level. A full draft is closed only when a further child comes, so a level above exists only where it is
//! needed, and the root is always the last to be closed: that is when mode and mtime go in.

use super::batch::{Batch, Naming};
use super::draft::{Child, Draft, LayoutBuilder};
use super::{FileMeta, ImportError};

pub(crate) struct Balanced {
    links_max: usize,
    /// From the parents of leaves upwards.
    levels: Vec<Draft>,
    /// The first leaf: it is the root itself as long as it is alone.
    only: Option<Child>,
}

impl Balanced {
    /// `links_max` is at least 2.
    pub(crate) fn new(links_max: usize) -> Self {
        Self { links_max, levels: Vec::new(), only: None }
    }

    /// Adds a child to the node that is open at `level`, closing what is full from there upwards.
    fn push(
        &mut self,
        level: usize,
        child: &Child,
        naming: &Naming,
        batch: &mut Batch,
    ) -> Result<(), ImportError> {
        let mut child = *child;
        for draft in self.levels.iter_mut().skip(level) {
            if draft.count() < self.links_max {
                draft.push(&child);
                return Ok(());
            }
            let full = draft.close(FileMeta::default(), naming, batch)?;
            draft.push(&child);
            child = full;
        }
        let mut top = Draft::default();
        top.push(&child);
        self.levels.push(top);
        Ok(())
    }
}

impl LayoutBuilder for Balanced {
    fn add(&mut self, leaf: &Child, naming: &Naming, batch: &mut Batch) -> Result<(), ImportError> {
        if self.levels.is_empty() {
            match self.only.take() {
                None => {
                    self.only = Some(*leaf);
                    return Ok(());
                }
                Some(first) => self.push(0, &first, naming, batch)?,
            }
        }
        self.push(0, leaf, naming, batch)
    }

    fn finish(
        mut self: Box<Self>,
        meta: FileMeta,
        naming: &Naming,
        batch: &mut Batch,
    ) -> Result<Child, ImportError> {
        let mut root = self.only;
        let mut level = 0;
        while let Some(draft) = self.levels.get_mut(level) {
            let mut draft = std::mem::take(draft);
            level += 1;
            let is_root = level == self.levels.len();
            let child = draft.close(if is_root { meta } else { FileMeta::default() }, naming, batch)?;
            if is_root {
                root = Some(child);
                break;
            }
            self.push(level, &child, naming, batch)?;
        }
        Ok(root.expect("invariant: every file has at least one leaf"))
    }
}
