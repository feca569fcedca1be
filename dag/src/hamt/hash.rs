//! The hash that places names: murmur3-x64-128, of which the first eight bytes are used.

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// The 64 bits that decide where a name goes, level by level from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(u64);

impl KeyHash {
    /// Hashes a name.
    pub fn of(name: &[u8]) -> Self {
        Self(murmur3_x64(name))
    }

    /// The position at a level of `bits` bits; 0 where the hash has no bits left.
    pub fn position(self, depth: u32, bits: u32) -> u64 {
        let rest = self.0.checked_shl(depth * bits).unwrap_or(0);
        rest.checked_shr(u64::BITS - bits).unwrap_or(0)
    }
}

/// First half of murmur3-x64-128 with seed 0.
fn murmur3_x64(data: &[u8]) -> u64 {
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let (blocks, tail) = data.as_chunks::<16>();
    for block in blocks {
        let (k1, k2) = words(block);
        h1 = (h1 ^ mix1(k1)).rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 = (h2 ^ mix2(k2)).rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let mut last = [0; 16];
    last.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
    let (k1, k2) = words(&last);
    h1 ^= mix1(k1) ^ data.len() as u64;
    h2 ^= mix2(k2) ^ data.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    finish(h1).wrapping_add(finish(h2))
}

fn words(block: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*block);
    (both as u64, (both >> 64) as u64)
}

fn mix1(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix2(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finish(mut h: u64) -> u64 {
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_vectors() {
        // The reference implementation's verification values for short inputs with seed 0.
        assert_eq!(murmur3_x64(b""), 0);
        assert_eq!(murmur3_x64(b"hello"), 0xcbd8_a7b3_41bd_9b02);
        assert_eq!(murmur3_x64(b"The quick brown fox jumps over the lazy dog"), 0xe34b_bc7b_bc07_1b6c);
    }

    #[test]
    fn takes_bits_from_the_top() {
        let hash = KeyHash(0x1234_5678_9abc_def0);
        assert_eq!((0..8).map(|depth| hash.position(depth, 8)).next(), Some(0x12));
        assert_eq!(hash.position(7, 8), 0xf0);
        assert_eq!(hash.position(0, 3), 0);
        assert_eq!(hash.position(1, 3), 0b100);
        assert_eq!(hash.position(8, 8), 0);
    }
}
