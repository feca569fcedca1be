//! The IPLD data model and its codecs.
//!
//! A block means what its codec says: [`decode`] turns its bytes into a [`Value`], [`encode`] back, and [`links()`]
//! lists the CIDs it points to without building values where the codec allows. The decoders accept and refuse what
//! current Kubo does (go-ipld-prime 0.24, whose error words they use); the encoders write canonical bytes.
//!
//! # Limits
//! Containers nest up to [`DEPTH_MAX`] levels; what a block may unfold to is bounded by a budget of
//! [`BUDGET_BYTES`]; nothing is allocated by a length that a header claims. Decoding does not recurse.

mod budget;
pub mod cbor;
mod cbor_head;
mod codecs;
pub mod dag_cbor;
pub mod dag_jose;
pub mod dag_json;
pub mod dag_pb;
mod error;
pub mod git_raw;
pub mod json;
mod json_read;
mod json_write;
mod links;
mod value;

pub use budget::{BUDGET_BYTES, DEPTH_MAX};
pub(crate) use cbor_head::{Head, Reader, link_cid};
pub use codecs::{CODECS, SUPPORTED, codec_by_name, codec_name, has_decoder};
pub use error::{DecodeError, EncodeError};
pub use links::links;
pub use value::{Map, Value};

use crate::cid::codec;

/// Decodes a block of a codec that [`has_decoder`] knows.
pub fn decode(codec: u64, block: &[u8]) -> Result<Value, DecodeError> {
    match codec {
        codec::RAW => Ok(Value::Bytes(block.to_vec())),
        codec::CBOR => cbor::decode(block),
        codec::JSON => json::decode(block),
        codec::DAG_PB => dag_pb::decode(block),
        codec::DAG_CBOR | codec::DAG_JOSE => dag_cbor::decode(block),
        codec::DAG_JSON => dag_json::decode(block),
        _ => Err(DecodeError::NoDecoder(codec)),
    }
}

/// Encodes a value canonically in a codec that has an encoder: raw, cbor, json, dag-pb, dag-cbor, dag-jose and dag-json.
pub fn encode(codec: u64, value: &Value) -> Result<Vec<u8>, EncodeError> {
    match codec {
        codec::RAW => match value {
            Value::Bytes(bytes) => Ok(bytes.clone()),
            other => Err(EncodeError::Form(format!("raw blocks are bytes, got {}", other.kind()))),
        },
        codec::CBOR => cbor::encode(value),
        codec::JSON => json::encode(value),
        codec::DAG_PB => dag_pb::encode(value),
        codec::DAG_CBOR => dag_cbor::encode(value),
        codec::DAG_JOSE => dag_jose::encode(value),
        codec::DAG_JSON => dag_json::encode(value),
        _ => Err(EncodeError::NoEncoder(codec)),
    }
}
