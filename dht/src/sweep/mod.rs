//! The sweep: announcing all keys of a node once an interval with few searches.
//!
//! The key space is walked from its first place to its last in one interval, region by region. A region is a prefix that is
//! expected to hold 40 to 80 servers. It is explored with as many lookups as it takes to know all servers in it: the 20
//! closest peers of a place are all there are within the longest prefix that the farthest of them does not share, so each
//! lookup covers such a prefix, and the rest of the region is covered in turn. Then each key's 20 closest servers are known
//! without asking, and every server is told of its keys over one connection. A region with fewer keys than lookups has them
//! searched one by one.
//!
//! [`Sweeper`] does no I/O; [`Reprovider`] drives it with a [`Handle`](crate::Handle) and a [`Keystore`].
//!
//! Memory: a key that waits takes its bytes and about 70 more; a region at work holds at most 16,384 keys and some hundred
//! peers; nothing else grows with the number of keys.

mod coverage;
mod driver;
mod job;
mod schedule;
mod stats;
mod sweeper;

pub use driver::{Done, Keys, Keystore, Reprovider, ReproviderError, SweepTask};
pub use schedule::{SavedState, StateError};
pub use stats::SweepStats;
pub use sweeper::{JobId, SweepAction, SweepConfig, Sweeper};
