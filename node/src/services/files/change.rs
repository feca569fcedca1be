//! Running an operation on the tree: the edit under the lock, and whatever has to be waited for outside it.

use std::sync::Arc;

use holdfast_blockstore::{WriteError, Writer};
use holdfast_dag::block::Block;
use holdfast_dag::cid::Cid;
use holdfast_dag::edit::{Overlay, Tree};

use super::source::{Fetched, Local};
use super::{Files, FilesError, MfsPath, rules};
use crate::node::Node;

/// Blocks that are put at once.
const PUT_BLOCKS: usize = 1024;

/// How a change is made.
pub(super) struct How {
    /// Whether it is durable when it returns.
    flush: bool,
    /// Whether it counts as one of the unflushed changes that may follow each other.
    counted: bool,
    /// Whether it may go beyond the storage limit.
    beyond_limit: bool,
    /// Blocks that are at hand.
    fetched: Fetched,
    /// The writer that has put some of its blocks.
    own: Option<Arc<Writer>>,
}

impl How {
    /// A change that is durable when it returns, or counts as an unflushed one.
    pub(super) fn new(flush: bool) -> Self {
        Self { flush, counted: !flush, beyond_limit: false, fetched: Fetched::default(), own: None }
    }

    /// One that was counted before, or is not.
    pub(super) fn uncounted(flush: bool) -> Self {
        Self { counted: false, ..Self::new(flush) }
    }

    /// One that removes something. It is durable, and not refused where the storage limit is met: it makes room.
    pub(super) fn removal() -> Self {
        Self { beyond_limit: true, ..Self::new(true) }
    }

    pub(super) fn with_blocks(self, fetched: Fetched) -> Self {
        Self { fetched, ..self }
    }

    pub(super) fn with_writer(self, own: Arc<Writer>) -> Self {
        Self { own: Some(own), ..self }
    }
}

impl Files {
    /// Changes the tree. `work` is run again, on the tree as it is then, each time that a block was missing and
    /// fetched; it must have no effect but on the tree.
    pub(super) async fn change<T, F>(&self, mut how: How, work: F) -> Result<T, FilesError>
    where
        T: Send + 'static,
        F: Fn(&mut Tree<'_, '_>) -> Result<T, FilesError> + Send + Sync + 'static,
    {
        if how.counted {
            self.node.files_state().count_unflushed(rules::unflushed_max(self.node.config())?)?;
        }
        let fetched = std::mem::take(&mut how.fetched);
        self.fetching(Thread::Own, fetched, move |node, fetched| change(node, &how, fetched, &work)).await
    }

    /// Makes everything durable that was changed so far, and gives what is at `path`.
    pub async fn flush(&self, path: MfsPath) -> Result<Cid, FilesError> {
        let found = self.resolve(path).await?;
        let node = self.node.clone();
        let settle = move || {
            let state = node.files_state();
            let moment = state.moment(&node)?;
            state.settle(&node, moment)
        };
        self.node.pool().operation(settle).await??;
        Ok(found)
    }

    /// Reads the tree as it is now.
    pub(super) async fn look<T, F>(&self, work: F) -> Result<T, FilesError>
    where
        T: Send + 'static,
        F: Fn(&Tree<'_, '_>) -> Result<T, FilesError> + Send + Sync + 'static,
    {
        self.fetching(Thread::Shared, Fetched::default(), move |node, fetched| {
            let params = rules::params(node.config())?;
            let moment = node.files_state().moment(node)?;
            let source = Local { store: node.store(), fetched };
            let mut overlay = Overlay::new(&source);
            work(&Tree::new(&mut overlay, &params, moment.root))
        })
        .await
    }

    /// Runs work; gets what it misses, with no lock held, and runs it again. Changes may wait for the disk, so they get
    /// a thread of their own; looking is short, and does not wait behind them.
    async fn fetching<T, F>(&self, how: Thread, fetched: Fetched, work: F) -> Result<T, FilesError>
    where
        T: Send + 'static,
        F: Fn(&Node, &Fetched) -> Result<T, FilesError> + Send + Sync + 'static,
    {
        let (work, mut fetched) = (Arc::new(work), Arc::new(fetched));
        loop {
            let (node, run, known) = (self.node.clone(), Arc::clone(&work), Arc::clone(&fetched));
            let attempt = move || run(&node, &known);
            let outcome = match how {
                Thread::Own => self.node.pool().operation(attempt).await?,
                Thread::Shared => self.node.pool().run(attempt).await?,
            };
            match outcome {
                Err(FilesError::Missing(cid)) => {
                    let block = self.node.fetch().get(&cid).await?;
                    Arc::make_mut(&mut fetched).insert(*cid, block)?;
                }
                done => return done,
            }
        }
    }
}

/// Where work runs.
#[derive(Clone, Copy)]
enum Thread {
    Own,
    Shared,
}

/// One attempt at a change. Blocks.
pub(super) fn change<T>(
    node: &Node,
    how: &How,
    fetched: &Fetched,
    work: &dyn Fn(&mut Tree<'_, '_>) -> Result<T, FilesError>,
) -> Result<T, FilesError> {
    let params = rules::params(node.config())?;
    let state = node.files_state();
    let mut session = state.edit();
    let before = state.moment(node)?;
    let source = Local { store: node.store(), fetched };
    let mut overlay = Overlay::new(&source);
    let mut tree = Tree::new(&mut overlay, &params, before.root);
    let done = work(&mut tree)?;
    let root = tree.root();
    let mut moment = before;
    if root != before.root {
        let writer = session.writer.get_or_insert_with(|| node.store().writer());
        let put_all = if how.beyond_limit { put_blocks_beyond_limit } else { put_blocks };
        // A failed write since the first of these writers began has taken blocks away that this root needs.
        let own = how.own.as_ref();
        let put =
            put_all(writer, &overlay.finish(&root)).and_then(|()| own.map_or(Ok(()), |own| own.put([])));
        if let Err(error) = put {
            if matches!(error, WriteError::Generation | WriteError::Closed) {
                state.lost(&mut session, before, &error);
            }
            return Err(error.into());
        }
        moment = state.advance(node, before, root)?;
    }
    drop(session);
    if how.flush {
        state.settle(node, moment)?;
    }
    Ok(done)
}

/// Puts blocks in batches.
pub(super) fn put_blocks(writer: &Writer, blocks: &[Block]) -> Result<(), WriteError> {
    blocks.chunks(PUT_BLOCKS).try_for_each(|batch| writer.put(batch))
}

/// The same where the storage limit is met.
pub(super) fn put_blocks_beyond_limit(writer: &Writer, blocks: &[Block]) -> Result<(), WriteError> {
    blocks.chunks(PUT_BLOCKS).try_for_each(|batch| writer.put_beyond_limit(batch))
}
