//! `pin add`.

use holdfast_blockstore::{Change, PIN_NAME_BYTES_MAX, Pin, PinKind, WriteError};
use holdfast_dag::cid::Cid;

use super::complete::{Complete, CompleteError, check_codec};
use super::{CancelOnDrop, Job, PinProgress, Pins, TRIES, is_retried, recursive_pin, retried};
use crate::node::Node;
use crate::pool::PoolError;

/// How a pin is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinOptions {
    /// Keep everything below it too. Default: yes.
    pub recursive: bool,
    /// Its name, at most [`PIN_NAME_BYTES_MAX`] bytes. Default: none.
    pub name: String,
    /// Look at every block, also at those that other recursive pins keep. Default: no, as they are known to be here.
    pub every_block: bool,
}

impl Default for PinOptions {
    fn default() -> Self {
        Self { recursive: true, name: String::new(), every_block: false }
    }
}

/// Why nothing was pinned.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PinAddError {
    /// The name is too long.
    #[error("pin name is {bytes} bytes (max {PIN_NAME_BYTES_MAX} bytes)")]
    Name {
        /// Its length.
        bytes: usize,
    },
    /// A direct pin was asked for where there is a recursive one.
    #[error("pin: {cid} already pinned recursively")]
    AlreadyRecursive {
        /// What is pinned.
        cid: Box<Cid>,
    },
    /// Not everything that it would keep is here.
    #[error("pin: {0}")]
    Incomplete(#[from] CompleteError),
    /// The store failed.
    #[error("pin: {0}")]
    Store(#[from] WriteError),
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl Pins {
    /// Pins a DAG, or one block. It is there for good when this returns, with everything that it keeps; if this fails, what
    /// was pinned before is still pinned.
    ///
    /// A second recursive pin of a CID replaces the first one, name included, and a direct one too; a direct pin replaces
    /// a direct one. Dropping the future ends the walk, and nothing is pinned, unless all was found already.
    pub async fn add(
        &self,
        cid: Cid,
        options: PinOptions,
        progress: &PinProgress,
    ) -> Result<(), PinAddError> {
        let bytes = options.name.len();
        if bytes > PIN_NAME_BYTES_MAX {
            return Err(PinAddError::Name { bytes });
        }
        let job = Job { progress: progress.clone(), ..Job::default() };
        let _cancel = CancelOnDrop(job.cancelled.clone());
        let node = self.node.clone();
        self.node.pool().operation(move || add(&node, cid, &options, &job)).await?
    }
}

fn add(node: &Node, cid: Cid, options: &PinOptions, job: &Job) -> Result<(), PinAddError> {
    let mut lean = !options.every_block;
    let mut last = WriteError::Changed;
    for _ in 0..TRIES {
        job.progress.reset();
        let writer = node.store().writer();
        let mut complete = Complete::new(node, &writer, job);
        if lean {
            complete = complete.lean_on_pins();
        }
        if options.recursive {
            check_codec(&cid).map_err(CompleteError::from)?;
        }
        let found = if options.recursive { complete.dag(&cid) } else { complete.obtain(&[cid]).map(drop) };
        if let Err(error) = found {
            last = retried(error)?;
            continue;
        }
        let changes = if options.recursive {
            let expected = complete.into_covers().into_iter().map(expect_recursive);
            expected.chain(recursive_pin(cid, &options.name)).collect()
        } else {
            drop(complete);
            let recursive = node.store().pins().get_kind(&cid, PinKind::Recursive);
            if recursive.map_err(|error| CompleteError::Walk(error.into()))?.is_some() {
                return Err(PinAddError::AlreadyRecursive { cid: Box::new(cid) });
            }
            vec![
                Change::ExpectPin { cid, kind: PinKind::Recursive, pinned: false },
                Change::Pin(Pin::new(cid, PinKind::Direct, options.name.clone())),
            ]
        };
        match writer.commit(&changes) {
            Ok(()) => return Ok(()),
            Err(error) if is_retried(&error) => {
                // Of the pins that were leaned on, one is gone: now every block is looked at.
                lean &= !matches!(error, WriteError::Changed);
                last = error;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.into())
}

fn expect_recursive(cid: Cid) -> Change {
    Change::ExpectPin { cid, kind: PinKind::Recursive, pinned: true }
}
