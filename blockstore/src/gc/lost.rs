//! Nodes whose links are lost: their children are found by the `rlinks` rows, or the collection deletes nothing.
//!
//! A node is lost to the walk if it has no links row and its value cannot be read. Its children still know it as their
//! parent, so one pass over `rlinks` finds them. The rows do not say by which codec the node read its children, so each is walked by all codecs that it has
//! links rows for, and kept: that can only keep too much. A node that no row names may have had children
//! that nothing tells about any more; then nothing can be proved to be garbage.

use std::collections::{BTreeSet, HashMap};

use holdfast_dag::cid::{Cid, Multihash, codec};
use holdfast_dag::ipld;

use super::GcError;
use super::walk::{Promise, Walk};
use crate::error::IndexError;
use crate::index::after;
use crate::rows::{decode_meta_key, family, split_links_key, split_rlinks_key};
use crate::sync::read;

/// Nodes that may be lost. With more, nothing is proved.
const LOST_MAX: usize = 100_000;
/// Rows read at a time.
const PAGE: usize = 4096;

/// The nodes, by multihash.
#[derive(Default)]
pub(crate) struct Lost {
    nodes: HashMap<Vec<u8>, Node>,
    /// A node too many.
    overflow: Option<Cid>,
}

struct Node {
    cid: Cid,
    /// What held it, and what was promised of that.
    root: Cid,
    promise: Promise,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    /// Its children were not looked for yet.
    Open,
    /// They are being looked for, and none was found so far.
    Sought,
    /// Some were found.
    Found,
}

impl Lost {
    pub(super) fn insert(&mut self, cid: &Cid, root: &Cid, promise: Promise) {
        let key = cid.hash().to_bytes();
        if self.nodes.len() >= LOST_MAX && !self.nodes.contains_key(&key) {
            self.overflow.get_or_insert(*cid);
            return;
        }
        let node = Node { cid: *cid, root: *root, promise, state: State::Open };
        let known = self.nodes.entry(key).or_insert(node);
        if promise == Promise::Whole {
            known.promise = promise;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.overflow.is_none()
    }

    /// A node of whose children nothing is known, and what held it.
    pub(crate) fn hopeless(&self) -> Option<(Cid, Cid)> {
        let sought = self.nodes.values().find(|node| node.state != State::Found);
        sought.map(|node| (node.cid, node.root)).or(self.overflow.map(|cid| (cid, cid)))
    }

    /// Begins to look for the children of what is open; whether there is any.
    fn seek(&mut self) -> bool {
        let mut any = false;
        for node in self.nodes.values_mut().filter(|node| node.state == State::Open) {
            node.state = State::Sought;
            any = true;
        }
        any
    }

    /// What holds a parent, if it is one that is lost.
    fn meet(&mut self, parent: &[u8]) -> Option<(Cid, Promise)> {
        let node = self.nodes.get_mut(parent)?;
        node.state = State::Found;
        Some((node.root, node.promise))
    }
}

impl Walk<'_> {
    /// Finds and walks the children of lost nodes. Each round is one pass over `rlinks`; a further one is needed only
    /// where a child turns out to be lost itself.
    pub(crate) fn recover_lost(&mut self) -> Result<(), GcError> {
        while self.lost.seek() {
            let mut from = Vec::new();
            loop {
                let rows = self.inner.index.get()?.page(family::RLINKS, &[], &from, PAGE)?;
                for (key, _) in &rows {
                    let Some((child, parent, _)) = split_rlinks_key(key) else { continue };
                    if let Some((root, promise)) = self.lost.meet(parent) {
                        let child = decode_meta_key(child)?;
                        self.child_of_lost(child, &root, promise)?;
                    }
                }
                match rows.last() {
                    Some((key, _)) if rows.len() == PAGE => from = after(key),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Marks a block of which only the hash is known, and walks what it may link to.
    fn child_of_lost(&mut self, hash: Multihash, root: &Cid, promise: Promise) -> Result<(), GcError> {
        let key = hash.to_bytes();
        let raw = Cid::new_v1(codec::RAW, hash);
        self.descend(&raw, root, promise)?;
        let codecs = self.inner.codecs_with_links(&key)?;
        for codec in &codecs {
            self.descend(&Cid::new_v1(*codec, hash), root, promise)?;
        }
        if !codecs.is_empty() {
            return Ok(());
        }
        let value = match self.inner.copies(&key)? {
            Some((place, _)) => self.inner.read_checked(&raw, &key, place),
            None => Ok(None),
        };
        match value {
            // Whatever it is a node of, by any codec. What it seems to link to need not be here.
            Ok(Some(data)) => {
                let known = [codec::DAG_PB, codec::DAG_CBOR, codec::DAG_JSON];
                for codec in known.into_iter().filter(|codec| ipld::has_decoder(*codec)) {
                    for child in ipld::links(codec, &data).unwrap_or_default() {
                        self.descend(&child, root, Promise::BestEffort)?;
                    }
                }
            }
            Ok(None) if promise == Promise::BestEffort => {}
            // It may be a leaf or a node.
            Ok(None) | Err(_) => self.lost.insert(&raw, root, promise),
        }
        Ok(())
    }
}

impl crate::store::Inner {
    /// Codecs for which there is a links row of a block.
    fn codecs_with_links(&self, key: &[u8]) -> Result<BTreeSet<u64>, IndexError> {
        let mut codecs: BTreeSet<u64> = read(&self.pending).codecs(key).collect();
        let rows = self.index.get()?.all(family::LINKS, key)?;
        codecs.extend(rows.iter().filter_map(|(key, _)| split_links_key(key)).map(|(_, codec)| codec));
        Ok(codecs)
    }
}
