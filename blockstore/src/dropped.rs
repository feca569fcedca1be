//! Dropping damaged blocks: the record goes, whatever holds the block, but what it links to stays known, so that the rest
//! of what is pinned is kept until the block comes back.

use holdfast_dag::cid::Cid;
use rocksdb::WriteBatch;

use crate::committer::Deltas;
use crate::delete::Dead;
use crate::error::{DeleteError, IndexError, WriteError};
use crate::index::Index;
use crate::links::{children_of_row, rlinks_keys};
use crate::pending::Count;
use crate::rows::{family, split_links_key, stats_key};
use crate::store::{Inner, Store};
use crate::sync::{read, write};

/// A block that is just being written is waited for this often before it counts as in use.
const TRIES: usize = 3;

impl Store {
    /// Removes a block whose stored copy is known to be damaged, whatever holds it; what it links to stays known. Where
    /// the disk is full, it may use the reserve.
    pub fn remove_damaged(&self, cid: &Cid) -> Result<Result<(), DeleteError>, WriteError> {
        self.inner().with_reserve(|| self.drop_damaged(cid))
    }

    /// Removes a block whose stored copy is known to be damaged. It is checked and removed under the key's stripe, as
    /// every deletion is; one that was healed meanwhile is `NotFound`, and one that a writer uses stays.
    pub(crate) fn drop_damaged(&self, cid: &Cid) -> Result<Result<(), DeleteError>, WriteError> {
        let inner = self.inner();
        let key = cid.hash().to_bytes();
        let print = inner.protection.print(&key);
        for _ in 0..TRIES {
            let stripe = inner.protection.guard(print);
            if inner.protection.is_protected(print) {
                break;
            }
            if read(&inner.pending).contains(&key) {
                drop(stripe);
                self.flush()?;
                continue;
            }
            let index = inner.index.get()?;
            let Some(row) = index.meta(&key)?.filter(|_| inner.is_damaged(&key)) else {
                return Ok(Err(DeleteError::NotFound(Box::new(*cid))));
            };
            let dead = Dead { place: row.place, multihash_len: key.len() };
            let mut batch = WriteBatch::default();
            batch.delete_cf(index.family(family::META), &key);
            batch.delete_cf(index.family(family::STATS), stats_key::of_damaged(&key));
            for (links_key, links) in index.all(family::LINKS, &key)? {
                if children_of_row(&links).is_empty() {
                    batch.delete_cf(index.family(family::LINKS), links_key);
                } else {
                    batch.put_cf(index.family(family::STATS), stats_key::of_dropped(&key), []);
                }
            }
            let mut deltas =
                Deltas { blocks: -1, value_bytes: -i64::from(row.place.size), ..Deltas::default() };
            let record = row.place.record_len(key.len()).cast_signed();
            deltas.live.insert(row.place.segment, -record);
            deltas.put(&mut batch, &index);
            index.write(batch, false).map_err(|error| inner.index_failed(error))?;
            write(&inner.pending).deleted(Count { blocks: 1, value_bytes: i64::from(row.place.size) });
            write(&inner.damaged).remove(key.as_slice());
            drop((index, stripe));
            return inner.give_back(vec![dead]).map(Ok);
        }
        Ok(Err(DeleteError::InUse))
    }
}

impl Inner {
    /// Forgets the links of blocks that were removed as damaged, are not back, and are not reached any more: what a
    /// garbage collection does at its end. Returns their number.
    pub(crate) fn forget_dropped(&self, is_reached: &dyn Fn(&[u8]) -> bool) -> Result<u64, WriteError> {
        let index = self.index.get()?;
        let mut forgotten = 0;
        for (mark, _) in index.all(family::STATS, &stats_key::of_dropped(&[]))? {
            let key = mark.get(2..).unwrap_or_default();
            let print = self.protection.print(key);
            let _stripe = self.protection.guard(print);
            let back = self.locate(key).is_ok_and(|place| place.is_some());
            if !back && (is_reached(key) || self.protection.is_protected(print)) {
                continue;
            }
            let mut batch = WriteBatch::default();
            batch.delete_cf(index.family(family::STATS), &mark);
            if !back {
                forgotten += 1;
                delete_links(&index, key, &mut batch)?;
            }
            index.write(batch, false)?;
        }
        Ok(forgotten)
    }
}

/// Removes all that is known of what a block links to.
fn delete_links(index: &Index, key: &[u8], batch: &mut WriteBatch) -> Result<(), IndexError> {
    for (links_key, links) in index.all(family::LINKS, key)? {
        batch.delete_cf(index.family(family::LINKS), &links_key);
        let codec = split_links_key(&links_key).map(|(_, codec)| codec);
        for rlink in codec.map(|codec| rlinks_keys(key, codec, &links)).unwrap_or_default() {
            batch.delete_cf(index.family(family::RLINKS), rlink);
        }
    }
    Ok(())
}
