//! IPNS over pubsub (`Ipns.UsePubsub`), as go-libp2p-pubsub-router does it: each name has a topic on which its records are
//! published, and who follows it asks new peers of the topic for the record that they have.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use holdfast_dht::ipns::{Name, PutError, Record};
use libp2p::PeerId;
use libp2p::swarm::Stream;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::followed::{Followed, Why};
use super::turns::{Guests, Turns};
use super::{Keeper, NameError, record_fetch};
use crate::pubsub::{Examined, Gone, Pending, Pubsub, PubsubError, Verdict};
use crate::swarm::{AcceptError, Incoming, Streams};

/// What the topic of a record begins with.
const TOPIC_PREFIX: &str = "/record/";
/// What the key of a name's record begins with.
const KEY_PREFIX: &[u8] = b"/ipns/";
/// Time between two publications of what is known (go-libp2p-pubsub-router's).
const AGAIN: Duration = Duration::from_secs(600);
/// Messages that are examined at once. They wait for the disk alone, and for nobody who asks or is asked.
const MESSAGES_MAX: usize = 32;
/// How long one question to a peer may take, its stream included.
const QUESTION_TIME_MAX: Duration = Duration::from_secs(10);
/// Peers of a topic that are asked at once.
const ASKED_MAX: usize = 8;
/// How long all of them together may take.
const ASK_TIME_MAX: Duration = Duration::from_secs(15);

/// Names over pubsub. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NameGossip {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pubsub: Pubsub,
    streams: Streams,
    keeper: Keeper,
    followed: Mutex<Followed>,
    /// Held while a topic is joined or left, so that pubsub follows what is noted here.
    changing: AsyncMutex<()>,
}

