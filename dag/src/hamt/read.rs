//! One node of a sharded directory, checked against itself.

use super::{HASH_TYPE, name_hash, place, prefix_len};
use crate::cid::Cid;
use crate::pb::PbLinkRef;
use crate::unixfs::UnixFs;

/// Smallest fanout.
pub const FANOUT_MIN: u64 = 8;
/// Largest fanout (CVE-2023-23625).
pub const FANOUT_MAX: u64 = 1024;

/// Why a shard is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// Another hash function than murmur3.
    #[error("only murmur3 supported as hash function")]
    HashFunction,
    /// Not a power of two from 8 to 1,024.
    #[error("shard fanout is not a power of two from 8 to 1024")]
    Fanout,
    /// A child with another fanout than its parent.
    #[error("shard fanout differs from its parent's")]
    MixedFanout,
    /// A bitfield that is wider than the fanout, or does not have one bit a link.
    #[error("shard bitfield does not fit its links")]
    Bitfield,
    /// A link name that does not begin with the position of its bit in hexadecimal.
    #[error("shard link name does not begin with its position")]
    Prefix,
    /// More levels than the hash has bits.
    #[error("shard is deeper than its hash has bits")]
    Depth,
}

/// Where a shard stands in its directory; made by [`check_shard`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardLevel {
    /// Fanout of the whole directory.
    fanout: u16,
    /// Levels above.
    depth: u8,
}

impl ShardLevel {
    /// Digits of a position in link names.
    pub fn prefix_len(self) -> usize {
        prefix_len(self.fanout)
    }

    /// The level below, unless the hash has no bits left for it.
    pub fn below(self) -> Result<Self, ShardError> {
        let depth = self.depth + 1;
        place(0, u32::from(depth), self.fanout).ok_or(ShardError::Depth)?;
        Ok(Self { depth, ..self })
    }

    /// Links that a shard may have.
    pub(crate) fn fanout(self) -> u16 {
        self.fanout
    }

    /// The position of a name in a shard at this level.
    pub(crate) fn position(self, name: &[u8]) -> u16 {
        let position = place(name_hash(name), u32::from(self.depth), self.fanout);
        position.expect("invariant: a level is made only where the hash has bits left")
    }

    /// The same as it stands in link names.
    fn prefix_of(self, name: &[u8]) -> String {
        self.prefix(self.position(name))
    }

    fn prefix(self, position: u16) -> String {
        format!("{position:0width$X}", width = self.prefix_len())
    }
}

/// Checks a shard: `parent` is the level it was reached from, `None` for the root. Gives its own level.
pub fn check_shard(
    fs: &UnixFs<'_>,
    links: &[PbLinkRef<'_>],
    parent: Option<ShardLevel>,
) -> Result<ShardLevel, ShardError> {
    if fs.hash_type != Some(HASH_TYPE) {
        return Err(ShardError::HashFunction);
    }
    let fanout = fs.fanout.filter(|fanout| fanout.is_power_of_two()).ok_or(ShardError::Fanout)?;
    if !(FANOUT_MIN..=FANOUT_MAX).contains(&fanout) {
        return Err(ShardError::Fanout);
    }
    let level = match parent {
        Some(parent) if u64::from(parent.fanout) != fanout => return Err(ShardError::MixedFanout),
        Some(parent) => parent.below()?,
        None => ShardLevel { fanout: fanout as u16, depth: 0 },
    };
    check_positions(fs.data.unwrap_or_default(), links, level)?;
    Ok(level)
}

/// The set bits of the bitfield, from the lowest on, are the positions of the links, in order.
fn check_positions(bitfield: &[u8], links: &[PbLinkRef<'_>], level: ShardLevel) -> Result<(), ShardError> {
    if bitfield.len() * 8 > usize::from(level.fanout) {
        return Err(ShardError::Bitfield);
    }
    let bits = bitfield.iter().rev().enumerate().flat_map(|(byte, bits)| {
        (0..8_usize).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| (byte * 8 + bit) as u16)
    });
    let mut links = links.iter();
    for position in bits {
        let link = links.next().ok_or(ShardError::Bitfield)?;
        let prefix = link.name().get(..level.prefix_len()).ok_or(ShardError::Prefix)?;
        if prefix != level.prefix(position).as_bytes() {
            return Err(ShardError::Prefix);
        }
    }
    if links.next().is_some() { Err(ShardError::Bitfield) } else { Ok(()) }
}

/// What a name leads to in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The entry.
    Entry(Cid),
    /// A shard below, in which the search goes on.
    Shard(Cid),
    /// There is no such entry.
    Absent,
}

/// Looks a name up in a checked shard.
pub fn lookup(links: &[PbLinkRef<'_>], level: ShardLevel, name: &[u8]) -> Lookup {
    let prefix = level.prefix_of(name);
    for link in links {
        match link.name().strip_prefix(prefix.as_bytes()) {
            Some(b"") => return Lookup::Shard(link.cid),
            Some(rest) if rest == name => return Lookup::Entry(link.cid),
            _ => {}
        }
    }
    Lookup::Absent
}
