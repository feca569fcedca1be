//! Bitswap: the exchange of blocks between IPFS nodes.
//!
//! It is: the wire format, a client that fetches blocks from many peers at once, a server that gives blocks to many peers fairly, and the
//! libp2p behaviour that moves their bytes. It is not: a store, a router or a reader of DAGs. What it reads and which of its work may
//! block goes through [`Host`]; who provides a block is asked for through [`Handle::events`].
//!
//! Client and server are state machines without I/O and without a clock: what arrives and `now` go in, actions come out.
//!
//! # Limits
//! Messages 4 MiB ([`message::MESSAGE_BYTES_MAX`]), CIDs 168 bytes, digests 128 bytes, blocks 2 MiB. Wants remembered per peer, bytes
//! under way per peer, bytes held for a reader and everything else that grows are bounded by [`Config`].
//! Every block that a [`Blocks`] stream gives was hashed and is the one its CID names. Nobody can make a node take a block that it does
//! not wait for: such blocks are dropped and counted.
//!
//! # Example
//! What a node does with it: plug [`Behaviour`] into its swarm, keep the [`Handle`], fetch by sessions, tell of what it stored.
//! ```
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
//! use holdfast_bitswap::{Behaviour, Config, Handle, Host};
//! use holdfast_dag::cid::Cid;
//! use libp2p::PeerId;
//!
//! /// A store that is empty; a real one answers from its index and reads in batches.
//! struct Store;
//!
//! impl Host for Store {
//!     fn presence(&self, cids: Vec<Cid>) -> BoxFuture<'static, Vec<Option<u64>>> {
//!         futures_util::future::ready(vec![None; cids.len()]).boxed()
//!     }
//!     fn read(&self, cids: Vec<Cid>) -> BoxFuture<'static, Vec<Option<Bytes>>> {
//!         futures_util::future::ready(vec![None; cids.len()]).boxed()
//!     }
//!     fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
//!         tokio::task::spawn_blocking(work);
//!     }
//! }
//!
//! async fn fetch(handle: &Handle, root: Cid, provider: PeerId) -> Vec<(Cid, Bytes)> {
//!     let session = handle.session();
//!     session.add_peers(vec![(provider, vec![])]).await;
//!     let mut blocks = session.get(vec![root]);
//!     let mut stored = Vec::new();
//!     while let Some((cid, data)) = blocks.next().await {
//!         stored.push((cid, data));
//!     }
//!     handle.new_blocks(stored.iter().map(|(cid, data)| (*cid, data.len() as u64)).collect()).await;
//!     stored
//! }
//!
//! let (behaviour, handle) = Behaviour::new(Config::new(PeerId::random()), Arc::new(Store));
//! // `behaviour` goes into the swarm; requests for providers are answered by the node's routing.
//! let mut searches = handle.events().expect("taken once");
//! # let _ = (behaviour, fetch, &mut searches);
//! ```
//! A search is answered by [`Handle::providers`]; those peers are dialled, and join the sessions that wait for the CID.
//!
//! # Map
//! [`message`] is the wire format; [`client`] and [`server`] are the cores; [`Behaviour`] drives both and owns the streams; [`Handle`],
//! [`Session`] and [`Blocks`] are what the rest of a node uses.

mod behaviour;
pub mod client;
mod config;
mod counters;
mod handle;
mod host;
mod inbox;
pub mod message;
mod room;
pub mod server;
mod session;
#[cfg(test)]
mod sim;

pub use behaviour::Behaviour;
pub use client::{SessionId, Tried};
pub use config::Config;
pub use counters::{
    BUCKETS_BYTES, BUCKETS_MESSAGE_BYTES, BUCKETS_MICROS, BUCKETS_WANTS_MICROS, Counter, Counters, Histogram,
    Times, Traffic,
};
pub use handle::{Events, FindProviders, Handle, Stat};
pub use host::Host;
pub use server::Ledger;
pub use session::{Blocks, Session};
