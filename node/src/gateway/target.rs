//! Where a path leads.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use holdfast_dag::cid::Cid;
use holdfast_dag::path::ContentPath;
use holdfast_dag::read::{ReadError, Resolved, Resolver};
use holdfast_dag::walk::{Step, Walker};
use http::StatusCode;

use super::ask::Ask;
use super::failure::Failure;
use crate::services::names::ResolveDepth;

/// The end of a path, and the way there.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The block in which the path ends.
    pub(super) cid: Cid,
    /// What of the path lies inside that block.
    pub(super) remainder: Vec<String>,
    /// The nodes on the way, the root first and `cid` last.
    pub(super) roots: Vec<Cid>,
    /// The blocks that were read on the way, shards of directories too.
    pub(super) blocks: Vec<Cid>,
    /// How long the names on the way may be relied on.
    pub(super) ttl: Option<Duration>,
    /// The path without names.
    pub(super) path: ContentPath,
}

impl Ask {
    /// Follows the path of the request.
    pub(super) async fn target(&self) -> Result<Target, Failure> {
        let names = self.node.names();
        let resolution = names.resolve(&self.path, ResolveDepth::ToTheEnd).await;
        let resolution = resolution
            .map_err(|error| Failure::from(error).context(format_args!("failed to resolve {}", self.path)))?;
        let path = resolution.path;
        let segments = path.segments().to_vec();
        let mut target = self.follow(&path, segments).await?;
        target.ttl = resolution.ttl;
        Ok(target)
    }

    /// What an entry of a directory leads to; fails with 404 where there is none.
    pub(super) async fn below(&self, target: &Target, name: &str) -> Result<Target, Failure> {
        let path = ContentPath::of_cid(target.cid);
        self.follow(&path, vec![name.to_owned()]).await
    }

    async fn follow(&self, path: &ContentPath, segments: Vec<String>) -> Result<Target, Failure> {
        let Some((namespace, root)) = path.immutable() else {
            return Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the name leads to another name"));
        };
        let resolver = Resolver::new(namespace, root, segments);
        let mut walk = self.fetch.walk(Traced { resolver, blocks: Vec::new() }, 1);
        let resolved = walk.next().await.unwrap_or(Ok(Resolved { cid: root, remainder: Vec::new() }));
        let Resolved { cid, remainder } = resolved
            .map_err(|error| Failure::from(error).context(format_args!("failed to resolve {}", self.path)))?;
        let traced = walk.walker();
        let (roots, blocks) = (traced.resolver.trail().to_vec(), traced.blocks.clone());
        Ok(Target { cid, remainder, roots, blocks, ttl: None, path: path.clone() })
    }
}

/// A resolver that keeps in mind what it read.
struct Traced {
    resolver: Resolver,
    blocks: Vec<Cid>,
}

impl Walker for Traced {
    type Item = Resolved;
    type Error = ReadError;

    fn wants(&mut self, window_bytes: u64, wants: &mut Vec<Cid>) {
        self.resolver.wants(window_bytes, wants);
    }

    fn supply(&mut self, cid: &Cid, block: Bytes) {
        self.blocks.push(*cid);
        self.resolver.supply(cid, block);
    }

    fn step(&mut self) -> Result<Step<Resolved>, ReadError> {
        self.resolver.step()
    }
}
