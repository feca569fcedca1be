//! gossipsub in the swarm, with its bounds: it is asked through a queue of its own, and gives messages to who reads them.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use holdfast_dag::hash::HashKind;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::gossipsub::{
    self, CallbackSubscriptionFilter, ConfigBuilder, IdentTopic, MaxCountSubscriptionFilter,
    MessageAcceptance, MessageAuthenticity, MessageId, TopicHash, ValidationMode, Version,
};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use libp2p_identity::Keypair;
use tokio::sync::mpsc;

use super::admission::Admission;
use super::peer_topics::PeerTopics;
use super::seqnos::Seqnos;
use super::subscribers::Subscribers;
use super::{
    COMMANDS_MAX, Command, EXAMINED_MAX, Examined, MESSAGE_BYTES_MAX, Message, Pending, Pubsub, PubsubError,
    PubsubSettings, Router, TOPIC_BYTES_MAX, TOPICS_MAX, Verdict, too_large,
};

/// Messages that wait for one peer; further ones are lost to it. libp2p's default would hold 5 GB of the largest.
const QUEUE_MAX: usize = 128;
/// Topics that a peer may follow, as far as we know them.
const PEER_TOPICS_MAX: usize = 8192;
/// Changes of them in one message.
const CHANGES_MAX: usize = 8192;
/// Requests that are served before others of the swarm have their turn.
const TURN_MAX: usize = 16;
/// Peers of a topic that floodsub sends everything to: all of them.
const FLOOD_PEERS: usize = 4096;
/// The old protocol, which go-libp2p-pubsub speaks under both routers.
const FLOODSUB: &str = "/floodsub/1.0.0";

type Inner = gossipsub::Behaviour<Admission, MaxCountSubscriptionFilter<NameFilter>>;
/// Topics by the length of their names.
type NameFilter = CallbackSubscriptionFilter<fn(&TopicHash) -> bool>;

/// The behaviour.
pub struct Behaviour {
    inner: Inner,
    router: Router,
    us: PeerId,
    commands: mpsc::Receiver<Command>,
    examiner: mpsc::Sender<Examined>,
    admission: Admission,
    subscribers: Subscribers,
    /// Topics that the examiner follows.
    joined: HashSet<String>,
    /// None where messages need no signature: anybody can give them any number, and libp2p gives ours random ones.
    seqnos: Option<Seqnos>,
    /// Connected peers that do not speak it.
    silent: HashSet<PeerId>,
    peer_topics: PeerTopics,
    /// Peers that would have more remembered of them than may be: their connections are closed.
    greedy: HashSet<PeerId>,
    /// The last number that we gave to a message that only readers here have seen.
    own_seqno: u64,
}

impl std::fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("pubsub::Behaviour").field("router", &self.router).finish_non_exhaustive()
    }
}

impl Behaviour {
    /// One with this identity, the way to it, and what is told to the examiner of joined topics.
    pub fn new(
        key: &Keypair,
        settings: PubsubSettings,
    ) -> Result<(Self, Pubsub, mpsc::Receiver<Examined>), PubsubError> {
        let us = key.public().to_peer_id();
        let authenticity = if settings.signing {
            MessageAuthenticity::Signed(key.clone())
        } else {
            MessageAuthenticity::Author(us)
        };
        let config = config(settings).build().map_err(|error| PubsubError::Failed(error.to_string()))?;
        let filter = MaxCountSubscriptionFilter {
            filter: CallbackSubscriptionFilter(is_short as fn(&TopicHash) -> bool),
            max_subscribed_topics: PEER_TOPICS_MAX,
            max_subscriptions_per_request: CHANGES_MAX,
        };
        let admission = Admission::new();
        let inner = Inner::new_with_subscription_filter_and_transform(
            authenticity,
            config,
            filter,
            admission.clone(),
        );
        let inner = inner.map_err(|error| PubsubError::Failed(error.to_owned()))?;
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let (examiner, examined) = mpsc::channel(EXAMINED_MAX);
        let behaviour = Self {
            inner,
            router: settings.router,
            us,
            commands,
            examiner,
            admission,
            subscribers: Subscribers::default(),
            joined: HashSet::new(),
            seqnos: settings.signing.then(Seqnos::default),
            silent: HashSet::new(),
            peer_topics: PeerTopics::default(),
            greedy: HashSet::new(),
            own_seqno: 0,
        };
        Ok((behaviour, Pubsub { commands: sender }, examined))
    }

