//! `pin update`: a new DAG in the place of an old one, of which it keeps most.

use std::collections::HashSet;

use holdfast_blockstore::{Change, Links, Pin, PinKind, ReadError, WriteError};
use holdfast_dag::cid::{Cid, codec};

use super::complete::{Complete, CompleteError, check_codec};
use super::walk::WalkFault;
use super::{CancelOnDrop, Job, PinProgress, Pins, TRIES, is_retried, retried};
use crate::node::Node;
use crate::pool::PoolError;
use crate::services::dag::IncompleteError;

/// Why a pin was not updated.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PinUpdateError {
    /// The old CID has no recursive pin.
    #[error("'from' cid was not recursively pinned already")]
    FromNotPinned,
    /// The new CID has one.
    #[error("'to' cid was already recursively pinned")]
    ToPinned,
    /// The new root is not here, or cannot be read.
    #[error("get {to}: {error}")]
    Root {
        /// The new root.
        to: Box<Cid>,
        /// Why.
        error: CompleteError,
    },
    /// Not everything below the new root is here.
    #[error(transparent)]
    Incomplete(#[from] CompleteError),
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] WriteError),
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl Pins {
    /// Pins `to` recursively under the name of `from`, and with `unpin` removes that pin, in one step. Of the new DAG only
    /// what differs from the old one is walked.
    pub async fn update(
        &self,
        from: Cid,
        to: Cid,
        unpin: bool,
        progress: &PinProgress,
    ) -> Result<(), PinUpdateError> {
        let job = Job { progress: progress.clone(), ..Job::default() };
        let _cancel = CancelOnDrop(job.cancelled.clone());
        let node = self.node.clone();
        self.node.pool().operation(move || update(&node, from, to, unpin, &job)).await?
    }
}

fn update(node: &Node, from: Cid, to: Cid, unpin: bool, job: &Job) -> Result<(), PinUpdateError> {
    let (store, mut last) = (node.store(), WriteError::Changed);
    for _ in 0..TRIES {
        job.progress.reset();
        // At one moment, so that either refusal was true at one.
        let both = store.pins().together([(&from, PinKind::Recursive), (&to, PinKind::Recursive)])?;
        let old = match both {
            [None, _] => return Err(PinUpdateError::FromNotPinned),
            [Some(_), _] if from == to => return Ok(()),
            [Some(_), Some(_)] => return Err(PinUpdateError::ToPinned),
            [Some(old), None] => old,
        };
        let writer = store.writer();
        let mut complete = Complete::new(node, &writer, job);
        match difference(node, &mut complete, from, to) {
            Err(PinUpdateError::Incomplete(error) | PinUpdateError::Root { error, .. }) if matches!(&error, CompleteError::Write(error) if is_retried(error)) =>
            {
                last = retried(error)?;
                continue;
            }
            done => done?,
        }
        drop(complete);
        let mut changes = vec![
            // The very pin: its name goes over to the new one.
            Change::ExpectSame(old.clone()),
            Change::ExpectPin { cid: to, kind: PinKind::Recursive, pinned: false },
            Change::Pin(Pin::new(to, PinKind::Recursive, old.name)),
        ];
        if unpin {
            changes.push(Change::Unpin { cid: from, kind: PinKind::Recursive });
        }
        match writer.commit(&changes) {
            Ok(()) => return Ok(()),
            Err(error) if is_retried(&error) => last = error,
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.into())
}

/// Finds what `to` has and `from` has not. The two are compared level by level: what a block of `from` links to is kept
/// by the pin on it, and taken for seen; a link that is new is compared with the one that went in its place.
fn difference(node: &Node, complete: &mut Complete<'_>, from: Cid, to: Cid) -> Result<(), PinUpdateError> {
    let at_root = |error| PinUpdateError::Root { to: Box::new(to), error };
    check_codec(&to).map_err(|error| at_root(error.into()))?;
    complete.obtain(&[to]).map_err(at_root)?;
    for cid in [from, to] {
        complete.walk.seen.insert(&cid).map_err(|error| CompleteError::Walk(error.into()))?;
    }
    let mut pairs = vec![(from, to)];
    while let Some((old, new)) = pairs.pop() {
        pairs.extend(compare(node, complete, &old, &new)?);
    }
    Ok(complete.rest()?)
}

/// Compares two blocks: finds what is new in the second, and gives the pairs to be compared next. What is new and has no
/// counterpart is left to the walk.
fn compare(
    node: &Node,
    complete: &mut Complete<'_>,
    old: &Cid,
    new: &Cid,
) -> Result<Vec<(Cid, Cid)>, CompleteError> {
    let mut links = node.store().links_many(&[*old, *new]).map_err(WalkFault::from)?.into_iter();
    let mut next = || links.next().unwrap_or_else(|| Ok(Links::default()));
    // Where the old block cannot be read there is nothing to compare with.
    let (before, after) = (next().unwrap_or_default(), next().map_err(IncompleteError::from)?);
    let mut gone = Vec::new();
    for link in before {
        let link = link.map_err(WalkFault::from)?;
        complete.walk.seen.insert(&link).map_err(WalkFault::from)?;
        gone.push(link);
    }
    let (mut fresh, mut kept) = (Vec::new(), HashSet::new());
    for link in after {
        let link = link.map_err(WalkFault::from)?;
        if complete.walk.seen.insert(&link).map_err(WalkFault::from)? {
            fresh.push(link);
        } else {
            kept.insert(link);
        }
    }
    gone.retain(|link| link.codec() != codec::RAW && !kept.contains(link));
    let mut gone = gone.into_iter();
    let (leaves, inner): (Vec<Cid>, Vec<Cid>) =
        fresh.into_iter().partition(|link| link.codec() == codec::RAW);
    complete.find_leaves(&leaves)?;
    let sizes = complete.obtain(&inner)?;
    let mut pairs = Vec::new();
    for (link, size) in inner.into_iter().zip(sizes) {
        match gone.next() {
            Some(old) => pairs.push((old, link)),
            None => complete.walk.descend(link, size),
        }
    }
    Ok(pairs)
}
