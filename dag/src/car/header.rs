//! The headers of both versions.

use super::reader::CarError;
use crate::cid::Cid;
use crate::ipld::{DecodeError, Head, Reader};

/// Bytes of the fixed header that follows the pragma of version 2.
pub(super) const V2_HEADER_BYTES: usize = 40;

/// Bytes before the earliest place where the payload of version 2 may begin: pragma and header.
pub(super) const V2_PAYLOAD_OFFSET_MIN: u64 = 51;

/// The header of a version 1 archive; the pragma of version 2 is one without roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarHeader {
    /// 1, or 2 for the pragma.
    pub version: u64,
    /// CIDs that the archive is about, in order; their blocks need not be in it.
    pub roots: Vec<Cid>,
}

impl CarHeader {
    /// Decodes a header without its length: a map of `roots` and `version`, with at most `roots_max` roots.
    pub fn decode(bytes: &[u8], roots_max: usize) -> Result<Self, CarError> {
        let mut reader = Reader::new(bytes);
        let fields = match reader.head().map_err(invalid)? {
            Head::Map(fields) => fields,
            other => {
                let words = format!(
                    "malformed stream: invalid appearance of {} token; expected start of map",
                    other.token_name()
                );
                return Err(CarError::Header(words));
            }
        };
        let (mut version, mut roots) = (None, None);
        for _ in 0..fields {
            match reader.key().map_err(invalid)? {
                b"version" if version.is_none() => version = Some(read_version(&mut reader)?),
                b"roots" if roots.is_none() => roots = Some(read_roots(&mut reader, roots_max)?),
                key => {
                    let key = String::from_utf8_lossy(key);
                    return Err(CarError::Header(format!("unexpected or repeated field {key:?}")));
                }
            }
        }
        if !reader.is_at_end() {
            return Err(CarError::Header("trailing bytes".to_owned()));
        }
        Ok(Self { version: version.unwrap_or(0), roots: roots.unwrap_or_default() })
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<u64, CarError> {
    match reader.head().map_err(invalid)? {
        Head::Int(version) => {
            u64::try_from(version).map_err(|_| CarError::Header("negative version".to_owned()))
        }
        _ => Err(CarError::Header("version is not an integer".to_owned())),
    }
}

fn read_roots(reader: &mut Reader<'_>, roots_max: usize) -> Result<Vec<Cid>, CarError> {
    let count = match reader.head().map_err(invalid)? {
        Head::List(count) => count,
        Head::Null => 0,
        _ => return Err(CarError::Header("roots are not a list".to_owned())),
    };
    let mut roots = Vec::new();
    for _ in 0..count {
        let Head::Link(bytes) = reader.head().map_err(invalid)? else {
            return Err(CarError::Header("a root is not a link".to_owned()));
        };
        if roots.len() == roots_max {
            return Err(CarError::Header(format!("more than {roots_max} roots")));
        }
        roots.push(crate::ipld::link_cid(bytes).map_err(invalid)?);
    }
    Ok(roots)
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to map_err")]
fn invalid(error: DecodeError) -> CarError {
    CarError::Header(error.to_string())
}

/// Where the payload of a version 2 archive lies, from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct V2Header {
    pub(super) data_offset: u64,
    pub(super) data_size: u64,
}

impl V2Header {
    /// Decodes the 40 bytes after the pragma: characteristics, then offset, size and index offset, little endian.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CarError> {
        let number =
            |at: usize| -> Option<u64> { Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?)) };
        let (Some(data_offset), Some(data_size), Some(index_offset)) = (number(16), number(24), number(32))
        else {
            return Err(CarError::Truncated);
        };
        if data_offset < V2_PAYLOAD_OFFSET_MIN {
            return Err(CarError::V2Header("payload begins inside the header"));
        }
        if data_size == 0 {
            return Err(CarError::V2Header("empty payload"));
        }
        let data_end = data_offset.checked_add(data_size).filter(|end| i64::try_from(*end).is_ok());
        let Some(data_end) = data_end else { return Err(CarError::V2Header("payload ends beyond 2^63")) };
        if index_offset != 0 && index_offset < data_end {
            return Err(CarError::V2Header("index overlaps header or payload"));
        }
        Ok(Self { data_offset, data_size })
    }
}
