//! What a server keeps for others: who has which block, and signed values. Behind one trait, which the node implements with
//! its store; [`MemoryStore`] is for tests and for nodes that keep nothing over a restart.

mod memory;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use memory::MemoryStore;

use crate::ipns::Timestamp;
use crate::kad::{Key, PeerInfo, QueryError};

/// How long a provider record is given out: 48 hours (libp2p Kademlia specification, go-libp2p-kad-dht).
pub const PROVIDER_LIFETIME: Duration = Duration::from_secs(48 * 3600);

/// How long the addresses in a provider record are given out: 24 hours; then only the ID (go-libp2p-kad-dht).
pub const PROVIDER_ADDRESSES_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How long a value is given out after it was stored: 48 hours.
pub const VALUE_LIFETIME: Duration = Duration::from_secs(48 * 3600);

/// Provider records that are kept at most unless configured otherwise: 4 million, about 1 GB on disk, and at most 9 GB if each
/// has as many addresses as may be. A server among 10,000 keeps one in 500 of the network's.
pub const PROVIDERS_MAX: u64 = 4_000_000;

/// Provider records that are kept of one peer at most: 250,000, a sixteenth of all. A server among 10,000 is told 200,000 by a
/// peer with 100 million blocks.
pub const PROVIDERS_PER_PEER_MAX: u64 = 250_000;

/// Bytes of addresses in one provider record at most: 2 KiB, which is what we announce of ourselves. The first ones stay.
pub const PROVIDER_ADDRESS_BYTES_MAX: usize = 2_048;

/// Providers that are kept of one key at most: 1,024. Of more, the newest stay.
pub const PROVIDERS_PER_KEY_MAX: usize = 1_024;

/// Providers that are given to one question at most: 256, the newest. The answer stays far below 4 MiB.
pub const PROVIDERS_PER_ANSWER_MAX: usize = 256;

/// Values that are kept at most unless configured otherwise: 262,144, at most 2.7 GB on disk, at about 400 bytes each 100 MB.
pub const VALUES_MAX: u64 = 262_144;

/// What is asked of a store.
pub enum StoreRequest {
    /// Remember that a peer has a block, from now on for [`PROVIDER_LIFETIME`]; replaces what the same peer said before.
    /// Answered by [`StoreReply::Done`], also when the store is full and has refused.
    AddProvider {
        /// The block.
        key: Key,
        /// The peer, with at most 32 addresses of the scope.
        provider: PeerInfo,
    },
    /// Who has a block: at most `max`, the newest first, none that has expired, without addresses that have. Answered by
    /// [`StoreReply::Providers`]. A store may add the node itself, without addresses, for blocks that it provides.
    Providers {
        /// The block.
        key: Key,
        /// How many at most.
        max: usize,
    },
    /// The value under a key, unless it has expired. Answered by [`StoreReply::Value`].
    Value {
        /// The key.
        key: Key,
    },
    /// Give what is kept under a key (expired or not) to `rule`, and store `value` if the rule says so; nobody else may
    /// change the key in between. Answered by [`StoreReply::Put`]. The rule checks a signature, about 0.1 ms: call it where
    /// the disk is read, not on the task that polls.
    PutValue {
        /// The key.
        key: Key,
        /// The record; its size was checked.
        value: Vec<u8>,
        /// Says whether the value may replace what is there.
        rule: Rule,
    },
}

/// Says whether a value may replace the one that is given.
pub type Rule = Box<dyn FnOnce(Option<&[u8]>, Timestamp) -> Result<(), QueryError> + Send>;

impl fmt::Debug for StoreRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddProvider { key, provider } => write!(f, "AddProvider({key:?}, {})", provider.id),
            Self::Providers { key, max } => write!(f, "Providers({key:?}, {max})"),
            Self::Value { key } => write!(f, "Value({key:?})"),
            Self::PutValue { key, value, .. } => write!(f, "PutValue({key:?}, {} bytes)", value.len()),
        }
    }
}

/// What a store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreReply {
    /// It is done.
    Done,
    /// Who has a block.
    Providers(Vec<PeerInfo>),
    /// The value, if there is one.
    Value(Option<Vec<u8>>),
    /// Stored, or why the rule was against it.
    Put(Result<(), QueryError>),
}

/// The store failed. The peer that asked sees its stream reset, the user of this node the words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A reply that comes later.
pub type Reply = Pin<Box<dyn Future<Output = Result<StoreReply, StoreError>> + Send>>;

/// What keeps records.
///
/// [`RecordStore::handle`] is called on the swarm task, and the future is polled there: neither may read a disk. Hand the
/// request to a thread, and let the future wait for it. At most 2,048 futures are alive at a time (1,024 for peers, as many for queries). The same store may serve
/// both scopes only if its rows are kept apart, for an address of a LAN is nobody else's business.
///
/// # Rows, as proposed
/// Numbers are big-endian; `scope` is one byte, 0 for WAN and 1 for LAN; `place` is the SHA-256 of the record's key
/// ([`KadId`](crate::kad::KadId)), 32 bytes, so that a row's key has a fixed length up to the provider and rows lie in the
/// order of the key space.
/// - Family `providers`: key `scope | place | peer ID`; row `1 | received: u64 seconds since 1970 | addresses`, each address
///   as `length: u16 | bytes`. About 120 bytes.
/// - Family `names`, apart from the node's own names by a first byte of 0xff: key `0xff | scope | place`; row
///   `1 | received: u64 | key length: u8 | key | value`.
///
/// Expiry goes by the wall clock, `received` plus the lifetime, at reading; rows that have expired are deleted in batches
/// once an hour, or by a compaction filter that reads `received`. When [`PROVIDERS_MAX`] or [`VALUES_MAX`] rows are there, or
/// [`PROVIDERS_PER_PEER_MAX`] of one peer, new ones are dropped until some expire, apart from those that replace a row: what is
/// kept survives a flood. The log need not be synced: what is lost in
/// a power cut is announced again within a day.
pub trait RecordStore: Send + Sync + 'static {
    /// Does what is asked, at the wall clock's `now`.
    fn handle(&self, request: StoreRequest, now: Timestamp) -> Reply;
}
