//! Changing one entry of a sharded directory: the shards on its way are written anew.

use super::EditError;
use super::overlay::{Link, Overlay, builder_of};
use crate::cid::{Cid, CidBuilder, codec};
use crate::hamt::read::{ShardLevel, check_shard};
use crate::hamt::shard_message;
use crate::import::{DirectoryBuilder, ImportError, ImportParams};
use crate::pb::{put_bytes, put_link};
use crate::read::{ReadError, UnixFsNode};
use crate::unixfs::{Mtime, NodeType};

/// A link of a shard: an entry, or a shard below where the name is empty.
struct ShardLink {
    position: u16,
    name: Vec<u8>,
    link: Link,
}

/// Shards above one entry: at most as many as the smallest fanout takes bits of the hash.
const SHARDS_PER_ENTRY: usize = 22;

/// Shards that are walked before the first entry has to come.
const SHARDS_MIN: usize = 32;

/// What was counted of a sharded directory.
struct Seen {
    estimate: u64,
    /// A stranger's shards may lead to each other without end and without entries.
    shards: usize,
}

/// A shard in memory.
pub(super) struct Shard {
    level: ShardLevel,
    builder: CidBuilder,
    mode: Option<u32>,
    mtime: Option<Mtime>,
    /// By position.
    links: Vec<ShardLink>,
}

impl Shard {
    /// Loads a shard; `parent` is the level that it was reached from.
    pub(super) fn load(
        overlay: &Overlay<'_>,
        cid: &Cid,
        parent: Option<ShardLevel>,
    ) -> Result<Self, EditError> {
        if cid.codec() != codec::DAG_PB {
            return Err(ReadError::inconsistent(cid, "a shard is not dag-pb").into());
        }
        let block = overlay.get(cid)?;
        Self::decode(cid, &UnixFsNode::decode(cid, &block)?, parent)
    }

    /// Takes a decoded shard apart.
    pub(super) fn decode(
        cid: &Cid,
        node: &UnixFsNode<'_>,
        parent: Option<ShardLevel>,
    ) -> Result<Self, EditError> {
        if node.fs.kind != NodeType::HamtShard {
            return Err(ReadError::inconsistent(cid, "a link of a shard leads to no shard").into());
        }
        let level = check_shard(&node.fs, &node.pb.links, parent)
            .map_err(|source| ReadError::Shard { cid: Box::new(*cid), source })?;
        let links = node.pb.links.iter().filter_map(|link| {
            let (prefix, name) = link.name().split_at_checked(level.prefix_len())?;
            let position = u16::from_str_radix(std::str::from_utf8(prefix).ok()?, 16).ok()?;
            let link = Link { cid: link.cid, tsize: link.tsize.unwrap_or(0) };
            Some(ShardLink { position, name: name.to_vec(), link })
        });
        let (mode, mtime) = (node.fs.mode, node.fs.mtime);
        Ok(Self { level, builder: builder_of(cid)?, mode, mtime, links: links.collect() })
    }

    /// Names the shard otherwise from now on; those below it keep their names.
    pub(super) fn set_builder(&mut self, builder: CidBuilder) {
        self.builder = builder;
    }

    /// Looks a name up, here and below.
    pub(super) fn find(&self, overlay: &Overlay<'_>, name: &[u8]) -> Result<Option<Link>, EditError> {
        let position = self.level.position(name);
        let Ok(at) = self.links.binary_search_by_key(&position, |link| link.position) else {
            return Ok(None);
        };
        match self.links.get(at) {
            Some(link) if link.name.is_empty() => {
                Self::load(overlay, &link.link.cid, Some(self.level))?.find(overlay, name)
            }
            Some(link) if link.name == name => Ok(Some(link.link)),
            _ => Ok(None),
        }
    }

