//! One connection: its streams, and what goes between them and the behaviour.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::SelectAll;
use libp2p::StreamProtocol;
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, DialUpgradeError, FullyNegotiatedInbound,
    FullyNegotiatedOutbound, ProtocolsChange,
};
use libp2p::swarm::{StreamUpgradeError, SubstreamProtocol};

use super::hashing;
use super::inbound::{Inbound, Inflow};
use super::outbound::{Event, Outbound};
use super::upgrade::Offer;
use crate::config::Config;
use crate::counters::{Counters, InFlight};
use crate::host::Host;
use crate::inbox::{Control, Credit, From, Inbox, Input, Line, Sending};
use crate::message::{Message, Version};
use crate::room::{Marks, Room, Share};

/// A stream out is agreed on within this time.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages of a connection that wait for hashing or for the behaviour at most; then reading pauses.
const MESSAGES_MAX: usize = 32;

/// What the behaviour tells a connection: a message to send.
#[derive(Debug)]
pub struct Outgoing {
    pub(super) message: Message,
    pub(super) sending: Sending,
}

/// What all connections share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) config: Arc<Config>,
    pub(super) host: Arc<dyn Host>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) counters: Arc<Counters>,
    pub(super) room: Arc<Room>,
}

/// The handler of a connection. Reading, writing and hashing go on independently: two peers that both write much cannot wait for each
/// other.
pub struct Handler {
    from: From,
    common: Common,
    line: Arc<Line>,
    /// Nothing on relayed connections.
    offer: Offer,
    inbound: SelectAll<Inbound>,
    marks: Vec<Arc<Marks>>,
    room: Arc<Room>,
    outbound: Outbound,
}

impl Handler {
    pub(super) fn new(from: From, common: Common, line: Arc<Line>, offer: Offer) -> Self {
        let room = Arc::new(Room::of_connection(common.config.inbound_bytes_max));
        let outbound = Outbound::new(&common.config, common.counters.clone());
        let inbound = SelectAll::new();
        Self { from, common, line, offer, inbound, marks: Vec::new(), room, outbound }
    }

    /// Takes a stream; when there are too many, the one that came first of those that are idle goes. While reading pauses nobody knows
    /// which are, and those that end would not be looked at: then there is no room for another.
    fn on_inbound(&mut self, mut stream: libp2p::Stream) {
        self.marks.retain(|marks| !marks.is_over());
        if self.marks.len() >= self.common.config.inbound_streams_max {
            let idle = |marks: &Arc<Marks>| marks.idle.load(Ordering::Relaxed);
            match self.marks.iter().position(idle).filter(|_| !self.is_paused()) {
                Some(at) => self.marks.remove(at).end(),
                None => return,
            }
        }
        let marks = Arc::new(Marks::default());
        let share = Share::new(&self.room, &self.common.room, &marks);
        self.marks.push(marks);
        // An idle stream is no reason to keep a connection.
        stream.ignore_for_keep_alive();
        let in_flight = InFlight::new(&self.common.counters);
        self.inbound.push(Inbound::new(stream, share, self.common.config.stream_idle_max, in_flight));
    }

    pub(super) fn on_message(&mut self, message: Message, bytes: usize) {
        self.common.counters.messages_received.add(1);
        self.common.counters.traffic.response_bytes.observe(bytes as u64);
        self.readmit();
        let Message { entries, full, blocks, presences, .. } = message;
        if full || !entries.is_empty() || !presences.is_empty() {
            let held = entries.len() * size_of::<crate::message::Entry>()
                + presences.len() * size_of::<crate::message::Presence>();
            let control = Control { entries, full, presences };
            self.common.inbox.push(Input::Control(self.from, control, Credit::new(&self.line, held)));
        }
        if blocks.is_empty() {
            return;
        }
        for block in &blocks {
            self.common.counters.recv_all_blocks_bytes.observe(block.data.len() as u64);
        }
        if self.line.wants() == 0 {
            // Nothing was asked of this peer: not worth hashing.
            self.common.counters.unwanted_blocks.add(blocks.len() as u64);
            return;
        }
        let to = (&self.common.inbox, &self.line);
        hashing::hash(self.from, blocks, bytes, to, &*self.common.host);
    }

    /// Whether what was read is to be dealt with before more is.
    fn is_paused(&self) -> bool {
        let (messages, bytes) = self.line.held();
        messages >= MESSAGES_MAX || bytes >= self.common.config.inbound_bytes_max
    }

    /// Reads as long as what was read before is being dealt with.
    fn poll_inbound(&mut self, cx: &mut Context<'_>) {
        loop {
            self.line.waker.register(cx.waker());
            if self.is_paused() {
                return;
            }
            match self.inbound.poll_next_unpin(cx) {
                Poll::Ready(Some(Inflow::Message(message, bytes))) => self.on_message(*message, bytes),
                Poll::Ready(Some(Inflow::Progress)) => self.common.inbox.push(Input::Progress(self.from)),
                Poll::Ready(Some(Inflow::Bad)) => self.common.counters.bad_messages.add(1),
                Poll::Ready(None) | Poll::Pending => return,
            }
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Outgoing;
    type ToBehaviour = Infallible;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(self.offer, ()).with_timeout(OPEN_TIMEOUT)
    }

    fn connection_keep_alive(&self) -> bool {
        self.offer == Offer::All
            && (self.line.keep() || self.outbound.is_busy() || self.room.held_bytes() > 0)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Offer, (), Infallible>> {
        self.poll_inbound(cx);
        while let Poll::Ready(event) = self.outbound.poll(cx) {
            let inbox = &self.common.inbox;
            match event {
                Event::Open => {
                    let protocol = SubstreamProtocol::new(Offer::All, ()).with_timeout(OPEN_TIMEOUT);
                    return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
                }
                Event::Sent(sending, took) => {
                    let counters = &self.common.counters;
                    let times = match sending {
                        Sending::Answer(_) => &counters.send_times,
                        Sending::Wants => &counters.traffic.wantlists_seconds,
                    };
                    times.observe(took);
                    inbox.push(Input::Sent(self.from, sending));
                }
                Event::Lost(lost) => inbox.push(Input::Lost(self.from, lost)),
                Event::Refused(lost) => {
                    inbox.push(Input::Lost(self.from, lost));
                    inbox.push(Input::Refused(self.from));
                }
                Event::Readmitted => inbox.push(Input::Readmitted(self.from)),
            }
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Outgoing) {
        self.outbound.push(event.message, event.sending);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, _), ..
            }) => {
                self.on_inbound(stream);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, version),
                ..
            }) => {
                self.opened(stream, version);
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                self.outbound.open_failed(matches!(error, StreamUpgradeError::NegotiationFailed));
            }
            ConnectionEvent::RemoteProtocolsChange(ProtocolsChange::Added(protocols)) => {
                self.on_protocols(protocols);
            }
            _ => {}
        }
    }
}

impl Handler {
    /// The peer said what more it speaks.
    fn on_protocols<'a>(&mut self, mut protocols: impl Iterator<Item = &'a StreamProtocol>) {
        if protocols.any(|protocol| Version::from_name(protocol.as_ref()).is_some()) {
            self.readmit();
        }
    }

    /// The peer speaks Bitswap, as what it says or sends shows, whatever became of streams to it.
    fn readmit(&mut self) {
        if self.offer == Offer::All && self.outbound.readmit() {
            self.common.inbox.push(Input::Readmitted(self.from));
        }
    }

    fn opened(&mut self, stream: libp2p::Stream, version: Version) {
        self.common.inbox.push(Input::Opened(self.from, version));
        self.outbound.opened(stream, version);
    }
}
