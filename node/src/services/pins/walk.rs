//! Walking stored DAGs by the index alone, each CID once, in batches of one lookup.
//!
//! What waits to be walked is kept as rows of links (38 bytes each) on a stack, depth first. Where the stack grows over
//! its bound, the rows at its bottom are dropped and read again when their turn comes.

use std::io;
use std::path::Path;

use holdfast_blockstore::{Links, ReadError, Store};
use holdfast_dag::cid::{Cid, codec};

use super::seen::Seen;
use crate::services::dag::IncompleteError;

/// CIDs that are looked up together.
const BATCH: usize = 256;
/// Bytes of the blocks whose links are read together: a block's links take no more than the block.
const BATCH_BYTES: u64 = 16 << 20;
/// Bytes of links that the stack holds.
const HELD_BYTES_MAX: usize = 32 << 20;

/// A block whose links are being walked.
struct Frame {
    cid: Box<Cid>,
    /// `None`: dropped, to be read again.
    links: Option<Links>,
    taken: usize,
}

/// A walk. It is driven by its caller: take a batch, look at it, and say for each CID whether to descend.
pub(crate) struct Walk<'a> {
    store: &'a Store,
    pub(crate) seen: Seen,
    stack: Vec<Frame>,
    held_bytes: usize,
    held_bytes_max: usize,
    /// Blocks to descend into, with their sizes.
    ready: Vec<(Cid, u64)>,
    /// What was wrong with a block that was to be descended into, the first one: it is passed over.
    pub(crate) fault: Option<IncompleteError>,
}

/// Why a walk cannot go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WalkFault {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// The set of what was seen does not fit into memory, and could not be written to a file.
    #[error("cannot keep track of what was walked: {0}")]
    Scratch(String),
}

impl From<io::Error> for WalkFault {
    fn from(error: io::Error) -> Self {
        Self::Scratch(error.to_string())
    }
}

impl<'a> Walk<'a> {
    /// A walk over nothing yet, which may write a scratch file in `folder`.
    pub(crate) fn new(store: &'a Store, folder: &Path) -> Self {
        Self {
            store,
            seen: Seen::new(folder),
            stack: Vec::new(),
            held_bytes: 0,
            held_bytes_max: HELD_BYTES_MAX,
            ready: Vec::new(),
            fault: None,
        }
    }

    /// Has a block's links walked, which take at most `size` bytes.
    pub(crate) fn descend(&mut self, cid: Cid, size: u64) {
        if cid.codec() != codec::RAW {
            self.ready.push((cid, size));
        }
    }

    /// Gives up everything that waits, but not what was seen.
    pub(crate) fn abandon(&mut self) {
        self.stack.clear();
        self.ready.clear();
        (self.held_bytes, self.fault) = (0, None);
    }

