//! The set of blocks that a walk has visited, exact and small.

use std::collections::HashSet;

use crate::cid::{Cid, codec};
use crate::hash::HashKind;

/// Codecs whose sha2-256 blocks are kept as bare digests.
const COMMON: [u64; 3] = [codec::RAW, codec::DAG_PB, codec::DAG_CBOR];

/// Blocks by codec and multihash: about 45 bytes each for sha2-256, whichever CID version named them.
#[derive(Debug, Default)]
pub(crate) struct Visited {
    common: [HashSet<[u8; 32]>; COMMON.len()],
    other: HashSet<Box<[u8]>>,
}

impl Visited {
    /// Adds a block and says whether it is new.
    pub(crate) fn insert(&mut self, cid: &Cid) -> bool {
        match common(cid) {
            Some((index, digest)) => self.common.get_mut(index).is_some_and(|set| set.insert(digest)),
            None => self.other.insert(key(cid)),
        }
    }

    /// Whether a block is in the set.
    pub(crate) fn contains(&self, cid: &Cid) -> bool {
        match common(cid) {
            Some((index, digest)) => self.common.get(index).is_some_and(|set| set.contains(&digest)),
            None => self.other.contains(&key(cid)),
        }
    }
}

fn common(cid: &Cid) -> Option<(usize, [u8; 32])> {
    let index = COMMON.iter().position(|codec| *codec == cid.codec())?;
    let hash = cid.hash();
    (hash.code() == HashKind::Sha2_256.code()).then_some(())?;
    Some((index, hash.digest().try_into().ok()?))
}

fn key(cid: &Cid) -> Box<[u8]> {
    let mut key = cid.codec().to_be_bytes().to_vec();
    key.extend(cid.hash().to_bytes());
    key.into_boxed_slice()
}
