//! Making records.

use std::time::Duration;

use libp2p_identity::{Keypair, SigningError};

use super::document::Document;
use super::wire::Wire;
use super::{Name, RECORD_BYTES_MAX, Record, Timestamp};

/// What is signed before the document, so that a signature over a record is one over nothing else.
pub(super) const SIGNATURE_PREFIX: &[u8] = b"ipns-signature:";

/// Largest sequence number that is written: Go reads the field as a signed number.
const SEQUENCE_MAX: u64 = i64::MAX as u64;

/// A record that is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What it points at: a content path in its canonical form.
    pub value: String,
    /// Its number; at most 2^63 - 1.
    pub sequence: u64,
    /// Until when it is valid.
    pub end_of_life: Timestamp,
    /// How long readers may keep it; at most 292 years.
    pub ttl: Duration,
    /// Whether it is to be readable for programs that know the first version only.
    pub v1_compatible: bool,
}

/// Why a record was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// Other implementations cannot read the number.
    #[error("sequence number {0} is too large: at most {SEQUENCE_MAX} is read by every implementation")]
    Sequence(u64),
    /// The value makes the record larger than it may be.
    #[error(
        "record exceeds allowed size limit: {bytes} bytes, at most {RECORD_BYTES_MAX} are allowed; publish a shorter path"
    )]
    TooLarge {
        /// Size of the record.
        bytes: usize,
    },
    /// The key does not sign.
    #[error("cannot sign the record: {0}")]
    Sign(#[from] SigningError),
    /// The document was not encoded.
    #[error("cannot encode the record: {0}")]
    Encode(String),
}

impl Draft {
    /// Signs the record. The public key is put into it if the name does not hold it (RSA, ECDSA).
    pub fn sign(&self, key: &Keypair) -> Result<Record, DraftError> {
        if self.sequence > SEQUENCE_MAX {
            return Err(DraftError::Sequence(self.sequence));
        }
        let end_of_life = self.end_of_life.to_string();
        let ttl_nanos = self.ttl.as_nanos().min(i64::MAX as u128) as u64;
        let document = Document::new(self.value.as_bytes(), &end_of_life, self.sequence, ttl_nanos);
        let data = document.clone().encode().map_err(|error| DraftError::Encode(error.to_string()))?;
        let mut wire = Wire { signature_v2: key.sign(&signed(&data))?, data, ..Wire::default() };
        if self.v1_compatible {
            wire.value = self.value.clone().into_bytes();
            wire.validity_type = Some(0);
            wire.validity = end_of_life.into_bytes();
            wire.sequence = Some(self.sequence);
            wire.ttl_nanos = Some(ttl_nanos);
            wire.signature_v1 = key.sign(&signed_v1(&wire))?;
        }
        let public = key.public();
        if Name::from(public.to_peer_id()).public_key().is_none() {
            wire.public_key = public.encode_protobuf();
        }
        let record = Record::of_parts(wire, document);
        match record.as_bytes().len() {
            0..=RECORD_BYTES_MAX => Ok(record),
            bytes => Err(DraftError::TooLarge { bytes }),
        }
    }
}

/// What the signature of the second version is over.
pub(super) fn signed(data: &[u8]) -> Vec<u8> {
    [SIGNATURE_PREFIX, data].concat()
}

/// What the signature of the first version is over: value, validity, and the name of the validity's type.
fn signed_v1(wire: &Wire) -> Vec<u8> {
    [wire.value.as_slice(), &wire.validity, b"EOL"].concat()
}
