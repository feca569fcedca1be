//! Entries at the end of a path: the directories above are renewed, up to the root.

use super::overlay::{Link, Overlay};
use super::{EditError, dir};
use crate::cid::{Cid, codec};
use crate::import::ImportParams;
use crate::read::UnixFsNode;
use crate::unixfs::NodeType;

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// To the root itself: a path without segments.
    Root(Cid),
    /// To an entry.
    Entry(Link),
    /// Nowhere: the directory that this many segments lead to has no entry by the next name.
    Absent(usize),
    /// Nowhere: what this many segments lead to is no directory, and has no entries.
    NotADirectory(usize),
}

impl Found {
    /// The entry, if it is one.
    pub fn link(&self) -> Option<Link> {
        match self {
            Self::Entry(link) => Some(*link),
            _ => None,
        }
    }

    /// What the path leads to, if to anything.
    pub fn cid(&self) -> Option<Cid> {
        match self {
            Self::Root(cid) => Some(*cid),
            Self::Entry(link) => Some(link.cid),
            Self::Absent(_) | Self::NotADirectory(_) => None,
        }
    }
}

/// A tree of directories that is being changed. Each change gives a new root; nothing is lost if one fails.
pub struct Tree<'o, 's> {
    overlay: &'o mut Overlay<'s>,
    params: &'o ImportParams,
    root: Cid,
}

impl<'o, 's> Tree<'o, 's> {
    /// The tree with this root. `params` say when directories are sharded, and how the root is named; the directories
    /// below keep the kind of CID that they have.
    pub fn new(overlay: &'o mut Overlay<'s>, params: &'o ImportParams, root: Cid) -> Self {
        Self { overlay, params, root }
    }

    /// The root as it is now.
    pub fn root(&self) -> Cid {
        self.root
    }

    /// Replaces the root as a whole.
    pub fn set_root(&mut self, root: Cid) {
        self.root = root;
    }

    /// New blocks and those that exist.
    pub fn overlay(&mut self) -> &mut Overlay<'s> {
        self.overlay
    }

    /// Whether a node is a directory, for which its block is read.
    pub fn is_directory(&self, cid: &Cid) -> Result<bool, EditError> {
        if cid.codec() != codec::DAG_PB {
            return Ok(false);
        }
        let block = self.overlay.get(cid)?;
        let kind = UnixFsNode::decode(cid, &block)?.fs.kind;
        Ok(matches!(kind, NodeType::Directory | NodeType::HamtShard))
    }

    /// Follows a path. What it ends in is not read.
    pub fn lookup(&self, path: &[impl AsRef<[u8]>]) -> Result<Found, EditError> {
        let mut found = Found::Root(self.root);
        for (depth, name) in path.iter().enumerate() {
            let Some(dir) = found.cid() else { break };
            if depth > 0 && !self.is_directory(&dir)? {
                return Ok(Found::NotADirectory(depth));
            }
            found = match dir::lookup(self.overlay, &dir, name.as_ref())? {
                Some(link) => Found::Entry(link),
                None => return Ok(Found::Absent(depth)),
            };
        }
        Ok(found)
    }

    /// Puts a node at the end of a path, in place of whatever is there. The directories on the way must exist.
    pub fn put(&mut self, path: &[impl AsRef<[u8]>], link: Link) -> Result<(), EditError> {
        self.change(path, Some(link)).map(drop)
    }

    /// Removes the entry at the end of a path; whether there was one.
    pub fn remove(&mut self, path: &[impl AsRef<[u8]>]) -> Result<bool, EditError> {
        self.change(path, None)
    }

    fn change(&mut self, path: &[impl AsRef<[u8]>], link: Option<Link>) -> Result<bool, EditError> {
        let Some((_, above)) = path.split_last() else { return Err(EditError::EmptyName) };
        let mut dirs = vec![self.root];
        for name in above {
            let last = dirs.last().copied().unwrap_or(self.root);
            let below = dir::lookup(self.overlay, &last, name.as_ref())?.ok_or(EditError::NoParent)?;
            dirs.push(below.cid);
        }
        let mut new = link;
        for (depth, (dir, name)) in dirs.iter().zip(path).enumerate().rev() {
            // The root's own kind of CID follows the config; that of a directory below is its own.
            let builder = (depth == 0).then_some(self.params.cid);
            new = match new {
                Some(link) => Some(dir::set(self.overlay, self.params, dir, builder, name.as_ref(), link)?),
                None => match dir::remove(self.overlay, self.params, dir, builder, name.as_ref())? {
                    None => return Ok(false),
                    removed => removed,
                },
            };
        }
        if let Some(root) = new {
            self.root = root.cid;
        }
        Ok(true)
    }
}
