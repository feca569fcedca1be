//! Whose turn it is: which peer is asked next for what it knows of a name, and which peer's question is answered. Whoever has many
//! names, is slow or says nothing keeps no other peer waiting. It does no I/O.

use std::collections::{BTreeSet, HashMap, VecDeque};

use libp2p::PeerId;

/// Peers that are asked at once, each one question at a time.
const ASKED_MAX: usize = 32;
/// Peers that are to be asked, at most; they tell what they know later too.
const PEERS_MAX: usize = 1024;
/// Topics that one peer is to be asked for.
const TOPICS_MAX: usize = 1024;
/// Topics that all of them are to be asked for: half a megabyte of names.
const ALL_TOPICS_MAX: usize = 8192;
/// Questions of one peer that are answered at once.
const ANSWERED_MAX: usize = 2;
/// Questions of all peers that are answered at once.
const ALL_ANSWERED_MAX: usize = 64;
/// Questions of one peer that wait for those before them: others ask for all names that they share with us at once.
const WAITING_MAX: usize = 32;
/// Questions of all peers that wait.
const ALL_WAITING_MAX: usize = 256;

/// Questions to peers.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// What each peer is to be asked for, besides what it is being asked for now.
    topics: HashMap<PeerId, BTreeSet<String>>,
    /// How many they are.
    count: usize,
    /// Those of the peers that are not being asked.
    next: VecDeque<PeerId>,
    /// How many are being asked.
    asked: usize,
}

impl Turns {
    /// A peer is to be asked for a topic; that it said so before changes nothing.
    pub(super) fn add(&mut self, peer: PeerId, topic: String) {
        if self.count >= ALL_TOPICS_MAX {
            return;
        }
        if !self.topics.contains_key(&peer) {
            if self.topics.len() >= PEERS_MAX {
                return;
            }
            self.next.push_back(peer);
        }
        let topics = self.topics.entry(peer).or_default();
        if topics.len() < TOPICS_MAX && topics.insert(topic) {
            self.count += 1;
        }
    }

    /// Whom to ask for what now, if there is somebody, and room. It is over with [`Self::ended`].
    pub(super) fn next(&mut self) -> Option<(PeerId, String)> {
        if self.asked >= ASKED_MAX {
            return None;
        }
        let peer = self.next.pop_front()?;
        let topic = self.topics.get_mut(&peer)?.pop_first()?;
        self.asked += 1;
        self.count -= 1;
        Some((peer, topic))
    }

    /// A question is over. A peer that did not answer it is not asked the others.
    pub(super) fn ended(&mut self, peer: PeerId, has_answered: bool) {
        self.asked = self.asked.saturating_sub(1);
        if has_answered && self.topics.get(&peer).is_some_and(|topics| !topics.is_empty()) {
            self.next.push_back(peer);
        } else if let Some(topics) = self.topics.remove(&peer) {
            self.count -= topics.len();
        }
    }
}

/// Questions of peers, each of which is a `Q`.
#[derive(Debug)]
pub(super) struct Guests<Q> {
    peers: HashMap<PeerId, Guest<Q>>,
    answered: usize,
    waiting: usize,
}

#[derive(Debug)]
struct Guest<Q> {
    answered: usize,
    waiting: VecDeque<Q>,
}

impl<Q> Default for Guests<Q> {
    fn default() -> Self {
        Self { peers: HashMap::new(), answered: 0, waiting: 0 }
    }
}

impl<Q> Guests<Q> {
    /// A question came. It is returned where it is to be answered now; where it is neither that nor waits, it is dropped.
    pub(super) fn come(&mut self, peer: PeerId, question: Q) -> Option<Q> {
        if self.answered >= ALL_ANSWERED_MAX && !self.peers.contains_key(&peer) {
            return None;
        }
        let guest = self.peers.entry(peer).or_insert(Guest { answered: 0, waiting: VecDeque::new() });
        if guest.answered < ANSWERED_MAX && self.answered < ALL_ANSWERED_MAX {
            guest.answered += 1;
            self.answered += 1;
            return Some(question);
        }
        if guest.waiting.len() < WAITING_MAX && self.waiting < ALL_WAITING_MAX {
            guest.waiting.push_back(question);
            self.waiting += 1;
        }
        None
    }

    /// One was answered, or failed. Returns the peer's next, which is to be answered now.
    pub(super) fn answered(&mut self, peer: PeerId) -> Option<Q> {
        let guest = self.peers.get_mut(&peer)?;
        if let Some(question) = guest.waiting.pop_front() {
            self.waiting -= 1;
            return Some(question);
        }
        self.answered = self.answered.saturating_sub(1);
        guest.answered = guest.answered.saturating_sub(1);
        if guest.answered == 0 {
            self.peers.remove(&peer);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_follows_a_topic_again_and_again_is_asked_once_at_a_time() {
        let (mut turns, peer, other) = (Turns::default(), PeerId::random(), PeerId::random());
        for number in 0..10_000 {
            turns.add(peer, format!("{}", number % 3));
        }
        turns.add(other, "0".to_owned());
        assert_eq!(turns.next(), Some((peer, "0".to_owned())));
        assert_eq!(turns.next(), Some((other, "0".to_owned())));
        assert_eq!(turns.next(), None, "one at a time of each");
        turns.ended(peer, true);
        assert_eq!(turns.next(), Some((peer, "1".to_owned())));
        turns.ended(peer, false);
        turns.ended(other, true);
        assert_eq!(turns.next(), None, "who does not answer is not asked the rest");
        assert!(turns.topics.is_empty() && turns.count == 0 && turns.asked == 0);
    }

    #[test]
    fn what_peers_can_be_asked_for_is_bounded() {
        let mut turns = Turns::default();
        let peers: Vec<PeerId> = (0..2 * PEERS_MAX).map(|_| PeerId::random()).collect();
        for number in 0..2 * TOPICS_MAX {
            turns.add(peers[0], number.to_string());
        }
        assert_eq!(turns.count, TOPICS_MAX);
        for peer in &peers {
            for number in 0..16 {
                turns.add(*peer, number.to_string());
            }
        }
        assert_eq!(turns.count, ALL_TOPICS_MAX);
        assert!(turns.topics.len() <= PEERS_MAX);
        assert_eq!(std::iter::from_fn(|| turns.next()).count(), ASKED_MAX);
    }

    #[test]
    fn a_peer_with_many_questions_leaves_room_for_others() {
        let (mut guests, peer) = (Guests::default(), PeerId::random());
        let come = |guests: &mut Guests<usize>, peer, number| guests.come(peer, number);
        assert_eq!((0..100).filter_map(|number| come(&mut guests, peer, number)).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(come(&mut guests, PeerId::random(), 7), Some(7));
        let rest: Vec<usize> = std::iter::from_fn(|| guests.answered(peer)).collect();
        assert_eq!(rest, (2..2 + WAITING_MAX).collect::<Vec<_>>());
        assert_eq!((guests.answered(peer), guests.waiting, guests.answered), (None, 0, 1));
        assert_eq!(guests.peers.len(), 1);
    }
}
