//! Multibase: text forms of bytes, by the names and codes that Kubo knows.
//!
//! Bytes go in and out, not `str`: the identity base holds any bytes.

use std::borrow::Cow;

pub use multibase::Base;

/// The bases that Kubo supports, with their names, in the order in which `cid bases` lists them.
pub const BASES: [(Base, &str); 21] = [
    (Base::Identity, "identity"),
    (Base::Base2, "base2"),
    (Base::Base32Lower, "base32"),
    (Base::Base32Upper, "base32upper"),
    (Base::Base32PadLower, "base32pad"),
    (Base::Base32PadUpper, "base32padupper"),
    (Base::Base16Lower, "base16"),
    (Base::Base16Upper, "base16upper"),
    (Base::Base36Lower, "base36"),
    (Base::Base36Upper, "base36upper"),
    (Base::Base64, "base64"),
    (Base::Base64Pad, "base64pad"),
    (Base::Base32HexPadLower, "base32hexpad"),
    (Base::Base32HexPadUpper, "base32hexpadupper"),
    (Base::Base64Url, "base64url"),
    (Base::Base64UrlPad, "base64urlpad"),
    (Base::Base32HexLower, "base32hex"),
    (Base::Base32HexUpper, "base32hexupper"),
    (Base::Base58Btc, "base58btc"),
    (Base::Base58Flickr, "base58flickr"),
    (Base::Base256Emoji, "base256emoji"),
];

/// Why a base or a text in it is not understood, in Kubo's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BaseError {
    /// No name was given.
    #[error("empty multibase encoding")]
    EmptyName,
    /// Neither a name nor a one-character code of a base.
    #[error("unsupported multibase encoding: {0}")]
    UnknownName(String),
    /// Nothing to decode.
    #[error("cannot decode multibase for zero length string")]
    Empty,
    /// The first character is not the code of a base.
    #[error("selected encoding not supported")]
    Unsupported,
    /// A character that the base does not have, or a length that it cannot have.
    #[error("invalid {base} data: {reason}")]
    Invalid {
        /// Name of the base.
        base: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// The name of a base; empty for those that Kubo does not support.
pub fn base_name(base: Base) -> &'static str {
    BASES.iter().find(|(known, _)| *known == base).map_or("", |(_, name)| name)
}

/// The number that stands for a base: the code point of its prefix.
pub fn base_code(base: Base) -> u32 {
    u32::from(base.code())
}

/// The prefix of a base as `cid bases --prefix` shows it: a space where it cannot be printed.
pub fn base_prefix(base: Base) -> char {
    if base == Base::Identity { ' ' } else { base.code() }
}

/// The base with this name, or with this prefix if the text is one character.
pub fn base_by_name(text: &str) -> Result<Base, BaseError> {
    let mut characters = text.chars();
    let first = characters.next().ok_or(BaseError::EmptyName)?;
    let found = if characters.next().is_none() {
        BASES.iter().find(|(base, _)| base.code() == first)
    } else {
        BASES.iter().find(|(_, name)| *name == text)
    };
    found.map(|(base, _)| *base).ok_or_else(|| BaseError::UnknownName(text.to_owned()))
}

/// Encodes bytes, the prefix of the base in front.
pub fn encode(base: Base, data: &[u8]) -> Vec<u8> {
    let mut out = base.code().to_string().into_bytes();
    out.extend(encode_bare(base, data));
    out
}

/// Encodes bytes without a prefix.
pub fn encode_bare(base: Base, data: &[u8]) -> Vec<u8> {
    if base == Base::Identity { data.to_vec() } else { base.encode(data).into_bytes() }
}

/// Decodes a text by its prefix. Bases of one letter case are read in both, and line ends within base 32 and 64 are
/// passed over, as in Kubo.
pub fn decode(text: &[u8]) -> Result<(Base, Vec<u8>), BaseError> {
    let Some(first) = text.first() else { return Err(BaseError::Empty) };
    if *first == 0 {
        return Ok((Base::Identity, text.get(1..).unwrap_or_default().to_vec()));
    }
    let text = std::str::from_utf8(text).map_err(|_| BaseError::Unsupported)?;
    let mut rest = text.chars();
    let code = rest.next().ok_or(BaseError::Empty)?;
    let (base, name) =
        BASES.iter().find(|(base, _)| base.code() == code).copied().ok_or(BaseError::Unsupported)?;
    let wraps = name.starts_with("base32") || name.starts_with("base64");
    let body = match rest.as_str() {
        body if wraps && body.contains(['\r', '\n']) => Cow::Owned(body.replace(['\r', '\n'], "")),
        body => Cow::Borrowed(body),
    };
    let body = body.as_ref();
    let folded = match name.trim_start_matches("base") {
        "16" | "32" | "32pad" | "32hex" | "32hexpad" | "36" => lower(body),
        "16upper" | "32upper" | "32padupper" | "32hexupper" | "32hexpadupper" | "36upper" => upper(body),
        _ => None,
    };
    let decoded = base.decode(folded.as_deref().unwrap_or(body));
    match decoded {
        Ok(bytes) => Ok((base, bytes)),
        Err(error) => Err(BaseError::Invalid { base: name, reason: error.to_string() }),
    }
}

/// In lower case, if it is not already.
fn lower(text: &str) -> Option<String> {
    text.bytes().any(|byte| byte.is_ascii_uppercase()).then(|| text.to_ascii_lowercase())
}

/// In upper case, if it is not already.
fn upper(text: &str) -> Option<String> {
    text.bytes().any(|byte| byte.is_ascii_lowercase()).then(|| text.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_passed_over_where_kubo_does() {
        for (base, wrapped) in
            [("base64url", "ubmhl\nbGxv\n"), ("base64", "mbmhlbGxv\r\n"), ("base32", "bnzugk3\ndmn4\n")]
        {
            assert_eq!(
                decode(wrapped.as_bytes()).unwrap(),
                (base_by_name(base).unwrap(), b"nhello".to_vec()),
                "{base}"
            );
        }
        assert!(decode(b"z2NEpo7TZRRrLZSi2U\n").is_err(), "base58 has no lines");
        assert!(decode(b"f6e\n").is_err(), "nor has base16");
    }
}
