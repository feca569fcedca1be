//! Messages about topics (`pubsub`): gossipsub, off unless `Pubsub.Enabled` or `Ipns.UsePubsub` says otherwise.
//!
//! [`Behaviour`] runs in the swarm and holds everything; the rest of the program has a [`Pubsub`], which asks it. Nothing here
//! waits without a bound: whoever reads too slowly loses messages, and so does whoever sends too many.
//!
//! # Map
//! `settings` reads the config; `behaviour` wraps libp2p's gossipsub; `admission` says which messages get in at all, `seqnos`
//! which of them are new, `subscribers` who gets them.

mod admission;
mod behaviour;
mod peer_topics;
mod seqnos;
mod settings;
mod subscribers;

use std::sync::Arc;

use libp2p::PeerId;
use libp2p::gossipsub::MessageId;
use tokio::sync::{mpsc, oneshot};

pub use behaviour::Behaviour;
pub use settings::{PubsubFlags, PubsubSettings, Router};
pub use subscribers::Subscription;

/// Largest message, everything around its data included (go-libp2p-pubsub's default): 1 MiB.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// What topic, sender, number, signature and key of a message may take of that, beside the topic's own length.
const MESSAGE_HEAD_BYTES: usize = 1024;
/// Longest topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 4096;
/// Topics that are subscribed to at once.
pub const TOPICS_MAX: usize = 4096;
/// Requests that wait for the swarm; whoever gives more waits.
const COMMANDS_MAX: usize = 64;
/// Messages that wait to be examined; further ones are not passed on.
const EXAMINED_MAX: usize = 64;

/// A message about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who wrote it; none where messages are not signed and do not say.
    pub from: Option<PeerId>,
    /// What it says.
    pub data: Vec<u8>,
    /// Its number among those of its writer.
    pub seqno: Option<u64>,
    /// What it is about.
    pub topic: String,
}

/// The swarm is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node has left the network: its swarm has stopped")]
pub struct Gone;

/// Why a message was not published, or a topic not subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PubsubError {
    /// The swarm is gone.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The message is too large.
    #[error(
        "message of {bytes} bytes is larger than pubsub carries: at most {max} bytes under this topic, \
         {MESSAGE_BYTES_MAX} with all around it"
    )]
    TooLarge {
        /// Bytes of its data.
        bytes: usize,
        /// How many there may be.
        max: usize,
    },
    /// The topic is too long.
    #[error("topic of {0} bytes is longer than {TOPIC_BYTES_MAX} bytes")]
    LongTopic(usize),
    /// Too many topics are subscribed to.
    #[error("{TOPICS_MAX} topics are subscribed to already")]
    TooManyTopics,
    /// Too many readers.
    #[error("{} subscriptions are open already", subscribers::SUBSCRIPTIONS_MAX)]
    TooManySubscriptions,
    /// No peer could be sent it.
    #[error("the queues to all {0} peers of the topic are full: publish more slowly")]
    QueuesFull(usize),
    /// Signing it failed, or the like.
    #[error("{0}")]
    Failed(String),
}

/// What is asked of the behaviour.
#[derive(Debug)]
enum Command {
    Publish {
        topic: String,
        data: Vec<u8>,
        reply: oneshot::Sender<Result<(), PubsubError>>,
    },
    Subscribe {
        topic: String,
        reply: oneshot::Sender<Result<Subscription, PubsubError>>,
    },
    /// Follows a topic whose messages somebody here examines before they are passed on.
    Join {
        topic: String,
        reply: oneshot::Sender<Result<(), PubsubError>>,
    },
    Leave {
        topic: String,
        reply: oneshot::Sender<bool>,
    },
    Topics {
        reply: oneshot::Sender<Vec<String>>,
    },
    Peers {
        topic: Option<String>,
        reply: oneshot::Sender<Vec<PeerId>>,
    },
    Reset {
        peer: Option<PeerId>,
        reply: oneshot::Sender<usize>,
    },
    Judge {
        pending: Pending,
        verdict: Verdict,
    },
}

