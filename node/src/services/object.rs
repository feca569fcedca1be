//! `object stat`: what a dag-pb node is made of.

use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::pb::{self, PbError};

use crate::fetch::FetchError;
use crate::node::Node;

/// What a node is made of, in bytes where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectStat {
    /// The node.
    pub cid: Cid,
    /// Number of its links.
    pub links: u64,
    /// Its block.
    pub block_size: u64,
    /// Its block without the data.
    pub links_size: u64,
    /// Its data.
    pub data_size: u64,
    /// Its block and everything below it, as the links claim.
    pub cumulative_size: u64,
}

/// Why a node cannot be described.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectStatError {
    /// It could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is not dag-pb.
    #[error(transparent)]
    Pb(#[from] PbError),
}

impl Node {
    /// Describes a block: one of another codec than dag-pb is all data.
    pub async fn object_stat(&self, cid: &Cid) -> Result<ObjectStat, ObjectStatError> {
        let block = self.fetch().get(cid).await?;
        let block_size = block.len() as u64;
        let (mut links, mut data_size, mut cumulative_size) = (0, block_size, block_size);
        if cid.codec() == codec::DAG_PB {
            let node = pb::decode(&block)?;
            links = node.links.len() as u64;
            data_size = node.data.map_or(0, <[u8]>::len) as u64;
            let sizes = node.links.iter().map(|link| link.tsize.unwrap_or(0));
            cumulative_size = sizes.fold(block_size, u64::saturating_add);
        }
        let links_size = block_size - data_size;
        Ok(ObjectStat { cid: *cid, links, block_size, links_size, data_size, cumulative_size })
    }
}
