//! Which records are believed.

use libp2p_identity::PublicKey;

use super::create::signed;
use super::document::{SEQUENCE, TTL, VALIDITY, VALIDITY_TYPE, VALUE};
use super::{Name, Record, RecordError, Timestamp};

/// Why a record is not to be believed. The words are Kubo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// Its signature of the second version is missing, or not one by the key over its document.
    #[error("signature verification failed")]
    Signature,
    /// The public key in it is none.
    #[error("public key invalid: {0}")]
    PublicKey(String),
    /// The public key in it is that of another name.
    #[error("record public key does not match the expected public key")]
    OtherKey,
    /// Neither the record nor its name holds the public key.
    #[error("public key not found")]
    NoKey,
    /// What it says to readers of the first version is not what was signed.
    #[error("field \"{0}\" did not match between protobuf and CBOR")]
    Mismatch(&'static str),
    /// It was valid until some time ago.
    #[error("record is expired: it was valid until {end_of_life}")]
    Expired {
        /// Until when.
        end_of_life: Timestamp,
    },
    /// A field is missing or of a wrong form.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Record {
    /// Checks that the key of `name` signed this record and that it is still valid at `now`.
    ///
    /// In the order of the specification: signature and document are there, the key is the name's, the signature fits, the
    /// fields of the first version (if any) say the same, and the end of life has not passed. The signature of the first
    /// version counts for nothing.
    pub fn validate(&self, name: &Name, now: Timestamp) -> Result<(), ValidateError> {
        if self.wire.signature_v2.is_empty() {
            return Err(ValidateError::Signature);
        }
        let key = self.public_key(name)?;
        if !key.verify(&signed(&self.wire.data), &self.wire.signature_v2) {
            return Err(ValidateError::Signature);
        }
        // What every reader relies on must be there, whichever version it was written for.
        self.document.bytes(VALUE)?;
        self.sequence()?;
        self.ttl_nanos()?;
        if self.wire.has_v1() {
            self.check_v1()?;
        }
        let end_of_life = self.end_of_life()?;
        if now > end_of_life { Err(ValidateError::Expired { end_of_life }) } else { Ok(()) }
    }

    /// The public key: from the record, if it is that of the name, else from the name.
    fn public_key(&self, name: &Name) -> Result<PublicKey, ValidateError> {
        if self.wire.public_key.is_empty() {
            return name.public_key().ok_or(ValidateError::NoKey);
        }
        let key = PublicKey::try_decode_protobuf(&self.wire.public_key)
            .map_err(|error| ValidateError::PublicKey(error.to_string()))?;
        if key.to_peer_id() == name.peer_id() { Ok(key) } else { Err(ValidateError::OtherKey) }
    }

    /// Checks that the fields of the first version repeat the document. Those that are missing count as 0.
    fn check_v1(&self) -> Result<(), ValidateError> {
        let (wire, document) = (&self.wire, &self.document);
        let number = |field: Option<u64>| i128::from(field.unwrap_or_default());
        let same = [
            (VALUE, wire.value == document.bytes(VALUE)?),
            (VALIDITY, wire.validity == document.bytes(VALIDITY)?),
            (VALIDITY_TYPE, number(wire.validity_type) == document.int(VALIDITY_TYPE)?),
            (SEQUENCE, number(wire.sequence) == document.int(SEQUENCE)?),
            (TTL, number(wire.ttl_nanos) == document.int(TTL)?),
        ];
        match same.into_iter().find(|(_, same)| !same) {
            Some((field, _)) => Err(ValidateError::Mismatch(field)),
            None => Ok(()),
        }
    }
}
