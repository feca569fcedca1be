//! Single blocks: `block put`, `get`, `stat`, `rm`.

use bytes::Bytes;
use holdfast_blockstore::{DeleteError, WriteError};
use holdfast_dag::block::{BLOCK_BYTES_MAX, Block};
use holdfast_dag::cid::{Cid, DIGEST_BYTES_MAX, Multihash, codec, identity_data};
use holdfast_dag::hash::{HashKind, HashPolicyError, check_policy};

use crate::fetch::{FetchError, known_block};
use crate::node::Node;
use crate::pool::PoolError;
use crate::services::pins::recursive_pin;

/// What is said of a block that is too large to be exchanged.
pub(crate) const BIG_BLOCK: &str = "produced block is over 2MiB: big blocks can't be exchanged with other peers. \
    consider using UnixFS for automatic chunking of bigger files, or pass --allow-big-block to override";

/// How a block is named and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPutOptions {
    /// Multicodec code of its codec. Default: raw.
    pub codec: u64,
    /// Name it by a CIDv0, for which the codec must be dag-pb and the hash sha2-256. Default: no.
    pub v0: bool,
    /// Hash function. Default: sha2-256.
    pub hash: HashKind,
    /// Bytes of digest to keep; `None` keeps all. Default: all.
    pub digest_bytes: Option<usize>,
    /// Pin it recursively. Default: no.
    pub pin: bool,
    /// Take blocks over 2 MiB too, which other nodes do not. Default: no.
    pub allow_big: bool,
}

impl Default for BlockPutOptions {
    fn default() -> Self {
        Self {
            codec: codec::RAW,
            v0: false,
            hash: HashKind::Sha2_256,
            digest_bytes: None,
            pin: false,
            allow_big: false,
        }
    }
}

/// A block and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockStat {
    /// Its name.
    pub cid: Cid,
    /// Its length in bytes.
    pub size: u64,
}

/// Why a block was not stored.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BlockPutError {
    /// It is over 2 MiB.
    #[error("{BIG_BLOCK}")]
    TooBig,
    /// Its hash function does not give a digest of this length.
    #[error("digest length {0} is not possible with this hash function")]
    DigestLength(usize),
    /// Its name would not be allowed for reading.
    #[error(transparent)]
    Policy(#[from] HashPolicyError),
    /// CIDv0 is for dag-pb and sha2-256 only.
    #[error("invalid CIDv0: only dag-pb with sha2-256 has one")]
    NoV0,
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] WriteError),
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// What became of a block that was to be removed.
#[derive(Debug, Clone)]
pub struct BlockRemoved {
    /// The block.
    pub cid: Cid,
    /// Why it is still there.
    pub error: Option<DeleteError>,
}

/// The block service of a node.
#[derive(Debug, Clone)]
pub struct Blocks {
    node: Node,
}

impl Node {
    /// Single blocks.
    pub fn blocks(&self) -> Blocks {
        Blocks { node: self.clone() }
    }
}

impl Blocks {
    /// Stores a block durably.
    pub async fn put(&self, data: Bytes, options: BlockPutOptions) -> Result<BlockStat, BlockPutError> {
        if data.len() > BLOCK_BYTES_MAX && !options.allow_big {
            return Err(BlockPutError::TooBig);
        }
        let node = self.node.clone();
        let work = move || {
            let cid = name(&data, options)?;
            let size = data.len() as u64;
            let block = Block::trusted(cid, data);
            let writer = node.store().writer();
            if identity_data(&cid).is_none() {
                writer.put(vec![block])?;
            }
            let pin = options.pin.then(|| recursive_pin(cid, ""));
            writer.commit(pin.as_ref().map_or(&[], |pin| pin.as_slice()))?;
            Ok(BlockStat { cid, size })
        };
        // A lane of its own: the writes of many callers then wait for one sync together.
        self.node.pool().operation(work).await?
    }

    /// The bytes of a block.
    pub async fn get(&self, cid: &Cid) -> Result<Bytes, FetchError> {
        self.node.fetch().get(cid).await
    }

    /// The length of a block, without reading it if it is here.
    pub async fn stat(&self, cid: &Cid) -> Result<BlockStat, FetchError> {
        if let Some(known) = known_block(cid) {
            return Ok(BlockStat { cid: *cid, size: known.len() as u64 });
        }
        check_policy(cid)?;
        let (node, cid) = (self.node.clone(), *cid);
        let size = self.node.pool().run(move || node.store().size(cid.hash())).await??;
        let size = match size {
            Some(size) => size,
            None => self.node.fetch().get(&cid).await?.len() as u64,
        };
        Ok(BlockStat { cid, size })
    }

    /// Removes blocks that nothing pins, and says for each what became of it. With `force`, blocks that are not
    /// stored count as removed.
    pub async fn remove(&self, cids: Vec<Cid>, force: bool) -> Result<Vec<BlockRemoved>, WriteError> {
        let node = self.node.clone();
        let work = move || {
            let outcomes = node.store().delete_blocks(&cids)?;
            let removed = outcomes.into_iter().map(|outcome| {
                let forced = |error: &DeleteError| force && matches!(error, DeleteError::NotFound(_));
                BlockRemoved { cid: outcome.cid, error: outcome.result.err().filter(|error| !forced(error)) }
            });
            Ok(removed.collect())
        };
        self.node.pool().operation(work).await.map_err(|_| WriteError::Closed)?
    }
}

/// The CID of a block.
fn name(data: &[u8], options: BlockPutOptions) -> Result<Cid, BlockPutError> {
    if options.hash == HashKind::Identity && data.len() > DIGEST_BYTES_MAX {
        return Err(HashPolicyError::DigestTooLarge.into());
    }
    let mut hash = options.hash.digest(&[data]);
    if let Some(wanted) = options.digest_bytes.filter(|wanted| *wanted != hash.digest().len()) {
        let digest = hash.digest().get(..wanted).ok_or(BlockPutError::DigestLength(wanted))?;
        hash = Multihash::wrap(hash.code(), digest).map_err(|_| BlockPutError::DigestLength(wanted))?;
    }
    let cid = if options.v0 {
        Cid::new_v0(hash).map_err(|_| BlockPutError::NoV0)?
    } else {
        Cid::new_v1(options.codec, hash)
    };
    check_policy(&cid)?;
    Ok(cid)
}
