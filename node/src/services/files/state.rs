//! The root: as readers see it, and as the store has it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use holdfast_blockstore::{Held, WriteError, Writer};
use holdfast_dag::cid::Cid;

use super::gate::Gates;
use super::{FilesError, roots};
use crate::node::Node;

/// What all who use the mutable file system of a node share.
#[derive(Default)]
pub(crate) struct State {
    /// Held for the time of one edit. Taken before `shared`, never after it.
    edits: Mutex<Session>,
    /// Held for moments.
    shared: Mutex<Shared>,
    /// Tells those who wait for a commit.
    settled: Condvar,
    pub(super) gates: Arc<Gates>,
}

/// What the changes since the last commit have in common.
#[derive(Default)]
pub(super) struct Session {
    /// Puts and finds all their blocks, which protects them, and notices if a failed write takes any of them away.
    pub(super) writer: Option<Writer>,
}

#[derive(Default)]
struct Shared {
    root: Option<Root>,
    /// Why the tree was loaded from another root than the recorded one.
    fault: Option<String>,
    /// Counts changes.
    made: u64,
    /// The change up to which everything is durable.
    flushed: u64,
    /// Counts failed commits: what was changed before one and not durable is gone.
    epoch: u64,
    failure: Option<WriteError>,
    /// Someone is committing for all.
    committing: bool,
    /// Changes since the last flushed one that did not ask to be.
    unflushed: u64,
}

/// The root that readers see.
#[derive(Clone)]
struct Root {
    cid: Cid,
    /// Keeps it from garbage collection until it is committed.
    held: Option<Arc<Held>>,
    record: roots::Record,
}

/// A moment of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) root: Cid,
    pub(super) made: u64,
    epoch: u64,
}

impl State {
    /// What was wrong with the recorded root, if the tree was loaded from another one since the node was opened.
    pub(crate) fn fault(&self) -> Option<String> {
        self.shared().fault.clone()
    }

    /// Locks the tree against other changes.
    pub(super) fn edit(&self) -> MutexGuard<'_, Session> {
        self.edits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tree as it is, if it was loaded.
    pub(super) fn loaded(&self) -> Option<Moment> {
        self.shared().moment()
    }

    /// The tree as it is. Loads it the first time; blocks then.
    pub(super) fn moment(&self, node: &Node) -> Result<Moment, FilesError> {
        if let Some(moment) = self.loaded() {
            return Ok(moment);
        }
        let (cid, record, fault) = roots::load(node)?;
        let mut shared = self.shared();
        if let Some(fault) = fault {
            tracing::warn!("{fault}");
            shared.fault = Some(fault);
        }
        shared.root.get_or_insert(Root { cid, held: None, record });
        shared.moment().ok_or(FilesError::NotExist)
    }

    /// Counts an unflushed change, if there may be one more.
    pub(super) fn count_unflushed(&self, limit: Option<u64>) -> Result<(), FilesError> {
        let mut shared = self.shared();
        match limit {
            Some(limit) if shared.unflushed >= limit => Err(FilesError::UnflushedLimit(limit)),
            _ => {
                shared.unflushed += 1;
                Ok(())
            }
        }
    }

    /// Makes `root`, whose blocks are put, what readers see. Called with the lock of `edit` held.
    pub(super) fn advance(&self, node: &Node, before: Moment, root: Cid) -> Result<Moment, FilesError> {
        // First held, then shown, and only then may what protected the blocks end.
        let held = Arc::new(node.store().hold(root));
        let mut shared = self.shared();
        shared.check(before.epoch)?;
        shared.made += 1;
        if let Some(current) = &mut shared.root {
            current.cid = root;
            current.held = Some(held);
        }
        shared.moment().ok_or(FilesError::NotExist)
    }

    /// Waits until a moment is durable. One of those who wait commits for all.
    pub(super) fn settle(&self, node: &Node, moment: Moment) -> Result<(), FilesError> {
        let mut shared = self.shared();
        loop {
            shared.check(moment.epoch)?;
            if shared.flushed >= moment.made {
                shared.unflushed = 0;
                return Ok(());
            }
            if shared.committing {
                shared = self.settled.wait(shared).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            shared.committing = true;
            drop(shared);
            let turn = Turn(self);
            let committed = self.commit(node);
            shared = self.shared();
            shared.note(committed);
            drop(shared);
            drop(turn);
            shared = self.shared();
        }
    }

    /// Commits the root as it is now.
    fn commit(&self, node: &Node) -> (u64, Option<Root>, Result<(), WriteError>) {
        let (writer, made, root) = {
            let mut session = self.edit();
            let shared = self.shared();
            let writer = session.writer.take().unwrap_or_else(|| node.store().writer());
            (writer, shared.made, shared.root.clone())
        };
        let changes = root.as_ref().map(|root| root.record.changes(root.cid)).unwrap_or_default();
        let outcome = writer.commit(&changes);
        (made, root, outcome)
    }

    /// Forgets what is not durable: a failed write took blocks of it away. The lock of `edit` is held.
    pub(super) fn lost(&self, session: &mut Session, moment: Moment, error: &WriteError) {
        session.writer = None;
        let mut shared = self.shared();
        if shared.epoch == moment.epoch && shared.made > shared.flushed {
            shared.fail(error.clone());
            drop(shared);
            self.settled.notify_all();
        }
    }

    /// Commits what is not durable yet; for the end of a node.
    pub(crate) fn close(&self, node: &Node) -> Result<(), FilesError> {
        match self.loaded() {
            Some(moment) => self.settle(node, moment),
            None => Ok(()),
        }
    }
}

impl Shared {
    fn moment(&self) -> Option<Moment> {
        let root = self.root.as_ref()?.cid;
        Some(Moment { root, made: self.made, epoch: self.epoch })
    }

