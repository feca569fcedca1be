//! Who reads the messages of a topic here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use libp2p::futures::task::AtomicWaker;
use tokio::sync::mpsc;

use super::Message;

/// Readers of all topics together.
pub(super) const SUBSCRIPTIONS_MAX: usize = 1024;
/// Messages that wait for one reader; further ones are lost to it (go-libp2p-pubsub: 32).
const WAITING_MAX: usize = 128;

/// Said by whoever stops reading.
#[derive(Debug, Default)]
struct Left {
    said: AtomicBool,
    waker: AtomicWaker,
}

/// Messages of a topic, from its beginning on. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    messages: mpsc::Receiver<Arc<Message>>,
    left: Arc<Left>,
}

impl Subscription {
    /// The next message; none when the swarm is gone. It can be cancelled. Who reads too slowly loses messages.
    pub async fn next(&mut self) -> Option<Arc<Message>> {
        self.messages.recv().await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.messages.close();
        self.left.said.store(true, Ordering::Release);
        self.left.waker.wake();
    }
}

/// The readers, by topic.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    readers: HashMap<String, Vec<mpsc::Sender<Arc<Message>>>>,
    left: Arc<Left>,
}

impl Subscribers {
    /// One more reader; none if there are too many.
    pub(super) fn add(&mut self, topic: &str) -> Option<Subscription> {
        if self.readers.values().map(Vec::len).sum::<usize>() >= SUBSCRIPTIONS_MAX {
            return None;
        }
        let (sender, messages) = mpsc::channel(WAITING_MAX);
        self.readers.entry(topic.to_owned()).or_default().push(sender);
        Some(Subscription { messages, left: Arc::clone(&self.left) })
    }

    pub(super) fn has(&self, topic: &str) -> bool {
        self.readers.contains_key(topic)
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &String> {
        self.readers.keys()
    }

    /// Gives a message to all who read its topic.
    pub(super) fn give(&self, message: &Arc<Message>) {
        for reader in self.readers.get(&message.topic).into_iter().flatten() {
            if reader.try_send(Arc::clone(message)).is_err() {
                tracing::debug!("a reader of {:?} is too slow, and loses a message", message.topic);
            }
        }
    }

    /// Removes those who stopped reading, if there are any, and returns the topics that nobody reads any more. Whoever polls
    /// with this context is woken when somebody stops.
    pub(super) fn gone(&mut self, cx: &Context<'_>) -> Vec<String> {
        self.left.waker.register(cx.waker());
        if !self.left.said.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        self.readers.values_mut().for_each(|readers| readers.retain(|reader| !reader.is_closed()));
        let silent = self.readers.extract_if(|_, readers| readers.is_empty());
        silent.map(|(topic, _)| topic).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn message(topic: &str, number: u64) -> Arc<Message> {
        Arc::new(Message { from: None, data: Vec::new(), seqno: Some(number), topic: topic.to_owned() })
    }

    #[tokio::test]
    async fn a_slow_reader_loses_messages_and_nobody_else_does() {
        let mut subscribers = Subscribers::default();
        let mut readers = [subscribers.add("a").unwrap(), subscribers.add("a").unwrap()];
        for number in 0..1000 {
            subscribers.give(&message("a", number));
            assert_eq!(readers[0].next().await.unwrap().seqno, Some(number));
        }
        drop(subscribers);
        let mut kept = 0;
        while let Some(message) = readers[1].next().await {
            assert_eq!(message.seqno, Some(kept));
            kept += 1;
        }
        assert_eq!(kept, WAITING_MAX as u64);
    }

    #[test]
    fn a_topic_ends_with_its_last_reader_and_readers_have_a_limit() {
        let (mut subscribers, cx) = (Subscribers::default(), Context::from_waker(Waker::noop()));
        let [one, other] = ["a", "a"].map(|topic| subscribers.add(topic).unwrap());
        drop(one);
        assert!(subscribers.gone(&cx).is_empty() && subscribers.has("a"));
        drop(other);
        assert_eq!(subscribers.gone(&cx), ["a"]);
        assert!(!subscribers.has("a"));
        let all: Vec<_> = (0..SUBSCRIPTIONS_MAX).map(|_| subscribers.add("b").unwrap()).collect();
        assert!(subscribers.add("c").is_none());
        drop(all);
        subscribers.gone(&cx);
        assert!(subscribers.add("c").is_some());
    }
}
