//! Telling peers before the lookup is over: those that are probably among the 20 closest, judged by their distance and the
//! size of the network (the thresholds of go-libp2p-kad-dht's optimistic provide).

use libp2p::PeerId;

use super::{BUCKET_PEERS_MAX, Context, Goal, PeerInfo, Query, announcement};

/// When so many peers know, the caller goes on: three quarters of 20.
pub(super) const ENOUGH: usize = 15;

/// A peer is told at once if it is among the 20 closest with a probability of 90 %. Of N peers, N times the distance of the
/// one with rank 20 is distributed as Gamma(20); this is its 10 % quantile, in peers.
const INDIVIDUAL: f64 = 14.525;

/// The lookup ends when the mean distance of the 20 closest known is less than this many peers: the 90 % quantile of
/// Gamma(11), the mean of ranks 1 to 20.
const SET: f64 = 15.407;

#[derive(Debug)]
pub(super) struct Optimistic {
    individual: f64,
    set: f64,
}

impl Optimistic {
    /// For a network of so many peers.
    pub(super) fn new(network_size: f64) -> Self {
        let size = network_size.max(1.0);
        Self { individual: INDIVIDUAL / size, set: SET / size }
    }
}

impl Query {
    /// Tells those who are near enough; ends the lookup when all of them are.
    pub(super) fn tell_early(&mut self, cx: &mut Context<'_>) {
        let (Some(optimistic), Goal::Provide { key, .. }) = (&self.optimistic, &self.goal) else { return };
        let closest: Vec<(f64, PeerInfo)> = self
            .lookup
            .closest_reachable(BUCKET_PEERS_MAX)
            .map(|(distance, peer)| (distance.fraction(), peer.clone()))
            .collect();
        let mean = closest.iter().map(|(distance, _)| distance).sum::<f64>() / closest.len().max(1) as f64;
        let (is_found, individual) =
            (closest.len() == BUCKET_PEERS_MAX && mean < optimistic.set, optimistic.individual);
        let message = announcement(key, cx);
        let near = |told: &std::collections::HashSet<PeerId>, distance: f64, peer: &PeerInfo| {
            distance < individual && !told.contains(&peer.id)
        };
        for (distance, peer) in closest {
            if near(&self.told, distance, &peer) {
                self.tell(peer, message.clone(), cx);
            }
        }
        if is_found {
            self.finish(cx);
        }
    }
}
