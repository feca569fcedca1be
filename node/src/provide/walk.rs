//! Which keys there are, by strategy: read from the index as it goes, so that memory does not grow with their number.

use std::path::Path;

use holdfast_blockstore::{PinKind, ReadError, Store};
use holdfast_dag::cid::{Cid, Multihash, codec, identity_data};
use holdfast_dag::pb;
use holdfast_dag::unixfs::{NodeType, UnixFs};

use super::strategy::Strategy;
use super::table::TableError;
use crate::services::pins::{Walk, WalkFault};

/// Keys that are handed on at a time.
const BATCH: usize = 4_096;

/// Why not all keys were found.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum KeysError {
    /// The index cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A walk could not go on.
    #[error(transparent)]
    Walk(#[from] WalkFault),
    /// What was found was not noted.
    #[error(transparent)]
    Note(#[from] TableError),
    /// The node is closing.
    #[error("the node is closing")]
    Stopped,
}

/// Where keys go: some, and whether everything below them is walked too. It says for each whether it was walked whole
/// before, and fails to end the search.
pub(super) type Sink<'a> = dyn FnMut(&[Multihash], bool) -> Result<Vec<bool>, KeysError> + 'a;

/// Keys of a store.
pub(super) struct Source<'a> {
    pub(super) store: &'a Store,
    /// Where a walk may write a scratch file.
    pub(super) folder: &'a Path,
    pub(super) strategy: Strategy,
    /// Leave out what was walked whole before, with all below it. For what is new; never for a sync, which sees everything.
    pub(super) skips_known: bool,
}

impl Source<'_> {
    /// All keys of the strategy.
    pub(super) fn all(&self, sink: &mut Sink<'_>) -> Result<(), KeysError> {
        let strategy = self.strategy;
        if strategy.all {
            return self.blocks(sink);
        }
        let folder = self.folder;
        let mut walk = Walk::new(self.store, folder);
        if strategy.mfs {
            self.files(&mut walk, sink)?;
        }
        for kind in [PinKind::Recursive, PinKind::Direct] {
            if !strategy.pinned && !strategy.roots {
                break;
            }
            // Alone ones come last: to be seen is to be walked.
            for pin in self.store.pins().iter(Some(kind)) {
                let pin = pin?;
                if strategy.pinned && kind == PinKind::Recursive {
                    self.dag(&mut walk, &pin.cid, sink)?;
                } else {
                    tell(sink, &[pin.cid], false)?;
                }
            }
        }
        Ok(())
    }

    /// What a new pin brings.
    pub(super) fn pinned(&self, cid: &Cid, kind: PinKind, sink: &mut Sink<'_>) -> Result<(), KeysError> {
        if self.strategy.pinned && kind == PinKind::Recursive {
            return self.dag(&mut Walk::new(self.store, self.folder), cid, sink);
        }
        if self.strategy.pinned || self.strategy.roots {
            tell(sink, &[*cid], false)?;
        }
        Ok(())
    }

    /// A DAG, by the strategy's word on entities.
    pub(super) fn below(&self, cid: &Cid, sink: &mut Sink<'_>) -> Result<(), KeysError> {
        self.dag(&mut Walk::new(self.store, self.folder), cid, sink)
    }

    /// What a new root of the mutable file system brings.
    pub(super) fn new_files(&self, sink: &mut Sink<'_>) -> Result<(), KeysError> {
        self.files(&mut Walk::new(self.store, self.folder), sink)
    }

    fn blocks(&self, sink: &mut Sink<'_>) -> Result<(), KeysError> {
        let mut batch = Vec::with_capacity(BATCH);
        for block in self.store.blocks() {
            batch.push(block?.0);
            if batch.len() == BATCH {
                sink(&batch, false)?;
                batch.clear();
            }
        }
        sink(&batch, false)?;
        Ok(())
    }

    fn files(&self, walk: &mut Walk<'_>, sink: &mut Sink<'_>) -> Result<(), KeysError> {
        match self.store.files_roots()?.usable() {
            Some(root) => self.dag(walk, &root, sink),
            None => Ok(()),
        }
    }

    /// What is here of a DAG. A block that does not decode is passed over: it can be announced, and nothing below it.
    fn dag(&self, walk: &mut Walk<'_>, root: &Cid, sink: &mut Sink<'_>) -> Result<(), KeysError> {
        if !walk.seen.insert(root).map_err(WalkFault::from)? {
            return Ok(());
        }
        let mut batch = vec![*root];
        while !batch.is_empty() {
            let sizes = self.store.sizes(&batch)?;
            let here = batch.iter().zip(sizes).filter_map(|(cid, size)| Some((*cid, size?)));
            let here: Vec<(Cid, u64)> = here.collect();
            let cids: Vec<Cid> = here.iter().map(|(cid, _)| *cid).collect();
            let known = tell(sink, &cids, true)?;
            for ((cid, size), known) in here.into_iter().zip(known) {
                if !(known && self.skips_known) && self.goes_below(&cid) {
                    walk.descend(cid, size);
                }
            }
            batch = walk.next_batch()?;
            walk.fault = None;
        }
        Ok(())
    }

    /// Whether the children of a block are announced too: of entities, those of directories and of what is no file.
    fn goes_below(&self, cid: &Cid) -> bool {
        if !self.strategy.entities || cid.codec() != codec::DAG_PB {
            return cid.codec() != codec::RAW;
        }
        // A damaged block is the business of others: nothing below it is announced until it is whole again.
        let Ok(Some(block)) = self.store.get(cid) else { return false };
        let node = pb::decode(&block).ok();
        let data = node.and_then(|node| node.data);
        let kind = data.and_then(|data| UnixFs::decode(data).ok()).map(|message| message.kind);
        matches!(kind, None | Some(NodeType::Directory | NodeType::HamtShard))
    }
}

/// Hands blocks on. Those that are carried by their CIDs need no announcement: they count as not known.
fn tell(sink: &mut Sink<'_>, cids: &[Cid], is_whole: bool) -> Result<Vec<bool>, KeysError> {
    let stored = |cid: &&Cid| identity_data(cid).is_none();
    let hashes: Vec<Multihash> = cids.iter().filter(stored).map(|cid| *cid.hash()).collect();
    let mut known = sink(&hashes, is_whole)?.into_iter();
    Ok(cids.iter().map(|cid| stored(&cid) && known.next().unwrap_or(false)).collect())
}

#[cfg(test)]
mod tests;
