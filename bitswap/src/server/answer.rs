//! Answers: blocks that were read, HAVE and DONT_HAVE.

use std::time::Instant;

use libp2p::PeerId;

use super::list::State;
use super::{Action, Found, ReadId, Server};
use crate::message::{Message, Payload, Prefix, Presence};

/// Answers without blocks that may be on their way to one stream. More are put together until it takes some.
const OUTSTANDING_MESSAGES_MAX: usize = 4;

/// Presences in one message: about 200 KiB of the usual CIDs. With so many unsaid nothing more is looked up.
pub(super) const PRESENCES_MAX: usize = 4096;

/// Beside more bytes of blocks than this there are no presences: together they could be more than a message may be.
const BESIDE_BYTES_MAX: usize = 2 << 20;

impl Server {
    /// The answer to [`Action::Read`]: the bytes of each block that is still here.
    pub fn on_read(&mut self, id: ReadId, blocks: Vec<Found>, now: Instant) {
        let Some(batch) = self.reads.remove(&id) else { return };
        let peer = batch.peer;
        self.reading_bytes -= batch.bytes;
        let Some(list) = self.lists.get_mut(&peer) else { return };
        list.outstanding_bytes = list.outstanding_bytes.saturating_sub(batch.bytes);
        let before = list.len();
        let mut message = Message::default();
        let mut missing = Vec::new();
        let mut blocks = blocks.into_iter();
        for cid in batch.cids {
            let found = blocks.next().flatten();
            if list.get(&cid).is_none_or(|want| want.state != State::Reading) {
                // Cancelled meanwhile.
                continue;
            }
            match (found, Prefix::of(&cid)) {
                (Some(data), Some(prefix)) => {
                    list.remove(&cid);
                    message.blocks.push(Payload { prefix, data });
                }
                _ => missing.push(cid),
            }
        }
        self.crowd.changed(peer, before, list.len());
        for cid in missing {
            self.missing(&peer, &cid);
        }
        self.send(&peer, message, now);
        self.reenter_turns(&peer);
        self.dirty.push(peer);
    }

    /// Sends presences as soon as they are known, in a message of their own if no block goes.
    pub(super) fn say_presences(&mut self, peer: &PeerId, now: Instant) {
        if let Some(list) = self.lists.get(peer)
            && !list.presences.is_empty()
            && list.outstanding_messages < OUTSTANDING_MESSAGES_MAX
        {
            self.send(peer, Message::default(), now);
        }
    }

    /// Adds what there is to say to a message and sends it, unless it says nothing.
    fn send(&mut self, peer: &PeerId, mut message: Message, now: Instant) {
        let Some(list) = self.lists.get_mut(peer) else { return };
        let bytes = message.block_bytes();
        let presences_max = if bytes > BESIDE_BYTES_MAX { 0 } else { PRESENCES_MAX };
        while message.presences.len() < presences_max
            && let Some((cid, have)) = list.presences.pop_first()
        {
            message.presences.push(Presence { cid, have });
        }
        if message.is_empty() {
            return;
        }
        message.pending_bytes = u32::try_from(list.ready_bytes).unwrap_or(u32::MAX);
        list.outstanding_bytes += bytes;
        list.outstanding_messages += 1;
        list.ledger.sent_bytes += bytes as u64;
        list.ledger.exchanges += message.blocks.len() as u64;
        list.served_at = Some(now);
        self.actions.push_back(Action::Send { peer: *peer, message });
    }

    /// An answer with this many bytes of blocks went to its stream.
    pub fn on_sent(&mut self, peer: &PeerId, bytes: usize, _now: Instant) {
        let Some(list) = self.lists.get_mut(peer) else { return };
        list.outstanding_bytes = list.outstanding_bytes.saturating_sub(bytes);
        list.outstanding_messages = list.outstanding_messages.saturating_sub(1);
        self.reenter_turns(peer);
        self.dirty.push(*peer);
    }
}
