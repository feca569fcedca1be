//! Bytes, files and trees made from a seed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use chacha20::cipher::{KeyIvInit, StreamCipher};
use sha2::{Digest, Sha256};

/// The first `len` bytes of the ChaCha20 keystream whose key is the SHA-256 of `seed`.
///
/// Kubo's own tests make their inputs so; nonce and counter are zero.
pub fn drand(seed: &str, len: usize) -> Vec<u8> {
    let key = Sha256::digest(seed.as_bytes());
    let mut bytes = vec![0; len];
    chacha20::ChaCha20::new(&key, &[0_u8; 12].into()).apply_keystream(&mut bytes);
    bytes
}

/// `count` names of `len` bytes each (the last one `last` bytes) drawn from [`drand`], as Kubo's tests do.
pub fn names(seed: &str, count: usize, len: usize, last: usize) -> Vec<String> {
    // The second 0 is meant: it is in the alphabet of Kubo's test.
    const ALPHABET: &[u8; 39] = b"abcdefghijklmnopqrstuvwxyz01234567890-_";
    let bytes = drand(seed, 1 << 20);
    let mut rest = bytes.iter();
    (1..=count)
        .map(|number| {
            let len = if number == count { last } else { len };
            rest.by_ref().take(len).map(|byte| char::from(ALPHABET[usize::from(byte % 39)])).collect()
        })
        .collect()
}

/// The SHA-256 digests of `salt` + "0", `salt` + "1", ... one after the other.
pub fn sha256_of_counters(salt: &str, count: u64) -> Vec<u8> {
    (0..count).flat_map(|counter| Sha256::digest(format!("{salt}{counter}").as_bytes())).collect()
}

/// A small generator whose whole state is its seed (SplitMix64): a printed seed repeats a run.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator for `name`, seeded by `HOLDFAST_TEST_SEED` or the clock; the seed is said.
    pub fn for_test(name: &str) -> Self {
        let seed = std::env::var("HOLDFAST_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            now.as_secs() ^ u64::from(now.subsec_nanos())
        });
        crate::need::say(&format!("{name}: HOLDFAST_TEST_SEED={seed}"));
        Self(seed)
    }

    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// A length between 1 and `max`, where every order of magnitude is as likely as another.
    pub fn length(&mut self, max: u64) -> u64 {
        let bits = 64 - max.leading_zeros();
        let cap = 1_u64 << self.below(u64::from(bits) + 1);
        (1 + self.below(cap)).min(max)
    }

    /// One in `odds` calls says yes.
    pub fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }

    /// `len` bytes that repeat nowhere.
    pub fn bytes(&mut self, len: u64) -> Vec<u8> {
        noise(self.draw(), len)
    }
}

/// `len` bytes that follow from `seed`.
pub fn noise(seed: u64, len: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let words = len.div_ceil(8);
    let mut bytes: Vec<u8> = (0..words).flat_map(|_| random.draw().to_le_bytes()).collect();
    bytes.truncate(usize::try_from(len).unwrap());
    bytes
}

/// Lays a tree of about `files` files under `root`: nested folders, empty ones, empty files,
/// equal files, symlinks, names with spaces, dots, quotes and letters beyond ASCII.
/// The paths of its regular files come back, relative to `root`.
pub fn lay_tree(random: &mut Random, root: &Path, files: u64, file_bytes_max: u64) -> Vec<PathBuf> {
    const STEMS: [&str; 8] = [
        "plain",
        "with space",
        "UPPER",
        "dot.dot",
        "quote'\"",
        "\u{e4}\u{f6}\u{fc}",
        "\u{65e5}\u{672c}",
        "-dash",
    ];
    let mut folders = vec![PathBuf::new()];
    let mut laid: Vec<PathBuf> = Vec::new();
    fs::create_dir_all(root).unwrap();
    for number in 0..files {
        let parent = folders[usize::try_from(random.below(folders.len() as u64)).unwrap()].clone();
        let stem = STEMS[usize::try_from(random.below(STEMS.len() as u64)).unwrap()];
        let path = parent.join(format!("{stem}{number}"));
        if random.one_in(8) {
            fs::create_dir(root.join(&path)).unwrap();
            folders.push(path);
            continue;
        }
        if random.one_in(16) {
            symlink(format!("../{stem}"), root.join(&path)).unwrap();
            continue;
        }
        let bytes = match random.below(12) {
            0 => Vec::new(),
            1 => b"the same bytes in many files\n".repeat(40),
            _ => {
                let len = random.length(file_bytes_max);
                random.bytes(len)
            }
        };
        fs::write(root.join(&path), bytes).unwrap();
        laid.push(path);
    }
    laid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drand_is_the_published_keystream() {
        // As OpenSSL gives it: `openssl enc -chacha20` with that key and a zero IV, over zeros.
        let expected = "4a07e1b7e7b2f73a70419a292c87be55dc0713be82327b90a3d1a8b66d4019f4\
                        29ecc1227b988660fcf33763df568b4639f6824c1e09ebcad39dbc5e0430edd0";
        let bytes = drand("chunk-v0-seed", 64);
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex.concat(), expected);
    }

    #[test]
    fn names_have_the_lengths_asked_for() {
        let names = names("hamt-unixfs-v1-2025", 4766, 11, 22);
        assert_eq!(names.len(), 4766);
        assert!(names[..4765].iter().all(|name| name.len() == 11));
        assert_eq!(names[4765].len(), 22);
    }

    #[test]
    fn lengths_stay_in_their_range() {
        let mut random = Random::new(1);
        let lengths: Vec<u64> = (0..1000).map(|_| random.length(5 << 20)).collect();
        assert!(lengths.iter().all(|len| (1..=5 << 20).contains(len)));
        assert!(lengths.iter().any(|len| *len < 64) && lengths.iter().any(|len| *len > 1 << 20));
    }
}
