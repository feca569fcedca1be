//! Two places between which no connection can begin, so that what nodes there learn of each other comes from others.
//!
//! Nodes of a DHT dial whom they hear of by themselves: a refresh of a table is enough. So it does not do to look whether two
//! are connected; what is to be proven of strangers is asked of nodes that were kept from each other since they started.

use crate::need::{program, skip};
use crate::netns::Place;
use crate::wait::wait_until;

/// The two places. Elsewhere, all goes on.
#[derive(Debug)]
#[must_use]
pub struct Apart<'a>([&'a Place; 2]);

impl<'a> Apart<'a> {
    /// Whether the program for it is there; if not, that is said, and `check` is skipped.
    pub fn is_possible(check: &str) -> bool {
        let is_there = program("nft");
        if !is_there {
            skip(check, "there is no program `nft` (Debian: nftables)");
        }
        is_there
    }

    /// Lets each refuse what comes from the other, in words, so that nobody waits.
    ///
    /// # Panics
    /// When the kernel does not do so.
    #[track_caller]
    pub fn new(one: &'a Place, other: &'a Place) -> Self {
        one.refuse(other);
        other.refuse(one);
        Self([one, other])
    }

    /// Lets them reach each other.
    ///
    /// # Panics
    /// When the kernel does not do so.
    #[track_caller]
    pub fn end(self) {
        let [one, other] = self.0;
        one.admit(other);
        other.admit(one);
    }
}

/// Waits until a node has one peer, which is this one: those whom it asked a moment ago may not be gone yet.
///
/// # Panics
/// When that is not so in time.
#[track_caller]
pub fn wait_for_one_peer(peers: impl Fn() -> Vec<String>, only: &str) {
    wait_until(&format!("no connection but that to {only}"), || {
        let peers = peers();
        if peers == [only] { Ok(()) } else { Err(peers) }
    });
}
