//! Keys, and the space in which they and peers lie: SHA-256 of what they are, with XOR as the distance.

use std::fmt;
use std::sync::Arc;

use libp2p::PeerId;
use sha2::{Digest as _, Sha256};

/// Longest key of a provider or value record, in bytes: go-libp2p-kad-dht refuses longer ones.
pub const KEY_BYTES_MAX: usize = 80;

/// A record's key as it is sent: a multihash for providers, `/ipns/` or `/pk/` and a multihash for values, a peer's ID in
/// bytes for the search of peers. 1 to 80 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<[u8]>);

/// Why bytes are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a DHT key has 1 to {KEY_BYTES_MAX} bytes, and not {bytes}: hashes that are longer cannot be announced"
)]
pub struct KeyError {
    /// How many there were.
    pub bytes: usize,
}

impl Key {
    /// A key of these bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes.len() {
            1..=KEY_BYTES_MAX => Ok(Self(bytes.into())),
            bytes => Err(KeyError { bytes }),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Where it lies.
    pub fn id(&self) -> KadId {
        KadId::of(&self.0)
    }
}

impl From<PeerId> for Key {
    /// The key to search for a peer. A peer's ID has at most 44 bytes.
    fn from(peer: PeerId) -> Self {
        Self(peer.to_bytes().into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// A place in the key space: the SHA-256 of a key or of a peer's ID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KadId([u8; 32]);

/// How far two places are from each other: their XOR, as a big-endian number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Distance([u8; 32]);

impl KadId {
    /// Bits of a place.
    pub const BITS: u32 = 256;

    /// Where what has these bytes lies.
    pub fn of(preimage: &[u8]) -> Self {
        Self(Sha256::digest(preimage).into())
    }

    /// The place with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// How far it is to another place.
    pub fn distance(&self, other: &Self) -> Distance {
        let mut xor = self.0;
        xor.iter_mut().zip(other.0).for_each(|(a, b)| *a ^= b);
        Distance(xor)
    }

    /// How many leading bits two places share: 0 to 256.
    pub fn common_prefix_bits(&self, other: &Self) -> u32 {
        self.distance(other).leading_zeros()
    }

    /// A bit, the first one being 0; `false` behind the last one.
    pub fn bit(&self, index: u32) -> bool {
        let byte = self.0.get(index as usize / 8).copied().unwrap_or(0);
        byte >> (7 - index % 8) & 1 == 1
    }
}

impl From<&PeerId> for KadId {
    fn from(peer: &PeerId) -> Self {
        Self::of(&peer.to_bytes())
    }
}

impl fmt::Debug for KadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Distance {
    /// How many leading bits are 0: 256 for the distance to itself.
    pub fn leading_zeros(&self) -> u32 {
        let mut zeros = 0;
        for byte in self.0 {
            zeros += byte.leading_zeros();
            if byte != 0 {
                break;
            }
        }
        zeros
    }

    /// The distance as a part of the whole space, 0 to 1.
    pub fn fraction(&self) -> f64 {
        let mut top = [0; 8];
        top.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        u64::from_be_bytes(top) as f64 / u64::MAX as f64
    }
}

/// The first bits of places: a region of the key space. 0 to 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    id: KadId,
    bits: u32,
}

impl Prefix {
    /// The whole space.
    pub const ALL: Self = Self { id: KadId([0; 32]), bits: 0 };

    /// The first `bits` of a place.
    pub fn of(id: &KadId, bits: u32) -> Self {
        let bits = bits.min(KadId::BITS);
        let mut bytes = id.0;
        for (index, byte) in (0_u32..).zip(bytes.iter_mut()) {
            let kept = bits.saturating_sub(index * 8).min(8);
            *byte &= !(0xff_u32 >> kept) as u8;
        }
        Self { id: KadId(bytes), bits }
    }

    /// Its length in bits.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The first place in it.
    pub fn first(&self) -> KadId {
        self.id
    }

    /// The last place in it.
    pub fn last(&self) -> KadId {
        let mut bytes = self.id.0;
        for (index, byte) in (0_u32..).zip(bytes.iter_mut()) {
            let kept = self.bits.saturating_sub(index * 8).min(8);
            *byte |= (0xff_u32 >> kept) as u8;
        }
        KadId(bytes)
    }

    /// Whether a place lies in it.
    pub fn contains(&self, id: &KadId) -> bool {
        self.id.common_prefix_bits(id) >= self.bits
    }

    /// Whether another region lies in it.
    pub fn covers(&self, other: &Self) -> bool {
        other.bits >= self.bits && self.contains(&other.id)
    }

    /// Its half with this next bit.
    #[must_use]
    pub fn child(&self, bit: bool) -> Self {
        let mut bytes = self.id.0;
        if let (true, Some(byte)) = (bit, bytes.get_mut(self.bits as usize / 8)) {
            *byte |= 0x80 >> (self.bits % 8);
        }
        Self { id: KadId(bytes), bits: (self.bits + 1).min(KadId::BITS) }
    }

    /// The region that differs in the last bit; `None` for the whole space.
    pub fn sibling(&self) -> Option<Self> {
        let parent = self.parent()?;
        Some(parent.child(!self.id.bit(self.bits - 1)))
    }

    /// The region of which it is a half; `None` for the whole space.
    pub fn parent(&self) -> Option<Self> {
        self.bits.checked_sub(1).map(|bits| Self::of(&self.id, bits))
    }
}

impl fmt::Display for Prefix {
    /// The bits, as `0` and `1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.bits).try_for_each(|bit| f.write_str(if self.id.bit(bit) { "1" } else { "0" }))
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({self})")
    }
}

/// Longest prefix for which a preimage is searched: 16 bits, about 65,000 hashes, 10 ms. Whoever grinds IDs that share more makes
/// nobody try longer; where nobody does, 20 servers share so many in a network of a million.
pub const PREIMAGE_BITS_MAX: u32 = 16;

/// Bytes of the form of a peer's ID whose place begins with a prefix, found by trying: twice as many hashes for each bit.
/// Other numbers in `salt` give others. `None` for prefixes of more than [`PREIMAGE_BITS_MAX`] bits.
///
/// The question of the network is asked with what is hashed, not with the hash, so who wants to know a region needs one.
pub fn preimage(prefix: &Prefix, salt: u64) -> Option<Key> {
    if prefix.bits > PREIMAGE_BITS_MAX {
        return None;
    }
    // A SHA-256 multihash, which is what peers' IDs look like: some servers refuse anything else.
    let mut bytes = [0; 34];
    let (head, body) = bytes.split_at_mut(2);
    head.copy_from_slice(&[0x12, 0x20]);
    for (to, from) in body.iter_mut().zip(salt.to_be_bytes()) {
        *to = from;
    }
    // The chance that so many tries fail is e^-64.
    let tries = 64_u64 << prefix.bits;
    for number in 0..tries {
        let counter = bytes.iter_mut().rev().take(8);
        counter.zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
        if prefix.contains(&KadId::of(&bytes)) {
            return Key::new(&bytes).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_hash_and_the_distance_is_xor() {
        let (a, b) = (KadId::of(b"a"), KadId::of(b"b"));
        assert_eq!(a.as_bytes()[..4], [0xca, 0x97, 0x81, 0x12], "SHA-256 of `a`");
        assert_eq!(a.distance(&b), b.distance(&a));
        assert_eq!(a.distance(&a).leading_zeros(), 256);
        assert!(a.distance(&b).fraction() > 0.0 && a.distance(&b).fraction() < 1.0);
    }

    #[test]
    fn a_prefix_holds_what_begins_with_it() {
        let id = KadId::of(b"a");
        for bits in [0, 1, 7, 8, 9, 31, 255, 256] {
            let prefix = Prefix::of(&id, bits);
            assert!(
                prefix.contains(&id) && prefix.contains(&prefix.first()) && prefix.contains(&prefix.last())
            );
            assert_eq!(prefix.to_string().len(), bits as usize);
            if let (Some(parent), Some(sibling)) = (prefix.parent(), prefix.sibling()) {
                assert!(parent.covers(&prefix) && parent.covers(&sibling) && !sibling.contains(&id));
                assert_eq!(sibling.sibling(), Some(prefix));
            }
        }
    }

    #[test]
    fn a_preimage_of_a_region_lies_in_it() {
        for bits in [0, 3, 10, 14] {
            let prefix = Prefix::of(&KadId::of(b"somewhere"), bits);
            let key = preimage(&prefix, 7).unwrap();
            assert!(prefix.contains(&key.id()));
            assert!(PeerId::from_bytes(key.as_bytes()).is_ok());
            assert_ne!(preimage(&prefix, 8), Some(key));
        }
        assert_eq!(preimage(&Prefix::of(&KadId::of(b"x"), 17), 0), None, "nobody makes it try longer");
    }
}
