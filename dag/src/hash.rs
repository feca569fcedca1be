//! Hash functions of CIDs: names, codes, digests, and which of them may be read.

use sha2::Digest as _;

use crate::block::VerifyError;
use crate::cid::{Cid, DIGEST_BYTES_MAX, Multihash};

/// Shortest digest that is accepted for reading, in bytes (Kubo `verifcid`). Identity has no minimum.
pub const DIGEST_BYTES_MIN: usize = 20;

/// A hash function that this node computes, with its digest length where the function has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashKind {
    /// The data itself, for blocks of at most 128 bytes.
    Identity,
    /// SHA-1: read for git objects, not for new data.
    Sha1,
    /// SHA2-256, the default.
    Sha2_256,
    /// SHA2-512.
    Sha2_512,
    /// SHA2-256 applied twice.
    DblSha2_256,
    /// SHA3-224.
    Sha3_224,
    /// SHA3-256.
    Sha3_256,
    /// SHA3-384.
    Sha3_384,
    /// SHA3-512.
    Sha3_512,
    /// SHAKE-256 with 64 bytes of output.
    Shake256,
    /// Keccak-224, as used before SHA-3 was standardised.
    Keccak224,
    /// Keccak-256.
    Keccak256,
    /// Keccak-384.
    Keccak384,
    /// Keccak-512.
    Keccak512,
    /// BLAKE3 with 32 bytes of output.
    Blake3,
    /// BLAKE2b with this many bytes of output (20 to 64).
    Blake2b(u8),
    /// BLAKE2s with this many bytes of output (20 to 32).
    Blake2s(u8),
}

/// Multicodec code of BLAKE2b with one byte of output; n bytes are n - 1 further on.
const BLAKE2B_8: u64 = 0xb201;
/// Multicodec code of BLAKE2s with one byte of output.
const BLAKE2S_8: u64 = 0xb241;

/// The functions without a length, with code and name (multicodec table).
const NAMED: [(HashKind, u64, &str); 15] = [
    (HashKind::Identity, 0x00, "identity"),
    (HashKind::Sha1, 0x11, "sha1"),
    (HashKind::Sha2_256, 0x12, "sha2-256"),
    (HashKind::Sha2_512, 0x13, "sha2-512"),
    (HashKind::Sha3_512, 0x14, "sha3-512"),
    (HashKind::Sha3_384, 0x15, "sha3-384"),
    (HashKind::Sha3_256, 0x16, "sha3-256"),
    (HashKind::Sha3_224, 0x17, "sha3-224"),
    (HashKind::Shake256, 0x19, "shake-256"),
    (HashKind::Keccak224, 0x1a, "keccak-224"),
    (HashKind::Keccak256, 0x1b, "keccak-256"),
    (HashKind::Keccak384, 0x1c, "keccak-384"),
    (HashKind::Keccak512, 0x1d, "keccak-512"),
    (HashKind::Blake3, 0x1e, "blake3"),
    (HashKind::DblSha2_256, 0x56, "dbl-sha2-256"),
];

impl HashKind {
    /// Every function that may be read, in the order of their codes.
    pub fn all() -> impl Iterator<Item = Self> {
        let blake2b = (20..=64).map(Self::Blake2b);
        let blake2s = (20..=32).map(Self::Blake2s);
        NAMED.iter().map(|(kind, ..)| *kind).chain(blake2b).chain(blake2s)
    }

    /// The function with this multicodec code, if this node computes it.
    pub fn from_code(code: u64) -> Option<Self> {
        Self::all().find(|kind| kind.code() == code)
    }

