//! What a daemon answers, as what a command answers.

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt as _};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::commands::registry::{ByteStream, CommandError, ErrorKind, Response};
use crate::http::Incoming;

/// Bytes of one value: the list of a million pins is one.
const VALUE_BYTES_MAX: usize = 512 << 20;
/// Bytes of an error's text.
const ERROR_BYTES_MAX: usize = 1 << 20;

/// Where a failure in the middle of a response is told.
const STREAM_ERROR: &str = "x-stream-error";

/// Turns a daemon's answer into the response that the command gave there.
pub(super) async fn response(answer: http::Response<Incoming>) -> Result<Response, CommandError> {
    let (head, mut body) = answer.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    if !head.status.is_success() {
        let is_json = header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/json"));
        return Err(refusal(head.status, is_json, &whole(&mut body, ERROR_BYTES_MAX).await?));
    }
    if header("x-stream-output").is_some() {
        let length = header("x-content-length").and_then(|text| text.parse().ok());
        let bytes = stream::unfold(Some(body), |body| async {
            let mut body = body?;
            match next_piece(&mut body).await {
                Ok(Some(piece)) => Some((Ok(piece), Some(body))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        return Ok(Response::Bytes(ByteStream { stream: bytes.boxed(), length, content_type: "" }));
    }
    let mut values = Values { body, buffer: BytesMut::new(), searched: 0 };
    if header("x-chunked-output").is_some() {
        return Ok(Response::Stream(values.into_stream().boxed()));
    }
    // One value or none; a second would make it a list.
    let Some(first) = values.next().await? else { return Ok(Response::Empty) };
    match values.next().await? {
        None => Ok(Response::One(first)),
        Some(second) => {
            let known = stream::iter([Ok(first), Ok(second)]);
            Ok(Response::Stream(known.chain(values.into_stream()).boxed()))
        }
    }
}

/// The next bytes; the failure that a trailer tells of is the end.
async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, CommandError> {
    match body.next().await {
        Some(piece) => piece.map(Some).map_err(CommandError::from_error),
        None => match body.trailers().get(STREAM_ERROR) {
            Some(words) => Err(CommandError::new(String::from_utf8_lossy(words.as_bytes()).into_owned())),
            None => Ok(None),
        },
    }
}

/// All of a body, up to a bound; what is longer is cut.
async fn whole(body: &mut Incoming, bytes_max: usize) -> Result<Vec<u8>, CommandError> {
    let mut data = Vec::new();
    while data.len() < bytes_max {
        match body.next().await {
            Some(Ok(piece)) => data.extend_from_slice(&piece),
            // What was said so far says more than that the rest was cut off.
            Some(Err(_)) if !data.is_empty() => break,
            Some(Err(error)) => return Err(CommandError::from_error(error)),
            None => break,
        }
    }
    Ok(data)
}

/// What a status other than success means.
fn refusal(status: StatusCode, is_json: bool, body: &[u8]) -> CommandError {
    if is_json && let Some(error) = serde_json::from_slice(body).ok().and_then(|value| told_error(&value)) {
        return error;
    }
    if status == StatusCode::NOT_FOUND {
        return CommandError::client("command not found");
    }
    let text = String::from_utf8_lossy(body).trim().to_owned();
    let message = if text.is_empty() { format!("the daemon answered {status}") } else { text };
    let kind = match status {
        StatusCode::BAD_REQUEST => ErrorKind::Client,
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => ErrorKind::Forbidden,
        StatusCode::TOO_MANY_REQUESTS => ErrorKind::RateLimited,
        _ => ErrorKind::Normal,
    };
    CommandError { message, kind }
}

/// The error that a value is, if it is one.
fn told_error(value: &Value) -> Option<CommandError> {
    let object = value.as_object()?;
    if object.get("Type").and_then(Value::as_str) != Some("error") {
        return None;
    }
    let message = object.get("Message").and_then(Value::as_str)?.to_owned();
    let kind = match object.get("Code").and_then(Value::as_u64)? {
        1 => ErrorKind::Client,
        2 => ErrorKind::Implementation,
        3 => ErrorKind::RateLimited,
        4 => ErrorKind::Forbidden,
        _ => ErrorKind::Normal,
    };
    Some(CommandError { message, kind })
}

/// Values of JSON, one after the other, as they come.
struct Values {
    body: Incoming,
    buffer: BytesMut,
    /// Bytes at the beginning of the buffer that hold no end of a value.
    searched: usize,
}

impl Values {
    /// The next value; `None` at the end.
    async fn next(&mut self) -> Result<Option<Value>, CommandError> {
        loop {
            if let Some(value) = self.take(false)? {
                return not_an_error(value).map(Some);
            }
            if self.buffer.len() > VALUE_BYTES_MAX {
                let words = format!("the daemon sent a value of more than {VALUE_BYTES_MAX} bytes");
                return Err(CommandError::new(words));
            }
            match self.body.next().await {
                Some(Ok(piece)) => self.buffer.extend_from_slice(&piece),
                // A failure that is told as a value stands before the end that it makes.
                Some(Err(error)) => {
                    if let Ok(Some(value)) = self.take(true) {
                        return not_an_error(value).map(Some);
                    }
                    return Err(CommandError::from_error(error));
                }
                None => {
                    if let Some(value) = self.take(true)? {
                        return not_an_error(value).map(Some);
                    }
                    return next_piece(&mut self.body).await.map(|_| None);
                }
            }
        }
    }

    /// Takes a whole value out of the buffer. Each ends with a line; one that spans lines is tried at each of them.
    fn take(&mut self, at_end: bool) -> Result<Option<Value>, CommandError> {
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            let end = match memchr::memchr(b'\n', rest) {
                Some(at) => self.searched + at + 1,
                None if at_end && !rest.is_empty() => self.buffer.len(),
                None => return Ok(None),
            };
            let text = self.buffer.get(..end).unwrap_or_default();
            if text.iter().all(u8::is_ascii_whitespace) {
                drop(self.buffer.split_to(end));
                self.searched = 0;
                continue;
            }
            match serde_json::from_slice(text) {
                Ok(value) => {
                    drop(self.buffer.split_to(end));
                    self.searched = 0;
                    return Ok(Some(value));
                }
                Err(error) if error.is_eof() && !(at_end && end == self.buffer.len()) => self.searched = end,
                Err(error) => {
                    return Err(CommandError::new(format!("the daemon sent what is not JSON: {error}")));
                }
            }
        }
    }

    fn into_stream(self) -> impl stream::Stream<Item = Result<Value, CommandError>> {
        stream::unfold(Some(self), |values| async {
            let mut values = values?;
            match values.next().await {
                Ok(Some(value)) => Some((Ok(value), Some(values))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

fn not_an_error(value: Value) -> Result<Value, CommandError> {
    match told_error(&value) {
        Some(error) => Err(error),
        None => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_keep_their_words_and_kinds() {
        let json = br#"{"Message":"not pinned or pinned indirectly","Code":0,"Type":"error"}"#;
        let error = refusal(StatusCode::INTERNAL_SERVER_ERROR, true, json);
        assert_eq!(
            (error.message.as_str(), error.kind),
            ("not pinned or pinned indirectly", ErrorKind::Normal)
        );
        let error = refusal(StatusCode::BAD_REQUEST, false, b"argument \"key\" is required\n");
        assert_eq!((error.message.as_str(), error.kind), ("argument \"key\" is required", ErrorKind::Client));
        let error = refusal(StatusCode::NOT_FOUND, false, b"404 page not found\n");
        assert_eq!(error.message, "command not found");
        assert_eq!(refusal(StatusCode::FORBIDDEN, false, b"no").kind, ErrorKind::Forbidden);
        assert!(refusal(StatusCode::BAD_GATEWAY, false, b"").message.contains("502"));
    }

    #[test]
    fn only_what_says_so_is_an_error() {
        assert!(told_error(&json!({ "Message": "m", "Code": 1, "Type": "error" })).is_some());
        for value in
            [json!("error"), json!({ "Type": "error" }), json!({ "Message": "m", "Code": 0, "Type": "file" })]
        {
            assert_eq!(told_error(&value), None, "{value}");
        }
    }
}
