//! What a place in a routing table is worth to the connection manager.
//!
//! A table holds some 200 peers in the public network: more than `Swarm.ConnMgr.HighWater` lets be connected. So only some are
//! protected, and the others are worth more than strangers. It does no I/O and knows no clock.

use std::collections::HashSet;

use holdfast_dht::Event;
use holdfast_dht::kad::{KadId, Scope};
use libp2p::PeerId;

use super::connections::{Watermarks, Worth};

/// What a peer of the public table is worth that is not protected (go-libp2p-kad-dht's "kbucket").
const PUBLIC_VALUE: i32 = 5;
/// What a neighbour is worth: it is near, and often the only one when the line to the outside is down.
pub(super) const NEIGHBOUR_VALUE: i32 = 10;
/// Peers of the public table that share fewer leading bits with this node than this are protected, as in go-libp2p-kad-dht: they
/// are the first step of three searches out of four, and there are at most 20 for each number.
const PUBLIC_BITS: u32 = 2;
/// Peers of one table that are protected, as a part of `HighWater`: with both tables full, half of it is left for others.
const PROTECTED_DIVISOR: usize = 4;

/// One table's peers, as far as they are protected.
#[derive(Debug)]
pub(super) struct TableWorth {
    us: KadId,
    scope: Scope,
    worth: Worth,
    protected: HashSet<PeerId>,
    protected_max: usize,
}

impl TableWorth {
    pub(super) fn new(scope: Scope, us: PeerId, watermarks: Option<Watermarks>, worth: Worth) -> Self {
        // Without watermarks nothing is closed, and what is protected does not matter.
        let protected_max = watermarks.unwrap_or_default().high / PROTECTED_DIVISOR;
        Self { us: KadId::from(&us), scope, worth, protected: HashSet::new(), protected_max }
    }

    /// A peer entered the table or left it.
    pub(super) fn on_event(&mut self, event: &Event) {
        let reason = self.reason();
        match event {
            Event::PeerAdded(peer) => {
                if self.is_wanted(peer) && self.protected.len() < self.protected_max {
                    self.protected.insert(*peer);
                    self.worth.protect(*peer, reason);
                }
                self.worth.set(*peer, reason, self.value());
            }
            Event::PeerRemoved(peer) => {
                self.protected.remove(peer);
                self.worth.unprotect(peer, reason);
                self.worth.set(*peer, reason, 0);
            }
        }
    }

    fn reason(&self) -> &'static str {
        match self.scope {
            Scope::Wan => "dht-wan",
            Scope::Lan => "dht-lan",
        }
    }

    fn value(&self) -> i32 {
        match self.scope {
            Scope::Wan => PUBLIC_VALUE,
            Scope::Lan => NEIGHBOUR_VALUE,
        }
    }

    /// Whether a peer is to be protected if there is room.
    fn is_wanted(&self, peer: &PeerId) -> bool {
        self.scope == Scope::Lan || self.us.common_prefix_bits(&KadId::from(peer)) < PUBLIC_BITS
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use libp2p::swarm::ConnectionId;

    use super::*;
    use crate::swarm::connections::ConnectionManager;

    /// Peers of a table's size in the public network.
    const TABLE_PEERS: usize = 200;
    const STRANGERS: usize = 30;

    /// A node with so many peers in each table, all connected, and some strangers; what is left after it was trimmed: of
    /// the public table, of the local one, of the strangers.
    fn left(marks: Watermarks, public: usize, local: usize) -> [usize; 3] {
        let (start, worth) = (Instant::now(), Worth::default());
        let us = PeerId::random();
        let mut manager = ConnectionManager::new(Some(marks), worth.clone());
        let mut tables =
            [Scope::Wan, Scope::Lan].map(|scope| TableWorth::new(scope, us, Some(marks), worth.clone()));
        let groups =
            [public, local, STRANGERS].map(|count| (0..count).map(|_| PeerId::random()).collect::<Vec<_>>());
        let mut open: Vec<(ConnectionId, usize)> = Vec::new();
        for (group, peers) in groups.iter().enumerate() {
            for peer in peers {
                if let Some(table) = tables.get_mut(group) {
                    table.on_event(&Event::PeerAdded(*peer));
                }
                let id = ConnectionId::new_unchecked(open.len());
                manager.opened(id, *peer, false, start);
                open.push((id, group));
            }
        }
        let trimmed = manager.trim(start + marks.grace);
        open.retain(|(id, _)| !trimmed.contains(id));
        for (table, peers) in tables.iter_mut().zip(&groups) {
            for peer in peers {
                table.on_event(&Event::PeerRemoved(*peer));
            }
        }
        let all = groups.iter().flatten();
        assert_eq!(
            all.filter(|peer| worth.is_protected(peer)).count(),
            0,
            "who left is not protected any more"
        );
        [0, 1, 2].map(|group| open.iter().filter(|(_, other)| *other == group).count())
    }

    #[test]
    fn the_high_watermark_is_kept_whatever_the_tables_hold() {
        let low_power = Watermarks { high: 40, low: 20, ..Watermarks::default() };
        for marks in [Watermarks::default(), low_power] {
            for (public, local) in
                [(TABLE_PEERS, 0), (TABLE_PEERS, 10), (0, TABLE_PEERS), (TABLE_PEERS, TABLE_PEERS)]
            {
                let [of_public, of_local, strangers] = left(marks, public, local);
                let all = of_public + of_local + strangers;
                assert!(all <= marks.high, "{all} are left of {public} and {local} with {marks:?}");
                assert!(all >= marks.low, "{all}");
                assert_eq!(strangers, 0, "those go first");
                assert!(of_local >= local.min(10), "{of_local} of {local} neighbours are left");
            }
        }
    }
}