    /// Sets an entry, or removes it where `value` is `None`, and gives what was there.
    ///
    /// The shards below that this changes are written; this one is not. Depth is bounded by the bits of the hash.
    pub(super) fn swap(
        &mut self,
        overlay: &mut Overlay<'_>,
        name: &[u8],
        value: Option<Link>,
    ) -> Result<Option<Link>, EditError> {
        let (level, position) = (self.level, self.level.position(name));
        let at = match self.links.binary_search_by_key(&position, |link| link.position) {
            Ok(at) => at,
            Err(at) => {
                if let Some(link) = value {
                    self.links.insert(at, ShardLink { position, name: name.to_vec(), link });
                }
                return Ok(None);
            }
        };
        let Some(slot) = self.links.get_mut(at) else { return Ok(None) };
        if slot.name == name {
            let old = slot.link;
            match value {
                Some(link) => slot.link = link,
                None => drop(self.links.remove(at)),
            }
            return Ok(Some(old));
        }
        if !slot.name.is_empty() {
            // Another entry has the place: both go one level down, as often as it takes to part them.
            let Some(link) = value else { return Ok(None) };
            let mut below = Self::empty(level, self.builder, name)?;
            below.swap(overlay, name, Some(link))?;
            below.swap(overlay, &slot.name, Some(slot.link))?;
            *slot = ShardLink { position, name: Vec::new(), link: below.write(overlay) };
            return Ok(None);
        }
        let mut below = Self::load(overlay, &slot.link.cid, Some(level))?;
        let old = below.swap(overlay, name, value)?;
        match (value, below.links.as_slice()) {
            (None, _) if old.is_none() => {}
            (None, []) => drop(self.links.remove(at)),
            // A shard with one entry left collapses into it.
            (None, [only]) if !only.name.is_empty() => {
                *slot = ShardLink { position, name: only.name.clone(), link: only.link };
            }
            _ => slot.link = below.write(overlay),
        }
        Ok(old)
    }

    /// An empty shard below `parent`.
    fn empty(parent: ShardLevel, builder: CidBuilder, name: &[u8]) -> Result<Self, EditError> {
        let level = parent.below().map_err(|_| {
            EditError::Build(ImportError::TooDeep(String::from_utf8_lossy(name).into_owned()))
        })?;
        Ok(Self { level, builder, mode: None, mtime: None, links: Vec::new() })
    }

    /// Writes the shard.
    pub(super) fn write(&self, overlay: &mut Overlay<'_>) -> Link {
        let width = self.level.prefix_len();
        let (mut block, mut tsize) = (Vec::new(), 0_u64);
        let mut name = Vec::new();
        for link in &self.links {
            name.clear();
            name.extend_from_slice(format!("{:0width$X}", link.position).as_bytes());
            name.extend_from_slice(&link.name);
            put_link(&mut block, &link.link.cid, Some(&name), Some(link.link.tsize));
            tsize = tsize.saturating_add(link.link.tsize);
        }
        let positions = self.links.iter().map(|link| link.position);
        let message = shard_message(self.level.fanout(), positions, self.mode, self.mtime);
        put_bytes(&mut block, 1, &message);
        tsize = tsize.saturating_add(block.len() as u64);
        Link { cid: overlay.add(self.builder, codec::DAG_PB, block), tsize }
    }

    /// Gathers all entries, as long as they are few enough to need no shards; `None` as soon as they are too many.
    pub(super) fn unshard<'p>(
        &self,
        overlay: &Overlay<'_>,
        params: &'p ImportParams,
    ) -> Result<Option<DirectoryBuilder<'p>>, EditError> {
        let meta = crate::import::FileMeta { mode: self.mode, mtime: self.mtime };
        let mut builder = DirectoryBuilder::new(params, meta);
        let mut seen = Seen { estimate: params.directory_base_bytes(meta), shards: 0 };
        let fits = self.gather(overlay, params, &mut seen, &mut builder)?;
        Ok(fits.then_some(builder))
    }

    fn gather(
        &self,
        overlay: &Overlay<'_>,
        params: &ImportParams,
        seen: &mut Seen,
        builder: &mut DirectoryBuilder<'_>,
    ) -> Result<bool, EditError> {
        seen.shards += 1;
        if seen.shards > SHARDS_MIN + SHARDS_PER_ENTRY * builder.len() {
            return Ok(false);
        }
        for link in &self.links {
            let Link { cid, tsize } = link.link;
            if link.name.is_empty() {
                let below = Self::load(overlay, &cid, Some(self.level))?;
                if !below.gather(overlay, params, seen, builder)? {
                    return Ok(false);
                }
                continue;
            }
            seen.estimate += params.entry_bytes(link.name.len(), cid.encoded_len(), tsize);
            builder.add(&link.name, &cid, tsize);
            if params.is_sharded(builder.len(), seen.estimate) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
