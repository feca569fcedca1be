//! What this crate asks of the node that it runs in.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use holdfast_dag::cid::Cid;

/// The node's store and its threads.
///
/// All three calls are made on the swarm's task or on that of a connection, and must return at once: the work happens in the future
/// or on other threads. Dropping a future abandons its work.
pub trait Host: Send + Sync + 'static {
    /// Says which blocks are here, and their sizes in bytes, in the order of `cids`: from an index, without reading values.
    /// At most [`crate::Config::wants_per_peer_max`] CIDs are asked for at once.
    fn presence(&self, cids: Vec<Cid>) -> BoxFuture<'static, Vec<Option<u64>>>;

    /// Reads blocks, in the order of `cids`; a block that is not here, or that is damaged, is `None`. A batch is about as large as a message
    /// ([`crate::Config::message_bytes_target`]).
    fn read(&self, cids: Vec<Cid>) -> BoxFuture<'static, Vec<Option<Bytes>>>;

    /// Runs work that takes up to some milliseconds of a core (hashing about 1 MiB), on a thread that may be blocked. Many pieces of
    /// work are given at once, and may run side by side. Work that is never run costs its connection the room it holds.
    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>);
}
