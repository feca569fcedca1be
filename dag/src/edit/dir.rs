//! Entries of one directory.
//!
//! A directory in one block is built again from its entries; that is what decides whether it stays in one block. Of
//! a sharded one only the shards on the way to the entry are written again. When an entry is removed, or replaced by
//! something shorter, the entries are counted up to the threshold, and where they no longer need shards the
//! directory goes back into one block. Both are the rules of boxo's `DynamicDirectory`, so the CID depends on the
//! entries alone.

use std::sync::{Mutex, PoisonError};

use super::EditError;
use super::overlay::{Link, Overlay, builder_of};
use super::shard::Shard;
use crate::block::Block;
use crate::cid::{Cid, CidBuilder, codec};
use crate::hash::HashKind;
use crate::import::{BlockSink, DirectoryBuilder, FileMeta, ImportError, ImportParams, SinkError};
use crate::read::{NodeInfo, UnixFsNode};
use crate::unixfs::NodeType;

/// Writes an empty directory.
pub fn empty(overlay: &mut Overlay<'_>, builder: CidBuilder) -> Result<Link, EditError> {
    let params = ImportParams::default();
    write_basic(overlay, &params, builder, |params| Ok(DirectoryBuilder::new(params, FileMeta::default())))
}

/// A link to a node, for which its root block is read.
pub fn link_to(overlay: &Overlay<'_>, cid: &Cid) -> Result<Link, EditError> {
    let block = overlay.get(cid)?;
    Ok(Link { cid: *cid, tsize: NodeInfo::of(cid, &block)?.cumulative_bytes })
}

/// Looks an entry up. Of a sharded directory only the shards on the way are needed.
pub fn lookup(overlay: &Overlay<'_>, dir: &Cid, name: &[u8]) -> Result<Option<Link>, EditError> {
    match Dir::load(overlay, dir)? {
        Dir::Basic { entries, .. } => {
            Ok(entries.iter().find(|(known, _)| known == name).map(|(_, link)| *link))
        }
        Dir::Sharded(shard) => shard.find(overlay, name),
    }
}

/// Sets an entry, new or not, and gives the directory that has it. `params` say when directories are sharded;
/// `builder` is how the result is named, where that is not as before.
pub fn set(
    overlay: &mut Overlay<'_>,
    params: &ImportParams,
    dir: &Cid,
    builder: Option<CidBuilder>,
    name: &[u8],
    link: Link,
) -> Result<Link, EditError> {
    if name.is_empty() {
        return Err(EditError::EmptyName);
    }
    match Dir::load(overlay, dir)? {
        Dir::Basic { entries, meta } => {
            let named = builder.map_or_else(|| builder_of(dir), Ok)?;
            write_basic(overlay, params, named, |params| {
                let mut all = DirectoryBuilder::new(params, meta);
                for (name, link) in &entries {
                    all.add(name, &link.cid, link.tsize);
                }
                all.add(name, &link.cid, link.tsize);
                Ok(all)
            })
        }
        Dir::Sharded(mut shard) => {
            if let Some(builder) = builder {
                shard.set_builder(builder);
            }
            let bytes = |link: &Link| params.entry_bytes(name.len(), link.cid.encoded_len(), link.tsize);
            let old = shard.swap(overlay, name, Some(link))?;
            let shrinks = old.is_some_and(|old| bytes(&link) < bytes(&old));
            write_sharded(overlay, params, &shard, builder.map_or_else(|| builder_of(dir), Ok)?, shrinks)
        }
    }
}

/// Removes an entry, and gives the directory without it; `None` if there is no such entry.
pub fn remove(
    overlay: &mut Overlay<'_>,
    params: &ImportParams,
    dir: &Cid,
    builder: Option<CidBuilder>,
    name: &[u8],
) -> Result<Option<Link>, EditError> {
    match Dir::load(overlay, dir)? {
        Dir::Basic { entries, meta } => {
            if !entries.iter().any(|(known, _)| known == name) {
                return Ok(None);
            }
            let named = builder.map_or_else(|| builder_of(dir), Ok)?;
            let written = write_basic(overlay, params, named, |params| {
                let mut rest = DirectoryBuilder::new(params, meta);
                for (name, link) in entries.iter().filter(|(known, _)| known != name) {
                    rest.add(name, &link.cid, link.tsize);
                }
                Ok(rest)
            })?;
            Ok(Some(written))
        }
        Dir::Sharded(mut shard) => {
            if let Some(builder) = builder {
                shard.set_builder(builder);
            }
            if name.is_empty() || shard.swap(overlay, name, None)?.is_none() {
                return Ok(None);
            }
            let named = builder.map_or_else(|| builder_of(dir), Ok)?;
            write_sharded(overlay, params, &shard, named, true).map(Some)
        }
    }
}

