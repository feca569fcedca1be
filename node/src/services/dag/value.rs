//! `dag put` and `dag get`: values in one codec, out in another.

use bytes::Bytes;
use holdfast_blockstore::WriteError;
use holdfast_dag::block::{BLOCK_BYTES_MAX, Block};
use holdfast_dag::cid::{Cid, CidBuilder, DIGEST_BYTES_MAX, Version, codec, identity_data};
use holdfast_dag::hash::{HashKind, HashPolicyError};
use holdfast_dag::ipld::{self, DecodeError, EncodeError, Value};
use holdfast_dag::path::ContentPath;

use super::Dag;
use crate::fetch::FetchError;
use crate::pool::PoolError;
use crate::services::blocks::BIG_BLOCK;
use crate::services::pins::recursive_pin;
use crate::services::resolve::ResolveError;

/// How a value is read and stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DagPutOptions {
    /// Multicodec code that the input is in. Default: dag-json.
    pub input_codec: u64,
    /// Multicodec code that the block gets. Default: dag-cbor.
    pub store_codec: u64,
    /// Hash function. Default: sha2-256.
    pub hash: HashKind,
    /// Pin the block recursively. Default: no.
    pub pin: bool,
    /// Take blocks over 2 MiB too, which other nodes do not. Default: no.
    pub allow_big: bool,
}

impl Default for DagPutOptions {
    fn default() -> Self {
        Self {
            input_codec: codec::DAG_JSON,
            store_codec: codec::DAG_CBOR,
            hash: HashKind::Sha2_256,
            pin: false,
            allow_big: false,
        }
    }
}

/// Why a value was not stored.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DagPutError {
    /// The input does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The value does not fit the codec.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The block is over 2 MiB.
    #[error("{BIG_BLOCK}")]
    TooBig,
    /// The hash function cannot name it.
    #[error(transparent)]
    Policy(#[from] HashPolicyError),
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] WriteError),
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// Why a value cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DagGetError {
    /// The path leads nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The block could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The block does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The value does not fit the codec that was asked for.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The path does not exist in the block.
    #[error("no link named {name:?} under {cid}")]
    NoLink {
        /// The segment.
        name: String,
        /// The block.
        cid: Box<Cid>,
    },
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl Dag {
    /// Decodes a value and stores it durably as one block.
    pub async fn put(&self, input: Bytes, options: DagPutOptions) -> Result<Cid, DagPutError> {
        let node = self.node.clone();
        let work = move || {
            let encoded = ipld::encode(options.store_codec, &ipld::decode(options.input_codec, &input)?)?;
            if encoded.len() > BLOCK_BYTES_MAX && !options.allow_big {
                return Err(DagPutError::TooBig);
            }
            if options.hash == HashKind::Identity && encoded.len() > DIGEST_BYTES_MAX {
                return Err(HashPolicyError::DigestTooLarge.into());
            }
            let builder = CidBuilder { version: Version::V1, hash: options.hash };
            let cid = builder.cid_of(options.store_codec, &[&encoded]);
            let writer = node.store().writer();
            if identity_data(&cid).is_none() {
                writer.put(vec![Block::trusted(cid, encoded)])?;
            }
            let pin = options.pin.then(|| recursive_pin(cid, ""));
            writer.commit(pin.as_ref().map_or(&[], |pin| pin.as_slice()))?;
            Ok(cid)
        };
        self.node.pool().operation(work).await?
    }

    /// The value at a path, encoded in `output_codec`.
    pub async fn get(&self, path: &ContentPath, output_codec: u64) -> Result<Vec<u8>, DagGetError> {
        let resolved = self.node.resolve(path).await?;
        let (cid, remainder) = (resolved.cid, resolved.remainder);
        let block = self.node.fetch().get(&cid).await?;
        if remainder.is_empty() && cid.codec() == output_codec {
            return Ok(block.to_vec());
        }
        let work = move || {
            let value = ipld::decode(cid.codec(), &block)?;
            let mut at: &Value = &value;
            for name in &remainder {
                let missing = || DagGetError::NoLink { name: name.clone(), cid: Box::new(cid) };
                at = at.get(name).ok_or_else(missing)?;
            }
            Ok(ipld::encode(output_codec, at)?)
        };
        self.node.pool().run(work).await?
    }
}