    /// What peers can open a stream for.
    pub fn protocols(&self) -> &'static [&'static str] {
        match self.router {
            Router::Gossipsub => {
                &[FLOODSUB, "/meshsub/1.0.0", "/meshsub/1.1.0", "/meshsub/1.2.0", "/meshsub/1.3.0"]
            }
            Router::Floodsub => &[FLOODSUB],
        }
    }

    fn on_command(&mut self, command: Command) {
        // Whoever asked and went away leaves nobody to tell.
        match command {
            Command::Publish { topic, data, reply } => {
                let _ = reply.send(self.publish(topic, data));
            }
            Command::Subscribe { topic, reply } => {
                let subscribed = self
                    .follow(&topic)
                    .and_then(|()| self.subscribers.add(&topic).ok_or(PubsubError::TooManySubscriptions));
                if subscribed.is_err() {
                    self.unfollow_unless_used(&topic);
                }
                let _ = reply.send(subscribed);
            }
            Command::Join { topic, reply } => {
                let followed = self.follow(&topic);
                if followed.is_ok() {
                    self.joined.insert(topic);
                }
                let _ = reply.send(followed);
            }
            Command::Leave { topic, reply } => {
                let was_joined = self.joined.remove(&topic);
                self.unfollow_unless_used(&topic);
                let _ = reply.send(was_joined);
            }
            Command::Topics { reply } => {
                let mut topics: Vec<String> = self.subscribers.topics().cloned().collect();
                topics.extend(self.joined.iter().filter(|topic| !self.subscribers.has(topic)).cloned());
                topics.sort_unstable();
                let _ = reply.send(topics);
            }
            Command::Peers { topic, reply } => {
                let _ = reply.send(self.peers(topic));
            }
            Command::Reset { peer, reply } => {
                let _ = reply.send(self.seqnos.as_mut().map_or(0, |seqnos| seqnos.reset(peer)));
            }
            Command::Judge { pending, verdict } => self.judge(&pending, verdict),
        }
    }

    fn publish(&mut self, topic: String, data: Vec<u8>) -> Result<(), PubsubError> {
        use gossipsub::PublishError;
        let published = match self.inner.publish(TopicHash::from_raw(topic.as_str()), data.clone()) {
            Ok(id) => Ok(seqno_in(&id)),
            // Nobody but readers here: it needs a number all the same.
            Err(PublishError::NoPeersSubscribedToTopic) => Ok(None),
            Err(PublishError::AllQueuesFull(peers)) => return Err(PubsubError::QueuesFull(peers)),
            Err(PublishError::MessageTooLarge) => return Err(too_large(&topic, &data)),
            Err(error) => Err(PubsubError::Failed(error.to_string())),
        }?;
        let seqno = published.unwrap_or_else(|| self.own_seqno.saturating_add(1).max(unix_nanos()));
        self.own_seqno = seqno;
        self.subscribers.give(&Arc::new(Message { from: Some(self.us), data, seqno: Some(seqno), topic }));
        Ok(())
    }

    fn follow(&mut self, topic: &str) -> Result<(), PubsubError> {
        let is_new = !self.is_followed(topic);
        if is_new && self.inner.topics().count() >= TOPICS_MAX {
            return Err(PubsubError::TooManyTopics);
        }
        let known = IdentTopic::new(topic);
        self.admission.set(&known.hash(), true);
        let subscribed = self.inner.subscribe(&known);
        subscribed.map(|_| ()).map_err(|error| PubsubError::Failed(error.to_string()))
    }

    fn is_followed(&self, topic: &str) -> bool {
        self.joined.contains(topic) || self.subscribers.has(topic)
    }

    fn unfollow_unless_used(&mut self, topic: &str) {
        if !self.is_followed(topic) {
            let known = IdentTopic::new(topic);
            self.admission.set(&known.hash(), false);
            self.inner.unsubscribe(&known);
        }
    }

    fn peers(&self, topic: Option<String>) -> Vec<PeerId> {
        let topic = topic.map(TopicHash::from_raw);
        let speaks = |peer: &PeerId| !self.silent.contains(peer);
        let all = self.inner.all_peers().filter(|(peer, topics)| match &topic {
            Some(topic) => topics.contains(&topic),
            None => speaks(peer),
        });
        let mut peers: Vec<PeerId> = all.map(|(peer, _)| *peer).collect();
        peers.sort_by_cached_key(|peer| peer.to_base58());
        peers
    }

    fn judge(&mut self, pending: &Pending, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        self.inner.report_message_validation_result(&pending.id, &pending.source, acceptance);
        if verdict == Verdict::Accept {
            self.subscribers.give(&pending.message);
        }
    }

    /// Takes an event in; a peer that follows more than may be remembered, and has to go.
    fn on_event(&mut self, event: gossipsub::Event) -> Option<PeerId> {
        match event {
            gossipsub::Event::Message { propagation_source: source, message_id: id, message } => {
                let gossipsub::Message { source: from, data, sequence_number: seqno, topic } = message;
                let message = Arc::new(Message { from, data, seqno, topic: topic.into_string() });
                let has_risen = self.seqnos.as_mut().is_none_or(|seqnos| seqnos.is_new(from, seqno));
                let is_new = from != Some(self.us) && has_risen;
                let pending = Pending { id, source, message };
                if !is_new {
                    self.judge(&pending, Verdict::Ignore);
                } else if !self.joined.contains(&pending.message.topic) {
                    self.judge(&pending, Verdict::Accept);
                } else if let Err(refused) = self.examiner.try_send(Examined::Message(pending))
                    && let Examined::Message(pending) = refused.into_inner()
                {
                    self.judge(&pending, Verdict::Ignore);
                }
            }
            gossipsub::Event::Subscribed { peer_id: peer, topic } => {
                let topic = topic.into_string();
                if !self.peer_topics.add(peer, &topic) && self.greedy.insert(peer) {
                    tracing::debug!("{peer} follows more topics than may be remembered");
                    return Some(peer);
                }
                if self.joined.contains(&topic) && self.examiner.capacity() > EXAMINED_MAX / 2 {
                    // Whoever examines asks new peers for what they know; they tell it later too. A peer can say this again and
                    // again, and messages need their room.
                    let _ = self.examiner.try_send(Examined::Peer { peer, topic });
                }
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                tracing::debug!("{peer_id} takes messages too slowly, and lost some: {failed_messages:?}");
            }
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                self.silent.insert(peer_id);
            }
            gossipsub::Event::Unsubscribed { peer_id: peer, topic } => {
                self.peer_topics.remove(&peer, topic.as_str());
            }
        }
        None
    }
}

