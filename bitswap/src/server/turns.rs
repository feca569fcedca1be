//! Whose blocks are read next.

use std::time::{Duration, Instant};

use holdfast_dag::cid::Cid;
use libp2p::PeerId;

use super::list::State;
use super::{Action, ReadId, Server};
use crate::message::MESSAGE_BYTES_MAX;

/// A peer that was not served for this long, or never, has the next turn (boxo).
const STARVED_AFTER: Duration = Duration::from_secs(10);

/// Blocks in one batch, at most: messages of very small blocks stay quick to make.
const BATCH_BLOCKS_MAX: usize = 2048;

/// Rights that were not used are kept up to the size of a message.
const DEFICIT_MAX: u64 = MESSAGE_BYTES_MAX as u64;

/// A batch that is being read.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) peer: PeerId,
    pub(super) cids: Vec<Cid>,
    pub(super) bytes: usize,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.cids.len()
    }
}

impl Server {
    /// Gives a peer with something to read its place.
    pub(super) fn enter_turns(&mut self, peer: &PeerId) {
        let Some(list) = self.lists.get_mut(peer) else { return };
        if !std::mem::replace(&mut list.is_in_turns, true) {
            self.turns.push_back(*peer);
        }
    }

    /// Gives a peer that had enough its place again, if it has room now.
    pub(super) fn reenter_turns(&mut self, peer: &PeerId) {
        if let Some(list) = self.lists.get(peer)
            && list.outstanding_bytes < self.config.outstanding_bytes_max
            && list.ready_len() > 0
        {
            self.enter_turns(peer);
        }
    }

    /// Begins reads as long as there is room for their bytes.
    pub(super) fn take_turns(&mut self, now: Instant) {
        while !self.turns.is_empty() && self.reading_bytes < self.config.read_bytes_max {
            let at = self.first_starved(now).unwrap_or(0);
            let Some(peer) = self.turns.remove(at) else { return };
            let Some(list) = self.lists.get_mut(&peer) else { continue };
            if list.next_ready().is_none() {
                (list.is_in_turns, list.deficit) = (false, 0);
                continue;
            }
            if list.outstanding_bytes >= self.config.outstanding_bytes_max {
                // It has enough, and has its place again when its stream took some.
                list.is_in_turns = false;
                continue;
            }
            list.deficit = (list.deficit + self.config.message_bytes_target as u64).min(DEFICIT_MAX);
            list.served_at = Some(now);
            self.read_for(peer);
            self.turns.push_back(peer);
        }
    }

    /// The place of a peer that waits for too long, if it could be served.
    fn first_starved(&self, now: Instant) -> Option<usize> {
        self.turns.iter().take(64).position(|peer| {
            self.lists.get(peer).is_some_and(|list| {
                list.outstanding_bytes < self.config.outstanding_bytes_max
                    && list.served_at.is_none_or(|at| now.duration_since(at) >= STARVED_AFTER)
            })
        })
    }

    /// Reads as much for a peer as its deficit allows.
    fn read_for(&mut self, peer: PeerId) {
        let Some(list) = self.lists.get_mut(&peer) else { return };
        let mut batch = Batch { peer, cids: Vec::new(), bytes: 0 };
        while let Some((cid, size)) = list.next_ready() {
            let fits =
                batch.bytes + size as usize <= self.config.message_bytes_target || batch.cids.is_empty();
            if size > list.deficit || !fits || batch.cids.len() >= BATCH_BLOCKS_MAX {
                break;
            }
            list.deficit -= size;
            list.set_state(&cid, State::Reading);
            batch.bytes += size as usize;
            batch.cids.push(cid);
        }
        if batch.cids.is_empty() {
            return;
        }
        list.outstanding_bytes += batch.bytes;
        self.reading_bytes += batch.bytes;
        let id = ReadId(self.next_read);
        self.next_read += 1;
        self.actions.push_back(Action::Read { peer, batch: id, cids: batch.cids.clone() });
        self.reads.insert(id, batch);
    }
}
