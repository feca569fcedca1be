//! Edits against models: a map of entries, a vector of bytes, and what an import builds at once.

mod directories;
mod files;
mod metadata;
mod trees;

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;

use super::*;
use crate::block::Block;
use crate::cid::{Cid, CidBuilder, Version};
use crate::hash::{self, HashKind};
use crate::import::{BlockSink, SinkError};
use crate::read::FileReader;
use crate::walk::drive;

/// Blocks in memory; every block is checked when it comes in.
#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<Vec<u8>, Bytes>>);

impl Memory {
    pub(super) fn put(&self, blocks: Vec<Block>) {
        let mut known = self.0.lock().unwrap();
        for block in blocks {
            hash::verify(&block.cid, &block.data.parts()).unwrap();
            known.insert(block.cid.hash().to_bytes(), block.data.to_bytes());
        }
    }

    pub(super) fn forget(&self, cid: &Cid) -> Bytes {
        self.0.lock().unwrap().remove(&cid.hash().to_bytes()).unwrap()
    }

    pub(super) fn remember(&self, cid: &Cid, block: Bytes) {
        self.0.lock().unwrap().insert(cid.hash().to_bytes(), block);
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The bytes of a file.
    pub(super) fn read(&self, cid: &Cid) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reader = FileReader::new(*cid, 0, None);
        let get = |cid: &Cid| Ok::<_, ReadOrMissing>(self.block(cid).unwrap().expect("block is there"));
        drive(&mut reader, 1 << 20, get, |bytes| {
            out.extend_from_slice(&bytes);
            Ok(())
        })
        .unwrap();
        out
    }
}

#[derive(Debug)]
pub(super) struct ReadOrMissing;

impl From<crate::read::ReadError> for ReadOrMissing {
    fn from(error: crate::read::ReadError) -> Self {
        panic!("{error}")
    }
}

impl BlockSource for Memory {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, SinkError> {
        Ok(match crate::cid::identity_data(cid) {
            Some(data) => Some(Bytes::copy_from_slice(data)),
            None => self.0.lock().unwrap().get(&cid.hash().to_bytes()).cloned(),
        })
    }
}

impl BlockSink for Memory {
    fn put(&self, blocks: Vec<Block>) -> Result<(), SinkError> {
        Self::put(self, blocks);
        Ok(())
    }
}

/// Runs an edit and keeps its blocks: children have to come before their parents.
pub(super) fn edit<T>(
    memory: &Memory,
    root: impl Fn(&T) -> Cid,
    work: impl FnOnce(&mut Overlay<'_>) -> Result<T, EditError>,
) -> Result<T, EditError> {
    let mut overlay = Overlay::new(memory);
    let done = work(&mut overlay)?;
    let blocks = overlay.finish(&root(&done));
    for (at, block) in blocks.iter().enumerate() {
        if block.cid.codec() != crate::cid::codec::DAG_PB {
            continue;
        }
        let bytes = block.data.to_bytes();
        for link in crate::pb::decode(&bytes).unwrap().links {
            assert!(blocks[at..].iter().all(|later| later.cid.hash() != link.cid.hash()), "parent first");
        }
    }
    memory.put(blocks);
    Ok(done)
}

pub(super) const V0: CidBuilder = CidBuilder { version: Version::V0, hash: HashKind::Sha2_256 };
pub(super) const V1: CidBuilder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
