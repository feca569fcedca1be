//! Building a HAMT from all its entries at once: sorted by hash, every shard is one stretch, and is written once.

use crate::cid::{Cid, codec};
use crate::import::batch::{Batch, Naming};
use crate::import::{BlockSink, FileMeta, ImportError, ImportParams, Imported};
use crate::pb::{put_bytes, put_link_bytes};

use super::{place, prefix_len, shard_message};

/// An entry as it is linked.
pub(crate) struct ShardEntry<'a> {
    pub(crate) name: &'a [u8],
    /// Binary CID.
    pub(crate) cid: &'a [u8],
    pub(crate) tsize: u64,
}

/// Where the entries are.
pub(crate) trait ShardSource {
    /// What an entry is found by.
    type Key: Copy;

    fn hash(&self, key: Self::Key) -> u64;
    fn entry(&self, key: Self::Key) -> ShardEntry<'_>;
}

/// Writes the HAMT of `keys`, which are sorted by hash and have no name twice.
pub(crate) fn build<S: ShardSource>(
    params: &ImportParams,
    meta: FileMeta,
    source: &S,
    keys: &[S::Key],
    batch: &mut Batch,
    sink: &dyn BlockSink,
) -> Result<Imported, ImportError> {
    let (fanout, naming) = (params.hamt_fanout, Naming::of(params));
    let mut builder =
        Builder { fanout, prefix_len: prefix_len(fanout), naming, source, batch, sink, name: Vec::new() };
    let (cid, tsize) = builder.shard(keys, 0, meta)?;
    Ok(Imported { cid, tsize, filesize: 0 })
}

struct Builder<'a, S> {
    fanout: u16,
    prefix_len: usize,
    naming: Naming,
    source: &'a S,
    batch: &'a mut Batch,
    sink: &'a dyn BlockSink,
    /// The link name in work.
    name: Vec<u8>,
}

impl<S: ShardSource> Builder<'_, S> {
    /// Writes the shard of `keys` and what is below it. Depth is bounded by the bits of a hash: 21 levels at most.
    fn shard(&mut self, keys: &[S::Key], depth: u32, meta: FileMeta) -> Result<(Cid, u64), ImportError> {
        let mut links = Vec::new();
        let mut positions = Vec::new();
        let (mut tsize, mut rest) = (0_u64, keys);
        while let Some(first) = rest.first() {
            let place_of = |key: &S::Key| place(self.source.hash(*key), depth, self.fanout);
            let Some(index) = place_of(first) else {
                let name = self.source.entry(*first).name;
                return Err(ImportError::TooDeep(String::from_utf8_lossy(name).into_owned()));
            };
            let same = rest.iter().position(|key| place_of(key) != Some(index)).unwrap_or(rest.len());
            let (group, after) = rest.split_at_checked(same).unwrap_or((rest, &[]));
            rest = after;
            positions.push(index);
            self.name.clear();
            self.name.extend_from_slice(format!("{index:0width$X}", width = self.prefix_len).as_bytes());
            let below = if let [only] = group {
                let entry = self.source.entry(*only);
                self.name.extend_from_slice(entry.name);
                put_link_bytes(&mut links, entry.cid, Some(&self.name), Some(entry.tsize));
                entry.tsize
            } else {
                let name = self.name.clone();
                let (cid, below) = self.shard(group, depth + 1, FileMeta::default())?;
                put_link_bytes(&mut links, &cid.to_bytes(), Some(&name), Some(below));
                below
            };
            tsize = tsize.saturating_add(below);
        }
        let message = shard_message(self.fanout, positions.into_iter(), meta.mode_bits(), meta.mtime);
        put_bytes(&mut links, 1, &message);
        let tsize = tsize.saturating_add(links.len() as u64);
        let cid = self.batch.add(&self.naming, codec::DAG_PB, links)?;
        if self.batch.is_large() {
            self.batch.put(self.sink)?;
        }
        Ok((cid, tsize))
    }
}
