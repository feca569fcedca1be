//! From a content path to the block in which it ends. A path that begins with a name is followed to a CID first, so that
//! every command that takes a path takes names.

use futures_util::StreamExt as _;
use holdfast_dag::cid::Cid;
use holdfast_dag::path::ContentPath;
use holdfast_dag::read::{ReadError, Resolved, Resolver};

use crate::fetch::{FetchError, WalkError};
use crate::node::Node;
use crate::services::names::{NameResolveError, ResolveDepth};

/// Why a path leads nowhere.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// It begins with a name that leads nowhere.
    #[error(transparent)]
    Name(Box<NameResolveError>),
    /// It ends inside a block, where the caller needs a whole one.
    #[error("{path}: path leads into a block, not to one")]
    InsideBlock {
        /// The path.
        path: String,
    },
    /// A block on the way could not be had, or has no such child.
    #[error(transparent)]
    Walk(#[from] WalkError<ReadError>),
}

impl From<NameResolveError> for ResolveError {
    fn from(error: NameResolveError) -> Self {
        Self::Name(Box::new(error))
    }
}

impl From<FetchError> for ResolveError {
    fn from(error: FetchError) -> Self {
        Self::Walk(error.into())
    }
}

impl From<ReadError> for ResolveError {
    fn from(error: ReadError) -> Self {
        Self::Walk(WalkError::Walker(error))
    }
}

impl Node {
    /// The block in which a path ends, and what of the path lies inside it.
    pub async fn resolve(&self, path: &ContentPath) -> Result<Resolved, ResolveError> {
        let path = self.names().resolve(path, ResolveDepth::ToTheEnd).await?.path;
        let Some((namespace, root)) = path.immutable() else {
            // Names were followed to their end.
            return Err(NameResolveError::Recursion.into());
        };
        let resolver = Resolver::new(namespace, root, path.segments().iter().cloned());
        match self.fetch().walk(resolver, 1).next().await {
            Some(resolved) => Ok(resolved?),
            None => Ok(Resolved { cid: root, remainder: Vec::new() }),
        }
    }

    /// The block that a path names; fails if the path ends inside a block.
    pub async fn resolve_block(&self, path: &ContentPath) -> Result<Cid, ResolveError> {
        let resolved = self.resolve(path).await?;
        if resolved.remainder.is_empty() {
            Ok(resolved.cid)
        } else {
            Err(ResolveError::InsideBlock { path: path.to_string() })
        }
    }
}
