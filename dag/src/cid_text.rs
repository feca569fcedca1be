//! CIDs as text: printf-like formatting, conversion and inspection, with the output and words of `ipfs cid`.

use std::fmt;

use crate::base::{self, Base, BaseError};
use crate::cid::{Cid, CidError, Multihash, Version, codec, parse_cid};
use crate::hash::HashKind;
use crate::ipld;
use crate::path::quote;

/// Why a CID could not be shown as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidFormatError {
    /// A format without any `%`.
    #[error("invalid format string: {}", quote(.0))]
    NoSpecifier(String),
    /// A format that ends in a single `%`.
    #[error("premature end of format string")]
    PrematureEnd,
    /// A specifier that does not exist.
    #[error("unrecognized specifier in format string: %{0}")]
    UnknownSpecifier(char),
    /// A codec that does not exist.
    #[error("unknown multicodec: {}", quote(.0))]
    UnknownCodec(String),
    /// A version other than 0 and 1.
    #[error("invalid cid version: {}", quote(.0))]
    UnknownVersion(String),
    /// Version 0 was asked for together with another codec.
    #[error("cannot convert to CIDv0 with any codec other than dag-pb")]
    V0Codec,
    /// Version 0 was asked for together with another base.
    #[error("cannot convert to CIDv0 with any multibase other than the implicit base58btc")]
    V0Base,
    /// A base that does not exist.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The text is no CID.
    #[error(transparent)]
    Cid(#[from] CidError),
    /// This CID has no v0.
    #[error("can't convert non-dag-pb nodes to cidv0")]
    NotDagPb,
    /// This CID has no v0.
    #[error("can't convert to cidv0: its hash is not sha2-256 of 32 bytes")]
    NotSha256,
    /// A v0 CID in a base other than base58btc.
    #[error("invalid base encoding")]
    V0Text,
}

impl CidFormatError {
    /// Whether it lies in what was asked for, so that no other CID will fare better.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Cid(_) | Self::NotDagPb | Self::NotSha256 | Self::V0Text)
    }
}

