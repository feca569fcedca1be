//! Through what a block is held: climbing from it to a root by the `rlinks` rows.
//!
//! The climb is exact because of two things. It reads pins and links as they were in one moment, so that a pin which is
//! replaced by another is met as the one or as the other. And who asks in order to delete has looked before that moment
//! whether a writer in flight protects the block, with the block's stripe held ever since (see `protect`).

use std::collections::HashSet;

use holdfast_dag::cid::{Cid, codec, identity_data};

use crate::error::IndexError;
use crate::index::{View, after};
use crate::links::children;
use crate::pending::Parents;
use crate::pins::{PinKind, PinnedBy};
use crate::rows::{decode_pin_key, family, links_key, malformed, pin_prefix, split_links_key};

/// Rows read at a time.
const PAGE: usize = 1024;
/// Ancestors that a climb visits before it gives up: some 100 bytes of memory and 20 µs each. Beyond, walking down from the
/// pinned roots is asked, whose memory does not grow with what is not pinned.
pub(crate) const ANCESTORS_MAX: usize = 100_000;
/// Ancestors that a climb visits while locks are held.
pub(crate) const ANCESTORS_NEAR: usize = 256;
/// First byte of an identity multihash.
const IDENTITY: u8 = 0;

/// What a climb found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A pin.
    Pinned(PinnedBy),
    /// A root that is no pin: of the mutable file system, or held by hand.
    Kept,
    /// Nothing above the block is a root.
    Nothing,
    /// There are more ancestors than were to be visited, and no root among those that were.
    TooMany,
}

/// Roots besides the pins that the index lists.
#[derive(Default)]
pub(crate) struct Kept {
    /// Multihashes of the roots themselves.
    blocks: HashSet<Vec<u8>>,
    /// Multihash and codec by which they are walked.
    nodes: HashSet<Vec<u8>>,
}

impl Kept {
    /// Adds a root. One with an identity hash is not stored: the children that it carries are roots instead.
    pub(crate) fn insert(&mut self, cid: &Cid) {
        let mut open = vec![*cid];
        while let Some(cid) = open.pop() {
            if let Some(data) = identity_data(&cid) {
                open.extend(children(cid.codec(), data).unwrap_or_default());
                continue;
            }
            let key = cid.hash().to_bytes();
            if cid.codec() != codec::RAW {
                self.nodes.insert(links_key(&key, cid.codec()));
            }
            self.blocks.insert(key);
        }
    }
}

/// Climbs from a block to a root: first its own pins, then recursive ones on its parents, and theirs. `pending` are
/// parents that the index does not know yet; they have to be read before the view is taken, so that none is missed on
/// its way.
pub(crate) fn holder(
    view: &View<'_>,
    pending: &Parents,
    kept: &Kept,
    multihash: &[u8],
    ancestors_max: usize,
) -> Result<Holder, IndexError> {
    for kind in [PinKind::Recursive, PinKind::Direct] {
        if !view.page(family::PINS, &pin_prefix(kind, multihash), &[], 1)?.is_empty() {
            return Ok(Holder::Pinned(PinnedBy::Pin(kind)));
        }
    }
    if kept.blocks.contains(multihash) {
        return Ok(Holder::Kept);
    }
    let carried = Carried::read(view)?;
    if let Some(root) = carried.root_of_block(multihash) {
        return Ok(Holder::Pinned(PinnedBy::Via(Box::new(root))));
    }
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    let mut open = vec![multihash.to_vec()];
    while let Some(child) = open.pop() {
        let mut fresh = pending.get(&child);
        let mut from = child.clone();
        loop {
            let rows = view.page(family::RLINKS, &child, &from, PAGE)?;
            let indexed = rows.iter().map(|(key, _)| key.get(child.len()..).unwrap_or_default());
            for parent in fresh.take().into_iter().flatten().map(Vec::as_slice).chain(indexed) {
                let bad = malformed(family::RLINKS, "bad key");
                let (above, codec) = split_links_key(parent).ok_or(bad)?;
                if seen.contains(parent) {
                    continue;
                }
                if seen.len() >= ancestors_max {
                    return Ok(Holder::TooMany);
                }
                if let Some(root) =
                    recursive_pin(view, above, codec)?.or_else(|| carried.root_of_node(parent))
                {
                    return Ok(Holder::Pinned(PinnedBy::Via(Box::new(root))));
                }
                if kept.nodes.contains(parent) {
                    return Ok(Holder::Kept);
                }
                seen.insert(parent.to_vec());
                open.push(above.to_vec());
            }
            match rows.last() {
                Some((key, _)) if rows.len() == PAGE => from = after(key),
                _ => break,
            }
        }
    }
    Ok(Holder::Nothing)
}

/// A recursive pin that reads this block by this codec: only then does it hold the block's children.
fn recursive_pin(view: &View<'_>, multihash: &[u8], codec: u64) -> Result<Option<Cid>, IndexError> {
    for (key, _) in view.page(family::PINS, &pin_prefix(PinKind::Recursive, multihash), &[], usize::MAX)? {
        let (_, cid) = decode_pin_key(&key)?;
        if cid.codec() == codec {
            return Ok(Some(cid));
        }
    }
    Ok(None)
}

/// What is pinned by recursive pins on identity CIDs. They are not stored, so that no `rlinks` row leads to them.
struct Carried(Vec<(Cid, Kept)>);

impl Carried {
    fn read(view: &View<'_>) -> Result<Self, IndexError> {
        let rows = view.page(family::PINS, &pin_prefix(PinKind::Recursive, &[IDENTITY]), &[], usize::MAX)?;
        let mut all = Vec::with_capacity(rows.len());
        for (key, _) in rows {
            let (_, root) = decode_pin_key(&key)?;
            let mut kept = Kept::default();
            kept.insert(&root);
            all.push((root, kept));
        }
        Ok(Self(all))
    }

    fn root_of_block(&self, multihash: &[u8]) -> Option<Cid> {
        self.0.iter().find(|(_, kept)| kept.blocks.contains(multihash)).map(|(root, _)| *root)
    }

    fn root_of_node(&self, node: &[u8]) -> Option<Cid> {
        self.0.iter().find(|(_, kept)| kept.nodes.contains(node)).map(|(root, _)| *root)
    }
}
