//! The links of one block, kept small until their turn comes.

use bytes::Bytes;

use crate::cid::{Cid, cid_from_bytes};
use crate::pb::PbLinkRef;

/// Where a link's parts lie, and what its parent says of it.
struct Entry {
    cid_end: u32,
    name: (u32, u32),
    size: u64,
}

/// A link taken out of the table.
pub(crate) struct TakenLink {
    pub(crate) cid: Cid,
    pub(crate) name: Bytes,
    pub(crate) size: u64,
}

/// Links in order: about 60 bytes each beside their names, which stay in the block. A decoded CID takes 160 alone.
#[derive(Default)]
pub(crate) struct LinkTable {
    names: Bytes,
    cids: Vec<u8>,
    entries: Vec<Entry>,
    next: usize,
}

impl LinkTable {
    /// An empty table for links whose names lie in `block`; give an empty block to keep no names.
    pub(crate) fn new(block: Bytes) -> Self {
        Self { names: block, ..Self::default() }
    }

    /// Appends a link. A name that does not lie in the table's block is left out.
    pub(crate) fn push(&mut self, cid: &Cid, name: &[u8], size: u64) {
        let start = (name.as_ptr() as usize).wrapping_sub(self.names.as_ptr() as usize);
        let inside = start.checked_add(name.len()).is_some_and(|end| end <= self.names.len());
        let name = if inside { (start as u32, name.len() as u32) } else { (0, 0) };
        cid.write_bytes(&mut self.cids).expect("invariant: writing to a vector does not fail");
        self.entries.push(Entry { cid_end: self.cids.len() as u32, name, size });
    }

    /// All links of a dag-pb node with their names and Tsizes (0 where absent).
    pub(crate) fn of_pb(block: &Bytes, links: &[PbLinkRef<'_>]) -> Self {
        let mut table = Self::new(block.clone());
        for link in links {
            table.push(&link.cid, link.name(), link.tsize.unwrap_or(0));
        }
        table
    }

    /// The next link.
    pub(crate) fn take(&mut self) -> Option<TakenLink> {
        let start = match self.next.checked_sub(1) {
            Some(before) => self.entries.get(before)?.cid_end as usize,
            None => 0,
        };
        let entry = self.entries.get(self.next)?;
        self.next += 1;
        let cid =
            self.cids.get(start..entry.cid_end as usize).and_then(|bytes| cid_from_bytes(bytes).ok())?;
        let (from, len) = (entry.name.0 as usize, entry.name.1 as usize);
        Some(TakenLink { cid, name: self.names.slice(from..from + len), size: entry.size })
    }

    /// Memory that it holds, in bytes; 0 if no link is left.
    pub(crate) fn held(&self) -> usize {
        if self.next >= self.entries.len() {
            return 0;
        }
        self.names.len() + self.cids.len() + self.entries.len() * size_of::<Entry>()
    }
}