/// What an examiner finds of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is passed on.
    Accept,
    /// It is not, and that is nobody's fault.
    Ignore,
    /// It is not, and who sent it should have known.
    Reject,
}

/// A message that waits for its verdict.
#[derive(Debug)]
pub struct Pending {
    id: MessageId,
    /// Who passed it to us.
    source: PeerId,
    /// What it says.
    pub message: Arc<Message>,
}

/// What the examiner of joined topics is told.
#[derive(Debug)]
pub enum Examined {
    /// A message came. It waits for [`Pubsub::judge`], and is forgotten after a while without that.
    Message(Pending),
    /// A peer follows a topic too.
    Peer {
        /// Who.
        peer: PeerId,
        /// Which.
        topic: String,
    },
}

/// The way to pubsub. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pubsub {
    commands: mpsc::Sender<Command>,
}

impl Pubsub {
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// Publishes a message to whoever follows the topic, those at this node included. That nobody does is no failure.
    pub async fn publish(&self, topic: &str, data: Vec<u8>) -> Result<(), PubsubError> {
        check_topic(topic)?;
        if data.len() > data_bytes_max(topic) {
            return Err(too_large(topic, &data));
        }
        let topic = topic.to_owned();
        self.ask(|reply| Command::Publish { topic, data, reply }).await?
    }

    /// Follows a topic. Messages that come from now on are given to the subscription, until that is dropped.
    pub async fn subscribe(&self, topic: &str) -> Result<Subscription, PubsubError> {
        check_topic(topic)?;
        let topic = topic.to_owned();
        self.ask(|reply| Command::Subscribe { topic, reply }).await?
    }

    /// Follows a topic for the examiner, until [`Self::leave`].
    pub async fn join(&self, topic: &str) -> Result<(), PubsubError> {
        check_topic(topic)?;
        let topic = topic.to_owned();
        self.ask(|reply| Command::Join { topic, reply }).await?
    }

    /// No longer follows a topic for the examiner. Returns whether it did.
    pub async fn leave(&self, topic: &str) -> Result<bool, Gone> {
        let topic = topic.to_owned();
        self.ask(|reply| Command::Leave { topic, reply }).await
    }

    /// Says what becomes of a message.
    pub async fn judge(&self, pending: Pending, verdict: Verdict) -> Result<(), Gone> {
        self.commands.send(Command::Judge { pending, verdict }).await.map_err(|_| Gone)
    }

    /// The topics that are followed, sorted.
    pub async fn topics(&self) -> Result<Vec<String>, Gone> {
        self.ask(|reply| Command::Topics { reply }).await
    }

    /// The connected peers that speak pubsub, or those of them that follow a topic; sorted by ID in text.
    pub async fn peers(&self, topic: Option<&str>) -> Result<Vec<PeerId>, Gone> {
        let topic = topic.map(str::to_owned);
        self.ask(|reply| Command::Peers { topic, reply }).await
    }

    /// Forgets the last numbers of messages, of all writers or of one. Returns of how many.
    pub async fn reset(&self, peer: Option<PeerId>) -> Result<usize, Gone> {
        self.ask(|reply| Command::Reset { peer, reply }).await
    }
}

/// Bytes of data that a message under a topic may have.
fn data_bytes_max(topic: &str) -> usize {
    MESSAGE_BYTES_MAX.saturating_sub(MESSAGE_HEAD_BYTES + topic.len())
}

fn too_large(topic: &str, data: &[u8]) -> PubsubError {
    PubsubError::TooLarge { bytes: data.len(), max: data_bytes_max(topic) }
}

fn check_topic(topic: &str) -> Result<(), PubsubError> {
    if topic.len() > TOPIC_BYTES_MAX { Err(PubsubError::LongTopic(topic.len())) } else { Ok(()) }
}
