//! Through which recursive pin a CID is pinned, exactly: by the links as they are written.
//!
//! [`Pins::holder`] asks for a block, whatever its CID, because deletion goes by blocks. This asks for a CID: the v1 of a
//! block that a pinned DAG links to as v0 is not pinned, and a parent counts only under the codec by which it is reached.

use std::collections::HashSet;

use holdfast_dag::cid::{Cid, Multihash, Version, identity_data};

use crate::error::ReadError;
use crate::index::{Index, after};
use crate::pins::{Pins, recursive_pin};
use crate::rows::{family, malformed, split_links_key};
use crate::segment::multihash_from;
use crate::sync::read;

/// Distinct ancestors that a climb visits before it gives up: about 150 bytes each.
pub const ANCESTORS_MAX: usize = 200_000;

/// Parents read at a time.
const PAGE: usize = 1024;

/// What a climb found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Through {
    /// This recursive pin holds it.
    Pin(Box<Cid>),
    /// No recursive pin holds it.
    None,
    /// More ancestors than [`ANCESTORS_MAX`], or a CID that carries its own data, whose parents are not known: only
    /// walking what is pinned can tell.
    Unknown,
}

/// A block on the way up: how its parents must name it.
#[derive(Clone)]
struct Step {
    hash: Multihash,
    codec: u64,
    /// The version that must be named too: of the CID that was asked for only.
    version: Option<Version>,
}

impl Step {
    /// The CIDs by which a parent may name it.
    fn names(&self) -> impl Iterator<Item = Cid> + '_ {
        let versions = [Version::V0, Version::V1].into_iter();
        let wanted = versions.filter(|version| self.version.is_none_or(|only| only == *version));
        wanted.filter_map(|version| Cid::new(version, self.codec, self.hash).ok())
    }
}

impl Pins<'_> {
    /// Through which recursive pin above it a CID is pinned. Its own pins do not count. The cost is that of climbing to
    /// the nearest pinned root, one lookup for each distinct ancestor on the way.
    pub fn through(&self, cid: &Cid) -> Result<Through, ReadError> {
        if identity_data(cid).is_some() {
            return Ok(Through::Unknown);
        }
        let inner = self.store.inner();
        // Before the index: what moves there meanwhile is then seen at least once.
        let pending = read(&inner.pending).parents();
        let index = inner.index.get()?;
        let mut seen: HashSet<Box<[u8]>> = HashSet::new();
        let mut open = vec![Step { hash: *cid.hash(), codec: cid.codec(), version: Some(cid.version()) }];
        while let Some(step) = open.pop() {
            let child = step.hash.to_bytes();
            for parent in pending.get(&child).into_iter().flatten() {
                if let Some(found) = self.climb(&index, &step, parent, &mut seen, &mut open)? {
                    return Ok(found);
                }
            }
            let mut from = child.clone();
            loop {
                let rows = index.page(family::RLINKS, &child, &from, PAGE)?;
                for (key, _) in &rows {
                    let parent = key.get(child.len()..).unwrap_or_default();
                    if let Some(found) = self.climb(&index, &step, parent, &mut seen, &mut open)? {
                        return Ok(found);
                    }
                }
                match rows.last() {
                    Some((key, _)) if rows.len() == PAGE => from = after(key),
                    _ => break,
                }
            }
        }
        Ok(Through::None)
    }

    /// Looks at one parent: is it pinned, and does it name the child as it must?
    fn climb(
        &self,
        index: &Index,
        step: &Step,
        parent: &[u8],
        seen: &mut HashSet<Box<[u8]>>,
        open: &mut Vec<Step>,
    ) -> Result<Option<Through>, ReadError> {
        // A parent that does not name this child as it must may name another one so: it is not seen yet then.
        if seen.contains(parent) {
            return Ok(None);
        }
        let bad = || malformed(family::RLINKS, "bad key");
        let (above, codec) = split_links_key(parent).ok_or_else(bad)?;
        if !self.links_to(above, codec, step)? {
            return Ok(None);
        }
        if let Some(root) = recursive_pin(index, above, codec)? {
            return Ok(Some(Through::Pin(Box::new(root))));
        }
        seen.insert(parent.into());
        if seen.len() > ANCESTORS_MAX {
            return Ok(Some(Through::Unknown));
        }
        let hash = multihash_from(above).ok_or_else(bad)?;
        open.push(Step { hash, codec, version: None });
        Ok(None)
    }

    /// Whether a parent names the child by one of its CIDs. Children of identity children count as the parent's own,
    /// and are rare: where the parent names none of them itself, such a child is taken at its row's word.
    fn links_to(&self, above: &[u8], codec: u64, step: &Step) -> Result<bool, ReadError> {
        let Some(links) = self.store.links_row_of(above, codec)? else { return Ok(false) };
        for name in step.names() {
            if links.contains(&name)? {
                return Ok(true);
            }
        }
        let mut inlined = false;
        for link in links {
            let link = link?;
            inlined |= identity_data(&link).is_some();
            if link.hash() == &step.hash {
                return Ok(false);
            }
        }
        Ok(inlined)
    }
}
