//! Answers that are no command's: texts, and errors as Kubo tells them.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, TRAILER, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use serde_json::json;

use crate::commands::registry::{CommandError, Encoding, ErrorKind};
use crate::http::{Piece, ResponseBody};

/// The header, behind the body, that tells of an error in the middle of it.
pub(super) const STREAM_ERROR: HeaderName = HeaderName::from_static("x-stream-error");
/// Its name, as the `Trailer` header announces it.
pub(super) const STREAM_ERROR_NAME: HeaderValue = HeaderValue::from_static("X-Stream-Error");

/// A line of plain text.
pub(super) fn text(status: StatusCode, line: impl std::fmt::Display) -> Response<ResponseBody> {
    let mut response = Response::new(format!("{line}\n").into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What there is not.
pub(super) fn not_found() -> Response<ResponseBody> {
    text(StatusCode::NOT_FOUND, "404 page not found")
}

/// Nothing but a status.
pub(super) fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = status;
    response
}

/// The error of a command that has answered nothing yet.
pub(super) fn error(error: &CommandError, encoding: Encoding) -> Response<ResponseBody> {
    let mut response = Response::new(chunked(error_line(error, encoding).into()));
    *response.status_mut() = if error.kind == ErrorKind::Client {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type(encoding));
    headers.insert(TRAILER, STREAM_ERROR_NAME);
    response
}

/// A body that is known, in chunks: clients are told that a trailer may follow.
pub(super) fn chunked(data: Bytes) -> ResponseBody {
    let pieces = (!data.is_empty()).then_some(Piece::Data(data));
    ResponseBody::Stream(stream::iter(pieces).boxed())
}

/// An error as a line of a body.
pub(super) fn error_line(error: &CommandError, encoding: Encoding) -> String {
    match encoding {
        Encoding::Text => format!("Error: {}\n", error.message),
        _ => format!("{}\n", json!({ "Message": error.message, "Code": error.kind.code(), "Type": "error" })),
    }
}

/// The type of values in this encoding.
pub(super) fn content_type(encoding: Encoding) -> HeaderValue {
    HeaderValue::from_static(match encoding {
        Encoding::Text => "text/plain",
        _ => "application/json",
    })
}

/// An error as the value of a header: in one line.
pub(super) fn error_header(error: &CommandError) -> HeaderValue {
    let line: String = error.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    HeaderValue::from_bytes(line.trim().as_bytes()).unwrap_or_else(|_| HeaderValue::from_static("error"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_fits_into_a_header() {
        let header = |text: &str| error_header(&CommandError::new(text));
        assert_eq!(header("two\r\nlines\t!"), "two  lines !");
        assert_eq!(header("gr\u{fc}n").as_bytes(), "gr\u{fc}n".as_bytes());
    }
}
