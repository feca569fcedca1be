//! The root in the store: finding one to go on with, and what a commit has to expect and replace.

use holdfast_blockstore::{Change, FilesRoots};
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::edit::{Overlay, dir};
use holdfast_dag::read::NodeInfo;

use super::change::put_blocks;
use super::source::{Fetched, Local};
use super::{Files, FilesError, rules};
use crate::fetch::known_block;
use crate::node::Node;

/// What the store has as the root, and what is to be done about it with the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// What the record says; `None` where it cannot be read, so that nothing can be expected of it.
    expected: Option<Option<Cid>>,
    /// The root that was gone on with instead of the recorded one: the new one is to replace this.
    instead: Option<Cid>,
}

impl Record {
    /// A record that is as it should be.
    pub(super) fn of(root: Cid) -> Self {
        Self { expected: Some(Some(root)), instead: None }
    }

    /// What a commit of this root changes.
    pub(super) fn changes(&self, root: Cid) -> Vec<Change> {
        if self.instead.is_none() && self.expected == Some(Some(root)) {
            return Vec::new();
        }
        let expect = self.expected.map(Change::ExpectFilesRoot);
        // Replacing twice keeps the good root as the one before, and drops the bad one.
        let instead = self.instead.map(Change::FilesRoot);
        expect.into_iter().chain(instead).chain([Change::FilesRoot(root)]).collect()
    }
}

/// Finds the root to go on with: the recorded one, else the one before it, else an empty directory.
pub(super) fn load(node: &Node) -> Result<(Cid, Record), FilesError> {
    let recorded = node.store().files_roots()?;
    let expected = recorded.damage.is_none().then_some(recorded.current);
    if let Some(current) = recorded.current.filter(|root| is_directory(node, root)) {
        return Ok((current, Record { expected, instead: None }));
    }
    let lost = recorded.current.is_some() || recorded.damage.is_some();
    if let Some(previous) = recorded.previous.filter(|root| is_directory(node, root)) {
        tracing::warn!("{}; going on with the root before it, {previous}", describe(&recorded));
        return Ok((previous, Record { expected, instead: Some(previous) }));
    }
    if lost {
        tracing::warn!("{}, and there is none before it: the files root is empty", describe(&recorded));
    }
    Ok((empty(node)?, Record { expected, instead: None }))
}

fn describe(recorded: &FilesRoots) -> String {
    match (&recorded.damage, recorded.current) {
        (Some(damage), _) => damage.clone(),
        (None, Some(current)) => format!("the files root {current} cannot be read"),
        (None, None) => "there is no files root".to_owned(),
    }
}

/// Whether a root is here, and is a directory.
fn is_directory(node: &Node, root: &Cid) -> bool {
    let block = node.store().get(root).ok().flatten().or_else(|| known_block(root));
    block.is_some_and(|block| {
        root.codec() == codec::DAG_PB && NodeInfo::of(root, &block).is_ok_and(|info| info.kind.is_directory())
    })
}

/// An empty directory, stored.
fn empty(node: &Node) -> Result<Cid, FilesError> {
    let fetched = Fetched::default();
    let source = Local { store: node.store(), fetched: &fetched };
    let mut overlay = Overlay::new(&source);
    let root = dir::empty(&mut overlay, rules::root_builder(node.config()))?.cid;
    if known_block(&root).is_none() {
        put_blocks(&node.store().writer(), &overlay.finish(&root))?;
    }
    Ok(root)
}

/// What became of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootChange {
    /// The root before, if it was ever recorded.
    pub old: Option<Cid>,
    /// The root now.
    pub new: Cid,
}

impl Files {
    /// What the store has as the root, for those who want to know whether it was sound.
    pub async fn recorded(&self) -> Result<FilesRoots, FilesError> {
        let node = self.node.clone();
        Ok(self.node.pool().run(move || node.store().files_roots()).await??)
    }

    /// Replaces the whole tree by a directory that is here, or by an empty one. Durable when it returns.
    pub async fn replace_root(&self, root: Option<Cid>) -> Result<RootChange, FilesError> {
        let node = self.node.clone();
        self.node.pool().operation(move || replace(&node, root)).await?
    }
}

fn replace(node: &Node, root: Option<Cid>) -> Result<RootChange, FilesError> {
    let new = match root {
        Some(root) => checked(node, root)?,
        None => empty(node)?,
    };
    let state = node.files_state();
    let session = state.edit();
    let old = node.store().files_roots()?.current;
    let before = state.moment(node)?;
    let moment = state.advance(node, before, new)?;
    drop(session);
    state.settle(node, moment)?;
    Ok(RootChange { old, new })
}

fn checked(node: &Node, root: Cid) -> Result<Cid, FilesError> {
    let bad = |words: String| Err(FilesError::BadRoot(words));
    let Some(block) = node.store().get(&root)?.or_else(|| known_block(&root)) else {
        return bad(format!("new root {root} does not exist locally; fetch it first with 'ipfs block get'"));
    };
    if root.codec() != codec::DAG_PB {
        return bad("new root is not a valid dag-pb node: wrong codec".to_owned());
    }
    match NodeInfo::of(&root, &block) {
        Err(error) => bad(format!("new root is not a valid UnixFS node: {error}")),
        Ok(info) if info.kind.is_directory() => Ok(root),
        Ok(info) => bad(format!("new root must be a directory, got {:?}", info.kind)),
    }
}
