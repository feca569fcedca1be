//! Which messages of others get in: those of topics that are followed here, and not more bytes of them than can be kept.
//!
//! gossipsub keeps every message that it takes for some seconds, to be able to give it again, and whatever its topic.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use libp2p::gossipsub::{DataTransform, Message, RawMessage, TopicHash};

/// Bytes of messages that are taken at once.
const BURST_BYTES: u64 = 16 << 20;
/// Bytes of messages that are taken a second, when more come.
const BYTES_PER_SECOND: u64 = 8 << 20;
/// What a message costs beside its data.
const MESSAGE_COST_BYTES: u64 = 512;

/// Shared by the behaviour and what it gives to gossipsub.
#[derive(Debug, Clone)]
pub struct Admission {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    topics: HashSet<TopicHash>,
    budget: Budget,
}

/// A bucket of bytes that fills up again.
#[derive(Debug)]
struct Budget {
    bytes: u64,
    filled: Instant,
}

impl Budget {
    /// Whether this many bytes may be taken; they are taken if so.
    fn take(&mut self, bytes: u64, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.filled).as_millis();
        let gained = u64::try_from(since).unwrap_or(u64::MAX).saturating_mul(BYTES_PER_SECOND) / 1000;
        if gained > 0 {
            self.bytes = self.bytes.saturating_add(gained).min(BURST_BYTES);
            self.filled = now;
        }
        let enough = self.bytes >= bytes;
        if enough {
            self.bytes -= bytes;
        }
        enough
    }
}

impl Admission {
    pub(super) fn new() -> Self {
        let budget = Budget { bytes: BURST_BYTES, filled: Instant::now() };
        Self { inner: Arc::new(Mutex::new(Inner { topics: HashSet::new(), budget })) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets messages of a topic in, or no longer.
    pub(super) fn set(&self, topic: &TopicHash, is_followed: bool) {
        let mut inner = self.lock();
        if is_followed {
            inner.topics.insert(topic.clone());
        } else {
            inner.topics.remove(topic);
        }
    }
}

impl DataTransform for Admission {
    fn inbound_transform(&self, message: RawMessage) -> Result<Message, io::Error> {
        let mut inner = self.lock();
        if !inner.topics.contains(&message.topic) {
            return Err(io::Error::other("nobody here follows the topic"));
        }
        if !inner.budget.take(message.data.len() as u64 + MESSAGE_COST_BYTES, Instant::now()) {
            return Err(io::Error::other("more messages come than are taken"));
        }
        let RawMessage { source, data, sequence_number, topic, .. } = message;
        Ok(Message { source, data, sequence_number, topic })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> Result<Vec<u8>, io::Error> {
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn message(topic: &TopicHash, bytes: usize) -> RawMessage {
        let (data, topic) = (vec![0; bytes], topic.clone());
        RawMessage {
            source: None,
            data,
            sequence_number: None,
            topic,
            signature: None,
            key: None,
            validated: true,
        }
    }

    #[test]
    fn messages_of_other_topics_are_not_taken() {
        let (admission, [topic, other]) = (Admission::new(), ["a", "b"].map(TopicHash::from_raw));
        admission.set(&topic, true);
        assert!(admission.inbound_transform(message(&topic, 1)).is_ok());
        assert!(admission.inbound_transform(message(&other, 1)).is_err());
        admission.set(&topic, false);
        assert!(admission.inbound_transform(message(&topic, 1)).is_err());
    }

    #[test]
    fn a_flood_is_cut_to_the_rate_that_is_allowed() {
        let start = Instant::now();
        let mut budget = Budget { bytes: BURST_BYTES, filled: start };
        let taken = (0..100).filter(|_| budget.take(1 << 20, start)).count();
        assert_eq!(taken, 16);
        let later = start + Duration::from_secs(1);
        let taken = (0..100).filter(|_| budget.take(1 << 20, later)).count();
        assert_eq!(taken, 8);
        let much_later = later + Duration::from_secs(3600);
        let taken = (0..100).filter(|_| budget.take(1 << 20, much_later)).count();
        assert_eq!(taken, 16);
    }
}
