//! What a query is for, what happens on its way, and what comes of it.

use libp2p::{Multiaddr, PeerId};

use super::Key;

/// A peer and where it can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its ID.
    pub id: PeerId,
    /// Its addresses, without its ID at the end. At most 32 are kept of what a peer says.
    pub addresses: Vec<Multiaddr>,
}

/// How a single key is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provide {
    /// Look for the 20 closest peers to the end, then tell each.
    Classic,
    /// Tell peers as soon as they are probably among the 20 closest, and return when 15 know. Needs an estimate of the size
    /// of the network, which lookups give; without one it is [`Provide::Classic`].
    Optimistic,
}

/// What a query is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// The 20 peers closest to a key.
    ClosestPeers {
        /// The key.
        key: Key,
    },
    /// A peer's addresses.
    FindPeer {
        /// The peer.
        peer: PeerId,
    },
    /// Who has a block.
    Providers {
        /// The block's multihash.
        key: Key,
        /// After how many to stop.
        count: usize,
    },
    /// Tell the closest peers that this node has a block.
    Provide {
        /// The block's multihash.
        key: Key,
        /// How.
        how: Provide,
    },
    /// Tell one peer that this node has blocks; no search.
    Announce {
        /// The peer.
        peer: PeerInfo,
        /// The blocks' multihashes.
        keys: Vec<Key>,
    },
    /// The best record under a key.
    GetValue {
        /// The key.
        key: Key,
        /// After how many records to stop; 0: at the end of the search.
        quorum: usize,
    },
    /// Store a record with the closest peers.
    PutValue {
        /// The key.
        key: Key,
        /// The record.
        value: Vec<u8>,
    },
    /// Fill a bucket of the routing table; the engine asks this itself.
    Refresh {
        /// A key that lies in it.
        key: Key,
    },
}

/// What a query gave. Which of them belongs to which [`Goal`] is fixed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// [`Goal::ClosestPeers`], [`Goal::Refresh`]: closest first.
    Peers(Vec<PeerInfo>),
    /// [`Goal::FindPeer`].
    Peer(PeerInfo),
    /// [`Goal::Providers`]: the search is over.
    Searched {
        /// How many were found.
        providers: usize,
    },
    /// [`Goal::Provide`] and [`Goal::PutValue`]: how many peers took it. [`Goal::Announce`]: how many keys were sent.
    Stored {
        /// How many.
        peers: usize,
    },
    /// [`Goal::GetValue`].
    Value(Vec<u8>),
}

/// Why a query gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The routing table is empty: the node has not met anybody who serves this DHT. The words are Kubo's.
    #[error("failed to find any peer in table")]
    NoPeers,
    /// Nobody knows. The words are Kubo's.
    #[error("routing: not found")]
    NotFound,
    /// No peer took the record or the announcement.
    #[error("none of the {asked} closest peers took the record: they did not answer or refused it")]
    NotStored {
        /// How many were asked.
        asked: usize,
    },
    /// It took too long.
    #[error("the search was given up after {seconds} s; {asked} peers had been asked")]
    Timeout {
        /// The limit.
        seconds: u64,
        /// How many peers were asked.
        asked: usize,
    },
    /// The record is not one of its key.
    #[error(transparent)]
    Invalid(#[from] super::InvalidValue),
    /// This node holds a better one. The words are Kubo's.
    #[error("can't replace a newer value with an older value")]
    Older,
    /// Too many queries at a time.
    #[error("too many DHT queries are running: try again in a moment")]
    Busy,
    /// The node has no address of this scope to announce.
    #[error(
        "this node has no {scope} address that others could reach it at, so announcing would be of no use"
    )]
    NoAddresses {
        /// The scope.
        scope: super::Scope,
    },
    /// The node shuts down.
    #[error("the DHT is closed")]
    Closed,
    /// Something in the node itself is broken.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What happens during a query; the kinds of Kubo's `routing ... -v`, whose numbers are in [`QueryEvent::kind`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryEvent {
    /// A peer is asked.
    SendingQuery {
        /// The peer.
        peer: PeerId,
    },
    /// A peer answered.
    PeerResponse {
        /// The peer.
        peer: PeerId,
        /// Whom it says to be closer.
        closer: Vec<PeerInfo>,
    },
    /// What was searched is this peer; or, of an announcement: it is told.
    FinalPeer {
        /// The peer.
        peer: PeerInfo,
    },
    /// A peer did not answer, or the whole query failed.
    QueryError {
        /// The peer, if it is about one.
        peer: Option<PeerId>,
        /// Why.
        error: String,
    },
    /// A provider was found.
    Provider {
        /// The provider.
        provider: PeerInfo,
    },
    /// A valid record was found.
    Value {
        /// Who has it; the node itself for its own.
        peer: PeerId,
        /// The record.
        value: Vec<u8>,
    },
    /// A peer will be asked.
    AddingPeer {
        /// The peer.
        peer: PeerId,
    },
    /// A peer is dialled.
    DialingPeer {
        /// The peer.
        peer: PeerId,
    },
}

impl QueryEvent {
    /// Its number in Kubo's answers.
    pub fn kind(&self) -> u8 {
        match self {
            Self::SendingQuery { .. } => 0,
            Self::PeerResponse { .. } => 1,
            Self::FinalPeer { .. } => 2,
            Self::QueryError { .. } => 3,
            Self::Provider { .. } => 4,
            Self::Value { .. } => 5,
            Self::AddingPeer { .. } => 6,
            Self::DialingPeer { .. } => 7,
        }
    }
}
