//! `repo verify`: every block against its hash, the index against itself, and what was lost before.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use holdfast_blockstore::{DeleteError, ReadError, VerifyError, VerifyEvent, VerifyOptions};
use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, Multihash, codec};

use super::files::recorded_fault;
use super::repo::RepoServiceError;
use crate::node::Node;
use crate::pool::OperationStream;

/// How the repo is verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifyParams {
    /// Whether damaged blocks are removed. What they link to stays known.
    pub drop_damaged: bool,
    /// Whether what was lost before is forgotten once it is told.
    pub acknowledge: bool,
    /// Whether another copy of each damaged block is asked of others first, and for how long at most each time (zero: as
    /// long as it takes). Default: not.
    pub heal: Option<Duration>,
}

/// What became of a damaged block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// It is named, and remembered: adding it again repairs it.
    Found,
    /// It was removed.
    Removed,
    /// It could not be removed, and why.
    Stayed(String),
    /// Another copy was fetched and stored in its place.
    Healed,
    /// No other copy was to be had, and why; it was removed.
    Unhealed(String),
}

/// What a verification finds out.
#[derive(Debug, Clone)]
pub enum Verified {
    /// A block, under a CIDv1 of codec raw.
    Block {
        /// Blocks looked at so far, this one included.
        processed: u64,
        /// The block.
        cid: Cid,
        /// What is wrong with it, in a sentence.
        damage: Option<(String, Damage)>,
    },
    /// A counter or a derived row of the index is not what the blocks say; a sentence.
    Index(String),
    /// The recorded root of the mutable file system cannot be read; a sentence.
    Files(String),
    /// Changes that were acknowledged were lost; a sentence.
    Lost(String),
}

/// The course of a verification.
pub type VerifyStream = OperationStream<Verified, RepoServiceError>;

impl From<VerifyError> for RepoServiceError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Read(error) => Self::Store(error),
            VerifyError::Write(error) => Self::Write(error),
        }
    }
}

impl Node {
    /// Reads and hashes every block, checks the index and the root of the mutable file system, and tells what was lost before.
    pub fn repo_verify(&self, params: VerifyParams) -> VerifyStream {
        let node = self.clone();
        self.pool().stream(256, move |output| {
            let (store, mut processed) = (node.store(), 0);
            // Nothing is removed before another copy was asked for.
            let drop_damaged = params.drop_damaged && params.heal.is_none();
            let options = VerifyOptions { drop_damaged, ..VerifyOptions::default() };
            store.verify_with(&options, &mut |event| {
                let (hash, damage) = match event {
                    VerifyEvent::Sound(hash) => (hash, None),
                    VerifyEvent::Damaged(hash, error) => {
                        let healed = heal(&node, params, hash, &error);
                        (hash, Some((error, healed.unwrap_or(Damage::Found))))
                    }
                    VerifyEvent::Removed(hash, error) => (hash, Some((error, Damage::Removed))),
                    VerifyEvent::Stayed(hash, error, why) => {
                        (hash, Some((error, Damage::Stayed(why.to_string()))))
                    }
                    _ => return go_on(output.is_cancelled()),
                };
                processed += 1;
                let damage = damage.map(|(error, damage)| (error.to_string(), damage));
                let block = Verified::Block { processed, cid: Cid::new_v1(codec::RAW, hash), damage };
                go_on(output.send(block).is_err())
            })?;
            if output.is_cancelled() {
                return Err(RepoServiceError::Cancelled);
            }
            for sentence in store.check_rows()? {
                output.send(Verified::Index(sentence))?;
            }
            if let Some(fault) = recorded_fault(&node)? {
                output.send(Verified::Files(fault))?;
            }
            if let Some(loss) = store.loss().map_err(ReadError::from)? {
                output.send(Verified::Lost(loss.to_string()))?;
                if params.acknowledge {
                    store.acknowledge_loss()?;
                }
            }
            Ok(())
        })
    }
}

/// Puts another copy in the place of a damaged block, or else removes it, if that is asked for.
fn heal(node: &Node, params: VerifyParams, hash: Multihash, error: &ReadError) -> Option<Damage> {
    let time_max = params.heal.filter(|_| matches!(error, ReadError::Damaged { .. }))?;
    let deadline =
        Some(time_max).filter(|time| !time.is_zero()).and_then(|time| Instant::now().checked_add(time));
    let cid = Cid::new_v1(codec::RAW, hash);
    let healed = node.fetch().get_other_copy_blocking(&cid, deadline).map_err(|error| error.to_string());
    let healed = healed.and_then(|data| {
        let writer = node.store().writer();
        let put = writer.put([Block::trusted(cid, data)]).and_then(|()| writer.commit(&[]));
        put.map_err(|error| error.to_string())
    });
    let Err(why) = healed else { return Some(Damage::Healed) };
    if !params.drop_damaged {
        return None;
    }
    Some(match node.store().remove_damaged(&cid) {
        Ok(Ok(())) => Damage::Unhealed(why),
        // Somebody put it meanwhile.
        Ok(Err(DeleteError::NotFound(_))) => Damage::Healed,
        Ok(Err(error)) => Damage::Stayed(error.to_string()),
        Err(error) => Damage::Stayed(error.to_string()),
    })
}

fn go_on(cancelled: bool) -> ControlFlow<()> {
    if cancelled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