/// Formats a CID by a printf-like format; the result may be any bytes, as bases and digests may.
///
/// `%%` is a `%`; `%b` and `%B` name and code of the base; `%v` and `%V` version as `cidv1` and `1`; `%c` and `%C`
/// codec, `%h` and `%H` hash function by name and number; `%L` length of the digest; `%m` multihash, `%d` digest and
/// `%s` CID in the base, `%M`, `%D` and `%S` the same without the base's prefix; `%P` is `%v-%c-%h-%L`.
pub fn format_cid(format: &str, base: Base, cid: &Cid) -> Result<Vec<u8>, CidFormatError> {
    let mut out = Vec::new();
    let mut rest = format.chars();
    while let Some(character) = rest.next() {
        if character != '%' {
            out.extend(character.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        let specifier = rest.next().ok_or(CidFormatError::PrematureEnd)?;
        put_specifier(&mut out, specifier, base, cid)?;
    }
    Ok(out)
}

fn put_specifier(out: &mut Vec<u8>, specifier: char, base: Base, cid: &Cid) -> Result<(), CidFormatError> {
    let hash = cid.hash();
    let version = u64::from(cid.version());
    let text = match specifier {
        '%' => "%".to_owned(),
        'b' => base::base_name(base).to_owned(),
        'B' => base.code().to_string(),
        'v' => format!("cidv{version}"),
        'V' => version.to_string(),
        'c' => codec_text(cid.codec()),
        'C' => cid.codec().to_string(),
        'h' => hash_text(hash.code()),
        'H' => hash.code().to_string(),
        'L' => hash.size().to_string(),
        'P' => {
            let (codec, function) = (codec_text(cid.codec()), hash_text(hash.code()));
            format!("cidv{version}-{codec}-{function}-{}", hash.size())
        }
        'm' => return put(out, base::encode(base, &hash.to_bytes())),
        'M' => return put(out, base::encode_bare(base, &hash.to_bytes())),
        'd' => return put(out, base::encode(base, hash.digest())),
        'D' => return put(out, base::encode_bare(base, hash.digest())),
        's' => return put(out, encode_cid(base, cid)?),
        'S' => return put(out, base::encode_bare(base, &cid.to_bytes())),
        other => return Err(CidFormatError::UnknownSpecifier(other)),
    };
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "it ends match arms of a function that may fail")]
fn put(out: &mut Vec<u8>, bytes: Vec<u8>) -> Result<(), CidFormatError> {
    out.extend(bytes);
    Ok(())
}

/// A CID in a base; v0 has only base58btc, without a prefix.
pub fn encode_cid(base: Base, cid: &Cid) -> Result<Vec<u8>, CidFormatError> {
    match cid.version() {
        Version::V1 => Ok(base::encode(base, &cid.to_bytes())),
        Version::V0 if base == Base::Base58Btc => Ok(base::encode_bare(base, &cid.to_bytes())),
        Version::V0 => Err(CidFormatError::V0Text),
    }
}

/// The name of a codec, or `Code(n)`.
fn codec_text(code: u64) -> String {
    ipld::codec_name(code).map_or_else(|| format!("Code({code})"), str::to_owned)
}

/// The name of a hash function, or `hash?n`.
fn hash_text(code: u64) -> String {
    hash_name(code).unwrap_or_else(|| format!("hash?{code}"))
}

/// The name of a hash function, also of those that may not be read.
fn hash_name(code: u64) -> Option<String> {
    let unread = match code {
        0x18 => "shake-128",
        0x22 => "murmur3-x64-64",
        0xd5 => "md5",
        0x1012 => "sha2-256-trunc254-padded",
        0x1100 => "x11",
        0xb201..=0xb213 => return Some(format!("blake2b-{}", (code - 0xb200) * 8)),
        0xb241..=0xb253 => return Some(format!("blake2s-{}", (code - 0xb240) * 8)),
        0xb401 => "poseidon-bls12_381-a2-fc1",
        _ => return HashKind::from_code(code).map(HashKind::name),
    };
    Some(unread.to_owned())
}

/// What `cid format` does to each CID.
#[derive(Debug, Clone)]
pub struct CidConversion {
    format: String,
    version: Option<Version>,
    codec: Option<u64>,
    base: Option<Base>,
}

impl CidConversion {
    /// A conversion from the options of `cid format` (`-f`, `-v`, `--mc`, `-b`); empty text is an option not given,
    /// but for the format, whose default is `%s`.
    pub fn new(format: &str, version: &str, codec: &str, base: &str) -> Result<Self, CidFormatError> {
        if !format.contains('%') {
            return Err(CidFormatError::NoSpecifier(format.to_owned()));
        }
        let code = match codec {
            "" => None,
            name => {
                Some(ipld::codec_by_name(name).ok_or_else(|| CidFormatError::UnknownCodec(name.to_owned()))?)
            }
        };
        let version = match version {
            "" if base.is_empty() => None,
            "" | "1" => Some(Version::V1),
            "0" if code.is_some_and(|code| code != codec::DAG_PB) => return Err(CidFormatError::V0Codec),
            "0" if !base.is_empty() && base != "base58btc" => return Err(CidFormatError::V0Base),
            "0" => Some(Version::V0),
            other => return Err(CidFormatError::UnknownVersion(other.to_owned())),
        };
        let base = if base.is_empty() { None } else { Some(base::base_by_name(base)?) };
        Ok(Self { format: format.to_owned(), version, codec: code, base })
    }

    /// What `cid base32` does.
    pub fn base32() -> Self {
        Self {
            format: "%s".to_owned(),
            version: Some(Version::V1),
            codec: None,
            base: Some(Base::Base32Lower),
        }
    }

    /// Converts and formats the CID that `text` is. Without a base asked for, v1 keeps the one it came in.
    pub fn apply(&self, text: &str) -> Result<Vec<u8>, CidFormatError> {
        let given = parse_cid(text)?;
        let mut cid = match self.codec {
            Some(code) if code != given.codec() => Cid::new_v1(code, *given.hash()),
            _ => given,
        };
        match self.version {
            Some(Version::V1) => cid = Cid::new_v1(cid.codec(), *cid.hash()),
            Some(Version::V0) if cid.codec() != codec::DAG_PB => return Err(CidFormatError::NotDagPb),
            Some(Version::V0) => cid = Cid::new_v0(*cid.hash()).map_err(|_| CidFormatError::NotSha256)?,
            None => {}
        }
        let base = match self.base {
            Some(base) => base,
            None if cid.version() == Version::V0 => Base::Base58Btc,
            None => base_of(text),
        };
        format_cid(&self.format, base, &cid)
    }
}

/// The base of a text that parses as a CID.
fn base_of(text: &str) -> Base {
    if text.starts_with("Qm") {
        return Base::Base58Btc;
    }
    text.chars().next().and_then(|prefix| Base::from_code(prefix).ok()).unwrap_or(Base::Base58Btc)
}

/// A CID taken apart, as `cid inspect` shows it; [`fmt::Display`] is its text form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CidInspection {
    /// The text that was inspected.
    pub text: String,
    /// The CID.
    pub cid: Cid,
    /// The base it came in, base58btc for v0.
    pub base: Base,
    /// Name of the codec, or `unknown`.
    pub codec_name: &'static str,
    /// Name of the hash function, or `unknown`.
    pub hash_name: String,
    /// The same as v0, if there is such a CID.
    pub v0: Option<String>,
    /// The same as v1: base36 for keys, base32 for everything else.
    pub v1: String,
}

