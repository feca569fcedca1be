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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testdata::hex;

    /// Longer than a block of any of the functions.
    fn data() -> Vec<u8> {
        (0..1000_u32).map(|at| (at % 251) as u8).collect()
    }

    /// Digests of [`data`] by Python's hashlib; Keccak by a second implementation of its specification.
    #[rustfmt::skip]
    const VECTORS: [(&str, &str); 18] = [
        ("sha1", "c9c960a0b925474fab83942cc27d504fc24ac37b"),
        ("sha2-256", "4e4c294b331f7a2099a379bec34b9f9fc03dc46ab465d998f4d683da53487e6d"),
        ("sha2-512", "5096498d96f50f9a137c4db5b8b0cd38383ad55350fb5a98805fedc31fa1262f1f0cf4d6f12d7ecd8dedd933a4c9126344fe22e937a8ad35fdeae1e876ae698b"),
        ("sha3-512", "b8030d306ae990bc794bfb3a6100f67851889d6c272257afac7d1077a18660d6ea8d0da5d2299c3ebaa0d34baf62cc58ac1fd4476506cf512a4897bb083a6fc4"),
        ("sha3-384", "43e60a7ef818a0e367fcd4ede8f5fabbdb7090cb45972bb7a84038cc3abf4fc26c4f44b59d3a0306c973b66e84c8890b"),
        ("sha3-256", "48e66a01861d0eadaacdb7a6ae7db6b9ac79242ecced4154a9fbb33c4e3cc571"),
        ("sha3-224", "51481b8dbd6b73dd110a967f438aa22facfcdce1eb5d2b36a5ec023f"),
        ("shake-256", "34833f03ed88bb5f083ce590c7ae5af93ede33e11f53c70e47916c7044746acbdca19a73ff13905e91f8dc25ce6e41ae59fe75441bd548dda9114aca1da71802"),
        ("keccak-224", "bade992c46a5696b8e103d74ae6fb1fb4cddff57c276d2baf67565fc"),
        ("keccak-256", "af692982e84a5a9688359025660a7857cd28ee7c8d867cfa1677baf2e6d1f63b"),
        ("keccak-384", "f2c25e476fb2c046931f4cd056efaa2c85031876364a1d462c493eb2db2707805c59d7b4a23c0acd20e3ff8d20945022"),
        ("keccak-512", "dec8169d40c30076041b00181c5fdfcc36b95f2acb6ff5bbaea772c37d91885b4c85b1463c718e9e6ffed3896c01d2aede2904c80c1fd6d6d4a5e87b991db490"),
        ("dbl-sha2-256", "c88e98bd565d6e001a0a37ac287032e1183923f35f6fde42c14210cbe2098d7c"),
        ("blake2b-160", "fc9a2426db78846a07219bc181a52bae9a62eacc"),
        ("blake2b-256", "b372d0608f720c8c3dd41e9c8eecb10143b41abe520b616607e754bf79c08331"),
        ("blake2b-512", "c11e1c0340bd7e5a1b275f1230c962fad215ecb1391486e74e31b960a2f2996381a5fad092da06841d5f26e38f6ecfeaf441acbcd1c2de61aef121e7927175f5"),
        ("blake2s-160", "3e4524daf9b942e944bacc554db2f617a57ff95a"),
        ("blake2s-256", "1c067a5e746fb0f6734efac9a8cdb0e11061f0077f255184365c690115392501"),
    ];

    #[test]
    fn digests_are_those_of_other_implementations() {
        let data = data();
        let parts: [&[u8]; 4] = [&data[..1], &[], &data[1..700], &data[700..]];
        for (name, digest) in VECTORS {
            let kind = HashKind::from_name(name).unwrap();
            assert_eq!(hex(kind.digest(&[&data]).digest()), digest, "{name}");
            assert_eq!(kind.digest(&parts), kind.digest(&[&data]), "{name} in parts");
            assert_eq!(kind.digest(&[&data]).code(), kind.code());
        }
    }

    /// Every length of BLAKE2, through a digest of all of them, also from hashlib.
    #[test]
    fn every_length_of_blake2() {
        let data = data();
        let lengths = (20..=64).map(HashKind::Blake2b).chain((20..=32).map(HashKind::Blake2s));
        let all: Vec<u8> = lengths.flat_map(|kind| kind.digest(&[&data]).digest().to_vec()).collect();
        assert_eq!(
            hex(HashKind::Sha2_256.digest(&[&all]).digest()),
            "1b721bc7bfc0c8a5b1c5d9f1e590de91f863b840abd398c942283eb251889970"
        );
    }

    /// The published vectors of BLAKE3: bytes counting modulo 251, across the border of its first chunk.
    #[test]
    fn blake3_vectors() {
        for (length, digest) in [
            (0_u32, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            (1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
            (1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"),
        ] {
            let data: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            assert_eq!(hex(HashKind::Blake3.digest(&[&data]).digest()), digest);
        }
    }

    #[test]
    fn names_and_codes_are_unique_and_read_back() {
        let kinds: Vec<HashKind> = HashKind::all().collect();
        for kind in &kinds {
            assert_eq!(HashKind::from_code(kind.code()), Some(*kind));
            assert_eq!(HashKind::from_name(&kind.name()), Some(*kind));
        }
        for (name, code) in
            [("sha2-256", 0x12), ("blake2b-256", 0xb220), ("blake2s-256", 0xb260), ("blake2b-160", 0xb214)]
        {
            assert_eq!(HashKind::from_name(name).map(HashKind::code), Some(code), "{name}");
        }
        for unknown in ["", "foo", "sha2-257", "blake2b-152", "blake2b-8", "blake2s-264", "murmur3-x64-64"] {
            assert_eq!(HashKind::from_name(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn policy_and_verification() {
        let (data, kind) = (data(), HashKind::Sha2_256);
        let cid_of = |code, digest: &[u8]| Cid::new_v1(0x55, Multihash::wrap(code, digest).unwrap());
        let multihash = kind.digest(&[&data]);
        let whole = multihash.digest();
        assert_eq!(verify(&cid_of(0x12, whole), &[&data]), Ok(()));
        assert_eq!(verify(&cid_of(0x12, &whole[..20]), &[&data]), Ok(()), "truncated");
        assert!(matches!(verify(&cid_of(0x12, whole), &[b"other"]), Err(VerifyError::Mismatch { .. })));
        let refused = |cid: &Cid| check_policy(cid).unwrap_err().to_string();
        assert_eq!(refused(&cid_of(0x12, &whole[..19])), "digest too small: must be at least 20 bytes");
        assert_eq!(refused(&cid_of(0x22, whole)), "potentially insecure hash functions not allowed");
        assert_eq!(verify(&cid_of(0, b"inlined"), &[b"in", b"lined"]), Ok(()));
        assert!(verify(&cid_of(0, b"inlined"), &[b"inline"]).is_err());
        // A digest that is longer than the function gives can never be right.
        assert!(verify(&cid_of(0x12, &[whole, &[0]].concat()), &[&data]).is_err());
    }
}
