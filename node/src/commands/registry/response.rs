//! What a command answers.

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use serde_json::Value;

use super::{Call, CommandError};

/// Values, one after the other; an error ends the stream.
pub type ValueStream = BoxStream<'static, Result<Value, CommandError>>;

/// Bytes, with what a door needs to know about them beforehand.
pub struct ByteStream {
    /// The bytes; an error ends the stream.
    pub stream: BoxStream<'static, Result<Bytes, CommandError>>,
    /// How many bytes there will be (`X-Content-Length`), if that is known. It is a hint for progress, never trusted.
    pub length: Option<u64>,
    /// Their media type.
    pub content_type: &'static str,
}

/// What a command answers.
#[non_exhaustive]
pub enum Response {
    /// Nothing: an empty body.
    Empty,
    /// Exactly one value.
    One(Value),
    /// Any number of values.
    Stream(ValueStream),
    /// Bytes.
    Bytes(ByteStream),
}

impl Response {
    /// Values that are known already.
    pub fn values(values: Vec<Value>) -> Self {
        Self::Stream(Box::pin(stream::iter(values.into_iter().map(Ok))))
    }

    /// Bytes that are known already.
    pub fn bytes(data: impl Into<Bytes>, content_type: &'static str) -> Self {
        let data = data.into();
        let length = Some(data.len() as u64);
        Self::Bytes(ByteStream { stream: Box::pin(stream::iter([Ok(data)])), length, content_type })
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::One(value) => f.debug_tuple("One").field(value).finish(),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(&bytes.length).finish(),
        }
    }
}

/// The text form of a command's values: made anew for each call, so that it may carry state from value to value.
///
/// It sees nothing but the call and the values, so it works the same on values that came over RPC.
pub trait TextForm: Send {
    /// Appends the text of one value to `out`.
    fn value(&mut self, call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError>;

    /// Appends what comes after the last value, if all went well. Nothing by default.
    fn end(&mut self, _call: &Call, _out: &mut Vec<u8>) -> Result<(), CommandError> {
        Ok(())
    }
}

impl<F> TextForm for F
where
    F: FnMut(&Call, &Value, &mut Vec<u8>) -> Result<(), CommandError> + Send,
{
    fn value(&mut self, call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
        self(call, value, out)
    }
}
