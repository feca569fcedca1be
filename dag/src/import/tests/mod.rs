//! One file a subject: golden CIDs, layouts against a naive builder, the pipeline, directories.

mod directories;
mod golden;
mod layouts;
mod pipeline;

use std::collections::HashMap;
use std::sync::Mutex;

use super::*;
use crate::hash;

/// Keeps what it is given, and checks it: right hash, no identity block.
#[derive(Default)]
pub(super) struct Memory(pub(super) Mutex<HashMap<Cid, Vec<u8>>>);

impl BlockSink for Memory {
    fn put(&self, blocks: Vec<Block>) -> Result<(), SinkError> {
        assert!(!blocks.is_empty());
        for block in blocks {
            hash::verify(&block.cid, &block.data.parts()).unwrap();
            assert!(crate::cid::identity_data(&block.cid).is_none());
            self.0.lock().unwrap().insert(block.cid, block.data.parts().concat());
        }
        Ok(())
    }
}

impl Memory {
    /// A block's bytes, wherever they are.
    pub(super) fn block(&self, cid: &Cid) -> Vec<u8> {
        match crate::cid::identity_data(cid) {
            Some(data) => data.to_vec(),
            None => self.0.lock().unwrap()[cid].clone(),
        }
    }
}

/// A pool that every test may share.
pub(super) fn pool() -> &'static ImportPool {
    static POOL: std::sync::LazyLock<ImportPool> = std::sync::LazyLock::new(|| ImportPool::new(2, 32 << 20));
    &POOL
}

pub(super) fn import(params: &ImportParams, meta: FileMeta, data: &[u8], sink: &Memory) -> Imported {
    import_file(params, meta, &mut { data }, Some(data.len() as u64), pool(), sink, &mut |_| {}).unwrap()
}

pub(super) fn cid_of(params: &ImportParams, data: &[u8]) -> String {
    import(params, FileMeta::default(), data, &Memory::default()).cid.to_string()
}
