//! The repo: `repo stat`, `version`.

use std::path::PathBuf;

use holdfast_blockstore::repo::KUBO_REPO_VERSION;
use holdfast_blockstore::{Loss, ReadError, ScrubState, WriteError};

use crate::node::Node;
use crate::pool::{Cancelled, PoolError};

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

/// How the repo fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepoHealth {
    /// Blocks known to be damaged.
    pub damaged_blocks: u64,
    /// The last background verification, and the one under way.
    pub scrubs: ScrubState,
    /// Acknowledged changes that were lost, until someone takes note of it.
    pub loss: Option<Loss>,
}

/// Why the repo cannot be described or verified.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RepoServiceError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// A damaged block could not be removed.
    #[error(transparent)]
    Write(#[from] WriteError),
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

    /// How the repo fares: what is damaged, what the background verification came to, what was lost.
    pub async fn repo_health(&self) -> Result<RepoHealth, RepoServiceError> {
        let node = self.clone();
        let look = move || -> Result<RepoHealth, ReadError> {
            let store = node.store();
            let damaged_blocks = store.stat()?.damaged_blocks;
            Ok(RepoHealth { damaged_blocks, scrubs: store.scrub_state()?, loss: store.loss()? })
        };
        Ok(self.pool().run(look).await??)
    }
}