/// Takes a CID apart. The error's words are Kubo's, with a note where the text is a peer ID.
pub fn inspect(text: &str) -> Result<CidInspection, String> {
    let cid = parse_cid(text).map_err(|error| match peer_id_cid(text) {
        None => format!("invalid CID: {error}"),
        Some(peer) => format!(
            "invalid CID: {error}\nNote: the value is a PeerID; inspect its CID representation instead:\n  {peer}"
        ),
    })?;
    Ok(CidInspection {
        text: text.to_owned(),
        base: if cid.version() == Version::V0 { Base::Base58Btc } else { base_of(text) },
        codec_name: ipld::codec_name(cid.codec()).unwrap_or("unknown"),
        hash_name: hash_name(cid.hash().code()).unwrap_or_else(|| "unknown".to_owned()),
        v0: (cid.codec() == codec::DAG_PB)
            .then(|| Cid::new_v0(*cid.hash()).ok())
            .flatten()
            .map(|v0| v0.to_string()),
        v1: v1_text(&Cid::new_v1(cid.codec(), *cid.hash())),
        cid,
    })
}

/// v1 in the base in which Kubo shows it.
fn v1_text(cid: &Cid) -> String {
    let base = if cid.codec() == codec::LIBP2P_KEY { Base::Base36Lower } else { Base::Base32Lower };
    multibase::encode(base, cid.to_bytes())
}

/// The CID of a peer ID in its old form: a bare multihash in base58btc.
fn peer_id_cid(text: &str) -> Option<String> {
    if !(text.starts_with('1') || text.starts_with("Qm")) || text.len() > crate::cid::CID_TEXT_BYTES_MAX {
        return None;
    }
    let hash = Multihash::from_bytes(&Base::Base58Btc.decode(text).ok()?).ok()?;
    Some(v1_text(&Cid::new_v1(codec::LIBP2P_KEY, hash)))
}

impl fmt::Display for CidInspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = self.cid.hash();
        let is_v0 = self.cid.version() == Version::V0;
        let implicit = if is_v0 { ", implicit" } else { "" };
        writeln!(f, "CID:        {}", self.text)?;
        writeln!(f, "Version:    {}", u64::from(self.cid.version()))?;
        let prefix = if is_v0 { "implicit".to_owned() } else { self.base.code().to_string() };
        writeln!(f, "Multibase:  {} ({prefix})", base::base_name(self.base))?;
        writeln!(f, "Multicodec: {} ({:#x}{implicit})", self.codec_name, self.cid.codec())?;
        writeln!(f, "Multihash:  {} ({:#x}{implicit})", self.hash_name, hash.code())?;
        writeln!(f, "  Length:   {} bytes", hash.size())?;
        writeln!(f, "  Digest:   {}", Base::Base16Lower.encode(hash.digest()))?;
        match &self.v0 {
            Some(v0) => writeln!(f, "CIDv0:      {v0}")?,
            None if self.cid.codec() != codec::DAG_PB => {
                let (name, code) = (self.codec_name, self.cid.codec());
                writeln!(f, "CIDv0:      not possible, requires dag-pb (0x70), got {name} ({code:#x})")?;
            }
            None if hash.code() != HashKind::Sha2_256.code() => {
                let (name, code) = (&self.hash_name, hash.code());
                writeln!(f, "CIDv0:      not possible, requires sha2-256 (0x12), got {name} ({code:#x})")?;
            }
            None => writeln!(f, "CIDv0:      not possible, requires 32-byte digest, got {}", hash.size())?,
        }
        writeln!(f, "CIDv1:      {}", self.v1)
    }
}
