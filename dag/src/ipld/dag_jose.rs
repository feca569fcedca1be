//! Signed and encrypted objects (JOSE): dag-cbor of one of two forms.
//!
//! A signed object (JWS) has a `payload`, which is the bytes of a CID, and `signatures`; an encrypted one (JWE) has
//! a `ciphertext`. Blocks are decoded as dag-cbor, so the fields are bytes. Signatures are checked by nobody here:
//! that needs the signer's key.

use super::{EncodeError, Value, dag_cbor};
use crate::cid::cid_from_bytes;

/// Encodes a value that has the form of a signed or of an encrypted object.
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    match (value.get("payload"), value.get("ciphertext")) {
        (Some(payload), None) => signed(payload, value.get("signatures"))?,
        (None, Some(Value::Bytes(_))) => {}
        (None, Some(_)) => return Err(form("the ciphertext of an encrypted object is bytes")),
        (None, None) => return Err(form("a dag-jose object has either a payload or a ciphertext")),
        (Some(_), Some(_)) => return Err(form("a dag-jose object has no payload beside its ciphertext")),
    }
    dag_cbor::encode(value)
}

fn signed(payload: &Value, signatures: Option<&Value>) -> Result<(), EncodeError> {
    let Value::Bytes(bytes) = payload else { return Err(form("the payload of a signed object is bytes")) };
    cid_from_bytes(bytes).map_err(|_| form("the payload of a signed object is the bytes of a CID"))?;
    let Some(Value::List(signatures)) = signatures else {
        return Err(form("a signed object has a list of signatures"));
    };
    let whole = |signature: &Value| matches!(signature.get("signature"), Some(Value::Bytes(_)));
    if !signatures.iter().all(whole) {
        return Err(form("each signature of a signed object has a field `signature`, which is bytes"));
    }
    Ok(())
}

fn form(words: &str) -> EncodeError {
    EncodeError::Form(words.to_owned())
}
