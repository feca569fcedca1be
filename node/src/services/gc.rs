//! Garbage collection: `repo gc`, and the one that starts by itself.

use std::ops::ControlFlow;

use holdfast_blockstore::{GcError, GcEvent, GcOptions, GcReport};
use holdfast_dag::cid::{Cid, codec};

use crate::node::Node;
use crate::pool::{OperationStream, Output, PoolError};
use crate::services::files::forget_previous;

/// Steps that may wait for their reader.
const BUFFERED: usize = 1024;

/// Why a collection ended early. What was removed until then stays removed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GcServiceError {
    /// The store failed, or the consumer went away.
    #[error(transparent)]
    Store(#[from] GcError),
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// What a collection tells.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum GcStep {
    /// A block was removed; in a dry run, it would have been.
    Removed {
        /// The block, under a CIDv1 of codec raw: under which CIDs it was added is not known.
        cid: Cid,
    },
    /// A block under a pin is missing or damaged.
    Broken {
        /// The block.
        cid: Cid,
        /// The pin, or other root, through which it was reached.
        root: Cid,
        /// What is wrong.
        reason: String,
    },
    /// How far it is.
    Progress(GcProgress),
    /// It has ended.
    Done(Box<GcReport>),
}

/// How far a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GcProgress {
    /// So many blocks were reached from pins and files.
    Marking(u64),
    /// So many blocks were looked at, of so many.
    Sweeping(u64, u64),
    /// Segments are written anew; they take so many bytes for so many that live.
    Compacting(u64, u64),
}

/// The course of a collection, which ends with [`GcStep::Done`].
pub type GcStream = OperationStream<GcStep, GcServiceError>;

impl Node {
    /// Removes every block that nothing pins and that is not in the mutable file system. Adds, pins and reads go on
    /// meanwhile. Dropping the stream stops it; what was removed stays removed.
    pub fn repo_gc(&self, options: GcOptions) -> GcStream {
        let node = self.clone();
        self.pool().stream(BUFFERED, move |output| {
            if !options.dry_run
                && let Err(error) = forget_previous(&node)
            {
                // A collection is what helps where nothing can be written.
                tracing::warn!("what was last removed from 'files' is kept this time: {error}");
            }
            let report = node.store().collect(&options, &mut |event| tell(output, &event))?;
            tracing::info!(
                removed_blocks = report.removed_blocks,
                removed_bytes = report.removed_bytes,
                kept_blocks = report.reached_blocks,
                rewritten_bytes = report.compaction.rewritten_bytes,
                freed_bytes = report.compaction.freed_bytes,
                longest_hold_ms = report.longest_hold.as_millis() as u64,
                broken_blocks = report.broken_blocks,
                "garbage was collected"
            );
            // Whoever went away has no use for the report.
            let _ = output.send(GcStep::Done(Box::new(report)));
            Ok(())
        })
    }
}

fn tell(output: &Output<GcStep>, event: &GcEvent<'_>) -> ControlFlow<()> {
    let step = match event {
        GcEvent::Removed { multihash, .. } => GcStep::Removed { cid: Cid::new_v1(codec::RAW, *multihash) },
        GcEvent::Broken(broken) => {
            GcStep::Broken { cid: broken.cid, root: broken.root, reason: broken.reason.clone() }
        }
        GcEvent::Marking { blocks } => GcStep::Progress(GcProgress::Marking(*blocks)),
        GcEvent::Sweeping { blocks, of } => GcStep::Progress(GcProgress::Sweeping(*blocks, *of)),
        GcEvent::Compacting { disk_bytes, live_bytes } => {
            GcStep::Progress(GcProgress::Compacting(*disk_bytes, *live_bytes))
        }
        _ if output.is_cancelled() => return ControlFlow::Break(()),
        _ => return ControlFlow::Continue(()),
    };
    match output.send(step) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}
