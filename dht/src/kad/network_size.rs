//! How large the network is, from how far the closest peers of lookups are.
//!
//! Of N peers spread evenly over the space, the one with rank r from any place is at about r / (N + 1) of it. Each lookup
//! gives 20 such distances; a line through the origin over the averages of the last lookups has the slope 1 / N.

use std::collections::VecDeque;

/// Lookups that count.
const LOOKUPS_MAX: usize = 32;

/// Lookups before there is an estimate.
const LOOKUPS_MIN: usize = 3;

/// Estimates from lookups.
#[derive(Debug, Clone, Default)]
pub struct NetworkSize {
    /// Distances by rank, closest first, as parts of the space.
    lookups: VecDeque<Vec<f64>>,
}

impl NetworkSize {
    /// Takes in the distances of the closest peers of a lookup, closest first. Fewer than 20 say nothing, unless they are
    /// the whole network.
    pub fn track(&mut self, distances: Vec<f64>) {
        if distances.len() < super::BUCKET_PEERS_MAX {
            return;
        }
        if self.lookups.len() >= LOOKUPS_MAX {
            self.lookups.pop_front();
        }
        self.lookups.push_back(distances);
    }

    /// How many peers there are; `None` before three lookups.
    pub fn estimate(&self) -> Option<f64> {
        if self.lookups.len() < LOOKUPS_MIN {
            return None;
        }
        // Least squares through the origin: slope = sum(rank * distance) / sum(rank^2).
        let (mut along, mut square) = (0.0, 0.0);
        for lookup in &self.lookups {
            for (rank, distance) in (1_u32..).zip(lookup) {
                along += f64::from(rank) * distance;
                square += f64::from(rank) * f64::from(rank);
            }
        }
        (along > 0.0).then(|| (square / along - 1.0).max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::KadId;
    use super::*;

    #[test]
    fn the_estimate_is_near_the_truth() {
        let peers: Vec<KadId> = (0..5_000_u32).map(|peer| KadId::of(&peer.to_be_bytes())).collect();
        let mut size = NetworkSize::default();
        for target in 0..20_u64 {
            assert_eq!(size.estimate().is_some(), target >= 3);
            let target = KadId::of(&target.to_be_bytes());
            let mut distances: Vec<f64> = peers.iter().map(|id| id.distance(&target).fraction()).collect();
            distances.sort_by(f64::total_cmp);
            distances.truncate(20);
            size.track(distances);
        }
        let estimate = size.estimate().unwrap();
        assert!((3_500.0..7_000.0).contains(&estimate), "{estimate}");
    }
}