    /// The function with this multicodec name (`sha2-256`, `blake2b-256`, ...).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name() == name)
    }

    /// Multicodec code.
    pub fn code(self) -> u64 {
        match self {
            Self::Blake2b(len) => BLAKE2B_8 - 1 + u64::from(len),
            Self::Blake2s(len) => BLAKE2S_8 - 1 + u64::from(len),
            kind => NAMED.iter().find(|(named, ..)| *named == kind).map_or(0, |(_, code, _)| *code),
        }
    }

    /// Multicodec name.
    pub fn name(self) -> String {
        match self {
            Self::Blake2b(len) => format!("blake2b-{}", u32::from(len) * 8),
            Self::Blake2s(len) => format!("blake2s-{}", u32::from(len) * 8),
            kind => NAMED.iter().find(|(named, ..)| *named == kind).map_or("", |(.., name)| *name).to_owned(),
        }
    }

    /// Digests `parts` as if they were joined.
    ///
    /// [`HashKind::Identity`] keeps only the first [`DIGEST_BYTES_MAX`] bytes: callers inline short blocks only.
    pub fn digest(self, parts: &[&[u8]]) -> Multihash {
        match self {
            Self::Identity => {
                let joined: Vec<u8> = parts.concat();
                wrap(self, joined.get(..DIGEST_BYTES_MAX).unwrap_or(&joined))
            }
            Self::Sha1 => wrap(self, &fixed::<sha1::Sha1>(parts)),
            Self::Sha2_256 => wrap(self, &fixed::<sha2::Sha256>(parts)),
            Self::Sha2_512 => wrap(self, &fixed::<sha2::Sha512>(parts)),
            Self::DblSha2_256 => wrap(self, &sha2::Sha256::digest(fixed::<sha2::Sha256>(parts))),
            Self::Sha3_224 => wrap(self, &fixed::<sha3::Sha3_224>(parts)),
            Self::Sha3_256 => wrap(self, &fixed::<sha3::Sha3_256>(parts)),
            Self::Sha3_384 => wrap(self, &fixed::<sha3::Sha3_384>(parts)),
            Self::Sha3_512 => wrap(self, &fixed::<sha3::Sha3_512>(parts)),
            Self::Shake256 => wrap(self, &shake256(parts)),
            Self::Keccak224 => wrap(self, &fixed::<sha3::Keccak224>(parts)),
            Self::Keccak256 => wrap(self, &fixed::<sha3::Keccak256>(parts)),
            Self::Keccak384 => wrap(self, &fixed::<sha3::Keccak384>(parts)),
            Self::Keccak512 => wrap(self, &fixed::<sha3::Keccak512>(parts)),
            Self::Blake3 => {
                let mut hasher = blake3::Hasher::new();
                for part in parts {
                    hasher.update(part);
                }
                wrap(self, hasher.finalize().as_bytes())
            }
            Self::Blake2b(len) => {
                let mut state = blake2b_simd::Params::new().hash_length(usize::from(len)).to_state();
                for part in parts {
                    state.update(part);
                }
                wrap(self, state.finalize().as_bytes())
            }
            Self::Blake2s(len) => {
                let mut state = blake2s_simd::Params::new().hash_length(usize::from(len)).to_state();
                for part in parts {
                    state.update(part);
                }
                wrap(self, state.finalize().as_bytes())
            }
        }
    }
}

/// Digest of a fixed-output function over `parts`.
fn fixed<D: sha2::Digest>(parts: &[&[u8]]) -> sha2::digest::Output<D> {
    let mut hasher = D::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

fn shake256(parts: &[&[u8]]) -> [u8; 64] {
    use shake::{ExtendableOutput as _, Update as _, XofReader as _};
    let mut hasher = shake::Shake256::default();
    for part in parts {
        hasher.update(part);
    }
    let mut out = [0; 64];
    hasher.finalize_xof().read(&mut out);
    out
}

/// A multihash from a digest that is known to fit.
fn wrap(kind: HashKind, digest: &[u8]) -> Multihash {
    Multihash::wrap(kind.code(), digest).expect("invariant: no digest made here is over 128 bytes")
}

/// Why a CID may not be read, although it parses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashPolicyError {
    /// The function is not on the allow-list.
    #[error("potentially insecure hash functions not allowed")]
    NotAllowed {
        /// Its multicodec code.
        code: u64,
    },
    /// Fewer than [`DIGEST_BYTES_MIN`] bytes of digest.
    #[error("digest too small: must be at least {DIGEST_BYTES_MIN} bytes")]
    DigestTooSmall,
    /// More than [`DIGEST_BYTES_MAX`] bytes of digest.
    #[error("digest too large: must be at most {DIGEST_BYTES_MAX} bytes")]
    DigestTooLarge,
}

/// Checks that blocks named by this CID may be read at all (Kubo's allow-list).
pub fn check_policy(cid: &Cid) -> Result<HashKind, HashPolicyError> {
    let hash = cid.hash();
    let kind = HashKind::from_code(hash.code()).ok_or(HashPolicyError::NotAllowed { code: hash.code() })?;
    match hash.digest().len() {
        len if len > DIGEST_BYTES_MAX => Err(HashPolicyError::DigestTooLarge),
        len if len < DIGEST_BYTES_MIN && kind != HashKind::Identity => Err(HashPolicyError::DigestTooSmall),
        _ => Ok(kind),
    }
}

/// Checks that `parts`, joined, are the block that `cid` names. A truncated digest is compared as far as it goes.
pub fn verify(cid: &Cid, parts: &[&[u8]]) -> Result<(), VerifyError> {
    let kind = check_policy(cid)?;
    let expected = cid.hash().digest();
    let matches = if kind == HashKind::Identity {
        parts.concat() == expected
    } else {
        kind.digest(parts).digest().get(..expected.len()) == Some(expected)
    };
    if matches { Ok(()) } else { Err(VerifyError::Mismatch { cid: Box::new(*cid) }) }
}
