//! DAG-JSON: JSON without spaces, keys in byte order, links as `{"/":"cid"}` and bytes as `{"/":{"bytes":"base64"}}`.
//!
//! Two things do not survive the way there and back, as in Kubo: a float without fraction (-0.0 too) is written
//! like an integer and reads back as one, and a map of another codec that has a reserved form reads back as a link or as bytes.

use super::json_read::{self, Forms};
use super::json_write::{self, Style};
use super::{DecodeError, EncodeError, Value};

/// Decodes a block, which holds exactly one value and white space.
///
/// Only maps that have exactly one of the two reserved forms are links and bytes; `{"/":"x"}` that is no CID is an
/// error, and any other map with a key `/` is a map.
pub fn decode(block: &[u8]) -> Result<Value, DecodeError> {
    json_read::decode(block, Forms::LinksAndBytes)
}

/// Encodes a value canonically.
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    json_write::encode(value, Style::Dag)
}
