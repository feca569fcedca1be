//! Plain CBOR: DAG-CBOR without links, and with maps in the order they came in.

use super::dag_cbor::{Style, decode_with, encode_with};
use super::{DecodeError, EncodeError, Value};

/// Decodes a block, which holds exactly one value. Tags, also 42, are refused.
pub fn decode(block: &[u8]) -> Result<Value, DecodeError> {
    decode_with(block, false)
}

/// Encodes a value. Links are refused.
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    encode_with(value, &Style { links: false, sorted: false })
}
