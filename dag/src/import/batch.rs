//! Naming blocks, and gathering them for the sink.

use crate::block::{Block, BlockBytes};
use crate::cid::{Cid, CidBuilder, DIGEST_BYTES_MAX, identity_data};
use crate::hash::{HashKind, HashPolicyError};

use super::{BlockSink, ImportError, ImportParams};

/// How blocks get their CIDs: hashed, or inlined when short.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Naming {
    builder: CidBuilder,
    inline_bytes_max: Option<usize>,
}

impl Naming {
    pub(crate) fn of(params: &ImportParams) -> Self {
        Self { builder: params.cid, inline_bytes_max: params.inline_bytes_max }
    }

    pub(crate) fn name(&self, codec: u64, data: &BlockBytes) -> Result<Cid, HashPolicyError> {
        let inline = self.inline_bytes_max.is_some_and(|limit| data.len() <= limit);
        let builder =
            if inline { CidBuilder { hash: HashKind::Identity, ..self.builder } } else { self.builder };
        if builder.hash == HashKind::Identity && data.len() > DIGEST_BYTES_MAX {
            return Err(HashPolicyError::DigestTooLarge);
        }
        Ok(builder.cid_of(codec, &data.parts()))
    }
}

/// Blocks that wait for the sink.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    blocks: Vec<Block>,
    bytes: usize,
}

impl Batch {
    /// Names a block and takes it in.
    pub(crate) fn add(
        &mut self,
        naming: &Naming,
        codec: u64,
        data: impl Into<BlockBytes>,
    ) -> Result<Cid, ImportError> {
        let data = data.into();
        let cid = naming.name(codec, &data)?;
        self.push(Block::trusted(cid, data));
        Ok(cid)
    }

    /// Takes a block in, unless its CID carries it.
    pub(crate) fn push(&mut self, block: Block) {
        if identity_data(&block.cid).is_none() {
            self.bytes += block.data.len();
            self.blocks.push(block);
        }
    }

    /// Whether it is worth a call: 4 MiB, or 4,096 blocks (which take about 1 MiB even if they are empty).
    pub(crate) fn is_large(&self) -> bool {
        self.bytes >= 4 << 20 || self.blocks.len() >= 4096
    }

    /// Hands over what there is.
    pub(crate) fn put(&mut self, sink: &dyn BlockSink) -> Result<(), ImportError> {
        self.bytes = 0;
        match std::mem::take(&mut self.blocks) {
            blocks if blocks.is_empty() => Ok(()),
            blocks => sink.put(blocks).map_err(ImportError::Sink),
        }
    }
}
