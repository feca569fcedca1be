//! The last number of each writer: a message that comes again after it was forgotten is not new, however it comes.
//!
//! As go-libp2p-pubsub's `BasicSeqnoValidator`, which Kubo uses: numbers of one writer only rise. They are kept in memory.
//! They say something only where messages are signed.

use std::collections::{HashMap, VecDeque};

use libp2p::PeerId;

/// Writers that are remembered; the first to come is the first to go.
const WRITERS_MAX: usize = 16_384;

/// The numbers.
#[derive(Debug, Default)]
pub(super) struct Seqnos {
    last: HashMap<PeerId, u64>,
    order: VecDeque<PeerId>,
}

impl Seqnos {
    /// Whether a message is new; it is not the next time. One without a writer or a number always is.
    pub(super) fn is_new(&mut self, from: Option<PeerId>, seqno: Option<u64>) -> bool {
        let (Some(from), Some(seqno)) = (from, seqno) else { return true };
        if let Some(last) = self.last.get_mut(&from) {
            let is_new = seqno > *last;
            *last = seqno.max(*last);
            return is_new;
        }
        if self.order.len() >= WRITERS_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.last.remove(&first);
        }
        self.last.insert(from, seqno);
        self.order.push_back(from);
        true
    }

    /// Forgets one writer, or all. Returns how many.
    pub(super) fn reset(&mut self, peer: Option<PeerId>) -> usize {
        let Some(peer) = peer else {
            self.order.clear();
            return std::mem::take(&mut self.last).len();
        };
        self.order.retain(|known| *known != peer);
        usize::from(self.last.remove(&peer).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_new_once_and_older_ones_never_are() {
        let (mut seqnos, [one, other]) = (Seqnos::default(), [PeerId::random(), PeerId::random()]);
        let asked = [5, 5, 4, 7, 6].map(|seqno| seqnos.is_new(Some(one), Some(seqno)));
        assert_eq!(asked, [true, false, false, true, false]);
        assert!(
            seqnos.is_new(Some(other), Some(1)) && seqnos.is_new(None, None) && seqnos.is_new(None, None)
        );
        assert_eq!((seqnos.reset(Some(one)), seqnos.reset(Some(one))), (1, 0));
        assert!(seqnos.is_new(Some(one), Some(5)));
        assert_eq!((seqnos.reset(None), seqnos.reset(None)), (2, 0));
    }

    #[test]
    fn no_more_writers_are_remembered_than_the_limit_says() {
        let (mut seqnos, first) = (Seqnos::default(), PeerId::random());
        seqnos.is_new(Some(first), Some(9));
        for _ in 0..WRITERS_MAX {
            assert!(seqnos.is_new(Some(PeerId::random()), Some(1)));
        }
        assert_eq!((seqnos.last.len(), seqnos.order.len()), (WRITERS_MAX, WRITERS_MAX));
        assert!(seqnos.is_new(Some(first), Some(1)), "it was forgotten");
    }
}