    /// Fails if a commit failed since `epoch`.
    fn check(&self, epoch: u64) -> Result<(), FilesError> {
        if self.epoch == epoch {
            return Ok(());
        }
        Err(self.failure.clone().unwrap_or(WriteError::Closed).into())
    }

    fn note(&mut self, (made, committed, outcome): (u64, Option<Root>, Result<(), WriteError>)) {
        if let Err(error) = outcome {
            self.fail(error);
            return;
        }
        // Nothing was there to commit if a failure came in between; who waits is told of that.
        let Some(committed) = committed else { return };
        self.flushed = self.flushed.max(made);
        if let Some(root) = &mut self.root {
            root.record = roots::Record::of(committed.cid);
            if root.cid == committed.cid {
                root.held = None;
            }
        }
    }

    /// Goes back to what the store has; it is loaded again when it is next asked for.
    fn fail(&mut self, error: WriteError) {
        self.epoch += 1;
        self.failure = Some(error);
        self.root = None;
        self.flushed = self.made;
        self.unflushed = 0;
    }
}

/// The turn to commit; whoever has it gives it back, come what may.
struct Turn<'a>(&'a State);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.shared().committing = false;
        self.0.settled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use holdfast_blockstore::{Change, WriteError};

    use super::super::{FilesError, MfsPath, MkdirOptions};
    use super::*;
    use crate::repo_init::InitParams;

    async fn node(folder: &tempfile::TempDir) -> Node {
        let repo = folder.path().join("repo");
        let params = InitParams { repo: repo.clone(), profiles: "test".to_owned(), ..InitParams::default() };
        crate::node::init(&params, &mut |_| {}).unwrap();
        Node::builder().repo(repo).open().await.unwrap()
    }

    /// The root that garbage collection is told of, and whether the blocks of the last changes are protected.
    fn kept(node: &Node) -> (Option<Cid>, bool) {
        let session = node.files_state().edit().writer.is_some();
        let shared = node.files_state().shared();
        let root = shared.root.as_ref();
        (root.and_then(|root| root.held.as_ref().map(|_| root.cid)), session)
    }

    async fn mkdir(node: &Node, name: &str, unflushed: bool) -> Result<(), FilesError> {
        let options = MkdirOptions { unflushed, ..MkdirOptions::default() };
        node.files().mkdir(MfsPath::root().join(name), options).await
    }

    #[tokio::test]
    async fn an_unflushed_root_is_held_until_it_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let node = node(&folder).await;
        for name in ["a", "b"] {
            mkdir(&node, name, true).await.unwrap();
            let root = node.files().resolve(MfsPath::root()).await.unwrap();
            assert_eq!(kept(&node), (Some(root), true));
        }
        node.files().flush(MfsPath::root()).await.unwrap();
        assert_eq!(kept(&node), (None, false), "the record holds it now");
        mkdir(&node, "c", false).await.unwrap();
        assert_eq!(kept(&node), (None, false));
    }

    /// A commit that fails takes everything with it that was built on what it did not commit, and says so.
    #[tokio::test]
    async fn after_a_failed_commit_the_tree_is_what_the_store_has() {
        let folder = tempfile::tempdir().unwrap();
        let node = node(&folder).await;
        mkdir(&node, "a", false).await.unwrap();
        let root = node.files().resolve(MfsPath::root()).await.unwrap();
        mkdir(&node, "b", false).await.unwrap();
        // Somebody moves the root back, past this service.
        node.store().writer().commit(&[Change::FilesRoot(root)]).unwrap();
        mkdir(&node, "unflushed", true).await.unwrap();
        let failed = mkdir(&node, "c", false).await;
        assert!(matches!(failed, Err(FilesError::Write(WriteError::Changed))), "{failed:?}");
        assert_eq!(node.files().resolve(MfsPath::root()).await.unwrap(), root);
        assert_eq!(kept(&node), (None, false));
        mkdir(&node, "c", false).await.unwrap();
        let names = node.files().ls(MfsPath::root(), false).await.unwrap();
        let names: Vec<_> = names.into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, [b"a", b"c"]);
    }
}