/// Gives an entry another name, in place of whatever had that name; `None` if there is no such entry.
pub fn rename(
    overlay: &mut Overlay<'_>,
    params: &ImportParams,
    dir: &Cid,
    from: &[u8],
    to: &[u8],
) -> Result<Option<Link>, EditError> {
    let Some(link) = lookup(overlay, dir, from)? else { return Ok(None) };
    let Some(without) = remove(overlay, params, dir, None, from)? else { return Ok(None) };
    set(overlay, params, &without.cid, None, to, link).map(Some)
}

/// A directory in memory: all of it, or its topmost shard.
enum Dir {
    Basic { entries: Vec<(Vec<u8>, Link)>, meta: FileMeta },
    Sharded(Shard),
}

impl Dir {
    fn load(overlay: &Overlay<'_>, cid: &Cid) -> Result<Self, EditError> {
        let none = || EditError::NotADirectory { cid: Box::new(*cid) };
        if cid.codec() != codec::DAG_PB {
            return Err(none());
        }
        let block = overlay.get(cid)?;
        let node = UnixFsNode::decode(cid, &block)?;
        match node.fs.kind {
            NodeType::HamtShard => Ok(Self::Sharded(Shard::decode(cid, &node, None)?)),
            NodeType::Directory => {
                let meta = FileMeta { mode: node.fs.mode, mtime: node.fs.mtime };
                let entries = node.pb.links.iter().map(|link| {
                    (link.name().to_vec(), Link { cid: link.cid, tsize: link.tsize.unwrap_or(0) })
                });
                Ok(Self::Basic { entries: entries.collect(), meta })
            }
            _ => Err(none()),
        }
    }
}

/// Writes a changed topmost shard, or the directory in one block where that does it now.
fn write_sharded(
    overlay: &mut Overlay<'_>,
    params: &ImportParams,
    shard: &Shard,
    builder: CidBuilder,
    shrinks: bool,
) -> Result<Link, EditError> {
    let params = &ImportParams { cid: builder, inline_bytes_max: None, ..params.clone() };
    if shrinks
        && params.may_unshard()
        && let Some(all) = shard.unshard(overlay, params)?
    {
        return finish(overlay, all);
    }
    Ok(shard.write(overlay))
}

/// Builds a directory at once. One that is too long for its identity CID is named by sha2-256 instead.
fn write_basic<F>(
    overlay: &mut Overlay<'_>,
    params: &ImportParams,
    builder: CidBuilder,
    gather: F,
) -> Result<Link, EditError>
where
    F: for<'p> Fn(&'p ImportParams) -> Result<DirectoryBuilder<'p>, EditError>,
{
    let params = ImportParams { cid: builder, inline_bytes_max: None, ..params.clone() };
    match finish(overlay, gather(&params)?) {
        Err(EditError::Build(ImportError::Hash(_))) if builder.hash == HashKind::Identity => {
            let cid = CidBuilder { hash: HashKind::Sha2_256, ..builder };
            let params = ImportParams { cid, ..params };
            finish(overlay, gather(&params)?)
        }
        written => written,
    }
}

fn finish(overlay: &mut Overlay<'_>, builder: DirectoryBuilder<'_>) -> Result<Link, EditError> {
    let gathered = Gathered::default();
    let built = builder.finish(&gathered)?;
    for block in gathered.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
        overlay.push(block);
    }
    Ok(Link { cid: built.cid, tsize: built.tsize })
}

/// Keeps what a builder writes.
#[derive(Default)]
struct Gathered(Mutex<Vec<Block>>);

impl BlockSink for Gathered {
    fn put(&self, blocks: Vec<Block>) -> Result<(), SinkError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(blocks);
        Ok(())
    }
}