    /// The next CIDs, none of which was seen before; empty at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Vec<Cid>, WalkFault> {
        let mut batch = Vec::new();
        loop {
            if !self.ready.is_empty() {
                self.expand()?;
            }
            while batch.len() < BATCH {
                let Some(link) = self.next_link()? else { break };
                if self.seen.insert(&link)? {
                    batch.push(link);
                }
            }
            if !batch.is_empty() || self.ready.is_empty() {
                return Ok(batch);
            }
        }
    }

    /// Puts the links of some blocks onto the stack: as many blocks as fit together.
    fn expand(&mut self) -> Result<(), WalkFault> {
        let mut bytes = 0;
        let fits = self.ready.iter().rev().take_while(|(_, size)| {
            bytes += size;
            bytes <= BATCH_BYTES
        });
        let keep = self.ready.len() - fits.count().max(1);
        let cids: Vec<Cid> = self.ready.drain(keep..).map(|(cid, _)| cid).collect();
        for (cid, links) in cids.iter().zip(self.store.links_many(&cids)?).rev() {
            match links {
                Ok(links) => {
                    self.held_bytes += links.held_bytes();
                    self.stack.push(Frame { cid: Box::new(*cid), links: Some(links), taken: 0 });
                }
                Err(error) => {
                    self.fault.get_or_insert(error.into());
                }
            }
        }
        self.drop_bottom();
        Ok(())
    }

    fn drop_bottom(&mut self) {
        let top = self.stack.len().saturating_sub(1);
        for frame in self.stack.iter_mut().take(top) {
            if self.held_bytes <= self.held_bytes_max {
                return;
            }
            if let Some(links) = frame.links.take() {
                frame.taken = links.taken();
                self.held_bytes -= links.held_bytes();
            }
        }
    }

    fn next_link(&mut self) -> Result<Option<Cid>, WalkFault> {
        while let Some(frame) = self.stack.last_mut() {
            if frame.links.is_none() {
                let mut links = self.store.links_many(&[*frame.cid])?.pop().transpose()?.unwrap_or_default();
                self.held_bytes += links.held_bytes();
                links.by_ref().take(frame.taken).for_each(drop);
                frame.links = Some(links);
            }
            if let Some(links) = &mut frame.links {
                if let Some(link) = links.next() {
                    return Ok(Some(link?));
                }
                self.held_bytes -= links.held_bytes();
            }
            self.stack.pop();
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_blockstore::StoreConfig;
    use holdfast_dag::block::Block;
    use holdfast_dag::cid::{CidBuilder, Version};
    use holdfast_dag::hash::HashKind;

    use super::*;

    /// Puts a dag-cbor list of links, or a raw block where there are none.
    fn put(store: &Store, number: u32, links: &[Cid]) -> Cid {
        let [high, low] = (links.len() as u16).to_be_bytes();
        let mut bytes = match links.len() {
            0..24 => vec![0x80 + low],
            24..256 => vec![0x98, low],
            _ => vec![0x99, high, low],
        };
        for link in links {
            bytes.extend([0xd8, 0x2a, 0x58, 37, 0]);
            bytes.extend(link.to_bytes());
        }
        let (codec, bytes) = if links.is_empty() {
            (codec::RAW, number.to_be_bytes().to_vec())
        } else {
            (codec::DAG_CBOR, bytes)
        };
        let cid = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 }.cid_of(codec, &[&bytes]);
        store.writer().put([Block::trusted(cid, bytes)]).unwrap();
        cid
    }

    fn walked(store: &Store, folder: &Path, root: Cid, held_bytes_max: usize) -> (Vec<Cid>, bool) {
        let mut walk = Walk { held_bytes_max, ..Walk::new(store, folder) };
        let (mut all, mut dropped) = (vec![root], false);
        walk.descend(root, 1);
        loop {
            let batch = walk.next_batch().unwrap();
            dropped |= walk.stack.iter().any(|frame| frame.links.is_none());
            if batch.is_empty() {
                break;
            }
            // Big enough that each block is descended into by itself, and the stack gets as deep as the DAG.
            for cid in &batch {
                walk.descend(*cid, BATCH_BYTES);
            }
            all.extend(batch);
        }
        assert!(walk.fault.is_none());
        all.sort_unstable();
        (all, dropped)
    }

    #[test]
    fn links_that_were_dropped_are_read_again_where_they_were_left() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreConfig::default()).unwrap();
        let mut number = 0;
        let mut below = Vec::new();
        for _ in 0..4 {
            // Wider than a batch, so that links are left over when the walk goes down.
            let mut level: Vec<Cid> = (0..600)
                .map(|_| {
                    number += 1;
                    put(&store, number, &[])
                })
                .collect();
            level.splice(100..100, below);
            below = vec![put(&store, 0, &level), put(&store, 0, &level[..500])];
        }
        let root = put(&store, 0, &below);
        let (all, dropped) = walked(&store, folder.path(), root, HELD_BYTES_MAX);
        assert_eq!((all.len(), dropped), (1 + 4 * (600 + 2), false));
        assert_eq!(walked(&store, folder.path(), root, 0), (all, true));
    }
}
