//! `pin verify`: is everything here that recursive pins keep?

use holdfast_blockstore::{PinKind, ReadError};
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::ipld;

use super::Pins;
use super::seen::Seen;
use super::walk::{Walk, WalkFault};
use crate::fetch::{FetchError, known_block};
use crate::node::Node;
use crate::pool::{Cancelled, OperationStream, Output, PoolError};

/// Bytes of blocks that are read and checked together.
const READ_BYTES: u64 = 8 << 20;

/// A block that is missing or damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadNode {
    /// The block.
    pub cid: Cid,
    /// What is wrong with it.
    pub error: String,
}

/// What is known of one recursive pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinVerified {
    /// What is pinned.
    pub cid: Cid,
    /// What is not right below it; nothing if all is well.
    pub bad_nodes: Vec<BadNode>,
}

/// Why pins cannot be verified.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PinVerifyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// The walk could not go on.
    #[error(transparent)]
    Walk(#[from] WalkFault),
    /// The consumer went away.
    #[error("pin verify was cancelled")]
    Cancelled,
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<Cancelled> for PinVerifyError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// Recursive pins, one after the other.
pub type PinVerifyStream = OperationStream<PinVerified, PinVerifyError>;

impl Pins {
    /// Walks every recursive pin. Blocks with links are read and checked against their hash, of raw leaves it is asked
    /// whether they are here and not known to be damaged; `repo verify` reads all.
    ///
    /// Memory is bounded: what DAGs share is looked at once, but again after a pin that is not whole.
    pub fn verify(&self) -> PinVerifyStream {
        let node = self.node.clone();
        self.node.pool().stream(16, move |output| verify(&node, output))
    }
}

fn verify(node: &Node, output: &Output<PinVerified>) -> Result<(), PinVerifyError> {
    let mut check = Check { node, sound: Seen::new(node.repo_path()), bad: Vec::new() };
    for pin in node.store().pins().iter(Some(PinKind::Recursive)) {
        let cid = pin?.cid;
        check.dag(&cid, output)?;
        let bad_nodes = std::mem::take(&mut check.bad);
        if !bad_nodes.is_empty() {
            // Among what was seen is what leads to the bad: other pins have to come upon it too.
            check.sound.clear();
        }
        output.send(PinVerified { cid, bad_nodes })?;
    }
    Ok(())
}

/// The check of one pin after the other.
struct Check<'a> {
    node: &'a Node,
    /// What was seen below pins that are whole, and below the one at hand.
    sound: Seen,
    bad: Vec<BadNode>,
}

impl Check<'_> {
    fn dag(&mut self, root: &Cid, output: &Output<PinVerified>) -> Result<(), PinVerifyError> {
        let mut walk = Walk::new(self.node.store(), self.node.repo_path());
        std::mem::swap(&mut walk.seen, &mut self.sound);
        let mut batch = Vec::new();
        if walk.seen.insert(root).map_err(WalkFault::from)? {
            batch.push(*root);
        }
        while !batch.is_empty() {
            if output.is_cancelled() {
                return Err(PinVerifyError::Cancelled);
            }
            self.batch(&mut walk, &batch)?;
            batch = walk.next_batch()?;
        }
        std::mem::swap(&mut walk.seen, &mut self.sound);
        Ok(())
    }

    /// Looks at some blocks, and descends into those that can be read.
    fn batch(&mut self, walk: &mut Walk<'_>, cids: &[Cid]) -> Result<(), PinVerifyError> {
        let sizes = self.node.store().sizes(cids)?;
        let (mut inner, mut bytes) = (Vec::new(), 0);
        for (cid, size) in cids.iter().zip(sizes) {
            match size {
                None if known_block(cid).is_some() => {}
                // Not here, or known to be damaged: reading says which.
                None => self.read(walk, &[*cid]),
                Some(_) if cid.codec() == codec::RAW => {}
                Some(size) => {
                    inner.push(*cid);
                    bytes += size;
                    if bytes > READ_BYTES {
                        self.read(walk, &std::mem::take(&mut inner));
                        bytes = 0;
                    }
                }
            }
        }
        self.read(walk, &inner);
        Ok(())
    }

    fn read(&mut self, walk: &mut Walk<'_>, cids: &[Cid]) {
        for (cid, block) in cids.iter().zip(self.node.store().get_many(cids)) {
            let found = block
                .map_err(FetchError::from)
                .and_then(|block| block.ok_or_else(|| FetchError::NotFound { cid: Box::new(*cid) }));
            let links = match &found {
                Ok(_) if cid.codec() == codec::RAW => Ok(()),
                Ok(_) if !ipld::has_decoder(cid.codec()) => {
                    Err(ReadError::NoDecoder { codec: cid.codec() }.to_string())
                }
                Ok(block) => ipld::links(cid.codec(), block).map(drop).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match (links, found) {
                (Err(error), _) => self.bad.push(BadNode { cid: *cid, error }),
                (Ok(()), Ok(block)) => walk.descend(*cid, block.len() as u64),
                (Ok(()), Err(_)) => {}
            }
        }
    }
}
