//! The head and the body of an answer.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_TYPE, HeaderName, HeaderValue,
    TRAILER, X_CONTENT_TYPE_OPTIONS,
};
use tokio::time::Instant;

use super::multipart::Upload;
use super::reply::{self, STREAM_ERROR, STREAM_ERROR_NAME};
use super::run::Output;
use super::watch::{Outcome, Watched};
use crate::commands::registry::Encoding;
use crate::http::{Piece, ResponseBody};

const X_STREAM_OUTPUT: HeaderName = HeaderName::from_static("x-stream-output");
const X_CHUNKED_OUTPUT: HeaderName = HeaderName::from_static("x-chunked-output");
const X_CONTENT_LENGTH: HeaderName = HeaderName::from_static("x-content-length");
/// The headers of our own that pages may see.
const EXPOSED: HeaderValue = HeaderValue::from_static("X-Stream-Output, X-Chunked-Output, X-Content-Length");
/// The type of bytes that are one JSON value, written as it is found.
const JSON: &str = "application/json";

/// What clients are told about the body before it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value.
    Value,
    /// Any number of values, also none.
    Values,
    /// Bytes, and what is known of them.
    Bytes { length: Option<u64>, content_type: &'static str },
}

fn head(shape: &Shape, encoding: Encoding, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, reply::content_type(encoding));
    headers.insert(TRAILER, STREAM_ERROR_NAME);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, EXPOSED);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    let yes = HeaderValue::from_static("1");
    match *shape {
        Shape::Value | Shape::Bytes { content_type: JSON, .. } => {}
        Shape::Values => drop(headers.insert(X_CHUNKED_OUTPUT, yes)),
        Shape::Bytes { length, content_type } => {
            headers.insert(X_STREAM_OUTPUT, yes);
            // Nobody else's bytes are rendered as a page of this origin.
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            if let Some(length) = length {
                headers.insert(X_CONTENT_LENGTH, length.into());
            }
        }
    }
    response
}

/// An answer that is known. It is chunked like the others, as its head announces a trailer.
pub(super) fn whole(shape: &Shape, data: Bytes, encoding: Encoding) -> Response<ResponseBody> {
    head(shape, encoding, reply::chunked(data))
}

/// An answer that is on its way.
pub(super) struct Answer {
    /// What came before the head was sent.
    pub(super) first: Option<Bytes>,
    pub(super) output: Output,
    /// When it has to be complete.
    pub(super) deadline: Option<Instant>,
    /// Whether an error is told as the last value, and the connection cut: many clients do not read trailers.
    pub(super) is_loud: bool,
    pub(super) encoding: Encoding,
    pub(super) watched: Box<dyn Watched>,
    /// Its files, as long as the command may read them.
    pub(super) upload: Option<Upload>,
}

/// Answers with a body that is sent as it comes.
pub(super) fn streamed(shape: &Shape, answer: Answer) -> Response<ResponseBody> {
    let encoding = answer.encoding;
    let pieces = Pieces { answer, last: VecDeque::new(), is_over: false };
    let pieces = futures_util::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.next().await?;
        Some((piece, pieces))
    });
    head(shape, encoding, ResponseBody::Stream(pieces.boxed()))
}

struct Pieces {
    answer: Answer,
    /// What ends the body, in order.
    last: VecDeque<Piece>,
    is_over: bool,
}

impl Pieces {
    async fn next(&mut self) -> Option<Piece> {
        if let Some(data) = self.answer.first.take() {
            return Some(Piece::Data(data));
        }
        if self.is_over {
            return self.last.pop_front();
        }
        let answer = &mut self.answer;
        match answer.output.next_within(answer.deadline).await {
            Some(Ok(data)) => return Some(Piece::Data(data)),
            None => answer.watched.set_outcome(Outcome::Success),
            Some(Err(error)) => {
                answer.watched.set_outcome(Outcome::Error);
                if answer.is_loud {
                    let line = reply::error_line(&error, answer.encoding);
                    self.last.extend([Piece::Data(line.into()), Piece::Abort]);
                } else {
                    self.last.push_back(Piece::Trailer(STREAM_ERROR, reply::error_header(&error)));
                }
            }
        }
        self.is_over = true;
        // Nobody reads it any more.
        answer.upload = None;
        self.last.pop_front()
    }
}
