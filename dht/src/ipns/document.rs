//! The signed document in a record: DAG-CBOR with five fields, and whatever else the publisher put in.

use holdfast_dag::ipld::{DecodeError, EncodeError, Map, Value, dag_cbor};

use super::RecordError;

pub(super) const VALUE: &str = "Value";
pub(super) const VALIDITY: &str = "Validity";
pub(super) const VALIDITY_TYPE: &str = "ValidityType";
pub(super) const SEQUENCE: &str = "Sequence";
pub(super) const TTL: &str = "TTL";

/// The document, as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document(Map);

impl Document {
    /// The five fields, with a validity of type 0: until an end of life.
    pub(super) fn new(value: &[u8], end_of_life: &str, sequence: u64, ttl_nanos: u64) -> Self {
        Self(Map::from_iter([
            (TTL.to_owned(), Value::Int(ttl_nanos.into())),
            (VALUE.to_owned(), Value::Bytes(value.to_vec())),
            (SEQUENCE.to_owned(), Value::Int(sequence.into())),
            (VALIDITY.to_owned(), Value::Bytes(end_of_life.as_bytes().to_vec())),
            (VALIDITY_TYPE.to_owned(), Value::Int(0)),
        ]))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let malformed = |error: DecodeError| RecordError::Malformed(error.to_string());
        match dag_cbor::decode(bytes).map_err(malformed)? {
            Value::Map(map) => Ok(Self(map)),
            other => Err(RecordError::Malformed(format!("its data is a {}, not a map", other.kind()))),
        }
    }

    /// The bytes that are signed: shorter keys first, equal lengths in byte order.
    pub(super) fn encode(self) -> Result<Vec<u8>, EncodeError> {
        dag_cbor::encode(&Value::Map(self.0))
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.0.get(field).is_some()
    }

    pub(super) fn bytes(&self, field: &'static str) -> Result<&[u8], RecordError> {
        match self.0.get(field) {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            other => Err(wrong(field, other, "bytes")),
        }
    }

    pub(super) fn int(&self, field: &'static str) -> Result<i128, RecordError> {
        match self.0.get(field) {
            Some(Value::Int(number)) => Ok(*number),
            other => Err(wrong(field, other, "int")),
        }
    }

    /// A number that cannot be negative.
    pub(super) fn number(&self, field: &'static str) -> Result<u64, RecordError> {
        let number = self.int(field)?;
        u64::try_from(number).map_err(|_| RecordError::Malformed(format!("negative {field}")))
    }
}

fn wrong(field: &str, found: Option<&Value>, expected: &str) -> RecordError {
    RecordError::Malformed(match found {
        None => format!("its data has no field {field}"),
        Some(found) => format!("the field {field} of its data is of kind {}, not {expected}", found.kind()),
    })
}
