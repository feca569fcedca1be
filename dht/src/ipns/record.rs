//! A record that was read. Whether it is to be believed is another question: [`Record::validate`].

use holdfast_dag::cid::cid_from_bytes;
use holdfast_dag::path::{ContentPath, PathError};

use super::document::{self, Document};
use super::wire::Wire;
use super::{RECORD_BYTES_MAX, Timestamp};

/// What a record without a value points at: a CID that holds zero bytes itself (Kubo, for records that are used for the
/// other fields of their document).
const NO_VALUE: &str = "/ipfs/bafkqaaa";

/// The only type of validity there is: until an end of life.
pub(super) const END_OF_LIFE: i128 = 0;

/// Why bytes are not a record, or a record does not say what it was asked for. The words are Kubo's where Kubo has words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// More than 10 KiB.
    #[error("record exceeds allowed size limit: {bytes} bytes, at most {RECORD_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not the protobuf, or a document of another form.
    #[error("record is malformed: {0}")]
    Malformed(String),
    /// A record of the first version only: nobody can check it.
    #[error("record is malformed: record is missing the dag-cbor data field")]
    NoData,
    /// It points at what is neither a path nor a CID.
    #[error("value is not a valid content path: {0}")]
    Value(String),
    /// Its validity is of a type that nobody has defined.
    #[error("record contains an unrecognized validity type: {0}")]
    ValidityType(i128),
    /// Its end of life is no time.
    #[error("record contains an invalid validity: {0}")]
    Validity(String),
}

impl From<PathError> for RecordError {
    fn from(error: PathError) -> Self {
        Self::Value(error.to_string())
    }
}

/// For which readers a record is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureType {
    /// For readers of both versions.
    V1AndV2,
    /// For readers of the second version.
    V2,
}

impl std::fmt::Display for SignatureType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V1AndV2 => "V1+V2",
            Self::V2 => "V2",
        })
    }
}

/// A record: its bytes, and what they say.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    bytes: Vec<u8>,
    pub(super) wire: Wire,
    pub(super) document: Document,
}

impl Record {
    /// Reads a record. The size is checked first, the signature not at all: see [`Record::validate`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLarge { bytes: bytes.len() });
        }
        let wire = Wire::decode(bytes).map_err(|error| RecordError::Malformed(error.to_string()))?;
        if wire.data.is_empty() {
            return Err(RecordError::NoData);
        }
        let document = Document::decode(&wire.data)?;
        Ok(Self { bytes: bytes.to_vec(), wire, document })
    }

    /// The bytes that it was read from, or that were made.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// For which readers it is signed.
    pub fn signature_type(&self) -> SignatureType {
        if self.wire.has_v1() { SignatureType::V1AndV2 } else { SignatureType::V2 }
    }

    /// What it points at: a content path, or a binary CID, which becomes one. Nothing is `/ipfs/bafkqaaa`.
    pub fn value(&self) -> Result<ContentPath, RecordError> {
        let value = self.document.bytes(document::VALUE)?;
        match value {
            [] => Ok(ContentPath::parse(NO_VALUE)?),
            [b'/', ..] => {
                let text =
                    std::str::from_utf8(value).map_err(|error| RecordError::Value(error.to_string()))?;
                Ok(ContentPath::parse(text)?)
            }
            cid => match cid_from_bytes(cid) {
                Ok(cid) => Ok(ContentPath::of_cid(cid)),
                Err(error) => Err(RecordError::Value(error.to_string())),
            },
        }
    }

    /// The type of its validity; 0 is "until an end of life", and there is no other.
    pub fn validity_type(&self) -> Result<i128, RecordError> {
        self.document.int(document::VALIDITY_TYPE)
    }

    /// Until when it is valid.
    pub fn end_of_life(&self) -> Result<Timestamp, RecordError> {
        match self.validity_type()? {
            END_OF_LIFE => {}
            other => return Err(RecordError::ValidityType(other)),
        }
        let text = String::from_utf8_lossy(self.document.bytes(document::VALIDITY)?);
        text.parse().map_err(|error| RecordError::Validity(format!("{text:?} is {error}")))
    }

    /// Its number: of two records of a name, the one with the higher number is the newer.
    pub fn sequence(&self) -> Result<u64, RecordError> {
        self.document.number(document::SEQUENCE)
    }

    /// How long readers may keep it before they look for a newer one, in nanoseconds; a hint, and absent in some records.
    pub fn ttl_nanos(&self) -> Result<Option<u64>, RecordError> {
        if self.document.has(document::TTL) {
            self.document.number(document::TTL).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A record from its parts, which are known to fit.
    pub(super) fn of_parts(wire: Wire, document: Document) -> Self {
        Self { bytes: wire.encode(), wire, document }
    }
}