fn config(settings: PubsubSettings) -> ConfigBuilder {
    let mut config = ConfigBuilder::default();
    config
        .max_transmit_size(MESSAGE_BYTES_MAX)
        .validation_mode(if settings.signing { ValidationMode::Strict } else { ValidationMode::Permissive })
        .validate_messages()
        .message_id_fn(message_id)
        .duplicate_cache_time(settings.seen_time)
        .connection_handler_queue_len(QUEUE_MAX)
        .publish_queue_duration(Duration::from_secs(5))
        .forward_queue_duration(Duration::from_secs(5))
        .flood_publish(true);
    match settings.router {
        Router::Gossipsub => config.support_floodsub(),
        // Everything to every peer of the topic: a mesh of all. Peers of that protocol pass over what is said about it.
        Router::Floodsub => config
            .protocol_id(FLOODSUB, Version::V1_0)
            .mesh_n_low(FLOOD_PEERS)
            .mesh_n(FLOOD_PEERS)
            .mesh_n_high(FLOOD_PEERS),
    };
    config
}

fn is_short(topic: &TopicHash) -> bool {
    topic.as_str().len() <= TOPIC_BYTES_MAX
}

/// What a message goes by in gossip: as go-libp2p-pubsub has it, so that both mean the same message.
fn message_id(message: &gossipsub::Message) -> MessageId {
    if let (Some(from), Some(seqno)) = (message.source, message.sequence_number) {
        return MessageId([&from.to_bytes()[..], &seqno.to_be_bytes()].concat());
    }
    let digest = HashKind::Sha2_256.digest(&[message.topic.as_str().as_bytes(), &[0], &message.data]);
    MessageId(digest.digest().to_vec())
}

/// The number in the ID of a message of ours.
fn seqno_in(id: &MessageId) -> Option<u64> {
    id.0.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <Inner as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionEstablished(new) => self.peer_topics.meet(new.peer_id),
            FromSwarm::ConnectionClosed(closed) if closed.remaining_established == 0 => {
                self.silent.remove(&closed.peer_id);
                self.peer_topics.forget(&closed.peer_id);
                self.greedy.remove(&closed.peer_id);
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        for topic in self.subscribers.gone(cx) {
            self.unfollow_unless_used(&topic);
        }
        let mut served = 0;
        while let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) {
            self.on_command(command);
            served += 1;
            if served == TURN_MAX {
                cx.waker().wake_by_ref();
                break;
            }
        }
        loop {
            match self.inner.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(event)) => {
                    if let Some(peer_id) = self.on_event(event) {
                        let connection = CloseConnection::All;
                        return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
                    }
                }
                Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event }) => {
                    return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event });
                }
                Poll::Ready(ToSwarm::Dial { opts }) => return Poll::Ready(ToSwarm::Dial { opts }),
                // It asks for nothing else.
                Poll::Ready(_) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
