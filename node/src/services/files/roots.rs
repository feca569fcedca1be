//! The root in the store: finding one to go on with, and what a commit has to expect and replace.

use holdfast_blockstore::{Change, FilesRoots, ReadError, WriteError};
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::edit::{Overlay, dir};
use holdfast_dag::read::NodeInfo;

use super::change::put_blocks_beyond_limit;
use super::source::{Fetched, Local};
use super::{Files, FilesError, rules};
use crate::fetch::known_block;
use crate::node::Node;

/// What the store has as the root, and what is to be done about it with the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    expected: Expected,
    /// The root that was gone on with instead of the recorded one: the new one is to replace this.
    instead: Option<Cid>,
}

/// What the record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// It is there, or it is not.
    Root(Option<Cid>),
    /// It cannot be read: nothing can be expected of it.
    Unreadable,
}

impl Record {
    /// A record that is as it should be.
    pub(super) fn of(root: Cid) -> Self {
        Self { expected: Expected::Root(Some(root)), instead: None }
    }

    /// What a commit of this root changes.
    pub(super) fn changes(&self, root: Cid) -> Vec<Change> {
        if self.instead.is_none() && self.expected == Expected::Root(Some(root)) {
            return Vec::new();
        }
        let expect = match self.expected {
            Expected::Root(root) => Some(Change::ExpectFilesRoot(root)),
            Expected::Unreadable => None,
        };
        // Replacing twice keeps the good root as the one before, and drops the bad one.
        let instead = self.instead.map(Change::FilesRoot);
        expect.into_iter().chain(instead).chain([Change::FilesRoot(root)]).collect()
    }
}

/// Finds the root to go on with: the recorded one, else the one before it, else an empty directory. Where it is not the
/// recorded one, a sentence says why.
pub(super) fn load(node: &Node) -> Result<(Cid, Record, Option<String>), FilesError> {
    let recorded = node.store().files_roots()?;
    let (root, record) = choose(&recorded, |root| is_directory(node, root));
    let fault = fault(&recorded, root);
    match root {
        Some(root) => Ok((root, record, fault)),
        None => Ok((empty(node)?, record, fault)),
    }
}

/// Makes the root before the same as the root, so that a collection asked for keeps nothing that the tree no longer
/// holds. Does nothing where the recorded root cannot be read, as the one before is all there is then, nor where the
/// tree is changed at the same time, as that change has moved the root before itself.
pub(crate) fn forget_previous(node: &Node) -> Result<(), FilesError> {
    let recorded = node.store().files_roots()?;
    let sound = recorded.current.filter(|root| recorded.damage.is_none() && is_directory(node, root));
    let Some(root) = sound.filter(|_| recorded.previous != recorded.current) else { return Ok(()) };
    match node.store().writer().commit(&[Change::ExpectFilesRoot(Some(root)), Change::FilesRoot(root)]) {
        Ok(()) | Err(WriteError::Changed) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What is wrong with the recorded root, and what `files` shows instead; nothing if it can be read.
pub(crate) fn recorded_fault(node: &Node) -> Result<Option<String>, ReadError> {
    let recorded = node.store().files_roots()?;
    let (root, _) = choose(&recorded, |root| is_directory(node, root));
    Ok(fault(&recorded, root))
}

/// The same of a root that was chosen.
fn fault(recorded: &FilesRoots, chosen: Option<Cid>) -> Option<String> {
    let what = match (&recorded.damage, recorded.current) {
        _ if recorded.damage.is_none() && recorded.current == chosen => return None,
        (Some(damage), _) => damage.clone(),
        (None, Some(current)) => format!("the root {current} of 'files' cannot be read"),
        (None, None) => "the root of 'files' is lost".to_owned(),
    };
    let instead = match chosen {
        Some(root) => format!("the root before it, {root}"),
        None => "an empty directory, as there is no root before it".to_owned(),
    };
    Some(format!("{what}. 'files' shows {instead}; the next change in it makes that the root"))
}

/// The first of the recorded roots that is sound, and what is to be done about the record.
fn choose(recorded: &FilesRoots, is_sound: impl Fn(&Cid) -> bool) -> (Option<Cid>, Record) {
    let expected = match recorded.damage {
        None => Expected::Root(recorded.current),
        Some(_) => Expected::Unreadable,
    };
    if let Some(current) = recorded.current.filter(&is_sound) {
        return (Some(current), Record { expected, instead: None });
    }
    if let Some(previous) = recorded.previous.filter(&is_sound) {
        return (Some(previous), Record { expected, instead: Some(previous) });
    }
    (None, Record { expected, instead: None })
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
        // Looking at an empty tree is not refused because the repo is full.
        put_blocks_beyond_limit(&node.store().writer(), &overlay.finish(&root))?;
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

#[cfg(test)]
mod tests {
    use holdfast_dag::cid::parse_cid;

    use super::*;

    fn cids() -> [Cid; 3] {
        [
            "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
            "QmQjsrcABHkLkuuD7yzDVTBkVRJZJ8bMFTsNxrDxde2RDi",
            "QmXWgNTNVyCmSoZxjaP6Z6TvuG53GLM7Zmzm6UvvuhYKyL",
        ]
        .map(|text| parse_cid(text).unwrap())
    }

    #[test]
    fn a_sound_root_is_replaced_only_if_it_still_is_the_root() {
        let [current, previous, new] = cids();
        let recorded = FilesRoots { current: Some(current), previous: Some(previous), damage: None };
        let (root, record) = choose(&recorded, |_| true);
        assert_eq!(root, Some(current));
        assert_eq!(record.changes(new), [Change::ExpectFilesRoot(Some(current)), Change::FilesRoot(new)]);
        assert_eq!(record.changes(current), []);
    }

    /// The good root must not be pushed out by the bad one that it replaces.
    #[test]
    fn a_root_that_cannot_be_read_gives_way_to_the_one_before() {
        let [current, previous, new] = cids();
        let recorded = FilesRoots { current: Some(current), previous: Some(previous), damage: None };
        let (root, record) = choose(&recorded, |root| *root == previous);
        assert_eq!(root, Some(previous));
        assert_eq!(
            record.changes(new),
            [Change::ExpectFilesRoot(Some(current)), Change::FilesRoot(previous), Change::FilesRoot(new)]
        );
    }

    /// Nothing can be expected of a record that cannot be read; and there may be nothing before it.
    #[test]
    fn a_damaged_record_gives_way_to_the_one_before() {
        let [_, previous, new] = cids();
        let damage = Some("the record is damaged".to_owned());
        let recorded = FilesRoots { current: None, previous: Some(previous), damage: damage.clone() };
        let (root, record) = choose(&recorded, |_| true);
        assert_eq!(root, Some(previous));
        assert_eq!(record.changes(new), [Change::FilesRoot(previous), Change::FilesRoot(new)]);
        let (root, record) = choose(&FilesRoots { damage, ..FilesRoots::default() }, |_| true);
        assert_eq!((root, record.changes(new)), (None, vec![Change::FilesRoot(new)]));
        let (root, record) = choose(&FilesRoots::default(), |_| true);
        assert_eq!(root, None);
        assert_eq!(record.changes(new), [Change::ExpectFilesRoot(None), Change::FilesRoot(new)]);
    }
}
