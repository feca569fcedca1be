//! Sharded directories: HAMTs over the murmur3 hash of entry names.
//!
//! The hash is murmur3-x64-64 (code 0x22). A node with fanout 2^n takes n bits of it, from the top; its links are
//! named by their place in upper-case hexadecimal, zero-padded to [`prefix_len`], followed by the entry's name, or by
//! nothing where the link leads to another shard.

use crate::unixfs::{Mtime, NodeType, UnixFs};

mod build;
mod murmur3;
pub mod read;

pub(crate) use build::{ShardEntry, ShardSource, build};
pub use murmur3::murmur3_x64_64;

/// Multicodec code of the only hash function of HAMTs, murmur3-x64-64.
pub const HASH_TYPE: u64 = 0x22;

/// Hash of an entry name.
pub fn name_hash(name: &[u8]) -> u64 {
    murmur3_x64_64(name)
}

/// Place of a hash in a node of `fanout` (a power of two) at `depth` (the root is at 0), or `None` where the hash has
/// no bits left: two names then cannot be told apart.
pub fn place(hash: u64, depth: u32, fanout: u16) -> Option<u16> {
    let bits = fanout.trailing_zeros();
    let used = (depth.checked_add(1)?).checked_mul(bits)?;
    let shift = u64::BITS.checked_sub(used)?;
    Some((hash >> shift) as u16 & (fanout.wrapping_sub(1)))
}

/// Hexadecimal digits in front of each link name of a node of `fanout`.
pub fn prefix_len(fanout: u16) -> usize {
    format!("{:X}", fanout.saturating_sub(1)).len()
}

/// The UnixFS message of a node with links at these positions.
pub(crate) fn shard_message(
    fanout: u16,
    positions: impl Iterator<Item = u16>,
    mode: Option<u32>,
    mtime: Option<Mtime>,
) -> Vec<u8> {
    let mut bitfield = vec![0_u8; usize::from(fanout) / 8];
    for position in positions {
        // The lowest place is the last bit of the last byte.
        if let Some(byte) = bitfield.iter_mut().rev().nth(usize::from(position) / 8) {
            *byte |= 1 << (position % 8);
        }
    }
    let zeros = bitfield.iter().take_while(|byte| **byte == 0).count();
    let message = UnixFs {
        data: Some(bitfield.get(zeros..).unwrap_or_default()),
        hash_type: Some(HASH_TYPE),
        fanout: Some(u64::from(fanout)),
        mode,
        mtime,
        ..UnixFs::new(NodeType::HamtShard)
    };
    message.encode()
}

#[cfg(test)]
mod tests;
