//! The incremental collection: what was just unpinned, and nothing else.
//!
//! It walks down from what was unpinned, parents before their children. Each node goes through the guarded delete, which
//! climbs to see whether a root still holds it; the children of a node that went are looked at next, those of one that
//! stayed are held through it. So the cost is that of what goes, its border, and the nodes of the mutable file system, which
//! are walked first.

use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;

use holdfast_dag::cid::{Cid, codec, identity_data};

use super::walk::{Promise, Walk};
use super::{GcError, GcEvent, Unprovable};
use crate::changes::files_roots;
use crate::delete::{CHUNK, Counting, Look};
use crate::error::DeleteError;
use crate::links::children;
use crate::rows::decode_links;
use crate::store::{Inner, Store};
use crate::sync::lock;

/// Blocks that may wait to be looked at. What goes beyond is left to the next full collection.
const OPEN_MAX: usize = 1 << 20;

/// What an incremental collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnpinnedReport {
    /// Blocks removed.
    pub removed_blocks: u64,
    /// Bytes of their values.
    pub removed_bytes: u64,
    /// Blocks that a root still holds.
    pub kept_blocks: u64,
    /// Blocks that are left to the next full collection: in use, or with too many ancestors, or links that cannot be read.
    pub left_blocks: u64,
    /// Why nothing was removed.
    pub unprovable: Option<Unprovable>,
}

impl Store {
    /// Deletes what was held by roots that are none any more, as far as nothing else holds it. The cost is that of
    /// what goes and of the nodes of the mutable file system, not that of what is stored. Files are not rewritten: [`Store::collect`] does that.
    ///
    /// A root is read by its codec: the CID of a block with the codec raw stands for that block alone, whatever it links to.
    /// Blocks of any age go, but for those that an operation in flight has found or put.
    pub fn collect_unpinned(
        &self,
        roots: &[Cid],
        events: &mut dyn FnMut(GcEvent<'_>) -> ControlFlow<()>,
    ) -> Result<UnpinnedReport, GcError> {
        let inner = self.inner();
        let _one_at_a_time = lock(&inner.maintenance);
        let mut report =
            UnpinnedReport { unprovable: inner.learn_links_of_files()?, ..UnpinnedReport::default() };
        if report.unprovable.is_some() {
            return Ok(report);
        }
        let mut seen = HashSet::new();
        let mut open: VecDeque<Cid> = VecDeque::new();
        for root in roots {
            push(&mut open, &mut seen, &mut report, *root);
        }
        while !open.is_empty() {
            let chunk: Vec<Cid> = open.drain(..open.len().min(CHUNK)).collect();
            // Before they go, and their links with them.
            let children: Vec<Option<Vec<Cid>>> = chunk.iter().map(|cid| inner.known_children(cid)).collect();
            // A node whose links cannot be read is left: what it links to would be forgotten with it.
            let (known, unknown): (Vec<_>, Vec<_>) =
                chunk.into_iter().zip(children).partition(|(_, children)| children.is_some());
            report.left_blocks += unknown.len() as u64;
            let cids: Vec<Cid> = known.iter().map(|(cid, _)| *cid).collect();
            let looks = inner.with_reserve(|| inner.delete_some(&cids, Counting::AllRoots))?;
            for ((cid, children), look) in known.into_iter().zip(looks) {
                match look {
                    Look::Done(Ok(bytes)) => {
                        report.removed_blocks += 1;
                        report.removed_bytes += bytes;
                        if events(GcEvent::Removed { multihash: *cid.hash(), bytes }).is_break() {
                            return Err(GcError::Stopped);
                        }
                    }
                    // Not here, or gone by another way: what it links to may still be.
                    Look::Done(Err(DeleteError::NotFound(_))) => {}
                    Look::Done(Err(DeleteError::Pinned(_))) | Look::Kept => {
                        report.kept_blocks += 1;
                        continue;
                    }
                    Look::Done(Err(DeleteError::InUse)) | Look::Pending | Look::Far => {
                        report.left_blocks += 1;
                        continue;
                    }
                }
                for child in children.into_iter().flatten() {
                    push(&mut open, &mut seen, &mut report, child);
                }
            }
        }
        inner.sample_used();
        Ok(report)
    }
}

/// Adds a block to what is to be looked at, once; an identity block stands for its children.
fn push(open: &mut VecDeque<Cid>, seen: &mut HashSet<Vec<u8>>, report: &mut UnpinnedReport, cid: Cid) {
    let mut carried = vec![cid];
    while let Some(cid) = carried.pop() {
        if let Some(data) = identity_data(&cid) {
            carried.extend(children(cid.codec(), data).unwrap_or_default());
        } else if open.len() >= OPEN_MAX {
            report.left_blocks += 1;
        } else if seen.insert(crate::rows::links_key(&cid.hash().to_bytes(), cid.codec())) {
            open.push_back(cid);
        }
    }
}

impl Inner {
    /// Sees to it that whatever lies under the files roots and what is held is known to its children: the climb from a block
    /// goes by these rows, and nodes that were put as plain bytes, linked and never read have none. Says what stands
    /// against removing anything.
    fn learn_links_of_files(&self) -> Result<Option<Unprovable>, GcError> {
        let files = files_roots(&*self.index.get()?)?;
        if let Some(damage) = files.damage {
            return Ok(Some(Unprovable::FilesRoot(damage)));
        }
        let mut tell_nobody = |_: GcEvent<'_>| ControlFlow::Continue(());
        let mut walk = Walk::new(self, &mut tell_nobody);
        for root in files.current.into_iter().chain(files.previous).chain(self.roots.held()) {
            walk.root(&root, Promise::BestEffort)?;
        }
        walk.recover_lost()?;
        if let Some((cid, root)) = walk.lost.hopeless() {
            return Ok(Some(Unprovable::Node { cid: Box::new(cid), root: Box::new(root) }));
        }
        self.barrier_to_remove()?;
        Ok(None)
    }

    /// The children of a block, if its links row or its value tells them; none if it is not here.
    fn known_children(&self, cid: &Cid) -> Option<Vec<Cid>> {
        if cid.codec() == codec::RAW {
            return Some(Vec::new());
        }
        let key = cid.hash().to_bytes();
        match self.copies(&key) {
            Ok(Some((place, _))) => decode_links(&self.children_row(cid, &key, place).ok()?.ok()?).ok(),
            Ok(None) => Some(Vec::new()),
            Err(_) => None,
        }
    }
}
