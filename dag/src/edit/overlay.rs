//! New blocks over those that exist.

use std::collections::HashMap;

use bytes::Bytes;

use super::EditError;
use crate::block::{Block, BlockBytes};
use crate::cid::{Cid, CidBuilder, DIGEST_BYTES_MAX, Multihash, codec, identity_data};
use crate::hash::HashKind;
use crate::import::SinkError;
use crate::pb;

/// Where an edit finds blocks that exist already.
pub trait BlockSource {
    /// A block's bytes, hash-checked; `None` if it is not here.
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, SinkError>;
}

/// A source without blocks.
impl BlockSource for () {
    fn block(&self, _cid: &Cid) -> Result<Option<Bytes>, SinkError> {
        Ok(None)
    }
}

/// A node as its parent links to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its root block.
    pub cid: Cid,
    /// Bytes of all blocks of its DAG, as links state it (`Tsize`).
    pub tsize: u64,
}

/// New blocks in memory, over a source of those that exist.
pub struct Overlay<'a> {
    source: &'a dyn BlockSource,
    fresh: HashMap<Multihash, Block>,
    /// In the order in which they were made, children first.
    order: Vec<Multihash>,
    bytes: usize,
}

impl<'a> Overlay<'a> {
    /// Nothing new over `source`.
    pub fn new(source: &'a dyn BlockSource) -> Self {
        Self { source, fresh: HashMap::new(), order: Vec::new(), bytes: 0 }
    }

    /// A block, new or old.
    pub fn get(&self, cid: &Cid) -> Result<Bytes, EditError> {
        if let Some(data) = identity_data(cid) {
            return Ok(Bytes::copy_from_slice(data));
        }
        if let Some(block) = self.fresh.get(cid.hash()) {
            return Ok(block.data.to_bytes());
        }
        match self.source.block(cid) {
            Ok(Some(block)) => Ok(block),
            Ok(None) => Err(EditError::Missing { cid: Box::new(*cid) }),
            Err(source) => Err(EditError::Source { cid: Box::new(*cid), source }),
        }
    }

    /// Names a new block and takes it in. What is too long for an identity CID is named by sha2-256 (boxo).
    pub(super) fn add(&mut self, builder: CidBuilder, codec: u64, data: impl Into<BlockBytes>) -> Cid {
        let data = data.into();
        let hash = match builder.hash {
            HashKind::Identity if data.len() > DIGEST_BYTES_MAX => HashKind::Sha2_256,
            hash => hash,
        };
        let cid = CidBuilder { hash, ..builder }.cid_of(codec, &data.parts());
        self.push(Block::trusted(cid, data));
        cid
    }

    /// Takes a new block in.
    pub(super) fn push(&mut self, block: Block) {
        if identity_data(&block.cid).is_some() {
            return;
        }
        let (hash, bytes) = (*block.cid.hash(), block.data.len());
        if self.fresh.insert(hash, block).is_none() {
            self.order.push(hash);
            self.bytes += bytes;
        }
    }

    /// Bytes of the new blocks that are kept here.
    pub fn fresh_bytes(&self) -> usize {
        self.bytes
    }

    /// Hands out all new blocks, children first. From then on the source has to have them.
    pub fn drain(&mut self) -> Vec<Block> {
        self.bytes = 0;
        let mut fresh = std::mem::take(&mut self.fresh);
        self.order.drain(..).filter_map(|hash| fresh.remove(&hash)).collect()
    }

    /// Hands out the new blocks below `root`, children first and the root last, and drops those that later steps have
    /// made obsolete.
    pub fn finish(mut self, root: &Cid) -> Vec<Block> {
        let mut blocks = Vec::with_capacity(self.order.len());
        // Each block comes up twice: to look at what is below it, and then to be handed out.
        let mut stack = vec![(*root, false)];
        while let Some((cid, open)) = stack.pop() {
            if open {
                blocks.extend(self.fresh.remove(cid.hash()));
                continue;
            }
            let Some(block) = self.fresh.get(cid.hash()) else { continue };
            stack.push((cid, true));
            if cid.codec() == codec::DAG_PB {
                let data = block.data.to_bytes();
                let links = pb::decode(&data).map(|node| node.links).unwrap_or_default();
                let fresh = links.iter().filter(|link| self.fresh.contains_key(link.cid.hash()));
                stack.extend(fresh.map(|link| (link.cid, false)));
            }
        }
        blocks
    }
}

/// How a node is named: new versions of it are named likewise.
pub(super) fn builder_of(cid: &Cid) -> Result<CidBuilder, EditError> {
    let hash = HashKind::from_code(cid.hash().code());
    let hash = hash.ok_or_else(|| EditError::Hash { cid: Box::new(*cid) })?;
    Ok(CidBuilder { version: cid.version(), hash })
}
