//! CBOR heads: the one reader under the dag-cbor decoder, the link scan and the CAR header.

use super::DecodeError;
use crate::cid::{Cid, cid_from_bytes};

/// The tag of links.
pub(crate) const LINK_TAG: u64 = 42;

/// One item, or the beginning of one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Head<'a> {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Bytes(&'a [u8]),
    /// Text that may not be UTF-8.
    Text(&'a [u8]),
    /// This many items follow.
    List(u64),
    /// This many pairs of items follow.
    Map(u64),
    /// Bytes under tag 42, the leading zero included.
    Link(&'a [u8]),
}

/// Reads items from a slice, as strictly as DAG-CBOR demands.
///
/// Refused: indefinite lengths, integers and lengths that are not minimal, NaN and infinities, tags other than 42.
/// Accepted for the sake of old data: 16- and 32-bit floats, and `undefined` as null.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next item.
    pub(crate) fn head(&mut self) -> Result<Head<'a>, DecodeError> {
        let first = self.byte()?;
        if first >> 5 == 6 {
            return self.tagged(first);
        }
        self.untagged(first)
    }

    /// The next item, which has to be text: the key of a map.
    pub(crate) fn key(&mut self) -> Result<&'a [u8], DecodeError> {
        if self.is_at_end() {
            return Err(DecodeError::Eof);
        }
        match self.head()? {
            Head::Text(key) => Ok(key),
            other => Err(DecodeError::malformed(format!(
                "unexpected {} token while expecting map key",
                other.token_name()
            ))),
        }
    }

    fn tagged(&mut self, first: u8) -> Result<Head<'a>, DecodeError> {
        let tag = self.argument(first)?;
        let first = self.byte()?;
        if first >> 5 == 6 {
            return Err(DecodeError::malformed("unsupported multiple tags on a single data item"));
        }
        match self.untagged(first)? {
            Head::Bytes(bytes) if tag == LINK_TAG => Ok(Head::Link(bytes)),
            _ => Err(DecodeError::UnhandledTag(tag)),
        }
    }

    fn untagged(&mut self, first: u8) -> Result<Head<'a>, DecodeError> {
        let major = first >> 5;
        if matches!(major, 2..=5) && first & 0x1f == 0x1f {
            return Err(DecodeError::malformed("cbor: indefinite-length encoding rejected"));
        }
        match major {
            0 => Ok(Head::Int(i128::from(self.argument(first)?))),
            1 => Ok(Head::Int(-1 - i128::from(self.argument(first)?))),
            2 => self.string(first).map(Head::Bytes),
            3 => self.string(first).map(Head::Text),
            4 => self.argument(first).map(Head::List),
            5 => self.argument(first).map(Head::Map),
            _ => self.simple(first),
        }
    }

    fn simple(&mut self, first: u8) -> Result<Head<'a>, DecodeError> {
        let float = match first {
            0xf4 => return Ok(Head::Bool(false)),
            0xf5 => return Ok(Head::Bool(true)),
            0xf6 | 0xf7 => return Ok(Head::Null),
            0xf9 => half_to_double(u16::from_be_bytes(self.array()?)),
            0xfa => f64::from(f32::from_be_bytes(self.array()?)),
            0xfb => f64::from_be_bytes(self.array()?),
            _ => return Err(DecodeError::malformed(format!("invalid majorByte: {first:#x}"))),
        };
        if float.is_nan() {
            return Err(DecodeError::malformed("cbor: NaN float value rejected"));
        }
        if float.is_infinite() {
            return Err(DecodeError::malformed("cbor: infinite float value rejected"));
        }
        Ok(Head::Float(float))
    }

    /// The number that a head carries, in its low bits or in the bytes after it.
    fn argument(&mut self, first: u8) -> Result<u64, DecodeError> {
        let (value, least) = match first & 0x1f {
            info @ 0..=23 => return Ok(u64::from(info)),
            24 => (u64::from(self.byte()?), 24),
            25 => (u64::from(u16::from_be_bytes(self.array()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.array()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.array()?), 1 << 32),
            _ => return Err(DecodeError::malformed(format!("invalid majorByte: {first:#x}"))),
        };
        if value < least {
            return Err(DecodeError::malformed("cbor: integer not minimally encoded"));
        }
        Ok(value)
    }

    fn string(&mut self, first: u8) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.argument(first)?).map_err(|_| DecodeError::UnexpectedEof)?;
        let (string, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::UnexpectedEof)?;
        self.rest = rest;
        Ok(string)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::UnexpectedEof)?;
        self.rest = rest;
        Ok(*first)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(DecodeError::UnexpectedEof)?;
        self.rest = rest;
        Ok(*array)
    }
}

impl Head<'_> {
    /// What the Go decoder calls such a token.
    pub(crate) fn token_name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(0..) => "uint",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Bytes(_) | Self::Link(_) => "bytes",
            Self::Text(_) => "string",
            Self::List(_) => "array open",
            Self::Map(_) => "map open",
        }
    }
}

/// The CID of a [`Head::Link`].
pub(crate) fn link_cid(bytes: &[u8]) -> Result<Cid, DecodeError> {
    match bytes.split_first() {
        Some((0, cid)) => Ok(cid_from_bytes(cid)?),
        _ => Err(DecodeError::malformed("invalid multibase on IPLD link")),
    }
}

/// Widens an IEEE 754 half: sign, five bits of exponent, ten of fraction.
fn half_to_double(half: u16) -> f64 {
    let exponent = i32::from(half >> 10 & 0x1f);
    let fraction = f64::from(half & 0x3ff);
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (fraction + 1024.0) * 2_f64.powi(exponent - 25),
    };
    if half >> 15 == 1 { -magnitude } else { magnitude }
}
