//! What goes in and out of the engine.

use std::time::Instant;

use libp2p::PeerId;

use super::{Message, Outcome, PeerInfo, QueryError, QueryEvent};
use crate::ipns::Timestamp;
use crate::records::StoreRequest;

/// The time: one clock for waiting, one for what is valid.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Never goes back.
    pub at: Instant,
    /// The wall clock.
    pub wall: Timestamp,
}

/// A query of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(pub(super) u64);

/// A message that an engine sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(super) u64);

/// A question to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(pub(super) u64);

/// A message of a peer; whoever drives the engine chooses the number, and gets the answer under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InboundId(pub u64);

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFailure {
    /// The peer could not be reached.
    #[error("failed to dial: no address of the peer answers")]
    Dial,
    /// It was reached and does not speak the protocol.
    #[error("the peer does not serve the DHT")]
    Unsupported,
    /// It did not answer in time.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The stream or the connection broke, or the peer reset it, which is how servers refuse.
    #[error("the peer closed the stream without an answer")]
    Closed,
    /// It sent what is no answer.
    #[error("the peer sent something that is no answer")]
    Malformed,
    /// Too much is on its way to this peer.
    #[error("too many requests wait for this peer")]
    Busy,
}

/// What a peer's message gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// This answer.
    Message(Message),
    /// None: the message wants none.
    Nothing,
    /// The stream is reset, as go does with what it refuses.
    Reset,
}

/// What the engine wants to be done. Do all of them before the next input.
#[derive(Debug)]
pub enum Action {
    /// Send a message, dialling the peer if it is not connected, and tell
    /// [`Engine::on_response`](super::Engine::on_response) what came of it.
    Send {
        /// Under which number.
        request: RequestId,
        /// To whom, with the addresses of the scope that are known.
        peer: PeerInfo,
        /// The message.
        message: Message,
    },
    /// Nobody waits for this request any more; what comes of it may be told or not.
    Forget {
        /// Its number.
        request: RequestId,
    },
    /// Answer a peer.
    Respond {
        /// Its message.
        inbound: InboundId,
        /// The answer.
        response: Response,
    },
    /// Ask the store, and tell [`Engine::on_stored`](super::Engine::on_stored).
    Store {
        /// Under which number.
        id: StoreId,
        /// What.
        request: StoreRequest,
    },
    /// Something happened to a query that was started from outside.
    Event {
        /// The query.
        query: QueryId,
        /// What.
        event: QueryEvent,
    },
    /// A query found a provider.
    Provider {
        /// The query.
        query: QueryId,
        /// The provider.
        provider: PeerInfo,
    },
    /// A query is over.
    Done {
        /// The query.
        query: QueryId,
        /// What came of it.
        result: Result<Outcome, QueryError>,
    },
    /// A peer entered the routing table.
    PeerAdded {
        /// The peer.
        peer: PeerId,
    },
    /// A peer left the routing table.
    PeerRemoved {
        /// The peer.
        peer: PeerId,
    },
}
