//! What a collection has reached: an exact set of places.
//!
//! A stored block is identified by where its record lies. Records have at least 34 bytes, so that offsets in units of
//! 32 bytes still tell them apart, and neighbours get neighbouring numbers: a compressed bitmap holds a small block
//! in some 5 bytes, and one of 256 KiB, as files have them, in 12. Places are not used twice while the process lives, and
//! nothing moves a block while a collection runs.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use crate::segment::Place;

/// Records begin at least this many bytes apart.
const UNIT_BITS: u32 = 5;

/// Places, by the codec under which the walk came to them: what a block links to depends on it.
#[derive(Default)]
pub(crate) struct Marks {
    by_codec: BTreeMap<u64, RoaringTreemap>,
    count: u64,
}

fn number(place: &Place) -> u64 {
    // A segment would have to pass 128 GiB for two places to share a number; then one more block is kept.
    u64::from(place.segment) << 32 | (place.offset >> UNIT_BITS) & u64::from(u32::MAX)
}

impl Marks {
    /// Marks a block; whether it was not yet, under this codec.
    pub(crate) fn insert(&mut self, codec: u64, place: &Place) -> bool {
        let fresh = self.by_codec.entry(codec).or_default().insert(number(place));
        self.count += u64::from(fresh);
        fresh
    }

    /// Whether a block is marked under any codec.
    pub(crate) fn contains(&self, place: &Place) -> bool {
        let number = number(place);
        self.by_codec.values().any(|marks| marks.contains(number))
    }

    /// Number of marks: a block that is walked under two codecs counts twice.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Memory that they take, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let containers = self.by_codec.values().flat_map(RoaringTreemap::bitmaps).map(|(_, bitmap)| {
            let stats = bitmap.statistics();
            stats.n_bytes_array_containers
                + stats.n_bytes_bitset_containers
                + stats.n_bytes_run_containers
                + 64 * u64::from(stats.n_containers)
        });
        containers.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(segment: u32, offset: u64) -> Place {
        Place { segment, offset, size: 0 }
    }

    /// The smallest records there can be, one directly behind the other.
    #[test]
    fn neighbours_are_told_apart() {
        let mut marks = Marks::default();
        let offsets: Vec<u64> = (0..100_000).map(|n| 32 + n * 34).collect();
        for offset in offsets.iter().step_by(2) {
            assert!(marks.insert(0x55, &place(1, *offset)));
            assert!(!marks.insert(0x55, &place(1, *offset)));
        }
        for (at, offset) in offsets.iter().enumerate() {
            assert_eq!(marks.contains(&place(1, *offset)), at % 2 == 0);
            assert!(!marks.contains(&place(2, *offset)));
        }
    }

    #[test]
    fn a_block_is_walked_once_a_codec() {
        let mut marks = Marks::default();
        assert!(marks.insert(0x55, &place(1, 32)));
        assert!(marks.insert(0x70, &place(1, 32)));
        assert!(!marks.insert(0x70, &place(1, 32)));
        assert_eq!(marks.count(), 2);
    }

    /// Blocks of 256 KiB, which is what files give, and blocks of 100 bytes.
    #[test]
    fn a_million_blocks_take_a_bounded_memory() {
        for (step, bytes_a_block_max) in [((256 << 10) + 70, 16.0), (166, 6.0)] {
            let mut marks = Marks::default();
            let (mut segment, mut offset) = (1, 32);
            for _ in 0..1_000_000 {
                marks.insert(0x55, &place(segment, offset));
                offset += step;
                if offset > 256 << 20 {
                    (segment, offset) = (segment + 1, 32);
                }
            }
            let a_block = marks.memory_bytes() as f64 / 1e6;
            println!("{step} bytes apart: {a_block} bytes a block");
            assert!(a_block <= bytes_a_block_max, "{step}: {a_block}");
        }
    }
}
