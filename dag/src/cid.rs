//! Content identifiers: the one `Cid` type of the workspace, its codecs and its limits.

use crate::base;
use crate::hash::{HashKind, HashPolicyError};

/// Longest digest that a CID may carry: identity digests hold up to 128 bytes of data (boxo, IPIP-512).
pub const DIGEST_BYTES_MAX: usize = 128;

/// Longest binary CID that is accepted anywhere: four varints of at most 10 bytes and a digest (boxo Bitswap).
pub const CID_BYTES_MAX: usize = 168;

/// Characters of every v0 CID.
const CID_V0_CHARS: usize = 46;

/// Longest text of a CID in bytes: base2 of the longest binary CID. Some bases decode in quadratic time.
pub const CID_TEXT_BYTES_MAX: usize = 1 + 8 * CID_BYTES_MAX;

/// A content identifier whose digest may be up to [`DIGEST_BYTES_MAX`] bytes.
///
/// It is `Copy` and about 160 bytes large: keep its binary form where millions are held.
pub type Cid = cid::CidGeneric<DIGEST_BYTES_MAX>;

/// A multihash of up to [`DIGEST_BYTES_MAX`] bytes: the key of a block.
pub type Multihash = multihash::Multihash<DIGEST_BYTES_MAX>;

pub use cid::Version;

/// IPLD codec codes (multicodec table) that this crate knows by name.
pub mod codec {
    /// Bytes without structure or links.
    pub const RAW: u64 = 0x55;
    /// Generic CBOR without links.
    pub const CBOR: u64 = 0x51;
    /// Merkle DAG protobuf: what UnixFS is made of.
    pub const DAG_PB: u64 = 0x70;
    /// CBOR with links.
    pub const DAG_CBOR: u64 = 0x71;
    /// A libp2p public key: the codec of IPNS names.
    pub const LIBP2P_KEY: u64 = 0x72;
    /// A raw git object.
    pub const GIT_RAW: u64 = 0x78;
    /// Signed or encrypted JOSE objects.
    pub const DAG_JOSE: u64 = 0x85;
    /// JSON with links.
    pub const DAG_JSON: u64 = 0x0129;
    /// Generic JSON without links.
    pub const JSON: u64 = 0x0200;
}

/// Why a text or a byte string is not an acceptable CID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidError {
    /// It does not parse.
    #[error("invalid cid: {0}")]
    Invalid(String),
    /// Its hash function or digest length is not allowed for reading.
    #[error(transparent)]
    Policy(#[from] HashPolicyError),
}

/// Parses a CID from text: multibase for v1, base58btc for v0. The hash policy is not applied.
pub fn parse_cid(text: &str) -> Result<Cid, CidError> {
    let invalid = |words: String| CidError::Invalid(words);
    if text.len() < 2 {
        return Err(invalid("cid too short".to_owned()));
    }
    if text.len() > CID_TEXT_BYTES_MAX {
        return Err(invalid(format!("{} characters, the limit is {CID_TEXT_BYTES_MAX}", text.len())));
    }
    if text.len() != CID_V0_CHARS || !text.starts_with("Qm") {
        let (_, bytes) = base::decode(text.as_bytes()).map_err(|error| invalid(error.to_string()))?;
        return cast(&bytes);
    }
    let bytes = base::Base::Base58Btc.decode(text).map_err(|error| invalid(error.to_string()))?;
    match cast(&bytes)? {
        cid if cid.version() == Version::V0 => Ok(cid),
        _ => Err(invalid("invalid hash for cidv0".to_owned())),
    }
}

/// Parses what a text decoded to. Kubo says "invalid cid" once for the text and once for the bytes.
fn cast(bytes: &[u8]) -> Result<Cid, CidError> {
    cid_from_bytes(bytes).map_err(|error| match error {
        CidError::Invalid(words) if words == TRAILING => CidError::Invalid(words),
        other => CidError::Invalid(other.to_string()),
    })
}

/// What is wrong with a CID that has more bytes than it needs.
const TRAILING: &str = "trailing bytes in data buffer passed to cid Cast";

/// Parses a binary CID that fills `bytes` completely, without a multibase prefix or padding.
pub fn cid_from_bytes(bytes: &[u8]) -> Result<Cid, CidError> {
    if bytes.len() > CID_BYTES_MAX {
        return Err(CidError::Invalid(format!("{} bytes, the limit is {CID_BYTES_MAX}", bytes.len())));
    }
    match cid_prefix(bytes)? {
        (cid, len) if len == bytes.len() => Ok(cid),
        _ => Err(CidError::Invalid(TRAILING.to_owned())),
    }
}

/// Parses the binary CID that `bytes` begin with, and says how many bytes it takes.
pub fn cid_prefix(bytes: &[u8]) -> Result<(Cid, usize), CidError> {
    let mut rest = bytes.get(..CID_BYTES_MAX).unwrap_or(bytes);
    let whole = rest.len();
    match (rest, unsigned_varint::decode::u64(rest)) {
        ([], _) => return Err(CidError::Invalid("cid too short".to_owned())),
        ([0x12, 0x20, hash @ ..], _) if hash.len() < 32 => {
            return Err(CidError::Invalid("not enough bytes for cid v0".to_owned()));
        }
        ([0x12, 0x20, ..], _) | (_, Ok((1, _)) | Err(_)) => {}
        (_, Ok((version, _))) => {
            let words = format!("expected 1 as the cid version number, got: {version}");
            return Err(CidError::Invalid(words));
        }
    }
    let cid = Cid::read_bytes(&mut rest).map_err(|error| CidError::Invalid(error.to_string()))?;
    let len = whole - rest.len();
    // The varint reader drops what does not fit 64 bits, which would give one CID several binary forms.
    if cid.codec() >> 63 != 0 || cid.hash().code() >> 63 != 0 || cid.encoded_len() != len {
        return Err(CidError::Invalid("varints larger than uint63 not supported".to_owned()));
    }
    Ok((cid, len))
}

/// How CIDs of new blocks are made: version and hash function; the codec comes with each block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CidBuilder {
    /// CID version for dag-pb blocks. Other codecs always get v1.
    pub version: Version,
    /// Hash function.
    pub hash: HashKind,
}

impl CidBuilder {
    /// Hashes a block given in parts (they are hashed as if joined) and names it.
    ///
    /// A v0 builder names dag-pb blocks v0 only where v0 can say so (sha2-256); everything else gets v1.
    pub fn cid_of(&self, codec: u64, parts: &[&[u8]]) -> Cid {
        self.name(codec, self.hash.digest(parts))
    }

    /// Names a block whose multihash is known.
    pub fn name(&self, codec: u64, multihash: Multihash) -> Cid {
        if self.version == Version::V0
            && codec == codec::DAG_PB
            && let Ok(cid) = Cid::new_v0(multihash)
        {
            return cid;
        }
        Cid::new_v1(codec, multihash)
    }
}

/// The bytes of an identity CID: data that is inlined in the CID itself and never stored.
pub fn identity_data(cid: &Cid) -> Option<&[u8]> {
    (cid.hash().code() == HashKind::Identity.code()).then(|| cid.hash().digest())
}
