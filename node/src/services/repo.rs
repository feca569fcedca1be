//! The repo: `repo stat`, `version`, `verify`.

use std::ops::ControlFlow;
use std::path::PathBuf;

use holdfast_blockstore::repo::KUBO_REPO_VERSION;
use holdfast_blockstore::{ReadError, VerifyEvent};
use holdfast_dag::cid::{Cid, codec};

use crate::node::Node;
use crate::pool::{Cancelled, OperationStream, PoolError};

/// What is in the repo, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoStat {
    /// Bytes that it takes on disk.
    pub repo_size: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Bytes of the blocks.
    pub block_bytes: u64,
    /// Blocks known to be damaged.
    pub damaged_blocks: u64,
    /// The folder.
    pub path: PathBuf,
}

/// Why the repo cannot be described or verified.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RepoServiceError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// The consumer went away.
    #[error("repo verify was cancelled")]
    Cancelled,
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<Cancelled> for RepoServiceError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// A block that was verified.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Blocks looked at so far, this one included.
    pub processed: u64,
    /// The block, under a CIDv1 of codec raw.
    pub cid: Cid,
    /// What is wrong with it.
    pub damage: Option<String>,
}

/// The course of a verification: one value a block.
pub type VerifyStream = OperationStream<Verified, RepoServiceError>;

/// The version of the repo format that other programs are told: Kubo's number.
pub fn repo_version() -> u32 {
    KUBO_REPO_VERSION
}

impl Node {
    /// What is in the repo. The time does not grow with the number of blocks.
    pub async fn repo_stat(&self) -> Result<RepoStat, RepoServiceError> {
        let node = self.clone();
        let stat = self.pool().run(move || node.store().stat()).await??;
        Ok(RepoStat {
            repo_size: stat.disk_bytes,
            blocks: stat.blocks,
            block_bytes: stat.value_bytes,
            damaged_blocks: stat.damaged_blocks,
            path: self.repo_path().to_owned(),
        })
    }

    /// Reads and hashes every block. Damaged blocks are remembered: adding them again repairs them.
    pub fn repo_verify(&self) -> VerifyStream {
        let node = self.clone();
        self.pool().stream(256, move |output| {
            let mut processed = 0;
            node.store().verify(&mut |event| {
                processed += 1;
                let (hash, damage) = match event {
                    VerifyEvent::Sound(hash) => (hash, None),
                    VerifyEvent::Damaged(hash, error) => (hash, Some(error.to_string())),
                };
                let verified = Verified { processed, cid: Cid::new_v1(codec::RAW, hash), damage };
                match output.send(verified) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(Cancelled) => ControlFlow::Break(()),
                }
            })?;
            if output.is_cancelled() { Err(RepoServiceError::Cancelled) } else { Ok(()) }
        })
    }
}
