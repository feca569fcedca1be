//! `dag stat`: what DAGs are made of, and what they share.

use holdfast_dag::cid::Cid;

use super::Dag;
use super::complete::{IncompleteError, Seen, links_of, size_of};
use crate::node::Node;
use crate::pool::{Cancelled, OperationStream, Output, PoolError};
use crate::services::pins::{Complete, CompleteError, Job};

/// Blocks between two reports of progress.
const BLOCKS_PER_REPORT: u64 = 1 << 16;

/// One DAG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DagStat {
    /// Its root.
    pub cid: Cid,
    /// Bytes of its blocks, each counted once.
    pub size: u64,
    /// Number of its blocks, each counted once.
    pub blocks: u64,
}

/// Several DAGs together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DagStats {
    /// Blocks in any of them.
    pub unique_blocks: u64,
    /// Bytes of these blocks.
    pub total_size: u64,
    /// Bytes that are saved because DAGs share blocks.
    pub shared_size: u64,
    /// Each DAG by itself, in the order in which they were asked for.
    pub dags: Vec<DagStat>,
    /// Whether everything is counted.
    pub is_final: bool,
}

impl DagStats {
    /// Bytes of all DAGs, each by itself, for each byte that they take together; 1 if they share nothing.
    pub fn ratio(&self) -> f64 {
        if self.total_size == 0 {
            return 0.0;
        }
        #[allow(clippy::cast_precision_loss)] // a ratio for people
        let ratio = (self.total_size + self.shared_size) as f64 / self.total_size as f64;
        ratio
    }
}

/// Why DAGs could not be counted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DagStatError {
    /// A block is missing or bad.
    #[error(transparent)]
    Incomplete(#[from] IncompleteError),
    /// A block is missing, and could not be had from others or not be kept.
    #[error(transparent)]
    Fetch(CompleteError),
    /// The consumer went away.
    #[error("dag stat was cancelled")]
    Cancelled,
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<Cancelled> for DagStatError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// What is counted so far, now and then; the last value is final.
pub type DagStatStream = OperationStream<DagStats, DagStatError>;

impl Dag {
    /// Counts blocks and bytes of DAGs by the index alone, once they are here: what is missing is fetched first. Memory: about 180 bytes a block.
    pub fn stat(&self, roots: Vec<Cid>) -> DagStatStream {
        let node = self.node.clone();
        self.node.pool().stream(1, move |output| {
            match count(&node, &roots, output) {
                Err(DagStatError::Incomplete(IncompleteError::NotFound { .. }))
                    if node.fetch().is_online() => {}
                counted => return counted,
            }
            // What is missing is fetched, and kept until it is counted.
            let (writer, job) = (node.store().writer(), Job::cancelled_by(output.cancel_flag()));
            let mut complete = Complete::new(&node, &writer, &job);
            roots.iter().try_for_each(|root| complete.dag(root)).map_err(|error| match error {
                CompleteError::Incomplete(error) => DagStatError::Incomplete(error),
                CompleteError::Cancelled => DagStatError::Cancelled,
                error => DagStatError::Fetch(error),
            })?;
            count(&node, &roots, output)
        })
    }
}

/// Counts by the index.
fn count(node: &Node, roots: &[Cid], output: &Output<DagStats>) -> Result<(), DagStatError> {
    let (store, mut stats) = (node.store(), DagStats::default());
    let mut all = Seen::default();
    for root in roots {
        let mut dag = DagStat { cid: *root, size: 0, blocks: 0 };
        let (mut seen, mut waiting) = (Seen::default(), vec![*root]);
        while let Some(cid) = waiting.pop() {
            if !seen.first(&cid) {
                continue;
            }
            let missing = || IncompleteError::NotFound { cid: Box::new(cid) };
            let size = size_of(store, &cid)?.ok_or_else(missing)?;
            (dag.size, dag.blocks) = (dag.size + size, dag.blocks + 1);
            if all.first(&cid) {
                stats.total_size += size;
                stats.unique_blocks += 1;
            } else {
                stats.shared_size += size;
            }
            waiting.extend(links_of(store, &cid)?.ok_or_else(missing)?);
            if dag.blocks.is_multiple_of(BLOCKS_PER_REPORT) {
                let mut report = stats.clone();
                report.dags.push(dag);
                output.send(report)?;
            }
        }
        stats.dags.push(dag);
    }
    stats.is_final = true;
    Ok(output.send(stats)?)
}