impl NameGossip {
    /// Starts it, on the tokio runtime that this is called in. It ends with the swarm.
    pub(crate) fn start(
        pubsub: Pubsub,
        streams: &Streams,
        keeper: Keeper,
        examined: mpsc::Receiver<Examined>,
    ) -> Result<Self, AcceptError> {
        let questions = streams.accept(record_fetch::PROTOCOL)?;
        let (followed, changing) = (Mutex::default(), AsyncMutex::default());
        let inner = Inner { pubsub, streams: streams.clone(), keeper, followed, changing };
        let gossip = Self { inner: Arc::new(inner) };
        tokio::spawn(gossip.clone().run(examined, questions));
        Ok(gossip)
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.inner.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names that are followed, in the order of their topics.
    pub fn names(&self) -> Vec<Name> {
        self.followed().names()
    }

    /// Follows a name from now on.
    async fn follow(&self, name: Name, why: Why) -> Result<(), PubsubError> {
        let topic = topic_of(&name);
        if self.followed().used(&topic, why) {
            return Ok(());
        }
        let gossip = self.clone();
        // Whoever asks may go away before it is done, and a topic would be followed that is not noted, or the other way round.
        let following = tokio::spawn(async move { gossip.follow_new(topic, name, why).await });
        following.await.unwrap_or(Err(PubsubError::Gone(Gone)))
    }

    async fn follow_new(&self, topic: String, name: Name, why: Why) -> Result<(), PubsubError> {
        let _changing = self.inner.changing.lock().await;
        // Before the first message can come.
        let oldest = {
            let mut followed = self.followed();
            if followed.used(&topic, why) {
                return Ok(());
            }
            followed.add(topic.clone(), name, why)
        };
        if let Some(oldest) = oldest {
            self.inner.pubsub.leave(&oldest).await?;
        }
        let joined = self.inner.pubsub.join(&topic).await;
        if joined.is_err() {
            self.followed().remove(&topic);
        }
        joined
    }

    /// No longer follows a name. Returns whether it was followed.
    pub async fn cancel(&self, name: &Name) -> bool {
        let topic = topic_of(name);
        let _changing = self.inner.changing.lock().await;
        let was_followed = self.followed().remove(&topic);
        // When the swarm is gone, so is the topic.
        let _ = self.inner.pubsub.leave(&topic).await;
        was_followed
    }

    /// Tells a record to whoever follows its name, and follows it.
    pub async fn publish(&self, name: Name, record: &Record) -> Result<(), PubsubError> {
        self.follow(name, Why::Published).await?;
        self.inner.pubsub.publish(&topic_of(&name), record.as_bytes().to_vec()).await
    }

    /// Follows a name, and asks peers that do so too for its record, which is kept. `None` where nobody has one, or the one
    /// that is kept is newer than theirs: then they do not know whether it still holds.
    pub async fn look_up(&self, name: Name) -> Option<Record> {
        self.follow(name, Why::LookedUp).await.ok()?;
        let before = self.inner.keeper.record(name).await.ok();
        let peers = self.inner.pubsub.peers(Some(&topic_of(&name))).await.ok()?;
        let mut asking = JoinSet::new();
        for peer in peers.into_iter().take(ASKED_MAX) {
            let gossip = self.clone();
            asking.spawn(async move {
                let told = gossip.ask(peer, name).await.ok().flatten()?;
                gossip.inner.keeper.put(name, told).await.ok()
            });
        }
        let mut has_heard = false;
        let all = async {
            while let Some(told) = asking.join_next().await {
                has_heard |= told.is_ok_and(|told| told.is_some());
            }
        };
        // Whoever has not answered by then is not waited for.
        let _ = timeout(ASK_TIME_MAX, all).await;
        let kept = self.inner.keeper.record(name).await.ok();
        // A message may have come meanwhile.
        if has_heard || kept != before { kept } else { None }
    }

    async fn run(self, mut examined: mpsc::Receiver<Examined>, mut questions: Incoming) {
        let (mut messages, mut asking, mut answering) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        let (mut turns, mut guests, mut telling) = (Turns::default(), Guests::default(), JoinSet::new());
        let mut again = interval_at(Instant::now() + AGAIN, AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some((peer, topic)) = turns.next() {
                let gossip = self.clone();
                asking.spawn(async move { (peer, gossip.ask_for_topic(peer, &topic).await) });
            }
            let gossip = self.clone();
            tokio::select! {
                event = examined.recv(), if messages.len() < MESSAGES_MAX => match event {
                    Some(Examined::Message(pending)) => drop(messages.spawn(async move { gossip.examine(pending).await })),
                    Some(Examined::Peer { peer, topic }) => turns.add(peer, topic),
                    None => return,
                },
                question = questions.next() => match question {
                    Some((peer, stream)) => {
                        if let Some(stream) = guests.come(peer, stream) {
                            answering.spawn(async move { gossip.answer(peer, stream).await });
                        }
                    }
                    None => return,
                },
                _ = messages.join_next(), if !messages.is_empty() => {}
                Some(asked) = asking.join_next(), if !asking.is_empty() => {
                    if let Ok((peer, has_answered)) = asked {
                        turns.ended(peer, has_answered);
                    }
                }
                Some(answered) = answering.join_next(), if !answering.is_empty() => {
                    if let Ok(peer) = answered
                        && let Some(stream) = guests.answered(peer)
                    {
                        answering.spawn(async move { gossip.answer(peer, stream).await });
                    }
                }
                _ = telling.join_next(), if !telling.is_empty() => {}
                _ = again.tick(), if telling.is_empty() => drop(telling.spawn(async move { gossip.tell_again().await })),
            }
        }
    }

    /// Asks a peer that follows a topic too for its record. Returns whether it has answered.
    async fn ask_for_topic(&self, peer: PeerId, topic: &str) -> bool {
        let Some(name) = self.followed().name(topic) else { return true };
        let Ok(answer) = self.ask(peer, name).await else { return false };
        if let Some(told) = answer {
            self.take(name, told).await;
        }
        true
    }

    /// Keeps what a message says if it is valid and newer, and only then has it passed on.
    async fn examine(&self, pending: Pending) {
        let name = self.followed().name(&pending.message.topic);
        let verdict = match name {
            Some(name) => self.take(name, pending.message.data.clone()).await,
            None => Verdict::Ignore,
        };
        // When the swarm is gone, there is nobody to pass it on.
        let _ = self.inner.pubsub.judge(pending, verdict).await;
    }

    async fn take(&self, name: Name, record: Vec<u8>) -> Verdict {
        let kept = self.inner.keeper.record(name).await;
        if kept.is_ok_and(|kept| kept.as_bytes() == record) {
            return Verdict::Ignore;
        }
        match self.inner.keeper.put(name, record).await {
            Ok(_) => Verdict::Accept,
            Err(NameError::Put(PutError::Record(_) | PutError::Invalid(_))) => Verdict::Reject,
            Err(error) => {
                tracing::debug!("a record of {name} that came over pubsub is not kept: {error}");
                Verdict::Ignore
            }
        }
    }

    /// Asks a peer for the record of a name, and returns its answer: a record, or that it has none.
    async fn ask(&self, peer: PeerId, name: Name) -> io::Result<Option<Vec<u8>>> {
        let asking = async {
            let stream = self.inner.streams.open(peer, record_fetch::PROTOCOL).await;
            record_fetch::ask(stream.map_err(io::Error::other)?, &key_of(&name)).await
        };
        let told = timeout(QUESTION_TIME_MAX, asking).await.unwrap_or_else(|late| Err(late.into()));
        told.inspect_err(|error| tracing::debug!("asking {peer} for the record of {name}: {error}"))
    }

    /// Answers a peer with a record that is kept. Returns whom.
    async fn answer(&self, peer: PeerId, stream: Stream) -> PeerId {
        let look_up = |key: Vec<u8>| async move {
            let name = key.strip_prefix(KEY_PREFIX).and_then(|key| PeerId::from_bytes(key).ok())?;
            let record = self.inner.keeper.record(Name::from(name)).await.ok()?;
            Some(record.as_bytes().to_vec())
        };
        if let Err(error) = record_fetch::answer(stream, look_up).await {
            tracing::debug!("{peer} asks for a record: {error}");
        }
        peer
    }

    /// Tells what is known of every name that is followed.
    async fn tell_again(&self) {
        for name in self.names() {
            let Ok(record) = self.inner.keeper.record(name).await else { continue };
            let told = self.inner.pubsub.publish(&topic_of(&name), record.as_bytes().to_vec()).await;
            if let Err(error) = told {
                tracing::debug!("the record of {name} is not told again: {error}");
            }
        }
    }
}

fn key_of(name: &Name) -> Vec<u8> {
    [KEY_PREFIX, &name.to_bytes()].concat()
}

/// The topic of a name's records.
fn topic_of(name: &Name) -> String {
    format!("{TOPIC_PREFIX}{}", BASE64URL_NOPAD.encode(&key_of(name)))
}

#[cfg(test)]
mod hostile_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_of_a_name_is_that_of_other_nodes() {
        let name: Name = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5".parse().unwrap();
        let topic = topic_of(&name);
        let key = BASE64URL_NOPAD.decode(topic.strip_prefix("/record/").unwrap().as_bytes()).unwrap();
        assert_eq!(key.strip_prefix(b"/ipns/").unwrap(), name.peer_id().to_bytes());
        assert!(topic.starts_with("/record/L2lwbnMvACQIARIg"), "{topic}");
    }
}
