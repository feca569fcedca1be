//! How a CID is pinned: by itself, or through which recursive pin, exactly, by the links as they are written.
//!
//! All of it is read as it was at one moment, so that a pin which is replaced by another is met as the one or the other.
//! [`Pins::holder`] asks for a block, whatever its CID, because deletion goes by blocks. This asks for a CID: the v1 of a
//! block that a pinned DAG links to as v0 is not pinned, and a parent counts only under the codec by which it is reached.

use std::collections::HashSet;

use holdfast_dag::cid::{Cid, Multihash, Version, identity_data};

use crate::batch::Links;
use crate::error::ReadError;
use crate::index::{View, after};
use crate::links::children;
use crate::pins::{PinKind, Pins, PinsOf};
use crate::rows::{decode_pin, decode_pin_key, family, malformed, pin_key, pin_prefix, split_links_key};
use crate::segment::multihash_from;

/// Distinct ancestors that a climb visits before it gives up: about 150 bytes each.
pub const ANCESTORS_MAX: usize = 200_000;

/// Parents read at a time.
const PAGE: usize = 1024;
/// First byte of an identity multihash.
const IDENTITY: u8 = 0;

/// How a CID is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The pins on the CID itself.
    pub own: PinsOf,
    /// The recursive pin above it, if that was asked for.
    pub through: Option<Through>,
}

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
    /// The pins on a CID and, where `climb` says so of them, the recursive pin above it: all as of one moment. The cost is
    /// that of climbing to the nearest pinned root, some lookups for each distinct ancestor on the way.
    pub fn standing(&self, cid: &Cid, climb: impl FnOnce(&PinsOf) -> bool) -> Result<Standing, ReadError> {
        let index = self.store.inner().index.get()?;
        let view = index.view();
        let own = |kind| -> Result<_, ReadError> {
            let key = pin_key(kind, cid);
            Ok(view.get(family::PINS, &key)?.map(|row| decode_pin(&key, &row)).transpose()?)
        };
        let own = PinsOf { recursive: own(PinKind::Recursive)?, direct: own(PinKind::Direct)? };
        let through = if climb(&own) { Some(through(&view, cid)?) } else { None };
        Ok(Standing { own, through })
    }
}

/// Climbs from a CID to the nearest recursive pin above it. Rows that are still on their way into the index are not
/// looked at: those of what is pinned are there before the pin is.
fn through(view: &View<'_>, cid: &Cid) -> Result<Through, ReadError> {
    if identity_data(cid).is_some() {
        return Ok(Through::Unknown);
    }
    let mut climb = Climb { view, seen: HashSet::new(), open: Vec::new() };
    climb.open.push(Step { hash: *cid.hash(), codec: cid.codec(), version: Some(cid.version()) });
    while let Some(step) = climb.open.pop() {
        let child = step.hash.to_bytes();
        let mut from = child.clone();
        loop {
            let rows = view.page(family::RLINKS, &child, &from, PAGE)?;
            for (key, _) in &rows {
                let parent = key.get(child.len()..).unwrap_or_default();
                if let Some(found) = climb.look_at(&step, parent)? {
                    return Ok(found);
                }
            }
            match rows.last() {
                Some((key, _)) if rows.len() == PAGE => from = after(key),
                _ => break,
            }
        }
    }
    // No row leads up to a root that lies in its own CID.
    Ok(if has_inlined_roots(view)? { Through::Unknown } else { Through::None })
}

/// Whether a recursive pin is on an identity CID that has links.
fn has_inlined_roots(view: &View<'_>) -> Result<bool, ReadError> {
    let rows = view.page(family::PINS, &pin_prefix(PinKind::Recursive, &[IDENTITY]), &[], usize::MAX)?;
    for (key, _) in rows {
        let (_, root) = decode_pin_key(&key)?;
        let data = identity_data(&root).unwrap_or_default();
        if children(root.codec(), data).is_some_and(|children| !children.is_empty()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A climb: what was seen, and what is to be climbed from.
struct Climb<'a> {
    view: &'a View<'a>,
    seen: HashSet<Box<[u8]>>,
    open: Vec<Step>,
}

impl Climb<'_> {
    /// Looks at one parent: does it name the child as it must, and is it pinned?
    fn look_at(&mut self, step: &Step, parent: &[u8]) -> Result<Option<Through>, ReadError> {
        if self.seen.contains(parent) {
            return Ok(None);
        }
        let bad = || malformed(family::RLINKS, "bad key");
        let (above, codec) = split_links_key(parent).ok_or_else(bad)?;
        // One that does not name this child so may name another: it is not seen yet then.
        if !self.names(parent, step)? {
            return Ok(None);
        }
        for (key, _) in
            self.view.page(family::PINS, &pin_prefix(PinKind::Recursive, above), &[], usize::MAX)?
        {
            let (_, root) = decode_pin_key(&key)?;
            // Only a pin that reads the block by this codec holds its children.
            if root.codec() == codec {
                return Ok(Some(Through::Pin(Box::new(root))));
            }
        }
        if self.seen.len() >= ANCESTORS_MAX {
            return Ok(Some(Through::Unknown));
        }
        self.seen.insert(parent.into());
        let hash = multihash_from(above).ok_or_else(bad)?;
        self.open.push(Step { hash, codec, version: None });
        Ok(None)
    }

    /// Whether a parent, by its key among the links, names the child by one of its CIDs. Children of identity children
    /// count as the parent's own, and are rare: where the parent names none of them itself, its row is taken at its word.
    fn names(&self, parent: &[u8], step: &Step) -> Result<bool, ReadError> {
        let Some(row) = self.view.get(family::LINKS, parent)? else { return Ok(false) };
        let links = Links::of_row(row)?;
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
