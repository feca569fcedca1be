//! Plain JSON: no links, no bytes, maps in the order they came in; written indented by tabs, as Kubo does.

use super::json_read::{self, Forms};
use super::json_write::{self, Style};
use super::{DecodeError, EncodeError, Value};

/// Decodes a block, which holds exactly one value and white space.
pub fn decode(block: &[u8]) -> Result<Value, DecodeError> {
    json_read::decode(block, Forms::None)
}

/// Encodes a value on several lines. Links and bytes are refused.
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    json_write::encode(value, Style::Plain)
}
