//! Why blocks are refused, in Kubo's words where Kubo has words.

use crate::cid::CidError;
use crate::pb::PbError;

/// Why bytes are not a block of the codec they claim to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends where another item has to begin.
    #[error("EOF")]
    Eof,
    /// The input ends inside an item, or is empty.
    #[error("unexpected EOF")]
    UnexpectedEof,
    /// There is more after the one value that a block holds.
    #[error("unexpected content after end of {0} object")]
    TrailingBytes(&'static str),
    /// Containers nest deeper than [`super::DEPTH_MAX`].
    #[error("message structure exceeded maximum nesting depth")]
    TooDeep,
    /// The value would take more than [`super::BUDGET_BYTES`].
    #[error("message structure demanded too many resources to process")]
    BudgetExceeded,
    /// A key occurs twice in one map.
    #[error("duplicate map key {0:?}")]
    DuplicateKey(String),
    /// A tag that the codec does not have, or tag 42 on something that is not bytes.
    #[error("unhandled cbor tag {0}")]
    UnhandledTag(u64),
    /// Anything else that the format does not allow.
    #[error("{0}")]
    Malformed(String),
    /// A link that is not a CID.
    #[error(transparent)]
    Cid(#[from] CidError),
    /// Not dag-pb.
    #[error(transparent)]
    Pb(#[from] PbError),
    /// No decoder for this codec.
    #[error("no decoder registered for multicodec code {0} ({0:#x})")]
    NoDecoder(u64),
}

impl DecodeError {
    /// An error in words.
    pub(super) fn malformed(words: impl Into<String>) -> Self {
        Self::Malformed(words.into())
    }
}

/// Why a value cannot be written in a codec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Containers nest deeper than [`super::DEPTH_MAX`].
    #[error("message structure exceeded maximum nesting depth")]
    TooDeep,
    /// An integer outside -2^64 to 2^64 - 1.
    #[error("integer {0} does not fit 64 bits and a sign")]
    IntegerRange(i128),
    /// NaN or an infinity.
    #[error("unsupported value: {0}")]
    Float(String),
    /// A key occurs twice in one map.
    #[error("duplicate map key {0:?}")]
    DuplicateKey(String),
    /// The codec has no such kind of value.
    #[error("cannot Marshal ipld {kind} to {codec}")]
    Kind {
        /// What there is no form for, in the plural.
        kind: &'static str,
        /// The codec.
        codec: &'static str,
    },
    /// The value does not have the form that the codec demands.
    #[error("{0}")]
    Form(String),
    /// No encoder for this codec.
    #[error("no encoder registered for multicodec code {0} ({0:#x})")]
    NoEncoder(u64),
}
