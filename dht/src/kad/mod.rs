//! The Kademlia engine, without I/O: a routing table, queries, and a server, for one scope.
//!
//! [`Engine`] gets what happened (an answer came, a peer asks, time passed) together with the time, and gives
//! [`Action`]s: send this message, read that record, tell that result. So a simulator can run thousands of them in
//! virtual time, and one libp2p behaviour runs two in a node. The protocol is that of go-libp2p-kad-dht.

mod action;
mod config;
mod counts;
mod engine;
mod goal;
mod key;
mod lookup;
mod network_size;
mod query;
mod scope;
mod server;
mod table;
mod validate;
mod wire;

pub use action::{Action, InboundId, Now, QueryId, RequestFailure, RequestId, Response, StoreId};
pub use config::{Config, Mode};
pub use counts::{Counts, MessageCounts};
pub use engine::Engine;
pub use goal::{Goal, Outcome, PeerInfo, Provide, QueryError, QueryEvent};
pub use key::{Distance, KEY_BYTES_MAX, KadId, Key, KeyError, PREIMAGE_BITS_MAX, Prefix, preimage};
pub use network_size::NetworkSize;
pub use scope::{AddressClass, Classify, IpClassifier, Scope, ScopeFilter};
pub use table::{BUCKET_PEERS_MAX, BucketStats, PeerStats, Stats};
pub use validate::{InvalidValue, compare_values, validate_value};
pub use wire::{Kind, MESSAGE_BYTES_MAX, Message, REQUEST_BYTES_MAX, ValueRecord, WireError};
